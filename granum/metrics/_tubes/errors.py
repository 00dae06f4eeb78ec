"""Why detected tubes are wrong: the error split of MultiSports' script (videoAP_error)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.metrics._detection.argmax import argmax_hits
from granum.metrics._detection.judged import Judged
from granum.metrics._tubes.frame_ap import best_truths
from granum.metrics._tubes.overlaps import Tubes, tube_overlaps

__all__ = ["KINDS", "error_kinds", "error_table"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

KINDS = (
    *("right", "repeated", "extra", "location", "class", "time", "class_time"),
    *("class_location", "time_location", "class_time_location"),
)
"""What a detected tube may be."""


def error_kinds(
    found: Tubes, true: Tubes, threshold: float = 0.5, *, inclusive: bool = False
) -> Ints:
    """What each detected tube is: a position in ``KINDS``.

    Of its own class it tries the truth of its video that it overlaps most: where that reaches the
    threshold it is ``right``, or ``repeated`` where one of higher score has it. Else the truth of
    any class that it overlaps most decides. None: ``extra``. At least by the threshold: ``class``.
    Less: with the temporal IoU, or the mean IoU of the shared frames, at least the root of the
    threshold, only ``location``, or only ``time``, is wrong, else ``time_location``; and ``class``
    as well where that is another.

    Args:
        found: with scores.
        true: of all classes, also of those that are not scored.
        threshold: of the overlap.
        inclusive: see :func:`tube_iou`.
    """

    def overlap(left: Ints, right: Ints) -> Floats:
        space, time = tube_overlaps(found, true, left, right, inclusive=inclusive)
        return space * time

    most = int(max(found.category.max(initial=0), true.category.max(initial=0))) + 1
    here, there = found.group * most + found.category, true.group * most + true.category
    best, value = best_truths(here, there, overlap, threshold)
    hit = argmax_hits(best, value, found.score, (threshold,), np.zeros(len(true), bool))[0][:, 0]
    kind = np.where(hit, KINDS.index("right"), KINDS.index("repeated"))
    rest = np.flatnonzero(best < 0)

    def of_rest(left: Ints, right: Ints) -> Floats:
        return overlap(rest[left], right)

    best, value = best_truths(found.group[rest], true.group, of_rest, float(np.nextafter(0, 1)))
    kind[rest] = KINDS.index("extra")
    some = np.flatnonzero(best >= 0)
    rows, at, value = rest[some], best[some], value[some]
    space, time = tube_overlaps(found, true, rows, at, inclusive=inclusive)
    root = math.sqrt(threshold)
    own = found.category[rows] == true.category[at]
    timed, placed = time >= root, space >= root
    named = {
        "location": own & timed,
        "time": own & ~timed & placed,
        "time_location": own & ~timed & ~placed,
        "class_location": ~own & timed,
        "class_time": ~own & ~timed & placed,
        "class_time_location": ~own & ~timed & ~placed,
        "class": value >= threshold,  # of another class: of its own it were right
    }
    for name, where in named.items():
        kind[rows[where]] = KINDS.index(name)
    return kind.astype(np.int64)


def error_table(judged: Judged, kinds: Ints, scored: Flags, names: Sequence[str]) -> pa.Table:
    """The share of each kind under the curve: as AP sums precision over recall, this sums the share
    that errors of the kind have among the detections up to each one; ``right`` is AP.

    Args:
        judged: tubes of all videos.
        kinds: shape (n,), of each, see :func:`error_kinds`.
        scored: shape (categories,).
        names: of the categories.

    Returns:
        ``category``, a column for each of ``KINDS``, and ``missed``: the share of truths that
        nothing found. A row for each scored class that has truth.
    """
    truths = judged.truths(len(names))
    classes = np.flatnonzero(scored & (truths > 0))
    out = np.zeros((len(classes), len(KINDS) + 1))
    for i, category in enumerate(classes.tolist()):
        rows = np.flatnonzero(judged.category == category)
        rows = rows[np.argsort(-judged.score[rows], kind="stable")]
        counts = np.cumsum(kinds[rows][:, None] == np.arange(len(KINDS)), axis=0)
        recall = counts[:, 0] / truths[category]
        share = counts / np.arange(1, len(rows) + 1)[:, None]
        highest = np.maximum.accumulate(share[::-1], axis=0)[::-1]
        out[i, :-1] = (np.diff(recall, prepend=0.0)[:, None] * highest).sum(axis=0)
        out[i, -1] = 1 - (recall[-1] if len(rows) else 0)
    columns = dict(zip((*KINDS, "missed"), out.T, strict=True))
    named = pa.array([names[i] for i in classes.tolist()], pa.string())
    return pa.table({"category": named, **columns})
