"""The LVIS protocol: average precision where not every class was looked for in every image.

All numbers equal those of lvis-api 0.5.3 (A. Gupta, P. Dollár, R. Girshick, "LVIS: A Dataset for
Large Vocabulary Instance Segmentation", CVPR 2019; lvis-dataset/lvis-api, lvis/eval.py), for
LVIS v0.5 and v1. As in COCO, precision is at 101 recalls, averaged over ten IoU thresholds and the
classes that have truth, and equal scores go by image, then by row; but

- the 300 predictions of highest score count per image, over all classes;
- predictions of classes that have no truth in the image and are not verified absent from it
  (``neg_category_ids``: label rows with ``present`` false) are left out;
- where a class is not annotated exhaustively (``not_exhaustive_category_ids``: label rows with
  ``exhaustive`` false), what finds nothing is not wrong;
- there are no crowds: ``crowd`` has no effect, while truth with ``ignore`` is neither to be found
  nor wrong to find;
- APr, APc and APf are the means of rare, common and frequent classes, by the ``frequency`` in
  their attributes;
- rows of area 0 are left out, of the truth also as a sign that the class is there, as official
  code does by the way it looks rows up.

``fixed_ap`` is the variant of A. Dave, P. Dollár, D. Ramanan, A. Kirillov, R. Girshick, "Evaluating
Large-Vocabulary Object Detectors: The Devil is in the Details", 2021
(achalddave/large-vocab-devil, scripts/evaluate_ap_fixed.py): the 10,000 best of each class over
the whole set, and no limit per image. Counts of other choices of samples keep that choice.

The area of a prediction is its box's or its mask's, whichever is compared (official code takes the
box's of results of masks that state a box as well).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UsageError
from granum.metrics._coco import overlaps, run
from granum.metrics._coco.case import Case, Rules
from granum.metrics._coco.columns import Side, side_of
from granum.metrics._coco.lvis_rows import FREQUENCIES, Listed, best_of, frequencies, listed
from granum.metrics._coco.parts import State, Whole, joined, samples_of
from granum.metrics._coco.ranking import Curves
from granum.metrics._coco.sides import Sides
from granum.metrics.base import Context, Protocol, Recount, Result, joined_findings, protocols
from granum.schema.findings import Findings
from granum.store.parts import Batch

__all__ = ["PER_CLASS", "Lvis"]

PER_CLASS = 10_000
"""Predictions of a class that count over the whole set, for ``fixed_ap``."""

_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _State(State):
    """A part, with the classes that are absent and those that are annotated in part."""

    absent: Listed
    partial: Listed

    def placed(self, rows: Ints) -> Self:
        absent, in_part = (
            replace(listed, sample=rows[listed.sample - self.start])
            for listed in (self.absent, self.partial)
        )
        return replace(super().placed(rows), absent=absent, partial=in_part)


@protocols("lvis")
@dataclass(frozen=True)
class Lvis(Protocol):
    """Average precision of boxes or masks of a large vocabulary (LVIS).

    Attributes:
        iou_type: ``segm`` compares masks, which the benchmark ranks by, ``bbox`` boxes.
        max_detections: limit per image over all classes.
        fixed_ap: instead of it the best 10,000 of each class over the whole set.
        sample_iou: what a prediction hits at, in the counts per sample.
        least_score: predictions below are not counted per sample (AP counts all).
    """

    name: ClassVar[str] = "lvis"
    reference: ClassVar[str] = "lvis-api 0.5.3"
    extra: ClassVar[str | None] = "eval"
    needs: ClassVar[tuple[str, ...]] = ("category", "score")
    kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object", "label")

    iou_type: Literal["segm", "bbox"] = "segm"
    max_detections: int = 300
    fixed_ap: bool = False
    sample_iou: float = 0.5
    least_score: float = 0.0

    def __post_init__(self) -> None:
        if self.iou_type not in ("segm", "bbox"):
            raise UsageError(f"iou_type is {self.iou_type!r}; it must be segm or bbox")
        if self.max_detections < 1:
            raise UsageError(f"max_detections is {self.max_detections}; it must be above 0")
        if not 0 < self.sample_iou <= 1:
            raise UsageError(f"sample_iou is {self.sample_iou}; it must be above 0 and at most 1")

    def state(self, truth: Batch, predictions: Batch, context: Context) -> _State:
        if self.iou_type == "segm":
            run.hotcoco()
        found = Findings(on_error="skip")
        absent, in_part, objects = listed(truth, found)
        side = partial(side_of, compared=self.iou_type, points=0, found=found)
        true = side(objects, truth=True, root=context.map_root)
        return _State(
            **samples_of(truth),
            truth=replace(true, crowd=np.zeros(len(true), bool)),
            predictions=side(predictions, truth=False, root=context.prediction_map_root),
            findings=found,
            absent=absent,
            partial=in_part,
        )

    def result(self, states: Sequence[_State], context: Context) -> Result:
        whole = joined(states, context)
        images = whole.images
        names, groups = context.categories["name"].to_pylist(), frequencies(context.categories)
        sides, dropped = self._sides(whole, max(len(names), 1))
        in_part = _listed([s.partial for s in whole.parts]).pairs(max(len(names), 1))
        case = Case(
            rules=self._rules(),
            sides=sides,
            overlaps=partial(_overlaps, self.iou_type),
            image_rank=images.image_ids,
            category_rank=images.category_ids - 1,
            ignored=sides.truth.ignore,
            spared=np.isin(_pairs(sides.predictions, max(len(names), 1)), in_part),
        )
        curves = case.curves()
        of_rank = [groups[i] for i in np.argsort(images.category_ids).tolist()]
        account = Findings(on_error="skip")
        for what, n in dropped.items():
            if n and what != "beyond the limit":
                account.add("not-compared", "predictions", None, f"{n} rows {what}", n)
        return Result(
            protocol=self.name,
            values=self._summary(curves, of_rank),
            per_class=_per_class(curves[0], images.category_ids - 1, names, groups, sides),
            per_sample=partial(case.per_sample, whole.keys),
            curves={"precision": _curve(curves[0], images.category_ids - 1, names)},
            facts={
                "truths": sum(len(s.truth) for s in states),
                "predictions": sum(len(s.predictions) for s in states),
                "judged": len(sides.predictions),
                "left_out": dropped,
                "mode": "official",
            },
            findings=joined_findings([*(s.findings for s in states), account], by_place=True),
            recount=Recount(whole.keys, partial(self._recounted, case, of_rank)),
        )

    def _rules(self) -> Rules:
        return Rules(
            compared=self.iou_type,
            thresholds=_THRESHOLDS,
            recalls=_RECALLS,
            areas=("", "s", "m", "l"),
            limits=(np.iinfo(np.int64).max,),
            limit=None,
            sample_iou=self.sample_iou,
            least_score=self.least_score,
        )

    def _sides(self, whole: Whole[_State], categories: int) -> tuple[Sides, dict[str, int]]:
        """What is compared in the end, and how many predictions are not."""
        sides = whole.sides()
        truth = sides.truth.take(np.flatnonzero(sides.truth.area > 0))
        found = sides.predictions
        group, most = (
            (found.category, PER_CLASS) if self.fixed_ap else (found.sample, self.max_detections)
        )
        best = best_of(group, found.score, whole.images.image_ids[found.sample], most)
        absent = _listed([s.absent for s in whole.parts]).pairs(categories)
        known = np.concatenate([_pairs(truth, categories), absent])
        verified = np.isin(_pairs(found, categories), known)
        sides = Sides(truth, [found.take(np.flatnonzero(best & verified))])
        found = sides.predictions
        area = sides.pixels[1] if self.iou_type == "segm" else found.box[:, 2] * found.box[:, 3]
        if not (area > 0).all():
            sides = Sides(truth, [found.take(np.flatnonzero(area > 0))])
        return sides, {
            "beyond the limit": int((~best).sum()),
            "of classes that were not verified on their image": int((best & ~verified).sum()),
            "without any area": int((area <= 0).sum()),
        }

    def _summary(
        self, curves: Sequence[Curves], of_rank: Sequence[str | None]
    ) -> dict[str, float | None]:
        precision = curves[0].precision
        out = {"AP": run.mean(precision)}
        for iou in (0.5, 0.75):
            out[f"AP{round(100 * iou)}"] = run.mean(precision[np.isclose(_THRESHOLDS, iou)])
        for name, some in zip("sml", curves[1:], strict=True):
            out[f"AP{name}"] = run.mean(some.precision)
        group = [of_rank[i] for i in curves[0].categories.tolist()]
        for name in FREQUENCIES:
            out[f"AP{name}"] = run.mean(precision[..., np.array([g == name for g in group], bool)])
        at = "" if self.fixed_ap else f"@{self.max_detections}"
        for name, some in zip(("", *"sml"), curves, strict=True):
            out[f"AR{name}{at}"] = run.mean(some.recall)
        return out

    def _recounted(
        self, case: Case, of_rank: Sequence[str | None], weights: Ints
    ) -> Mapping[str, float | None]:
        return self._summary(case.curves(weights), of_rank)


def _overlaps(iou_type: str, sides: Sides) -> overlaps.Overlaps:
    return (overlaps.MaskOverlaps if iou_type == "segm" else overlaps.BoxOverlaps)(sides)


def _pairs(side: Side, categories: int) -> Ints:
    return side.sample * categories + side.category


def _listed(lists: Sequence[Listed]) -> Listed:
    none = np.empty(0, np.int64)
    return Listed(
        np.concatenate([none, *(v.sample for v in lists)]),
        np.concatenate([none, *(v.category for v in lists)]),
    )


def _per_class(
    curves: Curves,
    rank: Ints,
    names: Sequence[str],
    groups: Sequence[str | None],
    sides: Sides,
) -> pa.Table:
    """Of each class its frequency, rows that were judged, AP, AP50, AP75 and AR; null where
    undefined."""
    n = len(names)
    row = np.argsort(rank)[curves.categories]

    def placed_at(values: Floats) -> pa.Array:
        out = np.full(n, np.nan)
        out[row] = values
        return pa.array(out, mask=np.isnan(out))

    columns: dict[str, Any] = {
        "category": pa.array(names, pa.string()),
        "frequency": pa.array(groups, pa.string()),
        "truths": np.bincount(sides.truth.category[~sides.truth.ignore], minlength=n),
        "predictions": np.bincount(sides.predictions.category, minlength=n),
        "AP": placed_at(curves.precision.mean(axis=(0, 1))),
    }
    for name, iou in (("AP50", 0.5), ("AP75", 0.75)):
        at = int(np.flatnonzero(np.isclose(_THRESHOLDS, iou))[0])
        columns[name] = placed_at(curves.precision[at].mean(axis=0))
    return pa.table({**columns, "AR": placed_at(curves.recall[-1].mean(axis=0))})


def _curve(curves: Curves, rank: Ints, names: Sequence[str]) -> pa.Table:
    """``category, recall, precision`` at IoU 0.5 of the classes that have truth."""
    row = np.argsort(rank)[curves.categories]
    order = np.argsort(row)
    each = len(_RECALLS)
    category = np.repeat(np.arange(len(order), dtype=np.int32), each)
    known = pa.array([names[i] for i in row[order].tolist()], pa.string())
    return pa.table(
        {
            "category": pa.DictionaryArray.from_arrays(pa.array(category), known),
            "recall": np.tile(_RECALLS, len(order)),
            "precision": curves.precision[0][:, order].T.ravel(),
        }
    )
