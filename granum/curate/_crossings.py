"""Pairs of samples of different splits, from clusters and the edges between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from granum.curate._clusters import Edges

__all__ = ["crossing_pairs", "shared_values"]

Ints = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.int64]
BySplit = dict[int, list[int]]


def crossing_pairs(clusters: Ints, edges: Edges, splits: Ints) -> Pairs:
    """Pairs of rows (i < j) of different splits that show the same image, shape (m, 2).

    Each row that has its like in another split is in at least one pair for each such split; of
    many equal ones not all pairs are listed, but each with the first of the other split.

    Args:
        clusters: of each row, named by its lowest row.
        edges: pairs of clusters.
        splits: the split of each row; -1: none.
    """
    members = _members(clusters, edges, splits)
    found: set[tuple[int, int]] = set()
    for here in members.values():
        found.update(_stars(here, here))
    for i, j in edges[:, :2].tolist():
        found.update(_stars(members[i], members[j]))
    return np.array(sorted(found), np.int64).reshape(-1, 2)


def _members(clusters: Ints, edges: Edges, splits: Ints) -> dict[int, BySplit]:
    """Rows by split, of the clusters that may cross: several rows, or an edge."""
    sizes = np.bincount(clusters, minlength=1)
    linked = np.zeros(len(clusters), bool)
    linked[edges[:, :2]] = True
    rows = np.flatnonzero((sizes[clusters] > 1) | linked[clusters]) if len(clusters) else clusters
    out: dict[int, BySplit] = {}
    for row, cluster, split in zip(
        rows.tolist(), clusters[rows].tolist(), splits[rows].tolist(), strict=True
    ):
        out.setdefault(cluster, {})
        if split >= 0:
            out[cluster].setdefault(split, []).append(row)
    return out


def _stars(here: BySplit, there: BySplit) -> Iterator[tuple[int, int]]:
    """Each row with the first row of each other split on the other side."""
    for split, rows in here.items():
        for other, others in there.items():
            if split != other:
                yield from _ordered((r, others[0]) for r in rows)
                yield from _ordered((rows[0], o) for o in others)


def _ordered(pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    return ((min(p), max(p)) for p in pairs)


def shared_values(codes: Ints, splits: Ints) -> npt.NDArray[np.bool_]:
    """Whether a row's value is one that rows of several splits have.

    Args:
        codes: the value of each row; -1: none.
        splits: the split of each row; -1: none.
    """
    known = (codes >= 0) & (splits >= 0)
    pairs = np.unique(np.stack([codes[known], splits[known]], 1), axis=0)
    values, counts = np.unique(pairs[:, 0], return_counts=True)
    return known & np.isin(codes, values[counts > 1])
