"""Where an annotation lies on the drawn picture: scaled, cut to it, as masks and points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from granum.browse._draw_ink import Box, Mask, Point
from granum.browse._fields import field_numbers
from granum.schema import geometry, rows

__all__ = ["Frame", "MapLoader", "Window", "extent"]

Loaded = npt.NDArray[Any]
Values = npt.NDArray[np.float64]
MapLoader = Callable[[rows.LabelMap], Loaded]

_TURN = np.linspace(0, 2 * np.pi, 73)[:-1]


@dataclass(frozen=True, slots=True)
class Window:
    """A mask, shape (height, width), whose top-left pixel is (x, y) of the picture.

    ``traced`` ones come from rings, which are drawn as its outline.
    """

    x: int
    y: int
    mask: Mask
    traced: bool = False

    @property
    def box(self) -> Box:
        """The window's bounds."""
        height, width = self.mask.shape
        return float(self.x), float(self.y), float(self.x + width), float(self.y + height)

    def heart(self) -> Box | None:
        """A pixel of the mask near its middle, where the mask fills little of its window."""
        if self.mask.mean() > 0.5:
            return None
        rows, columns = np.nonzero(self.mask)
        nearest = int(np.argmin(np.hypot(rows - rows.mean(), columns - columns.mean())))
        x, y = float(self.x + columns[nearest]), float(self.y + rows[nearest])
        return x, y, x + 1, y + 1


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture of (width, height) pixels; ``across`` and ``down`` pixels per unit of a sample."""

    size: tuple[int, int]
    across: float
    down: float

    def points(self, flat: Sequence[float], step: int = 2) -> list[Point]:
        """x, y, … of a sample in pixels of the picture; none where a number is not finite.

        Points far outside come closer, so that no line is absurdly long.
        """
        if not all(isfinite(v) for v in flat):
            return []
        width, height = self.size
        return [
            (
                min(max(flat[i] * self.across, -3.0 * width), 4.0 * width),
                min(max(flat[i + 1] * self.down, -3.0 * height), 4.0 * height),
            )
            for i in range(0, len(flat) - step + 1, step)
        ]

    def corners(self, row: rows.Annotation) -> list[Point]:
        """The four corners of the box, turned by its angle; none without a box."""
        if row.bbox is None:
            return []
        x, y, w, h = row.bbox
        ends = self.points([x, y, x + w, y + h])
        if not ends:
            return []
        (x0, y0), (x1, y1) = ends
        angle = row.angle if row.angle is not None and isfinite(row.angle) else 0.0
        turned = geometry.box_to_corners((x0, y0, x1 - x0, y1 - y0), angle)
        return [(float(a), float(b)) for a, b in turned]

    def ellipse(self, row: rows.Annotation) -> list[Point]:
        """The outline of the ellipse in the row's box."""
        corners = np.asarray(self.corners(row))
        if not len(corners):
            return []
        centre = corners.mean(axis=0)
        along, aside = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
        outline = centre + np.outer(np.cos(_TURN), along) + np.outer(np.sin(_TURN), aside)
        return [(float(a), float(b)) for a, b in outline]

    def rings(self, row: rows.Annotation) -> list[list[list[Point]]]:
        """Parts, then rings of at least three points."""
        parts = [[self.points(ring) for ring in part] for part in row.polygons or []]
        if row.polygons is None and row.shape_kind in ("circle", "ellipse"):
            parts = [[self.ellipse(row)]]
        return [
            [ring for ring in part if len(ring) > 2] for part in parts if part and len(part[0]) > 2
        ]

    def filled(self, parts: list[list[list[Point]]]) -> Window | None:
        """The mask of parts of rings."""
        points = [point for part in parts for ring in part for point in ring]
        if not points:
            return None
        x0, y0, x1, y1 = self._clip(extent(points))
        if x0 >= x1 or y0 >= y1:
            return None
        shifted = [
            [[v for x, y in ring for v in (x - x0, y - y0)] for ring in part] for part in parts
        ]
        return Window(x0, y0, geometry.rasterize(shifted, y1 - y0, x1 - x0), True)

    def windows(
        self, row: rows.Annotation, rings: list[list[list[Point]]], loaded: Loaded | None
    ) -> list[Window]:
        """All masks of a row: its rings, its run lengths, and its label map where that is one."""
        found = [self.filled(rings)]
        if row.rle is not None and min(row.rle.size) > 0:
            found.append(self._fitted(geometry.rle_decode(row.rle.size, row.rle.counts)))
        if loaded is not None and loaded.dtype == bool and row.kind != "field":
            found.append(self._fitted(loaded.astype(bool)))
        return [window for window in found if window is not None and window.mask.any()]

    def values(self, row: rows.Annotation, loaded: Loaded | None) -> Values | None:
        """The numbers of a field or of a whole label map, in the size of the picture."""
        if loaded is None or (row.kind != "field" and loaded.dtype == bool):
            return None
        if row.kind == "field":
            return self.resized(field_numbers(loaded, row.extra))
        return self.resized(loaded.astype(np.float64))

    def resized(self, values: Values) -> Values:
        """An array, shape (height, width), brought to the size of the picture (nearest)."""
        width, height = self.size
        down = (np.arange(height) + 0.5) * values.shape[0] / height
        across = (np.arange(width) + 0.5) * values.shape[1] / width
        return np.asarray(values[down.astype(np.int64)[:, None], across.astype(np.int64)])

    def _fitted(self, mask: Mask) -> Window | None:
        """A mask of the whole image, cut to its true pixels."""
        if not mask.any():
            return None
        image = Image.fromarray(mask.astype(np.uint8))
        if image.size != self.size:
            image = image.resize(self.size, Image.Resampling.NEAREST)
        box = image.getbbox()
        if box is None:
            return None
        return Window(box[0], box[1], np.asarray(image.crop(box), bool))

    def _clip(self, box: Box) -> tuple[int, int, int, int]:
        width, height = self.size
        return (
            max(floor(box[0]), 0),
            max(floor(box[1]), 0),
            min(ceil(box[2]), width),
            min(ceil(box[3]), height),
        )


def extent(points: Sequence[Point]) -> Box:
    """The bounds of at least one point."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return min(xs), min(ys), max(xs), max(ys)
