"""Batches in the unit that a format writes: pixels, or fractions of width and height."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders.writing import with_sizes
from granum.schema import tables
from granum.schema.tables import column, with_column
from granum.schema.units import convert_units, is_relative
from granum.store.dataset import Dataset
from granum.store.parts import Batch, Part

__all__ = ["in_pixels", "in_unit"]


def in_pixels(batch: Batch, dataset: Dataset) -> Batch:
    """``batch`` with all coordinates in pixels.

    Raises:
        SizeUnknownError: relative coordinates of images whose size is nowhere told.
    """
    return in_unit(batch, dataset, "pixel")


def in_unit(batch: Batch, dataset: Dataset, unit: str) -> Batch:
    """``batch`` with all coordinates in ``unit``, ``pixel`` or ``relative``. Sizes that are
    needed and not stated are read from the headers of the images.

    Raises:
        SizeUnknownError: some can be had nowhere.
    """
    samples, n = batch.samples, batch.samples.num_rows
    relative = is_relative(samples)
    other = relative if unit == "pixel" else ~relative
    if not other.any():
        return batch
    at = np.asarray(column(batch.annotations, "sample").fill_null(batch.start - 1), np.int64)
    at = at - batch.start
    used = np.zeros(n + 1, bool)
    used[at] = True
    unknown = np.asarray(pc.or_(*(column(samples, s).is_null() for s in ("width", "height"))))
    asked = np.flatnonzero(other & unknown & (used[:n] if unit == "relative" else True))
    if len(asked):
        samples = _sized(samples, asked, dataset)
    sizes = [np.asarray(column(samples, s).fill_null(1), np.float64) for s in ("width", "height")]
    factors = np.column_stack(sizes)
    factors = np.where(other[:, None], factors if unit == "pixel" else 1 / factors, 1.0)
    units = pa.array([unit] * n, pa.string()).dictionary_encode()
    return Batch(
        with_column(samples, "unit", units.cast(tables.SAMPLES.field("unit").type)),
        convert_units(batch.annotations, at, factors),
        batch.start,
    )


def _sized(samples: pa.Table, asked: npt.NDArray[np.int64], dataset: Dataset) -> pa.Table:
    """``samples`` with the sizes of rows ``asked`` from their images."""
    part = Part(0, samples.num_rows, lambda: samples, lambda _: tables.empty(tables.ANNOTATIONS))
    found = with_sizes(Dataset([part], meta=dataset.meta).select(asked))
    for name in ("width", "height"):
        values = np.asarray(column(samples, name).fill_null(-1), np.int64).copy()
        values[asked] = np.asarray(found.samples([name])[name])
        samples = with_column(samples, name, pa.array(values, pa.int32(), mask=values < 0))
    return samples
