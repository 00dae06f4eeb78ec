"""UCF101-24 and JHMDB, from pickles typed by hand."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.errors import FindingsError, FormatError
from granum.loaders.base import Intake
from granum.loaders.reading import read_into
from granum.loaders.ucf24 import Ucf24
from granum.schema.findings import Findings
from granum.store.builder import MemoryBuilder
from granum.testing.suite import ReaderSuite

ONE, TWO, THREE = "Basketball/v_b_g01_c01", "Biking/v_k_g02_c01", "Biking/v_k_g03_c01"


def truth() -> dict[str, Any]:
    """Three videos, two tubes of which one begins at frame 3."""
    first = np.array([[1, 10, 20, 30, 60], [2, 11, 20, 31, 60]], np.float32)
    second = np.array([[3, 0.5, 0, 100.5, 240], [4, 0, 0, 320, 240]], np.float32)
    return {
        "labels": ["Basketball", "Biking"],
        "train_videos": [[ONE, TWO], [TWO, THREE]],
        "test_videos": [[THREE], [ONE]],
        "nframes": {ONE: 5, TWO: 9, THREE: 7},
        "resolution": {ONE: (240, 320), TWO: (240, 320), THREE: (240, 320)},
        "gttubes": {ONE: {0: [first]}, TWO: {1: [second]}, THREE: {}},
    }


def written(folder: Path, content: Any, name: str = "UCF101v2-GT.pkl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    return folder


class TestUcf24(ReaderSuite):
    name = "ucf24"

    def make(self, folder: Path) -> Path:
        return written(folder / "data", truth())


class TestAnnotated(ReaderSuite):
    name = "ucf24"

    def make(self, folder: Path) -> Path:
        return annotated(folder / "data")


def test_tubes_become_tracks(tmp_path: Path) -> None:
    found = granum.read(written(tmp_path, truth()))
    assert [s.key for s in found] == [
        f"{ONE}/000001",
        f"{ONE}/000002",
        f"{TWO}/000003",
        f"{TWO}/000004",
    ]
    assert [s.row.order for s in found] == [1, 2, 3, 4]
    assert {s.size for s in found} == {(320, 240)}
    assert [s.split for s in found] == ["train"] * 4
    assert found[0].annotations[0].bbox == (10, 20, 20, 40)
    assert found[2].annotations[0].bbox == (0.5, 0, 100, 240)
    assert [s.annotations[0].track for s in found] == [0, 0, 1, 1]
    assert [s.labels for s in found] == [["Basketball"], ["Basketball"], ["Biking"], ["Biking"]]
    whole = [r for r in found.annotations().to_pylist() if r["sample"] is None]
    assert [(r["kind"], r["group"], r["track"], r["category"]) for r in whole] == [
        ("track", 0, 0, 0),
        ("track", 1, 1, 1),
    ]
    groups = found.groups.to_pylist()
    assert [(g["key"], g["width"], g["height"], g["frames"]) for g in groups] == [
        (ONE, 320, 240, 5),
        (TWO, 320, 240, 9),
        (THREE, 320, 240, 7),
    ]


def test_another_way_to_split(tmp_path: Path) -> None:
    found = granum.read(written(tmp_path, truth()), way=2)
    assert {s.key: s.split for s in found} == {
        f"{TWO}/000003": "train",
        f"{TWO}/000004": "train",
        f"{ONE}/000001": "test",
        f"{ONE}/000002": "test",
    }
    with pytest.raises(FormatError, match="2 ways to split, not 3"):
        granum.read(tmp_path, way=3)


def test_frames_that_are_there_are_the_media(tmp_path: Path) -> None:
    root = written(tmp_path, truth(), "JHMDB-GT.pkl")
    folder = root / "Frames" / TWO
    folder.mkdir(parents=True)
    for n in (1, 3):
        (folder / f"{n:05d}.png").write_bytes(b"")
    found = granum.read(root)
    assert found[2].row.media is not None
    assert found[2].row.media.path == f"Frames/{TWO}/00003.png"


def annotated(root: Path, boxes: Any = None) -> Path:
    boxes = np.array([[200, 10, 100, 50], [255, 10, 60, 250]], np.uint8) if boxes is None else boxes
    tube = {"label": np.uint8(2), "sf": np.uint8(4), "ef": np.uint8(6), "boxes": boxes}
    content = {TWO: {"numf": 9, "label": 2, "annotations": [tube]}}
    written(root / "splitfiles", content, "pyannot.pkl")
    (root / "splitfiles" / "testlist01.txt").write_text(f"{TWO}\n")
    return root


def test_bytes_do_not_overflow(tmp_path: Path) -> None:
    """x + width = 300: 44 in eight bits, and the width would be -156."""
    found = granum.read(annotated(tmp_path))
    # The first frame of the file is 4 from 0: image 00005.
    assert [s.key for s in found] == [f"{TWO}/000005", f"{TWO}/000006"]
    assert [s.annotations[0].bbox for s in found] == [(200, 10, 100, 50), (255, 10, 60, 250)]
    assert [(s.labels, s.split) for s in found] == [(["Biking"], "test")] * 2
    assert len(found.category_names()) == 24


def test_boxes_that_do_not_fit_their_frames_are_told(tmp_path: Path) -> None:
    root = annotated(tmp_path, np.zeros((3, 4), np.uint8) + 9)
    intake = Intake(Findings())
    found = read_into(MemoryBuilder(), Ucf24(), root, intake, options={})
    assert [(f.code, f.path, f.message) for f in intake.findings.items] == [
        ("conflicting-records", "pyannot.pkl", "3 boxes for frames 4 to 6")
    ]
    assert len(found) == 3


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda t: t["gttubes"][ONE].update({7: []}), "[7]: label 7; 2 are named"),
        (lambda t: t["gttubes"][ONE].update({0: 5}), "no list of tubes"),
        (
            lambda t: t["gttubes"][ONE][0].append(np.zeros((2, 4))),
            "[0][1]: ndarray of float64, shape (2, 4)",
        ),
        (lambda t: t["gttubes"][ONE][0].append("x"), "str, not numbers"),
        (lambda t: t["gttubes"].update({ONE: []}), "no dictionary of labels"),
        (lambda t: t.pop("labels"), "missing-categories"),
        (lambda t: t.pop("nframes"), "nframes"),
        (lambda t: t.update(train_videos=3), "train_videos"),
        (lambda t: t["gttubes"][ONE][0][0].__setitem__((0, 0), 0), "without a frame from 1"),
        (lambda t: t["gttubes"][ONE][0][0].__setitem__((0, 0), 1.5), "first: 1.5"),
        (lambda t: t["gttubes"][ONE][0][0].__setitem__((0, 1), np.nan), "nan-box"),
        (lambda t: t["gttubes"][ONE][0][0].__setitem__((0, 1), 99), "negative-box"),
    ],
)
def test_faults_say_where(tmp_path: Path, change: Any, place: str) -> None:
    content = truth()
    change(content)
    with pytest.raises(FindingsError) as error:
        granum.read(written(tmp_path, content))
    assert "UCF101v2-GT.pkl" in str(error.value) and place in str(error.value)
    left = granum.read(tmp_path, on_error="skip")
    assert len(left) == 0 if place == "missing-categories" else len(left) >= 2


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "UCF101v2-GT.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(FormatError, match=r"os\.system"):
        granum.read(tmp_path, "ucf24")
