"""Scores of change, from counts of pixels: binary, and semantic (SECOND, FUSU)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError

__all__ = [
    "BinaryScores",
    "SemanticScores",
    "binary_scores",
    "change_matrix",
    "kappa",
    "semantic_scores",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def change_matrix(truth: npt.ArrayLike, predicted: npt.ArrayLike, classes: int) -> Ints:
    """Pixels predicted as each class (rows) that are of each class (columns).

    Args:
        truth: integers; pixels that are not in 0..classes-1 are not counted. 0: not changed.
        predicted: of equal shape, in 0..classes-1 where pixels are counted.
        classes: how many.

    Returns:
        Shape (classes, classes), the orientation of SECOND's code.

    Raises:
        UsageError: shapes differ, or a counted pixel is predicted as no class.
    """
    real, guess = np.asarray(truth), np.asarray(predicted)
    if real.shape != guess.shape:
        raise UsageError(f"a truth of {real.shape}, a prediction of {guess.shape}")
    counted = (real >= 0) & (real < classes)
    real, guess = real[counted].astype(np.int64), guess[counted].astype(np.int64)
    if len(guess) and not 0 <= guess.min() <= guess.max() < classes:
        raise UsageError(f"a prediction that is none of {classes} classes")
    return np.bincount(guess * classes + real, minlength=classes**2).reshape(classes, classes)


def kappa(matrix: npt.ArrayLike) -> float:
    """Cohen's kappa of a square matrix of counts; 0 where it is empty, or where chance alone would
    agree on everything, as in SECOND's code (scikit-learn: NaN)."""
    counts = np.asarray(matrix, np.float64)
    total = counts.sum()
    if total == 0:
        return 0.0
    agreed = np.diag(counts).sum() / total
    chance = np.matmul(counts.sum(1), counts.sum(0)) / total**2
    return 0.0 if chance == 1 else float((agreed - chance) / (1 - chance))


@dataclass(frozen=True)
class BinaryScores:
    """Changed against unchanged; None where there is nothing to divide by.

    Attributes:
        precision, recall, f1, iou: of changed pixels.
        oa: right pixels over all.
        kappa: Cohen's; 0 where chance alone would agree on everything.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    iou: float | None
    oa: float | None
    kappa: float | None

    def summary(self) -> dict[str, float | None]:
        return dict(vars(self))


def binary_scores(tp: int, fp: int, fn: int, tn: int) -> BinaryScores:
    """The scores of counts of pixels: changed and found, found wrongly, missed, neither."""
    total = tp + fp + fn + tn
    return BinaryScores(
        precision=_over(tp, tp + fp),
        recall=_over(tp, tp + fn),
        f1=_over(2 * tp, 2 * tp + fp + fn),
        iou=_over(tp, tp + fp + fn),
        oa=_over(tp + tn, total),
        kappa=kappa([[tn, fn], [fp, tp]]) if total else None,
    )


@dataclass(frozen=True)
class SemanticScores:
    """Scores of a pooled matrix; None where there is nothing to divide by.

    Attributes:
        miou: mean IoU of unchanged and changed.
        iou_unchanged, iou_changed: what was changed to does not matter for them.
        kappa: of the matrix without the pixels that both leave unchanged.
        sek: separated kappa, kappa e^(iou_changed - 1).
        precision, recall: changed pixels of the right class over those predicted, or true.
        fscd: their harmonic mean.
        oa: right pixels over all.
        class_iou: shape (classes,), NaN where a class does not occur.
    """

    miou: float | None
    iou_unchanged: float | None
    iou_changed: float | None
    kappa: float
    sek: float | None
    precision: float | None
    recall: float | None
    fscd: float | None
    oa: float | None
    class_iou: Floats

    def score(self, weight: float) -> float | None:
        """``weight`` miou + (1 - ``weight``) sek."""
        if self.miou is None or self.sek is None:
            return None
        return weight * self.miou + (1 - weight) * self.sek

    def summary(self) -> dict[str, float | None]:
        names = ("miou", "iou_unchanged", "iou_changed", "kappa", "sek", "precision", "recall")
        return {n: getattr(self, n) for n in (*names, "fscd", "oa")}


def semantic_scores(matrix: npt.ArrayLike, *, among_changed: bool = False) -> SemanticScores:
    """The scores of a matrix as ``change_matrix`` gives it, both dates added up.

    SECOND: K. Yang et al., Asymmetric Siamese Networks for Semantic Change Detection, 2020; Fscd:
    L. Ding et al., Bi-Temporal Semantic Reasoning for the Semantic Change Detection, 2022. Where
    no pixel is changed in either, the authors' code divides by 0; here such numbers are None.
    Where there is no right changed pixel, Fscd is 0.

    Args:
        matrix: shape (classes, classes), rows predicted, columns true, class 0 unchanged.
        among_changed: IoU of classes counts only pixels that both call changed, as FUSU's code.

    Raises:
        UsageError: no such matrix.
    """
    counts = np.asarray(matrix, np.int64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not len(counts):
        raise UsageError(f"a matrix of shape {counts.shape}")
    same, total = int(counts[0, 0]), int(counts.sum())
    predicted, true = total - int(counts[0].sum()), total - int(counts[:, 0].sum())
    both = int(counts[1:, 1:].sum())
    right = int(np.trace(counts)) - same
    unchanged = _over(same, total - both)
    changed = _over(both, total - same)
    without = counts.copy()
    without[0, 0] = 0
    agreement = kappa(without)
    class_iou = np.full(len(counts), np.nan)
    some = counts[1:, 1:] if among_changed else counts
    union = some.sum(0) + some.sum(1) - np.diag(some)
    known = union > 0
    class_iou[len(counts) - len(some) :][known] = np.diag(some)[known] / union[known]
    return SemanticScores(
        miou=None if unchanged is None or changed is None else (unchanged + changed) / 2,
        iou_unchanged=unchanged,
        iou_changed=changed,
        kappa=agreement,
        sek=None if changed is None else agreement * math.exp(changed - 1),
        precision=_over(right, predicted),
        recall=_over(right, true),
        fscd=_over(2 * right, predicted + true),
        oa=_over(right + same, total),
        class_iou=class_iou,
    )


def _over(part: int, whole: int) -> float | None:
    return part / whole if whole else None
