"""Writing YOLO trees."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from granum.errors import LossError
from granum.schema.geometry import rle_encode_counts
from granum.schema.rows import Annotation, Category, Rle, Sample
from granum.store.dataset import Dataset
from tests.loaders.yolo_trees import (
    PEOPLE,
    annotations,
    data,
    keys,
    labels,
    made,
    read,
    tree,
    write,
)

RING = [10.0, 10.0, 50.0, 10.0, 50.0, 40.0]


# ---------------------------------------------------------------------- golden


def test_detect(tmp_path: Path) -> None:
    dataset = Dataset.from_rows(
        [
            Sample(
                "sub/a.jpg",
                width=100,
                height=80,
                split="train",
                annotations=[
                    Annotation(category=1, bbox=(10, 20, 30, 40)),
                    Annotation(category=0, bbox=(0, 0, 100, 80)),
                ],
            ),
            Sample("b.png", width=10, height=10, split="val"),
        ],
        PEOPLE,
    )
    report = write(dataset, tmp_path / "y")
    assert report.lost_names() == {}
    assert labels(tmp_path / "y", "train/sub/a") == "1 0.25 0.5 0.3 0.5\n0 0.5 0.5 1 1\n"
    assert labels(tmp_path / "y", "val/b") == ""
    assert data(tmp_path / "y") == {
        "train": "images/train",
        "val": "images/val",
        "names": {0: "person", 1: "dog"},
    }
    listed = (tmp_path / "y/images.txt").read_text()
    assert listed == "./images/train/sub/a.jpg\n./images/val/b.png\n"
    back = read(tmp_path / "y")
    assert keys(back) == ["sub/a.jpg", "b.png"]
    assert back.categories["supercategory"].to_pylist() == ["life", None]
    assert back.categories["source_id"].to_pylist() == ["1", None]


def test_seg(tmp_path: Path) -> None:
    dataset = made(
        Annotation(category=0, polygons=[[RING]], bbox=(10, 10, 40, 30)),
        Annotation(category=1, bbox=(20, 20, 30, 40)),
    )
    assert write(dataset, tmp_path / "y").lost_names() == {}
    assert labels(tmp_path / "y") == (
        "0 0.1 0.125 0.5 0.125 0.5 0.5\n"
        # A box among polygons is a closed rectangle: trainers take "1 0.35 0.5 0.3 0.5" for two
        # points.
        "1 0.2 0.25 0.5 0.25 0.5 0.75 0.2 0.75 0.2 0.25\n"
    )
    ring, box = annotations(read(tmp_path / "y"), "a.jpg")
    assert ring.polygons == [[[0.1, 0.125, 0.5, 0.125, 0.5, 0.5]]]
    assert ring.bbox == (0.1, 0.125, 0.4, 0.375)
    assert (box.polygons, box.bbox) == (None, (0.2, 0.25, 0.3, 0.5))


def test_pose(tmp_path: Path) -> None:
    points = Category("person", keypoints=["nose", "left_eye", "right_eye"], skeleton=[[0, 1]])
    dataset = made(
        Annotation(category=0, bbox=(10, 20, 30, 40), keypoints=[20, 40, 2, 30, 60, 1, 0, 0, 0]),
        Annotation(category=0, bbox=(0, 0, 100, 80)),
        Annotation(category=0, bbox=(0, 0, 100, 80), keypoints=[0.0] * 9),
        categories=[points],
    )
    assert write(dataset, tmp_path / "y").lost_names() == {}
    assert labels(tmp_path / "y") == (
        "0 0.25 0.5 0.3 0.5 0.2 0.5 2 0.3 0.75 1 0 0 0\n"
        "0 0.5 0.5 1 1 -0 -0 -0 -0 -0 -0 -0 -0 -0\n"
        "0 0.5 0.5 1 1 0 0 0 0 0 0 0 0 0\n"
    )
    assert data(tmp_path / "y")["kpt_shape"] == [3, 3]
    assert data(tmp_path / "y")["flip_idx"] == [0, 2, 1]
    back = read(tmp_path / "y")
    assert [a.keypoints for a in annotations(back, "a.jpg")] == [
        [0.2, 0.5, 2, 0.3, 0.75, 1, 0, 0, 0],
        None,
        [0] * 9,
    ]
    assert back.categories["skeleton"].to_pylist() == [[[0, 1]]]


def test_flips_come_back_from_the_source(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "x",
        {
            "data.yaml": "train: images\nnames: [a]\nkpt_shape: [2, 3]\nflip_idx: [1, 0]\n",
            "labels/a.txt": "0 0.5 0.5 1 1 0.5 0.5 2 0.25 0.25 1\n",
        },
    )
    write(read(root), tmp_path / "y")
    assert data(tmp_path / "y")["flip_idx"] == [1, 0]


def test_obb(tmp_path: Path) -> None:
    """A box of 40 x 20 about (50, 40), turned by a quarter: its first corner is at the top
    right, x = 50 + 10, y = 40 - 20."""
    dataset = made(Annotation(category=0, bbox=(30, 30, 40, 20), angle=math.pi / 2))
    with pytest.raises(LossError) as caught:
        write(dataset, tmp_path / "y")
    assert caught.value.refused == ["angle", "bbox"]
    write(dataset, tmp_path / "y", "angle", "bbox")
    numbers = [float(n) for n in labels(tmp_path / "y").split()]
    wanted = [0, 0.6, 0.25, 0.6, 0.75, 0.4, 0.75, 0.4, 0.25]
    assert numbers == pytest.approx(wanted, abs=1e-12)
    back = annotations(read(tmp_path / "y"), "a.jpg")[0]
    assert back.polygons is not None and back.polygons[0][0] == numbers[1:]


def test_obb_of_four_corners_is_kept(tmp_path: Path) -> None:
    corners = [10.0, 10.0, 50.0, 20.0, 45.0, 40.0, 5.0, 30.0]
    dataset = made(
        Annotation(category=0, polygons=[[corners]], shape_kind="rectangle"),
        Annotation(category=1, polygons=[[corners]], shape_kind="rectangle"),
    )
    assert write(dataset, tmp_path / "y").lost_names() == {}
    assert labels(tmp_path / "y").splitlines()[0] == "0 0.1 0.125 0.5 0.25 0.45 0.5 0.05 0.375"
    assert [a.shape_kind for a in annotations(read(tmp_path / "y"), "a.jpg")] == ["rectangle"] * 2


def test_obb_tells_boxes_from_corners(tmp_path: Path) -> None:
    """A box comes back as a box; a mask is not taken for kept where its box stands."""
    mask = Rle((80, 100), rle_encode_counts([80 * 10 + 10, 20, 80 * 89 + 50]))
    dataset = made(
        Annotation(category=0, bbox=(10, 20, 30, 40)),
        Annotation(category=0, bbox=(10, 10, 1, 20), rle=mask),
    )
    report = write(dataset, tmp_path / "y", "mask", task="obb")
    assert report.lost_names() == {"mask": 1}
    assert labels(tmp_path / "y").splitlines()[0] == "0 0.1 0.25 0.4 0.25 0.4 0.75 0.1 0.75"
    boxes = [a.bbox for a in annotations(read(tmp_path / "y"), "a.jpg")]
    assert boxes[0] == pytest.approx((0.1, 0.25, 0.3, 0.5), abs=1e-15)


def test_scores_only_where_asked_for(tmp_path: Path) -> None:
    dataset = made(
        Annotation(category=0, bbox=(0, 0, 50, 40), score=0.125),
        Annotation(category=0, bbox=(0, 0, 50, 40)),
    )
    with pytest.raises(LossError, match="score"):
        write(dataset, tmp_path / "y")
    write(dataset, tmp_path / "y", conf=True)
    assert labels(tmp_path / "y") == "0 0.25 0.25 0.5 0.5 0.125\n0 0.25 0.25 0.5 0.5\n"
    whole = made(Annotation(category=0, bbox=(0, 0, 50, 40), score=7.0))
    write(whole, tmp_path / "z", conf=True)
    assert annotations(read(tmp_path / "z"), "a.jpg")[0].score == 7.0  # no track


@pytest.mark.parametrize(
    ("annotation", "task"),
    [
        (Annotation(category=0, bbox=(1, 2, 3, 4)), "detect"),
        (Annotation(category=0, bbox=(1, 2, 3, 4), polygons=[[RING]]), "seg"),
        (Annotation(category=0, bbox=(1, 2, 3, 4), angle=0.5, polygons=[[RING]]), "obb"),
        (Annotation(category=0, bbox=(1, 2, 3, 4), angle=0.5, keypoints=[1, 2, 2]), "pose"),
        (Annotation(category=0, polygons=[[[0, 0, 9, 1, 8, 9, 0, 8]]]), "seg"),
    ],
)
def test_the_data_choose_the_task(tmp_path: Path, annotation: Annotation, task: str) -> None:
    write(made(annotation), tmp_path / "y", "all")
    notes = yaml.safe_load((tmp_path / "y/granum.yaml").read_text())
    assert notes["task"] == task


# ---------------------------------------------------------------------- losses


def test_coco_instances_need_three_names(tmp_path: Path) -> None:
    mask = Rle((80, 100), rle_encode_counts([80 * 10 + 10, 20, 80 * 89 + 50]))
    dataset = made(
        Annotation(category=0, bbox=(10, 10, 40, 30), polygons=[[RING]], crowd=False, area=600.0),
        Annotation(category=0, bbox=(10, 10, 1, 20), rle=mask, crowd=True, area=20.0),
        Annotation(
            category=1,
            bbox=(10, 10, 60, 60),
            polygons=[[RING], [[60.0, 60.0, 70.0, 60.0, 70.0, 70.0]]],
            crowd=False,
            extra={"x": 1},
        ),
    )
    with pytest.raises(LossError) as caught:
        write(dataset, tmp_path / "y")
    assert caught.value.refused == ["attributes", "crowd", "mask"]
    for task in (None, "detect"):
        target = tmp_path / str(task)
        report = write(dataset, target, "mask", "crowd", "attributes", task=task)
        assert report.lost_names()["mask"] == (2 if task is None else 3)
        assert len(labels(target).splitlines()) == 3
    back = annotations(read(tmp_path / "None"), "a.jpg")
    assert [a.polygons is None for a in back] == [False, True, True]
    assert back[1].bbox == pytest.approx((0.1, 0.125, 0.01, 0.25), abs=1e-15)


def test_crowds_may_be_left_out(tmp_path: Path) -> None:
    dataset = made(
        Annotation(category=0, bbox=(0, 0, 50, 40), crowd=True),
        Annotation(category=0, bbox=(0, 0, 50, 40), crowd=False),
    )
    with pytest.raises(LossError) as caught:
        write(dataset, tmp_path / "y", "crowd", skip_crowd=True)
    assert caught.value.refused == ["bbox", "category", "object"]
    write(dataset, tmp_path / "y", "crowd", "object", "bbox", "category", skip_crowd=True)
    assert labels(tmp_path / "y").count("\n") == 1
    write(dataset, tmp_path / "z", "crowd")
    assert labels(tmp_path / "z").count("\n") == 2


def test_boxes_beyond_the_image_are_cut(tmp_path: Path) -> None:
    """Trainers leave out an image with a coordinate beyond 1.01."""
    dataset = made(
        Annotation(category=0, bbox=(-50, 0, 200, 40)),
        Annotation(category=0, bbox=(-1, 0, 50, 40)),  # its centre and size are within
        Annotation(category=0, bbox=(300, 0, 20, 40)),
        Annotation(category=0, bbox=(0, 0, math.nan, 40)),
    )
    with pytest.raises(LossError) as caught:
        write(dataset, tmp_path / "y")
    assert set(caught.value.refused) >= {"bbox", "object"}
    write(dataset, tmp_path / "y", "all")
    assert labels(tmp_path / "y") == "0 0.5 0.25 1 0.5\n0 0.24 0.25 0.5 0.5\n"


def test_what_has_no_class_is_lost(tmp_path: Path) -> None:
    listed = [Category("run", space="action"), Category("person"), Category("dog", space=None)]
    dataset = made(
        Annotation(category=0, bbox=(0, 0, 50, 40)),
        Annotation(category=1, bbox=(0, 0, 50, 40)),
        Annotation(category=2, bbox=(0, 0, 50, 40)),
        Annotation(bbox=(0, 0, 50, 40)),
        categories=listed,
    )
    with pytest.raises(LossError, match="object"):
        write(dataset, tmp_path / "y")
    write(dataset, tmp_path / "y", "all")
    assert [line[0] for line in labels(tmp_path / "y").splitlines()] == ["0", "1"]
    assert data(tmp_path / "y")["names"] == {0: "person", 1: "dog"}
    back = read(tmp_path / "y")
    assert back.category_names() == ["run", "person", "dog"]
    assert back.categories["space"].to_pylist() == ["action", "object", None]
    assert back[0].labels == ["person", "dog"]
