"""Batches as the trainer hands them to hooks, made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

torch = pytest.importorskip("torch")


def batch(images: Any, size: Sequence[int] | None = None, **targets: Any) -> dict[str, Any]:
    """Images (n, 3, h, w) that were stretched from ``size`` (stored height, width)."""
    n, seen = len(images), torch.tensor(images.shape[-2:])
    stored = seen if size is None else torch.tensor(size)
    return {
        "image": images,
        "index": torch.arange(n),
        "size": stored.repeat(n, 1),
        "scale": (seen.double() / stored.double()).repeat(n, 1),
        **targets,
    }


def fit(
    hook: Any, model: Any, next_batch: Callable[[int], Any], steps: int, lr: float
) -> list[float]:
    """The losses of a plain training loop."""
    optimizer = hook.optimizer(model, lr)
    model.train()
    losses = []
    for step in range(steps):
        loss = hook.losses(model, next_batch(step)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses


class Says(torch.nn.Module):
    """A model that says what it was told, whatever the images."""

    def __init__(self, said: Any) -> None:
        super().__init__()
        self.said = said

    def forward(self, image: Any, **_: Any) -> Any:
        return self.said
