"""HOTA, CLEAR and Identity of one sequence.

J. Luiten et al.: "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", IJCV 2020;
K. Bernardin, R. Stiefelhagen: "Evaluating Multiple Object Tracking Performance: The CLEAR MOT
Metrics", 2008; E. Ristani et al.: "Performance Measures and a Data Set for Multi-Target,
Multi-Camera Tracking", 2016. Numbers, rules for empty sequences and for ties are those of TrackEval
(JonathonLuiten/TrackEval 1.3.0, trackeval/metrics).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from granum.metrics._assignment import hungarian
from granum.metrics._mot.numbers import (
    ALPHAS,
    CLEAR_COUNTS,
    CLEAR_SCORES,
    Numbers,
    clear_scores,
    hota_scores,
    identity_scores,
)
from granum.metrics._mot.pairs import EPS, Tracked, assigned, contested, solved

__all__ = ["clear", "hota", "identity"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_CONTINUED = 1000
"""What CLEAR adds to the similarity of two tracks that were matched in the frame before."""


def hota(pairs: Tracked) -> Numbers:
    """HOTA and its parts at the thresholds ``ALPHAS``.

    One assignment per frame, which maximises similarity times the overlap of the tracks in time,
    serves all thresholds. Returns arrays (19,) by TrackEval's names, and the numbers at the lowest
    threshold. Without true or without predicted boxes LocA is 1 and the others are 0; so is LocA
    at a threshold that no match reaches.
    """
    n, m, n_alphas = len(pairs.truth_id), len(pairs.id), len(ALPHAS)
    counts = np.zeros(n_alphas, np.int64)
    out: Numbers = {"HOTA_TP": counts, "HOTA_FN": counts + n, "HOTA_FP": counts + m}
    out |= {name: np.zeros(n_alphas) for name in ("AssA", "AssRe", "AssPr")}
    out["LocA"] = np.ones(n_alphas)
    if not n or not m:
        return hota_scores(out)
    true, other, n_true, n_other = pairs.tracks
    mine, theirs = true[pairs.row], other[pairs.col]
    length, width = (np.bincount(t).astype(np.float64) for t in (true, other))

    code = mine * n_other + theirs
    together = np.bincount(code, _shared(pairs), minlength=n_true * n_other)
    alignment = together[code] / (length[mine] + width[theirs] - together[code])
    matched = assigned(pairs, alignment * pairs.similarity)

    similarity = pairs.similarity[matched]
    reached = similarity >= ALPHAS[:, None] - EPS
    out["HOTA_TP"] = reached.sum(axis=1)
    out["HOTA_FN"], out["HOTA_FP"] = n - out["HOTA_TP"], m - out["HOTA_TP"]
    frame = pairs.grid.of[matched]
    sums = [_summed(frame, np.where(r, similarity, 0.0)) for r in reached]
    out["LocA"] = np.maximum(1e-10, sums) / np.maximum(1e-10, out["HOTA_TP"])

    couples, at = np.unique(code[matched], return_inverse=True)
    lengths, widths = length[couples // n_other], width[couples % n_other]
    table = np.zeros(n_true * n_other)
    for a, r in enumerate(reached):
        times = np.bincount(at[r], minlength=len(couples)).astype(np.float64)
        shares = {"AssA": lengths + widths - times, "AssRe": lengths, "AssPr": widths}
        for name, total in shares.items():
            table[couples] = times * (times / np.maximum(1, total))
            # Zeros of couples that never match take part: they decide how the sum is rounded.
            out[name][a] = table.sum() / np.maximum(1, out["HOTA_TP"][a])
    return hota_scores(out)


def _shared(pairs: Tracked) -> Floats:
    """How much of what its two boxes are similar to each pair is: shape (k,)."""
    row, col, value = pairs.row, pairs.col, pairs.similarity
    rows = np.bincount(row, value, minlength=len(pairs.truth_id))
    cols = np.bincount(col, value, minlength=len(pairs.id))
    # Sums of two numbers have no order; of more they are those of whole matrices.
    many = [np.bincount(i, minlength=len(s)) > 2 for i, s in ((row, rows), (col, cols))]
    grid = pairs.grid
    hard = np.bincount(grid.of[many[0][row] | many[1][col]], minlength=len(grid.frame))
    first_row, first_col = grid.first_row.tolist(), grid.first_col.tolist()
    for f in np.flatnonzero(hard).tolist():
        begin, end, n, m, base = grid.plan[f]
        flat = np.zeros(n * m)
        flat[grid.cell[begin:end] - base] = value[begin:end]
        matrix = flat.reshape(n, m)
        i, j = first_row[f], first_col[f]
        np.add.reduce(matrix, 1, out=rows[i : i + n])
        np.add.reduce(matrix, 0, out=cols[j : j + m])
    union = cols[col] + rows[row] - value
    return np.divide(value, union, out=np.zeros_like(value), where=union > EPS)


def _summed(frame: Ints, values: Floats) -> float:
    """The sum of sums of frames, in their order."""
    sums = np.bincount(frame, values)
    return float(np.cumsum(sums)[-1]) if len(sums) else 0.0


def clear(pairs: Tracked, threshold: float = 0.5, *, corrected: bool = False) -> Numbers:
    """CLEAR MOT: matches prefer the track of the frame before, then similarity.

    Args:
        pairs: of a sequence.
        threshold: similarity from which boxes can match.
        corrected: TrackEval passes over frames without true or without predicted boxes, so that
            the frame before is the last that had both, and counts no frames of a sequence in which
            one side has no box; here the frame before is what it says and all frames count.

    Returns:
        Numbers by TrackEval's names. Without true or without predicted boxes all but the counts
        and MLR, which is 1, are 0, unless ``corrected``.
    """
    n, m = len(pairs.truth_id), len(pairs.id)
    true, other, n_true, _ = pairs.tracks
    out: dict[str, Any] = dict.fromkeys(CLEAR_COUNTS, 0)
    out |= {"CLR_FN": n, "CLR_FP": m, "CLR_Frames": pairs.frames if corrected else 0}
    out |= {"ML": n_true, "MOTP_sum": 0.0}
    if not n or not m:
        scores = clear_scores(_arrays(out))
        unmatched = {name: np.zeros(()) for name in CLEAR_SCORES} | {"MLR": np.ones(())}
        return scores if corrected else scores | unmatched
    matched = _continued(pairs, threshold, corrected)
    track, to = true[pairs.row[matched]], other[pairs.col[matched]]
    order = np.argsort(track, kind="stable")
    track, to = track[order], to[order]
    step = _steps(pairs, corrected)[pairs.grid.of[matched[order]]]
    again = track[1:] == track[:-1]
    ratio = np.bincount(track, minlength=n_true) / np.bincount(true)
    out["CLR_TP"], out["CLR_Frames"] = len(matched), pairs.frames
    out["CLR_FN"], out["CLR_FP"] = n - len(matched), m - len(matched)
    out["IDSW"] = int((again & (to[1:] != to[:-1])).sum())
    out["Frag"] = int((again & (step[1:] != step[:-1] + 1)).sum())
    out["MT"] = int((ratio > 0.8).sum())
    out["PT"] = int((ratio >= 0.2).sum()) - out["MT"]
    out["ML"] = n_true - out["MT"] - out["PT"]
    out["MOTP_sum"] = _summed(pairs.grid.of[matched], pairs.similarity[matched])
    return clear_scores(_arrays(out))


def _arrays(values: dict[str, Any]) -> Numbers:
    return {name: np.asarray(value) for name, value in values.items()}


def _steps(pairs: Tracked, corrected: bool) -> Ints:
    """Of each matrix a number that is one higher than that of the frame before it."""
    return pairs.grid.frame if corrected else np.arange(len(pairs.grid.frame))


def _continued(pairs: Tracked, threshold: float, corrected: bool) -> Ints:
    """The pairs that CLEAR matches, ascending."""
    true, other, n_true, _ = pairs.tracks
    grid, step = pairs.grid, _steps(pairs, corrected)
    mine, theirs = true[pairs.row], other[pairs.col]
    near = (pairs.similarity >= threshold - EPS) & (pairs.similarity > EPS)
    score = np.where(near, pairs.similarity, 0.0)
    busy = contested(pairs, near)
    matched = near & ~busy[grid.of]
    before = np.full(n_true, -1)
    for f in np.flatnonzero(busy).tolist():
        begin, end, *_ = grid.plan[f]
        if f and step[f - 1] + 1 == step[f]:
            first = grid.plan[f - 1][0]
            last = matched[first:begin]
            tracks = mine[first:begin][last]
            before[tracks] = theirs[first:begin][last]
            same = (before[mine[begin:end]] == theirs[begin:end]) & near[begin:end]
            score[begin:end] += _CONTINUED * same
            before[tracks] = -1
        matched[grid.cell.searchsorted(solved(grid, score, f))] = True
    return np.flatnonzero(matched)


def identity(pairs: Tracked, threshold: float = 0.5) -> Numbers:
    """IDF1, IDR, IDP and their counts: each true track is matched to at most one predicted track,
    so that most boxes agree, which are those whose similarity reaches ``threshold``.

    Without true or without predicted boxes nothing is matched.
    """
    n, m, found = len(pairs.truth_id), len(pairs.id), 0
    near = pairs.similarity >= threshold
    if near.any():
        true, other, n_true, n_other = pairs.tracks
        code = true[pairs.row[near]] * n_other + other[pairs.col[near]]
        together = np.bincount(code, minlength=n_true * n_other).reshape(n_true, n_other)
        i, j = hungarian()(together, maximize=True)
        found = int(together[i, j].sum())
    return identity_scores(_arrays({"IDTP": found, "IDFN": n - found, "IDFP": m - found}))
