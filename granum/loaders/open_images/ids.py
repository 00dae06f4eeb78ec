"""Image ids and the sample of each: 16 hexadecimal digits in bulk, other texts one by one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["Ids"]

Ints = npt.NDArray[np.int64]
Hexes = npt.NDArray[np.uint64]

_DIGITS = np.full(256, 255, np.uint8)
_DIGITS[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
_LETTERS = np.frombuffer(b"0123456789abcdef", np.uint8)
_WIDTH = 16


class Ids:
    """Numbers images in the order in which they are met.

    Official ids are kept as 8 bytes each: 9 million images take 150 MB, not a gigabyte.

    Attributes:
        closed: no further images are taken; ids that are not known have row -1.
    """

    def __init__(self) -> None:
        self.closed = False
        self._count = 0
        self._sorted: Hexes = np.empty(0, np.uint64)
        self._rows = np.empty(0, np.int32)
        self._texts: dict[str, int] = {}
        self._values: list[Hexes] = []  # by row, in pieces; 0 where the id is a text
        self._splits: list[npt.NDArray[np.int16]] = []
        self._listed: tuple[list[int], list[str]] = [], []
        self._joined: tuple[Hexes, npt.NDArray[np.int16]] | None = None

    def __len__(self) -> int:
        return self._count

    def rows(self, ids: pa.Array, split: int | Ints = -1) -> tuple[Ints, int]:
        """The row of each id, -1 for those that are not taken, and how many are new.

        Args:
            ids: texts without nulls.
            split: number of the split of new images, or one per id.
        """
        if not len(ids):
            return np.empty(0, np.int64), 0
        before = self._count
        data = _as_bytes(ids)
        rows = None if data is None else self._of_bytes(data, split)
        if rows is None:
            rows = self._of_texts(ids, split)
        return rows, self._count - before

    def _of_bytes(self, data: npt.NDArray[np.uint8], split: int | Ints) -> Ints | None:
        """Rows of ids of 16 bytes; equal ones in a row are looked up once. None where one is no
        number."""
        high, low = data.view(np.uint64).T
        begins = np.ones(len(high), bool)
        begins[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        starts = np.flatnonzero(begins)
        values = _decoded(data[starts])
        if values is None:
            return None
        found = self._look_up(values)
        unknown = found < 0
        if unknown.any() and not self.closed:
            fresh, first = np.unique(values[unknown], return_index=True)
            order = np.argsort(first)
            at = np.empty(len(fresh), np.int64)
            at[order] = self._count + np.arange(len(fresh))
            where = starts[unknown][first[order]]
            self._note(fresh[order], split if isinstance(split, int) else split[where])
            place = np.searchsorted(self._sorted, fresh)
            self._sorted = np.insert(self._sorted, place, fresh)
            self._rows = np.insert(self._rows, place, at.astype(np.int32))
            found = self._look_up(values)
        return np.repeat(found, np.diff(np.append(starts, len(high))))

    def _look_up(self, values: Hexes) -> Ints:
        if not len(self._sorted):
            return np.full(len(values), -1)
        at = np.minimum(np.searchsorted(self._sorted, values), len(self._sorted) - 1)
        return np.where(self._sorted[at] == values, self._rows[at].astype(np.int64), -1)

    def _of_texts(self, ids: pa.Array, split: int | Ints) -> Ints:
        coded = ids.dictionary_encode()
        names = coded.dictionary.to_pylist()
        codes = np.asarray(coded.indices, np.int64)
        _, first = np.unique(codes, return_index=True)
        table = np.empty(len(names), np.int64)
        for code, name in enumerate(names):
            own = split if isinstance(split, int) else int(split[first[code]])
            table[code] = self._of_text(name, own)
        return table[codes]

    def _of_text(self, name: str, split: int) -> int:
        data = np.frombuffer(name.encode(), np.uint8)
        if len(data) == _WIDTH:
            rows = self._of_bytes(data.reshape(1, -1).copy(), split)
            if rows is not None:
                return int(rows[0])
        row = self._texts.get(name, -1)
        if row < 0 and not self.closed:
            row = self._texts[name] = self._count
            self._note(np.zeros(1, np.uint64), split)
        return row

    def _note(self, values: Hexes, split: int | Ints) -> None:
        self._values.append(values)
        self._splits.append(np.broadcast_to(np.asarray(split, np.int16), len(values)))
        self._count += len(values)
        self._joined = None

    # ------------------------------------------------------------------ looking back

    def finish(self) -> None:
        """No more ids will be looked up: what that took is given back."""
        self.closed = True
        self._sorted, self._rows = np.empty(0, np.uint64), np.empty(0, np.int32)

    def names(self, start: int, stop: int) -> pa.Array:
        """The ids of rows ``start`` to ``stop``."""
        n = stop - start
        data = self._all()[0][start:stop].astype(">u8").view(np.uint8)
        digits = np.empty((len(data), 2), np.uint8)
        digits[:, 0], digits[:, 1] = data >> 4, data & 15
        text = pa.py_buffer(_LETTERS[digits].tobytes())
        offsets = pa.py_buffer(np.arange(n + 1, dtype=np.int32) * _WIDTH)
        out = pa.StringArray.from_buffers(n, offsets, text)
        others = list(self._texts_between(start, stop))
        if not others:
            return out
        names = out.to_pylist()
        for row, name in others:
            names[row - start] = name
        return pa.array(names, pa.string())

    def splits(self, start: int, stop: int) -> Ints:
        """The number of each one's split."""
        return self._all()[1][start:stop].astype(np.int64)

    def _all(self) -> tuple[Hexes, npt.NDArray[np.int16]]:
        if self._joined is None:
            values = np.concatenate([np.empty(0, np.uint64), *self._values])
            splits = np.concatenate([np.empty(0, np.int16), *self._splits])
            self._values, self._splits = [values], [splits]
            self._joined = values, splits
        return self._joined

    def _texts_between(self, start: int, stop: int) -> Iterable[tuple[int, str]]:
        if not self._texts:
            return []
        if len(self._listed[0]) != len(self._texts):
            self._listed = list(self._texts.values()), list(self._texts)
        rows, names = self._listed  # in the order of rows
        first, last = np.searchsorted(rows, [start, stop])
        return zip(rows[first:last], names[first:last], strict=True)


def _as_bytes(ids: pa.Array) -> npt.NDArray[np.uint8] | None:
    """The bytes of ids, shape (n, 16), where all of them are 16 bytes."""
    _, offsets, data = ids.buffers()
    ends = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1]
    first, last = int(ends[0]), int(ends[-1])
    if last - first != _WIDTH * len(ids) or (np.diff(ends) != _WIDTH).any():
        return None
    return np.frombuffer(data, np.uint8)[first:last].reshape(-1, _WIDTH)


def _decoded(data: npt.NDArray[np.uint8]) -> Hexes | None:
    """Digits, shape (n, 16), as numbers; None where one is no digit."""
    digits = _DIGITS[data]
    if digits.max(initial=0) > 15:
        return None
    pairs = (digits[:, ::2] << 4) | digits[:, 1::2]
    return np.ascontiguousarray(pairs).view(">u8").ravel().astype(np.uint64)
