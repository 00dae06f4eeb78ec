"""What a dataset becomes as YOLO labels: the one place that decides what is kept.

All coordinates are divided by the image's size here, with the arithmetic that reading back
does, so that writer and loss report agree to the bit.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import SizeUnknownError
from granum.loaders.base import keep_columns
from granum.loaders.yolo import arrays
from granum.loaders.yolo.parse import Floats, Ints, Mask
from granum.loaders.yolo.shapes import SHAPES, Plan, filled, single_rings
from granum.schema import tables
from granum.schema.tables import column, with_column
from granum.schema.units import convert_units, is_relative
from granum.store.dataset import Dataset
from granum.store.parts import Batch

__all__ = ["Projector", "class_numbers", "make_plan", "project_samples"]


def class_numbers(categories: pa.Table) -> Ints:
    """The class number of each category; -1 for those of other label spaces than objects."""
    spaces = column(categories, "space", tables.CATEGORIES).cast(pa.string()).to_pylist()
    listed = np.array([s in (None, "object") for s in spaces], bool)
    return np.where(listed, np.cumsum(listed) - 1, -1)


def make_plan(dataset: Dataset, task: str | None) -> Plan:
    """Look through the columns of the dataset; decide the task where it was not asked for."""
    found: set[str] = set()
    points, boxes, closed, marked, corners = 0, True, True, True, True
    for part in dataset.parts:
        table = part.layer(dataset.meta.layer)
        kinds = column(table, "kind").cast(pa.string())
        table = table.filter(pc.fill_null(pc.equal(kinds, "object"), False))
        if not table.num_rows:
            continue
        found |= {n for n in ("keypoints", "angle", "polygons") if filled(table, n)}
        drawn = column(table, "shape_kind").cast(pa.string())
        marked &= bool(pc.all(pc.fill_null(pc.equal(drawn, "rectangle"), False)).as_py())
        corners &= column(table, "polygons").null_count == 0 and not filled(table, "bbox")
        if filled(table, "keypoints"):
            lengths = pc.list_value_length(table["keypoints"])
            points = max(points, (pc.max(lengths).as_py() or 0) // 3)
        if filled(table, "polygons"):
            of_polygons = table.filter(table["polygons"].is_valid())
            boxes &= column(of_polygons, "bbox").null_count == 0
            if task in (None, "obb"):
                coords, count, _ = single_rings(table, 8)
                closed &= not arrays.upright(coords, count[count > 0], "obb").any()
    if task is None:
        if "keypoints" in found:
            task = "pose"
        elif "angle" in found or ("polygons" in found and corners and marked):
            task = "obb"
        else:
            task = "seg" if "polygons" in found else "detect"
    return Plan(
        task,
        class_numbers(dataset.categories),
        points if task == "pose" else 0,
        boxes=boxes and task == "seg",
        closed=task == "seg" or (closed and task == "obb"),
        marked=marked or task != "obb",
    )


def project_samples(samples: pa.Table) -> pa.Table:
    """Samples with their split, and what is bookkeeping."""
    return keep_columns(Batch(samples, tables.empty(tables.ANNOTATIONS)), ("split",)).samples


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
        sized = self._with_sizes(batch.samples, table, batch.start)
        table, size = self._divisors(sized, table, batch.start)
        made, kept = SHAPES[self.plan.task](self.plan, table, size)
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
        out = {name: column(table, name) for name in kept}
        out.update(made)
        if self.conf and filled(table, "score"):
            score = column(table, "score")
            out["score"] = pc.if_else(pc.fill_null(pc.is_finite(score), False), score, None)
        return pa.table(out)

    # ------------------------------------------------------------------ sizes

    def _with_sizes(self, samples: pa.Table, table: pa.Table, start: int) -> pa.Table:
        """``samples`` with the sizes that are needed, from images where they are not stated."""
        size = _stated(samples)
        unknown = self._needed(samples, table, start) & (size <= 0).any(axis=1)
        if not unknown.any():
            return samples
        if self._sizes is None:
            self._sizes = self._probe()
        size = np.where(unknown[:, None], self._sizes[start : start + len(size)], size)
        for name, values in (("width", size[:, 0]), ("height", size[:, 1])):
            array = pa.array(values.astype(np.int32), mask=values <= 0)
            samples = with_column(samples, name, array)
        return samples

    def _divisors(self, samples: pa.Table, table: pa.Table, start: int) -> tuple[pa.Table, Floats]:
        """The rows, and what to divide each one's x and y by, shape (n, 2): the size of the
        image, or 1 where the unit is relative. Turned boxes are turned in pixels."""
        local = np.asarray(table["sample"], np.int64) - start
        size, relative = _stated(samples), is_relative(samples)
        turned = self._needed(samples, table, start) & relative
        if turned.any():
            table = convert_units(table, local, np.where(turned[:, None], size, 1.0))
        size[relative & ~turned] = 1.0
        return table, size[local]

    def _needed(self, samples: pa.Table, table: pa.Table, start: int) -> Mask:
        """Which samples' sizes are needed: they have rows in pixels, or turned boxes."""
        local = np.asarray(table["sample"], np.int64) - start
        pixel = ~is_relative(samples)
        rows = pixel[local]
        if self.plan.task == "obb" and filled(table, "angle"):
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
