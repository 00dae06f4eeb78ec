"""Ranks of ROxford and RParis, as their evaluation reads them.

::

    ranks.npy       whole numbers, shape (images, queries): column q lists all images, best first

Images are numbered from 0 as in ``imlist``, distractors after them as in ``revisitop1m.txt``. Of
each query the first 1,000 ranks are kept and those of the images that the truth relates to it;
each relation has its rank as an attribute, so numbers are those of the whole list, and a million
distractors need no more room.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from granum.loaders.results._ranks import Collection, is_ranks, pairs_table, ranked_pairs
from granum.loaders.results.base import Results, on_truth, results
from granum.schema.findings import Findings
from granum.store.dataset import Dataset

__all__ = ["RevisitOpResults"]


@results("revisitop")
class RevisitOpResults(Results):
    """Ranks in a ``.npy``."""

    name: ClassVar[str] = "revisitop"
    title: ClassVar[str] = "ROxford, RParis ranks (.npy)"
    spec: ClassVar[str] = "https://github.com/filipradenovic/revisitop"
    protocols: ClassVar[tuple[str, ...]] = ("retrieval",)

    def sniff(self, path: Path) -> bool:
        return path.suffix == ".npy" and is_ranks(path)

    def read(self, path: Path, truth: Dataset, findings: Findings) -> Dataset:
        """A relation from each query to the images that matter, with ``rank`` and -rank as score.

        Raises:
            FormatError: no table of whole numbers, or not one column for each query.
        """
        own = Collection.of(truth, path)
        pairs = ranked_pairs(path, truth, own, np.empty(0, np.int64), findings)
        return on_truth(truth, pairs_table(own, *pairs))
