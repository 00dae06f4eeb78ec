"""Rules about annotations: each finds what breaks it, and nothing else."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from granum.curate.box_rules import DuplicateBox, box_iou
from granum.curate.rules import FINDINGS, check, rules
from granum.errors import UnknownNameError
from granum.schema import geometry
from granum.schema.rows import Annotation, Category, Rle, Sample
from granum.store.dataset import Dataset

SQUARE = [[[10.0, 10, 30, 10, 30, 30, 10, 30]]]


def dataset(*annotations: Annotation, **sample: Any) -> Dataset:
    given: dict[str, Any] = {"width": 100, "height": 80, **sample}
    for number, annotation in enumerate(annotations):
        annotation.annotation_id = number + 1
    first = Sample("a.jpg", annotations=list(annotations), **given)
    categories = [Category("cat"), Category("dog")]
    return Dataset.from_rows([first, Sample("b.jpg", width=9, height=9)], categories)


def found(data: Dataset, *names: str) -> list[tuple[int, str]]:
    rows = check(data, names or None).to_pylist()
    return [(r["annotation_id"], r["rule"]) for r in rows]


def rle(mask: np.ndarray) -> Rle:
    return Rle(*geometry.encode_mask(mask))


def test_good_annotations_break_nothing() -> None:
    mask = np.zeros((80, 100), bool)
    mask[5:25, 10:40] = True
    data = dataset(
        Annotation(category=0, bbox=(10, 5, 30, 20), rle=rle(mask)),
        Annotation(category=1, bbox=(10, 10, 20, 20), polygons=SQUARE),
        Annotation(category=0, bbox=(0, 0, 100, 80)),
        Annotation(kind="label", category=1),
        Annotation(kind="caption", text="two cats"),
        Annotation(category=0, polyline=[0, 0, 50, 0], shape_kind="line"),
    )
    assert check(data).num_rows == 0
    assert check(data).schema == FINDINGS


def test_boxes_outside_the_image() -> None:
    data = dataset(
        Annotation(category=0, bbox=(-3, 5, 10, 10)),
        Annotation(category=0, bbox=(95, 70, 5.5, 10.5)),
        Annotation(category=0, bbox=(90, 10, 20, 10)),
    )
    rows = check(data, ["box_outside"]).to_pylist()
    assert [(r["annotation_id"], r["value"]) for r in rows] == [(1, 3.0), (3, 10.0)]
    assert found(data, "box_outside:pixels=0.1")[1] == (2, "box_outside")
    assert rows[0]["key"] == "a.jpg" and rows[0]["severity"] == "warning"


def test_relative_boxes_are_measured_in_pixels_where_the_size_is_known() -> None:
    boxes = [Annotation(category=0, bbox=(0.9, 0.1, 0.3, 0.1))]
    rows = check(dataset(*boxes, unit="relative"), ["box_outside"]).to_pylist()
    assert rows[0]["value"] == pytest.approx(20)
    unknown = dataset(*boxes, unit="relative", width=None, height=None)
    assert check(unknown, ["box_outside", "tiny"]).num_rows == 0


def test_tiny_and_empty() -> None:
    data = dataset(
        Annotation(category=0, bbox=(5, 5, 1.5, 40)),
        Annotation(category=0, bbox=(5, 5, 2, 2)),
        Annotation(category=0, bbox=(5, 5, 0, 12)),
        Annotation(category=0),
        Annotation(category=0, bbox=(5, 5, float("nan"), 4)),
        Annotation(category=0, bbox=(5, 5, 4, 4)),
    )
    assert [i for i, _ in found(data, "empty")] == [3, 4, 5]
    assert {1, 2} <= {i for i, _ in found(data, "tiny")}
    assert 6 not in {i for i, _ in found(data)}


def test_duplicate_boxes_of_one_class_only() -> None:
    data = dataset(
        Annotation(category=0, bbox=(10, 10, 20, 20)),
        Annotation(category=1, bbox=(10, 10, 20, 20)),
        Annotation(category=0, bbox=(10, 10, 20, 21)),
        Annotation(category=0, bbox=(15, 10, 20, 20)),
        Annotation(category=None, bbox=(10, 10, 20, 20)),
    )
    rows = check(data, ["duplicate_box"]).to_pylist()
    assert [(r["annotation_id"], r["other"]) for r in rows] == [(3, 1)]
    assert rows[0]["value"] == pytest.approx(20 / 21)


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_duplicates_equal_a_plain_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = rng.integers(1, 4, (14, 4)).astype(float)
    classes = rng.integers(0, 2, 14)
    split = int(rng.integers(1, 13))
    ids = iter(range(1, 15))
    samples = [
        Sample(
            f"{a}.jpg",
            annotations=[
                Annotation(category=int(classes[i]), bbox=tuple(boxes[i]), annotation_id=next(ids))
                for i in range(a, b)
            ],
        )
        for a, b in pairwise([0, split, 14])
    ]
    data = Dataset.from_rows(samples, [Category("a"), Category("b")])
    wanted = {}
    for late in range(14):
        for early in range(late):
            if classes[early] == classes[late] and (early < split) == (late < split):
                overlap = box_iou(boxes[early : early + 1], boxes[late : late + 1])[0]
                if overlap >= 0.6 and overlap > wanted.get(late + 1, (0, 0))[0]:
                    wanted[late + 1] = (overlap, early + 1)
    rows = check(data, [DuplicateBox(iou=0.6)]).to_pylist()
    assert {r["annotation_id"]: (r["value"], r["other"]) for r in rows} == wanted


def test_pairs_come_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from granum.curate import box_rules

    data = dataset(*[Annotation(category=0, bbox=(5.0, 5, 9, 9)) for _ in range(30)])
    whole = check(data, ["duplicate_box"])
    monkeypatch.setattr(box_rules, "_PAIRS", 7)
    assert check(data, ["duplicate_box"]).equals(whole)
    assert whole["other"].to_pylist() == [1] * 29


def test_mask_against_box_and_empty_masks() -> None:
    mask = np.zeros((80, 100), bool)
    mask[5:25, 10:40] = True
    data = dataset(
        Annotation(category=0, bbox=(20, 5, 30, 20), rle=rle(mask)),
        Annotation(category=0, bbox=(11, 6, 29, 19), rle=rle(mask)),
        Annotation(category=0, bbox=(10, 10, 40, 20), polygons=SQUARE),
        Annotation(category=0, bbox=(20, 5, 30, 20), rle=rle(mask & False)),
        Annotation(category=0, bbox=(20, 5, 30, 20), polygons=[[[1.0, 1, 5, 5, 9, 9]]]),
    )
    rows = check(data, ["mask_box"]).to_pylist()
    assert [r["annotation_id"] for r in rows][:2] == [1, 3]
    assert rows[0]["value"] == pytest.approx(400 / 800)
    assert 2 not in [r["annotation_id"] for r in rows]
    assert [i for i, _ in found(data, "mask_empty")] == [4, 5]


def test_parts_outside_their_wholes() -> None:
    left, right = np.zeros((2, 80, 100), bool)
    left[:, :50] = True
    right[:, 40:] = True
    data = dataset(
        Annotation(category=0, bbox=(10, 10, 40, 40)),
        Annotation(category=1, bbox=(15, 15, 5, 5), parent=1),
        Annotation(category=1, bbox=(45, 15, 10, 5), parent=1),
        Annotation(category=0, rle=rle(left)),
        Annotation(category=1, rle=rle(right), parent=4),
        Annotation(category=1, rle=rle(left & right), parent=4),
    )
    rows = check(data, ["part_outside"]).to_pylist()
    assert [(r["annotation_id"], r["other"], round(r["value"], 6)) for r in rows] == [
        (3, 1, 0.5),
        (5, 4, round(10 / 60, 6)),
    ]


def test_masks_decide_where_boxes_would_pass() -> None:
    triangle = [[[0.0, 0, 60, 0, 0, 60]]]
    corner = [[[40.0, 40, 55, 40, 55, 55, 40, 55]]]
    data = dataset(
        Annotation(category=0, polygons=triangle),
        Annotation(category=1, polygons=corner, parent=1),
    )
    assert found(data, "part_outside") == [(2, "part_outside")]


def test_findings_come_in_the_order_of_the_dataset() -> None:
    data = dataset(
        Annotation(category=0, bbox=(-9, 5, 10, 10)),
        Annotation(category=0),
        Annotation(category=0, bbox=(-9, 5, 10, 10)),
    )
    assert found(data) == [
        (1, "box_outside"),
        (2, "empty"),
        (3, "box_outside"),
        (3, "duplicate_box"),
    ]


def test_rules_describe_themselves_and_unknown_ones_are_refused() -> None:
    for name in rules:
        assert rules[name].name == name and rules[name].about
    with pytest.raises(UnknownNameError, match="tiny"):
        check(dataset(), ["tinny"])
