"""Hugging Face datasets: the library reads what we write, and we what it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import granum
from granum.errors import FindingsError, FormatError, LossError, SizeUnknownError, UsageError
from granum.loaders.base import formats
from granum.schema.geometry import encode_mask
from granum.schema.losses import name_of
from granum.schema.rows import Annotation, Category, Group, LabelMap, Media, Rle, Sample
from granum.store.dataset import Dataset
from granum.testing import assert_same
from tests.data import shared
from tests.loaders.pictures import png

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


def test_an_id_that_was_taken_away(tmp_path: Path) -> None:
    """Where annotations name each other, one without an id is a fault."""
    a = Annotation(bbox=(0, 0, 2, 2), annotation_id=4)
    b = Annotation(bbox=(1, 1, 2, 2), annotation_id=7, parent=4)
    sample = Sample("a.png", None, 8, 6, annotations=[a, b])
    granum.write(Dataset.from_rows([sample]), tmp_path / "w", "hf")
    (path,) = (tmp_path / "w" / "data").iterdir()
    table = pq.read_table(path)
    (row,) = table.to_pylist()
    row["objects"]["id"][1] = None
    pq.write_table(pa.Table.from_pylist([row], table.schema), path)
    with pytest.raises(FindingsError, match="missing-annotation-id"):
        granum.read(tmp_path / "w")
    assert granum.read(tmp_path / "w", on_error="skip").num_annotations == 1
    fixed = granum.read(tmp_path / "w", on_error="fix")[0].annotations
    assert [x.annotation_id == 4 for x in fixed] == [True, False]
    assert fixed[1].parent == 4


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


def test_real_annotations_survive(tmp_path: Path) -> None:
    """50 run lengths with crowds, as COCO writes them."""
    ds = granum.read(shared("panoptic_sample/panoptic_coco_detection_format.json"), "coco")
    report = granum.write(ds, tmp_path / "w", "hf")
    assert not report.lost_names()
    back = granum.read(tmp_path / "w")
    assert (len(back), back.num_annotations, back.categories.num_rows) == (2, 50, 133)
    assert_same(ds, back)


def test_the_library_loads_real_images(tmp_path: Path, library: Any) -> None:
    """COCO128 from YOLO's fractions: embedded images, and boxes in their pixels."""
    images = shared("coco128/images")
    ds = granum.read(shared("coco128/object_detection"), "yolo", images=images, on_error="skip")
    granum.write(ds, tmp_path / "w", "hf", embed=True)
    (made,) = library.load_dataset(str(tmp_path / "w"), cache_dir=str(tmp_path / "c")).values()
    assert len(made) == len(ds) == 98
    assert sum(len(o["bbox"]) for o in made["objects"]) == ds.num_annotations == 741
    for row, sample in zip(made, ds, strict=True):
        assert row["image"].size == sample.size == (row["width"], row["height"])
        assert np.allclose(row["objects"]["bbox"] or np.zeros((0, 4)), sample.boxes(), atol=1e-9)
