"""Geometry against numbers worked out by hand and against pycocotools."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from granum.schema import geometry, rows
from granum.schema.tables import ANNOTATIONS

derandomised = settings(derandomize=True, deadline=None, database=None, max_examples=150)


def table(**values):
    n = len(next(iter(values.values())))
    columns = {k: pa.array(v, ANNOTATIONS.field(k).type) for k, v in values.items()}
    assert all(len(c) == n for c in columns.values())
    return pa.table(columns)


# ---------------------------------------------------------------------- boxes


def test_box_orders():
    boxes = [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.5, 0.25]]
    assert geometry.convert_boxes(boxes, "xywh").tolist() == boxes
    assert geometry.convert_boxes(boxes, "xyxy").tolist() == [[1, 2, 4, 6], [0, 0, 0.5, 0.25]]
    assert geometry.convert_boxes(boxes, "cxcywh").tolist() == [
        [2.5, 4, 3, 4],
        [0.25, 0.125, 0.5, 0.25],
    ]
    assert geometry.convert_boxes([], "xyxy").shape == (0, 4)
    with pytest.raises(ValueError, match="unknown box order 'yxyx'"):
        geometry.convert_boxes(boxes, "yxyx")


def test_corners_turn_clockwise_on_the_screen():
    corners = geometry.box_to_corners((0.0, 0.0, 4.0, 2.0), 0.0)
    assert corners.tolist() == [[0, 0], [4, 0], [4, 2], [0, 2]]
    # a quarter turn clockwise (y points down) takes the top-left corner to the top right
    turned = geometry.box_to_corners((0.0, 0.0, 4.0, 2.0), math.pi / 2)
    assert np.allclose(turned, [[3, -1], [3, 3], [1, 3], [1, -1]])


@derandomised
@given(
    st.tuples(st.floats(-500, 500), st.floats(-500, 500), st.floats(0.5, 300), st.floats(0.5, 300)),
    st.floats(-3.14, 3.14),
)
def test_corners_and_back(box, angle):
    found = geometry.corners_to_box(geometry.box_to_corners(box, angle))
    assert found is not None
    assert np.allclose(found[0], box, atol=1e-6)
    assert found[1] == pytest.approx(angle, abs=1e-6)


def test_quadrilaterals_are_no_rectangles():
    assert geometry.corners_to_box([[0, 0], [4, 0], [4, 2], [1, 2]]) is None
    assert geometry.corners_to_box([[0, 0], [0, 0], [4, 2], [4, 2]]) is None
    near = [[0, 0], [4, 0], [4, 2], [0.0005, 2]]
    assert geometry.corners_to_box(near) == ((0.000125 / 2 * 1, 0.0, 4.0, 2.0), 0.0) or (
        geometry.corners_to_box(near, tolerance=1e-3) is not None
    )
    assert geometry.corners_to_box(near, tolerance=1e-5) is None


def test_a_mirrored_rectangle_is_none():
    # counter-clockwise corners would need a negative height
    assert geometry.corners_to_box([[0, 0], [0, 2], [4, 2], [4, 0]]) is None


# ---------------------------------------------------------------------- polygons


def test_polygon_area():
    assert geometry.polygon_area([0, 0, 4, 0, 4, 2, 0, 2]) == 8
    assert geometry.polygon_area([0, 2, 4, 2, 4, 0, 0, 0]) == 8  # either way round
    assert geometry.polygon_area([0, 0, 3, 0, 0, 4]) == 6


def test_flat_polygons():
    pieces = (
        [None, [[[0, 0, 1, 0, 1, 1]], [[2, 2, 3, 2, 3, 3], [2, 2, 2, 3, 3, 3]]]],
        [[], [[[5, 5, 6, 5, 6, 6, 5, 6]]]],
    )
    kind = ANNOTATIONS.field("polygons").type
    column = pa.chunked_array([pa.array(p, kind) for p in pieces])
    flat = geometry.flat_polygons(column)
    assert flat.rows.tolist() == [0, 0, 2, 2, 3]
    assert flat.parts.tolist() == [0, 1, 3, 4]
    assert flat.rings.tolist() == [0, 6, 12, 18, 26]
    assert flat.ring_rows().tolist() == [1, 1, 1, 3]
    assert flat.coords[flat.rings[3] :].tolist() == [5, 5, 6, 5, 6, 6, 5, 6]
    sliced = geometry.flat_polygons(column.slice(1, 2))
    assert sliced.rows.tolist() == [0, 2, 2]
    assert sliced.coords.tolist() == flat.coords[:18].tolist()


ring = st.lists(st.floats(-3, 25), min_size=6, max_size=14).map(lambda v: v[: len(v) // 2 * 2])


@derandomised
@given(st.lists(ring, min_size=1, max_size=3), st.integers(1, 20), st.integers(1, 20))
def test_rasterize_as_pycocotools(parts, height, width):
    """Parts mean their union, as COCO's lists of polygons do."""
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(parts, height, width)))
    found = geometry.rasterize([[part] for part in parts], height, width)
    assert found.shape == (height, width)
    assert np.array_equal(found, expected.astype(bool))


def test_rasterize_cuts_holes():
    outside = [0.0, 0, 8, 0, 8, 8, 0, 8]
    hole = [2.0, 2, 6, 2, 6, 6, 2, 6]
    found = geometry.rasterize([[outside, hole]], 8, 8)
    assert found.sum() == 64 - 16
    assert not found[2:6, 2:6].any()
    # a part inside the hole is there again
    island = [3.0, 3, 5, 3, 5, 5, 3, 5]
    assert geometry.rasterize([[outside, hole], [island]], 8, 8).sum() == 64 - 16 + 4
    assert geometry.rasterize([], 3, 2).tolist() == [[False] * 2] * 3


# ---------------------------------------------------------------------- RLE

runs = st.lists(st.integers(1, 40), min_size=1, max_size=30).flatmap(
    lambda r: st.sampled_from([r, [0, *r]])
)


def coco_string(counts):
    total = sum(counts)
    return coco_mask.frPyObjects({"size": [total, 1], "counts": list(counts)}, total, 1)["counts"]


@derandomised
@given(runs)
def test_rle_strings_as_pycocotools(counts):
    text = coco_string(counts)
    assert geometry.rle_encode_counts(counts) == text
    assert geometry.rle_counts(text).tolist() == counts
    size = [sum(counts), 1]
    decoded = geometry.rle_decode(size, text)
    assert decoded.sum() == sum(counts[1::2])
    assert np.array_equal(decoded, coco_mask.decode({"size": size, "counts": text}))


@derandomised
@given(st.lists(runs, max_size=6))
def test_many_rles_at_once(listed):
    texts = [coco_string(c) for c in listed]
    offsets = np.concatenate([[0], np.cumsum([len(t) for t in texts])]).astype(np.int64)
    values, begin = geometry.rle_counts_many(b"".join(texts), offsets)
    assert [values[a:b].tolist() for a, b in pairwise(begin)] == listed


def test_empty_rles_between_others():
    texts = [b"", coco_string([3, 2, 4]), b"", coco_string([7])]
    offsets = np.concatenate([[0], np.cumsum([len(t) for t in texts])]).astype(np.int64)
    values, begin = geometry.rle_counts_many(b"".join(texts), offsets)
    assert [values[a:b].tolist() for a, b in pairwise(begin)] == [
        [],
        [3, 2, 4],
        [],
        [7],
    ]


def test_a_known_rle():
    # 5 x 4: pixels (1, 0) and (1, 1), column by column: 1 zero, 1 one, 4 zeros, 1 one, 13 zeros
    mask = np.zeros((5, 4), bool)
    mask[1, :2] = True
    assert geometry.encode_mask(mask) == ((5, 4), geometry.rle_encode_counts([1, 1, 4, 1, 13]))
    # the third value and on are differences to the last but one: 4, 1 - 1, 13 - 4
    assert geometry.rle_encode_counts([1, 1, 4, 1, 13]) == bytes(48 + v for v in (1, 1, 4, 0, 9))
    assert np.array_equal(
        geometry.rle_decode((5, 4), geometry.rle_encode_counts([1, 1, 4, 1, 13])), mask
    )


def test_long_runs():
    for counts in ([2**31], [15, 16, 31, 32, 2**20, 1], [0, 2**32 - 1]):
        assert geometry.rle_counts(geometry.rle_encode_counts(counts)).tolist() == counts


@pytest.mark.parametrize("text", [b"\x00", b"p", b"o", b"0o", b"oooooooooo0"])
def test_broken_rle_strings(text):
    with pytest.raises(ValueError, match="RLE"):
        geometry.rle_counts(text)


@pytest.mark.parametrize("counts", [[-1], [1.5], [2**32], ["a"]])
def test_counts_that_are_none(counts):
    with pytest.raises(ValueError, match="run lengths"):
        geometry.rle_encode_counts(counts)


@derandomised
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31))
def test_masks_and_back(height, width, seed):
    mask = np.random.default_rng(seed).random((height, width)) < 0.4
    size, counts = geometry.encode_mask(mask)
    assert size == (height, width)
    assert np.array_equal(geometry.rle_decode(size, counts), mask)


# ---------------------------------------------------------------------- extents


def test_aabb_by_what_a_row_has():
    found = geometry.aabb(
        table(
            bbox=[[1.0, 2, 3, 4], None, None, None, None, None],
            polygons=[
                [[[9.0, 9, 10, 9, 10, 10]]],
                [[[1.0, 2, 5, 2, 5, 7]], [[0.0, 4, 1, 4, 1, 5]]],
                None,
                None,
                None,
                None,
            ],
            keypoints=[None, None, [1.0, 2, 2, 5, 6, 1, 99, 99, 0], None, None, [3.0, 3, 0]],
            polyline=[None, None, None, [4.0, 1, 2, 3], None, None],
        )
    )
    assert found[:4].tolist() == [[1, 2, 3, 4], [0, 2, 5, 5], [1, 2, 4, 4], [2, 1, 2, 2]]
    assert np.isnan(found[4:]).all()


def test_aabb_of_a_turned_box():
    boxes = table(bbox=[[0.0, 0, 4, 2]] * 4, angle=[0.0, math.pi / 2, None, math.pi / 4])
    found = geometry.aabb(boxes)
    assert np.allclose(found[1], [1, -1, 2, 4])
    assert found[0].tolist() == found[2].tolist() == [0, 0, 4, 2]
    corners = geometry.box_to_corners((0, 0, 4, 2), math.pi / 4)
    low, high = corners.min(axis=0), corners.max(axis=0)
    assert np.allclose(found[3], [*low, *(high - low)])


@derandomised
@given(runs)
def test_aabb_of_an_rle_as_pycocotools(counts):
    size = (sum(counts), 1)
    text = geometry.rle_encode_counts(counts)
    annotation = rows.Annotation(rle=rows.Rle(size, text))
    found = geometry.aabb(rows.annotations_to_table([annotation]))
    assert found[0].tolist() == coco_mask.toBbox({"size": list(size), "counts": text}).tolist()


def test_aabb_of_slices():
    whole = table(bbox=[[0.0, 0, 1, 1], None, [2.0, 2, 3, 3], [4.0, 4, 5, 5]])
    found = geometry.aabb(whole.slice(1, 2))
    assert np.isnan(found[0]).all()
    assert found[1].tolist() == [2, 2, 3, 3]


def test_fixed_lists():
    valid, values = geometry.fixed_list(table(bbox=[[1.0, 2, 3, 4], None])["bbox"])
    assert valid.tolist() == [True, False]
    assert values.tolist() == [[1, 2, 3, 4], [0, 0, 0, 0]]


def test_areas():
    found = geometry.areas(
        table(
            bbox=[[0.0, 0, 2, 3], [0.0, 0, 9, 9], None, None],
            polygons=[
                None,
                [[[0.0, 0, 8, 0, 8, 8, 0, 8], [2.0, 2, 6, 2, 6, 6, 2, 6]], [[0.0, 0, 1, 0, 0, 1]]],
                None,
                None,
            ],
            rle=[
                None,
                None,
                {
                    "size": [5, 4],
                    "counts": geometry.rle_encode_counts([1, 1, 4, 1, 13]),
                    "form": "list",
                },
                None,
            ],
        )
    )
    assert found[:3].tolist() == [6.0, 64 - 16 + 0.5, 2.0]
    assert np.isnan(found[3])


def test_areas_of_what_is_not_finite_are_quiet():
    with np.errstate(all="raise"):
        assert math.isnan(geometry.polygon_area([0.0, 0.0, float("inf"), 0.0, 1.0, float("inf")]))
