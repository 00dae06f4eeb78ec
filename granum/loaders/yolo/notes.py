"""``granum.yaml``: what our writer notes beside a YOLO tree, so that more comes back.

No other reader looks at it. (Unknown keys in ``data.yaml`` are no place for it: CVAT takes
every one for a subset.)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from granum.errors import FormatError
from granum.loaders.yolo.tree import stem
from granum.schema import rows, tables

__all__ = ["NOTES", "Notes", "dump_yaml", "read_notes"]

NOTES = "granum.yaml"
FORMAT = "yolo"


@dataclass(slots=True)
class Notes:
    """Facts that labels cannot say.

    Attributes:
        task: how rows are read.
        boxes: with polygons, objects had boxes too: the extents of their polygons.
        closed: a ring that is an upright rectangle (with polygons: a closed one, of five
            points) is a box without a polygon.
        marked: four corners were drawn as rectangles.
        images: a list of all images in order.
        splits: name and folders of each; the name is None for samples without a split.
        below: folders whose images have their path below it as key.
        bare: without the suffix.
        keys: keys of images that are neither that nor the path itself.
        categories: all classes, those of other label spaces than objects too.
    """

    task: str | None = None
    boxes: bool = False
    closed: bool = False
    marked: bool = True
    images: str | None = None
    splits: list[tuple[str | None, list[str]]] = field(default_factory=list)
    below: list[str] = field(default_factory=list)
    bare: bool = False
    keys: dict[str, str] = field(default_factory=dict)
    categories: list[rows.Category] = field(default_factory=list)

    def key(self, path: str) -> str:
        """The key of an image."""
        if path in self.keys:
            return self.keys[path]
        folder = "/".join(path.split("/", 2)[:2])
        if folder not in self.below:
            return path
        name = path[len(folder) + 1 :]
        return stem(name) if self.bare else name

    def classes(self) -> list[str]:
        """Names of the classes that labels have."""
        return [c.name for c in self.categories if c.space in (None, "object")]

    def text(self) -> str:
        """The content of the file."""
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        record["splits"] = [[name, folders] for name, folders in self.splits]
        record["categories"] = [
            {n: v for n, v in asdict(c).items() if v is not None} for c in self.categories
        ]
        head = "# Notes of granum for reading this tree; other tools do without.\n"
        return head + dump_yaml({"format": FORMAT, **record})


def dump_yaml(data: Any) -> str:
    """YAML text, in the order of the keys."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=True, width=1000))


def load_notes(text: str) -> Any:
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def read_notes(path: Path, record: Any) -> Notes:
    """Notes from what YAML made of the file.

    Raises:
        FormatError: it is not what our writer writes.
    """

    def require(condition: bool, key: str) -> None:
        if not condition:
            raise FormatError(path, "not as granum writes it; remove the file to go without", key)

    def texts(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(v, str) for v in value)

    require(isinstance(record, dict) and record.get("format") == FORMAT, "format")
    known = {f.name: record[f.name] for f in fields(Notes) if record.get(f.name) is not None}
    for name in ("boxes", "closed", "marked", "bare"):
        require(isinstance(known.get(name, True), bool), name)
    for name in ("task", "images"):
        require(isinstance(known.get(name, ""), str), name)
    splits = known.get("splits", [])
    require(isinstance(splits, list), "splits")
    for one in splits:
        require(isinstance(one, list) and len(one) == 2 and texts(one[1]), "splits")
        require(one[0] is None or isinstance(one[0], str), "splits")
    require(texts(known.get("below", [])), "below")
    keys = known.get("keys", {})
    require(isinstance(keys, dict) and texts([*keys, *keys.values()]), "keys")
    listed = known.get("categories", [])
    names = {f.name for f in fields(rows.Category)}
    require(isinstance(listed, list) and all(isinstance(c, dict) for c in listed), "categories")
    try:
        known["categories"] = [
            rows.Category(**{"space": None, **{k: v for k, v in c.items() if k in names}})
            for c in listed
        ]
        rows.objects_to_table(known["categories"], tables.CATEGORIES)
    except (TypeError, ValueError) as error:
        raise FormatError(path, str(error), "categories") from error
    require(all(isinstance(c.name, str) for c in known["categories"]), "categories")
    known["splits"] = [(name, folders) for name, folders in splits]
    return Notes(**known)
