"""VGGFace2: faces of persons, with a box and five points each.

::

    train/n000001/0001_01.jpg   test/n000003/0003_01.jpg
    bb_landmark/loose_bb_train.csv         NAME_ID,X,Y,W,H
    bb_landmark/loose_landmark_train.csv   NAME_ID,P1X,P1Y,…,P5X,P5Y
    labels.txt                             n000001 Karl
    identity_meta.csv                      Class_ID, Name, Sample_Num, Flag, Gender

A face is an object of class ``face`` with its box and key points (left eye, right eye, nose, left
and right end of the mouth, as seen); the person, the name of the folder, a label of space
``identity``, whose ``synonyms`` hold the person's name. Boxes are as written and may reach beyond
the image. Rows of the lists whose images are not there are samples too. Coordinates are pixels from
the top-left corner.

Spec: https://github.com/ox-vgg/vgg_face2
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from granum.errors import FormatError
from granum.loaders._image_tree import is_image
from granum.loaders._paths import folders_in, is_file, names_in, split_suffix
from granum.loaders._texts import read_text
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows

__all__ = ["VggFace2"]

LISTS = "bb_landmark"
BOXES, POINTS = "loose_bb_", "loose_landmark_"
NAMES = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")


@formats("vgg_face2")
class VggFace2(Format):
    """Reads the lists and folders."""

    name = "vgg_face2"
    title = "VGGFace2"
    spec = "https://github.com/ox-vgg/vgg_face2"
    keeps = frozenset(
        {
            *("sample", "object", "label", "category", "bbox", "keypoints", "skeleton", "split"),
            *("space", "synonyms"),
        }
    )
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        found = [n for n in names_in(root / LISTS) if n.startswith((BOXES, POINTS))]
        return f"{LISTS}/{found[0]}" if found else None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read all splits.

        Raises:
            FormatError: there is no list.
        """
        lists = [n for n in names_in(root / LISTS) if n.endswith(".csv")]
        stems = [n[:-4] for n in lists if n.startswith((BOXES, POINTS))]
        splits = dict.fromkeys(s.removeprefix(BOXES).removeprefix(POINTS) for s in sorted(stems))
        if not splits:
            raise FormatError(root, f"no {LISTS}/{BOXES}….csv")
        intake.media_root = intake.images or root
        face = intake.category("face")
        intake.categories[face].keypoints = list(NAMES)
        persons = _persons(root)
        for split in splits:
            boxes = _numbers(root, f"{LISTS}/{BOXES}{split}.csv", 4, intake)
            points = _numbers(root, f"{LISTS}/{POINTS}{split}.csv", 10, intake)
            suffixes = _images(root / split)
            for stem in dict.fromkeys((*suffixes, *boxes, *points)):
                key = f"{split}/{stem}{suffixes.get(stem, '.jpg')}"
                sample = rows.Sample(key, rows.Media(path=key), split=split)
                if stem in boxes or stem in points:
                    one = rows.Annotation("object", face)
                    if stem in boxes:
                        x, y, w, h = boxes[stem]
                        one.bbox = x, y, w, h
                    if stem in points:
                        flat = points[stem]
                        one.keypoints = [v for i in range(0, 10, 2) for v in (*flat[i : i + 2], 2)]
                    sample.annotations.append(one)
                person = stem.rpartition("/")[0]
                if person:
                    row = intake.category(person, "identity")
                    if person in persons:
                        intake.categories[row].synonyms = [persons[person]]
                    sample.annotations.append(rows.Annotation("label", row))
                yield sample


def _images(folder: Path) -> dict[str, str]:
    """Suffixes of the images below a split, by the path before it."""
    found = (
        split_suffix(f"{person}/{name}")
        for person in folders_in(folder, 10**6)
        for name in names_in(folder / person, 10**6)
        if is_image(name)
    )
    return dict(found)


def _lines(root: Path, where: str) -> list[str]:
    return read_text(root / where, where).splitlines()


def _persons(root: Path) -> dict[str, str]:
    """Names of persons, by class."""
    if is_file(root / "identity_meta.csv"):
        cells = csv.reader(_lines(root, "identity_meta.csv")[1:], skipinitialspace=True)
        return {c[0]: c[1] for c in _rows(cells, "identity_meta.csv") if len(c) > 1 and c[1]}
    if not is_file(root / "labels.txt"):
        return {}
    words = (line.split(None, 1) for line in _lines(root, "labels.txt"))
    return {w[0]: w[1].strip() for w in words if len(w) == 2}


def _rows(cells: Iterator[list[str]], where: str) -> Iterator[list[str]]:
    try:
        yield from cells
    except csv.Error as error:
        raise FormatError(where, f"no CSV: {error}") from error


def _numbers(root: Path, where: str, width: int, intake: Intake) -> dict[str, list[float]]:
    """The numbers of each image in a list; none where the list is not there."""
    if not is_file(root / where):
        return {}
    intake.source(where, VggFace2.name)
    reader = csv.reader(_lines(root, where), skipinitialspace=True)
    out: dict[str, list[float]] = {}
    for cells in _rows(reader, where):
        place = f"line {reader.line_num}"
        if not cells or cells[0] == "NAME_ID":
            continue
        try:
            values = [float(c) for c in cells[1:]]
        except ValueError:
            values = []
        if len(values) != width or not all(map(math.isfinite, values)):
            intake.fault("bad-value", where, place, f"no {width} numbers: {cells}")
        elif cells[0] in out:
            intake.fault("duplicate-row", where, place, f"{cells[0]} is there twice")
        else:
            out[cells[0]] = values
    return out
