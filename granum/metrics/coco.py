"""The COCO protocols: boxes, masks, keypoints. The evaluator is hotcoco (extra ``eval``).

All numbers equal those of pycocotools 2.0 (T.-Y. Lin et al., "Microsoft COCO: Common Objects in
Context", 2014; https://cocodataset.org/#detection-eval): precision at 101 recalls, averaged over
ten IoU thresholds and the categories that have truth; predictions of an image and a category
beyond the limit are not counted; crowds are ignored. As there, ``ignore`` has no effect, and the
area of a prediction is its box's, its mask's, or that of the box around its keypoints (of masks
that state a box as well official code takes the box's, which shifts APs, APm and APl). Equal scores
are in the order of image ids (of keys, where ids are not different integers), then of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError
from granum.metrics._coco import overlaps, run
from granum.metrics._coco.case import Case, Rules
from granum.metrics._coco.columns import Compared, Side, side_of
from granum.metrics._coco.parts import State, joined, samples_of
from granum.metrics._coco.sides import Sides
from granum.metrics.base import Context, Protocol, Recount, Result, joined_findings, protocols
from granum.schema.findings import Findings
from granum.store.parts import Batch

__all__ = ["SIGMAS", "CocoBbox", "CocoKeypoints", "CocoSegm"]

SIGMAS = tuple(
    s / 10
    for s in (0.26, *(0.25,) * 2, *(0.35,) * 2, *(0.79,) * 2, *(0.72,) * 2, *(0.62,) * 2)
    + (*(1.07,) * 2, *(0.87,) * 2, *(0.89,) * 2)
)
"""Of the 17 keypoints of a person: how far annotators differ, relative to the object's size."""


@dataclass(frozen=True)
class _Coco(Protocol):
    """What the three have in common.

    Attributes:
        max_detections: limits per image and category; AP is at the last one.
        iou_thresholds: instead of 0.50, 0.55 … 0.95.
        sample_iou: what a prediction hits at, in the counts per sample.
        least_score: predictions below are not counted per sample (AP counts all).
    """

    compared: ClassVar[Compared]
    extra: ClassVar[str | None] = "eval"
    reference: ClassVar[str] = "pycocotools 2.0, by hotcoco"
    needs: ClassVar[tuple[str, ...]] = ("category", "score")
    kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object",)

    max_detections: tuple[int, ...] = (1, 10, 100)
    iou_thresholds: tuple[float, ...] | None = None
    sample_iou: float = 0.5
    least_score: float = 0.0

    def __post_init__(self) -> None:
        limits, ious = self.max_detections, self.iou_thresholds
        if not limits or list(limits) != sorted(limits) or limits[0] < 1:
            raise UsageError(f"max_detections is {limits}; it must be positive, in rising order")
        if ious is not None and not (ious and all(0 < t <= 1 for t in ious)):
            raise UsageError(f"iou_thresholds is {ious}; each must be above 0 and at most 1")
        if not 0 < self.sample_iou <= 1:
            raise UsageError(f"sample_iou is {self.sample_iou}; it must be above 0 and at most 1")

    def _points(self) -> int:
        return 0

    def _settings(self) -> run.Settings:
        return run.Settings(self.compared, self.max_detections, self.iou_thresholds, None)

    def state(self, truth: Batch, predictions: Batch, context: Context) -> State:
        run.hotcoco()
        found = Findings(on_error="skip")
        side = partial(side_of, compared=self.compared, points=self._points(), found=found)
        true = side(truth, truth=True, root=context.map_root)
        predicted = side(predictions, truth=False, root=context.prediction_map_root)
        return State(
            **samples_of(truth),
            truth=true,
            predictions=predicted,
            findings=found,
        )

    def result(self, states: Sequence[State], context: Context) -> Result:
        whole = joined(states, context)
        sides, images = whole.sides(), whole.images
        arrays = run.accumulated(sides, images, self._settings())
        names = context.categories["name"].to_pylist()
        case = Case(
            rules=self._rules(arrays),
            sides=sides,
            overlaps=self._overlaps,
            image_rank=images.image_ids,
            category_rank=images.category_ids - 1,
            ignored=self._ignored(sides.truth),
            crowd=sides.truth.crowd,
        )
        return Result(
            protocol=self.name,
            values=arrays.values(),
            per_class=arrays.per_class(images, names, sides),
            per_sample=partial(case.per_sample, whole.keys),
            curves={"precision": arrays.curves(images, names)},
            facts={
                "truths": len(sides.truth),
                "predictions": sum(map(len, sides.found)),
                "deviations": arrays.deviations,
                "evaluator": f"hotcoco {run.hotcoco().__version__}",
            },
            findings=joined_findings((s.findings for s in states), by_place=True),
            recount=Recount(whole.keys, partial(self._recounted, case)),
        )

    def _recounted(self, case: Case, weights: npt.NDArray[np.int64]) -> dict[str, float | None]:
        curves = case.curves(weights)
        precision, recall = [c.precision for c in curves], [c.recall for c in curves]
        return run.summary(self._settings(), case.rules.thresholds, precision, recall)

    def _rules(self, arrays: run.Accumulated) -> Rules:
        return Rules(
            compared=self.compared,
            thresholds=arrays.thresholds,
            recalls=arrays.recalls,
            areas=arrays.settings.areas,
            limits=self.max_detections,
            limit=self.max_detections[-1],
            sample_iou=self.sample_iou,
            least_score=self.least_score,
        )

    def _ignored(self, truth: Side) -> npt.NDArray[np.bool_]:
        return truth.crowd

    def _overlaps(self, sides: Sides) -> overlaps.Overlaps:
        return overlaps.BoxOverlaps(sides)


@protocols("coco-bbox")
@dataclass(frozen=True)
class CocoBbox(_Coco):
    """Average precision and recall of boxes (COCO)."""

    name: ClassVar[str] = "coco-bbox"
    compared: ClassVar[Compared] = "bbox"


@protocols("coco-segm")
@dataclass(frozen=True)
class CocoSegm(_Coco):
    """Average precision and recall of masks (COCO): of RLE, label maps, or polygons."""

    name: ClassVar[str] = "coco-segm"
    compared: ClassVar[Compared] = "segm"

    def _overlaps(self, sides: Sides) -> overlaps.Overlaps:
        return overlaps.MaskOverlaps(sides)


@protocols("coco-keypoints")
@dataclass(frozen=True)
class CocoKeypoints(_Coco):
    """Average precision and recall of keypoints by object keypoint similarity (COCO).

    Attributes:
        sigmas: one for each keypoint; those of COCO's 17 unless given.
    """

    name: ClassVar[str] = "coco-keypoints"
    compared: ClassVar[Compared] = "keypoints"

    max_detections: tuple[int, ...] = (20,)
    sigmas: tuple[float, ...] = SIGMAS

    def _points(self) -> int:
        return len(self.sigmas)

    def _settings(self) -> run.Settings:
        own = None if self.sigmas == SIGMAS else self.sigmas
        return replace(super()._settings(), sigmas=own)

    def _ignored(self, truth: Side) -> npt.NDArray[np.bool_]:
        return truth.crowd | ~(truth.keypoints[..., 2] > 0).any(axis=1)

    def _overlaps(self, sides: Sides) -> overlaps.Overlaps:
        return overlaps.KeypointOverlaps(sides, np.asarray(self.sigmas))
