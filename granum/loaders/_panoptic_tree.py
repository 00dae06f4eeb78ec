"""Where the parts of a COCO panoptic dataset lie: JSON files, folders of PNGs, images."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from granum.errors import FormatError
from granum.loaders.base import Intake, image_name
from granum.loaders.coco.images import split_of

__all__ = [
    "Folders",
    "Tree",
    "find_tree",
    "has_panoptic",
    "image_prefix",
    "mask_folder",
    "png_name",
    "sniff_tree",
    "split_of_name",
]

ENDS = 65_536
"""Bytes at either end of a file that recognition looks at."""

SEGMENTS = b'"segments_info"'
FLAT = b'"category_id"'
"""Without segments, a sign of annotations that are no panoptic ones."""

_SEGMENT = re.compile(rb'"segments_info"\s*:\s*\[\s*\{([^{}]*)\}')
_LISTS = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')


@dataclass
class Tree:
    """The panoptic files of a path.

    Attributes:
        base: the folder that names are relative to.
        map_root: the folder that paths of PNGs are relative to.
        files: path and name of each JSON file, sorted by name.
        masks: the folder that the user named for the PNGs, if any.
    """

    base: Path
    map_root: Path
    files: list[tuple[Path, str]]
    masks: Path | None = None


def sniff_tree(root: Path, *, bare: bool = False) -> str | None:
    """Why ``root`` looks like COCO panoptic, or None.

    ``bare``: like that whose segments say ``isthing`` and have no box; else any other.
    """
    try:
        if root.is_file():
            return _sniff_file(root) if _is_bare(root) == bare else None
        for path in [*_jsons(root, 20)]:
            why = _sniff_file(path)
            if why and _is_bare(path) == bare:
                return f"{path.relative_to(root).as_posix()}: {why}"
            if why:
                return None
    except (OSError, ValueError):
        pass
    return None


def _jsons(root: Path, limit: int | None = None) -> Iterator[Path]:
    for folder in (root, root / "annotations"):
        yield from sorted(p for p in folder.glob("*.json") if p.is_file())[:limit]


def _ends(path: Path) -> tuple[bytes, bytes]:
    with path.open("rb") as file:
        head = file.read(ENDS)
        file.seek(max(0, path.stat().st_size - ENDS))
        return head, file.read()


def _is_bare(path: Path) -> bool:
    """Whether the first segment at either end of a file says ``isthing`` and has no box."""
    if path.suffix.lower() != ".json":
        return False
    head, tail = _ends(path)
    found = _SEGMENT.search(head) or _SEGMENT.search(tail)
    return found is not None and b'"isthing"' in found[1] and b'"bbox"' not in found[1]


def _sniff_file(path: Path) -> str | None:
    if path.suffix.lower() != ".json":
        return None
    head, tail = _ends(path)
    keys = {m.decode() for m in _LISTS.findall(head) + _LISTS.findall(tail)}
    if keys and (SEGMENTS in head or SEGMENTS in tail):
        return "a JSON object with segments_info"
    if _named(path) and {"images", "annotations"} <= keys and FLAT not in head + tail:
        return f"named panoptic, a JSON object with {', '.join(sorted(keys))}"
    return None


def find_tree(root: Path, intake: Intake, masks: str | None) -> Tree:
    """The panoptic files of a path; other JSON files of a folder are left, with a finding.

    Raises:
        FormatError: there is none, or the folder of masks does not exist.
    """
    if not root.exists():
        raise FormatError(root, "no such file or folder")
    base = root
    if root.is_file():
        base = root.parent.parent if root.parent.name == "annotations" else root.parent
    named = None
    if masks is not None:
        named = next((p for p in (Path(masks), base / masks) if p.is_dir()), None)
        if named is None:
            raise FormatError(masks, "no such folder (of panoptic PNGs)")
    map_root = base if named is None or named.is_relative_to(base) else named
    if root.is_file():
        return Tree(base, map_root, [(root, root.relative_to(base).as_posix())], named)
    files = []
    for path in _jsons(root):
        name = path.relative_to(root).as_posix()
        if _is_panoptic(path):
            files.append((path, name))
        else:
            intake.fault("file-not-read", name, None, "no panoptic file: it has no segments_info")
    if not files:
        raise FormatError(root, "no COCO panoptic file (*.json with segments_info) in it")
    return Tree(base, map_root, sorted(files, key=lambda f: f[1]), named)


def has_panoptic(root: Path) -> bool:
    """Whether a path is, or a folder holds, a panoptic JSON file."""
    return root.is_file() or any(map(_is_panoptic, _jsons(root)))


def _named(path: Path) -> bool:
    return path.name.startswith("panoptic_")


def _is_panoptic(path: Path) -> bool:
    """It has segments, or is named so and has no annotations of another kind."""
    with path.open("rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return data.find(SEGMENTS) >= 0 or (_named(path) and data.find(FLAT) < 0)
        except ValueError:  # an empty file cannot be mapped
            return _named(path)


def split_of_name(name: str) -> str | None:
    """The split that the name of a JSON file tells: ``panoptic_val2017.json`` -> ``val2017``."""
    return split_of(PurePosixPath(name).stem)


def mask_folder(tree: Tree, path: Path, first: str | None) -> Path:
    """The folder of PNGs of a JSON file: named like it, or where its first PNG lies.

    Args:
        tree: the tree.
        path: the JSON file.
        first: ``file_name`` of its first annotation.
    """
    names = (path.stem, f"panoptic_{path.stem}")
    if tree.masks is not None:
        places = [*(tree.masks / n for n in names), tree.masks]
    else:
        homes = dict.fromkeys((path.parent, tree.base))
        places = [*(home / n for home in homes for n in names), path.parent]
    folders = [p for p in places if p.is_dir()]
    if first is not None:
        for folder in folders:
            if Folders(folder).holds(first):
                return folder
    named = [f for f in folders if f != path.parent]
    return named[0] if named else places[0]


@dataclass
class Folders:
    """Which files there are below a folder; every folder is listed once."""

    root: Path
    _names: dict[str, set[str]] = field(default_factory=dict)

    def holds(self, name: str) -> bool:
        """Whether the relative path is a file; each folder is listed once, not each file asked."""
        folder, _, base = name.rpartition("/")
        if folder not in self._names:
            try:
                with os.scandir(self.root / folder) as listed:
                    self._names[folder] = {e.name for e in listed if e.is_file()}
            except (OSError, ValueError):
                self._names[folder] = set()
        return base in self._names[folder]


def image_prefix(
    split: str | None, several: bool, is_folder: Callable[[str], bool], masks: str
) -> str:
    """The folder of a file's images below the root, ``""`` or with a slash at its end.

    Args:
        split: the split that the file's name tells.
        several: whether there are files of other splits beside it.
        is_folder: asks for a relative path.
        masks: the folder of the PNGs, which is none of images.
    """
    places = [*((f"images/{split}/", f"{split}/") if split else ()), "images/"]
    for place in places:
        if place != masks and is_folder(place):
            return place
    return f"{split}/" if several and split else ""


def png_name(file_name: str) -> str:
    """What the PNG of an image is called: its path with another suffix."""
    folder, slash, base = image_name(file_name).rpartition("/")
    stem, dot, _ = base.rpartition(".")
    return f"{folder}{slash}{stem if dot and stem else base}.png"
