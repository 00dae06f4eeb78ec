"""Which images a YOLO tree has, where the labels of each are, and which split names it.

The tree is walked once; after that everything is a look-up in sets of paths.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from granum.loaders.base import Intake
from granum.loaders.yolo.config import Config
from granum.loaders.yolo.tree import Labels, Tree, finder, image_folder, is_label, stem, walk

__all__ = ["Items", "list_items"]

NO_LABELS = re.compile(
    r"(readme.*|classes|predefined_classes|requirements|licen[cs]e|notes|images"
    r"|(train|val|valid|test|trainval|minival)(2\d{3})?)\.txt",
    re.IGNORECASE,
)
ALIASES = (("valid", "val"), ("val", "valid"), ("validation", "val"), ("val", "validation"))
SPLIT_NAME = re.compile(r"(train|val|valid|validation|test|minival)(2\d{3})?")


@dataclass(slots=True)
class Items:
    """The samples in order: key, path of the image or None, label file or None, split."""

    keys: list[str] = field(default_factory=list)
    media: list[str | None] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)


def list_items(root: Path, config: Config, intake: Intake) -> Items:
    """The samples of a tree; reports what is missing, unlisted or named twice."""
    return _Listing(root, config, intake).run()


class _Listing:
    """Gathers the samples of a tree; each image and each lone label file counts once."""

    def __init__(self, root: Path, config: Config, intake: Intake) -> None:
        self.root, self.config, self.intake = root, config, intake
        self.tree = walk(root)
        for name in self.tree.unnamed:
            intake.fault("file-not-read", name, None, "its name is not UTF-8")
        self.labels = Labels(self.tree)
        self.others = Tree() if intake.images is None else walk(intake.images)
        self.items, self.at = Items(), dict[str, int]()
        self.used: set[str] = set()
        self.lists: set[str] = set()
        self.order = self._listed_by_us()

    def run(self) -> Items:
        for split, entries in self.config.splits:
            before = len(self.at)
            named = sum(self.entry(split, entry) for entry in entries)
            again = named - (len(self.at) - before)
            if again:
                message = f"{again} image(s) that an earlier split names; they stay there"
                self.intake.fault("conflicting-records", self.where, str(split), message)
        self.rest()
        return self.finished()

    @property
    def where(self) -> str:
        return self.config.file or "."

    def _listed_by_us(self) -> dict[str, int]:
        """The list of all images that our writer adds, as places."""
        name = self.config.notes.images
        if name is None or name not in self.tree.texts:
            return {}
        self.lists.add(name)
        paths = (path.removeprefix("./") for _, path in _lines(self.root / name))
        return {path: i for i, path in enumerate(paths)}

    # ------------------------------------------------------------------ entries

    def entry(self, split: str | None, entry: str) -> int:
        """Add what an entry of a split names: a folder or a list; returns how many images."""
        as_list = entry.strip().lower().endswith(".txt")
        path = self.resolve(split, entry, as_list)
        if path is None:
            self.missing(split, entry)
            return 0
        if not as_list:
            return self.folder(path, split)
        self.lists.add(path)
        return self.list_file(path, split)

    def missing(self, split: str | None, entry: str, but: str = "") -> None:
        message = f"{entry!r} is absent{but}"
        self.intake.fault("missing-split", self.where, str(split), message)

    def resolve(self, split: str | None, entry: str, as_list: bool) -> str | None:
        """The path below the root that an entry means, or None where nothing is there.

        Tried in turn: below ``path``; below the root, ``../`` left out, since trees that were
        moved or unpacked say ``../train/images``; lists and absolute paths without their first
        folders; ``val`` for ``valid`` and so on.
        """
        path, base = _posix(entry.strip()), _posix(self.config.base)
        tries = [_below_root(path)]
        joined = posixpath.normpath(posixpath.join(base, path))
        if not joined.startswith(("/", "..")):
            tries.insert(0, "" if joined == "." else joined)
        if as_list or path.startswith("/"):
            parts = tries[-1].split("/")
            tries += ["/".join(parts[i:]) for i in range(1, len(parts))]
        there = self.tree.texts if as_list else self._folders
        for one in tries:
            if one in there:
                return one
        for one in tries[:2]:
            for old, new in ALIASES:
                named = "/".join(new if p == old else p for p in one.split("/"))
                if named != one and named in there:
                    self.missing(split, entry, f"; {named!r} is taken for it")
                    return named
        return None

    @cached_property
    def _folders(self) -> set[str]:
        """Folders that hold images, here or where the user said, or whose labels are here."""
        made = {image_folder(f) for f in self.tree.folders}
        made |= {path.rpartition("/")[0] for path in self.order}
        folders = {*self.tree.folders, *self.others.folders}
        for parts in (folder.split("/") for folder in made):
            folders.update("/".join(parts[:i]) for i in range(len(parts) + 1))
        return folders

    def add(self, key: str, media: str | None, label: str | None, split: str | None) -> bool:
        """Add a sample, unless it is there already."""
        if key in self.at:
            return False
        self.at[key] = len(self.items.keys)
        self.items.keys.append(key)
        self.items.media.append(media)
        self.items.labels.append(label)
        self.items.splits.append(split)
        if label is not None:
            self.used.add(label)
        return True

    def folder(self, folder: str, split: str | None) -> int:
        """Add the images below a folder, and those that only labels or our list tell of."""
        start = f"{folder}/" if folder else ""
        named = dict.fromkeys(
            path
            for paths in (self.tree.images, self.others.images, self.order)
            for path in paths
            if path.startswith(start)
        )
        for path in named:
            self.add(path, path, self.labels.of(path), split)
        alone = 0
        for text in self.tree.texts:
            if text in self.used or text in self.lists:
                continue
            above, _, name = text.rpartition("/")
            if is_label(text):
                inside = f"{image_folder(above)}/".startswith(start)
            else:  # beside the images
                inside = bool(start) and text.startswith(start) and not NO_LABELS.fullmatch(name)
            if inside:
                alone += self.label_only(text, split)
        return len(named) + alone

    def label_only(self, text: str, split: str | None) -> bool:
        """Add a sample of which only the label file is here."""
        folder, _, name = text.rpartition("/")
        key = posixpath.join(image_folder(folder), stem(name) + ".jpg")
        if not self.add(key, None, text, split):
            other = self.items.labels[self.at[key]]
            self.intake.fault("file-not-read", text, None, f"the labels of {key!r} are in {other}")
            self.used.add(text)
            return False
        if self.tree.images:
            self.intake.fault("unlisted-image", text, None, "a label file without an image")
        return True

    def list_file(self, name: str, split: str | None) -> int:
        """Add the images that a list names, whether they are here or not."""
        named, skip = 0, 0
        for number, line in _lines(self.root / name):
            path = _posix(line)
            if path.startswith("./"):
                path = posixpath.join(posixpath.dirname(name), path)
            parts = _below_root(path).split("/")
            # Lists are written where darknet runs: leave out first folders until it is here.
            for i in (skip, *range(len(parts))):
                key = "/".join(parts[i:])
                if key in self.tree.images or key in self.others.images or self.labels.of(key):
                    skip = i
                    break
            else:
                key = "/".join(parts)
            if not key or path.endswith("/"):
                self.intake.fault("bad-value", name, f"line {number}", f"{line!r} is no image")
                continue
            self.add(key, key, self.labels.of(key), split)
            named += 1
        return named

    # ------------------------------------------------------------------ what is left

    def rest(self) -> None:
        """Images and label files that no split names; all of them where there are no splits."""
        unlisted = bool(self.config.splits)
        for path in self.tree.images:
            if path in self.at:
                continue
            label = self.labels.of(path)
            if unlisted:
                if label is None and "images" not in path.lower().split("/")[:-1]:
                    continue  # a picture that lies about
                self.intake.fault("unlisted-image", path, None, "no split names it")
            self.add(path, path, label, None if unlisted else _split_of(path))
        beside = {u.rpartition("/")[0] for u in self.used}
        left = [t for t in self.tree.texts if t not in self.used and t not in self.lists]
        named = [t for t in left if is_label(t) or not NO_LABELS.fullmatch(t.rpartition("/")[2])]
        wanted = [t for t in named if is_label(t) or t.rpartition("/")[0] in beside]
        if not wanted and not self.items.keys:
            wanted = named  # a flat folder of label files
        for text in wanted:
            self.label_only(text, None if unlisted else _split_of(text))

    def finished(self) -> Items:
        """In the order of our list, and with the images of the folder that the user named."""
        items = self.items
        if self.order:
            last = len(self.order)
            by = sorted(range(len(items.keys)), key=lambda i: self.order.get(items.keys[i], last))
            items = Items(
                [items.keys[i] for i in by],
                [items.media[i] for i in by],
                [items.labels[i] for i in by],
                [items.splits[i] for i in by],
            )
        if self.intake.images is not None:
            find = finder(self.others.images)
            for i, key in enumerate(items.keys):
                guessed, found = items.media[i] is None, find(key)
                items.media[i] = found
                if guessed and found is not None:  # now the suffix is known
                    key = stem(key) + found[found.rfind(".") :]
                    if key not in self.at:
                        self.at[key], items.keys[i] = i, key
        taken: set[str] = set()
        for i, path in enumerate(items.keys):
            key = self.config.notes.key(path)
            items.keys[i] = path if key in taken else key
            taken.add(items.keys[i])
        return items


def _split_of(path: str) -> str | None:
    """The split that the name of a folder tells, where nothing else does."""
    return next((p for p in path.split("/")[:-1] if SPLIT_NAME.fullmatch(p.lower())), None)


def _posix(path: str) -> str:
    """A path with slashes, as Windows may have written it."""
    return re.sub(r"^[A-Za-z]:(?=[\\/])", "", path).replace("\\", "/")


def _below_root(path: str) -> str:
    """``path`` as one that cannot climb out of its root."""
    return posixpath.normpath(f"/{path}").lstrip("/")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a list that are not blank, with their numbers."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            text = line.rstrip()
            if text:
                yield number, text
