"""Images of a batch, each read and decoded at most once, whatever looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError
from granum.schema.rows import Media
from granum.schema.tables import column
from granum.store.columns import Roots
from granum.store.media import media_path, open_image
from granum.store.parts import Batch

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Picture", "pictures"]


class Picture:
    """One image. Its forms are made when first asked for and kept.

    Attributes:
        source: the file, or the embedded bytes.
    """

    def __init__(self, source: Path | bytes) -> None:
        self.source = source

    @cached_property
    def data(self) -> bytes:
        """The bytes of the file.

        Raises:
            FormatError: the file cannot be read.
        """
        if isinstance(self.source, bytes):
            return self.source
        try:
            return self.source.read_bytes()
        except OSError as error:
            raise FormatError(self.source, f"cannot be read: {error.strerror}") from error

    @cached_property
    def image(self) -> Image:
        """The decoded image, in the mode it is stored in.

        Raises:
            FormatError: it does not decode.
        """
        image = open_image(self.data)
        try:
            image.load()
        except (OSError, ValueError, SyntaxError) as error:
            name = self.source if isinstance(self.source, Path) else "embedded image"
            raise FormatError(name, f"does not decode: {error}") from error
        return image

    @cached_property
    def rgb(self) -> npt.NDArray[np.uint8]:
        """Pixels, shape (height, width, 3)."""
        return np.asarray(self._converted("RGB"))

    @cached_property
    def grey(self) -> Image:
        """The image in grey values (ITU-R 601), at full size."""
        return self._converted("L")

    def _converted(self, mode: str) -> Image:
        try:
            return self.image.convert(mode)
        except ValueError as error:
            name = self.source if isinstance(self.source, Path) else "embedded image"
            raise FormatError(name, f"its pixels cannot be read as {mode}: {error}") from error

    @cached_property
    def luma(self) -> npt.NDArray[np.float32]:
        """Grey values in [0, 255] of the image reduced to at most 512 pixels a side (ITU-R 601)."""
        grey = self.grey.copy()
        grey.thumbnail((512, 512))
        return np.asarray(grey, np.float32)

    @cached_property
    def thumbnail(self) -> npt.NDArray[np.uint8]:
        """Grey values of the image resized to 32 x 32 (Lanczos), whatever its shape was."""
        from PIL.Image import Resampling

        return np.asarray(self.grey.resize((32, 32), Resampling.LANCZOS))


def pictures(batch: Batch, roots: Roots) -> Iterator[Picture | FormatError]:
    """The image of each sample; an error in the place of one that has no file."""
    media = column(batch.samples, "media").combine_chunks()
    if pa.types.is_null(media.type):
        media = pa.nulls(batch.samples.num_rows, pa.struct([("path", pa.string())]))
    for entry in (value.as_py() for value in media):
        if entry is None or (entry.get("path") is None and entry.get("bytes") is None):
            yield FormatError("sample", "has no media")
        elif entry.get("bytes") is not None:
            yield Picture(entry["bytes"])
        elif roots.media is None:
            yield FormatError(entry["path"], "no media root is known: --images DIR")
        else:
            try:
                yield Picture(media_path(Media(entry["path"]), roots.media))
            except FormatError as error:
                yield error
