"""Results of DOTA's task 1 (turned boxes), a text per class.

::

    Task1_plane.txt      P0001 0.98 10.0 10.0 50.0 12.0 49.0 40.0 9.0 38.0
                         image, score, x and y of four corners in order

Images are named without suffix; a class whose name has blanks has ``_`` for them. Corners are
pixels and are kept as written, as a polygon of four points.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._paths import names_in
from granum.loaders.results._named import objects_table
from granum.loaders.results._words import rows_of_classes
from granum.loaders.results.base import Results, on_truth, results
from granum.schema.findings import Findings
from granum.store.dataset import Dataset

__all__ = ["DotaResults"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_NAME = re.compile(r"Task1_(.+)\.txt")
_FILES = 100_000


@results("dota")
class DotaResults(Results):
    """Corners in ``Task1_<class>.txt``."""

    name: ClassVar[str] = "dota"
    title: ClassVar[str] = "DOTA results of task 1 (Task1_*.txt)"
    spec: ClassVar[str] = "https://captain-whu.github.io/DOTA/tasks.html"
    protocols: ClassVar[tuple[str, ...]] = ("obb",)

    def sniff(self, path: Path) -> bool:
        return bool(_files(path))

    def read(self, path: Path, truth: Dataset, findings: Findings) -> Dataset:
        """Polygons of all classes; rows of unknown images or classes are findings.

        Raises:
            FormatError: there is no such file.
        """
        files = _files(path)
        if not files:
            raise FormatError(path, "no Task1_<class>.txt in it")
        none = np.empty(0, np.int64)
        pieces = [_table(none, 0, np.empty(0), np.empty((0, 8)))]
        for category, samples, values in rows_of_classes(files, 9, truth, findings):
            pieces.append(_table(samples, category, values[:, 0], values[:, 1:]))
        return on_truth(truth, pa.concat_tables(pieces))


def _files(path: Path) -> list[tuple[Path, str]]:
    """Files of results and the classes in their names."""
    names = [path.name] if path.suffix == ".txt" else names_in(path, _FILES)
    folder = path.parent if path.suffix == ".txt" else path
    told = [(name, _NAME.fullmatch(name)) for name in names]
    return [(folder / name, found[1]) for name, found in told if found is not None]


def _table(samples: Ints, category: int, score: Floats, corners: Floats) -> pa.Table:
    """Rows of one part of one ring of four corners."""
    one = pa.array(np.arange(len(samples) + 1, dtype=np.int32))
    eight = pa.array(np.arange(0, 8 * len(samples) + 1, 8, dtype=np.int32))
    rings = pa.ListArray.from_arrays(eight, pa.array(corners.ravel(), pa.float64()))
    polygons = pa.ListArray.from_arrays(one, pa.ListArray.from_arrays(one, rings))
    category_column = np.full(len(samples), category)
    return objects_table(samples, category_column, score, {"polygons": polygons})
