"""PASCAL VOC classes: the official list and its colours, ``labelmap.txt`` and ``labelmap.json``.

``labelmap.txt`` (an addition of CVAT and Datumaro, not of the devkit) has a line
``name:r,g,b:part,part:action,action`` per class. What it cannot hold (parts that have colours,
ids, supercategories, names with a colon, two classes of one name) stands in ``labelmap.json``
beside it, a list of all classes in order, which is written only then and comes first in reading.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa

from granum.loaders._voc_sets import numbered_lines
from granum.loaders.base import Intake
from granum.schema import rows, tables
from granum.store.out import Out

__all__ = ["CLASSES", "COLOURS", "Classes", "write_classes"]

TEXT, JSON = "labelmap.txt", "labelmap.json"
HEADER = "# label:color_rgb:parts:actions\n"

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
"""The twenty classes; the value of a class in ``SegmentationClass`` is its place, from 1."""

PARTS = frozenset({"head", "hand", "foot"})


def _colour(index: int) -> tuple[int, int, int]:
    """The devkit's colour of an index: its bits, three by three, from the highest bit down."""
    out = [0, 0, 0]
    for shift in range(8):
        for channel in range(3):
            out[channel] |= (index >> (3 * shift + channel) & 1) << (7 - shift)
    return out[0], out[1], out[2]


COLOURS = tuple(_colour(i) for i in range(256))
"""The palette of ``SegmentationClass`` and ``SegmentationObject``; 255 is void."""

VALUES = {colour: i for i, colour in enumerate(COLOURS)}


def rgb24(colour: tuple[int, int, int]) -> int:
    return colour[0] + 256 * colour[1] + 65536 * colour[2]


class Classes:
    """The classes of a dataset while it is read, put to the intake.

    Args:
        base: the dataset's folder.
        intake: gets categories and faults.
        encoding: ``index`` or ``rgb24`` where there are class masks (classes then get the value
            that they have there as their ids), else None.
    """

    def __init__(self, base: Path, intake: Intake, encoding: str | None) -> None:
        self.intake, self.encoding = intake, encoding
        self._rows: dict[str, int] = {}
        self._parts: set[tuple[int, int]] = set()
        self.closed = self.numbered = False
        self._started = len(intake.categories)
        if (base / JSON).is_file():
            self.numbered = self._read_json(base / JSON)
        if not self.numbered and (base / TEXT).is_file():
            self._read_text(base / TEXT)

    def names(self) -> frozenset[str]:
        return frozenset(self._rows)

    def row(self, name: str, path: str | Path, place: str | None) -> int | None:
        """The row of a class; None where it is not listed (a fault) and is to be left out."""
        row = self._rows.get(name)
        if row is not None:
            return row
        if self.closed:
            self.intake.fault(
                "unknown-class", path, place, f"{name!r} is not in the list of classes"
            )
            if self.intake.on_error != "fix":
                return None
        category = rows.Category(name)
        if self.encoding is not None and not self.closed and name in CLASSES:
            self._official(category)
        return self._add(category)

    def part(self, name: str, owner: int, path: str | Path, place: str | None) -> int | None:
        """The row of a part's class, which becomes a part of class ``owner``."""
        row = self.row(name, path, place)
        if row is None or self.closed or (row, owner) in self._parts or row == owner:
            return row
        self._parts.add((row, owner))
        category = self.intake.categories[row]
        part_of = {"index": owner, "relation": "part_of"}
        category.parents = [*(category.parents or []), part_of]
        return row

    def numbered_row(self, text: str) -> int | None:
        """A row by its number, as told for classes that share a name."""
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
        return number if self.numbered and 0 <= number < len(self.intake.categories) else None

    def finish(self) -> None:
        """Where there are class masks and only official classes, the others follow."""
        if self.encoding is None or self.closed:
            return
        seen = [c.name for c in self.intake.categories[self._started :]]
        if all(n in CLASSES or n in PARTS for n in seen):
            for name in CLASSES:
                if name not in self._rows:
                    category = rows.Category(name)
                    self._official(category)
                    self._add(category)

    def _add(self, category: rows.Category) -> int:
        row = self.intake.add_category(category)
        self._rows.setdefault(category.name, row)
        return row

    def _official(self, category: rows.Category) -> None:
        colour = COLOURS[CLASSES.index(category.name) + 1]
        category.colour, category.source_id = list(colour), str(self._value(colour))

    def _value(self, colour: tuple[int, int, int]) -> int | None:
        return rgb24(colour) if self.encoding == "rgb24" else VALUES.get(colour)

    # ---------------------------------------------------------------- files

    def _read_text(self, path: Path) -> None:
        listed, faults = parse_labelmap(numbered_lines(path, self.intake))
        for line, message in faults:
            self.intake.fault("bad-value", path, f"line {line}", message)
        for i, category in enumerate(listed):
            if self.encoding is not None:
                colour = category.colour
                value = self._value((colour[0], colour[1], colour[2])) if colour else i
                category.source_id = None if value is None else str(value)
            self._add(category)
        self.closed = bool(listed)

    def _read_json(self, path: Path) -> bool:
        """Whether the file could be read; the classes are then those that it lists."""
        try:
            listed = json.loads(path.read_bytes())
            categories = [_category(c, len(listed)) for c in listed]
            rows.objects_to_table(categories, tables.CATEGORIES)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self.intake.fault(
                "bad-value", path, None, f"no list of classes, so it is not used: {error}"
            )
            return False
        for category in categories:
            self._add(category)
        self.closed = True
        return True


def _category(value: dict[str, Any], count: int) -> rows.Category:
    """A category from JSON; ``ValueError`` or ``TypeError`` where it is none."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ValueError("a class without a name")
    category = rows.Category(**{"space": None, **value})
    for parent in category.parents or []:
        if not isinstance(parent["index"], int) or not 0 <= parent["index"] < count:
            raise ValueError(f"{category.name!r} has a parent that is not there")
    for name in ("attributes", "extra"):
        if not isinstance(getattr(category, name), dict | None):
            raise ValueError(f"{category.name!r}: {name} is no object")
    return category


def parse_labelmap(
    lines: list[tuple[int, str]],
) -> tuple[list[rows.Category], list[tuple[int, str]]]:
    """Categories of a label map, and faults as (line, message). Parts without a line of their
    own follow."""
    out: list[rows.Category] = []
    faults: list[tuple[int, str]] = []
    row_of: dict[str, int] = {}
    parts: list[tuple[int, str]] = []
    for number, line in lines:
        cells = line.split(":")
        if len(cells) != 4:
            faults.append((number, f"{len(cells)} fields where label:colour:parts:actions are 4"))
            continue
        name, colour, its_parts, actions = cells
        if name in row_of:
            faults.append((number, f"a second class {name!r}"))
            continue
        category = rows.Category(name)
        if colour:
            numbers = colour.split(",")
            if len(numbers) == 3 and all(_is_byte(n.strip()) for n in numbers):
                category.colour = [int(n) for n in numbers]
            else:
                faults.append((number, f"the colour {colour!r} is not r,g,b in 0..255"))
        if actions:
            category.attributes = {"actions": [a.strip() for a in actions.split(",")]}
        row_of[name] = len(out)
        out.append(category)
        parts += [(row_of[name], p.strip()) for p in its_parts.split(",") if p.strip()]
    for owner, name in parts:
        if name not in row_of:
            row_of[name] = len(out)
            out.append(rows.Category(name))
        part = out[row_of[name]]
        if row_of[name] != owner:
            part.parents = [*(part.parents or []), {"index": owner, "relation": "part_of"}]
    return out, faults


def _is_byte(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3 and int(text) < 256


def write_classes(table: pa.Table, out: Out) -> None:
    """Write ``labelmap.txt``, and ``labelmap.json`` where that does not tell all."""
    categories = rows.categories_from_table(table)
    text = _labelmap(categories)
    back, _ = parse_labelmap([(i, line) for i, line in enumerate(text.splitlines())])
    if [_told(c) for c in back] != [_told(c) for c in categories]:
        content = ",\n".join(json.dumps(_told(c), ensure_ascii=False) for c in categories)
        out.text(JSON, f"[{content}]\n")
        # Readers of masks need the colours that mean no class.
        names, colours = {c.name for c in categories}, [c.colour for c in categories]
        for name, colour in (("ignored", COLOURS[255]), ("background", COLOURS[0])):
            if any(colours) and name not in names and list(colour) not in colours:
                text = f"{name}:{','.join(map(str, colour))}::\n{text}"
    out.text(TEXT, HEADER + text)


def _told(category: rows.Category) -> dict[str, Any]:
    """What a category says, without nulls."""
    values = {f.name: getattr(category, f.name) for f in fields(rows.Category)}
    return {n: v for n, v in values.items() if v is not None}


def _labelmap(categories: list[rows.Category]) -> str:
    """Lines for those whose names fit; parts stand with their owners only (other readers take
    them from there, and refuse a name that comes twice)."""
    parts: dict[int, list[str]] = {}
    own: set[str] = set()
    for category in categories:
        for parent in category.parents or []:
            if parent["relation"] == "part_of" and _fits(category.name, ":,"):
                parts.setdefault(parent["index"], []).append(category.name)
                own.add(category.name)
    out, seen = [], set[str]()
    for i, category in enumerate(categories):
        name = category.name
        if name in seen or name in own or not _fits(name, ":"):
            continue
        seen.add(name)
        three = category.colour if len(category.colour or ()) == 3 else None
        colour = ",".join(map(str, three or ()))
        listed = (category.attributes or {}).get("actions")
        actions = listed if isinstance(listed, list) else []
        told = ",".join(str(a) for a in actions if _fits(str(a), ":,"))
        out.append(f"{name}:{colour}:{','.join(parts.get(i, []))}:{told}\n")
    return "".join(out)


def _fits(name: str, forbidden: str) -> bool:
    printable = all(c not in forbidden and (c.isprintable()) for c in name)
    return printable and name == name.strip() and not name.startswith("#") and name != ""
