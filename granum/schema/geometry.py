"""Boxes, polygons, run-length masks: the only place that rasterises or rounds.

All coordinates are continuous pixels, origin at the top-left corner of the top-left pixel.
Boxes are ``xywh`` unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = [
    "FlatPolygons",
    "aabb",
    "areas",
    "box_to_corners",
    "convert_boxes",
    "corners_to_box",
    "encode_mask",
    "flat_polygons",
    "polygon_area",
    "rasterize",
    "rle_counts",
    "rle_counts_many",
    "rle_decode",
    "rle_encode_counts",
    "rle_overlong",
]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def convert_boxes(boxes: npt.ArrayLike, to: str) -> Floats:
    """``xywh`` boxes, shape (n, 4), as ``xywh``, ``xyxy`` or ``cxcywh``."""
    xywh = np.asarray(boxes, np.float64).reshape(-1, 4)
    if to == "xywh":
        return xywh
    if to == "xyxy":
        return np.column_stack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])
    if to == "cxcywh":
        return np.column_stack([xywh[:, :2] + xywh[:, 2:] / 2, xywh[:, 2:]])
    raise ValueError(f"unknown box order {to!r}; known: xywh, xyxy, cxcywh")


def box_to_corners(box: Sequence[float], angle: float) -> Floats:
    """The corners, shape (4, 2), of an ``xywh`` box turned by ``angle`` about its centre.

    Order: top-left, top-right, bottom-right, bottom-left of the unrotated box; radians,
    positive clockwise on the screen.
    """
    x, y, w, h = box
    offsets = np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) / 2
    c, s = np.cos(angle), np.sin(angle)
    turned = offsets @ np.array([[c, s], [-s, c]])
    return np.asarray(turned + [x + w / 2, y + h / 2])


def corners_to_box(
    corners: npt.ArrayLike, tolerance: float = 1e-3
) -> tuple[tuple[float, float, float, float], float] | None:
    """The ``xywh`` box and angle of four corners, or None where they form no rectangle.

    ``tolerance`` is in pixels: how far a corner may lie from the rectangle's. The first edge
    is the width; the angle is in (-pi, pi].
    """
    p = np.asarray(corners, np.float64).reshape(4, 2)
    centre = p.mean(axis=0)
    along, down = p[1] - p[0], p[3] - p[0]
    w, h = float(np.hypot(*along)), float(np.hypot(*down))
    if w <= 0 or h <= 0:
        return None
    angle = float(np.arctan2(along[1], along[0]))
    box = (float(centre[0] - w / 2), float(centre[1] - h / 2), w, h)
    if np.abs(box_to_corners(box, angle) - p).max() > tolerance:
        return None
    return box, angle


@dataclass(frozen=True, slots=True)
class FlatPolygons:
    """A polygon column as flat arrays: ``coords`` (x, y alternating), and offsets of rings into
    coords, of parts into rings, of rows into parts (each one longer than its count)."""

    coords: Floats
    rings: npt.NDArray[np.int64]
    parts: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]

    def ring_rows(self) -> npt.NDArray[np.int64]:
        """For each ring, the row it belongs to."""
        part_rows = np.repeat(np.arange(len(self.rows) - 1), np.diff(self.rows))
        return np.repeat(part_rows, np.diff(self.parts))


def flat_polygons(column: pa.Array | pa.ChunkedArray) -> FlatPolygons:
    """Flat arrays of a ``polygons`` column; null rows have no parts."""
    array = _one(column)
    levels = []
    for _ in range(3):
        lengths = np.asarray(array.value_lengths().fill_null(0), np.int64)
        levels.append(np.concatenate([[0], np.cumsum(lengths)]))
        array = array.flatten()
    rows, parts, rings = levels
    return FlatPolygons(np.asarray(array, np.float64), rings, parts, rows)


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def polygon_area(ring: npt.ArrayLike) -> float:
    """Area of one ring, flat x, y, by the shoelace formula; never negative."""
    p = np.asarray(ring, np.float64).reshape(-1, 2)
    x, y = p[:, 0], p[:, 1]
    with np.errstate(invalid="ignore", over="ignore"):  # infinite corners: NaN
        return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def areas(annotations: pa.Table) -> Floats:
    """Area of each row in square units: of the RLE's pixels, else of the polygons (outer rings less
    holes; overlapping parts count twice), else of the box; NaN where it has none of them."""
    n = annotations.num_rows
    out = np.full(n, np.nan)
    if "bbox" in annotations.column_names:
        valid, boxes = fixed_list(annotations["bbox"])
        out[valid] = (boxes[:, 2] * boxes[:, 3])[valid]
    if "polygons" in annotations.column_names:
        with np.errstate(invalid="ignore", over="ignore"):  # infinite coordinates: no area
            for i, parts in enumerate(annotations["polygons"].to_pylist()):
                if parts:
                    out[i] = sum(
                        polygon_area(r[: len(r) // 2 * 2]) * (-1 if k else 1)
                        for part in parts
                        for k, r in enumerate(part)
                    )
    if "rle" in annotations.column_names:
        for i, rle in enumerate(annotations["rle"].to_pylist()):
            if rle is not None:
                out[i] = float(rle_counts(rle["counts"])[1::2].sum())
    return out


def aabb(annotations: pa.Table) -> Floats:
    """Axis-aligned boxes, shape (n, 4) xywh, of whatever geometry each row has; NaN where none.

    Taken from, in this order: ``bbox`` (turned by ``angle``), polygons, RLE, keypoints with
    visibility above 0, polyline.
    """
    n = annotations.num_rows
    out = np.full((n, 4), np.nan)
    names = set(annotations.column_names)
    if "polyline" in names:
        _fill_extents(out, annotations["polyline"], 2, None)
    if "keypoints" in names:
        _fill_extents(out, annotations["keypoints"], 3, 2)
    if "rle" in names and annotations["rle"].null_count < n:
        from pycocotools import mask as coco_mask

        for i, rle in enumerate(annotations["rle"].to_pylist()):
            if rle is not None:
                out[i] = coco_mask.toBbox({"size": rle["size"], "counts": rle["counts"]})
    if "polygons" in names and annotations["polygons"].null_count < n:
        flat = flat_polygons(annotations["polygons"])
        _extents(
            out, flat.coords.reshape(-1, 2), np.repeat(flat.ring_rows(), np.diff(flat.rings) // 2)
        )
    if "bbox" in names and annotations["bbox"].null_count < n:
        valid, boxes = fixed_list(annotations["bbox"])
        angle = (
            np.nan_to_num(np.asarray(_one(annotations["angle"]).cast(pa.float64()), np.float64))
            if "angle" in names
            else np.zeros(n)
        )
        centre = boxes[:, :2] + boxes[:, 2:] / 2
        c, s = np.abs(np.cos(angle)), np.abs(np.sin(angle))
        size = np.column_stack(
            [boxes[:, 2] * c + boxes[:, 3] * s, boxes[:, 2] * s + boxes[:, 3] * c]
        )
        turned = np.where((angle != 0)[:, None], np.hstack([centre - size / 2, size]), boxes)
        out[valid] = turned[valid]
    return out


def fixed_list(column: pa.Array | pa.ChunkedArray) -> tuple[Mask, Floats]:
    """A fixed-size list column of doubles as (validity, values of shape (n, size)); null = 0."""
    array = _one(column)
    size = array.type.list_size
    valid = np.asarray(array.is_valid())
    values = array.values.slice(array.offset * size, len(array) * size)
    block = np.asarray(values.fill_null(np.nan), np.float64).reshape(-1, size)
    if not valid.all():
        block = np.where(valid[:, None], block, 0.0)
    return valid, block


def _extents(out: Floats, points: Floats, rows: npt.NDArray[np.int64]) -> None:
    """Set ``out[row]`` to the box of its points; ``rows`` is sorted."""
    if not len(points):
        return
    starts = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))
    low = np.minimum.reduceat(points, starts, axis=0)
    high = np.maximum.reduceat(points, starts, axis=0)
    out[rows[starts]] = np.hstack([low, high - low])


def _fill_extents(out: Floats, column: pa.ChunkedArray, width: int, shown: int | None) -> None:
    if column.null_count == len(column):
        return
    array = _one(column)
    lengths = np.asarray(array.value_lengths().fill_null(0), np.int64)
    if (lengths % width).any():
        return
    points = np.asarray(array.flatten(), np.float64).reshape(-1, width)
    rows = np.repeat(np.arange(len(array)), lengths // width)
    if shown is not None:
        rows, points = rows[points[:, shown] > 0], points[points[:, shown] > 0]
    _extents(out, points[:, :2], rows)


def rle_counts(compressed: bytes) -> npt.NDArray[np.int64]:
    """Run lengths of a compressed COCO RLE (cocoapi ``rleFrString``).

    Raises:
        ValueError: the string holds characters outside 48..111 or ends inside a number.
    """
    values, _ = rle_counts_many(compressed, np.array([0, len(compressed)]))
    return values


def rle_counts_many(
    data: bytes | memoryview, offsets: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Run lengths of many compressed RLEs at once.

    Args:
        data: the strings, one after the other.
        offsets: where each begins, one longer than their number.

    Returns:
        All run lengths, and where those of each string begin.

    Raises:
        ValueError: as ``rle_counts``.
    """
    raw = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]].astype(np.int64) - 48
    bounds = offsets - offsets[0]
    if not len(raw):
        return raw, np.zeros(len(offsets), np.int64)
    last = bounds[1:][np.diff(bounds) > 0] - 1
    if raw.min() < 0 or raw.max() > 63 or (raw[last] & 0x20).any():
        raise ValueError("not a compressed RLE string")
    ends = np.flatnonzero(raw & 0x20 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    position = np.arange(len(raw)) - np.repeat(starts, ends - starts + 1)
    if position.max() > 8:
        raise ValueError("a run length in the RLE is too long")
    values = np.add.reduceat((raw & 0x1F) << (5 * position), starts)
    negative = raw[ends] & 0x10 != 0
    values[negative] -= (1 << (5 * (ends - starts + 1)))[negative]
    begin = np.searchsorted(starts, bounds)
    within = np.arange(len(values)) - np.repeat(begin[:-1], np.diff(begin))
    # From the third on, a value is the difference to the last but one: sum up odd and even
    # positions apart, starting anew in each string (the very first count stands alone).
    for chosen in (within % 2 == 1, (within % 2 == 0) & (within >= 2)):
        at = np.flatnonzero(chosen)
        if len(at):
            total = np.cumsum(values[at])
            first = within[at] <= 2
            base = np.where(first, total - values[at], 0)
            own = np.maximum.accumulate(np.where(first, np.arange(len(at)), 0))
            values[at] = total - base[own]
    return values, begin


def rle_overlong(data: bytes) -> Mask:
    """For each byte of compressed RLEs, whether it ends a number that is written longer than it
    need be (such a string does not re-encode to itself)."""
    raw = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    out = np.zeros(len(raw), bool)
    if len(raw) < 2:
        return out
    before, last = raw[:-1], raw[1:]
    ends = (before & 0x20 != 0) & (last & 0x20 == 0)
    sign = before & 0x10 != 0
    out[1:] = ends & np.where(sign, last & 0x1F == 0x1F, last & 0x1F == 0)
    return out


def rle_encode_counts(counts: Sequence[int] | npt.NDArray[Any]) -> bytes:
    """The compressed string of run lengths (cocoapi ``rleToString``).

    Raises:
        ValueError: a run length is negative or not an integer below 2**32.
    """
    from pycocotools import mask as coco_mask

    array = np.asarray(counts)
    if array.size and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= 2**32):
        raise ValueError("run lengths must be integers in 0..2**32 - 1")
    if not array.size:
        return b""
    rle = coco_mask.frPyObjects({"size": [1, 1], "counts": array.tolist()}, 1, 1)
    return bytes(rle["counts"])


def rle_decode(size: Sequence[int], counts: bytes) -> Mask:
    """The mask, shape (height, width), of a compressed RLE."""
    from pycocotools import mask as coco_mask

    return np.asarray(coco_mask.decode({"size": list(size), "counts": counts}), bool)


def encode_mask(mask: npt.ArrayLike) -> tuple[tuple[int, int], bytes]:
    """(height, width) and compressed counts of a mask."""
    from pycocotools import mask as coco_mask

    array = np.asfortranarray(np.asarray(mask, np.uint8))
    rle = coco_mask.encode(array)
    return (int(array.shape[0]), int(array.shape[1])), bytes(rle["counts"])


def rasterize(polygons: Sequence[Sequence[Sequence[float]]], height: int, width: int) -> Mask:
    """The mask, shape (height, width), of parts of rings: union of parts, holes cut out.

    Each ring is filled as cocoapi does (``rleFrPoly``), so that masks agree with pycocotools.
    """
    from pycocotools import mask as coco_mask

    out = np.zeros((height, width), bool)
    for part in polygons:
        filled = [
            coco_mask.decode(coco_mask.frPyObjects([list(ring)], height, width)[0]).astype(bool)
            for ring in part
            if len(ring) >= 6
        ]
        if filled:
            area = filled[0]
            for hole in filled[1:]:
                area = area & ~hole
            out |= area
    return out
