"""What protocols of detections share: objects as columns, states of parts, average precision.

- ``objects_of`` and ``boxed``: the rows that can be compared as plain arrays; the others are
  findings.
- ``judged_of``: detections with what matching made of them, as ``DetectionState`` holds them.
- ``detections_result``: joins the states in the order of sample keys and gives the whole
  ``Result``: numbers, ``per_class``, ``per_sample`` (``tp, fp, fn`` at the first threshold, and
  ``ap``), the curves of precision, and the recount.

Order of equal scores: samples by key, then rows as they are stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.metrics._detection.judged import (
    Judged,
    Style,
    average_precision,
    precision_recall,
    sample_ap,
)
from granum.metrics._usable import kept, left_out
from granum.metrics.base import Context, Recount, Result, joined_findings
from granum.schema import geometry
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = [
    "DetectionState",
    "Objects",
    "boxed",
    "detections_result",
    "flag",
    "judged_of",
    "objects_of",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_DRAWN = ("bbox", "angle", "polygons", "rle")


@dataclass(frozen=True)
class Objects:
    """Rows of one side that are compared, by sample, then as stored.

    Attributes:
        sample: shape (n,), counted from the start of the part.
        category: shape (n,), rows of the truth's categories.
        score: shape (n,); zeros where there is none (the truth).
        table: the rows.
        batch: that they are of.
    """

    sample: Ints
    category: Ints
    score: Floats
    batch: Batch

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def table(self) -> pa.Table:
        return self.batch.annotations

    def group(self, categories: int) -> Ints:
        """A number for each pair of a sample and a class, shape (n,)."""
        return self.sample * max(categories, 1) + self.category


def objects_of(batch: Batch, who: str, found: Findings) -> Objects:
    """The rows that have a category; the others are findings.

    Args:
        batch: of one side.
        who: ``truth`` or ``predictions``.
        found: gets what is left out.
    """
    named = np.asarray(column(batch.annotations, "category").is_valid())
    left_out(found, "missing-category", batch, ~named, who, "without a category")
    batch = kept(batch, named)
    table = batch.annotations
    return Objects(
        sample=np.asarray(column(table, "sample"), np.int64) - batch.start,
        category=np.asarray(column(table, "category"), np.int64),
        score=np.asarray(column(table, "score").fill_null(0.0), np.float64),
        batch=batch,
    )


def boxed(
    batch: Batch, who: str, found: Findings, drawn: Sequence[str] = _DRAWN
) -> tuple[Objects, Floats]:
    """Objects with their boxes, xywh, shape (n, 4): as stated, else around what is drawn; rows
    without one that is finite are findings. Arguments as ``objects_of``, and the columns that may
    tell a box."""
    table = batch.annotations
    with np.errstate(invalid="ignore", over="ignore"):  # boxes that are not finite
        box = geometry.aabb(table.select([n for n in drawn if n in table.column_names]))
    finite = np.asarray(np.isfinite(box).all(axis=1))
    left_out(found, "missing-geometry", batch, ~finite, who, "without a box that is finite")
    batch, box = kept(batch, finite), box[finite]
    named = np.asarray(column(batch.annotations, "category").is_valid())
    return objects_of(batch, who, found), box[named]


def flag(table: pa.Table, name: str) -> Flags:
    """A column of flags; null is false."""
    return np.asarray(column(table, name).fill_null(False), bool)


def judged_of(found: Objects, true: Objects, hit: Flags, counted: Flags, wanted: Flags) -> Judged:
    """Detections after matching.

    Args:
        found: the detections.
        true: the truth.
        hit, counted: see :class:`Judged`, shape (n, t).
        wanted: shape (m,), truths that are to be found.
    """
    return Judged(
        unit=found.sample,
        category=found.category,
        score=found.score,
        hit=hit,
        counted=counted,
        truth_unit=true.sample[wanted],
        truth_category=true.category[wanted],
    )


@dataclass(frozen=True)
class DetectionState:
    """What a part contributes.

    Attributes:
        keys: of its samples.
        judged: its detections; units are positions in ``keys``.
        compared: how many rows of truth and of predictions were.
        findings: what was left out.
        counts: further facts, which are added up.
    """

    keys: pa.Array
    judged: Judged
    compared: tuple[int, int]
    findings: Findings
    counts: Mapping[str, int] = field(default_factory=dict)


def detections_result(
    name: str,
    states: Sequence[DetectionState],
    context: Context,
    *,
    style: Style,
    numbers: Mapping[str, Sequence[int]],
    facts: Mapping[str, Any] | None = None,
) -> Result:
    """The result of all parts, the same bits in whatever order they come.

    Args:
        name: of the protocol.
        states: of the parts.
        context: of the evaluation.
        style: how precision is averaged.
        numbers: by name (``mAP``, ``AP50``…) the thresholds whose average precisions are
            averaged; ``per_class`` has them without the ``m``.
        facts: further facts.
    """
    thresholds = 1 + max(i for at in numbers.values() for i in at)
    keys, judged = _joined(states, thresholds)
    names = context.categories["name"].to_pylist()
    ap = average_precision(judged, len(names), style=style)
    added: dict[str, int] = {}
    for state in states:
        for fact, n in state.counts.items():
            added[fact] = added.get(fact, 0) + n
    return Result(
        protocol=name,
        values=_means(ap, numbers),
        per_class=_per_class(judged, ap, names, numbers),
        per_sample=partial(_per_sample, keys, judged, len(names), style),
        curves={"precision": precision_recall(judged, names)},
        facts={
            "truths": sum(s.compared[0] for s in states),
            "predictions": sum(s.compared[1] for s in states),
            **dict(sorted(added.items())),
            **(facts or {}),
        },
        findings=joined_findings((s.findings for s in states), by_place=True),
        recount=Recount(keys, partial(_again, judged, len(names), style, dict(numbers))),
    )


def _joined(states: Sequence[DetectionState], thresholds: int) -> tuple[pa.Array, Judged]:
    """Keys in order, and the detections of all parts in the order of their samples."""
    keys = pa.concat_arrays([pa.array([], pa.string()), *(s.keys for s in states)])
    order = np.asarray(pc.sort_indices(keys), np.int64)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    pieces, start = [], 0
    for state in states:
        at = place[start : start + len(state.keys)]
        one = state.judged
        pieces.append(replace(one, unit=at[one.unit], truth_unit=at[one.truth_unit]))
        start += len(state.keys)
    whole = Judged.joined(pieces, thresholds)
    rows = np.argsort(whole.unit, kind="stable")
    sorted_ = {n: getattr(whole, n)[rows] for n in ("unit", "category", "score", "hit", "counted")}
    return keys.take(pa.array(order)), replace(whole, **sorted_)


def _means(ap: Floats, numbers: Mapping[str, Sequence[int]]) -> dict[str, float | None]:
    """Means over the classes that have truth; None where none has."""
    values: dict[str, float | None] = {}
    for name, at in numbers.items():
        each = ap[:, list(at)].mean(axis=1)
        known = each[~np.isnan(each)]
        values[name] = float(known.mean()) if len(known) else None
    return values


def _again(
    judged: Judged,
    categories: int,
    style: Style,
    numbers: Mapping[str, Sequence[int]],
    weights: Ints,
) -> dict[str, float | None]:
    ap = average_precision(judged, categories, np.asarray(weights, np.int64), style)
    return _means(ap, numbers)


def _per_class(
    judged: Judged, ap: Floats, names: Sequence[str], numbers: Mapping[str, Sequence[int]]
) -> pa.Table:
    columns: dict[str, Any] = {"category": pa.array(names, pa.string())}
    for name, at in numbers.items():
        each = ap[:, list(at)].mean(axis=1)
        columns[name.removeprefix("m")] = pa.array(each, mask=np.isnan(each))
    tp, fp = _counts(judged, judged.category, len(names))
    return pa.table({**columns, "truths": judged.truths(len(names)), "tp": tp, "fp": fp})


def _per_sample(keys: pa.Array, judged: Judged, categories: int, style: Style) -> pa.Table:
    n = len(keys)
    tp, fp = _counts(judged, judged.unit, n)
    truths = replace(judged, truth_category=judged.truth_unit).truths(n)
    ap = sample_ap(judged, n, categories, style)
    return pa.table(
        {"key": keys, "tp": tp, "fp": fp, "fn": truths - tp, "ap": pa.array(ap, mask=np.isnan(ap))}
    )


def _counts(judged: Judged, by: Ints, n: int) -> tuple[Ints, Ints]:
    """Right and wrong detections at the first threshold, by class or by sample."""
    hit, counted = judged.hit[:, 0], judged.counted[:, 0]
    right, wrong = by[hit & counted], by[~hit & counted]
    return np.bincount(right, minlength=n), np.bincount(wrong, minlength=n)
