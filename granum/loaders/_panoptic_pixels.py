"""Pixels of panoptic PNGs: ids, how often each occurs, and painting them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.errors import FormatError, GranumError
from granum.schema import geometry
from granum.schema.rows import LabelMap
from granum.store import media
from granum.store.media import read_map, read_values

__all__ = ["MAX_ID", "Canvas", "Ids", "boxes_of", "counts_of", "encode_png", "read_ids"]

MAX_ID = (1 << 24) - 1
"""The highest id that three bytes hold; 0 is VOID."""

Ids = npt.NDArray[np.int64]


def read_ids(path: str | None, root: str | None) -> Ids:
    """The ids of a PNG, shape (height, width).

    Raises:
        GranumError: it is absent, leaves its folder, or does not decode.
    """
    try:
        return read_values(LabelMap(path, encoding="rgb24"), root)
    except (OSError, ValueError, SyntaxError) as error:
        if isinstance(error, GranumError):
            raise
        raise FormatError(path or "PNG", f"does not decode: {error}") from error


def counts_of(ids: Ids) -> dict[int, int]:
    """How many pixels have each id."""
    flat = ids.ravel()
    if not flat.size:
        return {}
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    # Runs instead of pixels: there are a hundred times fewer of them to sort.
    values, of = np.unique(flat[starts], return_inverse=True)
    runs = np.diff(np.append(starts, flat.size))
    totals = np.bincount(of, weights=runs).astype(np.int64)
    return dict(zip(values.tolist(), totals.tolist(), strict=True))


def boxes_of(ids: Ids, wanted: Sequence[int]) -> list[list[int]]:
    """The box of each id, xywh with w = xmax - xmin + 1; zeros where no pixel has it."""
    out = []
    for value in wanted:
        mask = ids == value
        ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(ys):
            x, y = int(xs[0]), int(ys[0])
            out.append([x, y, int(xs[-1]) - x + 1, int(ys[-1]) - y + 1])
        else:
            out.append([0, 0, 0, 0])
    return out


def encode_png(ids: Ids) -> bytes:
    """Ids as an RGB PNG: R + 256 G + 65536 B."""
    return media.encode_png(np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1))


class Canvas:
    """One image that segments are painted on; none may cover a pixel of another.

    Args:
        size: (height, width); where one is None, it is that of the first mask.
        root: the folder that label maps are relative to.

    Attributes:
        ids: what was painted; None before the first mask where the size is not known.
    """

    def __init__(self, size: tuple[int | None, int | None], root: str | None) -> None:
        self.root, self.size = root, size
        height, width = size
        self.ids: Ids | None = None
        if height is not None and width is not None:
            self.ids = np.zeros((height, width), np.int64)
        self._read: dict[str, Ids | None] = {}

    def paint(self, row: Mapping[str, Any], value: int) -> bool:
        """Paint the mask of a row (``map``, ``rle`` or ``polygons`` in pixels, the first counts).

        Returns:
            Whether it could: the mask is readable, of the image's size, and on free pixels.
        """
        mask = self.mask(row)
        if mask is None:
            return False
        ids = np.zeros(mask.shape, np.int64) if self.ids is None else self.ids
        stated = [s is None or s == n for s, n in zip(self.size, mask.shape, strict=True)]
        if not all(stated) or mask.shape != ids.shape or ids[mask].any():
            return False
        self.ids = ids
        self.ids[mask] = value
        return True

    def mask(self, row: Mapping[str, Any]) -> npt.NDArray[np.bool_] | None:
        """The mask of a row; None where it has none that can be read."""
        found, rle, polygons = row["map"], row["rle"], row["polygons"]
        if found is not None:
            return self._of_map(found)
        if rle is not None:
            try:
                return geometry.rle_decode(rle["size"], rle["counts"])
            except (ValueError, OverflowError):
                return None
        if polygons is not None and self.ids is not None:
            return geometry.rasterize(polygons, *self.ids.shape)
        return None

    def _of_map(self, found: Mapping[str, Any]) -> npt.NDArray[np.bool_] | None:
        label_map = LabelMap(**found)
        try:
            if label_map.encoding in ("nonzero", "greater"):
                return read_map(label_map, self.root)
            if label_map.value is None:
                return None  # all of its values at once: no one segment
            key = f"{label_map.encoding} {label_map.path}"
            if label_map.path is None:
                return read_map(label_map, self.root)
            if key not in self._read:
                self._read[key] = None
                self._read[key] = read_values(label_map, self.root)
            values = self._read[key]
        except (GranumError, OSError, SyntaxError, ValueError):
            return None
        return None if values is None else values == label_map.value
