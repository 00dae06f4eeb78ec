"""Boxes of tracks from the rows of whole groups: which can be compared, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.metrics._usable import left_out
from granum.metrics.base import Context
from granum.schema import geometry, tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["Classes", "Frames", "Rule", "Side", "frames_of", "keys_of", "side_of", "within"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

Rule = Literal["none", "mot17", "mot20"]

_PEDESTRIAN = "pedestrian"
_DISTRACTORS = ("person on vehicle", "static person", "distractor", "reflection")
_UNSTATED = "without a category"
_MOT20 = ("non mot vehicle", "non motorized vehicle")
_MOTCHALLENGE = (*_DISTRACTORS, *_MOT20, "occluder", "occluder on the ground", "occluder full")
"""Classes that no other benchmark has: files of few frames may lack distractors."""


@dataclass(frozen=True)
class Classes:
    """What is compared with what.

    Attributes:
        names: of the classes; one of None where categories do not matter.
        of: shape (categories,), the class of each category; -1: it is not compared.
        distractor: shape (categories,), predictions on which are left out.
        unstated: the class of true and of predicted rows without a category; -1: they are not
            compared.
        rule: of MOTChallenge that made them.
    """

    names: list[str | None]
    of: Ints
    distractor: Flags
    unstated: tuple[int, int]
    rule: Rule

    @staticmethod
    def by(preprocess: str, agnostic: bool, context: Context) -> Classes:
        """Those of a dataset; ``preprocess`` is a rule or ``auto``."""
        names = context.categories["name"].to_pylist()
        n = len(names)
        plain = [name.lower().replace("_", " ") for name in names]
        rule: Rule = "none" if agnostic else _rule(preprocess, plain, context)
        none = np.zeros(n, bool)
        if rule == "none" and not agnostic and n > 1:
            return Classes(list(names), np.arange(n), none, (-1, -1), rule)
        if rule == "none":
            name = None if agnostic or not n else names[0]
            return Classes([name], np.zeros(n, np.int64), none, (0, 0), rule)
        unwanted = _DISTRACTORS + (_MOT20 if rule == "mot20" else ())
        of = np.array([0 if name == _PEDESTRIAN else -1 for name in plain], np.int64)
        distractor = np.array([name in unwanted for name in plain], bool)
        return Classes([_PEDESTRIAN], of, distractor, (-1, 0), rule)

    def of_truth(self, side: Side, found: Findings) -> Side:
        """With classes instead of categories; those that are not compared are -1."""
        lost = (side.category < 0) & (self.unstated[0] < 0) & ~side.ignore
        side = self._classed(side, 0)
        return side.without(lost, "missing-category", "truth", _UNSTATED, found)

    def of_predictions(self, side: Side, found: Findings) -> Side:
        """With classes instead of categories; those that are not compared are findings."""
        stated = side.category >= 0
        side = self._classed(side, 1)
        lost, what = side.category < 0, f"of a class other than {_PEDESTRIAN}"
        out = side.without(lost & stated, "not-compared", "predictions", what, found)
        lost = lost[~(lost & stated)]
        return out.without(lost, "missing-category", "predictions", _UNSTATED, found)

    def _classed(self, side: Side, which: int) -> Side:
        stated = side.category >= 0
        category = np.full(len(stated), self.unstated[which])
        category[stated] = self.of[side.category[stated]]
        distractor = np.zeros(len(stated), bool)
        distractor[stated] = self.distractor[side.category[stated]]
        return replace(side, category=category, distractor=distractor)


def _rule(preprocess: str, names: list[str], context: Context) -> Rule:
    if preprocess != "auto":
        return preprocess  # type: ignore[return-value]
    if _PEDESTRIAN not in names or not set(names) & set(_MOTCHALLENGE):
        return "none"
    keys = [] if context.groups is None else context.groups["key"].to_pylist()
    named = [key.rsplit("/", 1)[-1].startswith("MOT20") for key in keys]
    return "mot20" if named and all(named) else "mot17"


@dataclass(frozen=True)
class Side:
    """Boxes of the truth or of predictions, sorted by group, then by frame; else as they came.

    Attributes:
        batch: that has their rows.
        row: shape (n,), of each in ``batch.annotations``.
        group, order, track, category: shape (n,); the category is below 0 where there is none.
        ignore, distractor: shape (n,).
        box: shape (n, 4), x, y, width, height.
    """

    batch: Batch
    row: Ints
    group: Ints
    order: Ints
    track: Ints
    category: Ints
    ignore: Flags
    distractor: Flags
    box: Floats

    def take(self, which: Ints | Flags | slice) -> Side:
        columns = [f.name for f in fields(self) if f.name != "batch"]
        return replace(self, **{name: getattr(self, name)[which] for name in columns})

    def of_group(self, group: int) -> slice:
        """Where the boxes of a group are."""
        first, last = np.searchsorted(self.group, [group, group + 1]).tolist()
        return slice(first, last)

    def without(self, lost: Flags, code: str, who: str, what: str, found: Findings) -> Side:
        """Without some, which are a finding."""
        if not lost.any():
            return self
        flags = np.zeros(self.batch.annotations.num_rows, bool)
        flags[self.row[lost]] = True
        left_out(found, code, self.batch, flags, who, what)
        return self.take(~lost)


def side_of(batch: Batch, who: str, found: Findings) -> Side:
    """The boxes that belong to a track and to a frame; the others are findings."""
    table = batch.annotations
    at = np.asarray(column(table, "sample").fill_null(-1), np.int64)
    placed = at >= 0
    samples = at[placed] - batch.start
    orders = _numbers(batch.samples, "order")
    groups = _numbers(batch.samples, "group")
    stated, box = geometry.fixed_list(column(table, "bbox"))
    side = Side(
        batch=batch,
        row=np.arange(table.num_rows),
        group=_spread(groups, samples, placed),
        order=_spread(orders, samples, placed),
        track=_numbers(table, "track"),
        category=_numbers(table, "category"),
        ignore=np.asarray(column(table, "ignore").fill_null(False), bool),
        distractor=np.zeros(table.num_rows, bool),
        box=box,
    )
    no_frame = (side.order == _NONE) | (side.group == _NONE)
    side = side.without(no_frame, "missing-order", who, "in no frame of a sequence", found)
    side = side.without(side.track == _NONE, "missing-track", who, "of no track", found)
    side = side.without(~stated[side.row], "missing-geometry", who, "without a box", found)
    finite = np.asarray(np.isfinite(side.box).all(axis=1))
    side = side.without(~finite, "nan-box", who, "with a box that is not finite", found)
    side = side.take(np.lexsort((side.order, side.group)))
    again = _repeated(side)
    return side.without(again, "repeated-track", who, "of a track that is in the frame", found)


_NONE = np.iinfo(np.int64).min
"""Stands for a number that is null."""


def _numbers(table: pa.Table, name: str) -> Ints:
    return np.asarray(column(table, name).cast(pa.int64()).fill_null(_NONE), np.int64)


def _spread(values: Ints, samples: Ints, placed: Flags) -> Ints:
    out = np.full(len(placed), _NONE)
    out[placed] = values[samples]
    return out


def _repeated(side: Side) -> Flags:
    """Boxes whose track has an earlier one in the frame."""
    order = np.lexsort((side.track, side.order, side.group))
    same = np.ones(max(len(order) - 1, 0), bool)
    for name in ("group", "order", "track"):
        values = getattr(side, name)[order]
        same &= values[1:] == values[:-1]
    out = np.zeros(len(order), bool)
    out[order[1:][same]] = True
    return out


@dataclass(frozen=True)
class Frames:
    """The frames of a sequence.

    Attributes:
        orders: those that either side has a sample for, ascending.
        count: how many the sequence has: as its group states, else as many as are known.
        first, last: between which frames are those of the sequence; None: any.
    """

    orders: Ints
    count: int
    first: int | None
    last: int | None

    def beyond(self, orders: Ints) -> Flags:
        """Which are before the first or after the last frame."""
        if self.first is None or self.last is None:
            return np.zeros(len(orders), bool)
        return (orders < self.first) | (orders > self.last)


def frames_of(truth: Batch, predictions: Batch, context: Context) -> dict[int, Frames]:
    """The frames of each group that either side has a sample of.

    Where a group states its length, frames are counted from 0 or from 1, as the truth's are; both
    are let be where the truth's samples do not tell.
    """
    sides = []
    for batch in (truth, predictions):
        groups, orders = _numbers(batch.samples, "group"), _numbers(batch.samples, "order")
        known = np.flatnonzero((groups != _NONE) & (orders != _NONE))
        known = known[np.lexsort((orders[known], groups[known]))]
        sides.append((groups[known], orders[known]))
    there = np.union1d(sides[0][0], sides[1][0])
    lengths = _taken(context, "frames", there)
    out = {}
    for group, length in zip(there.tolist(), lengths, strict=True):
        mine, theirs = (
            np.unique(o[slice(*np.searchsorted(g, [group, group + 1]))]) for g, o in sides
        )
        orders = np.union1d(mine, theirs)
        if length is None:
            out[group] = Frames(orders, len(orders), None, None)
            continue
        begin, end = (mine[0], mine[-1]) if len(mine) else (1, 0)
        first = int(min(begin, 0 if end < length else 1))
        last = int(max(end, length - (begin <= 0)))
        out[group] = Frames(orders, length, first, last)
    return out


def within(side: Side, frames: Mapping[int, Frames], found: Findings) -> Side:
    """Predictions without those on frames that their sequences do not have."""
    lost = np.zeros(len(side.row), bool)
    for group, its in frames.items():
        at = side.of_group(group)
        lost[at] = its.beyond(side.order[at])
    what = "on frames that the truth's sequences do not have"
    return side.without(lost, "unknown-sample", "predictions", what, found)


def keys_of(groups: Sequence[int], context: Context) -> list[str]:
    """What groups are called."""
    return [str(key) for key in _taken(context, "key", np.asarray(groups, np.int64))]


def _taken(context: Context, name: str, groups: Ints) -> list[Any]:
    if context.groups is None:
        return [None] * len(groups)
    return list(column(context.groups, name, tables.GROUPS).take(pa.array(groups)).to_pylist())
