"""Means of figures per unit that no unit of weight 0 changes, to the bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["weighted_mean"]


def weighted_mean(
    figures: npt.ArrayLike | Sequence[float | None],
    weights: npt.NDArray[np.int64] | None = None,
) -> float | None:
    """The mean of the figures that are defined; others, and those of weight 0, are taken out before
    anything is summed.

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
    return float((values[used] * times[used]).sum()) / n if n else None
