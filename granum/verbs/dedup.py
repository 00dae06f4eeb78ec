"""Dedup: duplicates of a store found, and what is left kept as a view or as a store of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from granum.curate import duplicates as engine
from granum.curate._fingerprints import Near
from granum.curate.duplicates import KEEP, Duplicates
from granum.store.dataset import Dataset
from granum.store.executor import executor
from granum.verbs._stores import free_path, free_view, opened_store

__all__ = ["Deduplication", "dedup"]


@dataclass(frozen=True)
class Deduplication:
    """What a deduplication found and wrote.

    Attributes:
        dataset: the store, with its new columns (and view).
        found: the duplicates.
        view: name of the view of the kept samples, or None.
        out: path of the store of the kept samples, or None.
    """

    dataset: Dataset
    found: Duplicates
    view: str | None = None
    out: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**self.found.to_dict(), "view": self.view, "out": self.out}

    def table(self, examples: int = 10) -> str:
        """For people."""
        lines = [self.found.table(examples)]
        for what, name in (("view", self.view), ("store", self.out)):
            if name is not None:
                lines.append(f"{len(self.found.selection)} samples kept in the {what} {name}")
        return "\n".join(lines)


def dedup(
    given: Dataset | str | Path,
    *,
    exact: Sequence[str] = ("file", "pixels"),
    near: Near | None = "phash",
    radius: int = 6,
    similarity: float | None = 0.95,
    flips: bool = False,
    within_groups: bool = False,
    keep: Sequence[str] = KEEP,
    view: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    images: str | Path | None = None,
    layer: str | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Deduplication:
    """Find the duplicates of a store; nothing is removed from it.

    Args:
        given: a store, or its path.
        exact, near, radius, similarity, flips, within_groups, keep: see
            ``granum.curate.duplicates.duplicates``.
        view: save the samples that are kept as a view of this name, with the reason of each drop.
        out: save them as a store of their own.
        overwrite: replace ``out``.
        images: where the images are now, if they moved.
        layer: whose annotations count when one of a group is chosen.
        workers: processes.
        scheduler: address of a Dask cluster instead.
        progress: called with the number of samples of each part that is done.

    Raises:
        StoreError: no store.
        ExistsError: the view or the new store exists; nothing was computed.
        UsageError: an unknown criterion.
    """
    dataset = opened_store(given, images, layer)
    free_path(out, overwrite)
    if view is not None:
        free_view(dataset, view)
    with executor(workers, scheduler) as running:
        found = engine.duplicates(
            dataset,
            exact=exact,
            near=near,
            radius=radius,
            similarity=similarity,
            flips=flips,
            within_groups=within_groups,
            keep=keep,
            executor=running,
            progress=progress,
        )
    dataset = found.dataset
    if out is not None:
        found.selection.apply(dataset).save(out, overwrite=overwrite)
    if view is not None:
        dataset = found.selection.save(dataset, view)
    return Deduplication(dataset, found, view, None if out is None else str(out))
