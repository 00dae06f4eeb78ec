"""Which tracks of which videos a dataset is written as, and what of its rows comes back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders._map_masks import maps_as_rle
from granum.loaders._sequences import sequences_of
from granum.loaders._units import in_pixels
from granum.loaders._ytvis_records import KNOWN
from granum.loaders.base import blank
from granum.schema import geometry, rows, tables
from granum.schema.attributes import PREFIX
from granum.schema.tables import column, with_column
from granum.store.dataset import Dataset
from granum.store.parts import Batch

__all__ = ["Plan", "Tube", "Video", "plan_of", "project"]

Mask = npt.NDArray[np.bool_]

_KEPT = (
    *("annotation_id", "sample", "group", "kind", "category", "score", "crowd", "bbox"),
    *("polygons", "rle", "area", "track", "track_source_id", "attributes", "extra"),
    *("source_id", "origins", "ordinal", "shape"),
)
_SIZES = ("width", "height", "length")


@dataclass
class Video:
    """A group, or the samples of a split that have none: its samples as frames, in order.

    ``size`` is width, height and length as the file states them.
    """

    key: str
    group: int | None
    split: str | None
    samples: list[int]
    size: tuple[int | None, int | None, int | None]


@dataclass
class Tube:
    """A record: rows of one video, track, category and crowd flag, and the row of the track
    itself (``own``, an annotation id), where there is one. Rows without a track are each one."""

    video: int
    track: int | None
    source: str | None
    category: int | None
    crowd: bool | None
    score: float | None = None
    own: int | None = None
    ordinal: tuple[int, int] | None = None


@dataclass(frozen=True)
class Plan:
    """Attributes:
    videos: all of them.
    tubes: in the order of their records.
    of: the tube of each annotation.
    frame_scores: rows of frames have the scores of their tubes.
    unstated: ``iscrowd``, where no row says.
    """

    videos: list[Video]
    tubes: list[Tube]
    of: dict[int, int]
    frame_scores: bool
    unstated: frozenset[str]


def prepared(batch: Batch, dataset: Dataset) -> pa.Table:
    """Objects that are drawn on a sample, and tracks of groups, with geometry as files have it:
    polygons without holes, else RLEs, made of label images where these are at hand."""
    table = batch.annotations
    if "map" in table.column_names:
        table = maps_as_rle(table, batch.samples, batch.start, dataset)
    if "polygons" in table.column_names:
        flat = geometry.flat_polygons(table["polygons"])
        odd = np.zeros(table.num_rows, bool)
        owner = np.repeat(np.arange(table.num_rows), np.diff(flat.rows))
        odd[owner[np.diff(flat.parts) != 1]] = True
        odd |= np.asarray(pc.equal(pc.list_value_length(table["polygons"]), 0).fill_null(False))
        table = blank(table, "polygons", odd) if odd.any() else table
        both = np.asarray(table["polygons"].is_valid()) & np.asarray(
            column(table, "rle").is_valid()
        )
        table = blank(table, "rle", both) if both.any() else table
    kind = column(table, "kind").cast(pa.string()).fill_null("")
    sample = np.asarray(column(table, "sample").is_valid())
    drawn = np.zeros(table.num_rows, bool)
    for name in ("bbox", "polygons", "rle"):
        drawn |= np.asarray(column(table, name).is_valid())
    objects = np.asarray(pc.equal(kind, "object")) & sample & drawn
    whole = np.asarray(pc.equal(kind, "track")) & ~sample
    whole &= np.asarray(column(table, "group").is_valid())
    fits = objects | whole
    return table if fits.all() else table.filter(pa.array(fits))


@lru_cache(maxsize=4)
def plan_of(dataset: Dataset) -> Plan:
    """The records of a dataset: those that were read, in their order, then others as they come."""
    videos, of_sample = _videos(dataset)
    of_group = {v.group: i for i, v in enumerate(videos) if v.group is not None}
    groups: list[rows.Group] = rows.groups_from_table(dataset.groups)
    found: dict[Any, list[int]] = {}
    facts: dict[int, dict[str, Any]] = {}
    names = ["annotation_id", "kind", "sample", "group", "category", "crowd", "score", "track"]
    names += ["track_source_id", "origins", "ordinal"]
    for batch in dataset.iter_batches():
        table = prepared(batch, dataset)
        columns = {n: column(table, n) for n in names}
        columns["kind"] = columns["kind"].cast(pa.string())
        for row in pa.table(columns).to_pylist():
            number = row["annotation_id"]
            facts[number] = row
            if row["sample"] is None:
                group = row["group"]
                if group not in of_group:  # a video without frames
                    of_group[group] = len(videos)
                    one = groups[group]
                    size = (one.width, one.height, one.frames or 0)
                    videos.append(Video(one.key, group, None, [], size))
                row["video"] = of_group[group]
            else:
                row["video"] = of_sample[row["sample"]]
            track = ("row", number) if row["track"] is None else row["track"]
            found.setdefault((row["video"], track, row["category"], row["crowd"]), []).append(
                number
            )
    tubes: list[tuple[Tube, list[int]]] = []
    for members in found.values():
        owns = [m for m in members if facts[m]["sample"] is None]
        frames = [m for m in members if facts[m]["sample"] is not None]
        tubes += [_tube(facts, own, frames if not i else []) for i, own in enumerate(owns)]
        if not owns:
            tubes += [_tube(facts, None, group) for group in _apart(frames, facts)]
    # Two boxes of one track in one frame cannot stand in one record.
    split: list[tuple[Tube, list[int]]] = []
    for tube, members in tubes:
        first, *others = _apart(members, facts) or [[]]
        split.append((tube, first))
        split += [_tube(facts, None, group) for group in others]
    split.sort(key=lambda t: (t[0].ordinal is None, t[0].ordinal or ()))
    frame_scores = _settle_scores(split, facts)
    of: dict[int, int] = {}
    for number, (tube, members) in enumerate(split):
        of.update(dict.fromkeys(members, number))
        if tube.own is not None:
            of[tube.own] = number
    plain = all(row["crowd"] is None for row in facts.values())
    unstated = frozenset({"iscrowd"} if plain else ())
    return Plan(videos, [t for t, _ in split], of, frame_scores, unstated)


def _videos(dataset: Dataset) -> tuple[list[Video], list[int]]:
    sequences = sequences_of(dataset, 0)
    groups: list[rows.Group] = rows.groups_from_table(dataset.groups)
    sizes = dataset.samples(["width", "height"])
    listed = [column(sizes, n).to_pylist() for n in ("width", "height")]
    out = []
    for number, members in enumerate(sequences.members()):
        order = np.argsort(sequences.frame[members], kind="stable")
        at = members[order].tolist()
        group = sequences.groups[number]
        one = rows.Group("frames") if group is None else groups[group]
        common = [_common(values[i] for i in at) for values in listed]
        length = len(at) if one.frames is None else one.frames
        size = (one.width or common[0], one.height or common[1], length)
        out.append(Video(one.key, group, sequences.splits[number], at, size))
    return out, sequences.of.tolist()


def _common(values: Iterable[Any]) -> Any:
    """The one value that there is, if there is one."""
    found = {*values}
    return found.pop() if len(found) == 1 else None


def _apart(members: list[int], facts: Mapping[int, Mapping[str, Any]]) -> list[list[int]]:
    """Rows in as few lists as no two of one sample share."""
    out: list[list[int]] = []
    seen: dict[int, int] = {}
    for member in members:
        sample = facts[member]["sample"]
        at = seen[sample] = seen.get(sample, -1) + 1
        if at == len(out):
            out.append([])
        out[at].append(member)
    return out


def _tube(
    facts: Mapping[int, Mapping[str, Any]], own: int | None, frames: list[int]
) -> tuple[Tube, list[int]]:
    first = facts[frames[0] if own is None else own]
    sources = {facts[m]["track_source_id"] for m in frames}
    if own is not None:
        sources.add(first["track_source_id"])
    tube = Tube(
        first["video"],
        first["track"],
        sources.pop() if len(sources) == 1 else None,
        first["category"],
        first["crowd"],
        None if own is None else first["score"],
        own,
    )
    if own is not None and first["origins"] and first["ordinal"]:
        tube.ordinal = (first["origins"][0], first["ordinal"][0])
    return tube, frames


def _settle_scores(
    tubes: list[tuple[Tube, list[int]]], facts: Mapping[int, Mapping[str, Any]]
) -> bool:
    """Whether all rows of frames have the score of their tube; tubes without a row of their own
    have theirs from these then."""
    same = True
    for tube, members in tubes:
        scores = {facts[m]["score"] for m in members}
        wanted = {tube.score} if tube.own is not None else scores
        same &= len(scores) < 2 and scores <= wanted
    if same:
        for tube, members in tubes:
            if tube.own is None and members:
                tube.score = facts[members[0]]["score"]
    return same


# ---------------------------------------------------------------------- what comes back


def project(batch: Batch, dataset: Dataset) -> Batch:
    """What the files give back of a batch."""
    plan = plan_of(dataset)
    batch = in_pixels(batch, dataset)
    table = prepared(batch, dataset)
    names = [n for n in table.column_names if n in _KEPT or n.startswith(PREFIX)]
    table = table.select(names)
    ids = table["annotation_id"].to_pylist()
    # Rows of another layer than the one that is written have no tube.
    of = np.array([plan.of.get(i, -1) for i in ids], np.int64)
    tubes = [plan.tubes[i] if i >= 0 else None for i in of.tolist()]
    own = np.asarray(column(table, "sample").is_null())
    score = [
        None if t is None or not (o or plan.frame_scores) else t.score
        for t, o in zip(tubes, own.tolist(), strict=True)
    ]
    if "score" in names:
        table = with_column(table, "score", pa.array(score, pa.float64()))
    if "track_source_id" in names:
        source = [None if t is None else t.source for t in tubes]
        table = with_column(table, "track_source_id", pa.array(source, pa.string()))
    for name in table.column_names:
        if name in ("bbox", "polygons", "rle", "area"):
            table = blank(table, name, own) if own.any() else table
        elif name == "group" or name in ("attributes", "extra") or name.startswith(PREFIX):
            table = blank(table, name, ~own) if not own.all() else table
    if "extra" in table.column_names:
        table = with_column(table, "extra", _extra(table, tubes, plan))
    last = batch.start + batch.samples.num_rows
    sample = np.asarray(column(table, "sample").fill_null(last), np.int64)
    table = table.take(pa.array(np.lexsort((of, sample))))
    drop = ("channels", "depth", "orientation")
    samples = batch.samples.select([n for n in batch.samples.column_names if n not in drop])
    return Batch(samples, table, batch.start)


def _extra(table: pa.Table, tubes: list[Tube | None], plan: Plan) -> pa.Array:
    """Further keys of records, without those that have a column."""
    attributes = column(table, "attributes").to_pylist()
    typed = [n for n in table.column_names if n.startswith(PREFIX)]
    has = np.zeros(table.num_rows, bool)
    for name in typed:
        has |= np.asarray(table[name].is_valid())
    out: list[str | None] = []
    for i, text in enumerate(table["extra"].to_pylist()):
        tube = tubes[i]
        if text is None or tube is None:
            out.append(None)
            continue
        found = json.loads(text)
        stated = dict(zip(_SIZES, plan.videos[tube.video].size, strict=True))
        left = {}
        for key, value in found.items():
            if key in stated:
                keep = value is not None and value != stated[key]
            elif key == "attributes":
                none = attributes[i] is None and not has[i]
                keep = none and not isinstance(value, dict | None)
            else:
                keep = key not in KNOWN
            if keep:
                left[key] = value
        out.append(json.dumps(left, ensure_ascii=False) if left else None)
    return pa.array(out, tables.ANNOTATIONS.field("extra").type)
