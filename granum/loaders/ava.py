"""AVA: atomic actions of people in films, one frame a second, in CSV files without header.

::

    annotations/ava_train_v2.2.csv   ava_val_v2.2.csv      video,second,x1,y1,x2,y2,action,person
    annotations/ava_train_excluded_timestamps_v2.2.csv     video,second
    annotations/ava_action_list_v2.2.pbtxt                 label { name: "…" label_id: 1 … }
    annotations/ava_action_list_v2.2_for_activitynet_2019.pbtxt    the 60 actions that are scored
    frames/VIDEO/VIDEO_000902.jpg                              where frames were extracted by second

(also without the folder ``annotations``; AVA-Kinetics' ``kinetics_train_v1.0.csv`` have the same
rows, seconds with fractions, and rows of a frame without boxes; AVA v1 has no persons.)

Boxes are corners as **fractions of width and height** (``unit = relative``). **A row is one action
of one person**: a person who does three things has three rows with one box and one person; each is
an annotation, so that all come back as they were. A person is a track (its id in the source is
kept), unique within its video only. A sample is a frame, its ``order`` the second; videos are
groups. An excluded timestamp is a sample with the attribute ``excluded``: no negative, but a frame
that does not count. Where both lists of actions are there, ``scored`` says which actions the
evaluation counts.

**Results** have a score for the person. A file is taken for one where its last field holds numbers
that are not whole; ``--scores`` says so otherwise. ``--actions`` names a list of actions elsewhere.

Written are one file for each split, persons by their ids in the source where all rows have one that
is a number (else numbered), corners with the fewest digits that give the width back; with
``--scores`` scores instead of persons. What files cannot say is in ``granum.json``.

Spec: https://research.google.com/ava/download.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import FormatError
from granum.loaders._ava_read import (
    STAMP,
    Boxes,
    ordered_files,
    read_actions,
    read_boxes,
    row_table,
)
from granum.loaders._ava_write import FOLDER, PersonPlan, file_names, frame_stamps, write_files
from granum.loaders._clips import held, noted_clips, told_by_files
from granum.loaders._columns import constant
from granum.loaders._csv import first_record
from granum.loaders._image_tree import is_image
from granum.loaders._notes import Notes, read_notes, take_tables, write_notes
from granum.loaders._paths import is_file, names_in, unique_paths
from granum.loaders._units import in_unit
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows, tables
from granum.schema.tables import column
from granum.store.builder import Incoming
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["Ava"]

_FILE = re.compile(
    r"(?:ava|kinetics)_(?P<split>.+?)(?P<excluded>_excluded_timestamps)?_v\d[\w.]*?\.csv"
)
_LIST = re.compile(r".+\.pbtxt")
_NOBODY = "default"
"""In the place of a split, where there is none."""


@formats("ava")
class Ava(Format):
    """Reads and writes AVA's CSV files."""

    name = "ava"
    title = "AVA (actions of people, a frame a second)"
    spec = "https://research.google.com/ava/download.html"
    keeps = frozenset(
        {
            *("sample", "object", "category", "bbox", "track", "score", "split", "group", "time"),
            *("geo", "attributes", "space", "supercategory", "parents", "isthing", "colour"),
            *("skeleton", "synonyms"),
        }
    )
    tolerance = {"bbox": 1e-6}  # noqa: RUF012  (fractions, and the far corner and back)
    ordered = True
    media_note = "rows only: put the frames beside them with --media copy|link|hardlink"
    checked = "fixture"

    def __init__(self) -> None:
        self._planned: tuple[Dataset, bool, PersonPlan] | None = None

    def sniff(self, root: Path) -> str | None:
        if root.suffix == ".csv":
            folder, names = root.parent, [root.name]
        else:
            folder = _folder(root)
            names = names_in(folder)
        for name in names:
            if _FILE.fullmatch(name) and _looks_like_rows(folder / name):
                return f"{name}: video, second, box, action"
        return None

    # ------------------------------------------------------------------ reading

    def read(
        self,
        root: Path,
        intake: Intake,
        *,
        actions: str | None = None,
        scores: bool | None = None,
    ) -> Iterator[Incoming]:
        """Read a tree, its folder of annotations, or one file.

        Args:
            root: a folder or a CSV file.
            intake: gets groups, categories and faults.
            actions: the list of actions, where it is not beside the files.
            scores: whether the last field is a score; by its values where not given.

        Raises:
            FormatError: there is no such file.
        """
        folder = root.parent if root.is_file() else _folder(root)
        names = [root.name] if root.is_file() else ordered_files(names_in(folder, 10**6), _FILE)
        base = root if root.is_dir() and folder != root else folder
        intake.media_root = intake.images or base
        notes = read_notes(root, self.name) if root.is_dir() else None
        if notes is not None:
            yield _noted(root, notes, intake)
            return
        if not names:
            raise FormatError(root, "no ava_SPLIT_vX.csv in it, nor in annotations/")
        category_of = _categories(folder, actions, intake)
        found = [read_boxes(folder / n, n, intake, category_of) for n in names]
        intake.locate = _locate(found)
        yield _incoming(found, names, scores, intake)

    # ------------------------------------------------------------------ writing

    def _plan(self, dataset: Dataset, scores: bool) -> PersonPlan:
        """Made once for a dataset."""
        known = self._planned
        if known is None or known[0] is not dataset or known[1] != scores:
            known = self._planned = dataset, scores, PersonPlan.of(dataset, scores)
        return known[2]

    def project(self, batch: Batch, dataset: Dataset, *, scores: bool = False) -> Batch:
        return self._plan(dataset, scores).project(in_unit(batch, dataset, "relative"), self.keeps)

    def project_categories(self, categories: pa.Table) -> pa.Table:
        return categories

    def write(self, dataset: Dataset, out: Out, *, scores: bool = False) -> None:
        """Write the rows of each split, excluded timestamps, and the list of actions.

        Args:
            dataset: what to write.
            out: where to.
            scores: write scores in the place of persons, as results have them.
        """
        dataset = held(dataset)
        plan = self._plan(dataset, scores)
        write_files(dataset, out, plan)
        if not plan.plain or not told_by_files(self, out.root, dataset):
            has_media = column(dataset.samples(["media"]), "media").is_valid().to_pylist()
            paths = [p if m else None for p, m in zip(_paths(dataset), has_media, strict=True)]
            write_notes(out, self.name, dataset, paths, self.keeps, more=plan.notes())

    def image_names(self, dataset: Dataset) -> Iterator[Sequence[str]]:
        yield _paths(dataset)


def _paths(dataset: Dataset) -> list[str]:
    return unique_paths(dataset.samples(["key"])["key"].to_pylist(), "frames")


def _folder(root: Path) -> Path:
    """Where the files lie."""
    below = root / FOLDER
    return below if any(map(_FILE.fullmatch, names_in(below))) else root


def _looks_like_rows(path: Path) -> bool:
    try:
        record = first_record(path)
    except (OSError, ValueError):
        return False
    if len(record) not in (2, 7, 8) or not re.fullmatch(STAMP, record[1]):
        return not record and is_file(path) and not path.stat().st_size
    return all(re.fullmatch(r"[\d.eE+-]*", v) for v in record[2:])


def _categories(folder: Path, actions: str | None, intake: Intake) -> dict[int, int]:
    """Hand the actions to the intake; the row of each number."""
    paths = (
        [Path(actions)] if actions else [folder / n for n in names_in(folder) if _LIST.fullmatch(n)]
    )
    # The longer list is that of all actions.
    lists = [(list(read_actions(p, p.name, intake)), p.name) for p in paths]
    lists.sort(key=lambda found: -len(found[0]))
    if not lists:
        place = "actions are numbers; name them with --actions"
        intake.fault("missing-categories", folder.name, None, place)
        return {}
    scored = {number for number, *_ in lists[1][0]} if len(lists) > 1 else None
    found: dict[int, int] = {}
    for number, name, kind in lists[0][0]:
        attributes = None if scored is None else {"scored": number in scored}
        one = rows.Category(name, "action", str(number), kind, attributes=attributes)
        found[number] = intake.add_category(one)
    return found


def _locate(found: Sequence[Boxes]) -> Any:
    """File and line of an annotation."""
    by_origin = {f.origin: f for f in found}

    def place(annotation: rows.Annotation, key: str) -> tuple[str, str]:
        if not annotation.origins or not annotation.ordinal:
            return key, "?"
        file = by_origin[annotation.origins[0]]
        return file.name, file.place(annotation.ordinal[0])

    return place


def _incoming(
    found: Sequence[Boxes], names: Sequence[str], scores: bool | None, intake: Intake
) -> Incoming:
    """All rows of foreign files: samples in the order in which files name them."""
    video = pa.concat_arrays([f.video for f in found]).dictionary_encode()
    stamp = pa.concat_arrays([f.stamp for f in found])
    keys = pc.binary_join_element_wise(video.cast(pa.string()), stamp, "/").dictionary_encode()
    sample = np.asarray(keys.indices, np.int64)
    count = len(keys.dictionary)
    first = np.full(count, len(sample), np.int64)
    np.minimum.at(first, sample, np.arange(len(sample)))
    file = np.repeat(np.arange(len(found)), [len(f) for f in found])
    intake.groups += [rows.Group(v, "video") for v in video.dictionary.to_pylist()]
    splits, excluded = [], []
    for name in names:
        matched = _FILE.fullmatch(name)
        split = None if matched is None else matched["split"]
        splits.append(None if split == _NOBODY else split)
        excluded.append(matched is not None and matched["excluded"] is not None)
    split_of = np.array([splits.index(s) for s in splits], np.int64)[file]
    for row in np.flatnonzero(split_of != split_of[first[sample]]).tolist():
        where, at = found[file[row]], row - int(np.searchsorted(file, file[row]))
        message = f"{keys.dictionary[int(sample[row])].as_py()} is in another split as well"
        intake.fault("conflicting-records", where.name, where.place(at), message)
    skipped = np.zeros(count, bool)
    skipped[sample[np.array(excluded, bool)[file]]] = True
    stamps = stamp.take(pa.array(first))
    seconds = np.asarray(stamps.cast(pa.float64()))
    group = pa.array(np.asarray(video.indices, np.int64)[first])
    videos = video.dictionary.take(group)
    out = {
        "key": keys.dictionary,
        "media_kind": constant("frame", count),
        "unit": constant("relative", count),
        "group": group,
        "order": pa.array(seconds.astype(np.int64), mask=seconds != np.floor(seconds)),
        "split": pa.array(splits, pa.string()).take(pa.array(split_of[first])),
        "media": _media(intake, videos, seconds, video.dictionary, group),
        "attr.excluded": pa.array(skipped, mask=~skipped),
    }
    samples = tables.strip_null_columns(tables.conform(pa.table(out), tables.SAMPLES))
    if scores is None:
        scores = any(f.scored() for f in found)
    track = None if scores else _persons(found)
    begins = np.searchsorted(file, np.arange(len(found) + 1))
    pieces = []
    for i, one in enumerate(found):
        begin, end = int(begins[i]), int(begins[i + 1])
        part = None if track is None else track[begin:end]
        pieces.append(row_table(one, sample[begin:end], part, True, scores, intake))
    table = pa.concat_tables(pieces, promote_options="default")
    return Incoming(samples, {tables.DEFAULT_LAYER: tables.strip_null_columns(table)})


def _persons(found: Sequence[Boxes]) -> pa.Array:
    """The track of each row: persons are told apart within their videos."""
    video = pa.concat_arrays([f.video for f in found])
    last = pa.concat_arrays([f.last for f in found])
    codes = pc.binary_join_element_wise(video, last, "\n").dictionary_encode().indices
    return codes.cast(pa.int64())


def _media(
    intake: Intake,
    videos: pa.Array,
    seconds: npt.NDArray[np.float64],
    names: pa.Array,
    group: pa.Array,
) -> pa.Array:
    """Paths of frames that were extracted by second, where there are any."""
    kind = tables.SAMPLES.field("media").type
    root = intake.media_root or Path()
    for number, video in enumerate(names.to_pylist()[:20]):
        files = [n for n in names_in(root / "frames" / video, 10**6) if is_image(n)]
        found = re.fullmatch(re.escape(video) + r"_(\d+)(\.\w+)", files[0]) if files else None
        if found is None:
            continue
        if len(files) > 2 * int(pc.sum(pc.equal(group, number)).as_py()) + 2:
            message = "more frames than seconds: they are not numbered by second"
            intake.fault("file-not-read", f"frames/{video}", None, message)
            return pa.nulls(len(videos), kind)
        whole = pa.array(seconds.astype(np.int64)).cast(pa.string())
        digits = pc.utf8_lpad(whole, len(found[1]), "0")
        file = pc.binary_join_element_wise(
            pc.binary_join_element_wise(videos, digits, "_"), found[2], ""
        )
        paths = pc.binary_join_element_wise("frames", videos, file, "/")
        media = pa.StructArray.from_arrays(
            [paths, pa.nulls(len(videos), pa.binary())], fields=[*kind]
        )
        return media
    return pa.nulls(len(videos), kind)


def _noted(root: Path, notes: Notes, intake: Intake) -> Incoming:
    """A tree that we wrote: samples as noted, rows put on them.

    Raises:
        FormatError: the notes do not fit the files.
    """
    take_tables(notes, intake)
    clips = noted_clips(notes, 0)
    stamps = frame_stamps([s.key for s in notes.samples], clips)
    names = [clips.names[v] for v in clips.video.tolist()]
    places = {place: i for i, place in enumerate(zip(names, stamps, strict=True))}
    try:
        numbers = {int(n): i for i, n in enumerate(notes.more["actions"])}
        scores, invented = bool(notes.more["scores"]), bool(notes.more["invented"])
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(root, f"damaged notes of a granum export: {error!r}") from error
    found, pieces = [], []
    for name in dict.fromkeys(file_names([s.split for s in notes.samples]).values()):
        path = root / FOLDER / name
        if not path.is_file():
            intake.fault("missing-labels", f"{FOLDER}/{name}", None, "the rows of a split are gone")
            continue
        one = read_boxes(path, name, intake, numbers)
        found.append(one)
        at = zip(one.video.to_pylist(), one.stamp.to_pylist(), strict=True)
        sample = np.array([places.get(p, -1) for p in at], np.int64)
        for row in np.flatnonzero(sample < 0).tolist():
            message = "a frame that granum.json does not note"
            intake.fault("orphan-image", name, one.place(row), message)
        pieces.append((one, sample))
    intake.locate = _locate(found)
    track: pa.Array | None = None
    if not scores and found:
        track = _numbered(found) if invented else _persons(found)
    tables_, begin = [], 0
    for one, sample in pieces:
        part = None if track is None else track[begin : begin + len(one)]
        tables_.append(row_table(one, sample, part, not invented, scores, intake))
        begin += len(one)
    layers = {}
    if tables_:
        layers[tables.DEFAULT_LAYER] = pa.concat_tables(tables_, promote_options="default")
    return Incoming(rows.samples_to_table(notes.samples), layers)


def _numbered(found: Sequence[Boxes]) -> pa.Array:
    """Persons whose numbers are the tracks themselves."""
    last = pa.concat_arrays([f.last for f in found])
    whole = pc.fill_null(pc.match_substring_regex(last, r"^\d{1,18}$"), False)
    return pc.if_else(whole, last, pa.scalar(None, pa.string())).cast(pa.int64())
