"""Which predictions hit at one IoU, per sample: official matching, all groups at a time.

In every group (a sample and a category) predictions choose in the order of their scores the free
truth of highest IoU, the last one of equals; crowds only where nothing else is free. The k-th
predictions of all groups choose together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from granum.metrics._coco_overlaps import Overlaps
from granum.metrics._coco_sides import Sides

__all__ = ["Counts", "hits"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Counts:
    """Per sample: right and wrong predictions, truths that none hit, summed IoU of the right."""

    tp: Ints
    fp: Ints
    fn: Ints
    iou: Floats


def hits(
    sides: Sides,
    ignored: Flags,
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
        sides: what is compared.
        ignored: truths that are neither to be found nor wrong to find.
        overlaps: of pairs.
        samples, categories: how many there are.
        limit: predictions counted per sample and category, those of highest score.
        iou: what a hit has at least.
        least_score: predictions below are not counted.
    """
    truth, predictions, iou = sides.truth, sides.predictions, min(iou, 1 - 1e-10)
    groups = predictions.sample * categories + predictions.category
    counted = _within_limit(groups, predictions.score, limit) & (predictions.score >= least_score)
    rows = np.flatnonzero(counted)
    found, true = _pairs(groups[rows], truth.sample * categories + truth.category)
    found = rows[found]
    near = overlaps.possible(found, true, iou)
    found, true = found[near], true[near]
    order = np.lexsort((-predictions.score[found], groups[found]))
    found, true = found[order], true[order]
    turns = _turns(found, groups[found])
    hit, value = _chosen(found, true, turns, ignored, truth.crowd, overlaps, iou)
    found, true = found[hit], true[hit]
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


def _within_limit(groups: Ints, scores: Floats, limit: int) -> Flags:
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
    turns: Ints,
    ignored: Flags,
    crowd: Flags,
    overlaps: Overlaps,
    iou: float,
) -> tuple[Ints, Floats]:
    """Places of the pairs that match, and their overlaps: only those that could are computed."""
    taken = np.zeros(len(ignored), bool)
    chosen, values = [np.empty(0, np.int64)], [np.empty(0)]
    places = np.argsort(turns, kind="stable")
    ends = np.searchsorted(turns[places], np.arange(int(turns.max(initial=-1)) + 2))
    for first, last in pairwise(ends.tolist()):
        now = places[first:last]
        now = now[~taken[true[now]]]
        value = overlaps.exact(found[now], true[now], iou)
        enough = value >= iou
        now, value = now[enough], value[enough]
        # The best pair of each last: real before ignored, then higher, then the later truth.
        order = np.lexsort((true[now], value, ~ignored[true[now]], found[now]))
        now, value = now[order], value[order]
        best = np.diff(found[now], append=-1) != 0
        taken[true[now[best]]] |= ~crowd[true[now[best]]]
        chosen.append(now[best])
        values.append(value[best])
    return np.concatenate(chosen), np.concatenate(values)


def _turns(found: Ints, group: Ints) -> Ints:
    """The rank of each prediction among those of its group; both are sorted by group."""
    if not len(found):
        return np.empty(0, np.int64)
    number = np.cumsum(np.append(False, found[1:] != found[:-1]))
    opens = np.append(True, group[1:] != group[:-1])
    return np.asarray(number - np.maximum.accumulate(np.where(opens, number, 0)), np.int64)
