"""Exact nearest neighbours in blocks of bounded memory.

Distances are rounded to float32 and compared together with the row's number, as one integer: so
ties go to the lower row, and the answer does not hang on blocks, backends or threads.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Metric", "nearest"]

Metric = Literal["cosine", "l2"]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

_QUERIES, _ROWS = 512, 8192
_SNAP = 1e-11
"""Squared distances below this (relative to the squared lengths) are rounding: equal rows."""

_MORE = 16
"""Candidates beyond ``k`` that faiss is asked for."""


def nearest(
    rows: Floats, queries: Floats | None, k: int, metric: Metric, with_faiss: bool
) -> tuple[Rows, Floats]:
    """See ``neighbours.knn``, which checks the arguments."""
    own = queries is None
    k = min(k, len(rows) - own)
    asked = rows if queries is None else queries
    if k < 1:
        return np.empty((len(asked), 0), np.int64), np.empty((len(asked), 0), np.float32)
    if metric == "cosine":
        rows = _unit(rows)
        asked = rows if own else _unit(asked)
    squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    index = _index(rows) if with_faiss else None
    found = []
    for start in range(0, len(asked), _QUERIES):
        block = asked[start : start + _QUERIES]
        self_rows = np.arange(start, start + len(block)) if own else None
        if index is None:
            chosen = _scan(rows, squares, block, k, self_rows)
        else:
            chosen = _proposed(index, rows, squares, block, k, self_rows)
        found.append(_sorted(rows, block, chosen, metric))
    if not found:
        return np.empty((0, k), np.int64), np.empty((0, k), np.float32)
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def _unit(rows: Floats) -> Floats:
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    return (rows / length[:, None]).astype(np.float32)


def _keys(squared: npt.NDArray[Any], rows: npt.NDArray[Any]) -> Keys:
    """Distance and row as one integer: non-negative floats order as their bits do."""
    bits = np.asarray(squared, np.float32).view(np.uint32).astype(np.uint64)
    return (bits << np.uint64(32)) | rows.astype(np.uint64)


def _scan(
    rows: Floats,
    squares: npt.NDArray[np.float64],
    block: Floats,
    k: int,
    self_rows: Rows | None,
) -> Rows:
    """The ``k`` nearest rows of each query, in no order: all rows are looked at."""
    wide = block.astype(np.float64)
    lengths = np.einsum("ij,ij->i", wide, wide)
    best = np.full((len(block), k), np.iinfo(np.uint64).max, np.uint64)
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS].astype(np.float64)
        sums = lengths[:, None] + squares[None, start : start + len(part)]
        squared = sums - 2.0 * (wide @ part.T)
        squared[squared < _SNAP * sums] = 0.0
        if self_rows is not None:
            mine = np.flatnonzero((self_rows >= start) & (self_rows < start + len(part)))
            squared[mine, self_rows[mine] - start] = np.inf
        best = _merged(best, squared, start)
    return np.asarray(best & np.uint64(0xFFFFFFFF), np.int64)


def _merged(best: Keys, squared: npt.NDArray[np.float64], start: int) -> Keys:
    """The smallest keys of ``best`` and a block of distances, per query, ascending."""
    n, k = best.shape
    worst = (best[:, -1] >> np.uint64(32)).astype(np.uint32).view(np.float32)
    full = np.isfinite(worst)
    if not full.all():
        keys = _keys(squared, np.arange(start, start + squared.shape[1])[None, :])
        joined = np.concatenate([best, keys], axis=1)
        return np.sort(np.partition(joined, k - 1, axis=1)[:, :k], axis=1)
    # Blocks come in order, so one that is as far as the worst has a higher row: it is no better.
    query, column = np.nonzero(squared.astype(np.float32) < worst[:, None])
    new = _keys(squared[query, column], column + start)
    owner = np.concatenate([np.repeat(np.arange(n), k), query])
    keys = np.concatenate([best.ravel(), new])
    order = np.lexsort([keys, owner])
    counts = np.bincount(owner, minlength=n)
    first = np.cumsum(counts) - counts
    return keys[order][first[:, None] + np.arange(k)]


def _sorted(rows: Floats, block: Floats, chosen: Rows, metric: Metric) -> tuple[Rows, Floats]:
    """Chosen rows by their distance, computed anew from the differences."""
    apart = rows[chosen].astype(np.float64) - block[:, None, :]
    squared = np.einsum("ijk,ijk->ij", apart, apart)
    distance = (squared / 2 if metric == "cosine" else np.sqrt(squared)).astype(np.float32)
    keys = np.sort(_keys(distance, chosen), axis=1)
    far = (keys >> np.uint64(32)).astype(np.uint32).view(np.float32)
    return np.asarray(keys & np.uint64(0xFFFFFFFF), np.int64), far


def _index(rows: Floats) -> Any:
    import faiss

    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(np.ascontiguousarray(rows))
    return index


def _proposed(
    index: Any,
    rows: Floats,
    squares: npt.NDArray[np.float64],
    block: Floats,
    k: int,
    self_rows: Rows | None,
) -> Rows:
    """As ``_scan``, from candidates; queries for which they might not suffice are scanned."""
    count = min(k + 1 + _MORE, len(rows))
    rough, candidates = index.search(np.ascontiguousarray(block), count)
    apart = rows[candidates].astype(np.float64) - block[:, None, :]
    squared = np.einsum("ijk,ijk->ij", apart, apart)
    if self_rows is not None:
        squared[candidates == self_rows[:, None]] = np.inf
    keys = np.sort(_keys(squared, candidates), axis=1)[:, :k]
    chosen = np.asarray(keys & np.uint64(0xFFFFFFFF), np.int64)
    if count == len(rows):
        return chosen
    last = (keys[:, -1] >> np.uint64(32)).astype(np.uint32).view(np.float32)
    # A row that was not proposed is at least as far as the last candidate, less the rounding.
    lengths = np.einsum("ij,ij->i", block, block, dtype=np.float64)
    margin = 1e-5 * (lengths + float(squares.max()))
    doubtful = np.flatnonzero(rough[:, -1] - margin <= last)
    if len(doubtful):
        mine = None if self_rows is None else self_rows[doubtful]
        chosen[doubtful] = _scan(rows, squares, block[doubtful], k, mine)
    return chosen
