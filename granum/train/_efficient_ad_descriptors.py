"""Dense descriptors of images without any weights: what a teacher learns where no backbone is.

Colour in CIE Lab, edges by direction, blobs and roughness, at three scales: what the first layers
of trained networks are known to see. Imports torch: the hook imports this module.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = ["DESCRIPTORS", "descriptors", "lab"]

SCALES = (1.0, 2.0, 4.0)
DIRECTIONS = 8

DESCRIPTORS = len(SCALES) * (3 + DIRECTIONS + 2 + 1 + 1)
"""Channels of :func:`descriptors`."""


def descriptors(image: Tensor, cells: tuple[int, int]) -> Tensor:
    """Descriptors (batch, 45, *cells) of images (batch, 3, height, width) in [0, 1].

    Per scale (Gaussian deviation 1, 2, 4 pixels): Lab; the lightness' gradient along eight
    directions, negative parts cut off; its Laplacian's positive and negative part; the length of
    the chroma's gradient; the lightness' deviation around the pixel. Means over the cells.
    """
    colour = lab(image)
    found = []
    for sigma in SCALES:
        soft = _blur(colour, sigma)
        dx, dy = (sigma * d for d in _gradient(soft))
        angles = torch.arange(DIRECTIONS, device=image.device) * (2 * math.pi / DIRECTIONS)
        along = (
            angles.cos().view(1, -1, 1, 1) * dx[:, :1] + angles.sin().view(1, -1, 1, 1) * dy[:, :1]
        )
        light = soft[:, :1]
        bump = light - _blur(light, sigma)
        chroma = (dx[:, 1:].square() + dy[:, 1:].square()).sum(1, keepdim=True).add(1e-12).sqrt()
        rough = _blur((colour[:, :1] - light).square(), 2 * sigma).add(1e-12).sqrt()
        found += [soft, along.relu(), bump.relu(), (-bump).relu(), chroma, rough]
    return F.interpolate(torch.cat(found, 1), cells, mode="area")


def lab(image: Tensor) -> Tensor:
    """sRGB (batch, 3, height, width) in [0, 1] as CIE L*a*b* (D65), divided by 100."""
    linear = torch.where(
        image <= 0.04045, image / 12.92, ((image.clamp(min=0) + 0.055) / 1.055).pow(2.4)
    )
    to_xyz = linear.new_tensor(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    white = to_xyz.sum(1).view(1, 3, 1, 1)
    xyz = torch.einsum("ij,bjhw->bihw", to_xyz, linear) / white
    cut = (6 / 29) ** 3
    f = torch.where(xyz > cut, xyz.clamp(min=cut).pow(1 / 3), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.unbind(1)
    return torch.stack([1.16 * y - 0.16, 5 * (x - y), 2 * (y - z)], 1)


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian, cut at three deviations; borders repeat the last pixel."""
    radius = math.ceil(3 * sigma)
    steps = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.softmax(-(steps**2) / (2 * sigma**2), 0)
    channels = image.shape[1]
    for shape, pad in (((1, -1), (radius, radius, 0, 0)), ((-1, 1), (0, 0, radius, radius))):
        weight = kernel.view(1, 1, *shape).expand(channels, 1, -1, -1)
        image = F.conv2d(F.pad(image, pad, mode="replicate"), weight, groups=channels)
    return image


def _gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences along x and y."""
    wide = F.pad(image, (1, 1, 1, 1), mode="replicate")
    dx = (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2
    dy = (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2
    return dx, dy
