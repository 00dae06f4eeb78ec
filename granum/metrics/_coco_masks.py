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

from granum.errors import FormatError, SizeUnknownError
from granum.metrics._drawn import DrawnSample
from granum.metrics._usable import left_out
from granum.schema import geometry
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["MASK", "Rle", "mask_areas", "mask_dicts", "masks_of"]

MASK = pa.struct([("size", pa.list_(pa.int32(), 2)), ("counts", pa.binary())])

Rle = dict[str, Any]


def masks_of(batch: Batch, root: str | None, who: str, found: Findings) -> pa.Array:
    """The mask of each row: of its forms, the first of RLE, map, polygons; null where none.

    A label map that cannot be read, and masks of another size than the image, are findings.

    Raises:
        SizeUnknownError: polygons in a sample of unknown size.
    """
    table = batch.annotations
    rle = column(table, "rle").combine_chunks()
    has_rle = np.asarray(rle.is_valid())
    stored = pa.StructArray.from_arrays(
        [rle.field("size").cast(MASK[0].type), rle.field("counts")],
        fields=list(MASK),
        mask=rle.is_null() if rle.null_count else None,
    )
    drawn: dict[int, Rle | None] = {}
    if not has_rle.all():
        mapped = np.flatnonzero(np.asarray(column(table, "map").is_valid()) & ~has_rle)
        if len(mapped):
            some = table.take(pa.array(mapped))
            drawn.update(zip(mapped.tolist(), _of_maps(some, batch, root, who, found), strict=True))
        ringed = np.asarray(column(table, "polygons").is_valid()) & ~has_rle
        ringed[mapped] = False
        rows = np.flatnonzero(ringed)
        if len(rows):
            some = table.take(pa.array(rows))
            drawn.update(zip(rows.tolist(), _of_polygons(some, batch), strict=True))
    if drawn:
        made = pa.array([drawn[i] for i in sorted(drawn)], MASK)
        where = np.where(has_rle, np.arange(len(rle)), -1)
        where[sorted(drawn)] = len(rle) + np.arange(len(drawn))
        stored = pa.concat_arrays([stored, made]).take(pa.array(where, mask=where < 0))
    what = "with a mask of another size than the image; official code matches it to nothing"
    left_out(found, "mask-size-mismatch", batch, _misfits(stored, batch), who, what)
    return stored


def _misfits(masks: pa.Array, batch: Batch) -> npt.NDArray[np.bool_]:
    """Which masks have another size than their image, where that is known."""
    sizes = np.column_stack(
        [np.asarray(column(batch.samples, n).fill_null(-1), np.int64) for n in ("height", "width")]
    )[np.asarray(column(batch.annotations, "sample"), np.int64) - batch.start]
    rows = np.flatnonzero(np.asarray(masks.is_valid()))
    own = np.full((len(masks), 2), -1, np.int64)
    flat = masks.field("size").take(pa.array(rows)).flatten()
    own[rows] = np.asarray(flat, np.int64).reshape(-1, 2)
    return np.asarray(((own != sizes) & (own >= 0) & (sizes >= 0)).any(axis=1))


def _of_maps(
    table: pa.Table, batch: Batch, root: str | None, who: str, found: Findings
) -> Iterator[Rle | None]:
    """Regions of label maps; a map that rows of one sample share is read once."""
    entries, at = table["map"].to_pylist(), _places(table, batch)
    maps, offsets = column(batch.annotations, "map"), batch.offsets()
    for place, rows in groupby(range(len(entries)), key=at.__getitem__):
        first, last = int(offsets[place]), int(offsets[place + 1])
        shared = [{"map": m} for m in maps.slice(first, last - first).to_pylist()]
        key = batch.samples["key"][place].as_py()
        drawn = DrawnSample(key=key, size=None, rows=shared, root=root)
        broken = set()
        for row in rows:
            try:
                mask = drawn.mask({"rle": None, "map": entries[row]})
            except FormatError as error:
                if str(error) not in broken:
                    broken.add(str(error))
                    found.add("broken-media", who, key, str(error))
                yield None
                continue
            size, counts = geometry.encode_mask(mask)
            yield {"size": size, "counts": counts}


def _places(table: pa.Table, batch: Batch) -> list[int]:
    """The sample of each row, counted from the start of the batch."""
    return (np.asarray(table["sample"], np.int64) - batch.start).tolist()


def _of_polygons(table: pa.Table, batch: Batch) -> Iterator[Rle]:
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
