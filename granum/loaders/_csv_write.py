"""Arrow columns as CSV text that ``_csv`` reads back: null is nothing, the empty text quoted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["CsvWriter"]

_QUOTED = r'[",\r\n]'


class CsvWriter:
    """Writes columns as rows of text; numbers are the shortest that read back.

    Args:
        file: binary, to write to.
        header: names of the columns.
    """

    def __init__(self, file: IO[bytes], header: Sequence[str]) -> None:
        self.file, self.header = file, list(header)
        self.file.write(",".join(_quoted(pa.array(header)).to_pylist()).encode() + b"\n")

    def write(self, columns: Mapping[str, Any]) -> None:
        """Write rows; a column that is not given is empty.

        Args:
            columns: arrays of one length, by name.
        """
        rows = len(next(iter(columns.values())))
        if not rows:
            return
        empty = pa.scalar("")
        texts = [_text(columns[n]) if n in columns else empty for n in self.header]
        ends = pa.array(["\n"]).take(pa.array(np.zeros(rows, np.int64)))
        joined = pc.binary_join_element_wise(*texts[:-1], pc.binary_join_element_wise(
            texts[-1], ends, ""), ",")  # fmt: skip
        for chunk in joined.chunks if isinstance(joined, pa.ChunkedArray) else [joined]:
            self.file.write(_data(chunk.cast(pa.large_string())))


def _data(texts: pa.Array) -> memoryview:
    """The texts one after the other."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(b"" if data is None else data)[int(ends[0]) : int(ends[-1])]


def _text(values: Any) -> Any:
    """Values as they stand in a file; null is nothing."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
    if not pa.types.is_string(values.type):
        return values.cast(pa.string()).fill_null("")
    return _quoted(values).fill_null("")


def _quoted(texts: Any) -> Any:
    """Texts with quotes where they need them (the empty text does: nothing is null)."""
    needed = pc.or_(pc.equal(texts, ""), pc.match_substring_regex(texts, _QUOTED))
    if not pc.any(needed).as_py():
        return texts
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(texts, '"', '""'), '"', "")
    return pc.if_else(needed, quoted, texts)
