"""Arrow arrays of shapes from flat numbers, for reader and writer alike."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from granum.loaders.yolo.parse import Floats, Ints, Mask

__all__ = [
    "around",
    "box_column",
    "dictionary",
    "extents",
    "ones",
    "point_column",
    "polygon_column",
    "upright",
]


def box_column(boxes: Floats, where: Mask) -> pa.Array:
    """Boxes, shape (n, 4); null where not ``where``."""
    flat = pa.array(np.where(where[:, None], boxes, 0.0).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, 4, mask=pa.array(~where))


def polygon_column(coords: Floats, count: Ints, where: Mask) -> pa.Array:
    """Polygons of one ring each: ``coords`` of the rows ``where``, ``count`` numbers each."""
    rings = pa.ListArray.from_arrays(_offsets(count), pa.array(coords))
    parts = pa.ListArray.from_arrays(_offsets(np.ones(len(count), np.int64)), rings)
    offsets = _offsets(where.astype(np.int64))
    return pa.ListArray.from_arrays(offsets, parts, mask=pa.array(~where))


def point_column(points: Floats, where: Mask) -> pa.Array:
    """Lists of numbers, one row of ``points`` each; null where not ``where``."""
    count = np.where(where, points.shape[1], 0)
    flat = pa.array(points[where].ravel())
    return pa.ListArray.from_arrays(_offsets(count), flat, mask=pa.array(~where))


def ones(values: Ints, kind: pa.DataType) -> pa.Array:
    """Lists of one number each."""
    return pa.ListArray.from_arrays(
        _offsets(np.ones(len(values), np.int64)), pa.array(values, kind)
    )


def _offsets(count: Ints) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(count)]).astype(np.int32))


def dictionary(value: str, n: int) -> pa.Array:
    """One text in all of ``n`` rows."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([value]))


def extents(coords: Floats, count: Ints) -> Floats:
    """The ``xywh`` box of each ring; ``coords`` alternate x and y."""
    if not len(count):
        return np.empty((0, 4))
    points = coords.reshape(-1, 2)
    starts = (np.cumsum(count) - count) // 2
    low = np.minimum.reduceat(points, starts, axis=0)
    return np.hstack([low, np.maximum.reduceat(points, starts, axis=0) - low])


def upright(coords: Floats, count: Ints, task: str) -> Mask:
    """Which rings are upright rectangles, from the top left clockwise; for seg back to it.

    Our writer writes boxes so among polygons: trainers take a row of four numbers for a polygon
    of two points there.
    """
    n = 8 if task == "obb" else 10
    out = np.asarray(count == n)
    if not out.any():
        return out
    start = (np.cumsum(count) - count)[out]
    p = coords[start[:, None] + np.arange(n)]
    box = p[:, [0, 1, 2, 5]]
    out[out] = (p == around(box, task)).all(axis=1) & (box[:, 2:] >= box[:, :2]).all(axis=1)
    return out


def around(corners: Floats, task: str) -> Floats:
    """The ring of boxes of which two corners are given (x0, y0, x1, y1), as ``upright`` has it."""
    order = [0, 1, 2, 1, 2, 3, 0, 3, 0, 1]
    return corners[:, order[:8] if task == "obb" else order]
