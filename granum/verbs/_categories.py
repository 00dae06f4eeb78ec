"""Categories of two datasets: which is which, where their facts differ, which names look alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

import pyarrow as pa

from granum.schema import rows, tables
from granum.schema.rows import Category
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = [
    "FACTS",
    "keypoint_categories",
    "look_alikes",
    "match",
    "other_facts",
    "read_categories",
    "table_of",
    "title",
    "unite",
]

FACTS = tuple(f.name for f in fields(Category) if f.name not in ("name", "space"))


def read_categories(table: pa.Table) -> list[Category]:
    """The rows of a category table."""
    return rows.categories_from_table(table)


def table_of(categories: Sequence[Category]) -> pa.Table:
    """The table of category rows."""
    return rows.objects_to_table(categories, tables.CATEGORIES)


def title(category: Category) -> tuple[str, str]:
    """What names a category: its space (``object`` where none is stated) and its name."""
    return category.space or "object", category.name


def match(a: Sequence[Category], b: Sequence[Category]) -> list[int | None]:
    """For each category of ``b`` the row of ``a`` with its space and name, or None.

    Where a name occurs several times, equal source ids go together first, then the order counts;
    no row of ``a`` is taken twice.
    """
    free: dict[tuple[str, str], list[int]] = {}
    for i, category in enumerate(a):
        free.setdefault(title(category), []).append(i)
    out: list[int | None] = [None] * len(b)
    for by_id in (True, False):
        for j, category in enumerate(b):
            listed = free.get(title(category), [])
            found = next(
                (i for i in listed if not by_id or a[i].source_id == category.source_id), None
            )
            if out[j] is None and found is not None:
                out[j] = found
                listed.remove(found)
    return out


def parent_titles(category: Category, among: Sequence[Category]) -> list[tuple[str, str, str]]:
    """Parents by space, name and relation, so that they compare across datasets."""
    listed = category.parents or []
    return sorted((*title(among[p["index"]]), str(p["relation"])) for p in listed)


def other_facts(
    a: Category, b: Category, all_a: Sequence[Category], all_b: Sequence[Category]
) -> dict[str, tuple[Any, Any]]:
    """Facts of two rows that differ (where one says nothing, too), as (of a, of b)."""
    out = {}
    for name in FACTS:
        x, y = getattr(a, name), getattr(b, name)
        if name == "parents":
            same = parent_titles(a, all_a) == parent_titles(b, all_b) and (x is None) == (y is None)
        else:
            same = x == y
        if not same:
            out[name] = (x, y)
    return out


def unite(first: Category, other: Category) -> tuple[Category, dict[str, tuple[Any, Any]]]:
    """The first with what it does not state filled from the other (source ids apart), and the
    facts in which they differ, as (kept, left)."""
    filled, conflicts = {}, {}
    for name in FACTS:
        x, y = getattr(first, name), getattr(other, name)
        if y is None or x == y:
            continue
        if x is not None:
            conflicts[name] = (x, y)
        elif name != "source_id":
            filled[name] = y
    return replace(first, **filled), conflicts


def keypoint_categories(dataset: Dataset) -> set[int]:
    """Categories that have annotations with keypoints, in any layer."""
    out: set[int] = set()
    for part in dataset.parts:
        for layer in dataset.meta.layers:
            table = part.layer(layer)
            keypoints = column(table, "keypoints")
            if keypoints.null_count < len(keypoints):
                of = column(table, "category").filter(keypoints.is_valid())
                out |= set(of.drop_null().unique().to_pylist())
    return out


def look_alikes(categories: Iterable[Category]) -> list[list[str]]:
    """Names of one space that differ only in case, blanks, underscores, hyphens or plural."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for category in categories:
        space, name = title(category)
        found.setdefault((space, re.sub(r"[\s_\-]+", "", name.casefold())), {})[name] = None
    for space, plain in sorted(found, key=lambda k: len(k[1])):
        endings = [plain + "s", plain + "es", *([plain[:-1] + "ies"] if plain[-1:] == "y" else [])]
        if len(plain) > 2 and (space, plain) in found:
            for plural in endings:
                found[space, plain] |= found.pop((space, plural), {})
    return [list(names) for names in found.values() if len(names) > 1]
