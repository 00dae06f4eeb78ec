"""EfficientAD-S: what a student cannot say of its teacher's features is an anomaly.

Batzner, Heckler, König: EfficientAD: Accurate Visual Anomaly Detection at Millisecond-Level
Latencies, WACV 2024 (arXiv 2303.14535).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from granum.errors import UsageError
from granum.schema.fields import field_to_map
from granum.schema.rows import Annotation, LabelMap
from granum.train._pretrained import imported
from granum.train.base import Facts, Hook, hooks

if TYPE_CHECKING:
    import torch

__all__ = ["EfficientAd"]

_SMALLEST = 40


@hooks("efficient_ad")
@dataclass(frozen=True)
class EfficientAd(Hook):
    """Student, teacher and autoencoder; learns from good images only.

    Defective images among the training data are left out: their loss is 0, without gradient.

    Args:
        backbone: local folder of a vision model of transformers that the teacher is distilled
            from; without one it is distilled from descriptors that need no weights (colour, edges,
            roughness), which is weaker.
        distil_steps: steps of that distillation, a batch each (the paper: 60,000); 0 leaves the
            teacher random.
        distil_lr: their learning rate.
        penalty: images on which the student shall say nothing, and which the teacher is distilled
            on as well: ``generated`` (coloured noise), a folder of photos (the paper: ImageNet),
            or ``none``.
        hard: quantile from which differences count as hard.
        low, high: quantiles of the maps of good images that become 0 and 0.1.
        width: share of the paper's channels; less for tests.
    """

    name = "efficient_ad"
    task = "anomaly"
    protocol = "anomaly"

    backbone: str | None = None
    distil_steps: int = 1000
    distil_lr: float = 1e-3
    penalty: str = "generated"
    hard: float = 0.999
    low: float = 0.9
    high: float = 0.995
    width: float = 1.0

    def model(self, facts: Facts) -> torch.nn.Module:
        if min(facts.size) < _SMALLEST:
            raise UsageError(f"efficient_ad needs images of {_SMALLEST} pixels, not {facts.size}")
        imported("torch")
        from granum.train._efficient_ad_networks import EfficientAdNetworks
        from granum.train._networks import Normalised

        return Normalised(EfficientAdNetworks(facts.size, self.width))

    def prepare(self, model: torch.nn.Module, batches: Any, facts: Facts) -> Mapping[str, Any]:
        """Distil the teacher, then take mean and deviation of its channels over all good images.

        ``batches`` must give the same batches each time it is iterated over.
        """
        import torch

        from granum.train._efficient_ad_teacher import Moments, distil, good_images

        if self.penalty not in ("generated", "none"):
            from granum.train._efficient_ad_penalty import images_in

            images_in(self.penalty)
        normalised: Any = model
        said = distil(
            normalised,
            batches,
            backbone=self.backbone,
            strange=self.penalty,
            steps=self.distil_steps,
            lr=self.distil_lr,
        )
        moments = Moments()
        with torch.no_grad():
            for image in good_images(batches, normalised.mean.device):
                seen = (image - normalised.mean) / normalised.std
                moments.add(normalised.network.teacher(seen))
        mean, std = moments.mean_std()
        normalised.network.feature_mean.copy_(mean)
        normalised.network.feature_std.copy_(std)
        return {**said, "good": moments.images, "penalty": self.penalty}

    def optimizer(self, model: torch.nn.Module, lr: float | None) -> torch.optim.Optimizer:
        """Adam with weight decay 1e-5 on student and autoencoder; the paper's rate is 1e-4, to be
        divided by ten after 95 % of the steps."""
        import torch

        wanted = [p for p in model.parameters() if p.requires_grad]
        return torch.optim.Adam(wanted, lr=lr if lr is not None else 1e-4, weight_decay=1e-5)

    def losses(self, model: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
        """Hard-feature, penalty, autoencoder and student-autoencoder loss of each image, as in a
        batch of one. In training mode the autoencoder's images are changed in light or colour;
        else nothing is random and the penalty left out."""
        import torch

        from granum.train._efficient_ad_losses import adjusted, hard_loss, mean_square
        from granum.train._efficient_ad_penalty import strange_images

        image = batch["image"]
        copies = [image, adjusted(image) if model.training else image]
        if model.training and self.penalty != "none":
            copies.append(strange_images(self.penalty, image))
        local, *others = model(torch.cat(copies), copies=len(copies))
        loss = hard_loss(local.square(), self.hard)
        for difference in others:
            loss = loss + mean_square(difference)
        if model.training and "label" in batch:
            loss = torch.where(batch["label"].to(loss.device) == 1, torch.zeros_like(loss), loss)
        return loss

    def calibrate(self, model: torch.nn.Module, batches: Any, facts: Facts) -> None:
        """The two quantiles of both maps over all cells of the good images held out; without any
        the maps stay as they are."""
        import torch

        from granum.train._efficient_ad_losses import quantile
        from granum.train._efficient_ad_teacher import good_images

        ours: Any = model
        with torch.no_grad():
            found = [
                ours.network.maps((image - ours.mean) / ours.std)
                for image in good_images(batches, ours.mean.device)
            ]
            if not found:
                return
            cells = torch.cat(found).transpose(0, 1).flatten(1)
            low, high = quantile(cells, self.low), quantile(cells, self.high)
            ours.network.low.copy_(low)
            ours.network.high.copy_(torch.maximum(high, low + 1e-6))

    def predict(
        self, model: torch.nn.Module, batch: Mapping[str, Any], facts: Facts
    ) -> list[list[Annotation]]:
        """One ``field`` per image: the anomaly map at stored size, by bilinear interpolation; its
        highest value is the score. Good images lie about 0, cells above 0.1 are rare in them."""
        import torch

        with torch.no_grad():
            maps = model(batch["image"]).float().cpu()
        out = []
        for cells, size, scale in zip(maps, batch["size"], batch["scale"], strict=True):
            stored = _at_stored_size(cells, batch["image"].shape[-2:], size.cpu(), scale.cpu())
            data, extra = field_to_map(stored.numpy())
            row = Annotation("field", score=float(stored.max()), extra=extra)
            row.map = LabelMap(bytes=data)
            out.append([row])
        return out


def _at_stored_size(
    cells: torch.Tensor, seen: Any, size: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """A map of cells over the whole tensor, ``seen`` pixels, as a map of the stored image."""
    inside = (size * scale).round().long().clamp(min=1).tolist()
    if inside != list(seen):  # what lies beyond the image was filled up
        cells = _resized(cells, tuple(seen))[: inside[0], : inside[1]]
    return _resized(cells, tuple(size.tolist()))


def _resized(cells: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    import torch

    return torch.nn.functional.interpolate(
        cells[None, None], size, mode="bilinear", align_corners=False
    )[0, 0]
