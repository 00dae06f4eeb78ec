"""KITTI, from texts typed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import granum
from granum.errors import FindingsError, LossError
from granum.loaders.reading import sniff
from granum.schema.rows import Annotation, Category, LabelMap, Media, Sample
from granum.testing import assert_same
from tests.data import shared

# The first line is the example of KITTI's readme.
TEXT = """Pedestrian 0.00 0 -0.20 712.40 143.00 810.73 307.92 1.89 0.48 1.20 1.84 1.47 8.41 0.01
Car 0.88 2 1.57 0.00 150.25 20.50 200.00 1.50 1.60 4.00 -9.50 1.70 6.00 1.50
Van 0.00 3 -1.57 10.00 20.00 30.00 50.00 2.00 1.80 5.00 1.00 2.00 30.00 -1.50
Cyclist 1.00 1 -10.00 5.00 6.00 7.00 9.00 -1.00 -1.00 -1.00 -1000.00 -1000.00 -1000.00 -10.00
DontCare -1 -1 -10.00 503.89 169.71 590.61 190.13 -1.00 -1.00 -1.00 -1000.00 -1000.00 -1000.00 -10.00
"""  # noqa: E501


def tree(root: Path, text: str = TEXT) -> Path:
    for folder in ("training/image_2", "training/label_2", "training/calib", "testing/image_2"):
        (root / folder).mkdir(parents=True)
    (root / "training/image_2/000000.png").write_bytes(b"")
    (root / "training/image_2/000001.png").write_bytes(b"")
    (root / "testing/image_2/000000.png").write_bytes(b"")
    (root / "training/label_2/000000.txt").write_text(text)
    (root / "training/label_2/000001.txt").write_text("")
    (root / "training/calib/000000.txt").write_text("P0: 1 0 0 0\n")
    return root


def test_objects(tmp_path: Path) -> None:
    found = granum.read(tree(tmp_path))
    assert sniff(tmp_path).keys() == {"kitti"}
    assert [(s.key, s.split, len(s.annotations)) for s in found] == [
        ("testing/image_2/000000.png", "test", 0),
        ("training/image_2/000000.png", "train", 5),
        ("training/image_2/000001.png", "train", 0),
    ]
    walker, car, van, cyclist, ignored = found[1].annotations
    assert found[1].labels == ["Pedestrian", "Car", "Van", "Cyclist", None]
    # 810.73 - 712.40 and 307.92 - 143.00.
    assert walker.bbox == pytest.approx((712.4, 143.0, 98.33, 164.92), abs=1e-9)
    # x, y, z; length, height, width; turned about y.
    assert walker.box3d == (1.84, 1.47, 8.41, 1.2, 1.89, 0.48, 0.0, 0.01, 0.0)
    assert walker.attributes == {"alpha": -0.2}
    assert (walker.truncated, walker.occluded, walker.ignore) == (False, False, None)
    assert (car.truncated, car.occluded) == (True, True)
    assert car.attributes == {"alpha": 1.57, "truncation": 0.88, "occlusion": 2}
    assert (van.occluded, van.attributes) == (None, {"alpha": -1.57, "occlusion": 3})
    assert (cyclist.truncated, cyclist.occluded) == (True, True)
    assert (cyclist.box3d, cyclist.attributes, cyclist.score) == (None, None, None)
    # Not a class.
    assert (ignored.ignore, ignored.category, ignored.truncated) == (True, None, None)
    assert ignored.attributes is None
    assert "DontCare" not in found.category_names()


def test_written_lines_are_the_lines_read(tmp_path: Path) -> None:
    found = granum.read(tree(tmp_path / "in"))
    granum.write(found, tmp_path / "out", "kitti")
    assert (tmp_path / "out/training/label_2/000000.txt").read_text() == TEXT
    assert (tmp_path / "out/training/label_2/000001.txt").read_text() == ""
    assert not (tmp_path / "out/training/calib").exists()
    assert_same(found, granum.read(tmp_path / "out"))


def test_results_have_scores(tmp_path: Path) -> None:
    lines = "".join(f"{line} 0.{i}5\n" for i, line in enumerate(TEXT.splitlines()[:2]))
    (tmp_path / "000007.txt").write_text(lines)
    assert sniff(tmp_path).keys() == {"kitti"}
    (one,) = granum.read(tmp_path)
    assert one.key == "000007.png"
    assert [a.score for a in one.annotations] == [0.05, 0.15]


def test_lists_of_stems_are_splits(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets/train.txt").write_text("000001\n")
    (tmp_path / "ImageSets/val.txt").write_text("000000\n")
    (tmp_path / "ImageSets/trainval.txt").write_text("000000\n000001\n")
    (tmp_path / "ImageSets/test.txt").write_text("000000\n")
    assert [s.split for s in granum.read(tmp_path)] == ["test", "val", "train"]


def test_a_text_of_boxes_alone_has_no_angle(tmp_path: Path) -> None:
    line = "Car 0 0 -1 1 2 3 4 -1 -1 -1 -1 -1 -1 -1\n"
    (one,) = granum.read(tree(tmp_path, line))[1].annotations
    assert (one.attributes, one.box3d) == (None, None)


def test_instances_of_the_segmentation(tmp_path: Path) -> None:
    for folder in ("training/image_2", "training/instance"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "training/image_2/000030_10.png").write_bytes(b"")
    # 26 is car: a group and its second instance; 7 is road; 0 is unlabelled.
    values = np.array([[26 * 256, 26 * 256 + 2], [7 * 256, 0]], np.uint16)
    Image.fromarray(values).save(tmp_path / "training/instance/000030_10.png")
    assert sniff(tmp_path).keys() == {"kitti"}
    found = granum.read(tmp_path)
    road, group, car = found[0].annotations
    assert found[0].labels == ["road", "car", "car"]
    assert [a.map.value for a in (road, group, car) if a.map] == [1792, 6656, 6658]
    assert [a.crowd for a in (road, group, car)] == [None, True, False]
    assert found.categories["source_id"].to_pylist() == ["7", "26"]
    assert found.categories["isthing"].to_pylist() == [False, True]


def test_a_label_image_that_is_none(tmp_path: Path) -> None:
    for folder in ("training/image_2", "training/instance"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "training/image_2/a.png").write_bytes(b"")
    (tmp_path / "training/instance/a.png").write_bytes(b"no image")
    (fault,) = granum.validate(tmp_path).findings.items
    assert (fault.code, fault.path) == ("broken-media", "training/instance/a.png")


# ---------------------------------------------------------------------- writing


def written(tmp_path: Path, *annotations: Annotation) -> list[str]:
    one = Sample("a b.jpg", Media("a b.jpg"), 100, 100, annotations=list(annotations))
    listed = [Category("traffic light"), Category("DontCare")]
    granum.write(granum.Dataset.from_rows([one], listed), tmp_path / "out", "kitti")
    back = granum.read(tmp_path / "out")
    assert back[0].labels == [
        None if a.category is None else listed[a.category].name for a in annotations
    ]
    return (tmp_path / "out/training/label_2/a b.txt").read_text().splitlines()


BOX = (1.0, 2.0, 3.0, 4.0)


def test_words_of_classes(tmp_path: Path) -> None:
    """A class of that name is not what ``DontCare`` means; a row without class is no region."""
    boxes = [Annotation(category=c, bbox=BOX) for c in (0, 1, None)]
    lines = written(tmp_path, *boxes)
    assert [line.split()[0] for line in lines] == ["traffic_light", "DontCare-2", "none"]
    assert lines[0] == (
        "traffic_light -1 -1 -10.00 1.00 2.00 4.00 6.00 -1.00 -1.00 -1.00 -1000.00 -1000.00 "
        "-1000.00 -10.00"
    )


def test_numbers_keep_their_digits(tmp_path: Path) -> None:
    (line,) = written(tmp_path, Annotation(category=0, bbox=(1 / 3, 0.125, 8.0, 1.0), score=0.7))
    assert line.split()[4:8] == ["0.3333333333333333", "0.125", "8.333333333333334", "1.125"]
    assert line.split()[15] == "0.70"


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (Annotation(category=0, bbox=BOX, ignore=True), "category"),
        (Annotation(category=0, bbox=BOX, box3d=(1.0,) * 9), "box3d"),
        (Annotation(category=0, bbox=BOX, attributes={"colour": "red"}), "attributes"),
        (Annotation(category=0, bbox=BOX, attributes={"truncation": 0.5}), "attributes"),
        (Annotation(category=0, bbox=BOX, track=1), "track"),
        (Annotation(category=0, bbox=BOX, map=LabelMap("m.png", value=1)), "mask"),
    ],
)
def test_what_no_line_can_say_is_refused(tmp_path: Path, annotation: Annotation, name: str) -> None:
    with pytest.raises(LossError, match=name):
        written(tmp_path, annotation)
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    "line",
    [
        "Car 0.00 0 0.0 1 2 3 4",
        "Car 0.00 0 0.0 1 2 x 4 1 1 1 1 1 1 1",
        "Car 0.00 0.5 0.0 1 2 3 4 1 1 1 1 1 1 1",
        "Car 0.00 0 0.0 1 2 nan 4 1 1 1 1 1 1 1",
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, line: str) -> None:
    first = TEXT.splitlines()[0]
    root = tree(tmp_path, f"{first}\n{line}\n")
    with pytest.raises(FindingsError) as caught:
        granum.read(root)
    (fault,) = caught.value.findings.items
    assert (fault.code, fault.path, fault.place) == (
        "bad-value",
        "training/label_2/000000.txt",
        "line 2",
    )
    assert len(granum.read(root, on_error="skip")[1].annotations) == 1


def test_a_text_of_ours_that_is_gone(tmp_path: Path) -> None:
    granum.write(granum.read(tree(tmp_path / "in")), tmp_path / "out", "kitti")
    (tmp_path / "out/training/label_2/000000.txt").unlink()
    (fault,) = granum.validate(tmp_path / "out").findings.items
    assert (fault.code, fault.path) == ("missing-labels", "training/label_2/000000.txt")


# ---------------------------------------------------------------------- fixture


def test_fixture_of_detection() -> None:
    found = granum.read(shared("format_fixtures/kitti_dataset/kitti_detection"))
    assert [s.labels for s in found] == [["Truck", "Van"], ["Van"] * 3]
    boxes = [a.bbox for s in found for a in s.annotations]
    assert boxes == [(0, 1, 2, 2), (0, 5, 1, 3), (0, 0, 2, 2), (4, 4, 2, 2), (6, 6, 1, 3)]
    assert [a.truncated for a in found[1].annotations] == [True, False, False]
    assert [a.occluded for a in found[1].annotations] == [True, False, True]


def test_fixture_of_3d() -> None:
    (one,) = granum.read(shared("format_fixtures/kitti_dataset/kitti_3d"))
    assert one.labels == ["Truck", "Car", None]
    assert one.annotations[0].box3d == (0.47, 1.49, 69.44, 12.34, 2.85, 2.63, 0, -1.56, 0)
    assert one.annotations[2].ignore is True


def test_fixture_of_segmentation() -> None:
    found = granum.read(shared("format_fixtures/kitti_dataset/kitti_segmentation"))
    assert [s.labels for s in found] == [
        ["out of roi", "truck", "truck"],
        ["out of roi", "wall", "train"],
    ]
