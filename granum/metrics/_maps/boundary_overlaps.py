"""How much pairs of masks overlap when their boundaries must as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from granum.metrics._coco.masks import Rle
from granum.metrics._coco.overlaps import MaskOverlaps, Overlaps
from granum.metrics._coco.sides import Sides
from granum.metrics._maps.boundary_masks import boundary, dilation_of
from granum.schema import geometry

__all__ = ["BoundaryOverlaps", "KnownOverlaps"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass
class BoundaryOverlaps(MaskOverlaps):
    """The lower one of the IoU of two masks and of their boundaries; of a crowd, the share of the
    prediction that is in it. Boundaries are drawn only where the masks overlap enough.

    Attributes:
        dilation_ratio: thickness of boundaries, as a share of the image's diagonal.
    """

    dilation_ratio: float

    def exact(self, found: Ints, true: Ints, iou: float) -> Floats:
        value = super().exact(found, true, iou)
        truth, (masks, predicted) = self.sides.truth, self.sides.masks
        pairs = np.flatnonzero((value >= iou) & ~truth.crowd[true])
        # Boundaries of one sample at a time are in memory.
        pairs = pairs[np.argsort(truth.sample[true[pairs]], kind="stable")]
        ends = np.flatnonzero(np.diff(truth.sample[true[pairs]], prepend=-1, append=-1))
        for first, last in pairwise(ends.tolist()):
            some = pairs[first:last]
            (a, to), (b, at) = (np.unique(r[some], return_inverse=True) for r in (true, found))
            mine = _edges([masks[i] for i in a.tolist()], self.dilation_ratio)
            theirs = _edges([predicted[i] for i in b.tolist()], self.dilation_ratio)
            thin = [theirs[i].iou(mine[j]) for i, j in zip(at.tolist(), to.tolist(), strict=True)]
            value[some] = np.minimum(value[some], thin)
        return value


@dataclass
class KnownOverlaps(Overlaps):
    """Overlaps that were computed before; the other pairs overlap less than was asked for.

    Attributes:
        pairs: rows of predictions, rows of truth, overlaps, each of shape (p,).
    """

    pairs: tuple[Ints, Ints, Floats]

    def __post_init__(self) -> None:
        found, true, value = self.pairs
        key = self._key(found, true)
        order = np.argsort(key)
        self._keys, self._values = key[order], value[order]

    @staticmethod
    def of(pairs: tuple[Ints, Ints, Floats], sides: Sides) -> KnownOverlaps:
        """The other way round, for what gives the sides last."""
        return KnownOverlaps(sides, pairs)

    def possible(self, found: Ints, true: Ints, iou: float) -> Flags:
        return np.isin(self._key(found, true), self._keys)

    def exact(self, found: Ints, true: Ints, iou: float) -> Floats:
        return self._values[np.searchsorted(self._keys, self._key(found, true))]

    def _key(self, found: Ints, true: Ints) -> Ints:
        return found * len(self.sides.truth) + true


@dataclass(frozen=True)
class _Edge:
    """The boundary of a mask, cut out of its image, rows and columns exchanged."""

    x: int
    y: int
    flags: Flags
    pixels: int

    def iou(self, other: _Edge) -> float:
        x, y = max(self.x, other.x), max(self.y, other.y)
        one = self.flags[x - self.x :, y - self.y :]
        two = other.flags[x - other.x :, y - other.y :]
        width, height = (min(a, b) for a, b in zip(one.shape, two.shape, strict=True))
        inner = int(np.count_nonzero(one[:width, :height] & two[:width, :height]))
        return inner / (self.pixels + other.pixels - inner) if inner else 0.0


def _edges(masks: Sequence[Rle], ratio: float) -> list[_Edge]:
    """Boundaries of masks, each ``ratio`` of its image's diagonal thick."""
    from pycocotools import mask as coco_mask

    lengths = np.cumsum([0, *(len(m["counts"]) for m in masks)])
    counts, first = geometry.rle_counts_many(b"".join(m["counts"] for m in masks), lengths)
    out = []
    for mask, (a, b) in zip(masks, pairwise(first.tolist()), strict=True):
        x, y, width, height = (int(v) for v in coco_mask.toBbox(mask))
        # Runs go down one column after the other; only the box's columns are drawn.
        tall = mask["size"][0]
        ends = np.clip(np.cumsum(counts[a:b]) - x * tall, 0, width * tall)
        drawn = np.zeros(width * tall, bool)
        drawn[: ends.max(initial=0)] = np.repeat(
            np.arange(b - a) % 2 == 1, np.diff(ends, prepend=0)
        )
        box = drawn.reshape(width, tall)[:, y : y + height]
        flags = boundary(box, dilation_of(tuple(mask["size"]), ratio))
        out.append(_Edge(x, y, flags, int(np.count_nonzero(flags))))
    return out
