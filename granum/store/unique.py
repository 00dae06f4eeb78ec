"""Whether keys and ids are unique, in 16 bytes a key and none for ids that count on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Ids", "Keys"]

Ints = npt.NDArray[np.int64]


class Keys:
    """Texts of which each may come once.

    Only two hashes of each are kept, 64 bits each and salted by the process: a set of millions of
    texts takes ten times as much. Two keys are taken for one where both hashes agree, which among
    a billion keys is less likely than 1e-19.
    """

    def __init__(self) -> None:
        self._first: Ints = np.empty(0, np.int64)
        self._second: Ints = np.empty(0, np.int64)

    def add(self, keys: Sequence[str]) -> bool:
        """Take keys; False, and none is taken, where one is there already or comes twice."""
        n = len(keys)
        first = np.fromiter(map(hash, keys), np.int64, n)
        second = np.fromiter(map(hash, map("\0".__add__, keys)), np.int64, n)
        order = np.lexsort((second, first))
        first, second = first[order], second[order]
        if ((first[1:] == first[:-1]) & (second[1:] == second[:-1])).any():
            return False
        at = np.searchsorted(self._first, first)
        if len(self._first):
            near = np.flatnonzero(self._first[np.minimum(at, len(self._first) - 1)] == first)
            for i in near.tolist():
                stop = np.searchsorted(self._first, first[i], side="right")
                if (self._second[at[i] : stop] == second[i]).any():
                    return False
        self._first = np.insert(self._first, at, first)
        self._second = np.insert(self._second, at, second)
        return True


class Ids:
    """Numbers of which each may come once. Those that count on from the highest so far are kept
    as bounds."""

    def __init__(self) -> None:
        self.next = 1
        self._bounds: list[tuple[int, int]] = []
        self._others: list[Ints] = []

    def add(self, ids: Ints) -> None:
        """Take ids, 1 or more."""
        if not len(ids):
            return
        first, last = int(ids[0]), int(ids[-1])
        counts_on = first >= self.next and last - first == len(ids) - 1
        if counts_on and bool((ids[1:] - ids[:-1] == 1).all()):
            if self._bounds and self._bounds[-1][1] == first:
                first = self._bounds.pop()[0]
            self._bounds.append((first, last + 1))
        else:
            self._others.append(ids)
        self.next = max(self.next, int(ids.max()) + 1)

    def unique(self) -> bool:
        """Whether each came once."""
        if not self._others:
            return True
        ids = np.sort(np.concatenate(self._others))
        if (ids[1:] == ids[:-1]).any():
            return False
        bounds = np.array(self._bounds, np.int64).reshape(-1, 2)
        at = np.searchsorted(bounds[:, 0], ids, side="right") - 1
        inside = (at >= 0) & (ids < np.append(bounds[:, 1], 0)[at])
        return not bool(inside.any())
