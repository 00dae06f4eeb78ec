"""What is to be learned, as flat columns: labels, boxes, masks of many samples, read by position.

Nothing here is a Python object per sample or annotation, so that worker processes share the memory.
Coordinates are those of the stored image, in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.schema import geometry
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.train.classes import Classes, checked_task, stated, wanted_rows

__all__ = ["UNLABELLED", "Place", "Target", "Targets", "targets_of"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Target = dict[str, Any]

UNLABELLED = -1
"""Label of samples without one."""


@dataclass(frozen=True)
class Place:
    """Where a target lies: the sample's key, stored (height, width), whether coordinates are
    fractions of it, and the folder of label maps."""

    key: str
    size: tuple[int, int]
    relative: bool
    map_root: str | None


class Targets(Protocol):
    """Targets of samples, by position."""

    def at(self, i: int, place: Place) -> Target:
        """The arrays of sample ``i``, in stored pixels."""

    def known(self) -> Mask:
        """Which samples have one."""


def targets_of(
    dataset: Dataset,
    task: str,
    classes: Classes,
    *,
    label_from: str = "label",
    crowd: bool = False,
) -> Targets:
    """The targets of all samples of a dataset, from its current layer.

    Raises:
        UsageError: an unknown task or kind of label.
    """
    checked_task(task, label_from)
    from granum.train.mask_targets import AnomalyMasks, SemanticMasks

    if task == "classification":
        return Labels.of(dataset, classes, label_from)
    if task == "detection":
        return Boxes.of(dataset, classes, crowd)
    if task == "semantic":
        return SemanticMasks.of(dataset, classes)
    if task == "anomaly":
        return AnomalyMasks.of(dataset)
    return Nothing(len(dataset))


@dataclass(frozen=True)
class Nothing:
    """The task ``image``: no target."""

    samples: int

    def at(self, i: int, place: Place) -> Target:
        return {}

    def known(self) -> Mask:
        return np.ones(self.samples, bool)


@dataclass(frozen=True)
class Labels:
    """One class per sample: of the one row of a kind whose category is a class."""

    labels: Ints

    @classmethod
    def of(cls, dataset: Dataset, classes: Classes, kind: str) -> Labels:
        found = []
        for part in dataset.parts:
            table = part.layer(dataset.meta.layer)
            label = classes.index(column(table, "category"))
            rows = np.flatnonzero(stated(table, kind) & (label >= 0))
            sample = np.asarray(column(table, "sample").fill_null(-1), np.int64)[rows] - part.start
            rows, sample = rows[sample >= 0], sample[sample >= 0]
            out = np.full(part.rows, UNLABELLED)
            out[sample] = label[rows]
            out[np.bincount(sample, minlength=part.rows) != 1] = UNLABELLED
            found.append(out)
        return cls(np.concatenate([np.empty(0, np.int64), *found]))

    def at(self, i: int, place: Place) -> Target:
        return {"label": self.labels[i]}

    def known(self) -> Mask:
        return self.labels != UNLABELLED


@dataclass(frozen=True)
class Boxes:
    """Boxes of each sample, as a slice of columns."""

    offsets: Ints
    xyxy: Floats
    labels: Ints
    area: Floats
    crowd: Mask

    @classmethod
    def of(cls, dataset: Dataset, classes: Classes, crowd: bool) -> Boxes:
        """Objects of the classes; as in torchvision's reference, boxes without area and (unless
        ``crowd``) crowds are left out."""
        counts, columns = [], []
        for part in dataset.parts:
            table = part.layer(dataset.meta.layer)
            label = classes.index(column(table, "category"))
            rows = np.flatnonzero(wanted_rows(table, "detection", "") & (label >= 0))
            table, label = table.take(pa.array(rows)), label[rows]
            xyxy = geometry.convert_boxes(geometry.aabb(table), "xyxy")
            crowds = np.asarray(column(table, "crowd").fill_null(False), bool)
            keep = np.isfinite(xyxy).all(axis=1) & (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
            keep &= column(table, "sample").is_valid().to_numpy()
            keep &= crowds <= crowd
            kept = table.filter(pa.array(keep))
            sample = np.asarray(column(kept, "sample"), np.int64) - part.start
            counts.append(np.bincount(sample, minlength=part.rows))
            columns.append((xyxy[keep], label[keep], _area(kept), crowds[keep]))
        per_sample = np.concatenate([np.empty(0, np.int64), *counts])
        offsets = np.concatenate([[0], np.cumsum(per_sample)])
        empty = (np.empty((0, 4)), np.empty(0, np.int64), np.empty(0), np.empty(0, bool))
        joined = [np.concatenate(c) for c in zip(empty, *columns, strict=True)]
        return cls(offsets, *joined)

    def at(self, i: int, place: Place) -> Target:
        here = slice(self.offsets[i], self.offsets[i + 1])
        boxes, area = self.xyxy[here], self.area[here]
        if place.relative:
            height, width = place.size
            boxes = boxes * np.asarray([width, height, width, height], np.float64)
            area = area * float(width * height)
        return {
            "boxes": boxes,
            "labels": self.labels[here],
            "area": area,
            "iscrowd": self.crowd[here].astype(np.int64),
        }

    def known(self) -> Mask:
        return np.ones(len(self.offsets) - 1, bool)


def _area(table: pa.Table) -> Floats:
    """As stated, else of the geometry."""
    area = np.asarray(column(table, "area").cast(pa.float64()).fill_null(np.nan), np.float64).copy()
    unknown = np.flatnonzero(np.isnan(area))
    if len(unknown):
        area[unknown] = geometry.areas(table.take(pa.array(unknown)))
    return area
