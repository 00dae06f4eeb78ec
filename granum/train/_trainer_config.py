"""What a training run is asked to do."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from granum.errors import UsageError

__all__ = ["Config", "Schedule"]

Schedule = Literal["constant", "cosine"]


@dataclass(frozen=True)
class Config:
    """Options of :func:`granum.train.trainer.train`; see there."""

    epochs: int | None
    steps: int | None
    batch_size: int
    lr: float | None
    seed: int
    workers: int
    size: tuple[int, int]
    schedule: Schedule
    warmup: int
    clip: float | None
    amp: bool
    flip: float
    jitter: float
    drop_last: bool
    save_every: int | None
    evaluate_every: int
    log_every: int
    log_samples: bool
    on_error: Literal["raise", "skip", "replace"]
    decoder: str

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise UsageError("say how long to train: epochs, or steps (one of them)")
        counts = ("epochs", "steps", "batch_size", "save_every", "evaluate_every", "log_every")
        for name in counts:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}")
        if self.schedule not in ("constant", "cosine"):
            raise UsageError(f"schedule is {self.schedule!r}; it must be constant or cosine")
        if self.warmup < 0 or self.workers < 0 or min(self.size) < 1:
            raise UsageError("warmup and workers must not be negative, size not below 1")

    def total(self, per_epoch: int) -> int:
        """Steps of the whole run."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return self.epochs * per_epoch

    def rate(self, step: int, total: int) -> float:
        """What the learning rate is multiplied by at a step: rises over ``warmup`` steps, then
        stays, or falls to 0 along half a cosine (Loshchilov and Hutter 2017)."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.schedule == "constant":
            return 1.0
        through = (step - self.warmup) / max(total - self.warmup, 1)
        return 0.5 * (1 + math.cos(math.pi * through))

    def deciding(self) -> dict[str, Any]:
        """The options that decide the weights, JSON-serialisable; a run continues only under
        equal ones."""
        free = ("workers", "save_every", "log_every", "log_samples")
        values = {k: v for k, v in asdict(self).items() if k not in free}
        return {**values, "size": list(self.size)}
