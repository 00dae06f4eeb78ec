"""Stores whose samples have given vectors, classes and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa

from granum.schema import rows, tables
from granum.store import builder
from granum.store.additions import add_column
from granum.store.builder import Incoming, StoreBuilder, batch_of_rows
from granum.store.dataset import Dataset


def store(
    path: Path,
    n: int,
    *,
    columns: Mapping[str, Any] | None = None,
    classes: Sequence[Sequence[int]] | None = None,
    parts: int = 1,
    version: int = 1,
) -> Dataset:
    """``n`` samples in ``parts`` parts; ``classes`` are those of each sample's boxes; ``columns``
    are arrays of a number or a vector per sample."""
    making = StoreBuilder(path, sync=False)
    bounds = np.linspace(0, n, parts + 1).astype(int).tolist()
    with patch.object(builder, "PART_SAMPLES", 1):  # every batch is a part
        for begin, end in pairwise(bounds):
            making.add(_batch(begin, end, classes))
        most = max((c for listed in classes or [] for c in listed), default=-1) + 1
        named = [rows.Category(f"class {i}") for i in range(most)]
        dataset = making.finish(categories=rows.objects_to_table(named, tables.CATEGORIES))
    assert len(dataset.parts) == parts
    for name, values in (columns or {}).items():
        dataset = with_values(dataset, name, values, version)
    return dataset


def _batch(begin: int, end: int, classes: Sequence[Sequence[int]] | None) -> Incoming:
    return batch_of_rows(
        [
            rows.Sample(
                f"{i:05d}.jpg",
                width=100,
                height=100,
                annotations=[
                    rows.Annotation(category=c, bbox=(10.0 * k, 10, 20, 20))
                    for k, c in enumerate(classes[i] if classes else ())
                ],
            )
            for i in range(begin, end)
        ]
    )


def with_values(dataset: Dataset, name: str, values: Any, version: int = 1) -> Dataset:
    """The store with a column of numbers, texts or vectors."""
    array = np.asarray(values)

    def compute(batch: Any) -> pa.Array:
        some = array[batch.start : batch.start + batch.samples.num_rows]
        if array.ndim == 1:
            return pa.array(some)
        flat = pa.array(np.ascontiguousarray(some, np.float32).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, array.shape[1])

    return add_column(dataset, name, compute, version=version)
