"""Masks as FiftyOne keeps them: pixels of the box, a zlib-compressed npy file in the document."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.browse._fiftyone_cells import Cell
from granum.errors import GranumError
from granum.schema import geometry
from granum.schema.rows import LabelMap
from granum.store.media import read_map, read_values

__all__ = [
    "UNREADABLE",
    "MaskReader",
    "Pixels",
    "Region",
    "Runs",
    "bounds",
    "packed",
    "unpacked",
    "window",
]

Mask = npt.NDArray[np.bool_]
Box = Sequence[float]

_DENSE = 1 << 16

UNREADABLE = (GranumError, OSError, ValueError, SyntaxError)
"""What Pillow and the store raise of label images that are absent or damaged."""


@dataclass(frozen=True, slots=True)
class Runs:
    """A mask as run lengths, column by column, zeros first; ``shape`` is (height, width)."""

    shape: tuple[int, int]
    lengths: npt.NDArray[np.int64]

    def pixels(self) -> int:
        return int(self.lengths[1::2].sum())

    def crop(self, rows: slice, columns: slice) -> Mask:
        """Only the columns asked for are unrolled."""
        height = self.shape[0]
        first, last = columns.start * height, columns.stop * height
        ends = np.clip(np.cumsum(self.lengths), first, last) - first
        lengths = np.diff(ends, prepend=0)
        flat = np.zeros(last - first, bool)
        unrolled = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
        flat[: len(unrolled)] = unrolled
        return flat.reshape(-1, height).T[rows]


@dataclass(frozen=True, slots=True)
class Pixels:
    """A mask as an array of shape (height, width)."""

    mask: Mask

    @property
    def shape(self) -> tuple[int, ...]:
        return self.mask.shape

    def pixels(self) -> int:
        return int(np.count_nonzero(self.mask))

    def crop(self, rows: slice, columns: slice) -> Mask:
        return self.mask[rows, columns]


@dataclass(frozen=True, slots=True)
class Region:
    """Pixels of some values of a label image.

    Attributes:
        places: shape (height, width), positions in ``counts``.
        chosen: for each position, whether it is in the mask.
        counts: how many pixels each position has.
    """

    places: npt.NDArray[np.int32]
    chosen: Mask
    counts: npt.NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.places.shape

    def pixels(self) -> int:
        return int(self.counts[self.chosen].sum())

    def crop(self, rows: slice, columns: slice) -> Mask:
        return np.asarray(self.chosen[self.places[rows, columns]])


@dataclass(frozen=True, slots=True)
class _Image:
    """A label image that many rows share: its values, rising, and where they are."""

    entry: LabelMap
    known: npt.NDArray[np.int64]
    places: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]

    def region(self, values: Sequence[int]) -> Region:
        return Region(self.places, np.isin(self.known, values), self.counts)


class MaskReader:
    """Masks of annotations; a label image that several of them share is read once.

    Args:
        root: folder that paths of label images are relative to.

    Attributes:
        missed: why masks are not shown, with how many.
    """

    def __init__(self, root: str | None) -> None:
        self.root = root
        self.missed: dict[str, int] = {}
        self._image: _Image | None = None

    def read(self, cells: Sequence[Cell]) -> list[Runs | Pixels | Region | None]:
        """The masks of cells; None where its label image is absent or cannot be read."""
        out: list[Runs | Pixels | Region | None] = []
        encoded: list[tuple[tuple[int, int], bytes]] = []
        places: list[int] = []
        for cell in cells:
            counts = _counts(cell)
            if counts is None:
                out.append(self._pixels(cell))
            else:
                places.append(len(out))
                encoded.append(counts)
                out.append(None)
        for place, runs in zip(places, _runs(encoded), strict=True):
            out[place] = runs
        return out

    def _pixels(self, cell: Cell) -> Pixels | Region | None:
        if cell.form == "polygons":
            return Pixels(geometry.rasterize(cell.value, cell.size[1], cell.size[0]))
        try:
            if cell.form == "absent":
                raise GranumError(f"no row has the label image {cell.value['digest']!r}")
            if cell.form == "union":
                return self._union(cell.value)
            return self._of_map(LabelMap(**cell.value))
        except UNREADABLE as error:
            self.miss(str(error).partition("\n")[0])
            return None

    def miss(self, why: str) -> None:
        """Counts a mask that is not shown."""
        self.missed[why] = self.missed.get(why, 0) + 1

    def _of_map(self, entry: LabelMap) -> Pixels | Region:
        if entry.value is None or entry.encoding in ("nonzero", "greater"):
            return Pixels(read_map(entry, self.root))
        return self._indexed(entry).region([entry.value])

    def _indexed(self, entry: LabelMap) -> _Image:
        image = LabelMap(entry.path, entry.bytes, entry.encoding)
        if self._image is None or self._image.entry != image:
            values = read_values(image, self.root)
            self._image = _Image(image, *_ranked(values))
        return self._image

    def _union(self, cells: list[Cell]) -> Pixels | Region | None:
        """The leaves of a region tree have one label image; masks of any other form are joined."""
        maps = [LabelMap(**c.value) for c in cells if c.form == "map"]
        shared = {(m.path, m.bytes, m.encoding) for m in maps if m.value is not None}
        values = [m.value for m in maps if m.value is not None]
        if len(shared) == 1 and len(values) == len(cells):
            return self._indexed(maps[0]).region(values)
        masks = [m.crop(slice(0, m.shape[0]), slice(0, m.shape[1])) for m in self.read(cells) if m]
        whole = len(masks) == len(cells) > 0 and len({m.shape for m in masks}) == 1
        return Pixels(np.logical_or.reduce(masks)) if whole else None


def _ranked(
    values: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """``np.unique`` with places and counts; without sorting where the values are small."""
    if values.size and values.min() >= 0 and values.max() < _DENSE:
        counts = np.bincount(values.ravel())
        known = np.flatnonzero(counts)
        return known, (np.cumsum(counts > 0) - 1).astype(np.int32)[values], counts[known]
    known, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return known, places.reshape(values.shape).astype(np.int32), counts


def _counts(cell: Cell) -> tuple[tuple[int, int], bytes] | None:
    """(height, width) and run lengths of a mask that has them without a raster."""
    if cell.form == "rle":
        return (cell.value["size"][0], cell.value["size"][1]), cell.value["counts"]
    if cell.form == "polygons" and all(len(part) == 1 for part in cell.value):
        return (cell.size[1], cell.size[0]), _drawn(cell.value, cell.size)
    return None


def _drawn(parts: list[list[list[float]]], size: tuple[int, int]) -> bytes:
    """Counts of the union of parts without holes: the pixels of ``geometry.rasterize``, without
    the raster."""
    from pycocotools import mask as coco_mask

    width, height = size
    rings = [part[0] for part in parts if len(part[0]) >= 6]
    if not rings:
        return geometry.rle_encode_counts([width * height])
    drawn = coco_mask.frPyObjects(rings, height, width)
    return bytes(coco_mask.merge(drawn)["counts"] if len(drawn) > 1 else drawn[0]["counts"])


def _runs(encoded: list[tuple[tuple[int, int], bytes]]) -> Iterator[Runs]:
    offsets = np.concatenate([[0], np.cumsum([len(counts) for _, counts in encoded])])
    joined = b"".join(counts for _, counts in encoded)
    lengths, starts = geometry.rle_counts_many(joined, offsets.astype(np.int64))
    bounds_ = np.append(starts, len(lengths))[: len(encoded) + 1].tolist()
    for k, (shape, _) in enumerate(encoded):
        yield Runs(shape, lengths[bounds_[k] : bounds_[k + 1]])


def window(box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the pixels of a relative ``xywh`` box: its edges rounded, as FiftyOne's
    own importers do, at least one pixel, inside the raster of ``shape`` (height, width)."""
    height, width = shape[:2]
    across, down = _span(box[0], box[2], width), _span(box[1], box[3], height)
    return slice(*down), slice(*across)


def _span(start: float, length: float, size: int) -> tuple[int, int]:
    first, last = round(start * size), round((start + length) * size)
    first = min(max(first, 0), size - 1)
    return first, max(min(last, size), first + 1)


def bounds(mask: Runs | Pixels | Region) -> tuple[float, float, float, float] | None:
    """The relative ``xywh`` box of the pixels of a mask; None where it has none."""
    return _bounds(mask.crop(slice(0, mask.shape[0]), slice(0, mask.shape[1])))


def _bounds(mask: Mask) -> tuple[float, float, float, float] | None:
    across, down = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(across):
        return None
    height, width = mask.shape
    x, y = int(across[0]), int(down[0])
    w, h = int(across[-1]) + 1 - x, int(down[-1]) + 1 - y
    return x / width, y / height, w / width, h / height


def packed(array: npt.NDArray[Any]) -> bytes:
    """What FiftyOne's ``ArrayField`` stores."""
    head = _header(array.shape, array.dtype.str)
    return zlib.compress(head + np.ascontiguousarray(array).tobytes(), 1)


@lru_cache(maxsize=65_536)
def _header(shape: tuple[int, ...], kind: str) -> bytes:
    file = BytesIO()
    facts = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, facts)
    return file.getvalue()


def unpacked(data: bytes) -> npt.NDArray[Any]:
    """The array of a stored ``ArrayField``; no pickles."""
    return np.asarray(np.load(BytesIO(zlib.decompress(data)), allow_pickle=False))
