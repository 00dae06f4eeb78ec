"""MedTrinity-25M: metadata and images, made by hand."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import granum
from granum.errors import FindingsError, FormatError
from granum.loaders import medtrinity
from granum.loaders.reading import sniff
from granum.schema.findings import Findings
from granum.store.dataset import Dataset
from granum.testing.media import png
from granum.testing.suite import ReaderSuite

ROWS: list[dict[str, Any]] = [
    {"file_name": "_a, 1.0.2.png", "caption": "occupies about 4.1%", "source": "bhx"},
    {"file_name": "b.png", "caption": None, "source": "deeplesion"},
    {"file_name": "c d.png", "caption": "a lung", "source": "bhx"},
    {"file_name": "e.png", "caption": "a knee", "source": "TCGA"},
]


def packed(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for i, name in enumerate(names):
            header = tarfile.TarInfo(name)
            header.size = len(png(4, 3, i))
            archive.addfile(header, io.BytesIO(png(4, 3, i)))
    if path.name.endswith(".zst"):
        with pa.output_stream(str(path), compression="zstd") as file:
            file.write(buffer.getvalue())
    else:
        path.write_bytes(buffer.getvalue())


def table(path: Path, rows: list[dict[str, Any]], **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([(k, pa.string()) for k in rows[0]])
    pq.write_table(pa.Table.from_pylist(rows, schema), path, **options)


def tree(folder: Path) -> Path:
    """Two files of rows; images of three of the rows in two archives."""
    root = folder / "m"
    table(root / "25M_full/train-00000.parquet", ROWS[:3], row_group_size=1)
    table(root / "25M_full/train-00001.parquet", ROWS[3:])
    packed(root / "25M_accessible/s_0.tar.zst", "x/y/e.png", "x/_a, 1.0.2.png")
    packed(root / "25M_accessible/s_1.tar", "b.png", "x/c d.png")
    return root


def folders(folder: Path) -> Path:
    root = folder / "m"
    table(root / "25M_full/train.parquet", ROWS)
    for name in ("images/q/_a, 1.0.2.png", "images/c d.png", "images/z.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(4, 3))
    return root


def found(root: Path) -> tuple[Dataset, Findings]:
    findings = Findings("skip")
    return granum.read(root, findings=findings, on_error="skip"), findings


class TestMedTrinity(ReaderSuite):
    name = "medtrinity"

    def make(self, folder: Path) -> Path:
        return tree(folder)


def test_images_in_archives(tmp_path: Path) -> None:
    """Rows come in the order of the metadata within what is taken from an archive at a time."""
    data = granum.read(tree(tmp_path))
    assert [s.key for s in data] == ["_a, 1.0.2.png", "e.png", "b.png", "c d.png"]
    a, e, b, _ = (s.row for s in data)
    assert a.media is not None and a.media.bytes == png(4, 3, 1)
    assert e.media is not None and e.media.path == "25M_accessible/s_0.tar.zst/x/y/e.png"
    assert [x.text for x in a.annotations] == ["occupies about 4.1%"] and b.annotations == []
    assert [s.row.attributes for s in data] == [
        {"source": s} for s in ("bhx", "TCGA", "deeplesion", "bhx")
    ]
    # Nothing has a box: none is in the release, and the 4.1% of the caption are none.
    assert data.annotations(["kind", "bbox"]).to_pylist() == [{"kind": "caption", "bbox": None}] * 3


def test_a_few_images_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(medtrinity, "IMAGES_AT_ONCE", 1)
    data = granum.read(tree(tmp_path))
    assert [s.key for s in data] == ["e.png", "_a, 1.0.2.png", "b.png", "c d.png"]
    assert [len(s.annotations) for s in data] == [1, 1, 0, 1]


def test_images_in_folders(tmp_path: Path) -> None:
    """By base name, wherever they lie; what is missing is counted, and no error."""
    findings = Findings()
    data = granum.read(folders(tmp_path), findings=findings)
    assert [s.key for s in data] == [r["file_name"] for r in ROWS]
    paths = [s.row.media and s.row.media.path for s in data]
    assert paths == ["images/q/_a, 1.0.2.png", None, "images/c d.png", None]
    assert data[0].image().size == (4, 3)
    assert dict(findings.counts) == {"missing-image": 2, "unlisted-image": 1}
    missing = next(f for f in findings.items if f.code == "missing-image")
    assert (missing.path, missing.place) == ("25M_full/train.parquet", "row 1")
    assert "2 of 4" in missing.message


def test_metadata_alone(tmp_path: Path) -> None:
    root = folders(tmp_path)
    findings = Findings()
    data = granum.read(root / "25M_full", findings=findings)
    assert (len(data), data.num_annotations, dict(findings.counts)) == (4, 3, {})
    assert list(sniff(root / "25M_full/train.parquet")) == ["medtrinity"]
    data = granum.read(root / "25M_full", images=root / "images")
    assert [bool(s.row.media) for s in data] == [True, False, True, False]


def test_two_images_of_one_name(tmp_path: Path) -> None:
    root = folders(tmp_path)
    (root / "images/q/c d.png").write_bytes(png(4, 3))
    data, findings = found(root)
    assert data[2].row.media is not None and data[2].row.media.path == "images/c d.png"
    conflict = next(f for f in findings.items if f.code == "conflicting-records")
    assert (conflict.path, conflict.place) == ("25M_full/train.parquet", "row 2")


def test_missing_and_unlisted_in_archives(tmp_path: Path) -> None:
    root = tree(tmp_path)
    packed(root / "25M_accessible/s_1.tar", "b.png", "y/e.png", "z.png", "readme.txt")
    data, findings = found(root)
    assert len(data) == 4 and data[3].key == "c d.png" and data[3].row.media is None
    assert [(f.code, f.path, f.place) for f in findings.items] == [
        ("conflicting-records", "25M_accessible/s_1.tar", "y/e.png"),
        ("unlisted-image", "25M_accessible/s_1.tar", "z.png"),
        ("missing-image", "25M_full/train-00000.parquet", "row 2"),
    ]


def test_rows_of_one_name(tmp_path: Path) -> None:
    root = folders(tmp_path)
    table(root / "25M_full/train.parquet", [*ROWS, ROWS[0]])
    data, findings = found(root)
    assert [s.key for s in data][4] == "_a, 1.0.2.png#2"
    fault = next(f for f in findings.items if f.code == "duplicate-key")
    assert fault.place == "row 4"


def test_json_lines(tmp_path: Path) -> None:
    root = tmp_path / "m"
    packed(root / "s_0.tar", "x/b.png")
    lines = [json.dumps({**r, "id": i, "n": i}) for i, r in enumerate(ROWS[:2])]
    bad = ["", "{", '{"file_name": 3, "caption": "x", "source": "y"}']
    (root / "metadata.jsonl").write_text("\n".join([*lines, *bad]) + "\n")
    assert list(sniff(root)) == ["medtrinity"]
    data, findings = found(root)
    assert [s.key for s in data] == ["b.png", "_a, 1.0.2.png"]
    assert data[0].row.source_id == "1" and data[0].row.attributes == {
        "source": "deeplesion",
        "n": 1,
    }
    assert [(f.code, f.path, f.place) for f in findings.items if f.code != "missing-image"] == [
        ("bad-value", "metadata.jsonl", "line 4"),
        ("bad-value", "metadata.jsonl", "line 5"),
        ("missing-key", "metadata.jsonl", "line 5"),
    ]
    with pytest.raises(FindingsError, match=r"metadata\.jsonl line 4"):
        granum.read(root)


def test_columns_that_are_not_read(tmp_path: Path) -> None:
    root = tmp_path / "m"
    root.mkdir()
    pq.write_table(pa.Table.from_pylist([{**ROWS[0], "boxes": [1, 2]}]), root / "t.parquet")
    data, findings = found(root)
    assert len(data) == 1 and data[0].row.attributes == {"source": "bhx"}
    assert [(f.code, f.path) for f in findings.items] == [("file-not-read", "t.parquet")]


def test_rows_with_features_of_the_hub(tmp_path: Path) -> None:
    """Parquet of the Hub says its features; without images it is no dataset of these."""
    features = {k: {"dtype": "string", "_type": "Value"} for k in ROWS[0]}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    rows = pa.Table.from_pylist(ROWS).replace_schema_metadata(about)
    root = tmp_path / "m"
    root.mkdir()
    pq.write_table(rows, root / "train-00000-of-00001.parquet")
    assert list(sniff(root)) == ["medtrinity"]


def test_other_trees_are_left_to_others(tmp_path: Path) -> None:
    """Rows beside their images are an image folder, whatever columns they have."""
    root = tmp_path / "f"
    root.mkdir()
    (root / "b.png").write_bytes(png(4, 3))
    (root / "metadata.jsonl").write_text(json.dumps(ROWS[1]) + "\n")
    assert list(sniff(root)) == ["image_folder"]
    with pytest.raises(FormatError, match="file_name, caption and source"):
        granum.read(tmp_path / "nothing", "medtrinity")
