"""Hill numbers: how many classes there are, in effect."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.curate.attributes import settled, value_counts
from granum.curate.reduce import over_parts
from granum.curate.results import Summary
from granum.curate.vendi import of_spectrum
from granum.store.dataset import Dataset
from granum.store.executor import Executor

__all__ = ["evenness", "hill", "hill_of"]

ORDERS = (0.0, 1.0, 2.0, math.inf)


def hill_of(counts: npt.ArrayLike, orders: Sequence[float] = ORDERS) -> dict[float, float | None]:
    """Hill numbers of counts: order 0 is how many values occur, 1 is exp(entropy), 2 the inverse
    Simpson index, infinity one over the largest share (Hill, "Diversity and evenness", 1973).

    Args:
        counts: how often each value occurs.
        orders: each at least 0.

    Returns:
        The effective number of values by order; None of no counts.
    """
    n = np.asarray(counts, np.float64)
    shares = n[n > 0] / n.sum() if n.sum() else np.empty(0)
    return {q: of_spectrum(shares, q) for q in orders}


def evenness(counts: npt.ArrayLike) -> float | None:
    """exp(entropy) over the number of values that occur: 1 where all are equally frequent."""
    found = hill_of(counts, (0.0, 1.0))
    return None if found[1.0] is None or not found[0.0] else found[1.0] / found[0.0]


def hill(
    dataset: Dataset,
    columns: Sequence[str] = ("category",),
    *,
    orders: Sequence[float] = ORDERS,
    executor: Executor | None = None,
) -> Summary:
    """Hill numbers and evenness of columns of annotations or samples, or of derived attributes
    (``granum.curate.attributes``). Nulls are left out.

    Returns:
        Values ``COLUMN hill_ORDER`` and ``COLUMN evenness``.
    """
    total: dict[str, Counter[str]] = {name: Counter() for name in columns}
    attributes = settled(dataset, columns)
    for found in over_parts(dataset, partial(value_counts, attributes), executor):
        for name, counts in found.items():
            total[name].update(counts)
    values: dict[str, Any] = {}
    for name in columns:
        counted = [n for _, n in sorted(total[name].items())]
        for q, number in hill_of(counted, orders).items():
            values[f"{name} hill_{q:g}"] = number
        values[f"{name} evenness"] = evenness(counted)
    return Summary("Hill numbers", values, made={"columns": list(columns)})
