"""Semantic segmentation with networks of ``transformers``: a class per pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from granum.errors import UsageError
from granum.schema.geometry import encode_mask
from granum.schema.rows import Annotation, Rle
from granum.train._pretrained import Config, network
from granum.train.base import Facts, Hook, hooks
from granum.train.classes import IGNORED

if TYPE_CHECKING:
    import torch

__all__ = ["Segmenter"]


@hooks("segmenter")
@dataclass(frozen=True)
class Segmenter(Hook):
    """A segmenter of ``transformers``; by default a small SegFormer with random weights.

    Args:
        config: any semantic segmenter of transformers (``segformer``, ``upernet``, ``dpt``…): its
            configuration as a dict, or the path of a JSON file.
        checkpoint: a local folder that ``save_pretrained`` wrote (safetensors).
        width: channels of the default network's first stage, a multiple of 8.
    """

    name = "segmenter"
    task = "semantic"
    protocol = "semantic"

    config: Config = None
    checkpoint: str | None = None
    width: int = 16

    def model(self, facts: Facts) -> torch.nn.Module:
        if not facts.classes:
            raise UsageError("a segmenter needs classes: no mask of this view has a category")
        task = "AutoModelForSemanticSegmentation"
        return network(task, self.config, self.checkpoint, _segformer(self.width), facts.classes)

    def losses(self, model: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
        """Cross entropy, the mean over an image's pixels that are not 255; 0, without gradient,
        where all are."""
        import torch

        mask = batch["mask"]
        logits = _upsampled(model(batch["image"]).logits, mask.shape[-2:])
        each = torch.nn.functional.cross_entropy(
            logits, mask, ignore_index=IGNORED, reduction="none"
        )
        return each.sum((1, 2)) / (mask != IGNORED).sum((1, 2)).clamp(min=1)

    def predict(
        self, model: torch.nn.Module, batch: Mapping[str, Any], facts: Facts
    ) -> list[list[Annotation]]:
        """Per image, a mask (RLE) of each class that some pixel has, at stored size by nearest
        neighbour: together they cover the image once. Scores are mean probabilities of the pixels.
        """
        import torch

        image = batch["image"]
        with torch.no_grad():
            shares = _upsampled(model(image).logits, image.shape[-2:]).softmax(1)
        out = []
        for share, size, scale in zip(shares, batch["size"], batch["scale"], strict=True):
            seen = (size.cpu() * scale.cpu()).round().long().clamp(min=1).tolist()
            best = share[:, : seen[0], : seen[1]].max(0)
            stored = torch.nn.functional.interpolate(
                torch.stack([best.indices.to(share), best.values])[None],
                tuple(size.tolist()),
                mode="nearest-exact",
            )[0]
            kinds, values = stored.double().cpu().numpy()
            out.append(_rows(kinds.astype(np.int64), values, facts))
        return out


def _rows(kinds: Any, values: Any, facts: Facts) -> list[Annotation]:
    rows = []
    for k in np.unique(kinds).tolist():
        mask = kinds == k
        rows.append(
            Annotation(
                category=facts.categories[k],
                rle=Rle(*encode_mask(mask)),
                area=float(mask.sum()),
                score=float(values[mask].mean()),
            )
        )
    return rows


def _upsampled(logits: torch.Tensor, size: Any) -> torch.Tensor:
    """Logits (batch, classes, …) at the size of the image, bilinear."""
    import torch

    if logits.shape[-2:] == torch.Size(size):
        return logits
    return torch.nn.functional.interpolate(
        logits, tuple(size), mode="bilinear", align_corners=False
    )


def _segformer(width: int) -> dict[str, Any]:
    """A small SegFormer (Xie et al. 2021): four stages of one block, strides 4 to 32."""
    return {
        "model_type": "segformer",
        "depths": [1, 1, 1, 1],
        "hidden_sizes": [width, 2 * width, 4 * width, 6 * width],
        "num_attention_heads": [1, 2, 4, 6],
        "mlp_ratios": [2, 2, 2, 2],
        "decoder_hidden_size": 4 * width,
        "drop_path_rate": 0.0,
        "classifier_dropout_prob": 0.0,
    }
