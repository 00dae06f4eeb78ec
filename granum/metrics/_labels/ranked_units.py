"""Scores of units (samples, videos) of two classes, sorted once and counted as often as asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError
from granum.metrics._anomaly.score_counts import Ranking

__all__ = ["Levels", "RankedUnits"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Levels:
    """Distinct scores, highest first, and how many positives and negatives have each.

    Attributes:
        scores, positives, negatives: shape (n,); no score is without a unit.
    """

    scores: Floats
    positives: Ints
    negatives: Ints

    @property
    def defined(self) -> bool:
        """Whether there are units of both classes."""
        return bool(self.positives.any() and self.negatives.any())

    def swapped(self) -> Levels:
        """The same units with the classes exchanged and all scores negated."""
        return Levels(-self.scores[::-1], self.negatives[::-1], self.positives[::-1])

    def ranking(self) -> Ranking:
        """As the counts of pixels are ranked: AUROC, average precision, best F1."""
        has = self.positives > 0
        reached = np.cumsum(self.negatives)
        return Ranking(
            scores=self.scores[has],
            positives=self.positives[has],
            weights=None,
            above=(reached - self.negatives)[has],
            reached=reached[has],
            negatives=int(reached[-1]) if len(reached) else 0,
        )

    def roc(self) -> tuple[Floats, Floats]:
        """False and true positive rates at each score (``score >= threshold`` is positive)."""
        found, wrong = np.cumsum(self.positives), np.cumsum(self.negatives)
        return wrong / wrong[-1], found / found[-1]

    def corners(self) -> npt.NDArray[np.bool_]:
        """The points of the ROC curve that scikit-learn's ``roc_curve`` keeps: those in between
        two equal steps are dropped."""
        keep = np.ones(len(self.scores), bool)
        found, wrong = np.cumsum(self.positives), np.cumsum(self.negatives)
        keep[1:-1] = (np.diff(wrong, 2) != 0) | (np.diff(found, 2) != 0)
        return keep

    def pr_trapezoid(self) -> float | None:
        """Area under straight lines between the points of precision and recall, from (0, 1) on:
        scikit-learn's ``auc`` of its ``precision_recall_curve``. Too high where points are few
        (J. Davis, M. Goadrich, ICML 2006)."""
        if not self.defined:
            return None
        found, wrong = np.cumsum(self.positives), np.cumsum(self.negatives)
        precision = np.concatenate([[1.0], found / (found + wrong)])
        recall = np.concatenate([[0.0], found / found[-1]])
        return float((np.diff(recall) * (precision[1:] + precision[:-1]) / 2).sum())


class RankedUnits:
    """Units in the order of their scores, whose classes are known.

    Args:
        scores: shape (n,), finite or infinite.
        positive: shape (n,).

    Raises:
        UsageError: shapes differ, or a score is NaN.
    """

    def __init__(self, scores: npt.ArrayLike, positive: npt.ArrayLike) -> None:
        values, wanted = np.asarray(scores, np.float64), np.asarray(positive, bool)
        if values.shape != wanted.shape or values.ndim != 1:
            raise UsageError(f"scores of shape {values.shape}, labels of {wanted.shape}")
        if np.isnan(values).any():
            raise UsageError("a score is not a number")
        self._order = np.argsort(-values, kind="stable")
        ordered = values[self._order] + 0.0
        self._positive = wanted[self._order]
        self._firsts = np.flatnonzero(
            np.concatenate([np.ones(min(len(ordered), 1), bool), ordered[1:] != ordered[:-1]])
        )
        self._scores = ordered[self._firsts]

    def __len__(self) -> int:
        return len(self._order)

    def levels(self, weights: Ints | None = None) -> Levels:
        """How many of either class have each score; ``weights`` (n,): how often each counts."""
        if not len(self):
            none = np.empty(0, np.int64)
            return Levels(self._scores, none, none)
        each = np.ones(len(self), np.int64) if weights is None else weights[self._order]
        right = np.add.reduceat(np.where(self._positive, each, 0), self._firsts)
        wrong = np.add.reduceat(np.where(self._positive, 0, each), self._firsts)
        used = (right + wrong) > 0
        return Levels(self._scores[used], right[used], wrong[used])
