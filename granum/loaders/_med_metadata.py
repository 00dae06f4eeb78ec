"""Files of metadata with a row per image, Parquet or JSON lines: batches, or rows by number.

Rows are numbered over all files, in the order of their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from granum.errors import FormatError
from granum.loaders._json_files import decode_record
from granum.loaders._paths import folders_in, is_file, names_in
from granum.loaders.base import Intake

__all__ = ["NEEDED", "Metadata", "columns_of", "metadata_files"]

Ints = npt.NDArray[np.int64]

NEEDED = frozenset({"file_name", "caption", "source"})
ROWS = 8192
_GROUPS_HELD = 4


def columns_of(path: Path) -> list[str]:
    """Names of the columns of a file, by its first record; none where it is none. Never raises."""
    try:
        if path.suffix == ".parquet":
            return [str(n) for n in pq.read_schema(path).names]
        with path.open("rb") as file:
            found = decode_record(file.readline(1 << 20), path.name, None, Intake())
    except (OSError, ValueError, pa.ArrowException):
        return []
    return [*(found or {})]


def metadata_files(root: Path) -> list[Path]:
    """The files at a root and in its folders. Never raises."""
    if is_file(root):
        return [root]
    folders = [root, *(root / f for f in folders_in(root))]
    named = [f / n for f in folders for n in names_in(f, 10_000)]
    return [p for p in named if p.suffix in (".parquet", ".jsonl") and {*columns_of(p)} >= NEEDED]


class Metadata:
    """The rows of some files.

    Attributes:
        names: of the files, as findings call them.
        starts: the number of the first row of each, and of all rows.
    """

    def __init__(self, files: Sequence[tuple[Path, str]], intake: Intake) -> None:
        self.intake = intake
        kinds = {".parquet": _Parquet}
        self._files: list[_Parquet | _Lines] = [
            kinds.get(path.suffix, _Lines)(path, name, intake) for path, name in files
        ]
        self.names = [name for _, name in files]
        self.starts = np.concatenate([[0], np.cumsum([f.rows for f in self._files])])

    def place(self, row: int) -> tuple[str, str]:
        """File and place of a row."""
        which = int(np.searchsorted(self.starts, row, "right")) - 1
        return self.names[which], self._files[which].place(row - int(self.starts[which]))

    def told(self, row: int) -> bool:
        """Whether a fault of the row was told."""
        which = int(np.searchsorted(self.starts, row, "right")) - 1
        return row - int(self.starts[which]) in self._files[which].faulty

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, pa.Table]]:
        """Number of the first row, and rows, some at a time; all that are records have
        ``file_name``, which is null for others.

        Raises:
            FormatError: a file cannot be read.
        """
        for start, file in zip(self.starts.tolist(), self._files, strict=False):
            for at, table in file.batches(columns):
                yield start + at, table

    def take(self, wanted: Ints) -> pa.Table:
        """Rows by their numbers, which ascend."""
        parts = []
        which = np.searchsorted(self.starts, wanted, "right") - 1
        for i in np.unique(which).tolist():
            parts.append(self._files[i].take(wanted[which == i] - self.starts[i]))
        return pa.concat_tables(parts, promote_options="permissive")


class _Parquet:
    def __init__(self, path: Path, name: str, intake: Intake) -> None:
        self.name, self.faulty = name, set[int]()
        try:
            self.file = pq.ParquetFile(path)
        except (OSError, pa.ArrowException) as error:
            raise FormatError(name, f"no Parquet that can be read: {error}") from error
        facts = self.file.metadata
        self.rows = int(facts.num_rows)
        counts = [facts.row_group(i).num_rows for i in range(facts.num_row_groups)]
        self.groups = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        schema = self.file.schema_arrow
        self.columns = [f.name for f in schema if _scalar(f.type)]
        for field in schema:
            if field.name not in self.columns:
                message = f"the column {field.name!r} ({field.type}) is not read"
                intake.fault("file-not-read", name, None, message)
        if not {*self.columns} >= NEEDED:
            missing = ", ".join(sorted(NEEDED - {*self.columns}))
            raise FormatError(name, f"no column of text {missing}")
        self._held: dict[int, pa.Table] = {}

    def place(self, row: int) -> str:
        return f"row {row}"

    def batches(self, columns: Sequence[str] | None) -> Iterator[tuple[int, pa.Table]]:
        start = 0
        try:
            for batch in self.file.iter_batches(ROWS, columns=list(columns or self.columns)):
                yield start, _texts(pa.Table.from_batches([batch]))
                start += batch.num_rows
        except (OSError, pa.ArrowException) as error:
            raise FormatError(self.name, f"cannot be read: {error}", f"row {start}") from error

    def take(self, wanted: Ints) -> pa.Table:
        which = np.searchsorted(self.groups, wanted, "right") - 1
        parts = []
        for i in np.unique(which).tolist():
            if i not in self._held:
                while len(self._held) >= _GROUPS_HELD:
                    del self._held[next(iter(self._held))]
                try:
                    self._held[i] = _texts(self.file.read_row_group(i, columns=self.columns))
                except (OSError, pa.ArrowException) as error:
                    place = f"row group {i}"
                    raise FormatError(self.name, f"cannot be read: {error}", place) from error
            parts.append(self._held[i].take(pa.array(wanted[which == i] - self.groups[i])))
        return pa.concat_tables(parts)


class _Lines:
    def __init__(self, path: Path, name: str, intake: Intake) -> None:
        self.path, self.name, self.intake = path, name, intake
        self.faulty = set[int]()
        self.lines: list[int] = []
        offsets, at = [], 0
        try:
            with path.open("rb") as file:
                for number, raw in enumerate(file, 1):
                    if raw.strip():
                        offsets.append(at)
                        self.lines.append(number)
                    at += len(raw)
        except OSError as error:
            raise FormatError(name, f"cannot be read: {error}") from error
        self.offsets, self.rows = np.array(offsets, np.int64), len(offsets)

    def place(self, row: int) -> str:
        return f"line {self.lines[row]}"

    def batches(self, columns: Sequence[str] | None) -> Iterator[tuple[int, pa.Table]]:
        # Faults are told once: when whole rows are read.
        for start in range(0, self.rows, ROWS):
            rows = np.arange(start, min(start + ROWS, self.rows))
            yield start, self._table(rows, tell=columns is None)

    def take(self, wanted: Ints) -> pa.Table:
        return self._table(wanted, tell=True)

    def _table(self, wanted: Ints, tell: bool) -> pa.Table:
        found: list[dict[str, Any]] = []
        with self.path.open("rb") as file:
            for row in wanted.tolist():
                file.seek(self.offsets[row])
                intake, text = self.intake if tell else Intake(), file.readline().strip()
                record = decode_record(text, self.name, self.place(row), intake)
                if record is None:
                    self.faulty.add(row)
                    record = {}
                for key in NEEDED & record.keys():
                    value = record[key]
                    if value is not None and not isinstance(value, str):
                        message = f"{key} is no text: {value!r:.60}"
                        intake.fault("bad-value", self.name, self.place(row), message)
                        record[key] = None
                found.append(record)
        kept = {k: [r.get(k) for r in found] for k in (*NEEDED, *_extra(found))}
        return pa.table(
            {k: pa.array(v, pa.string() if k in NEEDED else None) for k, v in kept.items()}
        )


def _extra(found: Sequence[dict[str, Any]]) -> list[str]:
    """Further keys whose values are all of one scalar type."""
    kinds: dict[str, set[type]] = {}
    for record in found:
        for key, value in record.items():
            if key not in NEEDED and value is not None:
                kinds.setdefault(key, set()).add(type(value))
    small = (str, bool, float, int)
    return sorted(
        k
        for k, v in kinds.items()
        if len(v) == 1
        and next(iter(v)) in small
        and all(abs(r[k]) < 2**63 for r in found if type(r.get(k)) is int)
    )


def _scalar(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(
        pa.types.is_string(inner)
        or pa.types.is_large_string(inner)
        or pa.types.is_integer(inner)
        or pa.types.is_floating(inner)
        or pa.types.is_boolean(inner)
    )


def _texts(table: pa.Table) -> pa.Table:
    """``table`` with texts as plain strings."""
    columns = {}
    for name in table.column_names:
        values = table[name]
        kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
        if pa.types.is_large_string(kind) or name in NEEDED:
            kind = pa.string()
        values.validate(full=True)
        columns[name] = values.cast(kind)
    return pa.table(columns)
