"""A class per pixel, from whatever form the annotations of a sample have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.metrics._drawn import DrawnSample, has_mask, is_whole_map, looked_up
from granum.metrics.base import Context
from granum.schema import tables
from granum.schema.tables import column

__all__ = ["UNLABELLED", "Lookup", "class_map"]

Ints = npt.NDArray[np.int64]

UNLABELLED = -1

_IGNORED = -2


@dataclass(frozen=True)
class Lookup:
    """From values of whole label maps to rows of the truth's categories.

    Attributes:
        spaces: by space (None: any), the values, sorted, and the row of each.
    """

    spaces: Mapping[str | None, tuple[Ints, Ints]]

    @classmethod
    def of_truth(cls, context: Context) -> Lookup:
        rows = np.arange(context.categories.num_rows, dtype=np.int64)
        return cls(_by_space(context.categories, rows))

    @classmethod
    def of_predictions(cls, context: Context) -> Lookup:
        if context.prediction_categories is None:
            return cls.of_truth(context)
        rows = context.prediction_rows
        if rows is None:
            rows = np.arange(context.prediction_categories.num_rows, dtype=np.int64)
        return cls(_by_space(context.prediction_categories, rows))

    def classes(self, values: Ints, space: str | None) -> Ints:
        """The category row of each value; ``UNLABELLED`` where none has it as its source id."""
        ids, rows = self.spaces.get(space, (np.empty(0, np.int64),) * 2)
        return looked_up(values, ids, rows, UNLABELLED)


def _by_space(categories: pa.Table, rows: Ints) -> dict[str | None, tuple[Ints, Ints]]:
    found: dict[str | None, dict[int, int]] = {None: {}}
    spaces = column(categories, "space", tables.CATEGORIES).cast(pa.string()).to_pylist()
    ids = column(categories, "source_id", tables.CATEGORIES).to_pylist()
    for space, source_id, row in zip(spaces, ids, rows.tolist(), strict=True):
        number = _integer(source_id)
        if number is not None and row >= 0:
            found[None].setdefault(number, row)
            found.setdefault(space, {}).setdefault(number, row)
    return {
        space: (
            np.array(sorted(pairs), np.int64),
            np.array([pairs[k] for k in sorted(pairs)], np.int64),
        )
        for space, pairs in found.items()
    }


def _integer(source_id: str | None) -> int | None:
    try:
        return None if source_id is None else int(source_id)
    except ValueError:
        return None


def class_map(sample: DrawnSample, lookup: Lookup) -> Ints | None:
    """The category row of each pixel, shape (height, width), negative where there is none;
    None where the sample has no labelled pixel.

    A whole label map comes first; masks with a category are painted over it. Masks marked
    ``ignore`` leave pixels without a label.
    """
    rows = [row for row in sample.rows if row["kind"] == "object" and has_mask(row)]
    canvas: Ints | None = None
    for row in rows:
        if is_whole_map(row):
            found = lookup.classes(sample.values(row), row["map"]["space"])
            canvas = found if canvas is None else np.where(found >= 0, found, canvas)
    masks = [r for r in rows if not is_whole_map(r) and (r["ignore"] or r["category"] is not None)]
    painted = sample.painted(masks, _category, empty=UNLABELLED) if masks else None
    if canvas is None:
        canvas = painted
    elif painted is not None:
        canvas = np.where(painted != UNLABELLED, painted, canvas)
    return canvas if canvas is not None and (canvas >= 0).any() else None


def _category(_: int, row: dict[str, Any]) -> int:
    return _IGNORED if row["ignore"] else int(row["category"])
