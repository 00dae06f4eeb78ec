"""MOTS, from texts and label images made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import granum
from granum.errors import FindingsError
from granum.loaders.reading import sniff
from granum.schema.geometry import rle_decode
from granum.testing.suite import ReaderSuite
from tests.data import shared

# 2 rows, 3 columns; column by column: 1 zero, 2 ones, 3 zeros ("1", "2", "3" are runs 1, 2, 3).
TEXT = """1 2001 2 2 3 123
3 2001 2 2 3 06
1 10000 10 2 3 51
3 2007 2 2 3 15
"""
INFO = "[Sequence]\nname=MOTS20-02\nimDir=img1\nframeRate=30\nseqLength=3\nimWidth=3\nimHeight=2\n"


def challenge(root: Path, text: str = TEXT) -> Path:
    folder = root / "train/MOTS20-02"
    for name in ("gt", "img1"):
        (folder / name).mkdir(parents=True)
    (folder / "gt/gt.txt").write_text(text)
    (folder / "seqinfo.ini").write_text(INFO)
    (folder / "img1/000002.jpg").write_bytes(b"")
    return root


def label_image(path: Path, values: list[list[int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint16)).save(path)


def kitti(root: Path) -> Path:
    label_image(root / "instances/0002/000000.png", [[0, 1001, 10000], [0, 1001, 2000]])
    label_image(root / "instances/0002/000001.png", [[0, 0, 0], [1001, 0, 0]])
    for number in (0, 1, 2):
        path = root / f"image_02/0002/{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


class TestMots(ReaderSuite):
    name = "mots"

    def make(self, folder: Path) -> Path:
        kitti(folder / "data")
        (folder / "data/instances_txt").mkdir()
        (folder / "data/instances_txt/0005.txt").write_text(TEXT)
        return folder / "data"


def test_texts(tmp_path: Path) -> None:
    found = granum.read(challenge(tmp_path))
    assert sniff(tmp_path).keys() == {"mots"}
    folder = "train/MOTS20-02/img1"
    assert [s.key for s in found] == [f"{folder}/00000{i}.jpg" for i in (1, 2, 3)]
    assert [s.row.order for s in found] == [1, 2, 3]
    assert {s.split for s in found} == {"train"}
    walker, ignored = found[0].annotations
    assert (walker.track, walker.track_source_id, found[0].labels[0]) == (0, "2001", "pedestrian")
    assert walker.rle is not None and walker.rle.size == (2, 3)
    # Columns: (0, 1), (1, 0), (0, 0).
    assert rle_decode(walker.rle.size, walker.rle.counts).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert (ignored.ignore, ignored.category, ignored.track) == (True, None, None)
    same, other = found[2].annotations
    assert (same.track, other.track) == (0, 1)
    assert found.groups.to_pylist()[0]["fps"] == 30.0


def test_label_images(tmp_path: Path) -> None:
    found = granum.read(kitti(tmp_path))
    assert sniff(tmp_path).keys() == {"mots"}
    assert [(s.key, s.row.order, len(s.annotations)) for s in found] == [
        ("image_02/0002/000000.png", 0, 3),
        ("image_02/0002/000001.png", 1, 1),
        ("image_02/0002/000002.png", 2, 0),
    ]
    car, walker, ignored = found[0].annotations
    assert found[0].labels == ["car", "pedestrian", None]
    assert [a.map.value for a in (car, walker, ignored) if a.map] == [1001, 2000, 10000]
    assert car.map is not None and car.map.path == "instances/0002/000000.png"
    assert (ignored.ignore, ignored.track) == (True, None)
    assert found[1].annotations[0].track == car.track == 0
    assert walker.track == 1


def test_the_text_is_read_where_there_are_both(tmp_path: Path) -> None:
    kitti(tmp_path)
    (tmp_path / "instances_txt").mkdir()
    (tmp_path / "instances_txt/0002.txt").write_text("0 1001 1 2 3 123\n")
    found = granum.read(tmp_path)
    assert [len(s.annotations) for s in found] == [1, 0, 0]
    assert found[0].annotations[0].rle is not None and found[0].annotations[0].map is None
    assert (found[0].row.width, found[0].row.height) == (3, 2)


def test_tracks_are_of_their_sequence_only(tmp_path: Path) -> None:
    (tmp_path / "instances_txt").mkdir()
    for name in ("0000", "0001"):
        (tmp_path / f"instances_txt/{name}.txt").write_text(TEXT)
    tracks = [[a.track for a in s.annotations] for s in granum.read(tmp_path)]
    assert tracks == [[0, None], [0, 1], [2, None], [2, 3]]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("2 2001 2 2 3", "bad-value"),
        ("2 2001 x 2 3 123", "bad-value"),
        ("2 -1 2 2 3 123", "bad-value"),
        ("2 2001 2 0 3 123", "bad-value"),
        ("1 2001 2 2 3 123", "duplicate-track"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, line: str, code: str) -> None:
    (fault,) = granum.validate(challenge(tmp_path, f"{TEXT}{line}\n")).findings.items
    assert (fault.code, fault.path, fault.place) == (code, "train/MOTS20-02/gt/gt.txt", "line 5")


def test_masks_are_checked(tmp_path: Path) -> None:
    with pytest.raises(FindingsError, match="rle-size-mismatch"):
        granum.read(challenge(tmp_path, "1 2001 2 2 3 122\n"))


def test_a_label_image_that_is_none(tmp_path: Path) -> None:
    (kitti(tmp_path) / "instances/0002/000001.png").write_bytes(b"no image")
    (fault,) = granum.validate(tmp_path).findings.items
    assert (fault.code, fault.path) == ("broken-media", "instances/0002/000001.png")


def test_a_class_that_labels_txt_lacks(tmp_path: Path) -> None:
    label_image(tmp_path / "train/instances/1.png", [[0, 1001, 3000]])
    (tmp_path / "train/instances/labels.txt").write_text("a\nb\n")
    (tmp_path / "train/images").mkdir()
    (fault,) = granum.validate(tmp_path).findings.items
    assert (fault.code, fault.path, fault.place) == (
        "unknown-class",
        "train/instances/1.png",
        "value 3000",
    )
    assert granum.read(tmp_path, on_error="fix")[0].labels == ["a", "class 3"]


def test_fixture() -> None:
    found = granum.read(shared("format_fixtures/mots_dataset"))
    assert sniff(shared("format_fixtures/mots_dataset")).keys() == {"mots"}
    assert [(s.key, s.split, s.labels) for s in found] == [
        ("train/images/1.jpg", "train", ["c", "d", "d"]),
        ("train/images/2.jpg", "train", ["d"]),
        ("val/images/3.jpg", "val", ["a"]),
    ]
    assert found.category_names() == ["a", "b", "c", "d"]
    ids = [a.track_source_id for s in found for a in s.annotations]
    assert ids == ["3002", "4001", "4003", "4002", "1001"]
