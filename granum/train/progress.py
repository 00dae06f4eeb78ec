"""What is told of a run while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Epoch"]


@dataclass(frozen=True)
class Epoch:
    """What an epoch gave; the last one may be cut short.

    Attributes:
        number: from 1; ``epochs``: how many there will be.
        step: steps done; ``steps``: of the whole run.
        loss: mean loss of the training samples, each as it was when it was learned from; None
            where none was.
        lr: learning rate of the last step (of the first group of parameters).
        validation: the official numbers (``values``, where there are any) and the mean ``loss`` on
            validation; None where no validation was due.
    """

    number: int
    epochs: int
    step: int
    steps: int
    loss: float | None
    lr: float
    validation: Mapping[str, Any] | None

    def text(self) -> str:
        """One line for people; of the official numbers, the first."""
        line = f"epoch {self.number}/{self.epochs}  step {self.step}/{self.steps}"
        line += f"  loss {_shown(self.loss)}  lr {self.lr:.3g}"
        if self.validation is None:
            return line
        numbers = self.validation.get("values") or {"loss": self.validation["loss"]}
        name, value = next(iter(numbers.items()))
        return f"{line}  validation {name} {_shown(value)}"


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"
