"""Pixel-exact polygons of a mask: corners on the pixel lattice, so nothing is rounded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["bounds", "trace"]

Mask = npt.NDArray[np.bool_]
Vertex = tuple[int, int]
Segments = dict[tuple[int, int, int], Vertex]


def bounds(mask: Mask) -> tuple[float, float, float, float]:
    """The ``xywh`` box, in pixels, of the true pixels of a mask of shape (height, width).

    Raises:
        ValueError: no pixel is true.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise ValueError("an empty mask has no bounds")
    x, y = int(columns[0]), int(rows[0])
    return float(x), float(y), float(columns[-1] + 1 - x), float(rows[-1] + 1 - y)


def trace(mask: Mask) -> list[list[list[float]]]:
    """Parts, then rings (outside first, then holes), then flat x, y, of a (height, width) mask.

    Rings run along pixel edges, with the mask on the right-hand side on the screen, and carry
    corners only. Pixels that touch by a corner alone are separate parts. An empty mask has no
    parts. ``geometry.rasterize`` gives the mask back exactly.
    """
    if not mask.any():
        return []
    x, y, width, height = (int(v) for v in bounds(mask))
    rings = _rings(np.pad(np.asarray(mask[y : y + height, x : x + width], np.int8), 1))
    rings = [[(x + a, y + b) for a, b in ring] for ring in rings]
    areas = [_signed_area(ring) for ring in rings]
    # Small outsides first: a hole belongs to the smallest one around its border pixel.
    outer = sorted((i for i, a in enumerate(areas) if a > 0), key=lambda i: areas[i])
    parts: dict[int, list[list[float]]] = {i: [_flat(rings[i])] for i in sorted(outer)}
    for i, area in enumerate(areas):
        if area < 0:
            point = _border_pixel(rings[i])
            owner = next(o for o in outer if _contains(rings[o], point))
            parts[owner].append(_flat(rings[i]))
    return list(parts.values())


def _rings(padded: npt.NDArray[np.int8]) -> list[list[Vertex]]:
    """Closed chains of corners, from the top, of a mask with a border of one zero pixel."""
    # Key: where a segment starts, and +1 (right or down) or -1 (left or up).
    horizontal = _segments(np.diff(padded, axis=0), False)
    vertical = _segments(-np.diff(padded, axis=1).T, True)
    rings = []
    for x, y, direction in sorted(horizontal, key=lambda k: (k[1], k[0])):
        if (x, y, direction) not in horizontal:
            continue
        end = horizontal.pop((x, y, direction))
        ring = [(x, y)]
        while True:
            ring.append(end)
            # Turn right where both ways are open: pixels touching by a corner stay apart.
            turn = direction if (*end, direction) in vertical else -direction
            end = vertical.pop((*end, turn))
            if end == ring[0]:
                break
            ring.append(end)
            direction = -turn if (*end, -turn) in horizontal else turn
            end = horizontal.pop((*end, direction))
        rings.append(ring)
    return rings


def _segments(change: npt.NDArray[np.int8], swap: bool) -> Segments:
    """Longest runs of one sign along the rows of ``change``, from start to end, by direction."""
    flat = np.pad(change, ((0, 0), (1, 1)))
    steps = np.diff(flat, axis=1)
    lines, places = np.nonzero(steps)
    out: Segments = {}
    start = 0
    for line, place in zip(lines.tolist(), places.tolist(), strict=True):
        before, after = int(flat[line, place]), int(flat[line, place + 1])
        if before:
            _close(out, line, start, place, before, swap)
        if after:
            start = place
    return out


def _close(out: Segments, line: int, low: int, high: int, sign: int, swap: bool) -> None:
    first, last = (low, high) if sign > 0 else (high, low)
    # The padding of one pixel is taken off here: only the running coordinate starts at it.
    a, b = (first - 1, line), (last - 1, line)
    if swap:
        a, b = (a[1], a[0]), (b[1], b[0])
    out[(*a, sign)] = b


def _signed_area(ring: list[Vertex]) -> int:
    total = 0
    for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
        total += x0 * y1 - x1 * y0
    return total // 2


def _flat(ring: list[Vertex]) -> list[float]:
    return [float(v) for vertex in ring for v in vertex]


def _border_pixel(hole: list[Vertex]) -> tuple[float, float]:
    """Centre of a mask pixel right of the first horizontal edge of a hole."""
    (x0, y0), (x1, _) = hole[0], hole[1]
    return (x0 + 0.5, y0 + 0.5) if x1 > x0 else (x0 - 0.5, y0 - 0.5)


def _contains(ring: list[Vertex], point: tuple[float, float]) -> bool:
    x, y = point
    inside = False
    for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
        if x0 == x1 and x0 > x and (y0 > y) != (y1 > y):
            inside = not inside
    return inside
