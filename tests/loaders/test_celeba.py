"""CelebA's lists, typed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

import granum
from granum.errors import FindingsError
from granum.testing.suite import ReaderSuite
from tests.data import shared

FILES = {
    "Anno/list_attr_celeba.txt": "2\nBald Young\n000001.jpg -1  1\n000002.jpg  1 -1\n",
    "Anno/list_bbox_celeba.txt": "1\nimage_id x_1 y_1 width height\n000001.jpg 95 71 226 313\n",
    "Anno/list_landmarks_celeba.txt": "1\nlefteye_x lefteye_y righteye_x righteye_y nose_x nose_y "
    "leftmouth_x leftmouth_y rightmouth_x rightmouth_y\n000001.jpg 1 2 3 4 5 6 7 8 9 10\n",
    "Anno/identity_CelebA.txt": "000001.jpg 2880\n000002.jpg 7\n",
    "Eval/list_eval_partition.txt": "000001.jpg 0\n000002.jpg 2\n",
}


def tree(folder: Path, **changes: str) -> Path:
    root = folder / "celeba"
    for name, text in {**FILES, **changes}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


class TestCelebA(ReaderSuite):
    name = "celeba"

    def make(self, folder: Path) -> Path:
        return tree(folder)


def test_faces_identities_and_attributes(tmp_path: Path) -> None:
    one, two = granum.read(tree(tmp_path))
    assert (one.key, one.split, two.split) == ("Img/img_celeba/000001.jpg", "train", "test")
    face, identity, bald, young = one.annotations
    assert face.bbox == (95, 71, 226, 313)
    assert face.keypoints == [1, 2, 2, 3, 4, 2, 5, 6, 2, 7, 8, 2, 9, 10, 2]
    assert one.labels == ["face", "2880", "Bald", "Young"]
    assert [identity.present, bald.present, young.present] == [None, False, True]
    assert two.labels == ["7", "Bald", "Young"]  # neither box nor landmarks
    spaces = [c.space for c in one.categories]
    assert spaces == ["object", "attribute", "attribute", "identity", "identity"]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("Anno/list_attr_celeba.txt", "1\nBald Young\n000001.jpg -1 0\n", 3),
        ("Anno/list_attr_celeba.txt", "1\nBald Young\n000001.jpg -1\n", 3),
        ("Anno/list_bbox_celeba.txt", "1\na b c d\n000001.jpg 1 2 3 x\n", 3),
        ("Eval/list_eval_partition.txt", "000001.jpg 5\n", 1),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, name: str, text: str, line: int) -> None:
    with pytest.raises(FindingsError, match=rf"{name} line {line}"):
        granum.read(tree(tmp_path, **{name: text}))


def test_the_fixtures() -> None:
    root = shared("format_fixtures")
    for name in ("celeba_dataset/dataset", "align_celeba_dataset/dataset"):
        found = granum.read(root / name)
        kinds = found.annotations(["kind"])["kind"].to_pylist()
        assert (len(found), kinds.count("object"), kinds.count("label")) == (5, 5, 21), name
