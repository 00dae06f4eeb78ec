"""The files of a YOLO tree, and the rules that tie an image to its label file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from granum.store.media import IMAGE_SUFFIXES

__all__ = [
    "SUFFIXES",
    "Labels",
    "Tree",
    "finder",
    "image_folder",
    "is_label",
    "label_path",
    "stem",
    "walk",
]

SUFFIXES = frozenset((*IMAGE_SUFFIXES, ".avif", ".dng", ".heic", ".jp2", ".mpo", ".pfm"))
SKIPPED = frozenset({"__MACOSX", ".git", ".ipynb_checkpoints"})
LABELS = ("labels", "Labels", "annotations", "Annotations", "labelTxt")
LABEL_FOLDERS = frozenset(n.lower() for n in LABELS)
NAME_LISTS = frozenset({"classes.txt", "predefined_classes.txt"})


@dataclass(slots=True)
class Tree:
    """Relative posix paths below a root, sorted: images, texts; and all folders above them.
    ``unnamed`` are files whose names are not text."""

    images: dict[str, None] = field(default_factory=dict)
    texts: dict[str, None] = field(default_factory=dict)
    folders: set[str] = field(default_factory=lambda: {""})
    unnamed: list[str] = field(default_factory=list)


def walk(root: Path) -> Tree:
    """Look through a folder; a folder behind a link is entered once."""
    tree, waiting = Tree(), [""]
    entered = {os.path.realpath(root)}
    while waiting:
        folder = waiting.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                name = entry.name
                path = f"{folder}/{name}" if folder else name
                if entry.is_dir():
                    real = os.path.realpath(entry.path) if entry.is_symlink() else path
                    if real not in entered and name not in SKIPPED:
                        entered.add(real)
                        waiting.append(path)
                    continue
                suffix = name[name.rfind(".") :].lower()
                if (suffix != ".txt" and suffix not in SUFFIXES) or name.startswith("._"):
                    continue
                if not path.isascii() and not _is_text(path):
                    tree.unnamed.append(ascii(path))
                    continue
                (tree.texts if suffix == ".txt" else tree.images)[path] = None
                if folder not in tree.folders:
                    parts = folder.split("/")
                    tree.folders.update("/".join(parts[:i]) for i in range(1, len(parts) + 1))
    tree.images = dict.fromkeys(sorted(tree.images))
    tree.texts = dict.fromkeys(sorted(tree.texts))
    return tree


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def stem(path: str) -> str:
    """A path without what follows the last dot of its name."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] if "." in name else name)


def label_path(image: str) -> str:
    """Where the labels of an image belong: the last folder ``images`` becomes ``labels``."""
    folder, _, name = image.rpartition("/")
    above = _label_folders(folder)[0]
    return f"{above}/{stem(name)}.txt" if above else f"{stem(name)}.txt"


@lru_cache(maxsize=4096)
def _label_folders(folder: str) -> list[str]:
    """Where the labels of the images in ``folder`` may be, best first."""
    parts = folder.split("/")
    exact = [i for i, p in enumerate(parts) if p == "images"]
    loose = [i for i, p in enumerate(parts) if p.lower() in ("images", "jpegimages")]
    out = [
        "/".join([*parts[:i], name, *parts[i + 1 :]])
        for i in dict.fromkeys([*exact[-1:], *loose[-1:]])
        for name in LABELS
    ]
    return list(dict.fromkeys([*out, folder]))


@lru_cache(maxsize=4096)
def image_folder(folder: str) -> str:
    """The folder of the images whose labels are in ``folder``."""
    parts = folder.split("/")
    at = [i for i, p in enumerate(parts) if p.lower() in LABEL_FOLDERS]
    if at:
        parts[at[-1]] = "Images" if parts[at[-1]][0].isupper() else "images"
    return "/".join(parts)


def is_label(text: str) -> bool:
    """Whether a text lies in a folder of labels, and is no list of names."""
    folder, _, name = text.lower().rpartition("/")
    if name in NAME_LISTS or name.startswith("readme"):
        return False
    return not LABEL_FOLDERS.isdisjoint(folder.split("/"))


class Labels:
    """Finds the label file of an image among the texts of a tree."""

    def __init__(self, tree: Tree) -> None:
        self.texts = tree.texts
        self.folders = {t.rpartition("/")[0] for t in tree.texts}
        self._known: dict[str, list[str]] = {}

    def of(self, image: str) -> str | None:
        folder, _, name = image.rpartition("/")
        if folder not in self._known:
            places = [p for p in _label_folders(folder) if p in self.folders]
            self._known[folder] = [f"{p}/" if p else "" for p in places]
        name = stem(name)
        for place in self._known[folder]:
            if f"{place}{name}.txt" in self.texts:
                return f"{place}{name}.txt"
        return None


def finder(images: Iterable[str]) -> Callable[[str], str | None]:
    """Finds an image by its key: as written, with first folders left out, or by its name alone
    where that is unique; the suffix may differ."""
    exact, loose = set(images), dict[str, str]()
    names: dict[str, str | None] = {}
    for path in sorted(exact):
        loose.setdefault(stem(path), path)
        name = stem(path).rpartition("/")[2]
        names[name] = None if name in names else path

    def find(key: str) -> str | None:
        parts = key.split("/")
        for i in range(len(parts)):
            tail = "/".join(parts[i:])
            if tail in exact:
                return tail
            if stem(tail) in loose:
                return loose[stem(tail)]
        return names.get(stem(parts[-1]))

    return find
