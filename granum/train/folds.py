"""Class probabilities from models that never saw the sample: what label errors are found by.

Northcutt, Jiang, Chuang: Confident Learning, JAIR 2021, takes such out-of-sample probabilities.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UsageError
from granum.store.dataset import Dataset
from granum.train._trainer_config import Config
from granum.train._trainer_data import Data, units
from granum.train.base import Hook
from granum.train.dataset import as_size, rows_of_split
from granum.train.order import keyed_number

if TYPE_CHECKING:
    from granum.train._trainer_passes import Found
    from granum.train.targets import Labels

__all__ = ["fold_of", "out_of_fold"]

Rows = npt.NDArray[np.int64]


def out_of_fold(
    dataset: Dataset,
    hook: Hook,
    *,
    folds: int = 3,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 16,
    lr: float | None = None,
    seed: int = 0,
    size: tuple[int, int] | int = 224,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    label_from: str = "label",
    device: str | None = None,
    workers: int = 0,
    threads: int | None = None,
    flip: float = 0.0,
    jitter: float = 0.0,
) -> pa.Table:
    """Train ``folds`` models, each without one fold, and predict that fold with it.

    Samples of one group share a fold; each class is spread over the folds evenly. Nothing is
    written. The weights are those of the last step: no validation chooses among them.

    Args:
        dataset: samples with labels; those without are left out.
        hook: a classifier with an option ``probabilities``.
        folds: how many, at least 2.
        split: only samples of this split.

    The other options are those of :func:`granum.train.trainer.train`.

    Returns:
        One row per labelled sample, in the order of the dataset: ``key``, ``sample`` (its row),
        ``fold``, ``label`` (the class), ``probabilities`` (one per class), ``loss``. The metadata
        of the schema holds ``classes`` (names, in the order of the labels) and ``categories``
        (their rows), as JSON.

    Raises:
        UsageError: fewer than 2 folds, no labels, or a hook without ``probabilities``.
    """
    from granum.train.trainer import require_torch, settled

    require_torch()
    if folds < 2:
        raise UsageError(f"folds must be at least 2, not {folds}")
    if "probabilities" not in {f.name for f in fields(hook)}:  # type: ignore[arg-type]
        raise UsageError(f"hook {hook.name} gives no probability of each class")
    telling = replace(hook, probabilities=True)  # type: ignore[type-var]
    config = Config(
        epochs=epochs, steps=steps, batch_size=batch_size, lr=lr, seed=seed, workers=workers,
        size=as_size(size), schedule="constant", warmup=0, clip=None, amp=False, flip=flip,
        jitter=jitter, drop_last=False, save_every=None, evaluate_every=1, log_every=10,
        log_samples=False, on_error="raise", decoder="auto",
    )  # fmt: skip
    rows = np.arange(len(dataset)) if split is None else rows_of_split(dataset, split)
    first = Data.of(
        dataset, telling, config, rows, None, classes=classes, label_from=label_from, held_out=0.0
    )
    targets: Labels = first.whole.targets  # type: ignore[assignment]
    rows = first.train.rows
    fold = fold_of(dataset, rows, targets.labels[rows], folds, seed)
    table = _columns(first, rows, targets.labels[rows], fold)
    with settled(device, threads) as (ranks, place):
        found = [
            _predicted(
                Data.of(
                    dataset, telling, config, rows[fold != k], None,
                    classes=first.facts.classes, label_from=label_from, held_out=0.0,
                ),
                telling, config, rows[fold == k], ranks, place,
            )
            for k in range(folds)
        ]  # fmt: skip
    shares = np.zeros((len(rows), len(first.facts.classes)))
    loss = np.zeros(len(rows))
    for k, one in enumerate(found):
        here = np.flatnonzero(fold == k)
        shares[here] = _probabilities(one, rows[here], first.facts.classes)
        loss[here] = one.losses[rows[here]]
    flat = pa.array(shares.reshape(-1))
    table = table.append_column(
        "probabilities", pa.FixedSizeListArray.from_arrays(flat, shares.shape[1])
    )
    return table.append_column("loss", pa.array(loss))


def _columns(data: Data, rows: Rows, labels: Rows, fold: Rows) -> pa.Table:
    keys = data.whole.pictures.keys.take(pa.array(rows)).cast(pa.string())
    table = pa.table({"key": keys, "sample": rows, "fold": fold, "label": labels})
    told = {"classes": data.facts.classes, "categories": data.facts.categories}
    return table.replace_schema_metadata({k: json.dumps(list(v)) for k, v in told.items()})


def _predicted(
    data: Data, hook: Hook, config: Config, rows: Rows, ranks: Any, device: Any
) -> Found:
    """Train on ``data``, and pass over ``rows``."""
    from granum.train._trainer_loop import Fit
    from granum.train._trainer_passes import Batches, Passes
    from granum.train._trainer_work import made_model
    from granum.train.dataset import subset

    model = made_model(hook, data, config.seed, device)
    plain = Batches(data.plain_train(), config.batch_size, device, config.workers, config.seed)
    hook.prepare(model, plain, data.facts)
    ranks.same(model)
    Fit(hook, model, data, config, ranks, device).run()
    ranks.same(model)
    passes = Passes(
        hook, model, data.facts, device, ranks, config.batch_size, config.workers, config.seed
    )
    return passes.over(subset(data.whole, rows), losses=True, predictions=True)


def _probabilities(found: Found, rows: Rows, classes: Sequence[str]) -> npt.NDArray[np.float64]:
    """Shape (rows, classes)."""
    out = np.full((len(rows), len(classes)), np.nan)
    place = {int(row): i for i, row in enumerate(rows)}
    listed = zip(
        found.table["sample"].to_pylist(), found.table["attributes"].to_pylist(), strict=True
    )
    for row, text in listed:
        if text is None:
            continue
        shares = json.loads(text)["probabilities"]
        out[place[row]] = [shares[name] for name in classes]
    if np.isnan(out).any():
        raise UsageError("the hook gave no probabilities for some samples")
    return out


def fold_of(dataset: Dataset, rows: Rows, labels: Rows, folds: int, seed: int) -> Rows:
    """The fold of each row: groups stay together; units of one class (that of their first sample)
    are dealt out in turn, in an order that depends on the seed and their keys."""
    names, first, place = np.unique(units(dataset, rows), return_index=True, return_inverse=True)
    chance = np.asarray([keyed_number(seed, "fold", n) for n in names.tolist()], np.uint64)
    order = np.lexsort((chance, labels[first]))
    fold = np.empty(len(names), np.int64)
    fold[order] = np.arange(len(names)) % folds
    if len(names) < folds:
        raise UsageError(f"{len(names)} samples or groups cannot be shared among {folds} folds")
    return fold[place]
