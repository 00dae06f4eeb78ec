"""Containment forests: known cases, any order of the pool, and what comes out in general."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from granum.annotate.forest import build_forest, residuals, sibling_overlaps
from granum.annotate.validators import validate
from granum.errors import UsageError
from granum.schema.geometry import encode_mask
from tests.annotate.trees import DRAWN, random_masks, square, square_pool

SEEDS = st.integers(0, 2**32 - 1)
SIZE = (64, 64)


def coded(*masks: np.ndarray) -> list[bytes]:
    return [encode_mask(m)[1] for m in masks]


def test_nested_squares_become_a_chain() -> None:
    forest = build_forest(square_pool([2, 0, 4, 1, 3]), SIZE)
    assert forest.tree.parent.tolist() == [1, 2, 3, 4, -1]
    assert forest.tree.area.tolist() == [16, 64, 256, 1024, 4096]
    assert forest.source.tolist() == [2, 4, 0, 3, 1]
    assert not forest.duplicate_of and not forest.empty


def test_the_smallest_holder_is_the_parent_and_85_percent_hold() -> None:
    # 10 x 10, of which 9 columns (or 8) lie in a square of 20; all lie in one of 40.
    big, middle = square(40), square(20)
    nine, eight = square(10, at=(11, 0)), square(10, at=(12, 0))
    assert build_forest(coded(big, middle, nine), SIZE).tree.parent.tolist() == [1, 2, -1]
    assert build_forest(coded(big, middle, eight), SIZE).tree.parent.tolist() == [2, 2, -1]
    assert build_forest(coded(big, middle, eight), SIZE, contain=0.8).tree.parent.tolist() == [
        *(1, 2, -1)
    ]
    assert build_forest(coded(square(8), square(8, at=(30, 30))), SIZE).tree.parent.tolist() == [
        *(-1, -1)
    ]


def test_of_two_duplicates_the_better_one_stays() -> None:
    one, other = square(40), square(41)  # IoU 1600 / 1681
    forest = build_forest(coded(one, other), SIZE, [0.9, 0.5])
    assert forest.source.tolist() == [0] and forest.duplicate_of == {1: 0}
    assert forest.tree.score.tolist() == [0.9]
    assert build_forest(coded(one, other), SIZE).source.tolist() == [1]
    assert build_forest(coded(one, other), SIZE, [None, 0.1]).source.tolist() == [1]
    assert build_forest(coded(one, other), SIZE, dup_iou=0.96).tree.parent.tolist() == [1, -1]
    # Most of it lies in a mask that is hardly larger: neither a duplicate nor a part.
    beside = build_forest(coded(one, square(41, at=(2, 0))), SIZE)
    assert beside.tree.parent.tolist() == [-1, -1]
    assert build_forest(coded(one, one), SIZE, dup_iou=1.5).tree.parent.tolist() == [1, -1]


def test_clipping_makes_containment_exact() -> None:
    pool = coded(square(20), square(10, at=(11, 0)), square(3, at=(19, 0)))
    loose, tight = (build_forest(pool, SIZE, contain=0.3, clip=c) for c in (False, True))
    assert [v.node for v in validate(loose.tree, ["containment"])] == [0, 1]
    assert validate(tight.tree) == []
    assert tight.tree.area.tolist() == [3, 90, 400]
    gone = coded(square(4, at=(20, 0)), square(10, at=(14, 0)), square(20))
    clipped = build_forest(gone, SIZE, contain=0.6, clip=True)
    assert clipped.empty == (0,) and clipped.tree.area.tolist() == [60, 400]


def test_empty_masks_and_an_empty_pool() -> None:
    forest = build_forest(coded(np.zeros(SIZE), square(4)), SIZE)
    assert forest.empty == (0,) and forest.source.tolist() == [1]
    assert len(build_forest([], SIZE).tree) == 0
    with pytest.raises(UsageError):
        build_forest([], SIZE, contain=1.1)


def test_what_children_leave_and_share() -> None:
    half, quarter = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    half[:, :32], quarter[:, 24:40] = True, True
    tree = build_forest(coded(np.ones(SIZE, bool), half, quarter), SIZE).tree
    assert tree.parent.tolist() == [2, 2, -1]
    assert residuals(tree)[2] == pytest.approx(1 - 40 / 64)
    assert sibling_overlaps(tree)[2] == pytest.approx(8 / 48)
    assert np.isnan(residuals(tree)[:2]).all() and np.isnan(sibling_overlaps(tree)[:2]).all()


def test_owners_are_per_mask() -> None:
    pool = coded(square(32), square(16))
    by_image = build_forest(pool, SIZE, owner="image").tree
    assert by_image.granularity == pytest.approx([0.6, 0.8])
    given_ = build_forest(pool, SIZE, owner=np.array([4096.0, 256])).tree
    assert given_.granularity == pytest.approx([1.0, 0.8])


@DRAWN
@given(SEEDS, st.booleans(), st.sampled_from([0.9, 1.5]))
def test_the_order_of_the_pool_changes_nothing(seed: int, clip: bool, dup_iou: float) -> None:
    masks, scores = random_masks(seed)
    order = np.random.default_rng(seed).permutation(len(masks))
    pool = coded(*masks)
    one = build_forest(pool, (24, 30), scores, clip=clip, dup_iou=dup_iou)
    other = build_forest(
        [pool[i] for i in order], (24, 30), scores[order], clip=clip, dup_iou=dup_iou
    )
    assert one.tree == other.tree


@DRAWN
@given(SEEDS, st.floats(0.3, 1), st.booleans())
def test_forests_in_general(seed: int, contain: float, clip: bool) -> None:
    masks, scores = random_masks(seed)
    forest = build_forest(coded(*masks), (24, 30), scores, contain=contain, clip=clip)
    tree = forest.tree
    allowed = {"siblings_disjoint"} if clip else {"siblings_disjoint", "containment"}
    assert {v.rule for v in validate(tree)} <= allowed
    assert validate(tree, ["containment"], tolerance=1 - contain + 1e-9) == []
    # Every mask is a node, a duplicate of one that is at least as good, or empty.
    assert sorted([*forest.source, *forest.duplicate_of, *forest.empty]) == list(range(len(masks)))
    for one, better in forest.duplicate_of.items():
        assert scores[better] >= scores[one]
        both = (masks[one] & masks[better]).sum() / (masks[one] | masks[better]).sum()
        assert both >= 0.9
    if not clip:
        for node, source in enumerate(forest.source.tolist()):
            assert np.array_equal(tree.mask(node), masks[source])
            up = int(tree.parent[node])
            holders = [
                j
                for j in range(len(tree))
                if tree.area[j] * 0.9 >= tree.area[node]
                and (tree.mask(j) & tree.mask(node)).sum() >= contain * tree.area[node] - 1e-9
            ]
            smallest = min((int(tree.area[j]) for j in holders), default=None)
            assert (None if up < 0 else int(tree.area[up])) == smallest


def test_more_masks_than_pycocotools_measures_at_once() -> None:
    masks = []
    for i in range(300):
        mask = np.zeros((20, 20), bool)
        mask.flat[: i + 1] = True
        masks.append(encode_mask(mask)[1])
    forest = build_forest(masks, (20, 20), dup_iou=1.1)
    assert forest.tree.area.tolist() == list(range(1, 301))
    assert forest.tree.parent.tolist() == [*range(1, 300), -1]
