"""IoU of what was segmented for a query on an image: as released code counts it, and exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import FormatError, UsageError
from granum.metrics._maps.drawn import add_fault, drawn_samples
from granum.schema import geometry
from granum.schema.fill_poly import fill_poly
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["Overlap", "Shape", "exact_overlap", "official_overlap", "shapes_of"]

Mask = npt.NDArray[np.bool_]
Box = tuple[float, float, float, float]
Overlap = tuple[float, float]

_MOST = 1 << 14
"""The longest side of a raster."""


@dataclass(frozen=True)
class Shape:
    """What an object row draws: parts of rings of flat x, y, or an RLE of (height, width)."""

    polygons: list[list[list[float]]] | None = None
    rle: tuple[tuple[int, int], bytes] | None = None


def shapes_of(batch: Batch, root: str | None, who: str, found: Findings) -> dict[int, Shape]:
    """What each object row draws, by id; one without mask and polygons draws nothing."""
    kind = column(batch.annotations, "kind").cast(pa.string())
    rows = batch.annotations.filter(pc.equal(kind, "object"))
    out: dict[int, Shape] = {}
    if not rows.num_rows:
        return out
    for sample in drawn_samples(Batch(batch.samples, rows, batch.start), (), root):
        for row in sample.rows:
            try:
                out[row["annotation_id"]] = _shape(row, sample)
            except FormatError as error:
                add_fault(found, who, sample, error)
                out[row["annotation_id"]] = Shape()
    return out


def _shape(row: dict[str, Any], sample: Any) -> Shape:
    if row["rle"] is not None:
        return Shape(rle=((*row["rle"]["size"],), row["rle"]["counts"]))  # type: ignore[arg-type]
    if row["map"] is not None:
        return Shape(rle=geometry.encode_mask(sample.mask(row)))
    return Shape(polygons=row["polygons"])


# ------------------------------------------------------------------ as released


def official_overlap(found: npt.ArrayLike, true: Sequence[npt.ArrayLike]) -> Overlap | None:
    """IoU of boxes and of masks, as ``utils/iou_compute.py`` counts them.

    Coordinates are cut to whole numbers. Both sides are drawn on a square raster whose side is the
    largest of all coordinates, so that pixels of the last row or column are lost. Boxes hold their
    last row and column; masks are what ``cv2.fillPoly`` sets.

    Args:
        found: the predicted polygon, flat x, y.
        true: the true polygons, which are united.

    Returns:
        None where the released code fails: no point, a raster without pixels or of more than
        16,384 a side, or nothing drawn on either side.
    """
    rings = [np.asarray(r, np.float64).reshape(-1, 2) for r in (found, *true)]
    points = np.concatenate(rings[1:]) if len(rings) > 1 else np.empty((0, 2))
    if not len(rings[0]) or not len(points):
        return None
    if not all(np.isfinite(r).all() and np.abs(r).max(initial=0) < 1 << 31 for r in rings):
        return None
    whole = [r.astype(np.int64) for r in rings]
    mine, theirs = whole[0], np.concatenate(whole[1:])
    side = int(max(mine.max(), theirs.max()))
    if not 0 < side <= _MOST:
        return None
    box = _box_iou(mine, theirs, side)
    masks = fill_poly([mine], side, side), fill_poly(whole[1:], side, side)
    both, either = int((masks[0] & masks[1]).sum()), int((masks[0] | masks[1]).sum())
    return None if box is None or not either else (box, both / either)


def _box_iou(mine: npt.NDArray[np.int64], theirs: npt.NDArray[np.int64], side: int) -> float | None:
    """Of boxes around points, in pixels of the raster; slices of Python, as there."""
    areas, common = [1, 1], 1
    for axis in (0, 1):
        spans = [range(side)[p[:, axis].min() : p[:, axis].max() + 1] for p in (mine, theirs)]
        areas = [a * len(s) for a, s in zip(areas, spans, strict=True)]
        low, high = max(s.start for s in spans), min(s.stop for s in spans)
        common *= max(high - low, 0) if all(spans) else 0
    union = sum(areas) - common
    return common / union if union else None


# ------------------------------------------------------------------ exactly


def exact_overlap(found: Shape, true: Shape) -> Overlap | None:
    """IoU of boxes (of continuous extents) and of masks (filled as cocoapi does).

    Returns:
        None where one draws nothing.

    Raises:
        UsageError: two masks have different sizes.
    """
    sizes = {s.rle[0] for s in (found, true) if s.rle is not None}
    if len(sizes) > 1:
        raise UsageError(f"masks of {' and '.join(map(str, sorted(sizes)))} (height, width)")
    boxes = _box(found), _box(true)
    if boxes[0] is None or boxes[1] is None:
        return None
    far = max(boxes[0][2], boxes[1][2]), max(boxes[0][3], boxes[1][3])
    size = sizes.pop() if sizes else (int(np.ceil(far[1])), int(np.ceil(far[0])))
    if not 0 < max(size) <= _MOST:
        return None
    masks = [_mask(shape, size) for shape in (found, true)]
    both, either = int((masks[0] & masks[1]).sum()), int((masks[0] | masks[1]).sum())
    return _continuous_iou(boxes[0], boxes[1]), both / either if either else 0.0


def _mask(shape: Shape, size: tuple[int, int]) -> Mask:
    if shape.rle is not None:
        return geometry.rle_decode(*shape.rle)
    return geometry.rasterize(shape.polygons or [], *size)


def _box(shape: Shape) -> Box | None:
    """Corners x1, y1, x2, y2 of what is drawn; None where nothing is."""
    if shape.rle is not None:
        rows, columns = np.nonzero(geometry.rle_decode(*shape.rle))
        if not len(rows):
            return None
        x, y = columns.tolist(), rows.tolist()
        return float(min(x)), float(min(y)), float(max(x) + 1), float(max(y) + 1)
    rings = [np.asarray(r).reshape(-1, 2) for part in shape.polygons or [] for r in part]
    points = np.concatenate([np.empty((0, 2)), *rings])
    if not len(points) or not np.isfinite(points).all():
        return None
    low, high = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return low[0], low[1], high[0], high[1]


def _continuous_iou(a: Box, b: Box) -> float:
    sides = [max(min(a[k + 2], b[k + 2]) - max(a[k], b[k]), 0.0) for k in (0, 1)]
    common = sides[0] * sides[1]
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - common
    return common / union if union > 0 else 0.0
