"""Bulk-parsed values of records in any order, from the chunks of their file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from granum.loaders.coco.geometries import Parsed, Polygons
from granum.loaders.coco.numbers import list_array
from granum.loaders.coco.records import Array, Columns

__all__ = ["gather"]


def gather(
    columns: Columns, key: str, at: Array, extra: dict[int, dict[str, Any]]
) -> dict[str, pa.Array]:
    """Values of ``key`` for records ``at``, in that order, by names of the schema.

    Values that fit no column are put into ``extra``.
    """
    parsed = columns.bulk.get(key)
    if parsed is None:
        return {}
    chunks = [Parsed() if p is None else p for p in parsed]
    starts = np.cumsum([0, *(len(i) for i in columns.index)])
    owner = np.searchsorted(starts, at, side="right") - 1
    local = at - starts[owner]
    for number, chunk in enumerate(chunks):
        if chunk.extra:
            for i in np.flatnonzero(owner == number).tolist():
                if int(local[i]) in chunk.extra:
                    extra.setdefault(i, {})[key] = chunk.extra[int(local[i])]
    out = {}
    if any(c.polygons is not None for c in chunks):
        out["polygons"] = _polygons([c.polygons for c in chunks], owner, local)
    for name in dict.fromkeys(n for c in chunks for n in c.arrays):
        out[name] = _taken([c.arrays.get(name) for c in chunks], owner, local)
    return out


def _taken(arrays: list[pa.Array | None], owner: Array, local: Array) -> pa.Array:
    """``arrays[owner][local]``; null where a chunk has no array."""
    kind = next(a.type for a in arrays if a is not None)
    order = np.argsort(owner, kind="stable")
    cuts = np.searchsorted(owner[order], np.arange(len(arrays) + 1))
    pieces = []
    for number, array in enumerate(arrays):
        mine = local[order[cuts[number] : cuts[number + 1]]]
        if len(mine):
            pieces.append(
                pa.nulls(len(mine), kind) if array is None else array.take(pa.array(mine))
            )
    whole = pa.concat_arrays(pieces) if pieces else pa.nulls(0, kind)
    if (order[1:] > order[:-1]).all():
        return whole
    return whole.take(pa.array(np.argsort(order)))


def _polygons(chunks: list[Polygons | None], owner: Array, local: Array) -> pa.Array:
    """Polygons of records, each a list of parts of one ring, as COCO has them.

    Coordinates are copied as one slice of bytes per record, which is what makes it fast.
    """
    n = len(owner)
    first, last = np.zeros(n, np.int64), np.zeros(n, np.int64)
    counts, valid = np.zeros(n, np.int64), np.zeros(n, bool)
    lengths: list[Array] = []
    places: list[Array] = []
    for number, chunk in enumerate(chunks):
        if chunk is None:
            continue
        here = np.flatnonzero(owner == number)
        rows = local[here]
        begin, end = chunk.rows[rows], chunk.rows[rows + 1]
        first[here], last[here] = chunk.rings[begin], chunk.rings[end]
        counts[here], valid[here] = end - begin, chunk.valid[rows]
        within = np.arange((end - begin).sum()) - np.repeat(
            np.cumsum(end - begin) - (end - begin), end - begin
        )
        lengths.append(np.diff(chunk.rings)[np.repeat(begin, end - begin) + within])
        places.append(np.repeat(here, end - begin))
    views = [memoryview(b"") if c is None else c.values.data.cast("B") for c in chunks]
    slices = zip(owner.tolist(), (first * 8).tolist(), (last * 8).tolist(), strict=True)
    coords = b"".join([views[c][a:b] for c, a, b in slices])
    values = pa.Array.from_buffers(pa.float64(), len(coords) // 8, [None, pa.py_buffer(coords)])
    ring = np.concatenate([*lengths, np.empty(0, np.int64)])
    ring = ring[np.argsort(np.concatenate([*places, np.empty(0, np.int64)]), kind="stable")]
    rings = list_array(np.concatenate([[0], np.cumsum(ring)]), values)
    parts = list_array(np.arange(len(ring) + 1), rings)
    return list_array(np.concatenate([[0], np.cumsum(counts)]), parts, ~valid)
