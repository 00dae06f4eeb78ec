"""Two toy formats: one keeps everything, one keeps boxes. The suite itself is tested with them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import FormatError
from granum.loaders.base import Format, Intake, keep_columns
from granum.schema import rows
from granum.schema.losses import NAMES
from granum.schema.tables import column, without_columns
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

LINES = "toy.jsonl"


def encoded(value: Any) -> str:
    """One line of JSON; bytes and times are marked."""

    def other(value: Any) -> Any:
        if isinstance(value, bytes):
            return {"$bytes": base64.b64encode(value).decode()}
        return {"$time": value.isoformat()}

    return json.dumps(value, default=other)


def decoded(text: str) -> Any:
    """The inverse of ``encoded``.

    Raises:
        ValueError: no JSON, or JSON with numbers that there are not.
    """

    def known(found: dict[str, Any]) -> Any:
        if found.keys() == {"$bytes"}:
            return base64.b64decode(found["$bytes"], validate=True)
        if found.keys() == {"$time"}:
            return datetime.fromisoformat(found["$time"])
        return found

    def refused(token: str) -> Any:
        raise ValueError(f"{token} is no JSON")

    return json.loads(text, object_hook=known, parse_constant=refused)


def objects(kind: Any, listed: Any) -> list[Any]:
    """Row objects from dictionaries.

    Raises:
        TypeError, ValueError: other fields than the row has, or values of another type.
    """
    names = {f.name for f in fields(kind)}
    out = []
    for values in listed:
        if not isinstance(values, dict) or not values.keys() <= names:
            raise ValueError(f"not the fields of a {kind.__name__}")
        for name in ("attributes", "extra"):
            if not isinstance(values.get(name), dict | None):
                raise ValueError(f"{name} must be an object")
        out.append(kind(**values))
    return out


class ToyFull(Format):
    """JSON lines: a header with the tables, then one line per sample with all its rows."""

    name: ClassVar[str] = "toy_full"
    keeps: ClassVar[frozenset[str]] = NAMES

    def sniff(self, root: Path) -> str | None:
        try:
            with (root / LINES).open("rb") as file:
                return LINES if file.read(8) == b'{"toy": ' else None
        except (OSError, ValueError):
            return None

    # Mutants of the writer and the reader override these.

    def sample(self, sample: rows.Sample) -> rows.Sample | None:
        return sample

    def annotation(self, annotation: rows.Annotation) -> rows.Annotation | None:
        return annotation

    def category(self, category: rows.Category) -> rows.Category | None:
        return category

    def write(self, dataset: Dataset, out: Out) -> None:
        layers = {n: self.listed(dataset, n) for n in dataset.meta.layers}
        current = dataset.meta.layer
        head = {
            "toy": 1,
            "categories": [
                asdict(c)
                for c in map(self.category, rows.categories_from_table(dataset.categories))
                if c is not None
            ],
            "groups": [asdict(g) for g in rows.groups_from_table(dataset.groups)],
            "whole": [asdict(a) for a in layers[current] if a.sample is None],
        }
        lines = [encoded(head)]
        for i, sample in enumerate(rows.samples_from_table(dataset.samples())):
            mine = {n: [a for a in listed if a.sample == i] for n, listed in layers.items()}
            sample.annotations = mine.pop(current)
            sample.layers = {n: listed for n, listed in mine.items() if listed}
            changed = self.sample(sample)
            if changed is not None:
                lines.append(encoded(asdict(changed)))
        out.text(LINES, "\n".join(lines) + "\n")

    def listed(self, dataset: Dataset, layer: str) -> list[rows.Annotation]:
        found = rows.annotations_from_table(dataset.annotations(layer=layer))
        return [a for a in map(self.annotation, found) if a is not None]

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        intake.media_root = root
        try:
            lines = (root / LINES).read_text("utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise FormatError(root / LINES, str(error)) from error
        try:
            head = decoded(lines[0])
            tables = rows.Category, rows.Group, rows.Annotation
            listed = [
                objects(kind, head[name])
                for kind, name in zip(tables, ("categories", "groups", "whole"), strict=True)
            ]
            rows.objects_to_table(listed[0], rows.tables.CATEGORIES)
            rows.objects_to_table(listed[1], rows.tables.GROUPS)
            rows.annotations_to_table(listed[2])
        except (ValueError, TypeError, KeyError, RecursionError, pa.ArrowException) as error:
            raise FormatError(root / LINES, str(error), "line 1") from error
        source = intake.source(LINES, self.name)
        intake.categories += listed[0]
        intake.groups += listed[1]
        numbers: set[int] = set()
        intake.group_annotations += [a for a in listed[2] if self.fits(a, intake, numbers)]
        for number, text in enumerate(lines[1:-1], 2):
            try:
                sample = self.parsed(text, intake)
            except (ValueError, TypeError, RecursionError, pa.ArrowException) as error:
                intake.fault("bad-value", root / LINES, f"line {number}", str(error))
                continue
            sample.origins, sample.ordinal = [source], [number]
            sample.annotations = [a for a in sample.annotations if self.fits(a, intake, numbers)]
            yield sample

    def parsed(self, text: str, intake: Intake) -> rows.Sample:
        (sample,) = objects(rows.Sample, [decoded(text)])
        sample.annotations = objects(rows.Annotation, sample.annotations)
        sample.layers = {n: objects(rows.Annotation, a) for n, a in sample.layers.items()}
        rows.samples_to_table([sample])
        if not isinstance(sample.key, str):
            raise ValueError("a sample has no key")
        for listed in (sample.annotations, *sample.layers.values()):
            rows.annotations_to_table(listed)
        if sample.group is not None and not 0 <= sample.group < len(intake.groups):
            raise ValueError(f"group {sample.group} is not listed")
        return sample

    def fits(self, annotation: rows.Annotation, intake: Intake, numbers: set[int]) -> bool:
        """Whether what it refers to is there."""
        category, number = annotation.category, annotation.annotation_id
        if category is not None and not 0 <= category < len(intake.categories):
            intake.fault("orphan-category", LINES, None, f"category {category}")
            return False
        if number is None or number < 1 or number in numbers:
            intake.fault("duplicate-annotation-id", LINES, None, f"annotation {number}")
            return False
        numbers.add(number)
        return True


class ToyBoxes(Format):
    """``boxes.txt``: per image a line with its key and size, then one line per box."""

    name: ClassVar[str] = "toy_boxes"
    keeps: ClassVar[frozenset[str]] = frozenset({"object", "bbox", "category"})
    tolerance: ClassVar[dict[str, float]] = {"bbox": 0.000501}

    def sniff(self, root: Path) -> str | None:
        try:
            with (root / "boxes.txt").open("rb") as file:
                return "boxes.txt" if file.read(8) == b"# boxes\n" else None
        except (OSError, ValueError):
            return None

    def project(self, batch: Batch, dataset: Dataset, *, digits: int = 3) -> Batch:
        """Boxes in pixels, rounded; objects without a box or a category go."""
        kept = keep_columns(batch, self.keeps)
        annotations = kept.annotations
        pixels = pc.equal(column(kept.samples, "unit").cast(pa.string()), "pixel")
        known = np.append(np.asarray(pc.fill_null(pixels, False)), False)
        at = np.asarray(column(annotations, "sample").fill_null(batch.start + len(known) - 1))
        whole = pc.and_(
            column(annotations, "bbox").is_valid(), column(annotations, "category").is_valid()
        )
        annotations = annotations.filter(pc.and_(whole, pa.array(known[at - batch.start])))
        if annotations.num_rows:
            boxes = [[round(v, digits) for v in b] for b in annotations["bbox"].to_pylist()]
            values = pa.array(boxes, annotations["bbox"].type)
            annotations = annotations.set_column(
                annotations.column_names.index("bbox"), "bbox", values
            )
        return Batch(without_columns(kept.samples, ["group"]), annotations, batch.start)

    def write(self, dataset: Dataset, out: Out, *, digits: int = 3) -> None:
        lines = ["# boxes"]
        lines += [f"class {encoded(n)}" for n in dataset.category_names()]
        for view in dataset:
            lines.append(f"image {encoded([view.key, view.row.width, view.row.height])}")
            lines += [encoded([a.category, *a.bbox]) for a in view.annotations if a.bbox]
        out.text("boxes.txt", "\n".join(lines) + "\n")

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        path = root / "boxes.txt"
        try:
            lines = path.read_text("utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise FormatError(path, str(error)) from error
        sample = None
        for number, line in enumerate(lines[1:-1], 2):
            word, _, rest = line.partition(" ")
            try:
                if word == "class":
                    intake.add_category(rows.Category(str(decoded(rest))))
                elif word == "image":
                    if sample is not None:
                        yield sample
                        sample = None
                    key, width, height = decoded(rest)
                    read = rows.Sample(str(key), width=width, height=height)
                    rows.samples_to_table([read])
                    sample = read
                elif sample is not None:
                    category, *box = decoded(line)
                    if not 0 <= category < len(intake.categories) or len(box) != 4:
                        raise ValueError(f"not a class and a box: {line!r}")
                    found = rows.Annotation(category=category, bbox=tuple(map(float, box)))
                    rows.annotations_to_table([found])
                    sample.annotations.append(found)
            except (ValueError, TypeError, RecursionError, OverflowError) as error:
                intake.fault("bad-value", path, f"line {number}", str(error))
        if sample is not None:
            yield sample
