"""LabelMe's JSON files, typed by hand."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.errors import FindingsError, FormatError
from granum.loaders.reading import sniff
from granum.store.media import encode_png
from tests.data import shared

MASK = np.array([[True, True, False], [False, True, True]])


def shape(kind: str | None, points: list[list[float]], label: str = "cat", **more: Any) -> Any:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, **more}


RECORD: dict[str, Any] = {
    "version": "5.5.0",
    "flags": {"indoor": True, "blurred": False},
    "shapes": [
        shape("rectangle", [[8, 1], [2, 5]], flags={"tame": True}, description="asleep"),
        shape("polygon", [[0, 0], [4, 0], [4, 3]], group_id=1),
        shape("polygon", [[5, 5], [7, 5], [7, 7]], group_id=1),
        shape("polygon", [[0, 0], [1, 0], [1, 1]], "dog", group_id=1),
        shape("circle", [[5, 5], [8, 9]]),
        shape("line", [[0, 0], [3, 1]]),
        shape("linestrip", [[0, 0], [3, 1], [4, 4]]),
        shape("point", [[2, 3]]),
        shape(
            "mask", [[1, 2], [3, 3]], mask=base64.b64encode(encode_png(MASK)).decode()
        ),
        shape("oriented_rectangle", [[50, 40], [50, 60], [40, 60], [40, 40]]),
        shape(None, [[0, 0], [9, 0], [9, 9]]),
    ],
    "imagePath": "..\\photos\\a.jpg",
    "imageData": None,
    "imageHeight": 80,
    "imageWidth": 100,
}  # fmt: skip


def written(folder: Path, record: Any) -> Path:
    (folder / "labels").mkdir(parents=True)
    (folder / "photos").mkdir()
    (folder / "photos" / "a.jpg").write_bytes(b"")
    text = record if isinstance(record, str) else json.dumps(record)
    (folder / "labels" / "a.json").write_text(text)
    return folder


def test_every_shape(tmp_path: Path) -> None:
    (sample,) = granum.read(written(tmp_path, RECORD))
    assert (sample.key, sample.size) == ("photos/a.jpg", (100, 80))
    cat, parts, dog, circle, line, strip, point, mask, turned, plain, *flags = sample.annotations
    assert cat.bbox == (2, 1, 6, 4)
    assert (cat.attributes, cat.text) == ({"tame": True}, "asleep")
    assert parts.polygons == [[[0, 0, 4, 0, 4, 3]], [[5, 5, 7, 5, 7, 7]]]
    assert dog.polygons is not None and len(dog.polygons) == 1
    assert circle.bbox == (0, 0, 10, 10) and circle.shape_kind == "circle"  # radius 5
    assert (line.polyline, line.shape_kind) == ([0, 0, 3, 1], "line")
    assert strip.polyline == [0, 0, 3, 1, 4, 4]
    assert (point.keypoints, point.shape_kind) == ([2, 3, 2], "point")
    wanted = np.zeros((80, 100), bool)
    wanted[2, 1:3] = wanted[3, 2:4] = True
    assert (sample.mask(7) == wanted).all() and mask.rle is not None
    assert turned.bbox == (35, 45, 20, 10) and turned.angle == pytest.approx(math.pi / 2)
    assert plain.polygons == [[[0, 0, 9, 0, 9, 9]]]
    assert [(sample.labels[-2 + i], f.present) for i, f in enumerate(flags)] == [
        ("indoor", True), ("blurred", False)
    ]  # fmt: skip


def test_what_is_written_is_what_was_read(tmp_path: Path) -> None:
    found = granum.read(written(tmp_path / "in", RECORD))
    granum.write(found, tmp_path / "out", "labelme")
    record = json.loads((tmp_path / "out/images/photos/a.json").read_text())
    assert record["flags"] == RECORD["flags"] and record["imagePath"] == "a.jpg"
    kinds = [s["shape_type"] for s in record["shapes"]]
    assert kinds == [s["shape_type"] or "polygon" for s in RECORD["shapes"]]
    same = [i for i, k in enumerate(kinds) if k not in ("rectangle", "circle")]
    for i in same:
        a, b = record["shapes"][i]["points"], RECORD["shapes"][i]["points"]
        assert np.allclose(a, b, atol=1e-9), kinds[i]
    assert record["shapes"][1]["group_id"] == record["shapes"][2]["group_id"] is not None
    assert record["shapes"][3]["group_id"] == 1


def test_the_image_inside_is_taken_where_there_is_no_other(tmp_path: Path) -> None:
    data = encode_png(np.zeros((3, 4), np.uint8))
    record = {**RECORD, "shapes": [], "imageData": base64.b64encode(data).decode()}
    root = written(tmp_path, {**record, "imagePath": "../../outside.jpg"})
    (sample,) = granum.read(root)
    assert sample.key == "labels/a.png"  # paths do not leave the folder
    assert sample.image().size == (4, 3)


@pytest.mark.parametrize(
    ("bad", "place"),
    [
        ({"label": 3}, "/shapes/0"),
        ({"points": [[1, 2]]}, "/shapes/0"),
        ({"points": [[1, 2], [float("nan"), 3]]}, "/shapes/0"),
        ({"points": "x"}, "/shapes/0"),
    ],
)
def test_faults_name_file_and_place(tmp_path: Path, bad: Any, place: str) -> None:
    first = {**RECORD["shapes"][0], **bad}
    record = {**RECORD, "shapes": [first, *RECORD["shapes"][1:]]}
    with pytest.raises(FindingsError, match=rf"labels/a\.json {place}"):
        granum.read(written(tmp_path, record))
    found = granum.read(tmp_path, on_error="skip")
    assert found.num_annotations == 11


def test_broken_json_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"labels/a\.json"):
        granum.read(written(tmp_path, '{"shapes": ['), "labelme")


def test_real_files_agree_with_the_other_forms() -> None:
    root = shared("voc100/gts/labelme_format")
    assert list(sniff(root)) == ["labelme"]
    found = granum.read(root)
    assert (len(found), found.num_annotations) == (8, 16)
    assert found[0].image().size == found[0].size  # the picture is inside the file
