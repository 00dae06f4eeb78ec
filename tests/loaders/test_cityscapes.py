"""Cityscapes, with label images of a few pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.errors import FindingsError
from granum.loaders.reading import sniff
from granum.store.media import encode_png
from granum.testing.suite import ReaderSuite
from tests.data import shared

STEM = "aachen_000000_000019"
VALUES = np.array([[7, 7, 26, 26], [7, 26001, 26001, 26002]])


def tree(folder: Path, values: Any = VALUES, record: Any = None) -> Path:
    root = folder / "cs"
    for kind, suffix, data in (
        ("leftImg8bit", "leftImg8bit.png", encode_png(np.zeros(values.shape, np.uint8))),
        ("gtFine", "gtFine_instanceIds.png", encode_png(values)),
        ("gtFine", "gtFine_polygons.json", json.dumps(record or {"objects": []}).encode()),
    ):
        path = root / kind / "val" / "aachen" / f"{STEM}_{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


class TestCityscapes(ReaderSuite):
    name = "cityscapes"

    def make(self, folder: Path) -> Path:
        return tree(folder)


def test_things_stuff_and_groups(tmp_path: Path) -> None:
    found = granum.read(tree(tmp_path))
    (sample,) = found
    assert (sample.split, sample.size) == ("val", (4, 2))
    road, group, one, two = sample.annotations
    assert sample.labels == ["road", "car", "car", "car"]
    # A value below 1000 of a class of things is several of them.
    assert [a.crowd for a in sample.annotations] == [None, True, False, False]
    assert [a.area for a in sample.annotations] == [3, 2, 2, 1]
    assert one.bbox == (1, 1, 2, 1) and two.bbox == (3, 1, 1, 1)
    assert (sample.mask(2) == (VALUES == 26001)).all()
    assert road.map is not None and group.map is not None and group.map.value == 26
    assert [c.source_id for c in sample.categories][-2:] == ["33", "-1"]


def test_polygons_and_whole_label_images(tmp_path: Path) -> None:
    listed = [
        {"label": "road", "polygon": [[0, 0], [4, 0], [4, 2]]},
        {"label": "cargroup", "polygon": [[1, 0], [2, 0], [2, 1]]},
    ]
    root = tree(tmp_path, record={"imgHeight": 2, "imgWidth": 4, "objects": listed})
    (sample,) = granum.read(root, objects="polygons")
    assert sample.labels == ["road", "car"]
    assert [a.crowd for a in sample.annotations] == [None, True]
    assert sample.annotations[0].polygons == [[[0, 0, 4, 0, 4, 2]]]
    labels = root / "gtFine" / "val" / "aachen" / f"{STEM}_gtFine_labelIds.png"
    labels.write_bytes(b"never opened")
    (sample,) = granum.read(root, objects="labels")
    (whole,) = sample.annotations
    assert whole.map is not None and (whole.map.value, whole.category) == (None, None)


def test_faults_name_file_and_place(tmp_path: Path) -> None:
    root = tree(tmp_path, record={"objects": [{"label": "moon", "polygon": []}]})
    with pytest.raises(FindingsError, match=r"gtFine_polygons\.json /objects/0.*moon"):
        granum.read(root, objects="polygons")
    with pytest.raises(FindingsError, match=r"gtFine_instanceIds\.png.*99"):
        granum.read(tree(tmp_path / "b", np.array([[99, 7]])))


def test_the_fixtures() -> None:
    root = shared("format_fixtures/cityscapes_dataset")
    for name, count in {"dataset": 9, "train_dataset": 10}.items():
        assert list(sniff(root / name)) == ["cityscapes"]
        found = granum.read(root / name)
        assert (len(found), found.num_annotations) == (4, count)
