"""Strokes, tints and labels on a picture, in the pixels of that picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import atan2, ceil, cos, floor, hypot, inf, sin

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from granum.browse._draw_colour import RGB, readable
from granum.browse._draw_text import Font, font, shorten

__all__ = ["Box", "Ink", "Mask", "Point"]

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1."""
Mask = npt.NDArray[np.bool_]

_SMOOTH_BELOW = 2_000_000


class Ink:
    """Draws onto ``image`` (RGB), in place; line widths and fonts follow its size."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self.size = image.size
        longer = max(image.size)
        self.line = max(1.0, longer / 380)
        self.font = font(min(max(round(longer / 46), 11), 96))
        self.small = font(min(max(round(longer / 58), 9), 80))
        self.taken: list[Box] = []
        self.obstacles: list[Box] = []
        """What labels should rather not cover."""
        self._draw = ImageDraw.Draw(image)

    def tint(self, x: int, y: int, mask: Mask, colour: RGB, opacity: float) -> None:
        """Lay a colour over the true pixels of a mask whose top-left pixel is (x, y)."""
        alpha = mask.astype(np.uint8) * round(255 * opacity)
        self.image.paste(colour, (x, y), Image.fromarray(alpha))

    def hatch(self, x: int, y: int, mask: Mask, colour: RGB) -> None:
        """Diagonal lines over the true pixels of a mask whose top-left pixel is (x, y)."""
        period = max(6, round(6 * self.line))
        rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
        lines = (rows + y + columns + x) % period < max(1, period // 4)
        self.tint(x, y, mask & lines, colour, 0.9)

    def border(self, x: int, y: int, mask: Mask, colour: RGB, width: float) -> None:
        """The inner edge of a mask whose top-left pixel is (x, y)."""
        core = np.pad(mask, 1)
        for _ in range(max(1, round(width))):
            inner = core.copy()
            inner[1:-1, 1:-1] &= core[:-2, 1:-1] & core[2:, 1:-1]
            inner[1:-1, 1:-1] &= core[1:-1, :-2] & core[1:-1, 2:]
            core = inner
        self.tint(x, y, mask & ~core[1:-1, 1:-1], colour, 1.0)

    def stroke(
        self,
        points: Sequence[Point],
        colour: RGB,
        width: float,
        closed: bool = False,
        dashed: bool = False,
    ) -> None:
        """A line through points, its corners round."""
        chain = [*points, points[0]] if closed else list(points)
        pieces = _dashes(chain, 4 * width) if dashed else [chain]

        def paint(draw: ImageDraw.ImageDraw, scale: int, x: int, y: int) -> None:
            for piece in pieces:
                at = [((px - x) * scale, (py - y) * scale) for px, py in piece]
                draw.line(at, 255, max(1, round(width * scale)), joint="curve")

        self._smooth(chain, width, colour, paint)

    def disc(self, centre: Point, radius: float, colour: RGB, hollow: bool = False) -> None:
        """A filled circle, or a ring."""
        cx, cy = centre

        def paint(draw: ImageDraw.ImageDraw, scale: int, x: int, y: int) -> None:
            box = [
                (cx - radius - x) * scale,
                (cy - radius - y) * scale,
                (cx + radius - x) * scale - 1,
                (cy + radius - y) * scale - 1,
            ]
            if hollow:
                draw.ellipse(box, outline=255, width=max(1, round(radius * scale * 0.4)))
            else:
                draw.ellipse(box, fill=255)

        self._smooth([centre], 2 * radius, colour, paint)

    def arrow(self, start: Point, end: Point, colour: RGB, width: float, rim: float) -> None:
        """A line from start to end, with a head at its end and a white rim around both."""
        turn = atan2(end[1] - start[1], end[0] - start[0])
        length = min(7 * width, hypot(end[0] - start[0], end[1] - start[1]))
        neck = (end[0] - length * 0.8 * cos(turn), end[1] - length * 0.8 * sin(turn))
        head = [end] + [
            (end[0] - length * cos(turn + side), end[1] - length * sin(turn + side))
            for side in (-0.45, 0.45)
        ]
        for tone, more in (((255, 255, 255), rim), (colour, 0.0)):

            def paint(
                draw: ImageDraw.ImageDraw, scale: int, x: int, y: int, more: float = more
            ) -> None:
                def at(p: Point) -> Point:
                    return (p[0] - x) * scale, (p[1] - y) * scale

                draw.line([at(start), at(neck)], 255, max(1, round((width + 2 * more) * scale)))
                draw.polygon([at(p) for p in head], 255)
                if more:
                    edge = [at(p) for p in (*head, head[0], head[1])]
                    draw.line(edge, 255, max(1, round(2 * more * scale)), joint="curve")

            self._smooth([start, *head], width + 2 * rim, tone, paint)

    def rectangle(self, box: Box, colour: RGB, width: float, dashed: bool = False) -> None:
        """A box whose line lies within it, on whole pixels."""
        x0, y0, x1, y1 = round(box[0]), round(box[1]), round(box[2]) - 1, round(box[3]) - 1
        x1, y1 = max(x0, x1), max(y0, y1)
        thick = max(1, round(width))
        if not dashed:
            self._draw.rectangle((x0, y0, x1, y1), outline=colour, width=thick)
            return
        step = 4 * thick
        for x in range(x0, x1 + 1, 2 * step):
            end = min(x + step - 1, x1)
            self._draw.rectangle((x, y0, end, min(y0 + thick - 1, y1)), colour)
            self._draw.rectangle((x, max(y1 - thick + 1, y0), end, y1), colour)
        for y in range(y0, y1 + 1, 2 * step):
            end = min(y + step - 1, y1)
            self._draw.rectangle((x0, y, min(x0 + thick - 1, x1), end), colour)
            self._draw.rectangle((max(x1 - thick + 1, x0), y, x1, end), colour)

    def _smooth(
        self,
        points: Sequence[Point],
        width: float,
        colour: RGB,
        paint: Callable[[ImageDraw.ImageDraw, int, int, int], None],
    ) -> None:
        """Paint a larger mask and shrink it, so that slanted lines have smooth edges."""
        margin = ceil(width) + 1
        x0 = max(floor(min(p[0] for p in points)) - margin, 0)
        y0 = max(floor(min(p[1] for p in points)) - margin, 0)
        x1 = min(ceil(max(p[0] for p in points)) + margin, self.size[0])
        y1 = min(ceil(max(p[1] for p in points)) + margin, self.size[1])
        if x0 >= x1 or y0 >= y1:
            return
        scale = 3 if (x1 - x0) * (y1 - y0) * 9 < _SMOOTH_BELOW * 9 else 1
        mask = Image.new("L", ((x1 - x0) * scale, (y1 - y0) * scale))
        paint(ImageDraw.Draw(mask), scale, x0, y0)
        self.image.paste(colour, (x0, y0), mask if scale == 1 else mask.reduce(scale))

    def label(
        self,
        box: Box,
        text: str,
        colour: RGB,
        detail: str = "",
        small: bool = False,
        needed: bool = True,
    ) -> bool:
        """Text at a box: where there is room, else without its detail, else over others.

        Args:
            box: what the text is about; the text stands at one of its sides.
            detail: a second line in small type; left out where it would cover other things.
                A label over an eighth of the picture is left out as well.
            small: in small type throughout.
            needed: False leaves the label out where there is no room at all.

        Returns:
            Whether anything was written.
        """
        kind = self.small if small else self.font
        x0, y0, x1, y1 = box
        for second in (detail, "") if detail else ("",):
            width, height = self._extent(text, second, kind)
            if width * height * 8 > self.size[0] * self.size[1]:
                continue
            best = 0.3 if second else inf
            chosen: Box | None = None
            for rank, (x, y) in enumerate(self._places(box, width, height)):
                spot = (x, y, x + width, y + height)
                if any(_overlap(spot, other) for other in self.taken):
                    continue
                covered = sum(_overlap(spot, o) for o in self.obstacles if o != box)
                cost = covered / (width * height) + 0.02 * rank
                # Hiding much of what it is about is as bad as hiding something else.
                cost += 0.6 * _overlap(spot, box) / max((x1 - x0) * (y1 - y0), 1.0)
                if cost < best:
                    best, chosen = cost, spot
            if chosen is not None:
                return self._write(chosen, text, second, colour, kind)
        width, height = self._extent(text, "", kind)
        if not needed or width * height * 8 > self.size[0] * self.size[1]:
            return False
        spots = [(x, y, x + width, y + height) for x, y in self._places(box, width, height)]
        least = min(spots, key=lambda s: sum(_overlap(s, other) for other in self.taken))
        return self._write(least, text, "", colour, kind)

    def _extent(self, text: str, detail: str, kind: Font) -> tuple[int, int]:
        pad = kind.size * 0.3
        width = max(kind.getlength(text), self.small.getlength(detail) if detail else 0.0)
        height = kind.size * 1.3 + (self.small.size * 1.2 if detail else 0.0)
        return min(ceil(width + 2 * pad), self.size[0]), min(ceil(height), self.size[1])

    def _places(self, box: Box, width: float, height: float) -> list[Point]:
        """Top-left corners for a label of this size, the best first, all within the picture."""
        x0, x1 = (min(max(v, 0.0), float(self.size[0])) for v in box[::2])
        y0, y1 = (min(max(v, 0.0), float(self.size[1])) for v in box[1::2])
        wanted = [
            (x0, y0 - height),
            (x1 - width, y0 - height),
            (x0, y1),
            (x0, y0),
            (x1, y0),
            (x0 - width, y0),
            (x1 - width, y1),
            (x0, y1 - height),
            ((x0 + x1 - width) / 2, (y0 + y1 - height) / 2),
            (x0, y0 - 2 * height),
            (x0, y1 + height),
            (x0 - width, y0 - height),
            (x1, y1),
            (x0, y0 - 3 * height),
            (x0, y1 + 2 * height),
        ]
        limit_x, limit_y = self.size[0] - width, self.size[1] - height
        return [(round(min(max(x, 0), limit_x)), round(min(max(y, 0), limit_y))) for x, y in wanted]

    def _write(self, spot: Box, text: str, detail: str, colour: RGB, kind: Font) -> bool:
        x, y, x1, y1 = spot
        pad = kind.size * 0.3
        text = shorten(text, kind, x1 - x - pad)
        if not text:
            return False
        self.taken.append(spot)
        self._draw.rectangle((x, y, x1 - 1, y1 - 1), colour)
        ink = readable(colour)
        middle = y + min(kind.size * 0.65, (y1 - y) / 2)
        self._draw.text((x + pad, middle), text, ink, kind, anchor="lm")
        if detail:
            below = y + kind.size * 1.3 + self.small.size * 0.45
            detail = shorten(detail, self.small, x1 - x - pad)
            self._draw.text((x + pad, below), detail, ink, self.small, anchor="lm")
        return True


def _overlap(a: Box, b: Box) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return wide * high if wide > 0 and high > 0 else 0.0


def _dashes(chain: Sequence[Point], step: float) -> list[list[Point]]:
    """Every second stretch of ``step`` pixels along a chain."""
    out: list[list[Point]] = []
    left, current = step, [chain[0]]
    for a, b in pairwise(chain):
        length, done = hypot(b[0] - a[0], b[1] - a[1]), 0.0
        while length - done > left:
            done += left
            share = done / length
            current.append((a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share))
            out.append(current)
            left, current = step, [current[-1]]
        left -= length - done
        current.append(b)
    out.append(current)
    return out[::2]
