"""COCONut: all its sizes say what COCO panoptic says of the same segments."""

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
from granum.errors import FindingsError, FormatError
from granum.loaders._panoptic_classes import panoptic_records
from granum.loaders.base import Intake, formats
from granum.loaders.reading import read_into, sniff
from granum.schema.findings import Findings, OnError
from granum.store.builder import MemoryBuilder
from granum.store.dataset import Dataset
from granum.testing.same import assert_same
from granum.testing.suite import ReaderSuite
from tests.data import shared

Json = Any

IDS = np.array([[1, 1, 2], [1, 0, 2]])
OTHER = np.array([[3, 3, 3], [0, 1, 1]])

SEGMENTS: Json = [
    {"id": 1, "category_id": 118, "iscrowd": 0, "isthing": 0, "area": 3},
    {"id": 2, "category_id": 1, "isthing": 1, "area": 2, "iscrowd": 0},
]
MORE: Json = [
    {"id": 3, "category_id": 200, "iscrowd": 0, "isthing": 0, "area": 3},
    {"id": 1, "category_id": 2, "iscrowd": 0, "isthing": 1, "area": 2},
]


def png(ids: Any) -> bytes:
    """Ids below 256, as they are written: red only."""
    out = io.BytesIO()
    Image.fromarray(np.stack([ids, ids * 0, ids * 0], axis=-1).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def put(root: Path, name: str, content: Json) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def image(n: int, name: str) -> Json:
    return {"id": n, "file_name": name, "height": 2, "width": 3, "license": 3}


def small(root: Path, name: str = "coconut_s") -> Path:
    """S as the download script writes it."""
    stems = ("000000000009", "000000000025")
    document = {
        "images": [image(9, f"{stems[0]}.jpg"), image(25, f"{stems[1]}.jpg")],
        "annotations": [
            {"segments_info": SEGMENTS, "file_name": f"{stems[0]}.png", "image_id": 9},
            {"segments_info": MORE, "file_name": f"{stems[1]}.png", "image_id": 25},
        ],
        "categories": panoptic_records(),
        "info": {"year": 2018},
    }
    put(root, f"{name}.json", document)
    put(root, f"{name}/{stems[0]}.png", png(IDS))
    put(root, f"{name}/{stems[1]}.png", png(OTHER))
    return root


def large(root: Path) -> Path:
    """L: two ways to name a PNG, in a folder that is not named like the file."""
    stems = ("objects365_v2_00900001", "objects365_v2_00900002")
    document = {
        "images": [image(1, f"{stems[0]}.jpg"), image(2, f"{stems[1]}.jpg")],
        "annotations": [
            {
                "image_id": 1,
                "file_name": f"{stems[0]}.jpg",
                "object365_file_name": stems[0],
                "segments_info": SEGMENTS,
            },
            {"image_id": 2, "file_name": f"{stems[1]}.png", "segments_info": MORE},
        ],
        "categories": panoptic_records(),
    }
    put(root, "panseg_object365_train_v2.json", document)
    put(root, f"panoptic_object365/{stems[0]}.png", png(IDS))
    put(root, f"panoptic_object365/{stems[1]}.png", png(OTHER))
    return root


def extra_large(root: Path) -> Path:
    for stem, ids, segments in (("a_1", IDS, SEGMENTS), ("a_2", OTHER, MORE)):
        put(root, f"coconuts_xlarge/panseg_info/{stem}.json", segments)
        put(root, f"coconuts_xlarge/panseg/{stem}.png", png(ids))
    return root


def rows_of(root: Path, source: Path) -> Path:
    """The rows of Hugging Face that a tree of S is written from."""
    document = json.loads((source / "coconut_s.json").read_text())
    listed = []
    for record, about in zip(document["annotations"], document["images"], strict=True):
        mask = (source / "coconut_s" / record["file_name"]).read_bytes()
        listed.append(
            {
                "mask": {"bytes": mask, "path": None},
                "segments_info": record,
                "image_info": {**about, "flickr_url": None},
            }
        )
    path = root / "data/train-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(listed), path, row_group_size=1)
    return root


def read(
    root: Path, on_error: OnError = "fail", name: str = "coconut", **options: Any
) -> tuple[Dataset, Findings]:
    findings = Findings(on_error)
    reader = formats[name]()
    return read_into(MemoryBuilder(), reader, root, Intake(findings), options=options), findings


def segments(dataset: Dataset) -> list[list[tuple[str, int, Json]]]:
    """Class, area and mask of each segment, by sample."""
    names = dataset.categories["name"].to_pylist()
    return [
        [
            (names[a.category or 0], int(a.area or 0), s.mask(k).astype(int).tolist())
            for k, a in enumerate(s.annotations)
        ]
        for s in dataset
    ]


EXPECTED = [
    [
        ("floor-wood", 3, [[1, 1, 0], [1, 0, 0]]),
        ("person", 2, [[0, 0, 1], [0, 0, 1]]),
    ],
    [
        ("rug-merged", 3, [[1, 1, 1], [0, 0, 0]]),
        ("bicycle", 2, [[0, 0, 0], [0, 1, 1]]),
    ],
]


class TestSuite(ReaderSuite):
    name = "coconut"

    def make(self, folder: Path) -> Path:
        return small(folder / "tree")


class TestSuiteOfFiles(ReaderSuite):
    """XL, whose files are small."""

    name = "coconut"

    def make(self, folder: Path) -> Path:
        return extra_large(folder / "tree")


class TestSuiteOfRows(ReaderSuite):
    name = "coconut"

    def make(self, folder: Path) -> Path:
        return rows_of(folder / "rows", small(folder / "small"))


# ------------------------------------------------------------------ the same in all forms


def test_the_table_of_classes() -> None:
    records = panoptic_records()
    assert len(records) == 133
    assert sum(r["isthing"] for r in records) == 80
    assert [r["id"] for r in records] == sorted({r["id"] for r in records})
    assert records[0] == {"supercategory": "person", "isthing": 1, "id": 1, "name": "person"}
    assert records[-1]["name"] == "rug-merged" and records[-1]["id"] == 200


def test_the_classes_are_those_of_coco() -> None:
    """As the real panoptic file of COCO lists them."""
    source = shared("coco128/panoptic/panoptic_train2017.json")
    theirs = {c["id"]: c for c in json.loads(source.read_text())["categories"]}
    for record in panoptic_records():
        assert {k: theirs[record["id"]][k] for k in record} == record


def test_small(tmp_path: Path) -> None:
    dataset, findings = read(small(tmp_path), check_masks=True)
    assert not findings.counts
    assert segments(dataset) == EXPECTED
    assert {a.bbox for s in dataset for a in s.annotations} == {None}
    assert {a.extra is None for s in dataset for a in s.annotations} == {True}
    same, _ = read(tmp_path, name="coco_panoptic")
    assert_same(dataset, same)
    assert dataset.sources.equals(same.sources)


def test_rows_are_the_same(tmp_path: Path) -> None:
    source = small(tmp_path / "small")
    dataset, findings = read(rows_of(tmp_path / "rows", source), check_masks=True)
    assert not findings.counts
    same, _ = read(source, name="coco_panoptic")
    assert_same(dataset, same, ignore=["split"])  # masks by their pixels
    assert segments(dataset) == EXPECTED
    assert [s.key for s in dataset] == ["000000000009.jpg", "000000000025.jpg"]


def test_the_split_of_rows_is_not_their_files(tmp_path: Path) -> None:
    """All are called ``train``, the validation set too."""
    root = rows_of(tmp_path / "rows", small(tmp_path / "small"))
    assert {s.row.split for s in read(root)[0]} == {None}
    assert {s.row.split for s in read(root, split_name="val")[0]} == {"val"}


def test_large_names_pngs_in_two_ways(tmp_path: Path) -> None:
    dataset, findings = read(large(tmp_path), check_masks=True)
    assert not findings.counts
    assert segments(dataset) == EXPECTED
    (told, _) = (s.row.extra for s in dataset)
    assert told == {
        "license": 3,
        "panoptic": {
            "object365_file_name": "objects365_v2_00900001",
            "original_file_name": "objects365_v2_00900001.jpg",
        },
    }


def test_extra_large(tmp_path: Path) -> None:
    dataset, findings = read(extra_large(tmp_path), check_masks=True)
    assert not findings.counts
    assert segments(dataset) == EXPECTED
    assert [(s.key, s.row.source_id, s.row.width) for s in dataset] == [
        ("a_1.jpg", "a_1", None),
        ("a_2.jpg", "a_2", None),
    ]
    assert len(dataset.categories) == 133
    inner, _ = read(tmp_path / "coconuts_xlarge")
    assert segments(inner) == EXPECTED


def test_extra_large_without_what_large_has(tmp_path: Path) -> None:
    root = extra_large(large(tmp_path))
    for folder, suffix in (("panseg_info", "json"), ("panseg", "png")):
        below = root / "coconuts_xlarge" / folder
        (below / f"a_1.{suffix}").rename(below / f"objects365_v2_00900002.{suffix}")
    with pytest.raises(FindingsError, match="duplicate-annotation"):
        read(root)
    dataset, findings = read(root, "skip", check_masks=True)
    assert findings.counts == {"duplicate-annotation": 1}
    assert findings.items[0].path == "coconuts_xlarge/panseg_info/objects365_v2_00900002.json"
    assert segments(dataset) == [*EXPECTED, EXPECTED[1]]
    assert len(dataset.categories) == 133


def test_images_are_found(tmp_path: Path) -> None:
    put(extra_large(tmp_path / "in"), "../pictures/patch17/a_1.jpg", b"")
    reader, findings = formats["coconut"](), Findings("skip")
    intake = Intake(findings, tmp_path / "pictures")
    dataset = read_into(MemoryBuilder(), reader, tmp_path / "in", intake, options={})
    paths = [s.row.media.path for s in dataset if s.row.media]
    assert paths == ["patch17/a_1.jpg", "a_2.jpg"]
    assert findings.counts == {"file-missing": 1}


@pytest.mark.parametrize("make", [small, large, extra_large])
def test_is_written_as_coco_panoptic(tmp_path: Path, make: Any) -> None:
    dataset, _ = read(make(tmp_path / "in"))
    granum.write(dataset, tmp_path / "out", "coco_panoptic")
    assert list(sniff(tmp_path / "out")) != []
    back, _ = read(tmp_path / "out", "skip", "coco_panoptic", check_masks=True)
    assert segments(back) == EXPECTED


# ------------------------------------------------------------------ traps


def test_corners_become_boxes(tmp_path: Path) -> None:
    """What ``extract_bbox.py`` calls ``bbox`` is x1, y1, x2, y2; only things have one."""
    root = small(tmp_path)
    infos = [{"bbox": [2, 0, 3, 2], "category_id": 1, "id": 2, "isthing": 1}]
    listed = [{"image_id": 9, "file_name": "000000000009.png", "bbox_infos": infos}]
    put(root, "boxes/s.json", listed)
    dataset, findings = read(root, boxes="boxes/s.json")
    assert not findings.counts
    boxes = [[a.bbox for a in s.annotations] for s in dataset]
    assert boxes == [[None, (2, 0, 1, 2)], [None, None]]
    infos[0]["id"] = 7
    put(root, "boxes/s.json", [*listed, {"image_id": 25}])
    _, findings = read(root, "skip", boxes="boxes/s.json")
    assert [(f.code, f.path, f.place) for f in findings.items] == [
        ("missing-key", "boxes/s.json", "/1"),
        ("orphan-box", "boxes/s.json", None),
    ]
    with pytest.raises(FormatError, match=r"none\.json: no such file"):
        read(root, boxes="none.json")


@pytest.mark.parametrize(
    ("form", "box", "message"),
    [
        ("xyxy", [2, 0, 3, 2], "is the mask's corners x1, y1, x2, y2"),
        ("short", [2, 0, 0, 1], "lacks one pixel of the mask's width and height, 1 x 2"),
    ],
)
def test_boxes_of_other_forms(tmp_path: Path, form: Any, box: Json, message: str) -> None:
    root = small(tmp_path)
    document = json.loads((root / "coconut_s.json").read_text())
    document["annotations"][0]["segments_info"][1]["bbox"] = box
    put(root, "coconut_s.json", document)
    dataset, findings = read(root, "skip", check_masks=True)
    (found,) = [f for f in findings.items if f.code == "box-mismatch"]
    assert message in found.message
    assert found.place == "/annotations/0/segments_info/1/bbox"
    dataset, findings = read(root, check_masks=True, bbox_format=form)
    assert not findings.counts
    assert dataset[0].annotations[1].bbox == (2, 0, 1, 2)


def test_merged_files_keep_their_ids(tmp_path: Path) -> None:
    root = small(tmp_path)
    document = json.loads((root / "coconut_s.json").read_text())
    for key in ("images", "annotations"):
        document[key] += document[key][:1]
    put(root, "coconut_s.json", document)
    _, findings = read(root, "skip")
    assert findings.counts == {"duplicate-image-id": 1, "duplicate-annotation": 1}


# ------------------------------------------------------------------ malformed


def test_lists_that_are_none(tmp_path: Path) -> None:
    """Python's way of writing a list, as one file of the authors' has it."""
    root = extra_large(tmp_path)
    (root / "coconuts_xlarge/panseg_info/a_1.json").write_text(str(SEGMENTS))
    dataset, findings = read(root, "skip")
    assert [(f.code, f.path) for f in findings.items] == [
        ("bad-value", "coconuts_xlarge/panseg_info/a_1.json")
    ]
    assert segments(dataset) == [[], EXPECTED[1]]


def test_faults_of_lists_name_file_and_place(tmp_path: Path) -> None:
    root = extra_large(tmp_path)
    wrong = [{**MORE[0], "id": 9, "area": 7}, {**MORE[1], "category_id": 999}]
    put(root, "coconuts_xlarge/panseg_info/a_2.json", wrong)
    put(root, "coconuts_xlarge/panseg/b.png", png(IDS))
    _, findings = read(root, "skip", check_masks=True)
    name = "coconuts_xlarge/panseg_info/a_2.json"
    assert [(f.code, f.path, f.place) for f in findings.items] == [
        ("orphan-mask", "coconuts_xlarge/panseg/b.png", None),
        ("orphan-category", name, "/1/category_id"),
        ("unlisted-segment", name, None),
        ("unlisted-segment", name, None),
        ("empty-mask", name, "/0/id"),
    ]


def test_rows_without_masks(tmp_path: Path) -> None:
    root = rows_of(tmp_path / "rows", small(tmp_path / "small"))
    path = root / "data/train-00000-of-00001.parquet"
    table = pq.read_table(path)
    masks = [{"bytes": b"no image", "path": None}, None]
    column = pa.array(masks, table.schema.field("mask").type)
    pq.write_table(table.set_column(table.column_names.index("mask"), "mask", column), path)
    dataset, findings = read(root, "skip")
    assert [(f.code, f.path, f.place) for f in findings.items] == [
        ("broken-media", "data/train-00000-of-00001.parquet", f"/annotations/{i}") for i in range(2)
    ]
    assert {a.rle for s in dataset for a in s.annotations} == {None}


# ------------------------------------------------------------------ recognition


def test_coco_itself_is_another_format(tmp_path: Path) -> None:
    """Its segments have boxes."""
    root = small(tmp_path)
    assert list(sniff(root)) == ["coconut"]
    document = json.loads((root / "coconut_s.json").read_text())
    for record in document["annotations"]:
        for one in record["segments_info"]:
            one["bbox"] = [0, 0, 1, 1]
    put(root, "coconut_s.json", document)
    assert list(sniff(root)) == ["coco_panoptic"]


@pytest.mark.parametrize("make", [small, large, extra_large])
def test_trees_are_recognised(tmp_path: Path, make: Any) -> None:
    assert list(sniff(make(tmp_path))) == ["coconut"]


def test_detectron_names(tmp_path: Path) -> None:
    """The same files under COCO's own names, as Detectron2 wants them."""
    root = small(tmp_path, "panoptic_train2017")
    (root / "annotations").mkdir()
    (root / "panoptic_train2017.json").rename(root / "annotations/panoptic_train2017.json")
    assert list(sniff(root)) == ["coconut"]
    dataset, findings = read(root, check_masks=True)
    assert not findings.counts
    assert segments(dataset) == EXPECTED
    assert {s.row.split for s in dataset} == {"train2017"}


# ------------------------------------------------------------------ real data


def test_a_real_sample(tmp_path: Path) -> None:
    """29 segments; each area is the number of its pixels."""
    source = shared("coconut_sample")
    for name, target in (("demo_segments_info.json", "panseg_info"), ("demo_mask.png", "panseg")):
        folder = tmp_path / target
        folder.mkdir()
        (folder / f"demo{Path(name).suffix}").symlink_to(source / name)
    dataset, findings = read(tmp_path, check_masks=True)
    assert not findings.counts
    (sample,) = dataset
    listed = json.loads((source / "demo_segments_info.json").read_text())
    assert len(sample.annotations) == len(listed) == 29
    assert [sample.mask(k).sum() for k in range(29)] == [s["area"] for s in listed]
    names = [sample.categories[a.category or 0].name for a in sample.annotations]
    assert names[:3] == ["floor-wood", "rug-merged", "wall-other-merged"]
    assert names.count("vase") == 5
