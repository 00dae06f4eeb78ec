"""Annotations as pictures: the crop of each one's box, so that whatever looks at images can look
at objects."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate.pictures import Picture, pictures
from granum.errors import FormatError
from granum.schema import geometry
from granum.schema.tables import column
from granum.store.columns import Roots
from granum.store.parts import Batch

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Crop", "crops"]

Box = npt.NDArray[np.float64]


class Crop(Picture):
    """The part of a picture inside a box: all pixels that the box touches.

    Attributes:
        whole: the picture.
        box: x, y, width, height in pixels, or in fractions of the picture where ``relative``.
    """

    def __init__(self, whole: Picture, box: Box, relative: bool = False) -> None:
        super().__init__(whole.source)
        self.whole, self.box, self.relative = whole, box, relative

    @cached_property
    def image(self) -> Image:
        """The decoded crop, clipped to the picture.

        Raises:
            FormatError: the picture does not decode, or no pixel of it is inside the box.
        """
        image = self.whole.image
        width, height = image.size
        box = self.box * np.tile([width, height], 2) if self.relative else self.box
        left, top = np.floor(np.clip(box[:2], 0, [width, height]))
        right, bottom = np.ceil(np.clip(box[:2] + box[2:], 0, [width, height]))
        if not (right > left and bottom > top):
            name = self.source if not isinstance(self.source, bytes) else "embedded image"
            raise FormatError(name, "a box holds no pixel of its image")
        return image.crop((int(left), int(top), int(right), int(bottom)))


def crops(batch: Batch, roots: Roots) -> Iterator[Picture | FormatError]:
    """The crop of each annotation; the whole image for one of kind ``label``; an error in the
    place of one that has no box or no image. Each image is decoded once."""
    table = batch.annotations
    boxes = geometry.aabb(table)
    whole = column(table, "kind").cast(pa.string()).combine_chunks()
    labels = np.asarray(pa.compute.equal(whole, "label").fill_null(False))
    unit = column(batch.samples, "unit").cast(pa.string()).combine_chunks()
    relative = np.asarray(pa.compute.equal(unit, "relative").fill_null(False))
    offsets = batch.offsets()
    for local, picture in enumerate(pictures(batch, roots)):
        for row in range(offsets[local], offsets[local + 1]):
            if isinstance(picture, FormatError) or (labels[row] and np.isnan(boxes[row]).any()):
                yield picture
            elif np.isnan(boxes[row]).any():
                yield FormatError("annotation", "has no box")
            else:
                yield Crop(picture, boxes[row], bool(relative[local]))
    for _ in range(table.num_rows - int(offsets[-1])):
        yield FormatError("annotation", "belongs to no image")
