"""Coordinates between pixels and fractions of the image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.schema.tables import column, with_column

__all__ = ["POINT_COLUMNS", "convert_units", "is_relative", "scale_points"]

POINT_COLUMNS = ("bbox", "polygons", "polyline", "keypoints")
"""Columns in the unit of the sample."""


def is_relative(samples: pa.Table) -> npt.NDArray[np.bool_]:
    """Which samples have ``unit = relative``."""
    unit = column(samples, "unit").cast(pa.string())
    return np.asarray(pc.fill_null(pc.equal(unit, "relative"), False))


def convert_units(
    annotations: pa.Table, at: npt.NDArray[np.int64], factors: npt.NDArray[np.float64]
) -> pa.Table:
    """Annotations with every coordinate multiplied by its sample's factor.

    Args:
        annotations: rows of one layer.
        at: for each row its sample's position in ``factors`` (-1: none, left as it is).
        factors: shape (samples, 2), for x and y.
    """
    scale = np.ones((len(at), 2))
    scale[at >= 0] = factors[at[at >= 0]]
    if (scale == 1).all():
        return annotations
    for name in POINT_COLUMNS:
        if name in annotations.column_names:
            annotations = with_column(
                annotations, name, scale_points(annotations[name], name, scale)
            )
    return annotations


def scale_points(values: pa.ChunkedArray, name: str, scale: npt.NDArray[np.float64]) -> pa.Array:
    """A coordinate column with row ``i`` multiplied by ``scale[i]`` = (x, y)."""
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if name == "bbox":
        flat = pa.array(
            (np.asarray(_window(array), np.float64).reshape(-1, 4) * np.tile(scale, 2)).ravel()
        )
        mask = pa.array(~np.asarray(array.is_valid())) if array.null_count else None
        return pa.FixedSizeListArray.from_arrays(flat, 4, mask=mask)
    stride = 3 if name == "keypoints" else 2
    return _scaled_lists(array, np.arange(len(array)), scale, stride)


def _window(array: pa.FixedSizeListArray) -> pa.Array:
    size = array.type.list_size
    return array.values.slice(array.offset * size, len(array) * size).fill_null(0)


def _scaled_lists(
    array: pa.ListArray, rows: npt.NDArray[np.int64], scale: npt.NDArray[np.float64], stride: int
) -> pa.ListArray:
    lengths = np.asarray(array.value_lengths().fill_null(0), np.int64)
    inner, below = array.flatten(), np.repeat(rows, lengths)
    if pa.types.is_list(array.type.value_type):
        values: pa.Array = _scaled_lists(inner, below, scale, stride)
    else:
        numbers = np.array(inner, np.float64)
        place = (
            np.arange(len(numbers)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        ) % stride
        for axis in (0, 1):
            on = place == axis
            numbers[on] *= scale[below[on], axis]
        values = pa.array(numbers)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    mask = pa.array(~np.asarray(array.is_valid())) if array.null_count else None
    return pa.ListArray.from_arrays(offsets, values, mask=mask)
