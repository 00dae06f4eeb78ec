"""Rows joined to clusters, with a guard against chains: a near b, b near c, but a far from c."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from granum.curate._fingerprints import Fingerprints
from granum.curate.hamming import distance, pair_blocks
from granum.store.executor import Executor

__all__ = ["Clusters", "Edges", "clustered", "linked", "near_edges"]

Ints = npt.NDArray[np.int64]
Edges = npt.NDArray[np.int64]
"""Rows i, j that stand for their clusters, and the distance of their hashes; shape (m, 3)."""


class Clusters:
    """Clusters of rows; a row alone is one.

    Args:
        prints: hashes; no two in a cluster differ in more than ``widest`` bits.
        apart: a label per row; a cluster holds each label (>= 0) once.
        widest: see above.
    """

    def __init__(self, prints: Fingerprints, apart: Ints, widest: int) -> None:
        self.prints, self.apart, self.widest = prints, apart, widest
        self.members: dict[int, list[int]] = {}
        self.chains = 0
        """Joins that were refused since some hashes would be too far apart."""
        self._root: dict[int, int] = {}
        self._values: dict[int, Ints] = {}
        self._labels: dict[int, set[int]] = {}

    def of(self, row: int) -> int:
        """The cluster of a row: some row of it."""
        return self._root.get(row, row)

    def join(self, a: int, b: int) -> bool:
        """Make one cluster of those of two rows, unless the guard refuses; whether they are one."""
        a, b = self.of(a), self.of(b)
        if a == b:
            return True
        labels = self._labels_of(a), self._labels_of(b)
        values = self._values_of(a), self._values_of(b)
        if labels[0] & labels[1]:
            return False
        if not self._within(*values):
            self.chains += 1
            return False
        if len(self.members.get(a, ())) < len(self.members.get(b, ())):
            a, b = b, a
        moved = self.members.pop(b, [b])
        self.members.setdefault(a, [a]).extend(moved)
        self._root.update(dict.fromkeys(moved, a))
        for kept in (self._labels, self._values):
            kept.pop(b, None)
        self._labels[a] = labels[0] | labels[1]
        self._values[a] = self._distinct(np.concatenate(values))
        return True

    def _labels_of(self, root: int) -> set[int]:
        label = int(self.apart[root])
        return self._labels.get(root) or ({label} if label >= 0 else set())

    def _values_of(self, root: int) -> Ints:
        """Rows of the cluster, one per distinct hash."""
        if root in self._values:
            return self._values[root]
        return np.array([root] if self.prints.hashed[root] else [], np.int64)

    def _distinct(self, rows: Ints) -> Ints:
        return rows[np.unique(self.prints.hashes[rows], return_index=True)[1]]

    def _within(self, a: Ints, b: Ints) -> bool:
        hashes, mirrored = self.prints.hashes, self.prints.mirrored
        apart = distance(hashes[a][:, None], hashes[b][None])
        if mirrored is not None:
            apart = np.minimum(apart, distance(hashes[a][:, None], mirrored[b][None]))
        return int(apart.max(initial=0)) <= self.widest

    def labels(self) -> Ints:
        """The cluster of each row, named by its lowest row."""
        out = np.arange(len(self.apart))
        for members in self.members.values():
            out[members] = min(members)
        return out


def clustered(prints: Fingerprints, apart: Ints) -> Clusters:
    """Exact duplicates, and images of equal hash that pass verification with the first of them.

    Args:
        prints: of the rows.
        apart: a label per row; rows that share one (>= 0) are not put together.
    """
    clusters = Clusters(prints, apart, 2 * prints.criteria.radius)
    classes = prints.exact_classes()
    for rows in _runs_of(_occurrences(classes, apart)):
        for row in rows[1:]:
            clusters.join(int(rows[0]), int(row))
    if prints.criteria.near is None:
        return clusters
    first = np.flatnonzero(prints.hashed & (clusters.labels() == np.arange(len(apart))))
    _, values = np.unique(prints.hashes[first], return_inverse=True)
    keys = np.full(len(apart), -1, np.int64)
    keys[first] = values
    for rows in _runs_of(keys):
        _lead(clusters, prints, rows)
    return clusters


def _lead(clusters: Clusters, prints: Fingerprints, rows: Ints) -> None:
    """Each row to the first one that it passes verification with."""
    while len(rows) > 1 and (clusters.apart[rows[0]] < 0 or np.ptp(clusters.apart[rows])):
        leader, rest = rows[0], rows[1:]
        alike = prints.agree(np.full(len(rest), leader), rest)
        joined = np.zeros(len(rest), bool)
        for at in np.flatnonzero(alike):
            joined[at] = clusters.join(int(leader), int(rest[at]))
        rows = rest[~joined]


def _occurrences(classes: Ints, apart: Ints) -> Ints:
    """Classes divided, so that each holds a label (>= 0) once: the k-th rows of the labels go
    together."""
    if not (apart >= 0).any():
        return classes
    order = np.lexsort((np.arange(len(classes)), apart, classes))
    run = np.flatnonzero(
        np.diff(classes[order], prepend=-2).astype(bool)
        | np.diff(apart[order], prepend=-2).astype(bool)
    )
    nth = np.empty(len(classes), np.int64)
    nth[order] = np.arange(len(order)) - np.repeat(run, np.diff([*run, len(order)]))
    nth[apart < 0] = 0
    return np.where(classes < 0, -1, classes * (int(nth.max(initial=0)) + 1) + nth)


def _runs_of(keys: Ints) -> list[Ints]:
    """Rows of equal key (>= 0), ascending, where there are at least two; by their first row."""
    order = np.argsort(keys, kind="stable")
    order = order[keys[order] >= 0]
    ends = np.flatnonzero(np.diff(keys[order])) + 1
    runs = [r for r in np.split(order, ends) if len(r) > 1]
    return sorted(runs, key=lambda r: int(r[0]))


def near_edges(
    prints: Fingerprints, clusters: Ints, apart: Ints, executor: Executor | None = None
) -> Edges:
    """Verified pairs of clusters whose first rows have near hashes, by distance, then row.

    Args:
        prints: of the rows.
        clusters: of each row, named by its lowest row.
        apart: a label per row; clusters whose rows all share one (>= 0) are no pair.
        executor: see ``pair_blocks``.
    """
    if prints.criteria.near is None:
        return np.empty((0, 3), np.int64)
    first = np.flatnonzero(prints.hashed & (clusters == np.arange(len(clusters))))
    label = _shared_label(clusters, apart)[first]
    hashes, radius = prints.hashes[first], prints.criteria.radius
    blocks = pair_blocks(hashes, radius, apart=label, executor=executor)
    found = [_verified(prints, first, b[b[:, 2] > 0]) for b in blocks]
    if prints.mirrored is not None:
        both = np.concatenate([hashes, prints.mirrored[first]])
        for block in pair_blocks(both, radius, apart=np.tile(label, 2), executor=executor):
            block = block[(block[:, 0] < len(first)) & (block[:, 1] >= len(first))]
            block[:, 1] -= len(first)
            block[:, :2].sort(axis=1)
            found.append(_verified(prints, first, block[block[:, 0] != block[:, 1]]))
    edges = np.concatenate(found) if found else np.empty((0, 3), np.int64)
    edges = edges[np.lexsort((edges[:, 2], edges[:, 1], edges[:, 0]))]
    new = np.ones(len(edges), bool)
    new[1:] = (edges[1:, :2] != edges[:-1, :2]).any(1)
    edges = edges[new]
    return edges[np.lexsort((edges[:, 1], edges[:, 0], edges[:, 2]))]


def _verified(prints: Fingerprints, first: Ints, block: Edges) -> Edges:
    edges = np.stack([first[block[:, 0]], first[block[:, 1]], block[:, 2]], 1)
    return edges[prints.agree(edges[:, 0], edges[:, 1])]


def _shared_label(clusters: Ints, apart: Ints) -> Ints:
    """By cluster (at its lowest row) the label that all its rows share, else -1."""
    low, high = np.full(len(apart), np.iinfo(np.int64).max), np.full(len(apart), -1)
    np.minimum.at(low, clusters, apart)
    np.maximum.at(high, clusters, apart)
    return np.where(low == high, low, -1)


def linked(clusters: Ints, edges: Edges) -> Ints:
    """The clusters that are linked by edges, however far the ends of a chain are apart: for each
    row the lowest one it is linked to."""
    root = clusters
    while True:
        before, lowest = root, np.minimum(root[edges[:, 0]], root[edges[:, 1]])
        moved = root.copy()
        for end in (0, 1):
            np.minimum.at(moved, root[edges[:, end]], lowest)
        root = moved[moved]
        if np.array_equal(before, root):
            return root
