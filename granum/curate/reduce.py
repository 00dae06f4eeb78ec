"""Work over the parts of a dataset whose results are added up: the same bits wherever it ran."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

from granum.store.dataset import Dataset
from granum.store.executor import Executor
from granum.store.opening import open_dataset

__all__ = ["over_parts", "tree_sum"]

R = TypeVar("R")


def over_parts(
    dataset: Dataset, work: Callable[[Dataset, int], R], executor: Executor | None = None
) -> Iterator[R]:
    """``work(dataset, number of a part)`` for every part, in order.

    Args:
        dataset: a store; a selection or a dataset in memory is worked on here, whatever the
            executor, for its parts do not travel.
        work: picklable where processes share it.
        executor: where it runs.
    """
    numbers = range(len(dataset.parts))
    store = dataset.meta.store
    if executor is None or not executor.remote or store is None:
        return (work(dataset, number) for number in numbers)
    meta = dataset.meta
    roots = (meta.media_root, meta.map_root)
    job = partial(_remote, str(store.path.resolve()), meta.layer, roots, work)
    return executor.map(job, numbers)


def _remote(
    path: str,
    layer: str,
    roots: tuple[str | None, str | None],
    work: Callable[[Dataset, int], R],
    number: int,
) -> R:
    dataset = open_dataset(path, media_root=roots[0], map_root=roots[1])
    return work(dataset.layer(layer), number)


def tree_sum(items: Iterable[R], add: Callable[[R, R], R]) -> R | None:
    """The sum in the shape of a balanced binary tree over the items' order.

    Floating-point sums hang on their order; this one hangs on the number of items alone, and its
    rounding grows with the logarithm of it. Holds one partial sum per level.

    Returns:
        The sum, or None of nothing.
    """
    levels: list[tuple[int, Any]] = []
    for item in items:
        height, total = 0, item
        while levels and levels[-1][0] == height:
            total = add(levels.pop()[1], total)
            height += 1
        levels.append((height, total))
    if not levels:
        return None
    _, total = levels.pop()
    while levels:
        total = add(levels.pop()[1], total)
    return total  # type: ignore[no-any-return]
