"""Hugging Face datasets: Parquet by hand, by the library, and back through the library."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import granum
from granum.errors import FindingsError, FormatError, LossError, SizeUnknownError, UsageError
from granum.loaders.base import formats
from granum.schema.findings import Findings
from granum.schema.geometry import encode_mask
from granum.schema.losses import KINDS, NAMES, name_of
from granum.schema.rows import Annotation, Category, Group, LabelMap, Media, Rle, Sample
from granum.store.dataset import Dataset
from granum.testing import FormatSuite, assert_same
from granum.testing.suite import Keeps
from tests.data import shared


class TestSuite(FormatSuite):
    name = "hf"
    least = (Keeps(NAMES - {"layers", "record"}, KINDS),)
    examples = 15


def png(value: int = 0, size: tuple[int, int] = (8, 6)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(out, "PNG")
    return out.getvalue()


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


# ---------------------------------------------------------------------- the library


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The `datasets` library, offline, with a cache of its own."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True, raising=False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    return datasets


def of_library(library: Any) -> Any:
    """A DatasetDict in the CPPE-5 form."""
    hf = library
    features = hf.Features(
        {
            "image_id": hf.Value("int64"),
            "image": hf.Image(),
            "width": hf.Value("int32"),
            "height": hf.Value("int32"),
            "objects": hf.Sequence(
                {
                    "id": hf.Value("int64"),
                    "area": hf.Value("int64"),
                    "bbox": hf.Sequence(hf.Value("float32"), length=4),
                    "category": hf.ClassLabel(names=["cat", "dog", "owl"]),
                }
            ),
        }
    )

    def rows(ids: list[int]) -> Any:
        listed = [
            {
                "image_id": i,
                "image": {"bytes": png(i), "path": f"{i}.png"},
                "width": 8,
                "height": 6,
                "objects": {
                    "id": [10 * i + k for k in range(i % 3)],
                    "area": [4] * (i % 3),
                    "bbox": [[k, 1.5, 2, 2] for k in range(i % 3)],
                    "category": list(range(i % 3)),
                },
            }
            for i in ids
        ]
        return hf.Dataset.from_list(listed, features=features)

    return hf.DatasetDict({"train": rows([1, 2, 3, 4, 5]), "validation": rows([1, 2])})


@pytest.mark.parametrize("how", ["saved", "saved one", "parquet"])
def test_reads_what_the_library_writes(tmp_path: Path, library: Any, how: str) -> None:
    made = of_library(library)
    splits = ["train"] * 5 + ["validation"] * 2
    target = tmp_path / "w"
    if how == "saved":
        made.save_to_disk(target, num_shards={"train": 2, "validation": 1})
    elif how == "saved one":
        made["train"].save_to_disk(target)
        made = {"train": made["train"]}
        splits = [None] * 5  # type: ignore[list-item]
    else:
        target.mkdir()
        for name, each in made.items():
            each.to_parquet(target / f"{name}-00000-of-00001.parquet")
    assert formats["hf"]().sniff(target)
    assert formats["image_folder"]().sniff(target) is None
    ds = granum.read(target)
    rows = [row for each in made.values() for row in each]
    assert ds.samples()["split"].to_pylist() == splits
    assert ds.category_names() == ["cat", "dog", "owl"]
    for sample, row in zip(ds, rows, strict=True):
        assert sample.boxes().tolist() == row["objects"]["bbox"]
        assert [a.category for a in sample.annotations] == row["objects"]["category"]
        assert [a.source_id for a in sample.annotations] == [str(i) for i in row["objects"]["id"]]
        assert sample.size == (8, 6)
        assert sample.image().getpixel((0, 0)) == row["image"].getpixel((0, 0))


def rich() -> Dataset:
    """Boxes, polygons, run lengths, flags, captions, labels, splits, attributes, references."""
    categories = [
        Category("cat", supercategory="animal", source_id="17"),
        Category("unused", parents=[{"index": 0, "relation": "is_a"}]),
        Category("cat", "scene"),
    ]
    a = Sample(
        "train/a.png",
        Media(bytes=png(1)),
        8,
        6,
        split="train",
        source_id="5",
        attributes={"iso": 100, "night": False},
        annotations=[
            Annotation(
                bbox=(1, 1, 3.25, 2), category=0, area=6.5, crowd=False, score=0.75, source_id="9"
            ),
            Annotation(
                polygons=[[[1, 1, 4, 1, 4, 4]], [[5, 1, 7, 1, 7, 3]]],
                category=0,
                attributes={"colour": "red"},
            ),
            Annotation(rle=Rle(*encode_mask(np.eye(6, 8))), category=1, crowd=True, occluded=False),
            Annotation("label", category=2),
            Annotation("caption", text="a cat"),
        ],
    )
    b = Sample("val/b.png", Media(bytes=png(2)), 8, 6, split="val", source_id="6")
    return Dataset.from_rows([a, b], categories)


@pytest.mark.parametrize("how", ["folder", "parquet"])
def test_the_library_loads_what_we_write(tmp_path: Path, library: Any, how: str) -> None:
    ds = rich()
    granum.write(ds, tmp_path / "w", "hf")
    if how == "folder":
        made = library.load_dataset(str(tmp_path / "w"), cache_dir=str(tmp_path / "cache"))
        # The library knows "val" as a name of its own split "validation", but not in file names
        # of shards.
        assert set(made) == {"train", "val"}
        train, val = made["train"], made["val"]
    else:
        files = {s: str(tmp_path / f"w/data/{s}-00000-of-00001.parquet") for s in ("train", "val")}
        made = library.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
        train, val = made["train"], made["val"]
    assert (len(train), len(val)) == (1, 1)
    features = train.features
    assert isinstance(features["image"], library.Image)
    assert features["label"].names == ["cat", "unused", "scene/cat"]
    category = features["objects"]["category"].feature
    assert category.names == ["cat", "unused", "scene/cat"]
    row = train[0]
    assert row["image"].size == (8, 6)
    assert row["image_id"] == 5
    assert row["objects"]["bbox"] == [[1, 1, 3.25, 2], None, None]
    assert row["objects"]["category"] == [0, 0, 1]
    assert row["objects"]["area"] == [6.5, None, None]
    assert row["objects"]["iscrowd"] == [False, None, True]
    assert row["objects"]["segmentation"][1] == [[1, 1, 4, 1, 4, 4], [5, 1, 7, 1, 7, 3]]
    assert row["objects"]["colour"] == [None, "red", None]
    assert (row["label"], row["text"]) == (2, "a cat")
    assert (row["iso"], row["night"]) == (100, False)
    assert val[0]["objects"]["bbox"] == []


def test_reads_back_all_of_it(tmp_path: Path) -> None:
    ds = rich()
    report = granum.write(ds, tmp_path / "w", "hf")
    assert not report.lost_names()
    back = granum.read(tmp_path / "w")
    assert_same(ds, back)
    assert [a.source_id for a in back[0].annotations[:2]] == ["9", None]
    assert back[0].row.source_id == "5"


def test_what_the_library_changed_is_read_by_name(tmp_path: Path, library: Any) -> None:
    """Our notes are lost when the library saves anew; the columns still say most."""
    granum.write(rich(), tmp_path / "w", "hf")
    made = library.load_dataset(str(tmp_path / "w"), cache_dir=str(tmp_path / "cache"))
    made["train"].to_parquet(tmp_path / "train.parquet")
    back = granum.read(tmp_path / "train.parquet", on_error="fail")
    assert_same(
        rich().select([0]), back, ignore=["categories", "samples", "category", "attributes"]
    )
    assert back.counts("object") == {"cat": 2, "unused": 1, "scene/cat": 0}


# ---------------------------------------------------------------------- writing


def test_polygons_with_holes_keep_them(tmp_path: Path) -> None:
    hole = [[0.0, 0, 8, 0, 8, 6, 0, 6], [1.0, 1, 2, 1, 2, 2]]
    sample = Sample("a.png", None, 8, 6, annotations=[Annotation(polygons=[hole])])
    granum.write(Dataset.from_rows([sample]), tmp_path / "w", "hf")
    assert granum.read(tmp_path / "w")[0].annotations[0].polygons == [hole]


def test_embedding(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a.png").write_bytes(png(7))
    ds = Dataset.from_rows([Sample("x/a.png", Media("a.png"))], media_root=tmp_path / "m")
    granum.write(ds, tmp_path / "paths", "hf")
    granum.write(ds, tmp_path / "bytes", "hf", embed=True)
    granum.write(ds, tmp_path / "beside", "hf", media="copy")
    entries = [
        granum.read(tmp_path / n, "hf").samples()["media"][0].as_py()
        for n in (*("paths", "bytes", "beside"),)
    ]
    assert entries[0] == {"path": "a.png", "bytes": None}
    assert entries[1] == {"path": "a.png", "bytes": png(7)}
    assert granum.read(tmp_path / "beside")[0].image().getpixel((0, 0)) == (7, 0, 0)
    (tmp_path / "m" / "a.png").unlink()
    with pytest.raises(FormatError, match=r"a\.png"):
        granum.write(ds, tmp_path / "none", "hf", embed=True)
    assert not (tmp_path / "none").exists()


def test_names_of_splits(tmp_path: Path) -> None:
    splits = ["fold 1", None, "all", "train", "fold-1"]
    samples = [Sample(f"{i}.png", None, 8, 6, split=s) for i, s in enumerate(splits)]
    granum.write(Dataset.from_rows(samples), tmp_path / "w", "hf")
    files = sorted(
        p.name.removesuffix("-00000-of-00001.parquet") for p in (tmp_path / "w" / "data").iterdir()
    )
    assert files == ["all_", "fold_1", "fold_1_2", "train", "train_2"]
    back = granum.read(tmp_path / "w")
    assert {s.key: s.split for s in back} == {f"{i}.png": s for i, s in enumerate(splits)}


def test_groups_and_what_is_of_a_whole_group(tmp_path: Path) -> None:
    groups = [Group("clip", "video", frames=30, fps=29.97, media=Media("clip.mp4"))]
    sample = Sample("clip/3", None, 8, 6, media_kind="frame", group=0, order=3)
    whole = Annotation("label", category=0, group=0, score=0.5)
    ds = Dataset.from_rows([sample], [Category("run", "action")], groups, group_annotations=[whole])
    granum.write(ds, tmp_path / "w", "hf")
    back = granum.read(tmp_path / "w")
    assert_same(ds, back)
    assert back.num_annotations == 1
    assert back.groups["fps"].to_pylist() == [29.97]


def test_references_and_other_layers(tmp_path: Path) -> None:
    """Annotations that name each other keep their ids; one of another layer cannot be named."""
    person = Annotation(bbox=(0, 0, 2, 2), annotation_id=41)
    horse = Annotation(bbox=(1, 1, 2, 2), annotation_id=7, parent=41)
    rides = Annotation("relation", annotation_id=3, subject=41, object=7)
    sample = Sample("a.png", None, 8, 6, annotations=[rides, person, horse])
    granum.write(Dataset.from_rows([sample]), tmp_path / "w", "hf")
    back = granum.read(tmp_path / "w")
    assert [a.annotation_id for a in back[0].annotations] == [3, 41, 7]
    assert (back[0].annotations[0].subject, back[0].annotations[0].object) == (41, 7)
    assert back[0].annotations[2].parent == 41
    elsewhere = Annotation("label", annotation_id=9, subject=50)
    other = Annotation(bbox=(0, 0, 1, 1), annotation_id=50)
    sample = Sample("a.png", None, 8, 6, annotations=[elsewhere], layers={"other": [other]})
    with pytest.raises(LossError) as raised:
        granum.write(Dataset.from_rows([sample]), tmp_path / "x", "hf")
    assert raised.value.refused == sorted(["layers", str(name_of("annotations", "subject"))])


def test_maps_stay_references(tmp_path: Path) -> None:
    a = Annotation(map=LabelMap("m/1.png", None, "rgb24", 300, None, "object", "ab"))
    b = Annotation(map=LabelMap(bytes=b"\x89\x00", value=0))
    ds = Dataset.from_rows([Sample("a.png", None, 8, 6, annotations=[a, b])])
    granum.write(ds, tmp_path / "w", "hf")
    assert [x.map for x in granum.read(tmp_path / "w")[0].annotations] == [a.map, b.map]


def test_relative_boxes_become_pixels(tmp_path: Path) -> None:
    box = Annotation(bbox=(0.25, 0.5, 0.5, 0.25))
    sized = Sample("a.png", None, 8, 6, unit="relative", annotations=[box])
    granum.write(Dataset.from_rows([sized]), tmp_path / "w", "hf")
    back = granum.read(tmp_path / "w")
    assert back[0].row.unit == "pixel"
    assert back[0].boxes().tolist() == [[2, 3, 4, 1.5]]
    granum.write(Dataset.from_rows([sized]), tmp_path / "k", "hf", unit="keep")
    back = granum.read(tmp_path / "k")
    assert back[0].row.unit == "relative"
    assert back[0].annotations[0].bbox == (0.25, 0.5, 0.5, 0.25)
    unsized = Sample("a.png", None, unit="relative", annotations=[box])
    with pytest.raises(SizeUnknownError):
        granum.write(Dataset.from_rows([unsized]), tmp_path / "u", "hf")
    with pytest.raises(UsageError, match="no_option"):
        granum.write(Dataset.from_rows([sized]), tmp_path / "o", "hf", no_option=1)


def test_attributes_named_like_columns(tmp_path: Path) -> None:
    """An attribute called ``label`` or ``image_id`` is no class and no id."""
    names = ["label", "image_id", "objects", "text", "key", "mask_file_name", "attr.key", "plain"]
    attributes = {n: f"value of {n}" for n in names}
    annotation = Annotation(bbox=(0, 0, 1, 1), attributes=dict.fromkeys([*names, "id", "bbox"], 1))
    sample = Sample("a.png", None, 8, 6, attributes=attributes, annotations=[annotation])
    ds = Dataset.from_rows([sample])
    granum.write(ds, tmp_path / "w", "hf")
    back = granum.read(tmp_path / "w")
    assert_same(ds, back)
    assert back[0].row.attributes == attributes


def test_an_empty_dataset(tmp_path: Path) -> None:
    ds = Dataset.from_rows([], [Category("cat")])
    granum.write(ds, tmp_path / "w", "hf")
    back = granum.read(tmp_path / "w")
    assert len(back) == 0
    assert back.category_names() == ["cat"]


def test_real_boxes_survive(tmp_path: Path) -> None:
    """COCO128's panoptic sample as Parquet: the same boxes, through the library's types."""
    source = shared("panoptic_sample/panoptic_coco_detection_format.json")
    if "coco" not in formats:
        pytest.skip("the coco format is not there")
    ds = granum.read(source, "coco")
    granum.write(ds, tmp_path / "w", "hf")
    back = granum.read(tmp_path / "w")
    assert back.num_annotations == ds.num_annotations == 50
    assert_same(ds, back, ignore=["shape", "record"], ordered=False)
