"""What a pair of dates says of change: a mask, and a class at each date where it changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError
from granum.metrics._maps.class_maps import ClassMap, Lookup, class_map
from granum.metrics._maps.drawn import (
    DrawnSample,
    OtherSizeError,
    add_fault,
    has_mask,
    is_whole_map,
)
from granum.metrics._maps.drawn_groups import DrawnGroup, Member
from granum.metrics._usable import rows_left_out
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column

__all__ = ["IGNORED", "SPACE", "Classes", "Pair", "pair_of"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SPACE = "change"
"""The label space of changes, as opposed to what is there at one date."""
IGNORED = -1


@dataclass(frozen=True)
class Classes:
    """The classes of a matrix: 0 unchanged, then the categories by their rows, then the unknown.

    Attributes:
        of: shape (categories,), the class of each category: its row + 1, 0 or ``IGNORED``.
        change: rows of the categories of the space ``change``.
        plain: values of label maps that mean unchanged, whether or not they are a category.
    """

    of: Ints
    change: tuple[int, ...]
    plain: tuple[int, ...]

    @classmethod
    def among(
        cls, categories: pa.Table, unchanged: Sequence[str], ignore: Sequence[str]
    ) -> Classes:
        """Names or source ids of the categories that mean unchanged, or are not counted."""
        names = categories["name"].to_pylist()
        ids = column(categories, "source_id", tables.CATEGORIES).to_pylist()
        spaces = column(categories, "space", tables.CATEGORIES).cast(pa.string()).to_pylist()
        of = np.arange(1, len(names) + 1)
        for i, both in enumerate(zip(names, ids, strict=True)):
            if set(both) & set(unchanged):
                of[i] = 0
            if set(both) & set(ignore):
                of[i] = IGNORED
        change = tuple(i for i, space in enumerate(spaces) if space == SPACE)
        plain = tuple(int(u) for u in unchanged if u.isdecimal())
        return cls(of, change, plain)

    @property
    def number(self) -> int:
        return len(self.of) + 2

    @property
    def unknown(self) -> int:
        """The class of predicted values that are no category."""
        return len(self.of) + 1


@dataclass
class Pair:
    """One side of a pair.

    Attributes:
        key: of the sample of the second date.
        changed: where it changed, shape (height, width); None where no row says it.
        kinds: the same of each category of change, by its row.
        ignored: pixels that do not count; None where there is none.
        dates: the class of each pixel at both dates; None where one of them has no map.
        rows: how many annotations say all this.
    """

    key: str
    changed: Mask | None = None
    kinds: dict[int, Mask] = field(default_factory=dict)
    ignored: Mask | None = None
    dates: tuple[Ints, Ints] | None = None
    rows: int = 0


def pair_of(
    group: DrawnGroup, classes: Classes, lookup: Lookup, who: str, masked: bool, found: Findings
) -> Pair | None:
    """What a side says; None, with findings, where it is no pair, or cannot be drawn.

    Args:
        group: the samples of roles ``t1`` and ``t2``, or else the first two by their order.
        classes: of the matrix.
        lookup: from values of label maps to categories.
        who: ``truth`` or ``predictions``.
        masked: pixels outside the mask of change are unchanged at both dates.
        found: gets the faults.
    """
    dates = _dates(group)
    if dates is None:
        rows = sum(len(m.drawn.rows) for m in group.members) + len(group.whole.rows)
        if rows:
            message = f"{len(group.members)} samples, none of them t1 and t2"
            found.add("incomplete-group", who, group.key, message, rows)
        return None
    first, second = (date.drawn for date in dates)
    pair = Pair(second.key)
    drawing = second
    try:
        for drawing in (second, group.whole):
            _add_change(pair, drawing, classes, lookup, who, found)
        maps = []
        for drawing in (first, second):
            maps.append(_of_date(pair, drawing, classes, lookup, who, found))
    except FormatError as error:
        add_fault(found, who, drawing, error)
        return None
    before, after = maps
    if before is not None and after is not None:
        shapes = {before.shape, after.shape}
        shapes |= set() if pair.changed is None else {pair.changed.shape}
        if len(shapes) > 1:
            add_fault(found, who, second, OtherSizeError(second.key, f"maps of {sorted(shapes)}"))
            return None
        if masked and pair.changed is not None:
            for one in (before, after):
                one[~pair.changed & (one != IGNORED)] = 0
        pair.dates = before, after
    return pair


def _dates(group: DrawnGroup) -> tuple[Member, Member] | None:
    by_role = {m.role: m for m in group.members}
    if "t1" in by_role and "t2" in by_role:
        return by_role["t1"], by_role["t2"]
    rest = [m for m in group.members if m.role is None]
    return (rest[0], rest[1]) if len(rest) == 2 else None


def _is_change(row: dict[str, Any], classes: Classes) -> bool:
    return row["category"] in classes.change or (
        row["map"] is not None and is_whole_map(row) and row["map"]["space"] == SPACE
    )


def _add_change(
    pair: Pair,
    sample: DrawnSample,
    classes: Classes,
    lookup: Lookup,
    who: str,
    found: Findings,
) -> None:
    """The masks of change that hang on a sample, or on the group."""
    rows = [r for r in sample.rows if r["kind"] == "object" and _is_change(r, classes)]
    bare = [r for r in rows if not has_mask(r)]
    rows_left_out(found, "missing-geometry", who, sample.key, bare, "without a mask")
    for row in rows:
        if not has_mask(row):
            continue
        if row["ignore"]:
            pair.ignored = _united(pair.ignored, sample.mask(row), sample.key)
            continue
        pair.rows += 1
        if is_whole_map(row):
            values = sample.values(row)
            known = lookup.classes(values, SPACE)
            told = values != 0
            masks = {int(c): known == c for c in np.unique(known[told & (known >= 0)])}
        else:
            told = sample.mask(row)
            masks = {row["category"]: told}
        pair.changed = _united(pair.changed, told, sample.key)
        for category, mask in masks.items():
            pair.kinds[category] = _united(pair.kinds.get(category), mask, sample.key)


def _united(one: Mask | None, other: Mask, key: str) -> Mask:
    if one is None:
        return other
    if one.shape != other.shape:
        raise OtherSizeError(key, f"masks of {one.shape} and {other.shape} (height, width)")
    return one | other


def _of_date(
    pair: Pair, sample: DrawnSample, classes: Classes, lookup: Lookup, who: str, found: Findings
) -> Ints | None:
    """The class of each pixel at a date; None where nothing is drawn."""
    rows = [r for r in sample.rows if not _is_change(r, classes)]
    if not any(r["kind"] == "object" and has_mask(r) for r in rows):
        return None
    drawn = class_map(replace(sample, rows=rows), lookup, who, found)
    if drawn.classes is None:
        return None
    pair.rows += max(drawn.rows, 1)
    out = np.zeros(drawn.classes.shape, np.int64)
    known = drawn.classes >= 0
    out[known] = classes.of[drawn.classes[known]]
    out[drawn.classes < -1] = IGNORED
    if drawn.values is not None:
        strange = (drawn.classes == -1) & ~np.isin(drawn.values, classes.plain)
        if strange.any():
            out[strange] = IGNORED if who == "truth" else classes.unknown
            _add_strange(drawn, strange, sample.key, who, found)
    return out


def _add_strange(drawn: ClassMap, strange: Mask, key: str, who: str, found: Findings) -> None:
    assert drawn.values is not None
    shown = ", ".join(map(str, np.unique(drawn.values[strange])[:3].tolist()))
    code, so = ("unknown-class", "not counted") if who == "truth" else ("unknown-category", "wrong")
    message = f"{int(strange.sum())} pixels of values that are no category (such as {shown}): {so}"
    found.add(code, who, key, message)
