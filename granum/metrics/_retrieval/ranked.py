"""Numbers of ranked lists: where the relevant images of a query stand.

Ranks count from 0. ``total`` is how many relevant images there are; those that no list ranks are
missed. All sums run from the first rank to the last, one after the other, as the official loops
do, so that their bits are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError

__all__ = [
    "MeanPrecision",
    "average_precision_at_r",
    "average_precision_sum",
    "average_precision_trapezoid",
    "hit_at",
    "mean_average_precision",
    "ndcg",
    "precision_at",
    "ranks",
    "ranks_without_junk",
    "recall_at",
    "reciprocal_rank",
    "summed",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_BLOCK = 1 << 24
"""Similarities held at a time by ``ranks``."""


@dataclass(frozen=True)
class MeanPrecision:
    """What ``mean_average_precision`` gives.

    Attributes:
        mean: mAP, over the queries that have a relevant image; None where none has.
        aps: of each query, shape (q,); NaN where it has no relevant image.
        mpr: mean precision at each of the kappas, shape (k,); None as ``mAP``.
        prs: of each query, shape (q, k); NaN as ``aps``.
    """

    mean: float | None
    aps: Floats
    mpr: Floats | None
    prs: Floats


def ranks(queries: npt.ArrayLike, database: npt.ArrayLike) -> Ints:
    """The database by falling cosine to each query.

    Args:
        queries: vectors, shape (q, d), of any length.
        database: vectors, shape (n, d).

    Returns:
        Rows of the database, shape (n, q): what ``mean_average_precision`` and files of ranks
        take. Of equal cosines the earlier row comes first; vectors of length 0 have cosine 0.

    Raises:
        UsageError: shapes differ, or a value is not finite.
    """
    sides = [np.asarray(v, np.float64) for v in (queries, database)]
    if any(v.ndim != 2 for v in sides) or sides[0].shape[1] != sides[1].shape[1]:
        raise UsageError(f"vectors of shapes {sides[0].shape} and {sides[1].shape}")
    if not all(np.isfinite(v).all() for v in sides):
        raise UsageError("a vector holds a value that is not finite")
    q, x = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300) for v in sides)
    out = np.empty((len(x), len(q)), np.int64)
    step = max(_BLOCK // max(len(x), 1), 1)
    for begin in range(0, len(q), step):
        similar = x @ q[begin : begin + step].T
        out[:, begin : begin + step] = np.argsort(-similar, axis=0, kind="stable")
    return out


def ranks_without_junk(positive: npt.ArrayLike, junk: npt.ArrayLike) -> Ints:
    """The ranks of relevant images, rising, in the list without the junk images."""
    wanted, lost = (np.sort(np.asarray(v, np.int64)) for v in (positive, junk))
    return np.asarray(wanted - np.searchsorted(lost, wanted), np.int64)


def mean_average_precision(
    ranks: npt.ArrayLike,
    gnd: Sequence[Mapping[str, npt.ArrayLike]],
    kappas: Sequence[int] = (1, 5, 10),
) -> MeanPrecision:
    """Mean trapezoid AP and mean precision at kappas, to the bits of revisitop's ``compute_map``.

    Args:
        ranks: images by rank, shape (n, q): column q lists the images of query q, best first.
        gnd: of each query ``ok``, its relevant images, and ``junk``, those that leave the list.
        kappas: see :func:`precision_at`.

    Raises:
        UsageError: ``ranks`` has not one column for each query.
    """
    listed = np.asarray(ranks)
    if listed.ndim != 2 or listed.shape[1] != len(gnd):
        raise UsageError(f"ranks of shape {listed.shape} for {len(gnd)} queries")
    aps, prs = np.full(len(gnd), np.nan), np.full((len(gnd), len(kappas)), np.nan)
    for i, truth in enumerate(gnd):
        ok = np.asarray(truth["ok"], np.int64)
        if not len(ok):
            continue
        found, lost = (
            np.flatnonzero(np.isin(listed[:, i], np.asarray(v, np.int64)))
            for v in (ok, truth.get("junk", ()))
        )
        places = ranks_without_junk(found, lost)
        aps[i] = average_precision_trapezoid(places, len(ok))
        prs[i] = [precision_at(places, k) for k in kappas]
    judged = ~np.isnan(aps)
    n = int(judged.sum())
    if not n:
        return MeanPrecision(None, aps, None, prs)
    means = [summed(column) / n for column in (aps[judged], *prs[judged].T)]
    return MeanPrecision(means[0], aps, np.array(means[1:], np.float64), prs)


def summed(values: npt.ArrayLike) -> float:
    """The sum from the first to the last, one after the other; 0 of nothing."""
    array = np.asarray(values, np.float64)
    return float(np.add.accumulate(array)[-1]) if len(array) else 0.0


def average_precision_trapezoid(positive_ranks: npt.ArrayLike, total: int | None = None) -> float:
    """AP of ROxford and RParis: at each relevant image the mean of the precision before it and
    with it (1 before rank 0), divided by how many there are.

    Args:
        positive_ranks: rising, from 0, in the list without junk.
        total: relevant images in all (default: as many as are ranked).

    Raises:
        UsageError: there is no relevant image, or more are ranked than there are.
    """
    found, n = _checked(positive_ranks, total)
    before = np.ones(len(found))
    j = np.arange(len(found))
    np.divide(j, found, out=before, where=found > 0)
    return summed((before + (j + 1) / (found + 1)) * (1.0 / n) / 2.0)


def average_precision_sum(positive_ranks: npt.ArrayLike, total: int | None = None) -> float:
    """Standard AP: the mean over the relevant images of the precision at their rank; 0 for those
    not ranked. As scikit-learn's where no scores are equal; arguments as of the trapezoid."""
    found, n = _checked(positive_ranks, total)
    return summed(np.arange(1, len(found) + 1) / (found + 1)) / n


def average_precision_at_r(positive_ranks: npt.ArrayLike, total: int | None = None) -> float:
    """MAP@R of one query (K. Musgrave and others: A Metric Learning Reality Check, ECCV 2020):
    standard AP of the first ``total`` ranks only."""
    found, n = _checked(positive_ranks, total)
    return average_precision_sum(found[found < n], n)


def precision_at(positive_ranks: npt.ArrayLike, k: int, *, capped: bool = True) -> float:
    """The share of relevant images among the first k.

    Args:
        positive_ranks: rising, from 0, in the list without junk.
        k: how many are looked at.
        capped: no more than up to the last relevant image that is ranked, as revisitop has it (a
            query with 3 relevant images, all first, has 1 at 10); else k.
    """
    found = np.asarray(positive_ranks, np.int64)
    if k < 1:
        raise UsageError(f"k is {k}; it must be at least 1")
    if not len(found):
        return 0.0
    seen = min(int(found[-1]) + 1, k) if capped else k
    return int((found < seen).sum()) / seen


def recall_at(positive_ranks: npt.ArrayLike, k: int, total: int | None = None) -> float:
    """The share of the relevant images that are among the first k."""
    found, n = _checked(positive_ranks, total)
    return int((found < k).sum()) / n


def hit_at(positive_ranks: npt.ArrayLike, k: int) -> float:
    """1 where a relevant image is among the first k, else 0: metric learning's Recall@k."""
    return float((np.asarray(positive_ranks, np.int64) < k).any())


def reciprocal_rank(positive_ranks: npt.ArrayLike) -> float:
    """1 / (1 + the rank of the first relevant image), 0 where none is ranked; its mean is MRR."""
    found = np.asarray(positive_ranks, np.int64)
    return 1.0 / (int(found[0]) + 1) if len(found) else 0.0


def ndcg(positive_ranks: npt.ArrayLike, total: int | None = None, k: int | None = None) -> float:
    """Normalised discounted cumulative gain of relevance 0 or 1: the sum of 1 / log2(rank + 2),
    divided by that of the best list. As scikit-learn's ``ndcg_score`` without ties.

    Args:
        positive_ranks, total: as of the trapezoid.
        k: only the first k ranks count (default: all).
    """
    found, n = _checked(positive_ranks, total)
    if k is not None:
        found, n = found[found < k], min(n, k)
    gain, best = (summed(1.0 / np.log2(v + 2.0)) for v in (found, np.arange(n)))
    return gain / best


def _checked(positive_ranks: npt.ArrayLike, total: int | None) -> tuple[Ints, int]:
    found = np.asarray(positive_ranks, np.int64)
    n = len(found) if total is None else total
    if n < 1:
        raise UsageError("no image is relevant")
    if len(found) > n:
        raise UsageError(f"{len(found)} relevant images are ranked, and there are {n}")
    return found, n
