"""Masks to be learned: a class per pixel, or where a defect is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.metrics._maps.drawn import DrawnSample, has_mask, is_whole_map
from granum.schema.defects import defective
from granum.schema.tables import column
from granum.schema.units import convert_units
from granum.store.dataset import Dataset
from granum.train.classes import IGNORED, MASKS, Classes, stated, wanted_rows

if TYPE_CHECKING:
    from granum.train.targets import Place, Target

__all__ = ["AnomalyMasks", "SemanticMasks"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class DrawnRows:
    """Rows that are drawn, as a slice of a table per sample."""

    offsets: Ints
    table: pa.Table

    columns: ClassVar[tuple[str, ...]] = (*MASKS, "category", "ignore", "z_order")

    @classmethod
    def of(cls, dataset: Dataset, wanted: Callable[[pa.Table], Mask]) -> DrawnRows:
        counts, pieces = [], []
        for part in dataset.parts:
            table = part.layer(dataset.meta.layer)
            keep = wanted(table) & column(table, "sample").is_valid().to_numpy()
            table = table.filter(pa.array(keep))
            sample = np.asarray(column(table, "sample"), np.int64) - part.start
            counts.append(np.bincount(sample, minlength=part.rows))
            pieces.append(pa.table({n: column(table, n) for n in cls.columns}))
        offsets = np.cumsum(np.concatenate([[0], *counts]))
        joined = pa.concat_tables(pieces).unify_dictionaries() if pieces else pa.table({})
        return cls(offsets.astype(np.int64), joined)

    def at(self, i: int, place: Place) -> DrawnSample:
        """The rows of sample ``i``, in pixels."""
        first, last = int(self.offsets[i]), int(self.offsets[i + 1])
        table = self.table.slice(first, last - first)
        if place.relative and last > first:
            height, width = place.size
            factors = np.asarray([[width, height]], np.float64)
            table = convert_units(table, np.zeros(last - first, np.int64), factors)
        return DrawnSample(place.key, place.size, table.to_pylist(), place.map_root)

    def counts(self) -> Ints:
        return np.diff(self.offsets)


@dataclass(frozen=True)
class SemanticMasks:
    """One class per pixel, painted as the official protocol paints the truth."""

    rows: DrawnRows
    classes: Classes
    by_source_id: dict[str, dict[int, int]]

    @classmethod
    def of(cls, dataset: Dataset, classes: Classes) -> SemanticMasks:
        def wanted(table: pa.Table) -> Mask:
            mine = classes.index(column(table, "category")) >= 0
            whole = np.asarray(column(table, "category").is_null())
            return wanted_rows(table, "semantic", "") & (mine | whole)

        space = column(dataset.categories, "space").cast(pa.string()).to_pylist()
        source = column(dataset.categories, "source_id").to_pylist()
        by_source: dict[str, dict[int, int]] = {}
        for k, row in enumerate(classes.rows):
            value = source[row]
            if value is not None and value.lstrip("-").isdigit():
                by_source.setdefault(str(space[row]), {})[int(value)] = k
        return cls(DrawnRows.of(dataset, wanted), classes, by_source)

    def at(self, i: int, place: Place) -> Target:
        drawn = self.rows.at(i, place)
        mask = np.full(place.size, IGNORED, np.int64)
        for row in drawn.rows:
            if is_whole_map(row):
                values = drawn.values(row)
                if values.shape != place.size:
                    raise ValueError(f"a label map of {values.shape} on an image of {place.size}")
                for value, k in self.by_source_id.get(str(row["map"]["space"]), {}).items():
                    mask[values == value] = k
        single = [r for r in drawn.rows if r["category"] is not None]
        painted = drawn.painted(single, self._value, IGNORED)
        if painted is not None and single:
            mask = np.where(painted == IGNORED, mask, painted)
            for row in single:
                if row["ignore"]:
                    mask[drawn.mask(row)] = IGNORED
        return {"mask": mask}

    def _value(self, _: int, row: dict[str, Any]) -> int:
        return self.classes.rows.index(row["category"])

    def known(self) -> Mask:
        return self.rows.counts() > 0


@dataclass(frozen=True)
class AnomalyMasks:
    """Whether a sample has a defect, and where: object rows of a category that means one (see
    :func:`granum.schema.defects.defective`) are defects, label rows say it of the whole image."""

    rows: DrawnRows
    anomalous: Mask

    @classmethod
    def of(cls, dataset: Dataset) -> AnomalyMasks:
        defects = defective(dataset.categories)

        def of_kind(kind: str) -> Callable[[pa.Table], Mask]:
            def wanted(table: pa.Table) -> Mask:
                category = column(table, "category").fill_null(len(defects) - 1)
                return stated(table, kind) & defects[np.asarray(category, np.int64)]

            return wanted

        labels = DrawnRows.of(dataset, of_kind("label")).counts() > 0
        drawn = DrawnRows.of(dataset, of_kind("object"))
        return cls(drawn, labels | (drawn.counts() > 0))

    def at(self, i: int, place: Place) -> Target:
        drawn = self.rows.at(i, place)
        painted = drawn.painted([r for r in drawn.rows if has_mask(r)], lambda *_: 1, 0)
        return {"label": np.int64(self.anomalous[i]), "mask": painted}

    def known(self) -> Mask:
        return np.ones(len(self.anomalous), bool)
