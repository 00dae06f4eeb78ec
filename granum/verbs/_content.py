"""Which rows of two tables say the same: equality classes of whole rows, without row objects."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.schema import tables
from granum.schema.attributes import PREFIX, attribute_dicts
from granum.schema.compare import JSON_COLUMNS
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.parts import annotation_rows, concat

__all__ = [
    "BOOKKEEPING",
    "REFERENCES",
    "combine",
    "equal_pairs",
    "gather",
    "gather_samples",
    "group_rows",
    "joint_codes",
    "key_codes",
    "referred_codes",
    "rle_content",
    "row_codes",
    "unique_pairs",
]

Ints = npt.NDArray[np.int64]

BOOKKEEPING = frozenset({"annotation_id", "origins", "ordinal", "shape", "sample", "group"})
"""Columns that say where a row stands, not what it says."""

REFERENCES = ("parent", "subject", "object")
"""Columns of annotation ids."""

BLOCK = 16_384
"""Samples compared at a time."""


# ---------------------------------------------------------------------- rows of a dataset


def gather_samples(dataset: Dataset, rows: Ints) -> pa.Table:
    """The samples at ``rows``, in that order; slices where they stand in a row."""
    taken = [
        _pick(dataset.parts[p].samples(), rows[at] - dataset.parts[p].start)
        for p, at in _owners(dataset, rows)
    ]
    table = concat(taken, tables.SAMPLES)
    return table if len(taken) < 2 else _in_order(table, dataset, rows)


def gather(dataset: Dataset, layer: str, rows: Ints) -> pa.Table:
    """The annotations of the samples at ``rows``; ``sample`` is the place in ``rows``.

    Annotations of whole groups are not among them (see ``group_rows``).
    """
    taken = []
    for p, at in _owners(dataset, rows):
        part = dataset.parts[p]
        table, offsets = part.layer(layer), part.offsets(layer)
        if not table.num_rows:
            continue
        picked, position = annotation_rows(offsets, rows[at] - part.start)
        chosen = _pick(table, picked)
        taken.append(tables.with_column(chosen, "sample", pa.array(at[position], pa.int64())))
    table = concat(taken, tables.ANNOTATIONS)
    if len(taken) < 2:
        return table
    place = np.asarray(table["sample"], np.int64)
    if (place[1:] >= place[:-1]).all():
        return table
    return table.take(pa.array(np.argsort(place, kind="stable")))


def group_rows(dataset: Dataset, layer: str) -> pa.Table:
    """All annotations that belong to no sample (to a whole group)."""
    taken = [p.layer(layer).slice(p.offsets(layer)[-1]) for p in dataset.parts]
    return concat([t for t in taken if t.num_rows], tables.ANNOTATIONS)


def _owners(dataset: Dataset, rows: Ints) -> Iterable[tuple[int, Ints]]:
    starts = np.array([p.start for p in dataset.parts], np.int64)
    owner = np.searchsorted(starts, rows, side="right") - 1
    for p in dict.fromkeys(owner.tolist()):
        yield p, np.flatnonzero(owner == p)


def _in_order(table: pa.Table, dataset: Dataset, rows: Ints) -> pa.Table:
    order = np.concatenate([at for _, at in _owners(dataset, rows)])
    if (order[1:] > order[:-1]).all():
        return table
    return table.take(pa.array(np.argsort(order)))


def _pick(table: pa.Table, rows: Ints) -> pa.Table:
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows) and (np.diff(rows) == 1).all():
        return table.slice(rows[0], len(rows))
    return table.take(pa.array(rows))


# ---------------------------------------------------------------------- equality classes


def combine(*parts: Ints) -> Ints:
    """One number per row, equal where the numbers of all ``parts`` are."""
    out = _dense(parts[0])
    for codes in map(_dense, parts[1:]):
        out = _dense(out * (int(codes.max(initial=0)) + 1) + codes)
    return out


def _dense(codes: Ints) -> Ints:
    """Equal numbers as equal numbers from 0 on, none above the count of rows."""
    if len(codes) and codes.min() >= 0 and codes.max() <= len(codes):
        return codes
    return np.asarray(np.unique(codes, return_inverse=True)[1], np.int64).reshape(-1)


def row_codes(array: pa.Array | pa.ChunkedArray, *, as_json: bool = False) -> Ints:
    """One number per row of a column of any type of the schema, equal where the values are.

    Numbers count as equal by value (0.0 and -0.0, NaN and NaN); strings as JSON if asked.
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    n, kind = len(array), array.type
    if array.null_count == n:
        return np.zeros(n, np.int64)
    if pa.types.is_dictionary(kind):
        return row_codes(array.cast(kind.value_type), as_json=as_json)
    if pa.types.is_struct(kind):
        codes = combine(
            np.asarray(array.is_valid(), np.int64),
            *(row_codes(pc.struct_field(array, i)) for i in range(kind.num_fields)),
        )
    elif pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        codes = _list_codes(array)
    elif as_json:
        codes = _json_codes(array)
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        codes = np.asarray(array.dictionary_encode().indices.fill_null(-1), np.int64)
    else:
        codes = np.unique(_bits(array), return_inverse=True)[1]
    return np.where(np.asarray(array.is_valid()), codes + 1, 0)


def _bits(array: pa.Array) -> Ints:
    """Numbers as int64, equal where the values are; nulls as 0."""
    if pa.types.is_floating(array.type):
        values = np.asarray(array.cast(pa.float64()).fill_null(0.0), np.float64) + 0.0
        values[np.isnan(values)] = np.nan
        return values.view(np.int64)
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.int64())
    return np.asarray(array.cast(pa.int64()).fill_null(0), np.int64)


def _list_codes(array: pa.Array) -> Ints:
    lengths = np.asarray(pc.list_value_length(array).fill_null(0), np.int64)
    inner = array.flatten()
    numeric = not (pa.types.is_nested(inner.type) or inner.null_count) and (
        pa.types.is_integer(inner.type) or pa.types.is_floating(inner.type)
    )
    below = _bits(inner) if numeric else row_codes(inner)
    offsets = np.concatenate([[0], np.cumsum(lengths) * 8]).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(below))]
    strings = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(array), buffers)
    return np.asarray(strings.dictionary_encode().indices, np.int64)


def _json_codes(array: pa.Array) -> Ints:
    encoded = array.dictionary_encode()
    texts = [_canonical(json.loads(t)) for t in encoded.dictionary.to_pylist()]
    number: dict[str, int] = {}
    to = np.array([number.setdefault(t, len(number)) for t in texts], np.int64)
    return to[np.asarray(encoded.indices.fill_null(0), np.int64)]


def _canonical(value: Any) -> str:
    def plain(v: Any) -> Any:
        if isinstance(v, dict):
            return {k: plain(x) for k, x in v.items()}
        if isinstance(v, list):
            return [plain(x) for x in v]
        return int(v) if isinstance(v, float) and v.is_integer() else v

    return json.dumps(plain(value), sort_keys=True)


def joint_codes(a: pa.Table, b: pa.Table, without: Iterable[str] = ()) -> tuple[Ints, Ints]:
    """For each row of two annotation tables a number, equal where all columns are.

    ``BOOKKEEPING``, ``col.*`` and ``without`` do not count. An attribute counts alike in its own
    column and in the JSON of ``attributes``; how an RLE was written does not count.
    """
    skip = {*BOOKKEEPING, *without}
    names = dict.fromkeys([*a.column_names, *b.column_names])
    n = a.num_rows
    codes = [np.zeros(n + b.num_rows, np.int64)]
    for name in names:
        if name in skip or name == "attributes" or name.startswith(("attr.", "col.")):
            continue
        both = _both(a, b, name)
        if both.null_count < len(both):
            if name == "rle":
                both = rle_content(both)
            codes.append(row_codes(both, as_json=name in JSON_COLUMNS))
    if "attributes" not in skip:
        codes += _attribute_codes(a, b)
    whole = combine(*codes)
    return whole[:n], whole[n:]


def _both(a: pa.Table, b: pa.Table, name: str) -> pa.ChunkedArray:
    one, two = column(a, name), column(b, name)
    if pa.types.is_dictionary(one.type):
        one = one.cast(one.type.value_type)
    return pa.chunked_array([*one.chunks, *two.cast(one.type).chunks], one.type)


def rle_content(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """An ``rle`` column without ``form``: how it was written is not what it says."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    children = [pc.struct_field(array, "size"), pc.struct_field(array, "counts")]
    return pa.StructArray.from_arrays(
        children, ["size", "counts"], mask=pa.array(~np.asarray(array.is_valid()))
    )


def _attribute_codes(a: pa.Table, b: pa.Table) -> list[Ints]:
    def typed(table: pa.Table) -> dict[str, pa.DataType]:
        return {n: table[n].type for n in table.column_names if n.startswith(PREFIX)}

    def in_json(table: pa.Table) -> bool:
        texts = column(table, "attributes")
        return bool(texts.null_count < len(texts))

    if typed(a) == typed(b) and not in_json(a) and not in_json(b):
        return [row_codes(_both_attr(a, b, name)) for name in typed(a)]
    if not typed(a) and not typed(b):
        return [row_codes(_both(a, b, "attributes"), as_json=True)]
    texts = [None if d is None else _canonical(d) for t in (a, b) for d in attribute_dicts(t)]
    return [row_codes(pa.array(texts, pa.string()))]


def _both_attr(a: pa.Table, b: pa.Table, name: str) -> pa.ChunkedArray:
    kind = a[name].type
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.chunked_array([*a[name].cast(plain).chunks, *b[name].cast(plain).chunks], plain)


def referred_codes(a: pa.Table, b: pa.Table, codes: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """``codes`` refined by what the rows refer to: equal where also the parents, subjects and
    objects have equal codes, and theirs, and so on up the tree."""
    used = [
        r
        for r in REFERENCES
        if any(column(t, r).null_count < t.num_rows for t in (a, b) if t.num_rows)
    ]
    if not used:
        return codes
    n = a.num_rows
    targets = []
    for name in used:
        found = []
        for table, shift in ((a, 0), (b, n)):
            values = column(table, name)
            at = pc.index_in(values.combine_chunks(), value_set=_ids(table))
            place = np.asarray(at.fill_null(-1), np.int64)
            # -1: no reference; -2: to a row that is not here.
            place = np.where(place >= 0, place + shift, -1 - np.asarray(values.is_valid()))
            found.append(place)
        targets.append(np.concatenate(found).astype(np.int64))
    base = combine(np.concatenate(codes))
    whole, classes = base, -1
    while classes != len(np.unique(whole)):
        classes = len(np.unique(whole))
        looked = [np.where(t >= 0, whole[np.maximum(t, 0)] + 2, t + 2) for t in targets]
        whole = combine(whole, *looked)
    return whole[:n], whole[n:]


def _ids(table: pa.Table) -> pa.Array:
    return column(table, "annotation_id").combine_chunks()


# ---------------------------------------------------------------------- pairing


def equal_pairs(a: Ints, b: Ints) -> tuple[Ints, Ints]:
    """Places of equal numbers, the k-th of ``a`` with the k-th of ``b``; in order of ``a``."""
    ranked = combine(np.concatenate([a, b]), np.concatenate([_rank(a), _rank(b)]))
    x, y = ranked[: len(a)], ranked[len(a) :]
    _, at, bt = np.intersect1d(x, y, assume_unique=True, return_indices=True)
    order = np.argsort(at)
    return at[order], bt[order]


def unique_pairs(a: Ints, b: Ints) -> tuple[Ints, Ints]:
    """Places of equal numbers that occur once in ``a`` and once in ``b``; in order of ``a``."""

    def once(values: Ints) -> Ints:
        _, first, counts = np.unique(values, return_index=True, return_counts=True)
        return np.sort(first[counts == 1])

    one, two = once(a), once(b)
    at, bt = equal_pairs(a[one], b[two])
    return one[at], two[bt]


def _rank(values: Ints) -> Ints:
    """For each value how many equal ones stand before it."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    fresh = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(values)]
    starts = np.maximum.accumulate(np.where(fresh, np.arange(len(values)), 0))
    out = np.empty(len(values), np.int64)
    out[order] = np.arange(len(values)) - starts
    return out


def key_codes(*columns: pa.ChunkedArray) -> list[Ints]:
    """Joint numbers of several string columns, one array of numbers per column."""
    chunks = [x for c in columns for x in c.cast(pa.string()).chunks]
    codes = row_codes(pa.chunked_array(chunks, pa.string()))
    bounds = np.cumsum([0, *(len(c) for c in columns)])
    return [codes[bounds[i] : bounds[i + 1]] for i in range(len(columns))]
