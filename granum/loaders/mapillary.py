"""Mapillary Vistas: streets, with instances, polygons and whole label images.

::

    config_v1.2.json  config_v2.0.json      (one config.json in the first release)
    training/images/a.jpg
    training/v2.0/instances/a.png  labels/a.png  panoptic/  polygons/a.json
    training/v1.2/instances/a.png  labels/a.png  panoptic/

``instances`` has 16 bits: class * 256 + number of the instance; a class is a position in the
config's list, and the ``source_id`` of its category. Its values are read, so each object has a box
and an area in pixels (width = xmax - xmin + 1). ``objects`` chooses ``polygons`` instead (2.0 only;
later ones cover earlier ones) or ``labels``: the whole label image as one row, unread. Classes that
the config does not count in instances are stuff: one object of each. ``readable`` and ``evaluate``
are attributes of the category, and what stands before its first ``--`` is its supercategory.
``panoptic`` is read by the format ``coco_panoptic`` from that folder. Coordinates are pixels from
the top-left corner.

Spec: https://www.mapillary.com/dataset/vistas
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from granum.errors import FormatError
from granum.loaders._image_tree import is_image
from granum.loaders._json_files import load_json, peek
from granum.loaders._map_masks import label_values
from granum.loaders._panoptic_pixels import boxes_of, counts_of
from granum.loaders._paths import folders_in, is_file, names_in, split_suffix
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows

__all__ = ["Mapillary"]

Objects = Literal["instances", "polygons", "labels"]
Version = Literal["v1.2", "v2.0"]
CONFIGS = {"v2.0": "config_v2.0.json", "v1.2": "config_v1.2.json", "": "config.json"}


@formats("mapillary")
class Mapillary(Format):
    """Reads both versions."""

    name = "mapillary"
    title = "Mapillary Vistas"
    spec = "https://www.mapillary.com/dataset/vistas"
    keeps = frozenset(
        {
            *("sample", "object", "category", "bbox", "mask", "split", "supercategory", "isthing"),
            *("colour", "attributes"),
        }
    )
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        for version, config in CONFIGS.items():
            if peek(root / config, "labels", "readable") and _splits(root, version):
                return f"{config} and folders of it"
        return None

    def read(
        self,
        root: Path,
        intake: Intake,
        *,
        version: Version | None = None,
        objects: Objects = "instances",
    ) -> Iterator[rows.Sample]:
        """Read all splits.

        Args:
            root: the folder with the config.
            intake: gets findings, categories, sources.
            version: of the classes; the newest that is there where it is not said.
            objects: from the instance images, the polygons, or whole label images.

        Raises:
            FormatError: there is no config of the version, or no polygons.
        """
        versions = [v for v, c in CONFIGS.items() if is_file(root / c)]
        found = version if version is not None else next(iter(versions), None)
        if found is None or found not in versions:
            raise FormatError(root, f"no {CONFIGS[found] if found else 'config_v2.0.json'}")
        config = CONFIGS[found]
        intake.source(config, self.name, options={"version": version, "objects": objects})
        intake.media_root, intake.map_root = intake.images or root, root
        classes = _classes(load_json(root / config, config), config, intake)
        splits = _splits(root, found)
        if objects == "polygons" and not any((root / s / found / objects).is_dir() for s in splits):
            raise FormatError(root, f"{config} is of a version without polygons")
        for split in splits:
            for name in names_in(root / split / "images", 10**7):
                if not is_image(name):
                    continue
                key = f"{split}/images/{name}"
                sample = rows.Sample(key, rows.Media(path=key), split=split)
                suffix = "json" if objects == "polygons" else "png"
                below = "/".join(p for p in (split, found, objects) if p)
                path = f"{below}/{split_suffix(name)[0]}.{suffix}"
                if is_file(root / path):
                    _fill(root, sample, path, objects, classes, intake)
                elif (root / below).is_dir():
                    intake.fault("missing-labels", path, None, f"no annotation of {key}")
                yield sample


def _splits(root: Path, version: str) -> list[str]:
    """Folders with images that are splits of the version, or (the test set) have nothing else."""
    out = []
    labelled = False
    for folder in folders_in(root, 100):
        held = {*folders_in(root / folder, 100)}
        if "images" in held and ("instances" in held if not version else version in held):
            labelled = True
            out.append(folder)
        elif held == {"images"}:
            out.append(folder)
    return out if labelled else []


@dataclass
class _Classes:
    """Category rows by position and by name, and which of them are things."""

    rows: list[int]
    by_name: dict[str, int]


def _classes(record: Any, where: str, intake: Intake) -> _Classes:
    labels = record.get("labels") if isinstance(record, dict) else None
    if not isinstance(labels, list):
        raise FormatError(where, "no list of labels", "/labels")
    out = _Classes([], {})
    for i, entry in enumerate(labels):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            intake.fault("missing-key", where, f"/labels/{i}", "a class without a name")
            entry, name = {}, f"class {i}"
        category = rows.Category(name, source_id=str(i))
        if "--" in name:
            category.supercategory = name.partition("--")[0]
        things, colour = entry.get("instances"), entry.get("color")
        category.isthing = things if isinstance(things, bool) else None
        whole = isinstance(colour, list) and all(type(c) is int and 0 <= c < 256 for c in colour)
        category.colour = colour if whole and len(colour) == 3 else None
        category.attributes = {k: entry[k] for k in ("readable", "evaluate") if k in entry} or None
        out.rows.append(intake.add_category(category))
        out.by_name.setdefault(name, out.rows[-1])
    return out


def _fill(
    root: Path,
    sample: rows.Sample,
    path: str,
    objects: Objects,
    classes: _Classes,
    intake: Intake,
) -> None:
    if objects == "polygons":
        _polygons(load_json(root / path, path), sample, path, classes, intake)
    elif objects == "labels":
        of = rows.LabelMap(path, encoding="index", space="object")
        sample.annotations.append(rows.Annotation("object", map=of))
    else:
        _instances(root, sample, path, classes, intake)


def _instances(
    root: Path, sample: rows.Sample, path: str, classes: _Classes, intake: Intake
) -> None:
    """The objects of an instance image."""
    values = label_values(path, root, intake)
    if values is None:
        return
    counts = counts_of(values)
    sample.height, sample.width = values.shape
    for value, box in zip(counts, boxes_of(values, list(counts)), strict=True):
        if not 0 <= value // 256 < len(classes.rows):
            intake.fault("unknown-class", path, None, f"pixels of the value {value}")
            continue
        x, y, w, h = (float(v) for v in box)
        sample.annotations.append(
            rows.Annotation(
                "object",
                classes.rows[value // 256],
                bbox=(x, y, w, h),
                area=float(counts[value]),
                map=rows.LabelMap(path, encoding="index", value=value),
            )
        )


def _polygons(
    record: Any, sample: rows.Sample, path: str, classes: _Classes, intake: Intake
) -> None:
    """The objects of a file of polygons: points, or flat lists of them."""
    listed = record.get("objects") if isinstance(record, dict) else None
    if not isinstance(listed, list):
        intake.fault("missing-key", path, "/objects", "no list of objects")
        return
    for key in ("height", "width"):
        value = record.get(key)
        if type(value) is int and 0 < value < 2**31:
            setattr(sample, key, value)
    if sample.width is None or sample.height is None:
        sample.width = sample.height = None
    for i, entry in enumerate(listed):
        place = f"/objects/{i}"
        label = entry.get("label") if isinstance(entry, dict) else None
        row = classes.by_name.get(label) if isinstance(label, str) else None
        if row is None:
            intake.fault("unknown-class", path, place, f"the label is {label!r}")
            continue
        try:
            points = entry["polygon"]
            if all(len(p) == 2 for p in points):
                points = [[v for p in points for v in p]]
            parts = [[[float(v) for v in ring]] for ring in points]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            intake.fault("bad-value", path, place, f"no polygon of points: {error}")
            continue
        number = entry.get("id")
        sample.annotations.append(
            rows.Annotation(
                "object",
                row,
                polygons=parts,
                source_id=None if number is None else str(number),
            )
        )
