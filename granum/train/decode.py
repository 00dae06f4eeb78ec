"""From the bytes of an image file to pixels, behind one interface.

Pixels come as the raster in which the store's coordinates live: EXIF orientation is ignored, but
for the ``orientation`` that the sample states. A decoder may deliver an image that is smaller by
a whole factor where the caller needs no more (JPEG's scaled inverse DCT), which is much cheaper.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from granum.errors import FormatError, GranumError, MissingExtraError, UnknownNameError
from granum.store.media import MAX_PIXELS, open_image

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "DECODERS",
    "Decoder",
    "Opened",
    "Opener",
    "Pixels",
    "SampleError",
    "Take",
    "decoder",
    "opener",
    "oriented",
    "read_bytes",
]

Pixels = npt.NDArray[np.uint8]

Size = tuple[int, int]

Take = Callable[[int], npt.NDArray[np.uint8]]
"""Gives so many bytes to decode into."""

Opened = tuple[Callable[[], Pixels], Size]
"""What decodes (RGB, shape (height, width, 3)), and the (height, width) that the file states."""

Opener = Callable[[bytes, Size | None, Take | None], Opened]
"""Takes a file's bytes, the least (height, width) that is needed (None: all of it), and where to
get memory (None: anywhere). Headers are looked at, pixels are not decoded yet."""

Decoder = Callable[[bytes, Size | None], tuple[Pixels, Size]]
"""An ``Opener``, and the decoding."""


class SampleError(GranumError, ValueError):
    """A sample whose image cannot be read; survives the way out of a worker process."""

    code = "sample"


def read_bytes(path: str | Path) -> bytes:
    """A file's content.

    Raises:
        FormatError: it is absent or cannot be read.
    """
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - half the time of a Path
            return file.read()
    except OSError as error:
        raise FormatError(path, f"the image cannot be read: {error.strerror}") from error


def decoder(name: str = "auto") -> Decoder:
    """As ``opener``, decoding at once."""
    open_ = opener(name)

    def decode(data: bytes, least: Size | None = None) -> tuple[Pixels, Size]:
        finish, size = open_(data, least, None)
        return finish(), size

    return decode


@lru_cache
def opener(name: str = "auto") -> Opener:
    """A decoder by name: ``pil``, ``simplejpeg`` (JPEG by libjpeg-turbo, the rest by Pillow), or
    ``auto``: the fastest that is installed. Opening and decoding raise ``FormatError`` where the
    file is damaged, or no image.

    Raises:
        UnknownNameError: there is none of that name.
        MissingExtraError: its package is not installed.
    """
    if name == "auto":
        name = "simplejpeg" if _has_simplejpeg() else "pil"
    if name not in DECODERS:
        raise UnknownNameError("decoder", name, [*DECODERS, "auto"])
    if name == "simplejpeg" and not _has_simplejpeg():
        raise MissingExtraError("the simplejpeg decoder", "train", "simplejpeg")
    return DECODERS[name]


def _has_simplejpeg() -> bool:
    return find_spec("simplejpeg") is not None


def by_pillow(data: bytes, least: Size | None, take: Take | None) -> Opened:
    """Any image that Pillow reads, in memory of Pillow's own."""
    image = open_image(data)
    size = image.height, image.width
    if least is not None and image.format == "JPEG":
        image.draft("RGB", (least[1], least[0]))
    return partial(_by_pillow, image), size


def _by_pillow(image: Image) -> Pixels:
    try:
        with image:
            return _rgb(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise FormatError("image", f"cannot be decoded: {error}") from error


def _rgb(image: Image) -> Pixels:
    if image.mode.startswith("I;16") or image.mode == "I":
        grey = np.asarray(image).astype(np.int64) >> 8
        return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def by_simplejpeg(data: bytes, least: Size | None, take: Take | None) -> Opened:
    """JPEG by libjpeg-turbo; anything else, and rare kinds of JPEG, by Pillow."""
    import simplejpeg  # type: ignore[import-untyped]

    if data[:3] != b"\xff\xd8\xff":
        return by_pillow(data, least, take)
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise FormatError("image", f"cannot be decoded: {error}") from error
    if colours not in ("YCbCr", "RGB", "Gray") or height * width > MAX_PIXELS:
        return by_pillow(data, least, take)
    options: dict[str, Any] = {}
    if least is not None and 2 * least[0] <= height and 2 * least[1] <= width:
        options = {"min_height": least[0], "min_width": least[1], "min_factor": 2}
    if take is not None:
        options["buffer"] = take(height * width * 3)
    return partial(_by_simplejpeg, simplejpeg.decode_jpeg, data, options), (height, width)


def _by_simplejpeg(decode: Callable[..., Pixels], data: bytes, options: dict[str, Any]) -> Pixels:
    try:
        return decode(data, "RGB", **options)
    except ValueError as error:
        raise FormatError("image", f"cannot be decoded: {error}") from error


DECODERS: dict[str, Opener] = {"pil": by_pillow, "simplejpeg": by_simplejpeg}

_TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: p.transpose(1, 0, 2)[:, ::-1],
    7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda p: p.transpose(1, 0, 2)[::-1],
}


def oriented(pixels: Pixels, orientation: int | None) -> Pixels:
    """Stored pixels turned as an EXIF orientation (2 to 8) says; 1 and None leave them."""
    turn = _TURNS.get(orientation or 1)
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))
