"""``granum.json``: what our writer notes beside the CSV files, so that more comes back.

No other reader looks at it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import msgspec

from granum.errors import FormatError
from granum.loaders.open_images.facts import TYPES
from granum.schema import rows, tables

__all__ = [
    "ATTRIBUTE",
    "NOTES",
    "OBJECT",
    "PREDICATE",
    "Notes",
    "is_notes",
    "read_notes",
    "role_lookups",
]

NOTES = "granum.json"
FORMAT = "open_images"

OBJECT, ATTRIBUTE, PREDICATE = "object", "attribute", "relation"
"""Label spaces: what is seen, what things are ("is"), and how two things stand."""


@dataclass(slots=True)
class Notes:
    """Facts that the CSV files cannot say.

    Attributes:
        suffix: what keys of samples have beyond their ImageID.
        keys: by ImageID, keys that are something else.
        subsets: what ``Subset`` says, and the split that is meant.
        folders: splits, and what the folder of each one's images is called.
        files: by ImageID, images that lie elsewhere than their id says.
        ids: how the files call each of ``categories``.
        categories: all classes, those of other label spaces than objects too.
        scores: ``Confidence`` of boxes is a score also where it is 1.
        samples: types of the attributes of samples.
        annotations: types of the attributes of annotations.
    """

    suffix: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    subsets: dict[str, str | None] = field(default_factory=dict)
    folders: list[tuple[str | None, str]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    categories: list[rows.Category] = field(default_factory=list)
    scores: bool = False
    samples: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)

    def key(self, image_id: str) -> str:
        """The key of an image."""
        return self.keys.get(image_id, image_id + self.suffix)

    def text(self) -> str:
        """The content of the file."""
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        record["categories"] = [
            {n: v for n, v in asdict(c).items() if v is not None} for c in self.categories
        ]
        return json.dumps({"format": FORMAT, **record}, ensure_ascii=False, indent=1) + "\n"


def role_lookups(
    ids: Sequence[str], categories: Sequence[rows.Category]
) -> tuple[dict[str, int], dict[str, int]]:
    """The category of each id as the class of something, and as what something "is".

    Classes and attributes may share an id.
    """
    attribute: dict[str, int] = {}
    other: dict[str, int] = {}
    for row, (own, category) in enumerate(zip(ids, categories, strict=True)):
        (attribute if category.space == ATTRIBUTE else other)[own] = row
    return {**attribute, **other}, {**other, **attribute}


def is_notes(path: Path) -> bool:
    """Whether a file begins as ours."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(64)
    return head.lstrip().startswith(b"{") and f'"format": "{FORMAT}"'.encode() in head


def read_notes(path: Path) -> Notes | None:
    """The notes of a tree; None where it has none of ours.

    Raises:
        FormatError: they are not as granum writes them.
    """
    if not path.is_file():
        return None

    def require(condition: bool, key: str) -> None:
        if not condition:
            reason = "not as granum writes it; remove the file to go without"
            raise FormatError(path.name, reason, key)

    def texts(value: Any) -> bool:
        return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())

    try:
        record = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(path.name, f"no JSON: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        return None
    known = {f.name: record[f.name] for f in fields(Notes) if f.name in record}
    require(isinstance(known.get("suffix", ""), str), "suffix")
    require(isinstance(known.get("scores", False), bool), "scores")
    for name in ("keys", "files", "samples", "annotations"):
        require(texts(known.get(name, {})), name)
    for name in ("samples", "annotations"):
        require({*known.get(name, {}).values()} <= TYPES.keys(), name)
    subsets = known.get("subsets", {})
    require(isinstance(subsets, dict), "subsets")
    require(texts({k: v for k, v in subsets.items() if v is not None}), "subsets")
    ids, listed = known.get("ids", []), known.get("categories", [])
    require(isinstance(ids, list) and all(isinstance(i, str) for i in ids), "ids")
    require(isinstance(listed, list) and all(isinstance(c, dict) for c in listed), "categories")
    require(len(ids) == len(listed), "ids")
    folders = known.get("folders", [])
    require(isinstance(folders, list), "folders")
    for pair in folders:
        require(isinstance(pair, list) and len(pair) == 2, "folders")
        require(pair[0] is None or isinstance(pair[0], str), "folders")
        require(isinstance(pair[1], str) and _is_inside(pair[1]), "folders")
    require(all(_is_inside(p) for p in known.get("files", {}).values()), "files")
    known["folders"] = [(split, folder) for split, folder in folders]
    names = {f.name for f in fields(rows.Category)}
    try:
        known["categories"] = [
            rows.Category(**{"space": None, **{k: v for k, v in c.items() if k in names}})
            for c in listed
        ]
        rows.objects_to_table(known["categories"], tables.CATEGORIES)
    except (TypeError, ValueError, AttributeError) as error:
        raise FormatError(path.name, str(error), "categories") from error
    for category in known["categories"]:
        require(isinstance(category.name, str), "categories")
        at = [p.get("index") for p in category.parents or []]
        require(all(isinstance(i, int) and 0 <= i < len(ids) for i in at), "categories")
    return Notes(**known)


def _is_inside(path: str) -> bool:
    """Whether a path stays below the root."""
    parts = path.replace("\\", "/").split("/")
    return bool(path) and not path.startswith("/") and ".." not in parts and "\0" not in path
