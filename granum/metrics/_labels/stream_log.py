"""What a learner was worth along a stream of tasks, from a log of its prediction events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError
from granum.metrics._weighted_means import weighted_mean

__all__ = ["Event", "StreamLog", "error_auc", "pareto_mask"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Kind = Literal["single", "multi"]

_PREFIX: dict[Kind, str] = {"single": "", "multi": "multi_label_"}


@dataclass(frozen=True)
class Event:
    """A task was predicted.

    Attributes:
        task: its name.
        number: its place in the stream.
        after: the place of the task that was learned last before.
        metric: accuracy, or mAP of a task of several labels; in [0, 1].
        n: samples.
        correct: right ones; None for several labels.
        top5: share of samples whose class is among the best five; None for several labels.
        flops: of all training so far; None where unknown.
        kind: ``single`` label or ``multi``.
    """

    task: str
    number: int
    after: int
    metric: float
    n: int
    correct: int | None = None
    top5: float | None = None
    flops: float | None = None
    kind: Kind = "single"


@dataclass(frozen=True)
class StreamLog:
    """The prediction events of one learner on one split.

    A task is *learned* at its first event at or after its own place in the stream, and *final* is
    its last one; events before are of what it could do before.
    """

    events: tuple[Event, ...]

    def summary(self, baselines: Mapping[str, float] | None = None) -> dict[str, float | None]:
        """The numbers; None where nothing defines them.

        The three averages are those of NEVIS (over all events, tasks with several labels apart),
        ``learned_accuracy`` and ``final_accuracy`` means over tasks, ``forward_transfer`` the mean
        of learned minus baseline over the tasks that have one, ``forgetting`` the mean of learned
        minus final over the tasks that were predicted again later (above 0: forgotten), and
        ``error_auc`` the area under the error over FLOPs (see ``error_auc``).

        Args:
            baselines: what an independent model reaches on a task, by its name.
        """
        single = [e for e in self.events if e.kind == "single"]
        several = [e for e in self.events if e.kind == "multi"]
        n = sum(e.n for e in single)
        right = sum(e.correct or 0 for e in single)
        curve = self.curve()
        out: dict[str, float | None] = {
            "average_single_label_accuracy": weighted_mean([e.metric for e in single]),
            "weighted_average_single_label_accuracy": right / n if n else None,
            "average_multi_label_mean_average_precision": weighted_mean(
                [e.metric for e in several]
            ),
            "average_top5_accuracy": weighted_mean([e.top5 for e in single]),
            "error_auc": error_auc(curve["flops"], curve["error"]),
        }
        for kind, prefix in _PREFIX.items():
            learned, final = self._of(kind, last=False), self._of(kind, last=True)
            name = "accuracy" if kind == "single" else "map"
            out[f"{prefix}learned_{name}"] = _mean({t: e.metric for t, e in learned.items()})
            out[f"{prefix}final_{name}"] = _mean({t: e.metric for t, e in final.items()})
            known = baselines or {}
            gains = {t: e.metric - known[e.task] for t, e in learned.items() if e.task in known}
            out[f"{prefix}forward_transfer"] = _mean(gains)
            later = {t: e for t, e in final.items() if e.after > learned[t].after}
            lost = {t: learned[t].metric - e.metric for t, e in later.items()}
            out[f"{prefix}forgetting"] = _mean(lost)
        return out

    def curve(self) -> dict[str, Floats]:
        """By tasks of one label in the order in which they were learned: ``after``, ``flops`` of
        all training until then (NaN where unknown) and ``error``, the mean error of the tasks
        learned so far."""
        learned = sorted(self._of("single", last=False).values(), key=lambda e: (e.after, e.number))
        errors = [1 - e.metric for e in learned]
        return {
            "after": np.array([e.after for e in learned], np.float64),
            "flops": np.array([math.nan if e.flops is None else e.flops for e in learned]),
            "error": np.array([math.fsum(errors[: i + 1]) / (i + 1) for i in range(len(errors))]),
        }

    def _of(self, kind: Kind, *, last: bool) -> dict[tuple[int, str], Event]:
        """The event of each task at which it was learned, or the last one."""
        found: dict[tuple[int, str], Event] = {}
        for event in sorted(self.events, key=lambda e: (e.after, e.number, e.task)):
            task = event.number, event.task
            counts = event.kind == kind and event.after >= event.number
            if counts and (last or task not in found):
                found[task] = event
        return found


def _mean(figures: Mapping[tuple[int, str], float]) -> float | None:
    return weighted_mean(list(figures.values()))


def error_auc(flops: npt.ArrayLike, error: npt.ArrayLike) -> float | None:
    """The mean height of the error over the logarithm of the FLOPs: the area by trapezoids between
    the least and the most of them, over that range. The unit of FLOPs does not matter.

    Args:
        flops: shape (n,), in any order; of equal ones the errors are averaged.
        error: shape (n,).

    Returns:
        In the range of ``error``; None where there are no two different FLOPs, or one is unknown or
        not above 0.

    Raises:
        UsageError: shapes differ.
    """
    x, y = _points(flops, error)
    if not len(x) or not (np.isfinite(x) & (x > 0)).all() or x.min() == x.max():
        return None
    levels, place = np.unique(x, return_inverse=True)
    heights = [weighted_mean(y[place == i]) for i in range(len(levels))]
    at, mean = np.log(levels), np.array(heights, np.float64)
    area = math.fsum((np.diff(at) * (mean[1:] + mean[:-1]) / 2).tolist())
    return area / float(at[-1] - at[0])


def pareto_mask(flops: npt.ArrayLike, error: npt.ArrayLike) -> Flags:
    """Which points no other one beats: none has fewer FLOPs and no more error, or less error and
    no more FLOPs. Equal points are kept together.

    Args:
        flops, error: shape (n,), of learners, or of settings of one; NaN is never kept.

    Raises:
        UsageError: shapes differ.
    """
    x, y = _points(flops, error)
    keep = np.zeros(len(x), bool)
    known = np.flatnonzero(~np.isnan(x) & ~np.isnan(y))
    best, best_at = math.inf, math.nan
    for i in known[np.lexsort((y[known], x[known]))].tolist():
        if y[i] < best or (y[i] == best and x[i] == best_at):
            keep[i] = True
            best, best_at = float(y[i]), float(x[i])
    return keep


def _points(flops: npt.ArrayLike, error: npt.ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(flops, np.float64), np.asarray(error, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise UsageError(f"FLOPs of shape {x.shape}, errors of {y.shape}")
    return x, y


def cumulative(tasks: Sequence[int], flops: Mapping[int, float], after: int) -> float | None:
    """The training of all tasks until ``after``; None where one of them is unknown."""
    until = [t for t in tasks if t <= after]
    if not until or any(t not in flops for t in until):
        return None
    return math.fsum(flops[t] for t in until)
