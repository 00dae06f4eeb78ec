"""What differs between rows that belong together: fields, how far boxes moved, attributes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.schema import geometry, tables
from granum.schema.attributes import PREFIX, attribute_dicts
from granum.schema.compare import JSON_COLUMNS, differences
from granum.schema.tables import column
from granum.schema.units import POINT_COLUMNS, convert_units, is_relative
from granum.verbs._content import BOOKKEEPING, REFERENCES, rle_content

__all__ = [
    "MASKS",
    "OWN_CATEGORY",
    "Roots",
    "Tracks",
    "attribute_changes",
    "changed_columns",
    "comparable",
    "compare_annotations",
    "corner_shift",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Roots = tuple[str | None, str | None]
"""The folders that paths of a and of b are relative to."""

Attributes = dict[str, Any] | None

MASKS = ("polygons", "rle", "map")

OWN_CATEGORY = "col./category"
"""Where joint numbers replaced a dataset's own (no derived column can have this name)."""


def comparable(
    annotations: pa.Table, categories: Ints, own: pa.Table | None, other: pa.Table | None
) -> pa.Table:
    """Annotations with joint category numbers, in pixels where a size is known.

    Args:
        annotations: rows whose ``sample`` is a row of ``own``.
        categories: the joint number of each category.
        own: their samples; None for rows of whole groups.
        other: the same samples in the other dataset, which may know a size that ``own`` lacks.
    """
    old = column(annotations, "category")
    if old.null_count < len(old) and not np.array_equal(categories, np.arange(len(categories))):
        values = categories[np.asarray(old.fill_null(0), np.int64)]
        array = pa.array(values, pa.int32(), mask=np.asarray(old.is_null()))
        annotations = tables.with_column(annotations, OWN_CATEGORY, old)
        annotations = tables.with_column(annotations, "category", pa.chunked_array([array]))
    if own is None or other is None or not annotations.num_rows:
        return annotations
    relative = is_relative(own)
    if not relative.any():
        return annotations
    factors = np.ones((own.num_rows, 2))
    for axis, name in enumerate(("width", "height")):
        size = pc.coalesce(column(own, name), column(other, name)).fill_null(1)
        factors[relative, axis] = np.asarray(size, np.float64)[relative]
    return convert_units(annotations, np.asarray(annotations["sample"], np.int64), factors)


class Tracks:
    """Which track of a is which of b: numbers may differ, as long as they do so throughout."""

    def __init__(self) -> None:
        self._to: dict[int, int] = {}
        self._from: dict[int, int] = {}

    def changed(self, a: pa.ChunkedArray, b: pa.ChunkedArray, *, learn: bool = True) -> Mask:
        """Where a row's tracks are not each other's; ``learn`` from pairs met first here."""
        null_a, null_b = np.asarray(a.is_null()), np.asarray(b.is_null())
        out = null_a != null_b
        rows = np.flatnonzero(~null_a & ~null_b)
        if not len(rows):
            return np.asarray(out)
        both = np.column_stack([np.asarray(x.fill_null(0), np.int64)[rows] for x in (a, b)])
        pairs, first, inverse = np.unique(both, axis=0, return_index=True, return_inverse=True)
        wrong = np.zeros(len(pairs), bool)
        to, back = (self._to, self._from) if learn else (dict(self._to), dict(self._from))
        # Equal numbers bind first, then pairs in the order in which they are met.
        for i in np.lexsort((first, pairs[:, 0] != pairs[:, 1])).tolist():
            x, y = pairs[i].tolist()
            if to.setdefault(x, y) != y or back.setdefault(y, x) != x:
                wrong[i] = True
        out[rows] = wrong[inverse.reshape(-1)]
        return np.asarray(out)


def compare_annotations(
    a: pa.Table,
    b: pa.Table,
    tolerance: float,
    ids: tuple[pa.Array, pa.Array],
    tracks: Tracks,
    roots: Roots,
    *,
    ignore: Iterable[str] = (),
    learn: bool = True,
) -> dict[str, Mask]:
    """For each field in which some pair differs, which pairs do.

    Args:
        a, b: paired rows in comparable form.
        tolerance: how far coordinates may differ, in pixels (areas: by as much as that moves).
        ids: annotation ids of all pairs known, for references.
        tracks: the tracks met so far.
        roots: folders of label maps.
        ignore: columns that do not count.
        learn: whether these pairs are settled (then ``tracks`` remembers them).
    """
    skip = {*BOOKKEEPING, *REFERENCES, "track", *ignore}
    out = changed_columns(a, b, skip, {"map": roots}, tolerance)
    for name in REFERENCES:
        if name not in ignore:
            out[name] = _references(column(a, name), column(b, name), *ids)
    if "track" not in ignore and any(column(t, "track").null_count < t.num_rows for t in (a, b)):
        out["track"] = tracks.changed(column(a, "track"), column(b, "track"), learn=learn)
    return {name: mask for name, mask in out.items() if mask.any()}


def changed_columns(
    a: pa.Table,
    b: pa.Table,
    skip: Iterable[str],
    roots: Mapping[str, Roots],
    tolerance: float = 0.0,
) -> dict[str, Mask]:
    """For each column in which rows of equal number differ, which rows do."""
    out = {}
    left_out = {*skip}
    for name in dict.fromkeys([*a.column_names, *b.column_names]):
        if name in left_out or name == "attributes" or name.startswith((PREFIX, "col.")):
            continue
        schema = next(
            s for s in (tables.ANNOTATIONS, tables.SAMPLES, tables.GROUPS) if name in s.names
        )
        one, two = column(a, name, schema), column(b, name, schema)
        if one.null_count == len(one) and two.null_count == len(two):
            continue
        if name == "rle":
            one, two = rle_content(one), rle_content(two)
        two = two if two.type == one.type else two.cast(one.type)
        diff = differences(one, two, as_json=name in JSON_COLUMNS)
        mask = diff > 0
        if tolerance and mask.any():
            mask = _beyond(name, one, two, diff, a, tolerance)
        if name in roots and mask.any():
            mask = _other_files(one, two, mask, roots[name])
        if mask.any():
            out[name] = mask
    if "attributes" not in left_out and (mask := _attributes(a, b)).any():
        out["attributes"] = mask
    return out


def corner_shift(a: pa.ChunkedArray, b: pa.ChunkedArray) -> Floats:
    """How far the furthest corner of each box moved, along x or y; NaN where one is absent."""
    valid_a, one = geometry.fixed_list(a)
    valid_b, two = geometry.fixed_list(b)
    with np.errstate(invalid="ignore"):
        x, y = geometry.convert_boxes(one, "xyxy"), geometry.convert_boxes(two, "xyxy")
        shift = np.where(x == y, 0.0, np.abs(x - y)).max(axis=1, initial=0.0)
    return np.where(valid_a & valid_b, shift, np.nan)


def _beyond(name: str, one: Any, two: Any, diff: Floats, table: pa.Table, tolerance: float) -> Mask:
    if name == "bbox":
        shift = corner_shift(one, two)
        return np.where(np.isnan(shift), diff > 0, shift > tolerance)
    if name in POINT_COLUMNS:
        return diff > tolerance
    if name == "area":
        size = np.nan_to_num(geometry.aabb(table)[:, 2:].sum(axis=1))
        return diff > 2 * tolerance * size + 4 * tolerance**2
    return diff > 0


def _references(a: pa.ChunkedArray, b: pa.ChunkedArray, ids_a: pa.Array, ids_b: pa.Array) -> Mask:
    """References differ unless they lead to the two of one pair (or, where they lead to rows
    that are not at hand, are the same number)."""
    if a.null_count == len(a) and b.null_count == len(b):
        return np.zeros(len(a), bool)
    at = np.asarray(pc.index_in(a, value_set=ids_a).fill_null(-1), np.int64)
    bt = np.asarray(pc.index_in(b, value_set=ids_b).fill_null(-1), np.int64)
    raw_a, raw_b = (np.asarray(x.fill_null(-1), np.int64) for x in (a, b))
    return np.asarray((at != bt) | ((at < 0) & (raw_a != raw_b)))


def _other_files(one: Any, two: Any, mask: Mask, roots: Roots) -> Mask:
    """Of rows that differ, those whose paths do not lead to one file either."""
    out = mask.copy()
    rows = np.flatnonzero(mask)
    taken = (x.take(pa.array(rows)).to_pylist() for x in (one, two))
    for row, x, y in zip(rows.tolist(), *taken, strict=True):
        if x is None or y is None:
            continue
        if x.get("digest") is not None and x["digest"] == y["digest"]:
            same = x | {"path": None, "bytes": None} == y | {"path": None, "bytes": None}
        else:
            same = x | {"path": None} == y | {"path": None} and _file(x["path"], roots[0]) == _file(
                y["path"], roots[1]
            )
        out[row] = not same
    return out


def _file(path: str | None, root: str | None) -> str | None:
    if path is None:
        return None
    return os.path.normpath(path if root is None else os.path.join(root, path))  # noqa: PTH118


# ---------------------------------------------------------------------- attributes


def _attributes(a: pa.Table, b: pa.Table) -> Mask:
    """Where the attributes of two rows differ, whether in columns of their own or in JSON."""
    out = np.zeros(a.num_rows, bool)
    names_a, names_b = ({n for n in t.column_names if n.startswith(PREFIX)} for t in (a, b))
    for name in names_a | names_b:
        if name in names_a & names_b and a[name].type == b[name].type:
            out |= differences(a[name], b[name]) > 0
        else:
            for table, names in ((a, names_a), (b, names_b)):
                if name in names:
                    out |= np.asarray(table[name].is_valid())
    out |= differences(column(a, "attributes"), column(b, "attributes")) > 0
    rows = np.flatnonzero(out)
    for row, (one, two) in zip(rows.tolist(), _dicts(a, b, rows), strict=True):
        # An empty object is not the absence of one.
        out[row] = (one is None) != (two is None) or bool(_names(one, two))
    return out


def attribute_changes(a: pa.Table, b: pa.Table, rows: Ints) -> list[list[str]]:
    """For each of ``rows`` the names of the attributes that differ."""
    return [_names(one, two) for one, two in _dicts(a, b, rows)]


def _dicts(a: pa.Table, b: pa.Table, rows: Ints) -> Iterable[tuple[Attributes, Attributes]]:
    """The attributes of ``rows`` on both sides, from both forms."""
    found: list[list[Attributes]] = []
    for table in (a, b):
        names = [n for n in table.column_names if n == "attributes" or n.startswith(PREFIX)]
        taken = table.select(names).take(pa.array(rows)) if names and len(rows) else None
        found.append([None] * len(rows) if taken is None else attribute_dicts(taken))
    return zip(*found, strict=True)


def _names(one: Attributes, two: Attributes) -> list[str]:
    absent = object()
    x, y = one or {}, two or {}
    return sorted(n for n in {**x, **y} if not _same(x.get(n, absent), y.get(n, absent)))


def _same(x: Any, y: Any) -> bool:
    """Equal as JSON: ``true`` is not 1."""
    return isinstance(x, bool) == isinstance(y, bool) and bool(x == y)
