"""Equal shares: of each group as many samples as it has, up to a level that spends the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate.selection import Picks, Pool, Selector, selectors
from granum.errors import UsageError
from granum.schema.tables import column

__all__ = ["Balance", "rarest_category", "water_fill"]

Ints = npt.NDArray[np.int64]

CATEGORY = "category"
NONE = "none"


def water_fill(sizes: npt.ArrayLike, budget: int, rng: np.random.Generator | None = None) -> Ints:
    """Quotas that are as equal as sizes allow: the largest level x with sum(min(x, size)) within
    the budget, and one more for as many random groups above x as the budget still holds
    (Vo et al., "Automatic data curation for self-supervised learning", 2024).

    Args:
        sizes: of the groups.
        budget: how many in all.
        rng: who gets the remainder; None: the first groups.

    Returns:
        Quotas, one per group; they sum to min(budget, sum of sizes).

    Raises:
        UsageError: a size or the budget is negative.
    """
    m = np.asarray(sizes, np.int64)
    if budget < 0 or (m.size and m.min() < 0):
        raise UsageError("sizes and budget must be at least 0")
    level = _level(m, budget)
    quotas = np.minimum(m, level)
    higher = np.flatnonzero(m > level)
    left = min(budget, int(m.sum())) - int(quotas.sum())
    if left:
        lucky = higher[:left] if rng is None else rng.permutation(higher)[:left]
        quotas[lucky] += 1
    return quotas


def _level(sizes: Ints, budget: int) -> int:
    low, high = 0, int(sizes.max(initial=0))
    while low < high:
        middle = (low + high + 1) // 2
        if int(np.minimum(sizes, middle).sum()) <= budget:
            low = middle
        else:
            high = middle - 1
    return low


@selectors("balance")
@dataclass(frozen=True)
class Balance(Selector):
    """Groups of a column by turns, until the budget is spent: every prefix is as equal as the
    groups' sizes allow (``water_fill``). Included rows count for their group.

    Attributes:
        by: a sample column, or ``category``: then a sample counts for the rarest category among
            its annotations, and samples without any form a group of their own.
        order: column that says which of a group come first, highest first (None: random).
    """

    by: str = CATEGORY
    order: str | None = None

    name = "balance"
    nested = True

    def inputs(self) -> Sequence[str]:
        return tuple(n for n in (self.by, self.order) if n is not None)

    def pick(self, pool: Pool, budget: int | None, rng: np.random.Generator) -> Picks:
        everything = np.concatenate([pool.rows, pool.include])
        names, groups = self._groups(Pool(pool.dataset, everything, everything[:0]))
        here, before = groups[: len(pool.rows)], groups[len(pool.rows) :]
        # One draw each for order within the group and order of turns, whatever the budget is.
        within, turn = rng.random(len(here)), rng.random(len(here))
        if self.order is not None:
            given = pool.column(self.order).cast(pa.float64())
            known = np.asarray(given.fill_null(np.nan))
            within = np.where(np.isnan(known), np.inf, -known)
        rank = _rank_in_group(here, within) + np.bincount(before, minlength=len(names))[here]
        order = np.lexsort([turn, rank])[: len(here) if budget is None else budget]
        return Picks(order, reason=[f"{self.by} {names[g]}" for g in here[order].tolist()])

    def _groups(self, pool: Pool) -> tuple[list[str], Ints]:
        if self.by == CATEGORY:
            return rarest_category(pool)
        values = pool.column(self.by)
        if pa.types.is_floating(values.type) or pa.types.is_nested(values.type):
            raise UsageError(
                f"cannot balance by {self.by!r}: its values ({values.type}) are no groups"
            )
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        names = [NONE, *map(str, values.dictionary.to_pylist())]
        return names, np.asarray(values.indices.fill_null(-1), np.int64) + 1


def _rank_in_group(groups: Ints, key: npt.NDArray[np.float64]) -> Ints:
    """Position of each row among those of its group, ordered by ``key``, then by row."""
    order = np.lexsort([key, groups])
    sizes = np.bincount(groups)
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    rank = np.empty(len(groups), np.int64)
    rank[order] = np.arange(len(groups)) - first
    return rank


def rarest_category(pool: Pool) -> tuple[list[str], Ints]:
    """For each row of a pool, the category among its annotations that the fewest of its rows hold
    (ties: the first in the list of categories), as a position in the returned names."""
    dataset = pool.dataset
    names = [NONE, *dataset.category_names()]
    pairs = []
    for part in dataset.parts:
        table = part.layer(dataset.meta.layer)
        rows = np.asarray(column(table, "sample").fill_null(-1), np.int64)
        kinds = np.asarray(column(table, "category").fill_null(-1), np.int64)
        keep = (rows >= 0) & (kinds >= 0)
        pairs.append(np.unique(np.column_stack([rows[keep], kinds[keep]]), axis=0))
    found = np.concatenate(pairs) if pairs else np.empty((0, 2), np.int64)
    place = np.full(len(dataset), -1)
    place[pool.rows] = np.arange(len(pool.rows))
    found = found[place[found[:, 0]] >= 0]
    counts = np.bincount(found[:, 1], minlength=len(names) - 1)
    order = np.lexsort([found[:, 1], counts[found[:, 1]]])[::-1]
    groups = np.zeros(len(pool.rows), np.int64)
    groups[place[found[order, 0]]] = found[order, 1] + 1  # the rarest is written last
    return names, groups
