"""What may be wrong in a COCO panoptic dataset: each fault with its place, under every policy."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.errors import FindingsError, FormatError
from tests.data import shared
from tests.loaders.panoptic_trees import document, put, read, save

FORMAT = "coco_panoptic"


def codes(path: Path, **options: Any) -> list[tuple[str, str, str | None]]:
    """Code, file and place of what is wrong."""
    _, findings = read(path, "skip", **options)
    return [(f.code, f.path, f.place) for f in findings.items]


SEGMENTS = ("annotations", 0, "segments_info")


def changed(path: tuple[Any, ...], value: Any) -> Any:
    """The document of two images with one value set (``...`` removes the key)."""
    made = copy.deepcopy(document(2))
    at = made
    for key in path[:-1]:
        at = at[key]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return made


@pytest.mark.parametrize(
    ("path", "value", "code", "place", "left"),
    [
        (("annotations", 1, "image_id"), 99, "orphan-image", "/annotations/1/image_id", 2),
        (("annotations", 1, "image_id"), ..., "missing-image-id", "/annotations/1", 2),
        (("annotations", 1, "image_id"), 10, "duplicate-annotation", "/annotations/1", 2),
        (("annotations", 1, "file_name"), ..., "missing-key", "/annotations/1", 2),
        (("annotations", 1, "file_name"), "../0.png", "bad-value", "/annotations/1/file_name", 2),
        (("annotations", 1, "file_name"), "x.png", "file-missing", "/annotations/1/file_name", 4),
        (
            ("annotations", 1, "segments_info"),
            ...,
            "missing-key",
            "/annotations/1/segments_info",
            2,
        ),
        (("annotations", 1, "segments_info"), {}, "missing-key", "/annotations/1/segments_info", 2),
        ((*SEGMENTS, 1, "id"), 1, "duplicate-segment-id", "/annotations/0/segments_info/1/id", 3),
        ((*SEGMENTS, 1, "id"), 0, "bad-value", "/annotations/0/segments_info/1/id", 3),
        ((*SEGMENTS, 1, "id"), 1 << 24, "bad-value", "/annotations/0/segments_info/1/id", 3),
        ((*SEGMENTS, 1, "id"), ..., "missing-annotation-id", "/annotations/0/segments_info/1", 3),
        ((*SEGMENTS, 1, "id"), "2", "string-id", "/annotations/0/segments_info/1/id", 4),
        (
            *((*SEGMENTS, 0, "category_id"), 5, "orphan-category"),
            *("/annotations/0/segments_info/0/category_id", 3),
        ),
        ((*SEGMENTS, 0, "category_id"), ..., "missing-key", "/annotations/0/segments_info/0", 3),
        ((*SEGMENTS, 0, "area"), "big", "bad-value", "/annotations/0/segments_info/0/area", 3),
        ((*SEGMENTS, 0, "area"), ..., "missing-area", "/annotations/0/segments_info/0", 4),
        ((*SEGMENTS, 0, "iscrowd"), ..., "missing-iscrowd", "/annotations/0/segments_info/0", 4),
        (
            *((*SEGMENTS, 0, "bbox"), [0, 0, -1, 2], "negative-box"),
            *("/annotations/0/segments_info/0", 3),
        ),
        ((*SEGMENTS, 0), 7, "bad-value", "/annotations/0/segments_info/0", 3),
        (("images", 1, "id"), 10, "duplicate-image-id", "/images/1", 2),
        (
            ("categories",),
            ...,
            "missing-categories",
            "/annotations/0/segments_info/0/category_id",
            0,
        ),
    ],
)
def test_faults(tmp_path: Path, path: Any, value: Any, code: str, place: str, left: int) -> None:
    """Each is told with its place; ``skip`` leaves just the record out, ``fix`` does not fail."""
    save(tmp_path / "val.json", document(2))
    (tmp_path / "val.json").write_text(json.dumps(changed(path, value)))
    assert (code, "val.json", place) in codes(tmp_path)
    assert read(tmp_path, "skip")[0].num_annotations == left
    fixed, findings = read(tmp_path, "fix")
    assert findings.counts[code] > 0
    assert fixed.num_annotations >= left
    if findings.errors:
        with pytest.raises(FindingsError, match=code):
            read(tmp_path)


def test_fix_takes_areas_from_the_masks(tmp_path: Path) -> None:
    save(tmp_path / "val.json", document(2))
    (tmp_path / "val.json").write_text(json.dumps(changed((*SEGMENTS, 0, "area"), ...)))
    put(tmp_path / "val/0.png", np.array([[1, 1, 1, 2, 0, 0]] * 4))
    dataset, _ = read(tmp_path, "fix")
    assert dataset.annotations()["area"].to_pylist() == [12, 4, 4, 4]


def test_fix_makes_categories(tmp_path: Path) -> None:
    save(tmp_path / "val.json", document(2))
    (tmp_path / "val.json").write_text(json.dumps(changed((*SEGMENTS, 0, "category_id"), 5)))
    dataset, _ = read(tmp_path, "fix")
    assert dataset.category_names() == ["person", "5"]
    granum.write(dataset, tmp_path / "out", FORMAT)
    back = json.loads((tmp_path / "out/val.json").read_text())
    assert back["categories"] == [{"id": 1, "name": "person"}, {"id": 5, "name": "5"}]


@pytest.mark.parametrize(
    ("text", "at"),
    [('{"images": [', "byte 12"), ('{"images": [], "annotations": nope}', "byte 31")],
)
def test_broken_json_is_told_with_its_byte(tmp_path: Path, text: str, at: str) -> None:
    path = save(tmp_path / "panoptic_val.json", text)
    with pytest.raises(FormatError, match=at):
        read(path)


FINITE = [("bbox", "nan-box"), ("area", "nan-token"), ("note", "nan-token")]


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
@pytest.mark.parametrize(("key", "code"), FINITE)
def test_nan_in_one_segment_leaves_the_others(
    tmp_path: Path, number: str, key: str, code: str
) -> None:
    value = ["@", 0, 1, 1] if key == "bbox" else "@"
    text = json.dumps(changed((*SEGMENTS, 1, key), value))
    save(tmp_path / "val.json", document(2))
    (tmp_path / "val.json").write_text(text.replace('"@"', number))
    place = f"/annotations/0/segments_info/1/{key}"
    assert codes(tmp_path) == [(code, "val.json", place)]
    assert read(tmp_path, "skip")[0].num_annotations == 3
    assert read(tmp_path, "fix")[0].num_annotations == 4


@pytest.mark.parametrize(
    ("ids", "code", "place"),
    [
        ([[1, 2, 9, 0, 0, 0]] * 4, "unlisted-segment", "/annotations/0"),
        ([[1, 0, 0, 0, 0, 0]] * 4, "empty-mask", "/annotations/0/segments_info/1/id"),
        ([[1, 1, 2, 0, 0, 0]] * 4, "area-mismatch", "/annotations/0/segments_info/0/area"),
        ([[1, 1, 2]] * 4, "mask-size-mismatch", "/annotations/0"),
    ],
)
def test_checks_masks_when_asked(tmp_path: Path, ids: Any, code: str, place: str) -> None:
    save(tmp_path / "val.json", document(2))
    put(tmp_path / "val/0.png", np.array(ids))
    assert codes(tmp_path) == []
    assert (code, "val.json", place) in codes(tmp_path, check_masks=True)


def test_a_mask_that_does_not_decode(tmp_path: Path) -> None:
    save(tmp_path / "val.json", document(2))
    whole = (tmp_path / "val/1.png").read_bytes()
    for broken in (b"no PNG", whole[:40]):
        (tmp_path / "val/1.png").write_bytes(broken)
        assert codes(tmp_path, check_masks=True) == [("broken-media", "val.json", "/annotations/1")]


def test_the_fixture_whose_mask_has_another_size() -> None:
    root = shared("format_fixtures/coco_dataset/coco_panoptic")
    name = "annotations/panoptic_train.json"
    assert codes(root, check_masks=True) == [
        ("mask-size-mismatch", name, "/annotations/0"),
        ("area-mismatch", name, "/annotations/0/segments_info/0/area"),
        # The boxes of the other file lack one pixel of their masks' width and height.
        *(
            ("box-mismatch", "annotations/panoptic_val.json", f"{place}/{i}/bbox")
            for i, place in enumerate(["/annotations/0/segments_info"] * 2)
        ),
    ]


def test_a_key_given_twice(tmp_path: Path) -> None:
    """In an annotation and in a segment; ``fix`` keeps the last value, as JSON readers do."""
    save(tmp_path / "val.json", document(2))
    text = json.dumps(document(2))
    text = text.replace('"image_id": 11', '"image_id": 99, "image_id": 11')
    text = text.replace('"area": 4', '"area": 9, "area": 4', 1)
    (tmp_path / "val.json").write_text(text)
    assert codes(tmp_path) == [
        ("duplicate-json-key", "val.json", "/annotations/1"),
        ("duplicate-json-key", "val.json", "/annotations/0/segments_info/0"),
    ]
    assert read(tmp_path, "skip")[0].num_annotations == 1
    assert read(tmp_path, "fix")[0].annotations()["area"].to_pylist() == [4, 4, 4, 4]


def test_many_faults_are_counted(tmp_path: Path) -> None:
    """Beyond the limit of examples all are counted."""
    made = document(600, 6)
    for annotation in made["annotations"]:
        for segment in annotation["segments_info"][:3]:
            segment["category_id"] = 5
            del segment["iscrowd"]
    save(tmp_path / "val.json", document(600, 6))
    (tmp_path / "val.json").write_text(json.dumps(made))
    dataset, findings = read(tmp_path, "skip")
    assert findings.counts["orphan-category"] == 1800
    assert sum(f.code == "orphan-category" for f in findings.items) == findings.limit
    assert dataset.num_annotations == 1800
