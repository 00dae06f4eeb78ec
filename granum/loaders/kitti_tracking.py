"""KITTI tracking: tracks of cars, pedestrians, cyclists, a text for each sequence.

::

    training/image_02/0000/000000.png      frames, counted from 0
    training/label_02/0000.txt             testing/… has no label_02
    results/0000.txt                       results: lines with a score

A line is ``frame id`` and what KITTI's object lines hold (see ``kitti``): the same columns with the
same meaning, but ``truncated`` is a state of 0, 1 or 2. An id of -1, as ``DontCare`` regions have,
is no track. Ids are unique in a sequence only: ``track`` numbers them through, ``track_source_id``
is the id. A sequence is a group of kind ``video``; a sample is a frame with a line or an image.

Splits are ``train`` for ``training``, ``test`` for ``testing``. Written are ``label_02`` and
``image_02``.

Spec: https://www.cvlibs.net/datasets/kitti/eval_tracking.php (readme of the development kit).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from granum.errors import FormatError
from granum.loaders._image_tree import is_image
from granum.loaders._kitti_lines import (
    Categories,
    annotation_of,
    class_words,
    kept,
    says_ignore,
    words_of,
)
from granum.loaders._mot_tree import first_line
from granum.loaders._notes import Notes, read_notes, take_tables, write_notes
from granum.loaders._paths import folders_in, names_in
from granum.loaders._rows import Context, RowFormat, sample_rows
from granum.loaders._sequences import (
    Sequences,
    Tracks,
    noted_tracks,
    sequences_of,
    track_notes,
    tracks_of,
)
from granum.loaders.base import Intake, formats
from granum.loaders.kitti import Kitti
from granum.schema import rows
from granum.store.dataset import Dataset
from granum.store.out import Out

__all__ = ["KittiTracking"]

_LINE = re.compile(rb"\d+\s+-?\d+\s+[A-Za-z]\S*(\s+-?[\d.eE+-]+){14,15}")
_SPLITS = {"training": "train", "testing": "test"}
_HOMES = (("train", "training"), ("test", "testing"), (None, "training"))
_ALL = 10**7
_NOTED = {"split", "group", "time", "geo", "attributes"}


@dataclass
class Plan:
    """Which sequence each sample is in, the ids of tracks, and whether ``says_ignore``."""

    sequences: Sequences
    tracks: Tracks
    ignore: bool


@formats("kitti_tracking")
class KittiTracking(RowFormat):
    """Reads and writes trees of sequences; reads results."""

    name = "kitti_tracking"
    title = "KITTI tracking"
    spec = "https://www.cvlibs.net/datasets/kitti/eval_tracking.php"
    keeps = Kitti.keeps | {"track"}
    tolerance = {"bbox": 1e-6}  # noqa: RUF012  (corners and back)
    media_note = Kitti.media_note
    ordered = True
    checked = "spec"

    def sniff(self, root: Path) -> str | None:
        for folder in (".", *folders_in(root, 50)):
            for name in names_in(root / folder / "label_02", 3):
                if _LINE.fullmatch(first_line(root / folder / "label_02" / name)):
                    return f"{folder}/label_02/{name}: frame, id, type, box, 3D box"
        texts = [n for n in names_in(root, 50) if n.endswith(".txt")]
        if texts and all(_LINE.fullmatch(first_line(root / n)) for n in texts[:3]):
            return f"{texts[0]}: frame, id, type, box, 3D box"
        return None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read a tree, one part of it, or a folder of results.

        Raises:
            FormatError: there is nothing to read.
        """
        if not root.is_dir():
            raise FormatError(root, "a KITTI dataset is a folder")
        intake.source(".", self.name)
        intake.media_root = intake.images or root
        notes = read_notes(root, self.name)
        if notes is not None:
            yield from _read_noted(root, notes, intake)
            return
        reader, found = _Reader(root, intake, Categories(intake)), False
        for one in _sequences_in(root):
            found = True
            intake.groups.append(rows.Group(one.key, "video", one.name))
            reader.read(one)
            yield from (one.frames[f] for f in sorted(one.frames))
        if not found:
            raise FormatError(root, "no label_02, image_02 or results below it")

    # ------------------------------------------------------------------ writing

    def plan(self, dataset: Dataset, **options: Any) -> Plan:
        sequences = sequences_of(dataset, 0, _HOMES)
        return Plan(sequences, tracks_of(dataset, sequences)[0], says_ignore(dataset))

    def keep(
        self, annotation: rows.Annotation, sample: rows.Sample | None, context: Context
    ) -> rows.Annotation | None:
        """Objects with a box, and their tracks."""
        plan: Plan = context.plan
        out = None if sample is None else kept(annotation, plan.ignore)
        if out is None or out.sample is None or annotation.track is None or annotation.track < 0:
            return out
        out.track = annotation.track
        known = plan.tracks.get((int(plan.sequences.of[out.sample]), out.track))
        out.track_source_id = None if known is None else known[1]
        return out

    def paths(self, dataset: Dataset) -> list[str]:
        found = sequences_of(dataset, 0, _HOMES)
        homes = [_beside(folder, "image_02") for folder in found.folders]
        each = zip(found.of.tolist(), found.frame.tolist(), found.suffixes, strict=True)
        return [f"{homes[s]}/{frame:06d}{suffix}" for s, frame, suffix in each]

    def write(self, dataset: Dataset, out: Out) -> None:
        """Write a text for every sequence."""
        paths, plan = self.paths(dataset), self.plan(dataset)
        words = class_words(rows.categories_from_table(dataset.categories))
        listed = track_notes(plan.tracks)
        texts = [f"{_beside(f, 'label_02')}.txt" for f in plan.sequences.folders]
        more = {
            "ignore": plan.ignore,
            "sequences": [
                {
                    "file": name,
                    "images": _beside(plan.sequences.folders[i], "image_02"),
                    "tracks": listed.get(i, []),
                }
                for i, name in enumerate(texts)
            ],
        }
        write_notes(out, self.name, dataset, paths, _NOTED, more=more)
        lines: list[list[str]] = [[] for _ in texts]
        for row, sample in enumerate(sample_rows(dataset)):
            of, frame = int(plan.sequences.of[row]), int(plan.sequences.frame[row])
            for one in sample.annotations:
                id_ = -1 if one.track is None else plan.tracks[of, one.track][0]
                lines[of].append(" ".join([str(frame), str(id_), *words_of(one, words, 6, True)]))
        for name, own in zip(texts, lines, strict=True):
            out.text(name, "".join(f"{line}\n" for line in own))


def _beside(folder: str, kind: str) -> str:
    """Where a sequence has its images or its text."""
    home, _, name = folder.rpartition("/")
    return f"{home}/{kind}/{name}"


# ---------------------------------------------------------------------- reading


@dataclass
class _Sequence:
    """A sequence: its text, where images of frames are, and samples by frame."""

    key: str
    name: str
    text: str | None
    images: str
    split: str | None
    group: int | None
    frames: dict[int, rows.Sample] = field(default_factory=dict)
    tracks: dict[int, tuple[int, str | None]] = field(default_factory=dict)

    def sample(self, frame: int) -> rows.Sample:
        """The sample of a frame, made where there is none."""
        if frame not in self.frames:
            self.add(frame, f"{frame:06d}.png")
        return self.frames[frame]

    def add(self, frame: int, name: str) -> None:
        key = f"{self.images}/{name}"
        self.frames[frame] = rows.Sample(
            key, rows.Media(key), media_kind="frame", group=self.group, order=frame,
            split=self.split,
        )  # fmt: skip


def _sequences_in(root: Path) -> Iterator[_Sequence]:
    """The sequences of a tree of another origin."""
    group = 0
    for folder in (".", *folders_in(root)):
        home = root / folder
        before = "" if folder == "." else f"{folder}/"
        texts = [n[:-4] for n in names_in(home / "label_02", _ALL) if n.endswith(".txt")]
        for name in sorted({*texts, *folders_in(home / "image_02", _ALL)}):
            text = f"{before}label_02/{name}.txt" if name in texts else None
            images = f"{before}image_02/{name}"
            key, split = f"{before}{name}", _SPLITS.get(folder)
            one = _Sequence(key, name, text, images, split, group)
            for image in names_in(root / images, _ALL):
                stem = image.rpartition(".")[0]
                if is_image(image) and stem.isascii() and stem.isdigit():
                    one.add(int(stem), image)
            yield one
            group += 1
    if not group:
        texts = [n for n in names_in(root, _ALL) if n.endswith(".txt")]
        for number, name in enumerate(n for n in texts if n.lower() != "readme.txt"):
            yield _Sequence(name[:-4], name[:-4], name, f"image_02/{name[:-4]}", None, number)


@dataclass
class _Reader:
    """What the texts of a tree share; ``tracks`` is the number of the next new track."""

    root: Path
    intake: Intake
    categories: Categories
    tracks: int = 0

    def read(self, one: _Sequence) -> None:
        """Put the lines of a sequence's text on its samples."""
        if one.text is None:
            return
        try:
            text = (self.root / one.text).read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            self.intake.fault("missing-labels", one.text, None, "the sequence has no text")
            return
        except (OSError, UnicodeDecodeError) as error:
            raise FormatError(self.root / one.text, f"cannot be read: {error}") from error
        seen: set[tuple[int, int]] = set()
        for number, line in enumerate(text.split("\n"), 1):
            words = line.split()
            if not words:
                continue
            try:
                frame, id_ = int(words[0]), int(words[1])
                if not 0 <= frame < 1 << 31 or abs(id_) >= 1 << 53:
                    raise ValueError(f"frame {frame} of track {id_}")
                annotation = annotation_of(words[2:], self.categories)
            except (ValueError, IndexError) as error:
                self.intake.fault("bad-value", one.text, f"line {number}", str(error))
                continue
            if id_ >= 0:
                if (frame, id_) in seen:
                    message = f"track {id_} was in frame {frame} before"
                    self.intake.fault("duplicate-track", one.text, f"line {number}", message)
                seen.add((frame, id_))
                if id_ not in one.tracks:
                    one.tracks[id_] = (self.tracks, str(id_))
                    self.tracks += 1
                annotation.track, annotation.track_source_id = one.tracks[id_]
            one.sample(frame).annotations.append(annotation)


def _read_noted(root: Path, notes: Notes, intake: Intake) -> Iterator[rows.Sample]:
    """A tree that ``write`` wrote.

    Raises:
        FormatError: its notes do not fit it.
    """
    take_tables(notes, intake)
    says = notes.more.get("ignore") is True
    reader = _Reader(root, intake, Categories(intake, class_words(notes.categories), says))
    try:
        sequences = {
            str(s["images"]): _Sequence(
                "", "", str(s["file"]), str(s["images"]), None, None, {}, noted_tracks(s["tracks"])
            )
            for s in notes.more["sequences"]
        }
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(root / "granum.json", f"damaged notes: {error!r}") from error
    for path, sample in notes.by_path.items():
        folder, _, name = path.rpartition("/")
        stem = name.partition(".")[0]
        if folder in sequences and stem.isascii() and stem.isdigit():
            sequences[folder].frames[int(stem)] = sample
    given = [t for s in sequences.values() for t, _ in s.tracks.values()]
    reader.tracks = 1 + max(given, default=-1)
    ours = {id(s) for s in notes.samples}
    for one in sequences.values():
        reader.read(one)
    yield from notes.samples
    for one in sequences.values():
        yield from (s for s in one.frames.values() if id(s) not in ours)
