"""Tubes as flat arrays, and how much two of them overlap in space and time.

A tube is the boxes of one instance in frames that follow one another. Its overlap with another is
the mean IoU of the boxes in the frames that both have, times the temporal IoU of the two spans
(G. Gkioxari, J. Malik: Finding Action Tubes, CVPR 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError

__all__ = [
    "Tubes",
    "iou_of_columns",
    "joined_tubes",
    "sides_of",
    "tube_iou",
    "tube_overlaps",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_BOXES = 1 << 16
"""Pairs of boxes that are compared at a time: what stays in the cache of a processor."""


@dataclass(frozen=True)
class Tubes:
    """Tubes, one behind another.

    Attributes:
        group: shape (n,), the video of each tube.
        category: shape (n,), its class.
        begin: shape (n + 1,), where the rows of each begin, and where the last ends; no tube is
            without a row.
        frame: shape (rows,), the frame of each row; ascending within a tube, none twice.
        box: shape (rows, 4), x, y, width, height.
        score: shape (n,), of detected tubes.
    """

    group: Ints
    category: Ints
    begin: Ints
    frame: Ints
    box: Floats
    score: Floats

    def __len__(self) -> int:
        return len(self.group)

    @classmethod
    def of(
        cls,
        group: npt.ArrayLike,
        category: npt.ArrayLike,
        arrays: Sequence[npt.ArrayLike],
        score: npt.ArrayLike | None = None,
    ) -> Tubes:
        """From one array a tube, of shape (frames, 5): frame, x, y, width, height.

        Raises:
            UsageError: an array of another shape or without a row, or a frame twice in it.
        """
        rows = [np.asarray(a, np.float64) for a in arrays]
        if any(a.ndim != 2 or a.shape[1] != 5 or not len(a) for a in rows):
            raise UsageError("a tube is an array of shape (frames, 5) with at least one frame")
        rows = [a[np.argsort(a[:, 0], kind="stable")] for a in rows]
        if any((np.diff(a[:, 0]) <= 0).any() for a in rows):
            raise UsageError("a tube has a frame twice")
        flat = np.concatenate([np.empty((0, 5)), *rows])
        begin = np.concatenate([[0], np.cumsum([len(a) for a in rows])]).astype(np.int64)
        n = len(rows)
        return cls(
            np.asarray(group, np.int64).reshape(n),
            np.asarray(category, np.int64).reshape(n),
            begin,
            flat[:, 0].astype(np.int64),
            flat[:, 1:],
            np.zeros(n) if score is None else np.asarray(score, np.float64).reshape(n),
        )

    def take(self, chosen: Ints) -> Tubes:
        """Some of them, in the order given."""
        counts = np.diff(self.begin)[chosen]
        begin = np.concatenate([[0], np.cumsum(counts)])
        at = np.arange(begin[-1]) + np.repeat(self.begin[:-1][chosen] - begin[:-1], counts)
        return Tubes(
            self.group[chosen],
            self.category[chosen],
            begin,
            self.frame[at],
            self.box[at],
            self.score[chosen],
        )

    @cached_property
    def first(self) -> Ints:
        """Shape (n,), the first frame of each."""
        return self.frame[self.begin[:-1]]

    @cached_property
    def last(self) -> Ints:
        """Shape (n,), the last frame of each."""
        return self.frame[self.begin[1:] - 1]

    @cached_property
    def gapped(self) -> Flags:
        """Shape (n,), whether frames between the first and the last are missing."""
        return np.asarray(self.last - self.first + 1 != np.diff(self.begin))

    @cached_property
    def sides(self) -> Floats:
        """Shape (4, rows), see :func:`sides_of`."""
        return sides_of(self.box)

    @cached_property
    def owner(self) -> Ints:
        """Shape (rows,), the tube of each row."""
        return np.repeat(np.arange(len(self)), np.diff(self.begin))


def joined_tubes(*pieces: Tubes) -> Tubes:
    """Those of all pieces, one after another."""
    names = ("group", "category", "frame", "box", "score")
    columns = {name: np.concatenate([getattr(p, name) for p in pieces]) for name in names}
    lengths = np.concatenate([np.diff(p.begin) for p in pieces])
    return Tubes(**columns, begin=np.concatenate([[0], np.cumsum(lengths)]))


def tube_iou(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    inclusive: bool = False,
    inclusive_boxes: bool = False,
) -> float:
    """The overlap of two tubes.

    Args:
        a, b: shape (frames, 5): frame, x, y, width, height.
        inclusive: frames 3 to 5 are three long, not two.
        inclusive_boxes: a side from x1 to x2 is x2 - x1 + 1 long.

    Returns:
        0 where no frame is in both, and, unless ``inclusive``, where just one is; NaN (0 / 0) of
        two tubes of one frame, the same, unless ``inclusive``.

    Raises:
        UsageError: see :meth:`Tubes.of`.
    """
    one, other = (Tubes.of([0], [0], [t]) for t in (a, b))
    zero = np.zeros(1, np.int64)
    space, time = tube_overlaps(
        one, other, zero, zero, inclusive=inclusive, inclusive_boxes=inclusive_boxes
    )
    return float(space[0] * time[0])


def tube_overlaps(
    found: Tubes,
    true: Tubes,
    left: Ints,
    right: Ints,
    *,
    inclusive: bool = False,
    inclusive_boxes: bool = False,
) -> tuple[Floats, Floats]:
    """Overlaps of pairs of tubes in space and in time; their product is that of :func:`tube_iou`.

    Args:
        found, true: the tubes.
        left, right: shape (pairs,), rows of the one and of the other.
        inclusive, inclusive_boxes: as there.

    Returns:
        Shape (pairs,) each. In space: the mean IoU of the frames that both have, 0 where there is
        none, or where the overlap in time is 0. In time: shared length over joint length, NaN of
        two tubes of the same one frame unless ``inclusive``.
    """
    extra = int(inclusive)
    low = np.maximum(found.first[left], true.first[right])
    high = np.minimum(found.last[left], true.last[right])
    shared = np.maximum(high - low + extra, 0)
    joint = np.maximum(found.last[left], true.last[right]) + extra
    joint = joint - np.minimum(found.first[left], true.first[right])
    with np.errstate(invalid="ignore"):
        time = shared / joint
    space = np.zeros(len(left))
    gaps = found.gapped[left] | true.gapped[right]
    for rows, overlap in (
        (np.flatnonzero((shared > 0) & ~gaps), _whole),
        (np.flatnonzero((shared > 0) & gaps), _broken),
    ):
        if len(rows):
            some = left[rows], right[rows], low[rows], high[rows]
            space[rows] = overlap(found, true, *some, float(inclusive_boxes))
    return space, time


def _whole(
    found: Tubes, true: Tubes, left: Ints, right: Ints, low: Ints, high: Ints, extra: float
) -> Floats:
    """Mean IoU of pairs of tubes without gaps: their rows are found by counting."""
    counts = high - low + 1
    ends = np.cumsum(counts)
    begins = ends - counts
    here = found.begin[left] + low - found.first[left] - begins
    there = true.begin[right] + low - true.first[right] - begins
    out = np.empty(len(left))
    a = 0
    while a < len(left):
        b = max(int(np.searchsorted(ends, begins[a] + _BOXES, side="right")), a + 1)
        rows = np.arange(begins[a], ends[b - 1])
        n = counts[a:b]
        iou = iou_of_columns(
            found.sides,
            rows + np.repeat(here[a:b], n),
            true.sides,
            rows + np.repeat(there[a:b], n),
            extra,
        )
        out[a:b] = np.add.reduceat(iou, begins[a:b] - begins[a]) / n
        a = b
    return out


def _broken(
    found: Tubes, true: Tubes, left: Ints, right: Ints, low: Ints, high: Ints, extra: float
) -> Floats:
    """The same where a tube lacks frames: those that both have are looked up."""
    frames = np.unique(np.concatenate([found.frame, true.frame]))
    known = true.owner * len(frames) + np.searchsorted(frames, true.frame)
    wide = np.diff(found.begin)
    out = np.empty(len(left))
    step = max(_BOXES // int(wide[left].max()), 1)
    for a in range(0, len(left), step):
        some, other = left[a : a + step], right[a : a + step]
        n = wide[some]
        begins = np.cumsum(n) - n
        row = np.arange(n.sum()) + np.repeat(found.begin[some] - begins, n)
        wanted = np.repeat(other, n) * len(frames) + np.searchsorted(frames, found.frame[row])
        at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        both = known[at] == wanted
        iou = np.zeros(len(row))
        iou[both] = iou_of_columns(found.sides, row[both], true.sides, at[both], extra)
        total, shared = np.add.reduceat(iou, begins), np.add.reduceat(both.astype(np.int64), begins)
        out[a : a + step] = total / np.maximum(shared, 1)
    return out


def sides_of(box: Floats) -> Floats:
    """Left, top, right and bottom of boxes of shape (n, 4), as rows of shape (4, n): each in one
    piece of memory, where boxes are looked up."""
    out = np.empty((4, len(box)))
    out[:2] = box[:, :2].T
    out[2:] = out[:2] + box[:, 2:].T
    return out


def iou_of_columns(a: Floats, i: Ints, b: Floats, j: Ints, extra: float) -> Floats:
    """IoU of columns ``i`` of ``a`` and ``j`` of ``b``: left, top, right, bottom; 0 of two that
    are empty."""
    ax, ay, au, av = (side.take(i) for side in a)
    bx, by, bu, bv = (side.take(j) for side in b)
    area = (au - ax + extra) * (av - ay + extra)
    area += (bu - bx + extra) * (bv - by + extra)
    np.minimum(au, bu, out=au)
    np.minimum(av, bv, out=av)
    au -= np.maximum(ax, bx, out=ax)
    av -= np.maximum(ay, by, out=ay)
    inner = np.maximum(au + extra, 0.0)
    inner *= np.maximum(av + extra, 0.0)
    area -= inner
    return np.divide(inner, area, out=np.zeros_like(inner), where=area > 0)
