"""Boxes of tracks beside each other, frame by frame: overlaps, assignments, and what MOTChallenge
leaves out before anything is counted.

The rules are those of TrackEval (JonathonLuiten/TrackEval, trackeval/datasets): overlaps are
computed with the same operations in the same order, so that they have the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError
from granum.metrics._assignment import hungarian

__all__ = ["EPS", "Tracked", "assigned", "overlaps", "tracked", "tracked_from_similarities"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

EPS = float(np.finfo(float).eps)
"""What TrackEval allows below a threshold."""

_CELLS = 1 << 17
"""Pairs whose overlaps are computed at a time: what stays in the cache of a processor."""


@dataclass(frozen=True)
class Tracked:
    """The boxes of one sequence, and which of them overlap.

    Attributes:
        frames: how many frames the sequence has.
        truth_frame: shape (n,), of each true box, ascending.
        truth_id: shape (n,), its track.
        frame: shape (m,), of each predicted box, ascending.
        id: shape (m,), its track.
        row: shape (k,), a true box,
        col: shape (k,), and a predicted box of the same frame,
        similarity: shape (k,), that are similar: above 0. Pairs are in the order of ``row``, then
            of ``col``.
    """

    frames: int
    truth_frame: Ints
    truth_id: Ints
    frame: Ints
    id: Ints
    row: Ints
    col: Ints
    similarity: Floats

    def kept(self, truth: Flags, predictions: Flags) -> Tracked:
        """Without the other boxes; ``truth`` has shape (n,), ``predictions`` (m,)."""
        if truth.all() and predictions.all():
            return self
        pairs = truth[self.row] & predictions[self.col]
        rows, cols = np.cumsum(truth) - 1, np.cumsum(predictions) - 1
        return Tracked(
            self.frames,
            self.truth_frame[truth],
            self.truth_id[truth],
            self.frame[predictions],
            self.id[predictions],
            rows[self.row[pairs]],
            cols[self.col[pairs]],
            self.similarity[pairs],
        )

    @cached_property
    def tracks(self) -> tuple[Ints, Ints, int, int]:
        """The tracks of true and of predicted boxes, counted from 0 in the order of their ids, and
        how many there are of each."""
        true, mine = np.unique(self.truth_id, return_inverse=True)
        predicted, other = np.unique(self.id, return_inverse=True)
        return np.ravel(mine), np.ravel(other), len(true), len(predicted)

    @cached_property
    def grid(self) -> Grid:
        """Where the pairs are in the matrices of their frames."""
        first_row, rows, first_col, cols, frame = _spans(self.truth_frame, self.frame)
        base = np.concatenate([[0], np.cumsum(rows * cols)])
        at = np.searchsorted(frame, self.truth_frame[self.row])
        cell = base[at] + (self.row - first_row[at]) * cols[at] + self.col - first_col[at]
        starts = np.searchsorted(at, np.arange(len(frame) + 1))
        return Grid(frame, first_row, rows, first_col, cols, base, at, cell, starts)


@dataclass(frozen=True)
class Grid:
    """The matrices (true boxes, predicted boxes) of the frames that have both, one behind another.

    Attributes:
        frame: shape (f,), the frames, ascending.
        first_row, rows, first_col, cols: shape (f,), where the boxes of each begin, and how many.
        base: shape (f + 1,), where each matrix begins.
        of: shape (k,), which of them each pair is in.
        cell: shape (k,), its place in all matrices, ascending.
        pairs: shape (f + 1,), where the pairs of each matrix begin.
    """

    frame: Ints
    first_row: Ints
    rows: Ints
    first_col: Ints
    cols: Ints
    base: Ints
    of: Ints
    cell: Ints
    pairs: Ints

    @cached_property
    def plan(self) -> list[tuple[int, int, int, int, int]]:
        """Of each matrix: first and last pair, rows, columns, place of the first cell."""
        parts = (self.pairs[:-1], self.pairs[1:], self.rows, self.cols, self.base[:-1])
        return list(zip(*(p.tolist() for p in parts), strict=True))


def _spans(truth_frame: Ints, frame: Ints) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Of the frames that are in both: first row and rows of each side, and the frames."""
    mine, first_row, rows = np.unique(truth_frame, return_index=True, return_counts=True)
    other, first_col, cols = np.unique(frame, return_index=True, return_counts=True)
    shared, a, b = np.intersect1d(mine, other, assume_unique=True, return_indices=True)
    return first_row[a], rows[a], first_col[b], cols[b], shared


def tracked(
    truth: tuple[Ints, Ints, Floats], predictions: tuple[Ints, Ints, Floats], frames: int
) -> Tracked:
    """A sequence of flat arrays.

    Args:
        truth: frame (n,), track (n,), and box (n, 4) as x, y, width, height.
        predictions: the same of the predictions.
        frames: how many frames the sequence has.

    Boxes of a frame keep their order; it decides ties, as in TrackEval.

    Raises:
        UsageError: a track is twice in one frame.
    """
    (true_frame, true_id, true_box), (frame, id_, box) = (_sorted(*s) for s in (truth, predictions))
    row, col, similarity = overlaps(true_frame, true_box, frame, box)
    return Tracked(frames, true_frame, true_id, frame, id_, row, col, similarity)


def _sorted(frame: Ints, id_: Ints, box: Floats) -> tuple[Ints, Ints, Floats]:
    frame, id_ = np.asarray(frame, np.int64), np.asarray(id_, np.int64)
    box = np.asarray(box, np.float64).reshape(-1, 4)
    if len(frame) and (frame[1:] < frame[:-1]).any():
        order = np.argsort(frame, kind="stable")
        frame, id_, box = frame[order], id_[order], box[order]
    _distinct(frame, id_)
    return frame, id_, box


def _distinct(frame: Ints, id_: Ints) -> None:
    order = np.lexsort((id_, frame))
    same = (np.diff(frame[order]) == 0) & (np.diff(id_[order]) == 0)
    if same.any():
        at = order[np.flatnonzero(same)[0]]
        raise UsageError(f"track {id_[at]} is twice in frame {frame[at]}")


def tracked_from_similarities(
    truth_ids: Sequence[Ints], ids: Sequence[Ints], similarities: Sequence[Floats]
) -> Tracked:
    """A sequence of which the tracks of each frame and their similarities are known.

    Args:
        truth_ids: for each frame its true tracks, shape (n,).
        ids: for each frame its predicted tracks, shape (m,).
        similarities: for each frame a matrix (n, m) from 0 to 1.

    Raises:
        UsageError: a track is twice in one frame, or a matrix has another shape.
    """
    sides = []
    for listed in (truth_ids, ids):
        sizes = [len(i) for i in listed]
        flat = np.concatenate([np.empty(0, np.int64), *listed]).astype(np.int64)
        sides.append((np.repeat(np.arange(len(sizes)), sizes), flat, np.cumsum([0, *sizes])))
        _distinct(*sides[-1][:2])
    (true_frame, true_id, first_row), (frame, id_, first_col) = sides
    rows, cols, values = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
    for t, matrix in enumerate(similarities):
        if matrix.shape != (len(truth_ids[t]), len(ids[t])):
            raise UsageError(f"frame {t}: similarities of shape {matrix.shape}")
        i, j = np.nonzero(matrix > 0)
        rows.append(i + first_row[t])
        cols.append(j + first_col[t])
        values.append(matrix[i, j].astype(np.float64))
    pairs = (np.concatenate(rows), np.concatenate(cols), np.concatenate(values))
    return Tracked(len(truth_ids), true_frame, true_id, frame, id_, *pairs)


def overlaps(
    truth_frame: Ints, truth_box: Floats, frame: Ints, box: Floats
) -> tuple[Ints, Ints, Floats]:
    """Which boxes of the same frame overlap.

    Args:
        truth_frame: shape (n,), ascending.
        truth_box: shape (n, 4) as x, y, width, height.
        frame: shape (m,), ascending.
        box: shape (m, 4).

    Returns:
        Row of the true box, row of the predicted one, intersection over union (above 0); in the
        order of the rows. Boxes without an area overlap nothing.
    """
    first_row, rows, first_col, cols, _ = _spans(truth_frame, frame)
    mine, other = _corners(truth_box), _corners(box)
    i, j = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    begin = 0
    while begin < len(rows):
        end = _block(rows, cols, begin)
        row = _padded(first_row[begin:end], rows[begin:end])
        col = _padded(first_col[begin:end], cols[begin:end])
        a, b = mine[:, row, None], other[:, col][:, :, None]
        # Few boxes share columns of pixels; whether they share rows as well the rest tells.
        t, r, c = np.nonzero((a[2] > b[0]) & (b[2] > a[0]))
        real = (r < rows[begin:end][t]) & (c < cols[begin:end][t])
        t, r, c = t[real], r[real], c[real]
        i.append(row[t, r])
        j.append(col[t, c])
        begin = end
    row, col = np.concatenate(i), np.concatenate(j)
    iou = _iou(mine[:, row], other[:, col])
    some = iou > 0
    return row[some], col[some], iou[some]


def _corners(box: Floats) -> Floats:
    """Left, top, right, bottom: shape (4, boxes)."""
    x, y, w, h = box.T
    return np.stack([x, y, x + w, y + h])


def _block(rows: Ints, cols: Ints, begin: int) -> int:
    """Where frames from ``begin`` on have filled a block of padded matrices."""
    ahead = slice(begin, begin + _CELLS)
    most = np.maximum.accumulate(rows[ahead]) * np.maximum.accumulate(cols[ahead])
    cells = most * np.arange(1, len(most) + 1)
    return begin + max(int(np.searchsorted(cells, _CELLS, side="right")), 1)


def _padded(first: Ints, counts: Ints) -> Ints:
    """Boxes of some frames, one frame a row; the last of a frame fills its row up."""
    at = np.minimum(np.arange(counts.max()), counts[:, None] - 1)
    return np.asarray(first[:, None] + at, np.int64)


def _iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of corners, shape (4, k) each; as ``_calculate_box_ious``."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    sides = np.maximum(high - low, 0)
    both = sides[0] * sides[1]
    one, two = ((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    union = one + two - both
    sound = (one > EPS) & (two > EPS) & (union > EPS)
    return np.divide(both, union, out=np.zeros_like(both), where=sound)


def assigned(pairs: Tracked, score: Floats, frames: Flags | None = None) -> Ints:
    """The pairs of an assignment within each frame that has the highest sum of scores.

    Args:
        pairs: of a sequence.
        score: shape (k,), of each pair; one of 0 is none.
        frames: shape (f,), the matrices of ``pairs.grid`` that are wanted; all where not given.

    Returns:
        Numbers of pairs, ascending. Ties are decided as by scipy's ``linear_sum_assignment`` of
        the frame's whole matrix, which runs where a box has several pairs with a score.
    """
    grid, some = pairs.grid, score > 0
    busy = contested(pairs, some)
    if frames is not None:
        some, busy = some & frames[grid.of], busy & frames
    cells = [np.empty(0, np.int64)]
    cells += [solved(grid, score, f) for f in np.flatnonzero(busy).tolist()]
    hard = grid.cell.searchsorted(np.concatenate(cells))
    return np.sort(np.concatenate([np.flatnonzero(some & ~busy[grid.of]), hard]))


def contested(pairs: Tracked, some: Flags) -> Flags:
    """Matrices in which a box has several pairs of ``some`` (k,): shape (f,)."""
    rows = np.bincount(pairs.row[some], minlength=len(pairs.truth_id))
    cols = np.bincount(pairs.col[some], minlength=len(pairs.id))
    hard = some & ((rows[pairs.row] > 1) | (cols[pairs.col] > 1))
    return np.bincount(pairs.grid.of[hard], minlength=len(pairs.grid.frame)) > 0


def solved(grid: Grid, score: Floats, number: int) -> Ints:
    """The cells of the pairs that are assigned in one matrix, of those with a score."""
    begin, end, rows, cols, base = grid.plan[number]
    cost = np.zeros(rows * cols)
    cost[grid.cell[begin:end] - base] = -score[begin:end]
    i, j = hungarian()(cost.reshape(rows, cols))
    cells = i * cols + j
    return np.asarray(cells[cost[cells] < 0] + base)
