"""Pairs of pixel retrieval: the IoU of each, then the numbers of each query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError
from granum.metrics._retrieval.pixel_overlaps import Overlap, Shape, exact_overlap, official_overlap
from granum.metrics._retrieval.ranked import average_precision_trapezoid, ranks_without_junk
from granum.metrics._retrieval.rows import EASY, HARD, JUNK, Pairs
from granum.metrics.retrieval import ranked_levels
from granum.schema.findings import Findings

__all__ = ["PROTOCOLS", "Mode", "PairOverlaps", "mean_overlaps", "overlaps_of", "precisions"]

Floats = npt.NDArray[np.float64]
Mode = Literal["official", "corrected"]

PROTOCOLS = {"M": ((EASY, HARD), (JUNK,)), "H": ((HARD,), (EASY, JUNK))}
"""Medium and Hard: which levels are relevant, and which leave the list."""

_SEEN, _EMPTY, _FAILING, _UNLABELLED, _JUNK = range(5)
_NOTHING: Overlap = (0.0, 0.0)


@dataclass(frozen=True)
class PairOverlaps:
    """Of each true pair.

    Attributes:
        state: shape (n,): whether it has an IoU, no prediction, one that fails, or no true label.
        iou: shape (n, 2): of boxes and masks; 0 where there is none.
    """

    state: npt.NDArray[np.int64]
    iou: Floats

    def count(self, state: Literal["empty", "failing", "unlabelled"]) -> int:
        code = {"empty": _EMPTY, "failing": _FAILING, "unlabelled": _UNLABELLED}[state]
        return int((self.state == code).sum())


def overlaps_of(
    pairs: Pairs,
    true: Mapping[int, Shape],
    found: Mapping[int, Shape],
    mode: Mode,
    findings: Findings,
) -> PairOverlaps:
    """The IoU of easy and hard pairs.

    Args:
        true, found: what objects draw, by id.
    """
    n = len(pairs.query)
    state, iou = np.full(n, _JUNK), np.zeros((n, 2))
    both = zip(pairs.found_query.tolist(), pairs.found_image.tolist(), strict=True)
    guess = dict(zip(both, pairs.found_end.tolist(), strict=True))
    for k in np.flatnonzero(pairs.level != JUNK).tolist():
        q = int(pairs.query[k])
        real = true.get(int(pairs.end[k]))
        drawn = found.get(guess.get((q, int(pairs.image[k])), -1))
        if real is None:
            state[k] = _UNLABELLED
        elif drawn is None:
            state[k] = _EMPTY
        else:
            overlap = _overlap(drawn, real, mode, pairs.keys[q].as_py(), findings)
            state[k] = _FAILING if overlap is None else _SEEN
            iou[k] = _NOTHING if overlap is None else overlap
    return PairOverlaps(state, iou)


def _overlap(found: Shape, true: Shape, mode: Mode, key: str, findings: Findings) -> Overlap | None:
    if mode == "corrected":
        try:
            return exact_overlap(found, true)
        except UsageError as error:
            findings.add("mask-size-mismatch", "predictions", key, str(error))
            return None
    parts = found.polygons or []
    if len(parts) != 1 or len(parts[0]) != 1:
        return None
    return official_overlap(parts[0][0], [ring for part in true.polygons or [] for ring in part])


def mean_overlaps(pairs: Pairs, overlaps: PairOverlaps, mode: Mode) -> dict[str, Floats]:
    """Mean IoU of boxes and masks of the pairs of each query; NaN where it has none.

    Official: a failing pair has the IoU of the one before it, in the order of the released loop
    (query by query, hard pairs first); an easy pair without prediction is left out.
    """
    columns = {
        f"mIoU_{what}_{p}": np.full(len(pairs.keys), np.nan)
        for p in PROTOCOLS
        for what in ("box", "mask")
    }
    before = _NOTHING
    for q in range(len(pairs.keys)):
        own = np.arange(len(pairs.query))[pairs.true(q)]
        taken: dict[int, list[Overlap]] = {HARD: [], EASY: []}
        for level, listed in taken.items():
            for k in own[pairs.level[own] == level].tolist():
                state = overlaps.state[k]
                if state == _UNLABELLED:
                    continue
                if state != _FAILING or mode == "corrected":
                    before = (float(overlaps.iou[k, 0]), float(overlaps.iou[k, 1]))
                if state != _EMPTY or level == HARD or mode == "corrected":
                    listed.append(before)
        for p, of in (("M", taken[HARD] + taken[EASY]), ("H", taken[HARD])):
            for at, what in enumerate(("box", "mask")):
                if of:
                    columns[f"mIoU_{what}_{p}"][q] = np.mean([iou[at] for iou in of])
    return columns


def precisions(
    pairs: Pairs,
    overlaps: PairOverlaps,
    mode: Mode,
    thresholds: Sequence[float],
    *,
    all_relevant: bool,
) -> dict[str, Floats]:
    """AP of each query at each threshold, shape (q, t); NaN where nothing is relevant.

    Official: by the IoU of boxes; a pair without a true label is a negative. Corrected: by masks;
    such a pair leaves the list.

    Args:
        all_relevant: recall is over all easy and hard images, segmented or not.
    """
    out = {p: np.full((len(pairs.keys), len(thresholds)), np.nan) for p in PROTOCOLS}
    for q in range(len(pairs.keys)):
        own = pairs.true(q)
        places, levels = ranked_levels(pairs, q)
        iou = overlaps.iou[own, 0 if mode == "official" else 1]
        lost = (overlaps.state[own] == _UNLABELLED) & (mode == "corrected")
        ranked = places >= 0
        for p, (wanted, gone) in PROTOCOLS.items():
            relevant = np.isin(levels, wanted) & ~lost
            junk = places[(np.isin(levels, gone) | lost) & ranked]
            for t, threshold in enumerate(thresholds):
                good = relevant & (iou > threshold)
                total = int((relevant if all_relevant else good).sum())
                if total:
                    found = ranks_without_junk(places[good & ranked], junk)
                    out[p][q, t] = average_precision_trapezoid(found, total)
    return out
