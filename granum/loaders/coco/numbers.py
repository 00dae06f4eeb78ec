"""Lists of numbers in JSON, to Arrow and back, in bulk.

A text such as ``[[1.5, 2], [3, 4]][[5, 6]]`` (one annotation's value after the other) becomes flat
values and offsets: number borders are found on the bytes and Arrow's parser (exact) reads the
numbers in place. No Python object per number is made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["NotNumbersError", "format_nested", "parse_flat", "parse_nested", "parse_numbers"]

Ints = npt.NDArray[np.int64]
_BLANKS = b" \t\r\n"


class NotNumbersError(ValueError):
    """The text holds something else than lists of numbers of the expected depth."""


def parse_numbers(text: bytes) -> tuple[npt.NDArray[np.float64], Ints, Ints]:
    """All numbers of a text, and where each starts and ends.

    Raises:
        NotNumbersError: it holds letters, strings or objects.
    """
    data = np.frombuffer(text, np.uint8)
    if not len(data):
        return np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64)
    if data.max() > 93:
        lowered = np.frombuffer(text.replace(b"e", b"E"), np.uint8)
        if lowered.max() > 93:
            raise NotNumbersError("not only numbers")
        data, text = lowered, lowered.tobytes()
    digit = (data - np.uint8(45)) < 46  # '-' to 'Z': digits, '.', '-', 'E'
    if b"+" in text:
        digit |= data == 43
    edges = np.flatnonzero(digit[1:] != digit[:-1])
    edges += 1
    if digit[0] or digit[-1] or b'"' in text:
        raise NotNumbersError("not a list of numbers")
    n = len(edges)
    # A string array over the text itself: numbers at even places, what lies between them at odd
    # ones, which are marked null, so that the cast skips them.
    offsets = np.empty(n + 1, np.int32)
    offsets[:-1] = edges
    offsets[-1] = len(text)
    valid = np.full((n + 7) // 8, 0x55, np.uint8)
    strings = pa.StringArray.from_buffers(
        n, pa.py_buffer(offsets), pa.py_buffer(text), pa.py_buffer(valid)
    )
    try:
        doubles = strings.cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise NotNumbersError(str(error)) from error
    values = np.frombuffer(doubles.buffers()[1], np.float64)[:n:2]
    return np.ascontiguousarray(values), edges[::2], edges[1::2]


def parse_flat(text: bytes, ends: Ints) -> tuple[npt.NDArray[np.float64], Ints]:
    """``[1, 2][3]``: values and offsets; ``ends`` is where each annotation's text ends.

    Raises:
        NotNumbersError: a text is no flat list of numbers.
    """
    values, _, stops = parse_numbers(text)
    if text.count(b"[") != len(ends) or text.count(b"]") != len(ends):
        raise NotNumbersError("not flat lists")
    offsets = np.concatenate([[0], np.searchsorted(stops, ends, side="right")])
    return values, offsets.astype(np.int64)


def parse_nested(text: bytes, ends: Ints) -> tuple[npt.NDArray[np.float64], Ints, Ints]:
    """``[[1, 2], [3]][[4]]``: values, offsets of lists into values, of rows into lists.

    Raises:
        NotNumbersError: the text is no list of non-empty lists of numbers.
    """
    values, firsts, stops = parse_numbers(text)
    data, rows = np.frombuffer(text, np.uint8), len(ends)
    if not len(values):
        raise NotNumbersError("no numbers")
    # Lists end where more than a comma and a blank lies between two numbers: "], [" or "]][[".
    gaps = np.flatnonzero(firsts[1:] - stops[:-1] > 2)
    list_offsets = np.concatenate([[0], gaps + 1, [len(values)]])
    lists = len(list_offsets) - 1
    closes = stops[list_offsets[1:] - 1]
    row_offsets = np.searchsorted(closes, np.concatenate([[0], ends]), side="left")
    # Every row opens with "[[", closes with "]]", and has just the brackets of its lists.
    starts = np.concatenate([[0], ends[:-1]])
    if (
        (data[starts + 1] != 91).any()
        or (data[ends - 2] != 93).any()
        or (data[closes] != 93).any()
        or text.count(b"[") != lists + rows
        or text.count(b"]") != lists + rows
        or (np.diff(row_offsets) == 0).any()
    ):
        raise NotNumbersError("not lists of lists")
    return values, list_offsets, row_offsets


def without_blanks(text: bytes) -> bytes:
    """The text without white space (there is none inside numbers)."""
    return text.translate(None, _BLANKS)


def format_nested(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A list column of doubles, of any depth, as JSON texts; null stays null.

    Numbers are the shortest that read back as the same double.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_floating(array.type) or pa.types.is_integer(array.type):
        return array.cast(pa.string())
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    inner = format_nested(array.flatten())
    lengths = np.asarray(array.value_lengths().fill_null(0), np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), inner)
    joined = pc.binary_join(lists, ", ")
    texts = pc.binary_join_element_wise("[", joined, "]", "")
    if array.null_count:
        texts = pc.if_else(array.is_valid(), texts, pa.scalar(None, pa.string()))
    return texts


def list_array(
    offsets: Ints | Sequence[int], values: pa.Array, missing: Ints | None = None
) -> pa.Array:
    """A list array; rows where ``missing`` is true are null."""
    mask = None if missing is None or not np.any(missing) else pa.array(missing)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=mask)
