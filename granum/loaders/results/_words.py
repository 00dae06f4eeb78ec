"""Texts of results: lines of an image's name and numbers, as columns; a text per class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from granum.errors import FormatError
from granum.loaders.results._named import SampleNames, category_rows, clean_rows
from granum.schema.findings import Findings
from granum.store.dataset import Dataset

__all__ = ["Words", "read_words", "rows_of_classes"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Words:
    """Lines of a text.

    Attributes:
        name: the first word of each.
        values: shape (n, k), the numbers after it.
        line: of each, from 1.
    """

    name: pa.Array
    values: Floats
    line: Ints


def rows_of_classes(
    files: Iterable[tuple[Path, str]], numbers: int, truth: Dataset, findings: Findings
) -> Iterator[tuple[int, Ints, Floats]]:
    """Of each text that has a class of the truth: its row, and of each line that can be used the
    row of the sample, shape (n,), and the numbers, the score first, shape (n, numbers).

    Args:
        files: texts, and the class in the name of each.
        numbers: of a line, behind the name of the image.
        truth: gives samples and classes.
        findings: gets the lines that name none of these, or hold no finite numbers.
    """
    known, names = category_rows(truth), SampleNames(truth)
    for file, word in files:
        rows = read_words(file, file.name, numbers, findings)
        n = len(rows.line)
        if word not in known:
            if n:
                message = f"{n} predictions of {word!r}, no class of the truth"
                findings.add("unknown-category", file.name, None, message, n)
            continue
        samples = names.rows(rows.name)
        line = rows.line.__getitem__
        keep = clean_rows(samples, rows.values, rows.name, line, file.name, findings)
        yield known[word], samples[keep], rows.values[keep]


def read_words(path: Path, shown: str, numbers: int, findings: Findings) -> Words:
    """The lines of a text, words between blanks; a line of anything but a name and ``numbers``
    numbers is a ``bad-value`` and is left out.

    Raises:
        FormatError: it cannot be read.
    """
    try:
        data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error}") from error
    if not data.strip():
        return Words(pa.array([], pa.string()), np.empty((0, numbers)), np.empty(0, np.int64))
    columns = [str(i) for i in range(numbers + 1)]
    types = {n: pa.float64() if n != "0" else pa.string() for n in columns}
    try:
        table = pacsv.read_csv(
            pa.BufferReader(data),
            read_options=pacsv.ReadOptions(column_names=columns),
            parse_options=pacsv.ParseOptions(
                delimiter=" ", quote_char=False, ignore_empty_lines=False
            ),
            convert_options=pacsv.ConvertOptions(column_types=types, null_values=[]),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _one_by_one(data, shown, numbers, findings)
    values = np.column_stack([np.asarray(table[n], np.float64) for n in columns[1:]])
    name = table["0"].combine_chunks()
    return Words(name, values, np.arange(1, len(name) + 1))


def _one_by_one(data: bytes, shown: str, numbers: int, findings: Findings) -> Words:
    names, values, lines = [], [], []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            found = [float(w) for w in words[1:]]
        except ValueError:
            found = []
        if len(found) != numbers:
            message = f"no name and {numbers} numbers: {line.strip()!r}"
            findings.add("bad-value", shown, f"line {number}", message)
            continue
        names.append(words[0])
        values.append(found)
        lines.append(number)
    block = np.array(values, np.float64).reshape(-1, numbers)
    return Words(pa.array(names, pa.string()), block, np.array(lines, np.int64))
