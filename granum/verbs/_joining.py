"""One sample row for an image that two datasets have: whether it is one image, which annotations
both have, and the joined tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.schema import tables
from granum.schema.attributes import PREFIX, attribute_dicts
from granum.schema.compare import JSON_COLUMNS, differences
from granum.schema.tables import column, with_column
from granum.schema.units import convert_units, is_relative
from granum.store.dataset import Dataset
from granum.store.parts import Part, concat
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

__all__ = [
    "Shapes",
    "Twins",
    "fill_rows",
    "joined_part",
    "learn",
    "same_images",
    "sample_conflicts",
    "twins",
]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

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


# ---------------------------------------------------------------------- is it one image


def same_images(
    a: Dataset, b: Dataset, rows: tuple[Ints, Ints], below: tuple[Sequence[str | None], str | None]
) -> Mask:
    """Whether samples with one key are one image: nothing that both state of size, orientation
    and media differs, and coordinates can be put in one unit.

    Args:
        rows: of a, and of b.
        below: the folder that was put before the media path, for each row of a, and for b.
    """
    out = np.ones(len(rows[0]), bool)
    done = 0
    for rows_a, rows_b in blocks(*rows):
        one, two = gather_samples(a, rows_a), gather_samples(b, rows_b)
        same = np.ones(len(rows_a), bool)
        known = is_relative(one) == is_relative(two)
        sized = np.ones(len(rows_a), bool)
        for name in ("width", "height", "orientation"):
            same &= ~_conflict(column(one, name), column(two, name))
            if name != "orientation":
                sized &= np.asarray(pc.coalesce(column(one, name), column(two, name)).is_valid())
        same &= known | sized
        media = column(one, "media"), column(two, "media")
        for i in np.flatnonzero(same & (differences(*media) > 0)).tolist():
            folders = below[0][done + i], below[1]
            same[i] = _same_media(media[0][i].as_py(), media[1][i].as_py(), folders)
        out[done : done + len(rows_a)] = same
        done += len(rows_a)
    return out


def _conflict(a: pa.ChunkedArray, b: pa.ChunkedArray) -> Mask:
    """Where both say something, and not the same."""
    both = np.asarray(a.is_valid()) & np.asarray(b.is_valid())
    return both & (differences(a, b if b.type == a.type else b.cast(a.type)) > 0)


def _same_media(a: Any, b: Any, below: tuple[str | None, str | None]) -> bool:
    if a is None or b is None:
        return True
    if a["bytes"] is not None and b["bytes"] is not None:
        return bool(a["bytes"] == b["bytes"])
    if a["path"] is None or b["path"] is None:
        return a["path"] == b["path"] and a["bytes"] == b["bytes"]
    own = [
        m["path"].removeprefix(f"{folder}/") if folder else m["path"]
        for m, folder in zip((a, b), below, strict=True)
    ]
    return bool(a["path"] == b["path"] or own[0] == own[1])


def sample_conflicts(a: Dataset, b: Dataset, rows: tuple[Ints, Ints]) -> Counter[str]:
    """For each column in how many joined samples the two say different things."""
    out: Counter[str] = Counter()
    skip = {"key", "media", "unit", *RECORD, *JSON_COLUMNS}
    for rows_a, rows_b in blocks(*rows):
        one, two = gather_samples(a, rows_a), gather_samples(b, rows_b)
        for name in one.column_names:
            if name in two.column_names and name not in skip and not name.startswith(PREFIX):
                out[name] += int(_conflict(one[name], two[name]).sum())
        for x, y in zip(attribute_dicts(one), attribute_dicts(two), strict=True):
            if x and y and any(x[n] != y[n] for n in x.keys() & y.keys()):
                out["attributes"] += 1
    return +out


# ---------------------------------------------------------------------- twins


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


# ---------------------------------------------------------------------- the joined part


def joined_part(
    part: Part, b: Dataset, local: Ints, rows: Ints, found: Twins, shapes: Shapes
) -> Part:
    """A part with what another dataset says of its samples ``local`` (rows ``rows`` of b)."""

    def samples() -> pa.Table:
        own = part.samples()
        return _filled(own, gather_samples(b, rows), local, shapes) if len(local) else own

    def layer(name: str) -> pa.Table:
        own = part.layer(name)
        if found.records is not None and own.num_rows:
            at = pc.index_in(
                own["annotation_id"], value_set=_column(found.records, "annotation_id")
            )
            here = np.flatnonzero(np.asarray(at.is_valid()))
            if len(here):
                other = found.records.take(at.drop_null())
                own = _with_records(own, other, here, shapes)
        more = gather(b, name, rows)
        if not more.num_rows:
            return own
        taken = part.samples().take(pa.array(local))
        more = in_unit_of(more, taken, gather_samples(b, rows))
        place = part.start + local[np.asarray(more["sample"], np.int64)]
        more = with_column(more, "sample", pa.array(place, pa.int64()))
        both = concat([own, more] if own.num_rows else [more], tables.ANNOTATIONS)
        return both.take(pc.sort_indices(both, [("sample", "ascending")]))

    return Part(part.start, part.rows, samples, layer)


def _column(table: pa.Table, name: str) -> pa.Array:
    return table[name].combine_chunks()


def fill_rows(own: pa.Table, other: pa.Table, local: Ints, skip: Container[str]) -> pa.Table:
    """Rows ``local`` of a table with what they do not state taken from the rows of ``other``."""
    n = own.num_rows
    plain = [c for c in other.column_names if c not in skip and not c.startswith(PREFIX)]
    both = pa.concat_tables(
        [t.select(["key", *(c for c in plain if c in t.column_names)]) for t in (own, other)],
        promote_options="default",
    )
    for name in plain:
        absent = (
            np.asarray(own[name].is_null())[local]
            if name in own.column_names
            else np.ones(len(local), bool)
        )
        wanted = absent & np.asarray(other[name].is_valid())
        if wanted.any():
            at = np.arange(n)
            at[local[wanted]] = n + np.flatnonzero(wanted)
            own = with_column(own, name, both[name].take(pa.array(at)))
    return own


def _filled(own: pa.Table, other: pa.Table, local: Ints, shapes: Shapes) -> pa.Table:
    """Samples with what they do not state taken from ``other``; records follow each other."""
    out = fill_rows(own, other, local, {"key", "unit", *RECORD, *JSON_COLUMNS})
    out = _with_keys(out, own, other, local)
    return _with_records(out, other, local, shapes)


def _with_keys(out: pa.Table, own: pa.Table, other: pa.Table, local: Ints) -> pa.Table:
    """Attributes and extra keys that only ``other`` has."""
    mine = own.take(pa.array(local))
    for name in sorted(JSON_COLUMNS):
        theirs = _objects(other, name)
        if not any(theirs):
            continue
        texts = column(out, name).to_pylist()
        for row, here, there in zip(local.tolist(), _objects(mine, name), theirs, strict=True):
            new = {k: v for k, v in (there or {}).items() if k not in (here or {})}
            if new:
                texts[row] = json.dumps(
                    {**json.loads(texts[row] or "{}"), **new}, ensure_ascii=False
                )
        out = with_column(out, name, pa.array(texts, pa.string()))
    return out


def _objects(table: pa.Table, name: str) -> list[dict[str, Any] | None]:
    if name == "attributes":
        return attribute_dicts(table)
    return [None if t is None else json.loads(t) for t in column(table, name).to_pylist()]


def _with_records(table: pa.Table, other: pa.Table, rows: Ints, shapes: Shapes) -> pa.Table:
    """``rows`` of a table with the records of ``other`` after their own."""
    if "origins" not in other.column_names:
        return table
    own = {n: column(table, n).to_pylist() for n in RECORD}
    more = {n: column(other, n).to_pylist() for n in RECORD}
    for i, row in enumerate(rows.tolist()):
        if not more["origins"][i]:
            continue
        shape = own["shape"][row], more["shape"][i]
        own["shape"][row] = shapes.both(*shape) if own["origins"][row] else shape[1]
        for name in ("origins", "ordinal"):
            own[name][row] = [*(own[name][row] or []), *(more[name][i] or [])]
    for name in RECORD:
        kind = tables.SAMPLES.field(name).type
        table = with_column(table, name, pa.array(own[name], kind))
    return table
