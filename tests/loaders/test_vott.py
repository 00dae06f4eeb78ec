"""VoTT's JSON export, typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import granum
from granum.errors import FindingsError
from granum.schema.findings import Findings
from granum.testing.suite import ReaderSuite
from tests.data import shared

BOX = {"left": 1, "top": 2, "width": 3.5, "height": 4}
PROJECT: dict[str, Any] = {
    "name": "p",
    "tags": [{"name": "cat", "color": "#5db300"}, {"name": "never", "color": "#000001"}],
    "assets": {
        "a1": {
            "asset": {"id": "a1", "name": "a.jpg", "size": {"width": 20, "height": 10}},
            "regions": [
                {"id": "r", "type": "RECTANGLE", "tags": ["cat", "tame"], "boundingBox": BOX},
                {"id": "s", "type": "RECTANGLE", "tags": [], "boundingBox": BOX},
                {
                    "id": "t",
                    "type": "POLYGON",
                    "tags": ["cat"],
                    "boundingBox": BOX,
                    "points": [{"x": 0, "y": 0}, {"x": 4, "y": 0}, {"x": 4, "y": 3}],
                },
            ],
        }
    },
}


def tree(folder: Path, value: Any = PROJECT) -> Path:
    root = folder / "v"
    root.mkdir()
    (root / "export.json").write_text(json.dumps(value))
    return root


class TestVott(ReaderSuite):
    name = "vott"

    def make(self, folder: Path) -> Path:
        return tree(folder)


def test_what_is_absent_is_null_and_what_is_no_size_is_told(tmp_path: Path) -> None:
    asset = {"name": "a.jpg", "size": {"width": "20", "height": 10}}
    regions = [{"type": "RECTANGLE", "tags": [], "boundingBox": BOX, "id": None}]
    findings = Findings("skip")
    root = tree(tmp_path, {"tags": [], "assets": {"a": {"asset": asset, "regions": regions}}})
    (sample,) = granum.read(root, on_error="skip", findings=findings)
    assert (sample.row.source_id, sample.row.width, sample.row.height) == (None, None, 10)
    assert sample.annotations[0].source_id is None
    assert [f.place for f in findings.items] == ["/assets/a/asset/size/width"]


def test_regions_and_tags(tmp_path: Path) -> None:
    found = granum.read(tree(tmp_path))
    (sample,) = found
    cat, tame, without, polygon = sample.annotations
    assert sample.labels == ["cat", "tame", None, "cat"]
    assert cat.bbox == tame.bbox == without.bbox == (1, 2, 3.5, 4)
    assert cat.extra == tame.extra == {"group_id": "r"} and without.extra is None
    assert polygon.polygons == [[[0, 0, 4, 0, 4, 3]]] and polygon.bbox is None
    assert found.category_names() == ["cat", "never", "tame"]
    assert found.categories["colour"].to_pylist()[0] == [0x5D, 0xB3, 0]


def test_faults_name_file_and_place(tmp_path: Path) -> None:
    bad = json.loads(json.dumps(PROJECT))
    bad["assets"]["a1"]["regions"][1]["boundingBox"]["left"] = "x"
    with pytest.raises(FindingsError, match=r"export\.json /assets/a1/regions/1"):
        granum.read(tree(tmp_path, bad))


def test_the_fixtures() -> None:
    root = shared("format_fixtures/vott_json_dataset")
    for name, counts in {"dataset": (3, 5, 3), "dataset_with_meta_file": (3, 4, 3)}.items():
        found = granum.read(root / name)
        read = (len(found), found.num_annotations, found.categories.num_rows)
        assert read == counts, name
