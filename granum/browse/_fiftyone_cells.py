"""Which cell of a row has its mask, and which rows an inner node of a region tree is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.schema.tables import column
from granum.store.regions import held_maps, inner_nodes, leaves_below

__all__ = ["Cell", "Cells"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cell:
    """A mask that is not read yet.

    Attributes:
        form: ``rle``, ``map``, ``polygons``, ``union`` (whose value is a list of cells), or
            ``absent``: the row means a label image that no row of its sample has.
        value: what the column holds; polygons in pixels.
        size: (width, height) of the raster that polygons are drawn on.
    """

    form: str
    value: Any
    size: tuple[int, int]


class Cells:
    """The masks of the annotations of some samples.

    Args:
        table: annotations.
        at: for each its sample.
        size: width and height of its raster in pixels, shape (rows, 2).
        unit: what its coordinates are divided by to become fractions, shape (rows, 2).
        outlines: polygons are shown as lines only, not as masks.
    """

    def __init__(
        self, table: pa.Table, at: npt.NDArray[np.int64], size: Floats, unit: Floats, outlines: bool
    ) -> None:
        self.size, self.unit = size, unit
        self.rle = _listed(table, "rle")
        self.polygons = None if outlines else _listed(table, "polygons")
        maps = _listed(table, "map")
        self.maps, self.held = maps, None if maps is None else held_maps(maps, at.tolist())
        self.leaves: dict[int, list[int]] = {}
        inner = inner_nodes(table)
        if inner.any():
            ids, parents = (column(table, n).to_pylist() for n in ("annotation_id", "parent"))
            self.leaves = leaves_below(ids, parents, inner.tolist())

    def of(self, row: int) -> Cell | None:
        """The mask of a row: the first of RLE, map, polygons, or the union of the leaves below;
        None where it has none."""
        size = self.size[row]
        if self.rle is not None and self.rle[row] is not None:
            return Cell("rle", self.rle[row], (1, 1))
        if row in self.leaves:
            below = [self.of(i) for i in self.leaves[row]]
            known = [c for c in below if c is not None and c.form != "absent"]
            return Cell("union", known, (1, 1)) if len(known) == len(below) else None
        if self.maps is not None and self.held is not None and self.maps[row] is not None:
            if self.held[row] is None:
                return Cell("absent", self.maps[row], (1, 1))
            return None if _is_whole(self.held[row]) else Cell("map", self.held[row], (1, 1))
        if self.polygons is None or self.polygons[row] is None:
            return None
        parts = self.polygons[row]
        if self.unit[row, 0] == 1:
            parts = [[_scaled(ring, size) for ring in part] for part in parts]
        return Cell("polygons", parts, (int(size[0]), int(size[1])))


def _listed(table: pa.Table, name: str) -> list[Any] | None:
    if name not in table.column_names or table[name].null_count == table.num_rows:
        return None
    return list(table[name].to_pylist())


def _is_whole(cell: Any) -> bool:
    return cell["value"] is None and cell["encoding"] not in ("nonzero", "greater")


def _scaled(ring: list[float], size: Floats) -> list[float]:
    return [v * size[i % 2] for i, v in enumerate(ring)]
