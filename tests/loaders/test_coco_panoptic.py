"""Reading COCO panoptic: layouts, every column, and equal files on the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.errors import AmbiguousFormatError, FormatError
from granum.loaders.reading import sniff
from tests.data import shared
from tests.loaders.panoptic_trees import GOLDEN, document, files, golden, ids_of, read, save

FORMAT = "coco_panoptic"


def round_trip(root: Path, target: Path, **options: Any) -> None:
    """Every file that is written is there before, with equal JSON or equal bytes."""
    dataset = granum.read(root, FORMAT, **options)
    report = granum.write(dataset, target, FORMAT)
    assert report.lost_names() == {}
    before, after = files(root), files(target)
    assert {n for n in before if n.endswith(".json")} <= after.keys() | {"other.json"}
    for name, content in after.items():
        if name.endswith(".json"):
            assert json.loads(content) == json.loads(before[name]), name
        else:
            assert content == before[name], name


# ---------------------------------------------------------------------- golden


def test_reads_the_golden_tree(tmp_path: Path) -> None:
    dataset, findings = read(golden(tmp_path), check_masks=True)
    assert not findings.counts
    (sample,) = dataset
    assert (sample.key, sample.split, sample.size) == ("000139.jpg", "val2017", (4, 3))
    assert (sample.row.source_id, sample.row.extra) == ("139", {"license": 2})
    rug, person = sample.annotations
    assert sample.labels == ["rug", "person"]
    assert (rug.source_id, rug.area, rug.bbox, rug.crowd) == ("65794", 5, (2, 0, 2, 3), False)
    assert (person.source_id, person.area, person.bbox, person.crowd) == (
        "7",
        3,
        (1, 0, 2, 2),
        True,
    )
    assert (rug.kind, rug.ordinal, person.ordinal) == ("object", [0], [1])
    assert rug.map is not None
    assert (rug.map.path, rug.map.encoding, rug.map.value) == (
        *("annotations/panoptic_val2017/000139.png", "rgb24", 65794),
    )
    expected = [[0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert sample.mask(0).tolist() == np.array(expected, bool).tolist()
    assert sample.mask(1).sum() == 3
    facts = [(c.name, c.supercategory, c.isthing, c.colour) for c in sample.categories]
    assert facts == [
        ("person", "human", True, [220, 20, 60]),
        ("rug", "textile", False, [250, 141, 255]),
    ]


def test_prefers_the_folder_of_the_split(tmp_path: Path) -> None:
    golden(tmp_path)
    (tmp_path / "val2017").mkdir()
    assert granum.read(tmp_path)[0].key == "val2017/000139.jpg"
    (tmp_path / "images" / "val2017").mkdir(parents=True)
    assert granum.read(tmp_path)[0].key == "images/val2017/000139.jpg"


def test_keys_agree_with_coco(tmp_path: Path) -> None:
    """One tree read as instances and as panoptic has the same samples."""
    root = shared("format_fixtures/coco_dataset/coco")
    instances, panoptic = granum.read(root, "coco"), granum.read(root, FORMAT)
    assert [s.key for s in panoptic] == ["images/train/a.jpg", "images/val/b.jpg"]
    assert {s.key for s in panoptic} == {s.key for s in instances}


# ---------------------------------------------------------------------- layouts


@pytest.mark.parametrize(
    ("name", "folder", "target"),
    [
        ("annotations/panoptic_val2017.json", None, "."),
        ("annotations/panoptic_val2017.json", "../panoptic_val2017", "."),
        ("val.json", None, "."),
        ("val.json", None, "val.json"),
        ("val.json", "panoptic_val", "."),
        ("annotations/val.json", "../panoptic_val", "annotations/val.json"),
        ("info.json", ".", "."),
    ],
)
def test_finds_the_masks(tmp_path: Path, name: str, folder: str | None, target: str) -> None:
    save(tmp_path / name, document(2), folder)
    dataset, findings = read(tmp_path / target)
    assert not findings.counts
    assert [s.mask(1).sum() for s in dataset] == [4, 4]
    assert sniff(tmp_path / target).keys() & {FORMAT}


def test_a_folder_of_masks_is_none_of_images(tmp_path: Path) -> None:
    """``val.json`` beside ``val/*.png``: the images are not in ``val``."""
    save(tmp_path / "val.json", document(1))
    assert granum.read(tmp_path, FORMAT)[0].key == "0.jpg"


@pytest.mark.parametrize("inside", [True, False])
def test_masks_may_be_named(tmp_path: Path, inside: bool) -> None:
    root = tmp_path / "data"
    save(root / "a.json", document(2), "../data/pngs" if inside else "../pngs")
    dataset, _ = read(root / "a.json", masks="pngs" if inside else str(tmp_path / "pngs"))
    assert [s.mask(0).sum() for s in dataset] == [4, 4]
    with pytest.raises(FormatError, match="no such folder"):
        read(root / "a.json", masks="nowhere")


def test_several_splits(tmp_path: Path) -> None:
    save(tmp_path / "annotations/panoptic_train.json", document(2))
    save(tmp_path / "annotations/panoptic_val.json", document(1))
    (tmp_path / "annotations/instances_val.json").write_text('{"images": [], "annotations": []}')
    dataset, findings = read(tmp_path)
    assert [s.key for s in dataset] == ["train/0.jpg", "train/1.jpg", "val/0.jpg"]
    assert [s.split for s in dataset] == ["train", "train", "val"]
    assert [(f.code, f.path) for f in findings.items] == [
        ("file-not-read", "annotations/instances_val.json")
    ]


def test_does_not_claim_other_json(tmp_path: Path) -> None:
    (tmp_path / "panoptic_as_detections.json").write_text(
        '{"images": [], "annotations": [{"id": 1, "category_id": 3}], "categories": []}'
    )
    assert FORMAT not in sniff(tmp_path)
    with pytest.raises(AmbiguousFormatError):
        granum.read(tmp_path)
    with pytest.raises(FormatError, match="no COCO panoptic file"):
        granum.read(tmp_path, FORMAT)


# ---------------------------------------------------------------------- lossless

TORTURE: Any = {
    "annotations": [
        {  # before the images, in another order than they, with keys of its own
            "segments_info": [
                {"id": 300, "category_id": 9, "area": 4.5, "bbox": [1, 0, 1.5, 4], "iscrowd": 0},
                {"iscrowd": 1, "area": 2**53 - 1, "category_id": 7, "id": 2, "note": {"x": [None]}},
                {"id": 3, "category_id": 7, "bbox": None, "area": None, "iscrowd": None},
                {"id": 4, "category_id": 7, "bbox": [], "area": 0, "iscrowd": 2},
                {"id": "5", "category_id": 7, "area": 1, "isthing": 1, "score": 0.25},
                {"id": 6.0, "category_id": 9, "area": 1, "isthing": 1, "ignore": 1, "inside": None},
                {"id": 8, "category_id": 7, "isthing": None, "attributes": {"a": [1, None]}},
                {"id": 9, "category_id": 7, "attributes": None, "extra": None},
                {"id": 10, "category_id": 7, "area": 2**60 + 1, "bbox": [2**60 + 1, 0, 1, 1]},
            ],
            "image_id": "b",
            "file_name": "deep/other.png",
            "annotator": "anna",
        },
        {"image_id": 2**40, "file_name": "a.png", "segments_info": [], "empty": None},
        {"image_id": 3, "file_name": "odd.png", "segments_info": []},
        {"image_id": 4, "file_name": "d.png", "segments_info": [{"id": 1, "category_id": 7}]},
    ],
    "licenses": None,
    "table": [{"x": 1.5}],
    "images": [
        {"id": 2**40, "file_name": "sub/a.jpg", "width": 6, "height": 4, "panoptic": "its own"},
        {"id": "b", "file_name": "b.jpg", "width": 6, "height": None, "attributes": {"n": 0}},
        {"id": 3, "file_name": "c.jpg", "width": 6, "height": 4, "coco_url": None},
        {"id": 5, "file_name": "e.jpg", "height": 4, "attributes": [1]},
        {"id": 6, "file_name": None, "width": 6, "height": 4},
        {"id": 7, "width": 6, "height": 4, "attributes": None},
        {"id": 4, "file_name": "d.jpg", "width": 6, "height": 4},
    ],
    "categories": [
        {"id": 9, "name": "a", "isthing": 0, "synonyms": ["b", "c"], "color": [1, 2, 3], "x": 1},
        {"id": 7, "name": "ü", "supercategory": None, "isthing": True, "attributes": {"k": 2}},
        {"id": "8", "name": "unused"},
    ],
}


def torture(root: Path) -> Path:
    save(root / "annotations/panoptic_val.json", TORTURE)
    save(root / "annotations/panoptic_test.json", document(0))
    save(root / "annotations/panoptic_train.json", document(2, info={"a": 1}))
    return root


def test_torture_comes_back_equal(tmp_path: Path) -> None:
    round_trip(torture(tmp_path / "in"), tmp_path / "out")
    dataset, back = (granum.read(tmp_path / d, FORMAT) for d in ("in", "out"))
    assert [s.key for s in back] == [s.key for s in dataset]
    assert back.annotations().drop_columns(["origins"]).to_pylist() == (
        dataset.annotations().drop_columns(["origins"]).to_pylist()
    )


def test_torture_is_typed(tmp_path: Path) -> None:
    """What has a column is in it, not among the unknown keys."""
    dataset = granum.read(torture(tmp_path), FORMAT)
    listed = dataset["val/b.jpg"].annotations
    assert [a.map.value if a.map else None for a in listed] == [300, 2, 3, 4, 5, 6, 8, 9, 10]
    assert [a.extra for a in listed] == [
        *(None, {"note": {"x": [None]}}, None, {"bbox": [], "iscrowd": 2}, {"id": "5"}),
        *({"id": 6.0, "isthing": 1}, {"isthing": None}, {"extra": None}),
        {"area": 2**60 + 1, "bbox": [2**60 + 1, 0, 1, 1]},
    ]
    assert [a.crowd for a in listed[:4]] == [False, True, None, True]
    assert (listed[4].score, listed[5].ignore, listed[6].attributes) == (
        *(0.25, True, {"a": [1, None]}),
    )
    assert dataset["val/b.jpg"].row.extra == {"panoptic": {"annotator": "anna"}}
    extras = [dataset[k].row.extra for k in ("val/sub/a.jpg", "val/c.jpg", "val/d.jpg")]
    assert extras == [
        {"panoptic": "its own", "panoptic_": {"empty": None, "file_name": "a.png"}},
        {"coco_url": None, "panoptic": {"file_name": "odd.png"}},
        None,
    ]
    categories = dataset[0].categories
    assert [c.synonyms for c in categories[1:3]] == [["b", "c"], None]


def test_an_image_without_annotation_stays_without(tmp_path: Path) -> None:
    made = document(3)
    made["annotations"] = [{**made["annotations"][1], "segments_info": []}]
    save(tmp_path / "in/val.json", made)
    round_trip(tmp_path / "in", tmp_path / "out")
    assert sorted(files(tmp_path / "out")) == ["val.json", "val/1.png"]


@pytest.mark.parametrize(
    ("name", "samples", "segments", "categories", "crowds"),
    [
        ("panoptic_sample", 2, 50, 133, 3),
        ("coco128/panoptic", 100, 1111, 133, 6),
        ("format_fixtures/coco_dataset/coco_panoptic", 2, 3, 2, 1),
        ("format_fixtures/coco_dataset/coco", 2, 3, 2, 1),
        ("format_fixtures/mapillary_vistas_dataset/val/v2.0/panoptic", 2, 5, 3, 2),
    ],
)
def test_real_data(
    tmp_path: Path, name: str, samples: int, segments: int, categories: int, crowds: int
) -> None:
    root = shared(name)
    dataset = granum.read(root, FORMAT)
    found = (len(dataset), dataset.num_annotations, dataset.categories.num_rows)
    assert found == (samples, segments, categories)
    assert sum(dataset.annotations(["crowd"])["crowd"].to_pylist()) == crowds
    granum.write(dataset, tmp_path / "out", FORMAT)
    written = files(tmp_path / "out")
    pngs = [n for n in written if n.endswith(".png")]
    assert len(pngs) == samples
    for file, content in written.items():
        same = json.loads if file.endswith(".json") else bytes
        assert same(content) == same((root / file).read_bytes()), file


@pytest.mark.parametrize("name", ["panoptic_sample", "coco128/panoptic"])
def test_areas_and_boxes_are_those_of_the_pixels(name: str) -> None:
    dataset, findings = read(shared(name), check_masks=True)
    assert findings.errors == 0
    assert "area-mismatch" not in findings.counts
    for sample in list(dataset)[:10]:
        for k, annotation in enumerate(sample.annotations):
            mask = sample.mask(k)
            assert mask.sum() == annotation.area
            ys, xs = np.nonzero(mask)
            box = (xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1)
            assert annotation.bbox == box


def test_coconut(tmp_path: Path) -> None:
    """A real sample, laid out as its Hugging Face rows are: no boxes, segments with ``isthing``."""
    source = shared("coconut_sample")
    segments = json.loads((source / "demo_segments_info.json").read_text())
    ids = sorted({s["category_id"] for s in segments})
    things = {s["category_id"]: s["isthing"] for s in segments}
    made = {
        "images": [{"id": 1, "file_name": "demo.jpg", "width": 640, "height": 426}],
        "annotations": [{"image_id": 1, "file_name": "demo.png", "segments_info": segments}],
        "categories": [{"id": i, "name": f"c{i}", "isthing": things[i]} for i in ids],
    }
    (tmp_path / "in/train").mkdir(parents=True)
    (tmp_path / "in/train.json").write_text(json.dumps(made))
    (tmp_path / "in/train/demo.png").write_bytes((source / "demo_mask.png").read_bytes())
    dataset, findings = read(tmp_path / "in", check_masks=True)
    assert not findings.counts
    (sample,) = dataset
    assert len(sample.annotations) == 29
    assert [sample.mask(k).sum() for k in range(29)] == [s["area"] for s in segments]
    assert {a.bbox for a in sample.annotations} == {None}
    # The flag follows from the category, so it is no unknown key.
    assert {a.extra is None for a in sample.annotations} == {True}
    round_trip(tmp_path / "in", tmp_path / "out")


def test_the_golden_file_is_what_it_says() -> None:
    """The numbers above are those of the spec's formula."""
    assert GOLDEN["annotations"][0]["segments_info"][0]["id"] == 2 + 256 * 1 + 65536 * 1


def test_ids_of_the_golden_png(tmp_path: Path) -> None:
    path = golden(tmp_path) / "annotations/panoptic_val2017/000139.png"
    assert ids_of(path).tolist() == [[0, 7, 7, 65794], [0, 7, 65794, 65794], [0, 0, 65794, 65794]]
