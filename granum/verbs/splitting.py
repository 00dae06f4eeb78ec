"""Split, and what crosses splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from granum.curate import leakage as leaks
from granum.curate._fingerprints import Near
from granum.curate.duplicates import duplicates as find_duplicates
from granum.curate.leakage import Leakage
from granum.curate.splitting import Grouping, GroupSplit, group_split
from granum.errors import UsageError
from granum.store.dataset import Dataset
from granum.store.executor import executor
from granum.verbs._stores import free_view, opened_store

__all__ = ["Splitting", "leakage", "split"]


@dataclass(frozen=True)
class Splitting:
    """What a splitting did.

    Attributes:
        dataset: the store, with its new views or column.
        result: the split of each sample, and facts of it.
        views: names of the views that were saved; ``column``: name of the derived column, or None.
    """

    dataset: Dataset
    result: GroupSplit
    views: Sequence[str] = ()
    column: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**self.result.to_dict(), "views": list(self.views), "column": self.column}

    def table(self, examples: int = 10) -> str:
        """For people."""
        lines = [self.result.table(examples)]
        if self.views:
            lines.append(f"views: {', '.join(self.views)}")
        if self.column:
            lines.append(f"column: col.{self.column}")
        return "\n".join(lines)


def split(
    given: Dataset | str | Path,
    fractions: Mapping[str, float],
    *,
    groups: Sequence[Grouping] = ("group",),
    duplicates: bool = False,
    stratify: str | None = "category",
    seed: int = 0,
    into: Literal["views", "column"] | None = "views",
    name: str = "",
    images: str | Path | None = None,
    layer: str | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Splitting:
    """Split a store, groups whole and labels in proportion.

    Args:
        given: a store, or its path.
        fractions: share of each split.
        groups: what must not be torn: columns such as ``group``, ``attr.patient``.
        duplicates: images that are the same, or nearly so, must not be torn either.
        stratify: ``category``, a column of samples, or None.
        seed: equal seeds give equal splits.
        into: keep it as a view per split (``NAMEtrain``…), as the derived column ``col.NAME``
            (``split`` where no name is given), or not at all.
        name: see ``into``.
        images, layer, workers, scheduler, progress: as ``dedup`` has them.

    Raises:
        StoreError: no store.
        ExistsError: a view exists; nothing was computed.
        UsageError: fractions that cannot be.
        UnknownNameError: no such column or layer.
    """
    if into not in ("views", "column", None):
        raise UsageError(f"into is {into!r}; it must be views, column or None")
    dataset = opened_store(given, images, layer)
    views = [f"{name}{part}" for part in fractions] if into == "views" else []
    if views:
        free_view(dataset, *views)
    kept: list[Grouping] = list(groups)
    if duplicates:
        with executor(workers, scheduler) as running:
            found = find_duplicates(
                dataset, within_groups=True, executor=running, progress=progress
            )
        dataset = found.dataset
        kept.append(found)
    result = group_split(dataset, fractions, groups=kept, stratify=stratify, seed=seed)
    if into == "views":
        return Splitting(result.save_views(dataset, name), result, views)
    if into == "column":
        name = name or "split"
        return Splitting(result.save_column(dataset, name), result, (), name)
    return Splitting(dataset, result)


def leakage(
    given: Dataset | str | Path,
    split: str = "split",
    other: Dataset | str | Path | None = None,
    *,
    by: Sequence[str] = ("group",),
    exact: Sequence[str] = ("file", "pixels"),
    near: Near | None = "phash",
    radius: int = 6,
    similarity: float | None = 0.95,
    flips: bool = False,
    view: str | None = None,
    protect: Sequence[str] | None = None,
    images: str | Path | None = None,
    layer: str | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Leakage:
    """Find what is in several splits of a store, or in two stores.

    Args:
        given: a store, or its path.
        split: the column of splits; ``other``: another store to compare with instead.
        by, exact, near, radius, similarity, flips: see ``granum.curate.leakage.leakage``.
        view: save the samples without leaks as a view of this name (``Leakage.fixed``).
        protect: splits that keep their samples, the most important first.
        images, layer, workers, scheduler, progress: as ``dedup`` has them.

    Raises:
        StoreError: no store.
        ExistsError: the view exists; nothing was computed.
        UsageError: there are not two splits.
    """
    dataset = opened_store(given, images, layer)
    second = None if other is None else opened_store(other)
    if view is not None:
        free_view(dataset, view)
    with executor(workers, scheduler) as running:
        found = leaks.leakage(
            dataset,
            split,
            second,
            by=by,
            exact=exact,
            near=near,
            radius=radius,
            similarity=similarity,
            flips=flips,
            executor=running,
            progress=progress,
        )
    if view is not None:
        found.fixed(protect).save(found.dataset, view)
    return found
