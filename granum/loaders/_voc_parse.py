"""PASCAL VOC: one annotation file as rows.

Beside the devkit's elements there are some of ours, which other readers pass over:
``image_label`` (a class of the whole image), ``hidden_object`` and ``hidden_part`` (what they
would misread: without a box, or verified absent), ``granum_key`` (a key that the file names do
not tell), ``class_row`` (which of several classes of one name), ``mask_index`` (the object's
value in ``SegmentationObject``), ``whole_mask`` (that map belongs to no object alone), parts
within parts, and ``extra``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from granum.loaders._voc_classes import Classes
from granum.loaders._voc_values import CODED, EXTRA, grouped, number, span, value_of
from granum.loaders._xml import Element
from granum.loaders.base import Intake
from granum.schema import rows, tables

__all__ = [
    "FLAGS",
    "RESERVED",
    "SAMPLE_RESERVED",
    "SCHEMA",
    "Parsed",
    "Parser",
    "Row",
    "lines_of",
]

FLAGS = ("present", "difficult", "truncated", "occluded")
ROWS = {"object": "object", "hidden_object": "object", "image_label": "label"}
PARTS = ("part", "hidden_part")
KNOWN = frozenset(
    {"name", "class_row", "pose", "bndbox", "actions", "attributes", "mask_index", *FLAGS}
)
RESERVED = KNOWN | {*PARTS}
SAMPLE_RESERVED = frozenset({"filename", "size", "granum_key", "whole_mask", "attributes", *ROWS})
CORNERS = ("xmin", "ymin", "xmax", "ymax")
_FLAG = {"1": True, "0": False, "true": True, "false": False}


@dataclass(slots=True)
class Row:
    """An annotation; the columns of ``SCHEMA``."""

    annotation_id: int
    kind: str = "object"
    sample: int = 0
    category: int | None = None
    bbox: tuple[float, float, float, float] | None = None
    map: rows.LabelMap | None = None
    present: bool | None = None
    difficult: bool | None = None
    truncated: bool | None = None
    occluded: bool | None = None
    parent: int | None = None
    attributes: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None
    ordinal: list[int] | None = None
    origins: tuple[int] = (0,)


SCHEMA = pa.schema([f for f in tables.ANNOTATIONS if f.name in Row.__slots__])


@dataclass(slots=True)
class Parsed:
    """What an annotation file says.

    Attributes:
        keep: false where the whole file is to be left out.
        masks: per row id, the number of its object from 1, and the value in the mask that the
            file states.
        whole_mask: the mask of objects belongs to none of them alone.
        labelled: classes that it has labels of.
    """

    filename: str | None = None
    key: str | None = None
    width: int | None = None
    height: int | None = None
    channels: int | None = None
    attributes: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None
    rows: list[Row] = field(default_factory=list)
    masks: dict[int, tuple[int, int | None]] = field(default_factory=dict)
    whole_mask: bool = False
    labelled: set[int | None] = field(default_factory=set)
    keep: bool = True


class Parser:
    """Makes rows of annotation files; ids count through all files.

    Args:
        classes: the classes of the dataset.
        intake: gets the faults.
        one: corners are pixels counted from 1, both included.
    """

    def __init__(self, classes: Classes, intake: Intake, one: bool) -> None:
        self.classes, self.intake, self.one = classes, intake, one
        self.next_id = 1
        self.path = ""
        self.left = False
        self._ordinal = self._number = 0

    def fault(self, code: str, element: Element, message: str, fixable: bool = True) -> None:
        """Report; the record at hand is left out, or only the value where that is the mending."""
        self.intake.fault(code, self.path, f"line {element.line}", message)
        if not (fixable and self.intake.on_error == "fix"):
            self.left = True

    def new_id(self) -> int:
        self.next_id += 1
        return self.next_id - 1

    def file(self, root: Element, path: str) -> Parsed:
        """The rows of a file whose root element is ``annotation``."""
        self.path, self.left = path, False
        self._ordinal = self._number = 0
        out = Parsed()
        unknown, single = [], dict[str, Element]()
        objects = []
        for child in root.children:
            if child.tag in ROWS:
                objects.append(child)
            elif child.tag in SAMPLE_RESERVED and child.tag not in single:
                single[child.tag] = child
            else:
                unknown.append(child)
        if "filename" in single:
            out.filename = _text(single["filename"])
        if "granum_key" in single:
            out.key = _text(single["granum_key"])
        out.whole_mask = "whole_mask" in single
        out.extra = self._extra(root, unknown)
        self._size(root, single.get("size"), out)
        if "attributes" in single:
            out.attributes = self._attributes(single["attributes"], None)
            if out.attributes is None:
                out.extra = {**(out.extra or {}), "attributes": value_of(single["attributes"])}
        out.keep = not self.left
        for child in objects:
            self._row(child, out, None)
        return out

    def _size(self, root: Element, size: Element | None, out: Parsed) -> None:
        found: dict[str, int | None] = {}
        others = []
        for child in [] if size is None else size.children:
            name = {"width": "width", "height": "height", "depth": "channels"}.get(child.tag)
            text = child.text.strip()
            if name is None or name in found:
                others.append(child)
                continue
            found[name] = None
            value = number(text) if text else 0.0
            if value is None or not 0 <= value < (2**15 if name == "channels" else 2**31):
                self.fault("bad-value", child, f"{child.tag} is {text!r}")
            elif not value.is_integer():
                self.fault("bad-value", child, f"{child.tag} is {text!r}, no whole number")
            elif value:
                found[name] = int(value)
        out.width, out.height = found.get("width"), found.get("height")
        out.channels = found.get("channels")
        if others:
            out.extra = {**(out.extra or {}), "size": grouped(others)}
        if out.width is None or out.height is None:
            where = root if size is None else size
            self.intake.fault(
                "missing-size", self.path, f"line {where.line}", "no width and height"
            )

    def _row(self, element: Element, out: Parsed, owner: Row | None) -> None:
        """Append the row of an object or label, and those of its parts."""
        row = Row(self.new_id(), ROWS.get(element.tag, "object"), ordinal=[self._ordinal])
        self._ordinal += 1
        outer, self.left = self.left, False
        known: dict[str, Element] = {}
        parts, unknown = [], []
        for child in element.children:
            if child.tag in PARTS and row.kind == "object":
                parts.append(child)
            elif child.tag in KNOWN and child.tag not in known:
                known[child.tag] = child
            else:
                unknown.append(child)
        self._category(element, known, row, owner)
        for flag in FLAGS:
            if flag in known:
                setattr(row, flag, self._flag(known[flag]))
        others = []
        if "bndbox" in known:
            row.bbox = self._box(known["bndbox"])
            others = [c for c in known["bndbox"].children if c.tag not in CORNERS]
        elif element.tag in ("object", "part"):
            self.fault("missing-key", element, f"<{element.tag}> without <bndbox>", False)
        self._attributes_of(known, unknown, row)
        row.extra = self._extra(element, unknown)
        if others:
            row.extra = {**(row.extra or {}), "bndbox": grouped(others)}
        stated = known.get("mask_index")
        value = None
        if stated is not None:
            value = _count(stated.text)
            if value is None:
                self.fault("bad-value", stated, f"mask_index is {stated.text!r}")
        if owner is not None:
            row.parent = owner.annotation_id
        elif element.tag == "object":
            self._number += 1
        keep = not self.left
        if keep:
            out.rows.append(row)
            if row.kind == "label":
                out.labelled.add(row.category)
            elif element.tag == "object" or value is not None:
                at = self._number if element.tag == "object" and owner is None else 0
                out.masks[row.annotation_id] = (at, value)
        for part in parts:
            # Parts go with their object, but their faults are told.
            self._row(part, out if keep else Parsed(), row)
        self.left = outer

    def _category(
        self, element: Element, known: Mapping[str, Element], row: Row, owner: Row | None
    ) -> None:
        name = known.get("name")
        if name is None:
            self.fault("missing-key", element, f"<{element.tag}> without <name>", False)
            return
        value = value_of(name)
        if not isinstance(value, str):
            self.fault("bad-value", name, f"the name is {value!r}")
            return
        if "class_row" in known:
            row.category = self.classes.numbered_row(known["class_row"].text.strip())
        if row.category is not None or (value == "" and not name.attributes):
            return
        place = f"line {name.line}"
        if owner is None or owner.category is None:
            row.category = self.classes.row(value, self.path, place)
        else:
            row.category = self.classes.part(value, owner.category, self.path, place)
        self.left = self.left or row.category is None

    def _flag(self, element: Element) -> bool | None:
        text = element.text.strip()
        if text.lower() not in _FLAG:
            self.fault("bad-value", element, f"{element.tag} is {text!r}; a flag is 0 or 1")
        return _FLAG.get(text.lower())

    def _box(self, box: Element) -> tuple[float, float, float, float] | None:
        texts = {c.tag: c.text.strip() for c in reversed(box.children)}
        missing = [f"<{n}>" for n in CORNERS if n not in texts]
        if missing:
            self.fault("missing-key", box, f"<bndbox> without {', '.join(missing)}", False)
            return None
        wrong = [f"{n} is {texts[n]!r}" for n in CORNERS if number(texts[n]) is None]
        if wrong:
            self.fault("bad-value", box, ", ".join(wrong))
            return None
        x, w = span(texts["xmin"], texts["xmax"], self.one)
        y, h = span(texts["ymin"], texts["ymax"], self.one)
        return x, y, w, h

    def _attributes_of(
        self, known: Mapping[str, Element], unknown: list[Element], row: Row
    ) -> None:
        """Pose, actions and free attributes of an object."""
        found: dict[str, Any] = {}
        if "pose" in known:
            found["pose"] = value_of(known["pose"])
        actions = known.get("actions")
        if actions is not None and actions.children:
            flags = {c.tag: self._flag(c) for c in actions.children}
            found["actions"] = {n: v for n, v in flags.items() if v is not None}
        elif actions is not None:
            unknown.append(actions)
        more: dict[str, Any] | None = None
        if "attributes" in known:
            more = self._attributes(known["attributes"], found)
            if more is None:
                unknown.append(known["attributes"])
        if found or more is not None:
            row.attributes = {**found, **(more or {})}

    def _attributes(
        self, element: Element, taken: Mapping[str, Any] | None
    ) -> dict[str, Any] | None:
        """The names and values of ``<attributes>``; None where it is something else."""
        out: dict[str, Any] = {}
        if element.text.strip() or element.attributes:
            return None
        for child in element.children:
            name, value = child.find("name"), child.find("value")
            if child.tag != "attribute" or name is None or value is None:
                return None
            said = value_of(name)
            if not isinstance(said, str) or said in out or said in (taken or {}):
                self.fault("bad-value", name, f"a second attribute {said!r}, or no name")
                continue
            out[said] = value_of(value)
        return out

    def _extra(self, element: Element, unknown: list[Element]) -> dict[str, Any] | None:
        """Unknown elements and XML attributes by name."""
        out: dict[str, Any] = {f"@{k}": v for k, v in element.attributes.items()}
        ours = [c for c in unknown if c.tag == EXTRA and c.attributes.get(CODED) == "json"]
        out.update(grouped([c for c in unknown if c not in ours] if ours else unknown))
        for child in ours:
            value = value_of(child)
            out.update(value if isinstance(value, dict) else {EXTRA: value})
        return out if out or ours else None


def _text(element: Element) -> str:
    value = value_of(element)
    return value if isinstance(value, str) else element.text.strip()


def _count(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def lines_of(root: Element) -> list[int]:
    """The lines of objects, labels and parts, by the ordinals of their rows."""
    out: list[int] = []

    def add(element: Element) -> None:
        out.append(element.line)
        if ROWS.get(element.tag) != "label":
            for part in element.children:
                if part.tag in PARTS:
                    add(part)

    for child in root.children:
        if child.tag in ROWS:
            add(child)
    return out
