"""The loop: steps, validation, checkpoints. What happens at a step depends on the data, the seed
and the step only, so a run that was killed goes on as if it had not been."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from granum.errors import GranumError, UsageError
from granum.train._trainer_config import Config
from granum.train._trainer_data import Data
from granum.train._trainer_passes import moved
from granum.train._trainer_ranks import Ranks
from granum.train._trainer_state import Journal
from granum.train.base import Hook
from granum.train.dataset import loader
from granum.train.order import Order, keyed_number
from granum.train.progress import Epoch

if TYPE_CHECKING:
    import torch

__all__ = ["Fit", "Score", "Validate"]

Score = dict[str, Any]
"""What a validation found: ``rank`` (floats, higher is better, compared in order) and numbers."""

Validate = Callable[[], Score]


@dataclass
class _Taken:
    """A step whose losses are still on their device."""

    step: int
    epoch: int
    rate: float
    index: Any
    losses: torch.Tensor
    share: torch.Tensor
    faulty: list[int]


@dataclass
class Fit:
    """A model that is being fitted.

    Attributes:
        validate: called every ``evaluate_every`` epochs and at the end; its best weights are kept.
        journal: where to log and save; None: nowhere.
        on_epoch: called by the first rank at the end of each epoch, one cut short included.
        seen: the loss of each training sample in each epoch, shape (epochs, samples); NaN where it
            was not seen.
        step: steps done.
        validation: the last score; ``best``: the best one so far.
    """

    hook: Hook
    model: torch.nn.Module
    data: Data
    config: Config
    ranks: Ranks
    device: torch.device
    validate: Validate | None = None
    journal: Journal | None = None
    progress: Callable[[int, int, float], None] | None = None
    on_epoch: Callable[[Epoch], None] | None = None
    step: int = 0
    validation: Score | None = None
    best: Score | None = None
    prepared: dict[str, Any] = field(default_factory=dict)
    faulty: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        import torch

        train, config = self.data.train, self.config
        self.order = Order(
            len(train), train.fingerprint, config.seed, config.batch_size, config.drop_last
        )
        self.total = config.total(self.order.steps)
        self.epochs = -(-self.total // self.order.steps)
        self.seen = torch.full((self.epochs, len(train)), torch.nan)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = self.hook.optimizer(self.model, config.lr)
        self.base_rates = [float(g["lr"]) for g in self.optimizer.param_groups]
        self._pending: list[_Taken] = []
        self._began = time.monotonic()

    def run(self) -> None:
        """Train to the end."""
        import torch

        batches = loader(
            self.data.train,
            self.config.batch_size,
            workers=self.config.workers,
            seed=self.config.seed,
            epochs=self.epochs,
            rank=self.ranks.rank,
            world=self.ranks.world,
            start_step=self.step,
            drop_last=self.config.drop_last,
            pin_memory=self.device.type == "cuda",
        )
        remaining = iter(batches) if self.step < self.total else iter(())
        while self.step < self.total:
            self._pending.append(self._one_step(next(remaining)))
            self.step += 1
            if len(self._pending) >= self.config.log_every:
                self._flush()
            done = self.step == self.total
            ended = self.step % self.order.steps == 0
            if self.validate and (done or (ended and self._due())):
                self._flush()
                self._validated(self.validate)
            every = self.config.save_every
            if done or ended or (every is not None and self.step % every == 0):
                self.save()
            if self.on_epoch and self.ranks.first and (done or ended):
                self.on_epoch(self.last())
        torch.manual_seed(keyed_number(self.config.seed, "end") >> 1)

    def last(self) -> Epoch:
        """The epoch of the last step done, after ``save``."""
        import torch

        number = max(self.step - 1, 0) // self.order.steps
        loss = float(torch.nanmean(self.seen[number]))
        rate = self.config.rate(max(self.step - 1, 0), self.total) * self.base_rates[0]
        judged = self.validation
        if judged is not None and judged["step"] != self.step:
            judged = None
        return Epoch(
            number + 1, self.epochs, self.step, self.total,
            loss if math.isfinite(loss) else None, rate, judged,
        )  # fmt: skip

    def _due(self) -> bool:
        return (self.step // self.order.steps) % self.config.evaluate_every == 0

    def _one_step(self, raw: dict[str, Any]) -> _Taken:
        import torch

        rate = self.config.rate(self.step, self.total)
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = base * rate
        torch.manual_seed(keyed_number(self.config.seed, self.step, self.ranks.rank) >> 1)
        self.model.train()
        batch = moved(raw, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.amp):
            losses = self.hook.losses(self.model, batch)
        weight = batch["weight"]
        if losses.shape != weight.shape:
            raise UsageError(
                f"losses gave shape {tuple(losses.shape)}; it must be one loss per sample, "
                f"{tuple(weight.shape)}"
            )
        count = self.ranks.sum(weight.sum())
        share = (losses * weight).sum() / count.clamp(min=1)
        self.optimizer.zero_grad(set_to_none=True)
        if share.requires_grad:  # a hook may have nothing to learn from in a batch
            share.backward()
        self.ranks.sum_gradients(self.parameters)
        if self.config.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        self.optimizer.step()
        epoch = self.step // self.order.steps
        there = bool(raw["weight"].any())
        index = raw["index"].numpy() if there else np.empty(0, np.int64)
        kept = losses.detach() if there else losses.detach()[:0]
        return _Taken(
            self.step, epoch, rate * self.base_rates[0], index, kept, share.detach(), raw["faulty"]
        )

    def _flush(self) -> None:
        """Bring what happened on the device into the log and the table of losses."""
        import torch

        taken, self._pending = self._pending, []
        if not taken:
            return
        shares = self.ranks.sum(torch.stack([t.share.float() for t in taken])).tolist()
        told = [(t.index.tolist(), t.faulty) for t in taken]
        together = self.config.log_samples or any(f for _, f in told)
        everyone = self.ranks.gather(told) if self._agree(together) else [told]
        lines = []
        for k, (step, loss) in enumerate(zip(taken, shares, strict=True)):
            if not math.isfinite(loss):
                raise GranumError(
                    f"the loss is {loss} at step {step.step} (samples {step.index.tolist()[:8]}): "
                    "lower lr, or clip gradients"
                )
            place = np.searchsorted(self.data.train.rows, step.index)
            self.seen[step.epoch, torch.from_numpy(place)] = step.losses.float().cpu()
            line: dict[str, Any] = {"step": step.step, "epoch": step.epoch, "loss": loss}
            line["lr"] = step.rate
            line["seconds"] = round(time.monotonic() - self._began, 3)
            faulty = [i for told in everyone for i in told[k][1]]
            self.faulty |= set(faulty)
            if faulty:
                line["faulty"] = faulty
            if self.config.log_samples:
                line["samples"] = [i for told in everyone for i in told[k][0]]
            lines.append(line)
        if self.journal:
            self.journal.log(lines)
        if self.progress and self.ranks.first:
            self.progress(self.step, self.total, lines[-1]["loss"])

    def _agree(self, mine: bool) -> bool:
        """Whether any rank says so."""
        import torch

        if self.ranks.world == 1:
            return mine
        return bool(self.ranks.sum(torch.tensor(float(mine), device=self.device)).item())

    def _validated(self, validate: Validate) -> None:
        self.ranks.same(self.model)
        self.validation = score = {"step": self.step, **validate()}
        if self.journal:
            self.journal.log([{"validation": score}])
        if self.best is None or tuple(score["rank"]) > tuple(self.best["rank"]):
            self.best = score
            if self.journal:
                self.journal.save_best({k: v.cpu() for k, v in self.model.state_dict().items()})

    def save(self) -> None:
        """A checkpoint of this step."""
        self._flush()
        self.seen = self.ranks.known(self.seen)
        if self.journal is None:
            return
        self.journal.save(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "order": [self.config.seed, self.step // self.order.steps, self.step],
                "seen": self.seen,
                "best": json.dumps(self.best),
                "prepared": json.dumps(self.prepared, default=float),
                "faulty": sorted(self.faulty),
            }
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint. Random numbers need no state: each step is seeded by its
        number."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best = state["step"], json.loads(state["best"])
        self.seen.copy_(state["seen"])
        self.prepared, self.faulty = json.loads(state["prepared"]), set(state["faulty"])
