"""Change pairs, written: where images and maps go, and which maps are kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.errors import GranumError
from granum.loaders._change_read import ROLES, SPACE
from granum.loaders._image_tree import is_image
from granum.loaders._paths import Names, plain, split_suffix
from granum.loaders._rows import sample_rows
from granum.loaders.base import image_name
from granum.schema import geometry, rows
from granum.store.dataset import Dataset
from granum.store.media import IMAGE_SUFFIXES, read_map

__all__ = ["Item", "Place", "Plan", "places_of", "planned"]

_DATE_MAPS = ("label1", "label2")
_TAKEN = ("A", "B", "images", "labels", "label", *_DATE_MAPS)


@dataclass(frozen=True)
class Place:
    """Where an image goes.

    Attributes:
        before: the folder of the split, with its slash.
        image: the path.
        maps: the folder of its label map.
        stem: its name in any folder.
        date: 0 or 1 in a pair.
    """

    before: str
    image: str
    maps: str
    stem: str
    date: int | None


def places_of(samples: Sequence[rows.Sample], groups: Sequence[rows.Group]) -> list[Place]:
    """A place for each sample; the same for what was written and for what is noted."""
    splits = dict.fromkeys(s.split for s in samples if s.split is not None)
    names = Names(folders=_TAKEN)
    safe = {s: re.sub(r"[^\w.-]", "_", s).strip(".") or "_" for s in splits}
    before = {s: f"{names(f)}/" for s, f in safe.items()}
    before_of = [before[s.split] if s.split is not None else "" for s in samples]
    pairs = _pairs(samples, groups)
    stems, free, found = Names(), Names(), []
    of_pair = {
        g: stems(before_of[i] + _stem(groups[g], samples[i]))
        for i, g in dict.fromkeys(pairs.values())
    }
    for i, sample in enumerate(samples):
        head = before_of[i]
        date = ROLES.index(sample.role or "") if i in pairs else None
        suffix = split_suffix(image_name(sample.key))[1]
        suffix = suffix if is_image(suffix and f"x{suffix}") else ""
        if date is not None:
            stem = of_pair[pairs[i][1]][len(head) :]
            path = f"{head}{'AB'[date]}/{stem}{suffix}"
            found.append(Place(head, path, _DATE_MAPS[date], stem, date))
        else:
            name = plain(image_name(sample.key))
            stem = free(head + (name[: -len(suffix)] if suffix else name))[len(head) :]
            found.append(Place(head, f"{head}images/{stem}{suffix}", "labels", stem, None))
    return found


def _stem(group: rows.Group, sample: rows.Sample) -> str:
    """A pair's name in files; the folder of the split is not said twice."""
    key = group.key
    if sample.split is not None and key.startswith(f"{sample.split}/"):
        key = key[len(sample.split) + 1 :]
    return plain(image_name(key))


def _pairs(
    samples: Sequence[rows.Sample], groups: Sequence[rows.Group]
) -> dict[int, tuple[int, int]]:
    """Samples of pairs that files can tell: one t1 and one t2, in one split; each with the place
    of its ``t1`` and its group."""
    members: dict[int, list[int]] = {}
    for i, sample in enumerate(samples):
        group_ = None if sample.group is None else groups[sample.group]
        if group_ is not None and group_.kind == "pair" and sample.role in ROLES:
            members.setdefault(sample.group or 0, []).append(i)
    found = {}
    for group, listed in members.items():
        roles = sorted(str(samples[i].role) for i in listed)
        if roles == [*ROLES] and samples[listed[0]].split == samples[listed[1]].split:
            found.update(dict.fromkeys(listed, (listed[0], group)))
    return found


# ---------------------------------------------------------------------- what is kept


@dataclass(frozen=True)
class Item:
    """A map to be written: what reading gives, its place in the sample, and its content."""

    stored: rows.LabelMap
    category: int | None
    rank: int
    content: Path | bytes | npt.NDArray[np.bool_]


@dataclass
class Plan:
    """What ``keep`` knows of the whole.

    Attributes:
        items: by annotation id.
        encoding, space: of the label maps of dates; those of another one are not kept.
        folders: of maps of change, by category (None: index maps).
    """

    items: dict[int, Item] = field(default_factory=dict)
    encoding: str | None = None
    space: str | None = None
    folders: dict[int | None, str] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        listed = [[f, c] for c, f in self.folders.items()]
        return {"labels": [self.encoding, self.space], "changes": listed}


def planned(dataset: Dataset) -> Plan:
    plan, categories = Plan(), rows.categories_from_table(dataset.categories)
    groups = rows.groups_from_table(dataset.groups)
    samples = list(sample_rows(dataset))
    root = dataset.meta.map_root or dataset.meta.media_root
    places = places_of(samples, groups)
    listed = [(s, p, a) for s, p in zip(samples, places, strict=True) for a in s.annotations]
    whole = {id(a): w for s, _, a in listed if (w := _whole(a)) is not None}
    first = next((w for w in whole.values() if w.space != SPACE), None)
    if first is not None:
        plan.encoding, plan.space = first.encoding, first.space
    wanted = {a.category for _, p, a in listed if _is_change(a, p, categories)}
    free = ["label", *(() if first else _DATE_MAPS)]
    free += [f"label_{n}" for n in range(1, len(wanted) + 2)]
    for category in sorted(wanted, key=lambda c: -1 if c is None else c):
        plan.folders[category] = free.pop(0)
    taken: set[str] = set()
    for sample, place, one in listed:
        label_map = whole.get(id(one))
        if _is_change(one, place, categories):
            folder = plan.folders[one.category]
            rank = 1 + [*plan.folders.values()].index(folder)
        elif label_map is not None and _like(label_map, plan):
            folder, rank = place.maps, 0
        else:
            continue
        content = _content(one, sample, root)
        stem = f"{place.before}{folder}/{place.stem}"
        if content is None or stem in taken:
            continue
        taken.add(stem)
        suffix = content.suffix if isinstance(content, Path) else ".png"
        stored = rows.LabelMap(f"{stem}{suffix}", encoding="nonzero")
        if label_map is not None:
            stored.encoding, stored.space = label_map.encoding, label_map.space
        plan.items[one.annotation_id or -1] = Item(stored, one.category, rank, content)
    return plan


def _whole(one: rows.Annotation) -> rows.LabelMap | None:
    """The map of an annotation that is nothing but a whole map of class values."""
    found = one.map
    if one.kind != "object" or found is None or one.category is not None:
        return None
    if found.value is not None or found.encoding not in ("index", "rgb24"):
        return None
    return found


def _like(label_map: rows.LabelMap, plan: Plan) -> bool:
    return (label_map.encoding, label_map.space) == (plan.encoding, plan.space)


def _is_change(one: rows.Annotation, place: Place, categories: Sequence[rows.Category]) -> bool:
    """Whether it is a mask of a change, or a whole map of changes, on the later image of a pair."""
    if place.date != 1 or one.kind != "object":
        return False
    if one.category is None:
        label_map = _whole(one)
        return label_map is not None and (label_map.space, label_map.encoding) == (SPACE, "index")
    return categories[one.category].space == SPACE


def _content(
    one: rows.Annotation, sample: rows.Sample, root: str | None
) -> Path | bytes | npt.NDArray[np.bool_] | None:
    """The file to copy, or the mask; None where neither can be had."""
    label_map = one.map
    size = None if sample.width is None or sample.height is None else (sample.height, sample.width)
    try:
        if label_map is None:
            if one.rle is not None:
                return geometry.rle_decode(one.rle.size, one.rle.counts)
            if one.polygons and size and sample.unit == "pixel":
                return geometry.rasterize(one.polygons, *size)
            return None
        if one.category is None or label_map.encoding == "nonzero":
            if label_map.bytes is not None:
                return label_map.bytes
            path = None if root is None or label_map.path is None else Path(root, label_map.path)
            known = path is not None and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
            return path if known else None
        return read_map(label_map, root)
    except (GranumError, OSError, ValueError, SyntaxError):
        return None
