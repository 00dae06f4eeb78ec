"""Arrow columns of any provenance as columns of the schema, without a Python loop per value.

Files made by others come with large, view and dictionary types, with lists of structs or structs
of lists, with integers where floats are meant. The functions here bring them to one form and say
what does not fit.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = [
    "Objects",
    "conform_array",
    "flags",
    "flatten_objects",
    "is_list",
    "is_text",
    "json_objects",
    "lists",
    "nonfinite",
    "one",
    "plain",
    "plain_type",
]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

ATTRIBUTE_TYPES = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "str": pa.dictionary(pa.int32(), pa.string()),
}
"""Types of ``attr.*`` columns by name."""


def one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def is_list(kind: pa.DataType) -> bool:
    """Whether a (plain) type is a list of any sort."""
    return pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether a (plain) type is text."""
    return pa.types.is_string(kind)


def is_number(kind: pa.DataType) -> bool:
    """Whether a type is an integer or a float."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """A type without dictionaries, extensions, large offsets and views."""
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if (
        pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    ):
        return pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([(f.name, plain_type(f.type)) for f in kind])
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(plain_type(kind.value_type), kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(plain_type(kind.value_type))
    return kind


def plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column in its plain type (see ``plain_type``)."""
    array = one(column)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    to = plain_type(array.type)
    return array if array.type == to else array.cast(to)


def lists(offsets: Ints, values: pa.Array, missing: Mask | None = None) -> pa.ListArray:
    """A list array; rows where ``missing`` is true are null."""
    mask = None if missing is None or not missing.any() else pa.array(missing)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=mask)


def offsets_of(lengths: Ints) -> Ints:
    """Where lists of these lengths begin, one longer."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def lengths_of(array: pa.Array) -> Ints:
    """Lengths of the lists of an array, -1 where null."""
    return np.asarray(array.value_lengths().cast(pa.int64()).fill_null(-1), np.int64)


def children(array: pa.StructArray) -> dict[str, pa.Array]:
    """Fields of a struct array by name; a null struct is null in each."""
    return dict(zip([f.name for f in array.type], array.flatten(), strict=True))


def conform_array(array: pa.Array, to: pa.DataType) -> pa.Array:
    """``array`` in type ``to``: numbers cast, missing struct fields null, lists of any sort.

    Raises:
        ValueError: it holds something else (text for a number, a list of another length…).
    """
    array = plain(array)
    if array.type == to:
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), to)
    try:
        return _conform(array, to)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise ValueError(f"{array.type} is no {to}: {error}") from error


def _conform(array: pa.Array, to: pa.DataType) -> pa.Array:
    kind = array.type
    if kind == to:
        return array
    if pa.types.is_null(kind):
        return pa.nulls(len(array), to)
    if pa.types.is_dictionary(to):
        return pc.dictionary_encode(_conform(array, to.value_type)).cast(to)
    if pa.types.is_struct(to):
        if not pa.types.is_struct(kind):
            raise ValueError(f"{kind} is no {to}")
        found = children(array)
        parts = [
            _conform(found[f.name], f.type) if f.name in found else pa.nulls(len(array), f.type)
            for f in to
        ]
        missing = pa.array(~np.asarray(array.is_valid())) if array.null_count else None
        return pa.StructArray.from_arrays(parts, fields=list(to), mask=missing)
    if is_list(to):
        if not is_list(kind):
            raise ValueError(f"{kind} is no {to}")
        return _conform_lists(array, to)
    if is_list(kind) or pa.types.is_struct(kind):
        raise ValueError(f"{kind} is no {to}")
    if is_number(to) and not (is_number(kind) or pa.types.is_boolean(kind)):
        raise ValueError(f"{kind} is no number")
    if pa.types.is_boolean(to):
        return flags(array)
    if pa.types.is_string(to) and pa.types.is_floating(kind):
        raise ValueError(f"{kind} is no text")
    return array.cast(to)


def _conform_lists(array: pa.Array, to: pa.DataType) -> pa.Array:
    lengths = lengths_of(array)
    missing = lengths < 0
    if pa.types.is_fixed_size_list(to):
        size = to.list_size
        wrong = np.flatnonzero(~missing & (lengths != size))
        if len(wrong):
            raise ValueError(f"a list of {lengths[wrong[0]]} values, not of {size}")
        values = _conform(array.flatten(), to.value_type)
        if missing.any():
            place = np.cumsum(~missing) - 1
            at = (place[:, None] * size + np.arange(size)).ravel()
            values = values.take(pa.array(at, mask=np.repeat(missing, size)))
            return pa.FixedSizeListArray.from_arrays(values, size, mask=pa.array(missing))
        return pa.FixedSizeListArray.from_arrays(values, size)
    values = _conform(array.flatten(), to.value_type)
    return lists(offsets_of(np.maximum(lengths, 0)), values, missing)


def flags(array: pa.Array) -> pa.Array:
    """Booleans of booleans, or of the numbers 0 and 1.

    Raises:
        ValueError: another value.
    """
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), pa.bool_())
    if pa.types.is_boolean(array.type):
        return array
    if not is_number(array.type):
        raise ValueError(f"{array.type} is no flag")
    if not pc.all(pc.is_in(array.drop_null(), pa.array([0, 1], array.type)), min_count=0).as_py():
        raise ValueError("a flag that is neither 0 nor 1")
    return pc.equal(array, pa.scalar(1, array.type))


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects of many rows as flat columns.

    Attributes:
        counts: how many each row has.
        fields: flat columns, one value per object.
        ragged: rows whose lists have different lengths (their objects are left out).
    """

    counts: Ints
    fields: dict[str, pa.Array]
    ragged: Mask

    def rows(self) -> Ints:
        """For each object its row."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


def flatten_objects(array: pa.Array) -> Objects | None:
    """A column of objects, as a struct of lists or a list of structs; None where it is neither."""
    none = np.zeros(len(array), bool)
    if is_list(array.type) and pa.types.is_struct(array.type.value_type):
        return Objects(np.maximum(lengths_of(array), 0), children(array.flatten()), none)
    if not pa.types.is_struct(array.type) or not array.type.num_fields:
        return None
    found = {
        # A field that is null throughout says nothing of the number of objects.
        n: a.cast(pa.list_(pa.null())) if pa.types.is_null(a.type) else a
        for n, a in children(array).items()
    }
    if not all(is_list(a.type) for a in found.values()):
        return None
    lengths = {n: lengths_of(a) for n, a in found.items()}
    counts = np.maximum.reduce([*lengths.values(), np.zeros(len(array), np.int64)])
    ragged = none.copy()
    for each in lengths.values():
        ragged |= (each >= 0) & (each != counts)
    counts = np.where(ragged, 0, counts)
    fields = {}
    for name, values in found.items():
        flat = values.flatten()
        if not np.array_equal(np.maximum(lengths[name], 0), counts):
            flat = flat.take(_picks(lengths[name], counts))
        fields[name] = flat
    return Objects(counts, fields, ragged)


def _picks(lengths: Ints, counts: Ints) -> pa.Array:
    """Where the wanted values stand among those at hand; null for lists that are absent."""
    starts = offsets_of(np.maximum(lengths, 0))[:-1]
    rows = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return pa.array(starts[rows] + within, mask=lengths[rows] < 0)


def json_objects(fields: Mapping[str, pa.Array], n: int) -> pa.Array:
    """JSON objects of the fields that are not null; null where none is."""
    out: list[dict[str, Any] | None] = [None] * n
    for name, array in fields.items():
        for i, value in enumerate(array.to_pylist()):
            if value is not None:
                found = out[i] or {}
                found[name] = value
                out[i] = found
    texts = [None if o is None else msgspec.json.encode(o, enc_hook=str).decode() for o in out]
    return pa.array(texts, pa.string())


def merge_json(texts: pa.Array, more: pa.Array) -> pa.Array:
    """Two columns of JSON objects as one; keys of the first win."""
    if texts.null_count == len(texts):
        return more
    out = []
    for a, b in zip(texts.to_pylist(), more.to_pylist(), strict=True):
        if a is None or b is None:
            out.append(b if a is None else a)
        else:
            both = {**msgspec.json.decode(b), **msgspec.json.decode(a)}
            out.append(msgspec.json.encode(both).decode())
    return pa.array(out, pa.string())


def is_json_objects(array: pa.Array) -> bool:
    """Whether every text that is not null is a JSON object."""
    try:
        for text in array.drop_null().to_pylist():
            if not isinstance(msgspec.json.decode(text), dict):
                return False
    except msgspec.DecodeError:
        return False
    return True


def nonfinite(array: pa.Array) -> Mask:
    """Which values, of any nesting, hold NaN or infinity."""
    kind = array.type
    found = np.zeros(len(array), bool)
    if pa.types.is_floating(kind):
        found = ~np.asarray(pc.fill_null(pc.is_finite(array), True), bool)
    elif pa.types.is_struct(kind):
        for values in array.flatten():
            found |= nonfinite(values)
    elif is_list(kind):
        lengths = np.maximum(lengths_of(array), 0)
        inner = nonfinite(array.flatten())
        if inner.any():
            found[np.repeat(np.arange(len(array)), lengths)[inner]] = True
    return found


def to_base64(array: pa.Array) -> pa.Array:
    """Binary values as base64 text."""
    return pa.array(
        [None if v is None else base64.b64encode(v).decode() for v in array.to_pylist()],
        pa.string(),
    )


def from_base64(array: pa.Array) -> pa.Array:
    """Base64 text as binary values.

    Raises:
        ValueError: it is none.
    """
    if not is_text(array.type):
        return array
    decoded: Sequence[bytes | None] = [
        None if v is None else base64.b64decode(v, validate=True) for v in array.to_pylist()
    ]
    return pa.array(decoded, pa.binary())
