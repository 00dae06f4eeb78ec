"""Trees of videos, and lists of Kinetics typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import granum
from granum.errors import FindingsError, FormatError
from granum.loaders.base import Intake
from granum.loaders.reading import read_into, sniff
from granum.loaders.video_folder import VideoFolder
from granum.schema.findings import Findings
from granum.store.builder import MemoryBuilder
from granum.store.dataset import Dataset
from granum.testing.suite import ReaderSuite
from tests.data import shared

TRAIN = """label,youtube_id,time_start,time_end,split
"petting animal (not cat), dog",0347ZoDXyP0,95,105,train
abseiling,-3B32lodo2M,59,69,train
abseiling,gone0000000,0,10,train
"""
TEST = "youtube_id,time_start,time_end,split\nAbCdEfGhIjK,7,17,test\n"


def files(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def kinetics(root: Path) -> Path:
    files(
        root,
        "train/abseiling/-3B32lodo2M_000059_000069.mp4",
        "train/petting/0347ZoDXyP0_000095_000105.mp4",
        "test/AbCdEfGhIjK.webm",
    )
    (root / "train.csv").write_text(TRAIN)
    (root / "test.csv").write_text(TEST)
    return root


def findings(root: Path) -> tuple[Dataset, list[tuple[str, str, str | None]]]:
    intake = Intake(Findings("skip"))
    found = read_into(MemoryBuilder(), VideoFolder(), root, intake, options={})
    return found, [(f.code, f.path, f.place) for f in intake.findings.items]


def facts(found: Dataset) -> list[tuple[Any, ...]]:
    """Path, split and class of each video."""
    labels = {
        r["group"]: found.category_names()[r["category"]]
        for r in found.annotations().to_pylist()
        if r["kind"] == "label" and r["sample"] is None
    }
    return [
        (
            (g["media"] or {}).get("path"),
            json.loads(g["attributes"] or "{}").get("split"),
            labels.get(i),
        )
        for i, g in enumerate(found.groups.to_pylist())
    ]


class TestVideoFolder(ReaderSuite):
    name = "video_folder"

    def make(self, folder: Path) -> Path:
        return kinetics(folder / "data")

    def test_reads_something(self, tmp_path: Path) -> None:
        """Videos are groups; no frame is annotated, so there is no sample."""
        found = self.read(self.make(tmp_path))
        assert (len(found), found.groups.num_rows, found.num_annotations) == (0, 4, 3)
        assert found.groups["kind"].unique().to_pylist() == ["video"]


class TestFolders(TestVideoFolder):
    def make(self, folder: Path) -> Path:
        names = ("a/1.mp4", "a/2.MP4", "b/1.avi", "b/deep/3.mkv")
        return files(folder / "data", *names)

    def test_reads_something(self, tmp_path: Path) -> None:
        found = self.read(self.make(tmp_path))
        assert facts(found) == [
            ("a/1.mp4", None, "a"),
            ("a/2.MP4", None, "a"),
            ("b/1.avi", None, "b"),
            ("b/deep/3.mkv", None, "b"),
        ]


def test_splits_and_containers_are_no_classes(tmp_path: Path) -> None:
    root = files(
        tmp_path, "train/run/1.mp4", "val/run/2.mp4", "val/walk/3.mp4", "videos_test/walk/4.mp4"
    )
    assert facts(granum.read(root)) == [
        ("train/run/1.mp4", "train", "run"),
        ("val/run/2.mp4", "val", "run"),
        ("val/walk/3.mp4", "val", "walk"),
        ("videos_test/walk/4.mp4", "test", "walk"),
    ]
    other = files(tmp_path / "other", "videos/run/1.mp4", "videos/2.mp4")
    assert facts(granum.read(other)) == [
        ("videos/2.mp4", None, None),
        ("videos/run/1.mp4", None, "run"),
    ]


def test_lists_of_kinetics(tmp_path: Path) -> None:
    found, faults = findings(kinetics(tmp_path))
    assert facts(found) == [
        ("test/AbCdEfGhIjK.webm", "test", None),
        (
            "train/petting/0347ZoDXyP0_000095_000105.mp4",
            "train",
            "petting animal (not cat), dog",
        ),
        ("train/abseiling/-3B32lodo2M_000059_000069.mp4", "train", "abseiling"),
        (None, "train", "abseiling"),
    ]
    assert faults == [("missing-video", "train.csv", "row 3")]
    group = found.groups.to_pylist()[1]
    assert (group["key"], group["source_id"]) == ("0347ZoDXyP0_000095_000105", "0347ZoDXyP0")
    assert json.loads(group["attributes"]) == {
        "split": "train",
        "time_start": 95.0,
        "time_end": 105.0,
    }


def test_what_fits_nothing_is_told(tmp_path: Path) -> None:
    root = files(kinetics(tmp_path), "train/other/1.mp4", "notes.pdf")
    _, faults = findings(root)
    assert faults[1:] == [
        ("unlisted-image", "train/other/1.mp4", None),
        ("file-not-read", "notes.pdf", None),
    ]


def test_a_video_listed_twice(tmp_path: Path) -> None:
    root = kinetics(tmp_path)
    (root / "train.csv").write_text(TRAIN + TRAIN.splitlines()[2] + "\n")
    with pytest.raises(FindingsError, match="duplicate-key"):
        granum.read(root)
    found, faults = findings(root)
    assert ("duplicate-key", "train.csv", "row 4") in faults
    assert found.groups.num_rows == 4
    assert granum.read(root, on_error="fix").groups["key"].to_pylist()[-1] == (
        "-3B32lodo2M_000059_000069#2"
    )


@pytest.mark.parametrize(
    ("line", "place"), [("abseiling,,1,2,train", "line 5"), ("abseiling,x,-1,2,train", "line 5")]
)
def test_a_faulty_row_is_told(tmp_path: Path, line: str, place: str) -> None:
    root = kinetics(tmp_path)
    (root / "train.csv").write_text(TRAIN + line + "\n")
    found, faults = findings(root)
    assert ("bad-value", "train.csv", place) in faults
    assert found.groups.num_rows == 4


@pytest.mark.parametrize(
    "facts_", [3, {"subset": 3}, {"annotations": {"segment": [0, "x"]}}, {"annotations": [1]}]
)
def test_a_faulty_record_is_told(tmp_path: Path, facts_: Any) -> None:
    listed = {"a/b": facts_, "ok": {"subset": "train", "duration": 2.0}}
    (tmp_path / "train.json").write_text(json.dumps(listed))
    found, faults = findings(tmp_path)
    assert ("bad-value", "train.json", "/a~1b") in faults
    assert found.groups["key"].to_pylist() == ["ok"]


def test_the_fixture_of_kinetics() -> None:
    root = shared("format_fixtures/kinetics_dataset")
    assert list(sniff(root)) == ["video_folder"]
    found, faults = findings(root)
    assert (len(found), found.groups.num_rows, found.num_annotations) == (0, 4, 4)
    assert facts(found) == [
        (None, "test", "label_0"),
        (None, "test", "label_0"),
        (None, "test", "label_1"),
        ("train/3.avi", "train", "label_2"),
    ]
    assert [f[:2] for f in faults] == [
        ("missing-video", "test.csv"),
        ("unlisted-image", "video_1.avi"),
    ]


def test_the_fixture_of_one_video() -> None:
    root = shared("format_fixtures/video_dataset")
    assert list(sniff(root)) == ["video_folder"]
    assert facts(granum.read(root)) == [("video.avi", None, None)]


def test_a_tree_with_other_files_is_left_to_others(tmp_path: Path) -> None:
    root = files(tmp_path, "a/1.mp4", "a/1.json")
    assert "video_folder" not in sniff(root)
    files(tmp_path / "b", "a/1.mp4", "README.md")
    assert list(sniff(tmp_path / "b")) == ["video_folder"]


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no video"):
        granum.read(tmp_path, "video_folder")
