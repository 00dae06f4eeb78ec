"""Label files as arrays: many files at once, no Python object per number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Lines", "join", "ragged", "tokenize"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SPACE = np.zeros(256, bool)
SPACE[list(b" \t\n\r\v\f")] = True
OF_NUMBERS = np.zeros(256, bool)
OF_NUMBERS[list(b"0123456789+-.eE")] = True
NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of some files that are not blank.

    ``file`` and ``number`` (from 1) say where each stands; its columns are
    ``values[first : first + count]``, NaN where one is no number (``bad``: lines that have such).
    """

    file: Ints
    number: Ints
    first: Ints
    count: Ints
    values: Floats
    bad: Mask
    chars: npt.NDArray[np.uint8]
    ends: Ints

    def token(self, i: int) -> str:
        """The text of a value."""
        start = 0 if i == 0 else int(self.ends[i - 1])
        return self.chars[start : int(self.ends[i])].tobytes().decode("utf-8", "replace")

    def take(self, at: Mask | Ints) -> Lines:
        """Some of the lines."""
        return Lines(
            self.file[at],
            self.number[at],
            self.first[at],
            self.count[at],
            self.values,
            self.bad[at],
            self.chars,
            self.ends,
        )


def clean(text: bytes) -> bytes:
    """Without a byte order mark, with ``\\n`` between lines."""
    if text.startswith(BOM):
        text = text[len(BOM) :]
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return text


def tokenize(texts: Sequence[bytes]) -> Lines:
    """The numbers of some label files.

    A number is what Python's ``float`` reads, without ``nan``, ``inf`` and underscores; each is
    the nearest double of its text.
    """
    texts = [clean(t) for t in texts]
    raw = np.frombuffer(b"\n".join([*texts, b""]), np.uint8)
    begin = np.concatenate([[0], np.cumsum([len(t) + 1 for t in texts])]).astype(np.int64)
    space = np.append(SPACE[raw], True)
    edges = np.flatnonzero(space[1:] != space[:-1]) + 1
    if len(space) and not space[0]:
        edges = np.concatenate([[0], edges])
    starts, stops = edges[0::2].astype(np.int64), edges[1::2].astype(np.int64)
    chars = raw[~space[:-1]]
    ends = np.cumsum(stops - starts)
    values = _numbers(chars, ends)
    breaks = np.flatnonzero(raw == 10)
    line = np.searchsorted(breaks, starts)
    first = np.flatnonzero(np.diff(line, prepend=-1))
    count = np.diff(np.append(first, len(line)))
    wrong = np.isnan(values)
    bad = np.logical_or.reduceat(wrong, first) if len(first) else np.zeros(0, bool)
    line = line[first]
    file = np.searchsorted(begin, starts[first], side="right") - 1
    before = np.searchsorted(breaks, begin[:-1])  # lines before each file
    return Lines(file, line - before[file] + 1, first, count, values, bad, chars, ends)


def _numbers(chars: npt.NDArray[np.uint8], ends: Ints) -> Floats:
    """The doubles that tokens spell, NaN where one spells none."""
    n = len(ends)
    if not n:
        return np.empty(0)
    starts = np.concatenate([[0], ends[:-1]])
    plausible = np.logical_and.reduceat(OF_NUMBERS[chars], starts)
    offsets = pa.py_buffer(np.concatenate([[0], ends]).astype(np.int32))
    data = pa.py_buffer(chars)

    def cast(good: Mask) -> Floats:
        valid = pa.py_buffer(np.packbits(good, bitorder="little"))
        text = pa.Array.from_buffers(pa.string(), n, [valid, offsets, data])
        return np.asarray(text.cast(pa.float64()).fill_null(np.nan), np.float64)

    try:
        values = cast(plausible)
    except pa.ArrowInvalid:  # such as "1-2": look at each
        for i in np.flatnonzero(plausible).tolist():
            plausible[i] = bool(NUMBER.fullmatch(chars[starts[i] : ends[i]].tobytes()))
        values = cast(plausible)
    return np.where(np.isfinite(values), values, np.nan)


def ragged(first: Ints, count: Ints) -> Ints:
    """The indices ``first[i] … first[i] + count[i] - 1``, one run after the other."""
    before = np.cumsum(count) - count
    return np.repeat(first - before, count) + np.arange(int(count.sum()))


def join(columns: Sequence[pa.Array]) -> pa.Array:
    """Rows of text: the given columns with blanks between, nulls left out, ``\\n`` at the end."""
    rows = pc.binary_join_element_wise(*columns, " ", null_handling="skip")
    return pc.binary_join_element_wise(rows, "", "\n")
