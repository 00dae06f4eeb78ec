"""WIDER FACE, typed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

import granum
from granum.errors import FindingsError
from granum.testing.suite import ReaderSuite
from tests.data import shared

TEXT = """0--Parade/a.jpg
2
449 330 122 149 0 0 0 0 0 0
10 20 3 4 2 1 1 1 2 1
0--Parade/none.jpg
0
0 0 0 0 0 0 0 0 0 0
1--Handshaking/b.jpg
1
1 2 3 4 0 0 0 0 1 0
"""


def tree(folder: Path, text: str = TEXT) -> Path:
    root = folder / "wider"
    (root / "wider_face_split").mkdir(parents=True)
    (root / "wider_face_split" / "wider_face_val_bbx_gt.txt").write_text(text)
    return root


class TestWiderFace(ReaderSuite):
    name = "widerface"

    def make(self, folder: Path) -> Path:
        return tree(folder)


def test_faces_and_their_facts(tmp_path: Path) -> None:
    one, none, two = granum.read(tree(tmp_path))
    assert one.key == "WIDER_val/images/0--Parade/a.jpg" and one.split == "val"
    event, clear, bad = one.annotations
    assert (event.kind, one.labels[0]) == ("label", "Parade")
    assert (clear.bbox, clear.ignore, clear.occluded) == ((449, 330, 122, 149), False, False)
    assert (bad.ignore, bad.occluded) == (True, True)
    assert bad.attributes == {
        "blur": 2, "expression": 1, "illumination": 1, "invalid": 1, "occlusion": 2, "pose": 1
    }  # fmt: skip
    # Of an image without faces the line of zeros is no face.
    assert [a.kind for a in none.annotations] == ["label"]
    assert two.labels == ["Handshaking", "face"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("10 20 3 4 2 1 1 1 2 1", "10 20 3 4 2 1 1 1 x 1", 4),
        ("10 20 3 4 2 1 1 1 2 1\n", "", 4),
        ("0--Parade/a.jpg\n2", "0--Parade/a.jpg\ntwo", 2),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, old: str, new: str, line: int) -> None:
    with pytest.raises(FindingsError, match=rf"wider_face_val_bbx_gt\.txt line {line}"):
        granum.read(tree(tmp_path, TEXT.replace(old, new)))


def test_the_fixture() -> None:
    found = granum.read(shared("format_fixtures/widerface_dataset"))
    kinds = found.annotations(["kind"])["kind"].to_pylist()
    assert (len(found), kinds.count("object"), kinds.count("label")) == (3, 6, 3)
