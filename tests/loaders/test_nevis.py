"""NEVIS stores and streams, made by hand."""

from __future__ import annotations

import base64
import json
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import granum
from granum.errors import FindingsError, FormatError, UsageError
from granum.schema.findings import Findings
from granum.store.dataset import Dataset
from granum.testing.media import png
from granum.testing.suite import ReaderSuite
from tests.loaders import records

IMAGE = png(3, 2, 9)
STREAM = '''
"""The streams."""
import nothing_that_is_there
NEVIS_STREAM_PER_YEAR: Mapping[Variant, Mapping[int, Sequence[str]]] = {
    Variant.FULL: {
        2015: ('COIL 20', 'CIFAR 10'),
        1989: (),
        2004: ('MNIST', 'COIL 20',),
        2021: ('MNIST',),
    },
    Variant.TINY: {2004: ('MNIST',)},
}
DATASET_NAME_TO_SOURCE = {
    'COIL 20': NevisSource('coil20'),
    'MNIST': NevisSource('mnist'),
    'CIFAR 10': TFDSSource('cifar10'),
}
'''


def encoded(value: Any) -> bytes:
    return base64.encodebytes(pickle.dumps(value))


def described(**fields: Any) -> bytes:
    """A pickle of DeepMind's class, which is not there when it is read."""
    name = "dm_nevis.datasets_storage.handlers.types"
    module = types.ModuleType(name)
    kind = type("DatasetMetaData", (), {"__module__": name})
    module.DatasetMetaData = kind  # type: ignore[attr-defined]
    parts = name.split(".")
    listed = {".".join(parts[: i + 1]): types.ModuleType("x") for i in range(3)} | {name: module}
    sys.modules.update(listed)
    try:
        value = kind()
        value.__dict__.update(fields)
        return encoded(value)
    finally:
        for each in listed:
            del sys.modules[each]


def store(folder: Path, name: str, metadata: bytes, **splits: list[dict[str, Any]]) -> None:
    for split, examples in splits.items():
        for i in range(2):
            path = folder / "stable" / name / split / f"data-{i:05d}-of-00002"
            path.parent.mkdir(parents=True, exist_ok=True)
            data = (records.record(records.example(e)) for e in examples[i::2])
            path.write_bytes(b"".join(data))
    (folder / "stable" / name / "metadata").write_bytes(metadata)
    (folder / "stable" / name / "status").write_text("READY")


def labelled(*labels: int, name: str = "label") -> dict[str, Any]:
    return {"png_encoded_image": [IMAGE], name: list(labels)}


def tree(folder: Path) -> Path:
    root = folder / "n"
    three = [labelled(0), labelled(1), labelled(1)]
    about = {"num_data_points_per_split": {"train": 3}, "label_to_id": {"zero": 0, "one": 1}}
    plain = {"num_classes": 2, "additional_metadata": about}
    store(root, "mnist", encoded(plain), train=three, dev=three[:1], train_and_dev=three)
    two = [labelled(2, 0, name="multi_label"), labelled(name="multi_label")]
    store(root, "coil20", described(num_classes=3, additional_metadata={}), test=two)
    (root / "nevis_stream.py").write_text(STREAM)
    return root


def found(root: Path, **options: Any) -> tuple[Dataset, Findings]:
    findings = Findings("skip")
    return granum.read(root, findings=findings, on_error="skip", **options), findings


class TestNevis(ReaderSuite):
    name = "nevis"

    def make(self, folder: Path) -> Path:
        root = tree(folder)
        (root / "nevis_stream.py").write_text(STREAM.replace("20', 'CIFAR 10'", "20',"))
        return root


def test_tasks_in_their_order(tmp_path: Path) -> None:
    """1989 has none, 2004 two, 2015 two, 2021 one: five tasks of three datasets."""
    data, findings = found(tree(tmp_path))
    assert [s.key for s in data] == [
        "mnist/train/00000-000000",
        "mnist/train/00000-000001",
        "mnist/train/00001-000000",
        "mnist/dev/00000-000000",
        "coil20/test/00000-000000",
        "coil20/test/00001-000000",
    ]
    mnist, coil = data[0].row, data[4].row
    assert mnist.attributes == {"task": 0, "year": 2004, "tasks": [0, 4], "years": [2004, 2021]}
    assert coil.attributes == {"task": 1, "year": 2004, "tasks": [1, 2], "years": [2004, 2015]}
    assert (mnist.split, mnist.order, mnist.media and mnist.media.bytes) == ("train", 0, IMAGE)
    groups = data.groups.to_pylist()
    assert [g["key"] for g in groups] == ["mnist", "coil20"]
    assert json.loads(groups[0]["attributes"])["tasks"][1] == {
        "task": 4, "year": 2021, "name": "MNIST"
    }  # fmt: skip
    (absent,) = findings.items
    assert (absent.code, absent.path) == ("missing-split", "nevis_stream.py")
    assert "'CIFAR 10'" in absent.message


def test_classes(tmp_path: Path) -> None:
    """Each dataset has a label space; names where the metadata tell them, else numbers."""
    data, _ = found(tree(tmp_path))
    assert [s.labels for s in data] == [["zero"], ["one"], ["one"], ["zero"], ["2", "0"], []]
    spaces = data.categories["space"].to_pylist()
    assert spaces == ["mnist", "mnist", "coil20", "coil20"]
    assert json.loads(data.groups.to_pylist()[1]["attributes"])["num_classes"] == 3


def test_other_streams(tmp_path: Path) -> None:
    root = tree(tmp_path)
    data, findings = found(root, stop_year=2015)
    assert data[0].row.attributes == {"task": 0, "year": 2004} and not findings.counts
    data, _ = found(root, variant="TINY")
    assert data.groups.num_rows == 1
    with pytest.raises(UsageError, match="no stream 'LONG'; it has: FULL, TINY"):
        granum.read(root, variant="LONG")
    (root / "nevis_stream.py").unlink()
    data, _ = found(root)
    assert [s.key.split("/")[0] for s in data] == ["coil20"] * 2 + ["mnist"] * 4
    assert data[0].row.attributes is None
    (tmp_path / "s.json").write_text('{"2003": ["mnist"], "2001": ["coil20"]}')
    data, _ = found(root, stream=str(tmp_path / "s.json"))
    assert data[0].row.attributes == {"task": 0, "year": 2001}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (", "no source that can be parsed"),
        ("x = 1", "no NEVIS_STREAM_PER_YEAR"),
        (STREAM.replace("'MNIST',)", "open('x'),)"), r"\(line 4|line 5|line 11\)"),
        (STREAM.replace("NevisSource('mnist')", "'mnist'"), r"line 15"),
    ],
)
def test_a_stream_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    root = tree(tmp_path)
    (root / "nevis_stream.py").write_text(text)
    with pytest.raises(FormatError, match=message):
        granum.read(root)


class Hostile:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_metadata_that_would_run_code(tmp_path: Path) -> None:
    root, made = tree(tmp_path), tmp_path / "made"
    (root / "stable/mnist/metadata").write_bytes(encoded({"x": Hostile(str(made))}))
    data, findings = found(root, variant="TINY")
    assert not made.exists() and data[0].labels == ["0"]
    (fault,) = findings.items
    assert (fault.code, fault.path) == ("file-not-read", "stable/mnist/metadata")
    assert "mkdir" in fault.message and "numbers" in fault.message


def test_counts_and_shards_that_are_wrong(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "stable/mnist/train/data-00001-of-00002").unlink()
    _, findings = found(root, variant="TINY")
    assert [(f.code, f.path) for f in findings.items] == [
        ("file-missing", "stable/mnist/train/data-00001-of-00002"),
        ("conflicting-records", "stable/mnist/train"),
    ]
    assert findings.items[1].message == "2 records, and the metadata say 3"


@pytest.mark.parametrize(
    ("example", "code"),
    [
        (records.example({"label": [1]}), "file-missing"),
        (records.example({**labelled(), "label": ["x"]}), "bad-value"),
        (records.example(labelled(-1)), "bad-value"),
        (b"\x0a\xff", "bad-value"),
    ],
)
def test_faults_name_file_and_byte(tmp_path: Path, example: bytes, code: str) -> None:
    root = tree(tmp_path)
    path = root / "stable/mnist/dev/data-00001-of-00002"
    path.write_bytes(records.record(example))
    _, findings = found(root, variant="TINY")
    (fault,) = findings.items
    assert (fault.code, fault.path) == (code, "stable/mnist/dev/data-00001-of-00002")
    assert fault.place == "byte 0"
    if code == "bad-value":
        with pytest.raises(FindingsError):
            granum.read(root, variant="TINY")


def test_there_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no store"):
        granum.read(tmp_path, "nevis")
