"""A sample's picture with all its annotations drawn on it, and contact sheets of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy.typing as npt
from PIL import Image, ImageDraw

from granum.browse._draw_ink import Ink
from granum.browse._draw_layers import Drawing
from granum.browse._draw_picture import picture, scaled
from granum.browse._draw_shapes import Frame, MapLoader
from granum.browse._draw_strip import under
from granum.browse._draw_text import clean, font, shorten
from granum.schema import rows

__all__ = ["draw", "sheet"]


def draw(
    image: Image.Image | npt.NDArray[Any],
    sample: rows.Sample,
    categories: Sequence[rows.Category],
    *,
    annotations: Sequence[rows.Annotation] | None = None,
    load_map: MapLoader | None = None,
    max_size: int | None = None,
    labels: bool = True,
    opacity: float = 0.45,
) -> Image.Image:
    """Draw annotations of any kind and geometry onto a picture.

    Objects are drawn where they are: masks tinted (crowds and ignored regions hatched) and
    outlined, boxes, parts dashed, joints (hidden ones hollow) with their skeleton, lines,
    points. Relations are arrows from subject to object. Image-level labels (absent ones struck
    through), captions, times, tubes, and whatever has no place in the image go to a strip
    below. A tube has its own colour, everything else that of its category.

    Args:
        image: the picture, of any mode; or an array of shape (height, width) or (height, width,
            channels), of which the first three channels are shown. Numbers other than 8-bit
            are stretched from their least to their greatest, floats within 0..1 are not.
        sample: its unit, size and orientation say where coordinates lie on the picture.
        categories: what ``Annotation.category`` counts.
        annotations: drawn instead of those of the truth layer of ``sample``.
        load_map: gives the pixels of a label map: a boolean mask of shape (height, width), or
            numbers for a field (drawn as heat) or a whole map (a colour per value, 0 clear).
            Without it, maps are named in the strip.
        max_size: the longest that the longer side of the picture may be, in pixels; the strip
            comes on top. A picture under 400 is enlarged by a whole factor, to 512 or more
            where ``max_size`` allows, so that one can read the labels.
        labels: whether to write names, and the strip.
        opacity: of tints, 0..1.

    Returns:
        A new RGB image, as wide as the picture, with a strip 160 pixels or more.

    Raises:
        ValueError: the image is empty or has a shape that is no picture; ``opacity`` or
            ``max_size`` is out of range.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be in 0..1, not {opacity}")
    if max_size is not None and max_size < 1:
        raise ValueError(f"max_size must be at least 1, not {max_size}")
    base = picture(image, sample.orientation)
    native = base.size
    base = scaled(base, max_size)
    wide = 1 if sample.unit == "relative" else sample.width or native[0]
    high = 1 if sample.unit == "relative" else sample.height or native[1]
    frame = Frame(base.size, base.width / wide, base.height / high)
    chosen = list(sample.annotations if annotations is None else annotations)
    drawing = Drawing(Ink(base), frame, categories, opacity)
    drawing.place(chosen, load_map)
    drawing.tints()
    drawing.outlines()
    drawing.relations()
    if not labels:
        return base
    drawing.names()
    return under(base, *drawing.said())


def sheet(
    images: Sequence[Image.Image],
    columns: int | None = None,
    titles: Sequence[str] | None = None,
) -> Image.Image:
    """Lay pictures into a contact sheet, row by row, each in the middle of its cell.

    Args:
        images: at least one picture.
        columns: how many to a row; by default about as many as there are rows.
        titles: one line of text over each picture, shortened to its column.

    Returns:
        A new RGB image.

    Raises:
        ValueError: there is no picture, fewer than one column, or not one title per picture.
    """
    if not images:
        raise ValueError("a sheet needs at least one picture")
    across = ceil(len(images) ** 0.5) if columns is None else columns
    if across < 1:
        raise ValueError(f"columns must be at least 1, not {across}")
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"{len(titles)} titles for {len(images)} pictures")
    across = min(across, len(images))
    down = ceil(len(images) / across)
    wide = [max(i.width for i in images[c::across]) for c in range(across)]
    high = [max(i.height for i in images[r * across : (r + 1) * across]) for r in range(down)]
    gap = max(4, max(wide) // 60)
    kind = font(min(max(round(max(wide) / 26), 11), 60))
    head = ceil(kind.size * 1.5) if titles is not None else 0
    size = (sum(wide) + gap * (across + 1), sum(high) + (head + gap) * down + gap)
    out = Image.new("RGB", size, (255, 255, 255))
    ink = ImageDraw.Draw(out)
    for i, image in enumerate(images):
        row, column = divmod(i, across)
        x = gap + sum(wide[:column]) + gap * column
        y = gap + sum(high[:row]) + (head + gap) * row
        if titles is not None:
            title = shorten(clean(titles[i]), kind, wide[column])
            ink.text((x, y), title, (38, 40, 44), kind)
        left = x + (wide[column] - image.width) // 2
        out.paste(image.convert("RGB"), (left, y + head + (high[row] - image.height) // 2))
    return out
