"""Average precision of turned boxes, as DOTA's task 1 measures it.

G.-S. Xia et al., "DOTA: A Large-scale Dataset for Object Detection in Aerial Images", CVPR 2018;
the rules are those of ``dota_evaluation_task1.py`` (CAPTAIN-WHU/DOTA_devkit): VOC's (see
:mod:`granum.metrics.voc`: each detection tries only the truth that it overlaps most; duplicates
are wrong; difficult truths spare what hits them) with the exact IoU of quadrilaterals, without a
pixel more, and a hit at an IoU **above** the threshold. The devkit averages precision at 11
recalls (``use_07_metric=True``), and so does the default here; ``interpolation="all-point"`` is
the area that many papers publish.

``averaged`` gives what papers call AP50, AP75 and mAP: thresholds 0.50, 0.55 … 0.95, and their
mean, each matched by itself.

A truth or detection is a polygon of four points, else a box turned by its angle (null: 0); rows
of any other form are findings. Quadrilaterals need not be convex: as in ``polyiou``, a point
counts as often as the outline goes around it. Deviations: the devkit's mean over classes fails
where a class has no truth; here it is the mean of those that have. Its sort of equal scores is not
stable; here samples go by key, then rows as stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError
from granum.metrics._detection.argmax import argmax_hits, best_overlaps
from granum.metrics._detection.quads import Quads, quad_iou, turned_corners
from granum.metrics._detection.shared import (
    DetectionState,
    detections_result,
    flag,
    judged_of,
    objects_of,
)
from granum.metrics._usable import kept, left_out
from granum.metrics.base import Context, Protocol, Result, protocols
from granum.metrics.voc import Interpolation, style_of
from granum.schema import geometry
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["Obb", "quadrilateral_iou"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_AVERAGED = tuple(k / 100 for k in range(50, 100, 5))


@protocols("obb")
@dataclass(frozen=True)
class Obb(Protocol):
    """Average precision of turned boxes (DOTA).

    Attributes:
        iou: a hit overlaps more than this.
        interpolation: ``11-point`` (the devkit's) or ``all-point``.
        averaged: AP50, AP75 and the mean over 0.50, 0.55 … 0.95 instead of one threshold.
    """

    name: ClassVar[str] = "obb"
    reference: ClassVar[str] = "DOTA_devkit (dota_evaluation_task1.py), commit 62891d31"
    needs: ClassVar[tuple[str, ...]] = ("category", "score")
    kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object",)

    iou: float = 0.5
    interpolation: Interpolation = "11-point"
    averaged: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.iou < 1:
            raise UsageError(f"iou is {self.iou}; it must be at least 0 and below 1")
        if self.averaged and self.iou != 0.5:
            raise UsageError("averaged takes 0.50, 0.55 … 0.95: iou cannot be given beside it")
        style_of(self.interpolation)

    def _thresholds(self) -> tuple[float, ...]:
        return _AVERAGED if self.averaged else (self.iou,)

    def state(self, truth: Batch, predictions: Batch, context: Context) -> DetectionState:
        findings = Findings(on_error="skip")
        truth_, corners = _drawn(truth, "truth", findings)
        predictions_, guesses = _drawn(predictions, "predictions", findings)
        true = objects_of(truth_, "truth", findings)
        found = objects_of(predictions_, "predictions", findings)
        named = np.asarray(column(truth_.annotations, "category").is_valid())
        true_quads, found_quads = Quads.of(corners[named]), Quads.of(guesses)
        categories = context.categories.num_rows
        best, overlap = best_overlaps(
            found.group(categories),
            true.group(categories),
            lambda a, b: quad_iou(found_quads, a, true_quads, b),
        )
        difficult = flag(true.table, "difficult")
        # The devkit asks for more than the threshold: the next number is the least that is.
        above = [float(np.nextafter(t, 2.0)) for t in self._thresholds()]
        hit, counted = argmax_hits(best, overlap, found.score, above, difficult)
        return DetectionState(
            keys=truth.samples["key"].combine_chunks(),
            judged=judged_of(found, true, hit, counted, ~difficult),
            compared=(len(true), len(found)),
            findings=findings,
            counts={"difficult": int(difficult.sum())},
        )

    def result(self, states: Sequence[DetectionState], context: Context) -> Result:
        numbers: dict[str, Sequence[int]] = {"mAP": range(len(self._thresholds()))}
        if self.averaged:
            numbers.update({"AP50": [0], "AP75": [_AVERAGED.index(0.75)]})
        return detections_result(
            self.name, states, context, style=style_of(self.interpolation), numbers=numbers
        )


def _drawn(batch: Batch, who: str, findings: Findings) -> tuple[Batch, Floats]:
    """The rows that are quadrilaterals, and their corners, shape (n, 4, 2)."""
    table = batch.annotations
    n = table.num_rows
    corners = np.full((n, 4, 2), np.nan)
    angle = column(table, "angle")
    if n and "bbox" in table.column_names:
        valid, boxes = geometry.fixed_list(table["bbox"])
        angles = np.asarray(angle.fill_null(0.0), np.float64)
        corners[valid] = turned_corners(boxes[valid], angles[valid])
    if n and "polygons" in table.column_names:
        four, points = _four_corners(geometry.flat_polygons(table["polygons"]))
        # A box that is told with its angle is the object; one without stands around the polygon.
        use = four & np.asarray(angle.is_null())
        corners[use] = points[use[four]]
    finite = np.asarray(np.isfinite(corners).all(axis=(1, 2)))
    what = "without a box or a polygon of four corners that are finite"
    left_out(findings, "missing-geometry", batch, ~finite, who, what)
    return kept(batch, finite), corners[finite]


def _four_corners(flat: geometry.FlatPolygons) -> tuple[Flags, Floats]:
    """Which rows are one ring of four points, and those points, shape (rows that are, 4, 2)."""
    rows = np.flatnonzero(np.diff(flat.rows) == 1)
    parts = flat.rows[rows]
    one = np.diff(flat.parts)[parts] == 1
    rows, rings = rows[one], flat.parts[parts[one]]
    one = np.diff(flat.rings)[rings] == 8
    rows, start = rows[one], flat.rings[rings[one]]
    four = np.zeros(len(flat.rows) - 1, bool)
    four[rows] = True
    return four, flat.coords[start[:, None] + np.arange(8)].reshape(-1, 4, 2)


def quadrilateral_iou(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """IoU of all pairs of quadrilaterals.

    Args:
        a: shape (n, 4, 2), corners in order, either way round.
        b: shape (m, 4, 2).

    Returns:
        Shape (n, m); 0 where neither has an area.
    """
    first, second = Quads.of(a), Quads.of(b)
    n, m = len(first), len(second)
    left, right = np.repeat(np.arange(n), m), np.tile(np.arange(m), n)
    return quad_iou(first, left, second, right).reshape(n, m)
