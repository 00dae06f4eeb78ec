"""Turned boxes as four corners in a text, and back to the same numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from granum.schema import geometry

__all__ = ["Box", "corners_of_turned", "finite", "short_corners", "stable_turned", "turned_of"]

Box = tuple[float, float, float, float]


def finite(values: Sequence[float]) -> list[float] | None:
    """The values, or None where one is no number."""
    listed = [float(v) for v in values]
    return listed if all(map(math.isfinite, listed)) else None


def corners_of_turned(box: Box, angle: float | None) -> list[float] | None:
    """Eight numbers, x and y of each corner; None where one is not finite."""
    return finite(geometry.box_to_corners(box, angle or 0.0).ravel().tolist())


def turned_of(corners: Sequence[float]) -> tuple[Box, float] | None:
    """Box and angle of four corners; None where they form no rectangle. Numbers are rounded to
    what the arithmetic leaves certain, so that writing and reading them again changes nothing."""
    found = geometry.corners_to_box(corners)
    if found is None:
        return None
    x, y, w, h = (round(v, 6) + 0.0 for v in found[0])
    return (x, y, w, h), round(found[1], 9) + 0.0


def stable_turned(box: Box, angle: float | None) -> tuple[Box, float] | None:
    """Box and angle that come back when this one is written as corners; None where none do."""
    corners = corners_of_turned(box, angle)
    found = None if corners is None else turned_of(corners)
    if found is None:
        return None
    again = corners_of_turned(*found)
    return found if again is not None and turned_of(again) == found else None


def short_corners(corners: list[float]) -> list[float]:
    """Corners with few digits that are read as the same box and angle."""
    wanted = turned_of(corners)
    for digits in (3, 6, 9):
        short = [round(c, digits) + 0.0 for c in corners]
        if wanted is not None and turned_of(short) == wanted:
            return short
    return corners
