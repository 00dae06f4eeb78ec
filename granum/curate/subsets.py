"""Vectors of random samples, without loading those of all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from granum.curate.spaces import of_part, present
from granum.store.dataset import Dataset

__all__ = ["Subsets"]


class Subsets:
    """Draws samples of a dataset that have a vector in a space.

    Attributes:
        total: how many have.
    """

    def __init__(self, dataset: Dataset, space: str) -> None:
        self.dataset, self.space = dataset, space
        found = [present(of_part(dataset, part, space)) for part in dataset.parts if part.rows]
        self._rows = np.flatnonzero(np.concatenate([*found, np.empty(0, bool)]))
        self.total = len(self._rows)

    def draw(self, n: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """The vectors of ``n`` random samples (all where there are fewer), in the order of the
        dataset; shape (at most n, d)."""
        chosen = self._rows
        if n < self.total:
            chosen = np.sort(rng.choice(chosen, n, replace=False, shuffle=False))
        pieces = []
        for part in self.dataset.parts:
            first, last = np.searchsorted(chosen, [part.start, part.start + part.rows])
            if last > first:
                rows = of_part(self.dataset, part, self.space)
                pieces.append(np.array(rows[chosen[first:last] - part.start]))
        return np.concatenate(pieces) if pieces else np.empty((0, 0), np.float32)
