"""ICDAR's texts, typed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.errors import FindingsError
from granum.loaders._panoptic_pixels import encode_png as encode_rgb
from granum.loaders.reading import sniff
from granum.store.media import encode_png
from granum.testing.suite import ReaderSuite
from tests.data import shared

IMAGE = encode_png(np.zeros((8, 9), np.uint8))
QUADS = "\ufeff1,2,5,2,5,4,1,4,ab,c\r\n0,0,1,0,1,1,0,1,###\r\n\r\n2,2,3,2,3,3,2,3,12\r\n"
BOXES = '1, 2, 5, 4, "say \\"hi\\" \\\\"\n0 0 3 1 "RED"\n'
RED, BLUE = 200 + 256 * 1, 7 * 65536
CHARACTERS = '200 1 0 1 0 0 0 2 1 "a"\n0 0 7 4 4 4 4 5 5 "b"\n\n#9 9 9 6 6 6 6 7 7 "c"\n'


def tree(folder: Path, files: dict[str, str], images: tuple[str, ...]) -> Path:
    root = folder / "icdar"
    data: dict[str, Any] = {n: t.encode() for n, t in files.items()}
    for name, content in (data | dict.fromkeys(images, IMAGE)).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def words(folder: Path, text: str = QUADS) -> Path:
    files = {"train/gt_img_1.txt": text}
    return tree(folder, files, ("train/images/img_1.png", "train/images/img_2.png"))


class TestIcdar(ReaderSuite):
    name = "icdar"

    def make(self, folder: Path) -> Path:
        return words(folder)


def test_words_of_four_corners(tmp_path: Path) -> None:
    one, other = granum.read(words(tmp_path))
    assert (one.key, one.split) == ("train/images/img_1.png", "train")
    # A text may hold commas; it may be a number.
    assert [a.text for a in one.annotations] == ["ab,c", "###", "12"]
    assert [a.ignore for a in one.annotations] == [None, True, None]
    assert one.annotations[0].polygons == [[[1, 2, 5, 2, 5, 4, 1, 4]]]
    assert one.labels == ["text"] * 3
    assert (other.key, other.annotations) == ("train/images/img_2.png", [])


def test_words_of_boxes(tmp_path: Path) -> None:
    one, _ = granum.read(words(tmp_path, BOXES))
    assert [a.bbox for a in one.annotations] == [(1, 2, 4, 2), (0, 0, 3, 1)]
    assert [a.text for a in one.annotations] == ['say "hi" \\', "RED"]


def test_texts_in_another_folder(tmp_path: Path) -> None:
    root = tree(tmp_path, {"ch4_gt/gt_img_1.txt": QUADS}, ("ch4_images/img_1.png",))
    assert list(sniff(root)) == ["icdar"]
    (sample,) = granum.read(root)
    assert (sample.key, len(sample.annotations)) == ("ch4_images/img_1.png", 3)


def test_words_cut_out(tmp_path: Path) -> None:
    text = 'word_1.png, "PROPER"\nword_2.png, "a, b"\n'
    root = tree(tmp_path, {"gt.txt": text}, ("images/word_1.png", "images/word_2.png"))
    assert list(sniff(root)) == ["icdar"]
    one, two = granum.read(root)
    assert (one.key, two.key) == ("images/word_1.png", "images/word_2.png")
    assert [(a.kind, a.text) for s in (one, two) for a in s.annotations] == [
        ("caption", "PROPER"),
        ("caption", "a, b"),
    ]


def test_characters_by_pixel(tmp_path: Path) -> None:
    root = tree(tmp_path, {"train/1_GT.txt": CHARACTERS}, ("train/images/1.png",))
    pixels = np.full((8, 9), 0xFFFFFF)
    pixels[0, :3], pixels[4, 4] = RED, BLUE
    (root / "train" / "1_GT.bmp").write_bytes(encode_rgb(pixels))
    assert list(sniff(root)) == ["icdar"]
    (sample,) = granum.read(root)  # the bitmap is no image of its own
    assert sample.key == "train/images/1.png"
    assert [a.text for a in sample.annotations] == ["a", "b", "c"]
    assert [a.attributes for a in sample.annotations] == [{"word": 0}, {"word": 0}, {"word": 1}]
    assert [a.ignore for a in sample.annotations] == [None, None, True]
    assert sample.annotations[0].bbox == (0, 0, 2, 1)
    assert (sample.mask(0) == (pixels == RED)).all()
    assert (sample.mask(1) == (pixels == BLUE)).all()


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("train/gt_1.txt", "1,2,3,4,a\n1,2,3\n", 2),
        ("train/gt_1.txt", "1,2,x,4,5,6,7,8,a\n", 1),
        ("train/gt_1.txt", "5,2,3,4,a\n", 1),
        ("train/gt.txt", 'a.png, "a"\n\nno name\n', 3),
        ("train/1_GT.txt", '1 2 3 0 0 0 0 1 1 "a"\n1 2 3 0 0 0 "b"\n', 2),
        ("train/1_GT.txt", '999 2 3 0 0 0 0 1 1 "a"\n', 1),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, name: str, text: str, line: int) -> None:
    with pytest.raises(FindingsError, match=rf"{name} line {line}"):
        granum.read(tree(tmp_path, {name: text}, ()), format="icdar")


def test_the_fixtures() -> None:
    root = shared("format_fixtures/icdar_dataset")
    expected = {
        "text_localization": ["FOOD", "RED", "LION"],
        "word_recognition": ["PROPER", "Canon"],
        "text_segmentation": ["F", "T", "h"],
    }
    for name, texts in expected.items():
        assert list(sniff(root / name)) == ["icdar"], name
        assert [a.text for s in granum.read(root / name) for a in s.annotations] == texts
