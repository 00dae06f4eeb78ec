"""Where work over parts runs: here, in processes of this machine, or on a Dask cluster.

Results come in the order of the items, whatever finished first, so what is reduced from them does
not depend on where it ran.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from granum.errors import MissingExtraError, UsageError

__all__ = ["Executor", "executor"]

T = TypeVar("T")
R = TypeVar("R")


class Executor:
    """Runs in this process, one item after the other.

    Attributes:
        remote: whether function and items travel to other processes, and so must pickle.
    """

    remote = False

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """``function`` of every item, in order."""
        return map(function, items)


class _Processes(Executor):
    """Dask's scheduler over a pool of fresh processes."""

    remote = True

    def __init__(self, workers: int, pool: Any) -> None:
        self.workers, self.pool = workers, pool

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        import dask
        from dask.base import compute
        from dask.delayed import delayed

        waiting = iter(items)
        # A few items for each process at a time, so that results do not pile up.
        while batch := list(islice(waiting, 4 * self.workers)):
            tasks = [delayed(function, pure=False)(item) for item in batch]
            with dask.config.set(pool=self.pool, scheduler="processes"):
                yield from compute(*tasks, num_workers=self.workers)  # type: ignore[no-untyped-call]


class _Cluster(Executor):
    """A Dask cluster; the stores must lie where its workers see them."""

    remote = True

    def __init__(self, client: Any) -> None:
        self.client = client

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        waiting = iter(items)
        ahead = 4 * max(1, sum(self.client.ncores().values()))
        running = [self.client.submit(function, i, pure=False) for i in islice(waiting, ahead)]
        while running:
            yield running.pop(0).result()
            running += [self.client.submit(function, i, pure=False) for i in islice(waiting, 1)]


@contextmanager
def executor(workers: int = 1, scheduler: str | None = None) -> Iterator[Executor]:
    """An executor, and its processes while it is used.

    Args:
        workers: processes on this machine; 1 means none but this one.
        scheduler: address of a Dask cluster (``tcp://host:8786``) instead.

    Raises:
        MissingExtraError: a cluster is asked for and ``distributed`` is absent.
        UsageError: ``workers`` is below 1, or both are asked for.
    """
    if workers < 1:
        raise UsageError(f"workers must be at least 1, not {workers}")
    if scheduler is not None:
        if workers > 1:
            raise UsageError("workers and scheduler exclude each other: a cluster has its own")
        try:
            from distributed import Client
        except ImportError as error:
            raise MissingExtraError("a Dask cluster", "cluster", "distributed") from error
        with Client(scheduler, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            yield _Cluster(client)
    elif workers > 1:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        # Fresh processes: a fork would copy threads' locks of Arrow and BLAS in any state.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            yield _Processes(workers, pool)
    else:
        yield Executor()
