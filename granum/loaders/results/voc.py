"""Results of PASCAL VOC's detection task, a text per class.

::

    comp4_det_test_cat.txt      2007_000027 0.431 162.0 96.0 351.0 341.0
                                image, score, xmin, ymin, xmax, ymax

In a folder, or in ``Main`` below it; names begin with ``comp3_`` or ``comp4_`` (more may stand
before and after that) and end with the class. Images are named as the truth's files are, without
suffix. Corners are pixels counted from 1, both included, and are stored as the truth's reader
stored its own: as they stand, or from 0 where it was told that they count from 1.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._paths import names_in
from granum.loaders.results._named import objects_table
from granum.loaders.results._words import rows_of_classes
from granum.loaders.results.base import Results, on_truth, results
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = ["VocResults"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_NAME = re.compile(r"(?:.*_)?comp[34][^/]*?_det_([^_]+)_(.+)\.txt")
_FILES = 100_000


@results("voc")
class VocResults(Results):
    """Boxes in ``comp4_det_<set>_<class>.txt``."""

    name: ClassVar[str] = "voc"
    title: ClassVar[str] = "PASCAL VOC results (comp4_det_*.txt)"
    spec: ClassVar[str] = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/index.html"
    protocols: ClassVar[tuple[str, ...]] = ("voc",)

    def sniff(self, path: Path) -> bool:
        return bool(_files(path))

    def read(self, path: Path, truth: Dataset, findings: Findings) -> Dataset:
        """Boxes of all classes; rows of unknown images or classes are findings.

        Raises:
            FormatError: there is no such file.
        """
        files = _files(path)
        if not files:
            raise FormatError(path, "no comp4_det_<set>_<class>.txt in it")
        first = 1.0 if _from_one(truth) else 0.0
        none = np.empty(0, np.int64)
        pieces = [_table(none, 0, np.empty(0), np.empty((0, 4)))]
        for category, samples, values in rows_of_classes(files, 5, truth, findings):
            box = values[:, 1:].copy()
            box[:, 2:] += first - box[:, :2]
            box[:, :2] -= first
            pieces.append(_table(samples, category, values[:, 0], box))
        return on_truth(truth, pa.concat_tables(pieces))


def _files(path: Path) -> list[tuple[Path, str]]:
    """Files of results and the classes in their names."""
    found = []
    folders = [path.parent] if path.suffix == ".txt" else [path, path / "Main"]
    for folder in folders:
        names = [path.name] if path.suffix == ".txt" else names_in(folder, _FILES)
        for name in names:
            told = _NAME.fullmatch(name)
            if told is not None:
                found.append((folder / name, told[2]))
    return found


def _from_one(truth: Dataset) -> bool:
    """Whether the truth's reader took corners as pixels counted from 1."""
    options = column(truth.sources, "options", tables.SOURCES).to_pylist()
    told: list[dict[str, Any]] = [json.loads(o) for o in options if o is not None]
    return any(o.get("box_origin") == "one" for o in told)


def _table(samples: Ints, category: int, score: Floats, box: Floats) -> pa.Table:
    boxes = pa.FixedSizeListArray.from_arrays(pa.array(box.ravel(), pa.float64()), 4)
    return objects_table(samples, np.full(len(samples), category), score, {"bbox": boxes})
