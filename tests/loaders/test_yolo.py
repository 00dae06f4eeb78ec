"""Reading YOLO trees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from granum.errors import FormatError
from granum.store.dataset import Dataset
from tests.loaders.yolo_trees import DATA, annotations, keys, places, read, splits, take, tree


def source_of(dataset: Dataset) -> dict[str, Any]:
    row = dataset.sources.to_pylist()[0]
    return {**row, "options": json.loads(row["options"])}


# ---------------------------------------------------------------------- tasks, typed by hand


def test_detect(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "data.yaml": DATA,
            "images/train/a.jpg": "",
            "labels/train/a.txt": "1 0.5 0.25 0.5 0.125\n0 0.75 0.5 0.25 1\n",
            "images/train/empty.jpg": "",
            "labels/train/empty.txt": "",
            "images/train/without.jpg": "",
            "images/val/b.png": "",
            "labels/val/b.txt": "0 0.5 0.5 1 1",
        },
    )
    dataset, intake = take(root)
    assert splits(dataset) == {
        "images/train/a.jpg": "train",
        "images/train/empty.jpg": "train",
        "images/train/without.jpg": "train",
        "images/val/b.png": "val",
    }
    first, second = annotations(dataset, "images/train/a.jpg")
    assert first.bbox == (0.25, 0.1875, 0.5, 0.125)
    assert second.bbox == (0.625, 0.0, 0.25, 1.0)
    assert (first.category, second.category) == (1, 0)
    assert (first.kind, first.score, first.polygons, first.crowd) == ("object", None, None, None)
    assert dataset.category_names() == ["person", "dog"]
    assert dataset.categories["source_id"].to_pylist() == ["0", "1"]
    assert annotations(dataset, "images/train/empty.jpg") == []
    assert annotations(dataset, "images/train/without.jpg") == []
    sample = dataset["images/val/b.png"].row
    assert sample.unit == "relative"
    assert sample.media is not None and sample.media.path == "images/val/b.png"
    assert (sample.width, sample.height) == (None, None)
    assert dataset.meta.media_root == str(root)
    assert source_of(dataset)["path"] == "data.yaml"
    assert source_of(dataset)["options"]["task"] == "detect"
    assert not intake.findings.items


def test_numbers_are_read_in_full(tmp_path: Path) -> None:
    numbers = ["0.1", ".5", "1e-7", "0.30000000000000004", "+0.25", "1.", "0.12345678901234567890"]
    rows = "".join(f"0 {n} {n} {n} {n}\n" for n in numbers)
    read_ = read(tree(tmp_path, {"labels/a.txt": rows}))
    sizes = [a.bbox[3] for a in annotations(read_, "images/a.jpg") if a.bbox]
    assert sizes == [float(n) for n in numbers]


def test_seg_is_polygons_without_boxes(tmp_path: Path) -> None:
    text = "0 0.1 0.2 0.3 0.4 0.5 0.6\n1 0.5 0.5 0.25 0.25\n0 0 0 1 0 1 1 0 1\n"
    root = tree(tmp_path, {"data.yaml": DATA, "labels/train/a.txt": text})
    triangle, box, square = annotations(read(root), "images/train/a.jpg")
    assert triangle.polygons == [[[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]]
    assert triangle.bbox is None
    assert (box.polygons, box.bbox) == (None, (0.375, 0.375, 0.25, 0.25))
    assert square.polygons == [[[0, 0, 1, 0, 1, 1, 0, 1]]]
    assert (square.bbox, square.shape_kind) == (None, None)


@pytest.mark.parametrize("shape", ["kpt_shape: [2, 3]\n", ""])
def test_pose(tmp_path: Path, shape: str) -> None:
    text = "0 0.5 0.5 1 1 0.25 0.5 2 0 0 0\n1 0.5 0.5 0.5 0.5 0.1 0.2 1 0.3 0.4 2\n"
    root = tree(tmp_path, {"data.yaml": DATA + shape, "labels/train/a.txt": text})
    first, second = annotations(read(root), "images/train/a.jpg")
    assert first.keypoints == [0.25, 0.5, 2, 0, 0, 0]
    assert first.bbox == (0, 0, 1, 1)
    assert second.keypoints == [0.1, 0.2, 1, 0.3, 0.4, 2]


def test_pose_of_two_numbers_a_point(tmp_path: Path) -> None:
    names = "kpt_shape: [2, 2]\nkpt_names:\n  0: [nose, tail]\n"
    text = "0 0.5 0.5 1 1 0.25 0.5 0 0\n"
    root = tree(tmp_path, {"data.yaml": DATA + names, "labels/train/a.txt": text})
    dataset = read(root)
    assert annotations(dataset, "images/train/a.jpg")[0].keypoints == [0.25, 0.5, 2, 0, 0, 0]
    assert dataset.categories["keypoints"].to_pylist() == [["nose", "tail"]] * 2


def test_pose_needs_the_number_of_points(tmp_path: Path) -> None:
    text = "0 0.5 0.5 1 1 0.25 0.5 2\n0 0.5 0.5 1 1 0.25 0.5 2 0 0 0\n"
    root = tree(tmp_path, {"data.yaml": DATA, "labels/train/a.txt": text})
    with pytest.raises(FormatError, match="kpt_shape"):
        read(root, task="pose")


def test_obb(tmp_path: Path) -> None:
    text = "1 0.1 0.2 0.3 0.2 0.3 0.4 0.1 0.4\n0 0 0 1 0 1 1 0 1\n"
    root = tree(tmp_path, {"data.yaml": DATA, "labels/train/a.txt": text})
    dataset = read(root)
    first = annotations(dataset, "images/train/a.jpg")[0]
    assert first.polygons == [[[0.1, 0.2, 0.3, 0.2, 0.3, 0.4, 0.1, 0.4]]]
    assert (first.shape_kind, first.bbox, first.angle) == ("rectangle", None, None)
    assert "9 columns" in source_of(dataset)["options"]["why"]
    as_polygons = annotations(read(root, task="seg"), "images/train/a.jpg")[0]
    assert as_polygons.shape_kind is None


def test_the_data_file_names_the_task(tmp_path: Path) -> None:
    text = "1 0.1 0.2 0.3 0.2 0.3 0.4 0.1 0.4\n"
    root = tree(tmp_path, {"data.yaml": DATA + "task: segment\n", "labels/train/a.txt": text})
    assert source_of(read(root))["options"] == {"task": "seg", "why": "the data file says so"}
    tree(tmp_path, {"data.yaml": DATA + "task: classify\n"})
    with pytest.raises(FormatError, match="image_folder"):
        read(root)


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("0 0.5 0.5 1 1 0.75\n1 0.5 0.5 1 1\n", "detect"),
        ("0 0 0 1 0 1 1 0 1 0.75\n1 0 0 1 0 1 1 0 1\n", "obb"),
        ("0 0 0 1 0 1 1 0.75\n1 0 0 1 0 1 1 0 1\n", "seg"),
    ],
)
def test_a_column_more_is_a_score(tmp_path: Path, text: str, task: str) -> None:
    dataset = read(tree(tmp_path, {"labels/a.txt": text}))
    assert source_of(dataset)["options"]["task"] == task
    assert [a.score for a in annotations(dataset, "images/a.jpg")] == [0.75, None]


def test_scores_of_points_are_no_visibilities(tmp_path: Path) -> None:
    text = "0 0.5 0.5 1 1 0.25 0.5 0.9 0 0 0.1 0.875\n"
    root = tree(tmp_path, {"data.yaml": DATA + "kpt_shape: [2, 3]\n", "labels/train/a.txt": text})
    found = annotations(read(root), "images/train/a.jpg")[0]
    assert found.keypoints == [0.25, 0.5, 2, 0, 0, 0]
    assert found.keypoint_scores == [0.9, 0.1]
    assert found.score == 0.875


def test_a_column_more_may_be_a_track(tmp_path: Path) -> None:
    dataset = read(tree(tmp_path, {"labels/a.txt": "0 0.5 0.5 1 1 1\n0 0.5 0.5 1 1 7\n"}))
    found = annotations(dataset, "images/a.jpg")
    assert [(a.track, a.score) for a in found] == [(1, None), (7, None)]


def test_corners_in_pixels_with_names(tmp_path: Path) -> None:
    text = "imagesource:x\ngsd:0.1\n1 2 5 2 5 8 1 8 dog 1\n1.5 2 5 2 5 8 1 8 person 0\n"
    data = "train: ../train/images\nnc: 2\nnames: ['person', 'dog']\n"
    root = tree(
        tmp_path,
        {"data.yaml": data, "train/images/a.jpg": "", "train/labelTxt/a.txt": text},
    )
    dataset = read(root)
    first, second = annotations(dataset, "train/images/a.jpg")
    assert first.polygons == [[[1, 2, 5, 2, 5, 8, 1, 8]]]
    assert (first.category, first.difficult, second.difficult) == (1, True, False)
    assert dataset["train/images/a.jpg"].row.unit == "pixel"
    bad = "1 2 5 2 5 8 1 8 cat 1\n1 2 x 2 5 8 1 8 dog 1\n1 2 5 2 5 8 1 8 dog 3\n1 2\n"
    tree(tmp_path, {"train/labelTxt/a.txt": bad})
    dataset, intake = take(root, "fix")
    assert places(intake) == [
        ("unknown-class", "train/labelTxt/a.txt", "line 1"),
        ("bad-value", "train/labelTxt/a.txt", "line 2"),
        ("bad-value", "train/labelTxt/a.txt", "line 3"),
        ("bad-value", "train/labelTxt/a.txt", "line 4"),
    ]
    assert dataset.category_names() == ["person", "dog", "cat"]
    assert [a.difficult for a in dataset[0].annotations] == [True, None]
    assert len(take(root, "skip")[0][0].annotations) == 0


# ---------------------------------------------------------------------- layouts


def test_roboflow(tmp_path: Path) -> None:
    data = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    root = tree(
        tmp_path,
        {
            "data.yaml": data + "nc: 1\nnames: ['thing']\nroboflow:\n  license: MIT\n",
            "README.dataset.txt": "# hello",
            "train/images/a.jpg": "",
            "train/labels/a.txt": "0 0.5 0.5 1 1",
            "valid/images/a.jpg": "",
            "valid/labels/a.txt": "",
            "test/images/c.jpg": "",
        },
    )
    dataset, intake = take(root)
    assert splits(dataset) == {
        "train/images/a.jpg": "train",
        "valid/images/a.jpg": "val",
        "test/images/c.jpg": "test",
    }
    assert not intake.findings.items
    assert json.loads(source_of(dataset)["top"])["roboflow"] == {"license": "MIT"}


def test_darknet(tmp_path: Path) -> None:
    lists = "\ufeffdata\\obj_train_data\\b 1.jpg\r\n\r\ndata/obj_train_data/ä.jpg  \r\n"
    root = tree(
        tmp_path,
        {
            "obj.data": "classes=2\ntrain = data/train.txt\nvalid=data/test.txt\n"
            "names = data/obj.names\nbackup = backup/\n",
            "obj.names": "\ufeffperson\r\nhot dog\r\n\r\n",
            "train.txt": lists,
            "test.txt": "data/obj_test_data/gone.png\n",
            "obj_train_data/b 1.jpg": "",
            "obj_train_data/b 1.txt": "\ufeff1 0.5 0.5 1 1  \r\n\r\n0 0.5\t0.5 0.5 0.5\r\n",
            "obj_train_data/ä.txt": "0 0.5 0.5 1 1\r1 0.5 0.5 1 1\r",
        },
    )
    dataset, intake = take(root)
    assert splits(dataset) == {
        "obj_train_data/b 1.jpg": "train",
        "obj_train_data/ä.jpg": "train",
        "data/obj_test_data/gone.png": "val",
    }
    assert dataset.category_names() == ["person", "hot dog"]
    assert [a.category for a in annotations(dataset, "obj_train_data/b 1.jpg")] == [1, 0]
    assert len(annotations(dataset, "obj_train_data/ä.jpg")) == 2
    # A list names it, so its path is known though it is not here.
    absent = dataset["data/obj_test_data/gone.png"].row.media
    assert absent is not None and absent.path == "data/obj_test_data/gone.png"
    assert not intake.findings.errors


def test_the_last_images_folder_counts(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "data.yaml": "train: images\nnames: [a]\n",
            "images/x/images/1.jpg": "",
            "images/x/labels/1.txt": "0 0.5 0.5 1 1",
            "labels/x/images/1.txt": "0 0.1 0.1 0.1 0.1\n0 0.2 0.2 0.2 0.2\n",
        },
    )
    dataset, intake = take(root)
    assert len(annotations(dataset, "images/x/images/1.jpg")) == 1
    assert places(intake) == [("file-not-read", "labels/x/images/1.txt", None)]


def test_equal_names_in_nested_folders(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"data.yaml": "train: images\nnames: [a, b, c]\n"}
    for i, folder in enumerate(("", "one/", "one/two/")):
        files[f"images/{folder}1.jpg"] = ""
        files[f"labels/{folder}1.txt"] = f"{i} 0.5 0.5 1 1\n"
    dataset = read(tree(tmp_path, files))
    assert keys(dataset) == ["images/1.jpg", "images/one/1.jpg", "images/one/two/1.jpg"]
    assert [d.annotations[0].category for d in dataset] == [0, 1, 2]


def test_unicode_blanks_and_suffixes(tmp_path: Path) -> None:
    names = ["日本/語 1.JPG", "a.b.c.jpeg", "ü (2).tif", "x.txt.png"]
    files: dict[str, str | bytes] = {"data.yaml": "train: images\nnames: ['日本', 'a: b', '#']\n"}
    for name in names:
        files[f"images/{name}"] = ""
        files[f"labels/{name.rpartition('.')[0]}.txt"] = "2 0.5 0.5 1 1\n"
    dataset = read(tree(tmp_path, files))
    assert sorted(keys(dataset)) == sorted(f"images/{n}" for n in names)
    assert all(len(d.annotations) == 1 for d in dataset)
    assert dataset.category_names() == ["日本", "a: b", "#"]


def test_names_stay_text_and_ids_may_have_gaps(tmp_path: Path) -> None:
    data = "train: images\nnames:\n  7: no\n  1: 1.0\n  3: null\n  20: 2024-01-01\n"
    root = tree(tmp_path, {"data.yaml": data, "labels/a.txt": "7 0.5 0.5 1 1\n20 0.5 0.5 1 1\n"})
    dataset = read(root)
    assert dataset.category_names() == ["1.0", "null", "no", "2024-01-01"]
    assert dataset.categories["source_id"].to_pylist() == ["1", "3", "7", "20"]
    assert dataset[0].labels == ["no", "2024-01-01"]


def test_entries_may_be_lists_files_and_absolute(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "data.yaml": "path: ../datasets/x\ntrain:\n  - images/a\n  - /home/me/x/images/b\n"
            "val: lists/val.txt\ntest: [images/c]\nnames: [a]\n",
            "lists/val.txt": "./../images/d/1.jpg\nC:\\data\\x\\images\\e\\1.jpg\n"
            "/x/y/images/e/2.jpg\n",
            **{f"images/{n}/1.jpg": "" for n in "abcde"},
            "images/e/2.jpg": "",
        },
    )
    dataset, intake = take(root)
    assert splits(dataset) == {
        "images/a/1.jpg": "train",
        "images/b/1.jpg": "train",
        "images/d/1.jpg": "val",
        "images/e/1.jpg": "val",
        "images/e/2.jpg": "val",
        "images/c/1.jpg": "test",
    }
    assert not intake.findings.items


def test_path_is_a_folder_below(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {"data.yaml": "path: ./inner\ntrain: images\nnames: [a]\n", "inner/images/1.jpg": ""},
    )
    assert splits(read(root)) == {"inner/images/1.jpg": "train"}


def test_several_data_files_are_chosen_by_name(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "one.yaml": "train: images/a\nnames: [a]\n",
        "two.yaml": "train: images/b\nnames: [b]\n",
        "images/a/1.jpg": "",
        "images/b/1.jpg": "",
    }
    root = tree(tmp_path, files)
    with pytest.raises(FormatError, match=r"one\.yaml, two\.yaml"):
        read(root)
    dataset = read(root / "two.yaml")
    assert dataset.category_names() == ["b"]
    assert splits(dataset)["images/b/1.jpg"] == "train"


def test_trees_without_a_data_file(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "images/train2017/a.jpg": "",
        "labels/train2017/a.txt": "2 0.5 0.5 1 1\n",
        "images/val2017/b.jpg": "",
        "images/c.jpg": "",
        "readme.txt": "no labels",
    }
    dataset = read(tree(tmp_path / "numbers", files))
    assert dataset.category_names() == ["0", "1", "2"]
    assert splits(dataset) == {
        "images/c.jpg": None,
        "images/train2017/a.jpg": "train2017",
        "images/val2017/b.jpg": "val2017",
    }
    for i, name in enumerate(("obj.names", "classes.txt", "labels/classes.txt")):
        named = read(tree(tmp_path / str(i), {**files, name: "a\nb\nc\n\n"}))
        assert named.category_names() == ["a", "b", "c"]
        assert len(named) == 3


def test_labels_beside_images(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"1.jpg": "", "1.txt": "0 0.5 0.5 1 1", "classes.txt": "x"}
    dataset = read(tree(tmp_path, files))
    assert keys(dataset) == ["1.jpg"]
    assert dataset[0].labels == ["x"]


def test_labels_only(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "x",
        {
            "data.yaml": DATA,
            "labels/train/a.txt": "0 0.5 0.5 1 1",
            "labels/val/b.txt": "",
            "labels/train/readme.txt": "hello",
        },
    )
    dataset, intake = take(root)
    assert splits(dataset) == {"images/train/a.jpg": "train", "images/val/b.jpg": "val"}
    assert dataset["images/train/a.jpg"].row.media is None
    assert not intake.findings.items
    images = tree(tmp_path / "images", {"p/a.png": "", "p/b.jpg": ""})
    dataset, _ = take(root, images=images)
    assert keys(dataset) == ["images/train/a.png", "images/val/b.jpg"]
    media = [d.row.media.path for d in dataset if d.row.media]
    assert media == ["p/a.png", "p/b.jpg"]
    assert dataset.meta.media_root == str(images)


def test_a_flat_folder_of_labels(tmp_path: Path) -> None:
    root = tree(tmp_path / "predictions", {"1.txt": "0 0.5 0.5 1 1 0.5", "2.txt": ""})
    assert keys(read(root)) == ["1.jpg", "2.jpg"]


def test_links_are_followed_once(tmp_path: Path) -> None:
    root = tree(tmp_path / "x", {"data.yaml": "train: images\nnames: [a]\n"})
    tree(tmp_path / "far", {"1.jpg": ""})
    (root / "images").symlink_to(tmp_path / "far")
    (tmp_path / "far/again").symlink_to(tmp_path / "far")
    (tmp_path / "far/up").symlink_to(root)
    assert keys(read(root)) == ["images/1.jpg"]
