"""One pass of a model over samples, without learning: losses, predictions, the official number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.schema import rows as row_objects
from granum.schema import tables
from granum.schema.rows import Annotation
from granum.schema.tables import column, with_column
from granum.schema.units import convert_units, is_relative
from granum.store.dataset import Dataset
from granum.store.parts import Part
from granum.train._trainer_ranks import Ranks
from granum.train.base import Facts, Hook
from granum.train.dataset import loader
from granum.train.order import keyed_number

if TYPE_CHECKING:
    import torch

    from granum.metrics.base import Protocol, Result
    from granum.train._torch_dataset import TorchDataset

__all__ = ["Batches", "Found", "Passes", "moved", "official", "prediction_table"]

STAY = ("size", "scale", "index", "image_id")
"""Tensors that hooks read on the CPU."""


def moved(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """A batch as hooks get it: on their device, images as float32 in 0..1."""
    import torch

    out: dict[str, Any] = {}
    for name, value in batch.items():
        if name in STAY:
            out[name] = value
        elif isinstance(value, torch.Tensor):
            out[name] = value.to(device, non_blocking=True)
        elif isinstance(value, list) and value and isinstance(value[0], torch.Tensor):
            out[name] = [v.to(device, non_blocking=True) for v in value]
        else:
            out[name] = value
    out["image"] = out["image"].contiguous().float().div_(255)
    return out


@dataclass(frozen=True)
class Batches:
    """Batches of samples as hooks get them; may be gone through again and again, in one order."""

    dataset: TorchDataset
    batch_size: int
    device: torch.device
    workers: int = 0
    seed: int = 0
    shuffle: bool = True

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if len(self.dataset):
            for batch in loader(
                self.dataset,
                self.batch_size,
                workers=self.workers,
                seed=self.seed,
                shuffle=self.shuffle,
            ):
                if bool(batch["weight"].all()):
                    yield moved(batch, self.device)


@dataclass
class Found:
    """What a pass found, by row of the dataset.

    Attributes:
        losses: shape (samples,); NaN where there is none.
        size: stored (height, width), shape (samples, 2); 0 where it was not read.
        table: predictions, ``sample`` is the row; pixels.
        faulty: rows that could not be read.
    """

    losses: npt.NDArray[np.float64]
    size: npt.NDArray[np.int64]
    table: pa.Table
    faulty: set[int] = field(default_factory=set)

    @classmethod
    def none(cls, samples: int) -> Found:
        empty = tables.empty(tables.ANNOTATIONS)
        return cls(np.full(samples, np.nan), np.zeros((samples, 2), np.int64), empty)

    def of_rows(self, rows: npt.NDArray[np.int64]) -> Found:
        """Of the selection ``rows`` (ascending), by its rows."""
        at = np.asarray(column(self.table, "sample"), np.int64)
        place = np.minimum(np.searchsorted(rows, at), max(len(rows) - 1, 0))
        keep = rows[place] == at if len(rows) else np.zeros(len(at), bool)
        table = with_column(self.table, "sample", pa.array(place)).filter(pa.array(keep))
        return Found(self.losses[rows], self.size[rows], table)

    def joined(self, others: list[Found]) -> Found:
        """With what others found of other rows."""
        out = Found(self.losses.copy(), self.size.copy(), self.table, set(self.faulty))
        for other in others:
            seen = ~np.isnan(other.losses)
            out.losses[seen] = other.losses[seen]
            out.size = np.maximum(out.size, other.size)
            out.faulty |= other.faulty
        pieces = [f.table for f in [self, *others] if f.table.num_rows]
        if pieces:
            table = pa.concat_tables(pieces, promote_options="default").unify_dictionaries()
            order = np.argsort(np.asarray(table["sample"], np.int64), kind="stable")
            out.table = table.take(pa.array(order))
        return out


@dataclass(frozen=True)
class Passes:
    """A model at hand, to be passed over data."""

    hook: Hook
    model: torch.nn.Module
    facts: Facts
    device: torch.device
    ranks: Ranks
    batch_size: int
    workers: int
    seed: int
    amp: bool = False

    def _precision(self) -> torch.autocast:
        import torch

        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp)

    def over(self, dataset: TorchDataset, *, losses: bool, predictions: bool) -> Found:
        """Losses and predictions of all samples of ``dataset``, each rank its share; the model is
        in evaluation mode. What cannot be read is left out, where ``on_error`` is not ``raise``.
        """
        import torch

        mine = Found.none(len(dataset.pictures.keys))
        if not len(dataset):
            return mine
        batches = loader(
            dataset,
            self.batch_size,
            workers=self.workers,
            shuffle=False,
            rank=self.ranks.rank,
            world=self.ranks.world,
        )
        pieces = []
        self.model.eval()
        torch.manual_seed(keyed_number(self.seed, "pass") >> 1)
        for raw in batches:
            mine.faulty |= set(raw["faulty"])
            if not bool(raw["weight"].any()):
                continue
            batch = moved(raw, self.device)
            index = batch["index"].numpy()
            mine.size[index] = batch["size"].numpy()
            with torch.no_grad(), self._precision():
                if losses:
                    mine.losses[index] = self.hook.losses(self.model, batch).double().cpu().numpy()
                if predictions:
                    found = self.hook.predict(self.model, batch, self.facts)
                    pieces.append(_table(found, index))
        if pieces:
            mine.table = pa.concat_tables(pieces, promote_options="default")
        return Found.none(len(mine.losses)).joined(self.ranks.gather(mine))


def _table(found: list[list[Annotation]], index: npt.NDArray[np.int64]) -> pa.Table:
    """Predictions of a batch as columns."""
    if len(found) != len(index):
        raise UsageError(f"predict gave {len(found)} lists for {len(index)} samples")
    flat = []
    for row, listed in zip(index.tolist(), found, strict=True):
        for annotation in listed:
            annotation.sample = row
            flat.append(annotation)
    table = row_objects.annotations_to_table(flat)
    filled = [n for n in table.column_names if table[n].null_count < table.num_rows]
    return table.select(list(dict.fromkeys(["sample", *filled])))


def predicted(dataset: Dataset, found: Found, name: str) -> Dataset:
    """``dataset``, whose rows were passed over, seen with the predictions as its current layer, in
    memory; sizes that the store did not know are filled in."""
    table = prediction_table(dataset, found)
    at = np.asarray(column(table, "sample").fill_null(-1), np.int64)

    def seen(part: Part) -> Part:
        first, last = np.searchsorted(at, [part.start, part.start + part.rows])
        piece = table.slice(int(first), int(last - first))
        sized = with_sizes(part, found.size)

        def layer(asked: str) -> pa.Table:
            return piece if asked == name else part.layer(asked)

        return Part(part.start, part.rows, sized.samples, layer)

    meta = replace(dataset.meta, layers={**dataset.meta.layers, name: {}}, layer=name, store=None)
    return Dataset(
        [seen(p) for p in dataset.parts],
        dataset.categories,
        dataset.groups,
        dataset.sources,
        meta,
    )


def with_sizes(part: Part, size: npt.NDArray[np.int64]) -> Part:
    """A part whose unknown sizes are those that were read."""

    def samples() -> pa.Table:
        table = part.samples()
        for k, name in enumerate(("height", "width")):
            read = size[part.start : part.start + part.rows, k].astype(np.int32)
            known = pc.coalesce(column(table, name), pa.array(read, mask=read == 0))
            table = with_column(table, name, known)
        return table

    return Part(part.start, part.rows, samples, part.layer)


def prediction_table(dataset: Dataset, found: Found) -> pa.Table:
    """Predictions as annotations of ``dataset``, in the unit of each sample."""
    ids = pa.array(np.arange(1, found.table.num_rows + 1))
    table = tables.conform(with_column(found.table, "annotation_id", ids), tables.ANNOTATIONS)
    relative = is_relative(dataset.samples(["unit"]))
    if not relative.any() or not table.num_rows:
        return table
    factors = np.ones((len(dataset), 2))
    factors[relative] = 1 / np.maximum(found.size[relative][:, ::-1], 1)
    return convert_units(table, np.asarray(table["sample"], np.int64), factors)


def official(
    source: Dataset, rows: npt.NDArray[np.int64], found: Found, protocol: Protocol, name: str
) -> Result:
    """The protocol's result on ``rows`` of ``source``, whose current layer is true."""
    from granum.metrics.evaluate import evaluate

    dataset, found = source.select(rows), found.of_rows(rows)
    parts = [with_sizes(p, found.size) for p in dataset.parts]
    truth = Dataset(parts, dataset.categories, dataset.groups, dataset.sources, dataset.meta)
    return evaluate(truth, predicted(dataset, found, name), protocol)
