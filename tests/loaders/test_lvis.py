"""LVIS, from files typed by hand and 100 real images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

import granum
from granum.errors import FindingsError, LossError
from granum.loaders.reading import sniff
from granum.schema.rows import Annotation, Category, Media, Sample
from tests.data import shared

CATEGORIES = [
    {
        "id": 3, "name": "acorn", "synset": "acorn.n.01", "synonyms": ["acorn"], "frequency": "r",
        "def": "nut from an oak tree", "image_count": 1, "instance_count": 2,
    },
    {
        "id": 12, "name": "bat_(animal)", "synset": "bat.n.01", "synonyms": ["bat", "flitter"],
        "frequency": "c", "def": "nocturnal", "image_count": 0, "instance_count": 0,
    },
    {
        "id": 7, "name": "cup", "synset": "cup.n.01", "synonyms": ["cup"], "frequency": "f",
        "def": "for drinking", "image_count": 1, "instance_count": 1,
    },
]  # fmt: skip


def v1(split: str = "val", **image: Any) -> dict[str, Any]:
    """As LVIS v1: no ``file_name``; an image of val in COCO's train2017."""
    first = {
        "id": 391895, "height": 20, "width": 30, "license": 3,
        "coco_url": "http://images.cocodataset.org/train2017/000000391895.jpg",
        "neg_category_ids": [7, 12], "not_exhaustive_category_ids": [3], "date_captured": "x",
    }  # fmt: skip
    second = {
        **first, "id": 9, "coco_url": "http://images.cocodataset.org/val2017/000000000009.jpg",
        "neg_category_ids": [], "not_exhaustive_category_ids": [],
    }  # fmt: skip
    area = {
        "id": 1, "image_id": 391895, "category_id": 3, "bbox": [1.0, 2.0, 4.0, 6.0], "area": 12.0,
        "segmentation": [[1.0, 2.0, 5.0, 2.0, 5.0, 8.0]],
    }  # fmt: skip
    return {
        "info": {"description": split},
        "annotations": [area, {**area, "id": 2}],
        "images": [{**first, **image}, second],
        "licenses": [{"id": 3}],
        "categories": CATEGORIES,
    }


def placed(folder: Path, document: dict[str, Any], name: str = "lvis_v1_val.json") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(document))
    return folder / name


def labels(dataset: granum.Dataset, row: int = 0) -> list[tuple[str, bool | None, bool | None]]:
    names = dataset.category_names()
    return [
        (names[a.category], a.present, a.exhaustive)
        for a in dataset[row].annotations
        if a.kind == "label" and a.category is not None
    ]


def test_lists_are_label_rows(tmp_path: Path) -> None:
    path = placed(tmp_path, v1())
    assert sniff(path).keys() == sniff(tmp_path).keys() == {"lvis"}
    found = granum.read(path)
    assert labels(found) == [
        ("cup", False, None),
        ("bat_(animal)", False, None),
        ("acorn", None, False),
    ]
    assert labels(found, 1) == []
    assert [a.bbox for a in found[0].annotations if a.kind == "object"] == [(1, 2, 4, 6)] * 2
    # Without a file name, the end of the address is where the image is.
    assert [s.key for s in found] == ["train2017/000000391895.jpg", "val2017/000000000009.jpg"]
    assert [s.row.media.path for s in found] == [s.key for s in found]


def test_facts_of_categories(tmp_path: Path) -> None:
    acorn = granum.read(placed(tmp_path, v1())).categories.to_pylist()[0]
    assert json.loads(acorn["attributes"]) == {
        "frequency": "r",
        "synset": "acorn.n.01",
        "def": "nut from an oak tree",
        "image_count": 1,
        "instance_count": 2,
    }
    assert (acorn["source_id"], acorn["synonyms"], acorn["extra"]) == ("3", ["acorn"], None)


def test_no_iscrowd_is_no_fault(tmp_path: Path) -> None:
    path = placed(tmp_path, v1())
    found = granum.validate(path)
    assert found.findings.counts == {}
    fixed = granum.read(path, on_error="fix")
    granum.write(fixed, tmp_path / "out.json", "lvis")
    assert json.loads((tmp_path / "out.json").read_text()) == v1()


def test_equal_json(tmp_path: Path) -> None:
    found = granum.read(placed(tmp_path, v1()))
    granum.write(found, tmp_path / "out.json", "lvis")
    written = json.loads((tmp_path / "out.json").read_text())
    assert written == v1()
    assert list(written) == list(v1())


def test_train_and_val_are_splits_and_stay_two_files(tmp_path: Path) -> None:
    train = v1("train")
    train["images"] = [
        {**i, "id": n, "coco_url": f"http://x/train2017/{n}.jpg"}
        for n, i in enumerate(train["images"], 1)
    ]
    train["annotations"] = []
    # The same classes by other ids.
    ids = {3: 30, 12: 120, 7: 70}
    train["categories"] = [{**c, "id": ids[c["id"]]} for c in CATEGORIES]
    for image in train["images"]:
        for key in ("neg_category_ids", "not_exhaustive_category_ids"):
            image[key] = [ids[i] for i in image[key]]
    placed(tmp_path / "in", train, "lvis_v1_train.json")
    placed(tmp_path / "in", v1())
    found = granum.read(tmp_path / "in")
    assert [s.split for s in found] == ["train", "train", "val", "val"]
    assert labels(found, 0) == labels(found, 2) != []
    granum.write(found, tmp_path / "out", "lvis")
    assert json.loads((tmp_path / "out/lvis_v1_train.json").read_text()) == train
    assert json.loads((tmp_path / "out/lvis_v1_val.json").read_text()) == v1()


def test_edited_rows_are_what_is_written(tmp_path: Path) -> None:
    found = granum.read(placed(tmp_path, v1()))

    def keep(table: Any) -> Any:
        absent = table["present"].to_pylist()
        return [a is not False for a in absent]

    granum.write(found.filter_annotations(keep), tmp_path / "out.json", "lvis")
    image = json.loads((tmp_path / "out.json").read_text())["images"][0]
    assert image["neg_category_ids"] == []
    assert image["not_exhaustive_category_ids"] == [3]


def test_labels_for_records_that_had_no_list(tmp_path: Path) -> None:
    document = v1()
    del document["images"][1]["neg_category_ids"]
    found = granum.read(placed(tmp_path, document))
    granum.write(found, tmp_path / "same.json", "lvis")
    assert json.loads((tmp_path / "same.json").read_text()) == document
    samples = [s.row for s in found]
    for sample, view in zip(samples, found, strict=True):
        sample.annotations = view.annotations
    samples[1].annotations.append(Annotation("label", 2, present=False))
    made = granum.Dataset.from_rows(samples, CATEGORIES_AS_ROWS)
    meta = replace(made.meta, shapes=found.meta.shapes)
    more = granum.Dataset(made.parts, found.categories, None, found.sources, meta)
    granum.write(more, tmp_path / "more.json", "lvis")
    written = json.loads((tmp_path / "more.json").read_text())
    assert written["images"][0] == document["images"][0]
    assert written["images"][1]["neg_category_ids"] == [7]
    assert labels(granum.read(tmp_path / "more.json"), 1) == [("cup", False, None)]


CATEGORIES_AS_ROWS = [Category(str(c["name"]), source_id=str(c["id"])) for c in CATEGORIES]


def test_a_dataset_of_another_origin(tmp_path: Path) -> None:
    one = Sample("a.jpg", Media("a.jpg"), 10, 10)
    one.annotations = [
        Annotation("label", 1, present=False),
        Annotation("label", 0, exhaustive=False),
        Annotation("object", 0, bbox=(1.0, 1.0, 2.0, 2.0)),
    ]
    listed = [Category("cat", attributes={"frequency": "f", "hue": 3}), Category("dog")]
    dataset = granum.Dataset.from_rows([one], listed)
    granum.write(dataset, tmp_path / "out.json", "lvis")
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["images"][0]["neg_category_ids"] == [2]
    assert written["images"][0]["not_exhaustive_category_ids"] == [1]
    assert written["categories"][0] == {
        "id": 1, "name": "cat", "frequency": "f", "attributes": {"hue": 3},
    }  # fmt: skip
    assert len(written["annotations"]) == 1
    assert sniff(tmp_path / "out.json").keys() == {"lvis"}
    assert labels(granum.read(tmp_path / "out.json")) == [
        ("dog", False, None),
        ("cat", None, False),
    ]


def test_what_no_list_can_say_is_refused(tmp_path: Path) -> None:
    one = Sample("a.jpg", annotations=[Annotation("label", 0, present=False, score=0.5)])
    dataset = granum.Dataset.from_rows([one], [Category("cat")])
    with pytest.raises(LossError, match="score"):
        granum.write(dataset, tmp_path / "out.json", "lvis")
    assert not (tmp_path / "out.json").exists()


def test_ids_that_are_no_category(tmp_path: Path) -> None:
    document = v1(neg_category_ids=[7, 99])
    path = placed(tmp_path, document)
    with pytest.raises(FindingsError) as caught:
        granum.read(path)
    (fault,) = caught.value.findings.items
    assert (fault.code, fault.path, fault.place) == (
        "orphan-category",
        "lvis_v1_val.json",
        "/images/0/neg_category_ids",
    )
    found = granum.read(path, on_error="skip")
    assert labels(found)[0] == ("cup", False, None)
    granum.write(found, tmp_path / "out.json", "lvis")
    assert json.loads((tmp_path / "out.json").read_text()) == document


def test_a_list_that_is_none(tmp_path: Path) -> None:
    document = v1(not_exhaustive_category_ids="3")
    path = placed(tmp_path, document)
    found = granum.validate(path)
    assert [(f.code, f.place) for f in found.findings.items] == [
        ("bad-value", "/images/0/not_exhaustive_category_ids")
    ]
    granum.write(granum.read(path, on_error="skip"), tmp_path / "out.json", "lvis")
    assert json.loads((tmp_path / "out.json").read_text()) == document


def test_coco_keeps_the_lists_as_they_are(tmp_path: Path) -> None:
    found = granum.read(placed(tmp_path, v1()), format="coco", on_error="skip")
    granum.write(found, tmp_path / "out.json", "coco")
    assert json.loads((tmp_path / "out.json").read_text()) == v1()


def test_pycocotools_reads_what_is_written(tmp_path: Path) -> None:
    found = granum.read(placed(tmp_path, v1()))
    granum.write(found, tmp_path / "out.json", "lvis")
    reference = COCO(str(tmp_path / "out.json"))
    assert sorted(reference.imgs) == [9, 391895]
    assert [c["name"] for c in reference.loadCats([3, 12, 7])] == found.category_names()
    assert [a["bbox"] for a in reference.loadAnns(reference.getAnnIds(catIds=[3]))] == [
        [1, 2, 4, 6],
        [1, 2, 4, 6],
    ]


def test_real_data(tmp_path: Path) -> None:
    path = shared("lvis_val_100/lvis_val_100.json")
    assert sniff(path).keys() == {"lvis"}
    found = granum.read(path)
    table = found.annotations(["kind", "category", "present", "exhaustive"])
    kinds = table["kind"].to_pylist()
    assert (len(found), kinds.count("object"), len(found.categories)) == (100, 977, 1230)
    objects = [
        c for c, k in zip(table["category"].to_pylist(), kinds, strict=True) if k == "object"
    ]
    assert len({*objects}) == 190
    assert table["present"].to_pylist().count(False) == 942
    assert table["exhaustive"].to_pylist().count(False) == 16
    assert found[0].key == "COCO_val2014_000000266409.jpg"
    granum.write(found, tmp_path / "out.json", "lvis")
    assert json.loads((tmp_path / "out.json").read_text()) == json.loads(path.read_text())
