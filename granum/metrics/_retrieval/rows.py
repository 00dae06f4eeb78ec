"""Relations from queries to images, of truth and predictions: rows of a part, then lists by query.

A relation row is on the sample of the query; its ``object`` is the id of a row on the image, such
as a label or an object. On which image an id is, is known only when all parts were seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.metrics._labels.rows import firsts
from granum.metrics._usable import left_out
from granum.metrics.base import Context, joined_findings
from granum.schema import tables
from granum.schema.attributes import attribute_dicts
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = [
    "EASY",
    "HARD",
    "JUNK",
    "KINDS",
    "Pairs",
    "RelationState",
    "joined",
    "levels_of",
    "names_checked",
    "relations_of",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

KINDS = ("relation", "label", "object")
"""Rows that are read: relations, and what they lead to."""

EASY, HARD, JUNK = 0, 1, 2
_NONE = -1


@dataclass(frozen=True)
class _Side:
    """Relations in the order of the rows, and where the rows of ids are.

    Attributes:
        query: shape (n,): row of the query, in the part (or in all parts).
        end: shape (n,): id that it leads to.
        level: shape (n,): of the truth: EASY, HARD or JUNK.
        score: shape (n,): of the predictions, NaN where there is none.
        rank: shape (n,): the stated rank, -1 where none is.
        ids: shape (m,): of rows that are no relations.
        samples: shape (m,): row of their sample, as of ``query``.
    """

    query: Ints
    end: Ints
    level: Ints
    score: Floats
    rank: Ints
    ids: Ints
    samples: Ints

    @staticmethod
    def of(parts: Sequence[_Side], starts: Sequence[int]) -> _Side:
        """All parts as one; the samples of each begin at ``starts``."""
        none = np.empty(0, np.int64)
        both = [_Side(none, none, none, np.empty(0), none, none, none)]
        for part, start in zip(parts, starts, strict=True):
            both.append(replace(part, query=part.query + start, samples=part.samples + start))
        return _Side(*(np.concatenate([getattr(p, f.name) for p in both]) for f in fields(_Side)))


@dataclass(frozen=True)
class RelationState:
    """Of a part: its place and its first sample, how many samples it has, the keys of its queries,
    their rows, and the relations of both sides."""

    place: tuple[int, str]
    samples: int
    keys: pa.Array
    queries: Ints
    truth: _Side
    predictions: _Side
    findings: Findings


@dataclass(frozen=True)
class Pairs:
    """Queries in the order of the dataset, and their pairs, by query.

    Attributes:
        keys: of the queries.
        query, image, level, end: of true pairs, in the order of the rows: row of the query in
            ``keys``, row of the image in all parts, level, id of the row on the image.
        found_query, found_image, found_end, rank: of predictions, by rank, from 0 (-1: without
            rank and score, last).
        findings: of all parts, and of what could not be joined.
    """

    keys: pa.Array
    query: Ints
    image: Ints
    level: Ints
    end: Ints
    found_query: Ints
    found_image: Ints
    found_end: Ints
    rank: Ints
    findings: Findings

    def true(self, q: int) -> slice:
        """The true pairs of a query."""
        return slice(*np.searchsorted(self.query, [q, q + 1]).tolist())

    def found(self, q: int) -> slice:
        """The predictions of a query."""
        return slice(*np.searchsorted(self.found_query, [q, q + 1]).tolist())


def names_checked(easy: Sequence[str], hard: Sequence[str], junk: Sequence[str]) -> None:
    """
    Raises:
        UsageError: one is no list of names, or a name is in two.
    """
    if any(isinstance(names, str) for names in (easy, hard, junk)):
        raise UsageError("easy, hard and junk are lists of names of categories")
    listed = [*easy, *hard, *junk]
    for name in listed:
        if listed.count(name) > 1:
            raise UsageError(f"{name!r} is named twice among easy, hard and junk")


def levels_of(
    context: Context, easy: Sequence[str], hard: Sequence[str], junk: Sequence[str]
) -> Ints:
    """What a relation of each category of the truth means; -1: nothing."""
    named = ((EASY, easy), (HARD, hard), (JUNK, junk))
    meant = {name: level for level, names in named for name in names}
    listed = context.categories["name"].to_pylist()
    return np.array([meant.get(name, _NONE) for name in listed], np.int64)


def relations_of(
    truth: Batch, predictions: Batch, levels: Ints, *, scored: bool = True
) -> RelationState:
    """The relations of a part.

    Args:
        levels: of each category of the truth.
        scored: predictions with neither rank nor score are findings, and are left out.
    """
    found = Findings(on_error="skip")
    true = _side(truth, found, "truth", levels, scored=False)
    guessed = _side(predictions, found, "predictions", None, scored=scored)
    role = column(truth.samples, "role", tables.SAMPLES).cast(pa.string())
    asked = np.flatnonzero(np.asarray(pc.equal(role, "query").fill_null(False), bool))
    queries = np.union1d(asked, true.query)
    names = truth.samples["key"].combine_chunks()
    place = truth.start, names[0].as_py() if len(names) else ""
    keys = names.take(pa.array(queries))
    return RelationState(place, len(names), keys, queries, true, guessed, found)


def _side(batch: Batch, found: Findings, who: str, levels: Ints | None, *, scored: bool) -> _Side:
    table = batch.annotations
    kind = column(table, "kind").cast(pa.string())
    relation = np.asarray(pc.equal(kind, "relation").fill_null(False), bool)
    names = ("annotation_id", "sample", "object", "category")
    ids, sample, end, category = (
        np.asarray(column(table, n).fill_null(-1), np.int64) for n in names
    )
    score = np.asarray(column(table, "score").fill_null(np.nan), np.float64)
    rank = _stated_ranks(table, relation)
    keep = relation & (end >= 0)
    left_out(found, "orphan-image", batch, relation & ~keep, who, "that lead to nothing")
    level = np.full(len(ids), _NONE)
    if levels is not None:
        level = np.append(levels, _NONE)[category]
        other = keep & (level == _NONE)
        left_out(found, "not-compared", batch, other, who, "neither easy nor hard nor junk")
        keep &= ~other
    if who == "predictions":
        lacking = keep & np.isnan(score) & (rank < 0)
        null = np.asarray(column(table, "score").is_null())
        if scored:
            left_out(found, "missing-score", batch, lacking & null, who, "with no score or rank")
        left_out(found, "nan-score", batch, lacking & ~null, who, "with a score of NaN")
        keep &= ~lacking | (null & (not scored))
    sample = sample - batch.start
    return _Side(
        query=sample[keep],
        end=end[keep],
        level=level[keep],
        score=score[keep],
        rank=rank[keep],
        ids=ids[~relation],
        samples=sample[~relation],
    )


def _stated_ranks(table: pa.Table, wanted: Flags) -> Ints:
    """The attribute ``rank`` of rows; -1 where there is none, or it is no whole number."""
    stated = "attr.rank"
    if stated in table.column_names and pa.types.is_integer(table[stated].type):
        return np.asarray(table[stated].fill_null(-1), np.int64)
    out = np.full(len(wanted), -1, np.int64)
    texts = column(table, "attributes")
    rows = np.flatnonzero(wanted & np.asarray(texts.is_valid()))
    if len(rows):
        told = attribute_dicts(table.select(["attributes"]).take(pa.array(rows)))
        values = [(row or {}).get("rank") for row in told]
        out[rows] = [v if type(v) is int and v >= 0 else -1 for v in values]
    return out


def joined(states: Sequence[RelationState]) -> Pairs:
    """All parts as one, in the order of the dataset, however they come."""
    ordered = sorted(states, key=lambda s: s.place)
    findings = joined_findings(s.findings for s in ordered)
    keys = pa.chunked_array([s.keys for s in ordered], pa.string()).combine_chunks()
    starts = np.cumsum([0, *(s.samples for s in ordered)])[:-1].tolist()
    moved = [s.queries + start for s, start in zip(ordered, starts, strict=True)]
    rows = np.concatenate([np.empty(0, np.int64), *moved])
    truth = _Side.of([s.truth for s in ordered], starts)
    guessed = _Side.of([s.predictions for s in ordered], starts)

    query, image = np.searchsorted(rows, truth.query), _images(truth.end, truth)
    at = _known(np.arange(len(query)), image, "orphan-image", "truth", findings)
    at = _once(at, query, image, "truth", findings)
    true = (query[at], image[at], truth.level[at], truth.end[at])

    image = _images(guessed.end, guessed)
    image = np.where(image < 0, _images(guessed.end, truth), image)
    place = np.searchsorted(rows, guessed.query)
    asked = np.append(rows, -1)[place] == guessed.query
    if not asked.all():
        n = int((~asked).sum())
        message = f"{n} relations from samples that are no query of the truth"
        findings.add("not-compared", "predictions", None, message, n)
    at = _known(np.flatnonzero(asked), image, "unknown-sample", "predictions", findings)
    at, stated = _sorted(at, place, guessed)
    apart = stated[place[at]] & (guessed.rank[at] < 0) & ~np.isnan(guessed.score[at])
    if apart.any():
        n = int(apart.sum())
        message = f"{n} relations with a score but no rank, of queries that have ranks"
        findings.add("missing-score", "predictions", None, message, n)
    at = _once(at, place, image, "predictions", findings)
    query = place[at]
    within = np.arange(len(at)) - np.searchsorted(query, query)
    rank = np.where(stated[query], guessed.rank[at], within)
    rank[~stated[query] & np.isnan(guessed.score[at])] = -1
    return Pairs(keys, *true, query, image[at], guessed.end[at], rank, findings)


def _sorted(at: Ints, query: Ints, side: _Side) -> tuple[Ints, Flags]:
    """Predictions by query, then by rank, else by falling score; of equal ones the earlier row
    first. And which queries have stated ranks."""
    n = int(query[at].max(initial=-1)) + 1
    stated = np.bincount(query[at], side.rank[at] >= 0, minlength=n) > 0
    ranks = np.where(side.rank[at] < 0, np.inf, side.rank[at])
    by = np.where(stated[query[at]], ranks, -side.score[at])
    return at[np.lexsort((by, query[at]))], stated


def _images(ends: Ints, side: _Side) -> Ints:
    """The sample of the row of each id; -1 where there is none."""
    if not len(side.ids):
        return np.full(len(ends), -1, np.int64)
    order = np.argsort(side.ids, kind="stable")
    place = np.minimum(np.searchsorted(side.ids[order], ends), len(order) - 1)
    return np.where(side.ids[order][place] == ends, side.samples[order][place], -1)


def _known(at: Ints, image: Ints, code: str, who: str, findings: Findings) -> Ints:
    lost = int((image[at] < 0).sum())
    if lost:
        message = f"{lost} relations that lead to a row that is on no image"
        findings.add(code, who, None, message, lost)
    return at[image[at] >= 0]


def _once(at: Ints, query: Ints, image: Ints, who: str, findings: Findings) -> Ints:
    """Of the rows of a query and an image the first."""
    keep = firsts(query[at], image[at])
    lost = int((~keep).sum())
    if lost:
        message = f"{lost} relations of a query and an image that have one: the first counts"
        findings.add("duplicate-annotation", who, None, message, lost)
    return at[keep]
