"""Nearest neighbours, exactly; the graph of them as columns; how far from the others a row lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate._knn import Metric, nearest
from granum.curate.base import Column, DatasetScorer, scorers
from granum.curate.spaces import Of, present, vectors
from granum.errors import MissingExtraError, UsageError
from granum.store.columns import column_identity
from granum.store.dataset import Dataset

__all__ = ["Graph", "Knn", "Outlier", "among", "graph", "knn"]

Backend = Literal["auto", "numpy", "faiss"]


class Graph(NamedTuple):
    """The nearest neighbours of each row, nearest first.

    Attributes:
        indices: rows, shape (n, k); -1 where there are fewer, or the row has no vector.
        distances: shape (n, k), ascending; infinite there.
    """

    indices: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float32]


def knn(
    vectors: npt.ArrayLike,
    k: int,
    *,
    metric: Metric = "cosine",
    queries: npt.ArrayLike | None = None,
    backend: Backend = "auto",
) -> Graph:
    """The ``k`` nearest rows of each row, or of each query; exact, and equal for every backend.

    A row is not its own neighbour. Of rows equally far, the lower one comes first. Memory beside
    the input is bounded (about 200 MB).

    Args:
        vectors: shape (n, d), finite; with ``cosine``, none of length 0.
        k: how many; fewer where there are fewer.
        metric: ``cosine`` (1 - cosine) or ``l2`` (Euclidean).
        queries: shape (m, d), of which the neighbours are asked for (default: ``vectors``).
        backend: ``faiss`` proposes candidates, ``numpy`` does all; ``auto`` takes faiss where it is
            installed and there is enough to do.

    Returns:
        Indices of shape (n or m, min(k, available)), and distances.

    Raises:
        UsageError: no such vectors, or k below 1.
        MissingExtraError: ``backend`` is faiss and it is not installed.
    """
    rows = _checked(vectors, metric)
    asked = None if queries is None else _checked(queries, metric)
    if k < 1:
        raise UsageError(f"k must be at least 1, not {k}")
    if asked is not None and asked.shape[1] != rows.shape[1]:
        raise UsageError(f"queries have {asked.shape[1]} dimensions, the vectors {rows.shape[1]}")
    return Graph(*nearest(rows, asked, k, metric, _with_faiss(backend, len(rows))))


def _checked(given: npt.ArrayLike, metric: Metric) -> npt.NDArray[np.float32]:
    rows = np.asarray(given, np.float32)
    if rows.ndim != 2:
        raise UsageError(f"vectors must be of shape (n, d), not {rows.shape}")
    if metric not in ("cosine", "l2"):
        raise UsageError(f"metric is {metric!r}; it must be cosine or l2")
    if not np.isfinite(rows).all():
        raise UsageError("vectors must be finite: leave out rows that have none")
    if metric == "cosine" and not rows.any(axis=1).all():
        raise UsageError("a vector of length 0 has no direction: leave such rows out, or use l2")
    return rows


_ENOUGH = 8192


def _with_faiss(backend: Backend, n: int) -> bool:
    from importlib.util import find_spec

    if backend not in ("auto", "numpy", "faiss"):
        raise UsageError(f"backend is {backend!r}; it must be auto, numpy or faiss")
    if backend == "numpy" or (backend == "auto" and n < _ENOUGH):
        return False
    found = find_spec("faiss") is not None
    if backend == "faiss" and not found:
        raise MissingExtraError("knn by faiss", "knn", "faiss-cpu")
    return found


def graph(
    dataset: Dataset,
    space: str,
    k: int,
    *,
    metric: Metric = "cosine",
    of: Of = "samples",
) -> Graph:
    """The neighbours of every row of a dataset: those that are stored, where the columns of
    ``knn`` were made from this very space with as many neighbours, else computed."""
    stored = _stored(dataset, space, k, metric) if of == "samples" else None
    if stored is not None:
        return stored
    return among(vectors(dataset, space, of), k, metric)


def among(rows: npt.NDArray[np.float32], k: int, metric: Metric = "cosine") -> Graph:
    """As ``knn``, of rows of which some have no vector, always ``k`` wide: -1 and infinity where
    there is no neighbour."""
    there = np.flatnonzero(present(rows)) if rows.size else np.empty(0, np.int64)
    indices = np.full((len(rows), k), -1, np.int64)
    distances = np.full((len(rows), k), np.inf, np.float32)
    if len(there) > 1:
        near, far = knn(rows[there], k, metric=metric)
        indices[there, : near.shape[1]] = there[near]
        distances[there, : near.shape[1]] = far
    return Graph(indices, distances)


def _stored(dataset: Dataset, space: str, k: int, metric: Metric) -> Graph | None:
    from granum.curate.score import identities

    names = list(Knn(space).given())
    identity, other = (column_identity(dataset, name) for name in names)
    if identity is None or other is None:
        return None
    made = identity["parameters"]
    wanted = Knn(space, int(made["k"]), metric)
    fresh = identities(dataset, wanted)
    if made["k"] < k or [identity, other] != [fresh[name] for name in names]:
        return None
    table = dataset.samples([f"col.{name}" for name in names])
    indices = _block(table.column(0), np.nan)[:, :k]
    return Graph(
        np.where(np.isnan(indices), -1, indices).astype(np.int64),
        _block(table.column(1), np.inf)[:, :k].astype(np.float32),
    )


def _block(column: pa.ChunkedArray, absent: float) -> npt.NDArray[np.float64]:
    """A column of fixed-size lists as numbers, ``absent`` for null lists and null entries."""
    pieces = []
    for chunk in column.chunks:
        width = chunk.type.list_size
        flat = chunk.values.slice(chunk.offset * width, len(chunk) * width)
        rows = np.asarray(flat.cast(pa.float64()).fill_null(absent)).reshape(-1, width).copy()
        rows[np.asarray(chunk.is_null())] = absent
        pieces.append(rows)
    return np.concatenate(pieces) if pieces else np.empty((0, 0))


def _named(column: str, space: str) -> str:
    """Columns of several spaces stand beside each other."""
    return f"{column}.{space.removeprefix('col.')}"


@scorers("knn")
@dataclass(frozen=True)
class Knn(DatasetScorer):
    """The nearest neighbours of each sample: a graph that other methods read, as the columns
    ``knn.SPACE`` and ``knn_distance.SPACE``.

    Attributes:
        space: the vectors.
        k: how many neighbours.
        metric: ``cosine`` or ``l2``.
    """

    space: str = "descriptors"
    k: int = 10
    metric: Metric = "cosine"

    name = "knn"

    def reads(self) -> Sequence[str]:
        return (self.space,)

    def given(self) -> Mapping[str, Column]:
        return {
            _named("knn", self.space): Column(
                f"dataset rows of the nearest neighbours in {self.space}, nearest first",
                type=pa.list_(pa.uint32(), self.k),
            ),
            _named("knn_distance", self.space): Column(
                f"their distances ({self.metric})",
                range=(0.0, None),
                type=pa.list_(pa.float32(), self.k),
            ),
        }

    def score(self, dataset: Dataset) -> Mapping[str, pa.Array]:
        indices, distances = graph(dataset, self.space, self.k, metric=self.metric)
        absent = indices < 0
        made = (
            _lists(indices.clip(0), absent, pa.uint32()),
            _lists(distances, absent, pa.float32()),
        )
        return dict(zip(self.given(), made, strict=True))


def _lists(
    values: npt.NDArray[np.int64] | npt.NDArray[np.float32],
    absent: npt.NDArray[np.bool_],
    kind: pa.DataType,
) -> pa.Array:
    """Fixed-size lists; null entries where absent, null lists where all of them are."""
    child = pa.array(values.reshape(-1), mask=absent.reshape(-1)).cast(kind)
    none = pa.array(absent.all(axis=1))
    return pa.FixedSizeListArray.from_arrays(child, values.shape[1], mask=none)


@scorers("outlier")
@dataclass(frozen=True)
class Outlier(DatasetScorer):
    """How much each sample lies among others: exp(-d / s), with d the mean distance to its ``k``
    nearest neighbours and s the median of d over the dataset (Kuan and Mueller, "Back to the
    basics: revisiting out-of-distribution detection baselines", 2022; as in cleanlab). The column
    is ``inlier.SPACE``.

    Attributes:
        space: the vectors.
        k: how many neighbours.
        metric: ``cosine`` or ``l2``.
    """

    space: str = "descriptors"
    k: int = 10
    metric: Metric = "cosine"

    name = "outlier"

    def reads(self) -> Sequence[str]:
        return (self.space,)

    def given(self) -> Mapping[str, Column]:
        about = f"how much an image lies among others in {self.space}: low is an outlier"
        return {_named("inlier", self.space): Column(about, better="higher", range=(0.0, 1.0))}

    def score(self, dataset: Dataset) -> Mapping[str, pa.Array]:
        found = graph(dataset, self.space, self.k, metric=self.metric)
        return {_named("inlier", self.space): _inlier(found)}


def _inlier(found: Graph) -> pa.Array:
    there = found.indices >= 0
    counts = there.sum(axis=1)
    known = counts > 0
    sums = np.where(there, found.distances, 0).astype(np.float64).sum(axis=1)
    mean = sums / np.maximum(counts, 1)
    scale = float(np.median(mean[known])) if known.any() else 0.0
    # Where most rows are duplicates the median is 0: then anything apart is an outlier.
    score = np.exp(-mean / scale) if scale > 0 else (mean == 0).astype(np.float64)
    return pa.array(score.astype(np.float32), mask=~known)
