"""A result as Markdown tables, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from granum.metrics.base import Result

__all__ = ["markdown"]


def markdown(result: Result) -> str:
    """Values, each with its interval; then the difference to another run; then the slices."""
    blocks = [_values(result)]
    if result.difference is not None:
        blocks.append(_difference(result.difference, result.facts.get("against", "")))
    blocks += [_slices(column, table) for column, table in result.slices.items()]
    return "\n\n".join(blocks)


def _values(result: Result) -> str:
    if result.intervals is None:
        plain = [(name, _shown(value)) for name, value in result.values.items()]
        return _table([result.protocol, ""], plain)
    spans = {row["name"]: row for row in result.intervals.to_pylist()}
    rows = [
        (name, _shown(value), *(_shown(spans.get(name, {}).get(end)) for end in ("low", "high")))
        for name, value in result.values.items()
    ]
    return _table([result.protocol, "", "low", "high"], rows)


def _difference(table: pa.Table, other: str) -> str:
    heads = ("value", "other", "difference", "low", "high", "above")
    rows = [(row["name"], *(_shown(row[h]) for h in heads)) for row in table.to_pylist()]
    return _table([f"against {other}".rstrip(), *heads], rows)


def _slices(column: str, table: pa.Table) -> str:
    names = [n for n in table.column_names if n != "slice"]
    rows = [
        ("(none)" if row["slice"] is None else row["slice"], *(_shown(row[n]) for n in names))
        for row in table.to_pylist()
    ]
    return _table([column, *names], rows)


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.6g}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [_line(heads), "|" + "---|" * len(heads), *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Sequence[Any]) -> str:
    texts = [" ".join(str(cell).replace("|", "\\|").split()) for cell in cells]
    return "|" + "".join(f" {text} |" if text else " |" for text in texts)
