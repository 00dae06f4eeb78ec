"""Train a hook on a dataset, judge it by the official number, and write back what was learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from granum.errors import MissingExtraError, UsageError
from granum.store.dataset import Dataset
from granum.train._trainer_config import Config, Schedule
from granum.train._trainer_data import Data
from granum.train._trainer_work import Run, Work
from granum.train.base import Hook
from granum.train.dataset import as_size, rows_of_split
from granum.train.progress import Epoch

if TYPE_CHECKING:
    import torch

    from granum.train._trainer_ranks import Ranks

__all__ = ["Run", "train"]


def train(
    dataset: Dataset,
    hook: Hook,
    *,
    out: str | Path,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 16,
    lr: float | None = None,
    seed: int = 0,
    size: tuple[int, int] | int = 224,
    device: str | None = None,
    workers: int = 0,
    train_split: str | None = "train",
    val_split: str | None = "val",
    layer: str | None = None,
    classes: Sequence[str] | None = None,
    label_from: str = "label",
    held_out: float | None = None,
    resume: bool = False,
    evaluate: bool = True,
    evaluate_every: int = 1,
    write_back: bool = True,
    write_to: Dataset | None = None,
    name: str | None = None,
    schedule: Schedule = "constant",
    warmup: int = 0,
    clip: float | None = None,
    amp: bool = False,
    flip: float = 0.0,
    jitter: float = 0.0,
    drop_last: bool = False,
    save_every: int | None = None,
    log_every: int = 10,
    log_samples: bool = False,
    on_error: Literal["raise", "skip", "replace"] = "raise",
    decoder: str = "auto",
    threads: int | None = None,
    progress: Callable[[int, int, float], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Run:
    """Train a hook, on a CPU, a GPU, or several processes (torchrun).

    The order of samples and every random choice depend on data, seed and step only: a run that
    was killed and goes on (``resume``) gives, on a CPU with equal ``threads``, the same weights as
    one that was not. The weights that are kept are those of the best validation; test data are
    never looked at.

    Args:
        dataset: samples with media; targets come from its current layer, or ``layer``.
        hook: what to train.
        out: folder of the run.
        epochs, steps: how long (one of them).
        batch_size: samples per step over all processes.
        lr: learning rate (None: the hook's).
        seed: of weights, order and random changes.
        size: (height, width) of images, or one number for both.
        device: ``cpu``, ``cuda:0``…; None: this process's GPU, else the CPU.
        workers: processes that load data; they change nothing but speed.
        train_split: split to train on; None: all samples.
        val_split: split to choose weights by; None: there is none.
        classes: names of the classes, in order; None: all that the annotations name.
        label_from: ``label`` or ``object``, for classification.
        held_out: share of training samples (whole groups) kept back for ``hook.calibrate``; None:
            0.1 where the hook calibrates.
        resume: go on with the run in ``out``, where there is one.
        evaluate: judge by ``hook.protocol`` on validation, and choose weights by its first number;
            without it (or a protocol) the mean loss on validation chooses.
        evaluate_every: epochs between validations.
        write_back: add the layer ``name`` and the columns ``loss.NAME``… (see
            :func:`granum.train.writing.write_losses`) to the store.
        write_to: the store, where ``dataset`` is a selection of it.
        name: of the run; None: that of ``out``.
        schedule: of the learning rate after ``warmup`` steps: ``constant`` or ``cosine``.
        clip: largest norm of the gradient.
        amp: bfloat16 where it is safe (GPUs).
        flip, jitter: see :class:`granum.train.augment.Augment`.
        drop_last: leave out an epoch's last batch where it is not full.
        save_every: steps between checkpoints, beside one at the end of each epoch.
        log_every: steps between writes of the log, which has every step.
        log_samples: log the rows of each step's samples.
        on_error: of images that cannot be read: ``raise``, ``skip``, ``replace``.
        threads: of torch, on a CPU; equal threads give equal bits.
        progress: called with (steps done, all steps, loss).
        on_epoch: called at the end of each epoch (in the first process) with what it gave: loss,
            learning rate, validation.

    Raises:
        UsageError: training and validation overlap; options that cannot be meant; nothing to
            train on; another run in ``out``.
        ExistsError: a run in ``out``, and ``resume`` is false.
        UnknownNameError: no such split or class.
        ConflictError: the store has a layer ``name``.
        MissingExtraError: torch is not installed.
        SampleError: an image cannot be read.
    """
    require_torch()
    config = Config(
        epochs=epochs, steps=steps, batch_size=batch_size, lr=lr, seed=seed, workers=workers,
        size=as_size(size), schedule=schedule, warmup=warmup, clip=clip, amp=amp, flip=flip,
        jitter=jitter, drop_last=drop_last, save_every=save_every, evaluate_every=evaluate_every,
        log_every=log_every, log_samples=log_samples, on_error=on_error, decoder=decoder,
    )  # fmt: skip
    folder = Path(out)
    named = name or folder.name
    source = dataset if layer is None else dataset.layer(layer)
    target = write_to or dataset
    if write_back:
        from granum.train.writing import check_writable

        check_writable(target, source, named, resume=resume)
    data = Data.of(
        source,
        hook,
        config,
        _train_rows(source, train_split, val_split),
        None if val_split is None else rows_of_split(source, val_split),
        classes=classes,
        label_from=label_from,
        held_out=held_out,
    )
    with settled(device, threads) as (ranks, place):
        work = Work(named, folder, hook, config, data, ranks, place, evaluate, progress, on_epoch)
        written = target if write_back else None
        return work.done(resume, written, {"train": train_split, "val": val_split})


def require_torch() -> None:
    """Raises:
    MissingExtraError: torch is not installed.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("training", "train", "torch") from error


def _train_rows(source: Dataset, train_split: str | None, val_split: str | None) -> Any:
    if train_split is not None and train_split == val_split:
        raise UsageError(f"training and validation are both the split {train_split!r}")
    return np.arange(len(source)) if train_split is None else rows_of_split(source, train_split)


@contextmanager
def settled(device: str | None, threads: int | None) -> Iterator[tuple[Ranks, torch.device]]:
    """Ranks and device; torch's threads as asked, and its generators, are put back after."""
    import torch

    from granum.train._trainer_ranks import joined

    before = torch.get_num_threads()
    with joined(device) as (ranks, place), torch.random.fork_rng():
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            yield ranks, place
        finally:
            torch.set_num_threads(before)
