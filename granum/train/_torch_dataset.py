"""The map-style dataset behind ``to_torch``. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from granum.errors import MissingExtraError, UsageError
from granum.train.classes import Classes
from granum.train.decode import SampleError, decoder
from granum.train.order import Visit, keyed_number, permute
from granum.train.samples import Pictures, as_tensors, collate, resized
from granum.train.targets import Targets

try:
    from torch.utils.data import Dataset as TorchBase
except ImportError as error:  # pragma: no cover
    raise MissingExtraError("training", "train", "torch") from error

__all__ = ["OnError", "TorchDataset", "Transform"]

OnError = Literal["raise", "skip", "replace"]

Transform = Callable[[dict[str, Any], np.random.Generator], dict[str, Any]]
"""Takes a sample of arrays (``image`` of shape (height, width, 3)) and a generator that depends
on seed, epoch and key; gives such a sample."""

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
        found, faulty = [], []
        for asked in visits:
            visit = _visit(asked)
            try:
                sample = self._arrays(visit)
            except SampleError:
                if self.on_error == "raise":
                    raise
                faulty.append({"faulty": int(self.rows[visit[2]])})
                if self.on_error == "skip":
                    continue
                sample = self._replacement(visit)
            found.append(as_tensors(sample) if visit is not asked else sample)
        return found + faulty

    def collate(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What ``__getitems__`` gave, as a batch."""
        import torch

        whole = [s for s in samples if "faulty" not in s]
        batch = collate(whole or [self._blank()])
        batch["weight"] = torch.full((max(len(whole), 1),), float(bool(whole)))
        batch["faulty"] = [s["faulty"] for s in samples if "faulty" in s]
        return batch

    def _arrays(self, visit: Visit) -> dict[str, Any]:
        seed, epoch, i = visit
        if not -len(self.rows) <= i < len(self.rows):
            raise IndexError(f"sample {i} of {len(self)}")
        row = int(self.rows[i])
        least = self.size if self.reduce else None
        pixels, place = self.pictures.read(row, decoder(self.decoder), least)
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


def _visit(asked: int | Visit) -> Visit:
    return asked if isinstance(asked, tuple) else (0, 0, asked)
