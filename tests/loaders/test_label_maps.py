"""Images and label images in two folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import granum
from granum.errors import FormatError
from granum.loaders.reading import sniff
from granum.schema.findings import Findings
from granum.testing.suite import ReaderSuite
from tests.data import shared


def tree(folder: Path, images: str = "images", masks: str = "masks", **files: Any) -> Path:
    """Two photos named 1 and 2, and a label image of each."""
    root = folder / "t"
    for below, prefix in ((images, "image_"), (masks, "gt_")):
        (root / below).mkdir(parents=True)
        for n in (1, 2):
            values = np.full((2, 3), n, np.uint8)
            Image.fromarray(values).save(root / below / f"{prefix}000{n}.png")
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text)
    return root


class TestLabelMaps(ReaderSuite):
    name = "label_maps"

    def make(self, folder: Path) -> Path:
        return tree(folder, classes__txt="void\nroad\nsky\n")


def test_pairs_go_by_what_is_left_of_the_names(tmp_path: Path) -> None:
    found = granum.read(tree(tmp_path, classes__txt="void\nroad\nsky\n"))
    assert [s.annotations[0].map.path for s in found] == [
        "masks/gt_0001.png", "masks/gt_0002.png"
    ]  # fmt: skip
    whole = found[1].annotations[0]
    assert (whole.category, whole.map.value, whole.map.encoding) == (None, None, "index")
    assert found.category_names() == ["void", "road", "sky"]
    assert found.categories["source_id"].to_pylist() == ["0", "1", "2"]


def test_a_label_image_without_a_partner_is_told(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "masks" / "gt_0001.png").rename(root / "masks" / "gt_0007.png")
    findings = Findings()
    found = granum.read(root, "label_maps", findings=findings)
    assert [len(s.annotations) for s in found] == [0, 1]
    assert dict(findings.counts) == {"missing-labels": 1, "file-not-read": 1}


def test_two_images_of_one_stem_are_told(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "images" / "image_0001.jpg").write_bytes(b"")
    findings = Findings()
    found = granum.read(root, "label_maps", findings=findings)
    assert len(found) == 2
    assert [(f.code, f.path) for f in findings.items] == [
        ("file-not-read", "images/image_0001.png")
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("label_colors__txt", "0 0 0 void\n0 0 64 the sky\n"),
        ("labelmap__csv", "name,r,g,b\nvoid,0,0,0\nthe sky,0,0,64\n"),
    ],
)
def test_lists_of_colours(tmp_path: Path, name: str, text: str) -> None:
    root = tree(tmp_path, "RGB", "GT", **{name: text})
    found = granum.read(root)
    assert found.category_names() == ["void", "the sky"]
    assert found.categories["source_id"].to_pylist() == ["0", str(64 * 65536)]
    assert found[0].annotations[0].map.encoding == "rgb24"
    numbers = granum.read(root, values="index")
    assert numbers.categories["source_id"].to_pylist() == ["0", "1"]
    assert numbers.categories["colour"].to_pylist() == [[0, 0, 0], [0, 0, 64]]


def test_a_broken_list_names_file_and_line(tmp_path: Path) -> None:
    root = tree(tmp_path, label_colors__txt="0 0 0 void\n0 0 red sky\n")
    with pytest.raises(FormatError, match=r"label_colors\.txt \(line 2\)"):
        granum.read(root)


def test_the_fixtures() -> None:
    root = shared("format_fixtures")
    for name, counts in {
        "camvid_dataset": (4, 4, 0),
        "synthia_dataset/al": (2, 2, 0),
        "synthia_dataset/rand": (2, 2, 0),
        "synthia_dataset/rand_custom_labelmap": (2, 2, 5),
        "synthia_dataset/rand_meta_file": (2, 2, 5),
        "synthia_dataset/sf": (2, 2, 0),
        "common_semantic_segmentation_dataset/dataset": (2, 2, 6),
        "common_semantic_segmentation_dataset/non_standard_dataset": (2, 2, 8),
        "kaggle_dataset/image_mask": (2, 2, 0),
        "kaggle_dataset/image_mask_with_labelmap": (3, 3, 3),
    }.items():
        assert list(sniff(root / name)) == ["label_maps"], name
        found = granum.read(root / name)
        read = (len(found), found.num_annotations, found.categories.num_rows)
        assert read == counts, name
