"""Slices of a result by columns of samples or groups."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from granum.errors import UnknownNameError
from granum.metrics.base import Result
from granum.metrics.resampling import slices
from granum.schema import tables
from granum.schema.attributes import attribute_dicts
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = ["labels_of", "sliced"]

_RANGES = 5
"""Equally full ranges that a column of many numbers is cut into."""

_FEW = 12
"""Most values of a column of numbers that are slices of their own."""


def sliced(result: Result, truth: Dataset, by: Sequence[str]) -> dict[str, pa.Table]:
    """The numbers by each of some columns.

    Raises:
        UnknownNameError: no such column.
        UsageError: the protocol cannot count again.
    """
    groups = result.recount is not None and result.recount.unit == "group"
    return {name: slices(result, labels_of(truth, name, groups=groups)) for name in by}


def labels_of(dataset: Dataset, name: str, *, groups: bool = False) -> dict[str, Any]:
    """What each sample (or group) is, by key: the values of a column; of numbers with more than
    twelve values five ranges with as many samples each, named by their ends. A group is what its
    own column says, else what all its samples have in common.

    Raises:
        UnknownNameError: no such column.
    """
    own = _values(dataset.groups, name, tables.GROUPS) if groups else None
    if own is not None and any(v is not None for v in own):
        keys = dataset.groups["key"].to_pylist()
        return dict(zip(keys, _ranged(own), strict=True))
    samples = dataset.samples()
    values = _values(samples, name, tables.SAMPLES)
    if values is None:
        known = [*samples.column_names, *(dataset.groups.column_names if groups else ())]
        raise UnknownNameError("column", name, sorted(set(known)))
    values = _ranged(values)
    if not groups:
        return dict(zip(samples["key"].to_pylist(), values, strict=True))
    found: dict[int, set[Any]] = {}
    for group, value in zip(column(samples, "group").to_pylist(), values, strict=True):
        found.setdefault(group, set()).add(value)
    of = {row: next(iter(s)) for row, s in found.items() if len(s) == 1}
    return {key: of.get(row) for row, key in enumerate(dataset.groups["key"].to_pylist())}


def _values(table: pa.Table, name: str, schema: pa.Schema) -> list[Any] | None:
    """Of a column, or of an attribute ``attr.NAME`` in the JSON; None where there is neither."""
    if name in table.column_names:
        kind = table.schema.field(name).type
        nested = pa.types.is_nested(kind) and not pa.types.is_dictionary(kind)
        return None if nested else table[name].to_pylist()
    if name in schema.names:  # null throughout
        return [None] * table.num_rows
    if name.startswith("attr."):
        plain = name.removeprefix("attr.")
        values = [(row or {}).get(plain) for row in attribute_dicts(table)]
        if any(isinstance(v, list | dict) for v in values) or all(v is None for v in values):
            return None
        return values
    return None


def _ranged(values: list[Any]) -> list[Any]:
    """Texts as they are; many numbers as ranges."""
    known = [v for v in values if v is not None]
    numbers = [v for v in known if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(known) or len(set(numbers)) <= _FEW:
        return [v if v is None or isinstance(v, int | float) else str(v) for v in values]
    array = np.array(numbers, np.float64)
    ends = np.unique(np.quantile(array[~np.isnan(array)], np.linspace(0, 1, _RANGES + 1)))
    names = _names(ends)
    return [None if v is None or v != v else names[_place(ends, v)] for v in values]


def _place(ends: Any, value: float) -> int:
    return int(np.clip(np.searchsorted(ends, value, side="right") - 1, 0, max(len(ends) - 2, 0)))


def _names(ends: Any) -> list[str]:
    """``1: 0.2 to 0.5``: numbered, so that they sort as their numbers do."""
    if len(ends) < 2:
        return [f"{ends[0]:.4g}"]
    return [f"{i}: {a:.4g} to {b:.4g}" for i, (a, b) in enumerate(pairwise(ends), 1)]
