"""Agreement of two partitions of the same samples, from their table of clusters by classes."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError
from granum.metrics._assignment import hungarian

__all__ = [
    "Version",
    "adjusted_rand_index",
    "assignment",
    "clustering_accuracy",
    "normalized_mutual_information",
    "purity",
    "table_of",
]

Ints = npt.NDArray[np.int64]
Version = Literal["v1", "v2"]


def table_of(
    clusters: npt.ArrayLike, classes: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[Ints, Ints, Ints]:
    """How many samples of each class are in each cluster, shape (clusters, classes).

    Args:
        clusters, classes: ids, shape (n,).
        weights: how often each sample counts, shape (n,); default: once.

    Returns:
        The table, and the ids of its rows and of its columns, rising; those of samples that count.

    Raises:
        UsageError: shapes differ.
    """
    found, true = np.asarray(clusters), np.asarray(classes)
    times = np.ones(len(found), np.int64) if weights is None else np.asarray(weights, np.int64)
    if not found.shape == true.shape == times.shape or found.ndim != 1:
        raise UsageError(f"shapes {found.shape}, {true.shape} and {times.shape} differ")
    used = times > 0
    rows, row = np.unique(found[used], return_inverse=True)
    columns, column = np.unique(true[used], return_inverse=True)
    size = len(rows) * len(columns)
    counts = np.bincount(row * len(columns) + column, times[used], minlength=size)
    return counts.astype(np.int64).reshape(len(rows), len(columns)), rows, columns


def assignment(table: npt.ArrayLike) -> Ints:
    """The cluster of each class (-1: none) of the one-to-one assignment with most samples.

    Of equally good ones that which scipy's ``linear_sum_assignment`` finds.

    Args:
        table: counts, shape (clusters, classes).

    Raises:
        MissingExtraError: scipy is absent.
    """
    counts = np.asarray(table, np.int64)
    out = np.full(counts.shape[1], -1, np.int64)
    rows, columns = hungarian()(counts, maximize=True)
    out[columns] = rows
    return out


def right_of(table: Ints) -> Ints:
    """The samples of each class that are in its cluster, shape (classes,)."""
    own = assignment(table)
    counts = np.append(table, np.zeros((1, table.shape[1]), np.int64), axis=0)
    return np.asarray(counts[own, np.arange(table.shape[1])], np.int64)


def clustering_accuracy(
    table: npt.ArrayLike, old: npt.ArrayLike, version: Version = "v2"
) -> tuple[float | None, float | None, float | None]:
    """Accuracy on all samples, on those of old classes, and on those of new ones.

    Args:
        table: counts, shape (clusters, classes).
        old: which classes are old, shape (classes,).
        version: ``v2``: one assignment over all samples, then split. ``v1``: one for the samples
            of old classes and one for those of new ones, which gives higher numbers; "all" is
            their mean by samples.

    Returns:
        None for those without a sample.
    """
    counts, known = np.asarray(table, np.int64), np.asarray(old, bool)
    if counts.ndim != 2 or known.shape != counts.shape[1:]:
        raise UsageError(f"a table of shape {counts.shape}, classes of shape {known.shape}")
    if version == "v2":
        right = right_of(counts)
    else:
        right = np.zeros(counts.shape[1], np.int64)
        for part in (known, ~known):
            right[part] = right_of(counts[:, part])
    totals = counts.sum(axis=0)

    def share(some: npt.NDArray[np.bool_]) -> float | None:
        n = int(totals[some].sum())
        return int(right[some].sum()) / n if n else None

    return share(np.ones_like(known)), share(known), share(~known)


def purity(table: npt.ArrayLike) -> float | None:
    """The share of samples that are of the most frequent class of their cluster."""
    counts = np.asarray(table, np.int64)
    n = int(counts.sum())
    return int(counts.max(axis=1).sum()) / n if n else None


def normalized_mutual_information(table: npt.ArrayLike) -> float | None:
    """Mutual information over the mean of both entropies: scikit-learn's
    ``normalized_mutual_info_score``. 1 where both have one part only, else 0 where they share
    nothing; None of no sample."""
    counts = np.asarray(table, np.float64)
    n = counts.sum()
    if not n:
        return None
    if counts.shape == (1, 1):
        return 1.0
    p = counts / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    at = np.nonzero(p)
    terms = p[at] * (np.log(p[at]) - np.log(rows[at[0]]) - np.log(columns[at[1]]))
    information = max(float(terms.sum()), 0.0)
    if information <= np.finfo(np.float64).eps:
        return 0.0
    entropies = [float(-(v * np.log(v)).sum()) for v in (rows, columns)]
    return information / (sum(entropies) / 2)


def adjusted_rand_index(table: npt.ArrayLike) -> float | None:
    """Pairs of samples on which both agree, corrected for chance: scikit-learn's
    ``adjusted_rand_score``; 1 where they agree on all, None of no sample."""
    counts = np.asarray(table, np.int64)
    n = int(counts.sum())
    if not n:
        return None
    both, rows, columns = (
        sum(int(v) ** 2 for v in sums)
        for sums in (counts.ravel().tolist(), counts.sum(axis=1), counts.sum(axis=0))
    )
    together, apart_here, apart_there = both - n, rows - both, columns - both
    neither = n * n - rows - columns + both
    if not apart_here and not apart_there:
        return 1.0
    product = together * neither - apart_here * apart_there
    bottom = (together + apart_here) * (apart_here + neither)
    bottom += (together + apart_there) * (apart_there + neither)
    return 2.0 * product / bottom
