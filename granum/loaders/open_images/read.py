"""Reading a tree: files in blocks, rows put aside by ranges of samples, a range at a time back."""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa

from granum.loaders._csv import CsvFile
from granum.loaders.base import Intake
from granum.loaders.open_images.assemble import Aside, Assembler
from granum.loaders.open_images.classes import Classes
from granum.loaders.open_images.facts import ATTRIBUTES, CORNERS, KINDS, attribute_type
from granum.loaders.open_images.ids import Ids
from granum.loaders.open_images.narratives import read_narratives
from granum.loaders.open_images.notes import NOTES, Notes, read_notes
from granum.loaders.open_images.parse import Codes, Parser
from granum.loaders.open_images.spill import RANGE, Spill
from granum.loaders.open_images.tree import File, Images, Tree
from granum.schema import rows
from granum.store.builder import Incoming
from granum.store.media import IMAGE_SUFFIXES

__all__ = ["read_tree"]

FORMAT = "open_images"
_COMMA = re.compile(r"\d*,\d+")
ORDER = ("images", "boxes", "masks", "points", "labels", "relations")


def read_tree(root: Path, intake: Intake, decimal: str, at_hand: bool) -> Iterator[Incoming]:
    """The samples of a tree with their annotations.

    Args:
        root: the folder, or one CSV file.
        intake: gets categories, sources, findings.
        decimal: ``point``, ``comma``, or ``auto``.
        at_hand: only samples whose image is there.
    """
    tree = Tree.of(root)
    notes = read_notes(tree.root / NOTES) or Notes()
    classes = Classes(tree, notes, intake)
    for name in tree.others:
        intake.fault("file-not-read", name, None, "no file that this format reads")
    images = Images(tree.root, intake.images, notes.folders)
    intake.media_root, intake.map_root = images.root, tree.root
    intake.locate = lambda a, key: _place(a, key, intake)
    ids, codes = Ids(), Codes()
    parser = Parser(intake, ids, classes, codes, notes.scores, notes.subsets)
    if at_hand:
        _list_images(images, ids, codes)
    with tempfile.TemporaryDirectory(prefix="granum-open-images-") as folder:
        aside: list[Aside] = []
        try:
            for kind in ORDER:
                for file in tree.kind(kind):
                    aside.append(_put_aside(file, parser, notes, decimal, Path(folder)))
                if kind == "images":
                    listed = len(ids) > 0
            for file in tree.narratives:
                origin = intake.source(file.name, FORMAT, top={"kind": file.kind})
                spill = Spill(Path(folder) / str(origin))
                read_narratives(file, parser, spill)
                aside.append(Aside(file, origin, spill))
            ids.finish()
            classes.report()
            if listed:
                _report_unlisted(parser, intake)
            assembler = Assembler(tree, notes, images, parser, aside)
            for first in range(0, len(ids), RANGE):
                yield assembler.range(first, min(first + RANGE, len(ids)))
            assembler.report()
        finally:
            for one in aside:
                one.spill.close()


def _put_aside(file: File, parser: Parser, notes: Notes, decimal: str, folder: Path) -> Aside:
    """Read a file; its rows are in ``folder`` then."""
    intake = parser.intake
    header = list(file.header)
    origin = intake.source(file.name, FORMAT, top={"kind": file.kind, "columns": header})
    sign = "," if decimal == "comma" or (decimal == "auto" and _has_commas(file)) else "."
    told = notes.samples if file.kind == "images" else notes.annotations
    own = {n: t for n, t in KINDS[file.kind].items() if n not in ATTRIBUTES[file.kind]}
    if file.kind == "images":
        own |= {"Width": pa.int32(), "Height": pa.int32()}
    types = {n: own[n] if n in own else attribute_type(n, told) for n in header}
    spill = Spill(folder / str(origin))
    source = CsvFile(file.path, file.name, decimal=sign)
    for block in source.blocks(types, intake):
        spill.add(*parser.parse(file, block))
    return Aside(file, origin, spill)


def _has_commas(file: File) -> bool:
    """Whether numbers among the first rows have a decimal comma."""
    at = [i for i, n in enumerate(file.header) if n.rstrip("12").removeprefix("Box") in CORNERS]
    if not at:
        return False
    with file.path.open(encoding="utf-8", errors="replace", newline="") as text:
        try:
            some = list(islice(csv.reader(text), 1, 20))
        except csv.Error:
            return False
    return any(_COMMA.fullmatch(row[i]) for row in some for i in at if i < len(row))


def _list_images(images: Images, ids: Ids, codes: Codes) -> None:
    """Take the images that are there, and no others."""
    done: set[str] = set()
    for split in ("train", "validation", "test", None):
        folder, there = images.folder(split)
        if not there or folder in done:
            continue
        done.add(folder)
        found = (p for p in sorted((images.root / folder).iterdir()) if p.is_file())
        stems = [p.stem for p in found if p.suffix.lower() in IMAGE_SUFFIXES]
        number = -1 if split is None or split not in folder else codes.number(split)
        ids.rows(pa.array(stems, pa.string()), number)
    ids.closed = True


def _report_unlisted(parser: Parser, intake: Intake) -> None:
    """Images that annotations name and no file lists: they are samples all the same."""
    for name, count in parser.unlisted.items():
        message = f"names {count} images that no file of images lists"
        intake.findings.add("unlisted-image", name, None, message, count)


def _place(annotation: rows.Annotation, key: str, intake: Intake) -> tuple[str, str]:
    if not annotation.origins or not annotation.ordinal:
        return key, "?"
    source = intake.sources[annotation.origins[0]]
    header = source.top["kind"] != "narratives"
    return source.path, f"line {annotation.ordinal[0] + 1 + header}"
