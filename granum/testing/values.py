"""The values that the strategies draw: those that get lost in practice, simple ones first."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np

__all__ = ["ATTRIBUTES", "KEYS", "TEXTS"]

KEYS = [
    *("a.jpg", "b.png", "sub/a.jpg", "sub dir/ü é.jpg", "other/a.jpg", "a.png", "000000000139"),
    *("日本/語.jpeg", "sub/deeper/b.PNG", "no suffix", "-dash, comma.jpg", "#hash 'q' \"d\".jpg"),
    *(
        "x.tar.gz",
        "%20&amp;<b>.jpg",
        ".hidden.jpg",
        "trailing ",
        "0",
        "C:\\win\\a.jpg",
        "../up.jpg",
    ),
    "/absolute.jpg",
]
PLAIN_KEYS = ["a.jpg", "b.png", "sub/c.jpg", "sub dir/d e.png", "other/ü.jpg", "f-1.jpg"]

TEXTS = [
    *("a dog", "", " spaces around ", "zwei\nZeilen", "ein „Zitat“, 日本語, 🐕", "<b>&amp;\"'</b>"),
    *("null", "0", "nan", "tab\there", "comma, semicolon; pipe|", "e\u0301 and é"),
]
PLAIN_TEXTS = ["a dog", "two cats on a mat.", "ein Haus, 日本"]

CATEGORY_NAMES = [
    *("cat", "dog", "traffic light", "hund/katze", "Ünïcode 猫", "0", "a, b", "person: 'x'"),
    *("<tag>", "#no", "- dash", "null", " padded ", "yes"),
]
PLAIN_CATEGORY_NAMES = ["cat", "dog", "traffic light", "größe"]
SPACES = ["object", "action", "scene/indoor", None]
POINT_NAMES = ["nose", "left eye", "tail"]
SPLITS = ["train", "val", "test"]
LAYERS = ["predictions", "annotator B", "модель"]
GROUP_KEYS = ["video 1", "pairs/ü", "0"]
SIZES = [(20, 10), (7, 9), (64, 48), (33, 17)]
TINY = (1, 1)

FRACTIONS = [0.0, 0.25, 0.5, 1 / 3, 0.1, 0.7071067811865476, 1.0, 1e-7, 0.875, -0.05, 1.1]
LOW = [0.0, 0.25, 0.125, 1 / 3, 0.1, 0.0625, 0.31830988618379067]
HIGH = [0.5, 0.75, 2 / 3, 0.9, 1.0, 0.7071067811865476]
LENGTHS = [0.5, 0.25, 1 / 3, 0.6180339887498949, 0.1]
"""A low fraction and a length stay below 1."""

SCORES = [0.0, 0.5, 1.0, 0.1, 0.123456789012345678, 1e-9]
INTERVALS = [(0.0, 0.0), (0.0, 1.5), (1 / 3, 2.25)]
MAP_VALUES = [1, 0, 7, 255]

_FLAG = [False, True]

ANNOTATION_COLUMNS: dict[str, list[Any]] = {
    "score": [*SCORES, -2.5, 17.0],
    "angle": [0.0, 0.5, -1.5707963267948966, 3.0],
    "area": [0.0, 12.5, 1e6, 1 / 3],
    "shape_kind": ["rectangle", "circle", "ellipse", "point", "line", "polygon", "mask"],
    "box3d": [tuple(float(i) / 3 for i in range(9)), (0.0,) * 9],
    **dict.fromkeys(
        (
            *("present", "exhaustive", "crowd", "ignore", "group_of", "occluded", "truncated"),
            *("depiction", "inside", "difficult", "keyframe", "outside"),
        ),
        _FLAG,
    ),
    "visibility": [0.0, 1.0, 0.3],
    "z_order": [0, 1, -3],
    "track": [0, 1, 7],
    "track_source_id": ["0", "t-1", "ü"],
    # float32 in the schema: values that it holds exactly
    "granularity": [0.0, 1.0, float(np.float32(0.1))],
    "level": [0, 1, 5],
    "source": ["human", "machine", "verified"],
    "annotator": ["anna", "model x@1.2", "ü"],
}

SAMPLE_COLUMNS: dict[str, list[Any]] = {
    "source_id": ["0", "139", "00139"],
    "media_kind": ["image", "frame", "raster", "volume"],
    "channels": [1, 3, 13],
    "depth": [8, 16, 40],
    "orientation": [1, 6],
    "time": [datetime(2024, 2, 29, 12, 30, 1, 250_000), datetime(1970, 1, 1)],
    "geo": [
        {"crs": "EPSG:32633", "transform": [10.0, 0.0, 399960.0, 0.0, -10.0, 5000040.0]},
        {"crs": None, "transform": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]},
    ],
}

CATEGORY_COLUMNS: dict[str, list[Any]] = {
    "supercategory": ["animal", "", "ü / 1"],
    "isthing": [True, False],
}

GROUP_COLUMNS: dict[str, list[Any]] = {
    "kind": ["video", "pair", "bag"],
    "source_id": ["0", "v1"],
    "width": [20],
    "height": [10],
    "frames": [0, 12],
    "fps": [25.0, 29.97],
}

ATTRIBUTE_NAMES = ["colour", "age", "weight", "ok", "ü name", "a.b", "Colour", "0"]


def type_of_name(name: str) -> str:
    """The type that plain attributes of this name have."""
    return {"age": "int", "weight": "float", "ok": "bool"}.get(name, "str")


ATTRIBUTES: dict[str, list[Any]] = {
    "any": [
        *(
            "red",
            "",
            0,
            1,
            -7,
            2**53 + 1,
            0.0,
            1.5,
            1e300,
            True,
            False,
            None,
            [],
            {},
            [1, "a", None],
        ),
        *({"deep": {"er": [1.25, {}]}}, "日本", "1", "true", " padded "),
    ]
}
PLAIN_ATTRIBUTES: dict[str, list[Any]] = {
    "str": ["red", "light blue", "日本"],
    "int": [3, 0, -7],
    "float": [1.5, 0.0, 0.1],
    "bool": [True, False],
}
