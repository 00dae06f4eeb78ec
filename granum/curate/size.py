"""Sizes of images, and which are far from the others'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate.base import Column, DatasetScorer, scorers
from granum.errors import GranumError
from granum.schema.rows import Media
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.media import image_sizes, media_path
from granum.store.parts import Part

__all__ = ["OddSize", "Size", "sizes"]

Floats = npt.NDArray[np.float64]


@scorers("size")
@dataclass(frozen=True)
class Size(DatasetScorer):
    """Width and height as the table states them, else as the header of the image does; null
    where neither tells."""

    name = "size"
    inputs = ("width", "height", "media")
    columns: ClassVar[Mapping[str, Column]] = {
        "width": Column("pixels across", range=(1, None), type=pa.int32()),
        "height": Column("pixels down", range=(1, None), type=pa.int32()),
        "aspect": Column("width over height", range=(0, None)),
        "squareness": Column(
            "the shorter side over the longer (cleanvision's odd aspect ratio)",
            "higher",
            (0, 1),
            0.35,
        ),
        "megapixels": Column("millions of pixels", range=(0, None)),
    }

    def score(self, dataset: Dataset) -> Mapping[str, pa.Array]:
        width, height = sizes(dataset).T
        return {
            "width": _array(width, pa.int32()),
            "height": _array(height, pa.int32()),
            "aspect": _array(width / height),
            "squareness": _array(np.minimum(width, height) / np.maximum(width, height)),
            "megapixels": _array(width * height / 1e6),
        }


@scorers("odd_size")
@dataclass(frozen=True)
class OddSize(DatasetScorer):
    """How far the size s = √(width · height) is from the middle of the fence
    [Q1 - k·IQR, Q3 + k·IQR]: 1 - |s - middle| / width of the fence, so below 0.5 is outside
    (cleanvision). Where all quartiles agree, any other size has 0.

    Args:
        fence: k, how many interquartile ranges.
    """

    fence: float = 3.0
    name = "odd_size"
    inputs = ("width", "height", "media")
    columns: ClassVar[Mapping[str, Column]] = {
        "odd_size": Column(
            "distance from the sizes of the others, by an IQR fence", "higher", (None, 1), 0.5
        )
    }

    def score(self, dataset: Dataset) -> Mapping[str, pa.Array]:
        width, height = sizes(dataset).T
        side = np.sqrt(width * height)
        known = side[np.isfinite(side)]
        if not len(known):
            return {"odd_size": pa.nulls(len(side), pa.float32())}
        q1, q3 = np.percentile(known, [25, 75])
        low, high = q1 - self.fence * (q3 - q1), q3 + self.fence * (q3 - q1)
        away = np.abs(side - (low + high) / 2)
        if high > low:
            return {"odd_size": _array(1 - away / (high - low))}
        return {"odd_size": _array(np.where(np.isnan(side), np.nan, (away == 0) * 1.0))}


def sizes(dataset: Dataset) -> Floats:
    """Width and height of each sample, shape (samples, 2), in the raster of its coordinates; NaN
    where neither the table nor the header of the image tells."""
    found = [_of_part(part, dataset.meta.media_root) for part in dataset.parts]
    return np.concatenate(found) if found else np.empty((0, 2))


def _of_part(part: Part, root: str | None) -> Floats:
    table = part.samples()
    names = ("width", "height")
    out = np.stack([column(table, n).to_numpy().astype(np.float64) for n in names], 1)
    out[~(out > 0).all(1)] = np.nan
    unknown = np.flatnonzero(np.isnan(out[:, 0]))
    if not len(unknown):
        return out
    media = column(table, "media").take(pa.array(unknown)).to_pylist()
    turned = column(table, "orientation").take(pa.array(unknown)).to_pylist()
    readable, sources = [], []
    for row, entry in zip(unknown, media, strict=True):
        try:
            kept = entry or {}
            source = kept.get("bytes") or media_path(Media(kept.get("path")), root)
        except GranumError:
            continue
        readable.append(row)
        sources.append(source)
    turns = dict(zip(unknown, turned, strict=True))
    for row, size in zip(readable, image_sizes(sources), strict=True):
        if not isinstance(size, GranumError):
            out[row] = size[::-1] if (turns[row] or 1) >= 5 else size
    return out


def _array(values: Floats, kind: pa.DataType | None = None) -> pa.Array:
    return pa.array(values, from_pandas=True).cast(kind or pa.float32())
