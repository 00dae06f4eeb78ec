"""PASCAL VOC trees: where labels, images and masks lie, and which image a label file is of."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from granum.errors import FormatError
from granum.loaders._voc_classes import COLOURS, VALUES, rgb24
from granum.loaders._voc_names import is_text, stem
from granum.loaders._voc_sets import FOLDER
from granum.loaders._xml import root_tag
from granum.store.media import IMAGE_SUFFIXES, open_image

__all__ = [
    "CLASS",
    "OBJECT",
    "SPLITS",
    "Images",
    "Tree",
    "find_tree",
    "instances",
    "looks_like",
    "mask_encoding",
    "walk",
]

LABELS = ("Annotations", "annotations", "Annotation")
IMAGES = ("JPEGImages", "images", "Images", "imgs")
CLASS, OBJECT = "SegmentationClass", "SegmentationObject"
SET_FOLDERS = ("Main", "Segmentation", "Layout", "Action")

SPLITS = frozenset(
    {"train", "training", "val", "valid", "validation", "test", "testing", "dev", "trainval"}
)
"""Folders that are splits, where there are no lists."""

HEAD = 4096
FEW = 100
"""Entries of a folder that sniffing looks at."""


@dataclass(frozen=True)
class Tree:
    """A dataset's folders, relative to ``base``; ``labels`` is empty where label files lie
    beside their images."""

    base: Path
    labels: str
    images: str


def find_tree(root: Path) -> Tree:
    """The tree at ``root``, or the only one in it (``VOCdevkit/VOC2012``).

    Raises:
        FormatError: no folder, or several datasets in it.
    """
    if not root.is_dir():
        raise FormatError(root, "no such folder")
    found = _tree_at(root)
    if found is not None:
        return found
    inside = [t for p in _editions(root) if (t := _tree_at(p)) is not None]
    if len(inside) > 1:
        names = ", ".join(t.base.relative_to(root).as_posix() for t in inside)
        raise FormatError(root, f"several datasets: {names}; name one of them")
    return inside[0] if inside else Tree(root, "", "")


def _editions(root: Path) -> list[Path]:
    devkit = root / "VOCdevkit"
    inside = sorted((devkit if devkit.is_dir() else root).iterdir())
    return [p for p in inside if p.name.startswith("VOC") and p.name != "VOCdevkit" and p.is_dir()]


def _tree_at(base: Path) -> Tree | None:
    images = next((n for n in IMAGES if (base / n).is_dir()), IMAGES[0])
    for labels in LABELS:
        if any(name.lower().endswith(".xml") for name in walk(base / labels)):
            return Tree(base, labels, images)
    has_sets = any((base / FOLDER / n).is_dir() for n in SET_FOLDERS)
    if has_sets or (base / CLASS).is_dir() or (base / OBJECT).is_dir():
        return Tree(base, LABELS[0], images)
    return None


def walk(folder: Path) -> Iterator[str]:
    """Files below ``folder``, relative, in order."""
    for at, inside, files in os.walk(folder):
        inside.sort()
        prefix = Path(at).relative_to(folder).as_posix()
        for name in sorted(files):
            if is_text(name):
                yield name if prefix == "." else f"{prefix}/{name}"


class Images:
    """The images of a folder, found by name.

    Args:
        names: their paths relative to the folder.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.files = dict.fromkeys(names)
        self.by_stem: dict[str, str] = {}
        self._by_base: dict[str, str | None] = {}
        for name in self.files:
            if name.lower().endswith(IMAGE_SUFFIXES):
                self.by_stem.setdefault(stem(name), name)
                base = name.rpartition("/")[2]
                self._by_base[base] = None if base in self._by_base else name

    def find(self, key: str, label: str, labels: Container[str]) -> str | None:
        """The file of a sample: by its key, its label file's name, or its last component (where
        one image has that, and it is not that of another of ``labels``)."""
        if key in self.files:
            return key
        if label in self.by_stem:
            return self.by_stem[label]
        found = self._by_base.get(key.rpartition("/")[2])
        return None if found is None or stem(found) in labels else found

    def key(self, label: str, filename: str | None) -> tuple[str, bool]:
        """The key of the sample of a label file, and whether ``filename`` is of another image.

        Args:
            label: the label file's path below the labels, without suffix.
            filename: what it says its image is called.
        """
        if filename:
            name = filename.replace("\\", "/")
            folder, slash, base = label.rpartition("/")
            if label in (name, _cut(name)):
                key = name
            elif base in (last := name.rpartition("/")[2], _cut(last)):
                key = f"{folder}{slash}{last}"
            else:
                key = ""
            if key and (key in self.files or label not in self.by_stem):
                return key, False
            if label not in self.by_stem:
                suffix = Path(name).suffix
                known = suffix.lower() in IMAGE_SUFFIXES
                return label + (suffix if known else ""), True
            return self.by_stem[label], stem(name.rpartition("/")[2]) != base
        return self.by_stem.get(label, label), False


def _cut(name: str) -> str:
    """Without whatever suffix it has."""
    head, dot, _ = name.rpartition(".")
    return head if dot else name


# ------------------------------------------------------------------ masks


def mask_encoding(path: Path) -> str:
    """How a mask's values are stored: ``index`` (palette or grey) or ``rgb24``."""
    try:
        with path.open("rb") as file:
            head = file.read(26)
    except OSError:
        return "index"
    return "rgb24" if head[:4] == b"\x89PNG" and head[25:26] in (b"\2", b"\6") else "index"


def instances(path: Path) -> tuple[str, dict[int, int]]:
    """The objects in a mask of objects: how values are stored, and for each number its value.

    A colour that is not in the palette gets a number below 0.

    Raises:
        FormatError: it does not decode.
    """
    with open_image(path) as image:
        try:
            if image.mode in ("P", "L"):
                found = [i for i, n in enumerate(image.histogram()) if n]
                return "index", {i: i for i in found if i not in (0, 255)}
            if image.mode in ("RGB", "RGBA"):
                listed = image.convert("RGB").getcolors(1 << 24) or []
                found_colours = [c for _, c in listed if isinstance(c, tuple)]
                colours = [(c[0], c[1], c[2]) for c in found_colours]
                colours = [c for c in colours if c not in (COLOURS[0], COLOURS[255])]
                return "rgb24", {VALUES.get(c, -1 - rgb24(c)): rgb24(c) for c in colours}
            values = [int(v) for v in np.unique(np.asarray(image))]
            return "index", {i: i for i in values if i not in (0, 255)}
        except (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error) as error:
            raise FormatError(path, f"does not decode: {error}") from error


# ------------------------------------------------------------------ sniffing


def looks_like(root: Path) -> str | None:
    """Why ``root`` looks like this format; see ``Format.sniff``."""
    try:
        if not root.is_dir():
            return None
        for base in [root, *_editions(root)[:3]]:
            why = _looks_like_tree(base)
            if why is not None:
                return why if base == root else f"{base.name}: {why}"
        splits = [root / e.name for e in _entries(root, FEW) if e.name in SPLITS and e.is_dir()]
        for path in (root, *sorted(splits)):
            name = _first_label(path)
            if name is not None:
                return f"{name} is a VOC annotation"
    except (OSError, ValueError):
        pass
    return None


def _looks_like_tree(base: Path) -> str | None:
    entries = {e.name for e in _entries(base, 10 * FEW)}
    if any(n.startswith("JPEGImages-") for n in entries):
        return None  # kin of VOC that has several sets of images (DIOR)
    for labels in LABELS:
        if labels in entries:
            for folder in _two_levels(base / labels):
                name = _first_label(folder)
                if name is not None:
                    return f"{labels} holds VOC annotations ({name})"
    sets = next((n for n in SET_FOLDERS if (base / FOLDER / n).is_dir()), None)
    if sets is not None and (
        entries & {"JPEGImages", CLASS, OBJECT, "labelmap.txt"} or entries == {FOLDER}
    ):
        return f"{FOLDER}/{sets} and the folders of PASCAL VOC are there"
    return None


def _entries(folder: Path, most: int) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return list(islice(found, most))


def _two_levels(folder: Path) -> list[Path]:
    inside = sorted(e.path for e in _entries(folder, FEW) if e.is_dir())
    return [folder, *map(Path, inside[:20])]


def _first_label(folder: Path) -> str | None:
    """The name of a VOC annotation among the first XML files of a folder."""
    names = [e.name for e in _entries(folder, FEW) if e.name.lower().endswith(".xml")]
    return next((n for n in sorted(names)[:5] if _is_label(folder / n)), None)


def _is_label(path: Path) -> bool:
    """An ``annotation`` of boxes, not one of LabelMe's polygons or FAIR1M's points."""
    if root_tag(path) != "annotation":
        return False
    with path.open("rb") as file:
        head = file.read(HEAD)
    if any(tag in head for tag in (b"<imagesize>", b"<polygon>", b"<sourceImage>", b"<objects>")):
        return False
    return any(tag in head for tag in (b"<bndbox>", b"<segmented>", b"<size>", b"<granum_key"))
