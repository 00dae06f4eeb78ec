"""A generator inside masks that are there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from granum.annotate.base import Generator
from granum.annotate.forest import build_forest
from granum.annotate.storing import tree_of
from granum.annotate.tree import MaskTree
from granum.annotate.within import tree_within
from granum.errors import UnknownNameError, UsageError
from granum.schema.geometry import encode_mask
from granum.schema.rows import Annotation, Category, Media, Rle, Sample
from granum.store.dataset import Dataset
from granum.verbs.hierarchy import hierarchy
from tests.annotate.trees import square

PICTURE = np.zeros((64, 64, 3), np.uint8)


@dataclass(frozen=True)
class Quarters(Generator):
    """What it is given, its left and right half, and the upper and lower half of the left one."""

    name = "quarters"

    def tree(self, image: np.ndarray, *, seed: int = 0) -> MaskTree:
        height, width = image.shape[:2]
        leaves = np.full((height, width), 2)
        leaves[:, : width // 2] = 0
        leaves[height // 2 :, : width // 2] = 1
        return MaskTree.partition(leaves, [3, 3, 4, 4, -1])


def outer(*masks: np.ndarray) -> MaskTree:
    return build_forest([encode_mask(m)[1] for m in masks], (64, 64)).tree


def box(x: int, y: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros((64, 64), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def test_trees_hang_below_the_masks_that_hold_no_other() -> None:
    objects = outer(square(16, at=(8, 8)), square(40), square(20, at=(44, 44)))
    tree = tree_within(PICTURE, objects, Quarters())
    # Of the square of 16 pixels and of that of 20: two quarters, their half, the other half.
    first = [box(8, 8, 8, 8), box(8, 16, 8, 8), box(16, 8, 8, 16), box(8, 8, 8, 16)]
    second = [box(44, 44, 10, 10), box(44, 54, 10, 10), box(54, 44, 10, 20), box(44, 44, 10, 20)]
    wanted = [*first, *second, *(objects.mask(i) for i in range(3))]
    assert len(tree) == 11
    for i, mask in enumerate(wanted):
        np.testing.assert_array_equal(tree.mask(i), mask)
    assert tree.parent.tolist() == [3, 3, 8, 8, 7, 7, 9, 9, 10, -1, -1]
    assert tree.granularity[8] == pytest.approx(1 + np.log2(16**2 / 40**2) / 10)


def test_nodes_are_cut_to_the_mask_and_are_smaller_than_what_is_above() -> None:
    corner = box(0, 0, 20, 20) & ~box(0, 0, 10, 10)  # the upper left quarter is missing
    tree = tree_within(PICTURE, outer(corner), Quarters())
    # What is left of the left half is its lower quarter, which is not said twice.
    wanted = [box(10, 0, 10, 20), box(0, 10, 10, 10), corner]
    for i, mask in enumerate(wanted):
        np.testing.assert_array_equal(tree.mask(i), mask)
    assert tree.parent.tolist() == [2, 2, -1]


def test_no_masks_and_masks_of_another_size() -> None:
    assert len(tree_within(PICTURE, outer(), Quarters())) == 0
    with pytest.raises(UsageError, match="64, 64"):
        tree_within(PICTURE[:10], outer(square(8)), Quarters())


def test_a_layer_of_objects_and_their_parts(tmp_path: Path) -> None:
    samples = []
    for i in range(3):
        Image.fromarray(PICTURE).save(tmp_path / f"{i}.png")
        samples.append(Sample(f"{i}.png", Media(f"{i}.png"), 64, 64))
    cup = Rle(*encode_mask(square(16, at=(8, 8))))
    samples[1].annotations = [
        Annotation(category=1, bbox=(1, 1, 4, 4)),  # has no mask
        Annotation(category=0, rle=cup, score=0.5, attributes={"colour": "red"}),
    ]
    samples[2].annotations = [Annotation(category=1, rle=cup)]
    made = Dataset.from_rows(samples, [Category("cup"), Category("dog")], media_root=tmp_path)
    store = made.save(tmp_path / "x.granum")
    done = hierarchy(store, Quarters(), within="truth", layer="parts")
    assert (done.facts["trees"], done.facts["nodes"]) == (2, 10)
    assert done.dataset.meta.layers["parts"]["parent"] == "truth"
    rows = done.dataset[1].annotations
    assert [a.category for a in rows] == [None] * 4 + [0]
    assert (rows[4].score, rows[4].attributes) == (0.5, {"colour": "red"})
    assert [a.parent for a in rows] == [rows[i].annotation_id for i in (3, 3, 4, 4)] + [None]
    assert tree_of(done.dataset, 2) == tree_within(
        PICTURE, outer(square(16, at=(8, 8))), Quarters()
    )
    with pytest.raises(UnknownNameError, match="nowhere"):
        hierarchy(store, Quarters(), within="nowhere", layer="other")
    with pytest.raises(UsageError, match="within"):
        hierarchy(store, "forest", within="truth", layer="other")
    with pytest.raises(UsageError, match="of="):
        hierarchy(store, Quarters(), of="truth", layer="other")
