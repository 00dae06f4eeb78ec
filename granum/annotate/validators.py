"""What must hold of a mask tree, each rule by name.

``validate`` says which nodes break which rule. Trees made by ``MaskTree.partition`` and
``MaskTree.pool`` keep most of them; trees that were edited, or built from people's masks, may not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from granum.annotate import _parents
from granum.annotate.tree import MaskTree
from granum.errors import UnknownNameError
from granum.schema import geometry

__all__ = ["RULES", "Violation", "validate"]


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a node breaks (``node`` None: the tree as a whole)."""

    rule: str
    node: int | None
    message: str


Found = Iterable[tuple[int | None, str]]
Rule = Callable[[MaskTree, float], Found]

RULES: dict[str, Rule] = {}
"""Rules by name; those of ``STRUCTURE`` are asked first, and the others only where they hold."""

STRUCTURE = ("lengths", "parent_order", "rle_sizes", "leaf_labels")


def rule(function: Rule) -> Rule:
    RULES[function.__name__] = function
    return function


def validate(
    tree: MaskTree, rules: Iterable[str] | None = None, *, tolerance: float = 0.0
) -> list[Violation]:
    """What breaks the rules.

    Args:
        tree: of either kind.
        rules: names of rules; all, where None.
        tolerance: share of a mask that may lie outside its parent, or inside a sibling, before
            ``containment`` and ``siblings_disjoint`` say so (pools only).

    Raises:
        UnknownNameError: no such rule.
    """
    wanted = list(RULES if rules is None else rules)
    for name in wanted:
        if name not in RULES:
            raise UnknownNameError("rule", name, RULES)
    out = []
    for names in (STRUCTURE, [n for n in RULES if n not in STRUCTURE]):
        for name in names:
            if name in wanted or names is STRUCTURE:
                out += [Violation(name, i, text) for i, text in RULES[name](tree, tolerance)]
        if out:
            return [v for v in out if v.rule in wanted or v.rule in STRUCTURE]
    return out


@rule
def lengths(tree: MaskTree, tolerance: float) -> Found:
    """Every column has a value per node."""
    n = len(tree.parent)
    for name in ("area", "bbox", "granularity", "level", "altitude", "score"):
        if len(getattr(tree, name)) != n:
            yield None, f"{name} has {len(getattr(tree, name))} values for {n} nodes"
    if tree.rle is not None and len(tree.rle) != n:
        yield None, f"{len(tree.rle)} masks for {n} nodes"


@rule
def parent_order(tree: MaskTree, tolerance: float) -> Found:
    """A parent comes after its children: no cycles."""
    n = len(tree.parent)
    wrong = (tree.parent != -1) & ((tree.parent <= np.arange(n)) | (tree.parent >= n))
    for i in np.flatnonzero(wrong).tolist():
        yield i, f"its parent is {tree.parent[i]}"


@rule
def rle_sizes(tree: MaskTree, tolerance: float) -> Found:
    """Every mask is as large as the image."""
    for i, counts in enumerate(tree.rle or ()):
        try:
            pixels = int(geometry.rle_counts(counts).sum())
        except ValueError as error:
            yield i, str(error)
            continue
        if pixels != tree.size[0] * tree.size[1]:
            yield i, f"{pixels} pixels in an image of {tree.size[1]} x {tree.size[0]}"


@rule
def leaf_labels(tree: MaskTree, tolerance: float) -> Found:
    """A label image of the image's size, with the labels of leaves, which are the first nodes."""
    if tree.leaves is None:
        return
    count = int(tree.is_leaf.sum())
    if tree.is_leaf[count:].any():
        yield None, "leaves are not the first nodes"
    if tree.leaves.shape != tree.size:
        yield None, f"the label image is {tree.leaves.shape}, the image {tree.size}"
    elif tree.leaves.size and (tree.leaves.max() >= count or tree.leaves.min() < -1):
        yield None, f"labels {tree.leaves.min()}..{tree.leaves.max()} for {count} leaves"


@rule
def one_root(tree: MaskTree, tolerance: float) -> Found:
    """A partition has one root; a pool may have any number."""
    if tree.leaves is not None and len(tree.roots) != 1:
        yield None, f"{len(tree.roots)} roots"


@rule
def leaves_tile(tree: MaskTree, tolerance: float) -> Found:
    """Every pixel has a leaf, and every leaf a pixel (partitions)."""
    if tree.leaves is None:
        return
    void = int((tree.leaves < 0).sum())
    if void:
        yield None, f"{void} pixels have no leaf"
    pixels = np.bincount(tree.leaves[tree.leaves >= 0], minlength=len(tree))
    for i in np.flatnonzero(tree.is_leaf & (pixels == 0)).tolist():
        yield i, "it is a leaf without pixels"


@rule
def areas(tree: MaskTree, tolerance: float) -> Found:
    """``area`` counts the mask's pixels."""
    counted = _pixels(tree)
    for i in np.flatnonzero(counted != tree.area).tolist():
        yield i, f"area {tree.area[i]}, but {counted[i]} pixels"


@rule
def area_order(tree: MaskTree, tolerance: float) -> Found:
    """No mask is larger than its parent."""
    yield from _falling(tree, tree.area.astype(np.float64), "area")


@rule
def boxes(tree: MaskTree, tolerance: float) -> Found:
    """``bbox`` is the box of the mask's pixels."""
    for i in range(len(tree)):
        rows, columns = np.nonzero(tree.mask(i))
        if not len(rows):
            continue
        x, y = columns.min(), rows.min()
        box = [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
        if not np.array_equal(tree.bbox[i], box):
            yield i, f"bbox {tree.bbox[i].tolist()}, but its pixels span {list(map(int, box))}"


@rule
def levels(tree: MaskTree, tolerance: float) -> Found:
    """``level`` is the depth below the root."""
    depth = _parents.levels(tree.parent)
    for i in np.flatnonzero(depth != tree.level).tolist():
        yield i, f"level {tree.level[i]}, but it is {depth[i]} below its root"


@rule
def granularity_order(tree: MaskTree, tolerance: float) -> Found:
    """Granularity is in [0, 1] and does not fall from a node to its parent."""
    g = tree.granularity.astype(np.float64)
    for i in np.flatnonzero(~((g >= 0) & (g <= 1))).tolist():
        yield i, f"granularity {g[i]}"
    yield from _falling(tree, g, "granularity")


@rule
def altitude_order(tree: MaskTree, tolerance: float) -> Found:
    """Altitude, where it is known, does not fall from a node to its parent."""
    yield from _falling(tree, tree.altitude, "altitude")


@rule
def only_child(tree: MaskTree, tolerance: float) -> Found:
    """An only child is smaller than its parent."""
    alone = _parents.child_counts(tree.parent) == 1
    for i in np.flatnonzero(tree.parent >= 0).tolist():
        up = int(tree.parent[i])
        if alone[up] and tree.area[i] >= tree.area[up]:
            yield i, f"it is the only child of node {up}, and as large"


@rule
def containment(tree: MaskTree, tolerance: float) -> Found:
    """A mask lies in its parent (pools; true of partitions by construction)."""
    if tree.rle is None:
        return
    for up in np.unique(tree.parent[tree.parent >= 0]).tolist():
        whole = tree.mask(up)
        for i in tree.children(up).tolist():
            mask = tree.mask(i)
            outside = int((mask & ~whole).sum()) / max(int(mask.sum()), 1)
            if outside > tolerance:
                yield i, f"{outside:.1%} of it lies outside node {up}"


@rule
def siblings_disjoint(tree: MaskTree, tolerance: float) -> Found:
    """Children of one node share no pixels (pools; true of partitions by construction)."""
    if tree.rle is None:
        return
    for up in np.unique(tree.parent[tree.parent >= 0]).tolist():
        seen = np.zeros(tree.size, bool)
        for i in tree.children(up).tolist():
            mask = tree.mask(i)
            shared = int((mask & seen).sum()) / max(int(mask.sum()), 1)
            if shared > tolerance:
                yield i, f"{shared:.1%} of it lies in siblings before it"
            seen |= mask


def _pixels(tree: MaskTree) -> npt.NDArray[np.int64]:
    if tree.leaves is not None:
        own = np.bincount(tree.leaves[tree.leaves >= 0], minlength=len(tree))
        return _parents.sums(tree.parent, own)
    counts = [int(geometry.rle_counts(c)[1::2].sum()) for c in tree.rle or ()]
    return np.array(counts, np.int64)


def _falling(tree: MaskTree, values: npt.NDArray[np.float64], what: str) -> Found:
    below = np.flatnonzero(tree.parent >= 0)
    above = tree.parent[below]
    for i in below[values[below] > values[above]].tolist():
        up = int(tree.parent[i])
        yield i, f"{what} {values[i]:g} is above {values[up]:g} of its parent, node {up}"
