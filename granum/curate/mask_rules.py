"""Rules about masks: against their boxes, and parts against their wholes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.curate.box_rules import box_iou
from granum.curate.extents import Extents
from granum.curate.rules import Broken, Rows, Rule, rules
from granum.schema import geometry
from granum.schema.tables import column

__all__ = ["MaskBox", "MaskEmpty", "PartOutside"]

Floats = npt.NDArray[np.float64]


@rules("mask_box")
@dataclass(frozen=True)
class MaskBox(Rule):
    """A box that is not that of its mask: an edge is off, and they overlap too little. Either
    alone is common: rounding in small objects, a pixel or two in large ones.

    Attributes:
        pixels: how far an edge may be off.
        iou: from which overlap on they agree.
    """

    pixels: float = 2.0
    iou: float = 0.9

    name = "mask_box"
    about = "the box is not that of the mask; IoU of the two boxes"

    def broken(self, extents: Extents) -> Broken:
        masks = extents.in_pixels(extents.mask_boxes)
        boxes = extents.in_pixels(_plain_boxes(extents))
        both = np.flatnonzero(np.isfinite(masks).all(axis=1) & np.isfinite(boxes).all(axis=1))
        masks, boxes = masks[both], boxes[both]
        edges = np.abs(
            geometry.convert_boxes(masks, "xyxy") - geometry.convert_boxes(boxes, "xyxy")
        ).max(axis=1)
        overlap = box_iou(masks, boxes)
        bad = (edges > self.pixels) & (overlap < self.iou)
        return Broken(both[bad], overlap[bad])


def _plain_boxes(extents: Extents) -> Floats:
    """Stored boxes; NaN where there is none or it is turned (a turned box bounds otherwise)."""
    table = extents.batch.annotations
    valid, boxes = geometry.fixed_list(column(table, "bbox"))
    angle = np.asarray(column(table, "angle").cast(pa.float64()).fill_null(0.0))
    return np.where((valid & (angle == 0))[:, None], boxes, np.nan)


@rules("mask_empty")
@dataclass(frozen=True)
class MaskEmpty(Rule):
    """A mask without a pixel: an RLE of background only, polygons of no point or no area."""

    name = "mask_empty"
    severity = "error"
    about = "a mask without a pixel"

    def broken(self, extents: Extents) -> Broken:
        table = extents.batch.annotations
        masked = np.asarray(
            pc.or_(column(table, "polygons").is_valid(), column(table, "rle").is_valid())
        )
        rows = np.flatnonzero(masked)
        if not len(rows):
            return Broken(rows)
        shapes = table.select([n for n in ("polygons", "rle") if n in table.column_names])
        areas = geometry.areas(shapes.take(pa.array(rows)))
        return Broken(rows[~(areas > 0)])


@rules("part_outside")
@dataclass(frozen=True)
class PartOutside(Rule):
    """A part (an annotation with ``parent``) that lies outside its whole: by masks where both have
    one (RLE or polygons), else by boxes. Label maps are not read.

    Attributes:
        inside: share of the part that must lie inside.
    """

    inside: float = 0.9

    name = "part_outside"
    about = "a part lies outside its whole; share of it inside"

    def broken(self, extents: Extents) -> Broken:
        table = extents.batch.annotations
        child, parent = _families(table)
        share = _boxes_inside(extents.boxes[child], extents.boxes[parent])
        masks = _Masks(extents)
        for i in np.flatnonzero(~np.isnan(share)):
            found = masks.inside(int(child[i]), int(parent[i]))
            if found is not None:
                share[i] = found
        with np.errstate(invalid="ignore"):
            bad = share < self.inside
        return Broken(child[bad], share[bad], parent[bad])


def _families(table: pa.Table) -> tuple[Rows, Rows]:
    """Rows of annotations with a parent in this table, in their image, and of the parents."""
    parents = column(table, "parent").combine_chunks()
    at = pc.index_in(parents, value_set=column(table, "annotation_id").combine_chunks())
    known = np.flatnonzero(np.asarray(at.is_valid()) & np.asarray(parents.is_valid()))
    place = np.asarray(at.fill_null(-1), np.int64)[known]
    sample = np.asarray(column(table, "sample").fill_null(-1), np.int64)
    same = (sample[known] == sample[place]) & (sample[known] >= 0)
    return known[same], place[same]


def _boxes_inside(part: Floats, whole: Floats) -> Floats:
    p, q = geometry.convert_boxes(part, "xyxy"), geometry.convert_boxes(whole, "xyxy")
    side = np.minimum(p[:, 2:], q[:, 2:]) - np.maximum(p[:, :2], q[:, :2])
    area = np.prod(part[:, 2:], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(area > 0, np.prod(np.maximum(side, 0), axis=1) / area, np.nan))


class _Masks:
    """Compressed masks of the rows of a batch, made when first asked for."""

    def __init__(self, extents: Extents) -> None:
        self.extents, self.made = extents, dict[int, Any]()
        table = extents.batch.annotations
        self.rle, self.polygons = column(table, "rle"), column(table, "polygons")

    def inside(self, part: int, whole: int) -> float | None:
        """Share of the part's mask inside the whole's; None where one has no mask."""
        from pycocotools import mask as coco_mask

        a, b = self._mask(part), self._mask(whole)
        if a is None or b is None or a["size"] != b["size"] or not coco_mask.area(a):
            return None
        # IoU with a crowd is intersection over the area of the first.
        return float(coco_mask.iou([a], [b], [1])[0, 0])

    def _mask(self, row: int) -> Any:
        if row not in self.made:
            self.made[row] = self._encoded(row)
        return self.made[row]

    def _encoded(self, row: int) -> Any:
        rle = self.rle[row].as_py()
        if rle is not None:
            return {"size": list(rle["size"]), "counts": rle["counts"]}
        parts = self.polygons[row].as_py()
        width, height = self.extents.sizes[row]
        if not parts or np.isnan(width + height):
            return None
        scale = (width, height) if self.extents.relative[row] else (1.0, 1.0)
        scaled = [[[v * scale[i % 2] for i, v in enumerate(r)] for r in part] for part in parts]
        size, counts = geometry.encode_mask(geometry.rasterize(scaled, int(height), int(width)))
        return {"size": list(size), "counts": counts}
