"""Records of tracks with a value per frame, as rows: one of the track, one for each frame."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pyarrow as pa

from granum.loaders.base import Intake
from granum.loaders.coco.scan import JsonFile
from granum.schema import geometry, rows, tables

__all__ = ["KNOWN", "LISTS", "Reader", "Rows", "Tubes", "Video", "as_key", "decoded"]

LISTS = ("segmentations", "bboxes", "areas")
KNOWN = frozenset(
    {
        *("id", "video_id", "category_id", "iscrowd", "width", "height", "length", "score"),
        *("attributes", *LISTS),
    }
)


class Rows:
    """Annotations as columns."""

    NAMES = (
        *("sample", "group", "kind", "category", "crowd", "score", "bbox", "area", "polygons"),
        *("rle", "track", "track_source_id", "source_id", "origins", "ordinal", "shape"),
        *("attributes", "extra"),
    )

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {n: [] for n in self.NAMES}

    def add(self, **values: Any) -> None:
        for name, listed in self.columns.items():
            listed.append(values.get(name))

    def table(self) -> pa.Table:
        types = tables.ANNOTATIONS
        return pa.table(
            {n: rows.column_array(v, types.field(n).type) for n, v in self.columns.items()}
        )


@dataclass
class Video:
    """Sample rows of its frames, and its group."""

    frames: list[int]
    group: int | None
    size: tuple[Any, Any, Any] = (None, None, None)


@dataclass
class Reader:
    """What the files of a reading share."""

    intake: Intake
    samples: list[rows.Sample] = field(default_factory=list)
    rows: Rows = field(default_factory=Rows)
    tracks: int = 0

    def records(
        self, file: JsonFile, key: str, origin: int, videos: Mapping[Any, Video],
        categories: Mapping[Any, int], into: Tubes,
    ) -> None:  # fmt: skip
        """Annotations of a list, one after the other."""
        number = 0
        for _, text in file.records(key) if key in file.spans else ():
            for record in decoded(text):
                place = f"/{key}/{number}" if key else f"/{number}"
                if isinstance(record, dict):
                    self.record(record, file.name, place, origin, number, videos, categories, into)
                else:
                    self.intake.fault("bad-value", file.name, place, "no object")
                number += 1

    def record(
        self, record: dict[str, Any], name: str, place: str, origin: int, number: int,
        videos: Mapping[Any, Video], categories: Mapping[Any, int], into: Tubes,
    ) -> None:  # fmt: skip
        """The row of a track, and one for each frame in which it is."""
        intake = self.intake
        video = videos.get(as_key(record.get("video_id")))
        if video is None:
            message = f"video {record.get('video_id')!r:.60} is not listed"
            intake.fault("orphan-image", name, f"{place}/video_id", message)
            return
        category = None
        if record.get("category_id") is not None:
            category = categories.get(as_key(record["category_id"]))
            if category is None:
                message = f"category {record['category_id']!r:.60} is not listed"
                intake.fault("orphan-category", name, f"{place}/category_id", message)
                if intake.on_error != "fix":
                    return
                category = intake.category(str(record["category_id"]))
        crowd, score = record.get("iscrowd"), record.get("score")
        if crowd not in (None, 0, 1):
            intake.fault("bad-value", name, f"{place}/iscrowd", f"{crowd!r:.60}")
            crowd = None
        if score is not None and (not _numbers([score], 1)):
            intake.fault("bad-value", name, f"{place}/score", f"{score!r:.60}")
            score = None
        lists = {k: self._list(record, k, len(video.frames), name, place) for k in LISTS}
        track, source, bare = into.track(number, record, self)
        shared = {
            "category": category, "track": track, "track_source_id": source,
            "crowd": None if crowd is None or "iscrowd" in into.unstated else bool(crowd),
            "score": None if score is None else float(score),
            "origins": [origin], "ordinal": [number],
        }  # fmt: skip
        if not bare:
            self._own(record, video, shared)
        if not into.frame_scores:
            shared["score"] = None
        for frame, sample in enumerate(video.frames):
            values = [lists[k][frame] for k in LISTS]
            if any(v is not None for v in values):
                self._frame(sample, values, shared, name, f"{place}/{{}}/{frame}")

    def _list(
        self, record: Mapping[str, Any], key: str, n: int, name: str, place: str
    ) -> Sequence[Any]:
        value = record.get(key)
        if value is None:
            return [None] * n
        if not isinstance(value, list) or len(value) != n:
            told = f"{len(value)} values" if isinstance(value, list) else "no list"
            message = f"{told} where the video has {n} frames"
            self.intake.fault("bad-value", name, f"{place}/{key}", message)
            return [None] * n
        return value

    def _own(self, record: Mapping[str, Any], video: Video, shared: Mapping[str, Any]) -> None:
        """The row of the track itself."""
        extra = {k: v for k, v in record.items() if k not in KNOWN}
        for key, stated in zip(("width", "height", "length"), video.size, strict=True):
            if key in record and record[key] != stated:
                extra[key] = record[key]
        attributes = record.get("attributes")
        if attributes is not None and not isinstance(attributes, dict):
            extra["attributes"], attributes = attributes, None
        id_ = record.get("id")
        self.rows.add(
            **shared, group=video.group, kind="track",
            source_id=None if id_ is None else str(id_),
            attributes=None if attributes is None else _json(attributes),
            extra=_json(extra) if extra else None,
            shape=self.intake.shape((tuple(sorted(record)),)),
        )  # fmt: skip

    def _frame(
        self, sample: int, values: list[Any], shared: Mapping[str, Any], name: str, place: str
    ) -> None:
        segmentation, box, area = values
        polygons = rle = None
        if segmentation is not None:
            try:
                polygons, rle = _mask(segmentation)
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                where = place.format("segmentations")
                self.intake.fault("bad-value", name, where, f"no mask: {error!r:.80}")
        if box is not None and not _numbers(box, 4):
            self.intake.fault("bad-value", name, place.format("bboxes"), f"no box: {box!r:.60}")
            box = None
        if area is not None and not _numbers([area], 1):
            self.intake.fault("bad-value", name, place.format("areas"), f"no area: {area!r:.60}")
            area = None
        if polygons is None and rle is None and box is None:
            return
        self.rows.add(
            **shared, sample=sample, kind="object", polygons=polygons, rle=rle,
            bbox=None if box is None else [float(v) for v in box],
            area=None if area is None else float(area),
        )  # fmt: skip


def decoded(text: bytes) -> Any:
    """JSON as Python has it; numbers too big for a float are infinite."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return json.loads(text)


def as_key(value: Any) -> Any:
    """An id as it is looked up; lists and objects are none."""
    return value if type(value) in (int, str) else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _numbers(values: Any, n: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == n
        and all(type(v) in (int, float) and abs(v) < 1e300 for v in values)
    )


def _mask(value: Any) -> tuple[Any, Any]:
    """Polygons and RLE of a segmentation, of which it is one."""
    if isinstance(value, list):
        if not value or not all(isinstance(r, list) and _numbers(r, len(r)) for r in value):
            raise ValueError("polygons are lists of numbers")
        return [[[float(v) for v in ring]] for ring in value], None
    size, counts = value["size"], value["counts"]
    if not _numbers(size, 2) or not all(type(v) is int and 0 < v < 1 << 31 for v in size):
        raise ValueError(f"size {size!r:.40}")
    if isinstance(counts, str):
        return None, {"size": size, "counts": counts.encode("ascii"), "form": "compressed"}
    if not isinstance(counts, list) or not all(type(c) is int and 0 <= c < 1 << 31 for c in counts):
        raise ValueError("counts are a string or whole numbers")
    packed = geometry.rle_encode_counts(counts)
    return None, {"size": size, "counts": packed, "form": "list"}


@dataclass
class Tubes:
    """What the records of a file are: their tracks, and which have no row of their own.

    Attributes:
        tracks: for each record track and source's id; each is a track of its own where None.
        bare: records without a row of their own.
        frame_scores: rows of frames have the score of the record.
        unstated: keys whose values mean nothing.
    """

    tracks: Sequence[Any] | None = None
    bare: frozenset[int] = frozenset()
    frame_scores: bool = True
    unstated: frozenset[str] = frozenset()

    def track(
        self, number: int, record: Mapping[str, Any], reader: Reader
    ) -> tuple[int | None, str | None, bool]:
        if self.tracks is not None and number < len(self.tracks):
            track, source = self.tracks[number]
            return track, source, number in self.bare
        reader.tracks += 1
        id_ = record.get("id")
        return reader.tracks - 1, None if id_ is None else str(id_), False
