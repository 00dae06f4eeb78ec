"""Vendi scores: how many clearly different images a set holds, in effect.

Friedman and Dieng, "The Vendi score", TMLR 2023; any order: Pasarkar and Dieng, 2024. With the
cosine kernel, K/n of n images and the d x d matrix X'X/n of their vectors at length 1 have the same
eigenvalues but for zeros; so the score is exact in O(n d²) time and O(d²) memory, over any
number of parts. The score of order 2 is RKE (Jalali et al., 2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate.reduce import over_parts, tree_sum
from granum.curate.results import Summary
from granum.curate.spaces import of_part, present, unit_rows
from granum.curate.subsets import Subsets
from granum.errors import UsageError
from granum.schema.tables import column
from granum.store.columns import column_identity
from granum.store.dataset import Dataset
from granum.store.disk import fingerprint_of
from granum.store.executor import Executor

__all__ = ["Gram", "gram", "of_spectrum", "order_name", "vendi", "vendi_of"]

Floats = npt.NDArray[np.float64]

ORDERS = (1.0, 2.0, math.inf)

_BLOCK = 8192


@dataclass(frozen=True)
class Gram:
    """Sums over vectors of length 1: enough for every order; sums of two sets add up.

    Attributes:
        outer: sum of w x x', shape (d, d).
        weight: sum of w.
        n: how many vectors.
        absent: how many rows had none.
    """

    outer: Floats
    weight: float
    n: int
    absent: int = 0

    def __add__(self, other: Gram) -> Gram:
        if not self.outer.size or not other.outer.size:
            outer = self.outer if self.outer.size else other.outer
        else:
            outer = self.outer + other.outer
        return Gram(outer, self.weight + other.weight, self.n + other.n, self.absent + other.absent)

    def spectrum(self) -> Floats:
        """Eigenvalues of the kernel matrix over its trace, those above rounding, descending."""
        if not self.n or self.weight <= 0:
            return np.empty(0)
        found = np.linalg.eigvalsh(self.outer / self.weight)[::-1]
        found = found[found > len(found) * np.finfo(np.float64).eps * found[0]]
        return np.asarray(found / found.sum())


def gram(rows: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Gram:
    """The sums of some vectors, shape (n, d); rows without one (NaN, zeros) are counted apart.

    Raises:
        UsageError: a weight is negative or not finite.
    """
    given = np.asarray(rows)
    w = None if weights is None else np.asarray(weights, np.float64)
    if w is not None and (not np.isfinite(w).all() or (w < 0).any()):
        raise UsageError("weights must be finite and at least 0")
    total = tree_sum(_blocks(given, w), Gram.__add__)
    return total if total is not None else Gram(np.empty((0, 0)), 0.0, 0)


def _blocks(rows: npt.NDArray[Any], weights: Floats | None) -> Iterator[Gram]:
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        there = present(block)
        missing = int((~there).sum())
        unit = unit_rows(block[there] if missing else block)
        if weights is None:
            yield Gram(unit.T @ unit, float(len(unit)), len(unit), missing)
            continue
        w = weights[start : start + _BLOCK][there]
        unit *= np.sqrt(w)[:, None]
        yield Gram(unit.T @ unit, float(w.sum()), len(unit), missing)


def of_spectrum(eigenvalues: npt.ArrayLike, order: float) -> float | None:
    """The Hill number of an order of shares that sum to 1: exp(Rényi entropy).

    Args:
        eigenvalues: shares, positive.
        order: 0 or more; 0 counts them, 1 is exp(Shannon entropy), infinity 1 / the largest.

    Returns:
        The effective number, or None of no shares.

    Raises:
        UsageError: a negative order.
    """
    p = np.asarray(eigenvalues, np.float64)
    p = p[p > 0]
    if not order >= 0:
        raise UsageError(f"an order is 0 or more, not {order}")
    if not len(p):
        return None
    if order == 0:
        return float(len(p))
    if order == 1:
        return float(np.exp(-np.sum(p * np.log(p))))
    if math.isinf(order):
        return float(1 / p.max())
    # Over the largest share, so that no power underflows.
    top = p.max()
    log_sum = order * np.log(top) + np.log(np.sum((p / top) ** order))
    return float(np.exp(log_sum / (1 - order)))


def order_name(order: float) -> str:
    """``vendi_1``, ``vendi_0.5``, ``vendi_inf``."""
    return f"vendi_{order:g}"


def vendi_of(
    rows: npt.ArrayLike, orders: Sequence[float] = ORDERS, weights: npt.ArrayLike | None = None
) -> dict[float, float | None]:
    """Vendi scores of vectors, shape (n, d), with the cosine kernel; by order.

    Args:
        rows: the vectors; those of NaN or zeros are left out.
        orders: see ``of_spectrum``.
        weights: of the rows, any scale (the kernel becomes sqrt(p_i) K_ij sqrt(p_j)).
    """
    given = np.asarray(rows)
    if weights is None and given.ndim == 2 and len(given) < given.shape[1]:
        unit = unit_rows(given[present(given)])  # the kernel itself is the smaller matrix
        spectrum = Gram(unit @ unit.T, float(len(unit)), len(unit)).spectrum()
    else:
        spectrum = gram(given, weights).spectrum()
    return {q: of_spectrum(spectrum, q) for q in orders}


def vendi(
    dataset: Dataset,
    space: str = "descriptors",
    *,
    orders: Sequence[float] = ORDERS,
    by: str | None = None,
    weights: str | None = None,
    n_ref: int | None = None,
    repeats: int = 5,
    seed: int = 0,
    executor: Executor | None = None,
) -> Summary:
    """Vendi scores of a dataset, streamed over its parts.

    The score grows with the number of images until the set is exhausted: compare sets at an equal
    number (``n_ref``). Equal bits for any number of workers; part sizes move it by rounding only.

    Args:
        dataset: with the space's column.
        space: the vectors of the samples.
        orders: see ``of_spectrum``.
        by: also per value of this sample column, or per ``category`` (samples that hold it).
        weights: a sample column.
        n_ref: also the mean and standard deviation over subsets of so many samples.
        repeats: how many subsets.
        seed: of their choice.
        executor: where parts are worked on.

    Returns:
        ``values``: n, absent, ``vendi_ORDER`` and, with ``n_ref``, ``vendi_ORDER_at_N`` with its
        ``_sd``; table ``groups``, with ``by``: group, n and the orders.
    """
    checked = [float(q) for q in orders]
    states = over_parts(dataset, partial(_part, space, by, weights), executor)
    total = tree_sum(states, _added) or {}
    whole = total.pop(_ALL, Gram(np.empty((0, 0)), 0.0, 0))
    values: dict[str, Any] = {"n": whole.n, "absent": whole.absent}
    values |= _scores(whole, checked)
    if n_ref is not None:
        values |= _interval(dataset, space, checked, n_ref, repeats, seed)
    tables = {} if by is None else {"groups": _groups(dataset, by, total, checked)}
    identity = column_identity(dataset, space)
    made = {
        "space": space,
        "identity": None if identity is None else fingerprint_of(identity),
        "kernel": "cosine",
        "orders": [order_name(q) for q in checked],
        "weights": weights,
        "n_ref": n_ref,
        "repeats": repeats,
        "seed": seed,
    }
    return Summary(f"Vendi score ({space})", values, tables, made)


_ALL = ""
"""Key of the state of all samples; keys of groups begin with a colon."""

States = dict[str, Gram]


def _added(a: States, b: States) -> States:
    return {k: a[k] + b[k] if k in a and k in b else a.get(k) or b[k] for k in {**a, **b}}


def _scores(state: Gram, orders: Iterable[float]) -> dict[str, float | None]:
    spectrum = state.spectrum()
    return {order_name(q): of_spectrum(spectrum, q) for q in orders}


def _part(space: str, by: str | None, weights: str | None, dataset: Dataset, number: int) -> States:
    part = dataset.parts[number]
    rows = of_part(dataset, part, space)
    w = None
    if weights is not None:
        given = column(part.samples(), _named(part.samples(), weights))
        w = np.asarray(given.cast(pa.float64()).fill_null(0.0))
    states = {_ALL: gram(rows, w)}
    if by is not None:
        for name, chosen in _members(dataset, number, by):
            states[f":{name}"] = gram(rows[chosen], None if w is None else w[chosen])
    return states


def _named(table: pa.Table, name: str) -> str:
    from granum.schema.tables import SAMPLES

    derived = f"col.{name}"
    return derived if name not in SAMPLES.names and derived in table.column_names else name


def _members(dataset: Dataset, number: int, by: str) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """Values of a column in a part, and the samples (of the part) that have each."""
    part = dataset.parts[number]
    if by == "category":
        table = part.layer(dataset.meta.layer)
        rows = np.asarray(column(table, "sample").fill_null(-1), np.int64) - part.start
        keys = np.asarray(column(table, "category").fill_null(-1), np.int64)
        pairs = np.unique(np.column_stack([keys, rows])[(rows >= 0) & (keys >= 0)], axis=0)
        keys, rows = pairs[:, 0], pairs[:, 1]
        names: Callable[[int], str] = str  # the row: names need not be unique
    else:
        values = column(part.samples(), _named(part.samples(), by)).combine_chunks()
        coded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
        keys = np.asarray(coded.indices.fill_null(-1), np.int64)
        rows = np.flatnonzero(keys >= 0)
        keys = keys[rows]
        listed = coded.dictionary.to_pylist()
        names = lambda key: str(listed[key])  # noqa: E731
    for key in np.unique(keys).tolist():
        yield names(key), rows[keys == key]


def _groups(
    dataset: Dataset, by: str, states: Mapping[str, Gram], orders: Sequence[float]
) -> pa.Table:
    keys = [k[1:] for k in states]
    if by == "category":
        labels = dataset.category_names()
        keys.sort(key=int)
        shown = [labels[int(k)] for k in keys]
    else:
        keys.sort()
        shown = keys
    scores = [_scores(states[f":{k}"], orders) for k in keys]
    return pa.table(
        {
            by: pa.array(shown, pa.string()),
            "n": pa.array([states[f":{k}"].n for k in keys], pa.int64()),
            **{
                order_name(q): pa.array([s[order_name(q)] for s in scores], pa.float64())
                for q in orders
            },
        }
    )


def _interval(
    dataset: Dataset, space: str, orders: Sequence[float], n_ref: int, repeats: int, seed: int
) -> dict[str, float | None]:
    """Mean and standard deviation over random subsets."""
    if n_ref < 1 or repeats < 1:
        raise UsageError("n_ref and repeats must be at least 1")
    subsets = Subsets(dataset, space)
    found = [
        vendi_of(subsets.draw(n_ref, np.random.default_rng([seed, i])), orders)
        for i in range(repeats)
    ]
    out: dict[str, float | None] = {}
    for q in orders:
        scores = [s for f in found if (s := f[q]) is not None]
        name = f"{order_name(q)}_at_{n_ref}"
        out[name] = float(np.mean(scores)) if scores else None
        out[f"{name}_sd"] = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
    return out
