"""ADE20K and SceneParse150, with label images of a few pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.errors import FindingsError, FormatError
from granum.loaders._ade20k_names import NAMES
from granum.loaders._panoptic_pixels import encode_png as encode_rgb
from granum.loaders.reading import sniff
from granum.schema.findings import Findings
from granum.store.media import encode_png
from granum.testing.suite import ReaderSuite
from tests.data import shared


def colour(number: int, blue: int) -> int:
    """A class and an instance as R + 256 G + 65536 B."""
    return number // 256 * 10 + number % 256 * 256 + blue * 65536


# Blue values need not follow each other: 9 is the first instance and 40 the second.
CAR, SKY = colour(401, 40), colour(2420, 9)
SEG = np.array([[SKY, SKY, 0, 0], [CAR, CAR, CAR, 0]])
DOOR = colour(774, 5)
PARTS = np.array([[0, 0, 0, 0], [0, DOOR, DOOR, 0]])
ATR = """001 # 0 # 0 # sky # sky # ""
002 # 0 # 1 # car, auto # car # "parked, red"
001 # 1 # 0 # door # door # ""
"""


def tree(folder: Path, atr: str = ATR, seg: Any = SEG) -> Path:
    root = folder / "ade"
    street = root / "images" / "training" / "s" / "street"
    street.mkdir(parents=True)
    (street / "a.jpg").write_bytes(encode_png(np.zeros((2, 4), np.uint8)))
    (street / "a_seg.png").write_bytes(encode_rgb(seg))
    (street / "a_parts_1.png").write_bytes(encode_rgb(PARTS))
    (street / "a_atr.txt").write_text(atr)
    return root


def entry(number: int, name: str, of: int, parent: Any = None, **more: Any) -> dict[str, Any]:
    parts = {"hasparts": [], "ispartof": [] if parent is None else parent}
    return {
        "id": number,
        "name": name,
        "name_ndx": of,
        "hypernym": [name, "vehicle"],
        "raw_name": name,
        "attributes": [],
        "depth_ordering_rank": 1,
        "occluded": "no",
        "crop": 0,
        "parts": {**parts, "part_level": int(parent is not None)},
        "instance_mask": f"a/instance_00{number}_a.png",
        "polygon": {"x": [0, 2, 2], "y": [1, 1, 2]},
        **more,
    }


def newer(folder: Path, objects: list[dict[str, Any]] | None = None) -> Path:
    root = folder / "ade"
    below = root / "validation" / "a"
    below.mkdir(parents=True)
    if objects is None:
        objects = [entry(7, "car", 401, occluded="yes", crop=1), entry(3, "door", 774, 7)]
    record = {"imsize": [2, 4, 3], "scene": ["urban", "street"], "object": objects}
    below.with_suffix(".json").write_text(json.dumps({"annotation": record}))
    below.with_suffix(".jpg").write_bytes(encode_png(np.zeros((2, 4), np.uint8)))
    (root / "validation" / "a_seg.png").write_bytes(encode_rgb(SEG))
    for number, data in {7: SEG == CAR, 3: PARTS == DOOR}.items():
        (below / f"instance_00{number}_a.png").write_bytes(encode_png(data))
    return root


def parsed(folder: Path) -> Path:
    root = folder / "ade"
    for place in ("images/validation", "annotations/validation"):
        (root / place).mkdir(parents=True)
    for name in ("ADE_val_00000001", "ADE_val_00000002"):
        image = encode_png(np.zeros((2, 4), np.uint8))
        (root / "images" / "validation" / f"{name}.jpg").write_bytes(image)
    label = root / "annotations" / "validation" / "ADE_val_00000001.png"
    label.write_bytes(encode_png(np.array([[0, 1], [150, 2]])))
    (root / "sceneCategories.txt").write_text("ADE_val_00000001 airport_terminal\n")
    return root


class TestOlder(ReaderSuite):
    name = "ade20k"

    def make(self, folder: Path) -> Path:
        return tree(folder)


class TestNewer(ReaderSuite):
    name = "ade20k"

    def make(self, folder: Path) -> Path:
        return newer(folder)


def test_instances_and_parts_of_label_images(tmp_path: Path) -> None:
    (sample,) = granum.read(tree(tmp_path))
    assert (sample.key, sample.split) == ("images/training/s/street/a.jpg", "training")
    assert sample.labels == ["street", "sky", "car, auto", "door"]
    scene, sky, car, door = sample.annotations
    assert scene.kind == "label" and sample.categories[0].space == "scene"
    assert (sky.bbox, sky.area, sky.occluded) == ((0, 0, 2, 1), 2, False)
    assert (car.bbox, car.area, car.occluded) == ((0, 1, 3, 1), 3, True)
    assert car.attributes == {"raw_name": "car", "attributes": ["parked", "red"]}
    assert (door.level, door.parent) == (1, car.annotation_id)
    assert (sample.mask(3) == (PARTS == DOOR)).all()
    assert [c.source_id for c in sample.categories] == [None, "2420", "401", "774"]


def test_an_instance_without_pixels_is_kept_and_told(tmp_path: Path) -> None:
    findings = Findings()
    root = tree(tmp_path, ATR + '009 # 1 # 0 # rim # rim # ""\n')
    found = granum.read(root, findings=findings)
    (fault,) = findings.items
    assert (fault.code, fault.place) == ("empty-mask", "line 4")
    assert fault.path.endswith("street/a_atr.txt")
    (sample,) = found
    assert sample.labels[-1] == "rim" and sample.annotations[-1].map is None


def test_whole_label_images(tmp_path: Path) -> None:
    for root in (tree(tmp_path / "a"), newer(tmp_path / "b")):
        (sample,) = granum.read(root, objects="labels")
        scene, whole = sample.annotations
        assert scene.kind == "label" and whole.map is not None
        assert (whole.map.encoding, whole.map.value, whole.category) == ("ade", None, None)
        assert {"401", "774"} <= {c.source_id for c in sample.categories}


def test_objects_of_json(tmp_path: Path) -> None:
    root = newer(tmp_path)
    (sample,) = granum.read(root)
    assert (sample.split, sample.size) == ("validation", (4, 2))
    assert sample.labels == ["urban/street", "car", "door"]
    _, car, door = sample.annotations
    assert (car.occluded, car.truncated, car.level, car.source_id) == (True, True, 0, "7")
    assert (door.occluded, door.truncated, door.level) == (False, False, 1)
    assert door.parent == car.annotation_id is not None
    assert (sample.mask(1) == (SEG == CAR)).all() and car.polygons is None
    assert sample.categories[1].supercategory == "vehicle"
    (sample,) = granum.read(root, objects="polygons")
    assert sample.annotations[1].polygons == [[[0, 1, 2, 1, 2, 2]]]
    assert sample.annotations[1].map is None


def test_json_in_latin_1(tmp_path: Path) -> None:
    root = newer(tmp_path)
    path = root / "validation" / "a.json"
    path.write_bytes(path.read_bytes().replace(b'"raw_name": "car"', b'"raw_name": "caf\xe9"'))
    (sample,) = granum.read(root)
    assert (sample.annotations[1].attributes or {})["raw_name"] == "café"


def test_scene_parse_150(tmp_path: Path) -> None:
    root, findings = parsed(tmp_path), Findings()
    assert list(sniff(root)) == ["ade20k"]
    found = granum.read(root, findings=findings)
    one, two = found
    assert one.key == "images/validation/ADE_val_00000001.jpg"
    whole, scene = one.annotations
    assert whole.map is not None and (whole.map.value, whole.category) == (None, None)
    assert one.labels[1] == "airport_terminal" and scene.kind == "label"
    assert two.annotations == []  # and its label image is missing, which is told
    assert [f.code for f in findings.items] == ["missing-labels"]
    assert (len(NAMES), len(set(NAMES))) == (150, 150)
    named = {c.source_id: c.name for c in one.categories}
    assert (named["1"], named["13"], named["150"]) == ("wall", "person", "flag")


@pytest.mark.parametrize(
    ("atr", "place"),
    [
        (ATR + "003 # 0 # sky\n", r"a_atr\.txt line 4"),
        (ATR.partition("\n")[2], r"a_seg\.png"),  # the sky is not listed any more
    ],
)
def test_faults_of_texts_name_file_and_line(tmp_path: Path, atr: str, place: str) -> None:
    with pytest.raises(FindingsError, match=place):
        granum.read(tree(tmp_path, atr))


@pytest.mark.parametrize(
    ("objects", "place"),
    [
        ([entry(1, "car", 401, 9)], r"validation/a\.json /annotation/object/0.*part of 9"),
        ([entry(7, "car", 4), entry(7, "car", 4)], r"a\.json /annotation/object/1.*id 7"),
        ([{"id": 1}], r"a\.json /annotation/object/0.*parts"),
        ([entry(7, "car", 4, polygon={"x": [1], "y": []}, instance_mask="")], r"object/0.*1 x"),
    ],
)
def test_faults_of_json_name_file_and_place(tmp_path: Path, objects: Any, place: str) -> None:
    with pytest.raises(FindingsError, match=place):
        granum.read(newer(tmp_path, objects))


def test_no_folder_of_a_split(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="training"):
        granum.read(tmp_path, format="ade20k")


def test_the_fixtures() -> None:
    root = shared("format_fixtures")
    older = {"ade20k2017_dataset/dataset": (2, 8), "ade20k2020_dataset/dataset": (2, 9)}
    meta = {f"{n}_with_meta_file": (1, 4) for n in older}
    for name, counts in {**older, **meta}.items():
        assert list(sniff(root / name)) == ["ade20k"]
        found = granum.read(root / name)
        assert (len(found), found.num_annotations) == counts, name
