"""One sample row for an image that two datasets have: whether it is one image, and the joined
tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.schema import tables
from granum.schema.attributes import PREFIX, attribute_dicts
from granum.schema.compare import JSON_COLUMNS, differences
from granum.schema.tables import column, with_column
from granum.schema.units import is_relative
from granum.store.dataset import Dataset
from granum.store.parts import Part, concat
from granum.verbs._content import gather, gather_samples
from granum.verbs._twins import RECORD, Shapes, Twins, blocks, in_unit_of

__all__ = ["conflicts", "fill_rows", "joined_part", "same_images", "sample_conflicts"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


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
    for rows_a, rows_b in blocks(*rows):
        one, two = gather_samples(a, rows_a), gather_samples(b, rows_b)
        out.update(conflicts(one, two, {"key", "media", "unit", *RECORD, *JSON_COLUMNS}))
        for x, y in zip(attribute_dicts(one), attribute_dicts(two), strict=True):
            if x and y and any(x[n] != y[n] for n in x.keys() & y.keys()):
                out["attributes"] += 1
    return +out


def conflicts(one: pa.Table, two: pa.Table, skip: Container[str]) -> Counter[str]:
    """For each column in how many rows both say something, and not the same."""
    names = [n for n in one.column_names if n in two.column_names and n not in skip]
    plain = [n for n in names if not n.startswith(PREFIX)]
    return +Counter({n: int(_conflict(one[n], two[n]).sum()) for n in plain})


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
