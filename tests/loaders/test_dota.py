"""DOTA, from texts typed by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import granum
from granum.errors import FindingsError
from granum.loaders.reading import sniff
from granum.schema.findings import Findings
from tests.data import shared

TEXT = """imagesource:GoogleEarth
gsd:0.146343590398
10 20 30 20 30 30 10 30 plane 0
50 40 50 60 40 60 40 40 large-vehicle 1
0 0 8 1 9 9 1 8 ship
"""


def tree(folder: Path, text: str = TEXT) -> Path:
    (folder / "train" / "images").mkdir(parents=True)
    (folder / "train" / "images" / "P0001.png").write_bytes(b"")
    (folder / "train" / "images" / "P0002.png").write_bytes(b"")
    (folder / "train" / "labelTxt-v1.0").mkdir()
    (folder / "train" / "labelTxt-v1.0" / "P0001.txt").write_text(text)
    return folder


def test_corners_become_boxes_and_angles(tmp_path: Path) -> None:
    found = granum.read(tree(tmp_path))
    one, two = found
    assert (one.key, one.split, two.annotations) == ("train/images/P0001.png", "train", [])
    assert one.row.attributes == {"imagesource": "GoogleEarth", "gsd": 0.146343590398}
    plane, vehicle, ship = one.annotations
    assert (plane.bbox, plane.angle, plane.difficult) == ((10, 20, 20, 10), 0.0, False)
    # Its first edge, from (50, 40) down to (50, 60), is the width: 20 by 10 about (45, 50).
    assert vehicle.bbox == (35, 45, 20, 10)
    assert vehicle.angle == pytest.approx(math.pi / 2, abs=1e-9)
    assert (vehicle.difficult, one.labels[1]) == (True, "large-vehicle")
    # No rectangle: the polygon is what counts.
    assert ship.bbox is None and ship.difficult is None
    assert ship.polygons == [[[0, 0, 8, 1, 9, 9, 1, 8]]]


def test_written_lines_are_the_lines_read(tmp_path: Path) -> None:
    found = granum.read(tree(tmp_path / "in"))
    granum.write(found, tmp_path / "out", "dota")
    text = (tmp_path / "out/train/labelTxt/P0001.txt").read_text()
    assert text == TEXT


def test_results_of_task_1(tmp_path: Path) -> None:
    (tmp_path / "Task1_plane.txt").write_text("P0001 0.5 10 20 30 20 30 30 10 30\n")
    (tmp_path / "Task1_ship.txt").write_text(
        "P0001 0.25 0 0 8 1 9 9 1 8\nP0003 1 0 0 4 0 4 2 0 2\n"
    )
    found = granum.read(tmp_path)
    assert [s.key for s in found] == ["P0001", "P0003"]
    assert [a.score for a in found[0].annotations] == [0.5, 0.25]
    assert found[0].labels == ["plane", "ship"]


def test_what_is_not_read_is_told(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "train/images/P0001.jpg").write_bytes(b"")
    (root / "train/labelTxt-v1.5").mkdir()
    findings = Findings()
    found = granum.read(root, findings=findings)
    assert [len(s.annotations) for s in found] == [3, 0]
    assert {(f.code, f.path) for f in findings.items} == {
        ("file-not-read", "train/images/P0001.png"),
        ("file-not-read", "train/labelTxt-v1.5"),
    }


def test_the_fixture() -> None:
    root = shared("format_fixtures/dota_dataset")
    assert list(sniff(root)) == ["dota"]
    found = granum.read(root)
    assert (len(found), found.num_annotations) == (3, 4)
    assert {s: len(d) for s, d in found.split().items()} == {"train": 2, "val": 1}


@pytest.mark.parametrize("line", ["1 2 3 4 5 6 7 plane 0", "1 2 3 4 5 6 7 nan plane 0", "x"])
def test_a_bad_line_is_told(tmp_path: Path, line: str) -> None:
    with pytest.raises(FindingsError, match=r"train/labelTxt-v1\.0/P0001\.txt.*line 6"):
        granum.read(tree(tmp_path, TEXT + line + "\n"), "dota")
    found = granum.read(tmp_path, "dota", on_error="skip")
    assert found.num_annotations == 3
