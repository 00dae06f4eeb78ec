"""Average precision of the Open Images challenges (2018, 2019): boxes, or masks.

A. Kuznetsova et al., "The Open Images Dataset V4", IJCV 2020; R. Benenson et al., "Large-scale
interactive object segmentation with human annotators", CVPR 2019. The rules are those of
``OpenImagesChallengeEvaluator`` (tensorflow/models, research/object_detection) and of its
expansion by the hierarchy:

1. Truth counts for its class and all that are above it (``is_a``); a class that is verified as
   present is so for all above it, one verified as absent for all below it. Detections are not
   expanded.
2. On an image only the classes of its truth and of its verified labels (of people: ``present`` is
   stated) are evaluated; detections of others are dropped and counted.
3. By score each detection tries the one truth that it overlaps most, of those that are no group,
   and hits it at IoU >= 0.5 if none did before.
4. What hit nothing and lies in a group-of box (the one that holds most of it, at intersection /
   own area >= 0.5) is neither right nor wrong; with ``group_of_weight`` 1 (the challenge of
   boxes) the best of them is right, if its score is above 0, and a group that nothing lies in is
   missed. With 0 (the metric of V2) groups are not to be found.
5. ``compared="mask"``: rules 3 and 4 by masks, then by boxes against the truth that has no mask (a
   mask without a pixel is none), which only spares what hits it. Boxes of detections are those
   around their masks. Groups without a mask are never to be found, so that in the challenge of
   masks, where no group has one, ``group_of_weight`` says nothing.
6. Average precision is VOC's area under all points; the mean is over the classes that have truth.

Ties of scores: samples by key, then rows as stored (the authors' sort is not stable); of overlaps:
the first truth. Boxes stay fractions where they are. Detections without width, height or pixels
are left out, as there. Deviations: the limit of 10,000 detections per image and class is not kept;
a box is corner and size here, so that an overlap of just the threshold is told up to rounding.

hotcoco 1.3 has an ``oid_style``, which is not used: a detection whose best truth is taken goes on
to the next one, no detection of an unverified class is dropped, more than 100 of an image and a
class are cut off, and groups always count. On cases without these the numbers are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError
from granum.metrics._coco.masks import Rle
from granum.metrics._detection.argmax import argmax_hits, best_overlaps, box_iou
from granum.metrics._detection.judged import Judged
from granum.metrics._detection.open_images_rows import (
    Classes,
    compared_objects,
    masks_of,
    tell_sizes,
    verified,
)
from granum.metrics._detection.shared import (
    DetectionState,
    Objects,
    boxed,
    detections_result,
    flag,
    objects_of,
)
from granum.metrics._usable import kept, left_out
from granum.metrics.base import Context, Protocol, Result, protocols
from granum.schema import geometry
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["Fates", "OpenImages", "box_overlap", "mask_overlap"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Overlap = Callable[[Ints, Ints, bool], Floats]


@dataclass(frozen=True)
class _Side:
    """Objects, their boxes (xywh) and, where they are compared, their masks."""

    objects: Objects
    box: Floats
    masks: list[Rle | None] | None


@protocols("open-images")
@dataclass(frozen=True)
class OpenImages(Protocol):
    """Average precision of the Open Images challenges.

    Attributes:
        compared: ``box`` (detection) or ``mask`` (instance segmentation).
        iou: what a detection hits at, and what share of it must lie in a group.
        group_of_weight: 1: a group-of box is to be found once; 0: it only spares.
        expand: truth and verified labels count for the classes above (absent ones: below) too.
        classes: names or source ids of the classes that are evaluated; None: all.
    """

    name: ClassVar[str] = "open-images"
    reference: ClassVar[str] = "OpenImagesChallengeEvaluator (tensorflow/models, 2019 challenge)"
    needs: ClassVar[tuple[str, ...]] = ("category", "score")
    kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object", "label")
    scale_free: ClassVar[bool] = True

    compared: Literal["box", "mask"] = "box"
    iou: float = 0.5
    group_of_weight: int = 1
    expand: bool = True
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.compared not in ("box", "mask"):
            raise UsageError(f"compared is {self.compared!r}; it must be box or mask")
        if not 0 < self.iou <= 1:
            raise UsageError(f"iou is {self.iou}; it must be above 0 and at most 1")
        if self.group_of_weight not in (0, 1):
            raise UsageError(f"group_of_weight is {self.group_of_weight}; it must be 0 or 1")
        if isinstance(self.classes, str):  # one name, as the command line gives it
            object.__setattr__(self, "classes", (self.classes,))

    def state(self, truth: Batch, predictions: Batch, context: Context) -> DetectionState:
        findings = Findings(on_error="skip")
        classes = Classes.of(context.categories, self.expand, self.classes)
        n = max(len(classes.wanted), 1)
        labels = verified(truth, classes, findings)
        objects = compared_objects(truth, self.compared == "mask", findings)
        true = self._side(objects, "truth", context.map_root, findings)
        row, category = classes.up.expanded(true.objects.category)
        use = classes.wanted[category]
        row, category = row[use], category[use]
        code = true.objects.sample[row] * n + category
        found, unverified = self._evaluated(
            predictions, classes, np.union1d(labels, code), context.prediction_map_root, findings
        )
        group_of = flag(true.objects.table, "group_of")[row]
        masked = np.ones(len(row), bool)
        fates = Fates.none(len(found.objects))
        detections = found.objects.group(n), found.objects.score
        if true.masks is not None and found.masks is not None:
            sides = (found.objects, found.masks), (true.objects, true.masks)
            tell_sizes(*sides, findings)
            masked = np.array([m is not None for m in true.masks], bool)[row]
            some = np.flatnonzero(masked)
            overlap = _of_rows(mask_overlap(found.masks, true.masks), row[some])
            fates.find(*detections, code[some], group_of[some], overlap, self.iou)
        rest = np.flatnonzero(~masked) if self.compared == "mask" else np.arange(len(row))
        overlap = _of_rows(box_overlap(found.box, true.box), row[rest])
        spares = self.compared == "mask"
        fates.find(*detections, code[rest], group_of[rest], overlap, self.iou, spares=spares)
        hit, counted = fates.judged(bool(self.group_of_weight))
        wanted = masked & (~group_of | bool(self.group_of_weight))
        return DetectionState(
            keys=truth.samples["key"].combine_chunks(),
            judged=Judged(
                unit=found.objects.sample,
                category=found.objects.category,
                score=found.objects.score,
                hit=hit[:, None],
                counted=counted[:, None],
                truth_unit=true.objects.sample[row][wanted],
                truth_category=category[wanted],
            ),
            compared=(len(np.unique(row)), len(found.objects)),
            findings=findings,
            counts={"expanded_truths": len(row), "unverified_predictions": unverified},
        )

    def _evaluated(
        self,
        predictions: Batch,
        classes: Classes,
        labels: Ints,
        root: str | None,
        findings: Findings,
    ) -> tuple[_Side, int]:
        """Detections of classes that are evaluated on their images, and how many others were of
        classes that nothing verifies there."""
        rows = objects_of(predictions, "predictions", findings)
        other = ~classes.wanted[rows.category]
        what = "of classes that are not evaluated"
        left_out(findings, "not-compared", rows.batch, other, "predictions", what)
        lost = ~np.isin(rows.group(len(classes.wanted)), labels) & ~other
        what = "of classes that nothing verifies on their image"
        left_out(findings, "not-compared", rows.batch, lost, "predictions", what)
        side = self._side(kept(rows.batch, ~other & ~lost), "predictions", root, findings)
        return side, int(lost.sum())

    def _side(self, batch: Batch, who: str, root: str | None, findings: Findings) -> _Side:
        """The rows that have what is compared."""
        if self.compared == "mask":
            return self._masked(batch, who, root, findings)
        # Run lengths are in pixels, boxes may be fractions.
        objects, box = boxed(batch, who, findings, drawn=("bbox", "angle", "polygons"))
        if who == "truth":
            return _Side(objects, box, None)
        flat = np.asarray((box[:, 2:] <= 0).any(axis=1))
        what = "without width or height"
        left_out(findings, "missing-geometry", objects.batch, flat, who, what)
        return _Side(objects_of(kept(objects.batch, ~flat), who, findings), box[~flat], None)

    def _masked(self, batch: Batch, who: str, root: str | None, findings: Findings) -> _Side:
        """The rows that have a mask with a pixel; of the truth also those that have a box."""
        masks = masks_of(batch, root, who, findings)
        box, keep, what = masks.box, masks.valid(), "without a mask that has a pixel"
        if who == "truth":
            names = [n for n in ("bbox", "angle") if n in batch.annotations.column_names]
            box = geometry.aabb(batch.annotations.select(names))
            keep = keep | np.isfinite(box).all(axis=1)
            what = "without a mask or a box"
        left_out(findings, "missing-geometry", batch, ~keep, who, what)
        batch, rows = kept(batch, keep), np.flatnonzero(keep)
        objects = objects_of(batch, who, findings)
        if len(objects) < len(rows):
            rows = rows[np.asarray(column(batch.annotations, "category").is_valid())]
        return _Side(objects, box[rows], [masks.rles[i] for i in rows.tolist()])

    def result(self, states: Sequence[DetectionState], context: Context) -> Result:
        return detections_result(self.name, states, context, style="area", numbers={"mAP": [0]})


def _of_rows(overlap: Overlap, rows: Ints) -> Overlap:
    """The overlap with truths told by their places in ``rows``."""
    return lambda found, true, share: overlap(found, rows[true], share)


# ------------------------------------------------------------------ on arrays


@dataclass
class Fates:
    """What became of detections; each shape (n,).

    Attributes:
        hit: found a truth that is no group.
        inside: hit none, and lies in a group.
        first: is the best of those in its group.
        spared: found what only spares.
    """

    hit: Flags
    inside: Flags
    first: Flags
    spared: Flags

    @classmethod
    def none(cls, n: int) -> Fates:
        return cls(*(np.zeros(n, bool) for _ in range(4)))

    def find(
        self,
        found: Ints,
        score: Floats,
        true: Ints,
        group_of: Flags,
        overlap: Overlap,
        least: float,
        *,
        spares: bool = False,
    ) -> None:
        """Let the detections that are still free try some truths (rules 3 and 4 of the module).

        Args:
            found: shape (n,), the image and class of each detection, as a number.
            score: shape (n,).
            true: shape (m,), the image and class of each truth.
            group_of: shape (m,).
            overlap: of pairs: rows of detections, rows of truths; then IoU, or (true) the share
                of the detection that is in the truth.
            least: what is enough, of either.
            spares: these truths are not to be found.
        """
        free = np.flatnonzero(~(self.hit | self.inside))
        single, several = np.flatnonzero(~group_of), np.flatnonzero(group_of)
        best, value = best_overlaps(
            found[free], true[single], lambda a, b: overlap(free[a], single[b], False)
        )
        none = np.zeros(len(single), bool)
        hit, _ = argmax_hits(best, value, score[free], [least], none)
        self.hit[free[hit[:, 0]]] = True
        self.spared[free[hit[:, 0]]] = spares
        free = free[~hit[:, 0]]
        best, value = best_overlaps(
            found[free], true[several], lambda a, b: overlap(free[a], several[b], True)
        )
        into = (best >= 0) & (value >= least)
        self.inside[free[into]] = True
        if spares:
            return
        rows, best = free[into], best[into]
        order = np.argsort(-score[rows], kind="stable")
        first = rows[order[np.unique(best[order], return_index=True)[1]]]
        self.first[first[score[first] > 0]] = True

    def judged(self, groups: bool) -> tuple[Flags, Flags]:
        """Which detections are right, and which count; ``groups``: the best in a group is right."""
        right = self.hit & ~self.spared
        counted = ~self.inside & ~self.spared
        if groups:
            right, counted = right | self.first, counted | self.first
        return right, counted


def box_overlap(found: Floats, true: Floats) -> Overlap:
    """Overlaps of boxes, xywh, shapes (n, 4) and (m, 4); 0 for those without area."""

    def overlap(left: Ints, right: Ints, share: bool) -> Floats:
        a, b = found[left], true[right]
        if not share:
            return box_iou(a, b)
        low = np.maximum(a[:, :2], b[:, :2])
        high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
        inner = np.prod(np.maximum(high - low, 0), axis=1)
        area = np.prod(a[:, 2:], axis=1)
        return np.divide(inner, area, out=np.zeros_like(inner), where=area > 0)

    return overlap


def mask_overlap(found: Sequence[Rle | None], true: Sequence[Rle | None]) -> Overlap:
    """Overlaps of masks, as run lengths; 0 for those of different sizes."""
    from pycocotools import mask as coco_mask

    def overlap(left: Ints, right: Ints, share: bool) -> Floats:
        value = np.zeros(len(left))
        order = np.argsort(right, kind="stable")
        starts = np.flatnonzero(np.diff(right[order], prepend=-1))
        for rows in np.split(order, starts[1:]):
            if len(rows):
                masks = [found[i] for i in left[rows].tolist()]
                one = [true[int(right[rows[0]])]]
                value[rows] = coco_mask.iou(masks, one, [int(share)])[:, 0]
        return np.maximum(value, 0.0)

    return overlap
