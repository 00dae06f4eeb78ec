"""What a measure of a whole dataset gives: numbers and tables, for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

__all__ = ["Summary"]


@dataclass(frozen=True)
class Summary:
    """Numbers and tables of a dataset.

    Attributes:
        title: what was measured.
        values: number, text or None (undefined) by name.
        tables: rows by name.
        made: what it was made from: columns, parameters, seed.
    """

    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)

    def to_arrow(self) -> dict[str, pa.Table]:
        """All tables, and the values as one of ``name`` and ``value`` (where they are numbers)."""
        numbers = {
            k: float(v)
            for k, v in self.values.items()
            if isinstance(v, int | float) and not isinstance(v, bool)
        }
        listed = pa.table(
            {
                "name": pa.array(list(numbers), pa.string()),
                "value": pa.array(list(numbers.values()), pa.float64()),
            }
        )
        return {"values": listed, **self.tables}

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable; undefined numbers are None."""
        return {
            "title": self.title,
            "values": {k: _plain(v) for k, v in self.values.items()},
            "tables": {
                k: [{n: _plain(v) for n, v in row.items()} for row in t.to_pylist()]
                for k, t in self.tables.items()
            },
            "made": dict(self.made),
        }

    def markdown(self, rows: int = 20) -> str:
        """For people; at most ``rows`` of each table."""
        lines = [f"## {self.title}", ""]
        lines += [f"- {name}: {_shown(value)}" for name, value in self.values.items()]
        for name, table in self.tables.items():
            lines += ["", f"### {name}", "", *_table(table, rows)]
        return "\n".join(lines) + "\n"


def _table(table: pa.Table, rows: int) -> list[str]:
    names = table.column_names
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for row in table.slice(0, rows).to_pylist():
        cells = [_shown(row[n]).replace("|", "\\|") for n in names]
        lines.append("| " + " | ".join(cells) + " |")
    if table.num_rows > rows:
        lines += ["", f"… and {table.num_rows - rows} more"]
    return lines


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
