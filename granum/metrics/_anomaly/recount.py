"""Scores of pixels of each sample, sorted over all of them once and counted as often as asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from granum.metrics._anomaly.score_counts import Ranking, ScoreCounts

__all__ = ["MOST", "PixelCounts", "entries"]

Ints = npt.NDArray[np.int64]

MOST = 1 << 24
"""Most distinct scores, added up over the samples, that are kept apart by sample (half a GB)."""


def entries(counts: ScoreCounts) -> int:
    """How many distinct scores there are."""
    return len(counts.normal) + len(counts.defect)


class PixelCounts:
    """The counts of samples.

    Args:
        counts: of each sample; one without pixels has counts of nothing.
    """

    def __init__(self, counts: Sequence[ScoreCounts]) -> None:
        which = np.arange(len(counts), dtype=np.int32)
        normal = np.concatenate([np.empty(0), *(c.normal for c in counts)])
        order = np.argsort(normal, kind="stable")
        normal = normal[order]
        self._normal = np.repeat(which, [len(c.normal) for c in counts])[order]
        self._normal_counts = _joined([c.normal_counts for c in counts])[order]
        defect = np.concatenate([np.empty(0), *(c.defect for c in counts)])
        sizes = _joined([c.sizes for c in counts])
        order = np.lexsort((sizes, defect))
        defect, sizes = defect[order], sizes[order]
        self._defect = np.repeat(which, [len(c.defect) for c in counts])[order]
        self._defect_counts = _joined([c.defect_counts for c in counts])[order]
        changed = np.concatenate([np.ones(min(len(defect), 1), bool), np.diff(defect) != 0])
        self._pairs = np.flatnonzero(changed | (np.diff(sizes, prepend=-1) != 0))
        self._scores, self._sizes = defect[self._pairs], sizes[self._pairs]
        self._lower = np.searchsorted(normal, self._scores, side="left")
        self._upper = np.searchsorted(normal, self._scores, side="right")
        self._regions = np.array([c.regions for c in counts], np.int64)

    def ranking(self, weights: Ints) -> Ranking:
        """Of the samples, each as often as its weight says; as ``ScoreCounts.merged`` ranks them,
        to the bit."""
        below = np.concatenate([[0], np.cumsum(self._normal_counts * weights[self._normal])])
        if not len(self._pairs):
            none = np.empty(0, np.int64)
            return Ranking(np.empty(0), none, None, none, none, int(below[-1]))
        own = np.add.reduceat(self._defect_counts * weights[self._defect], self._pairs)
        used = own > 0
        own, scores, sizes = own[used], self._scores[used], self._sizes[used]
        firsts = np.flatnonzero(np.diff(scores, prepend=np.nan) != 0)
        at = np.flatnonzero(used)[firsts]
        total, regions = int(below[-1]), int((self._regions * weights).sum())
        return Ranking(
            scores=scores[firsts][::-1],
            positives=(np.add.reduceat(own, firsts) if len(own) else own)[::-1],
            weights=np.add.reduceat(own / sizes, firsts)[::-1] / regions if len(own) else None,
            above=(total - below[self._upper[at]])[::-1],
            reached=(total - below[self._lower[at]])[::-1],
            negatives=total,
        )


def _joined(pieces: Sequence[Ints]) -> Ints:
    return np.concatenate([np.empty(0, np.int64), *pieces])
