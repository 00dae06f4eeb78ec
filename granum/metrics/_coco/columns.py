"""Truth and predictions of a part as plain arrays, straight from the columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UsageError
from granum.metrics._coco.masks import Outline, mask_areas, mask_dicts, outlines_of
from granum.metrics._usable import kept, left_out, of_kinds
from granum.schema import geometry
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["Compared", "Side", "side_of"]

Compared = Literal["bbox", "segm", "keypoints"]
_WANTED = {"bbox": "a box that is finite", "segm": "a mask", "keypoints": "keypoints"}
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """Rows that are compared, sorted by sample.

    Attributes:
        sample, category: rows of the truth's tables.
        box: xywh in pixels, shape (n, 4); zeros where only masks are compared.
        area: of the truth, in pixels; zeros for predictions, whose geometry tells it.
        crowd: regions in which predictions are neither right nor wrong.
        ignore: of the truth, marked so.
        score: of predictions; zeros for the truth.
        outline: of the masks, for ``segm``.
        keypoints: x, y, visibility, shape (n, points, 3), for ``keypoints``.
    """

    sample: Ints
    category: Ints
    box: Floats
    area: Floats
    crowd: npt.NDArray[np.bool_]
    ignore: npt.NDArray[np.bool_]
    score: Floats
    outline: Outline | None = None
    keypoints: Floats = field(default_factory=lambda: np.zeros((0, 0, 3)))

    def __len__(self) -> int:
        return len(self.sample)

    def take(self, rows: Ints) -> Side:
        """Some of the rows."""
        outline = None if self.outline is None else self.outline.take(rows)
        plain = [f.name for f in fields(Side) if f.name != "outline"]
        return replace(self, outline=outline, **{n: getattr(self, n)[rows] for n in plain})

    @staticmethod
    def joined(sides: Sequence[Side]) -> Side:
        """All rows, in order."""
        if not sides:
            none = np.zeros(0)
            rows = none.astype(np.int64)
            no = none.astype(bool)
            return Side(rows, rows, np.zeros((0, 4)), none, no, no, none)
        values: dict[str, Any] = {}
        for name in (f.name for f in fields(Side)):
            pieces = [getattr(s, name) for s in sides]
            if name == "outline":
                values[name] = None if None in pieces else Outline.joined(pieces)
            elif name == "keypoints":
                values[name] = np.concatenate([p for p in pieces if len(p)] or pieces[:1])
            else:
                values[name] = np.concatenate(pieces)
        return Side(**values)


def side_of(
    batch: Batch, compared: Compared, *, truth: bool, root: str | None, points: int, found: Findings
) -> Side:
    """The objects of a batch that can be compared; those that cannot are findings.

    Args:
        batch: truth or predictions.
        compared: what is compared.
        truth: which of them it is.
        root: the folder of label maps.
        points: how many keypoints an object has.
        found: gets what is left out.

    Raises:
        SizeUnknownError: polygons in a sample of unknown size.
        UsageError: another number of keypoints than ``points``.
    """
    who = "truth" if truth else "predictions"
    batch = of_kinds(batch, ("object",), who, found)
    named = np.asarray(column(batch.annotations, "category").is_valid())
    left_out(found, "missing-category", batch, ~named, who, "without a category")
    batch = kept(batch, named)
    table = batch.annotations
    n = table.num_rows
    outline = None
    keypoints, box = np.zeros((n, 0, 3)), np.zeros((n, 4))
    area = _stated_area(table) if truth else np.zeros(n)
    if compared == "segm":
        # The evaluator rasterises polygons faster; but for areas that nothing states.
        rings = ~np.isnan(area) if truth else np.zeros(n, bool)
        outline = outlines_of(batch, root, who, found, rings=rings)
        keep = outline.valid()
        if truth:
            rows = np.flatnonzero(np.isnan(area) & keep)
            area = area.copy()
            area[rows] = mask_areas(mask_dicts(outline.rle.take(pa.array(rows))))
    elif compared == "keypoints":
        keep, keypoints = _keypoints(table, points)
        box = np.nan_to_num(_boxes(table)) if truth else _extents(keypoints)
    else:
        box = _boxes(table)
        finite = np.isfinite(box)
        keep = np.ones(n, bool) if finite.all() else np.asarray(finite.all(axis=1))
    if truth and compared != "segm":
        area = np.where(np.isnan(area), _areas(table, box), area)
    # The keypoints of a dataset of boxes are a few of its objects: the others are no fault.
    other = compared == "keypoints" and truth
    code = "not-compared" if other else "missing-geometry"
    left_out(found, code, batch, ~keep, who, f"without {_WANTED[compared]}")
    no = np.zeros(n, bool)
    side = Side(
        sample=np.asarray(column(table, "sample"), np.int64),
        category=np.asarray(column(table, "category"), np.int64),
        box=box,
        area=area,
        crowd=np.asarray(column(table, "crowd").fill_null(False)) if truth else no,
        ignore=np.asarray(column(table, "ignore").fill_null(False)) if truth else no,
        score=np.zeros(n) if truth else np.asarray(column(table, "score"), np.float64),
        outline=outline,
        keypoints=keypoints,
    )
    return side if keep.all() else side.take(np.flatnonzero(keep))


def _boxes(table: pa.Table) -> Floats:
    """``bbox`` as stated; of rows that have none, or an angle, the box around their geometry."""
    angle = column(table, "angle")
    if "bbox" in table.column_names and table.num_rows:
        valid, boxes = geometry.fixed_list(table["bbox"])
        plain = valid
        if angle.null_count < len(angle):
            plain = valid & (np.asarray(angle.fill_null(0.0), np.float64) == 0)
    else:
        plain, boxes = np.zeros(table.num_rows, bool), np.zeros((table.num_rows, 4))
    rest = np.flatnonzero(~plain)
    if len(rest):
        boxes = boxes.copy()
        boxes[rest] = geometry.aabb(table.take(pa.array(rest)))
    return boxes


def _stated_area(table: pa.Table) -> Floats:
    return np.asarray(column(table, "area").fill_null(np.nan), np.float64)


def _areas(table: pa.Table, box: Floats) -> Floats:
    """Of the masks, where there are any; else of the boxes."""
    out = box[:, 2] * box[:, 3]
    if any(n in table.column_names for n in ("polygons", "rle")):
        rows = np.flatnonzero(np.isnan(_stated_area(table)))
        drawn = geometry.areas(table.take(pa.array(rows)))
        out[rows] = np.where(np.isnan(drawn), out[rows], drawn)
    return np.asarray(out, np.float64)


def _keypoints(table: pa.Table, points: int) -> tuple[npt.NDArray[np.bool_], Floats]:
    values = column(table, "keypoints").combine_chunks()
    lengths = np.asarray(values.value_lengths().fill_null(0), np.int64)
    wrong = (lengths != 3 * points) & (lengths > 0)
    if wrong.any():
        n = int(lengths[wrong][0]) // 3
        raise UsageError(
            f"an object has {n} keypoints and the protocol {points}: give one of its sigmas for "
            "each keypoint"
        )
    keep = lengths > 0
    out = np.zeros((table.num_rows, points, 3))
    out[keep] = np.asarray(values.flatten(), np.float64).reshape(-1, points, 3)
    return keep, out


def _extents(keypoints: Floats) -> Floats:
    """The box around all keypoints, whatever their visibility, as official readers have it."""
    if not keypoints.shape[1]:
        return np.zeros((len(keypoints), 4))
    low, high = keypoints[..., :2].min(axis=1), keypoints[..., :2].max(axis=1)
    return np.hstack([low, high - low])
