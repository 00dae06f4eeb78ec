"""Features of a local backbone of ``transformers``, as EfficientAD's teacher learns them.

Imports torch: the hook imports this module where a backbone is given.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from granum.errors import FormatError
from granum.train._networks import Normalised
from granum.train._pretrained import folder, imported, load, normalisation

__all__ = ["Backbone"]

_POOLED = 1024


class Backbone:
    """A frozen vision model, seen at half and at three quarters of its depth.

    Convolutional models (stages 2 and 3 of a ResNet) see the image at twice its size, as in the
    paper; models of tokens at the size they were trained for.

    Args:
        path: folder of the model (safetensors).
        outputs: channels to average its features to.
        device: where it computes.

    Raises:
        FormatError: the folder holds no vision model with hidden states.
    """

    def __init__(self, path: str, outputs: int, device: torch.device) -> None:
        place = folder(path)
        network = load(imported("transformers").AutoModel, place)
        self.kind: str = network.config.model_type
        self.outputs = outputs
        self._model = Normalised(network, *normalisation(place)).to(device).eval()
        self._model.requires_grad_(False)
        self._trained_at: Any = getattr(network.config, "image_size", None)
        side = self._trained_at or 224
        probe = torch.zeros(1, 3, *([side] * 2 if isinstance(side, int) else side), device=device)
        try:
            self._tokens = self._states(probe)[0].ndim == 3
        except (AttributeError, TypeError, ValueError) as error:
            raise FormatError(place, f"no vision model with hidden states: {error}") from error

    def __call__(self, image: Tensor, cells: tuple[int, int]) -> Tensor:
        """Features (batch, outputs, *cells) of images (batch, 3, height, width) in [0, 1]."""
        return torch.cat([self._one(one[None], cells) for one in image])

    def _one(self, image: Tensor, cells: tuple[int, int]) -> Tensor:
        size: Any = [2 * side for side in image.shape[-2:]]
        if self._tokens and self._trained_at:
            size = self._trained_at
        seen = F.interpolate(image, size, mode="bilinear", align_corners=False)
        first, second = (_pooled(_grid(state), _POOLED) for state in self._states(seen))
        second = F.interpolate(second, first.shape[-2:], mode="bilinear", align_corners=False)
        both = _channels_to(torch.cat([first, second], 1), self.outputs)
        return F.interpolate(both, cells, mode="bilinear", align_corners=False)

    def _states(self, image: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            states = self._model(image, output_hidden_states=True).hidden_states
        return states[len(states) // 2], states[len(states) * 3 // 4]


def _grid(state: Tensor) -> Tensor:
    """A map (batch, channels, h, w); of tokens (batch, n, channels), those after the class token
    and the registers, which fill a square."""
    if state.ndim == 4:
        return state
    side = math.isqrt(state.shape[1])
    return state[:, -side * side :].transpose(1, 2).reshape(len(state), -1, side, side)


def _pooled(state: Tensor, outputs: int) -> Tensor:
    """Each cell with its eight neighbours as one vector, averaged to ``outputs`` numbers."""
    around = F.unfold(state, 3, padding=1)
    return _channels_to(around.reshape(len(state), -1, *state.shape[-2:]), outputs)


def _channels_to(state: Tensor, outputs: int) -> Tensor:
    """Channels averaged in order to ``outputs`` of them."""
    last = state.movedim(1, -1)
    pooled = F.adaptive_avg_pool1d(last.flatten(0, -2)[None], outputs)[0]
    return pooled.reshape(*last.shape[:-1], outputs).movedim(-1, 1)
