"""PASCAL VOC: values as XML elements and back, exactly.

Texts stand as they are. What is no text, or no text that XML gives back (control characters,
white space around it), stands as JSON in an element with the attribute ``encoding="json"``.
Unknown elements become JSON values (texts, objects with ``@`` for XML attributes, lists for
repeated elements) and go back to the same elements.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from decimal import Context, Decimal
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from granum.loaders._xml import Element

__all__ = ["attributes_xml", "box_texts", "extra_xml", "leaf", "number", "span", "value_of"]

CODED = "encoding"
EXTRA = "extra"
"""The element for unknown keys that cannot be elements of their own."""

_NAME = re.compile(r"(?![xX][mM][lL])[A-Za-z_][A-Za-z0-9_.-]*")
_BAD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,15}")
_WILD = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_DEEP = 20

# Wide enough for the exact difference of any two finite doubles.
_EXACT = Context(prec=700)


def _plain(text: str) -> bool:
    """Whether XML gives a text back as it is."""
    return text == text.strip() and _BAD.search(text) is None


# ------------------------------------------------------------------ reading


def value_of(element: Element) -> Any:
    """An element as a JSON value."""
    if element.attributes.get(CODED) == "json" and not element.children:
        try:
            value = json.loads(element.text)
            json.dumps(value, ensure_ascii=False).encode()
            return value
        except (ValueError, RecursionError):
            pass  # another tool's attribute
    if not element.children and not element.attributes:
        return element.text.strip()
    out: dict[str, Any] = {f"@{k}": v for k, v in element.attributes.items()}
    out.update(grouped(element.children))
    text = element.text.strip()
    if text:
        out["#text"] = text
    return out


def grouped(elements: Collection[Element]) -> dict[str, Any]:
    """Elements by name; a list where a name comes twice."""
    found: dict[str, list[Any]] = {}
    for element in elements:
        found.setdefault(element.tag, []).append(value_of(element))
    return {k: v[0] if len(v) == 1 else v for k, v in found.items()}


def number(text: str) -> float | None:
    """A number, NaN and infinities included; None where it is none."""
    if _NUMBER.fullmatch(text) or _WILD.fullmatch(text):
        return float(text)
    return None


def span(low: str, high: str, one: bool) -> tuple[float, float]:
    """Start and length between two numbers as written; ``one``: they are pixels counted from
    1, both included. Exact: decimal, rounded once."""
    if _WHOLE.fullmatch(low) and _WHOLE.fullmatch(high):
        start, end = int(low), int(high)
        return float(start - one), float(end - start + one)
    if not (_NUMBER.fullmatch(low) and _NUMBER.fullmatch(high)):
        return float(low) - one, float(high) - float(low) + one
    first, last = Decimal(low), Decimal(high)
    length = _EXACT.add(_EXACT.subtract(last, first), Decimal(int(one)))
    return float(_EXACT.subtract(first, Decimal(int(one)))), float(length)


# ------------------------------------------------------------------ writing


def leaf(tag: str, value: Any, pad: str) -> str:
    """An element without children."""
    if isinstance(value, str) and _plain(value):
        return f"{pad}<{tag}>{escape(value)}</{tag}>\n"
    return f'{pad}<{tag} {CODED}="json">{escape(json.dumps(value))}</{tag}>\n'


def box_texts(start: float, length: float, one: bool) -> tuple[str, str]:
    """The two numbers from which ``span`` gives start and length back."""
    if start.is_integer() and length.is_integer() and abs(start) + abs(length) < 2**52:
        return str(int(start) + one), str(int(start) + int(length))
    first = Decimal(repr(start))
    low = _EXACT.add(first, Decimal(int(one)))
    return _text(low), _text(_EXACT.add(first, Decimal(repr(length))))


def _text(value: Decimal) -> str:
    near = repr(float(value))
    if Decimal(near) == value:
        return near.removesuffix(".0")
    return str(value)


def attributes_xml(values: dict[str, Any], pad: str) -> str:
    """``<attributes>`` with a name and a value each, as CVAT writes them."""
    if not values:
        return f"{pad}<attributes></attributes>\n"
    lines = [f"{pad}<attributes>\n"]
    for name, value in values.items():
        lines.append(f"{pad}  <attribute>\n")
        lines.append(leaf("name", name, pad + "    "))
        lines.append(leaf("value", value, pad + "    "))
        lines.append(f"{pad}  </attribute>\n")
    lines.append(f"{pad}</attributes>\n")
    return "".join(lines)


def extra_xml(extra: Any, reserved: Collection[str], pad: str) -> tuple[str, str]:
    """Unknown keys as XML attributes of their owner, and as its elements.

    Args:
        extra: the keys; those that cannot be elements go to one element together.
        reserved: names of elements that mean something here.
        pad: indentation of the elements.
    """
    if not isinstance(extra, dict) or not extra:
        return "", leaf(EXTRA, extra, pad)
    own, out, rest = [], [], {}
    for name, value in extra.items():
        if name.startswith("@") and _fits_attribute(name, value):
            own.append(f" {name[1:]}={quoteattr(value)}")
        elif name in reserved or name == EXTRA or not _NAME.fullmatch(name):
            rest[name] = value
        else:
            out.append(_element(name, value, pad, 0))
    if rest:
        out.append(leaf(EXTRA, rest, pad))
    return "".join(own), "".join(out)


def _fits_attribute(name: str, value: Any) -> bool:
    return (
        isinstance(value, str)
        and name != f"@{CODED}"
        and _NAME.fullmatch(name[1:]) is not None
        and _BAD.search(value) is None
        and _CONTROL.search(value) is None
    )


def _element(name: str, value: Any, pad: str, depth: int) -> str:
    """A value as an element, or as several of one name."""
    if isinstance(value, list) and len(value) > 1 and depth < _DEEP:
        return "".join(_one(name, v, pad, depth) for v in value)
    return _one(name, value, pad, depth)


def _one(name: str, value: Any, pad: str, depth: int) -> str:
    if not isinstance(value, dict) or not _has_elements(value) or depth >= _DEEP:
        return leaf(name, value, pad)
    own = "".join(f" {k[1:]}={quoteattr(v)}" for k, v in value.items() if k[0] == "@")
    inside = "".join(
        _element(k, v, pad + "  ", depth + 1) for k, v in value.items() if k[0] not in "@#"
    )
    text = escape(value.get("#text", ""))
    if not inside:
        return f"{pad}<{name}{own}>{text}</{name}>\n"
    return f"{pad}<{name}{own}>{text}\n{inside}{pad}</{name}>\n"


def _has_elements(value: dict[str, Any]) -> bool:
    """Whether an object is what ``value_of`` makes of an element."""
    for name, inner in value.items():
        if name == "#text":
            if not isinstance(inner, str) or not inner or not _plain(inner):
                return False
        elif name.startswith("@"):
            if not _fits_attribute(name, inner):
                return False
        elif not _NAME.fullmatch(name):
            return False
    return bool(value.keys() - {"#text"})
