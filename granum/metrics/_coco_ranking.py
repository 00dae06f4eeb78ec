"""Precision at given recalls for any weights of samples, from matches that are made once.

Precision and recall change where a prediction hits, and only there can precision be highest. So
each class and threshold is the list of its hits, each with its place among the predictions that
count; weights of samples then cost two cumulated sums over predictions and hits.
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
        recalls: shape (r,), rising from 0, evenly.
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
        self._category = category[place]
        self._run = found.threshold[use] * k + self._category
        self._first = np.searchsorted(self._run, np.arange(thresholds * k + 1))
        self._unit, self._right, self._more = found.unit[place], found.real[use], more[use]
        self._counted = np.cumsum(base)[place]
        rank = found.rank[place]
        self._limited = [None if (rank < n).all() else rank < n for n in limits]

    def curves(self, weights: Ints | None = None) -> Curves:
        """Of weights of shape (units,): how often each counts (None: once)."""
        k, runs = len(self.categories), len(self._first) - 1
        truths = self._count(self._truths.unit, self._truths.category, weights)
        each = np.ones(len(self._unit), np.int64) if weights is None else weights[self._unit]
        times = np.ones(len(self._units), np.int64) if weights is None else weights[self._units]
        hit = each * self._right
        right, more, wrong = (_cumulated(v) for v in (hit, each * self._more, times))
        start = self._first[:-1]
        tp = right[1:] - right[start][self._run]
        counted = more[1:] - more[start][self._run]
        counted += wrong[self._counted] - wrong[self._starts][self._category]
        of = np.maximum(truths, 1)
        level = self._levels(tp / of[self._category])
        best = np.zeros((runs, len(self.recalls)))
        key = self._run * len(self.recalls) + level - 1
        edges = np.flatnonzero(np.diff(key, prepend=-1))
        if len(edges):
            precision = tp / (counted + _EPSILON)
            best.reshape(-1)[key[edges]] = np.maximum.reduceat(precision, edges)
        np.maximum.accumulate(best[:, ::-1], axis=1, out=best[:, ::-1])
        ends = self._first[1:]
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

    def _count(self, unit: Ints, category: Ints, weights: Ints | None) -> Ints:
        times = None if weights is None else weights[unit]
        counts = np.bincount(category, times, minlength=len(self.categories))
        return np.asarray(counts, np.int64)

    def _levels(self, recall: Floats) -> Ints:
        """How many of the recalls are reached, from 1."""
        last = len(self.recalls) - 1
        # A guess that rounding may put one off, corrected by the comparison that counts.
        guess = np.minimum((recall * last).astype(np.int64), last)
        guess -= self.recalls[guess] > recall
        guess += self.recalls[np.minimum(guess + 1, last)] <= recall
        return np.minimum(guess, last) + 1


def _cumulated(values: Ints) -> Ints:
    out = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=out[1:])
    return out
