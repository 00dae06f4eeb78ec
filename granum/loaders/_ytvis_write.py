"""Writing videos whose annotations are tracks with a mask per frame."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from granum.loaders._notes import write_notes
from granum.loaders._paths import Names, split_folders, unique_paths
from granum.loaders._sequences import sequences_of
from granum.loaders._ytvis_plan import Plan, Tube, Video, plan_of
from granum.loaders._ytvis_records import LISTS
from granum.loaders.base import image_name
from granum.loaders.coco.fragments import ids_as_json
from granum.loaders.coco.fresh import Ids, category_record
from granum.schema import geometry, rows
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.out import Out

__all__ = ["image_paths", "write_videos"]

NOTED = {"split", "group", "time", "geo", "attributes"}
_SIZES = ("width", "height", "length")


@dataclass
class _Target:
    """A file to write: its videos and records, by number."""

    name: str
    prefix: str = ""
    top: Mapping[str, Any] | None = None
    categories: list[tuple[int | None, Any]] = field(default_factory=list)
    videos: list[int] = field(default_factory=list)


def _sources(dataset: Dataset) -> dict[int, rows.Source]:
    """The files that the dataset was read from, by number."""
    listed: list[rows.Source] = rows.sources_from_table(dataset.sources)
    return {i: s for i, s in enumerate(listed) if s.format == "ytvis" and s.top is not None}


def image_paths(dataset: Dataset) -> list[str]:
    """Where the image of each sample goes: where it was, or ``JPEGImages/VIDEO/00000.jpg`` of its
    split."""
    plan, sequences = plan_of(dataset), sequences_of(dataset, 0)
    known = _sources(dataset)
    table = dataset.samples(["key", "origins"])
    keys, origins = table["key"].to_pylist(), column(table, "origins").to_pylist()
    homes = split_folders(sequences.splits)
    videos = plan.videos[: len(sequences.folders)]
    below = [f"{homes[v.split]}/JPEGImages".lstrip("/") for v in videos]
    folders = unique_paths([v.key for v in videos], below)
    out = [""] * len(keys)
    for number, video in enumerate(videos):
        for frame, sample in enumerate(video.samples):
            if origins[sample] and origins[sample][0] in known:
                out[sample] = image_name(keys[sample])
            else:
                suffix = sequences.suffixes[sample]
                out[sample] = f"{folders[number]}/{frame:05d}{suffix}"
    return unique_paths(out)


def write_videos(dataset: Dataset, out: Out, results: bool) -> None:
    """Write all files and the notes; ``results``: one list of records instead."""
    plan, paths = plan_of(dataset), image_paths(dataset)
    groups: list[rows.Group] = rows.groups_from_table(dataset.groups)
    listed: list[rows.Category] = rows.categories_from_table(dataset.categories)
    texts = ids_as_json(_array(Ids(dataset).categories)).to_pylist()
    categories = [json.loads(t) for t in texts]
    targets = _targets(dataset, plan, results)
    content = _Content(dataset, plan)
    files = []
    for target in targets:
        own = {row: r["id"] for row, r in target.categories if row is not None}
        ids = [own.get(i, c) for i, c in enumerate(categories)]
        video_ids = _video_ids(target.videos, plan.videos, groups)
        tubes = [i for i, t in enumerate(plan.tubes) if t.video in video_ids]
        writer = _Writer(target, plan, content, video_ids, ids, results)
        with out.open(target.name) as file:
            if results:
                writer.items(file, writer.records(tubes))
            else:
                writer.document(file, listed, groups, paths, tubes)
        files.append(
            {
                "name": target.name,
                "videos": [
                    [video_ids[v], plan.videos[v].group, plan.videos[v].samples,
                     plan.videos[v].size]
                    for v in target.videos
                ],
                "tracks": [[plan.tubes[t].track, plan.tubes[t].source] for t in tubes],
                "bare": [i for i, t in enumerate(tubes) if plan.tubes[t].own is None],
            }
        )  # fmt: skip
    more = {
        "categories": categories,
        "frame_scores": plan.frame_scores,
        "unstated": sorted(plan.unstated),
        "files": files,
    }
    write_notes(out, "ytvis", dataset, paths, NOTED, more=more)


def _array(values: list[str]) -> Any:
    import pyarrow as pa

    return pa.array(values, pa.string())


def _video_ids(numbers: list[int], videos: list[Video], groups: list[rows.Group]) -> dict[int, int]:
    """Ids of videos of a file: those of the source, where they are numbers and different."""
    given: dict[int, int | None] = {}
    for number in numbers:
        group = videos[number].group
        text = None if group is None else groups[group].source_id
        fits = text is not None and text.isascii() and text.isdigit() and len(text) < 16
        given[number] = int(text) if text is not None and fits else None
    following = max((n for n in given.values() if n is not None), default=0) + 1
    out, seen = dict[int, int](), set[int]()
    for number, id_ in given.items():
        if id_ is None or id_ in seen:
            id_, following = following, following + 1
        seen.add(id_)
        out[number] = id_
    return out


def _targets(dataset: Dataset, plan: Plan, results: bool) -> list[_Target]:
    if results:
        return [_Target("results.json", videos=list(range(len(plan.videos))))]
    known = {
        i: _Target(
            s.path,
            (s.options or {}).get("prefix", ""),
            s.top,
            [tuple(c) for c in s.categories or []],
        )
        for i, s in _sources(dataset).items()
    }
    names = Names([t.name for t in known.values()])
    homes = split_folders(v.split for v in plan.videos)
    fresh: dict[str | None, _Target] = {}
    origins = column(dataset.samples(["origins"]), "origins")
    for number, video in enumerate(plan.videos):
        first = origins[video.samples[0]].as_py() if video.samples else None
        target = known.get(first[0]) if first else None
        if target is None and not video.samples and known:
            target = next(iter(known.values()))
        if target is None:
            if video.split not in fresh:
                home = homes[video.split]
                fresh[video.split] = _Target(names(f"{home}/instances.json".lstrip("/")))
            target = fresh[video.split]
        target.videos.append(number)
    for target in known.values():
        target.videos.sort(key=lambda v: (plan.videos[v].group is None, plan.videos[v].group or 0))
    if not known and not fresh:
        return [_Target("instances.json")]
    return [*known.values(), *fresh.values()]


class _Content:
    """What stands in the lists of each record, and what its own row says."""

    def __init__(self, dataset: Dataset, plan: Plan) -> None:
        self.frames: list[dict[int, tuple[Any, Any, Any]]] = [{} for _ in plan.tubes]
        self.own: dict[int, rows.Annotation] = {}
        self.shapes = dataset.meta.shapes
        place = {s: i for video in plan.videos for i, s in enumerate(video.samples)}
        for batch in dataset.iter_batches():
            table = batch.annotations
            if not table.num_rows:
                continue
            areas = geometry.areas(table)
            for one, area in zip(rows.annotations_from_table(table), areas.tolist(), strict=True):
                assert one.annotation_id is not None
                tube = plan.of[one.annotation_id]
                if one.sample is None:
                    self.own[tube] = one
                    continue
                size = one.area if one.area is not None else None if np.isnan(area) else area
                values = (_segmentation(one), one.bbox, size)
                self.frames[tube][place[one.sample]] = values


def _segmentation(one: rows.Annotation) -> Any:
    if one.polygons is not None:
        return [part[0] for part in one.polygons]
    if one.rle is None:
        return None
    counts: Any = one.rle.counts.decode("ascii")
    if one.rle.form == "list":
        counts = geometry.rle_counts(one.rle.counts).tolist()
    return {"counts": counts, "size": list(one.rle.size)}


@dataclass
class _Writer:
    """Writes one file."""

    target: _Target
    plan: Plan
    content: _Content
    videos: dict[int, int]
    categories: list[Any]
    results: bool

    def items(self, file: IO[bytes], records: Iterable[Any]) -> None:
        file.write(b"[")
        for i, record in enumerate(records):
            text = json.dumps(record, ensure_ascii=False)
            file.write((b", " if i else b"") + text.encode("utf-8", "surrogatepass"))
        file.write(b"]")

    def document(
        self, file: IO[bytes], listed: list[rows.Category], groups: list[rows.Group],
        paths: list[str], tubes: list[int],
    ) -> None:  # fmt: skip
        top = self.target.top or {"keys": ["info", "videos", "categories", "annotations"]}
        values = top.get("values", {"info": {"description": "written by granum"}})
        keys = list(dict.fromkeys([*top["keys"], "videos", "categories", "annotations"]))
        for i, key in enumerate(keys):
            file.write(f"{', ' if i else '{'}{json.dumps(key, ensure_ascii=False)}: ".encode())
            if key == "videos":
                self.items(file, (self.video(v, groups, paths) for v in self.target.videos))
            elif key == "categories":
                self.items(file, self.category_records(listed))
            elif key == "annotations":
                self.items(file, self.records(tubes))
            else:
                text = json.dumps(values.get(key), ensure_ascii=False)
                file.write(text.encode("utf-8", "surrogatepass"))
        file.write(b"}")

    def video(self, number: int, groups: list[rows.Group], paths: list[str]) -> dict[str, Any]:
        video = self.plan.videos[number]
        width, height, length = video.size
        out: dict[str, Any] = {"id": self.videos[number], "width": width, "height": height}
        out["length"] = length
        names = [paths[s].removeprefix(self.prefix) for s in video.samples]
        extra = {} if video.group is None else groups[video.group].extra or {}
        out = {k: v for k, v in out.items() if v is not None}
        return {**out, "file_names": names, **{k: v for k, v in extra.items() if k not in out}}

    @property
    def prefix(self) -> str:
        if self.target.top is not None:
            return self.target.prefix
        folder = self.target.name.rpartition("/")[0]
        return f"{folder}/JPEGImages/".lstrip("/")

    def category_records(self, listed: list[rows.Category]) -> Iterable[dict[str, Any]]:
        done = set()
        for row, record in self.target.categories:
            if row is not None:
                done.add(row)
                yield category_record(listed[row], record["id"], record)
        used = {t.category for t in self.plan.tubes}
        for row, category in enumerate(listed):
            if row not in done and (self.target.top is None or row in used):
                yield category_record(category, self.categories[row], None)

    def records(self, tubes: list[int]) -> Iterable[dict[str, Any]]:
        given = [self.content.own[t].source_id for t in tubes if t in self.content.own]
        numbers = {int(g) for g in given if g is not None and g.isascii() and g.isdigit()}
        following, seen = max(numbers, default=0) + 1, set[int]()
        for number in tubes:
            own = self.content.own.get(number)
            text = None if own is None else own.source_id
            id_ = int(text) if text is not None and text.isascii() and text.isdigit() else None
            if id_ is None or id_ in seen:
                id_, following = following, following + 1
            seen.add(id_)
            yield self.record(self.plan.tubes[number], number, id_, own)

    def record(
        self, tube: Tube, number: int, id_: int, own: rows.Annotation | None
    ) -> dict[str, Any]:
        """A record with the keys that it had, and those that say something."""
        video = self.plan.videos[tube.video]
        crowd = None if tube.crowd is None else int(tube.crowd)
        if "iscrowd" in self.plan.unstated:
            crowd = 0
        frames = self.content.frames[number]
        lists: dict[str, Any] = {
            key: [frames[i][k] if i in frames else None for i in range(len(video.samples))]
            for k, key in enumerate(LISTS)
        }
        out: dict[str, Any] = {
            "id": id_,
            "video_id": self.videos[tube.video],
            "category_id": None if tube.category is None else self.categories[tube.category],
            "iscrowd": crowd,
            **dict(zip(_SIZES, video.size, strict=True)),
            **lists,
            "score": tube.score,
            "attributes": None if own is None else own.attributes,
        }
        had: set[str] | None = None
        if own is not None and own.origins and own.shape is not None:
            known = self.content.shapes
            had = {*known[own.shape][0]} if own.shape < len(known) else None
        if had is None:
            had = {"video_id", "category_id", "segmentations"}
            had |= set() if self.results else {"id", *LISTS, *_SIZES}
        kept = {k: v for k, v in out.items() if k in had or self._says(k, v, crowd)}
        return {**kept, **((own.extra or {}) if own is not None else {})}

    def _says(self, key: str, value: Any, crowd: Any) -> bool:
        """Whether a key that a record need not have is one to write."""
        if key in ("id", *_SIZES, "areas"):
            return False
        if key == "iscrowd":
            return crowd is not None and not (self.results and "iscrowd" in self.plan.unstated)
        if key in LISTS:
            return any(v is not None for v in value)
        return value is not None
