"""Writing tracks as MOTChallenge texts, and what of them comes back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders._mot_read import CLASSES, WORLD
from granum.loaders._notes import write_notes
from granum.loaders._sequences import (
    Sequences,
    Tracks,
    boxed,
    sequences_of,
    track_notes,
    tracks_of,
)
from granum.loaders._units import in_pixels
from granum.schema import geometry, rows
from granum.schema.attributes import PREFIX, attribute_dicts
from granum.schema.tables import column, with_column, without_columns
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["image_paths", "project", "write_mot"]

Ints = npt.NDArray[np.int64]
NOTED = {"split", "group", "time", "geo", "attributes"}
_COLUMNS = ("annotation_id", "sample", "kind", "bbox", "track", "track_source_id")
_LAYOUT = {
    "gt": ("category", "score", "ignore", "visibility"),
    "mot15": ("score", "ignore"),
    "det": ("score",),
    "results": ("score",),
}
"""Columns of each layout, beside box and track."""


@dataclass(frozen=True)
class Plan:
    """What holds for a whole dataset.

    Attributes:
        sequences: its frames.
        unstated: columns that no row states; files state them all the same.
        tracks: for each sequence and track its id in files and the one that the source wrote,
            where all rows of the track have the same.
        mixed: some of the ids that the source wrote differ within a track.
    """

    sequences: Sequences
    unstated: frozenset[str]
    tracks: Tracks
    mixed: bool


@lru_cache(maxsize=4)
def plan_of(dataset: Dataset, layout: str) -> Plan:
    """What must be known of all rows before one is written."""
    sequences = sequences_of(dataset, 1)
    stated: set[str] = set()
    unsaid = False  # a row that does not say whether it is ignored
    for batch in dataset.iter_batches():
        table = boxed(batch.annotations)
        for name in ("category", "ignore", "visibility"):
            values = column(table, name)
            if values.null_count < len(values):
                stated.add(name)
        unsaid |= column(table, "ignore").null_count > 0
    # Files say of every row whether it is ignored: where one does not say, 1 means that.
    unstated = {"category", "visibility"} - stated | ({"ignore"} if unsaid else set())
    tracks, mixed = ({}, False) if layout == "det" else tracks_of(dataset, sequences)
    return Plan(sequences, frozenset(unstated), tracks, mixed)


# ---------------------------------------------------------------------- what comes back


def project(batch: Batch, dataset: Dataset, layout: str, one_based: bool) -> Batch:
    """What the texts give back of a batch."""
    plan = plan_of(dataset, layout)
    batch = in_pixels(batch, dataset)
    table = boxed(batch.annotations)
    world = None if layout == "gt" else _world(table)
    table = table.select([n for n in (*_COLUMNS, *_LAYOUT[layout]) if n in table.column_names])
    if one_based:
        _, boxes = geometry.fixed_list(table["bbox"])
        boxes = boxes + [1, 1, 0, 0] - [1, 1, 0, 0]
        table = with_column(table, "bbox", _boxes(boxes))
    table = _flags(table, layout, plan)
    table = _own_tracks(table, layout, plan)
    if world is not None:
        for name, values in world.items():
            table = with_column(table, PREFIX + name, values)
    samples = without_columns(
        batch.samples,
        [
            n
            for n in batch.samples.column_names
            if n in ("source_id", "origins", "ordinal", "channels", "depth", "orientation")
            or n == "shape"
        ],
    )
    return Batch(samples, table, batch.start)


def _boxes(values: npt.NDArray[np.float64]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), 4)


def _flags(table: pa.Table, layout: str, plan: Plan) -> pa.Table:
    """Score, ignore and visibility as far as one column of confidence can tell them."""
    if "ignore" in table.column_names and "ignore" in plan.unstated:
        ignored = pc.if_else(
            pc.fill_null(table["ignore"], False), pa.scalar(True), pa.scalar(None, pa.bool_())
        )
        table = with_column(table, "ignore", ignored)
    if "score" in table.column_names:
        score = table["score"]
        lost = pc.equal(score, -1.0)
        if layout in ("gt", "mot15"):
            lost = pc.or_(pc.equal(score, 0.0), pc.equal(score, 1.0))
            lost = pc.or_(lost, pc.fill_null(column(table, "ignore"), False))
        lost = pc.or_(pc.fill_null(lost, False), pc.invert(pc.is_finite(pc.fill_null(score, 0.0))))
        table = with_column(table, "score", pc.if_else(lost, pa.scalar(None, pa.float64()), score))
    if "visibility" in table.column_names:
        seen = table["visibility"]
        good = pc.and_(pc.is_finite(seen), pc.not_equal(seen, -1.0))
        none = pa.scalar(None, pa.float64())
        table = with_column(table, "visibility", pc.if_else(pc.fill_null(good, False), seen, none))
    return table


def _own_tracks(table: pa.Table, layout: str, plan: Plan) -> pa.Table:
    if layout == "det":
        return without_columns(table, ["track", "track_source_id"])
    if "track" not in table.column_names:
        return without_columns(table, ["track_source_id"])
    track = table["track"]
    good = pc.fill_null(pc.greater_equal(track, 0), False)
    table = with_column(table, "track", pc.if_else(good, track, pa.scalar(None, pa.int64())))
    if "track_source_id" in table.column_names:
        none = pa.scalar(None, pa.string())
        source = pc.if_else(good, table["track_source_id"], none)
        if plan.mixed:
            of = plan.sequences.of[np.asarray(table["sample"], np.int64)].tolist()
            pairs = zip(of, table["track"].to_pylist(), strict=True)
            own = [None if t is None else plan.tracks[s, t][1] for s, t in pairs]
            source = pa.array(own, pa.string())
        table = with_column(table, "track_source_id", source)
    return table


def _world(table: pa.Table) -> dict[str, pa.Array] | None:
    """Three columns of world coordinates, of rows that have all three as numbers."""
    names = [PREFIX + n for n in WORLD]
    if "attributes" in table.column_names or not {*names} <= {*table.column_names}:
        dicts = attribute_dicts(table)
        if not any(dicts):
            return None
        listed = [[(d or {}).get(n) for n in WORLD] for d in dicts]
        place = np.array(
            [[v if type(v) is float else np.nan for v in row] for row in listed], np.float64
        ).reshape(-1, 3)
    else:
        columns = [table[n].cast(pa.float64()).fill_null(np.nan) for n in names]
        place = np.column_stack([np.asarray(c) for c in columns])
    absent = ~np.isfinite(place).all(axis=1) | (place == -1).all(axis=1)
    if absent.all():
        return None
    return {
        n: pa.array(np.ascontiguousarray(place[:, i]), mask=absent) for i, n in enumerate(WORLD)
    }


# ---------------------------------------------------------------------- writing


def image_paths(dataset: Dataset) -> list[str]:
    """Where the image of each sample goes."""
    found = sequences_of(dataset, 1)
    return [
        f"{found.folders[s]}/img1/{frame:06d}{suffix}"
        for s, frame, suffix in zip(
            found.of.tolist(), found.frame.tolist(), found.suffixes, strict=True
        )
    ]


def write_mot(dataset: Dataset, out: Out, layout: str, one_based: bool) -> None:
    """Write the texts, ``seqinfo.ini``, names of classes, and the notes."""
    plan = plan_of(dataset, layout)
    found = plan.sequences
    categories: list[rows.Category] = rows.categories_from_table(dataset.categories)
    numbers, labels = _numbers(categories)
    texts: list[list[str]] = [[] for _ in found.folders]
    for batch in dataset.iter_batches():
        table = batch.annotations
        if not table.num_rows:
            continue
        of = found.of[np.asarray(table["sample"], np.int64)]
        lines = _lines(table, of, layout, one_based, plan, numbers)
        if len(found.folders) == 1:
            texts[0] += lines.to_pylist()
            continue
        order = np.argsort(of, kind="stable")
        cuts = np.searchsorted(of[order], np.arange(len(found.folders) + 1))
        for number in np.unique(of).tolist():
            chosen = order[cuts[number] : cuts[number + 1]]
            texts[number] += lines.take(pa.array(chosen)).to_pylist()
    file = {"gt": "gt/gt.txt", "mot15": "gt/gt.txt", "det": "det/det.txt"}.get(layout)
    names = [f"{f}/{file}" if file else f"{f}.txt" for f in found.folders]
    for number, name in enumerate(names):
        out.text(name, "".join(f"{line}\n" for line in texts[number]))
        if layout == "gt" and labels:
            out.text(f"{found.folders[number]}/gt/labels.txt", labels)
    if file:
        _write_info(dataset, out, found)
    listed = track_notes(plan.tracks)
    more = {
        "layout": layout,
        "one_based": one_based,
        "unstated": sorted(plan.unstated),
        "classes": numbers,
        "sequences": [
            {"file": names[i], "folder": f, "tracks": listed.get(i, [])}
            for i, f in enumerate(found.folders)
        ],
    }
    write_notes(out, "mot", dataset, image_paths(dataset), NOTED, more=more)


def _numbers(categories: list[rows.Category]) -> tuple[list[int], str]:
    """Numbers of classes, and ``labels.txt`` where they are not MOTChallenge's."""
    names = [c.name for c in categories]
    if len({*names}) == len(names) and {*names} <= {*CLASSES}:
        return [CLASSES.index(n) + 1 for n in names], ""
    lines = [re.sub(r"\s+", " ", n).strip() or "_" for n in names]
    return list(range(1, len(names) + 1)), "".join(f"{line}\n" for line in lines)


def _lines(
    table: pa.Table, of: Ints, layout: str, one_based: bool, plan: Plan, numbers: list[int]
) -> pa.Array:
    """A text for each row."""
    sample = np.asarray(table["sample"], np.int64)
    _, boxes = geometry.fixed_list(table["bbox"])
    if one_based:
        boxes = boxes + [1, 1, 0, 0]
    track = column(table, "track")
    ids = np.full(len(of), -1)
    if track.null_count < len(track):
        numbered = np.asarray(track.fill_null(-1), np.int64)
        pairs, inverse = np.unique(np.column_stack([of, numbered]), axis=0, return_inverse=True)
        own = [-1 if t < 0 else plan.tracks[s, t][0] for s, t in pairs.tolist()]
        ids = np.array(own, np.int64)[np.ravel(inverse)]
    parts: list[Any] = [plan.sequences.frame[sample], ids, *boxes.T]
    if layout in ("gt", "mot15"):
        ignored = pc.fill_null(column(table, "ignore"), False)
        counted = pc.fill_null(column(table, "score").cast(pa.float64()), 1.0)
        parts.append(pc.if_else(ignored, pa.scalar(0.0), counted))
    else:
        parts.append(pc.fill_null(column(table, "score").cast(pa.float64()), -1.0))
    if layout == "gt":
        row = np.asarray(column(table, "category").fill_null(-1), np.int64)
        none = 1 if "category" in plan.unstated else -1
        parts.append(np.array([*numbers, none], np.int64)[row])
        unseen = 1.0 if "visibility" in plan.unstated else -1.0
        parts.append(pc.fill_null(column(table, "visibility").cast(pa.float64()), unseen))
    else:
        for name in WORLD:
            values = column(table, PREFIX + name)
            parts.append(pc.fill_null(values.cast(pa.float64()), -1.0))
    words = [_words(p) for p in parts]
    return pc.binary_join_element_wise(*words, ",")


def _words(values: Any) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    array = values if isinstance(values, pa.Array) else pa.array(np.ascontiguousarray(values))
    return array.cast(pa.string())


def _write_info(dataset: Dataset, out: Out, found: Sequences) -> None:
    """``seqinfo.ini`` of each sequence, with what is known."""
    groups: list[rows.Group] = rows.groups_from_table(dataset.groups)
    sizes = dataset.samples(["width", "height"])
    width, height = (column(sizes, n).to_pylist() for n in ("width", "height"))
    for number, members in enumerate(found.members()):
        group = found.groups[number]
        known = rows.Group("") if group is None else groups[group]
        folder, at = found.folders[number], members.tolist()
        facts: Mapping[str, Any] = {
            "name": folder.rpartition("/")[2],
            "imDir": "img1",
            "frameRate": None if known.fps is None else f"{known.fps:g}",
            "seqLength": max([known.frames or 0, *found.frame[members].tolist()]),
            "imWidth": known.width or _common(width[i] for i in at),
            "imHeight": known.height or _common(height[i] for i in at),
            "imExt": found.suffixes[at[0]],
        }
        lines = [f"{k}={v}\n" for k, v in facts.items() if v is not None]
        out.text(f"{folder}/seqinfo.ini", "[Sequence]\n" + "".join(lines))


def _common(values: Any) -> Any:
    """The one value that there is, if there is one."""
    found = {*values}
    return found.pop() if len(found) == 1 else None
