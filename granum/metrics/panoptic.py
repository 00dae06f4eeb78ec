"""Panoptic quality: how well segments are found (recognition) and drawn (segmentation).

A. Kirillov, K. He, R. Girshick, C. Rother, P. Dollár: "Panoptic Segmentation", CVPR 2019; the rules
on void and crowds, and the average over the categories that have a segment on either side, are
those of cocodataset/panopticapi. The truth's areas are those stated, as there; where none is
stated, pixels are counted. Truth without any drawing is void throughout.

A prediction that lies mostly on void or on a crowd of its category is not wrong; of several crowds
of a category in one image official code knows the one listed last only. ``mode="corrected"`` knows
all.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.metrics._maps.drawn import drawn_samples
from granum.metrics._maps.panoptic_segments import Matches, Segments, matched, segments_of
from granum.metrics.base import Context, Protocol, Recount, Result, joined_findings, protocols
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["Panoptic", "PanopticQuality"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _State:
    """Of a part: sample (in the part) and category of every match, error and miss; how many
    segments of truth and predictions were compared."""

    keys: pa.Array
    tp: Ints
    iou: Floats
    fp: Ints
    fn: Ints
    segments: tuple[int, int]
    findings: Findings


@dataclass(frozen=True)
class _Counts:
    """Numbers by category, or by sample and category."""

    tp: Ints
    fp: Ints
    fn: Ints
    iou: Floats

    def scores(self) -> dict[str, Floats]:
        """PQ, SQ, RQ; NaN where there is no segment on either side."""
        all_ = self.tp + self.fp / 2 + self.fn / 2
        with np.errstate(invalid="ignore"):
            pq, rq = self.iou / all_, self.tp / all_
        sq = np.divide(self.iou, self.tp, out=np.zeros_like(self.iou), where=self.tp > 0)
        return {"PQ": pq, "SQ": np.where(all_ > 0, sq, np.nan), "RQ": rq}


class Panoptic(Protocol):
    """What panoptic quality and boundary PQ have in common."""

    needs: ClassVar[tuple[str, ...]] = ("category",)
    kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object",)

    def state(self, truth: Batch, predictions: Batch, context: Context) -> _State:
        found = Findings(on_error="skip")
        columns = ("category", "crowd", "area")
        both = zip(
            drawn_samples(truth, columns, context.map_root),
            drawn_samples(predictions, columns, context.prediction_map_root),
            strict=True,
        )
        out: dict[str, list[Ints]] = {"tp": [], "fp": [], "fn": []}
        ious, compared = [np.empty(0)], np.zeros(2, np.int64)
        for i, (true, predicted) in enumerate(both):
            mine = segments_of(true, "truth", found)
            theirs = segments_of(predicted, "predictions", found)
            if _of_other_size(mine, theirs):
                message = f"the truth is drawn at {_size(mine)}, the predictions at {_size(theirs)}"
                n = len(theirs.category)
                found.add("mask-size-mismatch", "predictions", true.key, message, n)
                theirs = theirs.none()
            compared += len(mine.category), len(theirs.category)
            matches = self._matched(mine, theirs)
            ious.append(matches.iou)
            for name, values in out.items():
                categories = getattr(matches, name)
                values.append(np.stack([np.full(len(categories), i), categories]))
        joined = {
            n: np.concatenate([np.empty((2, 0), np.int64), *v], axis=1) for n, v in out.items()
        }
        return _State(
            keys=truth.samples["key"].combine_chunks(),
            iou=np.concatenate(ious),
            segments=(int(compared[0]), int(compared[1])),
            findings=found,
            **joined,
        )

    @abstractmethod
    def _matched(self, truth: Segments, predictions: Segments) -> Matches:
        """What becomes of the segments of one sample."""

    def result(self, states: Sequence[_State], context: Context) -> Result:
        events = _Events.of(states)
        n = context.categories.num_rows
        counts = events.by_category(n)
        isthing = column(context.categories, "isthing", tables.CATEGORIES).to_pylist()
        return Result(
            protocol=self.name,
            values=_values(counts.scores(), isthing),
            per_class=_per_class(context, counts),
            per_sample=_per_sample(events, n),
            facts={
                name: sum(s.segments[k] for s in states)
                for k, name in enumerate(("truths", "predictions"))
            },
            findings=joined_findings((s.findings for s in states), by_place=True),
            recount=Recount(
                keys=events.keys,
                values=partial(_again, events, n, isthing),
            ),
        )


@protocols("panoptic-quality")
@dataclass(frozen=True)
class PanopticQuality(Panoptic):
    """PQ, SQ and RQ of all categories, of things and of stuff.

    Attributes:
        mode: ``official``, or ``corrected``: all crowds of a category spare predictions.
    """

    name: ClassVar[str] = "panoptic-quality"
    reference: ClassVar[str] = "panopticapi"

    mode: Literal["official", "corrected"] = "official"

    def __post_init__(self) -> None:
        if self.mode not in ("official", "corrected"):
            raise UsageError(f"mode is {self.mode!r}; it must be official or corrected")

    def _matched(self, truth: Segments, predictions: Segments) -> Matches:
        return matched(truth, predictions, all_crowds=self.mode == "corrected")


def _size(segments: Segments) -> tuple[int, ...] | None:
    return None if segments.labels is None else segments.labels.shape


def _of_other_size(truth: Segments, predictions: Segments) -> bool:
    sizes = _size(truth), _size(predictions)
    return None not in sizes and sizes[0] != sizes[1]


@dataclass(frozen=True)
class _Events:
    """All matches, errors and misses, by sample: its row in ``keys``, and their category."""

    keys: pa.Array
    tp: Ints
    iou: Floats
    fp: Ints
    fn: Ints

    @staticmethod
    def of(states: Sequence[_State]) -> _Events:
        """Of all parts, in the order of the samples' keys."""
        keys = pa.chunked_array([s.keys for s in states], pa.string()).combine_chunks()
        order = np.asarray(pc.array_sort_indices(keys), np.int64)
        rank = np.argsort(order)
        starts = np.cumsum([0, *(len(s.keys) for s in states)])

        def joined(name: str) -> tuple[Ints, Ints]:
            pieces = [np.empty((2, 0), np.int64)]
            for start, state in zip(starts.tolist(), states, strict=False):
                pieces.append(getattr(state, name) + np.array([[start], [0]]))
            events = np.concatenate(pieces, axis=1)
            events[0] = rank[events[0]]
            by_sample = np.argsort(events[0], kind="stable")
            return events[:, by_sample], by_sample

        tp, by_sample = joined("tp")
        return _Events(
            keys=keys.take(pa.array(order)),
            tp=tp,
            iou=np.concatenate([np.empty(0), *(s.iou for s in states)])[by_sample],
            fp=joined("fp")[0],
            fn=joined("fn")[0],
        )

    def by_category(self, categories: int, weights: Ints | None = None) -> _Counts:
        """Counts of all samples, or of each as often as its weight."""
        return self._counted(self.tp[1], self.fp[1], self.fn[1], categories, weights)

    def by_sample(self, categories: int) -> tuple[Ints, _Counts]:
        """The samples of all pairs of sample and category that there are, and their counts."""
        places = [e[0] * categories + e[1] for e in (self.tp, self.fp, self.fn)]
        pairs = np.unique(np.concatenate(places))
        tp, fp, fn = (np.searchsorted(pairs, p) for p in places)
        return pairs // max(categories, 1), self._counted(tp, fp, fn, len(pairs))

    def _counted(
        self, tp: Ints, fp: Ints, fn: Ints, n: int, weights: Ints | None = None
    ) -> _Counts:
        """Events at the places ``tp``, ``fp``, ``fn``, of which there are ``n``."""
        times = [
            np.ones(e.shape[1], np.int64) if weights is None else weights[e[0]]
            for e in (self.tp, self.fp, self.fn)
        ]
        right, wrong, missed = (
            np.bincount(e, t, minlength=n).astype(np.int64)
            for e, t in zip((tp, fp, fn), times, strict=True)
        )
        iou = np.bincount(tp, self.iou * times[0], minlength=n)
        return _Counts(right, wrong, missed, iou.astype(np.float64))


def _again(
    events: _Events, categories: int, isthing: Sequence[bool | None], weights: Ints
) -> dict[str, float | None]:
    """The numbers with each sample as often as its weight."""
    return _values(events.by_category(categories, weights).scores(), isthing)


def _per_class(context: Context, counts: _Counts) -> pa.Table:
    columns = {
        "category": context.categories["name"],
        "isthing": column(context.categories, "isthing", tables.CATEGORIES),
    }
    for name, score in counts.scores().items():
        columns[name] = pa.array(score, mask=np.isnan(score))
    for name in ("tp", "fp", "fn"):
        columns[name] = pa.array(getattr(counts, name))
    return pa.table(columns)


def _per_sample(events: _Events, categories: int) -> pa.Table:
    """PQ averaged over the categories of the sample, and its counts."""
    n = len(events.keys)
    samples, counts = events.by_sample(categories)
    many = np.bincount(samples, minlength=n)
    total = np.bincount(samples, counts.scores()["PQ"], minlength=n)
    pq = pa.array(total / np.maximum(many, 1), mask=many == 0)
    errors = {e: np.bincount(getattr(events, e)[0], minlength=n) for e in ("tp", "fp", "fn")}
    return pa.table({"key": events.keys, "pq": pq, **errors})


def _values(scores: dict[str, Floats], isthing: Sequence[bool | None]) -> dict[str, float | None]:
    """Averages over the categories that have a segment: all, things, stuff."""
    values: dict[str, float | None] = {}
    for suffix, wanted in (("", None), ("_th", True), ("_st", False)):
        rows = [i for i, thing in enumerate(isthing) if wanted is None or thing is wanted]
        for name, score in scores.items():
            known = [v for v in score[rows].tolist() if v == v]
            values[name + suffix] = sum(known) / len(known) if known else None
    return values
