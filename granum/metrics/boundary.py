"""Boundary AP and boundary PQ: masks count as alike as their boundaries are.

B. Cheng, R. Girshick, P. Dollár, A. C. Berg, A. Kirillov: "Boundary IoU: Improving Object-Centric
Image Segmentation Evaluation", CVPR 2021; bowenc0221/boundary-iou-api at 37d2558. Wherever COCO's
protocol of masks and panoptic quality use the IoU of two masks, these use the lower one of it and
of the IoU of their boundaries, which are max(1, round(0.02 diagonal)) pixels thick; the edge of the
image is a boundary too. Ranges of area are of whole masks.

Boundary AP: of crowds the share of the prediction inside counts, as in COCO, without boundaries.
Unlike pycocotools, that API ignores truths with ``ignore`` as it does crowds. Equal scores go as in
COCO.

Boundary PQ is ``corrected``: the authors write the number above the largest category id (201 for
COCO) into the insides of segments, so that a segment with that id is taken for the inside of all
others. Here insides are no segment; where no segment has that id, the numbers are theirs (of
several crowds of a category the last one spares predictions, as in panopticapi).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError
from granum.metrics._coco import run
from granum.metrics._coco.case import Case, Rules
from granum.metrics._coco.columns import Side
from granum.metrics._coco.matching import candidates
from granum.metrics._coco.parts import State, joined
from granum.metrics._coco.ranking import Curves
from granum.metrics._coco.sides import Sides
from granum.metrics._maps.boundary_masks import boundary, boundary_iou
from granum.metrics._maps.boundary_overlaps import BoundaryOverlaps, KnownOverlaps
from granum.metrics._maps.panoptic_segments import Matches, Segments, matched
from granum.metrics.base import Context, Recount, Result, joined_findings, protocols
from granum.metrics.coco import CocoSegm
from granum.metrics.panoptic import Panoptic
from granum.store.parts import Batch

__all__ = ["BoundaryIou", "BoundaryPQ", "boundary", "boundary_iou"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class _State(State):
    """A part, with the pairs that overlap enough: rows of predictions and of truth, and IoU."""

    found: Ints
    true: Ints
    value: Floats


@protocols("boundary-iou")
@dataclass(frozen=True)
class BoundaryIou(CocoSegm):
    """Average precision and recall of masks by the lower one of mask IoU and boundary IoU.

    Attributes:
        dilation_ratio: thickness of boundaries, as a share of the image's diagonal.
    """

    name: ClassVar[str] = "boundary-iou"
    reference: ClassVar[str] = "boundary-iou-api 37d2558"

    dilation_ratio: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_ratio(self.dilation_ratio)

    def _thresholds(self) -> Floats:
        given = self.iou_thresholds
        return _THRESHOLDS if given is None else np.asarray(given, np.float64)

    def state(self, truth: Batch, predictions: Batch, context: Context) -> _State:
        part = super().state(truth, predictions, context)
        given = candidates(
            part.truth,
            part.predictions,
            BoundaryOverlaps(Sides(part.truth, [part.predictions]), self.dilation_ratio),
            categories=max(context.categories.num_rows, 1),
            limit=self.max_detections[-1],
            least=min(float(self._thresholds().min()), self.sample_iou),
        )
        return _State(
            **vars(part), found=given.rows[given.found], true=given.true, value=given.value
        )

    def result(self, states: Sequence[_State], context: Context) -> Result:  # type: ignore[override]
        whole = joined(states, context)
        sides, images = whole.sides(), whole.images
        names = context.categories["name"].to_pylist()
        case = Case(
            rules=self._rule(),
            sides=sides,
            overlaps=partial(KnownOverlaps.of, _pairs(whole.parts)),
            image_rank=images.image_ids,
            category_rank=images.category_ids - 1,
            ignored=self._ignored(sides.truth),
            crowd=sides.truth.crowd,
        )
        curves = case.curves()
        arrays = self._arrays(curves[0], len(names))
        counted = replace(sides, truth=replace(sides.truth, crowd=self._ignored(sides.truth)))
        return Result(
            protocol=self.name,
            values=self._summary(curves),
            per_class=arrays.per_class(images, names, counted),
            per_sample=partial(case.per_sample, whole.keys),
            curves={"precision": arrays.curves(images, names).drop_columns(["score"])},
            facts={"truths": len(sides.truth), "predictions": len(sides.predictions)},
            findings=joined_findings((s.findings for s in states), by_place=True),
            recount=Recount(whole.keys, partial(self._again, case)),
        )

    def _rule(self) -> Rules:
        return Rules(
            compared=self.compared,
            thresholds=self._thresholds(),
            recalls=_RECALLS,
            areas=self._settings().areas,
            limits=self.max_detections,
            limit=self.max_detections[-1],
            sample_iou=self.sample_iou,
            least_score=self.least_score,
        )

    def _ignored(self, truth: Side) -> npt.NDArray[np.bool_]:
        return truth.crowd | truth.ignore

    def _again(self, case: Case, weights: Ints) -> dict[str, float | None]:
        return self._summary(case.curves(weights))

    def _summary(self, curves: Sequence[Curves]) -> dict[str, float | None]:
        precision, recall = [c.precision for c in curves], [c.recall for c in curves]
        return run.summary(self._settings(), self._thresholds(), precision, recall)

    def _arrays(self, curves: Curves, categories: int) -> run.Accumulated:
        """Of areas of any size in the official form, -1 where undefined; without scores."""
        thresholds = self._thresholds()
        precision = np.full((len(thresholds), len(_RECALLS), categories), -1.0)
        precision[..., curves.categories] = curves.precision
        recall = np.full((len(self.max_detections), len(thresholds), categories), -1.0)
        recall[..., curves.categories] = curves.recall
        return run.Accumulated(
            precision=precision[..., None, None],
            scores=precision[..., None, None],
            recall=np.moveaxis(recall, 0, -1)[:, :, None],
            settings=self._settings(),
            thresholds=thresholds,
            recalls=_RECALLS,
            deviations=[],
        )


def _pairs(states: Sequence[_State]) -> tuple[Ints, Ints, Floats]:
    """The pairs of all parts, by rows of all."""
    pieces = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    found = true = 0
    for state in states:
        pieces.append((state.found + found, state.true + true, state.value))
        found, true = found + len(state.predictions), true + len(state.truth)
    rows, truths, values = zip(*pieces, strict=True)
    return np.concatenate(rows), np.concatenate(truths), np.concatenate(values)


@protocols("boundary-pq")
@dataclass(frozen=True)
class BoundaryPQ(Panoptic):
    """PQ, SQ and RQ by the lower one of the IoU of segments and of their boundaries.

    Attributes:
        dilation_ratio: thickness of boundaries, as a share of the image's diagonal.
    """

    name: ClassVar[str] = "boundary-pq"
    reference: ClassVar[str] = "boundary-iou-api 37d2558"
    mode: ClassVar[str] = "corrected"

    dilation_ratio: float = 0.02

    def __post_init__(self) -> None:
        _check_ratio(self.dilation_ratio)

    def _matched(self, truth: Segments, predictions: Segments) -> Matches:
        return matched(truth, predictions, self.dilation_ratio)


def _check_ratio(ratio: float) -> None:
    if not 0 < ratio < math.inf:
        raise UsageError(f"dilation_ratio is {ratio}; it must be above 0")
