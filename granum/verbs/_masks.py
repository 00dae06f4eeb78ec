"""Overlap of two drawn masks, whatever form each has."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from granum.errors import GranumError
from granum.schema import geometry
from granum.schema.rows import LabelMap
from granum.store.media import read_map

__all__ = ["mask_iou"]

Mask = npt.NDArray[np.bool_]
Row = dict[str, Any]


def mask_iou(
    a: Row, b: Row, size: tuple[int, int] | None, roots: tuple[str | None, str | None]
) -> float | None:
    """Intersection over union of the masks of two annotations; None where one has none, or it
    cannot be drawn (unknown size, absent label map, sizes that differ). Two empty masks: 1.

    Args:
        a, b: their ``polygons`` (pixels), ``rle`` and ``map``.
        size: (width, height) of the sample, where known.
        roots: folders that the label maps' paths are relative to.
    """
    if a["rle"] is not None and b["rle"] is not None:
        return _rle_iou(a["rle"], b["rle"])
    if _only_polygons(a) and _only_polygons(b):
        return None if size is None else _polygon_iou(a["polygons"], b["polygons"], size)
    x, y = _draw(a, size, roots[0]), _draw(b, size, roots[1])
    return None if x is None or y is None or x.shape != y.shape else _iou(x, y)


def _iou(x: Mask, y: Mask) -> float:
    union = int((x | y).sum())
    return int((x & y).sum()) / union if union else 1.0


def _only_polygons(row: Row) -> bool:
    return row["polygons"] is not None and row["rle"] is None and row["map"] is None


def _rle_iou(a: Row, b: Row) -> float | None:
    from pycocotools import mask as coco_mask

    if a["size"] != b["size"]:
        return None
    one, two = ({"size": r["size"], "counts": r["counts"]} for r in (a, b))
    if not coco_mask.area(one) and not coco_mask.area(two):
        return 1.0
    return float(coco_mask.iou([one], [two], [0])[0, 0])


def _polygon_iou(a: Any, b: Any, size: tuple[int, int]) -> float | None:
    """Drawn on the window that holds both, at whole pixels, so that the pixels are the same."""
    rings = [ring for polygons in (a, b) for part in polygons for ring in part]
    if not any(rings):
        return 1.0
    if any(len(ring) % 2 for ring in rings):
        return None
    xy = np.concatenate([np.asarray(ring, np.float64) for ring in rings]).reshape(-1, 2)
    low = np.clip(np.floor(xy.min(axis=0)) - 1, 0, None).astype(int)
    high = np.minimum(np.ceil(xy.max(axis=0)) + 1, size).astype(int)
    if (high <= low).any():
        return 1.0
    width, height = (high - low).tolist()

    def drawn(polygons: Any) -> Mask:
        moved = [
            [(np.reshape(ring, (-1, 2)) - low).ravel().tolist() for ring in part]
            for part in polygons
        ]
        return geometry.rasterize(moved, height, width)

    return _iou(drawn(a), drawn(b))


def _draw(row: Row, size: tuple[int, int] | None, root: str | None) -> Mask | None:
    if row["rle"] is not None:
        return geometry.rle_decode(row["rle"]["size"], row["rle"]["counts"])
    if row["map"] is not None:
        try:
            return read_map(LabelMap(**row["map"]), root)
        except GranumError:
            return None
    if row["polygons"] is None or size is None:
        return None
    return geometry.rasterize(row["polygons"], size[1], size[0])
