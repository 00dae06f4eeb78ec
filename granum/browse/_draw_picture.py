"""Any image or array as an RGB picture of a size that one can read labels on."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

__all__ = ["picture", "scaled"]

SMALL = 400
READABLE = 512


def picture(image: Image.Image | npt.NDArray[Any], orientation: int | None) -> Image.Image:
    """A new RGB image of the picture, turned where the sample says that coordinates are."""
    if isinstance(image, Image.Image):
        if 0 in image.size:
            raise ValueError(f"an image of size {image.size} is empty")
        # 0x0112 is EXIF's orientation; an image that was turned already no longer has it.
        if orientation not in (None, 1) and image.getexif().get(0x0112) == orientation:
            image = ImageOps.exif_transpose(image)
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            return Image.alpha_composite(white, image).convert("RGB")
        if image.mode not in ("I", "F") and not image.mode.startswith("I;"):
            return image.convert("RGB").copy()
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[2] in (1, 2):
        array = array[..., 0]
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"an array of shape {array.shape} is no picture")
    array = array[..., :3] if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)
    return Image.fromarray(np.ascontiguousarray(_eight_bit(array)))


def _eight_bit(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    values = array.astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    share = np.clip((np.nan_to_num(values) - low) / ((high - low) or 1.0), 0, 1)
    return np.asarray(np.round(share * 255), np.uint8)


def scaled(image: Image.Image, max_size: int | None) -> Image.Image:
    """Brought down to ``max_size``, or up by a whole factor where it is small."""
    longer = max(image.size)
    if max_size is not None and longer > max_size:
        size = [max(1, round(v * max_size / longer)) for v in image.size]
        return image.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    factor = ceil(READABLE / longer) if longer < SMALL else 1
    if max_size is not None:
        factor = min(factor, max_size // longer)
    if factor < 2:
        return image
    # Nearest: an enlarged pixel stays one block, and masks end where blocks do.
    size = [v * factor for v in image.size]
    return image.resize((size[0], size[1]), Image.Resampling.NEAREST)
