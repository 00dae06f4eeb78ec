"""One call of ``train``, from fresh weights to what is written back."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from granum.store.dataset import Dataset
from granum.store.out import atomic_output
from granum.train._trainer_config import Config
from granum.train._trainer_data import Data
from granum.train._trainer_record import code, environment
from granum.train.base import Hook
from granum.train.order import keyed_number
from granum.train.progress import Epoch

if TYPE_CHECKING:
    import torch

    from granum.train._trainer_loop import Fit, Score
    from granum.train._trainer_passes import Found, Passes
    from granum.train._trainer_ranks import Ranks
    from granum.train._trainer_state import Journal

__all__ = ["Run", "Work", "digest_of", "made_model"]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        name: of the run, its layer and its columns.
        out: its folder: ``run.json``, ``log.jsonl``, ``model.pt`` (weights), ``checkpoint.pt``.
        record: what ``run.json`` says.
        dataset: the dataset, with what was written back.
    """

    name: str
    out: Path
    record: dict[str, Any]
    dataset: Dataset

    @property
    def metrics(self) -> dict[str, float | None]:
        """The official numbers on validation, by name; empty where there was none."""
        evaluation = self.record["evaluation"]
        return {} if evaluation is None else dict(evaluation["values"])

    @property
    def loss(self) -> float | None:
        """The mean loss of the training samples in the last epoch."""
        last: float | None = self.record["last"]["loss"]
        return last


def made_model(hook: Hook, data: Data, seed: int, device: torch.device) -> torch.nn.Module:
    """Fresh weights that depend on the seed only."""
    import torch

    torch.manual_seed(keyed_number(seed, "model") >> 1)
    return hook.model(data.facts).to(device)


@dataclass
class Work:
    """One call of :func:`train`."""

    name: str
    out: Path
    hook: Hook
    config: Config
    data: Data
    ranks: Ranks
    device: torch.device
    evaluate: bool
    progress: Callable[[int, int, float], None] | None
    on_epoch: Callable[[Epoch], None] | None = None

    def done(self, resume: bool, target: Dataset | None, splits: dict[str, str | None]) -> Run:
        """Train, judge, record, write back to ``target``."""
        from granum.train._trainer_state import Journal

        began = time.time()
        journal = Journal(self.out, self._identity(), resume=resume, writes=self.ranks.first)
        self.ranks.wait()
        try:
            fit = self._fitted(journal)
            self._best_weights(fit, journal)
            found = self._found(fit.model)
            record = {
                **self._record(fit, found, splits),
                "history": journal.history(),
                "began": began,
                "seconds": round(time.time() - began, 3),
            }
        finally:
            journal.close()
        dataset = self._written(fit, found, target, record)
        self.ranks.wait()
        return Run(self.name, self.out, record, dataset)

    def _identity(self) -> dict[str, Any]:
        return {
            "hook": self._hook(),
            "data": self.data.identity(),
            "config": self.config.deciding(),
        }

    def _hook(self) -> dict[str, Any]:
        hook = self.hook
        return {"name": hook.name, "version": hook.version, "parameters": hook.parameters()}

    def _record(self, fit: Fit, found: Found, splits: dict[str, str | None]) -> dict[str, Any]:
        last = fit.last()
        return {
            "name": self.name,
            "hook": {**self._hook(), "prepared": fit.prepared},
            "data": {**self.data.identity(), "splits": splits, "counts": self.data.counts()},
            "config": self.config.deciding(),
            "steps": fit.step,
            "epochs": fit.epochs,
            "last": {"loss": last.loss, "lr": last.lr},
            "best": fit.best,
            "evaluation": self._official(found) if self._judged() else None,
            "faulty": sorted(fit.faulty | found.faulty),
            "weights": digest_of(fit.model),
            "code": code(self.hook),
            "environment": environment(self.device, self.ranks.world),
        }

    def _found(self, model: torch.nn.Module) -> Found:
        """Predictions on all samples, losses on those with a target."""
        passes = self._passes(model)
        known = passes.over(self.data.of_whole(known=True), losses=True, predictions=True)
        rest = passes.over(self.data.of_whole(known=False), losses=False, predictions=True)
        return known.joined([rest])

    def _fitted(self, journal: Journal) -> Fit:
        from granum.train._trainer_loop import Fit
        from granum.train._trainer_passes import Batches

        model = made_model(self.hook, self.data, self.config.seed, self.device)
        known = journal.checkpoint
        prepared: dict[str, Any] = {}
        if known is None:
            plain = Batches(
                self.data.plain_train(), self.config.batch_size, self.device,
                self.config.workers, self.config.seed,
            )  # fmt: skip
            prepared = dict(self.hook.prepare(model, plain, self.data.facts))
            self.ranks.same(model)
        validate = (lambda: self._validated(model)) if self.data.val is not None else None
        fit = Fit(
            self.hook, model, self.data, self.config, self.ranks, self.device, validate, journal,
            self.progress, self.on_epoch, prepared=prepared,
        )  # fmt: skip
        if known is not None:
            fit.restore(known)
        fit.run()
        return fit

    def _validated(self, model: torch.nn.Module) -> Score:
        """The official number (where it is asked for), then the mean loss."""
        assert self.data.val is not None
        self._calibrated(model)
        found = self._passes(model).over(self.data.val, losses=True, predictions=self._judged())
        losses = found.losses[self.data.val.rows]
        mean = float(np.nanmean(losses)) if (~np.isnan(losses)).any() else float("inf")
        score: Score = {"rank": [-mean], "loss": mean}
        if self._judged():
            values = self._official(found)["values"]
            first = next(iter(values.values()), None)
            score = {"rank": [float("-inf") if first is None else first, -mean], "loss": mean}
            score["values"] = values
        return score

    def _judged(self) -> bool:
        known = self.data.val is not None and self.data.judge is not None
        return self.evaluate and self.hook.protocol is not None and known

    def _official(self, found: Found) -> dict[str, Any]:
        from granum.metrics.evaluate import protocol_of
        from granum.train._trainer_passes import official

        assert self.hook.protocol is not None and self.data.val is not None
        judge = protocol_of(self.hook.protocol, self.data.judge)
        result = official(self.data.source, self.data.val.rows, found, judge, self.name)
        # Curves are left to ``evaluate``: a record of many epochs would be mostly those.
        return {k: v for k, v in json.loads(result.to_json()).items() if k != "curves"}

    def _calibrated(self, model: torch.nn.Module) -> None:
        from granum.train._trainer_passes import Batches

        held = self.data.held if len(self.data.held) else self.data.plain_train()
        model.eval()
        batches = Batches(held, self.config.batch_size, self.device, self.config.workers)
        self.hook.calibrate(model, batches, self.data.facts)

    def _best_weights(self, fit: Fit, journal: Journal) -> None:
        """The best weights into the model, and into ``model.pt``."""
        from granum.train._trainer_state import save_atomically

        best = journal.best() if fit.best is not None and self.ranks.first else None
        if best is not None:
            fit.model.load_state_dict(best)
        self.ranks.same(fit.model)
        self._calibrated(fit.model)
        if self.ranks.first:
            weights = {k: v.cpu() for k, v in fit.model.state_dict().items()}
            save_atomically(weights, self.out / "model.pt")

    def _passes(self, model: torch.nn.Module) -> Passes:
        from granum.train._trainer_passes import Passes

        return Passes(
            self.hook, model, self.data.facts, self.device, self.ranks, self.config.batch_size,
            self.config.workers, self.config.seed, self.config.amp,
        )  # fmt: skip

    def _written(
        self, fit: Fit, found: Found, target: Dataset | None, record: dict[str, Any]
    ) -> Dataset:
        """What was found into the store, and the record beside the weights."""
        from granum.train._trainer_passes import prediction_table
        from granum.train.writing import write_losses, write_predictions

        source = self.data.source
        if not self.ranks.first:
            return target or source
        with atomic_output(self.out / "run.json", overwrite=True, single=True) as draft:
            draft.text("run.json", json.dumps(record, indent=1, default=str) + "\n")
        if target is None:
            return source
        producer = f"{self.name}@{record['weights'][:12]}"
        written = write_predictions(
            target, source, self.name, prediction_table(source, found), producer
        )
        return write_losses(
            written,
            source,
            self.name,
            final=found.losses,
            epochs=fit.seen.numpy(),
            rows=self.data.train.rows,
            identity={"run": self.name, "weights": record["weights"]},
        )


def digest_of(model: torch.nn.Module) -> str:
    """A digest of parameters and buffers."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(name.encode() + flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]
