"""Each rule finds the tree that breaks it, and names the node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from granum.annotate.forest import build_forest
from granum.annotate.tree import MaskTree
from granum.annotate.validators import RULES, validate
from granum.errors import UnknownNameError
from granum.schema.geometry import encode_mask
from tests.annotate.trees import nested_squares, square, square_pool


def pool() -> MaskTree:
    return build_forest(square_pool(), (64, 64)).tree


def moved(values: Any, at: int, to: Any) -> Any:
    out = np.array(values)
    out[at] = to
    return out


def counts(side: int, at: tuple[int, int] = (0, 0)) -> bytes:
    return encode_mask(square(side, at=at))[1]


def overlapping() -> MaskTree:
    masks = [counts(8), counts(10, (4, 0)), counts(64)]
    return MaskTree.pool((64, 64), masks, [2, 2, -1])


BROKEN = {
    "lengths": (lambda: replace(nested_squares(), score=np.zeros(3)), None),
    "parent_order": (lambda: replace(nested_squares(), parent=moved([5] * 9, 8, -1)), 5),
    "rle_sizes": (lambda: replace(pool(), rle=(*square_pool()[:4], b"04")), 4),
    "leaf_labels": (lambda: replace(nested_squares(), leaves=np.full((64, 64), 5)), None),
    "one_root": (
        lambda: replace(nested_squares(), parent=moved(nested_squares().parent, 7, -1)),
        0,
    ),
    "leaves_tile": (lambda: replace(nested_squares(), leaves=np.zeros((64, 64), np.int32)), 1),
    "areas": (lambda: replace(nested_squares(), area=moved(nested_squares().area, 5, 65)), 5),
    "area_order": (lambda: replace(pool(), area=moved(pool().area, 0, 65)), 0),
    "boxes": (lambda: replace(pool(), bbox=moved(pool().bbox, 1, [0, 0, 8, 9])), 1),
    "levels": (lambda: replace(pool(), level=moved(pool().level, 4, 1)), 4),
    "granularity_order": (
        lambda: replace(pool(), granularity=moved(pool().granularity, 0, 0.9)),
        0,
    ),
    "altitude_order": (lambda: replace(pool(), altitude=np.array([0, 3, 1, 4, 5.0])), 1),
    "only_child": (lambda: MaskTree.pool((64, 64), [counts(8)] * 2, [1, -1]), 0),
    "containment": (lambda: MaskTree.pool((64, 64), [counts(4, (6, 0)), counts(8)], [1, -1]), 0),
    "siblings_disjoint": (overlapping, 1),
}


def test_every_rule_has_a_tree_that_breaks_it() -> None:
    assert BROKEN.keys() == RULES.keys()


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_named(rule: str) -> None:
    make, node = BROKEN[rule]
    found = [v for v in validate(make()) if v.rule == rule]
    assert found and found[0].message
    assert rule == "one_root" or found[0].node == node


@pytest.mark.parametrize("tree", [nested_squares(), pool()])
def test_sound_trees_break_none(tree: MaskTree) -> None:
    assert validate(tree) == []


def test_one_rule_alone_and_a_tolerance() -> None:
    tree = overlapping()
    assert validate(tree, ["containment"]) == []
    assert [v.node for v in validate(tree, ["siblings_disjoint"])] == [1]
    assert validate(tree, ["siblings_disjoint"], tolerance=0.32) == []
    loose = MaskTree.pool((64, 64), [counts(4, (6, 0)), counts(8)], [1, -1])
    assert validate(loose, ["containment"], tolerance=0.5) == []
    with pytest.raises(UnknownNameError, match="tidy"):
        validate(tree, ["tidy"])


def test_a_tree_without_structure_is_asked_nothing_more() -> None:
    make, _ = BROKEN["rle_sizes"]
    assert {v.rule for v in validate(make())} == {"rle_sizes"}
