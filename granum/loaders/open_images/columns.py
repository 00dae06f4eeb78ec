"""Columns of the schema from columns as they were put aside."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.loaders.open_images.facts import CORNERS
from granum.schema import tables

__all__ = [
    "attribute",
    "boxes_of",
    "categories",
    "constant",
    "flags",
    "keys_of",
    "lists",
    "maps",
]

Floats = npt.NDArray[np.float64]


def constant(text: str, n: int) -> pa.Array:
    """A text ``n`` times."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([text]))


def lists(values: Any, kind: pa.DataType) -> pa.Array:
    """Each value as a list of one; null stays null."""
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32))
    mask = values.is_null() if values.null_count else None
    return pa.ListArray.from_arrays(offsets, values.cast(kind), mask=mask)


def categories(values: pa.ChunkedArray) -> pa.Array:
    """Numbers of categories; -1 is null."""
    at = np.asarray(values, np.int32)
    return pa.array(at, mask=at < 0) if (at < 0).any() else pa.array(at)


def flags(values: pa.ChunkedArray) -> pa.Array:
    """1 and 0; -1 is null."""
    given = np.asarray(values.fill_null(-1))
    return pa.array(given == 1, mask=given < 0)


def boxes_of(table: pa.Table) -> pa.Array:
    """Corner and size of boxes given by ``CORNERS``."""
    flat = np.empty((table.num_rows, 4))
    left, right, top, bottom = (np.asarray(table[c], np.float64) for c in CORNERS)
    flat[:, 0], flat[:, 1] = left, top
    np.subtract(right, left, out=flat[:, 2])
    np.subtract(bottom, top, out=flat[:, 3])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), 4)


def keys_of(table: pa.Table, category: str, end: str = "") -> Floats:
    """Keys that boxes are found by, shape (n, 6): sample, class, corners."""
    names = ["sample", category, *(f"{c}{end}" for c in CORNERS)]
    return np.column_stack([np.asarray(table[n], np.float64) for n in names])


def attribute(values: pa.ChunkedArray) -> Any:
    """Texts become coded, as attributes are stored."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return values.unify_dictionaries()
    return values.dictionary_encode() if pa.types.is_string(kind) else values


def maps(paths: pa.ChunkedArray) -> pa.Array:
    """Label maps whose pixels that are not zero are the mask."""
    paths = paths.combine_chunks() if isinstance(paths, pa.ChunkedArray) else paths
    n = len(paths)
    kind = tables.ANNOTATIONS.field("map").type
    known = {"path": paths, "encoding": constant("nonzero", n)}
    arrays = [known[f.name].cast(f.type) if f.name in known else pa.nulls(n, f.type) for f in kind]
    mask = paths.is_null() if paths.null_count else None
    return pa.StructArray.from_arrays(arrays, fields=list(kind), mask=mask)
