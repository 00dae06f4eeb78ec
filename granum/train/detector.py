"""Object detection with networks of ``transformers``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from granum.errors import MissingExtraError, UsageError
from granum.schema.rows import Annotation
from granum.train._pretrained import Config, network
from granum.train.base import Facts, Hook, hooks

if TYPE_CHECKING:
    import torch

__all__ = ["Detector"]


@hooks("detector")
@dataclass(frozen=True)
class Detector(Hook):
    """A detector of ``transformers``; by default a small RT-DETR with random weights, for images
    whose sides are multiples of 32.

    Args:
        config: any detector of transformers (``rt_detr``, ``d_fine``, ``deformable_detr``,
            ``yolos``…): its configuration as a dict, or the path of a JSON file.
        checkpoint: a local folder that ``save_pretrained`` wrote (safetensors).
        width: channels of the default network's decoder, a multiple of 8.
        limit: detections kept per image, best first.
        floor: lowest score kept.
    """

    name = "detector"
    task = "detection"
    protocol = "coco-bbox"

    config: Config = None
    checkpoint: str | None = None
    width: int = 64
    limit: int = 100
    floor: float = 0.001

    def model(self, facts: Facts) -> torch.nn.Module:
        if not facts.classes:
            raise UsageError("a detector needs classes: no object of this view has a category")
        try:
            import scipy  # type: ignore[import-untyped]  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("matching boxes", "train", "scipy") from error
        own = self.config is None and self.checkpoint is None
        if own and any(side % 32 for side in facts.size):
            raise UsageError(
                f"this detector needs images whose sides are multiples of 32, not {facts.size}; "
                "choose another size"
            )
        task, default = "AutoModelForObjectDetection", _rt_detr(self.width, facts.size)
        return network(task, self.config, self.checkpoint, default, facts.classes)

    def losses(self, model: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
        """The network's own loss (classes, L1 and GIoU of matched boxes, of all its layers), for
        each image alone: divided by the number of its own boxes, at least 1. In training mode
        denoising is part of it, and random."""
        from granum.train._detection import losses_per_image, targets

        image = batch["image"]
        boxes, labels, crowds = (
            [v.to(image.device) for v in batch[name]] for name in ("boxes", "labels", "iscrowd")
        )
        wanted = targets(boxes, labels, crowds, (image.shape[-2], image.shape[-1]))
        return losses_per_image(model, image, wanted)

    def predict(
        self, model: torch.nn.Module, batch: Mapping[str, Any], facts: Facts
    ) -> list[list[Annotation]]:
        """Boxes (x, y, w, h) in pixels of the stored image, clipped to it, best first."""
        import torch

        from granum.train._detection import detections

        with torch.no_grad():
            found = model(batch["image"])
        scores, kinds, boxes = detections(
            found.logits, found.pred_boxes, len(facts.classes), self.limit
        )
        corners = _stored(boxes, batch)
        out = []
        for image in zip(scores.tolist(), kinds.tolist(), corners.tolist(), strict=True):
            rows = []
            for score, k, (x0, y0, x1, y1) in zip(*image, strict=True):
                if score >= self.floor and x1 > x0 and y1 > y0:
                    box = (x0, y0, x1 - x0, y1 - y0)
                    rows.append(Annotation(category=facts.categories[k], score=score, bbox=box))
            out.append(rows)
        return out


def _stored(boxes: torch.Tensor, batch: Mapping[str, Any]) -> torch.Tensor:
    """Centred boxes (batch, k, 4), in fractions of the tensor, as corners in pixels of the stored
    images, clipped to them; float64 on the CPU."""
    import torch

    centred = boxes.double().cpu()
    height, width = batch["image"].shape[-2:]
    per_pixel = torch.tensor([width, height]) / batch["scale"].double().cpu().flip(1)[:, None]
    stored = batch["size"].double().cpu().flip(1)[:, None]
    centre, half = centred[..., :2], centred[..., 2:] / 2
    low, high = (centre - half) * per_pixel, (centre + half) * per_pixel
    return torch.cat([low.clamp(min=0).minimum(stored), high.clamp(min=0).minimum(stored)], -1)


def _rt_detr(width: int, size: tuple[int, int]) -> dict[str, Any]:
    """A small RT-DETR (Zhao et al. 2023): strides 8, 16, 32, two decoder layers."""
    cells = sum(size[0] // s * (size[1] // s) for s in (8, 16, 32))
    return {
        "model_type": "rt_detr",
        "backbone_config": {
            "model_type": "rt_detr_resnet",
            "embedding_size": 32,
            "hidden_sizes": [32, 48, 64, 96],
            "depths": [1, 1, 1, 1],
            "layer_type": "basic",
            "out_features": ["stage2", "stage3", "stage4"],
        },
        "freeze_backbone_batch_norms": False,
        "encoder_in_channels": [48, 64, 96],
        "encoder_hidden_dim": width,
        "encoder_ffn_dim": 2 * width,
        "encoder_attention_heads": 4,
        "hidden_expansion": 0.5,
        "d_model": width,
        "decoder_in_channels": [width] * 3,
        "decoder_ffn_dim": 2 * width,
        "decoder_attention_heads": 4,
        "decoder_layers": 2,
        "decoder_n_points": 2,
        "num_queries": min(60, cells),
        "num_denoising": 40,
        "label_noise_ratio": 0.25,
    }
