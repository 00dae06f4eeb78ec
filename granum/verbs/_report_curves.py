"""Curves of an evaluation as charts: precision over recall, confusion, and tables of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.browse import page
from granum.browse.charts import curve
from granum.verbs._report_asked import CHART

__all__ = ["curve_charts"]

Floats = npt.NDArray[np.float64]

_MOST_POINTS = 300
_MOST_LINES = 3
_MOST_CLASSES = 12
"""A matrix of confusion with more is a list of the most frequent confusions."""

_MOST_CONFUSIONS = 15
_GRID = np.linspace(0, 1, 101)

_AXES = {
    "roc": ("fpr", ("tpr",)),
    "reliability": ("confidence", ("accuracy",)),
    "error": ("flops", ("error",)),
    "events": ("", ()),  # a log: no lines
}
"""What is drawn over what, where the first columns do not say it."""


def curve_charts(curves: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[tuple[str, str]]:
    """A title and a drawing of each curve that can be drawn.

    Args:
        curves: tables by name, column by column, as ``Result.to_dict`` gives them; what is no
            number is None.
    """
    found = [_chart(name, pa.table(dict(columns))) for name, columns in curves.items()]
    return [chart for chart in found if chart is not None]


def _chart(name: str, table: pa.Table) -> tuple[str, str] | None:
    columns = set(table.column_names)
    if {"recall", "precision"} <= columns:
        return _precision(name, table)
    if {"truth", "predicted"} <= columns:
        return _confusion(name, table)
    x, lines = _axes(name, table)
    xs = _numbers(table, x) if x else np.empty(0)
    order = np.flatnonzero(np.isfinite(xs))
    if name in _AXES:
        order = order[np.argsort(xs[order], kind="stable")]
    elif len(order) < len(xs) or (np.diff(xs) < 0).any():
        return None  # a table whose first numbers do not rise is no curve over them
    if len(order) < 2 or not lines:
        return None
    at = order[np.unique(np.linspace(0, len(order) - 1, _MOST_POINTS).astype(np.int64))]
    drawn = {y: (xs[at].tolist(), _numbers(table, y)[at].tolist()) for y in lines}
    if name == "reliability":
        drawn["as confident"] = ([0.0, 1.0], [0.0, 1.0])
    return f"{name}: {', '.join(lines)} over {x}", curve(drawn, x=x, width=CHART)


def _axes(name: str, table: pa.Table) -> tuple[str, Sequence[str]]:
    """The column of the one axis, and those of the other."""
    numeric = [
        f.name for f in table.schema if pa.types.is_floating(f.type) or pa.types.is_integer(f.type)
    ]
    if name in _AXES:
        x, lines = _AXES[name]
        if name == "error" and table.num_rows and table["flops"].null_count:
            x = "after"
        return (x, lines) if {x, *lines} <= set(numeric) else ("", ())
    floats = [n for n in numeric[1:] if pa.types.is_floating(table.schema.field(n).type)]
    return (numeric[0], floats[:_MOST_LINES]) if numeric else ("", ())


def _numbers(table: pa.Table, name: str) -> Floats:
    """A column, NaN where it has none."""
    values = table[name].cast(pa.float64()).to_pylist()
    return np.array([np.nan if v is None else v for v in values], np.float64)


def _precision(name: str, table: pa.Table) -> tuple[str, str] | None:
    """Mean precision of the classes at each recall: the best that is reached there or beyond; at
    three thresholds of IoU where there are any."""
    recall, precision = _numbers(table, "recall"), _numbers(table, "precision")
    iou = _numbers(table, "iou") if "iou" in table.column_names else None
    category = table["category"].to_pylist() if "category" in table.column_names else None
    rank = np.unique([str(c) for c in category or [""] * len(recall)], return_inverse=True)[1]
    known = np.isfinite(recall) & (precision >= 0)  # -1: a class without truth
    lines = {}
    for threshold in (None,) if iou is None else (0.5, 0.75, 0.95):
        chosen = known if iou is None else known & (np.abs(iou - (threshold or 0)) < 1e-6)
        classes = np.unique(rank[chosen])
        each = [
            _reached(recall[at], precision[at]) for at in (chosen & (rank == c) for c in classes)
        ]
        if each:
            title = "precision" if threshold is None else f"IoU {threshold}"
            lines[title] = (_GRID.tolist(), np.mean(each, axis=0).tolist())
    if not lines:
        return None
    return f"{name} over recall, mean of classes", curve(lines, x="recall", width=CHART)


def _reached(recall: Floats, precision: Floats) -> Floats:
    """The highest precision at each recall of the grid or beyond; 0 where it is not reached."""
    order = np.argsort(recall, kind="stable")
    best = np.maximum.accumulate(precision[order][::-1])[::-1]
    at = np.searchsorted(recall[order], _GRID - 1e-9)
    return np.append(best, 0.0)[np.minimum(at, len(best))]


def _confusion(name: str, table: pa.Table) -> tuple[str, str] | None:
    """How many of each class were taken for which; of many classes the most frequent mistakes."""
    counts = [n for n in table.column_names if n not in ("truth", "predicted")][:1]
    if not counts or not table.num_rows:
        return None
    rows = [
        ("(none)" if t is None else str(t), "(none)" if p is None else str(p), n or 0)
        for t, p, n in zip(
            *(table[c].to_pylist() for c in ("truth", "predicted", *counts)), strict=True
        )
    ]
    classes = list(dict.fromkeys([*(r[0] for r in rows), *(r[1] for r in rows)]))
    if len(classes) > _MOST_CLASSES:
        wrong = sorted((r for r in rows if r[0] != r[1]), key=lambda r: (-r[2], r[0], r[1]))
        shown = [list(r) for r in wrong[:_MOST_CONFUSIONS]]
        return f"{name}: the most frequent", page.table(shown, ["truth", "predicted", *counts])
    cells = {(t, p): n for t, p, n in rows}
    lines = [[t, *(cells.get((t, p), 0) for p in classes)] for t in classes]
    return f"{name}: {counts[0]} of each class (rows) by prediction", page.table(
        lines, ["", *classes]
    )
