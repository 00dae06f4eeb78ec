"""Means of figures per unit that no order and no unit of weight 0 changes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["weighted_mean"]


def weighted_mean(
    figures: npt.ArrayLike | Sequence[float | None],
    weights: npt.NDArray[np.int64] | None = None,
) -> float | None:
    """The mean of the figures that are defined, summed exactly, rounded once.

    Args:
        figures: shape (n,); NaN or None where undefined.
        weights: shape (n,), how often each counts (default: once).

    Returns:
        None where nothing that counts is defined.
    """
    values = np.asarray(figures, np.float64)
    times = np.ones(len(values), np.int64) if weights is None else np.asarray(weights, np.int64)
    used = ~np.isnan(values) & (times > 0)
    n = int(times[used].sum())
    return math.fsum((values[used] * times[used]).tolist()) / n if n else None
