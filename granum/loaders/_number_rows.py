"""Texts of numbers, one record a line: as one array, with what is wrong told by its line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from granum.errors import FormatError
from granum.loaders.base import Intake

__all__ = ["NumberRows", "read_numbers", "split_line"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NumberRows:
    """The numbers of a text.

    Attributes:
        values: shape (rows, columns).
        line: of each row, from 1.
    """

    values: Floats
    line: Ints

    @property
    def columns(self) -> int:
        return self.values.shape[1]

    def take(self, rows: npt.NDArray[np.bool_] | Ints) -> NumberRows:
        return NumberRows(self.values[rows], self.line[rows])

    def column(self, number: int) -> Floats:
        """A column by number; NaN where there are fewer."""
        if number < self.columns:
            return self.values[:, number]
        return np.full(len(self.line), np.nan)


def split_line(line: bytes) -> list[bytes]:
    """The words of a line: between commas, else semicolons, else blanks; blanks about them go."""
    for sign in (b",", b";"):
        if sign in line:
            words = [w.strip() for w in line.split(sign)]
            return words[:-1] if words[-1] == b"" else words
    return line.split()


def read_numbers(path: Path, name: str, intake: Intake, least: int) -> NumberRows:
    """The numbers of a text file. Lines that hold something else, or another number of words than
    the first that is in order, are left out, each with a ``bad-value``.

    Args:
        path: of the file.
        name: what findings call it.
        intake: gets the findings.
        least: how many columns there must be.

    Raises:
        FormatError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error}") from error
    data = data.removeprefix(b"\xef\xbb\xbf").rstrip()
    if not data:
        return NumberRows(np.empty((0, least)), np.empty(0, np.int64))
    found = _regular(data)
    if found is None or found.columns < least:
        found = _one_by_one(data, name, intake, least)
    return found


def _regular(data: bytes) -> NumberRows | None:
    """All rows at once, by Arrow; None where a line is out of order."""
    first = data[: data.find(b"\n")] if b"\n" in data else data
    n = data.count(b"\n") + 1
    if b"," not in first:
        if b";" in first:
            data = data.replace(b",", b"?").replace(b";", b",")
        else:
            data = b"\n".join(b",".join(line.split()) for line in data.split(b"\n"))
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(data),
            pa.csv.ReadOptions(
                use_threads=False, block_size=len(data) + 1, autogenerate_column_names=True
            ),
            pa.csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            pa.csv.ConvertOptions(
                column_types={f"f{i}": pa.float64() for i in range(first.count(b",") + 1 + 64)},
                null_values=[""],
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError):
        return None
    columns = [c for c in table.columns if c.null_count < len(c)]  # a comma at the end is none
    if table.num_rows != n or not columns or any(c.null_count for c in columns):
        return None
    if any(c.type != pa.float64() for c in columns):
        return None
    values = np.empty((n, len(columns)))
    for i, one in enumerate(columns):
        values[:, i] = np.asarray(one)
    return NumberRows(values, np.arange(1, n + 1))


def _one_by_one(data: bytes, name: str, intake: Intake, least: int) -> NumberRows:
    rows: list[list[float]] = []
    lines: list[int] = []
    for number, line in enumerate(data.splitlines(), 1):
        words = split_line(line)
        if not words:
            continue
        wanted = len(rows[0]) if rows else max(least, len(words))
        try:
            values = [float(w) for w in words]
        except ValueError:
            shown = line[:60].decode(errors="replace")
            intake.fault("bad-value", name, f"line {number}", f"not numbers: {shown!r}")
            continue
        if len(values) != wanted:
            message = f"{len(values)} values where {wanted} belong"
            intake.fault("bad-value", name, f"line {number}", message)
            continue
        rows.append(values)
        lines.append(number)
    width = len(rows[0]) if rows else least
    return NumberRows(np.array(rows, np.float64).reshape(-1, width), np.array(lines, np.int64))
