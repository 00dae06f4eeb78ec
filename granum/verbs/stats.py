"""What a dataset holds, how varied it is, and how it differs from another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from granum.curate.comparison import compare as compare_datasets
from granum.curate.grade import ATTRIBUTES, grade
from granum.curate.results import Summary
from granum.curate.stats import basic_stats
from granum.curate.vendi import vendi
from granum.store.dataset import Dataset
from granum.store.executor import Executor, executor
from granum.verbs._inputs import Given, opened
from granum.verbs._spaces import with_space

__all__ = ["Statistics", "stats"]


@dataclass(frozen=True)
class Statistics:
    """Summaries by name: ``stats`` always; ``grade``, ``vendi``, ``comparison`` where asked for."""

    summaries: dict[str, Summary]

    def __getitem__(self, name: str) -> Summary:
        return self.summaries[name]

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable."""
        return {name: s.to_dict() for name, s in self.summaries.items()}

    def to_arrow(self) -> dict[str, pa.Table]:
        """All tables, as ``summary.table``."""
        return {
            f"{name}.{table}": rows
            for name, s in self.summaries.items()
            for table, rows in s.to_arrow().items()
        }

    def markdown(self, rows: int = 20) -> str:
        """For people; at most ``rows`` of each table."""
        return "\n".join(s.markdown(rows) for s in self.summaries.values())


def stats(
    source: Given,
    *,
    layer: str | None = None,
    space: str | None = None,
    by: str | None = None,
    grade_attributes: Sequence[str] | None = ATTRIBUTES,
    concept: str | None = "category",
    orders: Sequence[float] = (1.0, 2.0, math.inf),
    n_ref: int | None = None,
    repeats: int = 5,
    compare: Given | None = None,
    seed: int = 0,
    workers: int = 1,
    scheduler: str | None = None,
) -> Statistics:
    """Statistics of a dataset.

    Args:
        source: a dataset, a store, or files of any format.
        layer: whose annotations (default: the current one).
        space: also Vendi scores in this space (``descriptors``, ``embedding``…); a store that
            lacks it is scored first, which needs its images.
        by: Vendi scores also per value of this column, or per ``category``.
        grade_attributes: GRADE of these attributes; None for none.
        concept: what GRADE tells apart.
        orders: of the Vendi score.
        n_ref: also Vendi scores of random subsets of so many samples.
        repeats: how many such subsets.
        compare: another dataset to compare with.
        seed: of random subsets.
        workers: processes.
        scheduler: address of a Dask cluster instead.
    """
    found: dict[str, Summary] = {}
    with executor(workers, scheduler) as ex:
        dataset = _prepared(source, layer, space, ex)
        found["stats"] = basic_stats(dataset, executor=ex)
        if grade_attributes is not None:
            found["grade"] = grade(dataset, grade_attributes, concept=concept, executor=ex)
        if space is not None:
            found["vendi"] = vendi(
                dataset,
                space,
                orders=orders,
                by=by,
                n_ref=n_ref,
                repeats=repeats,
                seed=seed,
                executor=ex,
            )
        if compare is not None:
            other = _prepared(compare, layer, space, ex)
            found["comparison"] = compare_datasets(
                dataset,
                other,
                space=space,
                attributes=ATTRIBUTES if grade_attributes is None else grade_attributes,
                concept=concept,
                orders=orders,
                n_ref=n_ref,
                repeats=repeats,
                seed=seed,
                executor=ex,
            )
    return Statistics(found)


def _prepared(given: Given, layer: str | None, space: str | None, ex: Executor) -> Dataset:
    dataset = opened(given)
    if layer is not None:
        dataset = dataset.layer(layer)
    return dataset if space is None else with_space(dataset, space, ex)
