"""Picks without gaps: each next sample is the one farthest from all picked before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from granum.curate._knn import Metric
from granum.curate.neighbours import knn
from granum.curate.selection import Picks, Pool, Selector, selectors
from granum.curate.spaces import unit_rows, vectors
from granum.errors import UsageError

__all__ = ["KCenter"]

Floats = npt.NDArray[np.float32]


@selectors("k_center")
@dataclass(frozen=True)
class KCenter(Selector):
    """Farthest-first traversal (Gonzalez 1985): the largest distance from any sample to a picked
    one is at most twice the least possible. Known as core-set selection (Sener and Savarese 2018).

    It starts from the included rows, else from a random one. ``gain`` is the cover radius once the
    sample is picked: it never rises, so any prefix is a selection of its own. O(n budget d) time.

    Attributes:
        space: the vectors.
        metric: ``cosine`` (Euclidean distance of the vectors at length 1) or ``l2``.
        drop: share of the samples, those farthest from their neighbours, that is never picked nor
            covered: farthest-first is drawn to outliers.
    """

    space: str = "descriptors"
    metric: Metric = "cosine"
    drop: float = 0.0

    name = "k_center"
    nested = True

    def inputs(self) -> Sequence[str]:
        return (self.space,)

    def pick(self, pool: Pool, budget: int | None, rng: np.random.Generator) -> Picks:
        if not 0 <= self.drop < 1:
            raise UsageError(f"drop is a share in [0, 1), not {self.drop}")
        found = self._scaled(pool.vectors(self.space))
        kept, dropped = _without_outliers(found, self.drop)
        before = self._scaled(vectors(pool.dataset, self.space)[pool.include])
        before = before[np.isfinite(before).all(axis=1)]
        count = len(kept) if budget is None else min(budget, len(kept))
        start = int(rng.integers(len(kept))) if len(kept) else 0
        order, radius = _farthest_first(found[kept], before, count, start)
        reasons = {int(i): "outlier" for i in dropped}
        return Picks(kept[order], radius, "farthest from those picked before", dropped=reasons)

    def _scaled(self, rows: Floats) -> Floats:
        return unit_rows(rows).astype(np.float32) if self.metric == "cosine" else rows


_NEIGHBOURS = 10


def _without_outliers(
    rows: Floats, share: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    everything = np.arange(len(rows))
    count = int(share * len(rows))
    if not count or len(rows) < 2:
        return everything, everything[:0]
    mean = knn(rows, _NEIGHBOURS, metric="l2").distances.mean(axis=1, dtype=np.float64)
    order = np.argsort(-mean, kind="stable")
    return np.sort(order[count:]), np.sort(order[:count])


def _farthest_first(
    rows: Floats, before: Floats, count: int, start: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Rows in the order they are picked, and the cover radius after each pick."""
    order = np.empty(count, np.int64)
    radius = np.empty(count)
    squares = np.einsum("ij,ij->i", rows, rows)
    near = np.full(len(rows), np.inf, np.float32)  # squared distance to the nearest picked
    for centre in before:
        np.minimum(near, _squared(rows, squares, centre), out=near)
    for i in range(count):
        row = start if i == 0 and not len(before) else int(np.argmax(near))
        np.minimum(near, _squared(rows, squares, rows[row]), out=near)
        near[row] = -1.0  # picked: never again
        order[i], radius[i] = row, np.sqrt(max(float(near.max()), 0.0))
    return order, radius


def _squared(rows: Floats, squares: Floats, centre: Floats) -> Floats:
    squared = squares + (centre @ centre) - 2 * (rows @ centre)
    return np.maximum(squared, 0, out=squared)
