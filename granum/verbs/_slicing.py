"""What samples or groups are, by a column, for slices of a result."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from granum.errors import UnknownNameError, UsageError
from granum.schema import tables
from granum.schema.attributes import PREFIX, attribute_dicts
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = ["labels_of"]

_RANGES = 5
"""Equally full ranges that a column of many numbers is cut into."""

_FEW = 12
"""Most values of a column of numbers that are slices of their own."""


def labels_of(dataset: Dataset, name: str, *, groups: bool = False) -> dict[str, Any]:
    """What each sample (or group) is, by key: the values of a column; of numbers with more than
    twelve values five ranges with as many samples each, named by their ends. A group is what its
    own column says, else what all its samples have in common; a sample is what its own column
    says, else its group's. ``group`` is the group's key.

    Raises:
        UnknownNameError: no such column.
        UsageError: it holds lists or objects.
    """
    samples, keys = dataset.samples(), dataset.groups["key"].to_pylist()
    of = column(samples, "group", tables.SAMPLES).to_pylist()
    theirs = keys if name == "group" else _values(dataset.groups, name, tables.GROUPS)
    mine = None if name == "group" else _values(samples, name, tables.SAMPLES)
    told = theirs is not None and any(v is not None for v in theirs)
    if theirs is None and mine is None:
        known = {*_names_of(samples), *_names_of(dataset.groups)}
        raise UnknownNameError("column", name, sorted(known))
    if groups and told:
        return dict(zip(keys, _ranged(theirs or []), strict=True))
    if not groups:
        if mine is None or (told and all(v is None for v in mine)):
            mine = [None if g is None or theirs is None else theirs[g] for g in of]
        return dict(zip(samples["key"].to_pylist(), _ranged(mine), strict=True))
    found: dict[int, set[Any]] = {}
    for group, value in zip(of, _ranged(mine or [None] * len(of)), strict=True):
        found.setdefault(group, set()).add(value)
    common = {row: next(iter(s)) for row, s in found.items() if len(s) == 1}
    return {key: common.get(row) for row, key in enumerate(keys)}


def _values(table: pa.Table, name: str, schema: pa.Schema) -> list[Any] | None:
    """Of a column, or of an attribute ``attr.NAME``; None where there is neither.

    Raises:
        UsageError: it holds lists or objects.
    """
    if name.startswith(PREFIX):  # a typed column, JSON, or both
        plain = name.removeprefix(PREFIX)
        table = table.select([n for n in ("attributes", name) if n in table.column_names])
        values = [(row or {}).get(plain) for row in attribute_dicts(table)]
        if all(v is None for v in values):
            return None
    elif name in table.column_names:
        values = table[name].to_pylist()
    else:
        return [None] * table.num_rows if name in schema.names else None
    if any(isinstance(v, list | dict) for v in values):
        raise UsageError(f"{name} holds lists or objects: there are no slices by them")
    return values


def _names_of(table: pa.Table) -> set[str]:
    """Columns and attributes that slices may be by."""
    plain = {f.name for f in table.schema if f.name != "attributes" and not _is_nested(f.type)}
    rows = attribute_dicts(table)
    told = {name for row in rows for name, value in (row or {}).items() if value is not None}
    return plain | {f"{PREFIX}{name}" for name in told}


def _is_nested(kind: pa.DataType) -> bool:
    return pa.types.is_nested(kind) and not pa.types.is_dictionary(kind)


def _ranged(values: list[Any]) -> list[Any]:
    """Texts as they are; many numbers as ranges; what is no number is None."""
    values = [None if isinstance(v, float) and not np.isfinite(v) else v for v in values]
    known = [v for v in values if v is not None]
    numbers = [v for v in known if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(known) or len(set(numbers)) <= _FEW:
        return [v if v is None or isinstance(v, int | float) else str(v) for v in values]
    ends = np.unique(np.quantile(np.array(numbers, np.float64), np.linspace(0, 1, _RANGES + 1)))
    names = _names(ends)
    return [None if v is None else names[_place(ends, v)] for v in values]


def _place(ends: Any, value: float) -> int:
    return int(np.clip(np.searchsorted(ends, value, side="right") - 1, 0, max(len(ends) - 2, 0)))


def _names(ends: Any) -> list[str]:
    """``1: 0.2 to 0.5``: numbered, so that they sort as their numbers do."""
    if len(ends) < 2:
        return [f"{ends[0]:.4g}"]
    return [f"{i}: {a:.4g} to {b:.4g}" for i, (a, b) in enumerate(pairwise(ends), 1)]
