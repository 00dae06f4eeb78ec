"""Random objects for `make_coco.py`: polygons of many objects at once, and crowds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Coords = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Polygons:
    """Polygons of a run of annotations, in hundredths of a pixel.

    Attributes:
        xy: x and y in turn, of every vertex.
        starts: where each polygon starts in `xy`, and the end of the last one.
        firsts: the first polygon of each annotation, and the end of the last one.
        boxes: x0, y0, x1, y1 of each annotation.
        areas: twice the area of each annotation.
    """

    xy: Coords
    starts: Ints
    firsts: Ints
    boxes: Ints
    areas: Ints


def offsets(counts: Ints) -> Ints:
    """Return where each of `counts` runs starts, and the end of the last one."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)))


def draw_polygons(rng: np.random.Generator, width: Ints, height: Ints, vertices: float) -> Polygons:
    """Draw one object in each image of the given sizes, of one to three polygons.

    A polygon is star-shaped in a horizontal strip of the object's box, so that polygons of one
    object do not overlap and their areas add up.
    """
    n = len(width)
    side = np.exp(rng.normal(3.9, 1.0, n))
    aspect = np.exp(rng.normal(0, 0.4, n))
    w = np.clip(side * aspect, 8, width)
    h = np.clip(side / aspect, 8, height)
    x, y = rng.random(n) * (width - w), rng.random(n) * (height - h)

    parts = rng.choice(np.array([1, 2, 3]), n, p=[0.88, 0.09, 0.03])
    owner = np.repeat(np.arange(n), parts)
    firsts = offsets(parts)
    strip = np.arange(len(owner)) - firsts[owner]
    spread = np.maximum((vertices - 1.15 * 4) / 1.15, 0.1)  # 1.15 polygons each, of 4 at least
    sizes = 4 + rng.poisson(rng.gamma(2.0, spread / 2, len(owner)))

    ends = offsets(sizes)
    of = np.repeat(np.arange(len(owner)), sizes)
    step = np.arange(len(of)) - ends[of]
    angle = (step + 0.6 * rng.random(len(of))) * (2 * np.pi) / sizes[of]
    radius = rng.uniform(0.55, 1.0, len(of))
    who = owner[of]
    rx, ry = w[who] / 2, h[who] / parts[who] / 2
    px = x[who] + rx * (1 + radius * np.cos(angle))
    py = y[who] + ry * (1 + 2 * strip[of] + radius * np.sin(angle))
    px, py = np.rint(px * 100).astype(np.int64), np.rint(py * 100).astype(np.int64)

    following = np.arange(1, len(of) + 1)
    following[ends[1:] - 1] = ends[:-1]
    cross = px * py[following] - px[following] * py
    begin = ends[firsts[:-1]]
    boxes = [f.reduceat(p, begin) for f in (np.minimum, np.maximum) for p in (px, py)]
    return Polygons(
        np.column_stack((px, py)).astype(np.int32).ravel(),
        2 * ends,
        firsts,
        np.column_stack(boxes),
        np.add.reduceat(cross, begin),
    )


def crowd(rng: np.random.Generator, width: int, height: int) -> dict[str, Any]:
    """Return a crowd's segmentation, area and box: one run in each column it spans."""
    columns = int(rng.integers(20, width // 3))
    x = int(rng.integers(0, width - columns))
    top = rng.integers(0, height // 2, columns)
    bottom = rng.integers(height // 2 + 1, height, columns)
    begin = (x + np.arange(columns)) * height + top
    edges = np.column_stack((begin, begin + bottom - top)).ravel()
    counts = np.diff(edges, prepend=0, append=width * height)
    box = [x, int(top.min()), columns, int(bottom.max() - top.min())]
    rle = {"counts": counts.tolist(), "size": [height, width]}
    return {"segmentation": rle, "area": int((bottom - top).sum()), "iscrowd": 1, "bbox": box}
