"""ImageNet lists: ``train.txt`` of lines ``path class [class…]``, and ``synsets.txt`` of names.

Class numbers count lines of the names from 0. Paths are relative to ``images/``, or to the root.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._columns import constant, single
from granum.loaders._hf_read import locations
from granum.loaders._hf_samples import Keys, incoming, media_array
from granum.loaders._image_tree import Tree, is_image
from granum.loaders.base import Intake
from granum.schema import rows
from granum.store.builder import Incoming
from granum.store.out import safe_relative

__all__ = ["class_lists", "label_table", "parse_line", "read_lists", "sniff_lists"]

AT_ONCE = 16_384
_LINE = re.compile(r'(?:"(?P<quoted>[^"]+)"|(?P<plain>\S.*?))(?P<numbers>(?:\s+\d+)*)\s*')


def parse_line(line: str) -> tuple[str, list[int]] | None:
    """Path and class numbers of a line; None where it is none. A path with blanks may be quoted."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    path = found["quoted"] or found["plain"]
    if not is_image(path):
        return None
    return path, [int(n) for n in found["numbers"].split()]


def class_lists(root: Path, tree: Tree, synsets: str) -> list[str]:
    """The lists at the root, where this is such a tree: there are names, or images only below
    ``images/``."""
    named = synsets in tree.others
    flat = all(p.startswith("images/") for p in tree.images)
    if tree.metadata or not (named or flat):
        return []
    found = [n for n in tree.others if "/" not in n and n.endswith(".txt") and n != synsets]
    return [n for n in found if _is_list(root / n)]


def _is_list(path: Path) -> bool:
    """Whether the first line that is not empty is one of a list."""
    with path.open("rb") as file:
        for raw in file.read(4096).splitlines():
            if raw.strip():
                parsed = parse_line(raw.decode("utf-8", "replace"))
                return parsed is not None and bool(parsed[1])
    return False


def sniff_lists(root: Path) -> str | None:
    """Why a folder looks like ImageNet lists, or None; needs the names of the classes."""
    try:
        if not (root / "synsets.txt").is_file():
            return None
        for path in sorted(root.glob("*.txt"))[:16]:
            if path.name != "synsets.txt" and _is_list(path):
                return f"synsets.txt and {path.name}, a list of images and class numbers"
    except (OSError, ValueError):
        return None
    return None


def _lines(path: Path, name: str) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.strip()
    except UnicodeDecodeError as error:
        raise FormatError(name, f"no UTF-8: {error.reason}", f"byte {error.start}") from error


def label_table(at: list[int], category: list[int], source: int, lines: list[int]) -> pa.Table:
    """Label annotations."""
    n = len(at)
    return pa.table(
        {
            "sample": pa.array(at, pa.int64()),
            "kind": constant("label", n),
            "category": pa.array(category, pa.int32()),
            "origins": single(np.full(n, source), pa.int16()),
            "ordinal": single(np.array(lines, np.int64), pa.int64()),
        }
    )


@dataclass
class _Waiting:
    """Samples not yet given."""

    keys: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    category: list[int] = field(default_factory=list)
    label_lines: list[int] = field(default_factory=list)

    def give(self, intake: Intake, source: int, split: str) -> Incoming:
        n = len(self.keys)
        return incoming(
            intake,
            {
                "origins": single(np.full(n, source), pa.int16()),
                "ordinal": single(np.array(self.lines, np.int64), pa.int64()),
            },
            self.keys,
            media_array(self.keys),
            [split] * n,
            label_table(self.at, self.category, source, self.label_lines),
            unit="pixel",
        )


def read_lists(
    root: Path, tree: Tree, lists: list[str], synsets: str, intake: Intake, name: str
) -> Iterator[Incoming]:
    """Read all lists; each is the split of its name."""
    classes: dict[int, int] = {}
    named = synsets in tree.others
    if named:
        for i, (_, text) in enumerate(_lines(root / synsets, synsets)):
            classes[i] = intake.category(text)
    known = len(classes)
    images, used, keys = set(tree.images), set[str](), Keys()
    intake.locate = locations(lists, ["line"] * len(lists))
    for file in lists:
        source = intake.source(file, name, options={"synsets": synsets if named else None})
        split, waiting = file.removesuffix(".txt"), _Waiting()
        for number, line in _lines(root / file, file):
            parsed = parse_line(line)
            path = None if parsed is None else _path(parsed[0], images)
            if parsed is None or path is None:
                message = "no path of an image and class numbers"
                intake.fault("bad-value", file, f"line {number}", message)
                continue
            if path not in images:
                intake.fault("file-missing", file, f"line {number}", f"{path!r} is absent")
            used.add(path)
            if keys.taken(path):
                intake.fault("duplicate-key", file, f"line {number}", f"{path!r} is listed before")
                if intake.on_error != "fix":
                    continue
            for which in parsed[1]:
                if which not in classes:
                    if named:
                        message = f"class {which}, of {known} that are named"
                        intake.fault("unknown-class", file, f"line {number}", message)
                        if intake.on_error != "fix":
                            continue
                    category = rows.Category(str(which), "object", source_id=str(which))
                    classes[which] = intake.add_category(category)
                waiting.at.append(len(waiting.keys))
                waiting.category.append(classes[which])
                waiting.label_lines.append(number)
            waiting.keys.append(keys.unique(path))
            waiting.lines.append(number)
            if len(waiting.keys) >= AT_ONCE:
                yield waiting.give(intake, source, split)
                waiting = _Waiting()
        yield waiting.give(intake, source, split)
    for path in tree.images:
        if path not in used:
            intake.fault("unlisted-image", path, None, "no list names it")


def _path(given: str, images: set[str]) -> str | None:
    """Where a listed image is; None where its path leaves the folder."""
    try:
        path = safe_relative(given, "").as_posix()
    except FormatError:
        return None
    below = (PurePosixPath("images") / path).as_posix()
    if path in images:
        return path
    return below if below in images or any(p.startswith("images/") for p in images) else path
