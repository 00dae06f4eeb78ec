"""Boundary AP and boundary PQ: masks count as alike as their boundaries are.

B. Cheng, R. Girshick, P. Dollár, A. C. Berg, A. Kirillov: "Boundary IoU: Improving Object-Centric
Image Segmentation Evaluation", CVPR 2021; bowenc0221/boundary-iou-api at 37d2558. Wherever COCO's
protocol of masks and panoptic quality use the IoU of two masks, these use the lower one of it and
of the IoU of their boundaries, which are max(1, round(0.02 diagonal)) pixels thick; the edge of the
image is a boundary too. Ranges of area are of whole masks.

Boundary AP: of crowds the share of the prediction inside counts, as in COCO, without boundaries.
Unlike pycocotools, that API ignores truths with ``ignore`` as it does crowds. Equal scores are in
the order of image ids (of keys, where ids are no integers), then of rows.

Boundary PQ is ``corrected``: the authors write the number above the largest category id (201 for
COCO) into the insides of segments, so that a segment with that id is taken for the inside of all
others. Here insides are no segment; where no segment has that id, the numbers are theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.metrics._boundary_masks import boundary, boundary_iou
from granum.metrics._boundary_pairs import Found, Truths, found_truths, objects_of
from granum.metrics._coco_columns import Side
from granum.metrics._coco_run import Images, Settings, official_order
from granum.metrics._coco_sides import Sides
from granum.metrics._panoptic_segments import Matches, Segments, matched
from granum.metrics._ranged_precision import RankedHits
from granum.metrics.base import Context, Protocol, Recount, Result, joined_findings, protocols
from granum.metrics.panoptic import PanopticQuality
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["BoundaryIou", "BoundaryPQ", "boundary", "boundary_iou"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _State:
    """Of a part: its samples, its predictions after matching, and what there was to find."""

    keys: pa.Array
    source_ids: pa.Array
    compared: tuple[int, int]
    found: Found
    truths: Truths
    findings: Findings


@protocols("boundary-iou")
@dataclass(frozen=True)
class BoundaryIou(Protocol):
    """Average precision and recall of masks by the lower one of mask IoU and boundary IoU.

    Attributes:
        max_detections: limits per image and category; AP is at the last one.
        iou_thresholds: instead of 0.50, 0.55 … 0.95; counts per sample are at the lowest.
        dilation_ratio: thickness of boundaries, as a share of the image's diagonal.
        least_score: predictions below are not counted per sample (AP counts all).
    """

    name: ClassVar[str] = "boundary-iou"
    reference: ClassVar[str] = "boundary-iou-api 37d2558"
    needs: ClassVar[tuple[str, ...]] = ("category", "score")
    kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object",)

    max_detections: tuple[int, ...] = (1, 10, 100)
    iou_thresholds: tuple[float, ...] | None = None
    dilation_ratio: float = 0.02
    least_score: float = 0.0

    def __post_init__(self) -> None:
        limits = self.max_detections
        if not limits or list(limits) != sorted(limits) or limits[0] < 1:
            raise UsageError(f"max_detections is {limits}; it must be positive, in rising order")
        if not (len(self._thresholds()) and all(0 < t <= 1 for t in self._thresholds())):
            raise UsageError(
                f"iou_thresholds is {self.iou_thresholds}; each must be above 0 and at most 1"
            )
        _check_ratio(self.dilation_ratio)

    def _thresholds(self) -> Floats:
        if self.iou_thresholds is None:
            return np.linspace(0.5, 0.95, 10)
        return np.asarray(self.iou_thresholds, np.float64)

    def state(self, truth: Batch, predictions: Batch, context: Context) -> _State:
        found = Findings(on_error="skip")
        true = objects_of(truth, truth=True, root=context.map_root, found=found)
        predicted = objects_of(
            predictions, truth=False, root=context.prediction_map_root, found=found
        )
        hits, truths = found_truths(
            true, predicted, self._thresholds(), self.max_detections[-1], self.dilation_ratio
        )
        return _State(
            keys=truth.samples["key"].combine_chunks(),
            source_ids=column(truth.samples, "source_id").combine_chunks(),
            compared=(len(true.masks), len(predicted.masks)),
            found=hits,
            truths=truths,
            findings=found,
        )

    def result(self, states: Sequence[_State], context: Context) -> Result:
        keys, images, ranked = self._joined(states, context)
        arrays = ranked.accumulated()
        names = context.categories["name"].to_pylist()
        compared = np.array([(0, 0), *(s.compared for s in states)]).sum(axis=0).tolist()
        return Result(
            protocol=self.name,
            values=arrays.values(),
            per_class=arrays.per_class(images, names, _sides(ranked, images)),
            per_sample=partial(self._per_sample, keys, ranked),
            curves={"precision": arrays.curves(images, names)},
            facts=dict(zip(("truths", "predictions"), compared, strict=True)),
            findings=joined_findings((s.findings for s in states), by_place=True),
            recount=Recount(keys, ranked.values),
        )

    def _joined(
        self, states: Sequence[_State], context: Context
    ) -> tuple[pa.Array, Images, RankedHits]:
        """All parts in the order of keys: so the order of parts changes nothing."""
        keys, source_ids = (
            pa.chunked_array([getattr(s, n) for s in states], pa.string()).combine_chunks()
            for n in ("keys", "source_ids")
        )
        order = pc.array_sort_indices(keys)
        unit = np.argsort(np.asarray(order, np.int64))
        category = column(context.categories, "source_id", tables.CATEGORIES)
        none = np.empty(0, np.int64)
        images = Images(
            official_order(source_ids.take(order)), official_order(category), none, none
        )
        place = images.category_ids - 1
        first = np.cumsum([0, *(len(s.keys) for s in states)]).tolist()
        found: list[Found] = []
        truths: list[Truths] = []
        for start, state in zip(first, states, strict=False):
            f, t = state.found, state.truths
            found.append(replace(f, unit=unit[start + f.unit], category=place[f.category]))
            truths.append(replace(t, unit=unit[start + t.unit], category=place[t.category]))
        settings = Settings("segm", self.max_detections, self.iou_thresholds, None)
        ranked = RankedHits(
            found=Found.joined(found, len(self._thresholds())),
            truths=Truths.joined(truths),
            image=images.image_ids,
            categories=len(place),
            settings=settings,
            thresholds=self._thresholds(),
        )
        return keys.take(order), images, ranked

    def _per_sample(self, keys: pa.Array, ranked: RankedHits) -> pa.Table:
        """What is right, wrong and missed at the lowest threshold, of areas of any size."""
        found, truths, lowest = ranked.found, ranked.truths, int(ranked.thresholds.argmin())
        used = found.counted[:, 0, lowest] & (found.score >= self.least_score)
        right = used & found.hit[:, 0, lowest]
        there = np.bincount(truths.unit[truths.counted[:, 0]], minlength=len(keys))
        tp, fp = (np.bincount(found.unit[f], minlength=len(keys)) for f in (right, used & ~right))
        iou = np.bincount(found.unit[right], found.iou[right], minlength=len(keys))
        all_ = tp + fp + there
        return pa.table(
            {
                "key": keys,
                "tp": tp,
                "fp": fp,
                "fn": there - tp,
                "f1": pa.array(2 * tp / np.maximum(all_, 1), mask=all_ == 0),
                "iou": pa.array(iou / np.maximum(tp, 1), mask=tp == 0),
            }
        )


def _sides(ranked: RankedHits, images: Images) -> Sides:
    """What the table of classes counts, by rows of the table of categories."""
    found, truths = ranked.found, ranked.truths
    none, row = np.empty(0), np.argsort(images.category_ids)
    true, predicted = (
        Side(rows.unit, row[rows.category], np.empty((0, 4)), none, crowd, none)
        for rows, crowd in ((truths, ~truths.counted[:, 0]), (found, none.astype(bool)))
    )
    return Sides(true, [predicted])


@protocols("boundary-pq")
@dataclass(frozen=True)
class BoundaryPQ(PanopticQuality):
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
