"""Average precision of PASCAL VOC: boxes, one IoU threshold, two interpolations.

M. Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010; the rules are
those of the development kit (``VOCevaldet.m``, ``VOCap.m``, http://host.robots.ox.ac.uk/pascal/VOC):

- Detections of a class go by score over all images. Each tries only the truth of its image that
  it overlaps most (the first of equals), difficult ones among them, and hits it at IoU >= 0.5.
- The truth is difficult: the detection is neither right nor wrong. It was found before: the
  detection is wrong (a duplicate).
- Difficult truths are not to be found: a class that has no other truth has no number.
- ``interpolation``: ``all-point``, the area under the monotone curve (VOC 2010 on), or
  ``11-point``, the mean of the best precisions at recalls 0, 0.1 … 1 (up to VOC 2009).
- Boxes include both corners: a side is ``xmax - xmin + 1`` long. granum stores such files as they
  stand (width = xmax - xmin), so ``inclusive`` adds the pixel when overlaps are computed, and on
  whole corners all overlaps have the devkit's bits. Of a tree that was read with
  ``box_origin="one"`` boxes are continuous already: ``inclusive=False`` gives the same numbers.

The mean is over the classes that have truth. Parts of objects (rows with a ``parent``) are not
compared. Ties of scores: samples by key, then rows as stored (the devkit: lines of its file).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError
from granum.metrics._detection.argmax import argmax_hits, best_overlaps, box_iou
from granum.metrics._detection.judged import Style, area_under
from granum.metrics._detection.shared import (
    DetectionState,
    boxed,
    detections_result,
    flag,
    judged_of,
)
from granum.metrics._usable import kept, left_out
from granum.metrics.base import Context, Protocol, Result, protocols
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["Interpolation", "Voc", "style_of", "voc_ap"]

Interpolation = Literal["all-point", "11-point"]
Floats = npt.NDArray[np.float64]

_STYLES: dict[str, Style] = {"all-point": "area", "11-point": "voc07"}


@protocols("voc")
@dataclass(frozen=True)
class Voc(Protocol):
    """Average precision of boxes (PASCAL VOC).

    Attributes:
        iou: what a detection hits at.
        interpolation: ``all-point`` (VOC 2010 on) or ``11-point`` (VOC 2007).
        inclusive: boxes hold the pixels of both corners, as the files of VOC count.
    """

    name: ClassVar[str] = "voc"
    reference: ClassVar[str] = "VOC development kit (VOCevaldet.m, VOCap.m), 2007 and 2012"
    needs: ClassVar[tuple[str, ...]] = ("category", "score")
    kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object",)

    iou: float = 0.5
    interpolation: Interpolation = "all-point"
    inclusive: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.iou <= 1:
            raise UsageError(f"iou is {self.iou}; it must be above 0 and at most 1")
        style_of(self.interpolation)

    def state(self, truth: Batch, predictions: Batch, context: Context) -> DetectionState:
        findings = Findings(on_error="skip")
        parts = np.asarray(column(truth.annotations, "parent").is_valid())
        left_out(findings, "not-compared", truth, parts, "truth", "of a part of an object")
        true, boxes = boxed(_objects(kept(truth, ~parts), findings), "truth", findings)
        found, guesses = boxed(predictions, "predictions", findings)
        categories = context.categories.num_rows
        best, overlap = best_overlaps(
            found.group(categories),
            true.group(categories),
            lambda a, b: box_iou(guesses[a], boxes[b], inclusive=self.inclusive),
        )
        difficult = flag(true.table, "difficult")
        hit, counted = argmax_hits(best, overlap, found.score, [self.iou], difficult)
        return DetectionState(
            keys=truth.samples["key"].combine_chunks(),
            judged=judged_of(found, true, hit, counted, ~difficult),
            compared=(len(true), len(found)),
            findings=findings,
            counts={"difficult": int(difficult.sum())},
        )

    def result(self, states: Sequence[DetectionState], context: Context) -> Result:
        return detections_result(
            self.name,
            states,
            context,
            style=style_of(self.interpolation),
            numbers={"mAP": [0]},
        )


def _objects(truth: Batch, findings: Findings) -> Batch:
    """Without maps of whole images, which VOC's trees hold beside the objects."""
    table = truth.annotations
    bare = column(table, "category").is_null()
    maps = np.asarray(bare) & np.asarray(column(table, "map").is_valid())
    left_out(findings, "not-compared", truth, maps, "truth", "with a map of a whole image")
    return kept(truth, ~maps)


def style_of(interpolation: str) -> Style:
    """How precision is averaged, by VOC's name for it."""
    if interpolation not in _STYLES:
        raise UsageError(f"interpolation is {interpolation!r}; it must be all-point or 11-point")
    return _STYLES[interpolation]


def voc_ap(
    hit: npt.ArrayLike, truths: int, interpolation: Interpolation = "all-point"
) -> float | None:
    """Average precision of detections of one class.

    Args:
        hit: shape (n,), whether each detection is right, highest score first; those that are
            neither right nor wrong are left out.
        truths: how many there were to find.
        interpolation: see :class:`Voc`.

    Returns:
        0 without detections; None without truth.
    """
    right = np.asarray(hit, bool).reshape(-1)
    if truths < 1:
        return None
    return area_under(np.cumsum(right), np.cumsum(~right), truths, style_of(interpolation))
