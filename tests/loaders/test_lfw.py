"""LFW's lists, typed by hand."""

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

PAIRS = "1\t1\nAda_B\t1\t2\nAda_B\t2\tCid\t10\n"
POINTS = "Ada_B/Ada_B_0001.jpg\t1\t2\t3\t4\t5\t6\t7\t8\t9\t10.5\n"


def tree(folder: Path, lists: dict[str, str] | None = None, place: str = "train/images") -> Path:
    root = folder / "faces"
    if lists is None:
        lists = {"train/annotations/pairs.txt": PAIRS, "train/annotations/landmarks.txt": POINTS}
    for name in ("Ada_B/Ada_B_0001.jpg", "Ada_B/Ada_B_0002.jpg", "Cid/Cid_0003.jpg"):
        path = root / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(np.zeros((4, 4), np.uint8)))
    for name, text in lists.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


class TestLfw(ReaderSuite):
    name = "lfw"

    def make(self, folder: Path) -> Path:
        return tree(folder)


def test_persons_pairs_and_points(tmp_path: Path) -> None:
    found = granum.read(tree(tmp_path))
    one, two, three, absent = found
    assert (one.key, one.split) == ("train/images/Ada_B/Ada_B_0001.jpg", "train")
    assert one.labels == ["Ada_B", "face"]
    assert one.annotations[1].keypoints == [1, 2, 2, 3, 4, 2, 5, 6, 2, 7, 8, 2, 9, 10.5, 2]
    assert one.row.attributes == {"same": [two.key]}
    assert two.row.attributes == {"different": [absent.key]}
    assert (three.labels, three.row.attributes) == (["Cid"], None)
    # A pair names an image that is not there.
    assert (absent.key, absent.labels) == ("train/images/Cid/Cid_0010.jpg", ["Cid"])
    assert [c.space for c in one.categories] == ["identity", "object", "identity"]


def test_the_official_tree(tmp_path: Path) -> None:
    lists = {"pairsDevTrain.txt": "1\nAda_B\t1\t2\n", "pairsDevTest.txt": "1\nAda_B 1 Cid 3\n"}
    root = tree(tmp_path, lists, "lfw")
    assert list(sniff(root)) == ["lfw"]
    one, two, three = granum.read(root)
    assert one.key == "lfw/Ada_B/Ada_B_0001.jpg" and one.split is None
    assert one.row.attributes == {"same": [two.key], "different": [three.key]}


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("pairs.txt", PAIRS + "Ada_B 1\n", 4),
        ("pairs.txt", PAIRS + "Ada_B one 2\n", 4),
        ("pairs.txt", PAIRS + ".. 1 2\n", 4),
        ("landmarks.txt", POINTS + "Cid/Cid_0003.jpg 1 2 3\n", 2),
        ("landmarks.txt", "Cid/Cid_0003.jpg" + " 1" * 9 + " x\n", 1),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, name: str, text: str, line: int) -> None:
    lists = {"train/annotations/pairs.txt": PAIRS, f"train/annotations/{name}": text}
    with pytest.raises(FindingsError, match=rf"train/annotations/{name} line {line}"):
        granum.read(tree(tmp_path, lists))


def test_the_fixture() -> None:
    root = shared("format_fixtures/lfw_dataset")
    assert list(sniff(root)) == ["lfw"]
    found = granum.read(root)
    kinds = found.annotations(["kind"])["kind"].to_pylist()
    assert (len(found), kinds.count("label"), kinds.count("object")) == (3, 3, 3)
    told = [s.row.attributes or {} for s in found]
    assert [len(t.get("same", [])) for t in told] == [0, 1, 0]
    assert [len(t.get("different", [])) for t in told] == [2, 0, 0]
