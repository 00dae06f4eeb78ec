"""Reading tracks of MOTChallenge texts into columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._mot_tree import Sequence, read_sequence, sequences_in, split_lists
from granum.loaders._notes import Notes, take_tables
from granum.loaders._number_rows import NumberRows, read_numbers
from granum.loaders._paths import names_in
from granum.loaders._sequences import noted_tracks, track_arrays
from granum.loaders.base import Intake
from granum.loaders.coco.numbers import list_array
from granum.schema import rows, tables
from granum.store.builder import Incoming

__all__ = ["CLASSES", "LAYER", "RESULT", "WORLD", "read_noted", "read_tree"]

Ints = npt.NDArray[np.int64]

CLASSES = (
    *("pedestrian", "person on vehicle", "car", "bicycle", "motorbike", "non motorized vehicle"),
    *("static person", "distractor", "occluder", "occluder on the ground", "occluder full"),
    *("reflection", "crowd"),
)
"""MOTChallenge's classes, from 1."""

WORLD = ("world_x", "world_y", "world_z")
LAYER = "det"
"""Where detections go beside a truth."""

RESULT = re.compile(rb"\d+(\s*[,;\s]\s*-?[\d.eE+-]+){6}(\s*[,;\s]\s*-1(\.0*)?){3}")
_EXACT = 2**53


def class_name(number: int) -> str:
    """What MOTChallenge calls a class."""
    return CLASSES[number - 1] if 1 <= number <= len(CLASSES) else f"class {number}"


@dataclass
class _Text:
    """The rows of one text file, in the order of their frames."""

    name: str
    rows: NumberRows
    frame: Ints
    track: Ints
    origin: int
    detections: bool
    labels: list[str] | None = None


@dataclass
class Reader:
    """What the texts of a tree share."""

    root: Path
    intake: Intake
    one_based: bool
    unstated: frozenset[str] = frozenset()
    categories: dict[tuple[int, str], int] = field(default_factory=dict)
    tracks: int = 0

    def text(self, name: str, detections: bool, labels: list[str] | None = None) -> _Text:
        """Read a file; rows without a usable frame or id are left out."""
        origin = self.intake.source(name, "mot")
        found = read_numbers(self.root / name, name, self.intake, 6)
        frame, ids = found.column(0), found.column(1)
        with np.errstate(invalid="ignore"):
            good = (frame == np.floor(frame)) & (frame >= 0) & (frame < 2**31)
            good &= (ids == np.floor(ids)) & (np.abs(ids) <= _EXACT)
        for row in np.flatnonzero(~good).tolist():
            message = f"frame {frame[row]:g} of track {ids[row]:g}"
            self.intake.fault("bad-value", name, f"line {found.line[row]}", message)
        found = found if good.all() else found.take(good)
        order = np.argsort(found.column(0), kind="stable")
        if (order[1:] < order[:-1]).any():
            found = found.take(order)
        numbers = found.values[:, :2].astype(np.int64)
        return _Text(name, found, numbers[:, 0], numbers[:, 1], origin, detections, labels)

    def checked(self, text: _Text, length: int | None) -> None:
        """Tracks that are twice in a frame, and frames beyond the sequence."""
        found, code = np.unique(text.track, return_inverse=True)
        key = (text.frame * len(found) + np.ravel(code))[text.track >= 0]
        ordered = np.sort(key)
        if (ordered[1:] == ordered[:-1]).any():
            rows_ = np.flatnonzero(text.track >= 0)[np.argsort(key, kind="stable")]
            again = rows_[1:][ordered[1:] == ordered[:-1]]
            shown = again[: self.intake.findings.limit]
            self.intake.findings.counts["duplicate-track"] += len(again) - len(shown)
            for row in shown.tolist():
                message = f"track {text.track[row]} was in frame {text.frame[row]} before"
                place = f"line {text.rows.line[row]}"
                self.intake.fault("duplicate-track", text.name, place, message)
        if length is not None and len(late := np.flatnonzero(text.frame > length)):
            place = f"line {text.rows.line[late[0]]}"
            message = f"frame {text.frame[late[0]]} of a sequence of {length}"
            self.intake.findings.add("frame-out-of-range", text.name, place, message, len(late))

    def table(
        self, text: _Text, sample: Ints, track: Ints, track_ids: pa.Array | None = None
    ) -> pa.Table:
        """The rows of a text as annotations.

        Args:
            text: the rows.
            sample: of each row.
            track: the dataset's number of each row's track; -1 for none.
            track_ids: as the source writes them; the numbers in the file where not given.
        """
        n, columns = len(sample), text.rows.columns
        boxes = text.rows.values[:, 2:6]
        if self.one_based:
            boxes = boxes - [1, 1, 0, 0]
        none = pa.array(track < 0)
        written = pa.array(text.track).cast(pa.string()) if track_ids is None else track_ids
        out: dict[str, Any] = {
            "origins": list_array(np.arange(n + 1), pa.array(np.full(n, text.origin), pa.int16())),
            "ordinal": list_array(np.arange(n + 1), pa.array(text.rows.line - 1)),
            "sample": pa.array(sample),
            "kind": _same("object", n),
            "bbox": pa.FixedSizeListArray.from_arrays(
                pa.array(np.ascontiguousarray(boxes).ravel()), 4
            ),
            "track": pa.array(track, mask=np.asarray(none)),
            "track_source_id": pa.compute.if_else(none, pa.scalar(None, pa.string()), written),
        }
        world = columns >= 10
        if columns > 6:
            self._confidence(text, out)
        if not world and columns > 7 and "category" not in self.unstated:
            out["category"] = self._categories(text)
        if not world and columns > 8 and "visibility" not in self.unstated:
            seen = text.rows.column(8)
            out["visibility"] = pa.array(seen, mask=~np.isfinite(seen) | (seen == -1))
        if world:
            place = text.rows.values[:, 7:10]
            absent = (place == -1).all(axis=1) | ~np.isfinite(place).all(axis=1)
            if not absent.all():
                for i, name in enumerate(WORLD):
                    values = np.ascontiguousarray(place[:, i])
                    out[f"attr.{name}"] = pa.array(values, mask=absent)
        return tables.conform(pa.table(out), tables.ANNOTATIONS)

    def _confidence(self, text: _Text, out: dict[str, Any]) -> None:
        """Of detections a score; of truth 0 says that a row is ignored."""
        confidence = text.rows.column(6)
        odd = ~np.isfinite(confidence)
        for row in np.flatnonzero(odd).tolist():
            place = f"line {text.rows.line[row]}"
            self.intake.fault("nan-score", text.name, place, f"confidence {confidence[row]:g}")
        if text.detections:
            out["score"] = pa.array(confidence, mask=odd | (confidence == -1))
            return
        stated = np.full(len(confidence), "ignore" not in self.unstated)
        out["ignore"] = pa.array(confidence == 0, mask=odd | ~(stated | (confidence == 0)))
        scored = ~odd & (confidence != 0) & (confidence != 1)
        if scored.any():
            out["score"] = pa.array(confidence, mask=~scored)

    def _categories(self, text: _Text) -> pa.Array:
        numbers = text.rows.column(7)
        found, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
        lines = text.rows.line[first].tolist()
        at = [
            self._category(number, text, f"line {line}")
            for number, line in zip(found.tolist(), lines, strict=True)
        ]
        category = np.array(at, np.int32)[inverse]
        return pa.array(category, mask=category < 0)

    def _category(self, number: float, text: _Text, place: str) -> int:
        """The row of a class; -1 where there is none."""
        if number == -1:
            return -1
        if not 0 <= number < 2**31 or number != int(number):
            self.intake.fault("bad-value", text.name, place, f"class {number:g}")
            return -1
        number, labels = int(number), text.labels
        if labels is None:
            return self.category(number, class_name(number))
        if 1 <= number <= len(labels):
            return self.category(number, labels[number - 1])
        message = f"class {number}, but labels.txt names {len(labels)}"
        self.intake.fault("unknown-class", text.name, place, message)
        return self.category(number, f"class {number}") if self.intake.on_error == "fix" else -1

    def category(self, number: int, name: str) -> int:
        key = (number, name)
        if key not in self.categories:
            one = rows.Category(name, source_id=str(number))
            self.categories[key] = self.intake.add_category(one)
        return self.categories[key]

    def numbered(self, texts: list[_Text]) -> list[Ints]:
        """The dataset's track numbers, none of which another sequence has."""
        found, count = track_arrays(t.track for t in texts)
        found = [np.where(t < 0, -1, t + self.tracks) for t in found]
        self.tracks += count
        return found


def _same(value: str, n: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([value]))


def _labels(root: Path, sequence: Sequence) -> list[str] | None:
    """Names of ``gt/labels.txt``, one a line, for the classes from 1."""
    path = root / sequence.file("gt/labels.txt")
    if not path.is_file():
        return None
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(path, f"cannot be read: {error}") from error


def locate(intake: Intake) -> Any:
    """File and line of an annotation."""

    def place(annotation: rows.Annotation, key: str) -> tuple[str, str]:
        path = intake.sources[annotation.origins[0]].path if annotation.origins else key
        line = annotation.ordinal[0] + 1 if annotation.ordinal else "?"
        return path, f"line {line}"

    return place


def _results_in(root: Path) -> list[str]:
    """Names of result texts: ``SEQUENCE.txt`` each."""
    return [n for n in names_in(root, 10**6) if n.endswith(".txt") and n.lower() != "readme.txt"]


def read_tree(root: Path, intake: Intake, det: bool, one_based: bool) -> Iterator[Incoming]:
    """A tree of another origin, sequence by sequence.

    Raises:
        FormatError: there is no sequence.
    """
    reader = Reader(root if root.is_dir() else root.parent, intake, one_based)
    folders = list(sequences_in(root)) if root.is_dir() else []
    if not folders:
        names = _results_in(root) if root.is_dir() else [root.name]
        if not names:
            raise FormatError(root, "no sequence with gt/gt.txt, det/det.txt or results below it")
        for name in names:
            one = Sequence(name[:-4], name[:-4], rows.Group(name[:-4], "video"))
            yield _incoming(reader, one, [reader.text(name, True)], intake, len(intake.groups))
        return
    lists = split_lists(root, intake)
    truth = any((root / f / "gt/gt.txt").is_file() for f in folders)
    for folder in folders:
        one = read_sequence(root, folder, intake)
        listed = lists.get(one.name, [])
        if splits := [n for n in listed if n in ("train", "val", "test")]:
            one.split = splits[0]
        if others := [n for n in listed if n not in ("train", "val", "test")]:
            one.group.attributes = {"lists": others}
        texts = []
        for name, detections in (("gt/gt.txt", False), ("det/det.txt", True)):
            if (root / one.file(name)).is_file() and (not detections or det or not truth):
                labels = None if detections else _labels(root, one)
                for number, label in enumerate(labels or [], 1):
                    reader.category(number, label)
                texts.append(reader.text(one.file(name), detections, labels))
        yield _incoming(reader, one, texts, intake, len(intake.groups))


def _incoming(
    reader: Reader, one: Sequence, texts: list[_Text], intake: Intake, group: int
) -> Incoming:
    """A sequence of another origin: a sample for each frame that is annotated or has an image."""
    intake.groups.append(one.group)
    stated = [np.array(sorted(one.frames), np.int64), *(t.frame for t in texts)]
    frames = np.unique(np.concatenate(stated))
    layers = {}
    for text, track in zip(texts, reader.numbered(texts), strict=True):
        reader.checked(text, one.group.frames)
        beside = text.detections and len(texts) > 1
        table = reader.table(text, np.searchsorted(frames, text.frame), track)
        layers[LAYER if beside else tables.DEFAULT_LAYER] = table
        if text.detections:
            name = LAYER if beside else intake.layer
            alone = not text.name.endswith("det/det.txt")
            intake.layers[name] = {"producer": text.name if alone else "det/det.txt"}
    return Incoming(_samples(one, frames, group), layers)


def _samples(one: Sequence, frames: Ints, group: int) -> pa.Table:
    n = len(frames)
    paths = pa.array([one.path(f) for f in frames.tolist()], pa.string())
    out: dict[str, Any] = {
        "key": paths,
        "media": pa.StructArray.from_arrays([paths, pa.nulls(n, pa.binary())], ["path", "bytes"]),
        "media_kind": _same("frame", n),
        "unit": _same("pixel", n),
        "group": pa.array(np.full(n, group)),
        "order": pa.array(frames),
    }
    for name in ("width", "height"):
        if (size := getattr(one.group, name)) is not None:
            out[name] = pa.array(np.full(n, size), pa.int32())
    if one.split is not None:
        out["split"] = _same(one.split, n)
    return pa.table(out)


# ---------------------------------------------------------------------- our own trees


def read_noted(root: Path, notes: Notes, intake: Intake) -> Iterator[Incoming]:
    """A tree that ``_mot_write`` wrote.

    Raises:
        FormatError: its notes do not fit it.
    """
    take_tables(notes, intake)
    more = notes.more
    try:
        plain = frozenset(more["unstated"])
        reader = Reader(root, intake, bool(more["one_based"]), plain)
        numbers = {int(n): i for i, n in enumerate(more["classes"])}
        sequences = [
            (
                str(s["file"]),
                str(s["folder"]),
                noted_tracks(s["tracks"]),
            )
            for s in more["sequences"]
        ]
        detections = more["layout"] in ("det", "results")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(root / "granum.json", f"damaged notes: {error!r}") from error
    for number, row in numbers.items():
        if row < len(notes.categories):
            reader.categories[number, class_name(number)] = row
    samples, by_folder = notes.samples, _frames(notes)
    pieces = []
    new_tracks = 1 + max((t for *_, m in sequences for t, _ in m.values()), default=-1)
    for file, folder, known in sequences:
        if not (root / file).is_file():
            intake.fault("missing-labels", file, None, "the sequence has no text")
            continue
        text = reader.text(file, detections)
        frames = by_folder.setdefault(folder, {})
        for frame in np.unique(text.frame).tolist():
            if frame not in frames:  # not of us
                frames[frame] = len(samples)
                path = f"{folder}/img1/{frame:06d}.jpg"
                samples.append(rows.Sample(path, rows.Media(path)))
        reader.checked(text, None)
        ids, inverse = np.unique(text.track, return_inverse=True)
        for one in ids.tolist():
            if one >= 0 and one not in known:
                known[one] = (new_tracks, str(one))
                new_tracks += 1
        of = [known.get(i, (-1, None)) for i in ids.tolist()]
        track = np.array([t for t, _ in of], np.int64)[inverse]
        written = pa.array([x for _, x in of], pa.string()).take(pa.array(inverse))
        at = np.array([frames[f] for f in text.frame.tolist()], np.int64)
        pieces.append(reader.table(text, at, track, written))
    table = pa.concat_tables(pieces, promote_options="default") if pieces else None
    layers = {}
    if table is not None and table.num_rows:
        layers[tables.DEFAULT_LAYER] = table.take(
            pa.array(np.argsort(np.asarray(table["sample"]), kind="stable"))
        )
    yield Incoming(rows.samples_to_table(samples), layers)


def _frames(notes: Notes) -> dict[str, dict[int, int]]:
    """The sample of each frame, by the folder of its sequence."""
    out: dict[str, dict[int, int]] = {}
    for row, sample in enumerate(notes.samples):
        path = sample.media.path if sample.media else None
        folder, mark, name = (path or "").rpartition("/img1/")
        stem = name.partition(".")[0]
        if mark and stem.isascii() and stem.isdigit():
            out.setdefault(folder, {})[int(stem)] = row
    return out
