"""The losses of EfficientAD, per image, and its augmentation: pure functions.

Batzner et al. 2024, section 3 and appendix A. Imports torch: the hook imports this module.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["adjusted", "grey", "hard_loss", "mean_square", "quantile"]


def quantile(values: Tensor, q: float) -> Tensor:
    """The quantile over the last axis, linearly interpolated: of any number of elements, where
    ``torch.quantile`` refuses more than 2**24."""
    n = values.shape[-1]
    place = q * (n - 1)
    below = math.floor(place)
    low = values.kthvalue(below + 1, -1).values
    if below + 1 == n or place == below:
        return low
    high = values.kthvalue(below + 2, -1).values
    return low + (high - low) * (place - below)


def hard_loss(difference: Tensor, q: float = 0.999) -> Tensor:
    """Per image, the mean of the squared differences that reach their own quantile ``q``.

    Args:
        difference: squared, (batch, channels, height, width).
        q: for the mean of a share 1 - q of all elements, the hardest.
    """
    flat = difference.float().flatten(1)
    hard = flat >= quantile(flat.detach(), q)[:, None]
    return (flat * hard).sum(1) / hard.sum(1)


def mean_square(difference: Tensor) -> Tensor:
    """Per image, the mean of the squares."""
    return difference.float().square().flatten(1).mean(1)


def grey(image: Tensor) -> Tensor:
    """Luma (BT.601) of (batch, 3, height, width), in all three channels."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=image.dtype, device=image.device)
    return (image * weights.view(1, 3, 1, 1)).sum(1, keepdim=True).expand_as(image)


def adjusted(image: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Each image (batch, 3, height, width in [0, 1]) with one of brightness, contrast and
    saturation changed by a factor in [0.8, 1.2], drawn from torch's generator on the CPU."""
    n = len(image)
    kind = torch.randint(3, (n, 1, 1, 1), generator=generator).to(image.device)
    factor = (0.8 + 0.4 * torch.rand(n, 1, 1, 1, generator=generator)).to(image)
    luma = grey(image)
    middle = luma.mean((1, 2, 3), keepdim=True).expand_as(image)
    base = torch.where(kind == 0, torch.zeros_like(image), torch.where(kind == 1, middle, luma))
    return (base + factor * (image - base)).clamp(0, 1)
