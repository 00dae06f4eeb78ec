"""CSV files by header: blocks of chosen columns as Arrow tables, faults with their lines.

Columns are found by name, never by position. Fields may be quoted and hold line ends. An empty
field is null, a quoted empty field is the empty text.
"""

from __future__ import annotations

import csv
import io
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from granum.errors import FormatError
from granum.loaders._csv_write import CsvWriter
from granum.loaders.base import Intake

__all__ = ["Block", "CsvFile", "CsvWriter", "first_record"]

BLOCK = 8 << 20
"""Bytes that are parsed at a time: what memory holds, some times over."""

_HEAD = 1 << 20
_NEWLINE, _QUOTE = 10, 34

Ints = npt.NDArray[np.int64]
Types = Mapping[str, pa.DataType]


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that follow each other in a file.

    Attributes:
        table: the columns asked for that the file has.
        first: how many rows there were in the blocks before.
        numbers: of each row in the file, from 0; faulty rows that were left out count.
        line: gives the line, from 1, of a row of ``table``.
    """

    table: pa.Table
    first: int
    numbers: Ints
    line: Callable[[int], int]


def first_record(path: Path) -> list[str]:
    """The fields of the first record; empty where there is none."""
    with path.open("rb") as file:
        text = file.read(_HEAD).decode("utf-8-sig", "replace")
    try:
        return next(csv.reader(io.StringIO(text, newline="")), [])
    except csv.Error:
        return []


class CsvFile:
    """One file.

    Args:
        path: where it is.
        name: what findings call it.
        names: of the columns, where the file has no header.
        decimal: the decimal sign.
        size: bytes of a block.

    Raises:
        FormatError: it has no header, or two columns of one name.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        names: Sequence[str] | None = None,
        decimal: str = ".",
        size: int = BLOCK,
    ) -> None:
        self.path, self.name, self.decimal, self.size = path, name, decimal, size
        self._start = 0
        with path.open("rb") as file:
            if file.read(3) == b"\xef\xbb\xbf":
                self._start = 3
        if names is not None:
            self.header = list(names)
            return
        self.header = first_record(path)
        if not self.header:
            raise FormatError(name, "no header that can be read", "line 1")
        if len(set(self.header)) != len(self.header):
            raise FormatError(name, "two columns have one name", "line 1")
        with path.open("rb") as file:
            file.seek(self._start)
            head = np.frombuffer(file.read(_HEAD), np.uint8)
        ends = _record_ends(head, 0)
        self._start += int(ends[0]) + 1 if len(ends) else len(head)

    def blocks(self, types: Types, intake: Intake) -> Iterator[Block]:
        """The rows, a block at a time; the next block is parsed meanwhile.

        A row of another number of fields, or with a value that is not of its column's type, is a
        fault with its line, and left out (``fix`` leaves only the value out, and takes the fields
        that a short row has).

        Args:
            types: of the columns that are wanted; those that the file lacks are left out.
            intake: gets faults.
        """
        wanted = {n: t for n, t in types.items() if n in self.header}
        if self.path.stat().st_size <= self._start:
            return
        with (
            self.path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m,
        ):
            data = _Data(m, self._start)
            cuts = data.cuts(self.size)
            first = given = 0
            with ThreadPoolExecutor(1, thread_name_prefix="granum-csv") as pool:
                cut = next(cuts, None)
                parsing = None if cut is None else pool.submit(self._parse, data, cut, wanted)
                while cut is not None and parsing is not None:
                    now, table, cut = cut, parsing.result(), next(cuts, None)
                    if cut is not None:
                        parsing = pool.submit(self._parse, data, cut, wanted)
                    if table is None:
                        block, count = self._one_by_one(data, now, wanted, intake, first, given)
                    else:
                        count = table.num_rows
                        numbers = np.arange(first, first + count)
                        block = Block(table, given, numbers, _line_finder(data, now))
                    if block.table.num_rows:
                        yield block
                    first, given = first + count, given + block.table.num_rows
                    del block, table

    def _parse(self, data: _Data, cut: _Cut, wanted: Types) -> pa.Table | None:
        """A block in bulk; None where something in it is wrong."""
        try:
            return pacsv.read_csv(
                pa.BufferReader(data.buffer(cut)),
                read_options=pacsv.ReadOptions(column_names=self.header, block_size=1 << 20),
                parse_options=pacsv.ParseOptions(newlines_in_values=cut.quotes),
                convert_options=pacsv.ConvertOptions(
                    include_columns=list(wanted),
                    column_types=dict(wanted),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    decimal_point=self.decimal,
                ),
            )
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None

    def _one_by_one(
        self,
        data: _Data,
        cut: _Cut,
        wanted: Types,
        intake: Intake,
        first: int,
        given: int,
    ) -> tuple[Block, int]:
        """A block row by row, so that each fault has its line; and how many records it has."""
        text = bytes(data.buffer(cut)).decode("utf-8", "surrogateescape")
        reader = csv.reader(io.StringIO(text, newline=""))
        before, seen = data.lines_before(cut.begin), 0
        at = {n: self.header.index(n) for n in wanted}
        values: dict[str, list[Any]] = {n: [] for n in wanted}
        lines: list[int] = []
        numbers: list[int] = []
        count = 0
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                place = f"line {before + reader.line_num}"
                intake.fault("bad-value", self.name, place, f"no CSV: {error}")
                continue
            if row is None:
                break
            line, seen = before + seen + 1, reader.line_num
            found = self._record(row, at, wanted, line, intake) if row else None
            if found is not None:
                lines.append(line)
                numbers.append(first + count)
                for name, value in zip(wanted, found, strict=True):
                    values[name].append(value)
            count += bool(row)
        columns = {n: _array(values[n], t) for n, t in wanted.items()}
        counted = np.array(numbers, np.int64)
        return Block(pa.table(columns), given, counted, lines.__getitem__), count

    def _record(
        self, row: list[str], at: Mapping[str, int], wanted: Types, line: int, intake: Intake
    ) -> list[Any] | None:
        """The values of a record; None where it is left out."""
        place = f"line {line}"
        if len(row) != len(self.header):
            message = f"{len(row)} fields, not {len(self.header)}"
            intake.fault("bad-value", self.name, place, message)
            if intake.on_error != "fix" or len(row) > len(self.header):
                return None
            row = [*row, *[""] * (len(self.header) - len(row))]
        out: list[Any] = []
        good = True
        for name, kind in wanted.items():
            field = row[at[name]]
            try:
                out.append(_value(field, kind, self.decimal) if field else None)
            except ValueError:
                shown = field[:50].encode("utf-8", "backslashreplace").decode()
                message = f"{name} is {shown!r}, no {_called(kind)}"
                intake.fault("bad-value", self.name, place, message)
                out.append(None)
                good = good and intake.on_error == "fix"
        return out if good else None


@dataclass(frozen=True, slots=True)
class _Cut:
    """A block as bytes ``begin`` to ``end``; whether there are quotes in it."""

    begin: int
    end: int
    quotes: bool


class _Data:
    """The mapped bytes of a file."""

    def __init__(self, mapped: mmap.mmap, start: int) -> None:
        self.mapped, self.start = mapped, start
        self._counted = (0, 0)

    def cuts(self, size: int) -> Iterator[_Cut]:
        """Blocks of about ``size`` bytes that end where a record ends."""
        begin, total = self.start, len(self.mapped)
        while begin < total:
            end, asked = 0, size
            while not end:
                stop = min(begin + asked, total)
                quotes = self.mapped.find(b'"', begin, stop) >= 0
                if stop == total:
                    end = total
                elif quotes:
                    end = self._even_end(begin, stop)
                else:
                    end = self.mapped.rfind(b"\n", begin, stop) + 1
                asked *= 2
            yield _Cut(begin, end, quotes)
            begin = end

    def _even_end(self, begin: int, stop: int) -> int:
        """The last record's end in a stretch with quotes; 0 where there is none."""
        part = self.bytes(begin, stop)
        window = 1 << 16
        while True:
            tail = part[-window:]
            before = int(np.count_nonzero(part[: len(part) - len(tail)] == _QUOTE)) & 1
            ends = _record_ends(tail, before)
            if len(ends):
                return begin + len(part) - len(tail) + int(ends[-1]) + 1
            if window >= len(part):
                return 0
            window *= 4

    def bytes(self, begin: int, end: int) -> npt.NDArray[np.uint8]:
        # A copy: a view would keep the map open.
        return np.frombuffer(self.mapped[begin:end], np.uint8)

    def buffer(self, cut: _Cut) -> Any:
        return pa.py_buffer(self.mapped[cut.begin : cut.end])

    def lines_before(self, offset: int) -> int:
        """How many lines end before a byte."""
        at, count = self._counted if self._counted[0] <= offset else (0, 0)
        while at < offset:
            stop = min(at + BLOCK, offset)
            count += self.mapped[at:stop].count(b"\n")
            at = stop
        self._counted = (at, count)
        return count


def _record_ends(data: npt.NDArray[np.uint8], before: int) -> Ints:
    """Where records end: line ends outside of quotes; ``before`` quotes were opened before."""
    quotes = np.cumsum(data == _QUOTE, dtype=np.uint8)
    return np.flatnonzero((data == _NEWLINE) & (((quotes + before) & 1) == 0))


def _line_finder(data: _Data, cut: _Cut) -> Callable[[int], int]:
    """Gives the line of a row of a block; looked for when asked."""
    starts: list[Ints] = []

    def line(row: int) -> int:
        part = data.bytes(cut.begin, cut.end)
        if not starts:
            ends = _record_ends(part, 0)
            if not len(ends) or ends[-1] != len(part) - 1:
                ends = np.append(ends, len(part))
            begin = np.concatenate([[0], ends[:-1] + 1])
            shown = part[np.minimum(begin, len(part) - 1)]
            starts.append(begin[(ends > begin) & (shown != _NEWLINE) & (shown != 13)])
        inside = int(np.count_nonzero(part[: starts[0][row]] == _NEWLINE))
        return data.lines_before(cut.begin) + inside + 1

    return line


# ---------------------------------------------------------------------- values


def _called(kind: pa.DataType) -> str:
    if pa.types.is_floating(kind):
        return "number"
    if pa.types.is_integer(kind):
        return "whole number" if kind != pa.int8() else "flag"
    return "true or false" if pa.types.is_boolean(kind) else "UTF-8 text"


def _value(field: str, kind: pa.DataType, decimal: str) -> Any:
    """A field as a value of a type.

    Raises:
        ValueError: it is none.
    """
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        if "_" in field or (decimal != "." and "." in field):
            raise ValueError
        if pa.types.is_floating(kind):
            return float(field.replace(decimal, "."))
        limit = 1 << (kind.bit_width - 1)
        if not -limit <= int(field) < limit:
            raise ValueError
        return int(field)
    if pa.types.is_boolean(kind):
        if field.lower() not in ("true", "false", "1", "0"):
            raise ValueError
        return field.lower() in ("true", "1")
    field.encode()  # raises UnicodeEncodeError, a ValueError, where it was no UTF-8
    return field


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    return pa.array(values, kind)
