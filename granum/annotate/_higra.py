"""Between higra's hierarchies and mask trees."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from granum.annotate import _parents
from granum.annotate.tree import MaskTree

__all__ = ["partition_of"]


def partition_of(
    leaves: npt.NDArray[np.integer], tree: Any, altitudes: npt.ArrayLike, max_nodes: int
) -> MaskTree:
    """The mask tree of a binary partition tree, its highest nodes first, ``max_nodes`` at most.

    Args:
        leaves: the tree's leaf of each pixel, shape (height, width).
        tree: a higra tree; its leaves come first and its root is its own parent.
        altitudes: of all its nodes. Nodes of altitude 0 are never taken apart.
        max_nodes: at most so many nodes stay.
    """
    parent = np.array(tree.parents(), np.int32)
    parent[-1] = -1
    height = np.asarray(altitudes, np.float64)
    split = _parents.splits(parent, height, max_nodes, regions=False) & (height > 0)
    kept = np.append(split, True)[parent]
    order = np.concatenate([np.flatnonzero(kept & ~split), np.flatnonzero(kept & split)])
    number = np.full(len(parent) + 1, -1, np.int64)
    number[order] = np.arange(len(order))
    top = _parents.climb(parent, ~kept)
    return MaskTree.partition(
        number[top[leaves]], number[parent[order]], altitude=np.where(split, height, 0)[order]
    )
