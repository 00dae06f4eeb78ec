"""Images by reference or embedded: finding, opening, measuring them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from granum.errors import FormatError, GranumError
from granum.store.out import safe_relative

if TYPE_CHECKING:
    from PIL.Image import Image

    from granum.schema.rows import LabelMap, Media

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "encode_png",
    "image_size",
    "image_sizes",
    "open_image",
    "read_map",
]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

MAX_PIXELS = 1 << 30
"""A header that claims more is refused before anything is decoded."""


def media_path(media: Media, root: str | None) -> Path:
    """The file of a media entry.

    Raises:
        GranumError: it has no path, or no media root is known.
        FormatError: the path leaves the media root.
    """
    if media.path is None:
        raise GranumError("the sample has neither a media path nor embedded bytes")
    if root is None:
        raise GranumError(
            f"no media root is known for {media.path!r}: granum.open(path, media_root=DIR)"
        )
    return Path(root) / safe_relative(media.path, root)


def open_image(source: Path | bytes) -> Image:
    """A PIL image, header read, pixels not yet decoded.

    Raises:
        FormatError: no image, or its header claims more than ``MAX_PIXELS`` pixels.
    """
    from PIL import Image, UnidentifiedImageError

    name = source if isinstance(source, Path) else "embedded image"
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        image = Image.open(source if isinstance(source, Path) else io.BytesIO(source))
    except FileNotFoundError as error:
        raise FormatError(name, "the file is absent") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise FormatError(name, f"not an image that can be read: {error}") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    if image.width * image.height > MAX_PIXELS:
        raise FormatError(name, f"claims {image.width} x {image.height} pixels; refused")
    return image


def image_size(source: Path | bytes) -> tuple[int, int]:
    """(width, height) from the header alone."""
    with open_image(source) as image:
        return image.size


def image_sizes(
    sources: Sequence[Path | bytes], workers: int = 8
) -> list[tuple[int, int] | GranumError]:
    """Sizes of many images, headers read in parallel; the error where one cannot be read."""

    def one(source: Path | bytes) -> tuple[int, int] | GranumError:
        try:
            return image_size(source)
        except GranumError as error:
            return error

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, sources))


def read_values(label_map: LabelMap, root: str | None) -> npt.NDArray[np.int64]:
    """The values of a label image, shape (height, width), decoded by its encoding.

    Raises:
        FormatError: it is absent, or does not decode.
    """
    from granum.schema.rows import Media

    source: Path | bytes
    if label_map.bytes is not None:
        source = label_map.bytes
    else:
        source = media_path(Media(label_map.path), root)
    with open_image(source) as image:
        try:
            if label_map.encoding in ("rgb24", "ade"):
                rgb = np.asarray(image.convert("RGB"), np.int64)
            elif label_map.encoding == "nonzero" and image.mode in ("RGB", "RGBA"):
                pixels = np.asarray(image.convert("RGB")).max(axis=-1)  # any colour but black
            else:
                pixels = np.asarray(image)
        except (OSError, ValueError, SyntaxError) as error:
            name = label_map.path or "embedded image"
            raise FormatError(name, f"does not decode: {error}") from error
    if label_map.encoding == "rgb24":
        return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
    if label_map.encoding == "ade":
        return rgb[..., 0] // 10 * 256 + rgb[..., 1]
    if pixels.ndim == 3:
        pixels = pixels[..., 0]
    return pixels.astype(np.int64)


def read_map(label_map: LabelMap, root: str | None) -> npt.NDArray[np.bool_]:
    """The mask, shape (height, width), that a map entry means."""
    return map_mask(label_map, read_values(label_map, root))


def map_mask(label_map: LabelMap, values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """The pixels that a map entry means among the values of its label image."""
    if label_map.encoding == "nonzero":
        return values != 0
    if label_map.encoding == "greater":
        return values > (label_map.threshold or 0)
    if label_map.value is None:
        return np.ones(values.shape, bool)
    return values == label_map.value


def encode_png(values: npt.NDArray[np.generic]) -> bytes:
    """A PNG: 0 and 255 of a mask, else the values, which fit 8 or, of one channel, 16 bits.

    Args:
        values: shape (height, width), booleans or whole numbers from 0; or (height, width, 3), RGB.
    """
    from PIL import Image

    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    wide = bool(values.size) and int(values.max()) > 255
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint16 if wide else np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def list_images(root: Path) -> Iterable[str]:
    """Relative posix paths of the images below ``root``, sorted."""
    found = (p for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    return sorted(p.relative_to(root).as_posix() for p in found)
