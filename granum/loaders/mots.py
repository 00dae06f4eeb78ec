"""MOTS: tracks as masks, of MOTSChallenge and KITTI MOTS.

::

    train/MOTS20-02/{img1/000001.jpg, gt/gt.txt, seqinfo.ini}    MOTSChallenge: texts
    instances_txt/0000.txt   instances/0000/000000.png           KITTI MOTS: texts and label images
    image_02/0000/000000.png  (or images/…, training/image_02/…)
    train/images/1.jpg   train/instances/1.png   labels.txt      a sequence for each split

A line is ``frame id class height width rle`` between blanks; the RLE is COCO's compressed string.
Label images have 16 bits of 1000 * class + instance; 0 is background. An id is the same number.
Classes are 1 car, 2 pedestrian, or lines of ``instances/labels.txt`` from 1; the number 10000 is a
region to ``ignore``, without class. Where a sequence has both, the text is read.

A number is a track of its sequence: ``track`` numbers them through, ``track_source_id`` is the
number. A sequence is a group of kind ``video``; frames count as the files do (from 0 in KITTI MOTS,
from 1 in MOTSChallenge). Masks of texts are ``rle``; those of label images ``map``, of which only
the values that occur are looked up. Objects have no boxes.

Spec: https://www.vision.rwth-aachen.de/page/mots
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from granum.errors import FormatError
from granum.loaders._image_tree import is_image
from granum.loaders._mot_tree import (
    ALL,
    SPLIT,
    first_line,
    is_sequence,
    read_sequence,
    sequences_in,
)
from granum.loaders._paths import folders_in, names_in, split_suffix
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows
from granum.store.media import read_values

__all__ = ["Mots"]

_LINE = re.compile(rb"\d+\s+\d+\s+\d+\s+\d+\s+\d+\s+\S+")
_IMAGES = ("images", "image_02", "img1", "training/image_02", "testing/image_02")
_CLASSES = {1: "car", 2: "pedestrian"}
_IGNORED = 10_000


@formats("mots")
class Mots(Format):
    """Reads texts and label images; see the module."""

    name = "mots"
    title = "MOTS"
    spec = "https://www.vision.rwth-aachen.de/page/mots"
    keeps = frozenset({"object", "mask", "category", "track", "ignore", "group", "split"})
    ordered = True
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        try:
            return _sniff(root)
        except (OSError, ValueError):
            return None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read a tree, one split of it, or one sequence.

        Raises:
            FormatError: there is nothing to read.
        """
        if not root.is_dir():
            raise FormatError(root, "a MOTS dataset is a folder")
        intake.source(".", self.name)
        intake.media_root = intake.images or root
        intake.map_root = root
        reader, found = _Reader(root, intake), False
        for one in _sequences(root, intake):
            found = True
            reader.read(one)
            yield from (one.frames[f] for f in sorted(one.frames))
        if not found:
            raise FormatError(root, "no gt/gt.txt, instances_txt or instances below it")


def _sniff(root: Path) -> str | None:
    for number, folder in enumerate(sequences_in(root, 50)):
        if _LINE.fullmatch(first_line(root / folder / "gt/gt.txt")):
            return f"{folder}/gt/gt.txt: frame, id, class, size, RLE"
        if number == 2:
            break
    for folder in (".", *folders_in(root, 50)):
        home = root / folder
        for name in names_in(home / "instances_txt", 3):
            if _LINE.fullmatch(first_line(home / "instances_txt" / name)):
                return f"{folder}/instances_txt/{name}: frame, id, class, size, RLE"
        # Mapillary Vistas has label images beside those of instances.
        if any((home / i).is_dir() for i in _IMAGES) and not (home / "labels").is_dir():
            maps = home / "instances"
            for below in (maps, *(maps / n for n in folders_in(maps, 3))):
                if any(_is_deep(below / n) for n in names_in(below, 3)):
                    return f"{folder}/instances: label images of 16 bits"
    return None


def _is_deep(path: Path) -> bool:
    """Whether a file is a grey PNG of 16 bits. Never raises."""
    try:
        with path.open("rb") as file:
            head = file.read(26)
    except (OSError, ValueError):
        return False
    return head[:8] == b"\x89PNG\r\n\x1a\n" and head[24:26] == b"\x10\x00"


@dataclass
class _Sequence:
    """A sequence: text or label images, and samples by frame."""

    group: rows.Group
    number: int
    images: str
    split: str | None = None
    text: str | None = None
    maps: dict[int, str] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    frames: dict[int, rows.Sample] = field(default_factory=dict)
    tracks: dict[int, int] = field(default_factory=dict)
    digits: int = 6
    suffix: str = ".jpg"

    def add(self, frame: int, name: str) -> None:
        """The sample of a frame, whose image has a name."""
        key = f"{self.images}/{name}"
        self.frames[frame] = rows.Sample(
            key, rows.Media(key), self.group.width, self.group.height, media_kind="frame",
            group=self.number, order=frame, split=self.split,
        )  # fmt: skip

    def sample(self, frame: int) -> rows.Sample:
        if frame not in self.frames:
            self.add(frame, f"{frame:0{self.digits}d}{self.suffix}")
        return self.frames[frame]


def _sequences(root: Path, intake: Intake) -> Iterator[_Sequence]:
    """All sequences of a tree; their groups go to the intake."""
    for folder in sequences_in(root):
        found = read_sequence(root, folder, intake)
        one = _Sequence(found.group, len(intake.groups), found.file(found.images), found.split)
        one.digits, one.suffix = found.digits, found.extension
        if (root / found.file("gt/gt.txt")).is_file():
            one.text = found.file("gt/gt.txt")
        for frame, name in found.frames.items():
            one.add(frame, name)
        intake.groups.append(one.group)
        yield one
    for folder in (".", *folders_in(root)):
        if is_sequence(root / folder):
            continue
        before = "" if folder == "." else f"{folder}/"
        home = root / folder
        texts = [n[:-4] for n in names_in(home / "instances_txt", ALL) if n.endswith(".txt")]
        nested = folders_in(home / "instances", ALL)
        flat = [n for n in names_in(home / "instances", ALL) if n.endswith(".png")]
        images = next((i for i in _IMAGES if (home / i).is_dir()), "images")
        split = folder if SPLIT.fullmatch(folder) else None
        labels = _labels(home / "instances/labels.txt")
        for name in [*([""] if flat else []), *sorted({*texts, *nested})]:
            title = name or (root.resolve().name if folder == "." else folder)
            group = rows.Group(f"{before}{name}".strip("/") or title, "video", title)
            place = f"{before}{images}/{name}".rstrip("/")
            one = _Sequence(group, len(intake.groups), place, split, labels=labels)
            if name in texts:
                one.text = f"{before}instances_txt/{name}.txt"
            _find_frames(root, one, f"{before}instances/{name}".rstrip("/"), intake)
            intake.groups.append(group)
            yield one


def _find_frames(root: Path, one: _Sequence, maps: str, intake: Intake) -> None:
    """Images of frames, and label images."""
    for name in names_in(root / one.images, ALL):
        if is_image(name) and (frame := _frame(one.images, name, intake)) is not None:
            one.digits, one.suffix = len(split_suffix(name)[0]), split_suffix(name)[1]
            one.add(frame, name)
    for name in names_in(root / maps, ALL):
        if name.endswith(".png") and (frame := _frame(maps, name, intake)) is not None:
            one.maps[frame] = f"{maps}/{name}"


def _frame(folder: str, name: str, intake: Intake) -> int | None:
    stem = split_suffix(name)[0]
    if stem.isascii() and stem.isdigit() and len(stem) < 16:
        return int(stem)
    intake.fault("file-not-read", f"{folder}/{name}", None, "its name is no frame number")
    return None


def _labels(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(path, f"cannot be read: {error}") from error


@dataclass
class _Reader:
    """What sequences share: classes, and the number of the next new track."""

    root: Path
    intake: Intake
    classes: dict[tuple[int, str], int] = field(default_factory=dict)
    tracks: int = 0

    def read(self, one: _Sequence) -> None:
        for number, name in enumerate(one.labels, 1):
            self.category(number, name)
        if one.text is not None:
            self.lines(one, one.text)
            return
        for frame, name in sorted(one.maps.items()):
            sample = one.sample(frame)
            try:
                values = np.unique(read_values(rows.LabelMap(name), str(self.root))).tolist()
            except FormatError as error:
                self.intake.fault("broken-media", name, None, str(error))
                continue
            for value in values:
                if value > 0:
                    made = rows.Annotation("object", map=rows.LabelMap(name, value=value))
                    self.classify(made, value, value // 1000, one, name, f"value {value}")
                    sample.annotations.append(made)

    def lines(self, one: _Sequence, name: str) -> None:
        """The rows of a text."""
        try:
            text = (self.root / name).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise FormatError(self.root / name, f"cannot be read: {error}") from error
        seen: set[tuple[int, int]] = set()
        for number, line in enumerate(text.split("\n"), 1):
            words = line.split()
            if not words:
                continue
            place = f"line {number}"
            try:
                frame, id_, class_, height, width = (int(w) for w in words[:5])
                if len(words) != 6 or min(frame, id_, height - 1, width - 1) < 0:
                    raise ValueError
                if max(frame, id_, class_, height, width) >= 1 << 31:
                    raise ValueError
                counts = words[5].encode("ascii")
            except ValueError:
                self.intake.fault("bad-value", name, place, f"no row of MOTS: {line[:60]!r}")
                continue
            if (frame, id_) in seen:
                message = f"track {id_} was in frame {frame} before"
                self.intake.fault("duplicate-track", name, place, message)
            seen.add((frame, id_))
            made = rows.Annotation("object", rle=rows.Rle((height, width), counts))
            self.classify(made, id_, class_, one, name, place)
            sample = one.sample(frame)
            if sample.width is None or sample.height is None:
                sample.width, sample.height = width, height
            sample.annotations.append(made)

    def classify(
        self, made: rows.Annotation, id_: int, number: int, one: _Sequence, name: str, place: str
    ) -> None:
        """Set class and track of a row."""
        if id_ == _IGNORED:
            made.ignore = True
            return
        if id_ not in one.tracks:
            one.tracks[id_] = self.tracks
            self.tracks += 1
        made.track, made.track_source_id = one.tracks[id_], str(id_)
        if one.labels and not 1 <= number <= len(one.labels):
            message = f"class {number}, but labels.txt names {len(one.labels)}"
            self.intake.fault("unknown-class", name, place, message)
            if self.intake.on_error != "fix":
                return
        elif one.labels:
            made.category = self.category(number, one.labels[number - 1])
            return
        made.category = self.category(number, _CLASSES.get(number, f"class {number}"))

    def category(self, number: int, name: str) -> int:
        key = (number, name)
        if key not in self.classes:
            one = rows.Category(name, source_id=str(number))
            self.classes[key] = self.intake.add_category(one)
        return self.classes[key]
