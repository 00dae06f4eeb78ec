"""VGGFace2's lists, typed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import granum
from granum.errors import FindingsError
from granum.loaders.reading import sniff
from granum.store.media import encode_png
from granum.testing.suite import ReaderSuite
from tests.data import shared

FILES = {
    "bb_landmark/loose_bb_train.csv": 'NAME_ID,X,Y,W,H\n"n000001/0001_01",-3,71,226,313\n',
    "bb_landmark/loose_landmark_train.csv": "NAME_ID,P1X,P1Y,P2X,P2Y,P3X,P3Y,P4X,P4Y,P5X,P5Y\n"
    "n000001/0001_01,1,2,3,4,5.5,6,7,8,9,10\n",
    "bb_landmark/loose_bb_test.csv": "NAME_ID,X,Y,W,H\nn000009/0004_02,1,2,3,4\n",
    "identity_meta.csv": "Class_ID, Name, Sample_Num, Flag, Gender\n"
    'n000001, "Fonsi, Luis", 315, 1,  m\n',
}


def tree(folder: Path, **changes: str) -> Path:
    root = folder / "vgg"
    for name, text in {**FILES, **changes}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name in ("train/n000001/0001_01.jpg", "train/n000002/0001_01.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encode_png(np.zeros((4, 4), np.uint8)))
    return root


class TestVggFace2(ReaderSuite):
    name = "vgg_face2"

    def make(self, folder: Path) -> Path:
        return tree(folder)


def test_faces_and_persons(tmp_path: Path) -> None:
    listed, one, two = granum.read(tree(tmp_path))
    face, person = one.annotations
    assert (one.key, one.split) == ("train/n000001/0001_01.jpg", "train")
    assert face.bbox == (-3, 71, 226, 313)
    assert face.keypoints == [1, 2, 2, 3, 4, 2, 5.5, 6, 2, 7, 8, 2, 9, 10, 2]
    assert one.labels == ["face", "n000001"] and person.kind == "label"
    by_name = {c.name: c for c in one.categories}
    assert by_name["n000001"].synonyms == ["Fonsi, Luis"]
    assert by_name["n000001"].space == "identity"
    # An image without a row, and a row without an image.
    assert (two.key, two.labels) == ("train/n000002/0001_01.png", ["n000002"])
    assert (listed.key, listed.split) == ("test/n000009/0004_02.jpg", "test")
    assert listed.annotations[0].bbox == (1, 2, 3, 4) and listed.annotations[0].keypoints is None


@pytest.mark.parametrize("row", ["n1/a,1,2,3", "n1/a,1,2,3,x", "n1/a,1,2,3,nan", "a,1,2,3,4,5"])
def test_faults_name_file_and_line(tmp_path: Path, row: str) -> None:
    name = "bb_landmark/loose_bb_test.csv"
    with pytest.raises(FindingsError, match=rf"{name} line 3"):
        granum.read(tree(tmp_path, **{name: FILES[name] + row + "\n"}))


def test_the_fixture() -> None:
    root = shared("format_fixtures/vgg_face2_dataset")
    assert list(sniff(root)) == ["vgg_face2"]
    found = granum.read(root)
    kinds = found.annotations(["kind"])["kind"].to_pylist()
    assert (len(found), kinds.count("object"), kinds.count("label")) == (4, 4, 4)
    names = {c.name: c.synonyms for c in found[0].categories}
    assert names["n000002"] == ["Jay"]
