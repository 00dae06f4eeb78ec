"""Paths of files in a tree: each taken once, and short looks into folders for ``sniff``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice, repeat
from pathlib import Path

from granum.loaders.base import image_name

__all__ = [
    "Names",
    "entries_below",
    "first_file",
    "folders_in",
    "is_file",
    "names_in",
    "natural",
    "plain",
    "split_folders",
    "split_suffix",
    "unique_paths",
    "walk",
]


class Names:
    """Paths of files of which none is taken twice, nor is a folder.

    Args:
        files: paths of files that are taken already.
        folders: paths of folders that are.
    """

    def __init__(self, files: Iterable[str] = (), folders: Iterable[str] = ()) -> None:
        self._files, self._folders = set(files), set(folders)

    def __call__(self, wanted: str) -> str:
        """``wanted``, or a path like it that is free; it is taken then."""
        *folders, name = wanted.split("/")
        before = ""
        for folder in folders:
            path, n = before + folder, 1
            while path in self._files:
                n += 1
                path = f"{before}{folder}-{n}"
            self._folders.add(path)
            before = f"{path}/"
        stem, dot, suffix = name.rpartition(".")
        path, n = before + name, 1
        while path in self._files or path in self._folders:
            n += 1
            path = f"{before}{stem}-{n}.{suffix}" if dot else f"{before}{name}-{n}"
        self._files.add(path)
        return path


def unique_paths(
    keys: Iterable[str],
    folders: str | Iterable[str] = "",
    *,
    flat: bool = False,
    stems: bool = False,
) -> list[str]:
    """Where the image of each key goes.

    Args:
        keys: of samples.
        folders: what they go below, one for all or one each; a key that begins with it stays.
        flat: no folders below it; ``/`` becomes ``_``.
        stems: no two differ in their suffix only, so that label files can go by the stem.
    """
    names, taken, out = Names(), Names(), []
    each = repeat(folders) if isinstance(folders, str) else folders
    for key, folder in zip(keys, each, strict=False):
        path = plain(image_name(key))
        if folder:
            path = path.removeprefix(f"{folder}/")
        if flat:
            path = path.replace("/", "_")
        if folder:
            path = f"{folder}/{path}"
        if stems:
            head, suffix = split_suffix(path)
            path = taken(head) + suffix
        out.append(names(path))
    return out


def plain(name: str) -> str:
    """A name without control characters."""
    return "".join("_" if ord(c) < 32 else c for c in name)


def natural(text: str) -> list[tuple[int, str]]:
    """For sorting: numbers in names by their value."""
    return [(int(w), "") if w.isdecimal() else (-1, w) for w in re.split(r"(\d+)", text)]


def split_folders(splits: Iterable[str | None]) -> dict[str | None, str]:
    """A folder for each split, its name where that can be one; the root (empty) for None."""
    names, out = Names(), dict[str | None, str]()
    for split in dict.fromkeys(splits):
        if split is not None:
            safe = re.sub(r"[^\w. -]", "_", split).strip(". ") or "_"
            out[split] = names(safe)
    out[None] = ""
    return out


def split_suffix(path: str) -> tuple[str, str]:
    """A path before its last suffix, and the suffix with its dot (empty where it has none)."""
    name = path.rpartition("/")[2]
    dot = name.rfind(".")
    return (path, "") if dot <= 0 else (path[: dot - len(name)], name[dot:])


def is_file(path: Path) -> bool:
    """Whether there is a file. Never raises."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def names_in(folder: Path, limit: int = 1000) -> list[str]:
    """Names of what lies in a folder, at most ``limit`` of them, sorted; nothing where it is
    none. Never raises."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in islice(entries, limit))
    except (OSError, ValueError):
        return []


def folders_in(folder: Path, limit: int = 1000) -> list[str]:
    """Names of the folders in a folder, as ``names_in``."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in islice(entries, limit) if e.is_dir())
    except (OSError, ValueError):
        return []


def first_file(folder: Path, suffixes: Iterable[str], limit: int = 200) -> Path | None:
    """A file with one of ``suffixes`` (lower case) below a folder; looks at ``limit`` entries,
    those near the root first. Never raises."""
    wanted = tuple(suffixes)
    for entry in islice(entries_below(folder), limit):
        if entry.name.lower().endswith(wanted) and entry.is_file():
            return Path(entry.path)
    return None


def entries_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What lies below a folder and is not hidden, those near it first, by name; links to folders
    are not followed. Never raises."""
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop(0)) as found:
                listed = sorted(found, key=lambda e: e.name)
        except (OSError, ValueError):
            continue
        for entry in listed:
            if not entry.name.startswith("."):
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                yield entry


def walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each folder below a root: what paths in it begin with, its folders (those taken out of the
    list are not gone into) and its files, sorted; hidden ones are left out."""
    for place, below, files in os.walk(root):
        below[:] = sorted(n for n in below if not n.startswith("."))
        inside = Path(place).relative_to(root).as_posix()
        before = "" if inside == "." else f"{inside}/"
        yield before, below, sorted(n for n in files if not n.startswith("."))
