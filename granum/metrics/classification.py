"""Classification of whole images: one class each, or several.

One class: top-k accuracy, balanced accuracy (mean recall of the classes of the truth), macro, micro
and weighted F1 (over the classes that truth or predictions have) as scikit-learn 1.9 counts them;
expected and maximum calibration error (ECE, MCE) over equal bins of the highest score (C. Guo,
G. Pleiss, Y. Sun, K. Weinberger: On Calibration of Modern Neural Networks, ICML 2017: bins are
(lower, upper]; torchmetrics has [lower, upper), which differs for scores on an edge only); Brier
score (G. Brier 1950: squared errors summed over the classes, 0 to 2; of two classes scikit-learn
gives half of it) and log loss (natural, probabilities clipped at the float's epsilon).
Several: mAP (mean over the classes of the truth of average precision by steps), macro, micro and
weighted F1 of the classes whose score is above ``threshold``, and subset accuracy (all classes of a
sample right).

Ties: of equal scores the class that stands first in the categories counts as the higher one, as
``numpy.argmax`` has it; the facts say on how many samples it mattered for the highest. In average
precision equal scores are one step, and samples without a score of a class come last, as one step.
Scores are taken as they are: of logits there is no calibration (None), as no softmax is guessed.
A sample without predictions is wrong, has no confidence, and misses its probabilities. Where only
the best classes were kept, top-k accuracy of a larger k is None, unless the true ones are among
them; so are Brier score and log loss, unless those that were kept add up to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UsageError
from granum.metrics._labels.class_counts import Bins, ClassCounts, bin_of
from granum.metrics._labels.class_tables import Multi, Rows, Single
from granum.metrics._labels.rows import (
    Labels,
    LabelState,
    firsts,
    joined,
    labels_of,
    of_units,
    only_space,
    spaces_of,
)
from granum.metrics.base import Context, Protocol, Recount, Result, protocols
from granum.schema.findings import Findings
from granum.store.parts import Batch

__all__ = ["Classification", "calibration_error", "mean_average_precision", "top_k_accuracy"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

Task = Literal["auto", "single", "multi"]


@protocols("classification")
@dataclass(frozen=True)
class Classification(Protocol):
    """Accuracy, F1, calibration of labels; mAP where samples have several.

    Truth: ``label`` rows (not ``present = false``) of one label space; a class without a row is
    not in the image. Samples without any are left out (``no-truth``).
    Predictions: ``label`` rows with a score of that space: of all classes (probabilities), or only
    of the best ones; a second row of a class of a sample is left out.

    Attributes:
        task: ``single`` or ``multi``; ``auto``: multi where some sample has several labels. Where
            ``single`` is said, the first label of a sample counts.
        space: the label space; default: the only one of the truth's labels.
        topk: the k of top-k accuracies.
        bins: of confidence.
        threshold: of several classes, those with a score above it are predicted.
    """

    name: ClassVar[str] = "classification"
    reference: ClassVar[str] = "scikit-learn 1.9; Guo et al. 2017 (ECE)"
    needs: ClassVar[tuple[str, ...]] = ("category", "score")
    kinds: ClassVar[tuple[str, ...] | None] = ("label",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("label",)
    scale_free: ClassVar[bool] = True
    sizeless: ClassVar[bool] = True

    task: Task = "auto"
    space: str | None = None
    topk: tuple[int, ...] = (1, 5)
    bins: int = 15
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.task not in ("auto", "single", "multi"):
            raise UsageError(f"task is {self.task!r}; it must be auto, single or multi")
        if isinstance(self.topk, int) or any(k < 1 for k in self.topk):
            raise UsageError(f"topk is {self.topk}; it must be a list of numbers from 1 on")
        if self.bins < 1:
            raise UsageError(f"bins is {self.bins}; it must be at least 1")

    def state(self, truth: Batch, predictions: Batch, context: Context) -> LabelState:
        found = Findings(on_error="skip")
        mine = labels_of(truth, "truth", found, lambda r: (r.category >= 0, "without a category"))
        theirs = labels_of(predictions, "predictions", found)
        return LabelState(truth.samples["key"].combine_chunks(), mine, theirs, found)

    def result(self, states: Sequence[LabelState], context: Context) -> Result:
        whole = joined(states)
        found = whole.findings
        used = np.unique(whole.truth.category).tolist()
        space = self.space
        if space is None:
            space = only_space(context.categories, used, self.name)
        classes = _classes(context.categories, space)
        mine = _of_space(whole.truth, classes, whole.keys, "truth", found)
        theirs = _of_space(whole.predictions, classes, whole.keys, "predictions", found)
        again = firsts(mine.unit, mine.category)
        what = "labels that their sample has already"
        of_units(found, "duplicate-row", "truth", whole.keys, mine.unit[~again], what)
        mine = mine.of(again)
        once = firsts(theirs.unit, theirs.category)
        what = "rows after the first of a class of a sample"
        doubled = theirs.unit[~once]
        of_units(found, "duplicate-annotation", "predictions", whole.keys, doubled, what)
        theirs = theirs.of(once)
        has = np.zeros(len(whole.keys), bool)
        has[mine.unit] = True
        bare = np.flatnonzero(~has)
        of_units(found, "no-truth", "truth", whole.keys, bare, "samples without a label")
        several = bool((np.bincount(mine.unit, minlength=1) > 1).any())
        multi = self.task == "multi" or (self.task == "auto" and several)
        if several and not multi:
            keep = firsts(mine.unit)
            more, what = mine.unit[~keep], "labels after the first of a sample"
            of_units(found, "duplicate-annotation", "truth", whole.keys, more, what)
            mine = mine.of(keep)
        mine, theirs = _renumbered(mine, has), _renumbered(theirs, has)
        rows = Rows(int(has.sum()), len(classes), theirs.unit, theirs.category, theirs.score)
        keys = whole.keys.filter(pa.array(has))
        names = context.categories["name"].combine_chunks().take(pa.array(classes))
        sides = _Sides(keys, names, rows, mine.unit, mine.category)
        result = self._several(sides, found) if multi else self._one(sides, found)
        facts = {
            "task": "multi" if multi else "single",
            "space": space,
            "classes": len(classes),
            "truths": len(mine),
            "predictions": len(theirs),
            "samples_scored": len(keys),
        }
        return replace(result, facts=facts | dict(result.facts))

    def _one(self, sides: _Sides, found: Findings) -> Result:
        single = Single.of(sides.rows, sides.label)
        ones = np.ones(len(sides.keys), np.int64)
        values = single.values(ones, self.topk, self.bins)
        _why_undefined(single, values, self.topk, found)
        calibration = single.bins(ones, self.bins)
        curves = {"confusion": _confusion(single, sides.names)}
        if calibration is not None:
            curves["reliability"] = calibration.table()
        rank = pa.array(single.rank, mask=single.rank == 0)
        numbers = {n: getattr(single, n) for n in ("confidence", "log_loss", "brier")}
        said = pa.array(single.predicted, mask=single.predicted < 0)
        return Result(
            protocol=self.name,
            values=values,
            per_class=_per_class(sides.names, single.counts(ones)),
            per_sample=pa.table(
                {
                    "key": sides.keys,
                    "predicted": sides.names.take(said),
                    "correct": pa.array(single.right),
                    "rank": rank,
                    **{n: pa.array(v, mask=np.isnan(v)) for n, v in numbers.items()},
                }
            ),
            curves=curves,
            facts={
                "tied_highest": int(single.tied.sum()),
                "complete_probabilities": int((~np.isnan(single.brier)).sum()),
            },
            findings=found,
            recount=Recount(sides.keys, lambda w: single.values(w, self.topk, self.bins)),
        )

    def _several(self, sides: _Sides, found: Findings) -> Result:
        multi = Multi(sides.rows, sides.unit, sides.label, self.threshold)
        ones = np.ones(len(sides.keys), np.int64)
        table = _per_class(sides.names, multi.counts(ones))
        ap = multi.average_precision(ones)
        both = 2 * multi.right + multi.wrong + multi.missed
        return Result(
            protocol=self.name,
            values=multi.values(ones),
            per_class=table.append_column("ap", pa.array(ap, mask=np.isnan(ap))),
            per_sample=pa.table(
                {
                    "key": sides.keys,
                    "tp": multi.right,
                    "fp": multi.wrong,
                    "fn": multi.missed,
                    "f1": 2 * multi.right / np.maximum(both, 1),
                    "exact": pa.array((multi.wrong == 0) & (multi.missed == 0)),
                }
            ),
            facts={"threshold": self.threshold},
            findings=found,
            recount=Recount(sides.keys, multi.values),
        )


@dataclass(frozen=True)
class _Sides:
    """Samples that have a label: their keys, the classes' names, what was predicted; and the pairs
    of sample and true class."""

    keys: pa.Array
    names: pa.Array
    rows: Rows
    unit: Ints
    label: Ints


def _classes(categories: pa.Table, space: str | None) -> Ints:
    """The rows of the categories of a space.

    Raises:
        UsageError: there is no such space.
    """
    spaces = spaces_of(categories)
    if space is not None and space not in spaces:
        shown = ", ".join(sorted(map(repr, {*spaces})))
        raise UsageError(f"no category is of the space {space!r}; there are {shown or 'none'}")
    return np.array([i for i, s in enumerate(spaces) if s == space], np.int64)


def _of_space(labels: Labels, classes: Ints, keys: pa.Array, who: str, found: Findings) -> Labels:
    """The labels of the classes, which are numbered from 0; the others are a finding."""
    number = np.full(int(labels.category.max(initial=-1)) + 1, -1, np.int64)
    inside = classes[classes < len(number)]
    number[inside] = np.arange(len(inside))
    if (number == np.arange(len(number))).all():
        return labels
    category = number[labels.category]
    other = category < 0
    of_units(found, "not-compared", who, keys, labels.unit[other], "rows of other label spaces")
    return Labels(labels.unit, category, labels.score).of(~other)


def _renumbered(labels: Labels, has: Flags) -> Labels:
    """The labels of the units that ``has`` chooses, which are numbered from 0."""
    if has.all():
        return labels
    labels = labels.of(has[labels.unit])
    return replace(labels, unit=(np.cumsum(has) - 1)[labels.unit])


def _why_undefined(
    single: Single, values: Mapping[str, float | None], topk: Sequence[int], found: Findings
) -> None:
    """Why there is no calibration, no proper score, no accuracy of some k."""
    n = len(single.label)
    if not n:
        return
    for k in topk:
        if short := int(single.cut_short(k).sum()):
            message = (
                f"top{k}_accuracy: on {short} of {n} samples fewer than {min(k, single.classes)} "
                "classes have a score, and not the true one"
            )
            found.add("undefined-number", "predictions", None, message)
    undefined = [name for name, v in values.items() if v is None and not name.startswith("top")]
    if undefined:
        bad = int(np.isnan(single.brier).sum())
        message = (
            f"{', '.join(undefined)}: on {bad} of {n} samples the scores are no probabilities of "
            f"all {single.classes} classes"
        )
        found.add("undefined-number", "predictions", None, message, len(undefined))


def _per_class(names: pa.Array, counts: ClassCounts) -> pa.Table:
    """Of the classes that are true or predicted somewhere, and of the others."""
    numbers = {n: getattr(counts, n) for n in ("precision", "recall", "f1")}
    return pa.table(
        {
            "category": names,
            "support": counts.support,
            "predicted": counts.predicted,
            **{n: pa.array(v, mask=np.isnan(v)) for n, v in numbers.items()},
        }
    )


def _confusion(single: Single, names: pa.Array) -> pa.Table:
    """``truth``, ``predicted`` (null: nothing) and ``samples`` of each pair that occurs."""
    width = single.classes + 1
    pairs, samples = np.unique(single.label * width + single.predicted + 1, return_counts=True)
    real, said = np.divmod(pairs, width)
    return pa.table(
        {
            "truth": names.take(pa.array(real)),
            "predicted": names.take(pa.array(said - 1, mask=said == 0)),
            "samples": pa.array(samples, pa.int64()),
        }
    )


# ------------------------------------------------------------------ on arrays


def top_k_accuracy(scores: npt.ArrayLike, label: npt.ArrayLike, k: int = 1) -> float | None:
    """How often the true class is among the k of the highest scores.

    Args:
        scores: shape (n, classes); of equal ones the first class counts as the higher.
        label: true classes, integers, shape (n,).
        k: from 1.

    Returns:
        In [0, 1]; None of nothing.

    Raises:
        UsageError: shapes do not fit, a score is NaN, or a label is no class.
    """
    values, true = _matrix(scores, np.shape(label)[:1]), np.asarray(label, np.int64)
    if true.ndim != 1 or (len(true) and not 0 <= true.min() <= true.max() < values.shape[1]):
        raise UsageError("labels must be numbers of classes, shape (n,)")
    return Single.of(_dense(values), true).values(np.ones(len(true), np.int64), (k,), 1)[
        f"top{k}_accuracy"
    ]


def calibration_error(
    confidence: npt.ArrayLike, right: npt.ArrayLike, *, bins: int = 15
) -> tuple[float, float] | None:
    """Expected and maximum calibration error.

    Args:
        confidence: shape (n,), in [0, 1].
        right: shape (n,), whether the class with that confidence was the true one.
        bins: of equal width, (lower, upper].

    Returns:
        ECE and MCE in [0, 1]; None of nothing.

    Raises:
        UsageError: shapes differ, or a confidence is not in [0, 1].
    """
    values, hits = np.asarray(confidence, np.float64), np.asarray(right, bool)
    if values.shape != hits.shape or values.ndim != 1:
        raise UsageError(f"confidences of shape {values.shape}, hits of {hits.shape}")
    ones = np.ones(len(values), np.int64)
    found = Bins.of(bin_of(values, bins), bins, values, hits, ones)
    ece, mce = found.ece(), found.mce()
    return None if ece is None or mce is None else (ece, mce)


def mean_average_precision(scores: npt.ArrayLike, positive: npt.ArrayLike) -> float | None:
    """Mean over the classes that are true somewhere of average precision (by steps).

    Args:
        scores: shape (n, classes).
        positive: of that shape, true where a sample is of a class.

    Returns:
        In [0, 1]; None where nothing is positive.

    Raises:
        UsageError: shapes differ, or a score is NaN.
    """
    wanted = np.asarray(positive, bool)
    values = _matrix(scores, wanted.shape)
    unit, label = np.nonzero(wanted)
    multi = Multi(_dense(values), unit, label, np.inf)
    return multi.values(np.ones(len(values), np.int64))["mAP"]


def _matrix(scores: npt.ArrayLike, shape: tuple[int, ...]) -> Floats:
    values = np.asarray(scores, np.float64)
    if values.ndim != 2 or values.shape[: len(shape)] != shape or np.isnan(values).any():
        raise UsageError(f"scores of shape {values.shape} for a truth of {shape}, or NaN")
    return values


def _dense(values: Floats) -> Rows:
    unit, label = np.indices(values.shape)
    n, classes = values.shape
    return Rows(n, classes, unit.ravel(), label.ravel(), values.ravel())
