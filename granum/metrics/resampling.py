"""Numbers of slices, intervals by the bootstrap, and the difference of two runs.

All of them weigh samples (or groups: videos, pairs) anew and count again by ``Result.recount``:
nothing is matched a second time. An interval is the percentile bootstrap over the protocol's
units (B. Efron: Bootstrap Methods, Annals of Statistics 7, 1979); two runs are compared on the same
draws, so what is common to both cancels out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UsageError
from granum.metrics.base import Recount, Result

__all__ = ["check_draws", "difference", "intervals", "slices"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def slices(result: Result, labels: Mapping[str, Any]) -> pa.Table:
    """The numbers of each part of the samples.

    Args:
        result: of an evaluation.
        labels: what each unit (key of a sample, or of a group) is; units that are not in it, and
            those whose label is None, are in the slice None.

    Returns:
        A row per label, sorted: ``slice``, ``units`` (how many), then a column per number. Null
        where a slice defines none.

    Raises:
        UsageError: the protocol cannot count again.
    """
    recount = _recount(result)
    texts: dict[str | None, Any] = {}  # what a slice is sorted by
    own = []
    for key in recount.keys.to_pylist():
        label = labels.get(key)
        own.append(None if label is None else _text(label))
        texts.setdefault(own[-1], _place(label))
    names = sorted(texts, key=texts.__getitem__)
    number = {name: i for i, name in enumerate(names)}
    of = np.array([number[text] for text in own], np.int64)
    rows = [recount.values((of == i).astype(np.int64)) for i in range(len(names))]
    columns: dict[str, Any] = {
        "slice": pa.array(names, pa.string()),
        "units": pa.array(np.bincount(of, minlength=len(names)), pa.int64()),
    }
    for value in _recounted(result, recount):
        columns[value] = pa.array([v.get(value) for v in rows], pa.float64())
    return pa.table(columns)


def _text(label: Any) -> str:
    """As JSON has it: True is ``true``."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def _place(label: Any) -> tuple[int, float, str]:
    """Numbers come first, in their order, then texts in theirs; what has no label is last."""
    if isinstance(label, int | float):
        return 0, float(label), _text(label)
    return (2, 0.0, "") if label is None else (1, 0.0, str(label))


def intervals(result: Result, *, draws: int = 1000, level: float = 0.95, seed: int = 0) -> pa.Table:
    """Between which numbers each value lies when the samples are drawn again.

    Args:
        result: of an evaluation.
        draws: how often as many samples are drawn, with replacement.
        level: share of the draws that lie in the interval.
        seed: equal seeds give equal draws.

    Returns:
        ``name, value, low, high, standard_error, draws`` (those in which the number was defined).
        Of fewer than two units there are no draws, and no interval.

    Raises:
        UsageError: the protocol cannot count again, or a number is out of its range.
    """
    recount = _recount(result)
    check_draws(draws, level)
    names = list(_recounted(result, recount))
    found = np.array(
        [
            [_number(v.get(name)) for name in names]
            for v in map(recount.values, _drawn(len(recount.keys), draws, seed))
        ]
    ).reshape(-1, len(names))
    # What is undefined as a whole has no interval, though some draws may define it.
    found[:, [result.values.get(n) is None for n in names]] = np.nan
    return pa.table(
        {
            "name": pa.array(names, pa.string()),
            "value": pa.array([result.values.get(n) for n in names], pa.float64()),
            **_spread(found, level),
        }
    )


def difference(
    result: Result,
    other: Result,
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> pa.Table:
    """How much larger each number of a second run is, on the same samples.

    Args:
        result, other: of evaluations by one protocol, with the same truth.
        draws, level, seed: as of :func:`intervals`; both runs see the same draws.

    Returns:
        ``name, value, other, difference`` (other - value), ``low, high, standard_error, draws``
        of it, and ``above``: the share of draws in which the other one is larger (ties half).

    Raises:
        UsageError: protocols, parameters or samples differ.
    """
    check_draws(draws, level)
    mine, theirs = _recount(result), _recount(other)
    for what in ("protocol", "parameters"):
        pair = [
            r.protocol if what == "protocol" else dict(r.facts.get("parameters") or {})
            for r in (result, other)
        ]
        if pair[0] != pair[1]:
            raise UsageError(f"the {what} of two runs differ: {pair[0]} and {pair[1]}")
    keys = [r.keys.cast(pa.string()).to_pylist() for r in (mine, theirs)]
    lost = sorted(set(keys[0]) ^ set(keys[1]))
    if lost:
        raise UsageError(
            f"two runs are compared on the same {mine.unit}s: {lost[0]!r} is in one of them only"
        )
    place = {key: i for i, key in enumerate(keys[0])}
    order = np.array([place[key] for key in keys[1]], np.int64)
    names = [n for n in _recounted(result, mine) if n in other.values]
    rows = []
    for weights in _drawn(len(keys[0]), draws, seed):
        a, b = mine.values(weights), theirs.values(weights[order])
        rows.append([_number(b.get(n)) - _number(a.get(n)) for n in names])
    found = np.array(rows, np.float64).reshape(-1, len(names))
    values = [[r.values.get(n) for n in names] for r in (result, other)]
    gained = [None if a is None or b is None else b - a for a, b in zip(*values, strict=True)]
    defined = ~np.isnan(found)
    above = ((found > 0) + 0.5 * (found == 0)).sum(axis=0) / np.maximum(defined.sum(axis=0), 1)
    return pa.table(
        {
            "name": pa.array(names, pa.string()),
            "value": pa.array(values[0], pa.float64()),
            "other": pa.array(values[1], pa.float64()),
            "difference": pa.array(gained, pa.float64()),
            **_spread(found, level),
            "above": pa.array(above, mask=~defined.any(axis=0)),
        }
    )


def _recount(result: Result) -> Recount:
    if result.recount is None:
        raise UsageError(
            f"{result.protocol} has nothing to count again: "
            "it gives no slices, intervals or comparisons of these data"
        )
    return result.recount


def _recounted(result: Result, recount: Recount) -> Iterator[str]:
    """The values that can be counted again, in the protocol's order."""
    known = recount.values(np.ones(len(recount.keys), np.int64))
    return (name for name in result.values if name in known)


def check_draws(draws: int, level: float) -> None:
    """
    Raises:
        UsageError: a number is out of its range.
    """
    if draws < 1:
        raise UsageError(f"draws (--bootstrap) is {draws}; it must be at least 1")
    if not 0 < level < 1:
        raise UsageError(f"level is {level}; it must be between 0 and 1")


def _drawn(n: int, draws: int, seed: int) -> Iterator[Ints]:
    """How often each of ``n`` units is drawn, ``draws`` times; never of a single one, whose draws
    would all be the same and look certain."""
    if n < 2:
        return
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.bincount(rng.integers(0, n, n), minlength=n).astype(np.int64)


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _spread(found: Floats, level: float) -> dict[str, pa.Array]:
    """Interval and standard error of each column, of the draws in which it is defined."""
    ends, errors = [], []
    for column in found.T:
        known = column[~np.isnan(column)]
        few = len(known) == 0
        ends.append(
            np.full(2, np.nan) if few else np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
        )
        errors.append(known.std(ddof=1) if len(known) > 1 else np.nan)
    low, high = np.array(ends).reshape(-1, 2).T
    columns = {"low": low, "high": high, "standard_error": np.array(errors, np.float64)}
    return {
        **{n: pa.array(v, pa.float64(), mask=np.isnan(v)) for n, v in columns.items()},
        "draws": pa.array((~np.isnan(found)).sum(axis=0), pa.int64()),
    }
