"""Images and categories of COCO files, merged over the files of a tree."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import UNSET

from granum.loaders.base import Intake
from granum.loaders.coco.ids import id_texts, needs_extra, repeated
from granum.loaders.coco.records import Array, Columns
from granum.loaders.coco.scan import JsonFile
from granum.loaders.reading import ImageFinder
from granum.schema import rows, tables

__all__ = ["CategoryRows", "Images", "extras", "read_categories"]


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
    extra: list[dict[str, Any] | None] = field(default_factory=list)
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
        again = repeated(ids)
        names = columns.get("file_name").tolist()
        width, height = columns.get("width").tolist(), columns.get("height").tolist()
        extra = extras(columns, file, {"attributes"})
        attributes = raw_texts(columns, file, "attributes")
        shapes = key_sets(columns, list(extra.keys_seen))
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
            if known is not None and not again[i]:
                if self._joins(
                    known, file, place, name, prefix, w, h, unknown, attributes[i], intake
                ):
                    self._join(known, origin, index[i], shapes[i], unknown, w, h, attributes[i])
                    rows_[i] = known
                    continue
            rows_[i] = len(self.key)
            if known is None and value is not UNSET and not again[i]:
                self.seen[group, value] = len(self.key)
            self._append(
                prefix, value if not again[i] else None, name, origin, index[i], w, h, split, attributes[i],
                shapes[i], unknown, file, place, intake, finder,
            )  # fmt: skip
        return rows_

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
        name: Any,
        prefix: str,
        width: int | None,
        height: int | None,
        extra: dict[str, Any] | None,
        attributes: str | None,
        intake: Intake,
    ) -> bool:
        """Whether a record tells the same of an image that is known already."""
        mine = self.extra[row] or {}
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
            self.extra[row] = {**extra, **(self.extra[row] or {})}
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


def _text(extra: dict[str, Any] | None) -> str | None:
    if not extra:
        return None
    return json.dumps(extra, ensure_ascii=False)


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
        if given is not UNSET and given is not None and (_size(given) is None or type(given) is float):
            out[key] = given
    if name == "":
        out["file_name"] = ""
    return out or None


@dataclass
class Extras:
    """Unknown keys of records: row to {key: value}; ``keys_seen`` are all of them."""

    rows: dict[int, dict[str, Any]]
    keys_seen: dict[str, Array]


def extras(columns: Columns, file: JsonFile, known_raw: Iterable[str]) -> Extras:
    """Values of raw keys that the format does not know."""
    found: dict[int, dict[str, Any]] = {}
    present = {}
    decode = msgspec.json.decode
    for key in columns.where:
        if key in known_raw:
            continue
        texts = raw_texts(columns, file, key)
        present[key] = np.array([t is not None for t in texts], bool)
        cache: dict[str, Any] = {}
        for i, text in enumerate(texts):
            if text is not None:
                if text not in cache:
                    if len(cache) > 4096:
                        cache.clear()
                    cache[text] = decode(text)
                found.setdefault(i, {})[key] = cache[text]
    return Extras(found, present)


def raw_texts(columns: Columns, file: JsonFile, key: str) -> list[str | None]:
    """The JSON texts of a raw key; None where a record lacks it."""
    starts, lengths = columns.spans(key)
    own = columns.own.get(key, {})
    data = file.data
    return [
        own[i].decode() if i in own else bytes(data[s : s + n]).decode() if n else None
        for i, (s, n) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True))
    ]


def key_sets(columns: Columns, raw_keys: list[str]) -> list[tuple[str, ...]]:
    """For each record the set of keys that it has, as a sorted tuple."""
    names, codes = key_codes(columns)
    sets = {}
    for code in np.unique(codes).tolist():
        sets[code] = tuple(k for i, k in enumerate(names) if code >> i & 1)
    return [sets[c] for c in codes.tolist()]


def key_codes(columns: Columns) -> tuple[list[str], Array]:
    """Sorted keys, and for each record a number whose bits say which of them it has."""
    names = sorted(columns.keys())
    kind = np.int64 if len(names) < 63 else object
    codes = np.zeros(columns.n, kind)
    for i, name in enumerate(names):
        if name not in columns.values:
            has = columns.has(name)
        else:
            values = columns.get(name)
            has = np.ones(columns.n, bool)
            if values.dtype == object:
                has = np.fromiter((v is not UNSET for v in values.tolist()), bool, columns.n)
        codes = codes + np.where(has, 1 << i, 0).astype(kind)
    return names, codes


CATEGORY_KEYS = {"id", "name", "supercategory", "keypoints", "skeleton", "isthing", "color"}


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
        if name in names_here:
            intake.fault("duplicate-category-name", file.name, place, f"{name!r} is taken")
        names_here.add(name)
        row = next((r for r in by_name.get(name, []) if r not in used), None)
        category = _category(record, name)
        if row is None:
            row = intake.add_category(category)
            by_name.setdefault(name, []).append(row)
        else:
            _enrich(intake.categories[row], category)
        used.add(row)
        out.ids.append(record["id"])
        out.rows.append(row)
        out.records.append((row, record))
    return out


def _category(record: dict[str, Any], name: str) -> rows.Category:
    keypoints, skeleton, colour = (record.get(k) for k in ("keypoints", "skeleton", "color"))
    isthing = record.get("isthing")
    extra = {k: v for k, v in record.items() if k not in CATEGORY_KEYS}
    supercategory = record.get("supercategory")
    texts = isinstance(keypoints, list) and all(isinstance(k, str) for k in keypoints)
    pairs = isinstance(skeleton, list) and all(
        isinstance(p, list) and all(type(v) is int for v in p) for p in skeleton
    )
    bytes_ = isinstance(colour, list) and all(type(c) is int and 0 <= c < 256 for c in colour)
    return rows.Category(
        name,
        "object",
        source_id=str(record["id"]),
        supercategory=supercategory if isinstance(supercategory, str) else None,
        keypoints=keypoints if texts else None,
        skeleton=[[v - 1 for v in p] for p in skeleton] if pairs and skeleton is not None else None,
        isthing=bool(isthing) if isthing in (0, 1) else None,
        colour=colour if bytes_ else None,
        extra=extra or None,
    )


def _enrich(category: rows.Category, other: rows.Category) -> None:
    """Facts that another file tells of the same category, where the first tells none."""
    for name in ("supercategory", "keypoints", "skeleton", "isthing", "colour"):
        if getattr(category, name) is None:
            setattr(category, name, getattr(other, name))
    if other.extra:
        category.extra = {**other.extra, **(category.extra or {})}


def split_of(name: str) -> str | None:
    """The split that an official file name tells: ``instances_val2017.json`` -> ``val2017``."""
    found = re.fullmatch(
        r"(?:[A-Za-z]+_)*?([A-Za-z]*(?:train|val|test|unlabeled)[A-Za-z0-9-]*)", name
    )
    return found[1] if found else None
