"""Streams of classification tasks (NEVIS'22): accuracy, transfer, forgetting, error over compute.

The averages are those of DeepMind's code (J. Bornschein et al., NEVIS'22, 2022; google-deepmind/
dm_nevis, experiments_torch/metrics/nevis_metrics.py): accuracy over all prediction events, each
the same or weighted by samples, and mAP of tasks with several labels (scikit-learn's
``average_precision_score``, macro), never mixed with accuracy. The benchmark compares the error
with the FLOPs of all training so far and has no single number for it; ``error_auc`` is ours, as
are forward transfer (against independent baselines) and forgetting.

Empty: with ``mode="official"`` a class of a task that no sample has counts as average precision 0,
as in scikit-learn; ``corrected`` leaves it out. A number that nothing defines is None (there: NaN).
Ties: of equal scores the class that stands first in the categories is the higher one; DeepMind's
code takes the last, or any (``numpy.argsort`` is not stable there). The facts say how many samples
it matters for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.metrics._labels.class_tables import Multi, Rows, Single
from granum.metrics._labels.rows import firsts, of_units, spaces_of
from granum.metrics._labels.stream_log import (
    Event,
    Kind,
    StreamLog,
    cumulative,
    error_auc,
    pareto_mask,
)
from granum.metrics._labels.stream_rows import StreamRows, stream_rows, tasks_of
from granum.metrics.base import Context, Protocol, Recount, Result, protocols
from granum.schema import tables
from granum.schema.findings import Findings
from granum.store.parts import Batch

__all__ = ["Event", "Stream", "StreamLog", "error_auc", "pareto_mask"]

Ints = npt.NDArray[np.int64]

_TOP = 5


@dataclass(frozen=True)
class _Predicted:
    """A prediction event: the samples (rows of the keys), and what was said of them."""

    group: int
    task: str
    number: int
    after: int
    flops: float | None
    units: Ints
    said: Single | Multi

    def event(self, weights: Ints, mode: str) -> Event | None:
        """With each sample so many times; None where none counts."""
        times = weights[self.units]
        n = int(times.sum())
        if not n:
            return None
        if isinstance(self.said, Multi):
            each = self.said.average_precision(times)
            each = np.nan_to_num(each) if mode == "official" else each[~np.isnan(each)]
            metric = float(each.mean()) if len(each) else 0.0
            return self._with("multi", metric, n, None, None)
        correct = int(times[self.said.right].sum())
        among = (self.said.rank > 0) & (self.said.rank <= _TOP)
        known = not times[self.said.cut_short(_TOP)].any()
        top5 = int(times[among].sum()) / n if known else None
        return self._with("single", correct / n, n, correct, top5)

    def _with(
        self, kind: Kind, metric: float, n: int, correct: int | None, top5: float | None
    ) -> Event:
        return Event(self.task, self.number, self.after, metric, n, correct, top5, self.flops, kind)


@protocols("stream")
@dataclass(frozen=True)
class Stream(Protocol):
    """Accuracy along a stream of tasks, transfer, forgetting, and error over FLOPs.

    A task is a dataset: a group, whose places in the stream are its attribute ``tasks`` (as NEVIS
    is read), or its row. Truth: ``label`` rows of the group's samples. Predictions: ``label`` rows
    with a score of all classes of the task, or of the best ones, and the attributes ``after``, the
    place of the task that was learned last before (default: the task itself), and ``flops``, of all
    training before. A sample without predictions at an event is wrong.

    Attributes:
        split: whose samples count (``dev_test``, ``test``); default: the one that has predictions.
        multi_label: names of the tasks with several labels; default: those with a sample that has.
        flops: of the training of each task, by its name or place; instead of the attribute.
        baselines: accuracy (or mAP) of an independent model on each task, by its name.
        mode: what a class that no sample has counts as in mAP.
    """

    name: ClassVar[str] = "stream"
    reference: ClassVar[str] = "dm_nevis experiments_torch/metrics/nevis_metrics.py"
    needs: ClassVar[tuple[str, ...]] = ("category", "score")
    kinds: ClassVar[tuple[str, ...] | None] = ("label",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("label",)
    scale_free: ClassVar[bool] = True
    sizeless: ClassVar[bool] = True

    split: str | None = None
    multi_label: tuple[str, ...] | None = None
    flops: Mapping[str, float] | None = None
    baselines: Mapping[str, float] | None = None
    mode: Literal["official", "corrected"] = "official"

    def __post_init__(self) -> None:
        if self.mode not in ("official", "corrected"):
            raise UsageError(f"mode is {self.mode!r}; it must be official or corrected")
        for name in ("flops", "baselines"):
            given = getattr(self, name)
            good = given is None or (
                isinstance(given, Mapping)
                and all(isinstance(v, int | float) and v >= 0 for v in given.values())
            )
            if not good:
                raise UsageError(f'{name} is given as {{"TASK": number}}, from 0 on')

    def state(self, truth: Batch, predictions: Batch, context: Context) -> StreamRows:
        return stream_rows(truth, predictions, _groups(context))

    def result(self, states: Sequence[StreamRows], context: Context) -> Result:
        whole = StreamRows.joined(states)
        found = whole.findings
        predicted = list(_Reading(self, whole, _groups(context), context, found).events())
        units = np.unique(np.concatenate([np.empty(0, np.int64), *(p.units for p in predicted)]))

        def log(weights: Ints) -> StreamLog:
            times = np.zeros(len(whole.keys), np.int64)
            times[units] = weights
            events = (p.event(times, self.mode) for p in predicted)
            return StreamLog(tuple(e for e in events if e is not None))

        def values(weights: Ints) -> dict[str, float | None]:
            return log(weights).summary(self.baselines)

        made = log(np.ones(len(units), np.int64))
        curve = made.curve()
        keep = pareto_mask(curve["flops"], curve["error"])
        flops = pa.array(curve["flops"], mask=np.isnan(curve["flops"]))
        after = pa.array(curve["after"].astype(np.int64))
        return Result(
            protocol=self.name,
            values=made.summary(self.baselines),
            per_class=self._per_task(made),
            per_sample=_per_sample(predicted, units, whole.keys),
            curves={
                "events": _events_table(made.events),
                "error": pa.table(
                    {"after": after, "flops": flops, "error": curve["error"], "pareto": keep}
                ),
            },
            facts={
                "truths": len(units),
                "predictions": len(whole.said.unit),
                "samples_scored": len(units),
                "events": len(made.events),
                "tied_highest": sum(
                    int(p.said.tied.sum()) for p in predicted if isinstance(p.said, Single)
                ),
            },
            findings=found,
            recount=Recount(whole.keys.take(pa.array(units)), values),
        )

    def _per_task(self, log: StreamLog) -> pa.Table:
        """A row per task, in the order of the stream."""
        by_task: dict[tuple[int, str, Kind], list[Event]] = {}
        for event in sorted(log.events, key=lambda e: (e.number, e.after)):
            by_task.setdefault((event.number, event.task, event.kind), []).append(event)
        rows = []
        for (number, task, kind), events in by_task.items():
            since = [e for e in events if e.after >= number]
            first, last = (since[0], since[-1]) if since else (None, None)
            rows.append(
                {
                    "category": task,
                    "task": number,
                    "kind": kind,
                    "n": events[-1].n,
                    "before": None if events[0].after >= number else events[0].metric,
                    "learned": None if first is None else first.metric,
                    "final": None if last is None else last.metric,
                    "top5": None if first is None else first.top5,
                    "baseline": (self.baselines or {}).get(task),
                    "flops": None if first is None else first.flops,
                }
            )
        return pa.Table.from_pylist(rows, schema=_PER_TASK)


_PER_TASK = pa.schema(
    [
        ("category", pa.string()),
        ("task", pa.int64()),
        ("kind", pa.string()),
        ("n", pa.int64()),
        *((n, pa.float64()) for n in ("before", "learned", "final", "top5", "baseline", "flops")),
    ]
)


def _groups(context: Context) -> pa.Table:
    return tables.empty(tables.GROUPS) if context.groups is None else context.groups


class _Reading:
    """The prediction events among the labels of all parts."""

    def __init__(
        self,
        protocol: Stream,
        rows: StreamRows,
        groups: pa.Table,
        context: Context,
        found: Findings,
    ) -> None:
        self.protocol, self.rows, self.found = protocol, rows, found
        self.names, self.places = tasks_of(groups)
        of = pc.index_in(rows.group, pa.array(self.names, pa.string()), skip_nulls=True)
        self.group = np.asarray(of.fill_null(-1), np.int64)
        self.spaces = np.array([s or "" for s in spaces_of(context.categories)])
        self._known("baselines", self.names)
        self.flops = self._given_flops()
        self.in_split = self._in_split()

    def _known(self, name: str, tasks: Sequence[str]) -> None:
        unknown = [k for k in getattr(self.protocol, name) or () if k not in tasks]
        if unknown:
            raise UsageError(f"{name} of {unknown[0]!r}, which is no task")

    def _given_flops(self) -> dict[int, float] | None:
        given = self.protocol.flops
        if given is None:
            return None
        numbered = [str(n) for numbers in self.places.values() for n in numbers]
        self._known("flops", [*self.names, *numbered])
        out = {}
        for row, name in enumerate(self.names):
            for number in self.places[row]:
                value = given.get(str(number), given.get(name))
                if value is not None:
                    out[number] = float(value)
        return out

    def _in_split(self) -> npt.NDArray[np.bool_]:
        """The samples of the split that counts."""
        splits = self.rows.split.to_pylist()
        wanted = self.protocol.split
        if wanted is None:
            told = {splits[i] for i in np.unique(self.rows.said.unit).tolist()}
            if len(told) > 1:
                shown = ", ".join(sorted(repr(s) for s in told))
                raise UsageError(f"there are predictions on several splits: {shown} (split=)")
            wanted = told.pop() if told else None
        elif wanted not in splits:
            shown = ", ".join(sorted({repr(s) for s in splits if s is not None})) or "none"
            raise UsageError(f"no sample is of the split {wanted!r}; there are {shown}")
        return np.array([s == wanted for s in splits], bool)

    def events(self) -> Iterator[_Predicted]:
        rows = self.rows
        labelled = np.zeros(len(rows.keys), bool)
        labelled[rows.truth.unit] = True
        self._leave_out()
        said_group = self.group[rows.said.unit]
        for row, name in enumerate(self.names):
            units = np.flatnonzero((self.group == row) & self.in_split & labelled)
            if not len(units):
                continue
            said = rows.said.of((said_group == row) & np.isin(rows.said.unit, units))
            if not len(said.unit):
                message = f"the task {name!r} was never predicted"
                self.found.add("no-predictions", "predictions", name, message, len(units))
                continue
            yield from self._of_task(row, name, units, said)

    def _leave_out(self) -> None:
        """Predictions on samples that do not count are findings."""
        rows = self.rows
        labelled = np.zeros(len(rows.keys), bool)
        labelled[rows.truth.unit] = True
        unit = rows.said.unit
        lost = unit[(self.group[unit] < 0) | ~self.in_split[unit] | ~labelled[unit]]
        what = "predictions on samples of no task, of another split, or without a label"
        of_units(self.found, "not-compared", "predictions", rows.keys, lost, what)

    def _of_task(self, row: int, name: str, units: Ints, said: Any) -> Iterator[_Predicted]:
        keys, truth = self.rows.keys, self.rows.truth
        truth = truth.of(np.isin(truth.unit, units))
        again = firsts(truth.unit, truth.category)
        what = "labels that their sample has already"
        of_units(self.found, "duplicate-row", "truth", keys, truth.unit[~again], what)
        truth = truth.of(again)
        several = bool((np.bincount(truth.unit) > 1).any())
        named = self.protocol.multi_label
        multi = several if named is None else name in named
        if several and not multi:
            keep = firsts(truth.unit)
            what = "labels after the first of a sample"
            of_units(self.found, "duplicate-annotation", "truth", keys, truth.unit[~keep], what)
            truth = truth.of(keep)
        # All classes of the label spaces that the truth of the task is of.
        mine = np.isin(self.spaces, np.unique(self.spaces[truth.category]))
        foreign = ~mine[said.category]
        what = f"predictions of classes that the task {name!r} does not have"
        of_units(self.found, "not-compared", "predictions", keys, said.unit[foreign], what)
        numbers = self.places[row]
        after = np.where(said.after < 0, numbers[0], said.after)
        local, place = np.cumsum(mine) - 1, np.zeros(len(keys), np.int64)
        place[units] = np.arange(len(units))
        label = local[truth.category]
        for event in np.unique(after).tolist():
            own = said.of((after == event) & ~foreign)
            once = firsts(own.unit, own.category)
            what = "rows after the first of a class of a sample"
            code = "duplicate-annotation"
            of_units(self.found, code, "predictions", keys, own.unit[~once], what)
            own = own.of(once)
            silent = np.setdiff1d(units, own.unit)
            what = f"samples without a prediction after task {event}: wrong"
            of_units(self.found, "no-predictions", "predictions", keys, silent, what)
            rows = Rows(
                len(units), int(mine.sum()), place[own.unit], local[own.category], own.score
            )
            judged: Single | Multi = (
                Multi(rows, place[truth.unit], label, 0.5) if multi else Single.of(rows, label)
            )
            short = 0 if isinstance(judged, Multi) else int(judged.cut_short(_TOP).sum())
            if short:
                message = (
                    f"top5 of {name!r} after task {event}: on {short} of {len(units)} samples "
                    f"fewer than {_TOP} classes have a score, and not the true one"
                )
                self.found.add("undefined-number", "predictions", name, message)
            number = max((n for n in numbers if n <= event), default=numbers[0])
            flops = self._flops(name, event, own.flops)
            yield _Predicted(row, name, number, event, flops, units, judged)

    def _flops(self, name: str, after: int, told: npt.NDArray[np.float64]) -> float | None:
        if self.flops is not None:
            tasks = [n for numbers in self.places.values() for n in numbers]
            return cumulative(tasks, self.flops, after)
        known = np.unique(told[~np.isnan(told)])
        if len(known) > 1:
            message = f"{name!r} after task {after}: {len(known)} different FLOPs; the most counts"
            self.found.add("conflicting-records", "predictions", name, message)
        return float(known[-1]) if len(known) else None


def _events_table(events: Sequence[Event]) -> pa.Table:
    listed = sorted(events, key=lambda e: (e.after, e.number))
    kinds = dict.fromkeys(("task", "kind"), pa.string())
    kinds |= dict.fromkeys(("number", "after", "n"), pa.int64())
    kinds |= dict.fromkeys(("metric", "top5", "flops"), pa.float64())
    return pa.table(
        {n: pa.array([getattr(e, n) for e in listed], kind) for n, kind in kinds.items()}
    )


def _per_sample(predicted: Sequence[_Predicted], units: Ints, keys: pa.Array) -> pa.Table:
    """Whether each sample was right when its task was learned, and in the end."""
    columns: dict[str, Any] = {"key": keys.take(pa.array(units))}
    ordered = sorted(predicted, key=lambda p: p.after)
    for name, chosen in (("learned_correct", ordered[::-1]), ("final_correct", ordered)):
        right = np.full(len(keys), -1)
        for one in chosen:
            if isinstance(one.said, Single) and one.after >= one.number:
                right[one.units] = one.said.right
        columns[name] = pa.array(right[units] == 1, mask=right[units] < 0)
    return pa.table(columns)
