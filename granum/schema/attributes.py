"""Free-form attributes: common scalar ones become typed columns, the rest stays JSON.

A row's value is in ``attr.NAME`` or in the JSON of ``attributes``, never in both; a value that
does not fit the column's type stays in the JSON of its row, so nothing is lost.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from granum.schema.tables import column, with_column, without_columns

__all__ = ["PREFIX", "attribute_dicts", "fits", "promote"]

PREFIX = "attr."
COMMON = 0.1
MOST = 64

_TYPES: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.dictionary(pa.int32(), pa.string()),
}


def attribute_dicts(table: pa.Table) -> list[dict[str, Any] | None]:
    """All attributes of each row, from both forms; None where it has none."""
    texts = column(table, "attributes")
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    out: list[dict[str, Any] | None]
    if texts.null_count == len(texts):
        out = [None] * len(texts)
    else:
        out = [None if t is None else decode(t) for t in texts.to_pylist()]
    for name in table.column_names:
        if name.startswith(PREFIX):
            plain = name.removeprefix(PREFIX)
            for i, value in enumerate(table[name].to_pylist()):
                if value is not None:
                    if out[i] is None:
                        out[i] = {}
                    out[i][plain] = value  # type: ignore[index]
    return out


def promote(table: pa.Table, types: dict[str, str]) -> pa.Table:
    """Move common scalar attributes of ``table`` to typed columns.

    ``types`` maps names to types already chosen for this dataset; new names are added to it.
    """
    table = _agree(table, types)
    texts = column(table, "attributes")
    if texts.null_count == len(texts):
        return table
    rows = [None if t is None else msgspec.json.decode(t) for t in texts.to_pylist()]
    values: dict[str, dict[type, int]] = {}
    for row in rows:
        for name, value in (row or {}).items():
            kinds = values.setdefault(name, {})
            kinds[type(value)] = kinds.get(type(value), 0) + 1
    present = len(rows) - texts.null_count
    for name, kinds in values.items():
        kind, n = max(kinds.items(), key=lambda k: k[1])
        if name not in types and kind in _TYPES and n >= COMMON * present and len(types) < MOST:
            if kind is int and float in kinds:
                kind = float
            types[name] = kind.__name__
    for name in sorted(values.keys() & types.keys()):
        wanted = types[name]
        taken: list[Any] = [None] * len(rows)
        for i, row in enumerate(rows):
            if row is not None and name in row and _fits(row[name], wanted):
                taken[i] = row.pop(name)
        kind_ = _TYPES[{"bool": bool, "int": int, "float": float, "str": str}[wanted]]
        if wanted == "str":
            array = pa.array(taken, pa.string()).dictionary_encode().cast(kind_)
        else:
            array = pa.array(taken, kind_)
        if array.null_count < len(array):
            if PREFIX + name in table.column_names:
                array = pc.coalesce(table[PREFIX + name].cast(array.type), array)
            table = with_column(table, PREFIX + name, array)
    # An empty object that was emptied here is absent; one that was written as {} stays.
    left = [
        None if row is None or (not row and before != "{}") else msgspec.json.encode(row).decode()
        for row, before in zip(rows, texts.to_pylist(), strict=True)
    ]
    if all(t is None for t in left):
        return without_columns(table, ["attributes"])
    return with_column(table, "attributes", pa.array(left, pa.string()))


def _agree(table: pa.Table, types: dict[str, str]) -> pa.Table:
    """Typed columns that ``table`` brings along: learn their types, or put those of another
    type than the dataset's back into the JSON."""
    back = []
    for name in [n for n in table.column_names if n.startswith(PREFIX)]:
        kind = next((k.__name__ for k, t in _TYPES.items() if t == table[name].type), "str")
        if types.setdefault(name.removeprefix(PREFIX), kind) != kind:
            back.append(name)
    if not back:
        return table
    apart = attribute_dicts(table.select([*back, *({"attributes"} & {*table.column_names})]))
    texts = [None if row is None else msgspec.json.encode(row).decode() for row in apart]
    return with_column(without_columns(table, back), "attributes", pa.array(texts, pa.string()))


def fits(value: Any, kind: pa.DataType) -> bool:
    """Whether a value belongs in the typed column of this type, not in the JSON of its row."""
    return any(t == kind and _fits(value, k.__name__) for k, t in _TYPES.items())


def _fits(value: Any, wanted: str) -> bool:
    if wanted == "int":
        return type(value) is int and -(2**63) <= value < 2**63
    if wanted == "float":
        return type(value) is float or (type(value) is int and abs(value) <= 2**53)
    return type(value).__name__ == wanted
