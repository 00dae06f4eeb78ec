"""Trees as arrays of parents: ``parent[i] > i``, -1 at roots. Whole columns at a time where the
order allows, one plain loop over Python integers where each node needs the one before."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["child_counts", "climb", "extents", "leaf_spans", "levels", "rising", "splits", "sums"]

Parents = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def child_counts(parent: Parents) -> Ints:
    """How many children each node has."""
    return np.bincount(parent[parent >= 0], minlength=len(parent))


def levels(parent: Parents) -> npt.NDArray[np.int32]:
    """Depth of each node; roots have 0."""
    up = parent.tolist()
    depth = [0] * len(up)
    for i in range(len(up) - 1, -1, -1):
        if up[i] >= 0:
            depth[i] = depth[up[i]] + 1
    return np.array(depth, np.int32)


def sums(parent: Parents, values: Ints) -> Ints:
    """Each node's value and those of all nodes below it."""
    total = values.tolist()
    for i, up in enumerate(parent.tolist()):
        if up >= 0:
            total[up] += total[i]
    return np.array(total, np.int64)


def rising(parent: Parents, values: Floats) -> Floats:
    """The largest value of each node and those below it: never falls towards the root."""
    out = values.tolist()
    for i, up in enumerate(parent.tolist()):
        if up >= 0 and out[i] > out[up]:
            out[up] = out[i]
    return np.array(out, np.float64)


def extents(parent: Parents, low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """The smallest ``low`` and the largest ``high`` of each node and those below it."""
    bottom, top = low.tolist(), high.tolist()
    for i, up in enumerate(parent.tolist()):
        if up >= 0:
            bottom[up] = min(bottom[up], bottom[i])
            top[up] = max(top[up], top[i])
    return np.array(bottom, np.int64), np.array(top, np.int64)


def leaf_spans(parent: Parents) -> tuple[Ints, Ints]:
    """A numbering of the leaves under which those below any node are the range start..stop - 1.

    Returns:
        start and stop of each node (stop = start + 1 at leaves), each shape (n,).
    """
    width = sums(parent, (child_counts(parent) == 0).astype(np.int64))
    begin, following, total = width.tolist(), [0] * len(parent), 0
    spans = width.tolist()
    for i in range(len(parent) - 1, -1, -1):
        up = int(parent[i])
        if up < 0:
            begin[i], total = total, total + spans[i]
        else:
            begin[i] = following[up]
            following[up] += spans[i]
        following[i] = begin[i]
    start = np.array(begin, np.int64)
    return start, start + width


def climb(parent: Parents, go: Mask) -> Ints:
    """Where each node ends up by going to its parent as long as ``go`` says so (of the node it
    stands on); roots stay."""
    here = np.arange(len(parent))
    up = np.where(go & (parent >= 0), parent, here).astype(np.int64)
    while True:
        further = up[up]
        if np.array_equal(further, up):
            return up
        up = further


def splits(parent: Parents, height: Floats, limit: int, *, regions: bool) -> Mask:
    """Which inner nodes to take apart, highest first, while the pieces are at most ``limit``.

    Args:
        parent: parents.
        height: by which nodes are ranked (equal ones: the later node first).
        limit: of regions (what is not taken apart), or of all nodes from the roots down.
        regions: which of the two ``limit`` is.
    """
    children = child_counts(parent)
    inner = np.flatnonzero(children)
    order = inner[np.lexsort((inner, rising(parent, height)[inner]))[::-1]]
    grown = int((parent < 0).sum()) + np.cumsum(children[order] - int(regions))
    out = np.zeros(len(parent), bool)
    out[order[: int(np.searchsorted(grown, limit, side="right"))]] = True
    return out
