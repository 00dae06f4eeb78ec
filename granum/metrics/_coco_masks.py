"""Masks of annotations as compressed run lengths, and what is computed of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import SizeUnknownError
from granum.metrics._drawn import DrawnSample
from granum.schema import geometry
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["MASK", "Rle", "mask_areas", "mask_dicts", "masks_of"]

MASK = pa.struct([("size", pa.list_(pa.int32(), 2)), ("counts", pa.binary())])

Rle = dict[str, Any]


def masks_of(table: pa.Table, batch: Batch, root: str | None) -> pa.Array:
    """The mask of each row: of its forms, the first of RLE, map, polygons; null where none.

    Raises:
        SizeUnknownError: polygons in a sample of unknown size.
    """
    rle = column(table, "rle").combine_chunks()
    has_rle = np.asarray(rle.is_valid())
    stored = pa.StructArray.from_arrays(
        [rle.field("size").cast(MASK[0].type), rle.field("counts")],
        fields=list(MASK),
        mask=rle.is_null() if rle.null_count else None,
    )
    if has_rle.all():
        return stored
    drawn: dict[int, Rle] = {}
    for name, draw in (("map", _of_maps), ("polygons", _of_polygons)):
        have = np.asarray(column(table, name).is_valid())
        rows = [i for i in np.flatnonzero(have & ~has_rle).tolist() if i not in drawn]
        if rows:
            drawn.update(zip(rows, draw(table.take(pa.array(rows)), batch, root), strict=True))
    if not drawn:
        return stored
    made = pa.array([drawn[i] for i in sorted(drawn)], MASK)
    where = np.where(has_rle, np.arange(len(rle)), -1)
    where[sorted(drawn)] = len(rle) + np.arange(len(drawn))
    return pa.concat_arrays([stored, made]).take(pa.array(where, mask=where < 0))


def _of_maps(table: pa.Table, batch: Batch, root: str | None) -> Iterator[Rle]:
    """Regions of label maps; a map that rows of one sample share is read once."""
    entries, at = table["map"].to_pylist(), _places(table, batch)
    maps, offsets = column(batch.annotations, "map"), batch.offsets()
    for place, rows in groupby(range(len(entries)), key=at.__getitem__):
        first, last = int(offsets[place]), int(offsets[place + 1])
        shared = [{"map": m} for m in maps.slice(first, last - first).to_pylist()]
        key = batch.samples["key"][place].as_py()
        drawn = DrawnSample(key=key, size=None, rows=shared, root=root)
        for row in rows:
            size, counts = geometry.encode_mask(drawn.mask({"rle": None, "map": entries[row]}))
            yield {"size": size, "counts": counts}


def _places(table: pa.Table, batch: Batch) -> list[int]:
    """The sample of each row, counted from the start of the batch."""
    return (np.asarray(table["sample"], np.int64) - batch.start).tolist()


def _of_polygons(table: pa.Table, batch: Batch, root: str | None) -> Iterator[Rle]:
    """Parts united, as official code does; parts with holes by :func:`geometry.rasterize`."""
    from pycocotools import mask as coco_mask

    sizes = _sizes(batch)
    at = _places(table, batch)
    plain = _plain(geometry.flat_polygons(table["polygons"])).tolist()
    for parts, sample, simple in zip(table["polygons"].to_pylist(), at, plain, strict=True):
        size = sizes[sample]
        if size is None:
            raise SizeUnknownError([batch.samples["key"][sample].as_py()])
        if simple:
            rles = coco_mask.frPyObjects([part[0] for part in parts], *size)
            yield rles[0] if len(rles) == 1 else coco_mask.merge(rles)
        else:
            height_width, counts = geometry.encode_mask(geometry.rasterize(parts, *size))
            yield {"size": height_width, "counts": counts}


def _plain(flat: geometry.FlatPolygons) -> npt.NDArray[np.bool_]:
    """Whether a row has parts, each of one ring of three points at least."""
    plain = np.diff(flat.rows) > 0
    part_rows = np.repeat(np.arange(len(plain)), np.diff(flat.rows))
    plain[part_rows[np.diff(flat.parts) != 1]] = False
    plain[flat.ring_rows()[np.diff(flat.rings) < 6]] = False
    return plain


def _sizes(batch: Batch) -> list[tuple[int, int] | None]:
    heights = column(batch.samples, "height").to_pylist()
    widths = column(batch.samples, "width").to_pylist()
    both = zip(heights, widths, strict=True)
    return [None if h is None or w is None else (h, w) for h, w in both]


def mask_dicts(masks: pa.Array) -> list[Rle]:
    """The dictionaries in which compiled code takes masks: the one place that makes them."""
    sizes = np.asarray(masks.field("size").flatten(), np.int64).reshape(-1, 2)
    different, which = np.unique(sizes[:, 0] << 32 | sizes[:, 1], return_inverse=True)
    shared = [[size >> 32, size & 0xFFFFFFFF] for size in different.tolist()]
    counts = masks.field("counts").to_pylist()
    with _no_collection():
        pairs = zip(which.tolist(), counts, strict=True)
        return [{"size": shared[i], "counts": c} for i, c in pairs]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Making many small objects would set off the collector again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def mask_areas(masks: Sequence[Rle]) -> npt.NDArray[np.float64]:
    """Pixels of each mask."""
    from hotcoco import mask as hot_mask

    return np.asarray(hot_mask.area(list(masks)), np.float64).reshape(-1)
