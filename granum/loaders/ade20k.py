"""ADE20K: scenes with objects and their parts, of 2017, 2020, or as SceneParse150.

::

    training/street/1.jpg  1_seg.png  1_parts_1.png  1_atr.txt                      2017
    training/street/1.jpg  1_seg.png  1.json  1/instance_000_ADE_train_1.png        2020
    images/training/ADE_train_00000001.jpg
    annotations/training/ADE_train_00000001.png  sceneCategories.txt                SceneParse150

The folder of splits may be the root, ``images`` or ``images/ADE``. In ``_seg.png`` and
``_parts_N.png`` (N: the depth of the parts) red and green give the class, R // 10 * 256 + G, and
blue the instance: instance n of ``_atr.txt`` is the n-th of the blue values that are not 0. A line
of it is ``instance # depth # occluded # class # name as typed # "attributes"``.

Each object and part is a row with ``level`` (0 objects, 1 their parts…) and the part's ``parent``:
what the JSON names, else the instance one level up that covers most of the part. The masks of 2020
may be behind other objects; ``objects`` chooses their ``polygons`` instead, or ``labels``: the
whole ``_seg.png`` as one row. SceneParse150 always is whole label images: 0 is anything else, 1 to
150 are its classes. Numbers of classes are the ``source_id`` of categories. The scene (folders
below the split, without those of one letter; in 2020 what the JSON says) is a label of space
``scene``. Coordinates are pixels from the top-left corner.

Spec: https://groups.csail.mit.edu/vision/datasets/ADE20K/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

from granum.errors import FormatError, GranumError
from granum.loaders._ade20k_names import NAMES
from granum.loaders._image_tree import Tree
from granum.loaders._json_files import decode_record
from granum.loaders._panoptic_pixels import Ids, boxes_of, counts_of, read_ids
from granum.loaders._paths import folders_in, is_file, names_in, split_suffix
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows

__all__ = ["Ade20k"]

Objects = Literal["instances", "polygons", "labels"]
SPLITS = ("training", "validation", "testing", "test", "consistencyCheck")
PLACES = ("", "images", "images/ADE")
SEG = "_seg.png"


@formats("ade20k")
class Ade20k(Format):
    """Reads the three kinds of trees."""

    name = "ade20k"
    title = "ADE20K and SceneParse150"
    spec = "https://groups.csail.mit.edu/vision/datasets/ADE20K/"
    keeps = frozenset(
        {
            *("sample", "object", "label", "category", "bbox", "mask", "occluded", "truncated"),
            *("parent", "level", "attributes", "split", "space", "supercategory"),
        }
    )
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        if _scene_parse(root):
            return "images/ and annotations/ with ADE_… label images"
        for place in PLACES:
            for split in SPLITS[:2]:
                found = _first_seg(root / place / split, 3)
                if found:
                    return f"{found} in {split}/"
        return None

    def read(
        self, root: Path, intake: Intake, *, objects: Objects = "instances"
    ) -> Iterator[rows.Sample]:
        """Read all splits.

        Args:
            root: the folder.
            intake: gets findings, categories, sources.
            objects: instances with masks, their polygons (2020), or whole label images.

        Raises:
            FormatError: there is no folder of a split.
        """
        intake.source(".", self.name, options={"objects": objects})
        intake.media_root, intake.map_root = intake.images or root, root
        if _scene_parse(root):
            yield from _parsed(root, intake)
            return
        place = next((p for p in PLACES if {*SPLITS} & {*folders_in(root / p)}), None)
        if place is None:
            raise FormatError(root, "no folder training or validation")
        before = f"{place}/" if place else ""
        ids = count()
        for split in SPLITS:
            for name in Tree.of(root / place / split).images:
                stem, suffix = split_suffix(name)
                if suffix.lower() not in (".jpg", ".jpeg"):
                    continue
                key = f"{before}{split}/{name}"
                sample = rows.Sample(key, rows.Media(path=key), split=split)
                reading = _Reading(root, key.removesuffix(suffix), sample, objects, intake, ids)
                folders = [p for p in stem.split("/")[:-1] if len(p) > 1]
                reading.fill("/".join(folders))
                yield sample


def _first_seg(folder: Path, depth: int) -> str | None:
    """A label image in a folder or the first ones of its folders."""
    names = names_in(folder, 200)
    found = next((n for n in names if n.endswith(SEG)), None)
    if found is None and depth:
        below = folders_in(folder, 200)[:4]
        found = next((n for f in below if (n := _first_seg(folder / f, depth - 1))), None)
    return found


def _scene_parse(root: Path) -> bool:
    return any(
        name.startswith("ADE_") and name.endswith(".png")
        for split in SPLITS[:2]
        for name in names_in(root / "annotations" / split, 20)
    )


def _parsed(root: Path, intake: Intake) -> Iterator[rows.Sample]:
    """SceneParse150."""
    for number, name in enumerate(NAMES, 1):
        intake.add_category(rows.Category(name, source_id=str(number)))
    scenes = {}
    listed = root / "sceneCategories.txt"
    if is_file(listed):
        for words in map(str.split, _lines(listed, listed.name)):
            scenes.update({words[0]: words[1]} if len(words) > 1 else {})
    for split in folders_in(root / "images"):
        for name in Tree.of(root / "images" / split).images:
            key = f"images/{split}/{name}"
            sample = rows.Sample(key, rows.Media(path=key), split=split)
            stem = split_suffix(name)[0]
            label = f"annotations/{split}/{stem}.png"
            if is_file(root / label):
                of = rows.LabelMap(label, encoding="index", space="object")
                sample.annotations.append(rows.Annotation("object", map=of))
            elif split in SPLITS[:2]:
                intake.fault("missing-labels", label, None, f"no label image of {key}")
            if stem in scenes:
                row = intake.category(scenes[stem], "scene")
                sample.annotations.append(rows.Annotation("label", row))
            yield sample


def _lines(path: Path, where: str) -> list[str]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FormatError(where, f"cannot be read: {error}") from error
    return _text(raw).splitlines()


def _text(raw: bytes) -> str:
    """Files are in UTF-8 or, as the official scripts read them, in ISO 8859-1."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


@dataclass
class _Reading:
    """One image of 2017 or 2020, whose files begin with ``stem``."""

    root: Path
    stem: str
    sample: rows.Sample
    objects: Objects
    intake: Intake
    ids: Iterator[int]

    def fill(self, scene: str) -> None:
        if is_file(self.root / f"{self.stem}.json"):
            self.described(f"{self.stem}.json")
        else:
            if scene:
                self.scene(scene)
            if is_file(self.root / f"{self.stem}_atr.txt"):
                self.listed(f"{self.stem}_atr.txt")
            elif is_file(self.root / (self.stem + SEG)):
                message = "neither _atr.txt nor .json beside the label image"
                self.intake.fault("missing-labels", self.stem + SEG, None, message)
        if self.objects == "labels" and is_file(self.root / (self.stem + SEG)):
            of = rows.LabelMap(self.stem + SEG, encoding="ade", space="object")
            self.sample.annotations.append(rows.Annotation("object", map=of))

    def scene(self, name: str) -> None:
        row = self.intake.category(name, "scene")
        self.sample.annotations.append(rows.Annotation("label", row, annotation_id=next(self.ids)))

    def category(self, name: str, number: int | None, above: str | None = None) -> int:
        row = self.intake.category(name)
        category = self.intake.categories[row]
        if number is not None and category.source_id is None:
            category.source_id = str(number)
        category.supercategory = category.supercategory or above
        return row

    # ------------------------------------------------------------------ 2020

    def described(self, where: str) -> None:
        """Everything that a JSON file says."""
        try:
            raw = (self.root / where).read_bytes()
        except OSError as error:
            raise FormatError(where, f"cannot be read: {error}") from error
        record = decode_record(_text(raw).encode(), where, None, self.intake)
        told = record.get("annotation") if record else None
        listed = told.get("object") if isinstance(told, dict) else None
        if not isinstance(told, dict) or not isinstance(listed, list):
            if record is not None:
                self.intake.fault("missing-key", where, "/annotation/object", "no list of objects")
            return
        size = told.get("imsize")
        if isinstance(size, list) and len(size) >= 2:
            whole = all(isinstance(v, int) and 0 < v < 2**31 for v in size[:2])
            self.sample.height, self.sample.width = size[:2] if whole else (None, None)
        scene = told.get("scene")
        if isinstance(scene, list) and scene and all(isinstance(s, str) for s in scene):
            self.scene("/".join(scene))
        found: dict[Any, rows.Annotation] = {}
        parents: dict[Any, tuple[Any, int]] = {}
        for i, entry in enumerate(listed):
            place = f"/annotation/object/{i}"
            try:
                number, one = self.object(entry, where, place)
                parent = entry["parts"]["ispartof"]
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                message = f"no {error}" if isinstance(error, KeyError) else str(error)
                self.intake.fault("bad-value", where, place, message)
                continue
            if number in found:
                self.intake.fault("duplicate-annotation-id", where, place, f"the id {number}")
                continue
            found[number] = one
            if isinstance(parent, int):
                parents[number] = parent, i
        for number, (parent, i) in parents.items():
            if parent in found and parent != number:
                found[number].parent = found[parent].annotation_id
            else:
                message = f"it is part of {parent}, which is not there"
                self.intake.fault("bad-value", where, f"/annotation/object/{i}", message)
        if self.objects != "labels":
            self.sample.annotations += found.values()

    def object(self, entry: dict[str, Any], where: str, place: str) -> tuple[int, rows.Annotation]:
        """An object and its id.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: a value that is absent or none.
        """
        number, level = entry["id"], entry["parts"]["part_level"]
        if not isinstance(number, int) or not (isinstance(level, int) and 0 <= level < 2**15):
            raise ValueError(f"id and part_level are {number!r} and {level!r}")
        above = entry.get("hypernym") or []
        facts: dict[str, Any] = {}
        facts |= {k: entry[k] for k in ("raw_name", "depth_ordering_rank") if k in entry}
        if entry.get("attributes"):
            facts["attributes"] = entry["attributes"]
        of = entry.get("name_ndx")
        one = rows.Annotation(
            "object",
            self.category(
                str(entry["name"]),
                of if isinstance(of, int) else None,
                str(above[1]) if len(above) > 1 else None,
            ),
            level=level,
            occluded={"yes": True, "no": False}.get(str(entry.get("occluded"))),
            truncated=bool(entry["crop"]) if isinstance(entry.get("crop"), int) else None,
            attributes=facts or None,
            source_id=str(number),
            annotation_id=next(self.ids),
        )
        mask, told = entry.get("instance_mask"), entry.get("polygon") or {}
        if self.objects == "instances" and isinstance(mask, str) and mask:
            path = f"{self.stem.rpartition('/')[0]}/{mask}"
            if ".." not in path and is_file(self.root / path):
                one.map = rows.LabelMap(path, encoding="nonzero")
                return number, one
            self.intake.fault("missing-mask", where, place, f"no file {path}")
        xs, ys = told.get("x") or [], told.get("y") or []
        if len(xs) != len(ys):
            raise ValueError(f"a polygon of {len(xs)} x and {len(ys)} y")
        if xs:
            one.polygons = [[[float(v) for point in zip(xs, ys, strict=True) for v in point]]]
        return number, one

    # ------------------------------------------------------------------ 2017

    def listed(self, where: str) -> None:
        """The instances of a text file and the label images beside it."""
        entries: dict[tuple[int, int], tuple[list[str], int]] = {}
        for n, line in enumerate(_lines(self.root / where, where), 1):
            cells = [c.strip() for c in line.split(" # ")]
            good = len(cells) == 6 and all(c.isdecimal() and len(c) < 5 for c in cells[:3])
            if not good and line.strip():
                self.intake.fault("bad-value", where, f"line {n}", f"no six values: {line!r}")
            elif good:
                entries.setdefault((int(cells[1]), int(cells[0])), (cells, n))
        levels: dict[int, Ids] = {}
        pixels: dict[tuple[int, int], _Pixels] = {}
        for level in range(max((level for level, _ in entries), default=0) + 1):
            suffix = f"_parts_{level}.png" if level else SEG
            values = self.pixels(self.stem + suffix)
            if values is not None:
                levels[level] = values
                pixels |= self.instances(values, level, entries)
        made = {
            key: self.instance(cells, key[0], pixels.get(key))
            for key, (cells, _) in entries.items()
        }
        for key, (cells, n) in entries.items():
            at, under = pixels.get(key), levels.get(key[0] - 1)
            if at is None:
                self.intake.fault("empty-mask", where, f"line {n}", f"no pixels of it: {cells[3]}")
            elif under is not None and under.shape == at.values.shape:
                below = counts_of(under[at.values == at.colour])
                owners = {
                    k: below.get(p.colour, 0) for k, p in pixels.items() if k[0] == key[0] - 1
                }
                owner = max(owners, key=lambda k: owners[k], default=None)
                if owner is not None and owners[owner]:
                    made[key].parent = made[owner].annotation_id
        if self.objects != "labels":
            self.sample.annotations += made.values()

    def pixels(self, path: str) -> Ids | None:
        """R + 256 G + 65536 B of a label image; None where there is none."""
        if not is_file(self.root / path):
            return None
        try:
            values = read_ids(path, str(self.root))
        except GranumError as error:
            self.intake.fault("broken-media", path, None, f"it does not decode: {error}")
            return None
        if self.sample.width is None:
            self.sample.height, self.sample.width = values.shape
        return values

    def instances(
        self, values: Ids, level: int, entries: dict[tuple[int, int], Any]
    ) -> dict[tuple[int, int], _Pixels]:
        """The instances of a label image, by depth and number."""
        colours = {c: n for c, n in counts_of(values).items() if c}
        blues = sorted({c >> 16 for c in colours} - {0})
        found = {}
        for colour in sorted(colours, key=lambda c: -colours[c]):
            key = level, blues.index(colour >> 16) + 1 if colour >> 16 else 0
            if key in entries and key not in found:
                found[key] = _Pixels(values, colour, colours[colour])
            else:
                path = self.stem + (f"_parts_{level}.png" if level else SEG)
                rgb = [colour & 255, colour >> 8 & 255, colour >> 16]
                self.intake.fault("unlisted-segment", path, None, f"pixels of the colour {rgb}")
        return found

    def instance(self, cells: list[str], level: int, at: _Pixels | None) -> rows.Annotation:
        """A row of the text, with its pixels where it has some."""
        number = None if at is None else (at.colour & 255) // 10 * 256 + (at.colour >> 8 & 255)
        attributes = cells[5].strip('"').strip()
        facts: dict[str, Any] = {"raw_name": cells[4]}
        if attributes:
            facts["attributes"] = [a.strip() for a in attributes.split(",")]
        one = rows.Annotation(
            "object",
            self.category(cells[3], number),
            level=level,
            occluded=cells[2] != "0",
            attributes=facts,
            source_id=cells[0],
            annotation_id=next(self.ids),
        )
        if at is not None:
            path = self.stem + (f"_parts_{level}.png" if level else SEG)
            x, y, w, h = (float(v) for v in boxes_of(at.values, [at.colour])[0])
            one.bbox, one.area = (x, y, w, h), float(at.n)
            one.map = rows.LabelMap(path, encoding="rgb24", value=at.colour)
        return one


@dataclass
class _Pixels:
    """Where an instance is: all pixels of one colour of a label image."""

    values: Ids
    colour: int
    n: int
