"""A part: some samples in a row, with their annotations by layer. What memory holds at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.schema import tables
from granum.schema.tables import column, with_column

__all__ = ["Batch", "Part", "annotation_rows", "select_parts"]

Indices = npt.NDArray[np.int64]

SELECT_ROWS = 16_384
"""Samples per part of a selection."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples in a row and the annotations of one layer.

    ``start`` is the dataset row of the first sample; ``annotations.sample`` counts from the
    start of the dataset. Columns that are null throughout may be absent.
    """

    samples: pa.Table
    annotations: pa.Table
    start: int = 0

    def offsets(self) -> Indices:
        """Where the annotations of each sample begin, length samples + 1 (global row order)."""
        return sample_offsets(self.annotations, self.start, self.samples.num_rows)


def sample_offsets(annotations: pa.Table, start: int, samples: int) -> Indices:
    """Offsets into rows sorted by sample; rows without a sample come after the last one."""
    rows = np.asarray(column(annotations, "sample").fill_null(start + samples), np.int64)
    return np.searchsorted(rows, np.arange(start, start + samples + 1), side="left")


class Part:
    """Lazily loaded samples and layers.

    Args:
        start: dataset row of the first sample.
        rows: how many samples.
        samples: loads the sample table.
        layer: loads a layer's annotations; its ``sample`` counts from the dataset's start.
    """

    __slots__ = ("_layer", "_samples", "rows", "start")

    def __init__(
        self,
        start: int,
        rows: int,
        samples: Callable[[], pa.Table],
        layer: Callable[[str], pa.Table],
    ) -> None:
        self.start, self.rows, self._samples, self._layer = start, rows, samples, layer

    def samples(self) -> pa.Table:
        return _samples(self)

    def layer(self, name: str) -> pa.Table:
        return _layer(self, name)

    def offsets(self, name: str) -> Indices:
        """Where each sample's annotations begin in ``layer(name)``, length rows + 1."""
        return _offsets(self, name)

    def batch(self, name: str) -> Batch:
        return Batch(self.samples(), self.layer(name), self.start)

    def moved(self, start: int) -> Part:
        """The same part at another place of a dataset."""
        shift = start - self.start
        if not shift:
            return self

        def layer(name: str) -> pa.Table:
            table = self.layer(name)
            if not table.num_rows:
                return table
            return with_column(table, "sample", pc.add(column(table, "sample"), shift))

        return Part(start, self.rows, self.samples, layer)

    def mapped(self, change: Callable[[Batch], Batch]) -> Part:
        """``change`` applied when loaded; it keeps the number of samples."""
        return Part(
            self.start,
            self.rows,
            lambda: change(self.batch(tables.DEFAULT_LAYER)).samples,
            lambda name: change(self.batch(name)).annotations,
        )


# Parts of a selection or a mapping are computed when asked for; a few are kept.
@lru_cache(maxsize=16)
def _samples(part: Part) -> pa.Table:
    return part._samples()


@lru_cache(maxsize=16)
def _layer(part: Part, name: str) -> pa.Table:
    return part._layer(name)


@lru_cache(maxsize=16)
def _offsets(part: Part, name: str) -> Indices:
    return sample_offsets(part.layer(name), part.start, part.rows)


def annotation_rows(offsets: Indices, local: Indices) -> tuple[Indices, Indices]:
    """Rows of the annotations of samples ``local``, in their order, and for each row its
    position in ``local``."""
    counts = offsets[local + 1] - offsets[local]
    position = np.repeat(np.arange(len(local)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return offsets[local][position] + within, position


def select_parts(parts: Sequence[Part], indices: Indices) -> Iterator[Part]:
    """Parts that hold the samples ``indices`` (dataset rows), in that order.

    Annotations of a whole group go with the first selected sample of the group.
    """
    starts = np.array([p.start for p in parts], np.int64)
    for begin in range(0, len(indices), SELECT_ROWS):
        block = indices[begin : begin + SELECT_ROWS]
        yield _selection(parts, starts, block, begin, indices[:begin])


def _selection(
    parts: Sequence[Part], starts: Indices, block: Indices, begin: int, before: Indices
) -> Part:
    owner = np.searchsorted(starts, block, side="right") - 1
    used = [parts[i] for i in dict.fromkeys(owner.tolist())]
    places = [np.flatnonzero(owner == i) for i in dict.fromkeys(owner.tolist())]
    order = np.argsort(np.concatenate(places)) if places else np.empty(0, np.int64)

    def samples() -> pa.Table:
        taken = [p.samples().take(block[at] - p.start) for p, at in zip(used, places, strict=True)]
        joined = concat(taken, tables.SAMPLES)
        return joined if len(taken) == 1 else joined.take(order)

    def layer(name: str) -> pa.Table:
        taken = []
        for part, at in zip(used, places, strict=True):
            table, offsets = part.layer(name), part.offsets(name)
            rows, position = annotation_rows(offsets, block[at] - part.start)
            chosen = table.take(rows)
            taken.append(with_column(chosen, "sample", pa.array(at[position] + begin, pa.int64())))
            whole = table.slice(offsets[-1])
            if whole.num_rows:
                taken.append(_of_first_groups(whole, part, block, before, parts))
        joined = concat(taken, tables.ANNOTATIONS)
        if len(taken) > 1:
            joined = joined.take(pc.sort_indices(joined, [("sample", "ascending")]))
        return joined

    return Part(begin, len(block), samples, layer)


def _of_first_groups(
    whole: pa.Table, part: Part, block: Indices, before: Indices, parts: Sequence[Part]
) -> pa.Table:
    """Rows of whole groups whose first selected sample is in ``block``."""

    def groups(indices: Indices) -> pa.Array:
        local = indices[(indices >= part.start) & (indices < part.start + part.rows)] - part.start
        return column(part.samples(), "group").take(pa.array(local)).combine_chunks().unique()

    here = pc.is_in(whole["group"], value_set=groups(block))
    earlier = pc.is_in(whole["group"], value_set=groups(before))
    return whole.filter(pc.and_(here, pc.invert(earlier)))


def concat(pieces: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """One table of all rows; a column that a piece lacks is null there."""
    if not pieces:
        return tables.empty(schema)
    if len(pieces) == 1:
        return pieces[0]
    return pa.concat_tables(pieces, promote_options="default")
