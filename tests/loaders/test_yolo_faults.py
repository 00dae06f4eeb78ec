"""Faults in YOLO trees, recognition, and real trees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from granum.errors import FindingsError, FormatError
from granum.loaders.yolo import Yolo
from tests.data import shared
from tests.loaders.yolo_trees import DATA, annotations, keys, places, read, splits, take, tree

# ---------------------------------------------------------------------- findings

BAD = (
    "0 0.5 0.5 1 1\n"  # 1: right
    "0 0.5 x 1 1\n"
    "0 0.5 0.5 1\n"
    "7 0.5 0.5 1 1\n"
    "0.5 0.5 0.5 1 1\n"
    "-1 0.5 0.5 1 1\n"
    "\n"
    "0 0.5 1.2 1 1\n"
    "0 nan 0.5 1 1\n"
    "1 1.005 -0.005 0.5 0.5\n"  # 10: within what trainers tolerate
    "0 0.5 0.5 1 1\n"
    "0 0.5 0.5 0.1 1e999\n"
)
ONE = "train: images/train\nnames: [person, dog]\n"
FAULTS = [
    ("bad-value", 2),
    ("bad-value", 3),
    ("unknown-class", 4),
    ("bad-value", 5),
    ("bad-value", 6),
    ("value-out-of-range", 8),
    ("bad-value", 9),
    ("duplicate-row", 11),
    ("bad-value", 12),
]


@pytest.mark.parametrize("on_error", ["fail", "skip", "fix"])
def test_every_fault_has_its_line(tmp_path: Path, on_error: str) -> None:
    root = tree(
        tmp_path,
        {"data.yaml": ONE, "images/train/a.jpg": "", "labels/train/a.txt": BAD},
    )
    if on_error == "fail":
        with pytest.raises(FindingsError) as caught:
            take(root, on_error)
        findings = caught.value.findings
    else:
        dataset, intake = take(root, on_error)
        findings = intake.findings
        kept = [a.ordinal for a in annotations(dataset, "images/train/a.jpg")]
        fixed = [[0], [3], [7], [9], [10]]
        assert kept == (fixed if on_error == "fix" else [[0], [9], [10]])
        if on_error == "fix":
            assert dataset.category_names() == ["person", "dog", "7"]
            clipped = annotations(dataset, "images/train/a.jpg")[2]
            assert clipped.bbox == (0.0, 0.5, 1.0, 0.5)  # the centre, and then the box itself
    found = [(f.code, f.path, f.place) for f in findings.items if f.code != "box-outside-image"]
    wanted = [(code, "labels/train/a.txt", f"line {n}") for code, n in FAULTS]
    assert sorted(found, key=str) == sorted(wanted, key=str)


def test_messages_tell_what_stands_there(tmp_path: Path) -> None:
    root = tree(tmp_path, {"data.yaml": ONE, "labels/train/a.txt": BAD})
    _, intake = take(root, "skip")
    told = {f.place: f.message for f in intake.findings.items}
    assert told["line 2"] == "'x' is no number"
    assert told["line 3"] == "4 columns; a row of task detect has 5 (6 with a confidence)"
    assert told["line 4"] == "class 7 has no name"
    assert told["line 9"] == "'nan' is no number"
    assert "1.2" in told["line 8"]


def test_general_checks_name_the_line_too(tmp_path: Path) -> None:
    text = "\n0 0.5 0.5 0.5 -0.005\n"
    root = tree(
        tmp_path,
        {
            "data.yaml": ONE,
            "images/train/0.jpg": "",
            "images/train/a.jpg": "",
            "labels/train/a.txt": text,
        },
    )
    _, intake = take(root, "skip")
    assert places(intake) == [("negative-box", "labels/train/a.txt", "line 2")]


def test_rows_of_another_task_are_told(tmp_path: Path) -> None:
    text = "0 0.5 0.5 1 1\n0 0 0 1 0 1 1\n"
    root = tree(tmp_path, {"data.yaml": ONE, "labels/train/a.txt": text})
    _, intake = take(root, "skip", task="detect")
    assert places(intake) == [("bad-value", "labels/train/a.txt", "line 2")]


def test_what_lists_do_not_name(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "data.yaml": DATA + "test: images/test\n",
            "images/train/a.jpg": "",
            "images/val/b.jpg": "",
            "labels/train/alone.txt": "0 0.5 0.5 1 1\n",
            "images/extra/c.jpg": "",
            "labels/extra/c.txt": "0 0.5 0.5 1 1\n",
            "preview.png": "",
        },
    )
    dataset, intake = take(root)
    assert splits(dataset) == {
        "images/train/a.jpg": "train",
        "images/train/alone.jpg": "train",
        "images/val/b.jpg": "val",
        "images/extra/c.jpg": None,
    }
    assert places(intake) == [
        ("unlisted-image", "labels/train/alone.txt", None),
        ("missing-split", "data.yaml", "test"),
        ("unlisted-image", "images/extra/c.jpg", None),
    ]
    assert not intake.findings.errors


def test_one_folder_for_two_splits(tmp_path: Path) -> None:
    root = tree(
        tmp_path, {"data.yaml": "train: images\nval: images\nnames: [a]\n", "images/1.jpg": ""}
    )
    dataset, intake = take(root)
    assert splits(dataset) == {"images/1.jpg": "train"}
    assert places(intake) == [("conflicting-records", "data.yaml", "val")]


def test_counts_and_names_that_disagree(tmp_path: Path) -> None:
    root = tree(
        tmp_path, {"data.yaml": "train: images\nnc: 3\nnames: [a, a]\n", "images/1.jpg": ""}
    )
    _, intake = take(root)
    assert places(intake) == [
        ("conflicting-records", "data.yaml", "nc"),
        ("duplicate-category-name", "data.yaml", "names"),
    ]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("train: images\nnames:\n  - a\n bad\n", "line"),
        ("train: images\nnames:\n  x: a\n", "names"),
        ("train: images\nnames:\n  0: a\n  0: b\n", "line 4"),
        ("train: images\nnames: [[a]]\n", "names"),
        ("train: {a: b}\nnames: [a]\n", "train"),
        ("train: images\nnames: [a]\nkpt_shape: [17]\n", "kpt_shape"),
        ("train: images\nnames: [a]\nkpt_shape: [17, 4]\n", "kpt_shape"),
        ("a: &a [x, x]\ntrain: images\nnames: [*a, *a]\n", "line 3"),
        ("[]\n", "data.yaml"),
    ],
)
def test_a_broken_data_file_is_told(tmp_path: Path, text: str, where: str) -> None:
    root = tree(tmp_path, {"data.yaml": text})
    with pytest.raises(FormatError, match=where) as caught:
        read(root)
    assert "data.yaml" in str(caught.value)


def test_paths_stay_inside(tmp_path: Path) -> None:
    tree(tmp_path, {"secret/images/1.jpg": "", "secret/labels/1.txt": "0 0.5 0.5 1 1"})
    root = tree(
        tmp_path / "root",
        {
            "data.yaml": "train: ../secret/images\nval: list.txt\nnames: [a]\n",
            "list.txt": "../secret/images/1.jpg\n/../../secret/images/1.jpg\n/\n",
        },
    )
    dataset, intake = take(root, "skip")
    assert keys(dataset) == ["secret/images/1.jpg"]  # below the root, where nothing is
    assert dataset.num_annotations == 0
    assert ("missing-split", "data.yaml", "train") in places(intake)
    assert ("bad-value", "list.txt", "line 3") in places(intake)


# ---------------------------------------------------------------------- recognition

ROW = "0 0.5 0.5 1 1"
BESIDE: dict[str, str | bytes] = {"own/a.jpg": "", "own/a.txt": ROW}


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"data.yaml": DATA}, "data.yaml"),
        ({"coco8.yml": "path: x\ntrain:\n  - images\nnc: 3\n"}, "coco8.yml"),
        ({"obj.data": "train = a\nnames = b\n"}, "obj.data"),
        ({"train/labels/a.txt": "0 0.5 0.5 1 1"}, "a.txt"),
        ({"Annotations/a.txt": "0 0.5 0.5 1 1"}, "a.txt"),
        ({"a.jpg": "", "a.txt": "0 0.5 0.5 1 1"}, "a.txt"),
        ({"data.yaml": "nc: 1\nnames: [x]\n", "a.txt": "0 0.5 0.5 1 1"}, "a.txt"),
        ({"config.yaml": "train:\n  images: a\nclasses:\n  0: x\n"}, None),
        ({"a.jpg": "", "a.txt": "a photo of a dog"}, None),
        ({"labels/a.txt": "Car 0 0 0 1 2 3 4"}, None),
        ({"labels/a.txt": "1 10 20 30 40"}, None),
        ({"gt/gt.txt": "1,1,10,10,5,5,1,-1,-1,-1"}, None),
        ({"b.txt": "0 0.5 0.5 1 1"}, None),
        ({"labels/classes.txt": "1 0.5 0.5 1 1"}, None),
        # One of several datasets that lie beside each other, and one that only looks like it.
        ({**BESIDE, "coco/train/b.jpg": "", "coco/train/b.json": "{}"}, None),
        ({**BESIDE, "coco/train/b.json": "{}"}, "a.txt"),
        ({**BESIDE, "coco/b.jpg": "", "annotations/b.json": "{}"}, "a.txt"),
        ({**BESIDE, "obj.names": "x", "coco/b.jpg": "", "coco/b.json": "{}"}, "a.txt"),
        ({"train/a.jpg": "", "train/a.txt": ROW, "coco/b.jpg": "", "coco/b.xml": ""}, "a.txt"),
    ],
)
def test_sniffs(tmp_path: Path, files: dict[str, str | bytes], reason: str | None) -> None:
    why = Yolo().sniff(tree(tmp_path / "x", files))
    assert (why is None) if reason is None else (why is not None and reason in why), why


def test_a_folder_of_several_datasets_is_not_one() -> None:
    for name in ("kaggle_dataset", "roboflow_dataset"):
        assert Yolo().sniff(shared("format_fixtures") / name) is None


def test_sniffs_files(tmp_path: Path) -> None:
    tree(tmp_path, {"some.yaml": DATA, "other.yaml": "a: 1\n", "a.txt": "0 0.5 0.5 1 1"})
    assert Yolo().sniff(tmp_path / "some.yaml")
    assert Yolo().sniff(tmp_path / "other.yaml") is None
    assert Yolo().sniff(tmp_path / "a.txt") is None


# ---------------------------------------------------------------------- real trees


@pytest.mark.parametrize(
    ("name", "samples", "count", "classes"),
    [
        ("format_fixtures/yolo_dataset/strict", 1, 2, 10),
        ("format_fixtures/yolo_dataset/labels", 2, 4, 10),
        ("format_fixtures/yolo_dataset/annotations", 1, 2, 10),
        ("format_fixtures/kaggle_dataset/relaxed_yolo", 2, 4, 5),
        ("format_fixtures/roboflow_dataset/yolo", 3, 4, 2),
        ("format_fixtures/roboflow_dataset/yolo_obb", 3, 4, 2),
        ("coco128/object_detection", 98, 741, 80),
        ("coco128/instance_segmentation", 100, 746, 80),
        ("voc100/gts/yolo_format", 100, 273, 20),
    ],
)
def test_fixtures(name: str, samples: int, count: int, classes: int) -> None:
    root = shared(name)
    assert Yolo().sniff(root)
    dataset, intake = take(root)
    found = (len(dataset), dataset.num_annotations, dataset.categories.num_rows)
    assert found == (samples, count, classes)
    assert not intake.findings.errors


def test_images_that_have_no_labels_count(tmp_path: Path) -> None:
    root = shared("coco128/object_detection")
    dataset, _ = take(root, images=shared("coco128"))
    assert len(dataset) == 100
    assert sum(not d.annotations for d in dataset) == 2
    assert dataset[0].image().size == dataset[0].size


def test_boxes_agree_with_coco() -> None:
    """The same 273 boxes as the COCO file beside, to its half pixel of rounding."""
    root = shared("voc100")
    dataset, _ = take(root / "gts/yolo_format", images=root / "images")
    coco: dict[str, list[list[float]]] = {}
    for path in sorted((root / "gts/coco_format_v1").glob("*.json")):
        record = json.loads(path.read_text())
        names = {i["id"]: i["file_name"] for i in record["images"]}
        for a in record["annotations"]:
            coco.setdefault(names[a["image_id"]], []).append(a["bbox"])
    compared = 0
    for sample in dataset:
        boxes = sorted(sample.boxes("xywh").tolist())
        wanted = sorted(coco.get(Path(sample.key).name, []))
        assert len(boxes) == len(wanted), sample.key
        for one, two in zip(boxes, wanted, strict=True):
            assert max(abs(x - y) for x, y in zip(one, two, strict=True)) <= 1.01, sample.key
            compared += 1
    assert compared == 273


def test_images_are_not_opened(tmp_path: Path) -> None:
    root = tree(tmp_path, {"data.yaml": DATA, "images/train/a.jpg": b"no image at all"})
    assert len(read(root)) == 1
