"""The vectors that a verb needs, made where a store lacks them."""

from __future__ import annotations

from granum.curate.base import Space, scorers
from granum.curate.score import score
from granum.errors import StoreError
from granum.store.dataset import Dataset
from granum.store.executor import Executor

__all__ = ["with_space"]


def with_space(dataset: Dataset, space: str, executor: Executor | None = None) -> Dataset:
    """The dataset with the column of a space.

    A store that lacks it gets it, where a scorer of that name makes it without further parameters;
    else the dataset is given back as it is, and whoever reads the column says that it is absent.

    Raises:
        StoreError: the vectors would have to be made, and there is no store to keep them.
    """
    name = space.removeprefix("col.")
    there = any(f"col.{name}" in p.samples().column_names for p in dataset.parts)
    if there or name not in scorers or name == "embedding":
        return dataset
    found = scorers[name]
    if not issubclass(found, Space) or found.of != "samples":
        return dataset
    if dataset.meta.store is None:
        raise StoreError(
            f"{name!r} is made from images and kept in a store: convert to .granum first"
        )
    layer = dataset.meta.layer
    return score(dataset, [name], executor=executor).layer(layer)
