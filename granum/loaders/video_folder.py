"""Videos in class folders, or with the lists of Kinetics (read only; no decoder is needed).

::

    abseiling/0347ZoDXyP0_000095_000105.mp4        a class for each folder
    train/abseiling/….mp4   val/…                  splits as folders (also videos_train/…)

    train.csv  val.csv  test.csv                   label,youtube_id,time_start,time_end,split
    train.json  …                                  {"ID": {"annotations": {"label": …,
                                                   "segment": [0.0, 10.0]}, "subset": "train"}}
    train/0347ZoDXyP0_000095_000105.mp4            anywhere below the root, or absent

A video is a group (of kind ``video``) with the path of its file as ``media``; it has no samples,
since no frame is annotated, and its class is an annotation of kind ``label`` on the group. Its
split, and the seconds of the original that it shows, are attributes of the group.

Without lists the first folder, below folders of splits or of videos, is the class; a video beside
such folders has none. With lists a row is a video, found by ``ID_START_END`` (six digits each) or
by ``ID``; rows without a file are kept and told, files without a row are told. A list may have no
column ``label`` (the test set).

Spec: https://github.com/cvdfoundation/kinetics-dataset
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._columns import constant
from granum.loaders._csv import CsvFile, first_record
from granum.loaders._hf_files import known_split
from granum.loaders._paths import entries_below, names_in, split_suffix
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows, tables
from granum.store.builder import Incoming

__all__ = ["SUFFIXES", "VideoFolder"]

SUFFIXES = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv")
"""Of videos, in lower case."""

_CONTAINERS = frozenset({"videos", "video", "clips", "data"})
_OF_SPLIT = re.compile(r"(?:videos?|clips?)[_-](\w+)", re.IGNORECASE)
_HARMLESS = (".md", ".rst", ".html", ".ds_store", "license", "readme", "readme.txt", "license.txt")
_LOOKS = 300
_COLUMNS = ("youtube_id", "time_start", "time_end")


@formats("video_folder")
class VideoFolder(Format):
    """Reads trees of videos and lists of Kinetics."""

    name = "video_folder"
    title = "Videos in class folders, or listed (Kinetics)"
    spec = "https://github.com/cvdfoundation/kinetics-dataset"
    keeps = frozenset({"label", "category", "group", "space", "attributes"})
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        listed = next((n for n in names_in(root) if _is_list(root / n)), None)
        if listed is not None:
            return f"{listed}: videos by id, with start and end"
        return _only_videos(root)

    def read(self, root: Path, intake: Intake) -> Iterator[Incoming]:
        """Read a folder.

        Raises:
            FormatError: there is no video and no list.
        """
        if not root.is_dir():
            raise FormatError(root, "a tree of videos is a folder")
        intake.media_root = root
        videos, others = _walk(root)
        lists = [n for n in names_in(root, 10**7) if _is_list(root / n)]
        if not videos and not lists:
            raise FormatError(root, "no video in it, and no list of videos")
        labels = _listed(root, lists, videos, intake) if lists else _foldered(videos, intake)
        for path in others:
            if path not in lists:
                intake.fault("file-not-read", path, None, "neither a video nor a list of videos")
        yield Incoming(rows.samples_to_table([]), {tables.DEFAULT_LAYER: _label_rows(labels)})


def _is_video(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _is_text(path: str) -> bool:
    """Whether a path can be stored: file systems allow names that are no UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _walk(root: Path) -> tuple[list[str], list[str]]:
    """Paths of videos, and of other files that may matter; both sorted."""
    videos, others = [], []
    for folder, below, files in os.walk(root):
        below[:] = sorted(n for n in below if not n.startswith("."))
        relative = Path(folder).relative_to(root).as_posix()
        before = "" if relative == "." else f"{relative}/"
        for name in files:
            if not _is_text(before + name):
                others.append((before + name).encode("utf-8", "backslashreplace").decode())
            elif _is_video(name):
                videos.append(before + name)
            elif not name.startswith(".") and not name.lower().endswith(_HARMLESS):
                others.append(before + name)
    return sorted(videos), sorted(others)


def _only_videos(root: Path) -> str | None:
    """Why a folder looks like one of videos: all files that a short look finds are."""
    found = ""
    for entry in islice(entries_below(root), _LOOKS):
        if entry.is_dir(follow_symlinks=False):
            continue
        if _is_video(entry.name):
            found = found or entry.name
        elif not entry.name.lower().endswith(_HARMLESS):
            return None
    return f"{found}: a video, and no other files" if found else None


# ---------------------------------------------------------------------- folders


def _split_of(folder: str) -> str | None:
    """The split that a folder's name says."""
    if known_split(folder):
        return folder
    found = _OF_SPLIT.fullmatch(folder)
    return found[1] if found and known_split(found[1]) else None


def _foldered(videos: list[str], intake: Intake) -> list[int]:
    """Groups of a tree; the category of each, -1 where it has none."""
    out, names = [], []
    for path in videos:
        folders = path.split("/")[:-1]
        while folders and folders[0].lower() in _CONTAINERS:
            folders = folders[1:]
        split = _split_of(folders[0]) if folders else None
        if split is not None:
            folders = folders[1:]
        while folders and folders[0].lower() in _CONTAINERS:
            folders = folders[1:]
        names.append(folders[0] if folders else None)
        group = rows.Group(path, "video", media=rows.Media(path=path))
        group.attributes = None if split is None else {"split": split}
        intake.groups.append(group)
    known = {n: intake.category(n, "action") for n in sorted({n for n in names if n is not None})}
    for name in names:
        out.append(-1 if name is None else known[name])
    return out


# ---------------------------------------------------------------------- lists


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a list; ``place`` is where it stands."""

    place: str
    id: str
    start: float | None
    end: float | None
    label: str | None
    split: str | None

    def name(self) -> str:
        """``ID_START_END``, as files are called."""
        if self.start is None or self.end is None:
            return self.id
        return f"{self.id}_{int(self.start):06d}_{int(self.end):06d}"


def _is_list(path: Path) -> bool:
    """Whether a file is a list of videos; looks at its beginning."""
    try:
        if path.suffix == ".csv":
            return {*_COLUMNS} <= {*first_record(path)}
        if path.suffix == ".json":
            with path.open("rb") as file:
                head = file.read(4096)
            return b'"subset"' in head and (b'"segment"' in head or b'"duration"' in head)
    except (OSError, ValueError):
        return False
    return False


def _listed(root: Path, lists: list[str], videos: list[str], intake: Intake) -> list[int]:
    """Groups of all lists; the category of each."""
    by_stem: dict[str, list[str]] = {}
    for path in videos:
        by_stem.setdefault(split_suffix(path.rpartition("/")[2])[0], []).append(path)
    out, used, keys = [], set[str](), set[str]()
    for name in lists:
        intake.source(name, "video_folder")
        read = _csv_rows if name.endswith(".csv") else _json_rows
        absent = 0
        first: _Row | None = None
        for row in read(root / name, name, intake):
            found = by_stem.get(row.name()) or by_stem.get(row.id) or []
            own = [p for p in found if _split_of(p.partition("/")[0]) == row.split]
            file = next(iter(own or found), None)
            if file is None:
                first, absent = first or row, absent + 1
            else:
                used.add(file)
            key, n = row.name(), 1
            if key in keys:
                intake.fault("duplicate-key", name, row.place, f"{key} was listed before")
                if intake.on_error == "skip":
                    continue
                while key in keys:
                    n += 1
                    key = f"{row.name()}#{n}"
            keys.add(key)
            intake.groups.append(_group(key, row, file))
            out.append(-1 if row.label is None else intake.category(row.label, "action"))
        if first is not None:
            message = f"{absent} listed videos have no file (first: {first.name()})"
            intake.findings.add("missing-video", name, first.place, message, absent)
    for path in videos:
        if path not in used:
            intake.fault("unlisted-image", path, None, "a video that no list names")
    return out


def _group(key: str, row: _Row, path: str | None) -> rows.Group:
    facts = {"split": row.split, "time_start": row.start, "time_end": row.end}
    attributes: dict[str, Any] = {k: v for k, v in facts.items() if v is not None}
    media = None if path is None else rows.Media(path=path)
    return rows.Group(key, "video", row.id, media, attributes=attributes or None)


def _csv_rows(path: Path, name: str, intake: Intake) -> Iterator[_Row]:
    types = {"label": pa.string(), "youtube_id": pa.string(), "split": pa.string()}
    types |= {"time_start": pa.float64(), "time_end": pa.float64()}
    stem = split_suffix(name)[0]
    for block in CsvFile(path, name).blocks(types, intake):
        columns = {n: block.table[n].to_pylist() for n in block.table.column_names}
        none: list[Any] = [None] * block.table.num_rows
        values = [columns.get(n, none) for n in (*_COLUMNS, "label", "split")]
        for i, (own, start, end, label, split) in enumerate(zip(*values, strict=True)):
            place = f"row {block.numbers[i] + 1}"
            if own is None or not _fits(start) or not _fits(end):
                message = f"no id, or no seconds: {own}, {start}, {end}"
                intake.fault("bad-value", name, f"line {block.line(i)}", message)
                continue
            if split is None and known_split(stem):
                split = stem
            yield _Row(place, own, start, end, label, split)


def _fits(seconds: Any) -> bool:
    return seconds is None or 0 <= seconds < 10**6


def _json_rows(path: Path, name: str, intake: Intake) -> Iterator[_Row]:
    """Raises FormatError where it is no such JSON."""
    try:
        found = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise FormatError(name, f"no JSON that can be read: {error}") from error
    if not isinstance(found, dict):
        raise FormatError(name, "no object of videos by id")
    for own, facts in found.items():
        place = f"/{own.replace('~', '~0').replace('/', '~1')}"
        if not isinstance(facts, dict):
            intake.fault("bad-value", name, place, "a video that is no object")
            continue
        noted = facts.get("annotations") or {}
        label = noted.get("label") if isinstance(noted, dict) else noted
        segment = noted.get("segment") if isinstance(noted, dict) else None
        split = facts.get("subset")
        start, end = segment if isinstance(segment, list) and len(segment) == 2 else (None, None)
        numbers = all(v is None or (_is_number(v) and _fits(v)) for v in (start, end))
        texts = all(v is None or isinstance(v, str) for v in (label, split))
        if not numbers or not texts:
            message = "a label or subset that is no text, or a segment that is no two seconds"
            intake.fault("bad-value", name, place, message)
            continue
        yield _Row(place, own, start, end, label, split)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _label_rows(labels: list[int]) -> pa.Table:
    """A label on each group that has one."""
    category = np.array(labels, np.int64)
    group = np.flatnonzero(category >= 0)
    n = len(group)
    out = {
        "sample": pa.nulls(n, pa.int64()),
        "group": pa.array(group),
        "kind": constant("label", n),
        "category": pa.array(category[group], pa.int32()),
    }
    return tables.conform(pa.table(out), tables.ANNOTATIONS)
