"""Rotation prediction: learn from images alone which way up they are.

Gidaris, Singh, Komodakis: Unsupervised Representation Learning by Predicting Image Rotations,
ICLR 2018. Use: it finds images that were stored turned, and data without an upright (seen from
above, or through a microscope), for which the loss stays at ln 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from granum.schema.rows import Annotation
from granum.train._pretrained import Config, imported, network
from granum.train.base import Facts, Hook, hooks
from granum.train.classifier import logits_of

if TYPE_CHECKING:
    import torch

__all__ = ["Rotation", "four_rotations"]

DEGREES = (0, 90, 180, 270)


@hooks("rotation")
@dataclass(frozen=True)
class Rotation(Hook):
    """Which of four rotations an image has; needs no labels.

    Args:
        config: an image classifier of transformers with random weights: its configuration as a
            dict, or the path of a JSON file.
        checkpoint: a local folder that ``save_pretrained`` wrote (safetensors).
        width: channels of the first layer of our own network (four convolutions), which is used
            where neither is given.
    """

    name = "rotation"
    task = "image"

    config: Config = None
    checkpoint: str | None = None
    width: int = 16

    def model(self, facts: Facts) -> torch.nn.Module:
        names = [str(d) for d in DEGREES]
        if self.config is None and self.checkpoint is None:
            imported("torch")
            from granum.train._networks import Normalised, small_classifier

            return Normalised(small_classifier(4, self.width))
        return network("AutoModelForImageClassification", self.config, self.checkpoint, {}, names)

    def losses(self, model: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
        """Cross entropy of the four turned copies of an image, their mean; all copies of all
        images are one batch of the network."""
        import torch

        copies = four_rotations(batch["image"])
        logits = logits_of(model(copies))
        truth = torch.arange(4, device=logits.device).repeat(len(batch["image"]))
        each = torch.nn.functional.cross_entropy(logits, truth, reduction="none")
        return each.view(-1, 4).mean(1)

    def predict(
        self, model: torch.nn.Module, batch: Mapping[str, Any], facts: Facts
    ) -> list[list[Annotation]]:
        """One ``label`` without category per image. ``attributes``: ``rotation``, by how many
        degrees the stored image looks turned counter-clockwise, and ``upright``, the probability
        of 0; ``score`` is the probability of ``rotation``.

        A turned copy of an image turned by r must look turned by r more: the probabilities are
        the normalised geometric mean of what the four copies say.
        """
        import torch

        with torch.no_grad():
            logits = logits_of(model(four_rotations(batch["image"]))).double().cpu()
        said = logits.log_softmax(1).view(-1, 4, 4)
        turns = torch.arange(4)
        agreed = said[:, turns[None], (turns[:, None] + turns[None]) % 4].mean(2).softmax(1)
        out = []
        for share in agreed.tolist():
            k = max(range(4), key=share.__getitem__)
            facts_said = {"rotation": DEGREES[k], "upright": share[0]}
            out.append([Annotation("label", score=share[k], attributes=facts_said)])
        return out


def four_rotations(images: torch.Tensor) -> torch.Tensor:
    """Each image's centre square turned by 0, 90, 180, 270 degrees counter-clockwise.

    Pixels are moved, not interpolated. Images (batch, c, height, width); copies
    (4 * batch, c, s, s), s the smaller side, those of one image together.
    """
    import torch

    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images[..., top : top + side, left : left + side]
    turned = torch.stack([torch.rot90(square, k, (-2, -1)) for k in range(4)], 1)
    return turned.flatten(0, 1)
