"""Geometry as label rows have it: fractions of the image, in the shape of the task.

Each function takes rows and what to divide their x and y by, and gives the columns that reading
back gives, to the bit, and which rows can be written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from granum.loaders.yolo import arrays
from granum.loaders.yolo.parse import Floats, Ints, Mask, ragged
from granum.schema import geometry
from granum.schema.tables import column

__all__ = ["SHAPES", "Plan", "filled", "near_sum", "single_rings"]

LOW, HIGH = -0.01, 1.01
"""What trainers tolerate: one coordinate beyond makes them leave out the whole image."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What holds for a whole dataset: the task, class numbers, points per object; for ``boxes``,
    ``closed`` and ``marked`` see :class:`Notes`."""

    task: str
    classes: Ints
    points: int = 0
    boxes: bool = False
    closed: bool = False
    marked: bool = True


def filled(table: pa.Table, name: str) -> bool:
    return name in table.column_names and table[name].null_count < table.num_rows


def near_sum(a: Floats, b: Floats) -> Floats:
    """The double near ``a + b`` from which ``b`` leaves ``a``, to the bit, when taken off.

    Readers take half a box's size off its centre: so the corner that was read comes back. Of
    several such doubles one of at most 12 decimals is preferred: it is what a label file had.
    """
    total = best = a + b
    for tried in (np.nextafter(total, np.inf), np.nextafter(total, -np.inf), total):
        best = np.where(tried - b == a, tried, best)
    short = np.rint(total * 1e12) / 1e12
    return np.where(short - b == a, short, best)


def _boxes(table: pa.Table) -> Floats:
    """Boxes ``xywh`` of whatever geometry rows have; NaN where none. Masks are looked at only
    where there is no box."""
    shape = [n for n in ("bbox", "angle") if n in table.column_names]
    out = geometry.aabb(table.select(shape)) if "bbox" in shape else _none(table.num_rows)
    rest = np.flatnonzero(np.isnan(out).all(axis=1))
    others = [n for n in ("polygons", "rle", "keypoints", "polyline") if n in table.column_names]
    if len(rest) and others:
        out[rest] = geometry.aabb(table.select(others).take(pa.array(rest)))
    return out


def _none(n: int) -> Floats:
    return np.full((n, 4), np.nan)


def _relative_boxes(boxes: Floats, size: Floats) -> tuple[Floats, Mask]:
    """Boxes as fractions, corner and size, as reading gives them back; and which can be written.

    A box that trainers would refuse is cut at the edges of its image.
    """
    with np.errstate(invalid="ignore"):
        extent = boxes[:, 2:] / size
        pixel = (size != 1).any(axis=1)
        centre = np.where(
            pixel[:, None],
            (boxes[:, :2] + boxes[:, 2:] / 2) / size,
            near_sum(boxes[:, :2], boxes[:, 2:] / 2),
        )
        good = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] >= 0).all(axis=1)
        beyond = good & (
            (centre < LOW).any(axis=1) | (centre > HIGH).any(axis=1) | (extent > HIGH).any(axis=1)
        )
        low = np.clip(boxes[:, :2] / size, 0, 1)
        high = np.clip((boxes[:, :2] + boxes[:, 2:]) / size, 0, 1)
    extent[beyond] = (high - low)[beyond]
    centre[beyond] = ((high + low) / 2)[beyond]
    good &= ~beyond | (extent > 0).all(axis=1)
    good = np.asarray(good)
    return np.hstack([centre - extent / 2, extent]), good


def _detect(plan: Plan, table: pa.Table, size: Floats) -> tuple[dict[str, pa.Array], Mask]:
    boxes, good = _relative_boxes(_boxes(table), size)
    return {"bbox": arrays.box_column(boxes, good)}, good


def _pose(plan: Plan, table: pa.Table, size: Floats) -> tuple[dict[str, pa.Array], Mask]:
    """Points of every object: as many for all, zeros where one has fewer."""
    made, good = _detect(plan, table, size)
    n, k = table.num_rows, plan.points
    points = np.zeros((n, 3 * k))
    if filled(table, "keypoints"):
        listed = table["keypoints"].combine_chunks()
        count = np.asarray(listed.value_lengths().fill_null(0), np.int64)
        flat = np.asarray(listed.flatten(), np.float64)
        first = np.cumsum(count) - count
        count = np.minimum(count // 3, k) * 3
        rows = np.repeat(np.arange(n), count)
        points[rows, ragged(np.zeros(n, np.int64), count)] = flat[ragged(first, count)]
    points = points.reshape(n, k, 3)
    points[~np.isfinite(points).all(axis=2)] = 0
    place = points[:, :, :2] / size[:, None, :]
    beyond = ((place < LOW) | (place > HIGH)).any(axis=(1, 2))
    place[beyond] = np.clip(place[beyond], 0, 1)
    seen = points[:, :, 2]
    seen = np.where(np.isin(seen, (0, 1, 2)), seen, np.where(seen > 0, 2.0, 0.0))
    whole = np.dstack([place, seen]).reshape(n, 3 * k)
    there = np.asarray(column(table, "keypoints").is_valid())
    return {**made, "keypoints": arrays.point_column(whole, there)}, good


def single_rings(table: pa.Table, exactly: int | None) -> tuple[Floats, Ints, Mask]:
    """Coordinates of the polygons that are one ring, how many numbers each has (0 for other
    rows), and which rows these are. ``exactly``: only rings of so many numbers."""
    n = table.num_rows
    if not filled(table, "polygons"):
        return np.empty(0), np.zeros(n, np.int64), np.zeros(n, bool)
    flat = geometry.flat_polygons(table["polygons"])
    single = np.flatnonzero(np.diff(flat.rows) == 1)
    single = single[np.diff(flat.parts)[flat.rows[single]] == 1]
    ring = flat.parts[flat.rows[single]]
    length = np.diff(flat.rings)[ring]
    fits = (length == exactly) if exactly else (length >= 6) & (length % 2 == 0)
    single, ring, length = single[fits], ring[fits], length[fits]
    coords = flat.coords[ragged(flat.rings[ring], length)]
    if not np.isfinite(coords).all():
        owner = np.repeat(np.arange(len(single)), length)
        good = np.ones(len(single), bool)
        good[owner[~np.isfinite(coords)]] = False
        coords, single, length = coords[good[owner]], single[good], length[good]
    count, where = np.zeros(n, np.int64), np.zeros(n, bool)
    count[single], where[single] = length, True
    return coords, count, where


def _rings(plan: Plan, table: pa.Table, size: Floats) -> tuple[dict[str, pa.Array], Mask]:
    """One ring per object; where there is none that fits, that of its box.

    For obb a ring is four corners, which may be turned. A box comes back as a box where its ring
    tells it from the others; else a mask in its place would seem to be kept: it is left out.
    """
    coords, count, held = single_rings(table, 8 if plan.task == "obb" else None)
    others = _box_rings(table, held, plan)
    coords, count, good = _fractions(table, size, coords, count, held, others)
    boxed = arrays.upright(coords, count, plan.task) & plan.closed
    rings = coords[np.repeat(~boxed, count)], count[~boxed]
    made = {"polygons": arrays.polygon_column(*rings, ~boxed)}
    if (boxed | plan.boxes).any():
        made["bbox"] = arrays.box_column(arrays.extents(coords, count), boxed | plan.boxes)
    if plan.task == "obb" and plan.marked:
        made["shape_kind"] = arrays.dictionary("rectangle", len(good))
    if not plan.closed:
        for name in ("polygons", "rle", "map"):
            good &= held | np.asarray(column(table, name).is_null())
    return made, good


def _fractions(
    table: pa.Table, size: Floats, coords: Floats, count: Ints, held: Mask, others: Floats
) -> tuple[Floats, Ints, Mask]:
    """All rings as fractions of the image, cut at its edges where trainers would refuse them:
    ``coords`` of the rows ``held``, ``others`` of the rest. Also how many numbers each row has,
    and which rows can be written."""
    n = table.num_rows
    total = np.where(held, count, others.shape[1])
    out = np.empty(int(total.sum()))
    begin = np.cumsum(total) - total
    out[ragged(begin[held], count[held])] = coords
    out[ragged(begin[~held], total[~held])] = others.ravel()
    owner = np.repeat(np.arange(n), total)
    out /= size[owner, ragged(np.zeros(n, np.int64), total) % 2]
    good, beyond = np.ones(n, bool), np.zeros(n, bool)
    good[owner[~np.isfinite(out)]] = False
    with np.errstate(invalid="ignore"):
        beyond[owner[(out < LOW) | (out > HIGH)]] = True
    cut = beyond[owner]
    out[cut] = np.clip(out[cut], 0, 1)
    good &= ~beyond | (arrays.extents(out, total)[:, 2:] > 0).all(axis=1)
    return out, total, good


def _box_rings(table: pa.Table, held: Mask, plan: Plan) -> Floats:
    """The rings of the boxes of the rows that are not ``held``; for obb turned by their angles."""
    table = table.filter(pa.array(~held))
    boxes, angle = _boxes(table), np.zeros(table.num_rows)
    if plan.task == "obb" and filled(table, "angle") and "bbox" in table.column_names:
        valid, plain = geometry.fixed_list(table["bbox"])
        given = np.nan_to_num(np.asarray(table["angle"].fill_null(0.0), np.float64))
        angle = np.where(valid, given, 0.0)
        boxes = np.where(valid[:, None], plain, boxes)
    boxes[(boxes[:, 2:] < 0).any(axis=1)] = np.nan
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    straight = arrays.around(np.hstack([low, high]), plan.task)
    middle = np.tile((low + high) / 2, straight.shape[1] // 2)
    offsets = straight - middle
    x, y = offsets[:, 0::2], offsets[:, 1::2]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    turned = np.dstack([x * cos - y * sin, x * sin + y * cos]).reshape(straight.shape) + middle
    return np.where((angle == 0)[:, None], straight, turned)


Shape = Callable[[Plan, pa.Table, Floats], tuple[dict[str, pa.Array], Mask]]

SHAPES: dict[str, Shape] = {"detect": _detect, "seg": _rings, "pose": _pose, "obb": _rings}
