"""Shapes as signed distances, and a canvas that paints colour and truth in one stroke.

A pixel belongs to a shape where the distance at its centre is at most 0; there the colour
covers at least half. Edges are smooth in the picture and exact in the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = [
    "Canvas",
    "Colour",
    "Piece",
    "Shape",
    "box",
    "capsule",
    "coverage",
    "cut",
    "ellipse",
    "intersect",
    "noise",
    "polygon",
    "union",
]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Shape:
    """A region: ``extent`` is x0, y0, x1, y1 in pixels; ``distance(x, y)`` is below 0 inside."""

    extent: tuple[float, float, float, float]
    distance: Callable[[Floats, Floats], Floats]


@dataclass(frozen=True, slots=True)
class Piece:
    """A shape with its colour (0..1). ``part`` says which part of the thing it is drawn for.

    ``shade``: ``flat``, ``down`` (darker below), ``ball`` (lit from the upper left) or ``glow``
    (its own light, whatever the hour).
    """

    shape: Shape
    colour: Colour
    part: tuple[str, int] | None = None
    shade: str = "down"


def ellipse(cx: float, cy: float, rx: float, ry: float) -> Shape:
    """An axis-aligned ellipse about (cx, cy)."""

    def distance(x: Floats, y: Floats) -> Floats:
        u, v = (x - cx) / rx, (y - cy) / ry
        near = np.hypot(u, v)
        slope = np.maximum(np.hypot(u / rx, v / ry), 1e-12)
        return np.where(near < 1e-6, -min(rx, ry), near * (near - 1) / slope)

    return Shape((cx - rx, cy - ry, cx + rx, cy + ry), distance)


def box(x0: float, y0: float, x1: float, y1: float, radius: float = 0.0) -> Shape:
    """An axis-aligned box with rounded corners."""
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    rx, ry = (x1 - x0) / 2 - radius, (y1 - y0) / 2 - radius

    def distance(x: Floats, y: Floats) -> Floats:
        u, v = np.abs(x - cx) - rx, np.abs(y - cy) - ry
        outside = np.hypot(np.maximum(u, 0), np.maximum(v, 0))
        return np.asarray(outside + np.minimum(np.maximum(u, v), 0) - radius)

    return Shape((x0, y0, x1, y1), distance)


def capsule(
    a: tuple[float, float], b: tuple[float, float], radius: float, end: float | None = None
) -> Shape:
    """A thick line from ``a`` to ``b``; its radius runs from ``radius`` to ``end``."""
    (ax, ay), (bx, by) = a, b
    dx, dy = bx - ax, by - ay
    length = max(dx * dx + dy * dy, 1e-12)
    last = radius if end is None else end
    r = max(radius, last)

    def distance(x: Floats, y: Floats) -> Floats:
        along = np.clip(((x - ax) * dx + (y - ay) * dy) / length, 0, 1)
        reach = radius + (last - radius) * along
        return np.asarray(np.hypot(x - ax - along * dx, y - ay - along * dy) - reach)

    return Shape((min(ax, bx) - r, min(ay, by) - r, max(ax, bx) + r, max(ay, by) + r), distance)


def polygon(points: Sequence[tuple[float, float]]) -> Shape:
    """A closed polygon of corners (x, y), filled by the even-odd rule."""
    corners = np.asarray(points, np.float64)
    low, high = corners.min(axis=0), corners.max(axis=0)

    def distance(x: Floats, y: Floats) -> Floats:
        x, y = np.broadcast_arrays(x, y)
        near = np.full(x.shape, np.inf)
        inside = np.zeros(x.shape, bool)
        for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            dx, dy = bx - ax, by - ay
            along = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
            near = np.minimum(near, np.hypot(x - ax - along * dx, y - ay - along * dy))
            if dy:
                crossing = ((ay > y) != (by > y)) & (x < ax + (y - ay) * dx / dy)
                inside ^= crossing
        return np.where(inside, -near, near)

    return Shape((float(low[0]), float(low[1]), float(high[0]), float(high[1])), distance)


def union(*shapes: Shape) -> Shape:
    """All of the shapes together."""
    low = np.min([s.extent[:2] for s in shapes], axis=0)
    high = np.max([s.extent[2:] for s in shapes], axis=0)

    def distance(x: Floats, y: Floats) -> Floats:
        return np.asarray(np.minimum.reduce([s.distance(x, y) for s in shapes]))

    return Shape((float(low[0]), float(low[1]), float(high[0]), float(high[1])), distance)


def cut(shape: Shape, hole: Shape) -> Shape:
    """``shape`` without ``hole``."""
    return Shape(shape.extent, lambda x, y: np.maximum(shape.distance(x, y), -hole.distance(x, y)))


def intersect(shape: Shape, other: Shape) -> Shape:
    """What both shapes cover; its extent is that of ``shape``."""
    return Shape(shape.extent, lambda x, y: np.maximum(shape.distance(x, y), other.distance(x, y)))


def noise(
    rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 1
) -> Floats:
    """Smooth noise of shape (height, width), about 0 with deviation 1; ``cell`` is in pixels."""
    total = np.zeros((height, width))
    for octave in range(octaves):
        size = max(cell / 2**octave, 1.0)
        grid = rng.standard_normal((int(height / size) + 3, int(width / size) + 3))
        smooth = Image.fromarray(grid.astype(np.float32)).resize(
            (round(grid.shape[1] * size), round(grid.shape[0] * size)), Image.Resampling.BICUBIC
        )
        total += np.asarray(smooth, np.float64)[:height, :width] / 2**octave
    return np.asarray((total - total.mean()) / max(float(total.std()), 1e-9))


def coverage(shapes: Sequence[Shape]) -> tuple[int, int, Mask]:
    """(x, y) of a window, and the mask in it of all pixels under the shapes.

    The window may lie outside any image: this is the whole thing, seen or not.
    """
    x0, y0, x1, y1 = _window(union(*shapes).extent)
    mask = np.zeros((y1 - y0, x1 - x0), bool)
    for shape in shapes:
        a, b, c, d = _window(shape.extent)
        mask[b - y0 : d - y0, a - x0 : c - x0] |= shape.distance(*_centres(a, b, c, d)) <= 0
    return x0, y0, mask


def _window(extent: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = extent
    return floor(x0) - 1, floor(y0) - 1, ceil(x1) + 1, ceil(y1) + 1


def _centres(x0: int, y0: int, x1: int, y1: int) -> tuple[Floats, Floats]:
    x, y = np.arange(x0, x1, dtype=np.float64), np.arange(y0, y1, dtype=np.float64)
    return (x + 0.5)[None, :], (y + 0.5)[:, None]


class Canvas:
    """A picture and its truth: ``rgb`` (height, width, 3) in 0..1, ``owner`` and ``part`` ids.

    ``owner`` and ``part`` have shape (height, width) and are 0 where nothing was painted.
    """

    def __init__(self, rgb: Floats, light: Colour = (1.0, 1.0, 1.0)) -> None:
        self.rgb = rgb.astype(np.float64)
        self.light = np.asarray(light)
        self.owner: npt.NDArray[np.int32] = np.zeros(rgb.shape[:2], np.int32)
        self.part: npt.NDArray[np.int32] = np.zeros(rgb.shape[:2], np.int32)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.owner.shape[1], self.owner.shape[0]

    def paint(self, piece: Piece, owner: int = 0, part: int = 0, opacity: float = 1.0) -> None:
        """Put a piece on top. ``owner`` 0 leaves the truth alone (shadows, backgrounds)."""
        x0, y0, x1, y1 = _window(piece.shape.extent)
        x0, y0 = max(x0, 0), max(y0, 0)
        x1, y1 = min(x1, self.size[0]), min(y1, self.size[1])
        if x0 >= x1 or y0 >= y1:
            return
        x, y = _centres(x0, y0, x1, y1)
        distance = piece.shape.distance(x, y)
        place = np.s_[y0:y1, x0:x1]
        alpha = np.clip(0.5 - distance, 0, 1)[..., None] * opacity
        colour = _shaded(piece, x, y)
        if piece.shade != "glow":
            colour = colour * self.light
        self.rgb[place] = self.rgb[place] * (1 - alpha) + colour * alpha
        if owner:
            inside = distance <= 0
            self.owner[place][inside] = owner
            self.part[place][inside] = part

    def shine(self, x: float, y: float, radius: float, colour: Colour, strength: float) -> None:
        """Add a soft light about (x, y)."""
        width, height = self.size
        gx, gy = _centres(0, 0, width, height)
        falloff = np.exp(-((gx - x) ** 2 + (gy - y) ** 2) / (2 * radius**2)) * strength
        self.rgb += falloff[..., None] * np.asarray(colour) * (1 - np.clip(self.rgb, 0, 1))

    def image(self, rng: np.random.Generator, grain: float = 0.012) -> Image.Image:
        """The picture as 8-bit RGB, with sensor noise of deviation ``grain``."""
        noisy = self.rgb + rng.normal(0, grain, self.rgb.shape)
        return Image.fromarray((np.clip(noisy, 0, 1) * 255 + 0.5).astype(np.uint8))


def _shaded(piece: Piece, x: Floats, y: Floats) -> Floats:
    x0, y0, x1, y1 = piece.shape.extent
    u = (2 * x - x0 - x1) / max(x1 - x0, 1e-9)
    v = (2 * y - y0 - y1) / max(y1 - y0, 1e-9)
    colour = np.asarray(piece.colour)
    if piece.shade == "down":
        return np.asarray((1.06 - 0.16 * np.clip((v + 1) / 2, 0, 1))[..., None] * colour)
    if piece.shade == "ball":
        depth = np.sqrt(np.clip(1 - u * u - v * v, 0, 1))
        lit = np.clip(-0.45 * u - 0.6 * v + 0.66 * depth, 0, 1)
        return np.asarray((0.55 + 0.55 * lit)[..., None] * colour + 0.25 * (lit**12)[..., None])
    return np.broadcast_to(colour, (*np.broadcast_shapes(x.shape, y.shape), 3))
