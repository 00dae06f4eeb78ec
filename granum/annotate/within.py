"""A generator inside masks that are there: objects in, trees of their parts out.

Divide and conquer, as UnSAM does with the masks of a detector (Wang et al., NeurIPS 2024): the
outer masks are kept, and what a generator finds inside each is grafted below it.
"""

from __future__ import annotations

import numpy as np

from granum.annotate import _parents
from granum.annotate.base import Generator, Image
from granum.annotate.tree import MaskTree
from granum.errors import UsageError
from granum.schema import geometry

__all__ = ["tree_within"]


def tree_within(image: Image, outer: MaskTree, generator: Generator, *, seed: int = 0) -> MaskTree:
    """The masks of ``outer``, and below each that holds no other one the generator's tree of it.

    The generator sees the box around a mask; its nodes are cut to the mask. Those that are then
    empty, or no smaller than the node above, are left out.

    Args:
        image: RGB, uint8, shape (height, width, 3).
        outer: of the image.
        generator: makes the inner trees.
        seed: of whatever it draws at random.

    Returns:
        A pool: generated nodes first, those of ``outer`` last, in their order. Granularity is
        relative to the outermost mask.

    Raises:
        UsageError: image and tree differ in size.
    """
    if len(outer) and outer.size != image.shape[:2]:
        raise UsageError(f"masks of {outer.size} on an image of {image.shape[:2]} (height, width)")
    rle: list[bytes] = []
    parents: list[int] = []  # from -n on: the nodes of ``outer``
    for node in np.flatnonzero(outer.is_leaf).tolist():
        x, y, width, height = outer.bbox[node].astype(int).tolist()
        window = np.s_[y : y + height, x : x + width]
        inner, around = generator.tree(image[window], seed=seed), outer.mask(node)[window]
        found = [inner.mask(i) & around for i in range(len(inner))]
        area = np.array([np.count_nonzero(mask) for mask in found], np.int64)
        kept = (area > 0) & (area < np.append(area, outer.area[node])[inner.parent])
        number = np.where(kept, len(rle) + np.cumsum(kept) - 1, node - len(outer))
        number = np.append(number, node - len(outer))
        above = np.append(_parents.climb(inner.parent, ~kept), -1)[inner.parent]
        parents += number[above][kept].tolist()
        for i in np.flatnonzero(kept).tolist():
            whole = np.zeros(outer.size, bool)
            whole[window] = found[i]
            rle.append(geometry.encode_mask(whole)[1])
    new, total = len(rle), len(rle) + len(outer)
    ends = np.where(outer.parent < 0, -1, outer.parent + new)
    parent = np.append([p if p >= 0 else p + total for p in parents], ends).astype(np.int32)
    rle += outer.rle or [geometry.encode_mask(outer.mask(i))[1] for i in range(len(outer))]
    score = np.append(np.full(new, np.nan), outer.score)
    return MaskTree.pool(outer.size, rle, parent, score=score)
