"""How bright, contrasty, varied and colourful an image is.

The equations and thresholds of ``dark``, ``light`` and ``information`` are those of cleanvision's
image checks; that its grey check sees only images stored in one channel is mended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate.base import Column, ImageScorer, scorers
from granum.curate.pictures import Picture

__all__ = ["Brightness", "Contrast", "Grey", "Information", "perceived"]

ENOUGH = 1 << 16
"""Of larger images every k-th pixel each way is looked at, so that at least so many are left."""

ONE_CHANNEL = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def perceived(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Perceived brightness in [0, 1] of pixels of shape (..., 3): the root of
    .241 R² + .691 G² + .068 B², over 255."""
    squares = np.square(rgb, dtype=np.float32)
    return np.sqrt(squares @ np.array([0.241, 0.691, 0.068], np.float32)) / np.float32(255)


def _some(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    step = max(1, isqrt(rgb.shape[0] * rgb.shape[1] // ENOUGH))
    return rgb[::step, ::step]


@scorers("brightness")
@dataclass(frozen=True)
class Brightness(ImageScorer):
    """Mean, 99th and 5th percentile of perceived brightness (``perceived``).

    Images above 2¹⁶ pixels are sampled every k-th pixel each way: within 0.01 of all pixels on
    photographs.
    """

    name = "brightness"
    columns: ClassVar[Mapping[str, Column]] = {
        "brightness": Column("mean perceived brightness", range=(0, 1)),
        "dark": Column(
            "99th percentile of perceived brightness (cleanvision)", "higher", (0, 1), 0.32
        ),
        "light": Column(
            "1 - 5th percentile of perceived brightness (cleanvision)", "higher", (0, 1), 0.05
        ),
    }

    def score(self, picture: Picture) -> Mapping[str, Any]:
        values = perceived(_some(picture.rgb))
        low, high = np.percentile(values, [5, 99])
        return {"brightness": values.mean(), "dark": min(high, 1.0), "light": max(1 - low, 0.0)}


@scorers("contrast")
@dataclass(frozen=True)
class Contrast(ImageScorer):
    """RMS contrast: the standard deviation of grey values over 255, at most 512 pixels a side."""

    name = "contrast"
    columns: ClassVar[Mapping[str, Column]] = {
        "contrast": Column("RMS contrast of grey values", "higher", (0, 0.5))
    }

    def score(self, picture: Picture) -> Mapping[str, Any]:
        return {"contrast": picture.luma.std(dtype=np.float64) / 255}


@scorers("information")
@dataclass(frozen=True)
class Information(ImageScorer):
    """A tenth of the entropy in bits of the histogram over all channels, at most 1."""

    name = "information"
    columns: ClassVar[Mapping[str, Column]] = {
        "information": Column(
            "0.1 x entropy of the histogram of all channels (cleanvision)", "higher", (0, 1), 0.3
        )
    }

    def score(self, picture: Picture) -> Mapping[str, Any]:
        return {"information": min(1.0, 0.1 * picture.image.entropy())}


@scorers("grey")
@dataclass(frozen=True)
class Grey(ImageScorer):
    """Share of pixels whose channels differ by at most 2, and whether an image that is stored in
    colour has hardly any other (99.9 % are grey)."""

    name = "grey"
    columns: ClassVar[Mapping[str, Column]] = {
        "grey": Column("share of pixels whose channels differ by at most 2", range=(0, 1)),
        "grey_as_rgb": Column("stored in colour, but 99.9 % grey", type=pa.bool_()),
    }

    def score(self, picture: Picture) -> Mapping[str, Any]:
        rgb = _some(picture.rgb)
        r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
        highest = np.maximum(np.maximum(r, g), b)
        share = float((highest - np.minimum(np.minimum(r, g), b) <= 2).mean())
        coloured = picture.image.mode not in ONE_CHANNEL
        return {"grey": share, "grey_as_rgb": coloured and share >= 0.999}
