"""Masks of annotations as compressed run lengths, and what is computed of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import FormatError, SizeUnknownError
from granum.metrics._maps.drawn import DrawnSample
from granum.metrics._usable import left_out
from granum.schema import geometry
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = [
    "Outline",
    "Rle",
    "drawn_masks",
    "mask_areas",
    "mask_dicts",
    "no_collection",
    "outlines_of",
    "segmentations",
]

_RINGS = pa.list_(pa.list_(pa.list_(pa.float64())))

MASK = pa.struct([("size", pa.list_(pa.int32(), 2)), ("counts", pa.binary())])

Rle = dict[str, Any]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Outline:
    """The masks of rows: run lengths, or the rings of which compiled code makes them.

    Attributes:
        rle: struct of ``size`` (height, width) and compressed ``counts``; null where there are
            rings, or nothing.
        rings: parts of one ring each; null elsewhere.
        size: (height, width) of the image of each row, shape (n, 2); -1 where unknown.
    """

    rle: pa.Array
    rings: pa.Array
    size: npt.NDArray[np.int64]

    @staticmethod
    def joined(pieces: Sequence[Outline]) -> Outline:
        """All rows, in order."""
        return Outline(
            pa.concat_arrays([p.rle for p in pieces]),
            pa.concat_arrays([p.rings for p in pieces]),
            np.concatenate([p.size for p in pieces]),
        )

    def valid(self) -> Flags:
        """Which rows have a mask."""
        return np.asarray(pc.or_(self.rle.is_valid(), self.rings.is_valid()))

    def take(self, rows: npt.NDArray[np.int64]) -> Outline:
        at = pa.array(rows)
        return Outline(self.rle.take(at), self.rings.take(at), self.size[rows])


def outlines_of(
    batch: Batch, root: str | None, who: str, found: Findings, *, rings: Flags
) -> Outline:
    """The mask of each row: of its forms, the first of RLE, map, polygons; none where none.

    A label map that cannot be read, and masks of another size than the image, are findings.

    Args:
        batch: its annotations are the rows.
        root: the folder of label maps.
        who: the rows are.
        found: gets the findings.
        rings: rows whose polygons may be left to compiled code, shape (n,).

    Raises:
        SizeUnknownError: polygons in a sample of unknown size.
    """
    table = batch.annotations
    size = _sizes(batch)
    rle = column(table, "rle").combine_chunks()
    has_rle = np.asarray(rle.is_valid())
    stored = pa.StructArray.from_arrays(
        [rle.field("size").cast(MASK[0].type), rle.field("counts")],
        fields=list(MASK),
        mask=rle.is_null() if rle.null_count else None,
    )
    left = pa.nulls(len(rle), _RINGS)
    if not has_rle.all():
        mapped = np.flatnonzero(np.asarray(column(table, "map").is_valid()) & ~has_rle)
        ringed = np.asarray(column(table, "polygons").is_valid()) & ~has_rle
        ringed[mapped] = False
        drawn: dict[int, Rle | None] = {}
        if len(mapped):
            some = table.take(pa.array(mapped))
            drawn.update(zip(mapped.tolist(), _of_maps(some, batch, root, who, found), strict=True))
        unknown = np.flatnonzero(ringed & (size < 0).any(axis=1))
        if len(unknown):
            sample = column(table, "sample")[int(unknown[0])].as_py() - batch.start
            raise SizeUnknownError([batch.samples["key"][sample].as_py()])
        polygons = column(table, "polygons").combine_chunks()
        later = ringed & rings & _plain(geometry.flat_polygons(column(table, "polygons")))
        left = pc.if_else(pa.array(later), polygons, None)
        now = np.flatnonzero(ringed & ~later)
        drawn.update(
            zip(now.tolist(), _rasterized(polygons.take(pa.array(now)), size[now]), strict=True)
        )
        stored = _with_drawn(stored, has_rle, drawn)
    what = "with a mask of another size than the image; official code matches it to nothing"
    left_out(found, "mask-size-mismatch", batch, _misfits(stored, size), who, what)
    return Outline(stored, left, size)


def _with_drawn(stored: pa.Array, has_rle: Flags, drawn: dict[int, Rle | None]) -> pa.Array:
    """Stored masks, with those that were drawn at their rows."""
    if not drawn:
        return stored
    rows = sorted(drawn)
    made = pa.array([drawn[i] for i in rows], MASK)
    where = np.where(has_rle, np.arange(len(stored)), -1)
    where[rows] = len(stored) + np.arange(len(rows))
    return pa.concat_arrays([stored, made]).take(pa.array(where, mask=where < 0))


def _misfits(masks: pa.Array, sizes: npt.NDArray[np.int64]) -> Flags:
    """Which masks have another size than their image, where that is known."""
    own = np.full((len(masks), 2), -1, np.int64)
    known = masks if not masks.null_count else masks.filter(masks.is_valid())
    own[np.asarray(masks.is_valid())] = _own_sizes(known)
    return np.asarray(((own != sizes) & (own >= 0) & (sizes >= 0)).any(axis=1))


def _own_sizes(masks: pa.Array) -> npt.NDArray[np.int64]:
    """(height, width) as stated by each mask, none of which is null."""
    return np.asarray(masks.field("size").flatten(), np.int64).reshape(-1, 2)


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


def _rasterized(polygons: pa.Array, sizes: npt.NDArray[np.int64]) -> Iterator[Rle]:
    """Parts united, as official code does; parts with holes by :func:`geometry.rasterize`."""
    from pycocotools import mask as coco_mask

    plain = _plain(geometry.flat_polygons(pa.chunked_array([polygons])))
    rows = zip(polygons.to_pylist(), sizes.tolist(), plain.tolist(), strict=True)
    for parts, size, simple in rows:
        if simple:
            rles = coco_mask.frPyObjects([part[0] for part in parts], *size)
            yield rles[0] if len(rles) == 1 else coco_mask.merge(rles)
        else:
            height_width, counts = geometry.encode_mask(geometry.rasterize(parts, *size))
            yield {"size": height_width, "counts": counts}


def _plain(flat: geometry.FlatPolygons) -> Flags:
    """Whether a row has parts, each of one ring of three points at least."""
    plain = np.diff(flat.rows) > 0
    part_rows = np.repeat(np.arange(len(plain)), np.diff(flat.rows))
    plain[part_rows[np.diff(flat.parts) != 1]] = False
    plain[flat.ring_rows()[np.diff(flat.rings) < 6]] = False
    return plain


def _sizes(batch: Batch) -> npt.NDArray[np.int64]:
    """(height, width) of the image of each row; -1 where unknown."""
    of_samples = [
        np.asarray(column(batch.samples, n).fill_null(-1), np.int64) for n in ("height", "width")
    ]
    at = np.asarray(column(batch.annotations, "sample"), np.int64) - batch.start
    return np.column_stack(of_samples)[at]


def segmentations(outline: Outline) -> list[Any]:
    """Masks in the forms in which compiled code takes them: dictionaries, and lists of rings."""
    rows = np.flatnonzero(np.asarray(outline.rings.is_valid()))
    if not len(rows):
        return mask_dicts(outline.rle)
    out = np.empty(len(outline.rle), object)
    with no_collection():
        out[rows] = _ring_lists(outline.rings.take(pa.array(rows)))
        others = np.flatnonzero(np.asarray(outline.rle.is_valid()))
        out[others] = mask_dicts(outline.rle.take(pa.array(others)))
        return out.tolist()


def _ring_lists(rings: pa.Array) -> list[list[list[float]]]:
    """Of each row its parts' only rings, flat x,y."""
    parts = rings.flatten()
    flat = parts.flatten()
    values = flat.flatten().to_pylist()
    at = np.cumsum([0, *np.asarray(flat.value_lengths())]).tolist()
    listed = [values[a:b] for a, b in pairwise(at)]
    ends = np.cumsum([0, *np.asarray(rings.value_lengths())]).tolist()
    return [listed[a:b] for a, b in pairwise(ends)]


def drawn_masks(outline: Outline) -> list[Rle]:
    """All masks as dictionaries; rings are rasterised."""
    rows = np.flatnonzero(np.asarray(outline.rings.is_valid()))
    if not len(rows):
        return mask_dicts(outline.rle)
    made = _rasterized(outline.rings.take(pa.array(rows)), outline.size[rows])
    out = np.empty(len(outline.rle), object)
    others = np.flatnonzero(np.asarray(outline.rle.is_valid()))
    out[others] = mask_dicts(outline.rle.take(pa.array(others)))
    out[rows] = list(made)
    return out.tolist()  # type: ignore[no-any-return]


def mask_dicts(masks: pa.Array) -> list[Rle]:
    """Masks, none of which is null, as dictionaries: the one place that makes them."""
    sizes = _own_sizes(masks)
    different, which = np.unique(sizes[:, 0] << 32 | sizes[:, 1], return_inverse=True)
    shared = [[size >> 32, size & 0xFFFFFFFF] for size in different.tolist()]
    counts = masks.field("counts").to_pylist()
    with no_collection():
        pairs = zip(which.tolist(), counts, strict=True)
        return [{"size": shared[i], "counts": c} for i, c in pairs]


@contextmanager
def no_collection() -> Iterator[None]:
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
