"""How much pairs of a prediction and a truth overlap: boxes, masks, keypoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from granum.metrics._coco.columns import Side
from granum.metrics._coco.masks import Rle
from granum.metrics._coco.sides import Sides

__all__ = ["BoxOverlaps", "KeypointOverlaps", "MaskOverlaps", "Overlaps"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass
class Overlaps(ABC):
    """Overlaps of pairs, told by the rows of predictions and of truth."""

    sides: Sides

    def possible(self, found: Ints, true: Ints, iou: float) -> Flags:
        """Which pairs may reach ``iou``, by what is cheap to know."""
        return np.ones(len(found), bool)

    @abstractmethod
    def exact(self, found: Ints, true: Ints, iou: float) -> Floats:
        """The overlap of each pair; where it is below ``iou``, anything below."""


class BoxOverlaps(Overlaps):
    """IoU of boxes; of a crowd, the share of the prediction that is in it."""

    def possible(self, found: Ints, true: Ints, iou: float) -> Flags:
        return self.exact(found, true, iou) >= iou

    def exact(self, found: Ints, true: Ints, iou: float) -> Floats:
        a, b = self.sides.predictions.box[found], self.sides.truth.box[true]
        inner, area = _inner(a, b), a[:, 2] * a[:, 3]
        union = np.where(self.sides.truth.crowd[true], area, area + b[:, 2] * b[:, 3] - inner)
        return np.divide(inner, union, out=np.zeros_like(inner), where=inner > 0)


@dataclass
class MaskOverlaps(Overlaps):
    """IoU of masks. Their areas are known; boxes and pixels are looked at only where it matters."""

    boxes: tuple[Floats, Floats] = field(init=False)

    def __post_init__(self) -> None:
        rows = len(self.sides.truth), len(self.sides.predictions)
        self.boxes = np.full((rows[0], 4), np.nan), np.full((rows[1], 4), np.nan)

    def possible(self, found: Ints, true: Ints, iou: float) -> Flags:
        pixels, other = self._pixels(found, true)
        return self._reaches(true, pixels, other, np.minimum(pixels, other), iou)

    def exact(self, found: Ints, true: Ints, iou: float) -> Floats:
        from hotcoco import mask as hot_mask

        value = np.zeros(len(found))
        pixels, other = self._pixels(found, true)
        inner = _inner(self._boxes(1, found), self._boxes(0, true))
        most = np.minimum(inner, np.minimum(pixels, other))
        pairs = np.flatnonzero(self._reaches(true, pixels, other, most, iou))
        pairs = pairs[np.argsort(true[pairs], kind="stable")]
        ends = np.flatnonzero(np.diff(true[pairs], prepend=-1, append=-1)).tolist()
        (truths, predictions), crowd = self.sides.masks, self.sides.truth.crowd
        ordered, chosen = true[pairs].tolist(), [predictions[i] for i in found[pairs].tolist()]
        exact = [
            hot_mask.iou(chosen[a:b], [truths[ordered[a]]], crowd[ordered[a : a + 1]])[:, 0]
            for a, b in pairwise(ends)
        ]
        value[pairs] = np.concatenate([np.empty(0), *exact])
        return value

    def _pixels(self, found: Ints, true: Ints) -> tuple[Floats, Floats]:
        return self.sides.pixels[1][found], self.sides.pixels[0][true]

    def _reaches(
        self, true: Ints, pixels: Floats, other: Floats, most: Floats, iou: float
    ) -> Flags:
        """Whether ``most`` shared pixels are enough for ``iou``."""
        union = np.where(self.sides.truth.crowd[true], pixels, pixels + other - most)
        return np.asarray(most >= iou * union * (1 - 1e-9))

    def _boxes(self, side: int, rows: Ints) -> Floats:
        """Boxes of masks; each is looked at once."""
        from hotcoco import mask as hot_mask

        boxes = self.boxes[side]
        new = np.unique(rows[np.isnan(boxes[rows, 0])])
        if len(new):
            masks: list[Rle] = self.sides.masks[side]
            boxes[new] = hot_mask.to_bbox([masks[i] for i in new.tolist()])
        return boxes[rows]


@dataclass
class KeypointOverlaps(Overlaps):
    """Object keypoint similarity (COCO): over the labelled keypoints, or where there are none by
    the distance to the box twice as large."""

    sigmas: Floats

    def exact(self, found: Ints, true: Ints, iou: float) -> Floats:
        variance = (self.sigmas * 2) ** 2
        truth: Side = self.sides.truth
        a, b = self.sides.predictions.keypoints[found], truth.keypoints[true]
        shown = b[..., 2] > 0
        some = np.asarray(shown.any(axis=1))[:, None]
        beyond = _beyond(a, truth.box[true])
        offset = np.where(some[..., None], a[..., :2] - b[..., :2], beyond)
        area = truth.area[true][:, None] + np.spacing(1)
        error = (offset**2).sum(axis=2) / variance / area / 2
        kept = np.where(some, shown, True)
        return np.asarray(np.where(kept, np.exp(-error), 0).sum(axis=1) / kept.sum(axis=1))


def _beyond(points: Floats, box: Floats) -> Floats:
    """How far points lie outside of a box of twice the size about the same centre."""
    low, high = box[:, None, :2] - box[:, None, 2:], box[:, None, :2] + 2 * box[:, None, 2:]
    at = points[..., :2]
    return np.asarray(np.maximum(0, low - at) + np.maximum(0, at - high), np.float64)


def _inner(a: Floats, b: Floats) -> Floats:
    """Areas of the intersections of xywh boxes."""
    sides = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    return np.asarray(np.prod(np.maximum(sides, 0), axis=1), np.float64)
