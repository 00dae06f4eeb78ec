"""Overlaps of quadrilaterals, many pairs at a time.

Convex ones are clipped against each other (I. Sutherland, G. Hodgman, "Reentrant polygon
clipping", CACM 1974), all pairs in step. Others are the signed sum of the triangles (1, 2, 3) and
(1, 3, 4) of their corners, which is what DOTA's ``polyiou`` counts, too: a point counts as often
as the outline goes around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Quads", "quad_iou", "turned_corners"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_PAIRS = 100_000
"""Pairs that are clipped at a time."""


def turned_corners(boxes: Floats, angles: Floats) -> Floats:
    """Corners of turned boxes.

    Args:
        boxes: shape (n, 4), xywh before turning.
        angles: shape (n,), radians, clockwise on the screen, about the centre.

    Returns:
        Shape (n, 4, 2): top left, top right, bottom right, bottom left before turning.
    """
    half = boxes[:, None, 2:] / 2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    x, y = half[..., 0], half[..., 1]
    turned = np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)
    return np.asarray(turned + (boxes[:, None, :2] + boxes[:, None, 2:] / 2))


@dataclass(frozen=True)
class Quads:
    """Quadrilaterals, ready to be compared.

    Attributes:
        corners: shape (n, 4, 2), as given.
        area: shape (n,), of the outline, never negative.
        pieces: shape (n, 2, 4, 2): convex pieces, each with its corners the same way round; a
            triangle has its last corner twice.
        sign: shape (n, 2), what each piece counts: 1, -1, or 0 where there is none.
        low, high: shape (n, 2), the upright box around it.
    """

    corners: Floats
    area: Floats
    pieces: Floats
    sign: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, corners: npt.ArrayLike) -> Quads:
        """Of corners in order, either way round, shape (n, 4, 2)."""
        given = np.asarray(corners, np.float64).reshape(-1, 4, 2)
        area = _signed_area(given)
        # All the same way round, so that signs of pieces compare.
        ordered = np.where((area < 0)[:, None, None], given[:, ::-1], given)
        sides = np.roll(ordered, -1, axis=1) - ordered
        convex = np.asarray((_cross(sides, np.roll(sides, -1, axis=1)) >= 0).all(axis=1))
        triangles = np.stack([ordered[:, [0, 1, 2, 2]], ordered[:, [0, 2, 3, 3]]], axis=1)
        parts = _signed_area(triangles.reshape(-1, 4, 2)).reshape(-1, 2)
        back = triangles[:, :, [2, 1, 0, 0]]
        triangles = np.where((parts < 0)[:, :, None, None], back, triangles)
        whole = np.stack([ordered, ordered], axis=1)
        return cls(
            corners=given,
            area=np.abs(area),
            pieces=np.where(convex[:, None, None, None], whole, triangles),
            sign=np.where(convex[:, None], [1.0, 0.0], np.sign(parts)),
            low=given.min(axis=1),
            high=given.max(axis=1),
        )

    def __len__(self) -> int:
        return len(self.area)


def quad_iou(a: Quads, left: Ints, b: Quads, right: Ints) -> Floats:
    """IoU of pairs.

    Args:
        a: quadrilaterals.
        left: shape (pairs,), rows of ``a``.
        b: others.
        right: shape (pairs,), rows of ``b``.

    Returns:
        Shape (pairs,); 0 where neither has an area.
    """
    inner = np.zeros(len(left))
    low = np.maximum(a.low[left], b.low[right])
    near = np.flatnonzero((np.minimum(a.high[left], b.high[right]) > low).all(axis=1))
    for i in range(2):
        for j in range(2):
            sign = a.sign[left[near], i] * b.sign[right[near], j]
            rows, sign = near[sign != 0], sign[sign != 0]
            for first in range(0, len(rows), _PAIRS):
                use = slice(first, first + _PAIRS)
                one, other = a.pieces[left[rows[use]], i], b.pieces[right[rows[use]], j]
                inner[rows[use]] += sign[use] * _intersection(one, other)
    union = a.area[left] + b.area[right] - inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)


def _intersection(a: Floats, b: Floats) -> Floats:
    """Areas of the intersections of convex polygons of four corners, clockwise on the screen."""
    # About a corner of their own, as areas of differences of far away points lose digits.
    origin = b[:, :1]
    points, clip = a - origin, b - origin
    for edge in range(4):
        points = _clipped(points, clip[:, edge], clip[:, (edge + 1) % 4])
    return np.maximum(_signed_area(points), 0.0)


def _clipped(points: Floats, start: Floats, end: Floats) -> Floats:
    """What of polygons lies right of the line from ``start`` to ``end`` (as the screen shows it).

    Polygons are shape (n, k, 2); in the result, shape (n, k + 1, 2), unused places repeat a corner
    or, where nothing is left, ``start``.
    """
    way = (end - start)[:, None]
    side = _cross(np.broadcast_to(way, points.shape), points - start[:, None])
    following, side_after = np.roll(points, -1, axis=1), np.roll(side, -1, axis=1)
    inside = side >= 0
    crosses = inside != (side_after >= 0)
    gap = np.where(crosses, side - side_after, 1.0)
    cut = points + (side / gap)[..., None] * (following - points)
    # Each corner, then the place where the edge after it crosses the line.
    n, k = side.shape
    both = np.stack([points, cut], axis=2).reshape(n, 2 * k, 2)
    used = np.stack([inside, crosses], axis=2).reshape(n, 2 * k)
    order = np.argsort(~used, axis=1, kind="stable")[:, : k + 1]
    kept = np.take_along_axis(both, order[..., None], axis=1)
    valid = np.take_along_axis(used, order, axis=1)
    first = np.where(valid[:, :1], kept[:, 0], start)
    return np.where(valid[..., None], kept, first[:, None])


def _cross(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def _signed_area(points: Floats) -> Floats:
    """By the shoelace formula, about the first corner, shape (n, k, 2) → (n,)."""
    about = points - points[:, :1]
    return np.asarray(_cross(about, np.roll(about, -1, axis=1)).sum(axis=1) / 2)
