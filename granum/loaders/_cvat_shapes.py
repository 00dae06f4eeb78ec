"""CVAT XML: values as they are spelled in the file, and masks by rows within a box."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from granum.schema import geometry, rows

__all__ = [
    "TEXT",
    "attribute_kind",
    "attribute_value",
    "attributes_text",
    "escaped",
    "mask_element",
    "points_text",
    "rle_of",
    "spelled",
    "xml_text",
]

TEXT = "text"

_UNSAFE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?", re.IGNORECASE)


def xml_text(value: str | None) -> bool:
    """Whether a text comes back from an XML attribute as it is."""
    return value is not None and not _UNSAFE.search(value) and not {*value} & {*"\t\n\r"}


_ESCAPES = {'"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}


def escaped(text: str) -> str:
    """A text between tags or quotes."""
    return escape(text, _ESCAPES)


def spelled(value: Any) -> str:
    """The value of an attribute of an object."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def points_text(values: Sequence[float], stride: int) -> str:
    """``x,y;x,y…`` of flat values, of which every ``stride`` are one point."""
    pairs = (values[i : i + 2] for i in range(0, len(values), stride))
    return ";".join(f"{_short(x)},{_short(y)}" for x, y in pairs)


def attributes_text(named: Mapping[str, Any]) -> str:
    """The attributes of an XML element, each with a blank before it."""
    texts = {n: _short(v) if isinstance(v, float) else str(v) for n, v in named.items()}
    return "".join(f' {n}="{escaped(t)}"' for n, t in texts.items())


def _short(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def attribute_kind(value: Any) -> str | None:
    """The input type of an attribute's value; None where it is no scalar that comes back."""
    if isinstance(value, bool):
        return "checkbox"
    if isinstance(value, int | float):
        return "number" if attribute_value(str(value), "number") == value else None
    if isinstance(value, str) and not _UNSAFE.search(value):
        return TEXT if value == value.strip() else None
    return None


def attribute_value(text: str, kind: str) -> Any:
    """The value of an attribute by its input type; the text where it is none of that type."""
    if kind == "checkbox":
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind == "number" and _NUMBER.fullmatch(text):
        try:
            return int(text)
        except ValueError:
            return float(text)
    return text


def mask_element(rle: rows.Rle) -> dict[str, Any] | None:
    """The attributes of ``<mask>``; None where the counts do not decode or hold no pixel."""
    try:
        mask = geometry.rle_decode(rle.size, rle.counts)
        again = geometry.encode_mask(mask)[1]
    except ValueError:
        return None
    if not mask.any() or again != rle.counts:
        return None
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(ys[0]), int(xs[0])
    part = mask[top : ys[-1] + 1, left : xs[-1] + 1]
    flat = np.concatenate([[False], part.ravel(), [not part.ravel()[-1]]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], ends]))
    return {
        "rle": ", ".join(map(str, counts.tolist())),
        "left": left,
        "top": top,
        "width": part.shape[1],
        "height": part.shape[0],
    }


def rle_of(
    text: str, left: int, top: int, width: int, height: int, size: tuple[int, int]
) -> rows.Rle:
    """A mask of an image of ``size`` (height, width) from its counts within a box.

    Raises:
        ValueError: the counts are not those of the box, or it reaches beyond the image.
    """
    counts = np.array([int(c) for c in text.split(",")], np.int64)
    if min(left, top, width, height) < 0 or (counts < 0).any() or counts.sum() != width * height:
        raise ValueError(f"the counts make {int(counts.sum())} pixels of {width} x {height}")
    if left + width > size[1] or top + height > size[0]:
        raise ValueError("the mask reaches beyond its image")
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = values
    return rows.Rle(*geometry.encode_mask(mask))
