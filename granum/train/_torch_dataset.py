"""The map-style dataset behind ``to_torch``. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from granum.errors import MissingExtraError, UsageError
from granum.train.classes import Classes
from granum.train.decode import Pixels, SampleError, opener
from granum.train.memory import Pool
from granum.train.order import Visit, keyed_number, permute
from granum.train.samples import Pictures, as_tensors, collate, resized
from granum.train.targets import Place, Targets

try:
    from torch.utils.data import DataLoader
    from torch.utils.data import Dataset as TorchBase
except ImportError as error:  # pragma: no cover
    raise MissingExtraError("training", "train", "torch") from error

__all__ = ["Loader", "OnError", "TorchDataset", "Transform"]

OnError = Literal["raise", "skip", "replace"]

Transform = Callable[[dict[str, Any], np.random.Generator], dict[str, Any]]
"""Takes a sample of arrays (``image`` of shape (height, width, 3)) and a generator that depends
on seed, epoch and key; gives such a sample."""

Loaded = tuple[dict[str, Any] | None, int | None]

AHEAD = 8
"""Images that are read, and then decoded, together."""

MOST = 1 << 24
"""Pixels of such images together (a bigger one alone): what waits to be resized takes memory."""

TRIES = 100
"""Replacements that are tried before giving up."""


@dataclass(frozen=True, eq=False)
class TorchDataset(TorchBase[dict[str, Any]]):
    """Samples of one task as dicts of tensors (see :mod:`granum.train.samples`). Picklable; columns
    are held in Arrow and NumPy buffers, files are opened where and when they are read.

    Attributes:
        pictures, targets: columns of the samples, by row of the dataset.
        rows: the rows that are served, in order.
        classes: what ``label``, ``labels`` and ``mask`` mean.
        fingerprint: of the rows' keys; the order of epochs depends on it.
        size: (height, width) of images; None: as stored.
        left_out: rows without a target that are not served.
        pool: memory of images.
    """

    task: str
    pictures: Pictures
    targets: Targets
    rows: npt.NDArray[np.int64]
    classes: Classes
    fingerprint: str
    size: tuple[int, int] | None = None
    transform: Transform | None = None
    on_error: OnError = "raise"
    decoder: str = "auto"
    reduce: bool = True
    left_out: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    pool: Pool = field(default_factory=Pool, repr=False)

    def __post_init__(self) -> None:
        if self.on_error not in ("raise", "skip", "replace"):
            raise UsageError(f"on_error is {self.on_error!r}; it must be raise, skip or replace")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, visit: int | Visit) -> dict[str, Any]:
        """A sample; its transform gets the generator of (seed, epoch, key), both 0 for an int.

        Raises:
            SampleError: its image cannot be read (whatever ``on_error``: one sample cannot be
                skipped).
        """
        return as_tensors(self._arrays(_visit(visit)))

    def __getitems__(self, visits: Sequence[int | Visit]) -> list[dict[str, Any]]:
        """Many samples. Those that cannot be read are left out or replaced, as ``on_error`` says;
        they stand at the end of the list, as ``{"faulty": row}``. What our own loader asks for
        stays arrays, which :meth:`collate` makes tensors of, all at once.
        """
        found, faulty = together(self.loaded([_visit(asked) for asked in visits]))
        if visits and not isinstance(visits[0], tuple):
            found = [as_tensors(sample) for sample in found]
        return found + faulty

    def loaded(self, visits: Sequence[Visit]) -> Iterator[Loaded]:
        """For each visit a sample of arrays (None where it is left out), and its row where it could
        not be read (else None).

        Raises:
            SampleError: of the first that cannot be read, where ``on_error`` says so, or where no
                replacement was found.
        """
        rows = self._rows(visits)
        for first, last in self._runs(rows):
            found: list[Any] = self._read(rows[first:last])
            for n, visit in enumerate(visits[first:last]):
                one, found[n] = found[n], None
                try:
                    told: Loaded = self._assembled(visit, one), None
                except SampleError:
                    if self.on_error == "raise":
                        raise
                    sample = None if self.on_error == "skip" else self._replacement(visit)
                    told = sample, int(self.rows[visit[2]])
                yield told

    def collate(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What ``__getitems__`` gave, as a batch."""
        import torch

        whole = [s for s in samples if "faulty" not in s]
        batch = collate(whole or [self._blank()])
        weight = np.ones(len(whole), np.float32) if whole else np.zeros(1, np.float32)
        batch["weight"] = torch.from_numpy(weight)
        batch["faulty"] = [s["faulty"] for s in samples if "faulty" in s]
        return batch

    def _rows(self, visits: Sequence[Visit]) -> npt.NDArray[np.int64]:
        places = np.array([i for _, _, i in visits], np.int64)
        outside = places[(places < -len(self.rows)) | (places >= len(self.rows))]
        if len(outside):
            raise IndexError(f"sample {outside[0]} of {len(self)}")
        return self.rows[places]

    def _runs(self, rows: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        """First and last + 1 of what is read together: of big images, fewer."""
        first, room = 0, MOST
        for n, size in enumerate(self.pictures.pixels(rows)):
            if n > first and (n - first == AHEAD or size > room):
                yield first, n
                first, room = n, MOST
            room -= size
        if len(rows):
            yield first, len(rows)

    def _read(self, rows: npt.NDArray[np.int64]) -> list[tuple[Pixels, Place] | SampleError]:
        least = self.size if self.reduce else None
        return self.pictures.read(rows.tolist(), opener(self.decoder), least, self.pool.take)

    def _arrays(self, visit: Visit) -> dict[str, Any]:
        return self._assembled(visit, self._read(self._rows([visit]))[0])

    def _assembled(self, visit: Visit, found: tuple[Pixels, Place] | SampleError) -> dict[str, Any]:
        """A sample of what was read."""
        if isinstance(found, SampleError):
            raise found
        seed, epoch, i = visit
        row = int(self.rows[i])
        pixels, place = found
        try:
            sample = resized(pixels, self.targets.at(row, place), place, self.size)
        except ValueError as error:
            raise SampleError(f"sample {place.key!r}: {error}") from error
        if self.transform is not None:
            key = keyed_number(seed, epoch, place.key)
            sample = self.transform(sample, np.random.Generator(np.random.Philox(key=key)))
        if self.task == "detection":
            sample["image_id"] = np.asarray([row])
        sample["index"], sample["key"] = row, place.key
        return sample

    def _replacement(self, visit: Visit) -> dict[str, Any]:
        """Another sample, chosen by the visit."""
        seed, epoch, i = visit
        n = len(self)
        for other in permute(np.arange(min(TRIES, n)), n, "replace", seed, epoch, i).tolist():
            if other != i:
                try:
                    return self._arrays((seed, epoch, other))
                except SampleError:
                    continue
        raise SampleError(f"{min(TRIES, n)} samples in a row cannot be read")

    def _blank(self) -> dict[str, Any]:
        """A black image with a target that any loss can take; it weighs nothing."""
        height, width = self.size or (64, 64)
        sample: dict[str, Any] = {
            "image": np.zeros((height, width, 3), np.uint8),
            "size": np.asarray([height, width]),
            "scale": np.ones(2),
        }
        if self.task in ("classification", "anomaly"):
            sample["label"] = np.int64(0)
        if self.task in ("semantic", "anomaly"):
            sample["mask"] = np.zeros((height, width), np.int64)
        if self.task == "detection":
            sample["boxes"] = np.zeros((0, 4), np.float32)
            sample["area"] = np.zeros(0, np.float32)
            sample["labels"] = sample["iscrowd"] = np.zeros(0, np.int64)
            sample["image_id"] = np.asarray([-1])
        return {**sample, "index": -1, "key": ""}


class Loader(DataLoader[dict[str, Any]]):
    """torch's loader over a ``TorchDataset``; where it loads in this process and pins nothing, the
    same batches without what torch does around each of them, a few small ones ahead."""

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        if self.num_workers or self.pin_memory:
            return super().__iter__()
        return self._here()

    def _here(self) -> Iterator[dict[str, Any]]:
        data: TorchDataset = self.dataset  # type: ignore[assignment]
        for some in _enough(self.batch_sampler):  # type: ignore[arg-type]
            loaded = data.loaded([visit for asked in some for visit in asked])
            for asked in some:
                found, faulty = together(islice(loaded, len(asked)))
                yield data.collate(found + faulty)


def _enough(batches: Iterable[list[Visit]]) -> Iterator[list[list[Visit]]]:
    """Batches in a row that hold as many samples as are read together, or just above."""
    waiting: list[list[Visit]] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= AHEAD:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def together(loaded: Iterable[Loaded]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The samples, and marks of those that could not be read."""
    both = list(loaded)
    found = [sample for sample, _ in both if sample is not None]
    return found, [{"faulty": row} for _, row in both if row is not None]


def _visit(asked: int | Visit) -> Visit:
    return asked if isinstance(asked, tuple) else (0, 0, asked)
