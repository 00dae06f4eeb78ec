"""Memory of decoded images, which is used again once nothing stands on it any more.

Big arrays that are made and dropped for each image go back to the system each time, and come back
page by page, which costs more than a tenth of the decoding.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Pool"]

LEAST = 1 << 16
"""Capacity of the smallest block, in bytes."""

MOST_IDLE = 1 << 28
"""Bytes that wait to be used again, at most."""


class _Lent(weakref.ref[Any]):
    """Tells when an array is gone, and which block it stood on."""

    __slots__ = ("block",)
    block: memoryview


class Pool:
    """Lends blocks of memory as arrays. A block comes back by itself when the array, and every
    array and tensor that looks at its memory, is gone: so what was lent may be kept."""

    def __init__(self) -> None:
        self.idle: dict[int, list[memoryview]] = {}
        self.idle_bytes = 0
        self.lent: dict[int, _Lent] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return (Pool, ())  # a copy in another process has memory of its own

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """``size`` bytes, with any content."""
        capacity = max(LEAST, 1 << (size - 1).bit_length())
        waiting = self.idle.setdefault(capacity, [])
        try:
            block = waiting.pop()
            self.idle_bytes -= capacity
        except IndexError:
            block = np.empty(capacity, np.uint8).data
        # Views of an array stand on the first array below them that was not made as a view of
        # another one. Made from a memoryview, that is this one, and not the block.
        lent = np.frombuffer(block, np.uint8, size)
        ref = _Lent(lent, self._back)
        ref.block = block
        self.lent[id(ref)] = ref
        return lent

    def _back(self, gone: _Lent) -> None:
        del self.lent[id(gone)]
        block = gone.block
        if self.idle_bytes + block.nbytes <= MOST_IDLE:
            self.idle[block.nbytes].append(block)
            self.idle_bytes += block.nbytes
