"""Labels of a batch as arrays: the row of their sample, their category, their score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UnknownNameError, UsageError
from granum.metrics._usable import kept, left_out
from granum.metrics.base import joined_findings
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = [
    "Labels",
    "categories_named",
    "firsts",
    "labels_of",
    "of_units",
    "only_space",
    "spaces_of",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Labels:
    """Rows of kind ``label``, in the order of the table.

    Attributes:
        unit: shape (n,): row of the sample in the batch, or of the group.
        category: -1 where a row has none.
        score: NaN where a row has none.
    """

    unit: Ints
    category: Ints
    score: Floats

    def of(self, keep: Flags | Ints) -> Labels:
        """The rows that flags or places choose."""
        if keep.dtype == bool and keep.all():
            return self
        return Labels(self.unit[keep], self.category[keep], self.score[keep])

    def __len__(self) -> int:
        return len(self.unit)


def labels_of(
    batch: Batch,
    who: str,
    found: Findings,
    wanted: Callable[[Labels], tuple[Flags, str]] | None = None,
    *,
    by: str = "sample",
) -> Labels:
    """The labels of a batch, without those that are verified absent (``present = false``).

    Args:
        batch: of which rows of other kinds were left out.
        who: ``truth`` or ``predictions``, for findings.
        found: gets ``not-compared`` for rows that are not ``wanted``.
        wanted: which rows count, and what the others are.
        by: ``sample`` or ``group``: whose labels they are.
    """
    if "present" in batch.annotations.column_names:
        absent = np.asarray(batch.annotations["present"].fill_null(True)) == 0
        left_out(found, "not-compared", batch, absent, who, "of something that is absent")
        batch = kept(batch, ~absent)
    labels = _arrays(batch, by)
    if wanted is None:
        return labels
    keep, others = wanted(labels)
    left_out(found, "not-compared", batch, ~keep, who, others)
    return labels.of(keep)


def _arrays(batch: Batch, by: str) -> Labels:
    table = batch.annotations
    unit = np.asarray(_filled(column(table, by), -1), np.int64)
    return Labels(
        unit - batch.start if by == "sample" and batch.start else unit,
        np.asarray(_filled(column(table, "category"), -1), np.int64),
        np.asarray(_filled(column(table, "score"), np.nan), np.float64),
    )


def _filled(values: pa.ChunkedArray, none: float) -> pa.ChunkedArray:
    """Without nulls; not copied where there are none, as such columns are long."""
    return values.fill_null(none) if values.null_count else values


@dataclass(frozen=True)
class LabelState:
    """Of a part: its keys, and the labels of both sides (``unit``: a row of the keys)."""

    keys: pa.Array
    truth: Labels
    predictions: Labels
    findings: Findings


def joined(states: Sequence[LabelState]) -> LabelState:
    """All parts as one whose keys rise; labels keep the order that they have within a part.

    Keys that no label is of are there too.
    """
    keys = pa.chunked_array([s.keys for s in states], pa.string()).combine_chunks()
    order = np.asarray(pc.sort_indices(keys), np.int64)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    starts = np.cumsum([0, *(len(s.keys) for s in states)]).tolist()

    def moved(side: Callable[[LabelState], Labels]) -> Labels:
        labels = _concatenated([side(s) for s in states], starts)
        if not (place == np.arange(len(place))).all():
            labels = Labels(place[labels.unit], labels.category, labels.score)
        if (labels.unit[1:] >= labels.unit[:-1]).all():
            return labels
        return labels.of(np.argsort(labels.unit, kind="stable"))

    findings = joined_findings((s.findings for s in states), by_place=True)
    truth, predictions = moved(lambda s: s.truth), moved(lambda s: s.predictions)
    return LabelState(keys.take(pa.array(order)), truth, predictions, findings)


def _concatenated(parts: Sequence[Labels], starts: Sequence[int]) -> Labels:
    """All rows, those of the first part first; ``starts``: the first unit of each part."""
    if len(parts) == 1:  # nothing is copied
        return parts[0]
    none = np.empty(0, np.int64)
    return Labels(
        np.concatenate([none, *(p.unit + start for p, start in zip(parts, starts, strict=False))]),
        np.concatenate([none, *(p.category for p in parts)]),
        np.concatenate([np.empty(0), *(p.score for p in parts)]),
    )


def firsts(unit: Ints, category: Ints | None = None) -> Flags:
    """Which rows are the first of their unit (and category, from -1 on), shape (n,)."""
    rising = unit[1:] > unit[:-1]
    if category is not None:
        rising |= (unit[1:] == unit[:-1]) & (category[1:] > category[:-1])
    if rising.all():
        return np.ones(len(unit), bool)
    pair = unit
    if category is not None:
        pair = unit * (int(category.max(initial=-1)) + 2) + category + 1
    order = np.argsort(pair, kind="stable")
    keep = np.zeros(len(pair), bool)
    keep[order[np.flatnonzero(np.diff(pair[order], prepend=-1))]] = True
    return keep


def of_units(found: Findings, code: str, who: str, keys: pa.Array, units: Ints, what: str) -> None:
    """A finding of units (rows of ``keys``, as often as they have it); none where there is none."""
    if len(units):
        found.add(code, who, keys[int(units[0])].as_py(), f"{len(units)} {what}", len(units))


def spaces_of(categories: pa.Table) -> list[str]:
    """The label space of each category; empty where it has none."""
    spaces = column(categories, "space", tables.CATEGORIES)
    return list(spaces.cast(pa.string()).fill_null("").to_pylist())


def only_space(categories: pa.Table, used: Sequence[int], protocol: str) -> str | None:
    """The one space that the categories ``used`` are of.

    Raises:
        UsageError: they are of several; the message names them.
    """
    listed = spaces_of(categories)
    spaces = sorted({listed[i] for i in used})
    if len(spaces) > 1:
        shown = ", ".join(repr(s) for s in spaces)
        raise UsageError(
            f"the truth has labels of several spaces: {shown}; {protocol} needs to be told which "
            "(parameter space)"
        )
    return spaces[0] if spaces else None


def categories_named(
    categories: pa.Table, names: Sequence[str], space: str | None, parameter: str
) -> Ints:
    """The rows of the categories of these names (of a space, unless that is None), which a
    parameter of the protocol gives.

    Raises:
        UnknownNameError: there is none of a name.
    """
    listed, spaces = categories["name"].to_pylist(), spaces_of(categories)
    within = [
        (i, n) for i, (n, s) in enumerate(zip(listed, spaces, strict=True)) if space in (None, s)
    ]
    for name in names:
        if all(n != name for _, n in within):
            hint = f"(Parameter {parameter}.)"
            raise UnknownNameError("category", name, [n for _, n in within], hint)
    return np.array([i for i, n in within if n in names], np.int64)
