"""Images of COCO files as samples, merged over the files of a tree."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec import UNSET

from granum.loaders.base import Intake
from granum.loaders.coco.ids import needs_extra, repeated
from granum.loaders.coco.keys import extras, key_sets, raw_texts, unknown_texts
from granum.loaders.coco.records import Array, Columns
from granum.loaders.coco.scan import JsonFile
from granum.loaders.reading import ImageFinder
from granum.schema import tables

__all__ = ["Images", "split_of"]


@dataclass
class Images:
    """Samples gathered from the image records of all files.

    Lists are row-aligned; ``seen`` finds the row of (group of files, image id).
    """

    key: list[str] = field(default_factory=list)
    source_id: list[str | None] = field(default_factory=list)
    origins: list[list[int]] = field(default_factory=list)
    ordinal: list[list[int]] = field(default_factory=list)
    path: list[str | None] = field(default_factory=list)
    width: list[int | None] = field(default_factory=list)
    height: list[int | None] = field(default_factory=list)
    split: list[str | None] = field(default_factory=list)
    attributes: list[str | None] = field(default_factory=list)
    shapes: list[tuple[tuple[str, ...], ...]] = field(default_factory=list)
    extra: list[dict[str, Any] | str | None] = field(default_factory=list)
    seen: dict[tuple[str, Any], int] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.key)

    def add(
        self,
        columns: Columns,
        file: JsonFile,
        origin: int,
        group: str,
        prefix: str,
        split: str | None,
        intake: Intake,
        finder: ImageFinder | None,
    ) -> Array:
        """Add a file's images; returns the sample row of each record (-1: left out)."""
        n = columns.n
        ids = columns.get("id")
        if finder is None and self._add_regular(columns, file, origin, group, prefix, split):
            return np.arange(n)
        again = repeated(ids)
        names = columns.get("file_name").tolist()
        width, height = columns.get("width").tolist(), columns.get("height").tolist()
        extra = extras(columns, file, {"attributes"})
        attributes = raw_texts(columns, file, "attributes")
        for i, text in enumerate(attributes):
            if text is not None and text[:1] != "{":  # not an object: kept as it was written
                extra.rows.setdefault(i, {})["attributes"] = json.loads(text)
                attributes[i] = None
        shapes = key_sets(columns)
        index = columns.indices().tolist()
        listed = ids.tolist()
        rows_ = np.full(n, -1, np.int64)
        for i in range(n):
            place = f"/images/{index[i]}"
            value, name = listed[i], names[i]
            if value is UNSET or value is None:
                intake.fault("missing-image-id", file.name, place, "the image has no id")
                if intake.on_error != "fix":
                    continue
            elif type(value) is str:
                intake.fault("string-id", file.name, f"{place}/id", f"id is {value!r}")
            unknown = extra.rows.get(i)
            if again[i]:
                intake.fault("duplicate-image-id", file.name, place, f"id {value!r} is taken")
                if intake.on_error != "fix":
                    continue
            w, h = _size(width[i]), _size(height[i])
            if w is None or h is None:
                intake.fault(
                    "missing-size", file.name, place, f"{name or value}: no width or height"
                )
                if intake.on_error == "fix" and finder is not None and isinstance(name, str):
                    w, h = _probed(finder, name, w, h)
            unknown = _overrides(unknown, value, name, width[i], height[i])
            known = self.seen.get((group, value)) if value is not UNSET else None
            same = (name, prefix, w, h, unknown, attributes[i])
            if known is not None and not again[i] and self._joins(known, file, place, same, intake):
                self._join(known, origin, index[i], shapes[i], unknown, w, h, attributes[i])
                rows_[i] = known
                continue
            rows_[i] = len(self.key)
            if known is None and value is not UNSET and not again[i]:
                self.seen[group, value] = len(self.key)
            self._append(
                prefix,
                None if again[i] else value,
                name,
                origin,
                index[i],
                w,
                h,
                split,
                attributes[i],
                shapes[i],
                unknown,
                file,
                place,
                intake,
                finder,
            )
        return rows_

    def _add_regular(
        self,
        columns: Columns,
        file: JsonFile,
        origin: int,
        group: str,
        prefix: str,
        split: str | None,
    ) -> bool:
        """Add the images of a first file whose records leave nothing to ask; in bulk."""
        n, ids, names = columns.n, columns.get("id"), columns.get("file_name").tolist()
        width, height = columns.get("width"), columns.get("height")
        sizes = np.concatenate([width, height])
        if (
            len(self)
            or not n
            or ids.dtype != np.int64
            or sizes.dtype != np.int64
            or sizes.min() <= 0
            or sizes.max() >= 2**31
            or set(map(type, names)) != {str}
            or not all(names)
            or len(set(names)) < n
            or len(set(ids.tolist())) < n
            or any(t is not None and t[:1] != "{" for t in raw_texts(columns, file, "attributes"))
        ):
            return False
        self.key = [prefix + name for name in names] if prefix else names
        self.path = list(self.key)
        self.keys = set(self.key)
        self.source_id = list(map(str, ids.tolist()))
        self.origins = [[origin] for _ in names]
        self.ordinal = [[i] for i in columns.indices().tolist()]
        self.width, self.height = width.tolist(), height.tolist()
        self.split = [split] * n
        self.attributes = raw_texts(columns, file, "attributes")
        self.shapes = [(keys,) for keys in key_sets(columns)]
        self.extra = list(unknown_texts(columns, file, {"attributes"}))
        self.seen = {(group, value): row for row, value in enumerate(ids.tolist())}
        return True

    def _append(
        self,
        prefix: str,
        value: Any,
        name: Any,
        origin: int,
        position: int,
        width: int | None,
        height: int | None,
        split: str | None,
        attributes: str | None,
        shape: tuple[str, ...],
        extra: dict[str, Any] | None,
        file: JsonFile,
        place: str,
        intake: Intake,
        finder: ImageFinder | None,
    ) -> None:
        text = None if value is UNSET or value is None else str(value)
        plain = name if isinstance(name, str) and name else None
        key = prefix + (plain if plain is not None else text or f"image{position}")
        if key in self.keys and split is not None and f"{split}/{key}" not in self.keys:
            key, extra = f"{split}/{key}", {**(extra or {}), "file_name": plain}
        if key in self.keys:
            intake.findings.add(
                "duplicate-key", file.name, place, f"a second image is named {key!r}"
            )
            n = 2
            while f"{key}#{n}" in self.keys:
                n += 1
            key = f"{key}#{n}"
            extra = {**(extra or {}), "file_name": plain}
        path = None if plain is None else prefix + plain
        if finder is not None and plain is not None:
            found = finder.find(plain)
            if found is None:
                intake.fault(
                    "file-missing",
                    file.name,
                    f"{place}/file_name",
                    f"{plain} is not below {finder.root}",
                )
            path = found or plain
        self.keys.add(key)
        self.key.append(key)
        self.source_id.append(text)
        self.origins.append([origin])
        self.ordinal.append([position])
        self.path.append(path)
        self.width.append(width)
        self.height.append(height)
        self.split.append(split)
        self.attributes.append(attributes)
        self.shapes.append((shape,))
        self.extra.append(extra)

    def _joins(
        self,
        row: int,
        file: JsonFile,
        place: str,
        facts: tuple[Any, str, int | None, int | None, dict[str, Any] | None, str | None],
        intake: Intake,
    ) -> bool:
        """Whether a record tells the same of an image that is known already."""
        name, prefix, width, height, extra, attributes = facts
        mine = _values(self.extra[row])
        other = extra or {}
        same = (
            (not isinstance(name, str) or self.key[row] == prefix + name)
            and (None in (width, self.width[row]) or width == self.width[row])
            and (None in (height, self.height[row]) or height == self.height[row])
            and all(mine[k] == other[k] for k in mine.keys() & other.keys())
            and (None in (attributes, self.attributes[row]) or attributes == self.attributes[row])
        )
        if not same:
            intake.fault(
                "conflicting-records",
                file.name,
                place,
                f"differs from {self.key[row]!r} of another file",
            )
        return same

    def _join(
        self,
        row: int,
        origin: int,
        position: int,
        shape: tuple[str, ...],
        extra: dict[str, Any] | None,
        width: int | None,
        height: int | None,
        attributes: str | None,
    ) -> None:
        self.origins[row].append(origin)
        self.ordinal[row].append(position)
        self.shapes[row] = (*self.shapes[row], shape)
        if extra:
            self.extra[row] = {**extra, **_values(self.extra[row])}
        self.width[row] = self.width[row] if self.width[row] is not None else width
        self.height[row] = self.height[row] if self.height[row] is not None else height
        self.attributes[row] = self.attributes[row] or attributes

    def table(self, start: int, stop: int, intake: Intake) -> pa.Table:
        """Samples ``start`` to ``stop`` as a table of the schema."""
        at = slice(start, stop)
        n = len(self.key[at])

        def column(name: str, values: list[Any]) -> pa.Array:
            return pa.array(values, tables.SAMPLES.field(name).type)

        def words(values: list[str | None]) -> pa.Array:
            return pa.array(values, pa.string()).dictionary_encode()

        media = pa.StructArray.from_arrays(
            [pa.array(self.path[at], pa.string()), pa.nulls(n, pa.binary())],
            ["path", "bytes"],
            mask=pa.array([p is None for p in self.path[at]], pa.bool_()),
        )
        return pa.table(
            {
                "key": column("key", self.key[at]),
                "source_id": column("source_id", self.source_id[at]),
                "origins": column("origins", self.origins[at]),
                "ordinal": column("ordinal", self.ordinal[at]),
                "media": media,
                "media_kind": words(["image"] * n),
                "width": column("width", self.width[at]),
                "height": column("height", self.height[at]),
                "unit": words(["pixel"] * n),
                "split": words(self.split[at]),
                "attributes": column("attributes", self.attributes[at]),
                "shape": column("shape", [intake.shape(s) for s in self.shapes[at]]),
                "extra": column("extra", [_text(e) for e in self.extra[at]]),
            }
        )


def _text(extra: dict[str, Any] | str | None) -> str | None:
    if not extra:
        return None
    return extra if isinstance(extra, str) else json.dumps(extra, ensure_ascii=False)


def _values(extra: dict[str, Any] | str | None) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(extra) if isinstance(extra, str) else extra or {}
    return values


def _size(value: Any) -> int | None:
    """A usable size; whole floats count (what was written is kept beside)."""
    whole = type(value) in (int, float) and 0 < value < 2**31 and value == int(value)
    return int(value) if whole else None


def _probed(
    finder: ImageFinder, name: str, w: int | None, h: int | None
) -> tuple[int | None, int | None]:
    from granum.errors import FormatError
    from granum.store.media import image_size

    found = finder.find(name)
    if found is None:
        return w, h
    try:
        return image_size(finder.root / found)
    except FormatError:
        return w, h


def _overrides(
    extra: dict[str, Any] | None, value: Any, name: Any, width: Any, height: Any
) -> dict[str, Any] | None:
    """Values that the typed columns cannot give back go to ``extra`` under their own keys."""
    out = dict(extra or {})
    if needs_extra(value):
        out["id"] = value
    for key, given in (("width", width), ("height", height)):
        odd = _size(given) is None or type(given) is float
        if given is not UNSET and given is not None and odd:
            out |= {key: given}
    if name == "":
        out["file_name"] = ""
    return out or None


def split_of(name: str) -> str | None:
    """The split that an official file name tells: ``instances_val2017.json`` -> ``val2017``."""
    found = re.fullmatch(
        r"(?:[A-Za-z]+_)*?([A-Za-z]*(?:train|val|test|unlabeled)[A-Za-z0-9-]*)", name
    )
    return found[1] if found else None
