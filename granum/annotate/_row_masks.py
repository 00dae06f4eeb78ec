"""The masks of annotation rows, whatever form they have, as RLE."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from granum.errors import GranumError
from granum.schema import geometry
from granum.schema.rows import LabelMap
from granum.schema.tables import column
from granum.store.media import map_mask, read_values
from granum.store.regions import held_maps, inner_nodes, leaves_below
from granum.store.view import SampleView

__all__ = ["row_masks"]

_Coded = tuple[tuple[int, int], bytes]


def row_masks(table: pa.Table, view: SampleView) -> tuple[list[bytes | None], tuple[int, int]]:
    """Compressed COCO counts of each row (None where it has no mask), and (height, width).

    Of the forms a row may have, the first of RLE, map, polygons counts. An inner node of a region
    tree is the union of the leaves below it; it has none where one of them has none.

    Args:
        table: annotations of one sample.
        view: the sample.

    Raises:
        GranumError: masks differ in size, or a label map cannot be read.
        SizeUnknownError: polygons, and the size of the image is not known.
    """
    inner = inner_nodes(table)
    own = _own_masks(table, view, inner.tolist())
    sizes = {coded[0] for coded in own if coded is not None}
    if len(sizes) > 1:
        raise GranumError(f"masks of {view.key!r} differ in size: {sorted(sizes)}")
    size = sizes.pop() if sizes else (0, 0)
    out = [None if coded is None else coded[1] for coded in own]
    if inner.any():
        ids, parents = (column(table, n).to_pylist() for n in ("annotation_id", "parent"))
        for node, leaves in leaves_below(ids, parents, inner.tolist()).items():
            out[node] = _union([out[i] for i in leaves], size)
    return out, size


def _own_masks(table: pa.Table, view: SampleView, inner: list[bool]) -> list[_Coded | None]:
    """Size and counts of the masks that rows have by themselves."""
    forms = {name: column(table, name).to_pylist() for name in ("rle", "map", "polygons")}
    forms["map"] = held_maps(forms["map"], [0] * table.num_rows)
    root = view.dataset.meta.map_root or view.dataset.meta.media_root
    image: tuple[Any, np.ndarray[Any, np.dtype[np.int64]]] | None = None
    out: list[_Coded | None] = []
    for is_inner, rle, cell, polygons in zip(inner, *forms.values(), strict=True):
        if is_inner:
            out.append(None)
        elif rle is not None:
            out.append((tuple(rle["size"]), rle["counts"]))
        elif cell is not None:
            name = cell["path"], cell["bytes"], cell["encoding"]
            if image is None or image[0] != name:
                image = name, read_values(LabelMap(**cell), root)
            out.append(geometry.encode_mask(map_mask(LabelMap(**cell), image[1])))
        elif polygons is not None:
            out.append(_drawn(polygons, view))
        else:
            out.append(None)
    return out


def _union(counts: list[bytes | None], size: tuple[int, int]) -> bytes | None:
    from pycocotools import mask as coco_mask

    known = [{"size": list(size), "counts": c} for c in counts if c is not None]
    if not known or len(known) < len(counts):
        return None
    return bytes(coco_mask.merge(known)["counts"])


def _drawn(polygons: Any, view: SampleView) -> _Coded:
    width, height = view.size
    if view.row.unit == "relative":
        scale = (width, height)
        polygons = [
            [[v * scale[i % 2] for i, v in enumerate(ring)] for ring in part] for part in polygons
        ]
    return geometry.encode_mask(geometry.rasterize(polygons, height, width))
