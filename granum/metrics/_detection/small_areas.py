"""Average precision of very many classes of few detections each (an image's own classes)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["many_precisions"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Area = Callable[[Ints, Ints, int], float]

_FEW = 64
_CELLS = 2_000_000


def many_precisions(
    ranked: Ints, category: Ints, hit: Flags, counted: Flags, truths: Ints, area: Area, style: str
) -> Floats:
    """As ``average_precision`` gives it, up to rounding; classes of few detections go together.

    Args:
        ranked: shape (n,), rows by class, highest score first.
        category: shape (n,), the class of each row.
        hit, counted: shape (n, t).
        truths: shape (classes,), how many truths each has.
        area: of one class, of hits and of false detections up to each row, and of truths.
        style: that ``area`` measures in.

    Returns:
        Shape (classes, t); NaN for a class without truth.
    """
    length = np.bincount(category, minlength=len(truths))
    start = np.cumsum(length) - length
    value = np.full((len(truths), hit.shape[1]), np.nan)
    value[truths > 0] = 0.0
    right = (hit & counted)[ranked].astype(np.int64)
    wrong = (~hit & counted)[ranked].astype(np.int64)
    for row in np.flatnonzero((truths > 0) & (length > _FEW)).tolist():
        some = slice(int(start[row]), int(start[row] + length[row]))
        ups, downs = np.cumsum(right[some], axis=0), np.cumsum(wrong[some], axis=0)
        for t in range(hit.shape[1]):
            value[row, t] = area(ups[:, t], downs[:, t], int(truths[row]))
    width = 1
    while width <= _FEW:
        few = (truths > 0) & (length > width // 2) & (length <= width)
        rows = np.flatnonzero(few)
        step = max(_CELLS // (width * 101), 1)
        for first in range(0, len(rows), step):
            now = rows[first : first + step]
            at = start[now, None] + np.arange(width)
            there = np.arange(width) < length[now, None]
            at = np.where(there, at, 0)
            for t in range(hit.shape[1]):
                ups = np.cumsum(right[at, t] * there, axis=1)
                downs = np.cumsum(wrong[at, t] * there, axis=1)
                value[now, t] = _areas(ups, downs, truths[now], style)
        width *= 2
    return value


def _areas(right: Ints, wrong: Ints, truths: Ints, style: str) -> Floats:
    """Areas of the rows of a block, whose last places repeat what stands before them."""
    recall = right / truths[:, None]
    seen = right + wrong
    precision = right / (seen + np.spacing(1) if style == "coco101" else np.maximum(seen, 1))
    steps = np.diff(recall, axis=1, prepend=0.0)
    if style == "trapezoid":
        before = np.concatenate([np.ones((len(right), 1)), precision[:, :-1]], axis=1)
        return np.asarray((steps * (before + precision) * 0.5).sum(axis=1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    if style == "area":
        return np.asarray((steps * best).sum(axis=1))
    levels = np.arange(0.0, 1.1, 0.1) if style == "voc07" else np.linspace(0.0, 1.0, 101)
    beyond = recall[:, None, :] >= levels[:, None]
    reached = np.take_along_axis(best, beyond.argmax(axis=2), axis=1)
    reached = np.where(beyond.any(axis=2), reached, 0.0)
    return np.asarray(reached.sum(axis=1) / len(levels))
