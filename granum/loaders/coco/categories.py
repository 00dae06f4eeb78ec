"""Categories of COCO files, united by name over the files of a tree."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from granum.loaders.base import Intake
from granum.loaders.coco.scan import JsonFile
from granum.schema import rows

__all__ = ["CategoryRows", "read_categories"]

CATEGORY_KEYS = {
    *("id", "name", "supercategory", "keypoints", "skeleton", "isthing", "color"),
    *("space", "synonyms", "attributes"),
}


@dataclass
class CategoryRows:
    """Category ids of one file, and their rows in the dataset."""

    ids: list[Any] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    records: list[tuple[int | None, Any]] = field(default_factory=list)


def read_categories(file: JsonFile, intake: Intake, by_name: dict[str, list[int]]) -> CategoryRows:
    """Read a file's categories into the intake.

    ``by_name`` finds categories of earlier files: those of equal name are one.
    """
    out = CategoryRows()
    raw = file.raw("categories")
    listed = json.loads(raw) if raw is not None else []
    if not isinstance(listed, list):
        intake.fault("bad-value", file.name, "/categories", "not a list")
        return out
    names_here: set[str] = set()
    used: set[int] = set()
    ids_here = _ids_by_name(listed)
    for i, record in enumerate(listed):
        place = f"/categories/{i}"
        if (
            not isinstance(record, dict)
            or "id" not in record
            or isinstance(record["id"], list | dict)
        ):
            intake.fault("missing-key", file.name, place, "a category needs an id")
            continue
        if record["id"] in out.ids:
            intake.fault("duplicate-category-id", file.name, place, f"id {record['id']!r} is taken")
            continue
        name = record.get("name")
        if not isinstance(name, str):
            intake.fault("missing-key", file.name, place, "a category needs a name")
            if intake.on_error != "fix":
                continue
            name = str(record["id"])
        category = _category(record, name)
        named = f"{category.space} {name}"
        if named in names_here:
            intake.fault("duplicate-category-name", file.name, place, f"{name!r} is taken")
        names_here.add(named)
        row = _known(category, by_name.get(named, []), used, ids_here[named], intake)
        if row is None:
            row = intake.add_category(category)
            by_name.setdefault(named, []).append(row)
        else:
            _enrich(intake.categories[row], category)
        used.add(row)
        out.ids.append(record["id"])
        out.rows.append(row)
        out.records.append((row, record))
    return out


def _ids_by_name(listed: list[Any]) -> dict[str, set[str]]:
    """Ids of a file's categories by space and name."""
    out: dict[str, set[str]] = {}
    for record in listed:
        if isinstance(record, dict) and "id" in record:
            name, space = record.get("name"), record.get("space")
            name = name if isinstance(name, str) else str(record["id"])
            space = space if isinstance(space, str) else "object"
            out.setdefault(f"{space} {name}", set()).add(str(record["id"]))
    return out


def _known(
    category: rows.Category, named: list[int], used: set[int], ids: set[str], intake: Intake
) -> int | None:
    """The row of an earlier file's category of the same name: with the same id, else one whose id
    no category of this name has here."""
    free = [r for r in named if r not in used]
    source = {r: intake.categories[r].source_id for r in free}
    same = [r for r in free if source[r] == category.source_id]
    return next(iter([*same, *(r for r in free if source[r] not in ids)]), None)


def _category(record: dict[str, Any], name: str) -> rows.Category:
    keypoints, skeleton, colour = (record.get(k) for k in ("keypoints", "skeleton", "color"))
    isthing = record.get("isthing")
    extra = {k: v for k, v in record.items() if k not in CATEGORY_KEYS}
    supercategory = record.get("supercategory")
    texts = _all_texts(keypoints)
    pairs = isinstance(skeleton, list) and all(
        isinstance(p, list) and all(type(v) is int for v in p) for p in skeleton
    )
    bytes_ = isinstance(colour, list) and all(type(c) is int and 0 <= c < 256 for c in colour)
    space, synonyms, attributes = (record.get(k) for k in ("space", "synonyms", "attributes"))
    if not isinstance(space, str | None):
        extra["space"], space = space, None
    if synonyms is not None and not _all_texts(synonyms):
        extra["synonyms"], synonyms = synonyms, None
    if not isinstance(attributes, dict | None):
        extra["attributes"], attributes = attributes, None
    return rows.Category(
        name,
        space if space is not None else "object",
        synonyms=synonyms,
        attributes=attributes,
        source_id=str(record["id"]),
        supercategory=supercategory if isinstance(supercategory, str) else None,
        keypoints=keypoints if texts else None,
        skeleton=[[v - 1 for v in p] for p in skeleton] if pairs and skeleton is not None else None,
        isthing=bool(isthing) if isthing in (0, 1) else None,
        colour=colour if bytes_ else None,
        extra=extra or None,
    )


def _all_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _enrich(category: rows.Category, other: rows.Category) -> None:
    """Facts that another file tells of the same category, where the first tells none."""
    names = (
        "supercategory",
        "keypoints",
        "skeleton",
        "isthing",
        "colour",
        "synonyms",
        "attributes",
    )
    for name in names:
        if getattr(category, name) is None:
            setattr(category, name, getattr(other, name))
    if other.extra:
        category.extra = {**other.extra, **(category.extra or {})}
