"""Precision at given recalls for any weights of samples, from matches that are made once.

Precision and recall change where a prediction hits, and only there can precision be highest. So
each class and threshold is the list of its hits, each with its place among the predictions that
count; weights of samples then cost a few cumulated sums over predictions and hits. A sample of
weight 2 counts each prediction twice at its place: that is a dataset with the image twice, but
where predictions have equal scores, whose copies would come one image after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Curves", "Found", "Ranking", "Truths"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_EPSILON = np.spacing(1)  # official precision has it in its denominator


@dataclass(frozen=True)
class Truths:
    """Truths that are to be found: class and unit (sample) of each, shape (m,)."""

    category: Ints
    unit: Ints


@dataclass(frozen=True)
class Found:
    """Predictions after matching.

    Attributes:
        category, unit: shape (n,), by class, then in the order in which they count.
        wrong: shape (n,), whether it is wrong where it finds nothing.
        place: shape (h,), of each match the prediction.
        threshold: shape (h,), at which of the thresholds.
        real: shape (h,), whether the truth was to be found; else the prediction does not count.
        rank: shape (n,), of each in its sample and class, from 0.
    """

    category: Ints
    unit: Ints
    wrong: Flags
    place: Ints
    threshold: Ints
    real: Flags
    rank: Ints


@dataclass(frozen=True)
class Curves:
    """What weights of samples give.

    Attributes:
        categories: shape (k,), the classes that have truth.
        precision: shape (t, r, k), the highest from each recall on; 0 where it is not reached.
        recall: shape (limits, t, k).
    """

    categories: Ints
    precision: Floats
    recall: Floats


class Ranking:
    """One range of areas, ready for any weights.

    Args:
        truths: to be found.
        found: predictions after matching.
        thresholds: how many there are.
        recalls: shape (r,), rising from 0.
        limits: predictions of a sample and class that count for recall.
    """

    def __init__(
        self, truths: Truths, found: Found, thresholds: int, recalls: Floats, limits: Sequence[int]
    ) -> None:
        self.recalls, self.thresholds = recalls, thresholds
        self.categories = np.unique(truths.category)
        k = len(self.categories)
        self._truths = Truths(np.searchsorted(self.categories, truths.category), truths.unit)
        known = np.isin(found.category, self.categories)
        base = known & found.wrong
        category = np.searchsorted(self.categories, found.category)
        self._units = found.unit[base]
        self._starts = np.searchsorted(category[base], np.arange(k))
        # A match counts where it hits, and takes back what it counts as among the wrong.
        more = found.real.astype(np.int64) - found.wrong[found.place]
        use = np.flatnonzero(known[found.place] & (found.real | (more != 0)))
        run = found.threshold[use] * k + category[found.place[use]]
        use = use[np.lexsort((found.place[use], run))]
        place = found.place[use]
        run = found.threshold[use] * k + category[place]
        self._first = np.searchsorted(run, np.arange(thresholds * k + 1))
        self._unit, self._right, self._more = found.unit[place], found.real[use], more[use]
        self._counted = np.cumsum(base)[place]
        rank = found.rank[place]
        self._limited = [None if (rank < n).all() else rank < n for n in limits]

    def curves(self, weights: Ints | None = None) -> Curves:
        """Of weights of shape (units,): how often each counts (None: once)."""
        k = len(self.categories)
        truths = self._count(self._truths.unit, self._truths.category, weights)
        hit, right, precision = self._hits(weights)
        start, ends = self._first[:-1], self._first[1:]
        # The hit that reaches each recall: the first of so many, or beyond the run's last.
        needed = np.tile(_least(self.recalls, truths), (self.thresholds, 1))
        nth = np.append(np.repeat(np.arange(len(hit)), hit), len(hit))
        reached = nth[np.minimum(right[start, None] + needed, len(nth)) - 1]
        missed = reached >= ends[:, None]
        reached = np.minimum(reached, ends[:, None])
        # Highest from one to the next; where both are one hit, of that hit alone.
        best = np.zeros(reached.shape)
        if k:
            highest = np.maximum.reduceat(np.append(precision, 0.0), reached.ravel())
            best = np.where(missed, 0.0, highest.reshape(reached.shape))
        np.maximum.accumulate(best[:, ::-1], axis=1, out=best[:, ::-1])
        of = np.maximum(truths, 1)
        found = []
        for limited in self._limited:
            sums = right if limited is None else _cumulated(hit * limited)
            found.append((sums[ends] - sums[start]).reshape(self.thresholds, k) / of)
        defined = truths > 0
        cube = best.reshape(self.thresholds, k, len(self.recalls)).transpose(0, 2, 1)
        recall = np.stack(found)
        if defined.all():
            return Curves(self.categories, cube, recall)
        return Curves(self.categories[defined], cube[..., defined], recall[..., defined])

    def average_precision(self) -> Floats:
        """Mean precision of each class over recalls and thresholds, shape (k,). Of many classes
        with few truths, as those of each sample are, it is made without curves."""
        k = len(self.categories)
        hit, right, best = self._hits(None)
        runs = np.diff(self._first)
        place = np.arange(len(hit))
        begins, ends = (np.repeat(v, runs) for v in (self._first[:-1], self._first[1:]))
        step = 1
        while step < runs.max(initial=0):  # the highest of 1, 2, 4… from each on
            more = np.flatnonzero(place + step < ends)
            best[more] = np.maximum(best[more], best[more + step])
            step *= 2
        tp = right[1:] - right[begins]
        category = np.repeat(np.arange(len(runs)), runs) % max(k, 1)
        truths = self._count(self._truths.unit, self._truths.category, None)
        level = np.searchsorted(self.recalls, tp / truths[category], side="right")
        before = np.append(0, level[:-1])
        before[place == begins] = 0
        total = np.bincount(category, best * (level - before), minlength=k)
        return np.asarray(total / (len(self.recalls) * self.thresholds), np.float64)

    def _hits(self, weights: Ints | None) -> tuple[Ints, Ints, Floats]:
        """Of each match how many hits it is, shape (h,); how many there are before it and in all,
        shape (h + 1,); and the precision up to it."""
        each = np.ones(len(self._unit), np.int64) if weights is None else weights[self._unit]
        times = np.ones(len(self._units), np.int64) if weights is None else weights[self._units]
        hit = each * self._right
        right, more, wrong = (_cumulated(v) for v in (hit, each * self._more, times))
        start = self._first[:-1]
        runs = np.diff(self._first)
        tp = right[1:] - np.repeat(right[start], runs)
        counted = more[1:] + wrong[self._counted]
        counted -= np.repeat(more[start] + np.tile(wrong[self._starts], self.thresholds), runs)
        return hit, right, tp / (counted + _EPSILON)

    def _count(self, unit: Ints, category: Ints, weights: Ints | None) -> Ints:
        times = None if weights is None else weights[unit]
        counts = np.bincount(category, times, minlength=len(self.categories))
        return np.asarray(counts, np.int64)


def _least(recalls: Floats, truths: Ints) -> Ints:
    """How many hits reach each recall, one at least: shape (truths, recalls)."""
    of = np.maximum(truths, 1)[:, None]
    least = np.ceil(recalls * of)
    # Rounding may put the product one off; the quotient is what official code compares.
    least -= (least - 1) / of >= recalls
    least += least / of < recalls
    return np.maximum(least, 1).astype(np.int64)


def _cumulated(values: Ints) -> Ints:
    out = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=out[1:])
    return out
