"""Image quality assessment: predicted scores against people's (MOS or DMOS).

Pearson's linear correlation (PLCC, of the scores as they are, as pyiqa counts it), Spearman's and
Kendall's rank correlations (SRCC with mean ranks for ties, KRCC as tau-b) and the root mean square
error, equal to scipy.stats. Many papers fit a logistic curve of four parameters to the predictions
first (VQEG 2000): that is ``fit=True``, and its numbers have names of their own, ``plcc_logistic4``
and ``rmse_logistic4``; the curve is b2 + (b1 - b2) / (1 + exp(-(x - b3) / |b4|)), by least squares
(scipy's curve_fit, trust region) from b = (highest truth, lowest truth, mean and standard deviation
of the predictions).

A correlation with a constant, or of fewer than two samples, is None.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import MissingExtraError, UnknownNameError, UsageError
from granum.metrics._labels.rows import Labels, LabelState, firsts, joined, labels_of, of_units
from granum.metrics.base import Context, Protocol, Recount, Result, protocols
from granum.schema.findings import Findings
from granum.store.parts import Batch

__all__ = ["ImageQuality", "kendall", "logistic4", "pearson", "rmse", "spearman"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_CURVE_PARAMETERS = 4


@protocols("iqa")
@dataclass(frozen=True)
class ImageQuality(Protocol):
    """PLCC, SRCC, KRCC and RMSE of scores of samples.

    Truth: a ``label`` row with a ``score`` per sample, of the category that names what is judged
    (such as ``quality`` of a space ``quality``), or of none. Predictions: the same, of that
    category or of none. A sample that lacks either is left out.

    Attributes:
        category: what is judged, by name; default: the only category of the truth's scores.
        fit: also fit a logistic curve of four parameters to the predictions.
    """

    name: ClassVar[str] = "iqa"
    reference: ClassVar[str] = "scipy.stats (pearsonr, spearmanr, kendalltau)"
    extra: ClassVar[str | None] = "eval"
    needs: ClassVar[tuple[str, ...]] = ("score",)
    kinds: ClassVar[tuple[str, ...] | None] = ("label",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("label",)
    scale_free: ClassVar[bool] = True
    sizeless: ClassVar[bool] = True

    category: str | None = None
    fit: bool = False

    def state(self, truth: Batch, predictions: Batch, context: Context) -> LabelState:
        found = Findings(on_error="skip")
        mine = labels_of(truth, "truth", found)
        theirs = labels_of(predictions, "predictions", found)
        return LabelState(truth.samples["key"].combine_chunks(), mine, theirs, found)

    def result(self, states: Sequence[LabelState], context: Context) -> Result:
        whole = joined(states)
        names = context.categories["name"].to_pylist()
        wanted = _category(whole.truth, names, self.category)
        found = whole.findings
        true = _scores(whole.truth, {wanted}, whole.keys, "truth", found)
        guess = _scores(whole.predictions, {wanted, -1}, whole.keys, "predictions", found)
        bare = np.flatnonzero(np.isnan(true))
        of_units(found, "no-truth", "truth", whole.keys, bare, "samples without a score")
        both = ~np.isnan(true) & ~np.isnan(guess)
        mine, theirs = true[both], guess[both]
        values = self._values(mine, theirs)
        undefined = [name for name, value in values.items() if value is None]
        if undefined:
            message = f"{', '.join(undefined)}: {_why(mine, theirs)}"
            found.add("undefined-number", "values", None, message, len(undefined))

        def again(weights: Ints) -> Mapping[str, float | None]:
            return self._values(np.repeat(mine, weights), np.repeat(theirs, weights))

        keys = whole.keys.filter(pa.array(both))
        return Result(
            protocol=self.name,
            values=values,
            per_sample=pa.table(
                {"key": keys, "truth": mine, "predicted": theirs, "error": theirs - mine}
            ),
            facts={
                "truths": int((~np.isnan(true)).sum()),
                "predictions": int(both.sum()),
                "samples_scored": int(both.sum()),
                "category": None if wanted < 0 else names[wanted],
            },
            findings=found,
            recount=Recount(keys, again),
        )

    def _values(self, true: Floats, guess: Floats) -> dict[str, float | None]:
        out = {
            "plcc": pearson(true, guess),
            "srcc": spearman(true, guess),
            "krcc": kendall(true, guess),
            "rmse": rmse(true, guess),
        }
        if self.fit:
            fitted = logistic4(true, guess)
            out["plcc_logistic4"] = None if fitted is None else pearson(true, fitted)
            out["rmse_logistic4"] = None if fitted is None else rmse(true, fitted)
        return out


def _category(truth: Labels, names: Sequence[str], name: str | None) -> int:
    """The category whose scores are compared (-1: rows without one)."""
    used = np.unique(truth.category[~np.isnan(truth.score)]).tolist()
    if name is not None:
        rows = [i for i in used if i >= 0 and names[i] == name]
        if not rows and name not in names:
            raise UnknownNameError("category", name, names)
        return rows[0] if rows else names.index(name)
    if len(used) > 1:
        shown = ", ".join("none" if i < 0 else repr(names[i]) for i in used)
        raise UsageError(
            f"the truth has scores of several categories: {shown}; name one (parameter category)"
        )
    return used[0] if used else -1


def _scores(labels: Labels, wanted: set[int], keys: pa.Array, who: str, found: Findings) -> Floats:
    """The score of each key, NaN where it has none; what is left out is a finding."""
    fits = np.isin(labels.category, list(wanted))
    of_units(found, "not-compared", who, keys, labels.unit[~fits], "rows of other categories")
    labels = labels.of(fits)
    absent, finite = np.isnan(labels.score), np.isfinite(labels.score)
    of_units(found, "missing-score", who, keys, labels.unit[absent], "rows without a score")
    broken = labels.unit[~absent & ~finite]
    of_units(found, "nan-score", who, keys, broken, "rows with a score that is not finite")
    labels = labels.of(finite)
    keep = firsts(labels.unit)
    what = "rows after the first score of a sample"
    of_units(found, "duplicate-annotation", who, keys, labels.unit[~keep], what)
    out = np.full(len(keys), np.nan)
    out[labels.unit[keep]] = labels.score[keep]
    return out


def _why(true: Floats, guess: Floats) -> str:
    if len(true) < 2:
        return f"{len(true)} samples have both scores"
    for who, values in (("truth", true), ("predictions", guess)):
        if values.min() == values.max():
            return f"all {who} are {values[0]:g}"
    return "the curve does not fit"


# ------------------------------------------------------------------ on arrays


def pearson(true: npt.ArrayLike, guess: npt.ArrayLike) -> float | None:
    """Pearson's correlation, as ``scipy.stats.pearsonr``.

    Args:
        true, guess: shape (n,), finite.

    Returns:
        In [-1, 1]; None where either is constant, or n < 2.

    Raises:
        UsageError: shapes differ, or a number is not finite.
    """
    x, y = _pair(true, guess)
    if not _varies(x, y):
        return None
    x, y = x - x.mean(), y - y.mean()
    across = float((x / np.linalg.norm(x)) @ (y / np.linalg.norm(y)))
    return max(min(across, 1.0), -1.0)


def spearman(true: npt.ArrayLike, guess: npt.ArrayLike) -> float | None:
    """Spearman's rank correlation (ties have their mean rank), as ``scipy.stats.spearmanr``;
    arguments, None and errors as ``pearson``."""
    x, y = _pair(true, guess)
    return pearson(_ranks(x), _ranks(y))


def kendall(true: npt.ArrayLike, guess: npt.ArrayLike) -> float | None:
    """Kendall's tau-b, by ``scipy.stats.kendalltau``; arguments, None and errors as ``pearson``.

    Raises:
        MissingExtraError: scipy is absent.
    """
    x, y = _pair(true, guess)
    if not _varies(x, y):
        return None
    try:
        from scipy.stats import kendalltau  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("Kendall's correlation", "eval", "scipy") from error
    return float(kendalltau(x, y, variant="b").statistic)


def rmse(true: npt.ArrayLike, guess: npt.ArrayLike) -> float | None:
    """Root mean square error; None of nothing. Arguments and errors as ``pearson``."""
    x, y = _pair(true, guess)
    return float(np.sqrt(((x - y) ** 2).mean())) if len(x) else None


def logistic4(true: npt.ArrayLike, guess: npt.ArrayLike) -> Floats | None:
    """``guess`` mapped to ``true`` by the logistic curve of the module.

    Returns:
        Shape (n,); None where either is constant, n < 4, or the fit finds nothing.

    Raises:
        UsageError: as ``pearson``.
        MissingExtraError: scipy is absent.
    """
    y, x = _pair(true, guess)
    if len(x) < _CURVE_PARAMETERS or not _varies(x, y):
        return None
    try:
        from scipy.optimize import curve_fit  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("fitting a curve", "eval", "scipy") from error
    z = (x - x.mean()) / x.std()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the covariance, which is not used
        try:
            # Not MINPACK's: its steps of a parameter that starts at 0 are too small.
            found, _ = curve_fit(_curve, z, y, p0=(y.max(), y.min(), 0, 1), method="trf")
        except RuntimeError:  # no end
            return None
    mapped = _curve(z, *found)
    return mapped if np.isfinite(mapped).all() else None


def _curve(x: Floats, b1: float, b2: float, b3: float, b4: float) -> Floats:
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        return np.asarray(b2 + (b1 - b2) / (1 + np.exp(-(x - b3) / np.abs(b4))), np.float64)


def _pair(true: npt.ArrayLike, guess: npt.ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(true, np.float64), np.asarray(guess, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise UsageError(f"a truth of shape {x.shape}, predictions of {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UsageError("a score is not a finite number")
    return x, y


def _varies(x: Floats, y: Floats) -> bool:
    return len(x) > 1 and bool((x != x[0]).any() and (y != y[0]).any())


def _ranks(values: Floats) -> Floats:
    """From 1; equal values have the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place], np.float64)
