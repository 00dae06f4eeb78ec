"""What a format keeps of a dataset: the account of every write.

For each table, kind and column: how many values went in, and how many of them are kept, changed
within the format's tolerance, or lost. Names are one closed list (``NAMES``), the same in
``keeps``, ``--allow-loss`` and reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UnknownNameError
from granum.schema import tables
from granum.schema.compare import JSON_COLUMNS, differences
from granum.schema.tables import column
from granum.schema.units import convert_units, is_relative

__all__ = ["BOOKKEEPING", "KINDS", "NAMES", "LossReport", "LossRow", "Meter", "expand", "name_of"]

EXAMPLES = 10

KINDS = frozenset(tables.ANNOTATION_KINDS)

_GROUPS = {
    "polygons": "mask",
    "rle": "mask",
    "map": "mask",
    "keypoint_scores": "keypoints",
    "track_source_id": "track",
    "extra": "attributes",
    "role": "group",
    "order": "group",
    "subject": "relation",
    "object": "relation",  # "object" itself names a kind
}
"""Columns that go by another name."""

BOOKKEEPING = frozenset(
    {
        *("source_id", "origins", "ordinal", "shape", "annotation_id", "sample", "kind"),
        *("key", "media", "media_kind", "width", "height", "channels", "depth", "unit"),
        *("orientation", "area"),
    }
)
"""Where a record stood in its file, facts that the media tell themselves, and areas, which
follow from the geometry. Their loss is reported; it alone refuses nothing."""

_CATEGORY_NAMES = {
    "space": "space",
    "supercategory": "supercategory",
    "parents": "parents",
    "isthing": "isthing",
    "colour": "colour",
    "keypoints": "skeleton",
    "skeleton": "skeleton",
    "synonyms": "synonyms",
    "attributes": "attributes",
    "extra": "attributes",
}


def name_of(table: str, column_name: str) -> str | None:
    """The reported name of a column; None for bookkeeping."""
    if column_name.startswith("attr."):
        return "attributes"
    if table == "categories":
        return _CATEGORY_NAMES.get(column_name)
    if column_name.startswith("col.") or (column_name in BOOKKEEPING):
        return None
    return _GROUPS.get(column_name, column_name)


def _all_names() -> frozenset[str]:
    named = {name_of("samples", f.name) for f in tables.SAMPLES}
    named |= {name_of("annotations", f.name) for f in tables.ANNOTATIONS}
    named |= {*_CATEGORY_NAMES.values(), "layers", "sample", "record", "category", *KINDS}
    return frozenset(n for n in named if n is not None)


NAMES = _all_names()
"""Every name that ``keeps`` and ``--allow-loss`` know: kinds, columns, and ``sample`` (whole
samples), ``layers`` (all but the one written), ``record`` (source ids and order; never refused),
``space`` (label spaces other than ``object``), ``category`` (the class itself)."""


def expand(names: Iterable[str]) -> frozenset[str]:
    """Checked names; ``all`` is all of them, and a column of a group means the group.

    Raises:
        UnknownNameError: a name that is not in the list.
    """
    out: set[str] = set()
    for name in names:
        if name == "all":
            out |= NAMES
        elif name in NAMES:
            out.add(name)
        elif name in _GROUPS:
            out.add(_GROUPS[name])
        else:
            raise UnknownNameError("kind or column", name, [*NAMES, "all"])
    return frozenset(out)


@dataclass(slots=True)
class LossRow:
    """One column of one kind. ``name`` is None for bookkeeping; ``column`` is ``*`` for whole
    rows. ``lost + changed + kept`` = ``total``."""

    table: str
    kind: str | None
    column: str
    name: str | None
    total: int = 0
    kept: int = 0
    changed: int = 0
    lost: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class LossReport:
    """The account of one write; ``notes`` are remarks for people."""

    format: str
    rows: list[LossRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def _counting(self) -> list[LossRow]:
        """Rows whose losses count: a kind that is lost as a whole takes its columns along."""
        whole = {r.kind for r in self.rows if r.column == "*" and r.lost and r.lost == r.total}
        return [r for r in self.rows if r.column == "*" or r.kind is None or r.kind not in whole]

    def lost_names(self) -> dict[str, int]:
        """Names with losses that count, and how many values."""
        out: dict[str, int] = {}
        for row in self._counting():
            if row.lost and row.name is not None:
                out[row.name] = out.get(row.name, 0) + row.lost
        return out

    def refused(self, allowed: Iterable[str]) -> dict[str, int]:
        """Names whose loss was not allowed."""
        names = expand(allowed)
        return {n: c for n, c in self.lost_names().items() if n not in names}

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": self.format,
            "lost": self.lost_names(),
            "allowed": sorted(self.allowed),
            "columns": [asdict(r) for r in self.rows if r.total],
            "notes": self.notes,
        }

    def table(self) -> str:
        """The losses and changes that count, for people: one line per kind and name."""
        lines: dict[tuple[str, str], LossRow] = {}
        columns: dict[tuple[str, str], list[str]] = {}
        for r in self._counting():
            if not ((r.lost and r.name is not None) or r.changed):
                continue
            key = (r.name or r.column, r.kind or r.table)
            line = lines.setdefault(key, LossRow(r.table, r.kind, r.column, r.name))
            line.total, line.kept = line.total + r.total, line.kept + r.kept
            line.changed, line.lost = line.changed + r.changed, line.lost + r.lost
            line.examples += [e for e in r.examples if e not in line.examples]
            columns.setdefault(key, []).append("whole" if r.column == "*" else r.column)
        if not lines:
            return "everything is kept"
        out = [f"  {'name':<15}{'of':<13}{'kept':>9}{'changed':>9}{'lost':>9}  columns; examples"]
        for (name, of), r in lines.items():
            named = [c for c in columns[name, of] if c != name]
            some = ", ".join(named[:4]) + (" …" if len(named) > 4 else "")
            shown = ", ".join(r.examples[:3]) + (" …" if len(r.examples) > 3 else "")
            rest = "; ".join(t for t in (some, shown) if t)
            out.append(f"  {name:<15}{of:<13}{r.kept:>9}{r.changed:>9}{r.lost:>9}  {rest}")
        return "\n".join(out)


class Meter:
    """Compares batches as they are with what a format would give back.

    Args:
        report: gets the rows.
        keeps: names that the format keeps (for ``record``).
        tolerance: per column, how far a value may move, in pixels or the column's own unit.
        turned_rings: polygons of rows that had none but a turned box are that box.
    """

    def __init__(
        self,
        report: LossReport,
        keeps: frozenset[str],
        tolerance: Mapping[str, float],
        *,
        turned_rings: bool = False,
    ) -> None:
        self.report, self.keeps, self.tolerance = report, keeps, tolerance
        self.turned_rings = turned_rings
        self._rows: dict[tuple[str, str | None, str], LossRow] = {}

    def _row(self, table: str, kind: str | None, column_name: str, name: str | None) -> LossRow:
        key = (table, kind, column_name)
        if key not in self._rows:
            self._rows[key] = LossRow(table, kind, column_name, name)
            self.report.rows.append(self._rows[key])
        return self._rows[key]

    def samples(self, before: pa.Table, after: pa.Table) -> None:
        ids = before["key"].to_pylist()
        place = _places(before["key"], after["key"])
        self._columns(
            "samples", before, after, place, ids, {None: np.ones(len(ids), bool)}, "sample"
        )

    def categories(self, before: pa.Table, after: pa.Table) -> None:
        ids = before["name"].to_pylist()
        place = np.arange(len(ids))
        if after.num_rows != before.num_rows:
            place = _places(before["name"], after["name"])
        spaces = column(before, "space", tables.CATEGORIES).cast(pa.string()).to_pylist()
        in_object = np.array([s in (None, "object") for s in spaces], bool)
        self._columns(
            "categories", before, after, place, ids, {None: np.ones(len(ids), bool)}, "category"
        )
        row = self._rows.get(("categories", None, "space"))
        if row is not None and row.lost:  # "object" is what a format without spaces means
            given = np.array([s is not None for s in spaces], bool)
            back = int((in_object & given).sum()) if row.lost == row.total else 0
            row.lost, row.kept = row.lost - back, row.kept + back
            row.examples = [i for i, o in zip(ids, in_object, strict=True) if not o][:EXAMPLES]

    def whole(self, table: str, name: str, total: int, lost: int, examples: Iterable[str]) -> None:
        """Account for whole rows of a table that has no columns compared."""
        row = self._row(table, None, "*", name)
        row.total, row.lost, row.kept = row.total + total, row.lost + lost, row.kept + total - lost
        row.examples = [*row.examples, *examples][:EXAMPLES] if lost else row.examples

    def annotations(
        self, samples: pa.Table, start: int, before: pa.Table, after: pa.Table, to: pa.Table
    ) -> None:
        """``samples``/``to``: the samples before and after, for their units and sizes."""
        if not before.num_rows:
            return
        place = _places(before["annotation_id"], after["annotation_id"])
        before_px = _in_pixels(before, samples, _sized(samples, to), start)
        after_px = _in_pixels(after, to, _sized(samples, to), start)
        kinds = column(before, "kind").cast(pa.string()).fill_null("").combine_chunks()
        codes = kinds.dictionary_encode()
        index = np.asarray(codes.indices)
        masks = {k: index == i for i, k in enumerate(codes.dictionary.to_pylist())}
        ids = np.asarray(before["annotation_id"], np.int64)
        self._columns("annotations", before_px, after_px, place, ids, masks, None)

    def _columns(
        self,
        table: str,
        before: pa.Table,
        after: pa.Table,
        place: npt.NDArray[np.int64],
        ids: Any,
        kinds: Mapping[str | None, npt.NDArray[np.bool_]],
        whole: str | None,
    ) -> None:
        there = place >= 0
        everything = bool(there.all()) and np.array_equal(place, np.arange(after.num_rows))
        remade = _remade(before, after, place)
        if self.turned_rings and "angle" in before.column_names:
            angle = np.asarray(before["angle"].fill_null(0.0), np.float64)
            remade &= np.nan_to_num(angle) == 0
        for kind, of_kind in kinds.items():
            row = self._row(table, kind, "*", whole or kind)
            self._count(row, of_kind, there, np.zeros(len(there), bool), ids)
        for name in before.column_names:
            if name.startswith("col.") or name in ("annotation_id", "key", "sample", "kind"):
                continue
            if table == "categories" and name == "name":
                continue
            reported = name_of(table, name)
            given = np.asarray(before[name].is_valid())
            if not given.any():
                continue
            if (reported is None and "record" not in self.keeps) or name not in after.column_names:
                same = within = np.zeros(len(given), bool)
            else:
                back = after[name]
                if not everything:
                    back = back.take(pa.array(place, mask=~there))
                diff = differences(
                    before[name], back.cast(before[name].type), as_json=name in JSON_COLUMNS
                )
                same = diff == 0
                within = ~same & (diff <= self.tolerance.get(name, 0.0))
                within &= np.asarray(back.is_valid())  # a lost value is no infinite change
                same, within = same & there, within & there
            if reported == "mask":
                # In another form, which the row did not have before.
                within = within | (remade & ~same & ~_filled(after, place, (name,)))
            for kind, of_kind in kinds.items():
                if (of_kind & given).any():
                    row = self._row(table, kind, name, reported)
                    self._count(row, of_kind & given, same, within, ids)

    def _count(
        self,
        row: LossRow,
        given: npt.NDArray[np.bool_],
        same: npt.NDArray[np.bool_],
        within: npt.NDArray[np.bool_],
        ids: Any,
    ) -> None:
        row.total += int(given.sum())
        row.kept += int((given & same).sum())
        row.changed += int((given & within & ~same).sum())
        lost = np.flatnonzero(given & ~same & ~within)
        row.lost += len(lost)
        if len(row.examples) < EXAMPLES:
            row.examples += [str(ids[i]) for i in lost[: EXAMPLES - len(row.examples)]]


def _filled(
    after: pa.Table, place: npt.NDArray[np.int64], names: Iterable[str]
) -> npt.NDArray[np.bool_]:
    """Which rows have one of these columns afterwards."""
    found = np.zeros(after.num_rows + 1, bool)
    for name in names:
        if name in after.column_names:
            found[:-1] |= np.asarray(after[name].is_valid())
    return found[place]


def _remade(
    before: pa.Table, after: pa.Table, place: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Which rows have their mask in a form that they did not have before."""
    found = np.zeros(before.num_rows, bool)
    here = np.arange(before.num_rows)
    for name in ("polygons", "rle", "map"):
        found |= _filled(after, place, (name,)) & ~_filled(before, here, (name,))
    return found


def _places(before: pa.ChunkedArray, after: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """For each value its row in ``after``; -1 where it is not there."""
    import pyarrow.compute as pc

    if before.equals(after):
        return np.arange(len(before))
    found = pc.index_in(before, value_set=after.combine_chunks())
    return np.asarray(found.fill_null(-1), np.int64)


def _sized(before: pa.Table, after: pa.Table) -> pa.Table:
    """The samples whose sizes are known: projecting may have looked them up."""
    unknown = [sum(column(t, n).null_count for n in ("width", "height")) for t in (before, after)]
    return after if unknown[0] > unknown[1] else before


def _in_pixels(table: pa.Table, samples: pa.Table, sized: pa.Table, start: int) -> pa.Table:
    """Annotations in pixels where sizes are known; ``samples`` gives the units."""
    relative = is_relative(samples)
    if not relative.any() or not table.num_rows:
        return table
    width = np.asarray(column(sized, "width").fill_null(1), np.float64)
    height = np.asarray(column(sized, "height").fill_null(1), np.float64)
    factors = np.where(relative[:, None], np.column_stack([width, height]), 1.0)
    rows = np.asarray(column(table, "sample").fill_null(start - 1), np.int64) - start
    return convert_units(table, rows, factors)
