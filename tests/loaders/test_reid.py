"""Images named by person and camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import granum
from granum.loaders.reading import sniff
from granum.schema.findings import Findings
from granum.store.media import encode_png
from granum.testing.suite import ReaderSuite
from tests.data import shared

IMAGE = encode_png(np.zeros((4, 2), np.uint8))
MARKET = (
    "bounding_box_train/0002_c1s3_000151_01.jpg",
    "bounding_box_test/-1_c4s2_000046_00.jpg",
    "bounding_box_test/0000_c1s1_000051_04.jpg",
    "query/0001_c2s3_000111_00.jpg",
)
MARS = (
    "bbox_train/0001/0001C1T0002F001.jpg",
    "bbox_train/0001/0001C1T0002F003.jpg",
    "bbox_train/0001/0001C2T0001F001.jpg",
    "bbox_test/00-1/00-1C2T0081F201.jpg",
    "bbox_test/0000/0000C1T0001F001.jpg",
)


def tree(folder: Path, names: tuple[str, ...] = MARKET) -> Path:
    root = folder / "persons"
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(IMAGE)
    return root


class TestReId(ReaderSuite):
    name = "reid"

    def make(self, folder: Path) -> Path:
        return tree(folder)


def test_market(tmp_path: Path) -> None:
    found = granum.read(tree(tmp_path))
    train, junk, other, query = found
    assert [s.split for s in found] == ["train", "test", "test", "query"]
    assert [s.labels for s in found] == [["0002"], [], [], ["0001"]]
    assert {c.space for c in train.categories} == {"identity"}
    assert train.row.attributes == {"camera": 1, "sequence": 3, "frame": 151, "box": 1}
    assert junk.row.attributes == {"camera": 4, "sequence": 2, "frame": 46, "box": 0, "junk": True}
    assert (other.row.attributes or {})["distractor"] is True
    assert query.key == "query/0001_c2s3_000111_00.jpg"


def test_duke(tmp_path: Path) -> None:
    root = tree(tmp_path, ("bounding_box_train/0005_c2_f0046985.jpg",))
    assert list(sniff(root)) == ["reid"]
    (sample,) = granum.read(root)
    assert (sample.labels, sample.row.attributes) == (["0005"], {"camera": 2, "frame": 46985})


def test_tracklets_of_mars(tmp_path: Path) -> None:
    root = tree(tmp_path, MARS)
    assert list(sniff(root)) == ["reid"]
    found = granum.read(root)
    assert [s.labels for s in found] == [["0001"]] * 3 + [[], []]
    groups = found.groups["key"].to_pylist()
    assert groups[:2] == ["bbox_train/0001/0001C1T0002", "bbox_train/0001/0001C2T0001"]
    told = found.samples(["group", "order"]).to_pydict()
    assert (told["group"], told["order"]) == ([0, 0, 1, 2, 3], [0, 1, 0, 0, 0])
    junk, other = (s.row.attributes for s in list(found)[3:])
    assert junk == {"camera": 2, "frame": 201, "junk": True}
    assert other == {"camera": 1, "frame": 1, "distractor": True}


def test_another_name_is_told(tmp_path: Path) -> None:
    findings = Findings()
    root = tree(tmp_path, (*MARKET, "query/someone.jpg"))
    assert len(granum.read(root, findings=findings)) == 4
    assert [(f.code, f.path) for f in findings.items] == [("file-not-read", "query/someone.jpg")]


def test_the_fixtures() -> None:
    root = shared("format_fixtures")
    for name, labels in {"market1501_dataset": 3, "mars_dataset": 2}.items():
        assert list(sniff(root / name)) == ["reid"]
        found = granum.read(root / name)
        assert (len(found), found.num_annotations) == (3, labels), name
