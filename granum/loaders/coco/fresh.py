"""New ids for rows that have none, and category records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from granum.schema import rows, tables
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = ["Ids", "category_record", "image_paths"]


class Ids:
    """Ids of images, annotations and categories; new ones for rows that have none."""

    def __init__(self, dataset: Dataset) -> None:
        self.next_image = _highest(p.samples() for p in dataset.parts) + 1
        name = dataset.meta.layer
        self.next_annotation = _highest(p.layer(name) for p in dataset.parts) + 1
        self.new_images = dict[int, int]()
        self.given_annotations = 0
        used: set[str] = set()
        self.categories: list[str] = []
        given = column(dataset.categories, "source_id", tables.CATEGORIES).to_pylist()
        numbers = [int(g) for g in given if g is not None and g.isdecimal()]
        following = max(numbers, default=0) + 1
        for value in given:
            if value is None or value in used:
                value, following = str(following), following + 1
            used.add(value)
            self.categories.append(value)

    def images(self, samples: pa.Table, start: int) -> pa.Array:
        """Stored or new ids of samples as texts."""
        given = column(samples, "source_id").combine_chunks()
        if not given.null_count:
            return given
        values = given.to_pylist()
        for i, value in enumerate(values):
            if value is None:
                if start + i not in self.new_images:
                    self.new_images[start + i] = self.next_image
                    self.next_image += 1
                values[i] = str(self.new_images[start + i])
        return pa.array(values, pa.string())

    def annotations(self, given: pa.Array) -> pa.Array:
        if not given.null_count:
            return given
        values = given.to_pylist()
        for i, value in enumerate(values):
            if value is None:
                values[i] = str(self.next_annotation)
                self.next_annotation += 1
        return pa.array(values, pa.string())


def _highest(listed: Iterable[pa.Table]) -> int:
    top = 0
    for table in listed:
        ids = column(table, "source_id")
        if ids.null_count < len(ids):
            whole = ids.filter(pc.match_substring_regex(ids, r"^[0-9]{1,18}$"))
            if len(whole):
                top = max(top, pc.max(whole.cast(pa.int64())).as_py())
    return top


def category_record(category: rows.Category, id_: Any, record: Any) -> dict[str, Any]:
    """A category as a record: as written where nothing changed."""
    now: dict[str, Any] = {
        "id": id_,
        "name": category.name,
        "supercategory": category.supercategory,
        "keypoints": category.keypoints,
        "skeleton": None
        if category.skeleton is None
        else [[v + 1 for v in p] for p in category.skeleton],
        "isthing": None if category.isthing is None else int(category.isthing),
        "color": category.colour,
        "synonyms": category.synonyms,
        "attributes": category.attributes,
        "space": None if category.space in (None, "object") else category.space,
    }
    if record is None:
        return {**{k: v for k, v in now.items() if v is not None}, **(category.extra or {})}
    out = dict(record)
    for key in ("name", "supercategory"):
        if key in record and isinstance(record[key], str) and now[key] is not None:
            out[key] = now[key]
    return out


def image_paths(samples: pa.Table, prefix: str) -> list[str | None]:
    """``file_name`` of each sample: its key without the folder that the source left out."""
    keys = samples["key"].to_pylist()
    return [k.removeprefix(prefix) for k in keys]
