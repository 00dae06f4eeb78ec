"""Random changes of a sample, each of which depends on seed, epoch and sample only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from granum.errors import UsageError

__all__ = ["Augment"]


@dataclass(frozen=True)
class Augment:
    """Mirrors and changes brightness and contrast; a transform of ``to_torch``.

    Attributes:
        flip: how likely left and right are exchanged, boxes and masks with them.
        jitter: brightness is moved by up to this share of the full range, contrast multiplied by
            1 - jitter to 1 + jitter.
    """

    flip: float = 0.5
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.flip <= 1 and 0 <= self.jitter < 1):
            raise UsageError(f"flip and jitter must be in 0..1, not {self.flip}, {self.jitter}")

    def __call__(self, sample: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """``sample`` with arrays (``image`` of shape (height, width, 3)), changed."""
        turned, bright, strong = rng.random(3)
        if turned < self.flip:
            sample = mirrored(sample)
        if self.jitter:
            pixels = sample["image"].astype(np.float32)
            gain = 1 + self.jitter * (2 * strong - 1)
            middle = pixels.mean()
            pixels = (pixels - middle) * gain + middle + 255 * self.jitter * (2 * bright - 1)
            sample = {**sample, "image": np.clip(np.rint(pixels), 0, 255).astype(np.uint8)}
        return sample


def mirrored(sample: dict[str, Any]) -> dict[str, Any]:
    """Left and right exchanged."""
    out = {**sample, "image": sample["image"][:, ::-1]}
    if "mask" in sample:
        out["mask"] = sample["mask"][:, ::-1]
    if "boxes" in sample:
        width = sample["image"].shape[1]
        boxes = sample["boxes"].copy()
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
        out["boxes"] = boxes
    return out
