"""Detections after matching, and the average precision of any choice of samples.

Matching is what differs between protocols; what follows is the same: sort by score, count what hit
and what did not, and measure the area under precision over recall in one of three styles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UsageError
from granum.metrics._detection.small_areas import many_precisions

__all__ = ["Judged", "Style", "area_under", "average_precision", "precision_recall", "sample_ap"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

Style = Literal["area", "coco101", "trapezoid", "voc07"]

_EPSILON = np.spacing(1)


@dataclass(frozen=True)
class Judged:
    """Detections with what became of them, and the truths there were to find.

    Detections of equal score keep the order they have here, so rows are in the protocol's own
    order (of images, then of rows).

    Attributes:
        unit: shape (n,), each detection's sample (or video): a position in the order of keys.
        category: shape (n,), its class.
        score: shape (n,), float64, no NaN.
        hit: shape (n, t), whether it found a truth, at each of t thresholds.
        counted: shape (n, t), whether it counts at all (false: ignored, neither right nor wrong).
        truth_unit, truth_category: shape (m,), of each truth that was to be found.
        truth_count: shape (m,), how many each row stands for (default 1).
    """

    unit: Ints
    category: Ints
    score: Floats
    hit: Flags
    counted: Flags
    truth_unit: Ints
    truth_category: Ints
    truth_count: Ints | None = None

    @property
    def thresholds(self) -> int:
        return self.hit.shape[1]

    @cached_property
    def ranked(self) -> Ints:
        """Rows by class, highest score first: sorted once for all choices of samples."""
        return np.lexsort((-self.score, self.category))

    def truths(self, categories: int, weights: Ints | None = None) -> Ints:
        """How many truths of each class there are, shape (categories,)."""
        count = np.ones(len(self.truth_unit), np.int64)
        count = count if self.truth_count is None else self.truth_count
        if weights is not None:
            count = count * weights[self.truth_unit]
        total = np.zeros(categories, np.int64)
        np.add.at(total, self.truth_category, count)
        return total

    def of_thresholds(self, which: Sequence[int] | slice) -> Judged:
        """Seen at some of the thresholds."""
        return replace(self, hit=self.hit[:, which], counted=self.counted[:, which])

    @classmethod
    def joined(cls, pieces: Sequence[Judged], thresholds: int) -> Judged:
        """Of several parts, whose units are already those of the whole."""
        if not pieces:
            none = np.empty(0, np.int64)
            flags = np.empty((0, thresholds), bool)
            return cls(none, none, np.empty(0), flags, flags, none, none)
        counts = [
            np.ones(len(p.truth_unit), np.int64) if p.truth_count is None else p.truth_count
            for p in pieces
        ]
        names = ("unit", "category", "score", "hit", "counted", "truth_unit", "truth_category")
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(p, name) for p in pieces]) for name in names
        }
        return cls(**joined, truth_count=np.concatenate(counts))


def average_precision(
    judged: Judged, categories: int, weights: Ints | None = None, style: Style = "area"
) -> Floats:
    """Average precision of each class at each threshold.

    Args:
        judged: detections after matching.
        categories: how many classes there are.
        weights: shape (units,), how often each sample counts (None: once).
        style: ``area`` (under the monotone curve at every change of recall, VOC 2010 on),
            ``coco101`` (mean of 101 recalls), ``voc07`` (mean of 11 recalls, as VOC up to 2009),
            ``trapezoid`` (straight lines between the points, from precision 1 at recall 0 on: ACT;
            samples that count several times are one step each).

    Returns:
        Shape (categories, t); NaN for a class without truth, 0 for one without detections.
    """
    truths = judged.truths(categories, weights)
    value = np.full((categories, judged.thresholds), np.nan)
    value[truths > 0] = 0.0
    for category, rows in _runs(judged, truths > 0, weights):
        right, wrong = _cumulated(judged, rows, weights)
        for t in range(judged.thresholds):
            value[category, t] = area_under(right[:, t], wrong[:, t], int(truths[category]), style)
    return value


def area_under(right: Ints, wrong: Ints, truths: int, style: Style) -> float:
    """Area under precision over recall.

    Args:
        right: shape (n,), how many hits there are up to each detection, highest score first.
        wrong: shape (n,), the same of false detections.
        truths: how many there were to find, above 0.
        style: see :func:`average_precision`.
    """
    recall = right / truths
    precision = right / (
        right + wrong + _EPSILON if style == "coco101" else np.maximum(right + wrong, 1)
    )
    if style == "voc07":
        # The least recall of the eleven that 11 equal steps in floats reach, as the authors' code.
        levels = np.arange(0.0, 1.1, 0.1)
        best = _envelope(precision)
        at = np.searchsorted(recall, levels, side="left")
        reached = np.append(best, 0.0)[at]
        return float(reached.sum() / 11)
    if style == "coco101":
        levels = np.linspace(0.0, 1.0, 101)
        at = np.searchsorted(recall, levels, side="left")
        return float(np.append(_envelope(precision), 0.0)[at].mean())
    steps = np.diff(recall, prepend=0.0)
    if style == "trapezoid":
        before = np.concatenate([[1.0], precision[:-1]])[: len(precision)]
        return float((steps * (before + precision) * 0.5).sum())
    if style != "area":
        raise UsageError(f"style is {style!r}; it must be area, coco101, trapezoid or voc07")
    best = _envelope(precision)
    return float((steps * best).sum())


def sample_ap(judged: Judged, units: int, categories: int, style: Style = "area") -> Floats:
    """Average precision of each sample by itself: the mean of the classes that it has truths of,
    then of the thresholds.

    Returns:
        Shape (units,); NaN where a sample has no truth.
    """
    own = replace(
        judged,
        category=judged.unit * categories + judged.category,
        truth_category=judged.truth_unit * categories + judged.truth_category,
    )
    # Only pairs that exist: dense pairs may be many.
    pairs = np.unique(own.truth_category)
    at = np.searchsorted(pairs, own.category)
    known = (
        (at < len(pairs)) & (pairs[np.minimum(at, len(pairs) - 1)] == own.category)
        if len(pairs)
        else np.zeros(len(at), bool)
    )
    own = Judged(
        own.unit[known],
        at[known],
        own.score[known],
        own.hit[known],
        own.counted[known],
        own.truth_unit,
        np.searchsorted(pairs, own.truth_category),
        own.truth_count,
    )
    each = many_precisions(
        own.ranked,
        own.category,
        own.hit,
        own.counted,
        own.truths(len(pairs)),
        partial(area_under, style=style),
        style,
    )
    value = each.mean(axis=1)
    unit = pairs // max(categories, 1)
    counted = ~np.isnan(value)
    total = np.bincount(unit[counted], weights=value[counted], minlength=units)
    n = np.bincount(unit[counted], minlength=units)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def precision_recall(
    judged: Judged, names: Sequence[str], threshold: int = 0, points: int = 1000
) -> pa.Table:
    """The curve of each class at one threshold: ``category, score, recall, precision``; of more
    than ``points`` detections, that many evenly."""
    truths = judged.truths(len(names))
    columns: dict[str, list[npt.NDArray[np.generic]]] = {
        n: [] for n in ("row", "score", "recall", "precision")
    }
    for category, rows in _runs(judged, truths > 0, None):
        right, wrong = (c[:, threshold] for c in _cumulated(judged, rows, None))
        at = np.arange(len(rows))
        if len(rows) > points:
            at = np.unique(np.linspace(0, len(rows) - 1, points).astype(np.int64))
        columns["row"].append(np.full(len(at), category))
        columns["score"].append(judged.score[rows][at])
        columns["recall"].append(right[at] / truths[category])
        columns["precision"].append(right[at] / np.maximum(right[at] + wrong[at], 1))
    empty = np.empty(0)
    joined = {n: np.concatenate([empty, *c]) for n, c in columns.items()}
    named = pa.array(list(names), pa.string()).take(pa.array(joined.pop("row").astype(np.int64)))
    return pa.table({"category": named, **joined})


def _runs(judged: Judged, wanted: Flags, weights: Ints | None) -> list[tuple[int, Ints]]:
    """Rows of each wanted class, highest score first."""
    use = wanted[judged.category]
    if weights is not None:
        use &= weights[judged.unit] > 0
    rows = judged.ranked[use[judged.ranked]]
    category = judged.category[rows]
    starts = np.flatnonzero(np.diff(category, prepend=-1))
    ends = np.append(starts[1:], len(rows))[: len(starts)]
    return [
        (int(category[a]), rows[a:b]) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


def _cumulated(judged: Judged, rows: Ints, weights: Ints | None) -> tuple[Ints, Ints]:
    """Hits and false detections up to each row, shape (rows, t)."""
    hit, counted = judged.hit[rows], judged.counted[rows]
    right, wrong = (hit & counted).astype(np.int64), (~hit & counted).astype(np.int64)
    if weights is not None:
        times = weights[judged.unit[rows], None]
        right, wrong = right * times, wrong * times
    return np.cumsum(right, axis=0), np.cumsum(wrong, axis=0)


def _envelope(precision: Floats) -> Floats:
    """The highest precision from each detection on."""
    return np.maximum.accumulate(precision[::-1])[::-1]
