"""Images that are none of the data's, on which the student must keep silent.

The paper takes ImageNet. Without it: noise with the spectrum of natural images, or a folder of any
photos. Imports torch: the hook imports this module when it trains.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from granum.errors import UsageError
from granum.train._efficient_ad_losses import grey

__all__ = ["coloured_noise", "from_folder", "images_in", "strange_images"]

_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def strange_images(source: str, like: Tensor) -> Tensor:
    """As many images as ``like`` has, (n, 3, height, width) in [0, 1], and of their size; none
    where ``source`` is ``none``. ``generated``: noise; else a folder."""
    n, size = len(like), (like.shape[-2], like.shape[-1])
    if source == "none":
        return like[:0]
    made = coloured_noise(n, size) if source == "generated" else from_folder(source, n, size)
    return made.to(like)


def coloured_noise(n: int, size: tuple[int, int]) -> Tensor:
    """Smooth noise in all octaves, (n, 3, *size) in [0, 1], drawn from torch's generator on the
    CPU: amplitude falls with frequency by a power drawn in [0.5, 1.5] per image."""
    power = 0.5 + torch.rand(n, 1, 1, 1)
    out = torch.zeros(n, 3, *size)
    cells = 2
    while cells <= min(size):
        octave = torch.randn(n, 3, cells, cells)
        out += F.interpolate(octave, size, mode="bilinear", align_corners=False) * cells**-power
        cells *= 2
    low, high = out.amin((1, 2, 3), keepdim=True), out.amax((1, 2, 3), keepdim=True)
    return (out - low) / (high - low)


@lru_cache(maxsize=8)
def images_in(folder: str) -> tuple[Path, ...]:
    """Image files below a folder, sorted.

    Raises:
        UsageError: there are none.
    """
    found = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in _SUFFIXES)
    if not found:
        raise UsageError(
            f"penalty: no images in {folder!r}; give a folder of photos, 'generated' or 'none'"
        )
    return tuple(found)


def from_folder(folder: str, n: int, size: tuple[int, int]) -> Tensor:
    """``n`` images of a folder, drawn from torch's generator: resized to twice ``size`` (height,
    width), grey in three of ten cases, their middle cut out; (n, 3, *size) in [0, 1]."""
    from PIL import Image

    paths = images_in(folder)
    height, width = size
    out = torch.empty(n, 3, height, width)
    for i, k in enumerate(torch.randint(len(paths), (n,)).tolist()):
        with Image.open(paths[k]) as file:
            image = file.convert("RGB").resize((2 * width, 2 * height), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        top, left = height // 2, width // 2
        out[i] = pixels[:, top : top + height, left : left + width]
    return torch.where(torch.rand(n, 1, 1, 1) < 0.3, grey(out), out)
