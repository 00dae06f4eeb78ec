"""Recognising a YOLO tree without reading it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from granum.loaders._hf_files import known_split
from granum.loaders._paths import folders_in, names_in
from granum.loaders.yolo.config import PREFERRED, looks_like_config
from granum.loaders.yolo.parse import NUMBER, clean
from granum.loaders.yolo.tree import LABEL_FOLDERS, NAME_LISTS, SUFFIXES

__all__ = ["sniff"]

LOOKED_AT = 64
DEPTH = 4
OTHERS = (".json", ".xml", ".csv", ".tfrecord")
"""Suffixes of what other formats say of images."""


def sniff(root: Path) -> str | None:
    """Why ``root`` looks like a YOLO tree, or None."""
    try:
        return _sniff(root)
    except (OSError, ValueError):  # such as a NUL in a name
        return None


def _sniff(root: Path) -> str | None:
    if root.is_file():
        known = root.suffix.lower() in (".yaml", ".yml", ".data")
        return "names classes and splits" if known and looks_like_config(root) else None
    others = [*sorted(root.glob("*.data")), *sorted(root.glob("*.y*ml"))][:LOOKED_AT]
    for path in [*(root / name for name in PREFERRED), *others]:
        if path.is_file() and looks_like_config(path):
            return f"{path.name} names classes and splits"
    named = any((root / name).is_file() for name in (*PREFERRED, "obj.names", "classes.txt"))
    for path, rows in _label_rows(root, anywhere=named):
        if rows:
            if not named and _is_collection(root, path):
                return None
            return f"{path.name} has rows of a class number and fractions"
    return None


def _is_collection(root: Path, path: Path) -> bool:
    """Whether a label file is in one of several datasets in folders, another of which has images
    and files of another format."""
    first, *below = path.relative_to(root).parts
    if not below or first.lower() in LABEL_FOLDERS or known_split(first):
        return False
    for folder in folders_in(root, LOOKED_AT):
        if folder == first or folder.lower() in LABEL_FOLDERS or known_split(folder):
            continue
        home = root / folder
        places = (home, *(home / f for f in folders_in(home, 8)))
        names = [n.lower() for place in places for n in names_in(place, LOOKED_AT)]
        if any(n.endswith(OTHERS) for n in names) and any(
            n.endswith(tuple(SUFFIXES)) for n in names
        ):
            return True
    return False


def _label_rows(root: Path, anywhere: bool) -> Iterator[tuple[Path, bool]]:
    """Some texts in folders of labels or beside images (or ``anywhere``), and whether their rows
    fit."""
    waiting, looked = [(root, 0)], 0
    while waiting and looked < LOOKED_AT:
        folder, depth = waiting.pop(0)
        texts, images = [], set()
        with os.scandir(folder) as entries:
            for _, entry in zip(range(4096), entries, strict=False):
                stem, _, suffix = entry.name.rpartition(".")
                if entry.is_dir() and depth < DEPTH:
                    waiting.append((Path(entry.path), depth + 1))
                elif suffix.lower() == "txt" and entry.name.lower() not in NAME_LISTS:
                    texts.append((stem, entry))
                elif f".{suffix.lower()}" in SUFFIXES:
                    images.add(stem)
        above = (root.name, *folder.relative_to(root).parts)
        of_labels = any(p.lower() in LABEL_FOLDERS for p in above)
        for stem, entry in sorted(texts, key=lambda t: t[0]):
            if (of_labels or anywhere or stem in images) and looked < LOOKED_AT:
                looked += 1
                yield Path(entry.path), _fits(Path(entry.path))


def _fits(path: Path) -> bool:
    """Whether the first row is a class number and fractions of an image."""
    with path.open("rb") as file:
        head = clean(file.read(1 << 14)).lstrip()
    row = head.partition(b"\n")[0].split()[:64]
    if len(row) < 5 or not row[0].isdigit() or not all(NUMBER.fullmatch(t) for t in row):
        return False
    return all(-0.01 <= float(t) <= 1.01 for t in row[1:5])
