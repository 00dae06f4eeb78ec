"""Text that Pillow's own font can write, cut to a width."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from math import ceil

from PIL import ImageFont

__all__ = ["Font", "clean", "font", "shorten"]

Font = ImageFont.FreeTypeFont

# Letters that Unicode does not take apart.
_PLAIN = {
    "ß": "ss",
    "æ": "ae",
    "Æ": "AE",
    "œ": "oe",
    "ø": "o",
    "Ø": "O",
    "ł": "l",
    "Ł": "L",
    "đ": "d",
    "ð": "d",
    "þ": "th",
}


def clean(text: str) -> str:
    """One line that the font can write: no line breaks, no lone surrogates, and letters that
    the font lacks without their accents (what has no plain form is left: it shows as a box)."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(_letter(c) for c in whole).split())


@lru_cache(maxsize=4096)
def _letter(c: str) -> str:
    if not c.isprintable():
        return " "
    if c.isascii() or _has(c):
        return c
    plain = _PLAIN.get(c) or "".join(
        d for d in unicodedata.normalize("NFKD", c) if not unicodedata.combining(d)
    )
    return plain if all(d.isascii() or _has(d) for d in plain) else c


def _has(c: str) -> bool:
    """Whether the font has a glyph of its own for a character."""
    kind = font(16)
    return bytes(kind.getmask(c)) != bytes(kind.getmask("\U0010ffff"))


def shorten(text: str, font: Font, width: float) -> str:
    """``text``, or its beginning with an ellipsis where it is wider than ``width`` pixels.

    Empty where not even the ellipsis fits.
    """
    text = text[: 4 * ceil(max(width, 1))]
    if font.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(text[:middle].rstrip() + "…") <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…" if low else ""


@lru_cache(maxsize=64)
def font(size: int) -> Font:
    """Pillow's own scalable font, ``size`` pixels high."""
    found = ImageFont.load_default(size)
    assert isinstance(found, ImageFont.FreeTypeFont)
    return found
