"""Masks in label images as run lengths, for formats that have no label images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import GranumError
from granum.loaders.base import Intake
from granum.schema import geometry, rows, tables
from granum.schema.tables import column, with_column
from granum.store.dataset import Dataset
from granum.store.media import map_mask, read_values
from granum.store.regions import held_maps

__all__ = ["label_values", "maps_as_rle"]

BINARY = ("nonzero", "greater")


def label_values(
    path: str, root: Path, intake: Intake, encoding: str = "index"
) -> npt.NDArray[np.int64] | None:
    """The values of a label image; None, with a fault, where it does not decode."""
    try:
        return read_values(rows.LabelMap(path, encoding=encoding), str(root))
    except (GranumError, OSError, ValueError, SyntaxError) as error:
        intake.fault("broken-media", path, None, f"the label image does not decode: {error}")
        return None


def maps_as_rle(table: pa.Table, samples: pa.Table, start: int, dataset: Dataset) -> pa.Table:
    """``table`` with an RLE for every row whose mask is in a label image only.

    Each image is decoded once. Rows stay as they are where it is not at hand, has another size
    than the sample, or the row means the whole image.

    Args:
        table: annotations.
        samples: of the batch.
        start: dataset row of the first sample.
        dataset: says where label images are.
    """
    has = np.asarray(table["map"].is_valid())
    for name in ("rle", "polygons"):
        has &= np.asarray(column(table, name).is_null())
    at = np.asarray(column(table, "sample").fill_null(start - 1), np.int64) - start
    has &= at >= 0
    if not has.any():
        return table
    root = dataset.meta.map_root or dataset.meta.media_root
    cells: list[Any] = held_maps(table["map"].to_pylist(), at.tolist())
    sizes = [column(samples, n).to_pylist() for n in ("height", "width")]
    listed = column(table, "rle").to_pylist()
    by_image: dict[tuple[Any, ...], list[int]] = {}
    for row in np.flatnonzero(has).tolist():
        cell = cells[row]
        if cell is not None and (cell["value"] is not None or cell["encoding"] in BINARY):
            key = (at[row], cell["path"], cell["bytes"], cell["encoding"])
            by_image.setdefault(key, []).append(row)
    for (sample, *_), at_image in by_image.items():
        try:
            values = read_values(rows.LabelMap(**cells[at_image[0]]), root)
        except (GranumError, OSError, ValueError, SyntaxError):
            continue  # it stays a label map, which the account tells
        stated = [sizes[0][sample], sizes[1][sample]]
        if any(s is not None and s != n for s, n in zip(stated, values.shape, strict=True)):
            continue
        for row in at_image:
            size, counts = geometry.encode_mask(map_mask(rows.LabelMap(**cells[row]), values))
            listed[row] = {"size": list(size), "counts": counts, "form": "compressed"}
    kind = tables.ANNOTATIONS.field("rle").type
    return with_column(table, "rle", rows.column_array(listed, kind))
