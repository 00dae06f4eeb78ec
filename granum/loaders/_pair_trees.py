"""Pairs of images by folders: visible ones beside infrared ones of the same names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from granum.loaders._hf_files import known_split
from granum.loaders._image_tree import files_below, is_image
from granum.loaders._paths import folders_in, names_in, walk
from granum.loaders.base import Intake
from granum.schema import rows

__all__ = ["find_twins", "read_twins"]

ROLES = ("visible", "infrared")
_VISIBLE, _INFRARED = ("visible", "vis", "rgb"), ("infrared", "lwir", "thermal", "ir")
_SURE = ("infrared", "lwir")
_DEEP = 4


def _sides(below: Sequence[str]) -> tuple[str, str] | None:
    """The folders of both sides among names of folders."""
    held = {n.lower(): n for n in below}
    found = [next((held[n] for n in names if n in held), None) for names in (_VISIBLE, _INFRARED)]
    return (found[0], found[1]) if found[0] and found[1] else None


def find_twins(root: Path) -> tuple[str, str] | None:
    """Two images of one name in folders of both sides, the first way down. Never raises."""
    try:
        waiting = [""]
        for _ in range(50):
            if not waiting:
                return None
            folder = waiting.pop(0)
            below = folders_in(root / folder, 200)
            sides = _sides(below)
            if sides and sides[1].lower() in _SURE:
                before = f"{folder}/" if folder else ""
                return _same_name(root, before + sides[0], before + sides[1])
            if folder.count("/") < _DEEP - 1:
                waiting += [f"{folder}/{n}" if folder else n for n in below[:5]]
    except (OSError, ValueError):
        pass
    return None


def _same_name(root: Path, one: str, two: str) -> tuple[str, str] | None:
    inside = ""
    for _ in range(_DEEP):
        for name in names_in(root / one / inside, 50):
            path = f"{inside}{name}"
            if is_image(name) and (root / two / path).is_file():
                return f"{one}/{path}", f"{two}/{path}"
        below = folders_in(root / one / inside, 50)
        if not below:
            return None
        inside += f"{below[0]}/"
    return None


def read_twins(root: Path, intake: Intake) -> Iterator[rows.Sample]:
    """Samples of all pairs, the visible image first."""
    for before, below, names in walk(root):
        for name in names:
            if not name.lower().startswith(("readme", "license")):
                intake.fault("file-not-read", before + name, None, "in no folder of either side")
        sides = _sides(below)
        if sides is None:
            continue
        below[:] = [n for n in below if n not in sides]
        files = [files_below(root, before + side, intake) for side in sides]
        for stem in sorted({*files[0], *files[1]}):
            yield from _pair(before, stem, [one.get(stem) for one in files], intake)


def _pair(
    before: str, stem: str, paths: Sequence[str | None], intake: Intake
) -> Iterator[rows.Sample]:
    folders = [n for n in (*before.split("/"), *stem.split("/")[:-1]) if n]
    split = next((n for n in folders if known_split(n)), None)
    group = None
    if all(paths):
        intake.groups.append(rows.Group(before + stem, "pair"))
        group = len(intake.groups) - 1
    for role, path in zip(ROLES, paths, strict=True):
        if path is None:
            continue
        if group is None:
            other = ROLES[1 - ROLES.index(role)]
            intake.fault("incomplete-group", path, None, f"no {other} image of this name")
        yield rows.Sample(path, rows.Media(path), split=split, group=group, role=role)
