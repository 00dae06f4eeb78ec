"""Which rows of a dataset are tubes of videos, and how they are written as such."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders._clips import Clips
from granum.loaders.base import keep_columns
from granum.schema import geometry
from granum.schema.tables import column, with_column
from granum.store.dataset import Dataset
from granum.store.parts import Batch

__all__ = ["TubePlan", "as_corners", "plan_tubes"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_KEPT = ("annotation_id", "sample", "group", "kind", "category", "bbox", "track")


@dataclass(frozen=True)
class TubePlan:
    """The tubes of a dataset: rows of one video, category and track; a row without a track is one
    of its own. They stand in the order of videos, categories, then rows.

    Attributes:
        ids: of the annotations that are kept; ``tube`` is the tube of each, ``whole`` whether it is
            the tube's own row (of kind ``track``, on the group).
        video, label: of each tube.
        track: of each tube; -1 for none, else its place among the tracks of the dataset.
    """

    ids: Ints
    tube: Ints
    whole: npt.NDArray[np.bool_]
    video: Ints
    label: Ints
    track: Ints

    def notes(self) -> dict[str, Any]:
        """What their arrays cannot say: which are parts of one track or of none, and which have no
        row of their own."""
        found: dict[str, Any] = {}
        tracked = self.track[self.track >= 0]
        if len(tracked) < len(self.track) or len(np.unique(tracked)) < len(tracked):
            found["tracks"] = self.track.tolist()
        bare = np.ones(len(self.track), bool)
        bare[self.tube[self.whole]] = False
        if bare.any():
            found["bare"] = np.flatnonzero(bare).tolist()
        return found

    @cached_property
    def _sorter(self) -> Ints:
        return np.argsort(self.ids, kind="stable")

    def _place(self, table: pa.Table) -> Ints:
        """The position of each annotation among those that are kept; -1 for others."""
        wanted = np.asarray(table["annotation_id"], np.int64)
        if not len(self.ids):
            return np.full(len(wanted), -1, np.int64)
        at = np.searchsorted(self.ids, wanted, sorter=self._sorter)
        found = self._sorter[np.minimum(at, len(self.ids) - 1)]
        return np.where(self.ids[found] == wanted, found, -1)

    def project(self, batch: Batch, keeps: frozenset[str]) -> Batch:
        """The rows of a batch (in pixels) that are kept, in the order in which they are read."""
        batch = keep_columns(batch, keeps)
        table = batch.annotations
        place = self._place(table)
        kept = np.flatnonzero(place >= 0)
        place = place[kept]
        last = batch.start + batch.samples.num_rows
        sample = np.asarray(column(table, "sample").fill_null(last), np.int64)[kept]
        order = np.lexsort((self.tube[place], sample))
        table = table.select([n for n in _KEPT if n in table.column_names])
        table = table.take(pa.array(kept[order]))
        if "bbox" in table.column_names:
            boxes, valid = _boxes(table)
            again = _settled(boxes)
            mask = pa.array(~(valid & ~self.whole[place[order]]))
            flat = pa.array(np.where(valid[:, None], again, 0).ravel())
            made = pa.FixedSizeListArray.from_arrays(flat, 4, mask=mask)
            table = with_column(table, "bbox", made)
        if "group" in table.column_names:  # the sample says it
            mask = pa.array(self.whole[place[order]])
            made = pc.if_else(mask, table["group"], pa.scalar(None, pa.int64()))
            table = with_column(table, "group", made)
        return Batch(batch.samples, table, batch.start)

    def arrays(self, dataset: Dataset, clips: Clips) -> Iterator[npt.NDArray[Any]]:
        """For each tube its rows of frame, x1, y1, x2, y2, by frame: in 32 bits where those hold
        every number."""
        table = dataset.annotations(["annotation_id", "sample", "bbox"])
        place = self._place(table)
        chosen = np.flatnonzero((place >= 0) & np.append(~self.whole, False)[place])
        tube = self.tube[place[chosen]]
        sample = np.asarray(column(table, "sample").fill_null(-1), np.int64)[chosen]
        frame = clips.number[sample]
        order = np.lexsort((frame, tube))
        boxes, _ = _boxes(table.take(pa.array(chosen[order])))
        rows = np.column_stack([frame[order], as_corners(boxes)])
        begin = np.searchsorted(tube[order], np.arange(len(self.video) + 1))
        for first, last in pairwise(begin.tolist()):
            one = rows[first:last]
            with np.errstate(over="ignore"):
                short = one.astype(np.float32)
            yield short if np.array_equal(short, one) else one


def as_corners(boxes: Floats) -> Floats:
    """x, y, width, height as x1, y1, x2, y2."""
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])


def _settled(boxes: Floats) -> Floats:
    """Boxes as they come back from corners, once and again."""
    for _ in range(3):
        again = as_corners(boxes)
        again[:, 2:] -= again[:, :2]
        boxes = again
    return boxes


def _boxes(table: pa.Table) -> tuple[Floats, npt.NDArray[np.bool_]]:
    valid, boxes = geometry.fixed_list(column(table, "bbox"))
    return boxes, valid


def plan_tubes(dataset: Dataset, clips: Clips) -> TubePlan:
    """The tubes of the current layer: objects with a box and a category, and rows of kind ``track``
    on a group that say the category of a tube of theirs (or of one without boxes)."""
    names = ["annotation_id", "sample", "group", "kind", "category", "bbox", "track", "present"]
    table = dataset.annotations(names)
    kinds = column(table, "kind").cast(pa.string())
    sample, group, category = (
        np.asarray(column(table, n).fill_null(-1), np.int64)
        for n in ("sample", "group", "category")
    )
    tracked = np.asarray(column(table, "track").is_valid())
    track = np.asarray(column(table, "track").fill_null(0), np.int64)
    boxes, valid = _boxes(table)
    with np.errstate(invalid="ignore", over="ignore"):
        corners = as_corners(boxes)
        good = valid & np.isfinite(corners).all(axis=1)
        good &= (corners[:, 2:] >= corners[:, :2]).all(axis=1)
    good &= np.asarray(pc.fill_null(column(table, "present"), True)) & (category >= 0)

    def of_kind(name: str) -> npt.NDArray[np.bool_]:
        return np.asarray(pc.fill_null(pc.equal(kinds, name), False))

    objects = of_kind("object") & (sample >= 0) & good
    whole = of_kind("track") & (sample < 0) & (group >= 0) & tracked & (category >= 0)
    whole &= np.asarray(pc.fill_null(column(table, "present"), True))
    rows = np.flatnonzero(objects | whole)
    video = np.where(whole, group, np.append(clips.video, -1)[sample])[rows]
    label, tracked, whole = category[rows], tracked[rows], whole[rows]
    # A row without a track is told from others by its own number.
    number = np.where(tracked, np.unique(track[rows], return_inverse=True)[1], rows)
    tube, firsts = _tubes(video, label, tracked, number)
    again = np.ones(len(rows), bool)
    at = np.flatnonzero(whole)
    again[at[np.unique(tube[at], return_index=True)[1]]] = False
    kept = ~(whole & again)
    ids = np.asarray(table["annotation_id"], np.int64)[rows]
    return TubePlan(
        ids[kept],
        tube[kept],
        whole[kept],
        video[firsts],
        label[firsts],
        np.where(tracked, number, -1)[firsts],
    )


def _tubes(
    video: Ints, label: Ints, tracked: npt.NDArray[np.bool_], number: Ints
) -> tuple[Ints, Ints]:
    """The tube of each row, and the first row of each tube."""
    keys = (number, tracked, label, video)
    order = np.lexsort(keys)
    new = np.zeros(len(order), bool)
    new[:1] = True
    for key in keys:
        new[1:] |= key[order][1:] != key[order][:-1]
    firsts = order[new]  # lexsort keeps the order of equal rows
    rank = np.lexsort((firsts, label[firsts], video[firsts]))
    place = np.empty(len(rank), np.int64)
    place[rank] = np.arange(len(rank))
    tube = np.empty(len(order), np.int64)
    tube[order] = place[np.cumsum(new) - 1]
    return tube, firsts[rank]
