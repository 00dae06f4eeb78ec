"""What a scorer is: something that gives derived columns.

A scorer is a frozen dataclass whose fields are its parameters; it is registered under a name and
says which columns it gives. Three kinds differ in what they look at: one image at a time
(``ImageScorer``), the rows of a part (``TableScorer``), or the whole dataset (``DatasetScorer``:
medians, neighbours). Adding one is a short file and a line in the table below.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate.pictures import Picture
from granum.registry import Registry
from granum.store.dataset import Dataset
from granum.store.parts import Batch

__all__ = [
    "Column",
    "DatasetScorer",
    "ImageScorer",
    "Scorer",
    "Space",
    "TableScorer",
    "scorers",
]


_NUMBER = pa.float32()


@dataclass(frozen=True)
class Column:
    """What a derived column holds.

    Attributes:
        about: one sentence: what it measures, with its source.
        better: which end is better (None: neither).
        range: smallest and largest possible value.
        issue_below: a row whose value is below is an issue (None: no threshold).
        type: of its values.
    """

    about: str
    better: Literal["higher", "lower"] | None = None
    range: tuple[float | None, float | None] = (None, None)
    issue_below: float | None = None
    type: pa.DataType = _NUMBER


class Scorer(ABC):
    """Base of scorers.

    Attributes:
        name: as users type it.
        version: raise it when results change.
        of: whose rows get the columns. One that looks at images sees the crop of each annotation
            where it is of annotations.
        columns: name and meaning of each column it gives; names are unique over all scorers.
        inputs: columns it reads, whatever its parameters; ``reads`` tells those that hang on them.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    of: ClassVar[Literal["samples", "annotations"]] = "samples"
    columns: ClassVar[Mapping[str, Column]]
    inputs: ClassVar[Sequence[str]] = ()

    def parameters(self) -> dict[str, Any]:
        """JSON-serialisable; part of the columns' identity."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    def reads(self) -> Sequence[str]:
        """The columns this instance reads."""
        return self.inputs

    def given(self) -> Mapping[str, Column]:
        """The columns this instance gives (parameters may change type or name)."""
        return self.columns


class ImageScorer(Scorer):
    """Looks at one image at a time."""

    inputs = ("media",)

    @abstractmethod
    def score(self, picture: Picture) -> Mapping[str, Any]:
        """A value for each column; null (None) where it is undefined."""


class Space(Scorer):
    """Gives one vector per image: a column of fixed-size lists, named as the scorer.

    Attributes:
        batch: how many images it wants at a time.
    """

    inputs: ClassVar[Sequence[str]] = ("media",)
    batch: ClassVar[int] = 32

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Length of the vectors."""

    @abstractmethod
    def embed(self, pictures: Sequence[Picture]) -> npt.NDArray[np.float32]:
        """Vectors, shape (len(pictures), dimension)."""

    def given(self) -> Mapping[str, Column]:
        return {
            self.name: Column("a vector per image", type=pa.list_(pa.float32(), self.dimension))
        }


class TableScorer(Scorer):
    """Looks at the rows of one part (samples and the annotations of the current layer)."""

    @abstractmethod
    def score(self, batch: Batch) -> Mapping[str, pa.Array]:
        """One value per sample, or per annotation (``of``), for each column."""


class DatasetScorer(Scorer):
    """Needs all rows at once (fences, neighbours, groups); runs in one process."""

    @abstractmethod
    def score(self, dataset: Dataset) -> Mapping[str, pa.Array]:
        """One value per sample (or annotation) of the dataset, for each column."""


scorers: Registry[type[Scorer]] = Registry(
    "scorer",
    {
        "brightness": "granum.curate.light",
        "contrast": "granum.curate.light",
        "crop_descriptors": "granum.curate.crop_spaces",
        "crop_embedding": "granum.curate.crop_spaces",
        "descriptors": "granum.curate.descriptors",
        "dhash": "granum.curate.hashes",
        "embedding": "granum.curate.embedding",
        "file_hash": "granum.curate.hashes",
        "grey": "granum.curate.light",
        "information": "granum.curate.light",
        "knn": "granum.curate.neighbours",
        "label_suspect": "granum.curate.label_errors",
        "odd_size": "granum.curate.size",
        "outlier": "granum.curate.neighbours",
        "phash": "granum.curate.hashes",
        "pixel_hash": "granum.curate.hashes",
        "sharpness": "granum.curate.sharpness",
        "size": "granum.curate.size",
        "thumbnail": "granum.curate.hashes",
    },
    "granum.scorers",
)
