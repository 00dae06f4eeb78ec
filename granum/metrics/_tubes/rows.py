"""Boxes and tubes from the rows of whole videos: which can be compared, frame by frame.

A tube is the boxes of one ``track`` and class in a video, by the ``order`` of their samples. What a
box does not say (its class, its score) the row of kind ``track`` of its tube says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.metrics._tubes.frame_ap import Boxes
from granum.metrics._tubes.overlaps import Tubes
from granum.metrics._usable import left_out
from granum.schema import geometry, tables
from granum.schema.attributes import PREFIX, attribute_dicts
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["Scope", "Side", "frame_numbers", "side_of", "stated_flags"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_NONE = -1


@dataclass(frozen=True)
class Scope:
    """Which videos and classes are compared.

    Attributes:
        split: the only one that counts; None: all do.
        groups: shape (n,), videos of this part that count, ascending rows of the groups' table.
        scored: shape (categories,), classes that count.
    """

    split: str | None
    groups: Ints
    scored: Flags

    @classmethod
    def of(
        cls, truth: Batch, predictions: Batch, groups: pa.Table, split: str | None, scored: Flags
    ) -> Scope:
        """A video is of the split that its attribute ``split`` says, else of its first frame's;
        one that says none counts."""
        own = _integers(truth.samples, "group")
        both = [own, _integers(predictions.samples, "group")]
        both += [_integers(b.annotations, "group") for b in (truth, predictions)]
        present = np.unique(np.concatenate(both))
        present = present[present >= 0]
        if split is None:
            return cls(split, present, scored)
        said = [(a or {}).get("split") for a in attribute_dicts(groups.take(pa.array(present)))]
        first = np.full(len(present), _NONE)
        at, row = np.unique(own, return_index=True)
        row, at = row[at >= 0], at[at >= 0]
        first[np.searchsorted(present, at)] = row
        splits = column(truth.samples, "split", tables.SAMPLES).cast(pa.string())
        of_frame = splits.take(pa.array(first, mask=first < 0)).to_pylist()
        keep = [
            s == split or (s is None and f in (None, split))
            for s, f in zip(said, of_frame, strict=True)
        ]
        return cls(split, present[np.array(keep, bool)], scored)


@dataclass(frozen=True)
class Side:
    """The boxes of one side that count, in the order of their rows, and its tubes.

    Attributes:
        boxes: ``unit`` is the row of the group.
        linked: shape (n,), whether a box says that it is of a tube.
        sample: shape (n,), the sample of each box.
        tubes: by group, track and class; all of the scored classes.
        others: tubes of the other classes, of the truth.
    """

    boxes: Boxes
    linked: Flags
    sample: Ints
    tubes: Tubes
    others: Tubes


def stated_flags(table: pa.Table, name: str, default: Flags) -> Flags:
    """A true or false attribute of each row; ``default`` where it is not stated."""
    typed = PREFIX + name
    if typed in table.column_names:
        values = column(table, typed).to_pylist()
    elif column(table, "attributes", tables.SAMPLES).null_count < table.num_rows:
        values = [(a or {}).get(name) for a in attribute_dicts(table)]
    else:
        return default
    pairs = zip(values, default.tolist(), strict=True)
    return np.array([v if isinstance(v, bool) else d for v, d in pairs], bool)


def frame_numbers(truth: pa.Table, predictions: pa.Table) -> tuple[Ints, Ints]:
    """A number for each sample, the same for one frame on both sides: of equal group and
    ``order``, else (where a sample has no order) of equal key."""
    sides = (truth, predictions)
    group = np.concatenate([_integers(t, "group") for t in sides])
    valid = np.concatenate([np.asarray(column(t, "order").is_valid()) for t in sides])
    order = np.concatenate([_integers(t, "order") for t in sides])
    orders, rank = np.unique(order, return_inverse=True)
    number = (group + 1) * max(len(orders), 1) + rank.ravel()
    if not valid.all():
        keys = pa.concat_arrays([t["key"].combine_chunks().cast(pa.string()) for t in sides])
        codes = np.asarray(keys.dictionary_encode().indices, np.int64)
        number = np.where(valid, number, number.max(initial=0) + 1 + codes)
    number = np.unique(number, return_inverse=True)[1].ravel()
    return number[: truth.num_rows], number[truth.num_rows :]


def side_of(
    batch: Batch,
    who: str,
    scope: Scope,
    frame: Ints,
    spared: Ints,
    found: Findings,
    *,
    tubes: bool = True,
) -> Side:
    """The boxes and tubes of one side.

    Args:
        batch: of whole groups.
        who: ``truth`` or ``predictions``; those need scores.
        scope: what counts.
        frame: the frame's number of each sample, see :func:`frame_numbers`.
        spared: numbers of frames that do not count.
        found: gets what is left out.
        tubes: whether tracks are tubes; else boxes stand alone.
    """
    rows = _Rows(batch, who, found)
    table = batch.annotations
    kind = column(table, "kind").cast(pa.string())
    is_box = np.asarray(pc.fill_null(pc.equal(kind, "object"), False))
    group = _integers(table, "group")
    outside = ~np.isin(group, scope.groups)
    rows.drop(outside & (group >= 0), "not-compared", f"of videos that are not of {scope.split!r}")
    rows.drop(group < 0, "not-compared", "in no video")
    rows.drop(is_box & (rows.sample < 0), "not-compared", "on no frame")
    tracks = _Tracks.of(table, group if tubes else np.full(len(group), _NONE))
    category = tracks.completed(_integers(table, "category"), ~is_box & rows.alive)
    category = np.where(rows.alive, category, _NONE)
    rows.drop(is_box & (category < 0), "missing-category", "without a category")
    known = np.append(scope.scored, True)[category]
    aside = rows.alive & ~known
    rows.drop(~known, "not-compared", "of classes that are not scored")
    valid, box = geometry.fixed_list(column(table, "bbox"))
    rows.drop(is_box & ~valid, "missing-geometry", "without a box")
    rows.drop(is_box & ~np.isfinite(box).all(axis=1), "nan-box", "with a box that is not finite")
    if len(spared):
        at = np.maximum(rows.sample, 0)
        away = np.isin(frame, spared)[at] if len(frame) else np.zeros(len(at), bool)
        rows.drop(is_box & away, "not-compared", "on frames that do not count")
    score = np.asarray(column(table, "score").fill_null(np.nan), np.float64).copy()
    orders = np.append(_integers(batch.samples, "order"), 0)[rows.sample]
    timed = np.append(np.asarray(column(batch.samples, "order").is_valid()), False)[rows.sample]
    if who == "predictions":
        stated = np.asarray(column(table, "score").is_valid())
        rows.drop(stated & np.isnan(score), "nan-score", "with a score of NaN")
    boxes = rows.alive & is_box
    rows.tell(
        boxes & tracks.has & ~timed, "missing-order", "of a tube, on a frame without a number"
    )
    fine = is_box & tracks.has & timed & np.isfinite(box).all(axis=1) & valid
    keys = (orders, category, tracks.code, group)
    others = _tubes(_members(aside & fine, keys)[0], *keys[::-1], box)[0]
    members, again = _members(boxes & fine, keys)
    rows.tell(again, "repeated-track", "of a tube that is already in that frame")
    built, owner = _tubes(members, *keys[::-1], box)
    if who == "predictions":
        said = tracks.scores(built, members, owner, category, ~is_box & rows.alive, score)
        score[members] = np.where(np.isnan(score[members]), said[owner], score[members])
        unscored = boxes & np.isnan(score)
        rows.drop(unscored, "missing-score", "without a score")
        boxes &= ~unscored
        built = replace(built, score=said)
        built = built.take(np.flatnonzero(~np.isnan(said)))
    lone = rows.alive & ~is_box & ~np.isin(tracks.code, tracks.code[members])
    rows.tell(lone, "missing-geometry", "of tubes without a box")
    at = np.flatnonzero(boxes)
    place = rows.sample[at]
    linked = tracks.has[at]
    flat = Boxes(group[at], frame[place], category[at], box[at], score[at])
    return Side(flat, linked, place, built, others)


class _Rows:
    """Rows of a batch, some of which are left out on the way."""

    def __init__(self, batch: Batch, who: str, found: Findings) -> None:
        self.batch, self.who, self.found = batch, who, found
        at = np.asarray(column(batch.annotations, "sample").fill_null(_NONE), np.int64)
        self.sample = np.where(at < 0, _NONE, at - batch.start)
        self.alive = np.ones(len(at), bool)

    def drop(self, lost: Flags, code: str, what: str) -> None:
        """Leave some out."""
        self.tell(lost & self.alive, code, what)
        self.alive &= ~lost

    def tell(self, some: Flags, code: str, what: str) -> None:
        left_out(self.found, code, self.batch, some, self.who, what)


@dataclass(frozen=True)
class _Tracks:
    """The tracks of rows.

    Attributes:
        code: shape (rows,), a number for each track of each group; -1: of none.
        has: shape (rows,), whether a row is of a track.
    """

    code: Ints
    has: Flags

    @classmethod
    def of(cls, table: pa.Table, group: Ints) -> _Tracks:
        has = np.asarray(column(table, "track").is_valid()) & (group >= 0)
        track = _integers(table, "track")
        names, rank = np.unique(track, return_inverse=True)
        code = np.where(has, group * max(len(names), 1) + rank.ravel(), _NONE)
        return cls(code, has)

    def completed(self, category: Ints, whole: Flags) -> Ints:
        """Categories, those that boxes lack being that of the row of their tube."""
        known = np.flatnonzero(whole & self.has & (category >= 0))
        wanted = np.flatnonzero(~whole & self.has & (category < 0))
        out = category.copy()
        if len(known) and len(wanted):
            out[wanted] = _looked_up(self.code[wanted], self.code[known], category[known], _NONE)
        return out

    def scores(
        self,
        tubes: Tubes,
        members: Ints,
        owner: Ints,
        category: Ints,
        whole: Flags,
        score: Floats,
    ) -> Floats:
        """The score of each tube: of its row of that class, or of no class; else the mean of those
        its boxes have; NaN where there is none."""
        most = int(category.max(initial=0)) + 2
        rows = np.flatnonzero(whole & self.has & ~np.isnan(score))
        codes = self.code[rows] * most + category[rows] + 1
        track = self.code[members[tubes.begin[:-1]]]
        out = _looked_up(track * most + tubes.category + 1, codes, score[rows], np.nan)
        plain = _looked_up(track * most, codes, score[rows], np.nan)
        out = np.where(np.isnan(out), plain, out)
        stated = ~np.isnan(score[members])
        n = len(tubes)
        count = np.bincount(owner[stated], minlength=n)
        total = np.bincount(owner[stated], weights=score[members][stated], minlength=n)
        mean = np.divide(total, count, out=np.full(n, np.nan), where=count > 0)
        return np.where(np.isnan(out), mean, out)


def _members(wanted: Flags, keys: tuple[Ints, ...]) -> tuple[Ints, Flags]:
    """The wanted rows sorted by the keys, the last one first, without those that repeat another in
    all of them; and which those are."""
    rows = np.flatnonzero(wanted)
    rows = rows[np.lexsort(tuple(k[rows] for k in keys))]
    same = np.ones(len(rows), bool)[1:]
    for values in keys:
        same = same & (np.diff(values[rows]) == 0)
    again = np.zeros(len(wanted), bool)
    again[rows[1:][same]] = True
    return rows[~again[rows]], again


def _tubes(
    members: Ints, group: Ints, track: Ints, category: Ints, orders: Ints, box: Floats
) -> tuple[Tubes, Ints]:
    """Tubes of sorted rows, and the tube of each row."""
    new = np.ones(len(members), bool)
    new[1:] = (np.diff(track[members]) != 0) | (np.diff(category[members]) != 0)
    first = np.flatnonzero(new)
    tubes = Tubes(
        group[members[first]],
        category[members[first]],
        np.append(first, len(members)),
        orders[members],
        box[members],
        np.zeros(len(first)),
    )
    return tubes, np.cumsum(new) - 1


def _looked_up(wanted: Ints, known: Ints, values: Floats | Ints, default: float) -> Floats:
    """The value of the first of ``known`` that equals each of ``wanted``."""
    out = np.full(len(wanted), default)
    names, first = np.unique(known, return_index=True)
    if len(names):
        at = np.minimum(np.searchsorted(names, wanted), len(names) - 1)
        there = names[at] == wanted
        out[there] = values[first[at[there]]]
    return out


def _integers(table: pa.Table, name: str) -> Ints:
    """A column of whole numbers; -1 where it is null."""
    return np.asarray(column(table, name).fill_null(_NONE), np.int64)
