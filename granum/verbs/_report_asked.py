"""What a section of a report is given."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from granum.errors import FormatError
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.verbs._report_album import Album

__all__ = ["CHART", "SMALL", "Asked", "loaded", "plain"]

CHART = 460
"""Width of a chart that may stand beside another one."""

SMALL = 300
"""Width of one of many."""


@dataclass(frozen=True)
class Asked:
    """The dataset, and what was passed in to be shown.

    Attributes:
        dataset: its current layer is what the report is of.
        album: takes the pictures.
        pictures: how many the main gallery has; other galleries have fewer.
        seed: of what is drawn at random.
        evaluations, runs, duplicates, leakage, statistics, before_after: as ``report`` has them.
    """

    dataset: Dataset
    album: Album
    pictures: int
    seed: int
    evaluations: Sequence[Any] = ()
    runs: Sequence[Any] = ()
    duplicates: Any = None
    leakage: Any = None
    statistics: Any = None
    before_after: Mapping[str, Any] = field(default_factory=dict)

    @property
    def few(self) -> int:
        """How many pictures a gallery within a section has."""
        return min(self.pictures, 6)

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """Annotations of each sample in the current layer."""
        name = self.dataset.meta.layer
        each = [np.diff(p.offsets(name)) for p in self.dataset.parts]
        return np.concatenate([*each, np.empty(0, np.int64)]).astype(np.int64)

    @cached_property
    def splits(self) -> tuple[npt.NDArray[np.int64], list[str]]:
        """The number of the split of each sample (-1: none), and their names."""
        encoded = self.dataset.samples(["split"])["split"].combine_chunks()
        encoded = encoded.cast("string").dictionary_encode()
        return np.asarray(encoded.indices.fill_null(-1), np.int64), encoded.dictionary.to_pylist()

    @cached_property
    def keys(self) -> Any:
        """The keys of all samples."""
        return self.dataset.samples(["key"])["key"].combine_chunks()

    def row_of(self, key: str) -> int | None:
        """The row of a sample; None where there is none of that key."""
        found = pc.index(self.keys, key).as_py()
        return None if found < 0 else int(found)

    @cached_property
    def classes(self) -> list[str]:
        """Names of the categories; where a name is there twice, with its space."""
        names = self.dataset.category_names()
        twice = {n for n, k in Counter(names).items() if k > 1}
        spaces = column(self.dataset.categories, "space").cast("string").to_pylist()
        return [f"{n} ({s})" if n in twice else n for n, s in zip(names, spaces, strict=True)]

    def rng(self, section: str) -> np.random.Generator:
        """Random numbers of a section, whatever the others draw."""
        return np.random.default_rng([self.seed, *section.encode()])


def loaded(given: Any) -> Any:
    """What was given; where that is a path, the JSON in the file.

    Raises:
        FormatError: there is no such file, or it is no JSON.
    """
    if not isinstance(given, str | Path):
        return given
    try:
        return json.loads(Path(given).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(given, f"no JSON that can be read: {error}") from error


def plain(given: Any) -> Any:
    """A result as plain values: itself, what its file holds, or what its ``to_dict`` says."""
    found = loaded(given)
    return found.to_dict() if hasattr(found, "to_dict") else found
