"""Of a report: numbers of diversity: those passed in, else what is cheap to count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from granum.browse import page
from granum.curate.grade import grade
from granum.curate.hill import hill
from granum.curate.results import Summary
from granum.curate.vendi import vendi
from granum.verbs._report_asked import Asked, plain

__all__ = ["diversity", "summary_blocks"]

MOST_VECTORS = 50_000
"""Of more samples no Vendi score is computed unasked."""

_ROWS = 15
_FIGURES = 10
_OF_GRADE = ("concept", "attribute", "n", "norm_entropy", "top_value", "top_share", "is_default")


def diversity(asked: Asked) -> list[str]:
    """Each summary: its numbers, and the first rows of its tables."""
    given = asked.statistics
    if given is None:
        return [b for s in cheap(asked) for b in summary_blocks(s.to_dict())]
    listed = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    return [b for one in listed for found in _summaries(plain(one)) for b in summary_blocks(found)]


def _summaries(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """One, or several by name, as ``granum stats`` gives them."""
    inner = list(found.values())
    several = inner and all(isinstance(v, Mapping) and "values" in v for v in inner)
    return inner if several else [found]


def cheap(asked: Asked) -> list[Summary]:
    """Hill numbers and GRADE of the annotations; Vendi scores of vectors that are stored."""
    dataset = asked.dataset
    if not dataset.num_annotations or not dataset.categories.num_rows:
        found = []
    else:
        found = [hill(dataset), grade(dataset)]
    if 1 < len(dataset) <= MOST_VECTORS:
        fields = {f.name: f.type for p in dataset.parts for f in p.samples().schema}
        spaces = [n.removeprefix("col.") for n, kind in fields.items() if _vectors(n, kind)]
        found += [vendi(dataset, space) for space in spaces]
    return [s for s in found if any(v for v in s.values.values())]


def _vectors(name: str, kind: pa.DataType) -> bool:
    return (
        name.startswith("col.")
        and not name.startswith("col.knn")
        and pa.types.is_fixed_size_list(kind)
        and pa.types.is_floating(kind.value_type)
    )


def summary_blocks(found: Mapping[str, Any]) -> list[str]:
    """Of ``Summary.to_dict``, or of a dictionary of numbers."""
    values = found.get("values", {k: v for k, v in found.items() if k not in ("title", "tables")})
    blocks = [page.heading(str(found["title"]))] if found.get("title") else []
    numbers = [(k, v) for k, v in values.items() if not isinstance(v, Mapping | list | tuple)]
    if len(numbers) <= _FIGURES:
        blocks.append(page.figures(numbers))
    else:
        blocks.append(page.table([list(pair) for pair in numbers], ["", "value"]))
    for name, rows in (found.get("tables") or {}).items():
        blocks += _table(name, rows)
    return blocks


def _table(name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    columns = list(rows[0])
    note = f"{name}: {len(rows)} rows"
    if set(_OF_GRADE) <= set(columns):
        columns = list(_OF_GRADE)
        rows = [r for r in rows if r["norm_entropy"] is not None]
        rows = sorted(rows, key=lambda r: (not r.get("is_default_sig"), r["norm_entropy"], -r["n"]))
        note += ", the surely one-sided first"
    if len(rows) > _ROWS:
        note += f"; {_ROWS} are shown"
    shown = [[_said(row.get(c)) for c in columns] for row in rows[:_ROWS]]
    return [page.text(note, soft=True), page.table(shown, columns)]


def _said(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value
