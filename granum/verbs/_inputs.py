"""Datasets given as themselves or by path, and what to call them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from granum.store.dataset import Dataset

__all__ = ["Given", "named", "opened", "some"]

Given = Dataset | str | Path


def opened(given: Given) -> Dataset:
    """The dataset itself, or what a store or a source of any format at that path holds."""
    if isinstance(given, Dataset):
        return given
    from granum.verbs.convert import read

    return read(given)


def named(given: Given, number: int) -> str:
    """A name: of the store or file it came from, else ``dataset-N``."""
    if not isinstance(given, Dataset):
        return _stem(Path(given).resolve().name)
    if given.meta.store is not None:
        return _stem(given.meta.store.path.resolve().name)
    source = given.meta.lineage[-1].get("source") if given.meta.lineage else None
    return _stem(source) if isinstance(source, str) and source else f"dataset-{number}"


def _stem(name: str) -> str:
    return name.removesuffix(".granum").removesuffix(".json") or name


def some(values: Sequence[object], total: int | None = None) -> str:
    """A few values for a sentence, with an ellipsis where there are more."""
    n = len(values) if total is None else total
    shown = values[:3]
    return ", ".join(map(str, shown)) + (" …" if n > len(shown) else "")
