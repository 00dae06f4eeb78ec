"""Which annotation of one dataset is which of another: pairs within a sample, on columns.

Tables come in *comparable form* (see ``_changes.comparable``): ``sample`` is the place of the
owner in the block, the same in both; ``category`` counts jointly; coordinates are pixels where
sizes are known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.schema import geometry
from granum.schema.tables import column
from granum.verbs._content import (
    REFERENCES,
    combine,
    equal_pairs,
    joint_codes,
    key_codes,
    referred_codes,
    row_codes,
    unique_pairs,
)

__all__ = ["MIN_IOU", "Pairs", "pair_rows"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

MIN_IOU = 0.5
"""Boxes that overlap less are not taken for the same object."""

MOST_PAIRS = 2_000_000
"""Candidate pairs looked at in one go; bounds memory."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows ``a[i]`` and ``b[i]`` are the same annotation; ``how`` counts the evidence."""

    a: Ints
    b: Ints
    how: Counter[str]


class _Matching:
    """Rows not yet paired, and the pairs so far."""

    def __init__(self, n: int, m: int) -> None:
        self.free_a, self.free_b = np.ones(n, bool), np.ones(m, bool)
        nothing = np.empty(0, np.int64)
        self.pairs: list[tuple[Ints, Ints]] = [(nothing, nothing)]
        self.how: Counter[str] = Counter()

    def left(self, where_a: Mask, where_b: Mask) -> tuple[Ints, Ints]:
        return np.flatnonzero(self.free_a & where_a), np.flatnonzero(self.free_b & where_b)

    def take(self, a: Ints, b: Ints, how: str) -> None:
        self.free_a[a] = self.free_b[b] = False
        self.pairs.append((a, b))
        self.how[how] += len(a)

    def by_codes(
        self, codes: tuple[Ints, Ints], where: tuple[Mask, Mask], how: str, *, unique: bool = False
    ) -> None:
        """Pair free rows of equal codes; with ``unique`` only where nothing else could pair."""
        ia, ib = self.left(*where)
        if len(ia) and len(ib):
            found = unique_pairs if unique else equal_pairs
            at, bt = found(codes[0][ia], codes[1][ib])
            self.take(ia[at], ib[bt], how)


def pair_rows(a: pa.Table, b: pa.Table, ignore: Iterable[str] = ()) -> Pairs:
    """Pair annotations that share their ``sample``.

    In this order: equal source ids (in both once in the sample) where also the content is equal
    or the boxes overlap; equal content; equal content but for the category; greedily by overlap
    of boxes of the same kind (those of one category first); what is left of equal source ids;
    what is alone of its kind and category in the sample. Ids alone come late because files are
    renumbered more often than boxes jump.

    Args:
        a, b: rows in comparable form.
        ignore: columns that are no part of the content.
    """
    n = a.num_rows
    match = _Matching(n, b.num_rows)
    everything = np.ones(n, bool), np.ones(b.num_rows, bool)
    owner = np.concatenate([_ints(a, "sample"), _ints(b, "sample")])
    base = combine(owner, np.concatenate(key_codes(column(a, "kind"), column(b, "kind"))))
    category = row_codes(_chunks(column(a, "category"), column(b, "category")))
    track = row_codes(_chunks(column(a, "track"), column(b, "track")))
    rest = np.concatenate(
        joint_codes(a, b, {"source_id", "track", "category", *REFERENCES, *ignore})
    )
    shape = _split(combine(owner, rest), n)
    content = _split(combine(owner, rest, category), n)
    ids = _same_ids(a, b, base)
    boxes: tuple[Floats, Floats] | None = None
    if len(ids[0]):
        equal = content[0][ids[0]] == content[1][ids[1]]
        if not equal.all():
            boxes = geometry.aabb(a), geometry.aabb(b)
            with np.errstate(invalid="ignore"):
                equal |= _iou(boxes[0][ids[0]], boxes[1][ids[1]]) >= MIN_IOU
        match.take(ids[0][equal], ids[1][equal], "source_id")
    tracked = _split(combine(np.concatenate(content), track), n)
    match.by_codes(referred_codes(a, b, tracked), everything, "content")
    match.by_codes(content, everything, "content")
    if match.free_a.any() and match.free_b.any():
        boxes = boxes or (geometry.aabb(a), geometry.aabb(b))
        drawn = _finite(boxes[0]), _finite(boxes[1])
        bare = ~drawn[0], ~drawn[1]
        match.by_codes(shape, drawn, "content")
        _by_overlap(match, _split(base, n), _split(category, n), boxes, drawn)
        left = match.free_a[ids[0]] & match.free_b[ids[1]]
        match.take(ids[0][left], ids[1][left], "source_id")
        match.by_codes(shape, bare, "content", unique=True)
        match.by_codes(_split(combine(base, category), n), bare, "alone", unique=True)

    ia = np.concatenate([p[0] for p in match.pairs])
    ib = np.concatenate([p[1] for p in match.pairs])
    order = np.argsort(ia)
    return Pairs(ia[order], ib[order], +match.how)


def _same_ids(a: pa.Table, b: pa.Table, base: Ints) -> tuple[Ints, Ints]:
    """Rows whose source id occurs once in both, in one sample and kind."""
    given = [np.flatnonzero(np.asarray(column(t, "source_id").is_valid())) for t in (a, b)]
    names = np.concatenate(key_codes(column(a, "source_id"), column(b, "source_id")))
    codes = _split(combine(base, names), a.num_rows)
    at, bt = unique_pairs(codes[0][given[0]], codes[1][given[1]])
    return given[0][at], given[1][bt]


def _ints(table: pa.Table, name: str) -> Ints:
    return np.asarray(column(table, name).fill_null(-1), np.int64)


def _chunks(a: pa.ChunkedArray, b: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([*a.chunks, *b.cast(a.type).chunks], a.type)


def _split(codes: Ints, n: int) -> tuple[Ints, Ints]:
    return codes[:n], codes[n:]


def _finite(boxes: Floats) -> Mask:
    return np.asarray(np.isfinite(boxes).all(axis=1), bool)


def _by_overlap(
    match: _Matching,
    group: tuple[Ints, Ints],
    category: tuple[Ints, Ints],
    boxes: tuple[Floats, Floats],
    drawn: tuple[Mask, Mask],
) -> None:
    """Greedily by overlap: pairs of one category first, then the larger overlap."""
    ia, ib = match.left(*drawn)
    if not len(ia) or not len(ib):
        return
    ib = ib[np.argsort(group[1][ib], kind="stable")]
    sorted_groups = group[1][ib]
    first = np.searchsorted(sorted_groups, group[0][ia], side="left")
    counts = np.searchsorted(sorted_groups, group[0][ia], side="right") - first
    found: list[tuple[Ints, Ints, Floats]] = []
    total = np.cumsum(counts)
    start = 0
    while start < len(ia):
        done = total[start - 1] if start else 0
        stop = max(int(np.searchsorted(total, done + MOST_PAIRS, side="right")), start + 1)
        n = counts[start:stop]
        pa_ = np.repeat(ia[start:stop], n)
        within = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        pb = ib[np.repeat(first[start:stop], n) + within]
        iou = _iou(boxes[0][pa_], boxes[1][pb])
        near = iou >= MIN_IOU
        found.append((pa_[near], pb[near], iou[near]))
        start = stop
    at, bt, overlap = (np.concatenate(x) for x in zip(*found, strict=True))
    match.take(*_greedy(at, bt, overlap, category[0][at] == category[1][bt]), "overlap")


def _greedy(at: Ints, bt: Ints, overlap: Floats, same: Mask) -> tuple[Ints, Ints]:
    alone = (np.bincount(at)[at] == 1) & (np.bincount(bt)[bt] == 1) if len(at) else same
    a, b = at[alone].tolist(), bt[alone].tolist()
    rest = np.flatnonzero(~alone)
    order = rest[np.lexsort((bt[rest], at[rest], -overlap[rest], ~same[rest]))]
    used_a: set[int] = set()
    used_b: set[int] = set()
    for i, j in zip(at[order].tolist(), bt[order].tolist(), strict=True):
        if i not in used_a and j not in used_b:
            used_a.add(i)
            used_b.add(j)
            a.append(i)
            b.append(j)
    return np.array(a, np.int64), np.array(b, np.int64)


def _iou(a: Floats, b: Floats) -> Floats:
    """Overlap of boxes row by row; boxes without area overlap only where they are equal."""
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    inter = np.prod(np.maximum(high - low, 0), axis=1)
    union = a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3] - inter
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = np.where(union > 0, inter / union, 0.0)
    return np.where((a == b).all(axis=1), 1.0, iou)
