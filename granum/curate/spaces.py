"""Vectors of a space, as they lie in the parts of a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UnknownNameError, UsageError
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.parts import Part

__all__ = ["of_part", "present", "unit_rows", "vectors"]

Floats = npt.NDArray[np.float32]
Of = Literal["samples", "annotations"]


def vectors(dataset: Dataset, space: str, of: Of = "samples") -> Floats:
    """The vectors of a space, shape (rows, dimension); rows of NaN where there is none.

    Args:
        dataset: that holds them.
        space: name of the column.
        of: the samples, or the annotations of the current layer.

    Raises:
        UnknownNameError: the dataset has no such column; ``score`` makes it.
        UsageError: it holds no vectors.
    """
    pieces = [p for part in dataset.parts if len(p := of_part(dataset, part, space, of))]
    return np.concatenate(pieces) if pieces else np.empty((0, 0), np.float32)


def of_part(dataset: Dataset, part: Part, space: str, of: Of = "samples") -> Floats:
    """As ``vectors``, of one part; shares the memory of the column where no value is null."""
    name = f"col.{space.removeprefix('col.')}"
    table = part.samples() if of == "samples" else part.layer(dataset.meta.layer)
    if name not in table.column_names:
        if not table.num_rows:
            return np.empty((0, 0), np.float32)
        raise UnknownNameError(
            "space", space, _spaces(table), f"It is made by: granum score STORE {space}"
        )
    pieces = [_rows(chunk, space) for chunk in column(table, name).chunks]
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.empty((0, 0), np.float32)


def _rows(chunk: pa.Array, space: str) -> Floats:
    if not pa.types.is_fixed_size_list(chunk.type) or not pa.types.is_floating(
        chunk.type.value_type
    ):
        raise UsageError(f"column {space!r} holds {chunk.type}, not vectors")
    width = chunk.type.list_size
    flat = np.asarray(chunk.values.slice(chunk.offset * width, len(chunk) * width), np.float32)
    rows = flat.reshape(-1, width)
    if chunk.null_count:
        rows = rows.copy()
        rows[np.asarray(chunk.is_null())] = np.nan
    return rows


def _spaces(table: pa.Table) -> Iterator[str]:
    for field in table.schema:
        if pa.types.is_fixed_size_list(field.type) and field.name.startswith("col."):
            yield field.name.removeprefix("col.")


def present(rows: Floats) -> npt.NDArray[np.bool_]:
    """Which rows hold a vector: finite throughout, and longer than 0."""
    if not rows.size:
        return np.zeros(len(rows), bool)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", rows, rows)  # one pass; the few in doubt are looked at
        there = np.isfinite(squares) & (squares > 0)
    doubt = np.flatnonzero(~there)
    there[doubt] = np.isfinite(rows[doubt]).all(axis=1) & rows[doubt].any(axis=1)
    return there


def unit_rows(rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Rows at length 1, float64; rows of zeros stay."""
    wide = np.asarray(rows, np.float64)
    length = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    return wide / np.where(length > 0, length, 1.0)[:, None]
