"""Precision and recall by range of area and limit, as COCO accumulates them, of any choice of
samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from granum.metrics._boundary_pairs import RANGES, Found, Truths
from granum.metrics._coco_run import Accumulated, Settings

__all__ = ["RankedHits"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class RankedHits:
    """Predictions and truths of all samples.

    Attributes:
        found, truths: after matching; categories are positions in the official order.
        image: shape (units,), the place of each sample in the official order, in which equal
            scores are sorted.
        categories: how many there are.
        settings, thresholds: of the evaluation.
    """

    found: Found
    truths: Truths
    image: Ints
    categories: int
    settings: Settings
    thresholds: Floats

    @cached_property
    def _order(self) -> Ints:
        found = self.found
        return np.lexsort((found.rank, self.image[found.unit], -found.score, found.category))

    def accumulated(self, weights: Ints | None = None) -> Accumulated:
        """Arrays of the evaluation: -1 where there is nothing to find.

        Args:
            weights: shape (units,), how often each sample counts (None: once).
        """
        if weights is None:
            weights = np.ones(len(self.image), np.int64)
        limits, lanes = self.settings.max_detections, (len(self.thresholds), len(RANGES))
        shape = (lanes[0], len(_RECALLS), self.categories, lanes[1], 1)
        precision, scores = np.full(shape, -1.0), np.full(shape, -1.0)
        recall = np.full((lanes[0], self.categories, lanes[1], len(limits)), -1.0)
        order = self._order
        ends = np.searchsorted(self.found.category[order], np.arange(self.categories + 1))
        positives = self._positives(weights)
        for k in range(self.categories):
            known = np.flatnonzero(positives[k])
            if not len(known):
                continue
            rows = order[ends[k] : ends[k + 1]]
            times = weights[self.found.unit[rows], None, None]
            hit, counted = self.found.hit[rows][:, known], self.found.counted[rows][:, known]
            right, wrong = (hit & counted) * times, (~hit & counted) * times
            n = positives[k, known, None]
            for m, limit in enumerate(limits):
                total = right[self.found.rank[rows] < limit].sum(axis=0)
                recall[:, k, known, m] = (total / n).T
            tp = np.cumsum(right, axis=0, dtype=np.float64).transpose(1, 2, 0)
            fp = np.cumsum(wrong, axis=0, dtype=np.float64).transpose(1, 2, 0)
            best = _envelope(tp / (fp + tp + np.spacing(1)))
            own = np.append(self.found.score[rows], 0.0)
            for a, area in enumerate(known.tolist()):
                for t in range(lanes[0]):
                    at = np.searchsorted(tp[a, t] / n[a], _RECALLS, side="left")
                    precision[t, :, k, area, 0] = np.append(best[a, t], 0.0)[at]
                    scores[t, :, k, area, 0] = own[at]
        return Accumulated(precision, scores, recall, self.settings, self.thresholds, _RECALLS, [])

    def values(self, weights: Ints) -> Mapping[str, float | None]:
        """The official summary with each sample as often as its weight."""
        return self.accumulated(weights).values()

    def _positives(self, weights: Ints) -> Ints:
        """How many truths there are to find, by category and range."""
        out = np.zeros((self.categories, len(RANGES)), np.int64)
        truths = self.truths
        np.add.at(out, truths.category, truths.counted * weights[truths.unit, None])
        return out


def _envelope(precision: Floats) -> Floats:
    """The highest precision from each prediction on, along the last axis."""
    return np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
