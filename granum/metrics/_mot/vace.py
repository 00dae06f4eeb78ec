"""VACE's sequence frame detection accuracy and average tracking accuracy of one sequence.

V. Manohar et al.: "Performance Evaluation of Object Detection and Tracking in Video", ACCV 2006,
with a threshold of similarity for tracks, as TrackEval has them (JonathonLuiten/TrackEval 1.3.0,
trackeval/metrics/vace.py).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from granum.metrics._mot.numbers import Numbers, vace_scores
from granum.metrics._mot.pairs import Tracked, assigned

__all__ = ["vace"]

Ints = npt.NDArray[np.int64]


def vace(pairs: Tracked, threshold: float = 0.5) -> Numbers:
    """ATA and SFDA, and what they are made of.

    STDA is the sum over assigned tracks of how many frames they are similar in (from
    ``threshold`` on) of those that either is in; ATA its share of the mean number of tracks. FDA is
    the sum over frames of the assigned boxes' similarity, of the mean number of boxes; SFDA its
    mean over frames that have a box.

    Returns:
        Numbers by TrackEval's names; ATA and SFDA are NaN where nothing is there. FDA may differ in
        the last bits: boxes that are not similar at all take no part in its sums.
    """
    _, _, n_true, n_other = pairs.tracks
    matched = assigned(pairs, pairs.similarity)
    grid = pairs.grid
    sums = np.bincount(grid.of[matched], pairs.similarity[matched], minlength=len(grid.frame))
    out = {
        "STDA": np.asarray(_similar_in_time(pairs, threshold)),
        "FDA": np.asarray((sums / (0.5 * (grid.rows + grid.cols))).sum()),
        "VACE_IDs": np.asarray(n_other),
        "VACE_GT_IDs": np.asarray(n_true),
        "num_non_empty_timesteps": np.asarray(len(np.union1d(pairs.truth_frame, pairs.frame))),
    }
    return vace_scores(out)


def _similar_in_time(pairs: Tracked, threshold: float) -> float:
    """The highest sum of the tracks' overlaps in time."""
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import csr_array

    near = pairs.similarity >= threshold
    if not near.any():
        return 0.0
    true, other, n_true, n_other = pairs.tracks
    code = true[pairs.row[near]] * n_other + other[pairs.col[near]]
    together = np.bincount(code, minlength=n_true * n_other).reshape(n_true, n_other)

    def presence(track: Ints, frame: Ints, n: int) -> csr_array:
        ones = np.ones(len(track), np.int64)
        return csr_array((ones, (track, frame)), shape=(n, frames))

    frames = int(max(pairs.truth_frame[-1], pairs.frame[-1])) + 1
    mine, theirs = presence(true, pairs.truth_frame, n_true), presence(other, pairs.frame, n_other)
    either = np.bincount(true)[:, None] + np.bincount(other) - (mine @ theirs.T).toarray()
    overlap = together / either
    i, j = linear_sum_assignment(overlap, maximize=True)
    return float(overlap[i, j].sum())
