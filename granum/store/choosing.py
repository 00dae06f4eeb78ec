"""Choosing and renaming categories, and splitting: behind the methods of ``Dataset``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UnknownNameError, UsageError
from granum.schema import tables
from granum.schema.tables import column, with_column
from granum.store.parts import Batch

if TYPE_CHECKING:
    from granum.store.dataset import Dataset

__all__ = ["select_categories", "split", "split_column", "with_categories"]


def select_categories(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """See ``Dataset.select_categories``; all layers are filtered."""
    known = dataset.category_names()
    for name in names:
        if name not in known:
            raise UnknownNameError("category", name, known)
    chosen = [i for name in names for i, k in enumerate(known) if k == name]
    wanted = pa.array(chosen, pa.int32())

    def keep(batch: Batch) -> Batch:
        category = column(batch.annotations, "category")
        here = pc.or_(pc.is_in(category, value_set=wanted), category.is_null())
        return Batch(batch.samples, batch.annotations.filter(here), batch.start)

    to = np.full(len(known) + 1, -1)
    to[chosen] = np.arange(len(chosen))
    return with_categories(dataset.map_batches(keep), dataset.categories.take(chosen), to)


def with_categories(dataset: Dataset, categories: pa.Table, to: npt.NDArray[Any]) -> Dataset:
    """See ``Dataset.with_categories``."""
    lookup = np.asarray(to, np.int64)

    def change(batch: Batch) -> Batch:
        old = column(batch.annotations, "category")
        if old.null_count == len(old):
            return batch
        new = lookup[np.asarray(old.fill_null(0), np.int64)]
        values = pa.array(new, pa.int32(), mask=np.asarray(old.is_null()))
        table = with_column(batch.annotations, "category", values)
        return Batch(batch.samples, table, batch.start)

    def moved(listed: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
        if listed is None:
            return None
        there = [p for p in listed if lookup[p["index"]] >= 0]
        return [{**p, "index": int(lookup[p["index"]])} for p in there]

    parents = [moved(p) for p in column(categories, "parents", tables.CATEGORIES).to_pylist()]
    kind = tables.CATEGORIES.field("parents").type
    categories = with_column(categories, "parents", pa.array(parents, kind))
    sources = _renumbered(dataset.sources, lookup)
    return dataset.map_batches(change)._with(categories=categories, sources=sources)


def _renumbered(sources: pa.Table, to: npt.NDArray[np.int64]) -> pa.Table:
    """Category records of sources are [row, record] pairs; the rows follow the categories."""

    def change(text: str | None) -> str | None:
        if text is None:
            return None
        pairs = json.loads(text)
        moved = [[int(to[row]) if row is not None and row >= 0 else row, r] for row, r in pairs]
        return json.dumps([p for p in moved if p[0] is None or p[0] >= 0], ensure_ascii=False)

    if not sources.num_rows:
        return sources
    values = [change(t) for t in column(sources, "categories", tables.SOURCES).to_pylist()]
    return with_column(sources, "categories", pa.array(values, pa.string()))


def split_column(dataset: Dataset) -> dict[str, Dataset]:
    """Datasets by the ``split`` column, in order of appearance; "" where it is null."""
    names = dataset.samples(["split"])["split"].cast(pa.string()).to_pylist()
    rows: dict[str | None, list[int]] = {}
    for i, name in enumerate(names):
        rows.setdefault(name, []).append(i)
    return {name or "": dataset.select(at) for name, at in rows.items()}


def split(dataset: Dataset, fractions: Mapping[str, float], seed: int) -> dict[str, Dataset]:
    """Datasets at random; samples of one group stay together."""
    if sum(fractions.values()) > 1 + 1e-9 or min(fractions.values(), default=0) < 0:
        raise UsageError(f"fractions {dict(fractions)} must be positive and sum to 1 at most")
    group = np.asarray(dataset.samples(["group"])["group"].fill_null(-1), np.int64)
    unit = np.where(group >= 0, group, -1 - np.arange(len(group)))
    _, inverse = np.unique(unit, return_inverse=True)
    rank = np.random.default_rng(seed).permutation(int(inverse.max(initial=-1)) + 1)
    place = (rank[inverse] + 0.5) / max(len(rank), 1)
    out, low = {}, 0.0
    for name, share in fractions.items():
        chosen = np.flatnonzero((place >= low) & (place < low + share))
        out[name] = _named(dataset.select(chosen), name)
        low += share
    return out


def _named(dataset: Dataset, name: str) -> Dataset:
    """All samples in the split ``name``."""
    kind = tables.SAMPLES.field("split").type

    def change(batch: Batch) -> Batch:
        values = pa.array([name] * batch.samples.num_rows).dictionary_encode().cast(kind)
        return Batch(with_column(batch.samples, "split", values), batch.annotations, batch.start)

    return dataset.map_batches(change)
