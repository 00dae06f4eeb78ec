"""What a training hook is.

A hook is a frozen dataclass whose fields are its parameters. It names the task, builds the model
from the data's facts, and computes losses and predictions; it never touches files, devices, splits
or metrics: those belong to the trainer. A hook is a short file and a line in the table below.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from granum.registry import Registry
from granum.schema.rows import Annotation

if TYPE_CHECKING:
    import torch

__all__ = ["Facts", "Hook", "hooks"]


@dataclass(frozen=True)
class Facts:
    """What a hook may know of the data before it builds a model.

    Attributes:
        classes: names, in the order of the model's outputs.
        categories: the dataset's category row of each class.
        size: (height, width) of the tensors, in pixels.
    """

    classes: Sequence[str]
    categories: Sequence[int]
    size: tuple[int, int]


class Hook(ABC):
    """Base of hooks. Subclasses are frozen dataclasses, registered by name.

    Attributes:
        name: as users type it.
        task: what a sample is: ``classification``, ``detection``, ``semantic``, ``anomaly``, or
            ``image`` (no target); see :mod:`granum.train.samples`.
        protocol: the official protocol that validation uses (None: none).
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    task: ClassVar[str]
    protocol: ClassVar[str | None] = None

    def parameters(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    def judge(self, spaces: Collection[str], label_from: str) -> Mapping[str, Any] | None:
        """Parameters of ``protocol`` for validation; None where it cannot judge these data.

        Args:
            spaces: label spaces of the classes.
            label_from: what targets are taken from, as ``train`` was told.
        """
        return {}

    @abstractmethod
    def model(self, facts: Facts) -> torch.nn.Module:
        """A fresh model; its weights depend on torch's generator only, or on a given file."""

    def prepare(self, model: torch.nn.Module, batches: Any, facts: Facts) -> Mapping[str, Any]:
        """What must be known from training data before the first step (normalisation of a
        teacher, a distilled teacher…); returns facts for the run record."""
        return {}

    def optimizer(self, model: torch.nn.Module, lr: float | None) -> torch.optim.Optimizer:
        """AdamW over what requires a gradient, by default."""
        import torch

        wanted = [p for p in model.parameters() if p.requires_grad]
        return torch.optim.AdamW(wanted, lr=lr if lr is not None else 1e-3)

    @abstractmethod
    def losses(self, model: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
        """The loss of each sample, shape (batch,); the trainer takes the mean and steps."""

    def calibrate(  # noqa: B027
        self, model: torch.nn.Module, batches: Any, facts: Facts
    ) -> None:
        """After training, on held-out training data (never on validation): thresholds, scales."""

    @abstractmethod
    def predict(
        self, model: torch.nn.Module, batch: Mapping[str, Any], facts: Facts
    ) -> list[list[Annotation]]:
        """Per sample, annotations in the pixels of the stored image, with scores."""


hooks: Registry[type[Hook]] = Registry(
    "hook",
    {
        "classifier": "granum.train.classifier",
        "detector": "granum.train.detector",
        "efficient_ad": "granum.train.efficient_ad",
        "rotation": "granum.train.rotation",
        "segmenter": "granum.train.segmenter",
    },
    "granum.hooks",
)
