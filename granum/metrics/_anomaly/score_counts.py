"""How often each anomaly score occurs, inside and outside of defects; exact, and merged by adding.

Only what lies between two scores of defects matters to a ranking, so scores of normal pixels are
sorted once and counted below and above each distinct score of a defect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.errors import MissingExtraError, UsageError

__all__ = ["Ranking", "ScoreCounts", "defect_sizes", "rounded"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ranking:
    """Distinct scores of positives, highest first, and what lies at or above each.

    Attributes:
        scores: shape (n,).
        positives: how many positives have this score.
        weights: their share in the mean overlap of regions (sums up to 1), or None.
        above: how many negatives have a higher score.
        reached: how many negatives have this score or a higher one.
        negatives: how many there are.
    """

    scores: npt.NDArray[Any]
    positives: Ints
    weights: Floats | None
    above: Ints
    reached: Ints
    negatives: int

    @property
    def defined(self) -> bool:
        """Whether there are positives and negatives to rank."""
        return self.negatives > 0 and len(self.scores) > 0

    def auroc(self) -> float | None:
        """Chance that a positive scores higher than a negative; ties count half."""
        if not self.defined:
            return None
        lower = self.negatives - (self.above + self.reached) / 2
        return float((self.positives * lower).sum() / (self.positives.sum() * self.negatives))

    def average_precision(self) -> float | None:
        """Precision at each distinct score, weighted by the recall gained there (no trapezoid)."""
        if not self.defined:
            return None
        found = np.cumsum(self.positives)
        return float((self.positives * (found / (found + self.reached))).sum() / found[-1])

    def f1_max(self) -> tuple[float, float] | None:
        """The highest F1 over all thresholds, and the score from which on it is reached."""
        if not self.defined:
            return None
        found = np.cumsum(self.positives)
        f1 = 2 * found / (found[-1] + found + self.reached)
        best = int(f1.argmax())
        return float(f1[best]), float(self.scores[best])

    def pro_curve(self) -> tuple[Floats, Floats] | None:
        """False-positive rate of normal pixels and mean overlap of regions, corner by corner."""
        if not self.defined or self.weights is None:
            return None
        overlap = np.concatenate([[0.0], np.minimum(np.cumsum(self.weights), 1.0)])
        fpr = np.column_stack([self.above, self.reached]).ravel() / self.negatives
        pro = np.column_stack([overlap[:-1], overlap[1:]]).ravel()
        return np.concatenate([[0.0], fpr, [1.0]]), np.concatenate([[0.0], pro, [1.0]])

    def aupro(self, limit: float) -> float | None:
        """Area under that curve up to the false-positive rate ``limit``, divided by it."""
        curve = self.pro_curve()
        if curve is None:
            return None
        fpr, pro = curve
        last = int(np.searchsorted(fpr, limit, side="right"))
        x, y = fpr[:last], pro[:last]
        if last < len(fpr):
            share = (limit - fpr[last - 1]) / (fpr[last] - fpr[last - 1])
            x = np.append(x, limit)
            y = np.append(y, pro[last - 1] + share * (pro[last] - pro[last - 1]))
        return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum() / limit)


@dataclass(frozen=True)
class ScoreCounts:
    """The scores of pixels: a multiset, so that any order of merging gives the same.

    Attributes:
        normal, normal_counts: distinct scores of normal pixels, rising, and how many have each.
        defect, sizes, defect_counts: scores of defects' pixels and pixels of the defect that each
            is part of, distinct pairs, rising, and how many pixels have each.
        regions: how many defects (8-connected).
    """

    normal: Floats
    normal_counts: Ints
    defect: Floats
    sizes: Ints
    defect_counts: Ints
    regions: int

    @classmethod
    def of(cls, scores: Floats, mask: Mask, ignored: Mask | None = None) -> ScoreCounts:
        """The counts of one map. ``mask`` says where defects are; ``ignored`` what is not counted.

        Raises:
            UsageError: shapes differ, or a score that is counted is not finite.
        """
        if scores.shape != mask.shape:
            raise UsageError(f"scores of {scores.shape} pixels, a mask of {mask.shape}")
        counted = np.ones(mask.shape, bool) if ignored is None else ~ignored
        if not np.isfinite(scores[counted]).all():
            raise UsageError("a score is not a finite number")
        sizes, regions = defect_sizes(mask & counted)
        normal, normal_counts = np.unique(scores[counted & ~mask] + 0.0, return_counts=True)
        inside = mask & counted
        pairs = _pairs(scores[inside] + 0.0, sizes[inside], np.ones(int(inside.sum()), np.int64))
        return cls(normal, normal_counts, *pairs, regions)

    @classmethod
    def merged(cls, counts: Sequence[ScoreCounts]) -> ScoreCounts:
        """All of them as one."""
        if not counts:
            none, nothing = np.empty(0, np.float64), np.empty(0, np.int64)
            return cls(none, nothing, none, nothing, nothing, 0)
        if len(counts) == 1:
            return counts[0]
        normal = np.concatenate([c.normal for c in counts])
        order = np.argsort(normal, kind="stable")
        normal, firsts = _runs(normal[order])
        many = np.concatenate([c.normal_counts for c in counts])[order]
        return cls(
            normal,
            np.add.reduceat(many, firsts) if len(many) else many,
            *_pairs(
                np.concatenate([c.defect for c in counts]),
                np.concatenate([c.sizes for c in counts]),
                np.concatenate([c.defect_counts for c in counts]),
            ),
            sum(c.regions for c in counts),
        )

    def ranking(self) -> Ranking:
        below = np.concatenate([[0], np.cumsum(self.normal_counts)])
        return _ranking(
            self.defect, self.sizes, self.defect_counts, self.regions, self.normal, below
        )


def rank(
    positives: npt.NDArray[Any],
    negatives: npt.NDArray[Any],
    sizes: Ints | None = None,
    regions: int = 0,
) -> Ranking:
    """The ranking of scores as they are; ``negatives`` is sorted in place."""
    negatives.sort()
    ones = np.ones(len(positives), np.int64)
    if sizes is None:
        return _ranking(np.sort(positives), None, ones, regions, negatives, None)
    return _ranking(*_pairs(positives, sizes, ones), regions, negatives, None)


def _ranking(
    defect: npt.NDArray[Any],
    sizes: Ints | None,
    counts: Ints,
    regions: int,
    normal: npt.NDArray[Any],
    below: Ints | None,
) -> Ranking:
    """``defect`` and ``normal`` rise; ``below[i]`` is how many negatives the first i scores of
    ``normal`` stand for (None: i)."""
    scores, firsts = _runs(defect)
    total = len(normal) if below is None else int(below[-1])
    places = [np.searchsorted(normal, scores, side=side) for side in ("left", "right")]
    lower, upper = places if below is None else (below[p] for p in places)
    weights = None
    if sizes is not None and len(scores):
        weights = np.add.reduceat(counts / sizes, firsts)[::-1] / regions
    return Ranking(
        scores=scores[::-1],
        positives=(np.add.reduceat(counts, firsts) if len(scores) else counts)[::-1],
        weights=weights,
        above=(total - upper)[::-1],
        reached=(total - lower)[::-1],
        negatives=total,
    )


def _runs(sorted_: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Ints]:
    """Distinct values of a sorted array, and where each begins."""
    if not len(sorted_):
        return sorted_, np.empty(0, np.int64)
    firsts = np.flatnonzero(np.concatenate([[True], sorted_[1:] != sorted_[:-1]]))
    return sorted_[firsts], firsts


def _pairs(
    scores: npt.NDArray[Any], sizes: Ints, counts: Ints
) -> tuple[npt.NDArray[Any], Ints, Ints]:
    """Distinct pairs of score and size, rising, and the sum of the counts of each."""
    if not len(scores):
        return scores, sizes, counts
    order = np.lexsort((sizes, scores))
    scores, sizes = scores[order], sizes[order]
    changes = (scores[1:] != scores[:-1]) | (sizes[1:] != sizes[:-1])
    firsts = np.flatnonzero(np.concatenate([[True], changes]))
    return scores[firsts], sizes[firsts], np.add.reduceat(counts[order], firsts)


def defect_sizes(mask: Mask) -> tuple[Ints, int]:
    """For each pixel how many pixels its 8-connected defect has (0: normal), and their number."""
    try:
        from scipy.ndimage import label  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("AUPRO (connected defects)", "eval", "scipy") from error
    if not mask.any():
        return np.zeros(mask.shape, np.int64), 0
    labels, regions = label(mask, np.ones((3, 3), int))
    sizes = np.bincount(labels.ravel(), minlength=regions + 1)
    sizes[0] = 0
    return sizes[labels], int(regions)


def rounded(values: Floats, bits: int) -> Floats:
    """``values`` with this many significant binary digits, so that fewer are distinct."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(mantissa * 2.0**bits), exponent - bits), np.float64)
