"""TFRecord files of the object detection API; the bytes are made by hand."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.errors import FindingsError, FormatError
from granum.loaders._tfrecord import crc32c, masked, parse_example
from granum.schema.findings import Findings
from granum.store.dataset import Dataset
from granum.store.media import encode_png
from granum.testing.media import png
from granum.testing.suite import ReaderSuite
from tests.data import shared
from tests.loaders import records

IMAGE = png(8, 4, 3)
MASKS = np.zeros((2, 4, 8), bool)
MASKS[0, 1:3, 2:4] = MASKS[1, 0, 0] = True
BOX = "image/object/bbox/"
FIRST: dict[str, Any] = {
    "image/encoded": [IMAGE],
    "image/filename": ["a.png"],
    "image/source_id": ["17"],
    "image/width": [8],
    "image/height": [4],
    "image/format": ["png"],
    "image/weather": ["rain"],
    f"{BOX}xmin": [0.25, 0.0],
    f"{BOX}xmax": [0.5, 0.125],
    f"{BOX}ymin": [0.25, 0.0],
    f"{BOX}ymax": [0.75, 0.25],
    "image/object/class/text": ["cat", "dog"],
    "image/object/class/label": [1, 2],
    "image/object/mask": [encode_png(m) for m in MASKS],
    "image/object/difficult": [0, 1],
    "image/object/is_crowd": [1, 0],
    "image/object/view": ["Frontal", "Rear"],
    "image/class/label": [2],
    "image/caption": ["ein Hund"],
}
SECOND: dict[str, Any] = {"image/encoded": [IMAGE], "image/filename": ["b.png"]}
LABELS = "item {\n  id: 1\n  name: 'cat'\n}\nitem { name: \"dog\" id: 2 display_name: 'Dog {x}' }\n"


def tree(folder: Path, *examples: dict[str, Any], labels: str | None = LABELS) -> Path:
    root = folder / "t"
    root.mkdir(exist_ok=True)
    chosen = examples or (FIRST, SECOND)
    data = b"".join(records.record(records.example(e)) for e in chosen)
    (root / "train.tfrecord").write_bytes(data)
    if labels is not None:
        (root / "label_map.pbtxt").write_text(labels)
    return root


def found(root: Path) -> tuple[Dataset, Findings]:
    findings = Findings("skip")
    return granum.read(root, findings=findings, on_error="skip"), findings


class TestTfRecord(ReaderSuite):
    name = "tfrecord"

    def make(self, folder: Path) -> Path:
        return tree(folder)


def test_an_example(tmp_path: Path) -> None:
    data = granum.read(tree(tmp_path))
    a, b = (s.row for s in data)
    assert (a.key, a.source_id, a.split, a.width, a.height) == ("train/a.png", "17", "train", 8, 4)
    assert a.media is not None and a.media.bytes == IMAGE and a.unit == "relative"
    cat, dog, label, caption = a.annotations
    # Fractions as they stand there: 0.25..0.5 of 8 pixels are 2..4.
    assert (cat.bbox, dog.bbox) == ((0.25, 0.25, 0.25, 0.5), (0, 0, 0.125, 0.25))
    assert (cat.difficult, dog.difficult, cat.crowd, dog.crowd) == (False, True, True, False)
    assert cat.attributes == {"view": "Frontal"} and a.attributes == {"weather": "rain"}
    assert (data[0].mask(0) == MASKS[0]).all() and (data[0].mask(1) == MASKS[1]).all()
    assert (label.kind, label.category, caption.text) == ("label", 1, "ein Hund")
    assert data.category_names() == ["cat", "dog"]
    assert data.categories["source_id"].to_pylist() == ["1", "2"]
    assert (b.key, b.annotations) == ("train/b.png", [])


def test_numbers_without_names(tmp_path: Path) -> None:
    """0 is the background's where there is a map; 9 is in no map."""
    plain = {k: v for k, v in FIRST.items() if k != "image/object/class/text"}
    plain["image/object/class/label"] = [0, 9]
    data, findings = found(tree(tmp_path, plain))
    assert [x.category for x in data[0].row.annotations[:2]] == [None, None]
    (fault,) = findings.items
    assert (fault.code, fault.path, fault.place) == ("unknown-class", "train.tfrecord", "byte 0")
    (tmp_path / "t" / "label_map.pbtxt").unlink()
    assert granum.read(tmp_path / "t").category_names() == ["0", "9", "2"]


def test_name_and_number_disagree(tmp_path: Path) -> None:
    data, findings = found(tree(tmp_path, {**FIRST, "image/object/class/label": [2, 2]}))
    assert data[0].labels[:2] == ["cat", "dog"]
    assert dict(findings.counts) == {"conflicting-records": 1}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({f"{BOX}xmin": [0.5]}, "bad-value"),
        ({f"{BOX}xmin": [float("nan"), 0.0]}, "nan-box"),
        ({f"{BOX}xmin": ["x", "y"]}, "bad-value"),
        ({"image/object/mask": [b""]}, "bad-value"),
        ({"image/object/mask": [0.0, 1.0]}, "unknown-shape"),
        ({"image/object/view": ["Rear"]}, "bad-value"),
        ({"image/object/keypoint/x": [0.5]}, "unknown-shape"),
        ({"image/width": [-1]}, "bad-value"),
        ({"image/filename": [b"\xff"]}, "bad-value"),
        ({"image/encoded": [], "image/filename": ["../up.png"]}, "bad-value"),
        ({"image/encoded": [], "image/filename": []}, "file-missing"),
    ],
)
def test_faults_name_file_and_byte(tmp_path: Path, change: dict[str, Any], code: str) -> None:
    at = len(records.record(records.example(SECOND)))
    data, findings = found(tree(tmp_path, SECOND, {**FIRST, **change}))
    assert len(data) == 2 and dict(findings.counts) == {code: 1}
    assert (findings.items[0].path, findings.items[0].place) == ("train.tfrecord", f"byte {at}")


@pytest.mark.parametrize(
    ("labels", "code", "place"),
    [
        ("item { id: x name: 'cat' }", "bad-value", "line 1"),
        (LABELS + "\nitem { id: 1 name: 'horse' }", "duplicate-category-id", "line 7"),
    ],
)
def test_faults_of_the_label_map(tmp_path: Path, labels: str, code: str, place: str) -> None:
    _, findings = found(tree(tmp_path, labels=labels))
    assert (findings.items[0].code, findings.items[0].place) == (code, place)
    assert findings.items[0].path == "label_map.pbtxt"


def test_damaged_records(tmp_path: Path) -> None:
    """One whose data changed is left out; where a length changed, reading ends."""
    root = tree(tmp_path, SECOND, FIRST, {**SECOND, "image/filename": ["c.png"]})
    path = root / "train.tfrecord"
    content = path.read_bytes()
    second = len(records.record(records.example(SECOND)))
    for at, left in ((second + 30, ["train/b.png", "train/c.png"]), (second, ["train/b.png"])):
        damaged = bytearray(content)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        data, findings = found(root)
        assert [s.key for s in data] == left and dict(findings.counts) == {"broken-archive": 1}
        assert findings.items[0].place == f"byte {second}"
    path.write_bytes(content[:-5])
    with pytest.raises(FindingsError, match=r"train\.tfrecord byte \d+: a record: it is cut off"):
        granum.read(root)


def test_compressed_and_numbered_files(tmp_path: Path) -> None:
    root = tree(tmp_path)
    data = gzip.compress((root / "train.tfrecord").read_bytes())
    (root / "train.tfrecord").unlink()
    (root / "coco_val.record-00000-of-00002.gz").write_bytes(data)
    assert [s.key for s in granum.read(root)] == ["val/a.png", "val/b.png"]


def test_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no TFRecord"):
        granum.read(tmp_path, "tfrecord")


def test_checksums() -> None:
    """The values of RFC 3720; long texts are summed up in another way than short ones."""
    assert crc32c(bytes(32)) == 0x8A9136AA and crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(b"123456789") == 0xE3069283
    assert masked(0) == 0xA282EAD8
    for n in (0, 1, 1023, 1024, 1025, 2048, 5001):
        data = random.Random(n).randbytes(n)
        assert crc32c(data) == records.crc32c(data), n


def test_numbers_packed_or_not() -> None:
    field, varint = records.field, records.varint
    plain = field(3, b"".join(varint(1 << 3) + varint(v) for v in (5, -1, 2**40)))
    found = parse_example(field(1, field(1, field(1, b"n") + field(2, plain))))
    assert list(found["n"]) == [5, -1, 2**40]
    loose = field(2, varint(1 << 3 | 5) + b"\0\0\x80\x3f")
    found = parse_example(field(1, field(1, field(1, b"n") + field(2, loose))))
    assert list(found["n"]) == [1.0]
    with pytest.raises(ValueError, match="longer than its message"):
        parse_example(field(1, b"abcdef")[:-1])


def test_the_fixtures() -> None:
    data = granum.read(shared("format_fixtures/tf_detection_api_dataset"))
    assert (len(data), data.num_annotations, len(data.categories)) == (3, 4, 10)
    assert sorted(s.split or "" for s in data) == ["test", "train", "val"]
    assert {s.image().size for s in data} == {(4, 5), (16, 16), (8, 8)}
    data = granum.read(shared("format_fixtures/roboflow_dataset/tfrecord"))
    assert (len(data), data.num_annotations, data.category_names()) == (
        3,
        4,
        ["label_0", "label_1"],
    )
    # 10 x 5 pixels: the box 2, 1, 3, 1 of the other exports.
    box = data[0].annotations[0].bbox
    assert box is not None and np.allclose(
        np.multiply(box, (10, 5, 10, 5)), (2, 1, 3, 1), atol=1e-6
    )
    assert data[0].row.media is not None and data[0].row.media.path == "train/train_001.jpg"
