"""``granum.json``: what the files of a format cannot say, noted beside them by our writers.

It holds the samples in order (key, place of the image, size, and the columns that the format
keeps), the categories and the groups, so that what we wrote comes back exactly. Other readers
pass over it, and trees without it are read by their files alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from granum.errors import FormatError
from granum.loaders._hf_facts import unique_names
from granum.loaders.base import Intake
from granum.schema import rows, tables
from granum.schema.losses import name_of
from granum.store.dataset import Dataset
from granum.store.out import Out

__all__ = [
    "FILE",
    "Notes",
    "category_names",
    "noted_format",
    "read_notes",
    "take_tables",
    "write_notes",
]

FILE = "granum.json"
VERSION = 1

_FIXED = ("key", "width", "height", "media_kind", "unit")
_BEGIN = re.compile(rb'\{"granum": (\d+), "format": "([a-z0-9_]+)"')


@dataclass
class Notes:
    """What stands in ``granum.json``.

    Attributes:
        samples: in order, without annotations; ``media.path`` is where the image belongs.
        categories, groups: all of them, in order.
        more: what the format itself noted.
    """

    samples: list[rows.Sample] = field(default_factory=list)
    categories: list[rows.Category] = field(default_factory=list)
    groups: list[rows.Group] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def by_path(self) -> dict[str, rows.Sample]:
        """Samples by the place of their image."""
        return {s.media.path: s for s in self.samples if s.media and s.media.path}

    @cached_property
    def category_rows(self) -> dict[str, int]:
        """The row of each category by the name that the files use (``category_names``)."""
        return {n: i for i, n in enumerate(category_names(self.categories))}


def category_names(categories: Iterable[rows.Category]) -> list[str]:
    """For each category the name that files use: its own, told apart where two have it."""
    listed = list(categories)
    return unique_names([c.name for c in listed], [c.space for c in listed])


def noted_format(root: Path) -> str | None:
    """The format whose writer noted itself in a folder's ``granum.json``. Never raises."""
    try:
        with (root / FILE).open("rb") as file:
            found = _BEGIN.match(file.read(200))
    except (OSError, ValueError):
        return None
    return found[2].decode() if found else None


def write_notes(
    out: Out,
    format_name: str,
    dataset: Dataset,
    paths: Iterable[str | None],
    keeps: Collection[str],
    *,
    more: Mapping[str, Any] | None = None,
    name: str = FILE,
) -> None:
    """Write the notes of a dataset that ``project`` went over.

    Args:
        out: where to.
        format_name: the registered name.
        dataset: its samples, categories and groups are noted.
        paths: for each sample where its image belongs; None for one that has no file.
        keeps: columns of samples that are noted beside key and size (as ``Format.keeps``).
        more: the format's own facts.
        name: of the file.
    """
    columns = [f for f in fields(rows.Sample) if f.name not in ("annotations", "layers", "media")]
    kept = [
        f.name
        for f in columns
        if f.name in _FIXED
        or ((n := name_of("samples", f.name)) is not None and n in keeps)
        or (f.name in ("source_id", "channels", "depth", "orientation") and "record" in keeps)
    ]
    place = iter(paths)
    with out.open(name) as file:
        head = {"granum": VERSION, "format": format_name, "more": dict(more or {})}
        file.write(_text(head)[:-1].encode())
        file.write(b', "categories": [')
        file.write(_lines(map(_filled, rows.categories_from_table(dataset.categories))))
        file.write(b'], "groups": [')
        groups = rows.groups_from_table(dataset.groups) if "group" in keeps else []
        file.write(_lines(map(_filled, groups)))
        file.write(b'], "samples": [')
        first = True
        for batch in dataset.iter_batches():
            objects = rows.samples_from_table(batch.samples)
            noted = [
                {"path": next(place), **{n: v for n in kept if (v := getattr(s, n)) is not None}}
                for s in objects
            ]
            if noted:
                file.write((b"" if first else b",") + _lines(noted))
                first = False
        file.write(b"]}\n")


def _lines(objects: Iterable[Mapping[str, Any]]) -> bytes:
    return b",".join(b"\n" + _text(o).encode() for o in objects)


def _text(value: Any) -> str:
    def plain(other: Any) -> Any:
        if isinstance(other, datetime):
            return other.isoformat()
        return _filled(other)

    return json.dumps(value, ensure_ascii=False, default=plain)


def _filled(value: Any) -> dict[str, Any]:
    return {
        f.name: v
        for f in fields(value)
        if (v := getattr(value, f.name)) is not None and v != [] and not isinstance(v, bytes)
    }


def read_notes(root: Path, format_name: str, name: str = FILE) -> Notes | None:
    """The notes of our writer in a folder; None where there are none of this format.

    Raises:
        FormatError: they are damaged.
    """
    path = root / name
    if (noted_format(root) if name == FILE else _named(path)) != format_name:
        return None
    try:
        found = json.loads(path.read_bytes())
        notes = Notes(
            list(_samples(found["samples"])),
            [rows.Category(**{"space": None, **c}) for c in found["categories"]],
            [_group(g) for g in found["groups"]],
            dict(found["more"]),
        )
        rows.samples_to_table(notes.samples)
        table = rows.objects_to_table(notes.categories, tables.CATEGORIES)
        _check_references(notes, table["parents"].to_pylist())
        rows.objects_to_table(notes.groups, tables.GROUPS)
    except RecursionError as error:
        raise FormatError(path, "nested too deeply") from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise FormatError(path, f"damaged notes of a granum export: {error}") from error
    if found.get("granum") != VERSION:
        raise FormatError(path, f"notes of version {found.get('granum')}; known: {VERSION}")
    return notes


def _named(path: Path) -> str | None:
    try:
        found = _BEGIN.match(path.read_bytes()[:200])
    except (OSError, ValueError):
        return None
    return found[2].decode() if found else None


def _samples(listed: Sequence[Mapping[str, Any]]) -> Iterator[rows.Sample]:
    seen = set()
    for entry in listed:
        values = dict(entry)
        path = values.pop("path")
        if not isinstance(values["key"], str) or values["key"] in seen:
            raise ValueError(f"two samples have the key {values['key']!r}, or one has none")
        seen.add(values["key"])
        if "time" in values:
            values["time"] = datetime.fromisoformat(values["time"])
        if {"annotations", "layers", "media"} & values.keys():
            raise ValueError("a sample with annotations")
        values = {"media_kind": None, "unit": None, **values}
        yield rows.Sample(media=None if path is None else rows.Media(path=path), **values)


def _group(entry: Mapping[str, Any]) -> rows.Group:
    media = entry.get("media")
    return replace(rows.Group(**entry), media=None if media is None else rows.Media(**dict(media)))


def _check_references(notes: Notes, parents: list[Any]) -> None:
    for listed in parents:
        if any(not 0 <= p["index"] < len(notes.categories) for p in listed or ()):
            raise ValueError("a category has a parent that is not there")
    for sample in notes.samples:
        if sample.group is not None and not 0 <= sample.group < len(notes.groups):
            raise ValueError(f"{sample.key!r} is in a group that is not there")


def take_tables(notes: Notes, intake: Intake) -> None:
    """Hand the noted categories and groups to the intake, in their order."""
    for category in notes.categories:
        intake.add_category(category)
    intake.groups += notes.groups
