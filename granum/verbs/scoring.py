"""Score: columns computed once and kept, and what they say in a few numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from granum.curate import score as engine
from granum.curate.base import Column, Scorer, scorers
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.executor import executor
from granum.verbs._stores import opened_store

__all__ = ["Scored", "describe_scorers", "score"]


@dataclass(frozen=True)
class Scored:
    """What a scoring gave.

    Attributes:
        dataset: the store with its new columns.
        columns: by column ``of`` (samples, annotations), ``rows``, ``unknown`` (null: the image
            could not be read, or the score is undefined), ``about``, ``better``; where it holds
            numbers ``min``, ``median``, ``mean``, ``max`` (of bools the mean is the share that is
            true); where it has a threshold ``issue_below`` and how many are ``issues``.
    """

    dataset: Dataset
    columns: Mapping[str, Mapping[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        store = self.dataset.meta.store
        return {
            "path": None if store is None else str(store.path),
            "samples": len(self.dataset),
            "columns": {name: dict(facts) for name, facts in self.columns.items()},
        }

    def table(self) -> str:
        """For people: a line per column."""
        heads = ("rows", "unknown", "min", "median", "mean", "max", "issues")
        lines = [f"{'column':<20}" + "".join(f"{h:>10}" for h in heads)]
        for name, facts in self.columns.items():
            cells = "".join(f"{_shown(facts.get(h)):>10}" for h in heads)
            lines.append(f"{name:<20}{cells}")
        return "\n".join(lines)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def score(
    given: Dataset | str | Path,
    wanted: Sequence[str | Scorer],
    *,
    images: str | Path | None = None,
    layer: str | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Scored:
    """Add the columns of scorers to a store. What is there already is not computed again, and what
    was interrupted goes on where it stopped.

    Args:
        given: a store, or its path.
        wanted: names (``granum.curate.base.scorers``), patterns (``*hash``), names with parameters
            (``name:key=value``), or scorers.
        images: where the images are now, if they moved.
        layer: whose annotations scorers of annotations look at.
        workers: processes.
        scheduler: address of a Dask cluster instead.
        progress: called with the number of samples of each part that is done.

    Raises:
        StoreError: no store.
        UnknownNameError: no such scorer or layer.
        UsageError: a parameter it does not have.
    """
    dataset = opened_store(given, images, layer)
    chosen = engine.resolve(wanted)
    with executor(workers, scheduler) as running:
        dataset = engine.score(dataset, chosen, executor=running, progress=progress)
    facts = {
        name: _facts(dataset, scorer, name, about)
        for scorer in chosen
        for name, about in scorer.given().items()
    }
    return Scored(dataset, facts)


def _facts(dataset: Dataset, scorer: Scorer, name: str, about: Column) -> dict[str, Any]:
    layer = dataset.meta.layer
    tables = [p.samples() if scorer.of == "samples" else p.layer(layer) for p in dataset.parts]
    chunks = [c for t in tables for c in column(t, f"col.{name}").chunks]
    values = pa.chunked_array(chunks, about.type)
    out: dict[str, Any] = {
        "of": scorer.of,
        "rows": len(values),
        "unknown": values.null_count,
        "about": about.about,
        "better": about.better,
    }
    kind = values.type
    hashed = pa.types.is_uint64(kind)  # numbers that are no quantities
    if pa.types.is_boolean(kind) or pa.types.is_floating(kind) or pa.types.is_integer(kind):
        known = np.asarray(values.drop_null(), np.float64)
        if len(known) and not hashed:
            out["min"], out["max"] = float(known.min()), float(known.max())
            out["median"], out["mean"] = float(np.median(known)), float(known.mean())
        if about.issue_below is not None:
            out["issue_below"] = about.issue_below
            out["issues"] = int((known < about.issue_below).sum())
    return out


def describe_scorers() -> list[dict[str, Any]]:
    """Every scorer: name, what it is of, and its columns with their meaning and threshold (of some,
    parameters decide on the columns: none are listed)."""
    out = []
    for name in scorers:
        made = scorers[name]
        listed = getattr(made, "columns", {})
        out.append(
            {
                "name": name,
                "of": made.of,
                "about": (made.__doc__ or "").partition("\n\n")[0].replace("\n    ", " "),
                "columns": {
                    n: {"about": c.about, "better": c.better, "issue_below": c.issue_below}
                    for n, c in listed.items()
                },
            }
        )
    return out
