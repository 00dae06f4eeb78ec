"""Of a report: what scorers gave: how the values are spread, and which rows are the worst."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.browse import page
from granum.browse.charts import bars, histogram, number
from granum.schema.tables import column
from granum.store.columns import column_facts
from granum.store.dataset import Dataset
from granum.verbs._report_album import Shot
from granum.verbs._report_asked import SMALL, Asked

__all__ = ["Score", "scalar_columns", "scores"]

_OTHERS = ("loss.", "eval.")
"""Columns of training and evaluation, which have sections of their own."""

_GALLERIES = 16


@dataclass(frozen=True)
class Score:
    """A derived column of numbers.

    Attributes:
        name: without ``col.``.
        values: float64, NaN where null; of the samples, or of a layer's annotations.
        flag: whether it holds true and false.
        facts: ``about``, ``better``, ``issue_below``…, where they are known.
    """

    name: str
    values: npt.NDArray[np.float64]
    flag: bool
    facts: dict[str, Any]

    @property
    def below(self) -> float | None:
        """Values below it are issues."""
        found = self.facts.get("issue_below")
        return None if found is None else float(found)

    @property
    def issues(self) -> int | None:
        """How many values are issues; None where nothing says which."""
        return None if self.below is None else int((self.values < self.below).sum())

    @property
    def ranked(self) -> bool:
        """Whether one end is the worse one."""
        return not self.flag and (self.facts.get("better") is not None or self.below is not None)

    def worst(self, most: int) -> npt.NDArray[np.int64]:
        """The rows at the worse end, the worst first."""
        known = np.flatnonzero(np.isfinite(self.values))
        sign = -1.0 if self.facts.get("better") == "lower" else 1.0
        return known[np.argsort(sign * self.values[known], kind="stable")[:most]]

    def title(self) -> str:
        """Its name, and how many issues there are."""
        if not self.issues:
            return self.name
        return f"{self.name}: {self.issues:,} issue{'s' * (self.issues > 1)}"

    def chart(self) -> str:
        """How the values are spread, with the threshold."""
        known = self.values[np.isfinite(self.values)]
        if self.flag:
            yes = int(known.sum())
            return bars({"yes": yes, "no": len(known) - yes}, width=SMALL)
        return histogram(known, mark=self.below, width=SMALL)


def scalar_columns(dataset: Dataset, layer: str | None = None) -> Iterator[Score]:
    """The derived columns of numbers: of the samples, or of the annotations of ``layer``."""
    tables = [p.samples() if layer is None else p.layer(layer) for p in dataset.parts]
    kinds = {f.name: f.type for t in tables for f in t.schema if f.name.startswith("col.")}
    for name, kind in kinds.items():
        number_like = pa.types.is_floating(kind) or pa.types.is_integer(kind)
        if not (number_like or pa.types.is_boolean(kind)) or kind == pa.uint64():  # a hash
            continue
        pieces = [
            np.asarray(column(t, name).cast(pa.float64()).fill_null(np.nan), np.float64)
            for t in tables
        ]
        values = np.concatenate([*pieces, np.empty(0)])
        plain = name.removeprefix("col.")
        if np.isfinite(values).any():
            facts = column_facts(dataset, plain, layer)
            yield Score(plain, values, pa.types.is_boolean(kind), facts)


def scores(asked: Asked) -> list[str]:
    """Of samples, then of annotations: a table, the spread of each, the worst of each."""
    dataset = asked.dataset
    found = [s for s in scalar_columns(dataset) if not s.name.startswith(_OTHERS)]
    blocks = _all(asked, found, _of_samples) if found else []
    layer = dataset.meta.layer
    of_rows = list(scalar_columns(dataset, layer))
    if of_rows:
        blocks.append(page.heading(f"Of the annotations of {layer}"))
        blocks += _all(asked, of_rows, _of_annotations)
    return blocks


def _all(
    asked: Asked, found: list[Score], shots: Callable[[Asked, Score], Iterator[Shot]]
) -> list[str]:
    """A table; each score with a worse end beside the worst there are; the others' charts."""
    blocks = [_table(found)]
    ranked = [s for s in found if s.ranked]
    rest = [s for s in found if not s.ranked] + ranked[_GALLERIES:]
    for score in ranked[:_GALLERIES]:
        worst = asked.album.gallery(shots(asked, score), "small", most=280)
        if worst:
            blocks.append(page.row(score.title(), score.chart(), "".join(worst)))
        else:
            rest.insert(0, score)
    if rest:
        blocks.append(page.beside([(s.title(), s.chart()) for s in rest], small=True))
    return blocks


def _table(found: list[Score]) -> str:
    columns: dict[str, list[Any]] = {
        "score": [s.name for s in found],
        "what it is": [s.facts.get("about") for s in found],
        "better": [s.facts.get("better") for s in found],
        "median": [None if s.flag else float(np.nanmedian(s.values)) for s in found],
        "issue below": [s.below for s in found],
        "issues": [s.issues for s in found],
        "unknown": [int(np.isnan(s.values).sum()) or None for s in found],
    }
    filled = {k: v for k, v in columns.items() if any(x is not None for x in v)}
    return page.table(list(zip(*filled.values(), strict=True)), list(filled))


def _of_samples(asked: Asked, score: Score) -> Iterator[Shot]:
    """The worst samples, as they are."""
    for i in score.worst(asked.few).tolist():
        yield asked.album.plain(i, f"{number(score.values[i])}\n{asked.keys[i].as_py()}")


def _of_annotations(asked: Asked, score: Score) -> Iterator[Shot]:
    """The worst annotations, each near by."""
    table = asked.dataset.annotations(["annotation_id", "sample"])
    for row in score.worst(asked.few).tolist():
        sample = table["sample"][row].as_py()
        if sample is not None:
            key, value = asked.keys[sample].as_py(), number(score.values[row])
            yield asked.album.close(key, [table["annotation_id"][row].as_py()], value)
