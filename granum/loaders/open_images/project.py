"""What reading back our files gives of a batch: the one place that decides what is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders.base import blank
from granum.loaders.open_images.columns import constant
from granum.loaders.open_images.facts import ATTRIBUTES, CLICKS, FLAGS, TYPES
from granum.loaders.open_images.masks import Masks
from granum.loaders.open_images.narratives import kept_extra
from granum.loaders.open_images.plan import Plan, roles_of
from granum.loaders.open_images.retie import Ties
from granum.loaders.writing import with_sizes
from granum.schema import geometry, tables
from granum.schema.tables import column, with_column, without_columns
from granum.schema.units import is_relative
from granum.store.dataset import Dataset
from granum.store.parts import Batch, Part

__all__ = ["BESIDE", "far_edge", "project"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

BESIDE = "col.open_images.beside"
"""Column of boxes that stand in no file of boxes: they follow from relations or masks."""

_SAMPLE = (
    *("key", "source_id", "origins", "ordinal", "media", "media_kind", "width", "height"),
    *("channels", "depth", "orientation", "shape", "split"),
)
_ANY = ("annotation_id", "sample", "kind", "source_id", "origins", "ordinal", "shape", "area")
_KEPT = {
    "boxes": ("category", "bbox", "score", "source", "map", *FLAGS.values()),
    "points": ("category", "keypoints", "shape_kind", "present", "text", "source"),
    "labels": ("category", "present", "score", "source"),
    "relations": ("category", "subject", "object"),
    "captions": ("text", "annotator", "extra"),
}


def project(batch: Batch, dataset: Dataset, plan: Plan) -> Batch:
    """Boxes, points, labels, relations and captions, in fractions of the image.

    Args:
        batch: some of the dataset.
        dataset: all of it.
        plan: of the dataset.

    Raises:
        SizeUnknownError: pixels, or masks to be drawn, of images whose size is nowhere told.
    """
    rows = _Rows(batch, dataset, plan)
    annotations = rows.annotations()  # sizes that had to be looked up go to the samples
    return Batch(rows.samples(), annotations, batch.start)


class _Rows:
    """The rows of a batch and what becomes of each."""

    def __init__(self, batch: Batch, dataset: Dataset, plan: Plan) -> None:
        self.batch, self.dataset, self.plan = batch, dataset, plan
        self._sized: dict[str, Any] = {}
        table = batch.annotations
        table = table.filter(column(table, "sample").is_valid()) if table.num_rows else table
        self.table = table
        self.at = np.asarray(column(table, "sample"), np.int64) - batch.start
        self.category = np.asarray(column(table, "category").fill_null(-1), np.int64)
        self.roles = self._roles()

    def _roles(self) -> dict[str, Mask]:
        """Which rows can be written as what."""
        table, plan = self.table, self.plan
        roles = roles_of(table)
        named = plan.as_label[self.category]
        _, boxes = geometry.fixed_list(column(table, "bbox"))
        with np.errstate(over="ignore"):
            corners = np.hstack([boxes, boxes[:, :2] + boxes[:, 2:]])
        good = np.isfinite(corners).all(axis=1) & (boxes[:, 2:] >= 0).all(axis=1)
        said = np.asarray(pc.fill_null(column(table, "present"), True))
        kinds = column(table, "kind").cast(pa.string())
        return {
            "boxes": roles["boxes"] & named & good & said,
            "points": roles["points"] & self._points() & (named | (self.category < 0)),
            "labels": roles["labels"] & named,
            "relations": roles["relations"] & (self.category >= 0),
            "captions": np.asarray(pc.fill_null(pc.equal(kinds, "caption"), False)),
        }

    def _points(self) -> Mask:
        """Rows of one visible point that is drawn as one."""
        drawn = column(self.table, "shape_kind").cast(pa.string())
        out = np.asarray(pc.fill_null(pc.equal(drawn, "point"), False))
        points = column(self.table, "keypoints")
        out = out & np.asarray(pc.fill_null(pc.equal(pc.list_value_length(points), 3), False))
        if out.any():
            flat = _three(points, out)
            out[out] = np.isfinite(flat).all(axis=1) & (flat[:, 2] == 2)
        return out

    # ------------------------------------------------------------------ samples

    def samples(self) -> pa.Table:
        """Samples with what the files of images hold."""
        given = self.batch.samples
        known = self.plan.types["samples"]
        kept = [n for n in given.column_names if n in _SAMPLE]
        kept += [
            f"attr.{n}" for n in self.plan.columns["images"] if f"attr.{n}" in given.column_names
        ]
        samples = given.select(kept)
        for name, values in self._sized.items():
            samples = with_column(samples, name, values)
        for name, kind in known.items():
            if kind == "float" and f"attr.{name}" in samples.column_names:
                samples = _finite(samples, f"attr.{name}")
        return with_column(samples, "unit", constant("relative", samples.num_rows))

    def _sizes(self, needed: Mask) -> Floats:
        """Width and height of each sample, shape (n, 2); those needed are looked up."""
        samples = self.batch.samples
        sizes = np.column_stack(
            [np.asarray(column(samples, n).fill_null(0), np.float64) for n in ("width", "height")]
        )
        asked = np.flatnonzero(needed & (sizes <= 0).any(axis=1))
        if len(asked):
            part = Part(
                0, samples.num_rows, lambda: samples, lambda _: tables.empty(tables.ANNOTATIONS)
            )
            found = with_sizes(Dataset([part], meta=self.dataset.meta).select(asked))
            for i, name in enumerate(("width", "height")):
                sizes[asked, i] = np.asarray(found.samples([name])[name])
                values = np.asarray(column(samples, name).fill_null(-1), np.int64).copy()
                values[asked] = sizes[asked, i]
                self._sized[name] = pa.array(values.astype(np.int32), mask=values < 0)
        return sizes

    # ------------------------------------------------------------------ annotations

    def annotations(self) -> pa.Table:
        """Rows with what the files hold of them."""
        table, roles, n = self.table, self.roles, self.table.num_rows
        pixel = ~is_relative(self.batch.samples)
        placed = (roles["boxes"] | roles["points"]) & pixel[self.at] if n else np.zeros(0, bool)
        drawn = roles["boxes"] & _is_drawn(table)
        needed = np.zeros(self.batch.samples.num_rows, bool)
        needed[self.at[placed | drawn]] = True
        sizes = self._sizes(needed)
        divisors = np.where(pixel[:, None], sizes, 1.0)[self.at]
        corners = self._corners(divisors)
        keys = np.column_stack([self.at, self.category, corners])
        masks = Masks(table, roles["boxes"], self.at, sizes, pixel, self.dataset)
        beside, ends = Ties(table, roles, self.at, self.category, self.plan).tie(keys, masks)
        order = self._order(beside, masks.found, ends)
        table = self._cut(masks.found)
        table = self._placed(table, corners, divisors)
        for name, values in zip(("subject", "object"), ends, strict=True):
            if (values >= 0).any():
                ids = np.asarray(table["annotation_id"], np.int64)
                taken = pa.array(ids[values], mask=values < 0)
                table = with_column(table, name, taken)
            else:
                table = without_columns(table, [name])
        table = masks.apply(table, self.at, self.plan, self.batch.start)
        if beside.any():
            table = with_column(table, BESIDE, pa.array(beside))
        if len(order) == n and (order == np.arange(n)).all():
            return table
        return table.take(pa.array(order))

    def _order(self, beside: Mask, masked: Mask, ends: tuple[Ints, Ints]) -> Ints:
        """The rows that are kept, in the order in which files are read: boxes, those of masks,
        those of relations as they come, points, labels (a machine's last), relations, captions."""
        roles, n = self.roles, self.table.num_rows
        rank = np.full(n, -1)
        given = np.asarray(column(self.table, "present").is_null())
        given &= _finite_values(column(self.table, "score"))
        for role, first in (("boxes", 0), ("points", 3), ("labels", 4), ("captions", 7)):
            rank[roles[role]] = first
        rank[roles["relations"]] = 6
        rank[roles["labels"] & given] = 5
        rank[beside & masked], rank[beside & ~masked] = 1, 2
        place = np.arange(n)
        uses = np.concatenate(ends)
        met, earliest = np.unique(uses, return_index=True)
        use = np.zeros(n + 1, np.int64)
        use[met] = earliest
        place = np.where(rank == 2, use[:n], place)
        kept = np.flatnonzero(rank >= 0)
        return kept[np.lexsort((place[kept], rank[kept], self.at[kept]))]

    def _corners(self, divisors: Floats) -> Floats:
        """XMin, XMax, YMin, YMax of boxes."""
        _, boxes = geometry.fixed_list(column(self.table, "bbox"))
        with np.errstate(all="ignore"):
            low, size = boxes[:, :2] / divisors, boxes[:, 2:] / divisors
        low, size = np.nan_to_num(low), np.nan_to_num(size)
        high = far_edge(low, size)
        return np.column_stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]])

    def _placed(self, table: pa.Table, corners: Floats, divisors: Floats) -> pa.Table:
        """With coordinates as reading gives them."""
        boxes = self.roles["boxes"]
        if boxes.any():
            flat = corners[:, [0, 2, 1, 3]]
            flat[:, 2:] -= flat[:, :2]
            values = pa.FixedSizeListArray.from_arrays(
                pa.array(flat.ravel()), 4, mask=pa.array(~boxes)
            )
            table = with_column(table, "bbox", values)
        points = self.roles["points"]
        if points.any():
            flat = _three(column(table, "keypoints"), points)
            flat[:, :2] /= divisors[points]
            ends = np.concatenate([[0], np.cumsum(points)]).astype(np.int32) * 3
            values = pa.ListArray.from_arrays(
                pa.array(ends), pa.array(flat.ravel()), mask=pa.array(~points)
            )
            table = with_column(table, "keypoints", values)
        return table

    def _cut(self, masked: Mask) -> pa.Table:
        """Columns where the files of a row's kind have them."""
        table, roles = self.table, self.roles
        for name in table.column_names:
            if name in _ANY or name in ("subject", "object", "polygons", "rle"):
                continue
            if name.startswith("attr."):
                plain = name.removeprefix("attr.")
                here = np.zeros(table.num_rows, bool)
                for role, columns in self.plan.columns.items():
                    if plain in columns and role in roles:
                        here |= roles[role]
                if plain in ATTRIBUTES["masks"]:
                    here = here & ~roles["boxes"] | masked
            else:
                kept = [roles[r] for r, names in _KEPT.items() if name in names]
                here = np.logical_or.reduce(kept) if kept else np.zeros(table.num_rows, bool)
            if not here.any():
                table = table.drop_columns([name])
            elif (~here & np.asarray(table[name].is_valid())).any():
                table = blank(table, name, ~here)
        return self._values(table)

    def _values(self, table: pa.Table) -> pa.Table:
        """Without values that do not come back."""
        if "score" in table.column_names:
            table = _finite(table, "score")
            both = np.asarray(column(table, "present").is_valid()) & self.roles["labels"]
            if both.any():
                table = blank(table, "score", both)
        for name in [n for n in table.column_names if n.startswith("attr.")]:
            plain = name.removeprefix("attr.")
            kind = self.plan.types["annotations"].get(plain)
            if kind is None or not _fits(table[name].type, kind):
                table = table.drop_columns([name])
            elif kind == "float":
                table = _finite(table, name)
                if plain in CLICKS and name in table.column_names:
                    none = pc.fill_null(pc.equal(table[name], -1.0), False)
                    if pc.any(none).as_py():
                        table = blank(table, name, np.asarray(none))
        if "extra" in table.column_names:
            texts = table["extra"].to_pylist()
            tokens = [self.plan.tokens[self.batch.start + i] for i in self.at.tolist()]
            kept = [
                None if t is None else kept_extra(t, token)
                for t, token in zip(texts, tokens, strict=True)
            ]
            table = with_column(table, "extra", pa.array(kept, pa.string()))
        return table


def far_edge(low: Floats, size: Floats) -> Floats:
    """The double near ``low + size`` from which ``low`` leaves ``size``, to the bit; of several
    the one with the fewest decimals, as the file had it."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = best = low + size
        for tried in (np.nextafter(total, np.inf), np.nextafter(total, -np.inf), total):
            best = np.where(tried - low == size, tried, best)
        for digits in (12, 9, 6, 4):
            short = np.rint(total * 10**digits) / 10**digits
            best = np.where(short - low == size, short, best)
    return best


def _three(points: pa.ChunkedArray, where: Mask) -> Floats:
    """Lists of three numbers, shape (n, 3)."""
    chosen = points.combine_chunks().filter(pa.array(where))
    return np.array(chosen.flatten(), np.float64).reshape(-1, 3)


def _is_drawn(table: pa.Table) -> Mask:
    """Rows whose mask is polygons, for which the size of the image is needed."""
    return np.asarray(column(table, "polygons").is_valid())


def _finite(table: pa.Table, name: str) -> pa.Table:
    """``table`` with null for numbers that no text of numbers has."""
    bad = ~np.isfinite(np.asarray(table[name].fill_null(0), np.float64))
    return blank(table, name, bad) if bad.any() else table


def _finite_values(values: pa.ChunkedArray) -> Mask:
    """Which numbers a text of numbers has."""
    return np.isfinite(np.asarray(values.fill_null(np.nan), np.float64))


def _fits(kind: pa.DataType, name: str) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(kind == TYPES[name])
