"""A dataset in the numbers of another that it is added to: one pass per table, when loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.schema.attributes import attribute_dicts
from granum.schema.tables import column, with_column, without_columns
from granum.store.dataset import Dataset
from granum.store.parts import Part
from granum.verbs._content import REFERENCES

__all__ = ["MOST", "Redirect", "Shift"]

Ints = npt.NDArray[np.int64]

MOST = 2**15 - 1
"""The highest number of a source or of a set of keys (16 bits)."""


@dataclass(frozen=True)
class Redirect:
    """Numbers that stand for others; ``old`` is sorted."""

    old: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    new: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def of(cls, old: Ints, new: Ints) -> Redirect:
        unique, first = np.unique(old, return_index=True)
        return cls(unique, new[first])

    def __call__(self, values: Ints) -> Ints:
        if not len(self.old):
            return values
        at = np.minimum(np.searchsorted(self.old, values), len(self.old) - 1)
        return np.where(self.old[at] == values, self.new[at], values)


@dataclass(frozen=True)
class Shift:
    """How the numbers of a dataset change.

    Attributes:
        categories, groups: for each row its new row.
        ids, tracks, sources, shapes: what is added to annotation ids (and references), tracks,
            origins, sets of keys.
        keys: new keys of samples, by row.
        same: annotation ids (after shifting) that stand for another: the rows are left out and
            references to them moved.
        same_tracks: tracks (after shifting) that are another.
        in_json: ``attr.*`` columns that go back to JSON, for samples and for annotations.
        no_sample_ids, no_annotation_ids: source ids are cleared.
        without_groups: annotations of these whole groups (old rows) are left out.
    """

    categories: Ints
    groups: Ints
    ids: int = 0
    tracks: int = 0
    sources: int = 0
    shapes: int = 0
    keys: Mapping[int, str] = field(default_factory=dict)
    same: Redirect = field(default_factory=Redirect)
    same_tracks: Redirect = field(default_factory=Redirect)
    in_json: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    no_sample_ids: bool = False
    no_annotation_ids: bool = False
    without_groups: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    def applied(self, dataset: Dataset) -> Dataset:
        """The dataset in its new numbers; its tables of categories, groups and sources stay."""
        parts = [self._part(p) for p in dataset.parts]
        return Dataset(parts, dataset.categories, dataset.groups, dataset.sources, dataset.meta)

    def _part(self, part: Part) -> Part:
        return Part(
            part.start,
            part.rows,
            lambda: self.samples(part.samples(), part.start),
            lambda name: self.annotations(part.layer(name)),
        )

    def samples(self, table: pa.Table, start: int = 0) -> pa.Table:
        """A sample table in new numbers; ``start`` is the row of its first sample."""
        table = self._record(_to_json(table, self.in_json[0]))
        table = _looked_up(table, "group", self.groups)
        if self.no_sample_ids:
            table = without_columns(table, ("source_id",))
        mine = {r - start: k for r, k in self.keys.items() if 0 <= r - start < table.num_rows}
        if mine:
            keys = table["key"].cast(pa.string()).to_pylist()
            for row, key in mine.items():
                keys[row] = key
            table = with_column(table, "key", pa.array(keys, pa.string()))
        return table

    def annotations(self, table: pa.Table) -> pa.Table:
        """An annotation table in new numbers, without what is left out."""
        if len(self.without_groups):
            whole = np.asarray(column(table, "sample").is_null())
            gone = np.isin(np.asarray(column(table, "group").fill_null(-1)), self.without_groups)
            table = table.filter(pa.array(~(whole & gone)))
        table = self._record(_to_json(table, self.in_json[1]))
        table = _looked_up(table, "group", self.groups)
        table = _looked_up(table, "category", self.categories)
        for name in ("annotation_id", *REFERENCES):
            table = _added(table, name, self.ids)
        table = _added(table, "track", self.tracks)
        if len(self.same_tracks.old):
            table = _redirected(table, "track", self.same_tracks)
        if len(self.same.old):
            ids = np.asarray(table["annotation_id"], np.int64)
            table = table.filter(pa.array(~np.isin(ids, self.same.old)))
            for name in REFERENCES:
                table = _redirected(table, name, self.same)
        return without_columns(table, ("source_id",)) if self.no_annotation_ids else table

    def _record(self, table: pa.Table) -> pa.Table:
        """Origins and sets of keys in new numbers; absent where these end."""
        if self.sources and "origins" in table.column_names:
            array = table["origins"].combine_chunks()
            values = np.asarray(array.flatten(), np.int64) + self.sources
            if values.max(initial=0) > MOST:
                return without_columns(table, ("origins", "ordinal", "shape"))
            lengths = np.asarray(array.value_lengths().fill_null(0), np.int64)
            offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
            mask = pa.array(~np.asarray(array.is_valid()))
            lists = pa.ListArray.from_arrays(offsets, pa.array(values, pa.int16()), mask=mask)
            table = with_column(table, "origins", lists)
        if self.shapes and "shape" in table.column_names:
            old = table["shape"]
            shapes = np.asarray(old.fill_null(0), np.int64) + self.shapes
            null = np.asarray(old.is_null()) | (shapes > MOST)
            table = with_column(
                table, "shape", pa.array(np.where(null, 0, shapes), pa.int16(), mask=null)
            )
        return table


def _added(table: pa.Table, name: str, by: int) -> pa.Table:
    if not by or name not in table.column_names:
        return table
    return with_column(table, name, pc.add(table[name], by))


def _looked_up(table: pa.Table, name: str, to: Ints) -> pa.Table:
    values = column(table, name)
    if values.null_count == len(values) or np.array_equal(to, np.arange(len(to))):
        return table
    rows = to[np.asarray(values.fill_null(0), np.int64)]
    return with_column(table, name, pa.array(rows, values.type, mask=np.asarray(values.is_null())))


def _redirected(table: pa.Table, name: str, redirect: Redirect) -> pa.Table:
    values = column(table, name)
    if values.null_count == len(values):
        return table
    new = redirect(np.asarray(values.fill_null(0), np.int64))
    return with_column(table, name, pa.array(new, values.type, mask=np.asarray(values.is_null())))


def _to_json(table: pa.Table, names: frozenset[str]) -> pa.Table:
    """Attributes in columns of another type than elsewhere go back to JSON."""
    back = [n for n in table.column_names if n in names]
    if not back:
        return table
    apart = attribute_dicts(table.select([*back, *({"attributes"} & {*table.column_names})]))
    texts = [None if row is None else msgspec.json.encode(row).decode() for row in apart]
    return with_column(without_columns(table, back), "attributes", pa.array(texts, pa.string()))
