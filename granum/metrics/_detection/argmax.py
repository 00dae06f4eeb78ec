"""Matching in which a detection tries only the truth it overlaps most (VOC, Open Images, tubes)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["argmax_hits", "best_overlaps", "box_iou", "pairs_of_groups"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_PAIRS = 4_000_000
"""Pairs of a detection and a truth that are held at a time."""


def pairs_of_groups(found: Ints, true: Ints) -> tuple[Ints, Ints]:
    """All pairs of a detection and a truth of one group, in the order of the detections, then of
    the truths.

    Args:
        found: shape (n,), the group (an image and a class) of each detection.
        true: shape (m,), the group of each truth.

    Returns:
        Rows of detections and of truths, each of shape (pairs,).
    """
    order = np.argsort(true, kind="stable")
    begin = np.searchsorted(true[order], found, side="left")
    count = np.searchsorted(true[order], found, side="right") - begin
    left = np.repeat(np.arange(len(found)), count)
    within = np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count)
    return left, order[begin[left] + within]


def best_overlaps(
    found: Ints, true: Ints, overlap: Callable[[Ints, Ints], Floats]
) -> tuple[Ints, Floats]:
    """For each detection the truth of its group that it overlaps most, the first of equals.

    Args:
        found: shape (n,), the group of each detection.
        true: shape (m,), the group of each truth.
        overlap: of pairs, given the rows of detections and of truths.

    Returns:
        Shape (n,): the row of the truth (-1 where the group has none) and the overlap (-1 there).
    """
    best, value = np.full(len(found), -1), np.full(len(found), -1.0)
    sizes = np.bincount(np.unique(true, return_inverse=True)[1]) if len(true) else np.zeros(1, int)
    step = max(_PAIRS // max(int(sizes.max(initial=1)), 1), 1)
    for start in range(0, len(found), step):
        left, right = pairs_of_groups(found[start : start + step], true)
        if not len(left):
            continue
        score = overlap(left + start, right)
        order = np.lexsort((right, -score, left))
        first = order[np.flatnonzero(np.diff(left[order], prepend=-1))]
        best[left[first] + start] = right[first]
        value[left[first] + start] = score[first]
    return best, value


def argmax_hits(
    best: Ints,
    overlap: Floats,
    score: Floats,
    thresholds: Sequence[float],
    ignored: Flags,
) -> tuple[Flags, Flags]:
    """Which detections hit: of those whose best truth they overlap enough, the one of highest
    score; all others that come after it are wrong.

    Args:
        best: shape (n,), the truth that each detection tries, -1: none.
        overlap: shape (n,), with it.
        score: shape (n,); of equal scores the first row chooses first.
        thresholds: a hit has at least this overlap.
        ignored: shape (m,), truths that are neither to be found nor wrong to find.

    Returns:
        ``hit`` and ``counted``, each of shape (n, t).
    """
    hit = np.zeros((len(best), len(thresholds)), bool)
    counted = np.ones_like(hit)
    order = np.argsort(-score, kind="stable")
    # Those that try one truth together, the highest score first: sorted once for all thresholds.
    order = order[best[order] >= 0]
    order = order[np.argsort(best[order], kind="stable")]
    for t, threshold in enumerate(thresholds):
        rows = order[overlap[order] >= threshold]
        passed = ignored[best[rows]]
        counted[rows[passed], t] = False
        rows = rows[~passed]
        hit[rows[np.flatnonzero(np.diff(best[rows], prepend=-1))], t] = True
    return hit, counted


def box_iou(a: Floats, b: Floats, *, inclusive: bool = False) -> Floats:
    """IoU of pairs of boxes.

    Args:
        a, b: shape (n, 4), x, y, width, height.
        inclusive: a side from x1 to x2 is x2 - x1 + 1 long (VOC).

    Returns:
        Shape (n,); 0 where both are empty.
    """
    extra = 1.0 if inclusive else 0.0
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    inner = np.prod(np.maximum(high - low + extra, 0), axis=1)
    union = np.prod(a[:, 2:] + extra, axis=1) + np.prod(b[:, 2:] + extra, axis=1) - inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)
