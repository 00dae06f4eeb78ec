"""Which predictions hit at one IoU, per sample: official matching, all groups at a time.

In every group (a sample and a category) predictions choose in the order of their scores the free
truth of highest IoU, the last one of equals; crowds only where nothing else is free. The k-th
predictions of all groups choose together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from granum.metrics._coco_columns import Side
from granum.metrics._coco_masks import Rle
from granum.metrics._coco_sides import Sides

__all__ = ["Counts", "box_overlaps", "hits", "keypoint_overlaps", "mask_overlaps"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Overlaps = Callable[[Ints, Ints], Floats]
"""IoU of pairs of rows (of predictions, of truth)."""


@dataclass(frozen=True)
class Counts:
    """Per sample: right and wrong predictions, truths that none hit, summed IoU of the right."""

    tp: Ints
    fp: Ints
    fn: Ints
    iou: Floats


def hits(
    truth: Side,
    predictions: Side,
    ignored: npt.NDArray[np.bool_],
    overlaps: Overlaps,
    *,
    samples: int,
    categories: int,
    limit: int,
    iou: float,
    least_score: float,
) -> Counts:
    """Counts of every sample.

    Args:
        truth, predictions: what is compared.
        ignored: truths that are neither to be found nor wrong to find.
        overlaps: IoU of pairs.
        samples, categories: how many there are.
        limit: predictions counted per sample and category, those of highest score.
        iou: what a hit has at least.
        least_score: predictions below are not counted.
    """
    groups = predictions.sample * categories + predictions.category
    counted = _within_limit(groups, predictions.score, limit) & (predictions.score >= least_score)
    rows = np.flatnonzero(counted)
    found, true = _pairs(groups[rows], truth.sample * categories + truth.category)
    found = rows[found]
    value = overlaps(found, true)
    enough = value >= min(iou, 1 - 1e-10)
    found, true, value = found[enough], true[enough], value[enough]
    hit = _chosen(found, true, value, groups[found], predictions.score, ignored, truth.crowd)
    found, true, value = found[hit], true[hit], value[hit]
    real = ~ignored[true]
    at = predictions.sample[found]

    def per_sample(rows: Ints) -> Ints:
        return np.asarray(np.bincount(rows, minlength=samples), np.int64)

    tp = per_sample(at[real])
    return Counts(
        tp=tp,
        fp=per_sample(predictions.sample[rows]) - per_sample(at),
        fn=per_sample(truth.sample[~ignored]) - tp,
        iou=np.bincount(at[real], value[real], minlength=samples).astype(np.float64),
    )


def _within_limit(groups: Ints, scores: Floats, limit: int) -> npt.NDArray[np.bool_]:
    """The ``limit`` rows of highest score in each group, the first of equals."""
    keep = np.ones(len(groups), bool)
    if not len(groups) or np.bincount(groups).max() <= limit:
        return keep
    order = np.lexsort((-scores, groups))
    keep[order] = _rank(groups[order]) < limit
    return keep


def _rank(sorted_groups: Ints) -> Ints:
    """0, 1, 2… within each run of equal values."""
    n = len(sorted_groups)
    starts = np.concatenate([[True], sorted_groups[1:] != sorted_groups[:-1]])[:n]
    first = np.maximum.accumulate(np.where(starts, np.arange(n), 0))
    return np.arange(n) - first


def _pairs(found: Ints, true: Ints) -> tuple[Ints, Ints]:
    """All pairs of rows of one group."""
    order = np.argsort(true, kind="stable")
    begin = np.searchsorted(true[order], found, side="left")
    count = np.searchsorted(true[order], found, side="right") - begin
    left = np.repeat(np.arange(len(found)), count)
    within = np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count)
    return left, order[begin[left] + within]


def _chosen(
    found: Ints,
    true: Ints,
    value: Floats,
    group: Ints,
    scores: Floats,
    ignored: npt.NDArray[np.bool_],
    crowd: npt.NDArray[np.bool_],
) -> Ints:
    """Places of the pairs that match."""
    # Best pair of each prediction last: real before ignored, then higher IoU, then the later truth.
    order = np.lexsort((true, value, ~ignored[true], found, -scores[found], group))
    found, true = found[order], true[order]
    turn = _turns(found, group[order])
    taken = np.zeros(len(ignored), bool)
    chosen = [np.empty(0, np.int64)]
    places = np.argsort(turn, kind="stable")
    ends = np.searchsorted(turn[places], np.arange(int(turn.max(initial=-1)) + 2))
    for first, last in pairwise(ends.tolist()):
        now = places[first:last]
        free = now[~taken[true[now]]]
        best = free[np.append(found[free][1:] != found[free][:-1], True)] if len(free) else free
        taken[true[best]] |= ~crowd[true[best]]
        chosen.append(best)
    return order[np.concatenate(chosen)]


def _turns(found: Ints, group: Ints) -> Ints:
    """The rank of each prediction among those of its group; both are sorted by group."""
    if not len(found):
        return np.empty(0, np.int64)
    number = np.cumsum(np.append(False, found[1:] != found[:-1]))
    opens = np.append(True, group[1:] != group[:-1])
    return np.asarray(number - np.maximum.accumulate(np.where(opens, number, 0)), np.int64)


def box_overlaps(truth: Side, predictions: Side) -> Overlaps:
    """IoU of boxes; of a crowd, the share of the prediction that is in it."""

    def overlaps(found: Ints, true: Ints) -> Floats:
        a, b = predictions.box[found], truth.box[true]
        inner = _inner(a, b)
        area = a[:, 2] * a[:, 3]
        union = np.where(truth.crowd[true], area, area + b[:, 2] * b[:, 3] - inner)
        return np.divide(inner, union, out=np.zeros_like(inner), where=inner > 0)

    return overlaps


def _inner(a: Floats, b: Floats) -> Floats:
    """Areas of the intersections of xywh boxes."""
    sides = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    return np.asarray(np.prod(np.maximum(sides, 0), axis=1), np.float64)


def mask_overlaps(sides: Sides, iou: float) -> Overlaps:
    """IoU of masks; 0 where boxes and areas show that it is below ``iou``."""
    from hotcoco import mask as hot_mask

    (true_masks, masks), crowd = sides.masks, sides.truth.crowd

    def overlaps(found: Ints, true: Ints) -> Floats:
        value = np.zeros(len(found))
        if not len(found) or sides.pixels is None:
            return value
        area, true_area = sides.pixels[1][found], sides.pixels[0][true]

        def near(pairs: Ints, most: Floats) -> Ints:
            a, b = area[pairs], true_area[pairs]
            union = np.where(crowd[true[pairs]], a, a + b - most)
            return pairs[most >= iou * union * (1 - 1e-9)]

        pairs = near(np.arange(len(found)), np.minimum(area, true_area))
        boxes = [_boxes(m, rows[pairs]) for m, rows in ((masks, found), (true_masks, true))]
        pairs = near(pairs, np.minimum(_inner(*boxes), np.minimum(area, true_area)[pairs]))
        pairs = pairs[np.argsort(true[pairs], kind="stable")]
        ends = np.flatnonzero(np.diff(true[pairs], prepend=-1, append=-1)).tolist()
        ordered, chosen = true[pairs].tolist(), [masks[i] for i in found[pairs].tolist()]
        exact = [
            hot_mask.iou(chosen[a:b], [true_masks[ordered[a]]], crowd[ordered[a : a + 1]])[:, 0]
            for a, b in pairwise(ends)
        ]
        value[pairs] = np.concatenate([np.empty(0), *exact])
        return value

    return overlaps


def _boxes(masks: list[Rle], rows: Ints) -> Floats:
    """Boxes of the masks at ``rows``; each mask is looked at once."""
    from hotcoco import mask as hot_mask

    used = np.zeros(len(masks), bool)
    used[rows] = True
    boxes = np.zeros((len(masks), 4))
    if used.any():
        boxes[used] = hot_mask.to_bbox([masks[i] for i in np.flatnonzero(used).tolist()])
    return boxes[rows]


def keypoint_overlaps(truth: Side, predictions: Side, sigmas: Floats) -> Overlaps:
    """Object keypoint similarity (COCO): over the labelled keypoints, or where there are none by
    the distance to the box twice as large."""
    variance = (sigmas * 2) ** 2

    def overlaps(found: Ints, true: Ints) -> Floats:
        value = np.zeros(len(found))
        for first in range(0, len(found), 65_536):
            part = slice(first, first + 65_536)
            a, b = predictions.keypoints[found[part]], truth.keypoints[true[part]]
            shown = b[..., 2] > 0
            some = np.asarray(shown.any(axis=1))
            offset = np.where(
                some[:, None, None], a[..., :2] - b[..., :2], _beyond(a, truth.box[true[part]])
            )
            area = truth.area[true[part]][:, None] + np.spacing(1)
            error = (offset**2).sum(axis=2) / variance / area / 2
            kept = np.where(some[:, None], shown, True)
            value[part] = np.where(kept, np.exp(-error), 0).sum(axis=1) / kept.sum(axis=1)
        return value

    return overlaps


def _beyond(points: Floats, box: Floats) -> Floats:
    """How far points lie outside of a box of twice the size about the same centre."""
    low, high = box[:, None, :2] - box[:, None, 2:], box[:, None, :2] + 2 * box[:, None, 2:]
    at = points[..., :2]
    return np.asarray(np.maximum(0, low - at) + np.maximum(0, at - high), np.float64)
