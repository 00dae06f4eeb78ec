"""Numbers of anomaly scores on plain arrays: AUROC, average precision, best F1, AUPRO."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError
from granum.metrics._anomaly.score_counts import Ranking, defect_sizes, rank

__all__ = ["aupro", "auroc", "average_precision", "f1_max", "pro_curve"]

Floats = npt.NDArray[np.float64]


def auroc(scores: npt.ArrayLike, positive: npt.ArrayLike) -> float | None:
    """Area under the ROC curve: the chance that a positive scores higher than a negative.

    Args:
        scores: numbers of any shape (of images, or of all pixels).
        positive: of equal shape; true where anomalous.

    Returns:
        As scikit-learn's ``roc_auc_score``; None where there is one class only.

    Raises:
        UsageError: shapes differ, or a score is not finite.
    """
    return _ranked(scores, positive).auroc()


def average_precision(scores: npt.ArrayLike, positive: npt.ArrayLike) -> float | None:
    """Average precision, as scikit-learn's ``average_precision_score``; arguments as ``auroc``."""
    return _ranked(scores, positive).average_precision()


def f1_max(scores: npt.ArrayLike, positive: npt.ArrayLike) -> tuple[float, float] | None:
    """The highest F1 of all thresholds and that threshold (``score >= threshold`` is anomalous; of
    several the highest); None where there is one class only. Arguments as ``auroc``."""
    return _ranked(scores, positive).f1_max()


def aupro(
    maps: Iterable[npt.ArrayLike], masks: Iterable[npt.ArrayLike], *, limit: float = 0.3
) -> float | None:
    """Area under the per-region overlap up to a false-positive rate, divided by that rate.

    Args:
        maps: scores of each image, shape (height, width); float32 takes half the memory.
        masks: defects of each image, of the same shape; good images have empty ones.
        limit: the false-positive rate.

    Returns:
        In [0, 1]; None where there is no defect, or no normal pixel.

    Raises:
        UsageError: shapes or numbers of maps and masks differ, or a score is not finite.
        MissingExtraError: scipy is absent.
    """
    if not 0 < limit <= 1:
        raise UsageError(f"limit is {limit}; it must be above 0 and at most 1")
    return _pixel_ranking(maps, masks).aupro(limit)


def pro_curve(
    maps: Iterable[npt.ArrayLike], masks: Iterable[npt.ArrayLike]
) -> tuple[Floats, Floats] | None:
    """The corners of the curve under which ``aupro`` is the area: false-positive rates, rising,
    and the mean overlap of regions at each; None where undefined. Arguments as ``aupro``."""
    return _pixel_ranking(maps, masks).pro_curve()


def _ranked(scores: npt.ArrayLike, positive: npt.ArrayLike) -> Ranking:
    values, wanted = _finite(scores).ravel(), np.asarray(positive, bool).ravel()
    if np.shape(scores) != np.shape(positive):
        raise UsageError(f"scores of shape {np.shape(scores)}, labels of {np.shape(positive)}")
    return rank(values[wanted], values[~wanted])


def _pixel_ranking(maps: Iterable[npt.ArrayLike], masks: Iterable[npt.ArrayLike]) -> Ranking:
    inside, outside, sizes, regions = [], [], [], 0
    for scores, defects in zip_longest(maps, masks):
        if scores is None or defects is None:
            raise UsageError("there are not as many maps as masks")
        values, mask = _finite(scores), np.asarray(defects) != 0
        if values.shape != mask.shape:
            raise UsageError(f"a map of {values.shape} pixels, a mask of {mask.shape}")
        own, found = defect_sizes(mask)
        inside.append(values[mask])
        outside.append(values[~mask])
        sizes.append(own[mask])
        regions += found
    if not inside:
        raise UsageError("there is no map")
    return rank(np.concatenate(inside), np.concatenate(outside), np.concatenate(sizes), regions)


def _finite(scores: npt.ArrayLike) -> npt.NDArray[Any]:
    values = np.asarray(scores)
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise UsageError("a score is not a finite number")
    return values
