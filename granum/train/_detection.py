"""Losses per image of detectors of ``transformers``, and boxes out of their outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["detections", "losses_per_image", "targets"]


def targets(
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    crowds: Sequence[Tensor],
    size: tuple[int, int],
) -> list[dict[str, Tensor]]:
    """What detectors of transformers take: ``class_labels`` (n,), ``boxes`` (n, 4) as centre x,
    centre y, width, height, in fractions of the image. Crowds and boxes without area are left out.

    Args:
        boxes: per image, shape (n, 4), corners x0, y0, x1, y1 in pixels of the tensor.
        labels: per image, shape (n,).
        crowds: per image, shape (n,): 1 for a crowd.
        size: (height, width) of the tensor.
    """
    whole = torch.tensor([size[1], size[0]], dtype=torch.float32)
    out = []
    for corners, classes, crowd in zip(boxes, labels, crowds, strict=True):
        low, high = corners[:, :2], corners[:, 2:]
        kept = (crowd == 0) & (high > low).all(1)
        unit = whole.to(corners.device)
        centred = torch.cat([(low + high) / 2 / unit, (high - low) / unit], 1)
        out.append({"class_labels": classes[kept], "boxes": centred[kept]})
    return out


def losses_per_image(model: Any, image: Tensor, wanted: list[dict[str, Tensor]]) -> Tensor:
    """The loss of each image, shape (batch,): in evaluation mode that of a batch of it alone.

    The forward pass is one for all (in training mode batch norm and the number of denoising
    queries are shared). The network's own loss function, which averages over all
    boxes of a batch, is called for one image at a time with that image's slice of the outputs, so
    that a loss is divided by the number of its own image's boxes.
    """
    network = model.network
    own = network.loss_function
    network.loss_function = _one_by_one(own)
    try:
        return model(image, labels=wanted).loss
    finally:
        network.loss_function = own


def _one_by_one(own: Callable[..., Any]) -> Callable[..., Any]:
    def loss_function(
        logits: Tensor,
        labels: list[Any],
        device: Any,
        boxes: Tensor,
        config: Any,
        *rest: Any,
        **more: Any,
    ) -> Any:
        layered = _layers_first(logits, rest[0] if rest else None)
        found = []
        for i, label in enumerate(labels):

            def of(value: Any, i: int = i) -> Any:
                return _slice(value, i, len(labels), layered)

            with torch.autocast(logits.device.type, enabled=False):
                loss, _, _ = own(
                    of(logits), [label], device, of(boxes), config,
                    *[of(v) for v in rest], **{k: of(v) for k, v in more.items()},
                )  # fmt: skip
            found.append(loss)
        return torch.stack(found), {}, None

    return loss_function


def _layers_first(logits: Tensor, outputs: Tensor | None) -> bool:
    """Whether outputs of all decoder layers come as (layer, batch, …), not (batch, layer, …): the
    last layer's are the logits, but for rounding."""
    if outputs is None or outputs.shape[1] != logits.shape[0]:
        return False
    if outputs.shape[0] != logits.shape[0]:
        return True
    off, other = (v.detach().sub(logits).abs().max() for v in (outputs[-1], outputs[:, -1]))
    return bool(off < other)


def _slice(value: Any, i: int, batch: int, layered: bool) -> Any:
    """Image ``i`` of an argument of a loss function, in full precision, which matching needs; what
    is no batch stays as it is."""
    if isinstance(value, Tensor):
        one = value[:, i : i + 1] if layered and value.ndim == 4 else value[i : i + 1]
        return one.float() if one.is_floating_point() else one
    if isinstance(value, dict):
        # Denoising: positions of the true boxes per image, counts that all images share.
        lists = ("dn_positive_idx",)
        return {k: [v[i]] if k in lists else v for k, v in value.items()}
    return value


def detections(
    logits: Tensor, boxes: Tensor, classes: int, limit: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The best detections of each image: scores, classes (both (batch, k)), boxes (batch, k, 4).

    Networks with an output for "nothing" after the classes give a query one class (softmax);
    those without give each query each class (sigmoid). Boxes stay as they are.
    """
    if logits.shape[-1] == classes + 1:
        best = logits.softmax(-1)[..., :-1].max(-1)
        scores, query = best.values.topk(min(limit, logits.shape[1]), 1)
        kinds = best.indices.gather(1, query)
    else:
        flat = logits.sigmoid().flatten(1)
        scores, place = flat.topk(min(limit, flat.shape[1]), 1)
        query, kinds = place // classes, place % classes
    return scores, kinds, boxes.gather(1, query[..., None].expand(-1, -1, 4))
