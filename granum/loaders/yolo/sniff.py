"""Recognising a YOLO tree without reading it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from granum.loaders.yolo.config import PREFERRED, looks_like_config
from granum.loaders.yolo.parse import NUMBER, clean
from granum.loaders.yolo.tree import LABEL_FOLDERS, NAME_LISTS, SUFFIXES

__all__ = ["sniff"]

LOOKED_AT = 64
DEPTH = 4


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
    for name, rows in _label_rows(root, anywhere=named):
        if rows:
            return f"{name} has rows of a class number and fractions"
    return None


def _label_rows(root: Path, anywhere: bool) -> Iterator[tuple[str, bool]]:
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
                yield entry.name, _fits(Path(entry.path))


def _fits(path: Path) -> bool:
    """Whether the first row is a class number and fractions of an image."""
    with path.open("rb") as file:
        head = clean(file.read(1 << 14)).lstrip()
    row = head.partition(b"\n")[0].split()[:64]
    if len(row) < 5 or not row[0].isdigit() or not all(NUMBER.fullmatch(t) for t in row):
        return False
    return all(-0.01 <= float(t) <= 1.01 for t in row[1:5])
