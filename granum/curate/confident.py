"""Confident learning: which labels contradict probabilities that did not see them.

Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR
2021, pruned by noise rate.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["LabelQuality", "calibrated", "confident_joint", "label_quality", "votes"]

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

_SMALLEST = 2e-6
_SLACK = 1e-6


class LabelQuality(NamedTuple):
    """How far each label can be trusted.

    Attributes:
        quality: probability of the given label (self-confidence).
        issue: whether confident learning holds it for wrong.
        suggested: the most probable class.
    """

    quality: Floats
    issue: npt.NDArray[np.bool_]
    suggested: Rows


def label_quality(probabilities: Floats, labels: Rows) -> LabelQuality:
    """Judge labels.

    Args:
        probabilities: out of sample, shape (n, classes), rows sum to 1.
        labels: class of each row, shape (n,).
    """
    n, classes = probabilities.shape
    if not n:
        return LabelQuality(np.empty(0), np.empty(0, bool), np.empty(0, np.int64))
    given = probabilities[np.arange(n), labels]
    suggested = probabilities.argmax(axis=1)
    joint = calibrated(confident_joint(probabilities, labels), labels)
    issue = np.zeros(n, bool)
    for label in range(classes):
        rows = np.flatnonzero(labels == label)
        for other in np.flatnonzero(joint[label]):
            if other == label or not len(rows):
                continue
            margin = probabilities[rows, other] - given[rows]
            worst = np.argsort(-margin, kind="stable")[: int(joint[label, other])]
            issue[rows[worst]] = True
    issue &= suggested != labels
    return LabelQuality(given, issue, suggested)


def confident_joint(probabilities: Floats, labels: Rows) -> Rows:
    """Counts of (given label, class that the probabilities are confident of), shape (classes,
    classes). Confident of a class: at least as probable as it is on average among those labelled
    so."""
    classes = probabilities.shape[1]
    thresholds = np.full(classes, 2.0)  # a class that nothing is labelled with: never
    for label in np.unique(labels):
        thresholds[label] = max(probabilities[labels == label, label].mean(), _SMALLEST)
    above = probabilities >= thresholds - _SLACK
    best = np.where(above, probabilities, -1.0).argmax(axis=1)
    sure = above.any(axis=1)
    flat = labels[sure] * classes + best[sure]
    counts = np.bincount(flat, minlength=classes * classes)
    return counts.reshape(classes, classes)


def calibrated(joint: Rows, labels: Rows) -> Rows:
    """The joint with at least 1 on the diagonal, scaled so that each row sums to the number of
    such labels; whole numbers."""
    counts = np.bincount(labels, minlength=len(joint))
    raised = joint.copy()
    diagonal = np.diag_indices_from(raised)
    raised[diagonal] = np.maximum(raised[diagonal], 1)
    scaled = raised / raised.sum(axis=1, keepdims=True) * counts[:, None]
    down = np.floor(scaled).astype(np.int64)
    # The largest remainders round up, so that rows keep their sums.
    missing = counts - down.sum(axis=1)
    for row in np.flatnonzero(missing):
        order = np.argsort(-(scaled[row] - down[row]), kind="stable")
        down[row, order[: missing[row]]] += 1
    return down


def votes(
    neighbours: Rows, distances: npt.NDArray[np.float32], labels: Rows, classes: int
) -> Floats:
    """Probabilities from the labels of neighbours, the row itself left out.

    Each neighbour weighs 1 / (distance + the row's median distance); half a vote is spread evenly,
    so that no class is impossible.

    Args:
        neighbours: rows, shape (n, k); -1 for none.
        distances: shape (n, k).
        labels: class of each row.
        classes: how many there are.

    Returns:
        Shape (n, classes), rows sum to 1.
    """
    n = len(neighbours)
    if not n:
        return np.empty((0, classes))
    there = neighbours >= 0
    far = np.where(there, distances, np.nan).astype(np.float64)
    usual = np.zeros(n)
    some = there.any(axis=1)
    usual[some] = np.nanmedian(far[some], axis=1)
    soft = usual[:, None] + np.where(there, far, 0.0)
    weight = np.where(there, 1 / np.maximum(soft, 1e-12), 0.0)
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
    weight *= there.sum(axis=1, keepdims=True)
    flat = labels[neighbours.clip(0)] + classes * np.arange(n)[:, None]
    counts = np.bincount(flat.ravel(), weight.ravel(), n * classes)
    summed = np.asarray(counts, np.float64).reshape(n, classes) + 0.5 / classes
    return np.asarray(summed / summed.sum(axis=1, keepdims=True))
