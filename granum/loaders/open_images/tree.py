"""Finding the files of a tree: at its root, in ``annotations``, or by split in ``labels`` and
``metadata``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from granum.errors import FormatError
from granum.loaders._csv import first_record
from granum.loaders.base import Intake
from granum.loaders.open_images.facts import CORNERS, IMAGES, kind_of, split_of
from granum.loaders.open_images.notes import NOTES, is_notes
from granum.store.media import IMAGE_SUFFIXES

__all__ = ["File", "Images", "Tree", "find_masks", "read_sizes", "sniff"]

FOLDERS = ("annotations", "labels", "metadata")
SPLITS = ("train", "validation", "val", "test")
_LOOKED_AT = 64
_ENTRIES = 4096
_ORDER = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True, slots=True)
class File:
    """A file: what it holds (see ``facts.kind_of``), and of which split where its name tells."""

    path: Path
    name: str
    kind: str
    split: str | None
    header: tuple[str, ...] = ()

    @property
    def machine(self) -> bool:
        """Whether labels in it were given by a machine."""
        return "machine" in self.path.name.lower()


@dataclass(slots=True)
class Tree:
    """What lies in a folder (or one CSV file)."""

    root: Path
    files: list[File] = field(default_factory=list)
    narratives: list[File] = field(default_factory=list)
    hierarchies: list[File] = field(default_factory=list)
    sizes: list[File] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, root: Path) -> Tree:
        """Look through a folder.

        Raises:
            FormatError: nothing there is of this format.
        """
        folder = root if root.is_dir() else root.parent
        tree = cls(folder)
        for path in [root] if root.is_file() else _paths(root):
            tree._add(path)
        if not (tree.files or tree.narratives or (folder / NOTES).is_file()):
            raise FormatError(root, "no CSV file of Open Images here, nor in annotations or labels")
        for listed in (tree.files, tree.narratives):
            listed.sort(key=lambda f: (_ORDER.get(f.split or "", 3), f.name))
        return tree

    def kind(self, kind: str) -> list[File]:
        return [f for f in self.files if f.kind == kind]

    def _add(self, path: Path) -> None:
        name = path.relative_to(self.root).as_posix()
        lower, split = path.name.lower(), split_of(name)
        if lower.endswith(".csv"):
            header = first_record(path)
            kind = kind_of(path.name, header)
            if kind is None or kind == "triplets":
                self.others.append(name)
            else:
                self.files.append(File(path, name, kind, split, tuple(header)))
        elif lower.endswith(".jsonl"):
            self.narratives.append(File(path, name, "narratives", split))
        elif lower.endswith(".json") and "hierarchy" in lower:
            self.hierarchies.append(File(path, name, "hierarchy", None))
        elif lower == "images.meta":
            self.sizes.append(File(path, name, "sizes", None))
        elif lower.endswith((".json", ".txt")) and path.name != NOTES:
            self.others.append(name)


def _paths(root: Path, most: int | None = None) -> Iterator[Path]:
    """Files that may be ours, folder by folder; of folders of splits only their ``labels`` and
    the like, and what V1 to V3 had there."""
    below = {p.name.lower(): p for p in _entries(root, most) if p.is_dir()}
    yield from _files(root, most)
    for name in FOLDERS:
        if name in below:
            yield from _files(below[name], most)
    for split in SPLITS:
        if split not in below:
            continue
        for old in ("images", "labels", "annotations-human-bbox", "annotations-human"):
            yield from _existing([below[split] / f"{old}.csv"])
        yield from _existing([below[split] / "annotations-machine.csv"])
        for name in FOLDERS:
            if (below[split] / name).is_dir():
                yield from _files(below[split] / name, most)


def _existing(paths: Iterable[Path]) -> Iterator[Path]:
    return (p for p in paths if p.is_file())


def _entries(folder: Path, most: int | None = None) -> list[Path]:
    with os.scandir(folder) as entries:
        found = (Path(e.path) for e in entries if not e.name.startswith("."))
        return sorted(p for _, p in zip(range(most or 10**9), found, strict=False))


def _files(folder: Path, most: int | None = None) -> Iterator[Path]:
    kinds = (".csv", ".json", ".jsonl", ".txt", ".meta")
    return (p for p in _entries(folder, most) if p.name.lower().endswith(kinds) and p.is_file())


# ---------------------------------------------------------------------- images and masks


class Images:
    """Where images are: the folder of each split.

    Args:
        root: of the tree.
        images: the folder that the user named, or None.
        noted: what our notes call the folders of splits.
    """

    def __init__(
        self, root: Path, images: Path | None, noted: Iterable[tuple[str | None, str]] = ()
    ) -> None:
        self.root = images or root
        self._folders: dict[str | None, tuple[str, bool]] = {}
        if images is None:
            for split, folder in noted:
                self._folders[split] = f"images/{folder}/", (root / "images" / folder).is_dir()

    def folder(self, split: str | None) -> tuple[str, bool]:
        """The folder of a split, with a slash at its end, and whether it is there."""
        if split not in self._folders:
            self._folders[split] = self._find(split)
        return self._folders[split]

    def _find(self, split: str | None) -> tuple[str, bool]:
        names = [split] if split else []
        names += ["val"] if split == "validation" else ["validation"] if split == "val" else []
        for name in names:
            for folder in (f"images/{name}", f"{name}/data", name):
                if "/" not in name and _has_images(self.root / folder, below=True):
                    return f"{folder}/", True
        for folder in ("images", "data", ""):
            if _has_images(self.root / folder):
                return f"{folder}/" if folder else "", True
        return f"{split}/" if split else "", False

    def path(self, split: str | None, name: str) -> str:
        """The image of an id, as a path below ``root``."""
        folder, there = self.folder(split)
        if name.lower().endswith(IMAGE_SUFFIXES):
            return folder + name
        if there:
            for suffix in (".jpg", ".png", ".jpeg", ".JPG", *IMAGE_SUFFIXES):
                if (self.root / f"{folder}{name}{suffix}").is_file():
                    return f"{folder}{name}{suffix}"
        return f"{folder}{name}.jpg"


def _has_images(folder: Path, below: bool = False) -> bool:
    """Whether there is an image among the first entries of a folder; ``below``: or a folder."""
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(_ENTRIES), entries, strict=False):
                if entry.name.lower().endswith(IMAGE_SUFFIXES) or (below and entry.is_dir()):
                    return True
    except OSError:
        pass
    return False


def find_masks(root: Path, file: File, name: str) -> tuple[str, bool]:
    """Where the PNGs of a file are, found by its first one: the folder with a slash at its end,
    and whether there is one more for the first letter, in upper case."""
    split = file.split or "train"
    beside = file.path.parent.relative_to(root).as_posix()
    own = "" if beside == "." else f"{beside}/"
    first = name[:1]
    for folder in (
        *(f"masks/{split}/", f"{own}masks/", "masks/", f"{split}/masks/"),
        *(f"{split}-masks/", f"{split}-masks-{first}/", own),
    ):
        if (root / folder / name).is_file():
            shared = folder.endswith(f"-{first}/")
            return ("" if shared else folder), False
        if (root / folder / first.upper() / name).is_file():
            return folder, True
    return f"masks/{split}/", False


def read_sizes(tree: Tree, intake: Intake) -> dict[str, tuple[int, int]]:
    """Height and width by image id, from Datumaro's lists of ``id height width``."""
    out: dict[str, tuple[int, int]] = {}
    for file in tree.sizes:
        text = file.path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            name, *numbers = line.rstrip().rsplit(maxsplit=2) or [""]
            if not name or line.startswith("#"):
                continue
            if len(numbers) != 2 or not all(n.isascii() and n.isdigit() for n in numbers):
                message = "no id, height and width"
                intake.fault("bad-value", file.name, f"line {number}", message)
                continue
            height, width = (int(n) for n in numbers)
            if 0 < height < 1 << 31 and 0 < width < 1 << 31:
                out[name.strip("'\"")] = height, width
    return out


# ---------------------------------------------------------------------- sniffing


def sniff(root: Path) -> str | None:
    """Why ``root`` looks like Open Images, or None."""
    try:
        return _sniff(root)
    except (OSError, ValueError):  # such as a NUL in a name
        return None


def _sniff(root: Path) -> str | None:
    if root.is_file():
        return _why(root) if root.suffix.lower() == ".csv" else None
    if not root.is_dir():
        return None
    if is_notes(root / NOTES):
        return f"{NOTES}: written by granum"
    looked = 0
    for path in _paths(root, _ENTRIES):
        if path.suffix.lower() == ".csv" and looked < _LOOKED_AT:
            looked += 1
            why = _why(path)
            if why:
                return why
    return None


def _why(path: Path) -> str | None:
    """Why a CSV file is of this format."""
    header = first_record(path)
    columns = set(header)
    match kind_of("", header):
        case "images":
            sure = len(columns & IMAGES.keys()) > 3
        case "boxes" | "masks" | "relations":
            sure = True
        case "labels":
            sure = {"Source", "Confidence"} <= columns
        case "points":
            sure = "Label" in columns and not columns & {*CORNERS}
        case _:
            sure = False
    return f"{path.name} has columns {', '.join(header[:5])}…" if sure else None
