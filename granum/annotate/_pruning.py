"""Mask trees with fewer nodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from granum.annotate import _parents
from granum.annotate.tree import MaskTree

__all__ = ["prune_partition", "prune_pool"]


def prune_partition(tree: MaskTree, min_area: float, max_nodes: int | None) -> MaskTree:
    """Nodes become leaves from below; every pixel keeps a leaf (see ``MaskTree.prune``)."""
    assert tree.leaves is not None
    parent, n = tree.parent, len(tree)
    large = np.flatnonzero((tree.area >= min_area) & (parent >= 0))
    split = np.zeros(n, bool)
    split[parent[large]] = True
    if max_nodes is not None:
        split &= _parents.splits(parent, tree._height, max_nodes, regions=False)
    # Both conditions hold for a node's ancestors where they hold for the node.
    kept = np.append(split, True)[parent]
    order = np.concatenate([np.flatnonzero(kept & ~split), np.flatnonzero(kept & split)])
    leaf = _numbers(order, n)[_parents.climb(parent, ~kept)]
    return _chosen(tree, order, parent, leaves=np.append(leaf, -1)[tree.leaves].astype(np.int32))


def prune_pool(tree: MaskTree, min_area: float, max_nodes: int | None) -> MaskTree:
    """Masks are dropped; their children go to the next one up."""
    assert tree.rle is not None
    kept = tree.area >= min_area
    if max_nodes is not None:
        largest = np.lexsort((np.arange(len(tree)), tree.area))[::-1]
        kept[largest[kept[largest].cumsum() > max_nodes]] = False
    order = np.flatnonzero(kept)
    above = _parents.climb(tree.parent, ~kept)
    parent = np.append(above, -1)[tree.parent]
    parent[(parent >= 0) & ~np.append(kept, True)[parent]] = -1
    return _chosen(tree, order, parent, rle=tuple(tree.rle[i] for i in order))


def _numbers(order: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """The new index of each old node; -1 where it is gone (and at the end, for no node)."""
    new = np.full(n + 1, -1, np.int64)
    new[order] = np.arange(len(order))
    return new


def _chosen(
    tree: MaskTree,
    order: npt.NDArray[np.int64],
    parent: npt.NDArray[np.integer],
    *,
    leaves: npt.NDArray[np.int32] | None = None,
    rle: tuple[bytes, ...] | None = None,
) -> MaskTree:
    up = _numbers(order, len(tree))[parent[order]].astype(np.int32)
    return replace(
        tree,
        parent=up,
        area=tree.area[order],
        bbox=tree.bbox[order],
        granularity=tree.granularity[order],
        level=_parents.levels(up),
        altitude=tree.altitude[order],
        score=tree.score[order],
        leaves=leaves,
        rle=rle,
    )
