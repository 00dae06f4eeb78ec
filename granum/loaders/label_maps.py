"""Images and label images in two folders: common semantic segmentation trees.

::

    images/0001.jpg     masks/0001.png               dataset_meta.json or labelmap.csv beside
    RGB/000001.png      GT/000001.png                SYNTHIA; also RGBLeft/GTLeft, RGB/SemSeg
    train/a.png         trainannot/a.png  train.txt  CamVid as SegNet has it
    train/images/…      train/masks/…                folders of splits

A label image is one row: the whole map, whose values are the ``source_id`` of classes. It is never
opened to be read. Pairs go by name: equal stems, or what is left of them without the beginning that
all names of a folder share (``image_0001`` and ``gt_0001``).

Classes come from ``dataset_meta.json`` (``label_map`` of values, ``segmentation_colors``),
``label_colors.txt`` (``r g b name``), ``labelmap.csv`` or ``class_dict.csv`` (``name,r,g,b``), or
``classes.txt`` (a name a line, from value 0). Where a list gives colours, ``values`` says whether
the label images hold numbers (``index``) or those colours (``colour``, R + 256 G + 65536 B): it
cannot be told without opening them, and colours are never guessed. The default is numbers for
``dataset_meta.json`` and ``classes.txt``, colours for lists of colours.

Spec: https://github.com/alexgkendall/SegNet-Tutorial
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from granum.errors import FormatError
from granum.loaders._hf_files import known_split
from granum.loaders._image_tree import files_below, is_image
from granum.loaders._json_files import load_json
from granum.loaders._paths import folders_in, is_file, names_in
from granum.loaders._texts import read_text
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows

__all__ = ["LabelMaps"]

Values = Literal["index", "colour"]

PAIRS = (
    ("images", "masks"),
    ("images", "mask"),
    ("imgs", "masks"),
    ("RGB", "GT"),
    ("RGB", "SemSeg"),
    ("RGBLeft", "GTLeft"),
)
ANNOTATED = "annot"
LISTS = ("dataset_meta.json", "label_colors.txt", "labelmap.csv", "class_dict.csv", "classes.txt")


@dataclass
class Pair:
    """A folder of images and one of label images; ``split`` where the folder says it."""

    images: str
    maps: str
    split: str | None = None


@dataclass
class Classes:
    """What a list of classes says: names, and the value and colour of each."""

    names: list[str] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    colours: list[list[int] | None] = field(default_factory=list)
    coloured: bool = False


@formats("label_maps")
class LabelMaps(Format):
    """Reads such trees."""

    name = "label_maps"
    title = "Images and label images (CamVid, SYNTHIA, images/masks)"
    spec = "https://github.com/alexgkendall/SegNet-Tutorial"
    keeps = frozenset({"sample", "object", "mask", "category", "colour", "split"})
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        for pair in find_pairs(root):
            below = root / pair.maps
            first = next((n for n in names_in(below, 200) if is_image(n)), None)
            if first is not None and any(is_image(n) for n in names_in(root / pair.images, 200)):
                return f"{pair.images}/ and {pair.maps}/{first}"
        return None

    def read(
        self, root: Path, intake: Intake, *, values: Values | None = None
    ) -> Iterator[rows.Sample]:
        """Read all pairs of folders.

        Args:
            root: the folder.
            intake: gets findings, categories, sources.
            values: what the label images hold; see above.

        Raises:
            FormatError: there is no such pair of folders, or a list that cannot be read.
        """
        pairs = find_pairs(root)
        if not pairs:
            raise FormatError(root, "no folder of images with one of label images beside it")
        listed, classes = _classes(root)
        coloured = classes.coloured if values is None else values == "colour"
        encoding = "rgb24" if coloured else "index"
        intake.source(listed or ".", self.name, options={"values": values, "encoding": encoding})
        intake.media_root = intake.images or root
        intake.map_root = root
        for i, name in enumerate(classes.names):
            value, colour = classes.values[i], classes.colours[i]
            if coloured and colour is not None:
                value = colour[0] + 256 * colour[1] + 65536 * colour[2]
            intake.add_category(rows.Category(name, source_id=str(value), colour=colour))
        for pair in pairs:
            yield from _paired(root, pair, encoding, intake)


def find_pairs(root: Path) -> list[Pair]:
    """Pairs of folders at the root, or in its folders that are splits. Never raises."""
    found = []
    for before in ("", *(f"{f}/" for f in folders_in(root) if known_split(f))):
        held = {*folders_in(root / before)}
        split = before.rstrip("/") or None
        found += [Pair(before + a, before + b, split) for a, b in PAIRS if {a, b} <= held][:1]
        found += [
            Pair(before + n, f"{before}{n}{ANNOTATED}", n)
            for n in sorted(held)
            if n + ANNOTATED in held
        ]
    return found


def _shared(stems: Collection[str]) -> int:
    """The length of the beginning that all stems share before their last number."""
    first, last = min(stems, default=""), max(stems, default="")  # what these share, all do
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return len("".join(letter for letter, _ in same).rstrip("0123456789"))


def _paired(root: Path, pair: Pair, encoding: str, intake: Intake) -> Iterator[rows.Sample]:
    """A sample for each image of a pair of folders."""
    images, maps = (files_below(root, f, intake) for f in (pair.images, pair.maps))
    cut = 0
    if images.keys().isdisjoint(maps):
        cut, map_cut = _shared(images), _shared(maps)
        maps = {stem[map_cut:]: path for stem, path in maps.items()}
    for stem, key in images.items():
        sample = rows.Sample(key, rows.Media(path=key), split=pair.split)
        label = maps.pop(stem[cut:], None)
        if label is None:
            intake.fault("missing-labels", key, None, f"no label image in {pair.maps}")
        else:
            of = rows.LabelMap(label, encoding=encoding, space="object")
            sample.annotations.append(rows.Annotation("object", map=of))
        yield sample
    for label in maps.values():
        message = f"no image in {pair.images} has this label image"
        intake.fault("file-not-read", label, None, message)


def _classes(root: Path) -> tuple[str | None, Classes]:
    """The list of classes at the root, and its name.

    Raises:
        FormatError: it cannot be read.
    """
    name = next((n for n in LISTS if is_file(root / n)), None)
    if name is None:
        return None, Classes()
    if name.endswith(".json"):
        return name, _from_meta(load_json(root / name, name), name)
    text = read_text(root / name, name)
    found = Classes(coloured=name != "classes.txt")
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        cells = next(csv.reader([line])) if name.endswith(".csv") else line.split(None, 3)
        if name == "classes.txt":
            cells, colour = [line.strip()], None
        elif name.endswith(".csv") and number == 1 and not cells[-1].strip().isdecimal():
            continue  # the header
        else:
            parts = cells[1:4] if name.endswith(".csv") else cells[:3]
            colour = _colour(parts, name, number)
            cells = [cells[0] if name.endswith(".csv") else cells[-1]]
        found.values.append(len(found.names))
        found.names.append(cells[0].strip())
        found.colours.append(colour)
    return name, found


def _colour(parts: list[str], name: str, number: int) -> list[int]:
    values = [int(p) for p in parts if p.strip().isdecimal()]
    if len(values) != 3 or max(values) > 255:
        raise FormatError(name, f"no three numbers of a colour: {parts}", f"line {number}")
    return values


def _from_meta(record: Any, name: str) -> Classes:
    """Classes of Datumaro's ``dataset_meta.json``."""
    listed = record.get("label_map") if isinstance(record, dict) else None
    if not isinstance(listed, dict) or not all(k.isdecimal() for k in listed):
        raise FormatError(name, "no label_map of values and names", "/label_map")
    told = record.get("segmentation_colors")
    colours: list[Any] = told if isinstance(told, list) else []
    found = Classes()
    for i, (value, label) in enumerate(listed.items()):
        colour: Any = colours[i] if i < len(colours) else None
        whole = isinstance(colour, list) and all(isinstance(c, int) for c in colour)
        good = whole and len(colour) == 3 and all(0 <= c < 256 for c in colour)
        found.names.append(str(label))
        found.values.append(int(value))
        found.colours.append(colour if good else None)
    return found
