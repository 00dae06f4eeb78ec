"""The demo's training: a classifier before and after curation, and defects found by EfficientAD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.schema.tables import column
from granum.store.additions import save_view
from granum.store.dataset import Dataset
from granum.verbs.training import train

__all__ = ["Compared", "before_after", "compared", "defects"]

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Compared:
    """Balanced accuracies before and after, and the difference with an interval.

    Attributes:
        before, after: mean over the seeds.
        difference: mean; ``low``, ``high``: 95 % of its bootstrap over seeds and crops.
        crops: how many were judged.
    """

    before: float
    after: float
    difference: float
    low: float
    high: float
    crops: int

    @property
    def holds_zero(self) -> bool:
        return self.low <= 0 <= self.high

    def to_dict(self) -> dict[str, Any]:
        return {
            "before": self.before,
            "after": self.after,
            "difference": self.difference,
            "interval": [self.low, self.high],
            "holds 0": self.holds_zero,
            "crops": self.crops,
        }


def compared(
    before: Bools, after: Bools, classes: npt.NDArray[np.int64], *, seed: int = 0, times: int = 1000
) -> Compared:
    """Two sets of models judged on the same crops.

    Args:
        before, after: whether each model (row) has each crop (column) right.
        classes: of each crop.
        seed, times: of the bootstrap. Seeds and, within each class, crops are drawn with
            replacement; both sets get the same draws, so what is common to them cancels.
    """
    groups = [np.flatnonzero(classes == c) for c in np.unique(classes)]

    def balanced(right: Bools, picks: Sequence[npt.NDArray[np.int64]]) -> float:
        return float(np.mean([right[:, p].mean() for p in picks]))

    rng = np.random.default_rng(seed)
    differences = []
    for _ in range(times):
        models = rng.integers(0, len(before), len(before))
        picks = [g[rng.integers(0, len(g), len(g))] for g in groups]
        differences.append(balanced(after[models], picks) - balanced(before[models], picks))
    low, high = np.percentile(differences, [2.5, 97.5])
    first, second = balanced(before, groups), balanced(after, groups)
    return Compared(first, second, second - first, float(low), float(high), before.shape[1])


def before_after(
    crops: Dataset,
    suspects: set[int],
    wrong: Mapping[int, int],
    out: Path,
    *,
    seeds: int = 3,
    steps: int = 240,
) -> Compared:
    """The same classifier, equally long, on all training crops and without the suspects.

    Args:
        crops: a store; labels as they were found.
        suspects: annotations left out after curation.
        wrong: the true category of annotations that were planted with another.
        out: folder of the runs.
        seeds: models of each kind.
        steps: of each.
    """
    of = np.array([(s.row.attributes or {})["annotation"] for s in crops], np.int64)
    split = np.array(crops.samples(["split"])["split"].to_pylist())
    given = np.asarray(column(crops.annotations(["category"]), "category"), np.int64)
    truth = np.array([wrong.get(int(i), int(c)) for i, c in zip(of, given, strict=True)])
    judged = np.flatnonzero(split == "val")
    clean = (split != "train") | ~np.isin(of, list(suspects))
    store = save_view(crops, "before", np.arange(len(crops)), reason="all crops")
    store = save_view(store, "after", np.flatnonzero(clean), reason="not suspect")
    right = {
        kind: np.stack([_right(store, kind, n, out, steps, truth)[judged] for n in range(seeds)])
        for kind in ("before", "after")
    }
    return compared(right["before"], right["after"], truth[judged])


def _right(
    store: Dataset, kind: str, seed: int, out: Path, steps: int, truth: npt.NDArray[np.int64]
) -> Bools:
    """Whether a model trained on a view has each crop of the store right."""
    name = f"{kind}-{seed}"
    run = train(
        store,
        "classifier",
        view=kind,
        out=out / name,
        steps=steps,
        batch_size=32,
        lr=2e-3,
        size=32,
        seed=seed,
        flip=0.5,
        threads=1,
        evaluate_every=1000,
    )
    rows = run.dataset.annotations(["sample", "category"], layer=name)
    right = np.zeros(len(truth), bool)
    at = np.asarray(column(rows, "sample"), np.int64)
    right[at] = np.asarray(column(rows, "category"), np.int64) == truth[at]
    return right


def defects(surfaces: Dataset, out: Path, *, steps: int = 150) -> dict[str, float | None]:
    """Official numbers of EfficientAD, trained on the good surfaces, on the others; its teacher is
    distilled for two thirds as many steps."""
    run = train(
        surfaces,
        "efficient_ad",
        out=out / "defects",
        hook_options={"width": 0.25, "distil_steps": steps * 2 // 3},
        train_split="train",
        val_split="test",
        steps=steps,
        batch_size=4,
        size=96,
        threads=1,
    )
    return run.metrics
