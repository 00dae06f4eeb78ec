"""Hugging Face datasets: Parquet by hand, by the library, and back through the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import granum
from granum.errors import FindingsError, FormatError
from granum.loaders.base import formats
from granum.schema.findings import Findings
from granum.schema.rows import Category, Media, Sample
from granum.store.dataset import Dataset
from tests.loaders.pictures import png

# The features of CPPE-5 as the Hub has them (typed from the documentation of the library).
CPPE5 = {
    "image_id": {"dtype": "int64", "_type": "Value"},
    "image": {"_type": "Image"},
    "width": {"dtype": "int32", "_type": "Value"},
    "height": {"dtype": "int32", "_type": "Value"},
    "objects": {
        "feature": {
            "id": {"dtype": "int64", "_type": "Value"},
            "area": {"dtype": "int64", "_type": "Value"},
            "bbox": {
                "feature": {"dtype": "float32", "_type": "Value"},
                "length": 4,
                "_type": "Sequence",
            },
            "category": {
                "names": ["Coverall", "Face_Shield", "Gloves", "Goggles", "Mask"],
                "_type": "ClassLabel",
            },
        },
        "_type": "Sequence",
    },
}
OBJECTS = pa.struct(
    [
        ("id", pa.list_(pa.int64())),
        ("area", pa.list_(pa.int64())),
        ("bbox", pa.list_(pa.list_(pa.float32(), 4))),
        ("category", pa.list_(pa.int64())),
    ]
)


def cppe5(ids: list[int], **changes: Any) -> pa.Table:
    rows = {
        "image_id": ids,
        "image": [{"bytes": png(i), "path": None} for i in ids],
        "width": [943] * len(ids),
        "height": [663] * len(ids),
        "objects": [
            {
                "id": [114, 115],
                "area": [3796, 1596],
                "bbox": [[302.0, 109.0, 73.0, 52.0], [810.0, 100.0, 57.0, 28.0]],
                "category": [4, 4],
            },
            *[{"id": [], "area": [], "bbox": [], "category": []} for _ in ids[1:]],
        ],
        **changes,
    }
    schema = pa.schema(
        [
            ("image_id", pa.int64()),
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("objects", OBJECTS),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": CPPE5}})},
    )
    return pa.Table.from_pydict(rows, schema)


def hub(folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    pq.write_table(cppe5([15, 16]), folder / "data" / "train-00000-of-00001-1f2e3d.parquet")
    pq.write_table(cppe5([15]), folder / "data" / "test-00000-of-00001.parquet")
    return folder


# ---------------------------------------------------------------------- reading


def test_cppe5_by_hand(tmp_path: Path) -> None:
    ds = granum.read(hub(tmp_path))
    assert ds.samples()["key"].to_pylist() == ["train/15", "train/16", "test/15"]
    assert ds.samples()["split"].to_pylist() == ["train", "train", "test"]
    assert ds.samples()["source_id"].to_pylist() == ["15", "16", "15"]
    assert ds.samples()["width"].to_pylist() == [943] * 3
    names = ["Coverall", "Face_Shield", "Gloves", "Goggles", "Mask"]
    assert ds.category_names() == names
    first = ds["train/15"]
    assert first.boxes().tolist() == [[302, 109, 73, 52], [810, 100, 57, 28]]
    assert first.labels == ["Mask", "Mask"]
    assert [a.area for a in first.annotations] == [3796, 1596]
    assert [a.source_id for a in first.annotations] == ["114", "115"]
    assert first.image().getpixel((0, 0)) == (15, 0, 0)
    assert len(ds["train/16"].annotations) == 0
    assert ds.counts() == dict.fromkeys(names[:4], 0) | {"Mask": 4}
    assert formats["hf"]().sniff(tmp_path)


def test_list_of_structs_with_names(tmp_path: Path) -> None:
    """Objects as a list of structs, names for classes, flags, polygons, further fields."""
    table = pa.table(
        {
            "image": [{"bytes": png(), "path": "deep/a.png"}],
            "objects": [
                [
                    {
                        "bbox": [1, 2, 3, 4],
                        "categories": "cat",
                        "iscrowd": 1,
                        "score": 0.5,
                        "segmentation": [[1.0, 2.0, 4.0, 2.0, 4.0, 6.0]],
                        "keypoints": [[1, 2, 2], [3, 4, 1]],
                        "colour": "red",
                        "parts": ["ear", "tail"],
                    },
                    {
                        "bbox": None,
                        "categories": None,
                        "iscrowd": 0,
                        "score": None,
                        "segmentation": None,
                        "keypoints": None,
                        "colour": None,
                        "parts": None,
                    },
                ]
            ],
        }
    )
    pq.write_table(table, tmp_path / "validation.parquet")
    ds = granum.read(tmp_path / "validation.parquet")
    sample = ds["validation/deep/a.png"]
    a, b = sample.annotations
    assert a.bbox == (1, 2, 3, 4)
    assert sample.labels == ["cat", None]
    assert (a.crowd, b.crowd) == (True, False)
    assert (a.score, b.score) == (0.5, None)
    assert a.polygons == [[[1, 2, 4, 2, 4, 6]]]
    assert a.keypoints == [1, 2, 2, 3, 4, 1]
    assert a.attributes == {"colour": "red", "parts": ["ear", "tail"]}
    assert (b.bbox, b.polygons, b.attributes) == (None, None, None)


def test_labels_captions_and_attributes(tmp_path: Path) -> None:
    """CIFAR-100's two labels, five captions, typed attributes; -1 is no class."""
    features = {
        "img": {"_type": "Image"},
        "fine_label": {"names": ["apple", "bee"], "_type": "ClassLabel"},
        "label": {"names": ["fruit", "insect"], "_type": "ClassLabel"},
    }
    table = pa.table(
        {
            "img": [{"bytes": png(i), "path": "image.png"} for i in range(3)],
            "fine_label": [1, -1, 0],
            "label": [1, None, 0],
            "caption": [["a bee", "it flies"], [], None],
            "year": [2001, None, 1999],
            "sharp": [True, False, None],
            "weight": [0.25, 0.5, None],
            "licence": ["CC0", None, "MIT"],
            "tags": [["x"], None, []],
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, tmp_path / "a.parquet")
    ds = granum.read(tmp_path)
    assert ds.samples()["key"].to_pylist() == ["image.png", "image.png#2", "image.png#3"]
    spaces = [(c["space"], c["name"]) for c in ds.categories.to_pylist()]
    assert spaces == [
        *(("fine_label", "apple"), ("fine_label", "bee")),
        *(("object", "fruit"), ("object", "insect")),
    ]
    found = [[(a.kind, a.category, a.text) for a in s.annotations] for s in ds]
    assert found[0] == [
        *(("label", 1, None), ("label", 3, None)),
        *(("caption", None, "a bee"), ("caption", None, "it flies")),
    ]
    assert found[1:] == [[], [("label", 0, None), ("label", 2, None)]]
    samples = ds.samples()
    assert samples["attr.year"].type == pa.int64()
    assert samples["attr.sharp"].to_pylist() == [True, False, None]
    assert ds[0].row.attributes == {
        "year": 2001,
        "sharp": True,
        "weight": 0.25,
        "licence": "CC0",
        "tags": ["x"],
    }
    assert ds[2].row.attributes == {"year": 1999, "licence": "MIT", "tags": []}


@pytest.mark.parametrize(
    ("form", "written", "unit"),
    [
        ("xywh", [10, 20, 30, 40], "pixel"),
        ("xyxy", [10, 20, 40, 60], "pixel"),
        ("cxcywh", [25, 40, 30, 40], "pixel"),
        ("xywh_rel", [0.1, 0.2, 0.3, 0.4], "relative"),
        ("xyxy_rel", [0.1, 0.2, 0.4, 0.6], "relative"),
        ("cxcywh_rel", [0.25, 0.4, 0.3, 0.4], "relative"),
    ],
)
def test_box_forms(tmp_path: Path, form: str, written: list[float], unit: str) -> None:
    objects = [{"bbox": [[float(v) for v in written]], "category": [0]}]
    table = pa.table(
        {
            "image": [{"bytes": png(), "path": "a.png"}],
            "width": [100],
            "height": [100],
            "objects": objects,
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    ds = granum.read(tmp_path, bbox_format=form)
    assert ds.samples()["unit"].to_pylist() == [unit]
    assert np.allclose(ds[0].boxes(), [[10, 20, 30, 40]], atol=1e-12)
    assert json.loads(ds.sources["options"][0].as_py())["bbox_format"] == form


def test_further_images_are_samples_of_one_group(tmp_path: Path) -> None:
    image = {"_type": "Image"}
    features = {"depth": image, "image": image, "views": {"feature": image, "_type": "List"}}
    table = pa.table(
        {
            "depth": [{"bytes": png(9), "path": "d.png"}, None],
            "image": [{"bytes": png(1), "path": "a.png"}, {"bytes": png(2), "path": "b.png"}],
            "label": [0, 1],
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, tmp_path / "train.parquet")
    ds = granum.read(tmp_path)
    assert ds.samples()["key"].to_pylist() == ["train/a.png", "train/a.png:depth", "train/b.png"]
    assert ds.samples()["role"].to_pylist() == ["image", "depth", None]
    assert ds.samples()["group"].to_pylist() == [0, 0, None]
    assert ds.groups.select(["key", "kind"]).to_pylist() == [
        {"key": "train/a.png", "kind": "series"}
    ]
    assert [len(s.annotations) for s in ds] == [1, 0, 1]
    assert ds[1].image().getpixel((0, 0)) == (9, 0, 0)


def test_lists_of_images(tmp_path: Path) -> None:
    """The first image of a list is the main one; the others are further samples."""
    entries = [{"bytes": png(i), "path": f"{i}.png"} for i in range(3)]
    table = pa.table({"images": [entries, [], [entries[0]]], "text": ["x", "y", None]})
    pq.write_table(table, tmp_path / "a.parquet")
    ds = granum.read(tmp_path)
    found = ds.samples(["key", "role", "order", "group"]).to_pylist()
    assert [tuple(r.values()) for r in found] == [
        ("0.png", "image", None, 0),
        ("0.png:images:1", "images", 1, 0),
        ("0.png:images:2", "images", 2, 0),
        ("00000001", None, None, None),
        ("0.png#2", None, None, None),
    ]
    assert [len(s.annotations) for s in ds] == [1, 0, 0, 1, 0]
    assert ds[2].image().getpixel((0, 0)) == (2, 0, 0)


@pytest.mark.parametrize("path", ["https://host/a.png", "../a.png", "/etc/passwd", ".."])
def test_paths_that_leave_the_folder(tmp_path: Path, path: str) -> None:
    entries = [{"bytes": None, "path": path}, {"bytes": png(), "path": path}]
    pq.write_table(pa.table({"image": entries, "depth": entries}), tmp_path / "a.parquet")
    with pytest.raises(FindingsError) as raised:
        granum.read(tmp_path)
    found = [(f.code, f.place) for f in raised.value.findings.items]
    assert found == [("file-missing", "row 0")] * 2
    skipped = granum.read(tmp_path, on_error="skip").samples()["media"].to_pylist()
    assert all(m is None or m["bytes"] for m in skipped)


def test_images_by_path(tmp_path: Path) -> None:
    """Paths are relative to the dataset or to --images; others are found by name, or told."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(png(3))
    outside = "/somewhere/else/b.png"
    names = [str(tmp_path / "pictures" / "a.png"), "elsewhere/a.png", outside]
    data = tmp_path / "data"
    data.mkdir()
    pq.write_table(pa.table({"image": names}), data / "a.parquet")
    findings = Findings()
    with pytest.raises(FindingsError) as raised:
        granum.read(data, "hf", images=tmp_path / "pictures", findings=findings)
    (only,) = raised.value.findings.items
    assert (only.code, only.path, only.place) == ("file-missing", "a.parquet", "row 2")
    assert outside in only.message
    ds = granum.read(data, "hf", images=tmp_path / "pictures", on_error="skip")
    assert [m and m["path"] for m in ds.samples()["media"].to_pylist()] == ["a.png", "a.png", None]
    assert ds[1].image().getpixel((0, 0)) == (3, 0, 0)


# ---------------------------------------------------------------------- malformed


def test_classes_beyond_the_names(tmp_path: Path) -> None:
    objects = {"id": [1, 2], "area": [4, 4], "bbox": [[0, 0, 2, 2]] * 2, "category": [0, 7]}
    pq.write_table(cppe5([1, 2], objects=[None, objects]), tmp_path / "train.parquet")
    with pytest.raises(FindingsError) as raised:
        granum.read(tmp_path)
    (only,) = raised.value.findings.items
    assert (only.code, only.path, only.place) == ("unknown-class", "train.parquet", "row 1")
    assert "class 7, of 5" in only.message
    assert granum.read(tmp_path, on_error="skip").num_annotations == 1
    fixed = granum.read(tmp_path, on_error="fix")
    assert fixed[1].labels == ["Coverall", "7"]


def test_lists_of_different_lengths(tmp_path: Path) -> None:
    objects = {"id": [1, 2], "area": [4], "bbox": [[0, 0, 2, 2]] * 2, "category": [0, 1]}
    good = {"id": [3], "area": None, "bbox": [[1, 1, 2, 2]], "category": [2]}
    pq.write_table(cppe5([1, 2], objects=[objects, good]), tmp_path / "train.parquet")
    with pytest.raises(FindingsError) as raised:
        granum.read(tmp_path)
    (only,) = raised.value.findings.items
    assert (only.code, only.place) == ("bad-value", "row 0")
    ds = granum.read(tmp_path, on_error="skip")
    assert [len(s.annotations) for s in ds] == [0, 1]
    assert ds[1].annotations[0].area is None


def test_faults_of_geometry_name_file_and_row(tmp_path: Path) -> None:
    objects = {"id": [1], "area": [4], "bbox": [[5, 5, -2, 2]], "category": [0]}
    pq.write_table(cppe5([1, 2], objects=[None, objects]), tmp_path / "train.parquet")
    with pytest.raises(FindingsError) as raised:
        granum.read(tmp_path)
    (only,) = raised.value.findings.items
    assert (only.code, only.path, only.place) == ("negative-box", "train.parquet", "row 1")


def test_boxes_of_three_numbers(tmp_path: Path) -> None:
    objects = [{"bbox": [[0.0, 0.0, 2.0], [0.0, 1.0, 2.0, 3.0]], "category": ["a", "b"]}]
    image = [{"bytes": png(), "path": "a.png"}]
    pq.write_table(pa.table({"image": image, "objects": objects}), tmp_path / "a.parquet")
    with pytest.raises(FindingsError, match="a box of 3 numbers"):
        granum.read(tmp_path)
    assert granum.read(tmp_path, on_error="skip")[0].labels == ["b"]
    fixed = granum.read(tmp_path, on_error="fix")[0]
    assert (fixed.labels, fixed.annotations[0].bbox) == (["a", "b"], None)


def test_columns_of_the_wrong_type(tmp_path: Path) -> None:
    objects = [{"bbox": [["0", "1", "2", "3"]], "category": ["a"]}]
    image = [{"bytes": png(), "path": "a.png"}]
    pq.write_table(pa.table({"image": image, "objects": objects}), tmp_path / "a.parquet")
    with pytest.raises(FormatError, match=r"a\.parquet.*no numbers"):
        granum.read(tmp_path)


def test_no_images(tmp_path: Path) -> None:
    pq.write_table(pa.table({"price": [1.0]}), tmp_path / "table.parquet")
    assert formats["hf"]().sniff(tmp_path) is None
    with pytest.raises(FormatError, match="no column of images"):
        granum.read(tmp_path, "hf")


def test_truncated_files_are_told(tmp_path: Path) -> None:
    path = hub(tmp_path) / "data" / "test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FormatError, match=r"data/test-00000-of-00001\.parquet"):
        granum.read(tmp_path, "hf")


def test_two_exports_in_one_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        sample = Sample(f"{name}.png", Media(bytes=png()), 8, 6, split=name)
        granum.write(Dataset.from_rows([sample]), tmp_path / name, "hf")
    for path in (tmp_path / "b" / "data").iterdir():
        path.rename(tmp_path / "a" / "data" / path.name)
    with pytest.raises(FormatError, match="two exports"):
        granum.read(tmp_path / "a")


def test_damaged_facts_are_told(tmp_path: Path) -> None:
    sample = Sample("a.png", Media(bytes=png()), 8, 6)
    granum.write(Dataset.from_rows([sample], [Category("cat")]), tmp_path / "w", "hf")
    (path,) = (tmp_path / "w" / "data").iterdir()
    table = pq.read_table(path)
    facts = json.loads(table.schema.metadata[b"granum"])
    facts["categories"][0]["parents"] = [{"index": 5, "relation": "is_a"}]
    metadata = {**table.schema.metadata, b"granum": json.dumps(facts)}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    with pytest.raises(FormatError, match="a parent that is not there"):
        granum.read(tmp_path / "w")
