"""Datumaro's JSON, typed by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import granum
from granum.errors import FindingsError
from granum.schema.findings import Findings
from granum.testing.suite import ReaderSuite
from tests.data import shared


def one(kind: str, label: int | None = 0, **more: Any) -> dict[str, Any]:
    return {"id": 0, "type": kind, "attributes": {}, "group": 0, "label_id": label, **more}


RECORD: dict[str, Any] = {
    "infos": {},
    "categories": {
        "label": {
            "labels": [
                {"name": "cat", "parent": "animal", "attributes": []},
                {"name": "tabby", "parent": "cat", "attributes": []},
            ]
        },
        "points": {"items": [{"label_id": 0, "labels": ["nose", "tail"], "joints": [[1, 2]]}]},
    },
    "items": [
        {
            "id": "x/a",
            "media": {"path": "x/a.png", "size": [6, 8]},
            "attr": {"frame": 3},
            "annotations": [
                one("label", 1, attributes={"score": 0.5}),
                one(
                    "bbox",
                    bbox=[1, 2, 3, 4],
                    group=7,
                    z_order=2,
                    attributes={"occluded": True, "is_crowd": False, "tame": True},
                ),
                one("rotated_bbox", cx=4, cy=3, w=2, h=1, r=90),
                one("polygon", points=[0, 0, 4, 0, 4, 3]),
                one("polyline", None, points=[0, 0, 4, 0]),
                one("points", points=[1, 1, 2, 2], visibility=[2, 0]),
                one("mask", rle={"counts": [7, 2, 39], "size": [6, 8]}),
                one("ellipse", points=[1, 1, 5, 3]),
                one("caption", None, caption="a cat"),
            ],
        }
    ],
}


def tree(folder: Path, record: Any = RECORD) -> Path:
    root = folder / "d"
    (root / "annotations").mkdir(parents=True)
    (root / "annotations" / "train.json").write_text(json.dumps(record))
    return root


class TestDatumaro(ReaderSuite):
    name = "datumaro"

    def make(self, folder: Path) -> Path:
        return tree(folder)


def test_every_type(tmp_path: Path) -> None:
    found = granum.read(tree(tmp_path))
    (sample,) = found
    assert (sample.key, sample.split, sample.size) == ("train/x/a.png", "train", (8, 6))
    assert sample.row.attributes == {"frame": 3}
    label, box, turned, polygon, line, points, mask, ellipse, caption = sample.annotations
    assert (label.kind, label.score, sample.labels[0]) == ("label", 0.5, "tabby")
    assert (box.bbox, box.z_order, box.extra) == ((1, 2, 3, 4), 2, {"group": 7})
    assert (box.occluded, box.crowd, box.attributes) == (True, False, {"tame": True})
    assert turned.bbox == (3, 2.5, 2, 1) and turned.angle == pytest.approx(math.pi / 2)
    assert polygon.polygons == [[[0, 0, 4, 0, 4, 3]]]
    assert (line.polyline, line.category) == ([0, 0, 4, 0], None)
    assert points.keypoints == [1, 1, 2, 2, 2, 0]
    assert sample.mask(6)[1:3, 1].all() and sample.mask(6).sum() == 2
    assert mask.rle is not None and mask.rle.form == "list"
    assert (ellipse.bbox, ellipse.shape_kind) == ((1, 1, 4, 2), "ellipse")
    assert (caption.kind, caption.text) == ("caption", "a cat")
    cat, tabby = sample.categories
    assert (cat.supercategory, cat.keypoints, cat.skeleton) == (
        "animal",
        ["nose", "tail"],
        [[0, 1]],
    )
    assert tabby.parents == [{"index": 0, "relation": "is_a"}]


def test_what_is_not_read_is_told(tmp_path: Path) -> None:
    record = {**RECORD, "items": [{"id": "a", "annotations": [one("cuboid_3d", position=[0])]}]}
    findings = Findings()
    granum.read(tree(tmp_path, record), findings=findings)
    assert dict(findings.counts) == {"unknown-shape": 1}
    assert findings.items[0].place == "/items/0/annotations/0"


@pytest.mark.parametrize("bad", [{"bbox": [1, 2, 3]}, {"label_id": 9}, {"bbox": ["x", 1, 2, 3]}])
def test_faults_name_file_and_place(tmp_path: Path, bad: Any) -> None:
    faulty = {**one("bbox", bbox=[1, 2, 3, 4]), **bad}
    record = {**RECORD, "items": [{"id": "a", "annotations": [faulty]}]}
    with pytest.raises(FindingsError, match=r"annotations/train\.json /items/0/annotations/0"):
        granum.read(tree(tmp_path, record))


def test_points_that_are_no_list_are_told(tmp_path: Path) -> None:
    points = {"items": [{"label_id": 0, "labels": 3}]}
    record = {"categories": {**RECORD["categories"], "points": points}, "items": []}
    with pytest.raises(FindingsError, match=r"train\.json /categories/points/items/0/labels"):
        granum.read(tree(tmp_path, record))


def test_the_fixture() -> None:
    found = granum.read(shared("format_fixtures/datumaro_dataset/legacy"))
    assert (len(found), found.num_annotations, found.categories.num_rows) == (4, 7, 4)
    assert {s: len(d) for s, d in found.split().items()} == {
        "train": 2, "validation": 1, "test": 1
    }  # fmt: skip
