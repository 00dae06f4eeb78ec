"""Sizes of the images of annotations, and their boxes in pixels or in fractions of the image."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.schema import geometry
from granum.schema.tables import column, without_columns
from granum.store.parts import Batch

__all__ = ["Extents", "of_samples"]

Floats = npt.NDArray[np.float64]


def of_samples(batch: Batch, name: str) -> pa.Array:
    """A sample column for each annotation; null for those of no sample."""
    at = column(batch.annotations, "sample").combine_chunks()
    return column(batch.samples, name).combine_chunks().take(pc.subtract(at, batch.start))


class Extents:
    """Of the annotations of a batch, each array made when first asked for.

    Sizes are those of the samples; where absent, those that the scorer ``size`` found.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    @cached_property
    def sizes(self) -> Floats:
        """Width and height of the image, shape (n, 2); NaN where unknown."""
        return np.column_stack([self._size("width"), self._size("height")])

    def _size(self, name: str) -> Floats:
        values = of_samples(self.batch, name)
        if f"col.{name}" in self.batch.samples.column_names:
            values = pc.coalesce(values, of_samples(self.batch, f"col.{name}"))
        return np.asarray(values.cast(pa.float64()).fill_null(np.nan))

    @cached_property
    def relative(self) -> npt.NDArray[np.bool_]:
        """Whether coordinates are fractions of the image, shape (n,)."""
        unit = of_samples(self.batch, "unit").cast(pa.string())
        return np.asarray(pc.equal(unit, "relative").fill_null(False))

    @cached_property
    def boxes(self) -> Floats:
        """Boxes of whatever geometry, as they are stored: ``geometry.aabb``."""
        return geometry.aabb(self.batch.annotations)

    @cached_property
    def mask_boxes(self) -> Floats:
        """Boxes of polygons, else RLE, alone, as they are stored; NaN where there is neither."""
        table = self.batch.annotations
        other = ("bbox", "angle", "keypoints", "polyline")
        return geometry.aabb(without_columns(table, other))

    def in_pixels(self, boxes: Floats) -> Floats:
        """Stored boxes in pixels; NaN where that needs a size that is unknown."""
        scale = np.where(self.relative[:, None], self.sizes, 1.0)
        return np.asarray(boxes * np.tile(scale, 2))

    def in_fractions(self, boxes: Floats) -> Floats:
        """Stored boxes in fractions of the image; NaN where its size is unknown and needed."""
        scale = np.where(self.relative[:, None], 1.0, self.sizes)
        return np.asarray(boxes / np.tile(scale, 2))

    @cached_property
    def areas(self) -> Floats:
        """Areas in pixels of mask, polygons or box; NaN where unknown."""
        scale = np.where(self.relative, np.prod(self.sizes, axis=1), 1.0)
        return np.asarray(geometry.areas(self.batch.annotations) * scale)
