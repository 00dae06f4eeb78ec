"""From a pool of masks, in any order, to a forest: which mask lies in which.

A mask's parent is the smallest one that holds most of it. The same idea orders COCO and LVIS
masks in RITM (Sofiiuk et al., 2022), the clusters of HASSOD (Cao et al., NeurIPS 2023) and SAM's
masks in ultrametric feature fields (He et al., ECCV 2024); thresholds differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from granum.annotate import _parents
from granum.annotate._rle import areas
from granum.annotate.granularity import Owner
from granum.annotate.tree import MaskTree
from granum.errors import UsageError

__all__ = ["Forest", "build_forest", "residuals", "sibling_overlaps"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Forest:
    """A pool as a tree, and where its nodes came from.

    Attributes:
        tree: its nodes are sorted by area.
        source: for each node, the mask it is in what was given.
        duplicate_of: for each mask left out as a duplicate, the mask it repeats.
        empty: masks without pixels (after clipping: without any that their parent has too, or
            with all of them), left out.
    """

    tree: MaskTree
    source: Ints
    duplicate_of: dict[int, int]
    empty: tuple[int, ...]


def build_forest(
    masks: Sequence[bytes],
    size: tuple[int, int],
    scores: npt.ArrayLike | None = None,
    *,
    contain: float = 0.85,
    dup_iou: float = 0.9,
    clip: bool = False,
    owner: Owner = "root",
) -> Forest:
    """Order masks by containment. The order in which they come changes nothing.

    Args:
        masks: compressed COCO counts.
        size: (height, width) of all of them.
        scores: the better one of two duplicates stays (then the larger); NaN counts least.
        contain: a parent holds at least this share of a mask.
        dup_iou: masks with this intersection over union or more are duplicates; a parent is
            larger than its child by ``1 / dup_iou``. Above 1: nothing is a duplicate.
        clip: cut each mask to its parent, so that containment is exact.
        owner: whose area granularity is relative to; areas, where given, are one per mask.

    Returns:
        The forest. Acyclic, since a parent is larger.
    """
    if not 0 < contain <= 1 or dup_iou <= 0:
        raise UsageError("contain must be in 0..1, and dup_iou above 0")
    coded = [{"size": list(size), "counts": c} for c in masks]
    area = areas(coded)
    given = np.full(len(masks), np.nan) if scores is None else np.asarray(scores, np.float64)
    merit = np.nan_to_num(given, nan=-np.inf)
    order = _sorted(masks, area, merit)
    order = order[area[order] > 0]
    share = _shares([coded[i] for i in order])
    stays, repeats = _distinct(share, area[order], merit[order], dup_iou)
    duplicates = {int(order[i]): int(order[j]) for i, j in repeats.items()}
    order, share = order[stays], share[np.ix_(stays, stays)]
    parent = _smallest_holders(share, area[order], contain, dup_iou)
    counts = [masks[i] for i in order]
    if clip:
        counts, kept = _clipped(counts, size, parent)
        parent, order = _without(parent, kept), order[kept]
    whole = owner if isinstance(owner, str) else np.asarray(owner, np.float64)[order]
    tree = MaskTree.pool(size, counts, parent, score=given[order], owner=whole)
    gone = {*range(len(masks))} - {*order.tolist(), *duplicates}
    return Forest(tree, order, duplicates, tuple(sorted(gone)))


def residuals(tree: MaskTree) -> Floats:
    """The share of each mask that none of its children covers; NaN for leaves."""
    return _of_children(tree)[0]


def sibling_overlaps(tree: MaskTree) -> Floats:
    """``1 - |union| / sum of areas`` of each node's children; NaN for leaves."""
    return _of_children(tree)[1]


def _of_children(tree: MaskTree) -> tuple[Floats, Floats]:
    residual, overlap = np.full(len(tree), np.nan), np.full(len(tree), np.nan)
    for i in np.flatnonzero(~tree.is_leaf).tolist():
        masks = [tree.mask(j) for j in tree.children(i).tolist()]
        union = np.logical_or.reduce(masks)
        residual[i] = 1 - int((union & tree.mask(i)).sum()) / int(tree.area[i])
        overlap[i] = 1 - int(union.sum()) / sum(int(m.sum()) for m in masks)
    return residual, overlap


def _sorted(masks: Sequence[bytes], area: Ints, merit: Floats) -> Ints:
    """By area, the better one first; by the mask itself where both are equal."""
    rows = sorted(range(len(masks)), key=lambda i: (area[i], -merit[i], bytes(masks[i])))
    return np.array(rows, np.int64)


def _shares(coded: list[dict[str, object]]) -> Floats:
    """``share[i, j]``: how much of mask i lies in mask j."""
    from pycocotools import mask as coco_mask

    if not coded:
        return np.empty((0, 0))
    # With "crowd" second masks, cocoapi divides the intersection by the first one's area.
    return np.asarray(coco_mask.iou(coded, coded, [1] * len(coded)), np.float64)


def _distinct(
    share: Floats, area: Ints, merit: Floats, dup_iou: float
) -> tuple[Ints, dict[int, int]]:
    """The rows that stay, and for each of the others the better one that it repeats."""
    shared = share * area[:, None]
    iou = shared / np.maximum(area[:, None] + area[None, :] - shared, 1)
    repeats: dict[int, int] = {}
    n = len(area)
    for i in sorted(range(n), key=lambda i: (-merit[i], -area[i], i)):
        if i not in repeats:
            for j in np.flatnonzero(iou[i] >= dup_iou).tolist():
                better = (merit[i], area[i], -i) > (merit[j], area[j], -j)
                if j != i and better:
                    repeats.setdefault(j, i)
    return np.array([i for i in range(n) if i not in repeats], np.int64), repeats


def _smallest_holders(
    share: Floats, area: Ints, contain: float, dup_iou: float
) -> npt.NDArray[np.int32]:
    larger = area[None, :] >= area[:, None] / min(dup_iou, 1.0)
    later = np.arange(len(area))[None, :] > np.arange(len(area))[:, None]
    fits = (share >= contain) & larger & later
    first = np.argmax(fits, axis=1) if len(area) else np.empty(0, np.int64)
    return np.where(fits.any(axis=1), first, -1).astype(np.int32)


def _clipped(
    counts: list[bytes], size: tuple[int, int], parent: npt.NDArray[np.int32]
) -> tuple[list[bytes], npt.NDArray[np.bool_]]:
    """Masks cut to their parents, and which of them are still masks of their own."""
    from pycocotools import mask as coco_mask

    out = [{"size": list(size), "counts": c} for c in counts]
    kept = np.ones(len(counts), bool)
    for i in range(len(counts) - 1, -1, -1):
        up = int(parent[i])
        if up >= 0:
            out[i] = coco_mask.merge([out[i], out[up]], intersect=True)
            kept[i] = 0 < coco_mask.area(out[i]) < coco_mask.area(out[up])
    return [bytes(c["counts"]) for c, k in zip(out, kept, strict=True) if k], kept


def _without(parent: npt.NDArray[np.int32], kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Parents of the nodes that stay, numbered anew; roots always stay."""
    number = np.append(np.cumsum(kept) - 1, -1)
    above = np.append(_parents.climb(parent, ~kept), -1)[parent]
    return number[above][kept].astype(np.int32)
