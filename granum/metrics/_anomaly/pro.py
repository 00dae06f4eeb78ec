"""The per-region overlap of 3CAD, which is not MVTec's AUPRO: image by image, 200 thresholds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from granum.errors import MissingExtraError, UsageError

__all__ = ["pro_3cad"]

Floats = npt.NDArray[np.float64]

LIMIT = 0.3
THRESHOLDS = 200


def pro_3cad(
    scores: npt.ArrayLike, mask: npt.ArrayLike, ignored: npt.ArrayLike | None = None
) -> float | None:
    """The per-region overlap of one image, as 3CAD's code counts it (E. Yang et al.: 3CAD, AAAI
    2025; ``compute_pro`` of EnquanYang2022/3CAD:train_utils/toolbox/metrics.py).

    Thresholds are the lowest score of the image and 200th parts of its range on from there; a pixel
    is anomalous above one. False positive rates are the image's own; those below 0.3 are divided by
    the highest of them, and the area is that of straight lines between these points, so that it
    does not begin at 0 and its width is not 0.3. 3CAD averages this over the defective images; good
    ones never count. AUPRO pools all images, begins at 0 and ends at 0.3: do not compare the two.

    Args:
        scores: shape (height, width).
        mask: of that shape, true in defects; regions are 8-connected.
        ignored: of that shape, true where pixels do not count.

    Returns:
        In [0, 1]; None where the official code fails: no defect or no normal pixel, equal scores,
        or fewer than two different rates below 0.3.

    Raises:
        UsageError: shapes differ, or a score that counts is not finite.
        MissingExtraError: scipy is absent.
    """
    values, defects = np.asarray(scores, np.float64), np.asarray(mask, bool)
    counted = np.ones(values.shape, bool) if ignored is None else ~np.asarray(ignored, bool)
    if values.shape != defects.shape or values.shape != counted.shape:
        raise UsageError(f"scores of {values.shape} pixels, a mask of {defects.shape}")
    if not np.isfinite(values[counted]).all():
        raise UsageError("a score is not a finite number")
    defects = defects & counted
    normal = np.sort(values[counted & ~defects])
    if not defects.any() or not len(normal):
        return None
    low, high = values[counted].min(), values[counted].max()
    step = (high - low) / THRESHOLDS
    if step == 0:
        return None
    thresholds = np.arange(low, high, step)
    fpr = (len(normal) - np.searchsorted(normal, thresholds, side="right")) / len(normal)
    overlap = _overlap(values, defects, thresholds)
    below = fpr < LIMIT
    if below.sum() < 2 or fpr[below].max() == 0:
        return None
    x, y = fpr[below] / fpr[below].max(), overlap[below]
    return float(-(np.diff(x) * (y[1:] + y[:-1]) / 2).sum())  # rates fall


def _overlap(values: Floats, defects: npt.NDArray[np.bool_], thresholds: Floats) -> Floats:
    """Mean share of a region above each threshold."""
    try:
        from scipy.ndimage import label  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("per-region overlap", "eval", "scipy") from error
    labels, regions = label(defects, np.ones((3, 3), int))
    total = np.zeros(len(thresholds))
    for region in range(1, regions + 1):
        inside = np.sort(values[labels == region])
        above = len(inside) - np.searchsorted(inside, thresholds, side="right")
        total += above / len(inside)
    return np.asarray(total / regions, np.float64)
