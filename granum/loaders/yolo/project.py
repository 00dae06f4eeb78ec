"""What a dataset becomes as YOLO labels: the one place that decides what is kept.

All coordinates are divided by the image's size here, with the arithmetic that reading back
does, so that writer and loss report agree to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import SizeUnknownError
from granum.loaders.base import keep_columns
from granum.loaders.yolo import arrays
from granum.loaders.yolo.parse import Floats, Ints, Mask, ragged
from granum.schema import geometry, tables
from granum.schema.tables import column, with_column
from granum.schema.units import convert_units, is_relative
from granum.store.dataset import Dataset
from granum.store.parts import Batch

__all__ = ["Plan", "Projector", "centres", "class_numbers", "make_plan", "project_samples"]

LOW, HIGH = -0.01, 1.01
"""What trainers tolerate: one coordinate beyond makes them leave out the whole image."""

DEFAULT_SPLIT = "train"


def class_numbers(categories: pa.Table) -> Ints:
    """The class number of each category; -1 for those of other label spaces than objects."""
    spaces = column(categories, "space", tables.CATEGORIES).cast(pa.string()).to_pylist()
    listed = np.array([s in (None, "object") for s in spaces], bool)
    return np.where(listed, np.cumsum(listed) - 1, -1)


def centres(corner: Floats, size: Floats) -> Floats:
    """Centres that give ``corner`` back, to the bit, when half of ``size`` is taken off.

    Of the doubles near ``corner + size / 2`` the one of at most 12 decimals is preferred: it is
    what a label file had.
    """
    half = size / 2
    middle = corner + half
    best = middle
    for tried in (np.nextafter(middle, np.inf), np.nextafter(middle, -np.inf), middle):
        best = np.where(tried - half == corner, tried, best)
    short = np.rint(middle * 1e12) / 1e12
    return np.where(short - half == corner, short, best)


@dataclass(frozen=True, slots=True)
class Plan:
    """What holds for a whole dataset: the task, class numbers, points per object, and whether
    all objects have boxes (then reading back gives each its polygon's extent)."""

    task: str
    classes: Ints
    points: int = 0
    boxes: bool = False


def _layer(part_table: pa.Table) -> pa.Table:
    kinds = column(part_table, "kind").cast(pa.string())
    return part_table.filter(pc.fill_null(pc.equal(kinds, "object"), False))


def _filled(table: pa.Table, name: str) -> bool:
    return name in table.column_names and table[name].null_count < table.num_rows


def make_plan(dataset: Dataset, task: str | None) -> Plan:
    """Look through the columns of the dataset; decide the task where it was not asked for."""
    found: set[str] = set()
    points, boxes, corners = 0, True, True
    for part in dataset.parts:
        table = part.layer(dataset.meta.layer)
        if not table.num_rows:
            continue
        table = _layer(table)
        found |= {n for n in ("keypoints", "angle", "polygons") if _filled(table, n)}
        boxes &= "bbox" in table.column_names and table["bbox"].null_count == 0
        if _filled(table, "keypoints"):
            lengths = pc.list_value_length(table["keypoints"])
            points = max(points, (pc.max(lengths).as_py() or 0) // 3)
        if _filled(table, "polygons"):
            kinds = column(table, "shape_kind").cast(pa.string())
            corners &= bool(pc.all(pc.fill_null(pc.equal(kinds, "rectangle"), False)).as_py())
            corners &= not _filled(table, "bbox")
    if task is None:
        if "keypoints" in found:
            task = "pose"
        elif "angle" in found or ("polygons" in found and corners):
            task = "obb"
        else:
            task = "seg" if "polygons" in found else "detect"
    classes = class_numbers(dataset.categories)
    return Plan(task, classes, points if task == "pose" else 0, boxes and task == "seg")


def project_samples(samples: pa.Table) -> pa.Table:
    """Samples with their split, and what is bookkeeping."""
    alone = Batch(samples, tables.empty(tables.ANNOTATIONS))
    kept = keep_columns(alone, ("split",)).samples
    split = pc.fill_null(column(kept, "split").cast(pa.string()), DEFAULT_SPLIT)
    kind = tables.SAMPLES.field("split").type
    return with_column(kept, "split", split.dictionary_encode().cast(kind))


class Projector:
    """Projects the batches of one dataset.

    Args:
        dataset: the whole.
        task: as asked for, or None.
        conf: keep scores.
        skip_crowd: leave crowds out.
    """

    def __init__(self, dataset: Dataset, task: str | None, *, conf: bool, skip_crowd: bool) -> None:
        self.dataset, self.conf, self.skip_crowd = dataset, conf, skip_crowd
        self.plan = make_plan(dataset, task)
        self._sizes: Floats | None = None

    def batch(self, batch: Batch) -> Batch:
        """The batch as reading back gives it."""
        table = self._chosen(batch.annotations)
        samples = project_samples(batch.samples)
        unit = arrays.dictionary("relative", samples.num_rows)
        samples = with_column(samples, "unit", unit)
        if not table.num_rows:
            return Batch(samples, self._columns(table, {}), batch.start)
        table, size = self._sized(batch.samples, table, batch.start)
        made, kept = _SHAPES[self.plan.task](self.plan, table, size)
        return Batch(samples, self._columns(table, made).filter(pa.array(kept)), batch.start)

    def _chosen(self, table: pa.Table) -> pa.Table:
        """Objects of a class that labels can name."""
        kinds = column(table, "kind").cast(pa.string())
        rows = np.asarray(column(table, "category").fill_null(-1), np.int64)
        good = np.asarray(pc.fill_null(pc.equal(kinds, "object"), False))
        good = good & (np.append(self.plan.classes, -1)[rows] >= 0)
        good &= np.asarray(column(table, "sample").is_valid())
        good &= np.asarray(pc.fill_null(column(table, "present"), True))
        if self.skip_crowd:
            good &= ~np.asarray(pc.fill_null(column(table, "crowd"), False))
        return table if good.all() else table.filter(pa.array(good))

    def _columns(self, table: pa.Table, made: dict[str, pa.Array]) -> pa.Table:
        kept = ["annotation_id", "sample", "kind", "category"]
        out = {name: table[name] for name in kept}
        out.update(made)
        if self.conf and _filled(table, "score"):
            score = column(table, "score")
            out["score"] = pc.if_else(pc.fill_null(pc.is_finite(score), False), score, None)
        return pa.table(out)

    # ------------------------------------------------------------------ sizes

    def _sized(self, samples: pa.Table, table: pa.Table, start: int) -> tuple[pa.Table, Floats]:
        """The rows, and what to divide each one's x and y by, shape (n, 2): the size of the
        image, or 1 where the unit is relative. Turned boxes are turned in pixels."""
        local = np.asarray(table["sample"], np.int64) - start
        size, relative = _stated(samples), is_relative(samples)
        needed = self._needed(samples, table, start)
        if (needed & (size <= 0).any(axis=1)).any():
            if self._sizes is None:
                self._sizes = self._probe()
            size = np.where(size <= 0, self._sizes[start : start + len(size)], size)
        turned = needed & relative
        if turned.any():
            table = convert_units(table, local, np.where(turned[:, None], size, 1.0))
        size[relative & ~turned] = 1.0
        return table, size[local]

    def _needed(self, samples: pa.Table, table: pa.Table, start: int) -> Mask:
        """Which samples' sizes are needed: they have rows in pixels, or turned boxes."""
        local = np.asarray(table["sample"], np.int64) - start
        pixel = ~is_relative(samples)
        rows = pixel[local]
        if self.plan.task == "obb" and _filled(table, "angle"):
            rows = rows | (np.asarray(table["angle"].fill_null(0.0), np.float64) != 0)
        needed = np.zeros(samples.num_rows, bool)
        needed[local[rows]] = True
        return needed

    def _probe(self) -> Floats:
        """Sizes that are needed and not stated, from the headers of images.

        Raises:
            SizeUnknownError: some cannot be read.
        """
        from granum.loaders.writing import with_sizes

        wanted = []
        for batch in self.dataset.iter_batches():
            needed = self._needed(batch.samples, self._chosen(batch.annotations), batch.start)
            needed &= (_stated(batch.samples) <= 0).any(axis=1)
            wanted.append(np.flatnonzero(needed) + batch.start)
        at = np.concatenate(wanted)
        chosen = self.dataset.select(at)
        found = _stated(with_sizes(chosen).samples(["width", "height"]))
        if (found <= 0).any():
            keys = chosen.samples(["key"])["key"].to_pylist()
            raise SizeUnknownError(keys[i] for i in np.flatnonzero((found <= 0).any(axis=1)))
        sizes = np.ones((len(self.dataset), 2))
        sizes[at] = found
        return sizes


def _stated(samples: pa.Table) -> Floats:
    width = np.asarray(column(samples, "width").fill_null(0), np.float64)
    return np.column_stack([width, np.asarray(column(samples, "height").fill_null(0), np.float64)])


# ---------------------------------------------------------------------- shapes


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
            centres(boxes[:, :2], boxes[:, 2:]),
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
    if _filled(table, "keypoints"):
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
    return {**made, "keypoints": arrays.point_column(whole, np.ones(n, bool))}, good


def _rings(table: pa.Table, exactly: int | None) -> tuple[Floats, Ints, Mask]:
    """Coordinates of the polygons that are one ring, how many numbers each has (0 for other
    rows), and which rows these are. ``exactly``: only rings of so many numbers."""
    n = table.num_rows
    if not _filled(table, "polygons"):
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


def _seg(plan: Plan, table: pa.Table, size: Floats) -> tuple[dict[str, pa.Array], Mask]:
    """One ring per object; the four corners of its box where there is no such ring."""
    coords, count, held = _rings(table, None)
    return _as_rings(plan, table, size, coords, count, held)


def _obb(plan: Plan, table: pa.Table, size: Floats) -> tuple[dict[str, pa.Array], Mask]:
    """Four corners: of a ring of four points, else of the turned box, else of the box."""
    coords, count, held = _rings(table, 8)
    made, good = _as_rings(plan, table, size, coords, count, held)
    return {**made, "shape_kind": arrays.dictionary("rectangle", table.num_rows)}, good


def _as_rings(
    plan: Plan, table: pa.Table, size: Floats, coords: Floats, count: Ints, held: Mask
) -> tuple[dict[str, pa.Array], Mask]:
    n = table.num_rows
    total = np.where(held, count, 8)
    begin = np.cumsum(total) - total
    out = np.empty(int(total.sum()))
    out[ragged(begin[held], count[held])] = coords
    rest = np.flatnonzero(~held)
    out[ragged(begin[rest], total[rest])] = _corners(table.take(pa.array(rest)), plan).ravel()
    owner = np.repeat(np.arange(n), total)
    axis = ragged(np.zeros(n, np.int64), total) % 2
    out = out / size[owner, axis]
    with np.errstate(invalid="ignore"):
        outside = (out < LOW) | (out > HIGH)
    good, beyond = np.ones(n, bool), np.zeros(n, bool)
    good[owner[~np.isfinite(out)]] = False
    beyond[owner[outside]] = True
    cut = beyond[owner]
    out[cut] = np.clip(out[cut], 0, 1)
    boxes = arrays.extents(out, total)
    good &= ~beyond | (boxes[:, 2:] > 0).all(axis=1)
    made = {"polygons": arrays.polygon_column(out, total, np.ones(n, bool))}
    if plan.boxes:
        made["bbox"] = arrays.box_column(boxes, np.ones(n, bool))
    return made, good


def _corners(table: pa.Table, plan: Plan) -> Floats:
    """The corners of boxes, shape (n, 8); turned ones for obb."""
    boxes = _boxes(table)
    angle = np.zeros(table.num_rows)
    if plan.task == "obb" and _filled(table, "angle") and "bbox" in table.column_names:
        valid, plain = geometry.fixed_list(table["bbox"])
        given = np.nan_to_num(np.asarray(table["angle"].fill_null(0.0), np.float64))
        angle = np.where(valid, given, 0.0)
        boxes = np.where(valid[:, None], plain, boxes)
    half = boxes[:, 2:] / 2
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    offsets = half[:, None, :] * signs
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x = offsets[:, :, 0] * cos - offsets[:, :, 1] * sin
    y = offsets[:, :, 0] * sin + offsets[:, :, 1] * cos
    corners = np.dstack([x, y]) + (boxes[:, :2] + half)[:, None, :]
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    straight = np.dstack(
        [
            np.column_stack([low[:, 0], high[:, 0], high[:, 0], low[:, 0]]),
            np.column_stack([low[:, 1], low[:, 1], high[:, 1], high[:, 1]]),
        ]
    )
    return np.where((angle == 0)[:, None, None], straight, corners).reshape(-1, 8)


_SHAPES = {"detect": _detect, "seg": _seg, "pose": _pose, "obb": _obb}
