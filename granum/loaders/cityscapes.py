"""Cityscapes: streets, with instances and polygons.

::

    leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png
    gtFine/train/aachen/aachen_000000_000019_gtFine_instanceIds.png
    gtFine/…_gtFine_labelIds.png   …_gtFine_labelTrainIds.png   …_gtFine_polygons.json
    gtCoarse/…

``instanceIds``: a value of 1000 and more is class id * 1000 + number of one thing; a smaller one
is the class id itself: stuff, or of a class of things a GROUP of them, which is read as ``crowd``.
The values are read, so each object has a box and an area in pixels (width = xmax - xmin + 1).
``objects`` chooses ``polygons`` instead: one per object, holes not cut out, later ones cover
earlier ones; or ``labels``: the whole label image as one row, unread. Class ids are 0 to 33, and
-1 (licence plate), which no ``instanceIds`` hold; they are the ``source_id`` of categories,
``trainId`` (255 ignore) an attribute.

Spec: https://github.com/mcordts/cityscapesScripts
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from granum.errors import FormatError
from granum.loaders._json_files import bad_values, entries, load_json, numbers, take_size
from granum.loaders._map_masks import label_values
from granum.loaders._panoptic_pixels import boxes_of, counts_of
from granum.loaders._paths import folders_in, is_file, names_in
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows

__all__ = ["Cityscapes"]

Objects = Literal["instances", "polygons", "labels"]
IMAGES = "leftImg8bit"

# name, id, trainId, category, has instances, is ignored, colour (labels.py of the scripts)
LABELS = (
    ("unlabeled", 0, 255, "void", False, (0, 0, 0)),
    ("ego vehicle", 1, 255, "void", False, (0, 0, 0)),
    ("rectification border", 2, 255, "void", False, (0, 0, 0)),
    ("out of roi", 3, 255, "void", False, (0, 0, 0)),
    ("static", 4, 255, "void", False, (0, 0, 0)),
    ("dynamic", 5, 255, "void", False, (111, 74, 0)),
    ("ground", 6, 255, "void", False, (81, 0, 81)),
    ("road", 7, 0, "flat", False, (128, 64, 128)),
    ("sidewalk", 8, 1, "flat", False, (244, 35, 232)),
    ("parking", 9, 255, "flat", False, (250, 170, 160)),
    ("rail track", 10, 255, "flat", False, (230, 150, 140)),
    ("building", 11, 2, "construction", False, (70, 70, 70)),
    ("wall", 12, 3, "construction", False, (102, 102, 156)),
    ("fence", 13, 4, "construction", False, (190, 153, 153)),
    ("guard rail", 14, 255, "construction", False, (180, 165, 180)),
    ("bridge", 15, 255, "construction", False, (150, 100, 100)),
    ("tunnel", 16, 255, "construction", False, (150, 120, 90)),
    ("pole", 17, 5, "object", False, (153, 153, 153)),
    ("polegroup", 18, 255, "object", False, (153, 153, 153)),
    ("traffic light", 19, 6, "object", False, (250, 170, 30)),
    ("traffic sign", 20, 7, "object", False, (220, 220, 0)),
    ("vegetation", 21, 8, "nature", False, (107, 142, 35)),
    ("terrain", 22, 9, "nature", False, (152, 251, 152)),
    ("sky", 23, 10, "sky", False, (70, 130, 180)),
    ("person", 24, 11, "human", True, (220, 20, 60)),
    ("rider", 25, 12, "human", True, (255, 0, 0)),
    ("car", 26, 13, "vehicle", True, (0, 0, 142)),
    ("truck", 27, 14, "vehicle", True, (0, 0, 70)),
    ("bus", 28, 15, "vehicle", True, (0, 60, 100)),
    ("caravan", 29, 255, "vehicle", True, (0, 0, 90)),
    ("trailer", 30, 255, "vehicle", True, (0, 0, 110)),
    ("train", 31, 16, "vehicle", True, (0, 80, 100)),
    ("motorcycle", 32, 17, "vehicle", True, (0, 0, 230)),
    ("bicycle", 33, 18, "vehicle", True, (119, 11, 32)),
    ("license plate", -1, -1, "vehicle", False, (0, 0, 142)),
)
_ROWS = {number: row for row, (_, number, *_) in enumerate(LABELS)}
_NAMED = {name: row for row, (name, *_) in enumerate(LABELS)}


@formats("cityscapes")
class Cityscapes(Format):
    """Reads fine and coarse annotations."""

    name = "cityscapes"
    title = "Cityscapes"
    spec = "https://github.com/mcordts/cityscapesScripts"
    keeps = frozenset(
        {
            *("sample", "object", "category", "bbox", "mask", "crowd", "split", "supercategory"),
            *("isthing", "colour", "attributes"),
        }
    )
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        held = folders_in(root)
        kinds = [k for k in ("gtFine", "gtCoarse") if k in held]
        if IMAGES in held and kinds:
            return f"{IMAGES}/ and {kinds[0]}/"
        return None

    def read(
        self,
        root: Path,
        intake: Intake,
        *,
        annotations: Literal["gtFine", "gtCoarse"] = "gtFine",
        objects: Objects = "instances",
    ) -> Iterator[rows.Sample]:
        """Read all splits.

        Args:
            root: the folder with ``leftImg8bit``.
            intake: gets findings, categories, sources.
            annotations: the fine or the coarse ones.
            objects: from the instance images, the polygons, or whole label images.

        Raises:
            FormatError: there are no such folders.
        """
        if not (root / IMAGES).is_dir():
            raise FormatError(root, f"no {IMAGES} folder")
        options = {"annotations": annotations, "objects": objects}
        intake.source(annotations, self.name, options=options)
        intake.media_root, intake.map_root = intake.images or root, root
        for name, number, train, group, things, colour in LABELS:
            facts = {"trainId": train}
            category = rows.Category(name, source_id=str(number), supercategory=group)
            category.isthing, category.colour, category.attributes = things, list(colour), facts
            intake.add_category(category)
        for split in folders_in(root / IMAGES):
            for city in folders_in(root / IMAGES / split):
                for name in names_in(root / IMAGES / split / city, 10**7):
                    if name.endswith(f"_{IMAGES}.png"):
                        key = f"{IMAGES}/{split}/{city}/{name}"
                        sample = rows.Sample(key, rows.Media(path=key), split=split)
                        stem = name.removesuffix(f"_{IMAGES}.png")
                        before = f"{annotations}/{split}/{city}/{stem}_{annotations}"
                        self._fill(root, sample, before, objects, intake)
                        yield sample

    def _fill(
        self, root: Path, sample: rows.Sample, before: str, objects: Objects, intake: Intake
    ) -> None:
        """Add the objects of an image."""
        ends = {"instances": "instanceIds.png", "polygons": "polygons.json"}
        path = f"{before}_{ends.get(objects, 'labelIds.png')}"
        if not is_file(root / path):
            if sample.split != "test":
                intake.fault("missing-labels", path, None, f"no annotation of {sample.key}")
            return
        if objects == "polygons":
            _polygons(load_json(root / path, path), sample, path, intake)
        elif objects == "labels":
            of = rows.LabelMap(path, encoding="index", space="object")
            sample.annotations.append(rows.Annotation("object", map=of))
        else:
            _instances(root, sample, path, intake)


def _instances(root: Path, sample: rows.Sample, path: str, intake: Intake) -> None:
    """The objects of an instance image."""
    values = label_values(path, root, intake)
    if values is None:
        return
    counts = counts_of(values)
    sample.height, sample.width = values.shape
    for value, box in zip(counts, boxes_of(values, list(counts)), strict=True):
        number = value // 1000 if value >= 1000 else value
        row = _ROWS.get(number)
        if row is None:
            intake.fault("unknown-class", path, None, f"pixels of the value {value}")
            continue
        x, y, w, h = (float(v) for v in box)
        sample.annotations.append(
            rows.Annotation(
                "object",
                row,
                bbox=(x, y, w, h),
                area=float(counts[value]),
                map=rows.LabelMap(path, encoding="index", value=value),
                crowd=value < 1000 if LABELS[row][4] else None,
            )
        )


def _polygons(record: Any, sample: rows.Sample, path: str, intake: Intake) -> None:
    """The objects of a file of polygons. A name ending in ``group`` means several of one class."""
    if not isinstance(record, dict) or not isinstance(record.get("objects"), list):
        raise FormatError(path, "no list of objects", "/objects")
    take_size(sample, record, intake, path, keys=("imgWidth", "imgHeight"))
    for place, entry in entries(record, "objects", intake, path):
        label = entry.get("label") if isinstance(entry, dict) else None
        row = _NAMED.get(label) if isinstance(label, str) else None
        group = row is None and isinstance(label, str) and label.endswith("group")
        if group and isinstance(label, str):
            row = _NAMED.get(label.removesuffix("group"))
        if row is None:
            intake.fault("unknown-class", path, place, f"the label is {label!r}")
            continue
        crowd = group if LABELS[row][4] else None
        with bad_values(intake, path, place):
            rings = [[v for point in entry["polygon"] for v in numbers(point, 2)]]
            sample.annotations.append(rows.Annotation("object", row, polygons=[rings], crowd=crowd))
