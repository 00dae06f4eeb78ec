"""LFW: faces of named persons, pairs of the same and of different ones, and five points.

::

    test/images/Aaron_Peirsol/Aaron_Peirsol_0001.jpg      or  lfw/Aaron_Peirsol/…
    test/annotations/pairs.txt       Name 1 2   (same)    Name 1 Other 3   (different)
    test/annotations/people.txt      Name 4
    test/annotations/landmarks.txt   Name/Name_0001.jpg 69 87 …   five points
    pairsDevTrain.txt …              (the official lists, beside ``lfw``)

The person is a label of space ``identity``; points are key points of an object of class ``face``
(left eye, right eye, nose, left and right end of the mouth). The pairs of an image are attributes
of its sample, ``same`` and ``different``: keys of the other images, in the order of the list and on
the image named first; so the pairs of the list can be made again. The folder that is a split is the
split; lists beside ``lfw`` (``pairsDevTrain.txt``, ``pairs.txt``) do not split it, as their pairs
share images. Images named in a pair are samples even where their files are absent. Coordinates are
pixels from the top-left corner.

Spec: http://vis-www.cs.umass.edu/lfw/
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from granum.errors import FormatError
from granum.loaders._hf_files import known_split
from granum.loaders._image_tree import is_image
from granum.loaders._paths import folders_in, is_file, names_in
from granum.loaders._texts import read_text
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows

__all__ = ["Lfw"]

LISTS = ("pairs.txt", "pairsDevTrain.txt", "pairsDevTest.txt")
POINTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
Pairs = dict[str, dict[str, list[str]]]


@formats("lfw")
class Lfw(Format):
    """Reads the folders and lists."""

    name = "lfw"
    title = "Labeled Faces in the Wild"
    spec = "http://vis-www.cs.umass.edu/lfw/"
    keeps = frozenset(
        {
            *("sample", "object", "label", "category", "keypoints", "skeleton", "split", "space"),
            "attributes",
        }
    )
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        for _, lists, _ in _places(root):
            for name in LISTS:
                if _is_pairs(root / lists / name):
                    return f"{lists}{name} has pairs of persons"
        return None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read all splits.

        Raises:
            FormatError: there is no list of pairs.
        """
        places = [p for p in _places(root) if any(is_file(root / p[1] / n) for n in LISTS)]
        if not places:
            raise FormatError(root, "no pairs.txt")
        intake.media_root = intake.images or root
        for images, lists, split in places:
            pairs: Pairs = {}
            for name in LISTS:
                if is_file(root / lists / name):
                    _pairs(root, lists + name, images, pairs, intake)
            points = {}
            if is_file(root / lists / "landmarks.txt"):
                points = _points(root, f"{lists}landmarks.txt", images, intake)
            there = [
                f"{images}{person}/{name}"
                for person in folders_in(root / images, 10**6)
                for name in names_in(root / images / person, 10**6)
                if is_image(name)
            ]
            named = (n for told in pairs.values() for listed in told.values() for n in listed)
            for key in dict.fromkeys((*there, *pairs, *named, *points)):
                sample = rows.Sample(key, rows.Media(path=key), split=split)
                sample.attributes = dict(pairs[key]) if key in pairs else None
                row = intake.category(key.split("/")[-2], "identity")
                sample.annotations.append(rows.Annotation("label", row))
                if key in points:
                    face = intake.category("face")
                    intake.categories[face].keypoints = list(POINTS)
                    one = rows.Annotation("object", face, keypoints=points[key])
                    sample.annotations.append(one)
                yield sample


def _places(root: Path) -> list[tuple[str, str, str | None]]:
    """Folder of images, folder of lists, and split: those that there may be."""
    splits = [f for f in folders_in(root, 100) if known_split(f)]
    return [
        ("lfw/", "", None),
        *((f"{s}/images/", f"{s}/annotations/", s) for s in splits),
        ("images/", "annotations/", None),
    ]


def _is_pairs(path: Path) -> bool:
    """Whether a list begins with numbers and then has a pair. Never raises."""
    try:
        with path.open("rb") as file:
            lines = file.read(4096).decode("utf-8", "replace").splitlines()
    except (OSError, ValueError):
        return False
    return any(_pair(line.split()) is not None for line in lines[1:3])


def _pair(words: list[str]) -> tuple[str, str, str, str] | None:
    """Person and number of both images of a line; None where it is no pair."""
    if len(words) == 3:
        words = [words[0], words[1], words[0], words[2]]
    numbers = words[1::2]
    whole = len(words) == 4 and all(n.isdecimal() and len(n) < 6 for n in numbers)
    if not whole or any(w in (".", "..") or "/" in w or "\\" in w for w in words):
        return None
    return words[0], words[1], words[2], words[3]


def _pairs(root: Path, where: str, images: str, pairs: Pairs, intake: Intake) -> None:
    """Add the pairs of a list; its first line has counts."""
    intake.source(where, Lfw.name)
    for n, line in enumerate(read_text(root / where, where).splitlines(), 1):
        words = line.split()
        if not words or (n == 1 and all(w.isdecimal() for w in words)):
            continue
        found = _pair(words)
        if found is None:
            intake.fault("bad-value", where, f"line {n}", f"no pair of images: {line!r}")
            continue
        one, first, other, second = found
        key, to = (
            f"{images}{p}/{p}_{int(number):04d}.jpg"
            for p, number in ((one, first), (other, second))
        )
        kind = "same" if len(words) == 3 else "different"
        pairs.setdefault(key, {}).setdefault(kind, []).append(to)


def _points(root: Path, where: str, images: str, intake: Intake) -> dict[str, list[float]]:
    """Key points by image."""
    intake.source(where, Lfw.name)
    out: dict[str, list[float]] = {}
    for n, line in enumerate(read_text(root / where, where).splitlines(), 1):
        name, *words = line.split() or [""]
        if not name:
            continue
        try:
            values = [float(w) for w in words]
        except ValueError:
            values = []
        if len(values) != 10 or not all(map(math.isfinite, values)) or name.count("/") != 1:
            intake.fault("bad-value", where, f"line {n}", f"no image and ten numbers: {line!r}")
        elif f"{images}{name}" in out:
            intake.fault("duplicate-row", where, f"line {n}", f"{name} is there twice")
        else:
            points = [v for i in range(0, 10, 2) for v in (*values[i : i + 2], 2.0)]
            out[f"{images}{name}"] = points
    return out
