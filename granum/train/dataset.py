"""Datasets and loaders for torch, whose order can be continued anywhere."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UnknownNameError, UsageError
from granum.store.dataset import Dataset
from granum.train.classes import Classes, classes_of
from granum.train.decode import opener
from granum.train.order import Order, Visit, visits
from granum.train.samples import Pictures
from granum.train.targets import targets_of

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from granum.train._torch_dataset import OnError, TorchDataset, Transform

__all__ = ["as_size", "fingerprint_of_keys", "loader", "rows_of_split", "subset", "to_torch"]

Missing = Literal["raise", "skip", "keep"]


def to_torch(
    dataset: Dataset,
    task: str = "detection",
    *,
    size: tuple[int, int] | int | None = None,
    split: str | None = None,
    layer: str | None = None,
    classes: Sequence[str] | Classes | None = None,
    label_from: str = "label",
    missing: Missing = "raise",
    crowd: bool = False,
    transform: Transform | None = None,
    on_error: OnError = "raise",
    decoder: str = "auto",
    reduce: bool = True,
) -> TorchDataset:
    """A map-style torch dataset; a sample is a dict of tensors (:mod:`granum.train.samples`).

    Args:
        dataset: any dataset; targets come from its current layer.
        task: ``classification``, ``detection``, ``semantic``, ``anomaly`` or ``image``.
        size: (height, width) that images are brought to, whatever their aspect; one number is a
            square (not the shorter side, as in torchvision's ``Resize``); None keeps them.
        split: only these samples; ``index`` stays the row in ``dataset``.
        layer: the layer of the targets.
        classes: names of the classes, in the order of the labels; None: all categories that the
            task's annotations name, in the order of the categories.
        label_from: where a classification's label is: ``label`` rows, or the one ``object``.
        missing: what becomes of samples without a target (not exactly one label, no mask): an
            error, left out (``left_out`` lists them), or kept, with label -1 or an ignored mask.
        crowd: keep boxes of crowds (``iscrowd`` 1); torchvision's reference drops them.
        transform: changes a sample of arrays, with a generator that depends on seed, epoch and
            key only; :class:`granum.train.augment.Augment` is one.
        on_error: of images that cannot be read, in batches: ``raise``, ``skip`` (the batch is
            shorter) or ``replace`` (by another sample); ``faulty`` of a batch lists them.
        decoder: ``pil``, ``simplejpeg``, or ``auto``.
        reduce: let the decoder deliver JPEGs at a half, a quarter… where ``size`` needs no more.

    Raises:
        MissingExtraError: torch is not installed, or the decoder.
        UsageError: no such task or size, nothing to learn from, or samples without a target.
        UnknownNameError: no such split, layer or class.
    """
    from granum.train._torch_dataset import TorchDataset

    opener(decoder)
    both = None if size is None else as_size(size)
    seen = dataset if layer is None else dataset.layer(layer)
    if not isinstance(classes, Classes):
        classes = classes_of(seen, task, classes, label_from=label_from)
    targets = targets_of(seen, task, classes, label_from=label_from, crowd=crowd)
    pictures = Pictures.of(seen)
    rows = np.arange(len(seen)) if split is None else rows_of_split(seen, split)
    known = targets.known()[rows]
    if missing == "raise" and not known.all():
        first = pictures.key(int(rows[~known][0]))
        raise UsageError(
            f"{int((~known).sum())} of {len(rows)} samples have no target for {task} (first: "
            f"{first!r}). missing='skip' leaves them out, missing='keep' gives them none; "
            "classes=[…] names the classes that count."
        )
    left_out = rows[~known] if missing == "skip" else np.empty(0, np.int64)
    made = TorchDataset(
        task=task,
        pictures=pictures,
        targets=targets,
        rows=rows,
        classes=classes,
        fingerprint="",
        size=both,
        transform=transform,
        on_error=on_error,
        decoder=decoder,
        reduce=reduce,
        left_out=left_out,
    )
    return subset(made, rows[known] if missing == "skip" else rows)


def as_size(size: tuple[int, int] | int) -> tuple[int, int]:
    """(height, width); one number is a square.

    Raises:
        UsageError: it is neither, or below 1.
    """
    both = (size, size) if isinstance(size, int | np.integer) else size
    try:
        height, width = (operator.index(n) for n in both)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise UsageError(f"size is {size!r}; it must be (height, width) or one number, at least 1")
    return height, width


def subset(dataset: TorchDataset, rows: npt.ArrayLike, **changes: Any) -> TorchDataset:
    """The same samples, but only these rows (of the dataset that ``to_torch`` was given)."""
    chosen = np.asarray(rows, np.int64)
    keys = dataset.pictures.keys.take(pa.array(chosen))
    return replace(dataset, rows=chosen, fingerprint=fingerprint_of_keys(keys), **changes)


def rows_of_split(dataset: Dataset, split: str) -> npt.NDArray[np.int64]:
    """The samples of a split: of the saved view of that name where there is one (``granum split``
    makes such), else of the column ``split``; ``col.NAME=SPLIT`` reads a derived column instead.

    Raises:
        UnknownNameError: there is no sample in it.
    """
    store = dataset.meta.store
    if store is not None and split in store.manifest["views"]:
        view = store.read(store.manifest["views"][split])
        return np.sort(np.asarray(view["sample"], np.int64))
    name, given, value = split.rpartition("=")
    name, split = (name, value) if given else ("split", split)
    names = dataset.samples([name])[name].cast(pa.string())
    rows = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(names, split), False)))
    if not len(rows):
        views = [] if store is None else [*store.manifest["views"]]
        raise UnknownNameError("split", split, [*names.drop_null().unique().to_pylist(), *views])
    return rows


def fingerprint_of_keys(keys: pa.Array) -> str:
    """A digest of keys in their order."""
    digest = hashlib.sha256(np.asarray(pc.binary_length(keys), np.int64).tobytes())
    digest.update("".join(keys.to_pylist()).encode())
    return digest.hexdigest()[:32]


@dataclass
class VisitSampler:
    """The batches of one rank, from a global step on; a batch sampler of torch's loader."""

    order: Order
    start: int
    stop: int
    rank: int = 0
    world: int = 1

    def __iter__(self) -> Iterator[list[Visit]]:
        return visits(self.order, self.start, self.stop, self.rank, self.world)

    def __len__(self) -> int:
        return self.stop - self.start


def loader(
    dataset: TorchDataset,
    batch_size: int,
    *,
    workers: int = 0,
    seed: int = 0,
    epoch: int = 0,
    epochs: int = 1,
    rank: int = 0,
    world: int = 1,
    start_step: int = 0,
    drop_last: bool = False,
    shuffle: bool = True,
    pin_memory: bool = False,
    start_method: str | None = None,
) -> DataLoader[dict[str, Any]]:
    """Batches of ``epochs`` epochs from ``epoch`` on. What comes at a step depends on the data's
    fingerprint, seed, epoch and step only: not on workers, ranks or where the loader started.

    Args:
        dataset: of :func:`to_torch`.
        batch_size: samples per step over **all** ranks, each of which gets an equal share (one
            more or fewer where it does not divide); every rank has the same number of steps.
        workers: processes that load; 0 loads here.
        seed: of the order and of transforms.
        epoch: the first epoch.
        epochs: how many.
        rank: this process, in 0..world - 1.
        world: how many processes train together.
        start_step: steps of the first epoch that were done already.
        drop_last: leave out an epoch's last batch where it is not full.
        shuffle: false: in the order of the rows.
        pin_memory: for faster copies to a GPU.
        start_method: of workers: ``fork``, ``spawn``, ``forkserver``.

    Raises:
        UsageError: an empty dataset, or no full batch with ``drop_last``.
    """
    import torch

    from granum.train._torch_dataset import Loader

    if not 0 <= rank < world:
        raise UsageError(f"rank {rank} is not in 0..{world - 1}")
    order = Order(len(dataset), dataset.fingerprint, seed, batch_size, drop_last, shuffle)
    first = epoch * order.steps
    sampler = VisitSampler(order, first + start_step, first + epochs * order.steps, rank, world)
    return Loader(
        dataset,
        batch_sampler=sampler,  # type: ignore[arg-type]  # its items are visits
        num_workers=workers,
        collate_fn=dataset.collate,
        pin_memory=pin_memory,
        multiprocessing_context=start_method if workers else None,
        worker_init_fn=one_thread,
        generator=torch.Generator(),  # the global one stays untouched
    )


def one_thread(_: int) -> None:
    """Workers share the cores: torch in each keeps to one."""
    import torch

    torch.set_num_threads(1)
