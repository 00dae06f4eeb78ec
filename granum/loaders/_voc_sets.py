"""PASCAL VOC image sets: ``ImageSets/<folder>/<set>.txt``.

A plain list has an image name per line (names may hold spaces); ``Layout`` and ``Action`` lists
add numbers. ``Main/<class>_<set>.txt`` has ``name flag``: 1 present, -1 absent, 0 only difficult
objects. The set ``default`` holds the images without a split.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from granum.loaders._voc_names import FILE, LINE, is_text, set_name, spelled, split_of, stem
from granum.loaders.base import Intake
from granum.store.out import Out

__all__ = ["FLAGS", "FOLDER", "ListWriter", "Sets", "numbered_lines", "read_sets"]

FOLDER = "ImageSets"
MAIN = "Main"

FLAGS = {1: (True, None), -1: (False, None), 0: (True, True)}
"""What a flag of a class list says: present, difficult."""

_ORDER = {"train": 0, "val": 1, "test": 2, "trainval": 4, "default": 5}
_NUMBERS = re.compile(r"(.*\S)\s+([+-]?\d{1,9})")
_NAME = re.compile(r"[\w-]+")


def numbered_lines(path: Path, intake: Intake) -> list[tuple[int, str]]:
    """Lines that are neither empty nor comments, with their numbers from 1."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        intake.fault("bad-value", path, f"line {line}", "not UTF-8; the file is left out")
        return []
    except OSError as error:
        intake.fault("bad-value", path, None, f"cannot be read: {error.strerror}")
        return []
    stripped = ((i, line.strip()) for i, line in enumerate(text.split("\n"), 1))
    return [(i, line) for i, line in stripped if line and line[0] != "#"]


@dataclass
class Sets:
    """What the lists say of each image, by its name in them.

    Attributes:
        members: per folder and image, the lists (file names without ``.txt``) that hold it; with
            what follows the name in the line, where something does.
        facts: per image, the flags of classes.
        places: file and line of the first list that names an image without labels.
    """

    members: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    facts: dict[str, dict[str, int]] = field(default_factory=dict)
    places: dict[str, tuple[str, str]] = field(default_factory=dict)

    def names(self) -> set[str]:
        """All images that a list names."""
        return {*self.facts, *(n for listed in self.members.values() for n in listed)}

    def of(self, name: str) -> tuple[str | None, dict[str, Any] | None]:
        """The split of an image (of ``Main``; of the next folder where there is no ``Main``),
        and its memberships beyond that, by folder."""
        home = MAIN if MAIN in self.members else min(self.members, default=MAIN, key=_rank_folder)
        mine = {folder: listed[name] for folder, listed in self.members.items() if name in listed}
        return _summary(mine, home)


def _rank_folder(folder: str) -> tuple[int, str]:
    known = [MAIN, "Segmentation", "Action", "Layout"]
    return (known.index(folder) if folder in known else len(known)), folder


def _summary(
    mine: Mapping[str, list[Any]], home: str = MAIN
) -> tuple[str | None, dict[str, Any] | None]:
    """Split and further memberships; ``trainval`` and the like give way to their parts."""
    listed = sorted(mine.get(home, []), key=_entry)
    names = [e for e in listed if isinstance(e, str)] or [e[0] for e in listed]
    chosen = min(names, key=lambda n: (_ORDER.get(n, 3), n), default="default")
    out = {}
    for folder, entries in sorted(mine.items()):
        further = sorted(entries, key=_entry)
        if folder == MAIN:
            further = [e for e in further if e != chosen]
        if further:
            out[folder] = further
    return split_of(chosen), out or None


def _entry(entry: Any) -> tuple[str, str]:
    return (entry, "") if isinstance(entry, str) else (entry[0], entry[1])


# -------------------------------------------------------------------- reading


def read_sets(
    base: Path,
    known: Collection[str],
    labelled: Collection[str],
    classes: Collection[str],
    intake: Intake,
    facts: bool,
) -> Sets:
    """All lists below ``base/ImageSets``.

    Args:
        base: the dataset's folder.
        known: names of images that there are (a line is read so that it names one of them).
        labelled: names of images that have a label file or a mask.
        classes: names of classes, where they are known.
        intake: gets the faults.
        facts: whether to read the class lists.
    """
    out = Sets()
    root = base / FOLDER
    folders = {p.name: p for p in sorted(root.iterdir()) if p.is_dir()} if root.is_dir() else {}
    if root.is_dir() and MAIN not in folders and any(root.glob("*.txt")):
        folders[MAIN] = root
    for folder, path in folders.items():
        files = {p.name[:-4]: p for p in sorted(path.glob("*.txt")) if is_text(p.name)}
        listed: dict[str, list[Any]] = {}
        for raw, file in files.items():
            lines = numbered_lines(file, intake)
            owner = _owner(raw, lines, files.keys(), known, classes) if folder == MAIN else None
            if owner is None:
                for number, line in lines:
                    name, rest = _parse(line, known, folder)
                    if name not in labelled:
                        out.places.setdefault(name, (str(file), f"line {number}"))
                    entry = [raw, rest] if rest else raw
                    if entry not in listed.setdefault(name, []):
                        listed[name].append(entry)
            elif facts:
                _read_facts(out, owner[0], file, lines, known, intake)
            if owner is not None and owner[1] not in files:
                for _, line in lines:
                    mine = listed.setdefault(_flagged(line, known)[0], [])
                    if owner[1] not in mine:
                        mine.append(owner[1])
        if listed:
            out.members[folder] = listed
    return out


def _parse(line: str, known: Collection[str], folder: str) -> tuple[str, str]:
    """The image's name in a line of a plain list, and what follows it."""
    if line[0] == '"' and line.count('"') > 1:
        name, _, rest = line[1:].rpartition('"')
        return LINE.decode(name), " ".join(rest.split())
    ways = [(line, "")]
    while (match := _NUMBERS.fullmatch(ways[-1][0])) and len(ways) < 4:
        ways.append((match[1], f"{match[2]} {ways[-1][1]}".strip()))
    if "\t" in line and len(ways) > 1:
        del ways[0]
    ways = [(LINE.decode(name), rest) for name, rest in ways]
    for name, rest in ways if folder == MAIN else reversed(ways):
        if name in known:
            return name, rest
        if stem(name) in known:
            return stem(name), rest
    short = ways[-1]  # unknown: a name with a space and a number, or a name and a number
    return short if " " not in short[0] else ways[0]


def _is_known(line: str, known: Collection[str]) -> bool:
    """Whether a whole line is the name of an image; a tab always ends a name."""
    return "\t" not in line and LINE.decode(line) in known


def _flagged(line: str, known: Collection[str]) -> tuple[str, str | None]:
    """Name and flag of a line of a class list."""
    match = _NUMBERS.fullmatch(line)
    if match is None:
        return LINE.decode(line), None
    name = LINE.decode(match[1])
    return (stem(name) if name not in known and stem(name) in known else name), match[2]


def _owner(
    raw: str,
    lines: list[tuple[int, str]],
    files: Collection[str],
    known: Collection[str],
    classes: Collection[str],
) -> tuple[str, str] | None:
    """Class and set of a class list; None for a plain list."""
    if lines and not _NUMBERS.fullmatch(lines[0][1]):
        return None
    if lines and all(_is_known(line, known) for _, line in lines):
        return None
    found = owner(raw, files, classes)
    if found is None and lines and "_" in raw:
        name, _, of = raw.rpartition("_")
        found = FILE.decode(name), of
    return found


def owner(raw: str, files: Collection[str], classes: Collection[str]) -> tuple[str, str] | None:
    """The class and the set of ``<class>_<set>``, where there is such a set; a class that is
    known comes first, then the longest set."""
    cuts = [i for i, c in enumerate(raw) if c == "_" and i and raw[i + 1 :] in files]
    ways = [(FILE.decode(raw[:i]), raw[i + 1 :]) for i in cuts]
    return next((w for w in ways if w[0] in classes), ways[0] if ways else None)


def _read_facts(
    out: Sets,
    name: str,
    file: Path,
    lines: list[tuple[int, str]],
    known: Collection[str],
    intake: Intake,
) -> None:
    for number, line in lines:
        image, flag = _flagged(line, known)
        if flag is None or int(flag) not in FLAGS:
            intake.fault(
                "bad-value", file, f"line {number}", f"{line!r}: a flag must be 1, -1 or 0"
            )
            continue
        before = out.facts.setdefault(image, {}).setdefault(name, int(flag))
        if before != int(flag):
            message = f"{image!r} has the flag {flag} for {name!r}; another list said {before}"
            intake.fault("conflicting-records", file, f"line {number}", message)


# -------------------------------------------------------------------- writing


@dataclass
class ListWriter:
    """Collects the lists of a dataset, whose images are called ``names``, and writes them."""

    names: Collection[str] = ()
    lines: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    facts: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def _line(self, name: str, rest: str) -> str:
        """A name and what follows it, which no other name can be taken for."""
        line = f"{name} {rest}".rstrip()
        return f"{name}\t{rest.strip()}" if rest and LINE.decode(line) in self.names else line

    def add(self, name: str, split: str | None, further: Any) -> tuple[list[str], bool]:
        """List an image in its split and its further sets.

        Returns:
            The sets of ``Main`` that it is in; and whether ``further`` went to the lists (it
            does where reading them gives split and ``further`` back, see ``Sets.of``).
        """
        home = set_name(split)
        entries: dict[str, list[Any]] = {}
        told = _is_memberships(further)
        if told:
            entries = {folder: list(listed) for folder, listed in further.items()}
        mine = entries.setdefault(MAIN, [])
        if home not in [_entry(e)[0] for e in mine]:
            mine.append(home)
        if told and _summary(entries) != (split, further):
            told, entries = False, {MAIN: [home]}
        for folder, listed in entries.items():
            for entry in listed:
                raw, rest = _entry(entry)
                text = LINE.encode(name)
                if folder != MAIN and _NUMBERS.fullmatch(text):
                    text = f'"{text}"'
                self.lines.setdefault((folder, raw), []).append(self._line(text, rest))
        return [_entry(e)[0] for e in entries[MAIN]], told

    def fact(self, name: str, sets: Iterable[str], of: str, flag: int) -> None:
        """State a class of an image, in each of its sets."""
        for raw in sets:
            self.facts.setdefault((of, raw), []).append(self._line(LINE.encode(name), f"{flag:2d}"))

    def write(self, out: Out, classes: Collection[str]) -> None:
        for (folder, raw), lines in self.lines.items():
            out.text(f"{FOLDER}/{folder}/{raw}.txt", "".join(f"{line}\n" for line in lines))
        files = {raw for folder, raw in self.lines if folder == MAIN}
        for (of, raw), lines in self.facts.items():
            name = f"{FILE.encode(of)}_{raw}"
            if name in files or owner(name, files, classes) != (of, raw):
                name = f"{spelled(of)}_{raw}"
            out.text(f"{FOLDER}/{MAIN}/{name}.txt", "".join(f"{line}\n" for line in lines))


def _is_memberships(value: Any) -> bool:
    """Whether a value is what ``Sets.of`` gives."""
    if not isinstance(value, dict) or not value:
        return False
    for folder, entries in value.items():
        if not isinstance(entries, list) or not entries or not _NAME.fullmatch(folder):
            return False
        for entry in entries:
            raw, rest = entry if isinstance(entry, list) and len(entry) == 2 else (entry, None)
            if not isinstance(raw, str) or not raw or re.search(r"[/\\\x00-\x1f]", raw):
                return False
            if rest is not None and not (
                isinstance(rest, str)
                and re.fullmatch(r"[+-]?\d{1,9}( [+-]?\d{1,9}){0,2}", rest)
                and (folder != MAIN or "_" not in raw)
            ):
                return False
        if any(_entry(a) >= _entry(b) for a, b in pairwise(entries)):
            return False
    return True
