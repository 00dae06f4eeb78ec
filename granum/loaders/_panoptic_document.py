"""One JSON file of COCO panoptic as it is written: lists spilled to disk, categories last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from granum.loaders._panoptic_plan import Target, category_ids
from granum.loaders._panoptic_values import FILLED, complete
from granum.loaders.coco.categories import CATEGORY_KEYS
from granum.loaders.coco.categories import _category as category_of
from granum.loaders.coco.spill import Spill
from granum.schema import rows
from granum.store.dataset import Dataset
from granum.store.out import Out, safe_relative

__all__ = ["Document", "merged_records"]

_KEYS = {
    "name": "name",
    "supercategory": "supercategory",
    "isthing": "isthing",
    "color": "colour",
    "keypoints": "keypoints",
    "skeleton": "skeleton",
    "synonyms": "synonyms",
    "attributes": "attributes",
}
"""Keys of category records, and the columns that hold them."""

_NONE = object()


def _encoded(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class Document:
    """One JSON file: its records so far, and ids of categories in it."""

    def __init__(self, dataset: Dataset, target: Target, images: Spill, annotations: Spill) -> None:
        self.target = target
        self.lists = {"images": images, "annotations": annotations}
        self.waiting: dict[str, list[tuple[str, int]]] = {k: [] for k in self.lists}
        self.categories: list[rows.Category] = rows.categories_from_table(dataset.categories)
        self.used: set[int] = set()
        self.ids = category_ids(dataset.categories)
        own = {row: record["id"] for row, record in target.records if row is not None}
        taken = {str(i) for i in own.values()}
        used = taken | {str(i) for i in self.ids}
        free = (n for n in range(1, 1 << 31) if str(n) not in used)
        for row, id_ in enumerate(self.ids):
            if row in own:
                self.ids[row] = own[row]
            elif str(id_) in taken:
                self.ids[row] = next(free)

    def add(self, key: str, record: Mapping[str, Any], position: int) -> None:
        """Append a record to one of the lists, at a place among the others."""
        self.waiting[key].append((_encoded(record), position))

    def spill(self) -> None:
        for key, listed in self.waiting.items():
            texts = pa.array([t for t, _ in listed], pa.string())
            self.lists[key].add(texts, np.array([p for _, p in listed], np.int64))
            listed.clear()

    def write(self, out: Out, told: Mapping[int, rows.Category]) -> None:
        """The document. ``told``: what the records of all files together say of categories."""
        with out.open(self.target.name) as file:
            listed = self._categories(told)
            keys = list(self.target.keys)
            keys += [k for k, spill in self.lists.items() if k not in keys and spill]
            keys += ["categories"] if listed and "categories" not in keys else []
            for i, key in enumerate(keys):
                file.write(f"{', ' if i else '{'}{_encoded(key)}: ".encode())
                if key in self.lists:
                    self.lists[key].write(file)
                else:
                    value = listed if key == "categories" else self.target.values.get(key)
                    file.write(_encoded(value).encode())
            file.write(b"}")
        if self.target.prefix:
            # An empty folder tells where the images belong, and readers that look for it.
            (out.root / safe_relative(self.target.prefix, out.root)).mkdir(
                parents=True, exist_ok=True
            )

    def _categories(self, told: Mapping[int, rows.Category]) -> list[Any]:
        """Records as the source has them, then categories that are used or new."""
        own = {row for row, _ in self.target.records}
        out = []
        for row, record in self.target.records:
            if row is None:
                out.append(record)
            else:
                out.append(_changed(record, told[row], self.categories[row]))
        for row, category in enumerate(self.categories):
            if row not in own and (row in self.used or row not in told):
                out.append(_made(category, self.ids[row]))
        return out


def merged_records(listed: Sequence[Sequence[tuple[int | None, Any]]]) -> dict[int, rows.Category]:
    """By row, the category that reading the records of several files gives."""
    out: dict[int, rows.Category] = {}
    for records in listed:
        for row, record in records:
            if row is not None:
                one = category_of(record, str(record.get("name")))
                out[row] = one if row not in out else _enrich(out[row], one)
    for category in out.values():
        complete(category)
    return out


def _enrich(category: rows.Category, other: rows.Category) -> rows.Category:
    for name in _KEYS.values():
        if getattr(category, name) is None:
            setattr(category, name, getattr(other, name))
    category.extra = {**(other.extra or {}), **(category.extra or {})} or None
    return category


def _json_values(category: rows.Category) -> dict[str, Any]:
    out = {key: getattr(category, name) for key, name in _KEYS.items()}
    if category.isthing is not None:
        out["isthing"] = int(category.isthing)
    if category.skeleton is not None:
        out["skeleton"] = [[v + 1 for v in pair] for pair in category.skeleton]
    return out


def _made(category: rows.Category, id_: Any) -> dict[str, Any]:
    """A record for a category that no file told of."""
    values = _json_values(category)
    out = {"id": id_, **{k: v for k, v in values.items() if v is not None}}
    extra = category.extra or {}
    out |= {k: v for k, v in extra.items() if k not in CATEGORY_KEYS and k not in out}
    if category.isthing is None:
        # PQ needs the flag; what it is was never said, and readers of ours are told so.
        out |= {"isthing": 1, FILLED: ["isthing"]}
    return out


def _changed(record: Any, told: rows.Category, category: rows.Category) -> dict[str, Any]:
    """A record as it was written, but for what was changed since."""
    out = dict(record)
    values = _json_values(category)
    for key, name in _KEYS.items():
        if getattr(told, name) != getattr(category, name):
            out.pop(key, None)
            if key == "isthing":
                out.pop(FILLED, None)
            out |= {} if values[key] is None else {key: values[key]}
    before, after = told.extra or {}, category.extra or {}
    for key in before.keys() - after.keys():
        out.pop(key, None)
    out |= {k: v for k, v in after.items() if k not in CATEGORY_KEYS and before.get(k, _NONE) != v}
    return out
