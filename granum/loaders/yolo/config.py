"""What a YOLO tree says of itself: ``data.yaml``, ``obj.data``, lists of names.

Values are taken as they are written (a class named ``no`` or ``1.0`` stays text): YAML is read
without its guesses at types, and without anchors, which could expand without bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from granum.errors import FormatError
from granum.loaders.base import Intake
from granum.loaders.yolo.notes import NOTES, Notes, load_notes, read_notes

__all__ = ["Config", "find_config", "looks_like_config", "read_config"]

PREFERRED = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
SPLIT_KEYS = ("train", "val", "validation", "test", "minival")
TASKS = {"detect": "detect", "segment": "seg", "seg": "seg", "pose": "pose", "obb": "obb"}
LIMIT = 16 << 20
_NONE = ("", "~", "null", "Null", "NULL", "None")


@dataclass(slots=True)
class Config:
    """Facts of a tree. ``file`` is relative to the root, empty where there is none; ``names``
    maps class ids to names; ``splits`` are names and their entries (folders or lists), relative
    to ``base``; ``notes`` is what our writer noted."""

    file: str = ""
    top: Any = None
    names: dict[int, str] | None = None
    splits: list[tuple[str | None, list[str]]] = field(default_factory=list)
    base: str = ""
    task: str | None = None
    points: tuple[int, int] | None = None
    point_names: list[str] | None = None
    notes: Notes = field(default_factory=Notes)


class _Plain(yaml.BaseLoader):
    """Every scalar as the text that stands there; anchors refused."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = yaml.Mark("", 0, self.line, self.column, None, 0)
            raise yaml.constructor.ConstructorError(None, None, "an alias (*name)", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            plain = isinstance(key, yaml.ScalarNode)
            if not plain or key.value in seen:
                problem = f"the key {key.value!r} stands twice" if plain else "a key is no text"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path, load: Callable[[str], Any]) -> Any:
    """The content of a YAML file.

    Raises:
        FormatError: it is too large, or no YAML; names the line.
    """
    try:
        if path.stat().st_size > LIMIT:
            raise FormatError(path, f"larger than {LIMIT >> 20} MiB; no data file of a tree")
        return load(path.read_text("utf-8-sig"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = None if mark is None else f"line {mark.line + 1}"
        raise FormatError(path, f"not YAML: {error.problem or error.context}", place) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(path, f"not YAML: {error}") from error


def _plain(text: str) -> Any:
    return yaml.load(text, _Plain)  # _Plain builds only str, list and dict


def looks_like_config(path: Path) -> bool:
    """Whether a file names classes and splits as ``data.yaml`` or ``obj.data`` do; never raises."""
    try:
        with path.open("rb") as file:
            text = file.read(1 << 16).decode("utf-8-sig", "replace")
    except OSError:
        return False
    if path.suffix.lower() == ".data":
        keys = set(re.findall(r"^\s*(\w+)\s*=", text, re.MULTILINE))
        return "names" in keys and bool(keys & {"train", "valid", "test"})
    named = re.search(r"^(names|nc)\s*:", text, re.MULTILINE)
    # A folder, a list in brackets, or a list below; not a mapping, which other trees have.
    split = re.search(
        r"^(train|val|test)\s*:(?:[ \t]*[^\s#{]|[ \t]*(?:#.*)?\r?\n[ \t]*- )", text, re.MULTILINE
    )
    return bool(named and split)


def find_config(root: Path) -> Path | None:
    """The data file of a folder, or None.

    Raises:
        FormatError: there are several, and none has the usual name.
    """
    for name in PREFERRED:
        if (root / name).is_file():
            return root / name
    found = [
        p
        for p in sorted(root.iterdir())
        if p.suffix.lower() in (".yaml", ".yml", ".data")
        and p.name != NOTES
        and p.is_file()
        and looks_like_config(p)
    ]
    if len(found) > 1:
        listed = ", ".join(p.name for p in found)
        raise FormatError(root, f"several data files ({listed}): name one of them as the source")
    return found[0] if found else None


def read_config(root: Path, path: Path | None, intake: Intake) -> Config:
    """Read the data file; without one, lists of names and images that lie in the root."""
    if path is None:
        config = _from_lists(root)
    elif path.suffix.lower() == ".data":
        config = _darknet(root, path)
    else:
        config = _yaml(root, path, intake)
    own = root / NOTES
    if own.is_file():
        config.notes = _checked(config, read_notes(own, load_yaml(own, load_notes)), intake)
        config.task = config.task or TASKS.get(str(config.notes.task))
        config.splits = config.notes.splits or config.splits
    return config


def _checked(config: Config, notes: Notes, intake: Intake) -> Notes:
    """The notes; without their classes where the data file was edited since."""
    names = config.names or {}
    if notes.classes() != [names[i] for i in sorted(names)]:
        message = f"{NOTES} has other classes than this; its facts of classes are not used"
        intake.fault("conflicting-records", config.file or ".", "names", message)
        notes.categories = []
    return notes


def _yaml(root: Path, path: Path, intake: Intake) -> Config:
    top = load_yaml(path, _plain)
    if not isinstance(top, dict):
        raise FormatError(path, "not a mapping of keys to values")
    config = Config(path.relative_to(root).as_posix(), top)
    names = top.get("names")
    if isinstance(names, str) and names not in _NONE:
        names = _read_names(_inside(root, names))
    if isinstance(names, list):
        names = {str(i): name for i, name in enumerate(names)}
    if isinstance(names, dict) and names:
        config.names = {_number(path, "names", k): _text(path, v) for k, v in names.items()}
    count = top.get("nc")
    if count not in (None, *_NONE):
        n = _number(path, "nc", count)
        if config.names is None:
            config.names = {i: str(i) for i in range(min(n, 1 << 16))}
        elif n != len(config.names):
            message = f"nc is {n}, but {len(config.names)} classes are named"
            intake.fault("conflicting-records", config.file, "nc", message)
    for key in SPLIT_KEYS:
        value = top.get(key)
        entries = [value] if isinstance(value, str) else value
        if not entries or entries in [[n] for n in _NONE]:
            continue
        if not isinstance(entries, list) or not all(isinstance(e, str) for e in entries):
            raise FormatError(path, "neither a folder nor a list of folders", key)
        config.splits.append(("val" if key == "validation" else key, entries))
    base = top.get("path")
    config.base = base if isinstance(base, str) and base not in _NONE else ""
    task = top.get("task")
    if task == "classify":
        raise FormatError(path, "a classification tree: --from image_folder reads it", "task")
    config.task = TASKS.get(task) if isinstance(task, str) else None
    shape = top.get("kpt_shape")
    if shape not in (None, *_NONE):
        if not isinstance(shape, list) or len(shape) != 2:
            raise FormatError(path, "not [points, 2 or 3]", "kpt_shape")
        k, dims = (_number(path, "kpt_shape", v) for v in shape)
        if dims not in (2, 3):
            raise FormatError(path, f"points of {dims} numbers; known are 2 and 3", "kpt_shape")
        config.points = (k, dims)
    listed = top.get("kpt_names")
    if isinstance(listed, dict) and listed:
        listed = next(iter(listed.values()))
    if isinstance(listed, list) and all(isinstance(n, str) for n in listed):
        config.point_names = listed
    return config


def _number(path: Path, key: str, value: Any) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"\s*\d{1,9}\s*", value):
        raise FormatError(path, f"{value!r} is not a whole number", key)
    return int(value)


def _text(path: Path, value: Any) -> str:
    if not isinstance(value, str):
        raise FormatError(path, f"the name of a class is not text: {value!r}", "names")
    return value


def _darknet(root: Path, path: Path) -> Config:
    """``key = value`` lines; paths are relative to wherever darknet runs."""
    text = path.read_text("utf-8-sig", errors="replace")
    top = dict(re.findall(r"^\s*(\w+)\s*=[ \t]*(.*?)\s*$", text, re.MULTILINE))
    config = Config(path.relative_to(root).as_posix(), top)
    if "names" in top:
        config.names = dict(enumerate(_read_names(_inside(root, top["names"]))))
    for key, split in (("train", "train"), ("valid", "val"), ("test", "test")):
        if top.get(key):
            config.splits.append((split, [top[key]]))
    return config


def _inside(root: Path, name: str) -> Path:
    """The file below ``root`` that ``name`` means, its first folders left out where needed."""
    parts = [p for p in name.replace("\\", "/").split("/") if p not in ("", ".", "..")]
    for i in range(len(parts)):
        path = root.joinpath(*parts[i:])
        if path.is_file():
            return path
    raise FormatError(root / "/".join(parts[-1:]), f"the list of names {name!r} is absent")


def _read_names(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise FormatError(path, f"not UTF-8: {error}") from error
    while names and not names[-1]:
        names.pop()
    return names


def _from_lists(root: Path) -> Config:
    """A tree without a data file: ``obj.names`` or ``classes.txt``, and lists of images."""
    config = Config()
    usual = ["obj.names", "classes.txt", "labels/classes.txt", "predefined_classes.txt"]
    found = [root / n for n in usual if (root / n).is_file()] or sorted(root.glob("*.names"))
    if found:
        config.file = found[0].relative_to(root).as_posix()
        config.names = dict(enumerate(_read_names(found[0])))
    for name, split in (("train", "train"), ("val", "val"), ("valid", "val"), ("test", "test")):
        path = root / f"{name}.txt"
        if path.is_file() and _lists_images(path):
            config.splits.append((split, [path.name]))
    return config


def _lists_images(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(4096).decode("utf-8-sig", "replace").strip()
    return bool(re.search(r"\.[A-Za-z]{3,4}$", first)) and not first.endswith(".txt")
