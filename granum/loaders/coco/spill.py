"""Records written in the order of their file, whatever order they are made in."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa

from granum.loaders.coco.records import Array

__all__ = ["Spill"]


class Spill:
    """Texts spilled to a file as they come, written out by position."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.starts: list[Array] = []
        self.lengths: list[Array] = []
        self.positions: list[Array] = []
        self.size = 0

    def __bool__(self) -> bool:
        return self.size > 0

    def add(self, texts: pa.Array, positions: Array) -> None:
        if not len(texts):
            return
        array = texts.cast(pa.large_binary())
        offsets = np.frombuffer(array.buffers()[1], np.int64)[
            array.offset : array.offset + len(array) + 1
        ]
        data = memoryview(array.buffers()[2])[int(offsets[0]) : int(offsets[-1])]
        self.file.write(data)
        self.starts.append(offsets[:-1] - offsets[0] + self.size)
        self.lengths.append(np.diff(offsets))
        self.positions.append(positions)
        self.size += len(data)

    def write(self, file: IO[bytes]) -> None:
        """The list, in order of positions."""
        file.write(b"[")
        if self.size:
            self.file.flush()
            order = np.argsort(np.concatenate(self.positions), kind="stable")
            starts, lengths = (
                np.concatenate(self.starts)[order],
                np.concatenate(self.lengths)[order],
            )
            with mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                for piece in _pieces(data, starts, lengths):
                    file.write(piece)
        file.write(b"]")


def _pieces(data: Any, starts: Array, lengths: Array, size: int = 8192) -> Iterator[bytes]:
    ends = (starts + lengths).tolist()
    begin = starts.tolist()
    for i in range(0, len(begin), size):
        joined = b", ".join(
            [data[s:e] for s, e in zip(begin[i : i + size], ends[i : i + size], strict=True)]
        )
        yield (b", " if i else b"") + joined
    return
