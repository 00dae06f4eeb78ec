"""A sample's predicted regions, flat or a tree, as cuts of one partition into leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.metrics._maps.drawn import DrawnSample, has_mask, is_whole_map
from granum.metrics._usable import rows_left_out
from granum.schema.findings import Findings

__all__ = ["Cuts", "tree_cuts"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cuts:
    """Cuts of one partition.

    Attributes:
        leaves: of each pixel, shape (height, width).
        regions: that each leaf belongs to at each threshold, shape (thresholds, leaves).
        rows: how many rows it is made of.
    """

    leaves: Ints
    regions: Ints
    rows: int


def tree_cuts(sample: DrawnSample, thresholds: Floats, found: Findings) -> Cuts | None:
    """The cuts of a sample's regions; None where no row has a mask. What is left out is a finding.

    A whole label map is one cut. In a tree, a pixel's leaf is the deepest row that covers it; at
    threshold t it belongs to the highest row above that leaf which is reached by rows of
    granularity t at most. What no row covers is one leaf more.
    """
    rows = [row for row in sample.rows if row["kind"] == "object"]
    parents_of = {row["parent"] for row in rows}
    bare = [r for r in rows if not has_mask(r) and r["annotation_id"] not in parents_of]
    who, key = "predictions", sample.key
    rows_left_out(found, "missing-geometry", who, key, bare, "without a mask")
    whole = [row for row in rows if is_whole_map(row)]
    if whole and all(row["parent"] is None for row in rows):
        beside = [row for row in rows if row is not whole[0] and row not in bare]
        what = "beside a label map of all regions"
        rows_left_out(found, "duplicate-annotation", who, key, beside, what)
        values = sample.values(whole[0])
        known, flat = np.unique(values, return_inverse=True)
        leaves = flat.reshape(values.shape).astype(np.int64)
        return Cuts(leaves, np.tile(np.arange(len(known)), (len(thresholds), 1)), 1)
    order, parents = _parents_first(rows)
    placed = [rows[i] for i in order]
    drawn = [i for i, row in enumerate(placed) if has_mask(row)]
    canvas = sample.painted([placed[i] for i in drawn], lambda k, _: drawn[k], empty=len(placed))
    if canvas is None or not drawn:
        return None
    return Cuts(canvas, _tops(placed, parents, thresholds), len(rows) - len(bare))


def _parents_first(rows: Sequence[dict[str, Any]]) -> tuple[list[int], list[int]]:
    """An order of the rows in which parents come first, and for each place that of its parent (-1:
    none here; a row that is its own ancestor counts as a root)."""
    row_of = {row["annotation_id"]: i for i, row in enumerate(rows)}
    above = [row_of.get(row["parent"], -1) for row in rows]
    children: dict[int, list[int]] = {}
    for i, parent in enumerate(above):
        children.setdefault(parent, []).append(i)
    order: list[int] = []
    places: dict[int, int] = {}
    for root in [*children.get(-1, []), *range(len(rows))]:
        waiting = [] if root in places else [root]
        while waiting:
            row = waiting.pop()
            if row not in places:
                places[row] = len(order)
                order.append(row)
                waiting += reversed(children.get(row, []))
    return order, [
        places[above[row]] if above[row] >= 0 and places[above[row]] < place else -1
        for place, row in enumerate(order)
    ]


def _tops(rows: Sequence[dict[str, Any]], parents: Sequence[int], thresholds: Floats) -> Ints:
    """For each threshold and row (and the rest), the row that stands for it in the cut."""
    tops = np.tile(np.arange(len(rows) + 1), (len(thresholds), 1))
    for place, parent in enumerate(parents):
        if parent >= 0 and rows[parent]["granularity"] is not None:
            joined = rows[parent]["granularity"] <= thresholds
            tops[joined, place] = tops[joined, parent]
    return tops
