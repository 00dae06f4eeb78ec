"""Annotation records of a panoptic file: one per image, their segments left as text."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import UNSET, Raw

from granum.loaders.base import Intake
from granum.loaders.coco.clean import clean
from granum.loaders.coco.records import IMAGE_KEYS, Array
from granum.loaders.coco.scan import NAN, JsonFile

__all__ = ["Records", "marked", "read_annotations"]

SEGMENTS = "segments_info"
KINDS = {
    "image_id": IMAGE_KEYS["id"],
    "file_name": IMAGE_KEYS["file_name"],
    SEGMENTS: Raw,
}
_NAN_MARK = json.dumps(NAN).encode()
_HUGE = re.compile(rb"[eE]\+?\d{3,}")
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?[eE]\+?\d+', re.DOTALL)


@dataclass
class Records:
    """Lists are aligned.

    Attributes:
        index: position of each record in the file (dropped ones leave gaps).
        image_id: as written; UNSET where absent.
        file_name: of the PNG; UNSET where absent.
        keys: the sorted keys that each record has.
        unknown: values of other keys, by record.
    """

    file: JsonFile
    index: list[int] = field(default_factory=list)
    image_id: list[Any] = field(default_factory=list)
    file_name: list[Any] = field(default_factory=list)
    keys: list[tuple[str, ...]] = field(default_factory=list)
    unknown: dict[int, dict[str, Any]] = field(default_factory=dict)
    _spans: list[tuple[int, int]] = field(default_factory=list)
    _own: dict[int, bytes] = field(default_factory=dict)
    _sets: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    def image_ids(self) -> Array:
        """The image ids as integers, or as objects where they vary."""
        if set(map(type, self.image_id)) == {int}:
            try:
                return np.array(self.image_id, np.int64)
            except OverflowError:
                pass
        out = np.empty(len(self), object)
        out[:] = self.image_id
        return out

    def segments(self, i: int) -> bytes:
        """The JSON text of a record's segments; empty where it has none."""
        if i in self._own:
            return self._own[i]
        start, length = self._spans[i]
        return bytes(self.file.data[start : start + length])


def marked(text: bytes) -> bytes:
    """``text`` with numbers beyond a double marked as what they read as: Infinity."""
    if not _HUGE.search(text):
        return text

    def mark(found: re.Match[bytes]) -> bytes:
        token = found[0]
        return token if token[:1] == b'"' or math.isfinite(float(token)) else _NAN_MARK

    return _TOKEN.sub(mark, text)


def read_annotations(file: JsonFile, intake: Intake) -> Records:
    """The records of ``annotations``; faults go to the intake."""
    out = Records(file)
    if "annotations" not in file.spans:
        return out
    start, end = file.spans["annotations"]
    view = memoryview(file.data)[start:end]
    try:
        raws = msgspec.json.decode(view, type=list[Raw])
    except msgspec.ValidationError:
        intake.fault("bad-value", file.name, "/annotations", "not a list of records")
        return out
    base = pa.py_buffer(view).address - start
    for position, raw in enumerate(raws):
        values = _fields(raw)
        if values is not None and not _regular(raw, file.has_nan):
            values = None
        mended = values is None
        if values is None:
            place = f"/annotations/{position}"
            text = clean(marked(bytes(raw)), KINDS, file, place, intake)
            values = None if text is None else _fields(text)
            if text is not None and values is None:
                intake.fault("bad-value", file.name, place, "the record cannot be decoded")
        if values is not None:
            _append(out, position, values, base, mended)
    return out


def _fields(raw: Raw | bytes) -> dict[str, Any] | None:
    """The values of a record, segments as raw text; None where one is of the wrong type."""
    try:
        found = msgspec.json.decode(raw, type=dict[str, Raw])
        return {
            key: value
            if key == SEGMENTS
            else msgspec.json.decode(value, type=KINDS[key])
            if key in KINDS
            else json.loads(bytes(value))
            for key, value in found.items()
        }
    except (ValueError, RecursionError):
        return None


def _regular(raw: Raw, has_nan: bool) -> bool:
    """Whether nothing was overlooked: a key given twice (more quotation marks than keys and
    values have), or a mark of NaN. Escaped keys count as irregular too."""
    found = msgspec.json.decode(raw, type=dict[str, Raw])
    quotes = sum(2 + k.count('"') + bytes(v).count(b'"') for k, v in found.items())
    if quotes != bytes(raw).count(b'"'):
        return False
    return not has_nan or not any(_NAN_MARK in bytes(v) for k, v in found.items() if k != SEGMENTS)


def _append(out: Records, position: int, values: dict[str, Any], base: int, mended: bool) -> None:
    raw = values.get(SEGMENTS, b"")
    if mended:
        out._own[len(out)] = bytes(raw)
        out._spans.append((0, 0))
    else:
        out._spans.append((pa.py_buffer(raw).address - base if len(raw) else 0, len(raw)))
    unknown = {k: v for k, v in values.items() if k not in KINDS}
    if unknown:
        out.unknown[len(out)] = unknown
    out.image_id.append(values.get("image_id", UNSET))
    out.file_name.append(values.get("file_name", UNSET))
    keys = tuple(sorted(values))
    out.keys.append(out._sets.setdefault(keys, keys))
    out.index.append(position)
