"""Detections of actions beside the truth, in frames and as tubes, and their average precision.

Two rules of matching are in use. ``argmax``: a detection tries only the truth of its class, in its
frame or video, that it overlaps most; where another one of higher score has it, it is wrong
(MultiSports, AVA). ``remaining``: it tries those that are not yet found (ACT and its successors).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError
from granum.metrics._detection.argmax import argmax_hits, pairs_of_groups
from granum.metrics._detection.judged import Judged, Style, average_precision
from granum.metrics._tubes.overlaps import Tubes, iou_of_columns, sides_of, tube_overlaps

__all__ = [
    "Boxes",
    "Matching",
    "best_truths",
    "frame_ap",
    "judged_frames",
    "judged_tubes",
    "suppressed",
    "video_ap",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

Matching = Literal["argmax", "remaining"]

_PAIRS = 1 << 18
"""Pairs of a detection and a truth that are held at a time."""


@dataclass(frozen=True)
class Boxes:
    """Boxes in frames.

    Attributes:
        unit: shape (n,), the video of each.
        frame: shape (n,), its frame; a number that no other video has.
        category: shape (n,), its class.
        box: shape (n, 4), x, y, width, height.
        score: shape (n,), of detections.
    """

    unit: Ints
    frame: Ints
    category: Ints
    box: Floats
    score: Floats

    def __len__(self) -> int:
        return len(self.unit)

    @cached_property
    def sides(self) -> Floats:
        """Shape (4, n), see :func:`sides_of`."""
        return sides_of(self.box)

    def take(self, chosen: Ints | Flags) -> Boxes:
        return Boxes(
            self.unit[chosen],
            self.frame[chosen],
            self.category[chosen],
            self.box[chosen],
            self.score[chosen],
        )


@dataclass(frozen=True)
class _Pairs:
    """Pairs of a detection and a truth that overlap enough to matter, by detection, then truth."""

    left: Ints
    right: Ints
    value: Floats


# ---------------------------------------------------------------------- of frames


def frame_ap(
    found: Boxes,
    true: Boxes,
    categories: int,
    threshold: float = 0.5,
    *,
    inclusive: bool = False,
    matching: Matching = "argmax",
    style: Style = "area",
) -> Floats:
    """Average precision of boxes, of each class over all frames of all videos.

    Args:
        found: detections; of equal scores the first one chooses first.
        true: the truth.
        categories: how many classes there are.
        threshold: a hit has at least this IoU.
        inclusive: a side from x1 to x2 is x2 - x1 + 1 long.
        matching: ``argmax`` or ``remaining``, see above.
        style: of the average precision.

    Returns:
        Shape (categories,); NaN of a class without truth, 0 of one without detections.
    """
    judged = judged_frames(found, true, (threshold,), inclusive=inclusive, matching=matching)
    return average_precision(judged, categories, style=style)[:, 0]


def judged_frames(
    found: Boxes,
    true: Boxes,
    thresholds: Sequence[float],
    *,
    inclusive: bool = False,
    matching: Matching = "argmax",
) -> Judged:
    """Which boxes hit; arguments as of :func:`frame_ap`. The truths of a video and class are one
    row."""

    def overlap(left: Ints, right: Ints) -> Floats:
        return iou_of_columns(found.sides, left, true.sides, right, float(inclusive))

    here, there = _alike(found.frame, found.category, true.frame, true.category)
    hit = _hits(here, there, overlap, found.score, thresholds, matching)
    return _judged(found.unit, found.category, found.score, hit, true.unit, true.category)


# ---------------------------------------------------------------------- of tubes


def video_ap(
    found: Tubes,
    true: Tubes,
    categories: int,
    thresholds: Sequence[float],
    *,
    inclusive: bool = False,
    inclusive_boxes: bool = False,
    matching: Matching = "argmax",
    style: Style = "area",
) -> Floats:
    """Average precision of tubes, of each class over all videos.

    Args:
        found: detections with scores; of equal scores the first one chooses first.
        true: the truth.
        categories: how many classes there are.
        thresholds: a hit overlaps at least that much.
        inclusive, inclusive_boxes: see :func:`tube_iou`.
        matching: ``argmax`` or ``remaining``, see above.
        style: of the average precision.

    Returns:
        Shape (categories, t); NaN of a class without truth, 0 of one without detections.
    """
    judged = judged_tubes(
        found,
        true,
        thresholds,
        inclusive=inclusive,
        inclusive_boxes=inclusive_boxes,
        matching=matching,
    )
    return average_precision(judged, categories, style=style)


def judged_tubes(
    found: Tubes,
    true: Tubes,
    thresholds: Sequence[float],
    *,
    inclusive: bool = False,
    inclusive_boxes: bool = False,
    matching: Matching = "argmax",
) -> Judged:
    """Which tubes hit; arguments as of :func:`video_ap`, units are the tubes' groups."""

    def overlap(left: Ints, right: Ints) -> Floats:
        space, time = tube_overlaps(
            found, true, left, right, inclusive=inclusive, inclusive_boxes=inclusive_boxes
        )
        return space * time

    here, there = _alike(found.group, found.category, true.group, true.category)
    hit = _hits(here, there, overlap, found.score, thresholds, matching)
    return _judged(found.group, found.category, found.score, hit, true.group, true.category)


def suppressed(
    found: Tubes, least: float, *, inclusive: bool = False, inclusive_boxes: bool = False
) -> Ints:
    """Which tubes are left where each one takes away those of its video and class that overlap it
    by more than ``least`` and have a lower score (of equal ones: come later).

    Returns:
        Their rows, ascending.
    """

    def overlap(left: Ints, right: Ints) -> Floats:
        value = np.zeros(len(left))
        later = np.flatnonzero(rank[left] > rank[right])
        space, time = tube_overlaps(
            found,
            found,
            left[later],
            right[later],
            inclusive=inclusive,
            inclusive_boxes=inclusive_boxes,
        )
        value[later] = space * time
        return value

    order = np.argsort(-found.score, kind="stable")
    rank = np.empty(len(found), np.int64)
    rank[order] = np.arange(len(found))
    group = _alike(found.group, found.category, found.group, found.category)[0]
    pairs = _close_pairs(group, group, overlap, np.nextafter(least, np.inf))
    kept = np.ones(len(found), bool)
    by_rank = np.argsort(rank[pairs.left], kind="stable")
    # A tube is settled once all above it are: pairs come in the order of the one that may go.
    for left, right in zip(
        pairs.left[by_rank].tolist(), pairs.right[by_rank].tolist(), strict=True
    ):
        if kept[right]:
            kept[left] = False
    return np.flatnonzero(kept)


# ---------------------------------------------------------------------- matching


def _alike(place: Ints, category: Ints, true_place: Ints, true_category: Ints) -> tuple[Ints, Ints]:
    """A number for each pair of a frame (or video) and a class, the same on both sides."""
    most = int(max(category.max(initial=0), true_category.max(initial=0))) + 1
    return place * most + category, true_place * most + true_category


def _hits(
    here: Ints,
    there: Ints,
    overlap: Callable[[Ints, Ints], Floats],
    score: Floats,
    thresholds: Sequence[float],
    matching: Matching,
) -> Flags:
    """Which detections hit, shape (n, t).

    Raises:
        UsageError: a threshold is not above 0, or there is no such rule.
    """
    if not thresholds or min(thresholds) <= 0:
        raise UsageError(f"thresholds of overlap must be above 0, not {list(thresholds)}")
    if matching == "remaining":
        pairs = _close_pairs(here, there, overlap, min(thresholds))
        return _remaining_hits(pairs, here, len(there), score, thresholds)
    if matching != "argmax":
        raise UsageError(f"matching is {matching!r}; it must be argmax or remaining")
    best, value = best_truths(here, there, overlap, min(thresholds))
    return argmax_hits(best, value, score, thresholds, np.zeros(len(there), bool))[0]


def best_truths(
    here: Ints, there: Ints, overlap: Callable[[Ints, Ints], Floats], least: float
) -> tuple[Ints, Floats]:
    """For each detection the truth of its group that it overlaps most, the first of equals.

    Args:
        here: shape (n,), the group of each detection.
        there: shape (m,), the group of each truth.
        overlap: of pairs, given the rows of detections and of truths; NaN is none.
        least: overlaps below are none.

    Returns:
        Shape (n,): the row of the truth and the overlap, -1 where there is none.
    """
    pairs = _close_pairs(here, there, overlap, least)
    best, value = np.full(len(here), -1), np.full(len(here), -1.0)
    rows = _first_best(pairs.left, pairs.value)
    best[pairs.left[rows]], value[pairs.left[rows]] = pairs.right[rows], pairs.value[rows]
    return best, value


def _close_pairs(
    here: Ints, there: Ints, overlap: Callable[[Ints, Ints], Floats], least: float
) -> _Pairs:
    """The pairs of one group whose overlap is at least ``least``."""
    names, sizes = np.unique(there, return_counts=True)
    at = np.minimum(np.searchsorted(names, here), max(len(names) - 1, 0))
    hopeful = np.flatnonzero(names[at] == here) if len(names) else np.empty(0, np.int64)
    ends = np.cumsum(sizes[at[hopeful]]) if len(hopeful) else np.empty(0, np.int64)
    pieces: list[tuple[Ints, Ints, Floats]] = []
    a = 0
    while a < len(hopeful):
        before = int(ends[a - 1]) if a else 0
        b = max(int(np.searchsorted(ends, before + _PAIRS, side="right")), a + 1)
        rows = hopeful[a:b]
        left, right = pairs_of_groups(here[rows], there)
        value = overlap(rows[left], right)
        with np.errstate(invalid="ignore"):
            near = value >= least  # not of NaN
        pieces.append((rows[left[near]], right[near], value[near]))
        a = b
    none = np.empty(0, np.int64)
    left, right = (np.concatenate([none, *(p[i] for p in pieces)]) for i in (0, 1))
    return _Pairs(left, right, np.concatenate([np.empty(0), *(p[2] for p in pieces)]))


def _first_best(left: Ints, value: Floats) -> Ints:
    """Of each detection's pairs, which lie together, the first of those that overlap most."""
    if not len(left):
        return np.empty(0, np.int64)
    begins = np.flatnonzero(np.diff(left, prepend=-1))
    counts = np.diff(begins, append=len(left))
    best = np.flatnonzero(value == np.repeat(np.maximum.reduceat(value, begins), counts))
    return best[np.flatnonzero(np.diff(left[best], prepend=-1))]


def _remaining_hits(
    pairs: _Pairs, here: Ints, truths: int, score: Floats, thresholds: Sequence[float]
) -> Flags:
    """Detections choose by score among the truths that are left. The highest ones of all groups
    choose at once, then the second ones: no two of them want the same truth."""
    hit = np.zeros((len(here), len(thresholds)), bool)
    for t, threshold in enumerate(thresholds):
        near = np.flatnonzero(pairs.value >= threshold)
        rank = np.full(len(here), -1)
        able = np.unique(pairs.left[near])
        rank[able] = _ranks(here[able], score[able])
        turn = rank[pairs.left[near]]
        order = np.argsort(turn, kind="stable")
        near = near[order]
        ends = np.searchsorted(turn[order], np.arange(int(turn.max(initial=-1)) + 2))
        taken = np.zeros(truths, bool)
        for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            free = near[a:b][~taken[pairs.right[near[a:b]]]]
            rows = free[_first_best(pairs.left[free], pairs.value[free])]
            hit[pairs.left[rows], t] = True
            taken[pairs.right[rows]] = True
    return hit


def _ranks(group: Ints, score: Floats) -> Ints:
    """The place of each row in its group by score, from 0; of equal scores in the order of rows."""
    order = np.lexsort((-score, group))
    begins = np.flatnonzero(np.diff(group[order], prepend=-1))
    counts = np.diff(begins, append=len(order))
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(begins, counts)
    return rank


def _judged(
    unit: Ints, category: Ints, score: Floats, hit: Flags, true_unit: Ints, true_category: Ints
) -> Judged:
    most = int(true_category.max(initial=0)) + 1
    code, count = np.unique(true_unit * most + true_category, return_counts=True)
    counted = np.ones_like(hit)
    return Judged(unit, category, score, hit, counted, code // most, code % most, count)
