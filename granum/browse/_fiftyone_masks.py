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

from granum.schema import geometry
from granum.schema.rows import LabelMap
from granum.store.media import read_map, read_values

__all__ = ["MaskReader", "Pixels", "Runs", "bounds", "packed", "unpacked", "window"]

Mask = npt.NDArray[np.bool_]
Box = Sequence[float]


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


class MaskReader:
    """Masks of annotations; a label image that several of them share is read once.

    Args:
        root: folder that paths of label images are relative to.
    """

    def __init__(self, root: str | None) -> None:
        self.root = root
        self._image: tuple[LabelMap, npt.NDArray[np.int64]] | None = None

    def read(self, cells: Sequence[tuple[str, Any, tuple[int, int]]]) -> list[Runs | Pixels]:
        """The masks of cells of ``rle``, ``map`` or ``polygons``.

        Args:
            cells: for each the name of its column, its value, and (width, height) of the raster
                that polygons are drawn on.
        """
        out: list[Runs | Pixels | None] = []
        encoded: list[tuple[tuple[int, int], bytes]] = []
        for form, value, size in cells:
            if form == "rle":
                encoded.append(((value["size"][0], value["size"][1]), value["counts"]))
            elif form == "polygons" and all(len(part) == 1 for part in value):
                encoded.append(((size[1], size[0]), _drawn(value, size)))
            else:
                mask = self._of_map(LabelMap(**value)) if form == "map" else None
                if mask is None:
                    mask = geometry.rasterize(value, size[1], size[0])
                out.append(Pixels(mask))
                continue
            out.append(None)
        runs = iter(_runs(encoded))
        return [next(runs) if mask is None else mask for mask in out]

    def _of_map(self, entry: LabelMap) -> Mask:
        if entry.value is None:
            return read_map(entry, self.root)
        image = LabelMap(entry.path, entry.bytes, entry.encoding)
        if self._image is None or self._image[0] != image:
            self._image = image, read_values(image, self.root)
        return self._image[1] == entry.value


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


def bounds(mask: Mask) -> tuple[float, float, float, float] | None:
    """The relative ``xywh`` box of the pixels of a mask; None where it has none."""
    across, down = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(across):
        return None
    height, width = mask.shape
    x, y = int(across[0]), int(down[0])
    w, h = int(across[-1]) + 1 - x, int(down[-1]) + 1 - y
    return x / width, y / height, w / width, h / height


def packed(mask: Mask) -> bytes:
    """What FiftyOne's ``ArrayField`` stores for a mask."""
    return zlib.compress(_header(mask.shape) + np.ascontiguousarray(mask).tobytes(), 1)


@lru_cache(maxsize=65_536)
def _header(shape: tuple[int, ...]) -> bytes:
    file = BytesIO()
    facts = {"descr": "|b1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, facts)
    return file.getvalue()


def unpacked(data: bytes) -> npt.NDArray[Any]:
    """The array of a stored ``ArrayField``; no pickles."""
    return np.asarray(np.load(BytesIO(zlib.decompress(data)), allow_pickle=False))
