"""Writing ``metadata.{jsonl,csv,parquet}`` beside images.

In JSON run lengths are text, other bytes base64, times ISO 8601; in CSV lists and objects are JSON.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from granum.loaders._hf_columns import children, is_list, nonfinite, plain, to_base64
from granum.loaders.base import blank

__all__ = ["MetadataWriter", "sayable"]


def sayable(table: pa.Table, kind: str) -> pa.Table:
    """``table`` as a text file says it: JSON has no NaN and no infinity, and CSV cannot tell an
    empty text from none; such values are null."""
    for name in table.column_names:
        values = plain(table[name])
        where = nonfinite(values)
        if kind == "csv" and pa.types.is_string(values.type) and name != "key":
            where |= np.asarray(pc.fill_null(pc.equal(values, ""), False), bool)
        if where.any():
            table = blank(table, name, where)
    return table


@dataclass
class MetadataWriter:
    """Writes the records of one folder.

    Attributes:
        file: an open binary file.
        kind: ``jsonl``, ``csv`` or ``parquet``.
        schema: of the records.
    """

    file: IO[Any]
    kind: str
    schema: pa.Schema
    _parquet: pq.ParquetWriter | None = None

    def __post_init__(self) -> None:
        if self.kind == "parquet":
            self._parquet = pq.ParquetWriter(self.file, self.schema)
        elif self.kind == "csv":
            self.file.write(_csv_lines([self.schema.names]))

    def write(self, table: pa.Table) -> None:
        """Append records."""
        if self._parquet is not None:
            self._parquet.write_table(table.cast(self.schema))
            return
        shown = pa.table({n: _jsonable(plain(table[n])) for n in table.column_names})
        for batch in shown.to_batches(max_chunksize=1024):
            if self.kind == "jsonl":
                encoded = [msgspec.json.encode(r) for r in batch.to_pylist()]
                self.file.write(b"\n".join([*encoded, b""]))
            else:
                columns = [[_csv_text(v) for v in c.to_pylist()] for c in batch.columns]
                self.file.write(_csv_lines(zip(*columns, strict=True)))

    def close(self) -> None:
        """Finish the file."""
        if self._parquet is not None:
            self._parquet.close()
        self.file.close()


def _csv_lines(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _csv_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _jsonable(array: pa.Array) -> pa.Array:
    """Without binary values (ASCII as text, others in base64) and times (as ISO 8601)."""
    kind = array.type
    if pa.types.is_timestamp(kind):
        return array.cast(pa.string())
    if pa.types.is_binary(kind):
        return to_base64(array)
    if pa.types.is_struct(kind) and kind.num_fields:
        parts = children(array)
        for name, values in parts.items():
            ascii_ = name == "counts" and pa.types.is_binary(values.type)
            parts[name] = values.cast(pa.string()) if ascii_ else _jsonable(values)
        mask = pa.array(~np.asarray(array.is_valid())) if array.null_count else None
        return pa.StructArray.from_arrays(list(parts.values()), list(parts), mask=mask)
    if pa.types.is_list(kind) and _has_binary(kind):
        offsets = np.concatenate([[0], np.cumsum(array.value_lengths().fill_null(0))])
        mask = pa.array(~np.asarray(array.is_valid())) if array.null_count else None
        values = _jsonable(array.flatten())
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=mask)
    return array


def _has_binary(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_has_binary(f.type) for f in kind)
    return _has_binary(kind.value_type) if is_list(kind) else pa.types.is_binary(kind)
