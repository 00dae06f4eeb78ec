"""Counts of classes, and bins of confidence: what the numbers of classification are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UsageError

__all__ = ["Bins", "ClassCounts", "bin_of", "mean_of"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def mean_of(values: Floats, weights: Ints) -> float | None:
    """Weighted mean; None where nothing has a weight, or what has one is NaN somewhere. Values of
    weight 0 change no bit of it."""
    used = weights > 0
    if not used.any() or np.isnan(values[used]).any():
        return None
    return float((values[used] * weights[used]).sum() / int(weights.sum()))


@dataclass(frozen=True)
class ClassCounts:
    """Per class, shape (classes,): how often it is true, was predicted, and was both."""

    support: Ints
    predicted: Ints
    right: Ints

    @property
    def precision(self) -> Floats:
        return _ratio(self.right, self.predicted)

    @property
    def recall(self) -> Floats:
        return _ratio(self.right, self.support)

    @property
    def f1(self) -> Floats:
        """NaN for a class that is neither true nor predicted."""
        return _ratio(2 * self.right, self.support + self.predicted)

    def balanced_accuracy(self) -> float | None:
        """Mean recall of the classes that are true somewhere."""
        return _mean(self.recall)

    def macro_f1(self) -> float | None:
        """Mean F1 of the classes that are true or predicted somewhere."""
        return _mean(self.f1)

    def micro_f1(self) -> float | None:
        both = int(self.support.sum() + self.predicted.sum())
        return 2 * int(self.right.sum()) / both if both else None

    def weighted_f1(self) -> float | None:
        """Mean F1, each class weighted by how often it is true."""
        total = int(self.support.sum())
        if not total:
            return None
        return float((np.nan_to_num(self.f1) * self.support).sum() / total)


@dataclass(frozen=True)
class Bins:
    """Equal bins of confidence, (lower, upper] but for the first, which holds 0 too.

    Attributes:
        counts, right: shape (bins,): samples, and those that were right.
        confidence: shape (bins,): the sum of their confidence.
    """

    counts: Ints
    right: Ints
    confidence: Floats

    @classmethod
    def of(cls, bins: Ints, n: int, confidence: Floats, right: Flags, weights: Ints) -> Bins:
        """Of samples whose bin is known (``bin_of``)."""
        return cls(
            np.bincount(bins, weights, minlength=n).astype(np.int64),
            np.bincount(bins, weights * right, minlength=n).astype(np.int64),
            np.bincount(bins, weights * confidence, minlength=n).astype(np.float64),
        )

    def gaps(self) -> Floats:
        """Between accuracy and mean confidence; NaN in empty bins."""
        return np.abs(_ratio(self.right, self.counts) - self.means())

    def means(self) -> Floats:
        """Mean confidence; NaN in empty bins."""
        return np.divide(
            self.confidence,
            self.counts,
            out=np.full(len(self.counts), np.nan),
            where=self.counts > 0,
        )

    def accuracy(self) -> Floats:
        return _ratio(self.right, self.counts)

    def ece(self) -> float | None:
        """Expected calibration error: mean gap, weighted by samples."""
        total = int(self.counts.sum())
        if not total:
            return None
        return float((np.nan_to_num(self.gaps()) * self.counts).sum() / total)

    def mce(self) -> float | None:
        """Maximum calibration error: the largest gap of a bin that has samples."""
        return float(np.nanmax(self.gaps())) if self.counts.any() else None

    def table(self) -> pa.Table:
        """A row per bin: bounds, samples, mean confidence and accuracy (null where empty)."""
        edges = np.linspace(0, 1, len(self.counts) + 1)
        empty = self.counts == 0
        return pa.table(
            {
                "lower": edges[:-1],
                "upper": edges[1:],
                "samples": self.counts,
                "confidence": pa.array(self.means(), mask=empty),
                "accuracy": pa.array(self.accuracy(), mask=empty),
            }
        )


def bin_of(confidence: Floats, bins: int) -> Ints:
    """The bin of each confidence in [0, 1].

    Raises:
        UsageError: a confidence is not in [0, 1].
    """
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise UsageError("a confidence is not in [0, 1]")
    edges = np.linspace(0, 1, bins + 1)
    return np.maximum(np.searchsorted(edges, confidence, side="left") - 1, 0)


def _ratio(part: Ints, whole: Ints) -> Floats:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
