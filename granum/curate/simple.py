"""Picks by a number, and at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate.selection import Picks, Pool, Selector, selectors
from granum.errors import UsageError

__all__ = ["Random", "Threshold", "TopK"]


def _numbers(pool: Pool, name: str) -> npt.NDArray[np.float64]:
    """A column as numbers; NaN where it is null."""
    values = pool.column(name)
    try:
        return np.asarray(values.cast(pa.float64()).fill_null(np.nan))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UsageError(f"column {name!r} holds {values.type}, not numbers") from error


@selectors("top_k")
@dataclass(frozen=True)
class TopK(Selector):
    """The samples with the highest (or lowest) values of a column; ties in the dataset's order,
    samples without a value never. ``gain`` is the value.

    Attributes:
        column: what to look at.
        lowest: take the lowest values.
    """

    column: str
    lowest: bool = False

    name = "top_k"
    nested = True

    def inputs(self) -> Sequence[str]:
        return (self.column,)

    def pick(self, pool: Pool, budget: int | None, rng: np.random.Generator) -> Picks:
        values = _numbers(pool, self.column)
        order = np.argsort(values if self.lowest else -values, kind="stable")
        order = order[~np.isnan(values[order])][:budget]
        what = "lowest" if self.lowest else "highest"
        return Picks(order, values[order], f"{what} {self.column}")


@selectors("threshold")
@dataclass(frozen=True)
class Threshold(Selector):
    """All samples whose value lies in a range, in the dataset's order; those without a value are
    left out. ``gain`` is the value.

    Attributes:
        column: what to look at.
        at_least, at_most: ends of the range, which belong to it (None: open).
    """

    column: str
    at_least: float | None = None
    at_most: float | None = None

    name = "threshold"
    nested = True

    def inputs(self) -> Sequence[str]:
        return (self.column,)

    def pick(self, pool: Pool, budget: int | None, rng: np.random.Generator) -> Picks:
        if self.at_least is None and self.at_most is None:
            raise UsageError("threshold: say at_least, at_most or both")
        values = _numbers(pool, self.column)
        low = -np.inf if self.at_least is None else self.at_least
        high = np.inf if self.at_most is None else self.at_most
        order = np.flatnonzero((values >= low) & (values <= high))[:budget]
        return Picks(order, values[order], f"{self.column} in [{low:g}, {high:g}]")


@selectors("random")
@dataclass(frozen=True)
class Random(Selector):
    """Any samples, each as likely as the others."""

    name = "random"
    nested = True

    def pick(self, pool: Pool, budget: int | None, rng: np.random.Generator) -> Picks:
        return Picks(rng.permutation(len(pool.rows))[:budget], reason="random")
