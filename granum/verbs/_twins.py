"""Annotations that two datasets have of one image: which they are, and what is kept of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.schema.tables import column
from granum.schema.units import convert_units, is_relative
from granum.store.dataset import Dataset
from granum.verbs._content import (
    BLOCK,
    REFERENCES,
    combine,
    equal_pairs,
    gather,
    gather_samples,
    group_rows,
    joint_codes,
    referred_codes,
    row_codes,
)
from granum.verbs._shift import MOST, Redirect

__all__ = ["RECORD", "Shapes", "Twins", "blocks", "in_unit_of", "learn", "twins"]

Ints = npt.NDArray[np.int64]

RECORD = ("origins", "ordinal", "shape")


class Shapes:
    """Sets of keys, with those of rows that come from two records."""

    def __init__(self, listed: Sequence[Any]) -> None:
        self.listed = list(listed)
        self._both: dict[tuple[int, int], int] = {}

    def both(self, a: int | None, b: int | None) -> int | None:
        """The number for a row with the records of ``a``, then those of ``b``; None where
        either is unknown, or there are too many to number."""
        if a is None or b is None:
            return None
        if (a, b) not in self._both:
            if len(self.listed) > MOST:
                return None
            self._both[a, b] = len(self.listed)
            self.listed.append([*self.listed[a], *self.listed[b]])
        return self._both[a, b]


@dataclass
class Twins:
    """Annotations of the added dataset that the first has, too.

    Attributes:
        same: which id stands for which (the added one's is left out).
        tracks: which track is which, as far as twins tell.
        records: of twins with one source id: ``annotation_id`` of the one that stays, and the
            ``RECORD`` columns of the one that goes.
        whole: whether annotations of whole groups are among them.
    """

    same: Redirect = field(default_factory=Redirect)
    tracks: Redirect = field(default_factory=Redirect)
    records: pa.Table | None = None
    whole: bool = False


def blocks(a: Ints, b: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Rows of two datasets that belong together, some at a time."""
    for at in range(0, len(a), BLOCK):
        yield a[at : at + BLOCK], b[at : at + BLOCK]


def in_unit_of(b: pa.Table, one: pa.Table, two: pa.Table) -> pa.Table:
    """Annotations ``b`` of samples ``two`` in the unit of the samples ``one``."""
    relative = is_relative(one), is_relative(two)
    differ = relative[0] != relative[1]
    if not differ.any() or not b.num_rows:
        return b
    factors = np.ones((one.num_rows, 2))
    for axis, name in enumerate(("width", "height")):
        size = np.asarray(pc.coalesce(column(one, name), column(two, name)).fill_null(1), float)
        factors[differ, axis] = np.where(relative[1], size, 1 / size)[differ]
    return convert_units(b, np.asarray(b["sample"], np.int64), factors)


def twins(
    a: Dataset,
    b: Dataset,
    rows: tuple[Ints, Ints],
    groups: Ints,
    layers: Sequence[str],
    shapes: Shapes,
) -> tuple[Twins, Counter[str]]:
    """Annotations of joined samples and groups that both have: equal in all that they say
    (numbers, source ids and the place in the file apart; references lead to twins).

    Args:
        a: what is there.
        b: what is added, in the numbers of a.
        rows: joined samples of a and of b.
        groups: joined groups (rows, the same in both).
        layers: the layers that both have.
        shapes: gets the sets of keys of twins with one source id.

    Returns:
        The twins, and how many there are by layer.
    """
    ids: list[tuple[Ints, Ints]] = []
    tracks: list[tuple[Ints, Ints]] = []
    records: list[pa.Table] = []
    counts: Counter[str] = Counter()
    whole = False
    for layer, one, two in _beside(a, b, rows, groups, layers):
        at, bt = _equal(one, two)
        if not len(at):
            continue
        x, y = one.take(pa.array(at)), two.take(pa.array(bt))
        counts[layer] += len(at)
        whole = whole or bool(column(x, "sample").null_count)
        ids.append((_ints(y, "annotation_id"), _ints(x, "annotation_id")))
        tracked = np.asarray(column(x, "track").is_valid()) & np.asarray(
            column(y, "track").is_valid()
        )
        tracks.append((_ints(y, "track")[tracked], _ints(x, "track")[tracked]))
        records += _records(x, y, shapes)
    return (
        Twins(
            Redirect.of(*_joined(ids)),
            Redirect.of(*_joined(tracks)),
            pa.concat_tables(records) if records else None,
            whole,
        ),
        counts,
    )


def _beside(
    a: Dataset, b: Dataset, rows: tuple[Ints, Ints], groups: Ints, layers: Sequence[str]
) -> Iterator[tuple[str, pa.Table, pa.Table]]:
    for layer in layers:
        for rows_a, rows_b in blocks(*rows):
            two = gather(b, layer, rows_b)
            if two.num_rows:
                samples = gather_samples(a, rows_a), gather_samples(b, rows_b)
                yield layer, gather(a, layer, rows_a), in_unit_of(two, *samples)
        if len(groups):
            chosen = [
                t.filter(pc.is_in(column(t, "group"), value_set=pa.array(groups, pa.int64())))
                for t in (group_rows(a, layer), group_rows(b, layer))
            ]
            yield layer, chosen[0], chosen[1]


def _equal(one: pa.Table, two: pa.Table) -> tuple[Ints, Ints]:
    n = one.num_rows
    codes = joint_codes(one, two, without={"source_id", "track", *REFERENCES})
    owner = [
        row_codes(pa.chunked_array([*column(one, c).chunks, *column(two, c).chunks], pa.int64()))
        for c in ("sample", "group")
    ]
    whole = combine(np.concatenate(codes), *owner)
    return equal_pairs(*referred_codes(one, two, (whole[:n], whole[n:])))


def _records(x: pa.Table, y: pa.Table, shapes: Shapes) -> list[pa.Table]:
    """The records of twins ``y`` with the source id of ``x``."""
    equal = np.asarray(
        pc.fill_null(pc.equal(column(x, "source_id"), column(y, "source_id")), False)
    )
    if "origins" not in y.column_names or not equal.any():
        return []
    at = pa.array(equal)
    x, y = x.filter(at), y.filter(at)
    learn(x, y, shapes)
    kept = {"annotation_id": x["annotation_id"]}
    return [pa.table({**kept, **{n: column(y, n) for n in RECORD}})]


def learn(x: pa.Table, y: pa.Table, shapes: Shapes) -> None:
    """Number the sets of keys of rows ``x`` that take the records of rows ``y``."""
    listed = (column(t, "shape").to_pylist() for t in (x, y))
    for a, b in dict.fromkeys(zip(*listed, strict=True)):
        shapes.both(a, b)


def _ints(table: pa.Table, name: str) -> Ints:
    return np.asarray(column(table, name).fill_null(-1), np.int64)


def _joined(pairs: list[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    nothing = np.empty(0, np.int64)
    return (
        np.concatenate([nothing, *(p[0] for p in pairs)]),
        np.concatenate([nothing, *(p[1] for p in pairs)]),
    )
