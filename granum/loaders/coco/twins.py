"""Records of two files that are one annotation: person_keypoints beside instances."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from granum.loaders.base import Intake
from granum.loaders.coco import objects as an
from granum.loaders.coco.gather import gather
from granum.loaders.coco.ids import IdIndex
from granum.loaders.coco.records import Array
from granum.schema import tables

__all__ = ["join_twins", "with_joined"]


def join_twins(files: list[an.Annotations]) -> None:
    """Records of equal id and image in two files, whose shared keys agree, are one row.

    This is how person_keypoints files stand beside instances files.
    """
    for i, later in enumerate(files):
        ids = later.columns.get("id")
        if ids.dtype != np.int64 or not i:
            continue
        for earlier in files[:i]:
            known = earlier.columns.get("id")
            if known.dtype != np.int64:
                continue
            at = IdIndex(known).rows(ids)
            same = (at >= 0) & (later.sample >= 0) & (later.twin < 0)
            same &= earlier.sample[np.maximum(at, 0)] == later.sample
            for row in np.flatnonzero(same).tolist():
                if _agree(earlier, int(at[row]), later, row):
                    later.twin[row] = at[row]
                    later.sample[row] = -1
                    earlier.joined.setdefault(int(at[row]), []).append((later, row))


_JOINABLE = {"keypoints", "num_keypoints"}


def _agree(a: an.Annotations, i: int, b: an.Annotations, j: int) -> bool:
    """Whether two records have equal values under the keys that both have, and the second has
    no other keys than keypoints beside them."""
    keys_a = {k for n, k in enumerate(a.names) if int(a.codes[i]) >> n & 1}
    keys_b = {k for n, k in enumerate(b.names) if int(b.codes[j]) >> n & 1}
    if not keys_b - keys_a <= _JOINABLE or a.category[i] != b.category[j]:
        return False
    return all(_value(a, k, i) == _value(b, k, j) for k in (keys_a & keys_b) - {"category_id"})


def _value(a: an.Annotations, key: str, i: int) -> Any:
    c = a.columns
    if key in c.bulk:
        extra: dict[int, dict[str, Any]] = {}
        found = gather(c, key, np.array([i]), extra)
        return {n: array[0].as_py() for n, array in found.items()}, extra
    if key in c.where:
        starts, lengths = c.spans(key)
        return c.own.get(key, {}).get(i) or bytes(a.file.data[starts[i] : starts[i] + lengths[i]])
    return c.get(key)[i]


def with_joined(
    table: pa.Table, a: an.Annotations, at: Array, start: int, intake: Intake
) -> pa.Table:
    """Fill in what records of later files add to these rows."""
    here = {int(r): i for i, r in enumerate(at.tolist()) if int(r) in a.joined}
    if not here:
        return table
    origins, ordinal = table["origins"].to_pylist(), table["ordinal"].to_pylist()
    shape = tables.column(table, "shape").to_pylist()
    keypoints = tables.column(table, "keypoints").to_pylist()
    extra = tables.column(table, "extra").to_pylist()
    for row, i in here.items():
        sets = [_keys(a, row)]
        for later, j in a.joined[row]:
            one = an.table_of(later, np.array([j]), start, intake)
            origins[i] = [*origins[i], later.origin]
            ordinal[i] = [*ordinal[i], *one["ordinal"][0].as_py()]
            sets.append(_keys(later, j))
            if keypoints[i] is None and "keypoints" in one.column_names:
                keypoints[i] = one["keypoints"][0].as_py()
            if "extra" in one.column_names and one["extra"][0].as_py() is not None:
                mine = json.loads(extra[i]) if extra[i] else {}
                extra[i] = json.dumps(
                    {**json.loads(one["extra"][0].as_py()), **mine}, ensure_ascii=False
                )
        shape[i] = intake.shape(tuple(sets))
    changed = {
        "origins": origins,
        "ordinal": ordinal,
        "shape": shape,
        "keypoints": keypoints,
        "extra": extra,
    }
    for name, values in changed.items():
        if any(v is not None for v in values):
            table = tables.with_column(
                table, name, pa.array(values, tables.ANNOTATIONS.field(name).type)
            )
    return tables.conform(table, tables.ANNOTATIONS)


def _keys(a: an.Annotations, row: int) -> tuple[str, ...]:
    return tuple(k for n, k in enumerate(a.names) if int(a.codes[row]) >> n & 1)
