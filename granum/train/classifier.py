"""Image classification: one class per image, by cross entropy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from granum.errors import UsageError
from granum.schema.rows import Annotation
from granum.train._pretrained import Config, imported, network
from granum.train.base import Facts, Hook, hooks

if TYPE_CHECKING:
    import torch

__all__ = ["Classifier"]


@hooks("classifier")
@dataclass(frozen=True)
class Classifier(Hook):
    """A classifier: a small network of our own, or any of ``transformers``.

    Args:
        config: an image classifier of transformers with random weights: its configuration as a
            dict, or the path of a JSON file.
        checkpoint: a local folder that ``save_pretrained`` wrote (safetensors).
        width: channels of the first layer of our own network (four convolutions), which is used
            where neither is given.
        probabilities: keep all classes' probabilities in ``attributes`` of the likeliest class.
        best: how many labels an image gets, of the likeliest classes (more than there are classes:
            of all). Top-k accuracy needs k, Brier score and log loss need all.
    """

    name = "classifier"
    version = 2
    task = "classification"
    protocol = "classification"

    config: Config = None
    checkpoint: str | None = None
    width: int = 16
    probabilities: bool = False
    best: int = 1

    def __post_init__(self) -> None:
        if self.best < 1:
            raise UsageError(f"best is {self.best}; an image gets at least 1 label")

    def judge(self, spaces: Collection[str], label_from: str) -> Mapping[str, Any] | None:
        """Labels of one space can be judged; none that are taken from objects."""
        if label_from != "label" or len(spaces) != 1:
            return None
        return {"task": "single", "space": next(iter(spaces))}

    def model(self, facts: Facts) -> torch.nn.Module:
        if not facts.classes:
            raise UsageError("a classifier needs classes: no sample of this view has a label")
        if self.config is None and self.checkpoint is None:
            imported("torch")
            from granum.train._networks import Normalised, small_classifier

            return Normalised(small_classifier(len(facts.classes), self.width))
        task = "AutoModelForImageClassification"
        return network(task, self.config, self.checkpoint, {}, facts.classes)

    def losses(self, model: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
        """Cross entropy of each image; 0, without gradient, where its label is -1."""
        import torch

        return torch.nn.functional.cross_entropy(
            logits_of(model(batch["image"])), batch["label"], ignore_index=-1, reduction="none"
        )

    def predict(
        self, model: torch.nn.Module, batch: Mapping[str, Any], facts: Facts
    ) -> list[list[Annotation]]:
        """``best`` labels per image, of the likeliest classes, which come first; scores are their
        probabilities."""
        import torch

        with torch.no_grad():
            shares = logits_of(model(batch["image"])).double().softmax(1).cpu()
        ranked = shares.argsort(dim=1, descending=True, stable=True)[:, : self.best]
        out = []
        for best, share in zip(ranked.tolist(), shares.tolist(), strict=True):
            rows = [Annotation("label", facts.categories[k], score=share[k]) for k in best]
            if self.probabilities:
                named = dict(zip(facts.classes, share, strict=True))
                rows[0].attributes = {"probabilities": named}
            out.append(rows)
        return out


def logits_of(output: Any) -> torch.Tensor:
    """The logits of a plain network, or of one of transformers."""
    return getattr(output, "logits", output)
