"""The mask tree: closed forms on nested squares, properties on random trees."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from granum.annotate.forest import build_forest
from granum.annotate.tree import MaskTree
from granum.annotate.validators import validate
from granum.errors import UsageError
from granum.schema.geometry import encode_mask
from tests.annotate.trees import (
    DRAWN,
    nested_squares,
    random_masks,
    random_partition,
    square,
    square_pool,
)

SEEDS = st.integers(0, 2**32 - 1)


def test_areas_boxes_levels_and_granularity_of_nested_squares() -> None:
    tree = nested_squares()
    assert tree.area.tolist() == [16, 48, 192, 768, 3072, 64, 256, 1024, 4096]
    assert tree.level.tolist() == [4, 4, 3, 2, 1, 3, 2, 1, 0]
    assert tree.bbox[5].tolist() == [0, 0, 8, 8]
    assert tree.granularity[[0, 5, 6, 7, 8]] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    for node, side in ((0, 4), (5, 8), (6, 16), (7, 32), (8, 64)):
        assert np.array_equal(tree.mask(node), square(side))
    assert tree.children(6).tolist() == [2, 5]
    assert tree.ancestors(0).tolist() == [5, 6, 7, 8]
    assert repr(tree) == "<MaskTree: partition, 9 masks, 64 x 64>"


def test_cuts_of_nested_squares() -> None:
    tree = nested_squares()
    assert (tree.cut(1.0) == 8).all()
    assert np.unique(tree.cut(0.9)).tolist() == [4, 7]
    assert np.array_equal(tree.cut(0.8) == 7, square(32))
    assert np.unique(tree.cut(0.7)).tolist() == [3, 4, 6]
    # Finer than anything: the leaves, though the rings are coarser.
    assert np.array_equal(tree.cut(0.0), tree.leaves)
    for k in range(1, 6):
        assert len(np.unique(tree.cut_regions(k))) == k
    assert np.array_equal(tree.cut_regions(2), tree.cut(0.9))
    assert np.array_equal(tree.cut_regions(99), tree.leaves)


def test_a_point_and_a_granularity_name_a_mask() -> None:
    tree = nested_squares()
    assert tree.path(0.0, 3.99).tolist() == [0, 5, 6, 7, 8]
    assert tree.path(4.0, 0.0).tolist() == [1, 5, 6, 7, 8]
    assert [tree.node_at(1, 1, g) for g in (1, 0.9, 0.8, 0.65, 0.3, 0.0)] == [8, 7, 7, 6, 0, 0]
    assert tree.node_at(1, 1, 0.75, nearest=True) == 7
    assert tree.node_at(1, 1, 0.29, nearest=True) == 0
    assert np.array_equal(tree.mask_at(1, 1, 0.85), square(32))
    # Of two that are equally near, the coarser one.
    two = MaskTree.partition([[0, 1]], [2, 2, -1])
    assert two.granularity.tolist() == pytest.approx([0.9, 0.9, 1])
    even = np.float64(two.granularity[0]) / 2 + 0.5
    assert two.node_at(0.5, 0.5, even, nearest=True) == 2
    for x, y in ((64, 0), (0, 64), (-0.1, 0)):
        with pytest.raises(UsageError, match="outside"):
            tree.path(x, y)


def test_a_pool_answers_as_the_partition_does() -> None:
    tree = build_forest(square_pool(), (64, 64)).tree
    assert tree.kind == "pool"
    assert tree.granularity == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert [tree.node_at(1, 1, g) for g in (1, 0.9, 0.65, 0.0)] == [4, 3, 2, 0]
    assert tree.path(20, 20).tolist() == [3, 4]
    assert tree.path(63.9, 63.9).tolist() == [4]
    assert np.array_equal(tree.cut(0.85) >= 0, square(32))
    assert np.array_equal(tree.mask_at(1, 1, 0.85), square(32))
    outside = MaskTree.pool((64, 64), square_pool()[1:2], [-1])
    assert outside.node_at(40, 40, 1) is None
    assert not outside.mask_at(40, 40, 1).any()
    assert outside.cut(1)[40, 40] == -1


def test_smaller_masks_lie_upon_larger_ones() -> None:
    masks = [encode_mask(square(s, at=(a, a)))[1] for s, a in ((8, 4), (12, 0))]
    tree = MaskTree.pool((64, 64), masks, [-1, -1], score=[0.5, None])
    labels = tree.cut(1)
    assert np.array_equal(labels == 0, square(8, at=(4, 4)))
    assert tree.holding(5, 5).tolist() == [0, 1]


@DRAWN
@given(SEEDS, st.booleans())
def test_random_partitions_hold_together(seed: int, void: bool) -> None:
    tree = random_partition(seed, void=void)
    broken = {v.rule for v in validate(tree)}
    assert broken <= {"leaves_tile", "only_child"}
    assert tree.leaves is not None
    assert ("leaves_tile" in broken) == bool((tree.leaves < 0).any())
    for i in range(len(tree)):
        below = tree.children(i)
        masks = [tree.mask(int(j)) for j in below] or [tree.leaves == i]
        assert np.array_equal(tree.mask(i), np.logical_or.reduce(masks))
        assert tree.mask(i).sum() == tree.area[i]


@DRAWN
@given(SEEDS, st.floats(0, 1))
def test_a_cut_tiles_the_image_by_its_definition(seed: int, g: float) -> None:
    tree = random_partition(seed, void=True)
    labels, leaves = tree.cut(g), tree.leaves
    assert leaves is not None
    assert np.array_equal(labels >= 0, leaves >= 0)
    for node in np.unique(labels[labels >= 0]).tolist():
        assert np.array_equal(labels == node, tree.mask(node))
        assert tree.granularity[node] <= g or tree.is_leaf[node]
        up = tree.parent[node]
        assert up < 0 or tree.granularity[up] > g
    row, column = np.argwhere(leaves >= 0)[seed % int((leaves >= 0).sum())]
    assert tree.node_at(column + 0.5, row + 0.5, g) == labels[row, column]


@DRAWN
@given(SEEDS)
def test_coarser_cuts_only_unite_regions(seed: int) -> None:
    tree = random_partition(seed)
    cuts = [tree.cut(g) for g in np.linspace(0, 1, 6)]
    cuts += [tree.cut_regions(k) for k in (8, 4, 2, 1)]
    for series in (cuts[:6], cuts[6:]):
        for fine, coarse in pairwise(series):
            both = {(int(a), int(b)) for a, b in zip(fine.ravel(), coarse.ravel(), strict=True)}
            assert len(both) == len(np.unique(fine))
    assert [len(np.unique(c)) <= k for c, k in zip(cuts[6:], (8, 4, 2, 1), strict=True)] == [
        True
    ] * 4


@DRAWN
@given(SEEDS, st.integers(0, 40), st.integers(1, 20))
def test_pruning_keeps_the_partition(seed: int, min_area: int, max_nodes: int) -> None:
    tree = random_partition(seed, void=True)
    pruned = tree.prune(min_area=min_area, max_nodes=max_nodes)
    assert len(pruned) <= max_nodes
    assert {v.rule for v in validate(pruned)} <= {"leaves_tile", "only_child"}
    assert pruned.leaves is not None and tree.leaves is not None
    assert np.array_equal(pruned.leaves >= 0, tree.leaves >= 0)
    # Every node that stayed was there, as coarse as before.
    before = {(tree.mask(i).tobytes(), tree.granularity[i]) for i in range(len(tree))}
    assert {(pruned.mask(i).tobytes(), pruned.granularity[i]) for i in range(len(pruned))} <= before
    # Only where a sibling is large enough does a small region stay.
    for i in np.flatnonzero(pruned.parent >= 0):
        assert pruned.area[pruned.children(int(pruned.parent[i]))].max() >= min_area


def test_pruning_nested_squares() -> None:
    tree = nested_squares()
    assert tree.prune() == tree
    pruned = tree.prune(max_nodes=5)
    assert sorted(pruned.area.tolist()) == [256, 768, 1024, 3072, 4096]
    assert sorted(tree.prune(min_area=300).area.tolist()) == [256, 768, 1024, 3072, 4096]
    pool = build_forest(square_pool(), (64, 64)).tree
    assert pool.prune(min_area=100).area.tolist() == [256, 1024, 4096]
    assert pool.prune(max_nodes=1).area.tolist() == [4096]
    assert pool.prune(max_nodes=2).parent.tolist() == [1, -1]


@DRAWN
@given(SEEDS, st.integers(0, 60))
def test_pruning_a_pool_hands_children_up(seed: int, min_area: int) -> None:
    masks, _ = random_masks(seed)
    tree = build_forest([encode_mask(m)[1] for m in masks], (24, 30)).tree
    pruned = tree.prune(min_area=min_area)
    assert pruned.area.tolist() == [a for a in tree.area.tolist() if a >= min_area]
    kept = np.flatnonzero(tree.area >= min_area)
    for new, old in enumerate(kept.tolist()):
        above = [a for a in tree.ancestors(old).tolist() if tree.area[a] >= min_area]
        assert pruned.ancestors(new).tolist() == [int(np.searchsorted(kept, a)) for a in above]


def test_a_tree_cannot_be_changed_and_is_compared_by_value() -> None:
    tree = nested_squares()
    with pytest.raises(ValueError, match="read-only"):
        tree.area[0] = 1
    assert tree == nested_squares()
    assert tree != tree.prune(max_nodes=3)
    assert tree != "a tree"


@pytest.mark.parametrize(
    ("leaves", "parent", "message"),
    [
        ([[0, 1]], [2, 2, 0], "parent comes after"),
        ([[0, 1]], [1, -1], "labels"),
        ([[0, 0]], [2, 2, -1], "no pixels"),
        ([[0, 5]], [2, 2, -1], "labels"),
        ([[0, 1]], [-1, -1], "one root"),
        ([[0, 0]], [1, 3, 3, -1], "leaves first"),
    ],
)
def test_what_is_no_partition_is_refused(
    leaves: list[list[int]], parent: list[int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        MaskTree.partition(leaves, parent)


def test_what_is_no_pool_is_refused() -> None:
    with pytest.raises(UsageError, match="empty"):
        MaskTree.pool((4, 4), [encode_mask(np.zeros((4, 4)))[1]], [-1])
    with pytest.raises(UsageError, match="2 parents"):
        MaskTree.pool((64, 64), square_pool()[:1], [1, -1])
    assert len(MaskTree.pool((4, 4), [], [])) == 0
