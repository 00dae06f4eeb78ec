"""A dataset as objects of other libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from granum.errors import MissingExtraError, UnknownNameError
from granum.schema import tables
from granum.store.parts import sample_offsets

if TYPE_CHECKING:
    import datasets
    import pandas
    import polars

    from granum.store.dataset import Dataset

__all__ = ["nested_table", "one_table", "to_coco", "to_hf", "to_pandas", "to_polars"]


def nested_table(dataset: Dataset) -> pa.Table:
    """One row per sample, its annotations as a list of structs; numbers are not copied."""
    pieces = []
    kinds = {
        f.name: f.type for p in dataset.parts for f in p.layer(dataset.meta.layer).schema
    }  # a column may be in some parts only
    for part in dataset.parts:
        annotations = part.layer(dataset.meta.layer).combine_chunks()
        offsets = sample_offsets(annotations, part.start, part.rows)
        columns = [
            _whole(annotations[n])
            if n in annotations.column_names
            else pa.nulls(annotations.num_rows, kind)
            for n, kind in kinds.items()
            if n != "sample"
        ]
        columns = [
            c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in columns
        ]
        struct = pa.StructArray.from_arrays(columns, [n for n in kinds if n != "sample"])
        lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), struct)
        samples = tables.decode_dictionaries(
            tables.conform(part.samples(), tables.SAMPLES, full=True)
        )
        pieces.append(samples.append_column("annotations", lists))
    if not pieces:
        return tables.empty(tables.SAMPLES)
    nested = pa.concat_tables(pieces, promote_options="default")
    return nested if nested.num_rows else nested.schema.empty_table()


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """One array; ``combine_chunks`` copies a single chunk, too."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def one_table(dataset: Dataset, name: str) -> pa.Table:
    """``samples``, ``annotations`` (with the category's name), ``categories`` or ``groups``."""
    if name == "annotations":
        table = dataset.annotations()
        category = tables.column(table, "category")
        names = np.asarray([*dataset.category_names(), None], object)
        index = np.asarray(category.fill_null(-1), np.int64)
        return table.append_column("category_name", pa.array(names[index], pa.string()))
    found: dict[str, Callable[[], pa.Table]] = {
        "samples": dataset.samples,
        "categories": lambda: dataset.categories,
        "groups": lambda: dataset.groups,
        "sources": lambda: dataset.sources,
    }
    if name not in found:
        raise UnknownNameError("table", name, [*found, "annotations"])
    return found[name]()


def to_hf(dataset: Dataset) -> datasets.Dataset:
    """See ``Dataset.to_hf``."""
    import datasets as hf

    library: Any = hf
    return library.Dataset(library.table.InMemoryTable(nested_table(dataset)))


def to_pandas(dataset: Dataset, name: str) -> pandas.DataFrame:
    """See ``Dataset.to_pandas``."""
    try:
        return one_table(dataset, name).to_pandas()
    except ModuleNotFoundError as error:
        raise MissingExtraError("to_pandas", "pandas", "pandas") from error


def to_polars(dataset: Dataset, name: str) -> polars.DataFrame:
    """See ``Dataset.to_polars``."""
    try:
        import polars as pl
    except ImportError as error:
        raise MissingExtraError("to_polars", "polars", "polars") from error
    frame = pl.from_arrow(one_table(dataset, name))
    assert isinstance(frame, pl.DataFrame)
    return frame


def to_coco(dataset: Dataset, allow_loss: Iterable[str]) -> Any:
    """See ``Dataset.to_coco``."""
    import json
    import tempfile
    from pathlib import Path

    from pycocotools.coco import COCO

    from granum.loaders.writing import write_dataset

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coco.json"
        write_dataset(dataset, path, "coco", allow_loss=allow_loss)
        out = COCO()
        out.dataset = json.loads(path.read_bytes())
    out.createIndex()
    return out
