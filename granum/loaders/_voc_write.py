"""PASCAL VOC: writing annotation files, lists, classes and masks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from granum.errors import FormatError
from granum.loaders._voc_build import object_xml, sample_xml
from granum.loaders._voc_classes import write_classes
from granum.loaders._voc_names import file_name, stems
from granum.loaders._voc_parse import FLAGS as FLAG_COLUMNS
from granum.loaders._voc_sets import FLAGS, FOLDER, ListWriter
from granum.loaders._voc_tree import OBJECT, Images
from granum.schema import geometry
from granum.schema.attributes import attribute_dicts
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["write_tree"]

_FLAG_OF = {stated: flag for flag, stated in FLAGS.items()}


def write_tree(dataset: Dataset, out: Out, one: bool) -> None:
    """Write a dataset that was projected; ``one``: corners are pixels counted from 1."""
    write_classes(dataset.categories, out)
    keys = dataset.samples(["key"])["key"].to_pylist()
    names = [file_name(k) for k in keys]
    labels = stems(names)
    lists = ListWriter(frozenset(labels))
    classes = dataset.category_names()
    for batch in dataset.iter_batches():
        rows = _Rows(batch, classes, one)
        root = dataset.meta.map_root or dataset.meta.media_root
        for i, sample in enumerate(_samples(batch)):
            at = batch.start + i
            extra = sample["extra"]
            further = extra.get("image_sets") if isinstance(extra, dict) else None
            sets, told = lists.add(labels[at], sample["split"], further)
            if told:
                extra = {k: v for k, v in extra.items() if k != "image_sets"} or None
            key = keys[at]
            known = Images(()).key(labels[at], names[at]) == (key, False)
            first, last = int(rows.offsets[i]), int(rows.offsets[i + 1])
            for name, flag in rows.facts(first, last):
                lists.fact(labels[at], sets, name, flag)
            content = sample_xml(
                names[at],
                None if known else key,
                (sample["width"], sample["height"], sample["channels"]),
                sample["attributes"],
                extra,
                rows.objects(first, last),
                rows.whole_mask(first, last),
            )
            out.text(f"Annotations/{labels[at]}.xml", content)
            for path in rows.map_paths(first, last):
                _copy_map(path, labels[at], root, out)
    if not keys:
        out.text(f"{FOLDER}/Main/default.txt", "")
    lists.write(out, frozenset(classes))


def _samples(batch: Batch) -> list[dict[str, Any]]:
    table = batch.samples
    values = {
        name: column(table, name).to_pylist()
        for name in ("width", "height", "channels", "split", "extra")
    }
    values["attributes"] = attribute_dicts(table)
    values["extra"] = [None if e is None else json.loads(e) for e in values["extra"]]
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def _copy_map(path: str, label: str, root: str | None, out: Out) -> None:
    folder = path.partition("/")[0]
    if path != f"{folder}/{label}.png" or root is None:
        raise FormatError(path, f"is not the mask of {label!r}, whose name another image shares")
    source = Path(root, path)
    try:
        shutil.copyfile(source, out.path(path))
    except FileNotFoundError as error:
        raise FormatError(source, "the mask is absent") from error


@dataclass
class _Rows:
    """The annotations of a batch as lists, column by column."""

    batch: Batch
    classes: Sequence[str]
    one: bool
    below: dict[int, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        table = self.batch.annotations

        def listed(name: str) -> list[Any]:
            return list(column(table, name).to_pylist())

        self.offsets = self.batch.offsets()
        self.first: dict[str, int] = {}
        for i, name in enumerate(self.classes):
            self.first.setdefault(name, i)
        valid, boxes = geometry.fixed_list(column(table, "bbox"))
        self.box = [b if v else None for b, v in zip(boxes.tolist(), valid.tolist(), strict=True)]
        self.kind, self.category = listed("kind"), listed("category")
        self.flags = {name: listed(name) for name in FLAG_COLUMNS}
        self.map, ids = listed("map"), listed("annotation_id")
        self.attributes = attribute_dicts(table)
        self.extra = [None if e is None else json.loads(e) for e in listed("extra")]
        self.parent = listed("parent")
        if any(p is not None for p in self.parent):
            row_of = {i: row for row, i in enumerate(ids)}
            for row, parent in enumerate(self.parent):
                if parent is not None:
                    self.below.setdefault(row_of[parent], []).append(row)

    def _is_whole(self, row: int) -> bool:
        return self.map[row] is not None and self.map[row]["value"] is None

    def objects(self, first: int, last: int) -> str:
        """The elements of a sample's objects and labels."""
        in_lists = {row for rows in self._labels(first, last).values() for row in rows[1:2]}
        out = []
        for row in range(first, last):
            if self.kind[row] == "label":
                if row not in in_lists:
                    out.append(self._element(row, "image_label", "  "))
            elif self.parent[row] is None and not self._is_whole(row):
                out.append(self._element(row, self._tag(row, "object"), "  "))
        return "".join(out)

    def _tag(self, row: int, tag: str) -> str:
        """Other readers look at objects with boxes that are there."""
        seen = self.box[row] is not None and self.flags["present"][row] is not False
        return tag if seen else f"hidden_{tag}"

    def _element(self, row: int, tag: str, pad: str) -> str:
        parts = "".join(
            self._element(r, self._tag(r, "part"), pad + "  ") for r in self.below.get(row, ())
        )
        category, value = self.category[row], self.map[row]
        name = None if category is None else self.classes[category]
        return object_xml(
            tag,
            (name, None if name is None or self.first[name] == category else category),
            {flag: values[row] for flag, values in self.flags.items()},
            self.box[row],
            None if value is None else value["value"],
            self.attributes[row],
            self.extra[row],
            self.one,
            pad,
            parts,
        )

    def _labels(self, first: int, last: int) -> dict[int, list[int]]:
        """For each class whose first row a list of classes can tell: that row; twice, where the
        list tells all there is."""
        found: dict[int, list[int]] = {}
        for row in range(first, last):
            category = self.category[row]
            if self.kind[row] == "label" and category is not None:
                found.setdefault(category, []).append(row)
        out = {}
        for category, rows in found.items():
            name, row = self.classes[category], rows[0]
            if name and self.first[name] == category:
                plain = all(
                    values[row] is None
                    for values in (
                        *(self.flags[n] for n in ("truncated", "occluded")),
                        *(self.box, self.attributes, self.extra),
                    )
                )
                told = len(rows) == 1 and plain and self._stated(row) in _FLAG_OF
                out[category] = [row, row] if told else [row]
        return out

    def _stated(self, row: int) -> tuple[bool | None, bool | None]:
        return self.flags["present"][row], self.flags["difficult"][row]

    def facts(self, first: int, last: int) -> list[tuple[str, int]]:
        """Classes and their flags, for the lists of classes."""
        out = []
        for category, rows in self._labels(first, last).items():
            present, difficult = self._stated(rows[0])
            flag = -1 if present is False else 0 if difficult else 1
            out.append((self.classes[category], flag))
        return out

    def map_paths(self, first: int, last: int) -> list[str]:
        return list(dict.fromkeys(m["path"] for m in self.map[first:last] if m is not None))

    def whole_mask(self, first: int, last: int) -> bool:
        found = (self.map[r]["path"] for r in range(first, last) if self._is_whole(r))
        return any(path.startswith(f"{OBJECT}/") for path in found)
