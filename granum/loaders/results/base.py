"""What a form of results is: one class that reads a benchmark's own files of predictions.

Such files name images, classes and videos as the truth does and hold nothing else, so they are
read beside the truth; what they give is a dataset of the same samples, groups and categories.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from granum.registry import Registry
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column, with_column
from granum.store.dataset import Dataset

__all__ = ["Results", "named_samples", "on_truth", "results"]

_SAMPLES = ("key", "source_id", "width", "height", "unit", "group", "role", "order", "split")

results: Registry[type[Results]] = Registry(
    "form of results",
    {
        "ava": "granum.loaders.results.ava",
        "clusters_csv": "granum.loaders.results.clusters_csv",
        "dota": "granum.loaders.results.dota",
        "mot": "granum.loaders.results.mot",
        "multisports": "granum.loaders.results.multisports",
        "open_images": "granum.loaders.results.open_images",
        "pixel_retrieval": "granum.loaders.results.pixel_retrieval",
        "revisitop": "granum.loaders.results.revisitop",
        "scores_csv": "granum.loaders.results.scores_csv",
        "voc": "granum.loaders.results.voc",
    },
    "granum.results",
)
"""Forms of results by name."""


class Results(ABC):
    """Base of forms. Subclasses are registered by name.

    Attributes:
        name: as users type it.
        title: for people.
        spec: where the form is described.
        protocols: names of the protocols whose results it holds.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    spec: ClassVar[str]
    protocols: ClassVar[tuple[str, ...]]

    @abstractmethod
    def sniff(self, path: Path) -> bool:
        """Whether the file or folder may be of this form; cheap, never raises."""

    @abstractmethod
    def read(self, path: Path, truth: Dataset, findings: Findings) -> Dataset:
        """The predictions, on samples and categories of the truth.

        What names none of the truth's, or has no number where one is due, is left out and is a
        finding with file and line.

        Raises:
            FormatError: the file cannot be read at all.
        """


def on_truth(truth: Dataset, annotations: pa.Table, *, more: pa.Table | None = None) -> Dataset:
    """A dataset of the truth's samples, groups and categories whose layer ``predictions`` holds
    ``annotations``.

    Args:
        truth: gives samples, groups and categories; their rows are what annotations refer to.
        annotations: in any order; ``sample`` is a row of the truth (or beyond it, of ``more``),
            null for rows of whole groups. Ids are given where there are none.
        more: further samples, such as frames that only predictions have.
    """
    stored = truth.samples(list(_SAMPLES))
    for name in stored.column_names:
        if stored[name].null_count == stored.num_rows and name != "key":
            stored = tables.without_columns(stored, [name])
    if more is not None and more.num_rows:
        stored = pa.concat_tables([stored, more], promote_options="default")
    if "annotation_id" not in annotations.column_names:
        ids = pa.array(np.arange(1, annotations.num_rows + 1), pa.int64())
        annotations = with_column(annotations, "annotation_id", ids)
    layers = {"predictions": annotations}
    found = Dataset.from_arrow(stored, layers, truth.categories, truth.groups)
    return found.layer("predictions")


def named_samples(truth: Dataset, by: str = "key") -> dict[str, int]:
    """The row of each sample of the truth by ``key``, ``source_id``, or ``stem`` (the key's last
    part without its suffix; those that several samples share are left out)."""
    if by != "stem":
        names = truth.samples([by])[by].to_pylist()
        return {name: i for i, name in enumerate(names) if name is not None}
    rows: dict[str, int] = {}
    twice = set()
    for i, key in enumerate(column(truth.samples(["key"]), "key").to_pylist()):
        stem = Path(key).stem
        if stem in rows:
            twice.add(stem)
        rows.setdefault(stem, i)
    return {name: i for name, i in rows.items() if name not in twice}
