"""The masks of annotation rows, whatever form they have, as RLE."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from granum.errors import GranumError
from granum.schema import geometry
from granum.schema.rows import LabelMap
from granum.schema.tables import column
from granum.store.media import read_map
from granum.store.view import SampleView

__all__ = ["row_masks"]


def row_masks(table: pa.Table, view: SampleView) -> tuple[list[bytes | None], tuple[int, int]]:
    """Compressed COCO counts of each row (None where it has no mask), and (height, width).

    Of the forms a row may have, the first of RLE, map, polygons counts.

    Args:
        table: annotations of one sample.
        view: the sample.

    Raises:
        GranumError: masks differ in size, or a label map cannot be read.
        SizeUnknownError: polygons, and the size of the image is not known.
    """
    forms = {name: column(table, name).to_pylist() for name in ("rle", "map", "polygons")}
    root = view.dataset.meta.map_root or view.dataset.meta.media_root
    out: list[bytes | None] = []
    sizes: set[tuple[int, int]] = set()
    for rle, label_map, polygons in zip(*forms.values(), strict=True):
        if rle is not None:
            size, counts = tuple(rle["size"]), rle["counts"]
        elif label_map is not None:
            size, counts = geometry.encode_mask(read_map(LabelMap(**label_map), root))
        elif polygons is not None:
            size, counts = _drawn(polygons, view)
        else:
            out.append(None)
            continue
        sizes.add(size)
        out.append(counts)
    if len(sizes) > 1:
        raise GranumError(f"masks of {view.key!r} differ in size: {sorted(sizes)}")
    return out, sizes.pop() if sizes else (0, 0)


def _drawn(polygons: Any, view: SampleView) -> tuple[tuple[int, int], bytes]:
    width, height = view.size
    if view.row.unit == "relative":
        scale = (width, height)
        polygons = [
            [[v * scale[i % 2] for i, v in enumerate(ring)] for ring in part] for part in polygons
        ]
    return geometry.encode_mask(geometry.rasterize(polygons, height, width))
