"""Where a YOLO tree's files go: names, splits, images; and other tools."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from granum.errors import LossError, SizeUnknownError, UsageError
from granum.loaders.writing import write_dataset
from granum.loaders.yolo import Yolo
from granum.schema.rows import Annotation, Media, Sample
from granum.store.dataset import Dataset
from granum.testing.media import png
from tests.data import shared
from tests.loaders.yolo_trees import (
    PEOPLE,
    data,
    keys,
    labels,
    made,
    read,
    splits,
    take,
    tree,
    write,
)

# ---------------------------------------------------------------------- names and splits


def test_label_files_of_one_stem_stay_apart(tmp_path: Path) -> None:
    names = ["a.jpg", "a.png", "sub/a.jpg", "a.jpeg", "x", "x.jpg"]
    samples = [
        Sample(n, width=10, height=10, annotations=[Annotation(category=0, bbox=(i, 0, 2, 2))])
        for i, n in enumerate(names)
    ]
    write(Dataset.from_rows(samples, PEOPLE), tmp_path / "y")
    listed = (tmp_path / "y/images.txt").read_text().split()
    assert listed == [
        "./images/train/a.jpg",
        "./images/train/_2/a.png",
        "./images/train/sub/a.jpg",
        "./images/train/_3/a.jpeg",
        "./images/train/x.jpg",
        "./images/train/_2/x.jpg",
    ]
    back = read(tmp_path / "y")
    assert keys(back) == names
    boxes = [a.bbox for d in back for a in d.annotations]
    assert [b and b[0] for b in boxes] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_keys_without_a_suffix_come_back(tmp_path: Path) -> None:
    names = ["000000000139", "v1.0", "x.jpg"]
    write(Dataset.from_rows([Sample(n) for n in names], PEOPLE), tmp_path / "y")
    assert (tmp_path / "y/images.txt").read_text().splitlines()[:2] == [
        "./images/train/000000000139.jpg",
        "./images/train/v1.0.jpg",
    ]
    notes = yaml.safe_load((tmp_path / "y/granum.yaml").read_text())
    assert notes["bare"] and notes["keys"] == {"images/train/x.jpg": "x.jpg"}
    assert keys(read(tmp_path / "y")) == names


def test_samples_without_a_split_are_for_training(tmp_path: Path) -> None:
    samples = [Sample(f"{i}.jpg", split=s) for i, s in enumerate([None, "train", "val", "a/b"])]
    write(Dataset.from_rows(samples, PEOPLE), tmp_path / "y")
    assert data(tmp_path / "y") == {
        "train": ["images/unsplit", "images/train"],
        "val": "images/val",
        "a/b": "images/split-2",
        "names": {0: "person", 1: "dog"},
    }
    assert splits(read(tmp_path / "y")) == {
        "0.jpg": None,
        "1.jpg": "train",
        "2.jpg": "val",
        "3.jpg": "a/b",
    }
    write(Dataset.from_rows(samples[:1], PEOPLE), tmp_path / "z")
    assert data(tmp_path / "z")["train"] == "images/train"
    assert splits(read(tmp_path / "z")) == {"0.jpg": None}


@pytest.mark.parametrize(
    "name",
    [
        "format_fixtures/yolo_dataset/labels",
        "format_fixtures/roboflow_dataset/yolo",
        "coco128/object_detection",
        "coco128/instance_segmentation",
    ],
)
def test_a_tree_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    root = shared(name)
    write(take(root, "skip")[0], tmp_path / "y")
    numbers = {int(k): i for i, k in enumerate(_ids(root))}
    compared = 0
    for path in root.rglob("*.txt"):
        if "labels" not in path.parts[len(root.parts) :]:
            continue
        again = tmp_path / "y" / path.relative_to(root)
        before = [line.split() for line in path.read_text().splitlines()]
        after = [line.split() for line in again.read_text().splitlines()]
        assert [numbers.get(int(r[0]), int(r[0])) for r in before] == [int(r[0]) for r in after]
        assert [list(map(float, r[1:])) for r in before] == [list(map(float, r[1:])) for r in after]
        compared += len(before)
    assert compared == len(take(root)[0].annotations())


def _ids(root: Path) -> list[str]:
    return [str(i) for i in take(root)[0].categories["source_id"].to_pylist()]


def test_edited_classes_win_over_the_notes(tmp_path: Path) -> None:
    write(made(Annotation(category=1, bbox=(0, 0, 50, 40))), tmp_path / "y")
    path = tmp_path / "y/data.yaml"
    path.write_text(path.read_text().replace("dog", "wolf"))
    dataset, intake = take(tmp_path / "y")
    assert dataset.category_names() == ["person", "wolf"]
    assert dataset.categories["supercategory"].to_pylist() == [None, None]
    assert [f.code for f in intake.findings.items] == ["conflicting-records"]


def test_images_added_later_are_found(tmp_path: Path) -> None:
    write(made(Annotation(category=1, bbox=(0, 0, 50, 40))), tmp_path / "y")
    tree(tmp_path / "y", {"images/train/0.jpg": "", "labels/train/0.txt": "0 0.5 0.5 1 1"})
    back = read(tmp_path / "y")
    assert keys(back) == ["a.jpg", "0.jpg"]
    assert [len(d.annotations) for d in back] == [1, 1]


# ---------------------------------------------------------------------- images


def test_media_are_placed_where_labels_expect_them(tmp_path: Path) -> None:
    tree(tmp_path / "m", {"p/q.png": png(100, 80)})
    box = Annotation(category=0, bbox=(10, 20, 30, 40))
    samples = [
        Sample("one", Media("p/q.png"), 100, 80, annotations=[box]),
        Sample("two.png", Media(bytes=png(10, 10)), split="val"),
    ]
    dataset = Dataset.from_rows(samples, PEOPLE, media_root=tmp_path / "m")
    write_dataset(dataset, tmp_path / "y", "yolo", media="copy")
    assert (tmp_path / "y/images/train/one.png").read_bytes() == png(100, 80)
    assert (tmp_path / "y/images/val/two.png").read_bytes() == png(10, 10)
    back = read(tmp_path / "y")
    assert keys(back) == ["one", "two.png"]
    assert back["one"].boxes().tolist() == [pytest.approx([10, 20, 30, 40])]


def test_sizes_are_read_from_images_where_unknown(tmp_path: Path) -> None:
    tree(tmp_path / "m", {"a.png": png(100, 80)})
    sample = Sample(
        "a.png", Media("a.png"), annotations=[Annotation(category=0, bbox=(10, 20, 30, 40))]
    )
    dataset = Dataset.from_rows([sample], PEOPLE, media_root=tmp_path / "m")
    batch = next(dataset.iter_batches())
    found = Yolo().project(batch, dataset).annotations["bbox"].to_pylist()
    assert found == [pytest.approx([0.1, 0.25, 0.3, 0.5])]
    with pytest.raises(SizeUnknownError, match=r"a\.png"):
        write(Dataset.from_rows([sample], PEOPLE), tmp_path / "y", "all")
    assert not (tmp_path / "y").exists()


def test_relative_boxes_need_no_sizes(tmp_path: Path) -> None:
    box = Annotation(category=0, bbox=(0.1, 0.25, 0.3, 0.5))
    dataset = Dataset.from_rows([Sample("a.jpg", unit="relative", annotations=[box])], PEOPLE)
    write(dataset, tmp_path / "y")
    assert labels(tmp_path / "y") == "0 0.25 0.5 0.3 0.5\n"
    turned = Annotation(category=0, bbox=(0.1, 0.25, 0.3, 0.5), angle=math.pi / 2)
    sample = Sample("a.jpg", None, 200, 100, unit="relative", annotations=[turned])
    write(Dataset.from_rows([sample], PEOPLE), tmp_path / "z", "all")
    # 60 x 50 pixels about (50, 50), turned by a quarter.
    corners = [float(n) for n in labels(tmp_path / "z").split()[1:]]
    assert corners == pytest.approx([0.375, 0.2, 0.375, 0.8, 0.125, 0.8, 0.125, 0.2])


def test_classify(tmp_path: Path) -> None:
    samples = [
        Sample("x/a.png", Media(bytes=png(2, 2)), split="val", annotations=[_absent(0), _label(1)]),
        Sample("images/train/b.png", Media("b.png"), annotations=[_label(0), _label(1)]),
    ]
    tree(tmp_path / "m", {"b.png": png(3, 3)})
    dataset = Dataset.from_rows(samples, PEOPLE, media_root=tmp_path / "m")
    with pytest.raises(LossError, match="label"):
        write(dataset, tmp_path / "y", task="classify")
    write(dataset, tmp_path / "y", "label", "category", "present", task="classify")
    found = sorted(p.relative_to(tmp_path / "y").as_posix() for p in (tmp_path / "y").rglob("*.*"))
    assert found == ["train/person/b.png", "val/dog/x/a.png"]
    assert (tmp_path / "y/train/dog").is_dir()
    with pytest.raises(UsageError, match="no label"):
        write(Dataset.from_rows([Sample("a")], PEOPLE), tmp_path / "z", "all", task="classify")
    with pytest.raises(UsageError, match="leave out --media"):
        write_dataset(
            dataset,
            tmp_path / "z",
            "yolo",
            allow_loss=["all"],
            media="copy",
            options={"task": "classify"},
        )
    assert not (tmp_path / "z").exists()


def _absent(category: int) -> Annotation:
    return Annotation("label", category=category, present=False)


def _label(category: int) -> Annotation:
    return Annotation("label", category=category)


# ---------------------------------------------------------------------- other tools


def _coco(*arguments: str | Path) -> None:
    command = [str(Path(sys.executable).parent / "coco"), "convert", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def photos(tmp_path: Path) -> Dataset:
    """Three images with boxes, two of one name."""
    samples = []
    for i, key in enumerate(("a.jpg", "b.jpg", "c.jpg")):
        path = tmp_path / "m" / key
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (100 + i, 80)).save(path)
        boxes = [(1.5 * i, 2.25, 30.0, 40.0), (50.0, 0.0, 50.0, 80.0)][: 2 - i]
        listed = [Annotation(category=j, bbox=b) for j, b in enumerate(boxes)]
        samples.append(Sample(key, Media(key), 100 + i, 80, split="train", annotations=listed))
    return Dataset.from_rows(samples, PEOPLE, media_root=tmp_path / "m")


def test_hotcoco_reads_what_we_write(tmp_path: Path, photos: Dataset) -> None:
    pytest.importorskip("hotcoco")
    write_dataset(photos, tmp_path / "y", "yolo", media="copy")
    flat = tree(tmp_path / "flat", {"data.yaml": (tmp_path / "y/data.yaml").read_bytes()})
    for path in (tmp_path / "y/labels/train").iterdir():
        (flat / path.name).write_bytes(path.read_bytes())
    images = tmp_path / "y/images/train"
    out = tmp_path / "coco.json"
    _coco(
        "--from", "yolo", "--to", "coco", "--input", flat, "--output", out, "--images-dir", images
    )
    record = json.loads(out.read_text())
    names = {i["id"]: i["file_name"] for i in record["images"]}
    classes = {c["id"]: c["name"] for c in record["categories"]}
    found = sorted(
        (names[a["image_id"]], classes[a["category_id"]], *(round(v, 6) for v in a["bbox"]))
        for a in record["annotations"]
    )
    assert found == [
        ("a", "dog", 50, 0, 50, 80),
        ("a", "person", 0, 2.25, 30, 40),
        ("b", "person", 1.5, 2.25, 30, 40),
    ]
    assert sorted(names.values()) == ["a", "b", "c"]  # it drops suffixes


def test_we_read_what_hotcoco_writes(tmp_path: Path) -> None:
    pytest.importorskip("hotcoco")
    record = {
        "images": [
            {"id": 1, "file_name": "a.jpg", "width": 100, "height": 80},
            {"id": 2, "file_name": "b.jpg", "width": 50, "height": 50},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 20, 30, 40], "iscrowd": 0}
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    }
    record["annotations"][0]["area"] = 1200
    tree(tmp_path, {"in.json": json.dumps(record)})
    out = tmp_path / "y"
    _coco("--from", "coco", "--to", "yolo", "--input", tmp_path / "in.json", "--output", out)
    assert Yolo().sniff(out)
    dataset, intake = take(out)
    found = {d.key: [(d.labels, a.bbox) for a in d.annotations] for d in dataset}
    ((labels_, bbox),) = found[next(k for k in found if "a." in k)]
    assert labels_ == ["dog"]
    assert bbox == pytest.approx((0.1, 0.25, 0.3, 0.5), abs=1e-6)
    assert not intake.findings.errors


def test_files_are_not_in_the_way_of_folders(tmp_path: Path) -> None:
    names = ["a.txt/1.jpg", "a.jpg", "b.jpg", "b.txt/1.jpg", "c.jpg", "c.jpg/1.jpg"]
    samples = [Sample(n, Media(bytes=png(2, 2))) for n in names]
    dataset = Dataset.from_rows(samples, PEOPLE)
    write_dataset(dataset, tmp_path / "y", "yolo", media="copy")
    assert keys(read(tmp_path / "y")) == names
