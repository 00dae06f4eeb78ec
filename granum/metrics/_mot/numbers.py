"""Numbers of tracking from their counts: of a sequence, of several, of classes.

As TrackEval has them (``combine_sequences``, ``combine_classes_det_averaged``,
``combine_classes_class_averaged``), with its names. ``Numbers`` may hold those of one metric or of
several: HOTA, CLEAR, Identity, VACE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "ALPHAS",
    "CLEAR_COUNTS",
    "CLEAR_SCORES",
    "HOTA_COUNTS",
    "HOTA_LOWEST",
    "HOTA_SCORES",
    "ID_COUNTS",
    "ID_SCORES",
    "VACE_COUNTS",
    "VACE_SCORES",
    "Numbers",
    "Weights",
    "class_averaged",
    "clear_scores",
    "combined",
    "hota_scores",
    "identity_scores",
    "nothing",
    "stacked",
    "vace_scores",
]

Numbers = dict[str, npt.NDArray[Any]]
Weights = npt.NDArray[np.int64]

ALPHAS = np.arange(0.05, 0.99, 0.05)
"""Thresholds of HOTA."""

HOTA_COUNTS = ("HOTA_TP", "HOTA_FN", "HOTA_FP")
HOTA_SCORES = ("HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA", "OWTA")
HOTA_LOWEST = ("HOTA(0)", "LocA(0)", "HOTALocA(0)")
CLEAR_SCORES = (
    *("MOTA", "MOTP", "MODA", "CLR_Re", "CLR_Pr", "MTR", "PTR", "MLR", "sMOTA", "CLR_F1"),
    *("FP_per_frame", "MOTAL"),
)
CLEAR_COUNTS = ("CLR_TP", "CLR_FN", "CLR_FP", "IDSW", "MT", "PT", "ML", "Frag", "CLR_Frames")
ID_SCORES = ("IDF1", "IDR", "IDP")
ID_COUNTS = ("IDTP", "IDFN", "IDFP")
VACE_SCORES = ("SFDA", "ATA")
VACE_COUNTS = ("VACE_IDs", "VACE_GT_IDs", "num_non_empty_timesteps")

_SUMMED = (*HOTA_COUNTS, *CLEAR_COUNTS, "MOTP_sum", *ID_COUNTS, *VACE_COUNTS, "STDA", "FDA")
_BY_MATCHES = ("AssRe", "AssPr", "AssA")


def hota_scores(n: Numbers) -> Numbers:
    """Completes counts, association and localisation, shape (…, 19)."""
    tp, fn, fp = (n[c] for c in HOTA_COUNTS)
    out = dict(n)
    out["DetRe"] = tp / np.maximum(1, tp + fn)
    out["DetPr"] = tp / np.maximum(1, tp + fp)
    out["DetA"] = tp / np.maximum(1, tp + fn + fp)
    out["HOTA"] = np.sqrt(out["DetA"] * n["AssA"])
    out["OWTA"] = np.sqrt(out["DetRe"] * n["AssA"])
    out["HOTA(0)"], out["LocA(0)"] = out["HOTA"][..., 0], n["LocA"][..., 0]
    out["HOTALocA(0)"] = out["HOTA(0)"] * out["LocA(0)"]
    return out


def clear_scores(n: Numbers) -> Numbers:
    """Completes the counts of CLEAR and the sum of similarities, shape (…)."""
    tp, fn, fp, idsw, mt, pt, ml, _, frames = (n[c] for c in CLEAR_COUNTS)
    tracks, boxes = np.maximum(1.0, mt + ml + pt), np.maximum(1.0, tp + fn)
    out = dict(n)
    out["MTR"], out["MLR"], out["PTR"] = mt / tracks, ml / tracks, pt / tracks
    out["CLR_Re"] = tp / boxes
    out["CLR_Pr"] = tp / np.maximum(1.0, tp + fp)
    out["MODA"] = (tp - fp) / boxes
    out["MOTA"] = (tp - fp - idsw) / boxes
    out["MOTP"] = n["MOTP_sum"] / np.maximum(1.0, tp)
    out["sMOTA"] = (n["MOTP_sum"] - fp - idsw) / boxes
    out["CLR_F1"] = tp / np.maximum(1.0, tp + 0.5 * fn + 0.5 * fp)
    out["FP_per_frame"] = fp / np.maximum(1.0, frames)
    out["MOTAL"] = (tp - fp - np.log10(np.maximum(1, idsw))) / boxes
    return out


def identity_scores(n: Numbers) -> Numbers:
    """Completes the counts of Identity, shape (…)."""
    tp, fn, fp = (n[c] for c in ID_COUNTS)
    out = dict(n)
    out["IDR"] = tp / np.maximum(1.0, tp + fn)
    out["IDP"] = tp / np.maximum(1.0, tp + fp)
    out["IDF1"] = tp / np.maximum(1.0, tp + 0.5 * fp + 0.5 * fn)
    return out


def vace_scores(n: Numbers) -> Numbers:
    """Completes the sums and counts of VACE, shape (…); NaN where a count is 0."""
    out = dict(n)
    with np.errstate(invalid="ignore"):
        out["ATA"] = n["STDA"] / (0.5 * (n["VACE_IDs"] + n["VACE_GT_IDs"]))
        out["SFDA"] = n["FDA"] / n["num_non_empty_timesteps"]
    return out


def stacked(numbers: Sequence[Mapping[str, npt.NDArray[Any]]]) -> Numbers:
    """Numbers of several sequences as arrays with an axis for them in front."""
    return {name: np.stack([n[name] for n in numbers]) for name in (numbers[0] if numbers else ())}


def combined(
    numbers: Numbers, weights: Weights | None = None, *, frames: int | None = None
) -> Numbers:
    """Numbers of all sequences (or detection-averaged ones of all classes).

    Args:
        numbers: of each, as :func:`stacked` gives them: counts, association, localisation.
        weights: shape (sequences,), how often each counts; once where not given.
        frames: how many there are, where not those of ``numbers``.

    Counts are summed, association and localisation averaged over matches, in the given order.
    """
    out = {n: _sum(numbers[n], weights) for n in _SUMMED if n in numbers}
    if "HOTA_TP" in numbers:
        tp = numbers["HOTA_TP"]
        for name in _BY_MATCHES:
            out[name] = _sum(numbers[name] * tp, weights) / np.maximum(1.0, out["HOTA_TP"])
        total = _sum(numbers["LocA"] * tp, weights)
        out["LocA"] = np.maximum(1e-10, total) / np.maximum(1e-10, out["HOTA_TP"])
    if frames is not None:
        out["CLR_Frames"] = np.asarray(frames)
    return _scores(out)


def nothing() -> Numbers:
    """Numbers of all metrics of no sequence at all."""
    n, none = len(ALPHAS), np.zeros((), np.int64)
    out: Numbers = {name: np.zeros(n, np.int64) for name in HOTA_COUNTS}
    out |= {name: np.zeros(n) for name in _BY_MATCHES} | {"LocA": np.ones(n)}
    out |= dict.fromkeys((*CLEAR_COUNTS, *ID_COUNTS, *VACE_COUNTS), none)
    out |= {name: np.zeros(()) for name in ("MOTP_sum", "STDA", "FDA")}
    return _scores(out)


def _scores(n: Numbers) -> Numbers:
    for count, complete in (
        ("HOTA_TP", hota_scores),
        ("CLR_TP", clear_scores),
        ("IDTP", identity_scores),
        ("STDA", vace_scores),
    ):
        n = complete(n) if count in n else n
    return n


def _sum(values: npt.NDArray[Any], weights: Weights | None) -> npt.NDArray[Any]:
    """Over the first axis, one after another: adding nothing changes no bit."""
    if weights is not None:
        values = values * weights.reshape(-1, *[1] * (values.ndim - 1))
    if not len(values):
        return np.zeros(values.shape[1:], values.dtype)
    return np.asarray(np.cumsum(values, axis=0)[-1])


def class_averaged(numbers: Numbers, *, ignore_empty: bool = True) -> Numbers:
    """Numbers of all classes, each class counting alike; counts are summed.

    Args:
        numbers: complete, of each class, as :func:`stacked` gives them.
        ignore_empty: leave out classes without any box; where all are, none is left out.
    """
    out: Numbers = {}
    for counts, scores in (
        (HOTA_COUNTS, (*HOTA_SCORES, *HOTA_LOWEST)),
        (CLEAR_COUNTS, (*CLEAR_SCORES, "MOTP_sum")),
        (ID_COUNTS, ID_SCORES),
        (VACE_COUNTS, VACE_SCORES),
    ):
        if counts[0] not in numbers:
            continue
        boxes = sum(numbers[c].reshape(len(numbers[c]), -1) for c in counts[:3])
        keep: npt.NDArray[np.bool_] = np.any(np.asarray(boxes) > 0, axis=1)
        if not ignore_empty or not keep.any():
            keep[:] = True
        out |= {c: _sum(numbers[c][keep], None) for c in counts}
        out |= {s: np.mean(numbers[s][keep], axis=0) for s in scores}
    return out
