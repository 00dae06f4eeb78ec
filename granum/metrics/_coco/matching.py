"""Official matching of predictions and truths: all groups and all thresholds at a time.

In every group (a sample and a category) predictions choose in the order of their scores the free
truth of highest IoU, the last one of equals; ignored truths only where nothing else is free, and
crowds as often as they like. The k-th predictions of all groups choose together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from granum.metrics._coco.columns import Side
from granum.metrics._coco.overlaps import Overlaps
from granum.metrics._detection.argmax import pairs_of_groups

__all__ = ["Candidates", "Counts", "Matches", "candidates", "hits", "matches"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Candidates:
    """Predictions that are counted, and which truths of their group they may match.

    Attributes:
        rows: shape (n,), of the predictions, by group, highest score first.
        rank: shape (n,), of each in its group, from 0.
        found: shape (p,), of each pair the place in ``rows``.
        true: shape (p,), its truth.
        value: shape (p,), its overlap.
    """

    rows: Ints
    rank: Ints
    found: Ints
    true: Ints
    value: Floats

    def of(self, wanted: Flags) -> Candidates:
        """Some of the predictions, shape (n,); of each group the first ones."""
        place = np.cumsum(wanted) - 1
        keep = wanted[self.found]
        found = place[self.found[keep]]
        return Candidates(
            self.rows[wanted], self.rank[wanted], found, self.true[keep], self.value[keep]
        )


@dataclass(frozen=True)
class Matches:
    """Which prediction found which truth.

    Attributes:
        threshold: shape (m,), at which of the thresholds.
        pair: shape (m,), which pair of the candidates.
    """

    threshold: Ints
    pair: Ints


@dataclass(frozen=True)
class Counts:
    """Per sample: right and wrong predictions, truths that none hit, summed IoU of the right."""

    tp: Ints
    fp: Ints
    fn: Ints
    iou: Floats


def candidates(
    truth: Side,
    predictions: Side,
    overlaps: Overlaps,
    *,
    categories: int,
    limit: int | None,
    least: float,
) -> Candidates:
    """Predictions in their order, and the pairs that overlap enough.

    Args:
        truth, predictions: what is compared.
        overlaps: of pairs.
        categories: how many there are.
        limit: predictions counted per sample and category, those of highest score, the first of
            equals; None: all.
        least: the overlap of a pair is at least this.
    """
    groups = predictions.sample * categories + predictions.category
    rows = np.lexsort((-predictions.score, groups))
    rank = _rank(groups[rows])
    if limit is not None:
        keep = rank < limit
        rows, rank = rows[keep], rank[keep]
    found, true = pairs_of_groups(groups[rows], truth.sample * categories + truth.category)
    least = min(least, 1 - 1e-10)
    near = overlaps.possible(rows[found], true, least)
    found, true = found[near], true[near]
    value = overlaps.exact(rows[found], true, least)
    enough = value >= least
    return Candidates(rows, rank, found[enough], true[enough], value[enough])


def matches(given: Candidates, thresholds: Floats, ignored: Flags, crowd: Flags) -> Matches:
    """What every prediction finds at each threshold.

    Args:
        given: predictions and pairs.
        thresholds: shape (t,), what a hit has at least.
        ignored: truths that are taken only where no other is free.
        crowd: truths that any number of predictions may find.
    """
    least = np.minimum(thresholds, 1 - 1e-10)[:, None]
    taken = np.zeros((len(thresholds), len(ignored)), bool)
    turn, true = given.rank[given.found], given.true
    # Of each prediction the best pair first: real before ignored, then higher, then later.
    order = np.lexsort((-true, -given.value, ignored[true], given.found, turn))
    ends = np.searchsorted(turn[order], np.arange(int(turn.max(initial=-1)) + 2))
    at: list[Ints] = [np.empty(0, np.int64)]
    pairs: list[Ints] = [np.empty(0, np.int64)]
    for first, last in pairwise(ends.tolist()):
        now = order[first:last]
        free = (given.value[now] >= least) & ~taken[:, true[now]]
        threshold, place = np.nonzero(free)
        who = given.found[now[place]]
        best = np.ones(len(who), bool)
        best[1:] = (who[1:] != who[:-1]) | (threshold[1:] != threshold[:-1])
        threshold, chosen = threshold[best], now[place[best]]
        real = ~crowd[true[chosen]]
        taken[threshold[real], true[chosen[real]]] = True
        at.append(threshold)
        pairs.append(chosen)
    return Matches(np.concatenate(at), np.concatenate(pairs))


def hits(
    given: Candidates,
    truth: Side,
    predictions: Side,
    ignored: Flags,
    *,
    crowd: Flags,
    spared: Flags,
    samples: int,
    iou: float,
    least_score: float,
) -> Counts:
    """Counts of every sample at one threshold.

    Args:
        given: predictions and pairs.
        truth, predictions: what is compared.
        ignored: truths that are neither to be found nor wrong to find.
        crowd: truths that any number of predictions may find.
        spared: predictions that are not wrong where they find nothing.
        samples: how many there are.
        iou: what a hit has at least.
        least_score: predictions below are not counted.
    """
    given = given.of(predictions.score[given.rows] >= least_score)
    found = matches(given, np.array([iou]), ignored, crowd).pair
    hit = np.zeros(len(given.rows), bool)
    hit[given.found[found]] = True
    real = found[~ignored[given.true[found]]]
    at = predictions.sample[given.rows[given.found[real]]]
    wrong = given.rows[~hit & ~spared[given.rows]]

    def per_sample(rows: Ints) -> Ints:
        return np.asarray(np.bincount(rows, minlength=samples), np.int64)

    tp = per_sample(at)
    return Counts(
        tp=tp,
        fp=per_sample(predictions.sample[wrong]),
        fn=per_sample(truth.sample[~ignored]) - tp,
        iou=np.bincount(at, given.value[real], minlength=samples).astype(np.float64),
    )


def _rank(sorted_groups: Ints) -> Ints:
    """0, 1, 2… within each run of equal values."""
    n = len(sorted_groups)
    starts = np.concatenate([[True], sorted_groups[1:] != sorted_groups[:-1]])[:n]
    first = np.maximum.accumulate(np.where(starts, np.arange(n), 0))
    return np.arange(n) - first
