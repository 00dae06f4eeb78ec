"""The account of an export to FiftyOne: how much of each kind and column is there, row by row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.browse._fiftyone_labels import Labels
from granum.browse._fiftyone_plan import LayerPlan, Plan
from granum.schema.losses import LossReport, LossRow, name_of
from granum.schema.tables import column

__all__ = ["Account"]

Bools = npt.NDArray[np.bool_]

_EXAMPLES = 10
_MASKS = ("polygons", "rle", "map")
_UNHELD = frozenset({"box3d", "interval", "subject", "object", "origins", "ordinal", "shape"})
_RELATION = frozenset({"category", "subject", "object"})
_HELD_OF_SAMPLES = frozenset(
    {"media", "media_kind", "width", "height", "channels", "unit", "group", "split", "attributes"}
)


class Account:
    """Fills a :class:`LossReport`; ``kept + changed + lost = total`` in each line."""

    def __init__(self) -> None:
        self.report = LossReport("fiftyone")
        self._rows: dict[tuple[str, str | None, str], LossRow] = {}

    def _add(
        self,
        of: tuple[str, str | None, str],
        name: str | None,
        given: Bools,
        held: Bools,
        changed: Bools,
        ids: list[Any],
    ) -> None:
        if of not in self._rows:
            self._rows[of] = LossRow(*of, name)
            self.report.rows.append(self._rows[of])
        row = self._rows[of]
        lost = np.flatnonzero(given & ~held)
        row.total += int(given.sum())
        row.changed += int((given & held & changed).sum())
        row.lost += len(lost)
        row.kept = row.total - row.changed - row.lost
        row.examples += [str(ids[i]) for i in lost[: _EXAMPLES - len(row.examples)].tolist()]

    def samples(self, samples: pa.Table, shown: Bools, plan: Plan) -> None:
        """Samples that are there, and their columns."""
        ids, nothing = samples["key"].to_pylist(), np.zeros(samples.num_rows, bool)
        self._add(("samples", None, "*"), "sample", ~nothing, shown, nothing, ids)
        held = {v.source for v in plan.samples} | _HELD_OF_SAMPLES
        for name in samples.column_names:
            if name != "key" and (given := np.asarray(samples[name].is_valid())).any():
                there = shown if name in held else nothing
                of = ("samples", None, name)
                self._add(of, name_of("samples", name), given, there, nothing, ids)

    def annotations(self, table: pa.Table, labels: Labels, plan: LayerPlan, polygons: str) -> None:
        """Annotations of one layer that are there, and their columns."""
        n = table.num_rows
        kinds = column(table, "kind").cast(pa.string()).to_pylist()
        ids, nothing = table["annotation_id"].to_pylist(), np.zeros(n, bool)
        there = {key: _mask(n, rows) for key, rows in labels.rows.items()}
        shown = np.logical_or.reduce([nothing, *there.values()])
        cut, unread = (_mask(n, np.array(i, np.int64)) for i in (labels.cut, labels.unread))
        for kind in dict.fromkeys(kinds):
            of_kind = np.array([k == kind for k in kinds], bool)
            self._add(("annotations", kind, "*"), kind, of_kind, shown, nothing, ids)
            for name in table.column_names:
                if name in ("annotation_id", "sample", "kind"):
                    continue
                given = of_kind & np.asarray(table[name].is_valid())
                if not given.any():
                    continue
                held = shown & self._holds(table, name, there, plan)
                changed = cut if name in _MASKS else nothing
                if name in _MASKS:
                    held &= ~unread
                if name == "polygons":
                    changed = ~nothing if polygons == "masks" else nothing
                if name == "area":
                    changed = nothing
                of = ("annotations", kind, name)
                self._add(of, name_of("annotations", name), given, held, changed, ids)

    @staticmethod
    def _holds(table: pa.Table, name: str, there: dict[str, Bools], plan: LayerPlan) -> Bools:
        """Rows whose value in a column is somewhere in FiftyOne, given that they are."""
        n = table.num_rows
        held = np.full(n, name not in _UNHELD)
        if name.startswith("col."):
            held[:] = any(v.source == name for vs in plan.values.values() for v in vs)
        held &= ~there.get("captions", np.zeros(n, bool)) | (name == "text")
        related = there.get("relations")
        if related is not None:
            held = np.where(related, name in _RELATION, held)
        return held

    def groups(self, groups: pa.Table, used: set[int]) -> None:
        """Groups: their keys are a field of their samples."""
        keys = groups["key"].to_pylist()
        n = groups.num_rows
        held = np.array([i in used for i in range(n)], bool)
        nothing = np.zeros(n, bool)
        if n:
            self._add(("groups", None, "*"), "group", ~nothing, held, nothing, keys)
        for name in groups.column_names:
            given = np.asarray(groups[name].is_valid())
            if name != "key" and given.any():
                reported = name_of("samples", name)
                self._add(("groups", None, name), reported, given, nothing, nothing, keys)

    def categories(self, categories: pa.Table, kept: bool) -> None:
        """Categories: their names are the classes; records that are ``kept`` are in ``info``."""
        names = categories["name"].to_pylist()
        every = np.ones(len(names), bool)
        for name in categories.column_names:
            given = np.asarray(categories[name].is_valid())
            if name != "name" and given.any():
                reported = name_of("categories", name)
                held = every if kept else ~every
                self._add(("categories", None, name), reported, given, held, ~every, names)

    def note(self, notes: Iterable[str]) -> None:
        """Remarks for people, each once."""
        self.report.notes += [n for n in dict.fromkeys(notes) if n not in self.report.notes]


def _mask(n: int, rows: npt.NDArray[np.int64]) -> Bools:
    out = np.zeros(n, bool)
    out[rows] = True
    return out
