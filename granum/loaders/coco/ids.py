"""Ids of COCO records: any integer or string, kept apart from floats and from each other."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import UNSET

__all__ = ["IdIndex", "id_texts", "id_value", "needs_extra"]

Array = npt.NDArray[Any]
_INTEGER = re.compile(r"0|-?[1-9]\d*")


def id_value(text: str) -> int | str:
    """What a stored id means: an integer where it is written as one."""
    return int(text) if _INTEGER.fullmatch(text) else text


def needs_extra(value: Any) -> bool:
    """Whether ``id_value(str(value))`` would not give ``value`` back with its type."""
    if value is None or value is UNSET or type(value) is int:
        return False
    return type(value) is not str or _INTEGER.fullmatch(value) is not None


def id_texts(values: Array) -> pa.Array:
    """Ids as stored; null where absent."""
    if values.dtype == np.int64:
        return pa.array(values).cast(pa.string())
    return pa.array(
        [None if v is UNSET or v is None else str(v) for v in values.tolist()], pa.string()
    )


class IdIndex:
    """Finds the row of an id; integers in bulk."""

    def __init__(self, ids: Array) -> None:
        self._sorted: Array | None = None
        self._rows: dict[Any, int] = {}
        if ids.dtype == np.int64:
            # The first of equal ids counts: a stable sort keeps it first.
            self._order = np.argsort(ids, kind="stable")
            self._sorted = ids[self._order]
        else:
            for row, value in enumerate(ids.tolist()):
                if value is not UNSET and value is not None:
                    self._rows.setdefault(value, row)

    def rows(self, ids: Array) -> Array:
        """Row of each id; -1 where there is none, -2 where the record has no id."""
        if self._sorted is not None and ids.dtype == np.int64:
            if not len(self._sorted):
                return np.full(len(ids), -1)
            at = np.minimum(np.searchsorted(self._sorted, ids), len(self._sorted) - 1)
            return np.where(self._sorted[at] == ids, self._order[at], -1)
        rows = self._rows
        if self._sorted is not None:
            rows = {}
            for value, row in zip(self._sorted.tolist(), self._order.tolist(), strict=True):
                rows.setdefault(value, row)
        return np.array(
            [-2 if v is UNSET or v is None else rows.get(v, -1) for v in ids.tolist()], np.int64
        )


def repeated(ids: Array) -> Array:
    """Which records have an id that an earlier record has (absent ids are no ids)."""
    out = np.zeros(len(ids), bool)
    if ids.dtype == np.int64:
        order = np.argsort(ids, kind="stable")
        again = ids[order][1:] == ids[order][:-1]
        out[order[1:][again]] = True
        return out
    seen: set[Any] = set()
    for i, value in enumerate(ids.tolist()):
        if value is UNSET or value is None:
            continue
        out[i] = value in seen
        seen.add(value)
    return out
