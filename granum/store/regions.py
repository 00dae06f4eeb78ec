"""Rows that have their masks from other rows of their sample.

A tree of regions keeps the label image of its leaves once: a leaf's row names its value and the
digest of the image, which one row holds, and a row above the leaves means the union of its children
(docs/decisions/007-region-trees.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.schema.tables import column

__all__ = ["held_maps", "inner_nodes", "leaves_below"]

Cell = dict[str, Any] | None
_BINARY = ("nonzero", "greater")


def held_maps(maps: Sequence[Cell], samples: Sequence[Any]) -> list[Cell]:
    """Cells of the column ``map``, each with the path or bytes of the label image it means.

    Args:
        maps: cells; one without path and bytes means the image of the cell with its digest.
        samples: of each row; images are shared within one.

    Returns:
        The cells; None also where no cell of the sample has the digest.
    """
    has = [m is not None and (m["path"] is not None or m["bytes"] is not None) for m in maps]
    holder = {
        (sample, m["digest"]): m
        for sample, m, there in zip(samples, maps, has, strict=True)
        if there and m is not None and m["digest"] is not None
    }
    out: list[Cell] = []
    for sample, cell, there in zip(samples, maps, has, strict=True):
        if cell is None or there:
            out.append(cell)
            continue
        held = holder.get((sample, cell["digest"]))
        out.append(held and {**cell, "path": held["path"], "bytes": held["bytes"]})
    return out


def inner_nodes(table: pa.Table) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which annotations of region trees mean the union of their children: those that others name
    as parent, with a granularity, without RLE, polygons, and value in a label image."""
    if not {"granularity", "parent"} <= {*table.column_names}:
        return np.zeros(table.num_rows, bool)
    parents = column(table, "parent").drop_null()
    stood_on = pc.is_in(column(table, "annotation_id"), value_set=parents.combine_chunks())
    inner = pc.and_(stood_on, column(table, "granularity").is_valid())
    for name in ("rle", "polygons"):
        inner = pc.and_(inner, column(table, name).is_null())
    maps = column(table, "map").combine_chunks()
    values = pc.is_valid(pc.struct_field(maps, "value"))
    coding = pc.struct_field(maps, "encoding").cast(pa.string())
    mask = pc.or_(values, pc.is_in(coding, value_set=pa.array(_BINARY)))
    return np.asarray(pc.and_(inner, pc.invert(mask)), bool)


def leaves_below(
    ids: Sequence[int | None], parents: Sequence[int | None], inner: Sequence[bool]
) -> dict[int, list[int]]:
    """For each inner node the rows below it whose masks make its own: its children, and in place
    of those that are inner nodes too, theirs.

    Args:
        ids: annotation ids.
        parents: ids of the rows above, of any rows.
        inner: which rows have no mask of their own.

    Returns:
        Positions by position; none for a row on which no other stands. A row that is above itself
        ends there.
    """
    row_of = {number: i for i, number in enumerate(ids) if number is not None}
    above = [-1 if p is None else row_of.get(p, -1) for p in parents]
    out: dict[int, list[int]] = {i: [] for i, is_inner in enumerate(inner) if is_inner}
    stood_on = {*above}
    for leaf, is_inner in enumerate(inner):
        here, seen = above[leaf], {leaf}
        if is_inner and leaf in stood_on:
            continue
        while here in out and here not in seen:
            out[here].append(leaf)
            seen.add(here)
            here = above[here]
    return out
