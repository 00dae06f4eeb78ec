"""The simulated annotator, and trees that answer it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("scipy")

from granum.annotate.clicks import (
    Click,
    TreePredictor,
    clicks_needed,
    deepest,
    distances,
    iou,
    next_click,
    oracle,
    simulate,
)
from granum.annotate.forest import build_forest
from granum.annotate.tree import MaskTree
from granum.errors import UsageError
from tests.annotate.trees import nested_squares, square, square_pool

NONE = np.zeros((64, 64), bool)


def test_distances_end_at_the_border_of_the_image() -> None:
    assert distances(np.ones((5, 7), bool))[2].tolist() == [1, 2, 3, 3, 3, 2, 1]
    assert distances(np.array([[True, True, False]]), beyond=True).tolist() == [[2, 1, 0]]
    assert deepest(square(5)) == (2.5, 2.5, 3)
    assert deepest(square(4))[:2] == (1.5, 1.5)  # of four middles the first
    assert deepest(NONE)[2] == 0


def test_the_next_click_is_in_the_middle_of_the_larger_error() -> None:
    truth, wrong = square(9), square(7, at=(30, 40))
    assert next_click(truth, NONE) == Click(4.5, 4.5, True)
    assert next_click(truth, wrong) == Click(4.5, 4.5, True)
    assert next_click(square(5), wrong) == Click(33.5, 43.5, False)
    # Equally deep: a negative click.
    assert next_click(square(7), wrong).positive is False
    assert next_click(truth, truth & ~square(3)) == Click(1.5, 1.5, True)


def test_no_pixel_is_clicked_twice_and_ignored_ones_never() -> None:
    first = next_click(square(5), NONE)
    second = next_click(square(5), NONE, [first])
    assert (second.x, second.y) != (first.x, first.y) and second.positive
    assert next_click(square(5), NONE, ignore=square(2)) == Click(3.5, 1.5, True)
    with pytest.raises(UsageError, match="agree"):
        next_click(square(5), square(5))
    with pytest.raises(UsageError, match="agree"):
        next_click(square(5), NONE, ignore=square(5))


def test_iou() -> None:
    assert iou(square(2), square(4)) == 0.25
    assert iou(square(2), square(4), square(4) & ~square(2)) == 1
    assert iou(NONE, NONE) == 1


def test_clicks_are_given_until_the_mask_is_good() -> None:
    asked: list[list[Click]] = []

    def grow(clicks: Sequence[Click]) -> np.ndarray:
        asked.append(list(clicks))
        return square(4 * len(clicks))

    assert simulate(grow, square(16), target_iou=0.5) == [1 / 16, 4 / 16, 9 / 16]
    assert [len(c) for c in asked] == [1, 2, 3]
    assert simulate(grow, square(16), max_clicks=2) == [1 / 16, 4 / 16]
    # Beyond any target: as long as there is an error.
    assert simulate(grow, square(16), target_iou=1.01) == [1 / 16, 4 / 16, 9 / 16, 1]
    assert clicks_needed([0.1, 0.5, 0.9], 0.5) == 2
    assert clicks_needed([0.1, 0.5], 0.9, max_clicks=20) == 20


@pytest.mark.parametrize(
    "tree", [nested_squares(), build_forest(square_pool(), (64, 64)).tree], ids=["leaves", "pool"]
)
def test_a_tree_answers_with_the_node_of_a_granularity(tree: MaskTree) -> None:
    inside, outside = Click(1.5, 1.5, True), Click(12.5, 1.5, False)
    for g, side in ((1.0, 64), (0.8, 32), (0.6, 16), (0.4, 8)):
        assert np.array_equal(TreePredictor(tree, g)([inside]), square(side))
    # A negative click makes it retreat to what does not hold it.
    assert np.array_equal(TreePredictor(tree)([inside, outside]), square(8))
    assert not TreePredictor(tree)([inside, Click(1.5, 1.5, False)]).any()
    assert not TreePredictor(tree)([outside]).any()


def test_several_positive_clicks_are_united() -> None:
    tree = MaskTree.partition(
        np.arange(64).repeat(64).reshape(64, 64) // 16, [4, 4, 5, 5, 6, 6, -1]
    )
    found = TreePredictor(tree, 0.8)([Click(1, 1, True), Click(1, 63, True)])
    rows = np.flatnonzero(found[:, 0])
    assert rows.tolist() == [*range(16), *range(48, 64)]


def test_knowing_the_granularity_saves_clicks() -> None:
    tree, truth = nested_squares(), square(16)
    fixed = simulate(TreePredictor(tree, 1.0), truth)
    g, best = oracle(tree, truth)
    assert g == 0.6 and best == [1.0]
    assert len(fixed) > 1 and fixed[0] == 1 / 16
    # Where no granularity meets the target, the best first answer counts.
    g, found = oracle(tree, square(20), max_clicks=1, levels=(0.4, 0.6, 0.8))
    assert g == 0.6 and found == [256 / 400]
    with pytest.raises(UsageError):
        oracle(tree, truth, levels=())
