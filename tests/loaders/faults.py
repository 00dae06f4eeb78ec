"""A small valid COCO dataset, and each fault that a file may have."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

VALID: Json = {
    "info": {"year": 2017},
    "images": [
        {"id": 1, "file_name": "a.jpg", "width": 100, "height": 80},
        {"id": 2, "file_name": "b.jpg", "width": 100, "height": 80},
    ],
    "annotations": [
        {
            "id": 10 + i,
            "image_id": 1 + i % 2,
            "category_id": 3,
            "bbox": [10.0, 10.0, 20.0, 30.0],
            "area": 600.0,
            "iscrowd": 0,
            "segmentation": [[10.0, 10.0, 30.0, 10.0, 30.0, 40.0, 10.0, 40.0]],
        }
        for i in range(20)
    ],
    "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
}


def _set(i: int, **values: Any) -> Callable[[Json], None]:
    def change(d: Json) -> None:
        d["annotations"][i].update(values)

    return change


def _drop(i: int, *keys: str) -> Callable[[Json], None]:
    def change(d: Json) -> None:
        for key in keys:
            del d["annotations"][i][key]

    return change


def _duplicate_image(d: Json) -> None:
    d["images"].append({"id": 1, "file_name": "again.jpg", "width": 100, "height": 80})


def _duplicate_category_name(d: Json) -> None:
    d["categories"].append({"id": 9, "name": "cat"})


def _missing_size(d: Json) -> None:
    d["images"].append({"id": 77, "file_name": "sizeless.jpg"})


def _no_categories(d: Json) -> None:
    del d["categories"]


def _none(d: Json) -> None:
    pass


# The eighteen faults; each on a record of its own, so that one file can have nearly all.
FAULTS: dict[str, tuple[str, Callable[[Json], None]]] = {
    "orphan image": ("orphan-image", _set(1, image_id=999)),
    "orphan category": ("orphan-category", _set(2, category_id=444)),
    "NaN box": ("nan-box", _set(3, bbox=[float("nan"), 1, 2, 3])),
    "negative width": ("negative-box", _set(4, bbox=[30.0, 10.0, -20.0, 30.0])),
    "box outside image": ("box-outside-image", _set(5, bbox=[90.0, 70.0, 50.0, 50.0])),
    "duplicate annotation id": ("duplicate-annotation-id", _set(6, id=10)),
    "duplicate image id": ("duplicate-image-id", _duplicate_image),
    "duplicate category name": ("duplicate-category-name", _duplicate_category_name),
    "missing area": ("missing-area", _drop(7, "area")),
    "missing iscrowd": ("missing-iscrowd", _drop(8, "iscrowd")),
    "missing annotation id": ("missing-annotation-id", _drop(9, "id")),
    "two-point polygon": ("short-polygon", _set(11, segmentation=[[1.0, 1.0, 2.0, 2.0]])),
    "odd polygon": ("odd-polygon", _set(12, segmentation=[[1.0, 1.0, 9.0, 1.0, 9.0, 9.0, 5.0]])),
    "RLE of wrong size": (
        "rle-size-mismatch",
        _set(13, segmentation={"size": [50, 50], "counts": [0, 2500]}, iscrowd=1),
    ),
    "missing width and height": ("missing-size", _missing_size),
    "string id": ("string-id", _set(14, id="fourteen")),
    "image file absent": ("file-missing", _none),
}


def faulty(*names: str) -> Json:
    """The valid dataset with these faults."""
    out = copy.deepcopy(VALID)
    for name in names:
        FAULTS[name][1](out)
    return out
