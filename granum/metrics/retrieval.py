"""Image retrieval on ROxford and RParis: mAP and mP@k of the Easy, Medium and Hard protocols.

F. Radenović, A. Iscen, G. Tolias, Y. Avrithis, O. Chum: Revisiting Oxford and Paris, CVPR 2018;
the numbers are those of filipradenovic/revisitop, ``python/evaluate.py`` (``compute_map``), to the
bit. Each image is easy, hard or junk for a query, or a negative:

| protocol | relevant | leaves the list |
|---|---|---|
| Easy (E) | easy | hard, junk |
| Medium (M) | easy, hard | junk |
| Hard (H) | hard | easy, junk |

AP is the area under precision and recall by trapezoids, precision being 1 before rank 0; a query
without relevant images is left out of the mean. Precision at k looks no further than the last
relevant image. Where no relevant image is ranked, the official code stops with an error; here AP
and precision are 0. Of equal scores the earlier row ranks first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UsageError
from granum.metrics._retrieval.ranked import (
    MeanPrecision,
    average_precision_at_r,
    average_precision_sum,
    average_precision_trapezoid,
    hit_at,
    mean_average_precision,
    ndcg,
    precision_at,
    ranks,
    ranks_without_junk,
    recall_at,
    reciprocal_rank,
    summed,
)
from granum.metrics._retrieval.rows import (
    EASY,
    HARD,
    JUNK,
    KINDS,
    Pairs,
    RelationState,
    joined,
    levels_of,
    names_checked,
    relations_of,
)
from granum.metrics.base import Context, Protocol, Recount, Result, protocols
from granum.store.parts import Batch

__all__ = [
    "MeanPrecision",
    "Retrieval",
    "average_precision_at_r",
    "average_precision_sum",
    "average_precision_trapezoid",
    "hit_at",
    "mean_average_precision",
    "ndcg",
    "precision_at",
    "ranks",
    "ranks_without_junk",
    "recall_at",
    "reciprocal_rank",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PROTOCOLS = {
    "E": ((EASY,), (HARD, JUNK)),
    "M": ((EASY, HARD), (JUNK,)),
    "H": ((HARD,), (EASY, JUNK)),
}
"""Which levels are relevant, and which leave the list."""


@protocols("retrieval")
@dataclass(frozen=True)
class Retrieval(Protocol):
    """mAP and mP@k of the Easy, Medium and Hard protocols.

    Truth: rows of kind ``relation`` on the query's sample, of a category named in ``easy``,
    ``hard`` or ``junk``, whose ``object`` is the id of a row on the image. Samples with the role
    ``query`` are queries too.
    Predictions: relations alike, with a ``score`` (higher is better), or with the attribute
    ``rank`` (from 0) in the list of all images: where a query has ranks, those count, and
    negatives may be left out. Their ``object`` is an id of the predictions' layer, or of
    the truth's where the former has none of that number. A relevant image without a relation is
    missed.

    Attributes:
        k: at which ranks precision is taken.
        easy, hard, junk: names of the categories of true relations.
        standard: give the numbers of other papers too, from the same lists: ``AP_sum`` (the
            mean of precisions), ``P@k`` (over k), ``recall@k``, ``hit@k``, ``MRR``, ``nDCG``,
            ``MAP@R``.
    """

    name: ClassVar[str] = "retrieval"
    reference: ClassVar[str] = "revisitop (python/evaluate.py, 2018)"
    kinds: ClassVar[tuple[str, ...] | None] = KINDS
    truth_kinds: ClassVar[tuple[str, ...] | None] = KINDS
    scale_free: ClassVar[bool] = True
    sizeless: ClassVar[bool] = True

    k: tuple[int, ...] = (1, 5, 10)
    easy: tuple[str, ...] = ("easy",)
    hard: tuple[str, ...] = ("hard",)
    junk: tuple[str, ...] = ("junk",)
    standard: bool = False

    def __post_init__(self) -> None:
        names_checked(self.easy, self.hard, self.junk)
        if not all(isinstance(k, int) and k >= 1 for k in self.k):
            raise UsageError(f"k is {self.k}; it must be whole numbers of at least 1")

    def state(self, truth: Batch, predictions: Batch, context: Context) -> RelationState:
        return relations_of(truth, predictions, levels_of(context, self.easy, self.hard, self.junk))

    def result(self, states: Sequence[RelationState], context: Context) -> Result:
        pairs = joined(states)
        columns = self._columns(pairs)

        def values(weights: Ints) -> dict[str, float | None]:
            drawn = np.repeat(np.arange(len(pairs.keys)), weights)
            return {name: _mean(column[drawn]) for name, column in columns.items()}

        own = values(np.ones(len(pairs.keys), np.int64))
        judged = {n: int((~np.isnan(columns[f"mAP_{n}"])).sum()) for n in PROTOCOLS}
        table = {"key": pairs.keys}
        for name, column in columns.items():
            own_name = name.replace("mAP_", "AP_").replace("@", "_at_")
            table[own_name] = pa.array(column, mask=np.isnan(column))
        return Result(
            protocol=self.name,
            values=own,
            per_sample=pa.table(table),
            facts={
                "truths": len(pairs.query),
                "predictions": len(pairs.found_query),
                "queries": len(pairs.keys),
                "queries_judged": judged,
                "queries_without_predictions": len(pairs.keys) - len(np.unique(pairs.found_query)),
            },
            findings=pairs.findings,
            recount=Recount(pairs.keys, values),
        )

    def _columns(self, pairs: Pairs) -> dict[str, Floats]:
        """The numbers of each query, by name; NaN where it has no relevant image."""
        numbers = self._numbers()
        names = [f"{number}_{p}" for number in numbers for p in PROTOCOLS]
        columns = {name: np.full(len(pairs.keys), np.nan) for name in names}
        for q in range(len(pairs.keys)):
            places, levels = ranked_levels(pairs, q)
            for protocol, (wanted, lost) in PROTOCOLS.items():
                relevant = np.isin(levels, wanted)
                total = int(relevant.sum())
                if not total:
                    continue
                junk = np.isin(levels, lost) & (places >= 0)
                found = ranks_without_junk(places[relevant & (places >= 0)], places[junk])
                for number, function in numbers.items():
                    columns[f"{number}_{protocol}"][q] = function(found, total)
        return columns

    def _numbers(self) -> dict[str, Callable[[Ints, int], float]]:
        """Functions of the ranks of relevant images, and of how many there are."""
        out: dict[str, Callable[[Ints, int], float]] = {"mAP": average_precision_trapezoid}
        for k in self.k:
            out[f"mP@{k}"] = partial(_precision, k=k, capped=True)
        if not self.standard:
            return out
        out["AP_sum"] = average_precision_sum
        for k in self.k:
            out[f"P@{k}"] = partial(_precision, k=k, capped=False)
            out[f"recall@{k}"] = partial(_recall, k=k)
            out[f"hit@{k}"] = partial(_hit, k=k)
        return {**out, "MRR": _reciprocal, "nDCG": ndcg, "MAP@R": average_precision_at_r}


def _precision(found: Ints, total: int, *, k: int, capped: bool) -> float:
    return precision_at(found, k, capped=capped)


def _recall(found: Ints, total: int, *, k: int) -> float:
    return recall_at(found, k, total)


def _hit(found: Ints, total: int, *, k: int) -> float:
    return hit_at(found, k)


def _reciprocal(found: Ints, total: int) -> float:
    return reciprocal_rank(found)


def ranked_levels(pairs: Pairs, q: int) -> tuple[Ints, Ints]:
    """The ranks (-1: none) and levels of the true pairs of a query."""
    true, found = pairs.true(q), pairs.found(q)
    rank = dict(zip(pairs.found_image[found].tolist(), pairs.rank[found].tolist(), strict=True))
    places = [rank.get(i, -1) for i in pairs.image[true].tolist()]
    return np.array(places, np.int64), pairs.level[true]


def _mean(column: Floats) -> float | None:
    known = column[~np.isnan(column)]
    return summed(known) / len(known) if len(known) else None
