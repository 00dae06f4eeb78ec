"""How far two columns of equal length differ, row by row, for any type of the schema."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["JSON_COLUMNS", "differences"]

JSON_COLUMNS = frozenset({"attributes", "extra"})

Diffs = npt.NDArray[np.float64]


def differences(
    before: pa.Array | pa.ChunkedArray, after: pa.Array | pa.ChunkedArray, *, as_json: bool = False
) -> Diffs:
    """For each row the largest absolute difference of its numbers; 0 where equal, infinity where
    one is null, of another length, or a value that is no number differs.

    Args:
        before: a column.
        after: a column of the same type and length.
        as_json: compare strings as JSON values.
    """
    a, b = _one(before), _one(after)
    if len(a) == len(b) and a.equals(b):
        return np.zeros(len(a))
    if as_json:
        return _json(a, b)
    return _differ(a, b)


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    return array


def _json(a: pa.Array, b: pa.Array) -> Diffs:
    def same(x: str | None, y: str | None) -> bool:
        return x == y or (x is not None and y is not None and _alike(json.loads(x), json.loads(y)))

    pairs = zip(a.to_pylist(), b.to_pylist(), strict=True)
    return np.array([0.0 if same(x, y) else np.inf for x, y in pairs])


def _alike(x: Any, y: Any) -> bool:
    """Equal JSON values; ``true`` is not 1, though Python says so."""
    if isinstance(x, bool) or isinstance(y, bool):
        return x is y
    if isinstance(x, dict) and isinstance(y, dict):
        return x.keys() == y.keys() and all(_alike(v, y[k]) for k, v in x.items())
    if isinstance(x, list) and isinstance(y, list):
        return len(x) == len(y) and all(map(_alike, x, y))
    return bool(x == y)


def _differ(a: pa.Array, b: pa.Array) -> Diffs:
    valid_a, valid_b = np.asarray(a.is_valid()), np.asarray(b.is_valid())
    out = np.where(valid_a == valid_b, 0.0, np.inf)
    both = valid_a & valid_b
    if not both.any():
        return out
    kind = a.type
    if pa.types.is_dictionary(kind):
        return _differ(_one(a), _one(b))
    if pa.types.is_floating(kind):
        x, y = np.asarray(a.fill_null(0), np.float64), np.asarray(b.fill_null(0), np.float64)
        with np.errstate(invalid="ignore"):
            diff = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, np.abs(x - y))
        out[both] = np.where(np.isnan(diff), np.inf, diff)[both]
    elif pa.types.is_struct(kind):
        for i in range(kind.num_fields):
            out[both] = np.maximum(
                out, _differ(_one(pc.struct_field(a, i)), _one(pc.struct_field(b, i)))
            )[both]
    elif pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        _lists(a, b, both, out)
    else:
        equal = np.asarray(pc.fill_null(pc.equal(a, b), False))
        out[both] = np.where(equal, 0.0, np.inf)[both]
    return out


def _lists(a: pa.Array, b: pa.Array, both: npt.NDArray[np.bool_], out: Diffs) -> None:
    length_a = np.asarray(a.value_lengths().fill_null(0), np.int64)
    length_b = np.asarray(b.value_lengths().fill_null(0), np.int64)
    out[both & (length_a != length_b)] = np.inf
    rows = np.flatnonzero(both & (length_a == length_b) & (length_a > 0))
    if not len(rows):
        return
    inner = _differ(_one(a.take(pa.array(rows)).flatten()), _one(b.take(pa.array(rows)).flatten()))
    starts = np.cumsum(length_a[rows]) - length_a[rows]
    out[rows] = np.maximum.reduceat(inner, starts)
