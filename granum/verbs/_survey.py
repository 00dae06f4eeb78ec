"""What must be known of a dataset before it is merged: one pass over a few of its columns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.schema.attributes import PREFIX
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.verbs._content import REFERENCES

__all__ = ["Survey", "distinct", "has_path", "meet", "survey", "values_of"]

Ints = npt.NDArray[np.int64]


@dataclass
class Survey:
    """Facts of a dataset.

    Attributes:
        annotations: rows by layer.
        ids: annotation ids and what references name, sorted.
        tracks: numbers of tracks, sorted.
        types: types of the ``attr.*`` columns, by table (``samples``, ``annotations``).
        media_paths, map_paths: whether it refers to images, to label maps by path.
    """

    keys: pa.ChunkedArray
    annotations: dict[str, int] = field(default_factory=dict)
    ids: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    tracks: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    types: dict[str, dict[str, pa.DataType]] = field(
        default_factory=lambda: {"samples": {}, "annotations": {}}
    )
    media_paths: bool = False
    map_paths: bool = False


def survey(dataset: Dataset) -> Survey:
    """Look through a dataset, part by part."""
    out = Survey(dataset.samples(["key"])["key"].cast(pa.string()))
    out.annotations = dict.fromkeys(dataset.meta.layers, 0)
    out.media_paths = has_path(dataset.groups, "media")
    ids, tracks = [out.ids], [out.tracks]
    for part in dataset.parts:
        samples = part.samples()
        out.media_paths = out.media_paths or has_path(samples, "media")
        _types(samples, out.types["samples"])
        for name in dataset.meta.layers:
            table = part.layer(name)
            out.annotations[name] += table.num_rows
            out.map_paths = out.map_paths or has_path(table, "map")
            _types(table, out.types["annotations"])
            for column_name in ("annotation_id", *REFERENCES):
                ids.append(values_of(table, column_name))
            tracks.append(distinct(values_of(table, "track")))
    out.ids, out.tracks = distinct(*ids), distinct(*tracks)
    return out


def distinct(*listed: Ints) -> Ints:
    """The numbers that occur, sorted (quickly where the arrays are sorted already)."""
    values = np.sort(np.concatenate(listed), kind="stable")
    return values[np.concatenate([[True], values[1:] != values[:-1]])[: len(values)]]


def meet(a: Ints, b: Ints) -> bool:
    """Whether two sorted arrays without repetitions share a number."""
    if not len(a) or not len(b) or a[-1] < b[0] or b[-1] < a[0]:
        return False
    return len(distinct(a, b)) < len(a) + len(b)


def values_of(table: pa.Table, name: str) -> Ints:
    """The values of an integer column that are not null."""
    return np.asarray(column(table, name).drop_null(), np.int64)


def has_path(table: pa.Table, name: str) -> bool:
    """Whether any row of a ``media`` or ``map`` column names a file."""
    if name not in table.column_names or table[name].null_count == table.num_rows:
        return False
    paths = pc.struct_field(table[name], "path")
    return bool(paths.null_count < len(paths))


def _types(table: pa.Table, known: dict[str, pa.DataType]) -> None:
    for name in table.column_names:
        if name.startswith(PREFIX):
            known.setdefault(name, table[name].type)
