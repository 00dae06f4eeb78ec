"""The three networks of EfficientAD-S and its anomaly map.

Batzner, Heckler, König: EfficientAD: Accurate Visual Anomaly Detection at Millisecond-Level
Latencies, WACV 2024, tables 5 to 7. Imports torch: the hook imports this module when it builds.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

__all__ = ["Autoencoder", "EfficientAdNetworks", "Pdn", "ladder", "padded_size"]

PADDING = 4
"""Cells by which the map of a network without padding is smaller on each side."""


def scaled(channels: int, width: float) -> int:
    return max(4, round(channels * width))


class Pdn(nn.Sequential):
    """Patch description network, small: receptive field 33, stride 4.

    Images (batch, 3, 256, 256) give (batch, outputs, 56, 56); with zeros around (``padded``)
    64 x 64, of which the middle 56 x 56 are the same.
    """

    def __init__(self, outputs: int, width: float = 1.0) -> None:
        first, second = scaled(128, width), scaled(256, width)
        super().__init__(
            nn.Conv2d(3, first, 4),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2, 2),
            nn.Conv2d(first, second, 4),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2, 2),
            nn.Conv2d(second, second, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(second, outputs, 4),
        )

    def padded(self, image: Tensor) -> Tensor:
        """Features (batch, outputs, ceil(height / 4), ceil(width / 4)): for distillation."""
        pads = [3, 0, 1, 3, 0, 1, 1, 0, 0]
        for layer, pad in zip(self, pads, strict=True):
            image = layer(F.pad(image, (pad,) * 4) if pad else image)
        return image


def padded_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of :meth:`Pdn.padded`."""
    return -(-size[0] // 4), -(-size[1] // 4)


def ladder(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Sizes to which the decoder upsamples before its convolutions: for 256, 3 8 15 32 63 127.

    A side below 256 has fewer halvings (so that 8 cells are left for the encoder's last kernel),
    and as many fewer steps.
    """
    halvings = min(5, max(1, (min(size) // 8).bit_length() - 1))
    less = (1, 0, 1, 0, 1, 1)[: halvings + 1]
    steps = [
        tuple(max(1, side // 2 ** (halvings + 1 - k) - minus) for side in size)
        for k, minus in enumerate(less)
    ]
    return [(h, w) for h, w in steps]


class Autoencoder(nn.Module):
    """Whole images through a bottleneck of one cell (at 256), back to the teacher's map.

    Images (batch, 3, height, width), both sides at least 40; maps (batch, outputs, *cells).
    """

    def __init__(
        self, outputs: int, size: tuple[int, int], cells: tuple[int, int], width: float = 1.0
    ) -> None:
        super().__init__()
        thin, wide = scaled(32, width), scaled(64, width)
        self.steps, self.cells = ladder(size), cells
        halvings = len(self.steps) - 1
        channels = [3, thin, thin, wide, wide, wide][: halvings + 1]
        encoder: list[nn.Module] = []
        for before, after in pairwise(channels):
            encoder += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU(inplace=True)]
        encoder.append(nn.Conv2d(channels[-1], wide, min(8, min(size) >> halvings)))
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.ModuleList(
            nn.Sequential(nn.Conv2d(wide, wide, 4, 1, 2), nn.ReLU(inplace=True), nn.Dropout(0.2))
            for _ in self.steps
        )
        self.last = nn.Sequential(
            nn.Conv2d(wide, wide, 3, 1, 1), nn.ReLU(inplace=True), nn.Conv2d(wide, outputs, 3, 1, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        code: Tensor = self.encoder(image)
        for size, block in zip(self.steps, self.decoder, strict=True):
            code = block(F.interpolate(code, size, mode="bilinear", align_corners=False))
        code = F.interpolate(code, self.cells, mode="bilinear", align_corners=False)
        return self.last(code)


class EfficientAdNetworks(nn.Module):
    """Teacher (frozen), student and autoencoder, and the numbers that make their maps comparable.

    Images are (batch, 3, height, width), normalised by ImageNet's mean and deviation. Buffers:
    ``feature_mean``, ``feature_std`` of the teacher's channels on good images; ``low``, ``high``:
    the two quantiles, of the student's map and of the autoencoder's.
    """

    feature_mean: Tensor
    feature_std: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, size: tuple[int, int], width: float = 1.0) -> None:
        super().__init__()
        self.channels = scaled(384, width)
        self.teacher = Pdn(self.channels, width).requires_grad_(False)
        self.student = Pdn(2 * self.channels, width)
        cells = (padded_size(size)[0] - 2 * PADDING, padded_size(size)[1] - 2 * PADDING)
        self.autoencoder = Autoencoder(self.channels, size, cells, width)
        self.register_buffer("feature_mean", torch.zeros(1, self.channels, 1, 1))
        self.register_buffer("feature_std", torch.ones(1, self.channels, 1, 1))
        self.register_buffer("low", torch.zeros(2))
        self.register_buffer("high", torch.full((2,), 0.1))

    def taught(self, image: Tensor) -> Tensor:
        """The teacher's features, normalised per channel: (batch, channels, *cells)."""
        with torch.no_grad():
            return (self.teacher(image) - self.feature_mean) / self.feature_std

    def studied(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """What the student says of the teacher, and of the autoencoder."""
        of_teacher, of_autoencoder = self.student(image).split(self.channels, 1)
        return of_teacher, of_autoencoder

    def maps(self, image: Tensor) -> Tensor:
        """Mean squared differences of teacher and student, and of autoencoder and student, over
        the channels, as they are: (batch, 2, *cells)."""
        of_teacher, of_autoencoder = self.studied(image)
        local = (self.taught(image) - of_teacher).square().mean(1)
        whole = (self.autoencoder(image) - of_autoencoder).square().mean(1)
        return torch.stack([local, whole], 1)

    def forward(self, image: Tensor, copies: int = 0) -> Any:
        """The anomaly map, (batch, ceil(height / 4), ceil(width / 4)): half the sum of the two
        maps, each scaled so that its quantiles are 0 and 0.1; zeros around.

        With ``copies`` 2 or 3, :meth:`differences` instead, for the losses.
        """
        if copies:
            return self.differences(*image.chunk(copies))
        low, high = self.low.view(1, 2, 1, 1), self.high.view(1, 2, 1, 1)
        scaled_maps = 0.1 * (self.maps(image) - low) / (high - low)
        return F.pad(scaled_maps.mean(1), (PADDING,) * 4)

    def differences(
        self, plain: Tensor, changed: Tensor, strange: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Teacher less student on the plain images; teacher less autoencoder, and autoencoder less
        student, on the changed ones; what the student says of the teacher on strange ones."""
        rebuilt = self.autoencoder(changed)
        found = (
            self.taught(plain) - self.studied(plain)[0],
            self.taught(changed) - rebuilt,
            rebuilt - self.studied(changed)[1],
        )
        return found if strange is None else (*found, self.studied(strange)[0])
