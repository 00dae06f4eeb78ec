"""Stores given as themselves or by path, and names that are free, for verbs that add to a store."""

from __future__ import annotations

from pathlib import Path

from granum.errors import ExistsError, StoreError
from granum.store.additions import store_of
from granum.store.dataset import Dataset
from granum.store.disk import is_store
from granum.store.opening import open_dataset

__all__ = ["free_path", "free_view", "opened_store"]


def opened_store(
    given: Dataset | str | Path, images: str | Path | None = None, layer: str | None = None
) -> Dataset:
    """The dataset of a store, seen with ``layer``.

    Raises:
        StoreError: the path is no store.
        UnknownNameError: no such layer.
    """
    if isinstance(given, Dataset):
        dataset = given
    elif Path(given).exists() and not is_store(given):
        raise StoreError(
            f"{given} is no granum store; make one of it first: granum convert {given} NAME.granum"
        )
    else:
        dataset = open_dataset(given, media_root=images)
    return dataset if layer is None else dataset.layer(layer)


def free_view(dataset: Dataset, *names: str) -> None:
    """Check before long work that the store has no such views.

    Raises:
        ExistsError: it has one.
        StoreError: ``dataset`` is no whole store.
    """
    store = store_of(dataset)
    for name in names:
        if name in store.manifest["views"]:
            raise ExistsError(f"{store.path} has a view {name!r} already; choose another name")


def free_path(path: str | Path | None, overwrite: bool) -> None:
    """Check before long work that nothing would be overwritten.

    Raises:
        ExistsError: something is there, and ``overwrite`` was not asked for.
    """
    if path is not None and Path(path).exists() and not overwrite:
        raise ExistsError(f"{path} exists; --overwrite replaces it")
