"""What the files of Open Images are called and hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pyarrow as pa

__all__ = [
    "BOXES",
    "FLAGS",
    "IMAGES",
    "KINDS",
    "LABELS",
    "MASKS",
    "POINTS",
    "RELATIONS",
    "TEXT",
    "TYPES",
    "attribute_type",
    "file_name",
    "kind_of",
    "split_of",
    "token_of",
]

TEXT = pa.string()
CODED = pa.dictionary(pa.int32(), pa.string())
FLAG, NUMBER = pa.int8(), pa.float64()

FLAGS = {
    "IsOccluded": "occluded",
    "IsTruncated": "truncated",
    "IsGroupOf": "group_of",
    "IsDepiction": "depiction",
    "IsInside": "inside",
}
"""Flags of boxes and the columns that they go to; 1, 0, and -1 where nobody said."""

CLICKS = tuple(f"XClick{n}{axis}" for axis in "XY" for n in range(1, 5))
"""The four extreme points that a box was drawn by (V6, training split); -1 where it was not."""

CORNERS = ("XMin", "XMax", "YMin", "YMax")

IMAGES: Mapping[str, pa.DataType] = {
    "ImageID": TEXT,
    "Subset": CODED,
    "OriginalURL": TEXT,
    "OriginalLandingURL": TEXT,
    "License": CODED,
    "AuthorProfileURL": TEXT,
    "Author": TEXT,
    "Title": TEXT,
    "OriginalSize": pa.int64(),
    "OriginalMD5": TEXT,
    "Thumbnail300KURL": TEXT,
    "Rotation": NUMBER,
}
BOXES: Mapping[str, pa.DataType] = {
    "ImageID": TEXT,
    "Source": CODED,
    "LabelName": CODED,
    "Confidence": NUMBER,
    **dict.fromkeys(CORNERS, NUMBER),
    **dict.fromkeys(FLAGS, FLAG),
}
LABELS: Mapping[str, pa.DataType] = {
    "ImageID": TEXT,
    "Source": CODED,
    "LabelName": CODED,
    "Confidence": NUMBER,
}
MASKS: Mapping[str, pa.DataType] = {
    "MaskPath": TEXT,
    "ImageID": TEXT,
    "LabelName": CODED,
    "BoxID": TEXT,
    **{f"Box{c}": NUMBER for c in CORNERS},
    "PredictedIoU": NUMBER,
    "Clicks": TEXT,
}
RELATIONS: Mapping[str, pa.DataType] = {
    "ImageID": TEXT,
    "LabelName1": CODED,
    "LabelName2": CODED,
    **{f"{c}1": NUMBER for c in CORNERS},
    **{f"{c}2": NUMBER for c in CORNERS},
    "RelationshipLabel": CODED,
}
POINTS: Mapping[str, pa.DataType] = {
    "ImageId": TEXT,
    "X": NUMBER,
    "Y": NUMBER,
    "Label": CODED,
    "EstimatedYesNo": CODED,
    "Source": CODED,
    "YesVotes": pa.int64(),
    "NoVotes": pa.int64(),
    "UnsureVotes": pa.int64(),
    "TextLabel": TEXT,
}
KINDS = {
    "images": IMAGES,
    "boxes": BOXES,
    "labels": LABELS,
    "masks": MASKS,
    "relations": RELATIONS,
    "points": POINTS,
}

ATTRIBUTES = {
    "images": tuple(n for n in IMAGES if n not in ("ImageID", "Subset")),
    "boxes": CLICKS,
    "labels": (),
    "masks": ("PredictedIoU", "Clicks"),
    "relations": (),
    "points": ("YesVotes", "NoVotes", "UnsureVotes"),
}
"""Columns of each kind of file that become attributes; all columns that are not known do, too."""

_NAMED = {
    **dict.fromkeys(CLICKS, NUMBER),
    **{n: IMAGES[n] for n in ATTRIBUTES["images"]},
    **{n: MASKS[n] for n in ATTRIBUTES["masks"]},
    **{n: POINTS[n] for n in ATTRIBUTES["points"]},
}
TYPES = {"str": TEXT, "int": pa.int64(), "float": NUMBER, "bool": pa.bool_()}
"""Types of attributes by the names that our notes give them."""


def attribute_type(name: str, told: Mapping[str, str]) -> pa.DataType:
    """The type of a column that becomes an attribute; text, where nothing tells."""
    return TYPES.get(told.get(name, ""), _NAMED.get(name, TEXT))


def kind_of(name: str, header: Iterable[str]) -> str | None:
    """What a CSV file holds: a key of ``KINDS``, ``classes``, ``attributes``, ``triplets``.

    Args:
        name: of the file.
        header: its first record.
    """
    lower = name.lower()
    if re.search(r"class-?_?descriptions|^classes\b", lower):
        return "classes"
    if lower.startswith("attributes") or re.search(r"attributes-descriptions?", lower):
        return "attributes"
    columns = set(header)
    if {"ImageId", "X", "Y"} <= columns:
        return "points"
    if {"MaskPath", "ImageID"} <= columns:
        return "masks"
    if {"LabelName1", "LabelName2"} <= columns:
        return "relations" if {"ImageID", "XMin1", "XMin2"} <= columns else "triplets"
    if {"ImageID", "LabelName"} <= columns:
        return "boxes" if columns.issuperset(CORNERS) else "labels"
    return "images" if "ImageID" in columns else None


_SPLIT = re.compile(r"(?:^|[/_.-])(train|validation|val|test)(?=[/_.-]|$)")


def split_of(name: str) -> str | None:
    """The split that a file's name tells, the last one it has; ``val`` means ``validation``."""
    found = _SPLIT.findall(name.lower())
    return None if not found else "validation" if found[-1] == "val" else found[-1]


def token_of(split: str | None) -> str:
    """What files of a split are called by; samples of no split are for training."""
    if split in ("train", None):
        return "train"
    if split in ("val", "validation"):
        return "validation"
    return re.sub(r"[^A-Za-z0-9]+", "-", split or "").strip("-").lower() or "other"


def file_name(kind: str, token: str) -> str:
    """The name that V6 (points: V7) gives the file of a split."""
    six = "oidv6-train" if token == "train" else token
    return {
        "images": "image_ids_and_rotation.csv",
        "boxes": f"{six}-annotations-bbox.csv",
        "labels": f"{six}-annotations-human-imagelabels.csv",
        "machine": f"{six}-annotations-machine-imagelabels.csv",
        "masks": f"{token}-annotations-object-segmentation.csv",
        "relations": f"oidv6-{token}-annotations-vrd.csv",
        "points": f"oidv7-{'val' if token == 'validation' else token}-annotations-point-labels.csv",
        "narratives": f"open_images_{token}_v6_localized_narratives-00000-of-00001.jsonl",
    }[kind]
