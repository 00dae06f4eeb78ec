"""CreateML's JSON, typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import granum
from granum.errors import FindingsError
from granum.loaders._json_files import json_files
from granum.testing.suite import ReaderSuite
from tests.data import shared

LISTED: list[dict[str, Any]] = [
    {
        "image": "a.jpg",
        "annotations": [{"label": "cat", "coordinates": {"x": 5, "y": 4, "width": 6, "height": 2}}],
    },
    {"image": "b.jpg", "annotations": []},
]


def tree(folder: Path, value: Any = LISTED) -> Path:
    root = folder / "c"
    (root / "train").mkdir(parents=True)
    (root / "train" / "_annotations.createml.json").write_text(json.dumps(value))
    return root


class TestCreateMl(ReaderSuite):
    name = "createml"

    def make(self, folder: Path) -> Path:
        return tree(folder)


def test_x_and_y_are_the_centre(tmp_path: Path) -> None:
    one, two = granum.read(tree(tmp_path))
    assert (one.key, one.split, one.labels) == ("train/a.jpg", "train", ["cat"])
    assert one.annotations[0].bbox == (2, 3, 6, 2)
    assert two.annotations == []


def test_or_the_corner_where_asked(tmp_path: Path) -> None:
    one, _ = granum.read(tree(tmp_path), anchor="top-left")
    assert one.annotations[0].bbox == (5, 4, 6, 2)


def test_faults_name_file_and_place(tmp_path: Path) -> None:
    bad = json.loads(json.dumps(LISTED))
    del bad[0]["annotations"][0]["coordinates"]["width"]
    with pytest.raises(FindingsError, match=r"createml\.json /0/annotations/0"):
        granum.read(tree(tmp_path, bad))


@pytest.mark.parametrize("told", [5, {"label": "cat"}])
def test_annotations_that_are_no_list(tmp_path: Path, told: Any) -> None:
    root = tree(tmp_path, [{"image": "a.jpg", "annotations": told}])
    with pytest.raises(FindingsError, match=r"createml\.json /0/annotations: .*no list"):
        granum.read(root, "createml")


def test_files_of_a_full_folder_are_all_found(tmp_path: Path) -> None:
    for n in range(1001):  # more than a short look takes
        (tmp_path / f"{n}.json").touch()
    assert len(json_files(tmp_path)) == 1001
    assert len(json_files(tmp_path, 10)) == 10


def test_the_fixture() -> None:
    found = granum.read(shared("format_fixtures/roboflow_dataset/createml"))
    assert (len(found), found.num_annotations) == (3, 4)
    assert {s: len(d) for s, d in found.split().items()} == {"train": 2, "val": 1}
