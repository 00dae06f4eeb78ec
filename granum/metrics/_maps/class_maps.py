"""A class per pixel, from whatever form the annotations of a sample have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.metrics._maps.drawn import DrawnSample, Row, has_mask, is_whole_map, looked_up
from granum.metrics._usable import rows_left_out
from granum.metrics.base import Context
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column

__all__ = ["UNLABELLED", "ClassMap", "Lookup", "class_map"]

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


@dataclass(frozen=True)
class ClassMap:
    """What a sample says of its pixels.

    Attributes:
        classes: the category row of each pixel, shape (height, width), negative where there is
            none; None where nothing is drawn.
        values: of the label map as a whole, of that shape; None where there is none.
        rows: how many rows tell of a category.
    """

    classes: Ints | None
    values: Ints | None
    rows: int

    @property
    def labelled(self) -> bool:
        """Whether any pixel has a class."""
        return self.classes is not None and bool((self.classes >= 0).any())


def class_map(sample: DrawnSample, lookup: Lookup, who: str, found: Findings) -> ClassMap:
    """The classes of a sample's pixels; rows that tell of none are findings.

    A whole label map comes first; masks with a category are painted over it. Masks marked
    ``ignore`` leave pixels without a label.

    Raises:
        FormatError: a label map cannot be read, or masks do not fit on the image.
    """
    objects = [row for row in sample.rows if row["kind"] == "object"]
    drawn = [row for row in objects if has_mask(row)]
    whole, regions = _whole_maps(drawn)
    others = [row for row in drawn if not is_whole_map(row)]
    masks = [row for row in others if row["ignore"] or row["category"] is not None]
    boxes = [row for row in objects if not has_mask(row)]
    unnamed = [row for row in others if not row["ignore"] and row["category"] is None]
    code = "not-compared" if whole else "missing-geometry"
    rows_left_out(found, code, who, sample.key, boxes, "without a mask")
    rows_left_out(found, "missing-category", who, sample.key, unnamed, "without a category")
    what = "with a label map of regions, not of categories"
    rows_left_out(found, "not-compared", who, sample.key, regions, what)
    canvas: Ints | None = None
    used = len(masks)
    for row in whole:
        classes = lookup.classes(sample.values(row), row["map"]["space"])
        used += bool((classes >= 0).any())
        canvas = classes if canvas is None else np.where(classes >= 0, classes, canvas)
    painted = sample.painted(masks, _category, empty=UNLABELLED) if masks else None
    if canvas is None:
        canvas = painted
    elif painted is not None:
        canvas = np.where(painted != UNLABELLED, painted, canvas)
    values = sample.values(whole[-1]) if whole else None
    return ClassMap(canvas, values, used)


def _whole_maps(drawn: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Label maps of categories, and those whose values are rows of their own (a region tree's)."""
    maps = [row for row in drawn if is_whole_map(row)]
    told = {row["map"]["digest"] for row in drawn if row["map"] and row["map"]["value"] is not None}
    told.discard(None)
    regions = [row for row in maps if row["map"]["digest"] in told]
    return [row for row in maps if row["map"]["digest"] not in told], regions


def _category(_: int, row: dict[str, Any]) -> int:
    return _IGNORED if row["ignore"] else int(row["category"])
