"""Rules about boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.curate.extents import Extents
from granum.curate.rules import Broken, Rows, Rule, rules
from granum.schema.geometry import convert_boxes
from granum.schema.tables import column

__all__ = ["BoxOutside", "DuplicateBox", "Empty", "Tiny", "box_iou", "is_object"]

Floats = npt.NDArray[np.float64]


def is_object(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Which annotations are of kind ``object``."""
    kind = column(table, "kind").cast(pa.string())
    return np.asarray(pc.equal(kind, "object").fill_null(False))


def box_iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of pairs of ``xywh`` boxes, shapes (n, 4); 0 where both are empty."""
    p, q = convert_boxes(a, "xyxy"), convert_boxes(b, "xyxy")
    side = np.minimum(p[:, 2:], q[:, 2:]) - np.maximum(p[:, :2], q[:, :2])
    common = np.prod(np.maximum(side, 0), axis=1)
    union = np.prod(a[:, 2:], axis=1) + np.prod(b[:, 2:], axis=1) - common
    return np.divide(common, union, out=np.zeros(len(a)), where=union > 0)


@rules("empty")
@dataclass(frozen=True)
class Empty(Rule):
    """An object without any geometry, or whose box is not finite or has no width or height."""

    name = "empty"
    severity = "error"
    about = "an object without geometry, or with a box of no width, no height or no number"

    def broken(self, extents: Extents) -> Broken:
        table = extents.batch.annotations
        drawn = np.zeros(table.num_rows, bool)
        for name in ("bbox", "polygons", "polyline", "rle", "map", "keypoints", "box3d"):
            drawn |= np.asarray(column(table, name).is_valid())
        boxed = np.asarray(column(table, "bbox").is_valid())
        box = extents.boxes
        with np.errstate(invalid="ignore"):
            bad = ~np.isfinite(box).all(axis=1) | (box[:, 2:] <= 0).any(axis=1)
        return Broken(np.flatnonzero((is_object(table) & ~drawn) | (boxed & bad)))


@rules("box_outside")
@dataclass(frozen=True)
class BoxOutside(Rule):
    """A box that reaches beyond its image.

    Attributes:
        pixels: how far it may.
    """

    pixels: float = 1.0

    name = "box_outside"
    about = "a box reaches beyond its image; by how many pixels"

    def broken(self, extents: Extents) -> Broken:
        corners = convert_boxes(extents.in_pixels(extents.boxes), "xyxy")
        with np.errstate(invalid="ignore"):
            over = np.maximum(-corners[:, :2], corners[:, 2:] - extents.sizes).max(axis=1)
            rows = np.flatnonzero(over > self.pixels)
        return Broken(rows, over[rows])


@rules("tiny")
@dataclass(frozen=True)
class Tiny(Rule):
    """An object too small to be seen.

    Attributes:
        side: shortest side of the box, in pixels.
        area: least area of the mask or box, in pixels.
    """

    side: float = 2.0
    area: float = 9.0

    name = "tiny"
    about = "a box or mask too small to be seen; its area in pixels"

    def broken(self, extents: Extents) -> Broken:
        shortest = extents.in_pixels(extents.boxes)[:, 2:].min(axis=1)
        areas = extents.areas
        with np.errstate(invalid="ignore"):
            small = (shortest < self.side) | (areas < self.area)
        thing = is_object(extents.batch.annotations) & ~_is_point(extents.batch.annotations)
        rows = np.flatnonzero(small & thing)
        return Broken(rows, areas[rows])


def _is_point(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Points and lines have no area and are none the worse for it."""
    drawn = column(table, "shape_kind").cast(pa.string())
    return np.asarray(pc.is_in(drawn, value_set=pa.array(["point", "line"])))


@rules("duplicate_box")
@dataclass(frozen=True)
class DuplicateBox(Rule):
    """A second box of one class around the same thing. Where both are parts (``parent``), they are
    compared only under one parent.

    Attributes:
        iou: from which intersection over union on.
    """

    iou: float = 0.9

    name = "duplicate_box"
    about = "two boxes of one class in an image overlap almost wholly; their IoU"

    def broken(self, extents: Extents) -> Broken:
        table, boxes = extents.batch.annotations, extents.boxes
        usable = is_object(table) & np.isfinite(boxes).all(axis=1)
        keys = [
            np.asarray(column(table, name).fill_null(-1), np.int64)
            for name in ("sample", "category", "parent")
        ]
        usable &= (keys[0] >= 0) & (keys[1] >= 0)
        worst = np.zeros(table.num_rows)
        other = np.full(table.num_rows, -1)
        for first, second in _pairs_in_groups(np.flatnonzero(usable), keys):
            overlap = box_iou(boxes[first], boxes[second])
            hit = overlap >= self.iou
            early, late = np.minimum(first, second)[hit], np.maximum(first, second)[hit]
            # The first of the best is written last; earlier blocks hold earlier rows.
            order = np.lexsort([-early, overlap[hit]])
            better = order[overlap[hit][order] > worst[late[order]]]
            worst[late[better]], other[late[better]] = overlap[hit][better], early[better]
        rows = np.flatnonzero(other >= 0)
        return Broken(rows, worst[rows], other[rows])


_PAIRS = 1 << 20


def _pairs_in_groups(rows: Rows, keys: list[Rows]) -> Iterator[tuple[Rows, Rows]]:
    """All pairs of rows with equal keys, about a million at a time."""
    order = np.lexsort([rows, *(k[rows] for k in keys)])
    rows = rows[order]
    same = np.ones(max(len(rows) - 1, 0), bool)
    for key in keys:
        same &= key[rows[1:]] == key[rows[:-1]]
    # How many rows of the group follow each row.
    ends = np.append(np.flatnonzero(~same) + 1, len(rows)) if len(rows) else np.empty(0, np.int64)
    follow = np.repeat(ends, np.diff(ends, prepend=0)) - np.arange(len(rows)) - 1
    start = 0
    while start < len(rows):
        done = np.cumsum(follow[start:])
        count = max(1, int(np.searchsorted(done, _PAIRS, side="right")))
        some = follow[start : start + count]
        first = np.repeat(np.arange(start, start + count), some)
        within = np.arange(len(first)) - np.repeat(np.cumsum(some) - some, some)
        yield rows[first], rows[first + 1 + within]
        start += count
