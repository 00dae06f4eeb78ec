"""Reading videos whose annotations are tracks with a mask per frame."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from granum.errors import FormatError
from granum.loaders._notes import Notes, take_tables
from granum.loaders._paths import names_in
from granum.loaders._ytvis_records import Reader, Rows, Tubes, Video, as_key, decoded
from granum.loaders.base import Intake
from granum.loaders.coco import has_videos
from granum.loaders.coco.categories import CategoryRows, read_categories
from granum.loaders.coco.read import ends
from granum.loaders.coco.scan import JsonFile
from granum.schema import rows, tables
from granum.store.builder import Incoming

__all__ = ["find_files", "locate", "read_noted", "read_videos"]

_VIDEO = frozenset({"id", "width", "height", "length", "file_names"})
_SPLITS = ("train", "valid", "val", "test")
_HIGHEST = 1 << 53


def find_files(root: Path) -> list[Path]:
    """The files of a path: itself, or those of its folder, of ``annotations``, of a folder for
    each split."""
    if root.is_file():
        return [root]
    found: list[Path] = []
    for folder in (root, root / "annotations", *(root / s for s in _SPLITS)):
        for name in names_in(folder):
            path = folder / name
            if name.endswith(".json") and path.is_file() and has_videos(b"".join(ends(path))):
                found.append(path)
    return found


# ---------------------------------------------------------------------- other origins


def read_videos(root: Path, intake: Intake, results: Iterable[Path]) -> Iterator[Incoming]:
    """Files of another origin; results become layers.

    Raises:
        FormatError: there is no such file.
    """
    paths = find_files(root)
    if not paths:
        raise FormatError(root, "no JSON of videos below it")
    home = root if root.is_dir() else root.parent
    reader = Reader(intake)
    by_name: dict[str, list[int]] = {}
    known: tuple[dict[Any, Video], dict[Any, int]] = ({}, {})
    for path in paths:
        name = path.relative_to(home).as_posix()
        file = JsonFile.open(path, name, intake.findings)
        origin = len(intake.sources)
        if "" in file.spans:
            intake.source(name, "ytvis", options={"results": True})
            _alone(file, reader, origin)
            continue
        prefix, split = _place(home, path, file)
        intake.source(name, "ytvis", options={"prefix": prefix, "split": split})
        videos = _videos(file, reader, prefix, split, origin)
        listed = read_categories(file, intake, by_name)
        at = dict(zip(map(as_key, listed.ids), listed.rows, strict=True))
        reader.records(file, "annotations", origin, videos, at, Tubes())
        _note_source(file, listed, intake.sources[origin])
        known = ({**videos, **known[0]}, {**at, **known[1]})
    layers = {tables.DEFAULT_LAYER: reader.rows.table()}
    for path in results:
        file = JsonFile.open(path, path.name, intake.findings)
        if "" not in file.spans:
            raise FormatError(path, "a result file is a list of records")
        reader.rows, origin = Rows(), len(intake.sources)
        intake.source(path.name, "ytvis", options={"results": True})
        reader.records(file, "", origin, *known, Tubes())
        layers[path.stem] = reader.rows.table()
        intake.layers[path.stem] = {"producer": path.name}
    yield Incoming(rows.samples_to_table(reader.samples), layers)


def _place(home: Path, path: Path, file: JsonFile) -> tuple[str, str | None]:
    """The folder of the images of a file, as a prefix of their names, and its split."""
    words = path.stem.replace("-", "_").split("_")
    split = next((s for s in _SPLITS if s in words), None)
    if path.parent != home and path.parent.name in _SPLITS:
        split = path.parent.name
    first = b"".join(ends(path, 1 << 20))
    at = first.find(b'"file_names"')
    name = first[first.find(b'"', at + 13) + 1 :].partition(b'"')[0].decode(errors="replace")
    below = path.parent.relative_to(home).as_posix()
    folders = [f"{below}/JPEGImages", below, f"{split}/JPEGImages", str(split), "JPEGImages", "."]
    for folder in folders:
        folder = folder.removeprefix("./") if folder != "." else folder
        try:
            if (home / folder / name).is_file():
                return ("" if folder == "." else f"{folder}/"), split
        except (OSError, ValueError):
            break
    return ("" if below in (".", "annotations") else f"{below}/"), split


def _videos(
    file: JsonFile, reader: Reader, prefix: str, split: str | None, origin: int
) -> dict[Any, Video]:
    """The videos of a file by id; their frames become samples."""
    out: dict[Any, Video] = {}
    intake = reader.intake
    keys = {s.key for s in reader.samples}
    groups = {g.key for g in intake.groups}
    raw = file.raw("videos")
    listed = decoded(raw) if raw is not None else []
    for number, record in enumerate(listed if isinstance(listed, list) else []):
        place = f"/videos/{number}"
        names = record.get("file_names") if isinstance(record, dict) else None
        fits = isinstance(names, list) and all(isinstance(n, str) for n in names)
        if not fits or names is None or as_key(record.get("id")) is None:
            intake.fault("missing-key", file.name, place, "a video needs an id and file_names")
            continue
        if record["id"] in out:
            message = f"id {record['id']!r} is taken"
            intake.fault("duplicate-image-id", file.name, f"{place}/id", message)
            continue
        size = []
        for key in ("width", "height", "length"):
            value = record.get(key)
            if value is not None and not (type(value) is int and 0 <= value < 1 << 31):
                intake.fault("bad-value", file.name, f"{place}/{key}", f"{value!r:.60}")
                value = None
            size.append(value or None if key != "length" else value)
        width, height, length = size
        folders = {n.rpartition("/")[0] for n in names}
        title = folders.pop() if len(folders) == 1 and folders != {""} else f"video {record['id']}"
        key = f"{prefix}{title}"
        while key in groups:
            key += "'"
        groups.add(key)
        extra = {k: v for k, v in record.items() if k not in _VIDEO}
        group = rows.Group(
            key, "video", str(record["id"]), None, width, height, length, extra=extra or None
        )
        video = Video([], len(intake.groups), (width, height, length))
        intake.groups.append(group)
        for frame, name in enumerate(names):
            one = rows.Sample(
                f"{prefix}{name}", rows.Media(f"{prefix}{name}"), width, height, "frame",
                group=video.group, order=frame, split=split, origins=[origin],
            )  # fmt: skip
            if one.key in keys:
                message = f"{one.key!r} is a frame of another video or place"
                where = f"{place}/file_names/{frame}"
                intake.findings.add("duplicate-key", file.name, where, message)
                n = 2
                while f"{one.key}#{n}" in keys:
                    n += 1
                one.key = f"{one.key}#{n}"
            keys.add(one.key)
            video.frames.append(len(reader.samples))
            reader.samples.append(one)
        out[record["id"]] = video
    return out


def _alone(file: JsonFile, reader: Reader, origin: int) -> None:
    """Results without their videos: frames are known by video and number only."""
    videos: dict[Any, Video] = {}
    categories: dict[Any, int] = {}
    for _, text in file.records(""):
        for record in decoded(text):
            if not isinstance(record, dict):
                continue
            id_, listed = as_key(record.get("video_id")), record.get("segmentations")
            class_ = as_key(record.get("category_id"))
            if class_ is not None and class_ not in categories:
                one = rows.Category(str(class_), source_id=str(class_))
                categories[class_] = reader.intake.add_category(one)
            if id_ is None or id_ in videos or not isinstance(listed, list):
                continue
            group = rows.Group(str(id_), "video", str(id_), frames=len(listed))
            videos[id_] = Video([], len(reader.intake.groups), (None, None, len(listed)))
            reader.intake.groups.append(group)
            for frame in range(len(listed)):
                videos[id_].frames.append(len(reader.samples))
                reader.samples.append(
                    rows.Sample(
                        f"{id_}/{frame:05d}",
                        media_kind="frame",
                        group=videos[id_].group,
                        order=frame,
                        origins=[origin],
                    )
                )
    reader.records(file, "", origin, videos, categories, Tubes())


def _note_source(file: JsonFile, categories: CategoryRows, source: rows.Source) -> None:
    kept = {"videos", "annotations", "categories"}
    top = {k: json.loads(file.raw(k) or b"null") for k in file.spans if k not in kept}
    source.top = {"keys": list(file.spans), "values": top}
    source.categories = [list(r) for r in categories.records]


def locate(intake: Intake) -> Any:
    """File and record of an annotation."""

    def place(annotation: rows.Annotation, key: str) -> tuple[str, str]:
        source = intake.sources[annotation.origins[0]] if annotation.origins else None
        if source is None or not annotation.ordinal:
            return key, "?"
        pointer = "" if (source.options or {}).get("results") else "/annotations"
        return source.path, f"{pointer}/{annotation.ordinal[0]}"

    return place


# ---------------------------------------------------------------------- our own trees


def read_noted(root: Path, notes: Notes, intake: Intake) -> Iterator[Incoming]:
    """A tree that ``_ytvis_write`` wrote.

    Raises:
        FormatError: its notes do not fit it.
    """
    take_tables(notes, intake)
    reader, n = Reader(intake, notes.samples), len(notes.samples)
    try:
        categories = {as_key(v): i for i, v in enumerate(notes.more["categories"])}
        frame_scores = bool(notes.more["frame_scores"])
        unstated = frozenset(notes.more["unstated"])
        files = [_noted_file(entry, n, len(notes.groups)) for entry in notes.more["files"]]
    except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
        raise FormatError(root / "granum.json", f"damaged notes: {error!r}") from error
    if any(i >= len(notes.categories) for i in categories.values()):
        raise FormatError(root / "granum.json", "damaged notes: too many categories")
    for name, videos, tracks, bare in files:
        path = root / name
        if not path.is_file():
            intake.fault("missing-labels", name, None, "the file is gone")
            continue
        file = JsonFile.open(path, name, intake.findings)
        tubes = Tubes(tracks, bare, frame_scores, unstated)
        given = [t for t, _ in tracks if t is not None]
        reader.tracks = max([reader.tracks, *(t + 1 for t in given)])
        key = "" if "" in file.spans else "annotations"
        origin = intake.source(name, "ytvis", options={"results": not key})
        reader.records(file, key, origin, videos, categories, tubes)
    table = reader.rows.table()
    yield Incoming(rows.samples_to_table(notes.samples), {tables.DEFAULT_LAYER: table})


def _noted_file(
    entry: Mapping[str, Any], samples: int, groups: int
) -> tuple[str, dict[Any, Video], list[tuple[int | None, str | None]], frozenset[int]]:
    videos = {}
    for id_, group, frames, size in entry["videos"]:
        inside = all(type(f) is int and 0 <= f < samples for f in frames)
        if not inside or not (group is None or 0 <= group < groups):
            raise ValueError("a video of frames that are not there")
        videos[as_key(id_)] = Video(list(frames), group, tuple(size))
    tracks = []
    for track, source in entry["tracks"]:
        if track is not None and not (type(track) is int and abs(track) < _HIGHEST):
            raise ValueError("a track number out of range")
        tracks.append((track, None if source is None else str(source)))
    return str(entry["name"]), videos, tracks, frozenset(map(int, entry["bare"]))
