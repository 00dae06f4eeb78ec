"""Mapillary Vistas, with label images of a few pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.errors import FindingsError, FormatError
from granum.loaders.reading import sniff
from granum.schema.findings import Findings
from granum.store.media import encode_png
from granum.testing.suite import ReaderSuite
from tests.data import shared

LABELS = [
    {
        "name": name,
        "readable": name.rpartition("--")[2],
        "instances": things,
        "evaluate": True,
        "color": [9, 8, number],
    }
    for number, (name, things) in enumerate(
        [("animal--bird", True), ("nature--sky", False), ("object--car", True)]
    )
]
VALUES = np.array([[256, 256, 256, 256], [512, 512, 513, 0], [512, 256, 513, 0]])
OBJECTS = [
    {"id": 4, "label": "object--car", "polygon": [[0, 1], [2, 1], [2, 3]]},
    {"id": 5, "label": "nature--sky", "polygon": [[0, 0, 4, 0, 4, 1], [0, 0, 1, 0, 1, 1]]},
]


def tree(folder: Path, values: Any = VALUES, objects: Any = None, old: bool = False) -> Path:
    root = folder / "vistas"
    record = {"height": 3, "width": 4, "objects": OBJECTS if objects is None else objects}
    below = "training" if old else "training/v2.0"
    files = {
        "config.json" if old else "config_v2.0.json": json.dumps({"labels": LABELS}).encode(),
        "training/images/a.jpg": encode_png(np.zeros(values.shape, np.uint8)),
        "testing/images/b.jpg": encode_png(np.zeros(values.shape, np.uint8)),
        f"{below}/instances/a.png": encode_png(values),
        f"{below}/labels/a.png": encode_png(values // 256),
        "training/v2.0/polygons/a.json": json.dumps(record).encode(),
    }
    for name, data in files.items():
        if not (old and "v2.0" in name):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return root


class TestMapillary(ReaderSuite):
    name = "mapillary"

    def make(self, folder: Path) -> Path:
        return tree(folder)


@pytest.mark.parametrize("old", [False, True])
def test_instances(tmp_path: Path, old: bool) -> None:
    root = tree(tmp_path, old=old)
    assert list(sniff(root)) == ["mapillary"]
    test, sample = granum.read(root)
    assert (test.key, test.split, test.annotations) == ("testing/images/b.jpg", "testing", [])
    assert (sample.key, sample.split, sample.size) == ("training/images/a.jpg", "training", (4, 3))
    bird, sky, car, other = sample.annotations
    names = ["animal--bird", "nature--sky", "object--car", "object--car"]
    assert sample.labels == names
    assert (bird.bbox, bird.area) == ((3, 1, 1, 2), 2)
    assert (sky.bbox, sky.area) == ((0, 0, 4, 3), 5)
    assert (car.bbox, other.bbox) == ((0, 1, 2, 2), (2, 1, 1, 2))
    assert (sample.mask(3) == (VALUES == 513)).all()
    first, second, _ = sample.categories
    assert (first.isthing, first.colour, first.supercategory) == (True, [9, 8, 0], "animal")
    assert (second.isthing, second.source_id) == (False, "1")
    assert second.attributes == {"readable": "sky", "evaluate": True}


def test_polygons_as_points_and_as_flat_lists(tmp_path: Path) -> None:
    _, sample = granum.read(tree(tmp_path), objects="polygons")
    car, sky = sample.annotations
    assert (car.polygons, car.source_id) == ([[[0, 1, 2, 1, 2, 3]]], "4")
    assert sky.polygons == [[[0, 0, 4, 0, 4, 1]], [[0, 0, 1, 0, 1, 1]]]
    with pytest.raises(FormatError, match="without polygons"):
        granum.read(tree(tmp_path / "b", old=True), objects="polygons")


def test_whole_label_images(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "training/v2.0/labels/a.png").write_bytes(b"never opened")
    _, sample = granum.read(root, objects="labels")
    (whole,) = sample.annotations
    assert whole.map is not None
    assert (whole.map.path, whole.map.value) == ("training/v2.0/labels/a.png", None)


def test_a_version_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"config_v1\.2\.json"):
        granum.read(tree(tmp_path), version="v1.2")


def test_faults_name_file_and_place(tmp_path: Path) -> None:
    with pytest.raises(FindingsError, match=r"training/v2\.0/instances/a\.png.*769"):
        granum.read(tree(tmp_path / "a", np.array([[769, 0]])))
    for number, bad in enumerate([{"label": "moon"}, {"label": "object--car", "polygon": 5}]):
        root = tree(tmp_path / f"b{number}", objects=[OBJECTS[0], bad])
        with pytest.raises(FindingsError, match=r"v2\.0/polygons/a\.json /objects/1"):
            granum.read(root, objects="polygons")
    root, findings = tree(tmp_path / "c"), Findings()
    (root / "training/v2.0/instances/a.png").unlink()
    granum.read(root, findings=findings)
    assert [(f.code, f.path) for f in findings.items] == [
        ("missing-labels", "training/v2.0/instances/a.png")
    ]


def test_the_fixture() -> None:
    root = shared("format_fixtures/mapillary_vistas_dataset")
    assert list(sniff(root)) == ["mapillary"]
    for options, count in (
        ({}, 10),
        ({"version": "v1.2"}, 10),
        ({"objects": "polygons"}, 10),
        ({"objects": "labels"}, 3),
    ):
        found = granum.read(root, **options)
        assert (len(found), found.num_annotations) == (3, count), options
