"""A format from outside: ``dots.json``, the boxes of each image.

    {"dots": 1, "classes": ["cat"], "images": [{"key": "a.jpg", "boxes": [[0, x, y, w, h]]}]}

Coordinates are as granum's: pixels, or fractions where the image says ``"relative": true``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.compute as pc

from granum.errors import FormatError
from granum.loaders import Format, Intake, formats
from granum.loaders.base import keep_columns
from granum.schema.rows import Annotation, Category, Sample
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

NAME = "dots.json"


@formats("dots")
class Dots(Format):
    """Boxes and classes, nothing else."""

    name: ClassVar[str] = "dots"
    keeps: ClassVar[frozenset[str]] = frozenset({"object", "bbox", "category"})

    def sniff(self, root: Path) -> str | None:
        try:
            with (root / NAME).open("rb") as file:
                return f'{NAME} begins with "dots"' if file.read(9) == b'{"dots": ' else None
        except (OSError, ValueError):
            return None

    def read(self, root: Path, intake: Intake) -> Iterator[Sample]:
        path = root / NAME
        try:
            data = json.loads(path.read_bytes())
            classes, images = [str(c) for c in data["classes"]], list(data["images"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise FormatError(path, f"no list of images: {error}") from error
        for name in classes:
            intake.add_category(Category(name))
        for i, image in enumerate(images):
            try:
                yield self.sample(image, len(classes))
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                intake.fault("bad-value", path, f"/images/{i}", str(error))

    def sample(self, image: dict[str, Any], classes: int) -> Sample:
        boxes = []
        for number, *box in image["boxes"]:
            if type(number) is not int or not 0 <= number < classes or len(box) != 4:
                raise ValueError("a box is a class and four numbers")
            boxes.append(Annotation(category=number, bbox=tuple(map(float, box))))
        if not isinstance(image["key"], str):
            raise ValueError("a key is a text")
        unit = "relative" if image.get("relative") else "pixel"
        return Sample(image["key"], unit=unit, annotations=boxes)

    def project(self, batch: Batch, dataset: Dataset) -> Batch:
        kept = keep_columns(batch, self.keeps)
        whole = pc.and_(
            column(kept.annotations, "bbox").is_valid(),
            column(kept.annotations, "category").is_valid(),
        )
        # a row without a sample is of a group, which this format does not have
        placed = pc.and_(whole, column(kept.annotations, "sample").is_valid())
        return Batch(kept.samples, kept.annotations.filter(placed), kept.start)

    def write(self, dataset: Dataset, out: Out) -> None:
        images = []
        for view in dataset:
            boxes = [[a.category, *(a.bbox or ())] for a in view.annotations]
            relative = view.row.unit == "relative"
            images.append({"key": view.key, "relative": relative, "boxes": boxes})
        out.text(
            NAME, json.dumps({"dots": 1, "classes": dataset.category_names(), "images": images})
        )
