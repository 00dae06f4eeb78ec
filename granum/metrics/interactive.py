"""Interactive segmentation: how many clicks until a mask is good enough.

NoC@t is the first click after which the IoU is t or more, else the most clicks there are (20); NoF
("≥20@t") is how many objects have a NoC of 20. The authors' code counts those among them that were
good at exactly the twentieth click; ``mode="corrected"`` counts failures only (K. Sofiiuk, I.
Petrov, A. Konushin: Reviving Iterative Training with Mask Guidance, ICIP 2022; RITM's
isegm/inference/utils.py, compute_noc_metric and get_iou). IoU leaves ignored pixels out. IoU@k is
the mean IoU after k clicks and AUC the area under that curve from 1 to 20 clicks, by trapezoids,
over 19: no reference defines it. A sequence that ends early (the target was met) keeps its last
IoU; an object without any mask has IoU 0 throughout, and a finding.

Empty: objects without a pixel that counts are left out. An IoU equal to t meets it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UsageError
from granum.metrics._maps.click_rows import Clicked, clicked
from granum.metrics._maps.drawn import drawn_samples
from granum.metrics.base import Context, Protocol, Recount, Result, joined_findings, protocols
from granum.schema.attributes import attribute_dicts
from granum.schema.findings import Findings
from granum.store.parts import Batch

__all__ = ["Interactive", "auc", "carried", "failures", "mean_iou", "noc"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mode = Literal["official", "corrected"]


@dataclass
class _State:
    samples: dict[str, list[Clicked]] = field(default_factory=dict)
    findings: Findings = field(default_factory=lambda: Findings(on_error="skip"))


@protocols("interactive")
@dataclass(frozen=True)
class Interactive(Protocol):
    """Number of clicks (NoC), failures (NoF) and IoU after k clicks.

    Truth: objects with masks; those marked ``ignore`` are pixels that do not count. Predictions:
    a row with a mask for each click, with the attributes ``click`` (from 1) and ``of`` (the
    ``annotation_id`` of the truth, or its ``source_id`` as a text; not needed where a sample has
    one object). ``granum.annotate.clicking`` makes such a layer of any predictor.

    Attributes:
        thresholds: IoU that is good enough.
        max_clicks: so many at most; masks after more are left out.
        clicks: k of IoU@k.
        mode: which objects NoF counts.
    """

    name: ClassVar[str] = "interactive"
    reference: ClassVar[str] = "RITM (saic-vul, isegm/inference/utils.py compute_noc_metric)"
    kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object",)

    thresholds: tuple[float, ...] = (0.8, 0.85, 0.9)
    max_clicks: int = 20
    clicks: tuple[int, ...] = (1, 5)
    mode: Mode = "official"

    def __post_init__(self) -> None:
        if self.max_clicks < 1:
            raise UsageError(f"max_clicks is {self.max_clicks}; it must be at least 1")
        if not all(0 < t <= 1 for t in self.thresholds) or not len(self.thresholds):
            raise UsageError(f"thresholds are {self.thresholds}; they must be above 0, at most 1")
        if not all(1 <= k <= self.max_clicks for k in self.clicks):
            raise UsageError(f"clicks are {self.clicks}; they must be in 1..{self.max_clicks}")
        if self.mode not in ("official", "corrected"):
            raise UsageError(f"mode is {self.mode!r}; it must be official or corrected")

    def state(self, truth: Batch, predictions: Batch, context: Context) -> _State:
        state = _State()
        about, offsets = attribute_dicts(predictions.annotations), predictions.offsets()
        pairs = zip(
            drawn_samples(truth, _COLUMNS, context.map_root),
            drawn_samples(predictions, _COLUMNS, context.prediction_map_root),
            strict=True,
        )
        for i, (real, guess) in enumerate(pairs):
            facts = about[int(offsets[i]) : int(offsets[i + 1])]
            objects = clicked(real, guess, facts, self.max_clicks, state.findings)
            if objects:
                state.samples[real.key] = objects
        return state

    def result(self, states: Sequence[Any], context: Context) -> Result:
        samples = dict(sorted((k, v) for state in states for k, v in state.samples.items()))
        objects = [o for own in samples.values() for o in own]
        sample_of = np.repeat(np.arange(len(samples)), [len(own) for own in samples.values()])
        ious = carried([o.ious for o in objects], self.max_clicks)

        def values(weights: Ints) -> dict[str, float | None]:
            return self._numbers(ious, weights[sample_of])

        ones = np.ones(len(objects), np.int64)
        numbers = self._numbers(ious, ones)
        findings = joined_findings((s.findings for s in states), by_place=True)
        if not objects:
            message = "no object with a mask"
            findings.add("undefined-number", "values", None, message, len(numbers))
        curve = mean_iou(ious) if len(objects) else np.empty(0)
        return Result(
            protocol=self.name,
            values=numbers,
            per_class=self._per_class(objects, ious, context),
            per_sample=self._per_sample(list(samples), sample_of, ious),
            curves={"clicks": pa.table({"click": np.arange(1, len(curve) + 1), "iou": curve})},
            facts={
                "truths": len(objects),
                "predictions": sum(sum(not math.isnan(v) for v in o.ious) for o in objects),
                "samples_scored": len(samples),
                "objects_without_prediction": sum(not o.ious for o in objects),
                "sequences_ended_early": sum(0 < len(o.ious) < self.max_clicks for o in objects),
            },
            findings=findings,
            recount=Recount(pa.array(list(samples), pa.string()), values),
        )

    def _numbers(self, ious: Floats, times: Ints) -> dict[str, float | None]:
        """The numbers of some objects, each so many times."""
        out: dict[str, float | None] = {}
        total = int(times.sum())
        for t in self.thresholds:
            counts = noc(ious, t, self.max_clicks)
            failed = failures(ious, t, self.max_clicks, mode=self.mode)
            out[f"noc_{_percent(t)}"] = int(counts @ times) / total if total else None
            out[f"nof_{_percent(t)}"] = float(failed @ times) if total else None
        curve = mean_iou(ious, times) if total else None
        for k in self.clicks:
            out[f"iou_{k}"] = None if curve is None else float(curve[k - 1])
        out["auc"] = None if curve is None else auc(curve)
        return out

    def _per_class(self, objects: Sequence[Clicked], ious: Floats, context: Context) -> pa.Table:
        category = np.array([o.category for o in objects], np.int64)
        names = context.categories["name"].to_pylist()
        kinds = np.unique(category).tolist()
        found = [self._numbers(ious, (category == kind).astype(np.int64)) for kind in kinds]
        columns: dict[str, Any] = {
            "category": pa.array([None if k < 0 else names[k] for k in kinds], pa.string()),
            "objects": pa.array([int((category == k).sum()) for k in kinds], pa.int64()),
        }
        for name in self._numbers(ious[:0], np.empty(0, np.int64)):
            columns[name] = pa.array([row[name] for row in found], pa.float64())
        return pa.table(columns)

    def _per_sample(self, keys: Sequence[str], sample_of: Ints, ious: Floats) -> pa.Table:
        columns: dict[str, Any] = {
            "key": pa.array(keys, pa.string()),
            "objects": pa.array(np.bincount(sample_of, minlength=len(keys)), pa.int64()),
        }
        starts = np.searchsorted(sample_of, np.arange(len(keys) + 1))
        spans = [ious[a:b] for a, b in pairwise(starts.tolist())]
        found = [self._numbers(span, np.ones(len(span), np.int64)) for span in spans]
        for name in self._numbers(ious[:0], np.empty(0, np.int64)):
            columns[name] = pa.array([row[name] for row in found], pa.float64())
        return pa.table(columns)


_COLUMNS = ("category", "ignore", "source_id")


def _percent(threshold: float) -> str:
    """0.85 is 85, 0.825 is 82.5."""
    return f"{round(threshold * 100, 6):g}"


# ------------------------------------------------------------------ on arrays


def carried(ious: Sequence[Sequence[float]], max_clicks: int = 20) -> Floats:
    """IoU after each click, of sequences that may end early.

    Args:
        ious: of each object, after click 1, 2…; NaN where there is no mask.
        max_clicks: longer ones are cut.

    Returns:
        Shape (objects, max_clicks): where there is none the IoU before, 0 before the first.
    """
    out = np.zeros((len(ious), max_clicks))
    for i, own in enumerate(ious):
        last = 0.0
        for k in range(max_clicks):
            if k < len(own) and not math.isnan(own[k]):
                last = own[k]
            out[i, k] = last
    return out


def noc(ious: npt.ArrayLike, threshold: float, max_clicks: int = 20) -> Ints:
    """The number of clicks of each object until its IoU is ``threshold`` or more.

    Args:
        ious: shape (objects, clicks), after click 1, 2…
        threshold: in (0, 1].
        max_clicks: what an object counts as that never gets there; clicks after it do not count.

    Returns:
        Shape (objects,), in 1..max_clicks.
    """
    met = _table(ious)[:, :max_clicks] >= threshold
    out = np.full(len(met), max_clicks, np.int64)
    good = met.any(axis=1)
    out[good] = met[good].argmax(axis=1) + 1
    return out


def failures(
    ious: npt.ArrayLike, threshold: float, max_clicks: int = 20, *, mode: Mode = "official"
) -> Ints:
    """1 for each object that NoF counts, else 0: those whose NoC is ``max_clicks`` (``official``),
    or that never get there (``corrected``). Arguments as of ``noc``."""
    if mode == "official":
        return (noc(ious, threshold, max_clicks) == max_clicks).astype(np.int64)
    met = (_table(ious)[:, :max_clicks] >= threshold).any(axis=1)
    return np.asarray(~met, np.int64)


def mean_iou(ious: npt.ArrayLike, times: Ints | None = None) -> Floats:
    """The mean IoU after each click, shape (clicks,), of shape (objects, clicks), objects > 0;
    ``times``: how often each object counts."""
    table = _table(ious)
    each = np.ones(len(table), np.int64) if times is None else times
    used = each > 0
    return np.asarray((table[used] * each[used, None]).sum(axis=0) / each.sum(), np.float64)


def auc(curve: npt.ArrayLike) -> float:
    """The area under the mean IoU from the first click to the last, by trapezoids, over the number
    of clicks in between: in [0, 1]. Of one click: its IoU."""
    heights = np.asarray(curve, np.float64)
    if len(heights) == 1:
        return float(heights[0])
    return math.fsum(((heights[:-1] + heights[1:]) / 2).tolist()) / (len(heights) - 1)


def _table(ious: npt.ArrayLike) -> Floats:
    table = np.asarray(ious, np.float64)
    if table.ndim != 2:
        raise UsageError(f"IoU of shape {table.shape}, not (objects, clicks)")
    return table
