"""How coarse a mask is: one number in [0, 1], from its area and the area of its owner.

The owner is what a mask is a part of: the root of its tree, or the image. The canonical scale
counts octaves of area, ``clip(1 + log2(area / owner) / 10, 0, 1)``: a mask of a 1024th of its
owner or less has 0, the owner itself has 1. Only the ratio counts, so the number of a mask does
not change when others come or go, and it never falls from a mask to its parent. Further views:

``area``      the ratio itself; GraCo (Zhao et al., CVPR 2024) rounds it to tenths, 0.1 at least
``root_area`` its square root, which is linear in length
``unsam``     UnSAMv2 (2025): square roots stretched to 0.1..1 over one family of masks
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from granum.errors import UnknownNameError, UsageError

__all__ = [
    "OCTAVES",
    "VIEWS",
    "Owner",
    "convert",
    "graco",
    "graco_bins",
    "octave_bins",
    "octaves",
    "owner_areas",
    "ratios",
    "root_nodes",
    "unsam",
    "view",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Owner = Literal["root", "image"] | npt.NDArray[np.float64]

OCTAVES = 10
"""How many halvings of the area the canonical scale spans."""

VIEWS = ("octaves", "area", "root_area")
"""Views that one mask's ratio decides, so that they convert into each other."""


def octaves(area: npt.ArrayLike, owner: npt.ArrayLike, span: float = OCTAVES) -> Floats:
    """``clip(1 + log2(area / owner) / span, 0, 1)``; NaN where an area is not known.

    Args:
        area: of masks, in square pixels; 0 gives 0.
        owner: area of each one's owner, above 0.
        span: octaves from 0 to 1.
    """
    ratio = _ratio(area, owner)
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(1 + np.log2(ratio) / span, 0, 1))


def view(name: str, area: npt.ArrayLike, owner: npt.ArrayLike) -> Floats:
    """Granularity by the name of a view (see ``VIEWS``).

    Raises:
        UnknownNameError: no such view.
    """
    if name == "octaves":
        return octaves(area, owner)
    if name == "area":
        return np.clip(_ratio(area, owner), 0, 1)
    if name == "root_area":
        return np.sqrt(np.clip(_ratio(area, owner), 0, 1))
    raise UnknownNameError("view of granularity", name, VIEWS)


def ratios(values: npt.ArrayLike, name: str = "octaves", span: float = OCTAVES) -> Floats:
    """Area by owner's area of granularities in a view: the way back from ``view``. What was
    clipped stays so: octaves 0 gives the smallest ratio that the scale tells apart."""
    g = np.asarray(values, np.float64)
    if name == "octaves":
        return np.asarray(np.exp2(span * (g - 1)))
    if name == "area":
        return g
    if name == "root_area":
        return np.square(g)
    raise UnknownNameError("view of granularity", name, VIEWS)


def convert(values: npt.ArrayLike, source: str, target: str) -> Floats:
    """Granularities of one view in another."""
    return view(target, ratios(values, source), np.float64(1))


def graco(area: npt.ArrayLike, owner: npt.ArrayLike) -> Floats:
    """GraCo's label: the ratio of areas rounded to tenths, 0.1 at least, 1 at most."""
    return np.clip(np.round(_ratio(area, owner), 1), 0.1, 1.0)


def graco_bins(area: npt.ArrayLike, owner: npt.ArrayLike) -> Ints:
    """The row 0..9 of GraCo's embedding table: ``clip(10 g - 1, 0, 9)``."""
    return np.clip(np.rint(10 * graco(area, owner)) - 1, 0, 9).astype(np.int64)


def octave_bins(values: npt.ArrayLike, bins: int = OCTAVES) -> Ints:
    """Equal bins of [0, 1], the last one closed on both sides."""
    g = np.asarray(values, np.float64)
    return np.clip(np.floor(g * bins), 0, bins - 1).astype(np.int64)


def unsam(area: npt.ArrayLike, family: npt.ArrayLike) -> Floats:
    """UnSAMv2's label: ``0.1 + 0.9 (sqrt(a) - low) / (high - low)`` over the masks of one family
    (low and high are the extremes of ``sqrt(area)`` in it; 1 where they are equal).

    It depends on which other masks there are: for export, not for keeping.

    Args:
        area: of masks, shape (n,).
        family: which masks belong together, shape (n,), any integers.
    """
    side = np.sqrt(np.asarray(area, np.float64))
    _, member = np.unique(np.asarray(family), return_inverse=True)
    low = np.full(member.max(initial=-1) + 1, np.inf)
    high = np.full(len(low), -np.inf)
    np.minimum.at(low, member, side)
    np.maximum.at(high, member, side)
    reach = (high - low)[member]
    safe = np.where(reach > 0, reach, 1.0)
    return np.where(reach > 0, 0.1 + 0.9 * (side - low[member]) / safe, 1.0)


def root_nodes(parent: npt.NDArray[np.int32]) -> Ints:
    """The root above each node; ``parent[i] > i``, -1 at roots."""
    top = np.arange(len(parent))
    up = np.where(parent < 0, top, parent)
    while not np.array_equal(up, up[up]):
        up = up[up]
    return np.asarray(up, np.int64)


def owner_areas(
    parent: npt.NDArray[np.int32], area: Floats, size: tuple[int, int], owner: Owner = "root"
) -> Floats:
    """The area of each node's owner.

    Args:
        parent: parents of the nodes.
        area: their areas.
        size: (height, width) of the image.
        owner: ``root``: of the node's tree; ``image``; or an area each (or one for all).
    """
    if isinstance(owner, str):
        if owner == "root":
            return area[root_nodes(parent)]
        if owner == "image":
            return np.full(len(parent), float(size[0] * size[1]))
        raise UnknownNameError("owner", owner, ("root", "image"))
    return np.array(np.broadcast_to(np.asarray(owner, np.float64), (len(parent),)))


def _ratio(area: npt.ArrayLike, owner: npt.ArrayLike) -> Floats:
    whole = np.asarray(owner, np.float64)
    if (whole <= 0).any():
        raise UsageError("the area of an owner must be above 0")
    return np.asarray(np.asarray(area, np.float64) / whole)
