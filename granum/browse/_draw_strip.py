"""The strip under a picture: what is said of the whole image, as chips and lines of text."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from PIL import Image, ImageDraw

from granum.browse._draw_colour import RGB, readable
from granum.browse._draw_text import Font, clean, font, shorten

__all__ = ["Chip", "Line", "under"]

_PAPER: RGB = (248, 248, 246)
_INK: RGB = (38, 40, 44)
_FAINT: RGB = (128, 130, 134)
_LINES = 8
_ROWS = 40
_NARROWEST = 160


@dataclass(frozen=True, slots=True)
class Chip:
    """A label of the whole image; ``absent`` ones are struck through."""

    text: str
    colour: RGB
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, faint where it is an aside."""

    text: str
    faint: bool = False


def under(picture: Image.Image, chips: list[Chip], lines: list[Line]) -> Image.Image:
    """The picture with a strip under it, at least 160 pixels wide; as it is without any text."""
    if not chips and not lines:
        return picture
    width = max(picture.width, _NARROWEST)
    type_size = min(max(round(max(picture.size) / 46), 11), 96)
    body, aside = font(type_size), font(max(9, round(type_size * 0.85)))
    pad = ceil(type_size * 0.6)
    room = width - 2 * pad
    written: list[tuple[str, Font, RGB]] = []
    for line in lines:
        kind, colour = (aside, _FAINT) if line.faint else (body, _INK)
        written += [(text, kind, colour) for text in wrapped(line.text, kind, room)]
    if len(written) > _ROWS:
        more = len(written) - _ROWS + 1
        written = [*written[: _ROWS - 1], (f"… and {more} more lines", aside, _FAINT)]
    rows = _rows_of(chips, body, room, pad)
    step = ceil(type_size * 1.75)
    height = pad + len(rows) * step + sum(ceil(f.size * 1.4) for _, f, _ in written) + pad // 2
    out = Image.new("RGB", (width, picture.height + height), _PAPER)
    out.paste(picture, (0, 0))
    draw = ImageDraw.Draw(out)
    y = picture.height + pad
    for row in rows:
        x = pad
        for chip, text, wide in row:
            _chip(draw, chip, text, body, (x, y, x + wide, y + ceil(type_size * 1.45)))
            x += wide + pad // 2
        y += step
    for text, kind, colour in written:
        draw.text((pad, y), text, colour, kind)
        y += ceil(kind.size * 1.4)
    return out


def wrapped(text: str, kind: Font, width: float) -> list[str]:
    """``text`` in lines of at most ``width`` pixels, broken at spaces where it can be.

    The last of at most eight lines ends in an ellipsis where text is left over.
    """
    out: list[str] = []
    words = clean(text).split(" ")
    while words and len(out) < _LINES:
        line = words.pop(0)
        while words and kind.getlength(f"{line} {words[0]}") <= width:
            line = f"{line} {words.pop(0)}"
        if kind.getlength(line[: 4 * ceil(width)]) > width:
            head = max(len(shorten(line, kind, width)) - 1, 1)
            words.insert(0, line[head:])
            line = line[:head]
        out.append(line)
    if words:
        out[-1] = shorten(out[-1] + "…" * ceil(width), kind, width)
    return out


def _rows_of(
    chips: list[Chip], kind: Font, room: int, pad: int
) -> list[list[tuple[Chip, str, int]]]:
    rows: list[list[tuple[Chip, str, int]]] = []
    left = 0
    for chip in chips:
        text = shorten(clean(chip.text), kind, room - pad)
        wide = ceil(kind.getlength(text)) + pad
        if not rows or wide > left:
            rows.append([])
            left = room
        rows[-1].append((chip, text, wide))
        left -= wide + pad // 2
    return rows


def _chip(
    draw: ImageDraw.ImageDraw, chip: Chip, text: str, kind: Font, box: tuple[int, int, int, int]
) -> None:
    radius = (box[3] - box[1]) // 3
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    if not chip.absent:
        draw.rounded_rectangle(box, radius, chip.colour)
        draw.text(middle, text, readable(chip.colour), kind, anchor="mm")
        return
    draw.rounded_rectangle(box, radius, None, _FAINT)
    draw.text(middle, text, _FAINT, kind, anchor="mm")
    half = kind.getlength(text) / 2
    draw.line(
        (middle[0] - half, middle[1], middle[0] + half, middle[1]),
        _FAINT,
        max(1, round(kind.size / 12)),
    )
