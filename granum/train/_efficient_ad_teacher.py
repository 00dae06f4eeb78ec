"""The teacher of EfficientAD: distilled from a local backbone, or from descriptors without weights.

Imports torch: the hook imports this module when it prepares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from granum.errors import UsageError
from granum.train._efficient_ad_descriptors import DESCRIPTORS, descriptors
from granum.train._efficient_ad_losses import grey
from granum.train._efficient_ad_networks import EfficientAdNetworks, padded_size
from granum.train._efficient_ad_penalty import strange_images
from granum.train._networks import Normalised

__all__ = ["Moments", "distil", "good_images"]

Features = Callable[[Tensor, tuple[int, int]], Tensor]

_STATISTICS = 1000
"""Images of which the mean and deviation of a target are estimated."""


class Moments:
    """Mean and deviation per channel of maps (batch, channels, h, w), counted in float64."""

    def __init__(self) -> None:
        self.count, self.images = 0, 0
        self._sum: Any = 0.0
        self._square: Any = 0.0

    def add(self, maps: Tensor) -> None:
        values = maps.double()
        self._sum = self._sum + values.sum((0, 2, 3))
        self._square = self._square + values.square().sum((0, 2, 3))
        self.count += values.numel() // values.shape[1]
        self.images += len(values)

    def mean_std(self) -> tuple[Tensor, Tensor]:
        """Each (1, channels, 1, 1), float32; a channel that never changes has deviation 1.

        Raises:
            UsageError: nothing was added.
        """
        if not self.count:
            raise UsageError("EfficientAD learns from good images, and this view has none")
        mean = self._sum / self.count
        std = (self._square / self.count - mean.square()).clamp(min=0).sqrt()
        std = torch.where(std > 1e-6 * (1 + mean.abs()), std, torch.ones_like(std))
        return mean.float().view(1, -1, 1, 1), std.float().view(1, -1, 1, 1)


def good_images(batches: Iterable[Mapping[str, Any]], device: torch.device) -> Iterator[Tensor]:
    """Images (n, 3, height, width) without a defect, batch by batch."""
    for batch in batches:
        image = batch["image"]
        if "label" in batch:
            image = image[batch["label"].to(image.device) != 1]
        if len(image):
            yield image.to(device)


def distil(
    model: Normalised,
    batches: Iterable[Mapping[str, Any]],
    *,
    backbone: str | None,
    strange: str,
    steps: int,
    lr: float,
) -> dict[str, Any]:
    """Train the teacher to give the features that a backbone, or the descriptors, give.

    A batch is good images and as many of the ``strange`` source, so that the teacher means
    something where the student shall fail; one image in ten is grey. Loss: mean square of the
    difference to the features, normalised per channel. Adam, weight decay 1e-5.

    Returns:
        What the teacher is, for the run record: ``teacher``, ``steps``, ``loss`` (mean of the last
        tenth of the steps; None without steps, which leave it as drawn), ``first_loss``.
    """
    networks = model.network
    assert isinstance(networks, EfficientAdNetworks)
    if not steps:
        return {"teacher": "random", "steps": 0, "loss": None}
    device = model.mean.device
    features, said = _features(backbone, networks.channels, device)
    moments = Moments()
    for image in good_images(batches, device):
        moments.add(features(_varied(image, strange), padded_size(_size(image))))
        if moments.images >= _STATISTICS:
            break
    mean, std = moments.mean_std()
    mixing = _mixing(len(mean[0]), networks.channels, device)
    teacher = networks.teacher.requires_grad_(True).train()
    optimizer = torch.optim.Adam(teacher.parameters(), lr=lr, weight_decay=1e-5)
    losses = []
    for image in _repeated(batches, device, steps):
        seen = _varied(image, strange)
        with torch.no_grad():
            target = mixing((features(seen, padded_size(_size(seen))) - mean) / std)
        loss = (teacher.padded((seen - model.mean) / model.std) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    teacher.requires_grad_(False).eval()
    last = losses[-max(1, steps // 10) :]
    return {
        "teacher": said,
        "steps": steps,
        "loss": sum(last) / len(last),
        "first_loss": losses[0],
    }


def _features(backbone: str | None, outputs: int, device: torch.device) -> tuple[Features, str]:
    if backbone is None:
        return descriptors, "descriptors@1"
    from granum.train._efficient_ad_backbone import Backbone

    made = Backbone(backbone, outputs, device)
    return made, f"{made.kind} {backbone}"


def _mixing(before: int, after: int, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Descriptors mixed to as many channels as the teacher has, by directions drawn once and for
    all; features that have as many stay as they are."""
    if before == after and before != DESCRIPTORS:
        return lambda maps: maps
    drawn = torch.randn(after, before, generator=torch.Generator().manual_seed(0))
    weight = torch.nn.functional.normalize(drawn, dim=1).to(device)
    return lambda maps: torch.einsum("oc,bchw->bohw", weight, maps)


def _repeated(
    batches: Iterable[Mapping[str, Any]], device: torch.device, steps: int
) -> Iterator[Tensor]:
    """Good images of as many batches as there are steps, from the start again where they end."""
    done = 0
    while True:
        before = done
        for image in good_images(batches, device):
            if done == steps:
                return
            yield image
            done += 1
        if done == before:
            raise UsageError("EfficientAD: the batches of good images ended and cannot be repeated")
        if done == steps:
            return


def _varied(image: Tensor, strange: str) -> Tensor:
    """Images and as many strange ones, one in ten grey."""
    both = torch.cat([image, strange_images(strange, image)])
    chosen = torch.rand(len(both), 1, 1, 1) < 0.1
    return torch.where(chosen.to(both.device), grey(both), both)


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
