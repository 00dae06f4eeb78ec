"""Writing AVA's files: which rows, which persons, which names of frames."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from granum.loaders._clips import Clips, clips_of
from granum.loaders._notes import category_names
from granum.loaders._paths import split_folders
from granum.loaders.base import keep_columns
from granum.schema import geometry, rows
from granum.schema.attributes import attribute_dicts
from granum.schema.tables import column, with_column
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["FOLDER", "PersonPlan", "file_names", "frame_stamps", "write_files"]

Floats = npt.NDArray[np.float64]

FOLDER = "annotations"
VERSION = "v2.2"
_KEPT = ("annotation_id", "sample", "kind", "category", "bbox")
_STAMP = re.compile(r"\d{1,15}(\.\d{1,9})?")


def file_names(splits: Iterable[str | None], middle: str = "") -> dict[str | None, str]:
    """The file of each split."""
    listed = list(dict.fromkeys(splits)) or [None]
    folders = split_folders(listed)
    out: dict[str | None, str] = {}
    for split in listed:
        word = folders[split] or "default"
        if split is not None and word == "default":
            word = "default_"
        out[split] = f"ava_{word}{middle}_{VERSION}.csv"
    return out


def frame_stamps(keys: Sequence[str], clips: Clips) -> list[str]:
    """The timestamp of each sample: what follows the video in its key where that is one, else its
    number; no two of a video are the same."""
    out: list[str] = []
    taken: set[tuple[int, str]] = set()
    natural: list[str | None] = []
    for key, video in zip(keys, clips.video.tolist(), strict=True):
        before = f"{clips.names[video]}/"
        stamp = key.removeprefix(before) if key.startswith(before) else ""
        natural.append(stamp if _STAMP.fullmatch(stamp) else None)
        if natural[-1] is not None:
            taken.add((video, stamp))
    places = zip(natural, clips.video.tolist(), clips.number.tolist(), strict=True)
    for own, video, number in places:
        stamp, n = own or f"{number:04d}", number
        while own is None and (video, stamp) in taken:
            n += 1
            stamp = f"{n:04d}"
        taken.add((video, stamp))
        out.append(stamp)
    return out


@dataclass(frozen=True)
class PersonPlan:
    """How the last field is written: ``scores``; or persons, by their ids in the source, or
    ``invented``: then they are the tracks' places among those of the dataset."""

    scores: bool
    invented: bool
    numbers: list[int]

    @classmethod
    def of(cls, dataset: Dataset, scores: bool) -> PersonPlan:
        """Look at all tracks of the current layer."""
        listed = [c.source_id or "" for c in rows.categories_from_table(dataset.categories)]
        fits = all(re.fullmatch(r"0|[1-9]\d{0,8}", i) for i in listed)
        fits = fits and len(set(listed)) == len(listed)
        numbers = [int(i) for i in listed] if fits else list(range(1, len(listed) + 1))
        return cls(scores, not scores and not _told_persons(dataset), numbers)

    @property
    def plain(self) -> bool:
        """Whether the files say by themselves what their last field is."""
        return not self.scores and not self.invented

    def notes(self) -> dict[str, Any]:
        """What the last field and the numbers of actions are."""
        return {"scores": self.scores, "invented": self.invented, "actions": self.numbers}

    def project(self, batch: Batch, keeps: frozenset[str]) -> Batch:
        """The rows of a batch (as fractions) that are kept."""
        batch = keep_columns(batch, keeps)
        table = batch.annotations
        table = table.filter(pa.array(_writable(table)))
        last = (
            ("score",)
            if self.scores
            else ("track", *(() if self.invented else ("track_source_id",)))
        )
        table = table.select([n for n in (*_KEPT, *last) if n in table.column_names])
        if table.num_rows:
            _, boxes = geometry.fixed_list(table["bbox"])
            for _ in range(3):
                boxes = np.hstack([boxes[:, :2], far_corner(boxes) - boxes[:, :2]])
            flat = pa.array(boxes.ravel())
            table = with_column(table, "bbox", pa.FixedSizeListArray.from_arrays(flat, 4))
        return Batch(batch.samples, table, batch.start)


def far_corner(boxes: Floats) -> Floats:
    """x2 and y2, with few digits where those give the same width and height."""
    corner = boxes[:, :2] + boxes[:, 2:]
    short = np.round(corner, 10)
    return np.where(short - boxes[:, :2] == boxes[:, 2:], short, corner)


def _writable(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Objects with a box and an action."""
    valid, boxes = geometry.fixed_list(column(table, "bbox"))
    with np.errstate(invalid="ignore", over="ignore"):
        good = valid & np.isfinite(boxes[:, :2] + boxes[:, 2:]).all(axis=1)
        good &= np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] >= 0).all(axis=1)
    for name in ("category", "sample"):
        good &= np.asarray(column(table, name).is_valid())
    kinds = column(table, "kind").cast(pa.string())
    good &= np.asarray(pc.fill_null(pc.equal(kinds, "object"), False))
    return good & np.asarray(pc.fill_null(column(table, "present"), True))


def _told_persons(dataset: Dataset) -> bool:
    """Whether each track is a number of its own in one video: what the last field holds."""
    names = ["sample", "kind", "category", "bbox", "present", "track", "track_source_id"]
    table = dataset.annotations(names)
    table = table.filter(pa.array(_writable(table)))
    track, person = column(table, "track"), column(table, "track_source_id")
    if not pc.all(pc.equal(track.is_valid(), person.is_valid()), min_count=0).as_py():
        return False
    chosen = np.flatnonzero(np.asarray(track.is_valid()))
    if not pc.all(pc.match_substring_regex(person, r"^\d{1,18}$"), min_count=0).as_py():
        return False
    video = clips_of(dataset, 0).video[np.asarray(table["sample"], np.int64)[chosen]]
    ids = person.take(pa.array(chosen)).combine_chunks().dictionary_encode().indices
    triples = np.unique(
        np.column_stack(
            [np.asarray(track.take(pa.array(chosen)), np.int64), video, np.asarray(ids, np.int64)]
        ),
        axis=0,
    )
    tracks, places = triples[:, 0], triples[:, 1:]
    return len(np.unique(tracks)) == len(triples) == len(np.unique(places, axis=0))


def write_files(dataset: Dataset, out: Out, plan: PersonPlan) -> None:
    """Write rows, excluded timestamps and the list of actions."""
    table = dataset.samples()
    clips = clips_of(dataset, 0)
    stamps = pa.array(frame_stamps(table["key"].to_pylist(), clips), pa.string())
    video = pa.array(clips.names, pa.string()).take(pa.array(clips.video))
    splits = column(table, "split").to_pylist()
    excluded = [a is not None and a.get("excluded") is True for a in attribute_dicts(table)]
    found = dataset.annotations()
    sample = np.asarray(column(found, "sample"), np.int64)
    files = file_names(splits)
    number = {s: i for i, s in enumerate(files)}
    of = np.array([number[s] for s in splits], np.int64)
    _, boxes = geometry.fixed_list(column(found, "bbox"))
    corners = np.hstack([boxes[:, :2], far_corner(boxes)]) if len(boxes) else boxes
    actions = np.array([*plan.numbers, 0], np.int64)
    category = np.asarray(column(found, "category"), np.int64)
    if plan.scores:
        last = column(found, "score")
    elif plan.invented:
        last = column(found, "track").combine_chunks().dictionary_encode().indices
    else:
        last = column(found, "track_source_id")
    for split, name in files.items():
        chosen = np.flatnonzero(of[sample] == number[split]) if len(sample) else sample
        at = pa.array(sample[chosen])
        columns = [video.take(at), stamps.take(at)]
        columns += [pa.array(corners[chosen, i]) for i in range(4)]
        columns += [pa.array(actions[category[chosen]]), last.take(pa.array(chosen))]
        _csv(out, name, columns)
    for split, name in file_names(splits, "_excluded_timestamps").items():
        rows_ = [i for i, e in enumerate(excluded) if e and splits[i] == split]
        if rows_:
            at = pa.array(rows_, pa.int64())
            _csv(out, name, [video.take(at), stamps.take(at)])
    out.text(f"{FOLDER}/ava_action_list_{VERSION}.pbtxt", _actions(dataset, plan))


def _csv(out: Out, name: str, columns: list[Any]) -> None:
    """Rows without header, and without quotes where nothing needs them."""
    table = pa.table(columns, names=[str(i) for i in range(len(columns))])
    with out.open(f"{FOLDER}/{name}") as file:
        special = pc.any(pc.match_substring_regex(table["0"], r'[",\r\n]|^$'), min_count=0).as_py()
        style = "needed" if special else "none"
        options = pacsv.WriteOptions(include_header=False, quoting_style=style)
        pacsv.write_csv(table, file, options)


def _actions(dataset: Dataset, plan: PersonPlan) -> str:
    """The list of actions."""
    lines = []
    categories = rows.categories_from_table(dataset.categories)
    for one, name, number in zip(categories, category_names(categories), plan.numbers, strict=True):
        escaped = re.sub(r'(["\\])', r"\\\1", name.replace("\n", " "))
        lines += ["label {", f'  name: "{escaped}"', f"  label_id: {number}"]
        if one.supercategory and re.fullmatch(r"[A-Z][A-Z0-9_]*", one.supercategory):
            lines.append(f"  label_type: {one.supercategory}")
        lines.append("}")
    return "".join(line + "\n" for line in lines)
