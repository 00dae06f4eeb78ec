"""The mask tree of an image: which masks there are, and which lies in which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.annotate import _parents
from granum.annotate._rle import areas
from granum.annotate.granularity import Owner, octaves, owner_areas
from granum.errors import UsageError
from granum.schema import geometry

__all__ = ["MaskTree"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class MaskTree:
    """Masks of one image, each inside its parent. Immutable.

    A *partition* has a label image of its leaves, which share no pixel; any other node is the
    union of its children. A *pool* has a mask per node, and masks may overlap. Make one with
    ``MaskTree.partition`` or ``MaskTree.pool``. Node ``i`` comes before its parent.

    Attributes:
        size: (height, width) in pixels.
        parent: int32, shape (n,); ``parent[i] > i``, -1 at roots.
        area: pixels of each mask, int64.
        bbox: xywh in pixels, shape (n, 4), origin at the top-left corner of the image.
        granularity: octaves of area relative to the owner, in [0, 1], float32; what is asked for
            is rounded to float32 too, so that 0.8 finds a mask of 0.8.
        level: depth, roots 0, int32.
        altitude: the value at which a generator merged the children; NaN where there is none.
        score: NaN where unknown.
        leaves: int32, shape (height, width): the leaf 0..L-1 of each pixel, -1 where there is
            none; None in a pool.
        rle: compressed COCO counts of each node; None in a partition.
    """

    size: tuple[int, int]
    parent: npt.NDArray[np.int32]
    area: Ints
    bbox: Floats
    granularity: npt.NDArray[np.float32]
    level: npt.NDArray[np.int32]
    altitude: Floats
    score: Floats
    leaves: Labels | None = None
    rle: tuple[bytes, ...] | None = None

    def __post_init__(self) -> None:
        if (self.leaves is None) == (self.rle is None):
            raise UsageError("a mask tree has either a label image of its leaves or RLEs")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                frozen = value.view()
                frozen.flags.writeable = False
                object.__setattr__(self, field.name, frozen)

    # ------------------------------------------------------------------ making

    @classmethod
    def partition(
        cls,
        leaves: npt.ArrayLike,
        parent: npt.ArrayLike,
        *,
        altitude: npt.ArrayLike | None = None,
        score: npt.ArrayLike | None = None,
        owner: Owner = "root",
    ) -> MaskTree:
        """A tree over the regions of a label image.

        Args:
            leaves: integers, shape (height, width): leaf 0..L-1 of each pixel, -1 for none.
            parent: of each node, the L leaves first; one root, which is the last node.
            altitude, score: one per node, where there are any.
            owner: whose area granularity is relative to (see ``granularity.owner_areas``).

        Raises:
            UsageError: ``parent`` is no such tree, or a leaf has no pixels.
        """
        labels, up = np.asarray(leaves, np.int32), _checked(parent)
        inner = _parents.child_counts(up) > 0
        count = int((~inner).sum())
        if inner[:count].any() or (up < 0).sum() != 1 or labels.ndim != 2:
            raise UsageError("a partition needs its leaves first, and one root")
        if labels.size and (labels.max() >= count or labels.min() < -1):
            raise UsageError(f"leaf labels must be in -1..{count - 1}")
        pixels = np.bincount(labels[labels >= 0], minlength=len(up))
        if not pixels[:count].all():
            raise UsageError(f"leaf {int(np.argmin(pixels[:count]))} has no pixels")
        area = _parents.sums(up, pixels)
        height, width = labels.shape
        return cls(
            (height, width),
            up,
            area,
            _boxes(labels, up),
            _granularity(up, area, (height, width), owner),
            _parents.levels(up),
            _each(altitude, len(up)),
            _each(score, len(up)),
            leaves=labels,
        )

    @classmethod
    def pool(
        cls,
        size: tuple[int, int],
        rle: Sequence[bytes],
        parent: npt.ArrayLike,
        *,
        altitude: npt.ArrayLike | None = None,
        score: npt.ArrayLike | None = None,
        owner: Owner = "root",
    ) -> MaskTree:
        """A forest over masks of their own.

        Args:
            size: (height, width) of every mask.
            rle: compressed COCO counts, one per node.
            parent, altitude, score, owner: as in ``partition``; any number of roots.

        Raises:
            UsageError: ``parent`` is no forest over these masks, or a mask is empty.
        """
        from pycocotools import mask as coco_mask

        up = _checked(parent)
        if len(up) != len(rle):
            raise UsageError(f"{len(rle)} masks and {len(up)} parents")
        coded = [{"size": list(size), "counts": c} for c in rle]
        area = areas(coded)
        if not area.all():
            raise UsageError(f"mask {int(np.argmin(area))} is empty")
        boxes = np.asarray(coco_mask.toBbox(coded) if coded else [], np.float64).reshape(-1, 4)
        return cls(
            (int(size[0]), int(size[1])),
            up,
            area,
            boxes,
            _granularity(up, area, size, owner),
            _parents.levels(up),
            _each(altitude, len(up)),
            _each(score, len(up)),
            rle=tuple(rle),
        )

    # ------------------------------------------------------------------ looking

    @property
    def kind(self) -> str:
        """``partition`` or ``pool``."""
        return "pool" if self.leaves is None else "partition"

    def __len__(self) -> int:
        return len(self.parent)

    def __repr__(self) -> str:
        height, width = self.size
        return f"<MaskTree: {self.kind}, {len(self)} masks, {width} x {height}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MaskTree):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]

    @property
    def roots(self) -> Ints:
        return np.flatnonzero(self.parent < 0)

    @cached_property
    def is_leaf(self) -> Mask:
        return _parents.child_counts(self.parent) == 0

    def children(self, i: int) -> Ints:
        """The nodes right below node ``i``."""
        return np.flatnonzero(self.parent == i)

    def ancestors(self, i: int) -> Ints:
        """The nodes above node ``i``, the nearest first."""
        out = []
        while (i := int(self.parent[i])) >= 0:
            out.append(i)
        return np.array(out, np.int64)

    def mask(self, i: int) -> Mask:
        """The mask of node ``i``, shape (height, width)."""
        if self.rle is not None:
            return geometry.rle_decode(self.size, self.rle[i])
        rank, start, stop = self._ranked
        return (rank >= start[i]) & (rank < stop[i])

    @cached_property
    def _ranked(self) -> tuple[Labels, Ints, Ints]:
        """Leaves renumbered so that those below any node are a range, and the ranges."""
        assert self.leaves is not None
        start, stop = _parents.leaf_spans(self.parent)
        return np.append(start, -1).astype(np.int32)[self.leaves], start, stop

    # ------------------------------------------------------------------ asking

    def cut(self, g: float) -> Labels:
        """The image taken apart at granularity ``g``: int32 node indices, shape (height, width).

        Of every branch the coarsest node that is no coarser than ``g``, or its leaf where all of
        it is coarser. Pixels that no node holds are -1. A partition is tiled; in a pool, smaller
        masks lie upon larger ones.
        """
        coarseness = np.append(self.granularity, np.float32(np.inf))
        below = coarseness[self.parent] <= np.float32(g)
        return self._painted(_parents.climb(self.parent, below))

    def cut_regions(self, k: int) -> Labels:
        """As ``cut``, with at most ``k`` regions (but one per root): the nodes of the greatest
        altitude are taken apart first, or of the greatest area where altitudes are unknown."""
        split = _parents.splits(self.parent, self._height, k, regions=True)
        return self._painted(_parents.climb(self.parent, ~np.append(split, True)[self.parent]))

    @cached_property
    def _height(self) -> Floats:
        unknown = np.isnan(self.altitude[~self.is_leaf]).any()
        height = self.area.astype(np.float64) if unknown else self.altitude
        return np.nan_to_num(height, nan=-np.inf)

    def _painted(self, chosen: Ints) -> Labels:
        """The label image of what the leaves became (``chosen``: a node for every node)."""
        if self.leaves is not None:
            return np.append(chosen, -1)[self.leaves].astype(np.int32)
        out = np.full(self.size, -1, np.int32)
        nodes = np.unique(chosen[self.is_leaf])
        for i in nodes[np.argsort(-self.area[nodes], kind="stable")]:
            out[self.mask(i)] = i
        return out

    def path(self, x: float, y: float) -> Ints:
        """The nodes at a point, from the leaf up to its root; empty where there are none.

        In a pool: the smallest mask there, and those it lies in.

        Args:
            x, y: in pixels, ``0 <= x < width``, ``0 <= y < height``; pixel 0 spans 0..1.

        Raises:
            UsageError: the point is outside the image.
        """
        leaf = self.holding(x, y)[:1]
        return np.append(leaf, self.ancestors(int(leaf[0]))) if len(leaf) else leaf

    def holding(self, x: float, y: float) -> Ints:
        """All masks that hold a point, the smallest first (in a pool, not only its path)."""
        height, width = self.size
        if not (0 <= x < width and 0 <= y < height):
            raise UsageError(f"({x}, {y}) is outside the image of {width} x {height} pixels")
        column, row = int(x), int(y)
        if self.leaves is not None:
            leaf = int(self.leaves[row, column])
            return np.append(leaf, self.ancestors(leaf)) if leaf >= 0 else np.empty(0, np.int64)
        low, high = self.bbox[:, :2], self.bbox[:, :2] + self.bbox[:, 2:]
        near = np.flatnonzero(((low <= (column, row)) & (high > (column, row))).all(axis=1))
        held = [i for i in near.tolist() if self._has_pixel(i, column * height + row)]
        return np.array(sorted(held, key=lambda i: (self.area[i], i)), np.int64)

    def _has_pixel(self, i: int, place: int) -> bool:
        """Whether mask ``i`` of a pool has a pixel, counted down the columns."""
        assert self.rle is not None
        ends = np.cumsum(geometry.rle_counts(self.rle[i]))
        return bool(np.searchsorted(ends, place, side="right") % 2)

    def node_at(self, x: float, y: float, g: float, *, nearest: bool = False) -> int | None:
        """The node at a point that answers to granularity ``g``; None where there is none.

        The coarsest one no coarser than ``g``, or the leaf where all are coarser; with
        ``nearest`` the one whose granularity is closest (of two, the coarser).
        """
        path = self.path(x, y)
        if not len(path):
            return None
        found, asked = self.granularity[path], np.float32(g)
        if nearest:
            return int(path[::-1][np.argmin(np.abs(found[::-1] - asked))])
        return int(path[max(int((found <= asked).sum()) - 1, 0)])

    def mask_at(self, x: float, y: float, g: float, *, nearest: bool = False) -> Mask:
        """The mask of ``node_at``, shape (height, width); empty where there is none."""
        node = self.node_at(x, y, g, nearest=nearest)
        return np.zeros(self.size, bool) if node is None else self.mask(node)

    # ------------------------------------------------------------------ changing

    def prune(self, *, min_area: float = 0, max_nodes: int | None = None) -> MaskTree:
        """Fewer nodes; those that stay keep their granularity.

        A partition is still tiled: a node whose children are all below ``min_area`` becomes a
        leaf (a small region beside a large sibling stays), and the nodes of the lowest altitude
        (see ``cut_regions``) become leaves until ``max_nodes`` are left. A pool drops the masks
        below ``min_area`` and keeps the ``max_nodes`` largest; what lay in a dropped one lies in
        the next one up.
        """
        from granum.annotate._pruning import prune_partition, prune_pool

        prune = prune_pool if self.leaves is None else prune_partition
        return prune(self, min_area, max_nodes)


def _checked(parent: npt.ArrayLike) -> npt.NDArray[np.int32]:
    up = np.asarray(parent, np.int32).reshape(-1)
    wrong = (up != -1) & ((up <= np.arange(len(up))) | (up >= len(up)))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise UsageError(f"node {i} has parent {up[i]}: a parent comes after its children")
    return up


def _each(values: npt.ArrayLike | None, n: int) -> Floats:
    return np.full(n, np.nan) if values is None else np.asarray(values, np.float64).reshape(n)


def _granularity(
    parent: npt.NDArray[np.int32], area: Ints, size: tuple[int, int], owner: Owner
) -> npt.NDArray[np.float32]:
    pixels = area.astype(np.float64)
    return octaves(pixels, owner_areas(parent, pixels, size, owner)).astype(np.float32)


def _boxes(labels: Labels, parent: npt.NDArray[np.int32]) -> Floats:
    """Boxes, xywh, of the leaves' pixels and of what lies above."""
    sides = []
    rows, columns = np.nonzero(labels >= 0)
    for at in (columns, rows):
        low = np.full(len(parent), np.iinfo(np.int64).max)
        high = np.full(len(parent), -1)
        np.minimum.at(low, labels[rows, columns], at)
        np.maximum.at(high, labels[rows, columns], at)
        sides.append(_parents.extents(parent, low, high))
    (left, right), (top, bottom) = sides
    return np.column_stack([left, top, right + 1 - left, bottom + 1 - top]).astype(np.float64)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return type(a) is type(b) and bool(a == b)
