"""How sharp an image is: four measures, since each is fooled by something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from granum.curate.base import Column, ImageScorer, scorers
from granum.curate.pictures import Picture

__all__ = ["Sharpness", "blockiness", "edge_width", "laplacian_variance"]

Floats = npt.NDArray[np.float32]
REACH = 9
"""Length of the box that ``edge_width`` blurs with."""


@scorers("sharpness")
@dataclass(frozen=True)
class Sharpness(ImageScorer):
    """Measures of sharpness.

    * ``laplacian``, ``laplacian_half``: variance of the Laplacian at up to 512 pixels a side and at
      half of that. Hangs on contrast, and rises again under heavy JPEG: see ``blockiness``.
    * ``blockiness``: jumps at multiples of 8 pixels against jumps elsewhere, at native size: about
      1 without JPEG, above 1.5 under heavy compression (the ratio of Wang, Sheikh and Bovik, 2002).
    * ``blurry``: cleanvision's score, of edges and the histogram at up to 64 pixels a side: it sees
      blur that spans the image's structure, not a blur of a few pixels.
    * ``sharp``: 1 - the blur of Crété et al. (*The blur effect*, 2007): how much of the differences
      between neighbours is lost when the image is blurred again; independent of contrast.
    """

    name = "sharpness"
    columns: ClassVar[Mapping[str, Column]] = {
        "laplacian": Column("variance of the Laplacian, 512 pixels a side", "higher", (0, None)),
        "laplacian_half": Column(
            "variance of the Laplacian, 256 pixels a side", "higher", (0, None)
        ),
        "blockiness": Column("jumps at 8-pixel blocks against jumps elsewhere", "lower", (0, None)),
        "blurry": Column("edges and histogram at 64 pixels (cleanvision)", "higher", (0, 1), 0.29),
        "sharp": Column("1 - perceptual blur (Crété 2007)", "higher", (0, 1), 0.5),
    }

    def score(self, picture: Picture) -> Mapping[str, Any]:
        luma = picture.luma
        return {
            "laplacian": laplacian_variance(luma),
            "laplacian_half": laplacian_variance(_halved(luma)),
            "blockiness": blockiness(np.asarray(picture.grey)),
            "blurry": _edges(picture),
            "sharp": None if (width := edge_width(luma)) is None else 1 - width,
        }


def laplacian_variance(grey: Floats) -> float | None:
    """Variance of the four-neighbour Laplacian of grey values, shape (height, width); None below
    3 x 3 pixels."""
    if min(grey.shape) < 3:
        return None
    centre = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * centre).var(dtype=np.float64))


def _halved(grey: Floats) -> Floats:
    height, width = grey.shape[0] // 2 * 2, grey.shape[1] // 2 * 2
    even = grey[:height, :width]
    halves = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return halves / np.float32(4)


def blockiness(grey: npt.NDArray[np.uint8]) -> float | None:
    """Mean absolute difference of neighbours across multiples of 8 over that elsewhere, both
    directions together; grey values of native size. None below 16 pixels a side, or where nothing
    differs."""
    if min(grey.shape) < 16:
        return None
    across = inside = 0.0
    for pixels in (grey, grey.T):
        jumps = np.abs(np.diff(pixels.astype(np.int16), axis=1))
        # The jump from pixel 8k - 1 to 8k crosses a border of blocks.
        total, border = float(jumps.mean()), float(jumps[:, 7::8].mean())
        across += border
        inside += (8 * total - border) / 7
    return across / inside if inside > 0 else None


def _edges(picture: Picture) -> float:
    from PIL import ImageFilter, ImageStat

    grey = picture.grey
    ratio = max(grey.size) / 64
    if ratio > 1:
        grey = grey.resize((max(int(grey.width // ratio), 1), max(int(grey.height // ratio), 1)))
    edges = ImageStat.Stat(grey.filter(ImageFilter.FIND_EDGES)).stddev[0]
    spread = float(np.std(grey.histogram()))
    of_edges, of_spread = 1 - np.exp(-0.01 * edges), 1 - np.exp(-0.01 * spread)
    return float(min(1.0, of_edges + (of_spread if of_spread > 0.18 else 0.0)))


def edge_width(grey: Floats) -> float | None:
    """Blur in [0, 1] after Crété et al.: the worse of both directions; None for an image without
    differences, or below 10 pixels a side."""
    if min(grey.shape) <= REACH:
        return None
    worst = None
    for pixels in (grey, grey.T):
        before = np.abs(np.diff(pixels, axis=1))
        after = np.abs(np.diff(_box_blurred(pixels), axis=1))
        margin = REACH // 2
        before = before[:, margin:-margin]
        total = float(before.sum(dtype=np.float64))
        if total > 0:
            kept = float(np.maximum(0, before - after).sum(dtype=np.float64))
            worst = max((total - kept) / total, worst or 0.0)
    return worst


def _box_blurred(grey: Floats) -> Floats:
    """Means of ``REACH`` neighbours along rows, where all of them are inside."""
    sums = np.cumsum(grey, axis=1, dtype=np.float64)
    windows = sums[:, REACH - 1 :].copy()
    windows[:, 1:] -= sums[:, :-REACH]
    return (windows / REACH).astype(np.float32)
