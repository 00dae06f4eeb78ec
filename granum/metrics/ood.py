"""Out-of-distribution (OOD) detection: one score per sample, higher the stranger it is.

AUROC (ties count half), AUPR as average precision (steps, as scikit-learn counts it; no trapezoid)
with either class as positive, and the false positive rate at a true positive rate of 0.95. Who is
positive in the last must be said, since the published conventions differ on the same scores:

- ``positive="ood"`` (OpenOOD 1.5, pytorch-ood): OOD samples are positive, and it is the share of ID
  samples at or above the first threshold at which at least 0.95 of OOD samples are found.
  OpenOOD takes that point from scikit-learn's ``roc_curve``, which leaves out points between equal
  diagonal steps (ties of both classes), so that the point may be a later one: ``mode="official"``
  does the same, ``corrected`` looks at all thresholds.
- ``positive="id"`` (MixOE; Outlier Exposure's ``fpr_and_fdr_at_recall``): ID samples are positive,
  the threshold is the one whose true positive rate is nearest to 0.95, above or below (of two
  equally near the higher rate; in floating point 0.9 is nearer than 1), and TNR at 0.95 is one less
  the rate. Of thresholds with that same rate (below 1) the official code takes the lowest, which
  adds the OOD samples in between to the false ones; ``mode="corrected"`` takes the highest.

OpenOOD's own AUPR joins the points of precision and recall by straight lines; it is here under its
own name, ``aupr_out_trapezoid`` and ``aupr_in_trapezoid``. A number that one class alone does not
define is None.

A classifier that was not made for it tells OOD by its confidence: ``score="confidence"`` takes the
negative of the highest score of a sample's labels, the maximum softmax probability of D. Hendrycks,
K. Gimpel: A Baseline for Detecting Misclassified and Out-of-Distribution Examples, ICLR 2017.

J. Yang et al.: OpenOOD, NeurIPS 2022 (v1.5: J. Zhang et al., 2023); D. Hendrycks, M. Mazeika,
T. Dietterich: Deep Anomaly Detection with Outlier Exposure, ICLR 2019; J. Zhang et al.: Mixture
Outlier Exposure, WACV 2023.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.metrics._labels.ranked_units import Levels, RankedUnits
from granum.metrics._labels.rows import (
    Labels,
    categories_named,
    firsts,
    labels_of,
    of_units,
    spaces_of,
)
from granum.metrics.base import Context, Protocol, Recount, Result, joined_findings, protocols
from granum.schema.findings import Findings
from granum.store.parts import Batch

__all__ = ["OutOfDistribution", "aupr_trapezoid", "fpr_at_tpr"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Positive = Literal["ood", "id"]
Mode = Literal["official", "corrected"]

SPACE = "distribution"
"""The space of the categories ``ood`` and ``id``; where there is it, no other labels matter."""

RATE = 0.95
"""The true positive rate at which false positives are counted."""

_POINTS = 1000


@dataclass(frozen=True)
class _State:
    """Of a part: the samples that were scored, and the OOD category of each (-1: ID)."""

    keys: pa.Array
    scores: Floats
    category: Ints
    truths: int
    findings: Findings


@protocols("ood")
@dataclass(frozen=True)
class OutOfDistribution(Protocol):
    """AUROC, AUPR and FPR95 of scores of samples.

    Truth: ``label`` rows (not ``present = false``). A sample is OOD where one of its labels is of a
    category named in ``ood``, else it is ID; without a label it is left out (``no-truth``). Where
    there are categories of the space ``distribution``, only labels of that space matter.
    Predictions: a ``label`` row with a score per sample, higher for OOD, of an OOD category or of
    none; rows of ID categories are not compared. With ``score="confidence"``: ``label`` rows of any
    category, higher for ID. Samples without one are left out.

    Attributes:
        positive: ``ood`` or ``id``: whose true positive rate is 0.95 in ``fpr95`` (see the module);
            there is no default.
        ood: names of the categories that are out of distribution.
        mode: of the official code's choice of the threshold (see the module), or ``corrected``.
        score: what scores of predictions say: ``ood`` (how strange a sample is), or ``confidence``
            (how sure a classifier is of its class).
    """

    name: ClassVar[str] = "ood"
    reference: ClassVar[str] = "scikit-learn (AUROC, AP); OpenOOD 1.5 or MixOE (FPR95)"
    needs: ClassVar[tuple[str, ...]] = ("score",)
    kinds: ClassVar[tuple[str, ...] | None] = ("label",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("label",)
    scale_free: ClassVar[bool] = True
    sizeless: ClassVar[bool] = True

    positive: Positive | None = None
    ood: tuple[str, ...] = ("ood",)
    mode: Mode = "official"
    score: Literal["ood", "confidence"] = "ood"

    def __post_init__(self) -> None:
        if self.positive not in ("ood", "id"):
            said = "is not given" if self.positive is None else f"is {self.positive!r}"
            raise UsageError(
                f"positive {said}; FPR at 95 % TPR differs by who is positive: positive='ood' "
                "(OpenOOD, pytorch-ood: ID samples taken for OOD where at least 95 % of OOD are "
                "found) or positive='id' (MixOE, Outlier Exposure: OOD samples taken for ID where "
                "about 95 % of ID are kept)"
            )
        if self.mode not in ("official", "corrected"):
            raise UsageError(f"mode is {self.mode!r}; it must be official or corrected")
        if self.score not in ("ood", "confidence"):
            raise UsageError(f"score is {self.score!r}; it must be ood or confidence")
        if isinstance(self.ood, str) or not self.ood:
            raise UsageError(f"ood is {self.ood!r}; it must be a list of names of categories")

    def state(self, truth: Batch, predictions: Batch, context: Context) -> _State:
        found = Findings(on_error="skip")
        space = SPACE if SPACE in spaces_of(context.categories) else None
        away = categories_named(context.categories, self.ood, space, "ood")
        category, truths = _categories(truth, context, space, away, found)
        if self.score == "confidence":
            score = -_confidence(predictions, found)
        else:
            score = _scores(predictions, away, found)
        judged = (category > _UNKNOWN) & ~np.isnan(score)
        keys = truth.samples["key"].combine_chunks()
        return _State(keys.filter(pa.array(judged)), score[judged], category[judged], truths, found)

    def result(self, states: Sequence[_State], context: Context) -> Result:
        keys = pa.chunked_array([s.keys for s in states], pa.string()).combine_chunks()
        order = pc.sort_indices(keys)
        at = np.asarray(order, np.int64)
        score = np.concatenate([np.empty(0), *(s.scores for s in states)])[at]
        category = np.concatenate([np.empty(0, np.int64), *(s.category for s in states)])[at]
        units = RankedUnits(score, category >= 0)
        levels = units.levels()
        findings = joined_findings((s.findings for s in states), by_place=True)
        values, cut = self._values(levels)
        if not levels.defined:
            lacks = "OOD" if not (category >= 0).any() else "ID"
            findings.add("undefined-number", "truth", None, f"no {lacks} sample was scored")

        def again(weights: Ints) -> Mapping[str, float | None]:
            return self._values(units.levels(weights))[0]

        table = pa.table({"key": keys.take(order), "score": score, "ood": pa.array(category >= 0)})
        return Result(
            protocol=self.name,
            values=values,
            per_class=self._per_class(score, category, context),
            per_sample=table,
            curves=_curves(levels),
            facts={
                "truths": sum(s.truths for s in states),
                "predictions": len(score),
                "samples_scored": len(score),
                "out_of_distribution": int((category >= 0).sum()),
                "in_distribution": int((category < 0).sum()),
                "fpr95_convention": _CONVENTIONS[self.positive or ""],
                "fpr95_threshold": cut,
                "mode": self.mode,
            },
            findings=findings,
            recount=Recount(table["key"].combine_chunks(), again),
        )

    def _values(self, levels: Levels) -> tuple[dict[str, float | None], float | None]:
        """The numbers, and the score from which on a sample is OOD at FPR95."""
        inside = levels.swapped()
        fpr = _fpr(levels, self.positive or "ood", self.mode) if levels.defined else None
        return {
            "auroc": levels.ranking().auroc(),
            "aupr_out": levels.ranking().average_precision(),
            "aupr_in": inside.ranking().average_precision(),
            "fpr95": fpr and fpr[0],
            "tnr95": fpr and 1 - fpr[0],
            "aupr_out_trapezoid": levels.pr_trapezoid(),
            "aupr_in_trapezoid": inside.pr_trapezoid(),
        }, fpr and fpr[1]

    def _per_class(self, score: Floats, category: Ints, context: Context) -> pa.Table:
        """Each OOD category against all ID samples."""
        names = context.categories["name"].to_pylist()
        rows = []
        for row in np.unique(category[category >= 0]).tolist():
            some = (category == row) | (category < 0)
            levels = RankedUnits(score[some], category[some] >= 0).levels()
            samples = int((category == row).sum())
            rows.append({"category": names[row], "samples": samples, **self._values(levels)[0]})
        kinds = {"category": pa.string(), "samples": pa.int64()}
        numbers = {n: pa.float64() for n in self._values(RankedUnits([], []).levels())[0]}
        return pa.Table.from_pylist(rows, pa.schema({**kinds, **numbers}))


_CONVENTIONS = {
    "ood": "OOD positive: ID taken for OOD at the first TPR of at least 0.95 (OpenOOD)",
    "id": "ID positive: OOD taken for ID at the TPR nearest to 0.95 (MixOE, Outlier Exposure)",
}
_UNKNOWN, _INSIDE = -2, -1


def _categories(
    truth: Batch, context: Context, space: str | None, away: Ints, found: Findings
) -> tuple[Ints, int]:
    """The OOD category of each sample (-1: it is ID; -2: nothing says), and the rows that say."""
    spaces = spaces_of(context.categories)
    counts = np.array([space in (None, s) for s in spaces] + [False])

    def wanted(labels: Labels) -> tuple[Flags, str]:
        return counts[labels.category], f"without a category{f' of {space}' if space else ''}"

    labels = labels_of(truth, "truth", found, wanted)
    category = np.full(truth.samples.num_rows, _UNKNOWN, np.int64)
    category[labels.unit] = _INSIDE
    out = labels.of(np.isin(labels.category, away))
    out = out.of(firsts(out.unit))
    category[out.unit] = out.category
    unknown = np.flatnonzero(category == _UNKNOWN)
    of_units(found, "no-truth", "truth", truth.samples["key"], unknown, "samples without a label")
    return category, len(labels)


def _scores(predictions: Batch, away: Ints, found: Findings) -> Floats:
    """The score of each sample; NaN where there is none."""

    def wanted(labels: Labels) -> tuple[Flags, str]:
        keep = (labels.category < 0) | np.isin(labels.category, away)
        return keep, "of a category that is in distribution (score=confidence would take them)"

    labels = labels_of(predictions, "predictions", found, wanted)
    keep = firsts(labels.unit)
    keys = predictions.samples["key"]
    what = "rows after the first score of a sample"
    again = labels.unit[~keep]
    of_units(found, "duplicate-annotation", "predictions", keys, again, what)
    out = np.full(predictions.samples.num_rows, np.nan)
    out[labels.unit[keep]] = labels.score[keep]
    return out


def _confidence(predictions: Batch, found: Findings) -> Floats:
    """The highest score of each sample; NaN where there is none."""
    labels = labels_of(predictions, "predictions", found)
    out = np.full(predictions.samples.num_rows, -np.inf)
    np.maximum.at(out, labels.unit, labels.score)
    none = np.bincount(labels.unit, minlength=len(out)) == 0
    return np.where(none, np.nan, out)


def _curves(levels: Levels) -> dict[str, pa.Table]:
    if not levels.defined:
        return {}
    fpr, tpr = levels.roc()
    at = np.unique(np.linspace(0, len(fpr) - 1, _POINTS).astype(np.int64))
    return {
        "roc": pa.table({"fpr": fpr[at], "tpr": tpr[at], "score": levels.scores[at]}),
    }


# ------------------------------------------------------------------ on arrays


def fpr_at_tpr(
    scores: npt.ArrayLike, ood: npt.ArrayLike, *, positive: Positive, mode: Mode = "official"
) -> float | None:
    """The false positive rate at a true positive rate of 0.95.

    Args:
        scores: shape (n,), higher for OOD.
        ood: shape (n,), true for OOD samples.
        positive: ``ood`` or ``id``; see the module.
        mode: see the module.

    Returns:
        In [0, 1]; None where there is one class only.

    Raises:
        UsageError: shapes differ, or a score is NaN.
    """
    levels = RankedUnits(scores, ood).levels()
    return _fpr(levels, positive, mode)[0] if levels.defined else None


def aupr_trapezoid(scores: npt.ArrayLike, positive: npt.ArrayLike) -> float | None:
    """Area under straight lines between the points of precision and recall, as OpenOOD counts
    AUPR; arguments as ``fpr_at_tpr``, None where there is one class only."""
    return RankedUnits(scores, positive).levels().pr_trapezoid()


def _fpr(levels: Levels, positive: Positive | str, mode: str) -> tuple[float, float]:
    """The rate, and the score from which on (``id``: above which) a sample is OOD there."""
    if positive == "ood":
        fpr, tpr = levels.roc()
        keep = levels.corners() if mode == "official" else np.ones(len(fpr), bool)
        at = np.flatnonzero(keep)[int(np.argmax(tpr[keep] >= RATE))]
        return float(fpr[at]), float(levels.scores[at])
    inside = levels.swapped()
    fpr, tpr = inside.roc()
    near = np.abs(tpr - RATE)
    best = tpr[near == near.min()].max()
    last = mode == "official" and best < 1
    at = int(np.searchsorted(tpr, best, "right")) - 1 if last else int(np.searchsorted(tpr, best))
    return float(fpr[at]), float(-inside.scores[at])
