"""How annotations that belong together differ: counts, distances, examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.schema.rows import Category
from granum.schema.tables import column
from granum.verbs._changes import MASKS, attribute_changes, corner_shift
from granum.verbs._masks import mask_iou
from granum.verbs._settling import Block, Settled, Sides, numbers_of, owners_of
from granum.verbs.diff import DiffReport, Tally

__all__ = ["Details", "count_rows", "first_rows"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def count_rows(tally: Tally, changed: dict[str, Mask], total: int) -> None:
    """Count rows of both sides by whether, and in which columns, they differ."""
    n = int(np.any(list(changed.values()), axis=0).sum()) if changed else 0
    tally.changed += n
    tally.same += total - n
    tally.columns.update({name: int(mask.sum()) for name, mask in changed.items()})


def first_rows(
    tally: Tally, changed: dict[str, Mask], most: int
) -> Iterator[tuple[int, list[str]]]:
    """The first rows that differ and the columns they differ in, while examples are wanted."""
    room = most - len(tally.examples.get("changed", []))
    if changed and room > 0:
        rows = np.flatnonzero(np.any(list(changed.values()), axis=0))
        for row in rows[:room].tolist():
            yield row, [name for name, mask in changed.items() if mask[row]]


class Details:
    """Fills the annotations' part of ``report``, block by block."""

    def __init__(self, sides: Sides, report: DiffReport, examples: int) -> None:
        self.sides, self.report, self.examples = sides, report, examples
        self.changes: Counter[tuple[str | None, str | None]] = Counter()
        self.shifts: list[Floats] = []
        self.ious: list[Floats] = []

    def add(self, block: Block, settled: Settled) -> None:
        """Take in a block."""
        tally, pairs, a, b = self.report.annotations, settled.pairs, settled.a, settled.b
        tally.same += settled.same
        count_rows(tally, settled.changed, len(pairs.a))
        self.report.matched.update(pairs.how)
        differing = np.zeros(block.owners, bool)
        for mask in settled.changed.values():
            differing[owners_of(a)[pairs.a[mask]]] = True
        categories = self.sides.cats_a, self.sides.cats_b
        for what, table, taken, known in (
            ("removed", a, pairs.a, categories[0]),
            ("added", b, pairs.b, categories[1]),
        ):
            left = np.ones(table.num_rows, bool)
            left[taken] = False
            rows = np.flatnonzero(left)
            setattr(tally, what, getattr(tally, what) + len(rows))
            differing[owners_of(table)[rows]] = True
            room = self.examples - len(tally.examples.get(what, []))
            for row in rows[: max(room, 0)].tolist():
                tally.example(what, _facts(table, row, block, known), self.examples)
        self.report.annotated += int(differing.sum())
        if settled.changed:
            self._changed(
                block, a.take(pa.array(pairs.a)), b.take(pa.array(pairs.b)), settled.changed
            )

    def _changed(self, block: Block, a: pa.Table, b: pa.Table, changed: dict[str, Mask]) -> None:
        n = a.num_rows
        shift, iou = np.full(n, np.nan), np.full(n, np.nan)
        attributes: dict[int, list[str]] = {}
        if "bbox" in changed:
            at = changed["bbox"]
            shift[at] = corner_shift(column(a, "bbox"), column(b, "bbox"))[at]
            self.shifts.append(shift[~np.isnan(shift)])
        drawn = [changed[m] for m in MASKS if m in changed]
        if drawn:
            rows = np.flatnonzero(np.any(drawn, axis=0))
            iou[rows] = self._overlaps(a.take(pa.array(rows)), b.take(pa.array(rows)), block)
            self.report.masks["changed"] += len(rows)
            self.ious.append(iou[~np.isnan(iou)])
        if "attributes" in changed:
            rows = np.flatnonzero(changed["attributes"])
            attributes = dict(zip(rows.tolist(), attribute_changes(a, b, rows), strict=True))
            self.report.attributes.update(x for listed in attributes.values() for x in listed)
        names = _names(a, self.sides.cats_a), _names(b, self.sides.cats_b)
        if "category" in changed:
            at = changed["category"]
            self.changes.update(zip(names[0][at].tolist(), names[1][at].tolist(), strict=True))
        tally = self.report.annotations
        for row, columns in first_rows(tally, changed, self.examples):
            facts = _facts(a, row, block, self.sides.cats_a)
            ids = {"a": facts.pop("id"), "b": b["annotation_id"][row].as_py()}
            said = {"key": facts.pop("key"), **ids, **facts, "columns": columns}
            said["shift"] = None if np.isnan(shift[row]) else float(shift[row])
            said["mask_iou"] = None if np.isnan(iou[row]) else float(iou[row])
            said["attributes"] = attributes.get(row, [])
            said["to"] = names[1][row] if "category" in columns else None
            tally.example("changed", said, self.examples)

    def _overlaps(self, a: pa.Table, b: pa.Table, block: Block) -> list[float]:
        sizes: list[tuple[int, int] | None] = [None] * block.owners
        if block.samples is not None:
            wide, high = (
                pc.coalesce(*(column(t, n) for t in block.samples)).to_pylist()
                for n in ("width", "height")
            )
            both = zip(wide, high, strict=True)
            sizes = [None if w is None or h is None else (w, h) for w, h in both]
        one, two = (pa.table({m: column(t, m) for m in MASKS}).to_pylist() for t in (a, b))
        found = [
            mask_iou(x, y, sizes[owner], self.sides.map_roots)
            for x, y, owner in zip(one, two, owners_of(a).tolist(), strict=True)
        ]
        return [np.nan if f is None else f for f in found]

    def finish(self) -> None:
        """Sum up."""
        shifts, ious = (np.concatenate([*x, np.empty(0)]) for x in (self.shifts, self.ious))
        if len(shifts):
            self.report.boxes = {
                "moved": len(shifts),
                "max_shift": float(shifts.max()),
                "mean_shift": float(shifts.mean()),
            }
        if len(ious):
            self.report.masks |= {
                "compared": len(ious),
                "mean_iou": float(ious.mean()),
                "min_iou": float(ious.min()),
            }
        self.report.category_changes = [
            {"from": x, "to": y, "count": n} for (x, y), n in self.changes.most_common()
        ]


def _names(table: pa.Table, categories: Sequence[Category]) -> npt.NDArray[np.object_]:
    listed = np.array([*(c.name for c in categories), None], object)
    return np.asarray(listed[numbers_of(table, own=True)], object)


def _facts(
    table: pa.Table, row: int, block: Block, categories: Sequence[Category]
) -> dict[str, Any]:
    one = table.slice(row, 1)
    return {
        "key": block.key(int(owners_of(one)[0])),
        "id": one["annotation_id"][0].as_py(),
        "source_id": column(one, "source_id")[0].as_py(),
        "kind": column(one, "kind")[0].as_py(),
        "category": _names(one, categories)[0],
    }
