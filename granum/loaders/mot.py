"""MOT: tracks of MOTChallenge, SportsMOT and DanceTrack, a text of numbers for each sequence.

::

    train/MOT17-02-FRCNN/img1/000001.jpg      frames, counted from 1
    train/MOT17-02-FRCNN/gt/gt.txt            truth
    train/MOT17-02-FRCNN/det/det.txt          public detections
    train/MOT17-02-FRCNN/seqinfo.ini          size, frame rate, length
    dataset/train/…  splits_txt/train.txt     SportsMOT: lists of sequences beside the tree
    results/MOT17-02-FRCNN.txt                results, and a text of them alone

A tree, a split of it or one sequence is read. Lines are ``frame, id, left, top, width, height,
confidence`` and then, in nine columns, ``class, visibility``; in ten, MOT15's world coordinates
``x, y, z`` (attributes ``world_x``…; -1, -1, -1 is none). Words are between commas, semicolons or
blanks. Boxes are pixels, *as written*: MOTChallenge says that its coordinates count from 1, while
SportsMOT's and most tools' count from 0. ``--one-based`` takes 1 off when reading and adds it when
writing; nothing is guessed.

- Truth (``gt.txt``): confidence 0 is ``ignore``, another number than 0 and 1 is a score.
- Detections and results: confidence is the score; -1 is none. ``det.txt`` is read where no
  sequence of the tree has truth, and with ``--det`` beside it, as layer ``det``.
- An id is a track; -1 is none. Ids are unique in a sequence only (SportsMOT's begin at 0):
  ``track`` numbers them through, ``track_source_id`` is the id.
- Classes from 1 are MOTChallenge's (pedestrian, …), or lines of ``gt/labels.txt``.
- A sequence is a group of kind ``video``; a sample is a frame with a row or an image.

Written are ``gt`` (nine columns), ``mot15``, ``det`` or ``results``, by ``--layout``; also
``labels.txt`` where classes are not MOTChallenge's. Where no row states visibility or class, files
say 1. ``ignore`` cannot be both false and unstated in one dataset.

Spec: https://motchallenge.net/instructions and docs/MOTChallenge-format.txt of TrackEval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._mot_read import RESULT, locate, read_noted, read_tree
from granum.loaders._mot_tree import first_line, sequences_in
from granum.loaders._mot_write import image_paths, project, write_mot
from granum.loaders._notes import read_notes
from granum.loaders._number_rows import split_line
from granum.loaders._paths import names_in
from granum.loaders.base import Format, Intake, formats, keep_columns
from granum.store.builder import Incoming
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["Mot"]

Layout = Literal["gt", "mot15", "det", "results"]


@formats("mot")
class Mot(Format):
    """Reads and writes tracks; see the module."""

    name = "mot"
    title = "MOTChallenge, SportsMOT, DanceTrack"
    spec = "https://motchallenge.net/instructions"
    checked = "real data"
    ordered = True
    media_note = "labels only: put the frames beside them with --media copy|link|hardlink"
    keeps = frozenset(
        {
            *("sample", "object", "bbox", "category", "track", "score", "ignore", "visibility"),
            *("group", "split", "time", "geo", "attributes", "space", "supercategory", "parents"),
            *("isthing", "colour", "skeleton", "synonyms"),
        }
    )
    tolerance = {"bbox": 1e-9}  # noqa: RUF012  (one_based)

    def sniff(self, root: Path) -> str | None:
        try:
            return _sniff(root)
        except (OSError, ValueError):
            return None

    def read(
        self, root: Path, intake: Intake, *, det: bool = False, one_based: bool = False
    ) -> Iterator[Incoming]:
        """Read a tree, a split, a sequence, or texts of results.

        Args:
            root: the folder, or one text.
            intake: findings and tables.
            det: read detections beside truth, as layer ``det``.
            one_based: coordinates count from 1: take it off.

        Raises:
            FormatError: there is nothing to read.
        """
        intake.media_root = intake.images or (root if root.is_dir() else None)
        intake.locate = locate(intake)
        notes = read_notes(root, self.name)
        if notes is not None:
            yield from read_noted(root, notes, intake)
        elif not root.exists():
            raise FormatError(root, "no such file or folder")
        else:
            yield from read_tree(root, intake, det, one_based)

    def write(
        self, dataset: Dataset, out: Out, *, layout: Layout = "gt", one_based: bool = False
    ) -> None:
        """Write a tree of sequences.

        Args:
            dataset: what to write.
            out: where to.
            layout: which texts: ``gt`` (class and visibility), ``mot15`` (world coordinates),
                ``det`` (no tracks) or ``results`` (a text for each sequence, with scores).
            one_based: coordinates shall count from 1: add it.
        """
        write_mot(dataset, out, layout, one_based)

    def project(
        self, batch: Batch, dataset: Dataset, *, layout: Layout = "gt", one_based: bool = False
    ) -> Batch:
        """See ``Format.project``."""
        return project(keep_columns(batch, self.keeps), dataset, layout, one_based)

    def project_categories(self, categories: pa.Table) -> pa.Table:
        """All of them: the notes hold what the texts do not."""
        return categories

    def image_names(self, dataset: Dataset) -> Iterator[Sequence[str]]:
        yield image_paths(dataset)


def _sniff(root: Path) -> str | None:
    if root.is_file():
        found = root.suffix == ".txt" and RESULT.fullmatch(first_line(root))
        return "rows of frame, id, box, score, -1, -1, -1" if found else None
    for folder in islice(sequences_in(root, 50), 3):
        for name in ("gt/gt.txt", "det/det.txt"):
            line = first_line(root / folder / name)
            if len(words := split_line(line)) >= 7 and _numbers(words):
                return f"{folder}/{name}: frame, id, box"
        if (root / folder / "seqinfo.ini").is_file() and not (root / folder / "gt").is_dir():
            return f"{folder}/seqinfo.ini"
    texts = [n for n in names_in(root, 50) if n.endswith(".txt") and n.lower() != "readme.txt"]
    if texts and all(RESULT.fullmatch(first_line(root / n)) for n in texts[:3]):
        return f"{texts[0]}: frame, id, box, score, -1, -1, -1"
    return None


def _numbers(words: list[bytes]) -> bool:
    try:
        return all(float(w) == float(w) for w in words[:7])
    except ValueError:
        return False
