"""Polygons of whole numbers filled as OpenCV does, for numbers that were published with it.

``geometry.rasterize`` (cocoapi's rule) is what everything else uses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["fill_poly"]

Mask = npt.NDArray[np.bool_]
Segment = tuple[int, int, int, int]


def fill_poly(rings: Iterable[npt.ArrayLike], height: int, width: int) -> Mask:
    """The mask, shape (height, width), of rings, each filled alone: what ``cv2.fillPoly`` sets.

    Pixels are points at whole coordinates. Those between an odd and an even crossing of their row
    are set, and those of the outline, drawn as 8-connected lines; both are cut at the border first,
    as there, so that an outline that leaves the raster is bent a little.

    Args:
        rings: whole numbers, flat x, y or shape (points, 2).
    """
    out = np.zeros((height, width), bool)
    for ring in rings:
        points = np.asarray(ring, np.int64).reshape(-1, 2)
        if not len(points):
            continue
        # Only where the ring is: most of a raster is not.
        (left, top), (right, bottom) = (
            np.clip(v, 0, (width, height)).tolist()
            for v in (points.min(axis=0), points.max(axis=0) + 1)
        )
        crossings = np.zeros((bottom - top, right - left + 1), np.uint8)
        for edge in np.hstack([np.roll(points, 1, axis=0), points]).tolist():
            y0, y1 = edge[1], edge[3]
            seen, part = _clipped(edge, height, width)
            if seen:
                _draw_line(out, *part)
            if y0 == y1:
                continue
            a, b, c, d = part if part[1] != part[3] else edge
            rows = np.arange(max(min(y0, y1), 0), min(max(y0, y1), height))
            columns = a - (b - rows) * (c - a) // (d - b)  # rounded up
            crossings[rows - top, np.clip(columns, left, right) - left] ^= 1
        inside = np.bitwise_xor.accumulate(crossings[:, :-1], axis=1)
        out[top:bottom, left:right] |= inside.astype(bool)
    return out


def _clipped(edge: Any, height: int, width: int) -> tuple[bool, Segment]:
    """Whether a segment meets the raster, and its part inside: rows first, cut towards 0."""
    x0, y0, x1, y1 = edge
    codes = _beyond(x0, y0, height, width), _beyond(x1, y1, height, width)
    if codes[0] & codes[1] or not codes[0] | codes[1]:
        return not codes[0] | codes[1], (x0, y0, x1, y1)
    right, bottom = width - 1, height - 1
    if codes[0] & 12:
        to = 0 if codes[0] < 8 else bottom
        x0, y0 = x0 + int((to - y0) * (x1 - x0) / (y1 - y0)), to
    if codes[1] & 12:
        to = 0 if codes[1] < 8 else bottom
        x1, y1 = x1 + int((to - y1) * (x1 - x0) / (y1 - y0)), to
    codes = _beyond(x0, y0, height, width) & 3, _beyond(x1, y1, height, width) & 3
    if codes[0] & codes[1]:
        return False, (x0, y0, x1, y1)
    if codes[0]:
        to = 0 if codes[0] == 1 else right
        x0, y0 = to, y0 + int((to - x0) * (y1 - y0) / (x1 - x0))
    if codes[1]:
        to = 0 if codes[1] == 1 else right
        x1, y1 = to, y1 + int((to - x1) * (y1 - y0) / (x1 - x0))
    return True, (x0, y0, x1, y1)


def _beyond(x: int, y: int, height: int, width: int) -> int:
    """1 left, 2 right, 4 above, 8 below the raster, added."""
    return (x < 0) + 2 * (x >= width) + 4 * (y < 0) + 8 * (y >= height)


def _draw_line(out: Mask, x0: int, y0: int, x1: int, y1: int) -> None:
    """The pixels of a line, from its left end; halves stay at the row or column before."""
    if x1 < x0:
        x0, y0, x1, y1 = x1, y1, x0, y0
    across, down = x1 - x0, abs(y1 - y0)
    step = 1 if y1 >= y0 else -1
    long, short = max(across, down), min(across, down)
    along = np.arange(long + 1)
    aside = -((long - 2 * along * short) // (2 * max(long, 1)))
    if across >= down:
        out[y0 + step * aside, x0 + along] = True
    else:
        out[y0 + step * along, x0 + aside] = True
