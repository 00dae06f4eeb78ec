"""Counting anew what a write kept, changed and lost, from what was read back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from granum.loaders.base import Format
from granum.schema.losses import LossReport, LossRow
from granum.store.dataset import Dataset
from granum.testing.masks import FORMS, remade
from granum.testing.sides import Row, Side, gap, side, sizes

__all__ = ["recount"]

REFERENCES = frozenset({"track", "parent", "subject", "object"})
FACTS = frozenset({"source_id", "width", "height", "channels", "depth", "orientation", "area"})
"""Bookkeeping that, where it is said to be kept, must come back. The rest (origins, places in
files, where the media lie) is written anew by every reading."""


def recount(
    report: LossReport, format_: Format, before: Dataset, promised: Dataset, back: Dataset
) -> list[str]:
    """Lines of ``report`` that the data read back does not bear out.

    Args:
        report: of writing ``before`` with every loss allowed.
        format_: the format that was written.
        before: the dataset.
        promised: the same rows as ``project`` left them (says which row became which).
        back: what was read.
    """
    known = sizes(before, promised, back)
    # A class stays the same where only its label space is lost; that has a line of its own.
    a = side(before, known, promised.categories)
    p, b = side(promised, known), side(back, known)
    layer = before.meta.layer
    b.rename(back.meta.layer, layer)
    if "layers" not in format_.keeps:
        p.layers = {n: v for n, v in p.layers.items() if n == layer}
    # A reference is kept if it leads to where its annotation went.
    positions, tracks = p.positions(), p.tracks()
    a.resolve(positions, tracks)
    b.resolve(b.positions(), b.tracks())
    pairs = {
        "samples": list(_samples(before, a, promised, b)),
        "categories": list(_categories(a, p, b)),
        "annotations": list(_annotations(a, p, b, layer, format_.ordered is not False)),
    }
    roots = [d.meta.map_root or d.meta.media_root for d in (before, back)]

    def same_mask(form: str, x: Row, y: Row) -> bool:
        angle = x.get("angle") or 0.0
        turned = angle != 0 and angle == angle  # NaN is no turn
        if format_.turned_rings and turned and x.get("polygons") is None:
            return False
        return (form == "map" or y.get(form) is None) and remade(
            form, x, y, known.get(x["key"]), roots
        )

    wrong: list[str] = []
    for row in report.rows:
        if row.column in REFERENCES and format_.ordered is False:
            continue  # what a row refers to is known by its place
        if row.table in pairs and (row.name is not None or row.column in FACTS):
            wrong += _wrong(row, pairs[row.table], format_, same_mask)
    return [*wrong, *_whole(report, a, b, layer)]


Pair = tuple[Row, Row | None]


def _samples(before: Dataset, a: Side, promised: Dataset, b: Side) -> Iterator[Pair]:
    keys = zip(before.samples(["key"])["key"], promised.samples(["key"])["key"], strict=True)
    for old, new in keys:
        yield a.samples[old.as_py()], b.samples.get(new.as_py()) if old == new else None


def _categories(a: Side, p: Side, b: Side) -> Iterator[Pair]:
    stay = len(a.categories) == len(p.categories)
    for (old, row), new in zip(
        a.categories.items(), p.categories if stay else a.categories, strict=True
    ):
        found = b.categories.get(new) or b.categories.get((*new[:2], 0))
        yield row, found if stay or old in p.categories else None


def _annotations(a: Side, p: Side, b: Side, layer: str, ordered: bool) -> Iterator[Pair]:
    """Pairs of rows; where the format keeps no order, the order within each kind counts."""
    went: dict[Any, tuple[Any, int]] = {}
    seen: Counter[Any] = Counter()
    after: dict[Any, list[Row]] = dict(b.layers.get(layer, {}))
    for n, place, i, row in p.rows():
        if n == layer:
            key = place if ordered else (place, row.get("kind"))
            went[row["annotation_id"]] = (key, i if ordered else seen[key])
            seen[key] += 1
    if not ordered:
        by_kind: dict[Any, list[Row]] = {}
        for place, rows in after.items():
            for row in rows:
                by_kind.setdefault((place, row.get("kind")), []).append(row)
        after = by_kind
    for n, _, _, row in a.rows():
        if n != layer:
            continue
        place, i = went.get(row["annotation_id"], (None, 0))
        rows = after.get(place, []) if place is not None else []
        yield row, rows[i] if i < len(rows) else None


def _wrong(
    row: LossRow,
    pairs: list[Pair],
    format_: Format,
    same_mask: Callable[[str, Row, Row], bool],
) -> Iterator[str]:
    mine = [(x, y) for x, y in pairs if row.table != "annotations" or x.get("kind") == row.kind]
    counted: list[int] = [0, 0, 0]
    tolerance = format_.tolerance.get(row.column, 0.0)
    for x, y in mine:
        value, found = (x, y) if row.column == "*" else _values(row, x, y)
        if value is None:
            continue
        away = 0.0 if row.column == "*" and y is not None else gap(value, found)
        within = y is not None and bool(0 < away <= tolerance)
        if away and y is not None and row.column in FORMS:
            within = (within and row.column != "map") or same_mask(row.column, x, y)
        for i, counts in enumerate((True, away == 0, within)):
            counted[i] += counts
    said = [row.total, row.kept, row.changed]
    if row.name is None and not row.kept + row.changed:
        return  # bookkeeping that is said to be lost may come back by chance
    if said != counted:
        total, kept, changed = counted
        yield (
            f"{row.table} {row.kind or ''} {row.column}: of {row.total} it says {row.kept} kept, "
            f"{row.changed} changed; of {total} there are {kept} kept, {changed} changed"
        )


def _values(row: LossRow, x: Row, y: Row | None) -> tuple[Any, Any]:
    """The value that a line of the account is about, before and after."""
    found: Row = y or {}
    if row.column == "space":  # null means the objects'
        return x["space"], found.get("space") or "object"
    if not row.column.startswith("attr"):
        return x.get(row.column), found.get(row.column)
    value, after = x.get("attributes"), found.get("attributes")
    name = row.column.partition(".")[2]
    if name:
        typed = name in x["typed"]
        return (value or {}).get(name) if typed else None, (after or {}).get(name)
    # What is left in the JSON: all but the values in columns of their own.
    if value is None or (x["typed"] and not value.keys() - x["typed"]):
        return None, None
    value, after = (
        None if v is None else {n: w for n, w in v.items() if n not in x["typed"]}
        for v in (value, after)
    )
    return value, after


def _whole(report: LossReport, a: Side, b: Side, layer: str) -> Iterator[str]:
    """Groups and further layers are accounted for as a whole."""
    for row in report.rows:
        if row.table == "groups":
            kept = sum(k in b.groups for k in a.groups)
        elif row.table == "layers":
            kept = sum(n in b.layers for n in a.layers if n != layer)
        else:
            continue
        if row.kept != kept:
            yield f"{row.table}: it says {row.kept} kept; there are {kept}"
