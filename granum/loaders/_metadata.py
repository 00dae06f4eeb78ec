"""Files ``metadata.{jsonl,csv,parquet}`` beside images: records as tables, and back.

A JSON line or CSV row that cannot be read is a fault with its line; the others are read. In CSV an
empty field is absent, and a field that begins with ``{`` or ``[`` is JSON; numbers are told from
their text only where the text is how the number is written (``007`` stays text).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from granum.errors import FormatError
from granum.loaders._hf_columns import is_list
from granum.loaders._hf_facts import OBJECTS, OTHERS, Facts
from granum.loaders.base import Intake
from granum.schema.tables import SAMPLES, with_column

__all__ = ["is_media", "read_metadata"]

Ints = npt.NDArray[np.int64]
RECORDS = 4096
_INTEGER = re.compile(r"0|-?[1-9]\d{0,17}")
_FLOAT = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_FIELD_LIMIT = 1 << 30


def is_media(name: str) -> bool:
    """Whether a column names media files."""
    return name in ("file_name", "file_names") or name.endswith(("_file_name", "_file_names"))


def read_metadata(
    path: Path, name: str, intake: Intake, facts: Facts | None
) -> Iterator[tuple[pa.Table, Ints]]:
    """The records of a file, some at a time, and the line (or row of Parquet) of each.

    Raises:
        FormatError: it cannot be read at all, or no column names the images.
    """
    if path.suffix == ".jsonl":
        found = _json_lines(path, name, intake)
    elif path.suffix == ".csv":
        found = _csv(path, name, intake, facts)
    else:
        found = _parquet(path, name)
    for table, lines in found:
        if not any(is_media(c) for c in table.column_names):
            raise FormatError(name, "no column 'file_name' names the images", f"line {lines[0]}")
        yield table, lines


# ---------------------------------------------------------------------- JSON lines


def _json_lines(path: Path, name: str, intake: Intake) -> Iterator[tuple[pa.Table, Ints]]:
    waiting: list[dict[str, Any]] = []
    lines: list[int] = []
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            text = raw.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else raw.strip()
            if not text:
                continue
            record = _record(text, raw, name, number, intake)
            if record is None:
                continue
            waiting.append(record)
            lines.append(number)
            if len(waiting) >= RECORDS:
                yield _table(waiting, lines, name, intake)
                waiting, lines = [], []
    if waiting:
        yield _table(waiting, lines, name, intake)


def _record(
    text: bytes, raw: bytes, name: str, number: int, intake: Intake
) -> dict[str, Any] | None:
    place = f"line {number}"
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        found = _with_nan(text, name, place, intake)
        if found is None:
            code = "bad-value" if raw.endswith(b"\n") else "truncated-json"
            intake.fault(code, name, place, f"no JSON: {error}")
            return None
        if intake.on_error != "fix":
            return None
    if not isinstance(found, dict):
        intake.fault("bad-value", name, place, "no JSON object")
        return None
    return found


def _with_nan(text: bytes, name: str, place: str, intake: Intake) -> Any:
    """The value of a text in which NaN or Infinity stand, these left out; None where it is no
    JSON for another reason."""
    met: list[str] = []
    try:
        found = json.loads(text, parse_constant=met.append)
    except ValueError:
        return None
    for token in met:
        intake.fault("nan-token", name, place, f"{token} is no JSON number")
    return found if met else None


def _table(
    records: Sequence[Mapping[str, Any]], lines: Sequence[int], name: str, intake: Intake
) -> tuple[pa.Table, Ints]:
    """Records as a table; what has no one type becomes JSON in ``attributes``."""
    columns: dict[str, pa.Array] = {}
    mixed: dict[str, list[Any]] = {}
    for key in dict.fromkeys(k for r in records for k in r):
        values = [r.get(key) for r in records]
        try:
            columns[key] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            if key in (OBJECTS, OTHERS):
                columns[key] = _agreeing(values, lines, key, name, intake)
            elif is_media(key):
                columns[key] = pa.array(
                    [_text(v, lines[i], key, name, intake) for i, v in enumerate(values)]
                )
            else:
                mixed[key] = values
    table = pa.table(columns)
    if mixed:
        table = _with_mixed(table, mixed)
    return table, np.array(lines, np.int64)


def _with_mixed(table: pa.Table, mixed: Mapping[str, list[Any]]) -> pa.Table:
    given = table["attributes"].to_pylist() if "attributes" in table.column_names else []
    texts = []
    for i in range(table.num_rows):
        own = given[i] if given else None
        found = msgspec.json.decode(own) if isinstance(own, str) else dict(own or {})
        found.update({k: v[i] for k, v in mixed.items() if v[i] is not None})
        texts.append(msgspec.json.encode(found).decode() if found else None)
    return with_column(table, "attributes", pa.array(texts, pa.string()))


def _text(value: Any, line: int, key: str, name: str, intake: Intake) -> str | None:
    if value is None or isinstance(value, str):
        return value
    intake.fault("bad-value", name, f"line {line}", f"{key!r} is {value!r}, no file name")
    return None


def _agreeing(
    values: list[Any], lines: Sequence[int], key: str, name: str, intake: Intake
) -> pa.Array:
    """Values of which those that have no type in common with the ones before are faults."""
    known: pa.Schema | None = None
    kept: list[Any] = []
    for value, line in zip(values, lines, strict=True):
        try:
            mine = pa.schema([(key, pa.array([value]).type)])
            known = mine if known is None else _unified(known, mine)
            kept.append(value)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            intake.fault("bad-value", name, f"line {line}", f"{key!r} cannot be read: {error}")
            kept.append(None)
    return pa.array(kept) if known is None else pa.array(kept, known.field(0).type)


def _unified(a: pa.Schema, b: pa.Schema) -> pa.Schema:
    """The type that both fit.

    Raises:
        ArrowTypeError: there is none (text and numbers).
    """
    return pa.schema([(a.names[0], _common(a.field(0).type, b.field(0).type))])


def _common(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    if pa.types.is_null(a) or a == b:
        return b
    if pa.types.is_null(b):
        return a
    if pa.types.is_struct(a) and pa.types.is_struct(b):
        names = dict.fromkeys([f.name for f in a] + [f.name for f in b])
        sides = {f.name: f.type for f in a}, {f.name: f.type for f in b}
        return pa.struct(
            [(n, _common(sides[0].get(n, pa.null()), sides[1].get(n, pa.null()))) for n in names]
        )
    if is_list(a) and is_list(b):
        return pa.list_(_common(a.value_type, b.value_type))
    numbers = [pa.types.is_integer(t) or pa.types.is_floating(t) for t in (a, b)]
    if all(numbers):
        return pa.float64()
    raise pa.ArrowTypeError(f"{b} where others have {a}")


# ---------------------------------------------------------------------- CSV, Parquet


def _csv(
    path: Path, name: str, intake: Intake, facts: Facts | None
) -> Iterator[tuple[pa.Table, Ints]]:
    limit = csv.field_size_limit(_FIELD_LIMIT)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, None)
            if header is None:
                raise FormatError(name, "the file is empty", "line 1")
            if len(set(header)) != len(header):
                raise FormatError(name, "two columns have one name", "line 1")
            if not any(is_media(c) for c in header):
                raise FormatError(name, "no column 'file_name' names the images", "line 1")
            rows: list[list[str]] = []
            lines: list[int] = []
            before = reader.line_num
            for row in reader:
                line, before = before + 1, reader.line_num
                if not row:
                    continue
                if len(row) != len(header):
                    message = f"{len(row)} fields, not {len(header)}"
                    intake.fault("bad-value", name, f"line {line}", message)
                    continue
                rows.append(row)
                lines.append(line)
    except UnicodeDecodeError as error:
        raise FormatError(name, f"no UTF-8: {error.reason}", f"byte {error.start}") from error
    except csv.Error as error:
        raise FormatError(name, f"no CSV: {error}", f"line {reader.line_num}") from error
    finally:
        csv.field_size_limit(limit)
    if not rows:
        return
    texts = _text_columns(facts)
    columns = {
        c: _csv_column(c, [r[i] for r in rows], lines, name, intake, texts)
        for i, c in enumerate(header)
    }
    records = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    yield _table(records, lines, name, intake)


def _text_columns(facts: Facts | None) -> frozenset[str]:
    """Columns that are text whatever they look like."""
    if facts is None:
        return frozenset({"text", "caption", "file_name"})
    found = {"file_name", *facts.texts}
    for column, to in facts.samples.items():
        if to.startswith("attr."):
            if facts.types.get(f"s.{to.removeprefix('attr.')}") == "str":
                found.add(column)
        elif to in SAMPLES.names:
            kind = SAMPLES.field(to).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if pa.types.is_string(kind) and column != "image_id":
                found.add(column)
    return frozenset(found)


def _csv_column(
    column: str,
    texts: Sequence[str],
    lines: Sequence[int],
    name: str,
    intake: Intake,
    as_text: frozenset[str],
) -> list[Any]:
    """The values of a column, typed as all of its texts allow."""
    given = [t for t in texts if t]
    if column in as_text:
        return [t or None for t in texts]
    if all(_INTEGER.fullmatch(t) for t in given):
        return [int(t) if t else None for t in texts]
    if all(_FLOAT.fullmatch(t) for t in given):
        return [float(t) if t else None for t in texts]
    if all(t.lower() in ("true", "false") for t in given):
        return [t.lower() == "true" if t else None for t in texts]
    if column not in (OBJECTS, OTHERS) and not all(t[0] in "{[" for t in given):
        return [t or None for t in texts]
    out: list[Any] = []
    for text, line in zip(texts, lines, strict=True):
        try:
            out.append(msgspec.json.decode(text) if text else None)
        except (msgspec.DecodeError, UnicodeError) as error:
            if column not in (OBJECTS, OTHERS):
                return [t or None for t in texts]
            intake.fault("bad-value", name, f"line {line}", f"{column!r} is no JSON: {error}")
            out.append(None)
    return out


def _parquet(path: Path, name: str) -> Iterator[tuple[pa.Table, Ints]]:
    start = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=16_384):
                if batch.num_rows:
                    yield pa.Table.from_batches([batch]), start + np.arange(batch.num_rows)
                start += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(name, f"no Parquet that can be read: {error}", f"row {start}") from error
