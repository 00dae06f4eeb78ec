"""What was said of each sample, from rows of (sample, class, score), without a dense matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.metrics._labels.class_counts import Bins, ClassCounts, bin_of, mean_of

__all__ = ["Multi", "Rows", "Single"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_DENSE = 1 << 28
"""Most pairs of sample and class for which a table of flags is made."""

_BLOCK = 1 << 17
"""About how many rows are looked at together: what is made of them stays in the cache."""

_SUM, _EXACT = 0.01, 1e-6
"""How far from 1 the sum of probabilities may be: of all classes (files round them), and of some,
where the others have none."""


@dataclass(frozen=True)
class Rows:
    """Predicted scores, sorted by unit; no pair of unit and class stands there twice.

    Attributes:
        units: how many units there are.
        classes: how many classes.
        unit, label, score: shape (rows,).
    """

    units: int
    classes: int
    unit: Ints
    label: Ints
    score: Floats

    def reduced(self, operation: np.ufunc, values: npt.NDArray[np.generic], none: float) -> Floats:
        """``operation`` over the rows of each unit; ``none`` where it has no row."""
        out = np.full(self.units, none, np.float64)
        if len(self.unit):
            out[self.unit[self._starts]] = operation.reduceat(values, self._starts)
        return out

    @cached_property
    def _starts(self) -> Ints:
        return np.flatnonzero(np.diff(self.unit, prepend=-1))

    def blocks(self) -> Iterator[tuple[slice, Rows]]:
        """Some units after the other (there is at least one block), and their rows."""
        cuts = np.unique([0, *self.unit[_BLOCK::_BLOCK].tolist(), self.units])
        at = np.searchsorted(self.unit, cuts)
        for i in range(max(len(cuts) - 1, 1)):
            first, last = int(cuts[i]), int(cuts[min(i + 1, len(cuts) - 1)])
            own = slice(int(at[i]), int(at[min(i + 1, len(cuts) - 1)]))
            unit = self.unit[own] - first
            block = Rows(last - first, self.classes, unit, self.label[own], self.score[own])
            yield slice(first, last), block


@dataclass(frozen=True)
class Single:
    """Units that are of one class each; shape (units,).

    Attributes:
        classes: how many.
        label: the true class.
        predicted: the class of the highest score, the lowest one of equals; -1 without a row.
        rank: place of the true class from 1 (equal scores in the order of the classes); 0 where it
            has no row.
        confidence: the highest score; NaN without a row.
        tied: whether another class has the highest score too.
        given: how many classes have a row.
        log_loss, brier: NaN where the scores are no probabilities of all classes (those without a
            row have none where the others add up to 1).
    """

    classes: int
    label: Ints
    predicted: Ints
    rank: Ints
    confidence: Floats
    tied: Flags
    given: Ints
    log_loss: Floats
    brier: Floats

    @classmethod
    def of(cls, rows: Rows, label: Ints) -> Single:
        """What ``rows`` say of units whose true classes are ``label``, shape (units,)."""
        parts = [cls._of(block, label[units]) for units, block in rows.blocks()]
        each = [f.name for f in fields(cls) if f.name != "classes"]
        joined = {name: np.concatenate([getattr(p, name) for p in parts]) for name in each}
        return cls(classes=rows.classes, **joined)

    @classmethod
    def _of(cls, rows: Rows, label: Ints) -> Single:
        top = rows.reduced(np.maximum, rows.score, np.nan)
        best = rows.score == top[rows.unit]
        first = np.where(best, rows.label, rows.classes)
        predicted = rows.reduced(np.minimum, first, -1).astype(np.int64)
        mine = rows.label == label[rows.unit]
        own = np.full(rows.units, np.nan)
        own[rows.unit[mine]] = rows.score[mine]
        true = own[rows.unit]
        before = (rows.score > true) | ((rows.score == true) & (rows.label < label[rows.unit]))
        rank = rows.reduced(np.add, before.astype(np.int64), 0).astype(np.int64) + 1
        log_loss, brier = _proper(rows, own)
        return cls(
            classes=rows.classes,
            label=label,
            predicted=predicted,
            rank=np.where(np.isnan(own), 0, rank),
            confidence=top,
            tied=rows.reduced(np.add, best.astype(np.int64), 0) > 1,
            given=np.bincount(rows.unit, minlength=rows.units),
            log_loss=log_loss,
            brier=brier,
        )

    @property
    def right(self) -> Flags:
        return self.predicted == self.label

    def cut_short(self, k: int) -> Flags:
        """Units of which so few classes were kept that the true one may be among the k best."""
        few = (self.given > 0) & (self.given < k)
        return few & (self.rank == 0) & np.isnan(self.brier)

    def counts(self, weights: Ints) -> ClassCounts:
        said = self.predicted >= 0
        return ClassCounts(
            _count(self.label, weights, self.classes),
            _count(self.predicted[said], weights[said], self.classes),
            _count(self.label[self.right], weights[self.right], self.classes),
        )

    def bins(self, weights: Ints, n: int) -> Bins | None:
        """Bins of the confidence of units with a row; None where one of them is no probability."""
        used = (weights > 0) & (self.predicted >= 0)
        confidence = self.confidence[used]
        if not ((confidence >= 0) & (confidence <= 1)).all():
            return None
        return Bins.of(bin_of(confidence, n), n, confidence, self.right[used], weights[used])

    def values(self, weights: Ints, ks: Sequence[int], bins: int) -> dict[str, float | None]:
        total = int(weights.sum())
        out: dict[str, float | None] = {}
        for k in ks:
            found = int(weights[(self.rank > 0) & (self.rank <= k)].sum())
            known = total and not weights[self.cut_short(k)].any()
            out[f"top{k}_accuracy"] = found / total if known else None
        counts, calibration = self.counts(weights), self.bins(weights, bins)
        return out | {
            "balanced_accuracy": counts.balanced_accuracy(),
            "macro_f1": counts.macro_f1(),
            "micro_f1": counts.micro_f1(),
            "weighted_f1": counts.weighted_f1(),
            "ece": None if calibration is None else calibration.ece(),
            "mce": None if calibration is None else calibration.mce(),
            "brier": mean_of(self.brier, weights),
            "log_loss": mean_of(self.log_loss, weights),
        }


def _proper(rows: Rows, own: Floats) -> tuple[Floats, Floats]:
    """Log loss and Brier score of each unit; ``own``: the score of its true class."""
    within = (rows.score >= 0) & (rows.score <= 1)
    score = np.where(within, rows.score, 0.0)
    given = rows.reduced(np.add, within.astype(np.int64), 0)
    apart = np.abs(rows.reduced(np.add, score, 0) - 1)
    whole = given == np.bincount(rows.unit, minlength=rows.units)
    complete = whole & (apart <= np.where(given == rows.classes, _SUM, _EXACT))
    squares = rows.reduced(np.add, score**2, 0)
    tiny, own = np.finfo(np.float64).eps, np.nan_to_num(own)
    loss = -np.log(np.clip(np.where(complete, own, 1.0), tiny, 1 - tiny))
    brier = squares - 2 * np.where(complete, own, 0.0) + 1
    return np.where(complete, loss, np.nan), np.where(complete, brier, np.nan)


class Multi:
    """Units that may be of several classes.

    Args:
        rows: the predicted scores.
        unit, label: the true classes, shape (pairs,), each pair once.
        threshold: a class is predicted where its score is above it.

    Attributes:
        right, wrong, missed: shape (units,): true and false positives, false negatives.
    """

    def __init__(self, rows: Rows, unit: Ints, label: Ints, threshold: float) -> None:
        self.units, self.classes = rows.units, rows.classes
        self.unit, self.label = unit, label
        positive = _among(rows, unit, label)
        order = _by_class(rows)
        self._unit, self._label = rows.unit[order], rows.label[order]
        self._positive, score = positive[order], rows.score[order]
        self._said = score > threshold
        changed = np.ones(len(order), bool)
        changed[1:] = (self._label[1:] != self._label[:-1]) | (score[1:] != score[:-1])
        self._starts = np.flatnonzero(changed)
        self._levels = np.bincount(self._label[self._starts], minlength=self.classes)
        ones = np.ones(self.units, np.int64)
        self.right = _count(rows.unit[(rows.score > threshold) & positive], None, self.units)
        self.wrong = _count(rows.unit[(rows.score > threshold) & ~positive], None, self.units)
        self.missed = _count(unit, None, self.units) - self.right
        self.support = self.counts(ones).support

    def counts(self, weights: Ints) -> ClassCounts:
        said, hit = self._said, self._said & self._positive
        return ClassCounts(
            _count(self.label, weights[self.unit], self.classes),
            _count(self._label[said], weights[self._unit[said]], self.classes),
            _count(self._label[hit], weights[self._unit[hit]], self.classes),
        )

    def average_precision(self, weights: Ints) -> Floats:
        """Per class, by steps; NaN for one that is true nowhere. Units without a score of a class
        come after all that have one, as one tie."""
        support = _count(self.label, weights[self.unit], self.classes)
        gained = np.zeros(self.classes)
        found = np.zeros(self.classes, np.int64)
        if len(self._starts):
            each = weights[self._unit]
            right = np.add.reduceat(each * self._positive, self._starts)
            at = np.flatnonzero(right)
            label, right_at = self._label[self._starts[at]], right[at]
            seen = self._since(np.add.reduceat(each, self._starts), label, at)
            hits = self._since(right, label, at)
            step = right_at * (hits / seen)
            gained = np.bincount(label, step, minlength=self.classes).astype(np.float64)
            found = _count(label, right_at, self.classes)
        rest = (support - found) * (support / max(int(weights.sum()), 1))
        return np.where(support > 0, (gained + rest) / np.maximum(support, 1), np.nan)

    def _since(self, levels: Ints, label: Ints, at: Ints) -> Ints:
        """The sum of ``levels`` from the first of a class up to each of ``at``, which is of it."""
        total = np.cumsum(levels)
        begins = np.cumsum(self._levels) - self._levels
        before = np.where(begins > 0, total[begins - 1], 0)
        return np.asarray(total[at] - before[label], np.int64)

    def values(self, weights: Ints) -> dict[str, float | None]:
        counts, ap = self.counts(weights), self.average_precision(weights)
        known = ap[~np.isnan(ap)]
        exact = (self.wrong == 0) & (self.missed == 0)
        return {
            "mAP": float(known.mean()) if len(known) else None,
            "macro_f1": counts.macro_f1(),
            "micro_f1": counts.micro_f1(),
            "weighted_f1": counts.weighted_f1(),
            "subset_accuracy": mean_of(exact.astype(np.float64), weights),
        }


def _among(rows: Rows, unit: Ints, label: Ints) -> Flags:
    """Which rows are of one of the pairs of unit and label."""
    pair, true = rows.unit * rows.classes + rows.label, unit * rows.classes + label
    if rows.units * rows.classes > _DENSE:
        return np.isin(pair, true)
    flags = np.zeros(rows.units * rows.classes, bool)
    flags[true] = True
    return flags[pair]


def _by_class(rows: Rows) -> Ints:
    """The order of rows by class, then by score from the highest on."""
    order = np.argsort(rows.label.astype(_smallest(rows.classes)), kind="stable")
    bounds = np.cumsum(np.bincount(rows.label, minlength=rows.classes))
    for some in np.split(order, bounds[:-1]):  # views
        some[:] = some[np.argsort(-rows.score[some])]
    return order


def _smallest(classes: int) -> type[np.integer[Any]]:
    """Integers that hold the classes; those of 16 bits sort in linear time."""
    return np.uint16 if classes <= 1 << 16 else np.int64


def _count(values: Ints, weights: Ints | None, n: int) -> Ints:
    return np.bincount(values, weights, minlength=n).astype(np.int64)
