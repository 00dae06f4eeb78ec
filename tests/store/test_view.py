"""Masks of a sample's annotations, whatever row holds their pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from granum.errors import GranumError
from granum.schema.rows import Annotation, LabelMap, Sample
from granum.store.dataset import Dataset

LEAVES = np.array([[1, 1, 2, 0], [3, 3, 2, 0]], np.uint8)


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(LEAVES).save(file, "png")
    return file.getvalue()


def region_tree() -> list[Annotation]:
    """Leaves 1, 2, 3 (ids 1..3); 4 is 1 and 2; the root, 5, holds the label image."""
    leaves = [
        Annotation(map=LabelMap(value=v, digest="d"), parent=p, granularity=0.5, annotation_id=v)
        for v, p in ((1, 4), (2, 4), (3, 5))
    ]
    root = Annotation(map=LabelMap(bytes=png(), digest="d"), granularity=1.0, annotation_id=5)
    return [*leaves, Annotation(parent=5, granularity=0.8, annotation_id=4), root]


def one(annotations: list[Annotation]) -> Dataset:
    return Dataset.from_rows([Sample("a", width=4, height=2, annotations=annotations)])


def test_nodes_are_the_union_of_their_leaves() -> None:
    view = one(region_tree())[0]
    wanted = [LEAVES == 1, LEAVES == 2, LEAVES == 3, (LEAVES == 1) | (LEAVES == 2), LEAVES > 0]
    for k, mask in enumerate(wanted):
        np.testing.assert_array_equal(view.mask(k), mask)


def test_what_has_no_mask_is_said() -> None:
    rows = region_tree()
    rows[1].map = None  # so that 4, which is made of it, has none either
    view = one(rows)[0]
    for k in (1, 3):
        with pytest.raises(GranumError, match="annotation 1 of 'a' has no mask"):
            view.mask(k)
    rows = region_tree()
    rows[3].parent = 4  # above itself
    assert one(rows)[0].mask(3).sum() == 4
    with pytest.raises(GranumError, match="no annotation has the map 'd'"):
        one(region_tree()[:3])[0].mask(0)


def test_a_picture_shows_whole_maps_by_their_integers() -> None:
    view = one(region_tree())[0]
    whole = view.annotations[4].map
    part = view.annotations[0].map
    assert whole is not None and part is not None
    np.testing.assert_array_equal(view.draw_map(whole), LEAVES)
    drawn = view.draw_map(part)
    assert drawn.dtype == bool
    np.testing.assert_array_equal(drawn, LEAVES == 1)
