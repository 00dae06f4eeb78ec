"""CSV tables of boxes or classes, with a header: one row an object, or one row an image.

::

    annotations.csv    filename,class,xmin,ymin,xmax,ymax      (TensorFlow, RetinaNet, VoTT)
    train.csv          image_name,label_name,x1,y1,w,h         (Kaggle; the file's name is a split)
    train/_classes.csv filename,cat,dog                        (Roboflow: 0 or 1 for each class)
    images/1.jpg

Columns are known by name, in any case: the image by ``image``, ``filename``, ``image_name``,
``path``…; its class by ``class``, ``label``, ``label_name``, ``category``…; a box by two corners
(``xmin ymin xmax ymax``, ``x1 y1 x2 y2``) or a corner and a size (``x y w h``, ``width``,
``height``), or by one column ``bbox`` of four numbers, whose order ``bbox_format`` says, since it
cannot be seen; ``score`` or ``confidence``; ``split``. ``width`` and ``height`` beside corners are
the image's. Where there is an image column and all others hold 0 and 1 only, each is a class: 1
present, 0 verified absent. All other columns are attributes, as text. A row without box and class
is an image without annotations.

Coordinates are pixels from the top-left corner. Names of images may lack their suffix. Of a table
without a header, ``header`` names the columns (``1.jpg,dog,0,1,1,2``: ``image,class,x1,y1,x2,y2``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._csv import CsvFile, CsvWriter, first_record
from granum.loaders._hf_files import known_split
from granum.loaders._image_tree import LOOKS, files_of_splits, is_image
from granum.loaders._notes import Notes, read_notes, take_tables, write_notes
from granum.loaders._paths import is_file, names_in, split_suffix
from granum.loaders._rows import Context, RowFormat, box_of, cornered, corners_of, sample_rows
from granum.loaders.base import Intake, formats
from granum.schema import rows
from granum.store.dataset import Dataset
from granum.store.out import Out

__all__ = ["Csv"]

FILE = "annotations.csv"
BoxFormat = Literal["xyxy", "xywh"]

_IMAGE = ("filename", "file_name", "image_name", "image", "image_path", "img", "path", "file")
_CLASS = ("class", "label", "label_name", "class_name", "category", "category_name")
_SCORE = ("score", "confidence", "conf")
_CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1"))
_SIZES = (("x", "y", "w", "h"), ("x1", "y1", "w", "h"), ("x", "y", "width", "height"))
_WRITTEN = ("filename", "class", "xmin", "ymin", "xmax", "ymax", "score", "split")
_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass
class Columns:
    """Which column of a header is what.

    Attributes:
        image, label, score, split: columns; empty where there is none.
        box: four columns, or one; ``corners``: they are two corners, not a corner and a size.
        size: columns of the image's width and height.
        flags: columns that are classes, with 0 or 1.
        others: columns that are attributes.
    """

    image: str = ""
    label: str = ""
    score: str = ""
    split: str = ""
    box: tuple[str, ...] = ()
    corners: bool = True
    size: tuple[str, ...] = ()
    flags: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, header: Sequence[str]) -> Columns:
        by_name = {h.strip().lower(): h for h in reversed(header)}

        def first(names: Sequence[str]) -> str:
            return next((by_name[n] for n in names if n in by_name), "")

        def group(sets: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
            return next((tuple(by_name[n] for n in s) for s in sets if {*s} <= {*by_name}), ())

        found = cls(first(_IMAGE), first(_CLASS), first(_SCORE), by_name.get("split", ""))
        corners, sizes = group(_CORNERS), group(_SIZES)
        found.corners = bool(corners) or not sizes
        found.box = corners or sizes or tuple(by_name[n] for n in ("bbox",) if n in by_name)
        if corners:
            found.size = group((("width", "height"),))
        used = {found.image, found.label, found.score, found.split, *found.box, *found.size}
        found.others = [h for h in header if h not in used]
        return found


@formats("csv")
class Csv(RowFormat):
    """Reads tables of many makes; writes one table."""

    name = "csv"
    title = "CSV tables of boxes or classes"
    spec = "https://github.com/fizyr/keras-retinanet#csv-datasets"
    keeps = frozenset(
        {
            *("sample", "object", "label", "category", "bbox", "score", "attributes", "split"),
            *("space", "supercategory", "parents", "isthing", "colour", "skeleton", "synonyms"),
        }
    )
    tolerance = {"bbox": 1e-6}  # noqa: RUF012  (corners)
    media_note = "labels only: put the images beside them with --media copy|link|hardlink"
    ordered = True
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        for path in _tables(root, LOOKS)[:4]:
            try:
                header = first_record(path)
            except (OSError, ValueError):
                continue
            columns = Columns.of(header)
            if path.name == "views.csv" and {"path", "object"} <= {*header}:
                continue  # views of objects
            if "content_path" in header:
                continue  # a list of videos
            if columns.image and (columns.label or columns.box or _flags(path, columns)):
                return f"{path.name}: a header with {columns.image.strip()!r} and classes or boxes"
        return None

    def read(
        self, root: Path, intake: Intake, *, bbox_format: BoxFormat = "xyxy", header: str = ""
    ) -> Iterator[rows.Sample]:
        """Read a table, or those of a folder.

        Args:
            root: a file or folder.
            intake: gets findings, categories, sources.
            bbox_format: what the four numbers of a column ``bbox`` are.
            header: names of the columns, commas between, of tables that have no header.

        Raises:
            FormatError: there is no such table.
        """
        folder = root if root.is_dir() else root.parent
        notes = read_notes(root, self.name) if root.is_dir() else None
        intake.media_root = intake.images or folder
        if notes is not None:
            take_tables(notes, intake)
        reader = _Reader(folder, intake, notes, bbox_format)
        found, told = False, {"bbox_format": bbox_format, "header": header}
        for path in [root] if notes is None and root.is_file() else _tables(root):
            names = [n.strip() for n in header.split(",")] if header else None
            file = CsvFile(path, path.relative_to(folder).as_posix(), names)
            columns = Columns.of(file.header)
            columns.flags = _flags(path, columns)
            if columns.image and (columns.label or columns.box or columns.flags):
                found = True
                intake.source(file.name, self.name, options=told)
                reader.take(file, columns, path)
        if not found:
            raise FormatError(root, "no table with images and classes or boxes")
        yield from reader.samples.values()

    # ------------------------------------------------------------------ writing

    def keep(
        self, annotation: rows.Annotation, sample: rows.Sample | None, context: Context
    ) -> rows.Annotation | None:
        """Objects with a box, and classes of images."""
        box = annotation.bbox if annotation.kind == "object" else None
        stable = None if box is None else cornered(box)
        if sample is None or (stable is None if annotation.kind == "object" else False):
            return None
        if annotation.kind == "label" and annotation.category is None:
            return None
        score = annotation.score
        left = {
            n: v
            for n, v in (annotation.attributes or {}).items()
            if isinstance(v, str) and _free(n) and _text(v)
        }
        return rows.Annotation(
            annotation.kind,
            annotation.category,
            bbox=stable,
            score=score if score is not None and math.isfinite(score) else None,
            attributes=left or None,
            annotation_id=annotation.annotation_id,
            sample=annotation.sample,
        )

    def keep_sample(self, sample: rows.Sample, context: Context) -> rows.Sample:
        sample.attributes = sample.extra = None
        return sample

    def write(self, dataset: Dataset, out: Out) -> None:
        """Write ``annotations.csv`` and our notes."""
        paths = self.paths(dataset)
        write_notes(out, self.name, dataset, paths, {"split"})
        names = self.context(dataset, {}).names
        records: list[dict[str, Any]] = []
        for sample, path in zip(sample_rows(dataset), paths, strict=True):
            base = {"filename": path.removeprefix("images/"), "split": sample.split}
            for one in sample.annotations or [rows.Annotation()]:
                record: dict[str, Any] = dict(base)
                if one.category is not None:
                    record["class"] = names[one.category]
                if one.bbox is not None:
                    record |= dict(zip(_WRITTEN[2:6], corners_of(one.bbox), strict=True))
                record["score"] = one.score
                records.append({**record, **(one.attributes or {})})
        filled = (n for r in records for n, v in r.items() if v is not None)
        used = dict.fromkeys([*_WRITTEN[:2], *filled])
        header = [n for n in _WRITTEN if n in used] + [n for n in used if n not in _WRITTEN]
        kinds = {n: pa.float64() for n in _WRITTEN[2:7]}
        with out.open(FILE) as file:
            CsvWriter(file, header).write(
                {
                    n: pa.array([r.get(n) for r in records], kinds.get(n, pa.string()))
                    for n in header
                }
            )


def _text(value: str) -> bool:
    return "\0" not in value and "\r" not in value


def _free(name: str) -> bool:
    """Whether a column of this name is read as an attribute."""
    known = {*_IMAGE, *_CLASS, *_SCORE, "split", "bbox", "width", "height"}
    known |= {n for s in (*_CORNERS, *_SIZES) for n in s}
    return name == name.strip() and name.lower() not in known and name != "" and _text(name)


def _tables(root: Path, limit: int = 10**7) -> list[Path]:
    """A CSV file, or those of a folder, as ``files_of_splits``."""
    if is_file(root):
        return [root] if root.suffix.lower() == ".csv" else []
    return files_of_splits(root, ".csv", "metadata.csv", limit)


def _flags(path: Path, columns: Columns) -> list[str]:
    """The columns that are classes, where all but the image's hold 0 and 1 only."""
    if columns.label or columns.box or not columns.others or not columns.image:
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line.rstrip("\r\n").split(",") for line in islice(file, 1000)]
    except (OSError, ValueError):
        return []
    width = len(columns.others) + 1
    good = len(lines) > 1 and all(
        len(v) == width and {t.strip() for t in v[1:]} <= {"0", "1"} for v in lines[1:]
    )
    return columns.others if good else []


class _Reader:
    """Gathers the rows of tables by image."""

    def __init__(
        self, folder: Path, intake: Intake, notes: Notes | None, bbox_format: BoxFormat
    ) -> None:
        self.folder, self.intake, self.notes, self.bbox_format = folder, intake, notes, bbox_format
        self.samples: dict[str, rows.Sample] = {}
        self.categories = {} if notes is None else notes.category_rows
        if notes is not None:
            self.samples = {p.removeprefix("images/"): s for p, s in notes.by_path.items()}
        self._known: dict[Path, dict[str, str]] = {}

    def take(self, file: CsvFile, columns: Columns, path: Path) -> None:
        """Add the rows of one table."""
        beside = path.parent.relative_to(self.folder).as_posix()
        names = (path.stem, re.split("[-_. ]", path.stem)[0], beside)
        split = next((s for s in names if known_split(s)), None)
        types = {h: pa.string() for h in file.header}
        for block in file.blocks(types, self.intake):
            for number, record in enumerate(block.table.to_pylist()):
                named = record[columns.image] or ""
                named = named if self.notes is not None else named.strip()
                where = f"line {block.line(number)}"
                if not named:
                    self.intake.fault("missing-key", file.name, where, "a row names no image")
                    continue
                sample = self._sample(named, path.parent)
                told = record[columns.split] if columns.split else None
                sample.split = told or sample.split or split
                try:
                    self._row(sample, record, columns)
                except ValueError as error:
                    self.intake.fault("bad-value", file.name, where, str(error))

    def _sample(self, named: str, folder: Path) -> rows.Sample:
        if self.notes is not None and named in self.samples:
            return self.samples[named]
        place = self._place(named, folder)
        if place not in self.samples:
            self.samples[place] = rows.Sample(place, rows.Media(path=place))
        return self.samples[place]

    def _place(self, named: str, folder: Path) -> str:
        """The path of an image below the root; its name where it is not there."""
        before = folder.relative_to(self.folder).as_posix()
        for below in ("", "images"):
            around = folder / below
            if around not in self._known:
                listed = [n for n in names_in(around, 10**7) if is_image(n)]
                known = {split_suffix(n)[0]: n for n in listed}
                self._known[around] = {**known, **{n: n for n in listed}}
            found = self._known[around].get(named)
            if found is not None or is_file(around / named):
                parts = (before, below, found or named)
                return "/".join(p for p in parts if p not in ("", "."))
        return named.replace("\\", "/").lstrip("/") or named

    def _row(self, sample: rows.Sample, record: dict[str, Any], columns: Columns) -> None:
        """Add what a row says.

        Raises:
            ValueError: a value that is none.
        """
        if columns.flags:
            for name in columns.flags:
                value = (record[name] or "").strip()
                if value not in ("0", "1"):
                    raise ValueError(f"{name.strip()} is {value!r}, not 0 or 1")
                row = self._category(name.strip())
                sample.annotations.append(rows.Annotation("label", row, present=value == "1"))
            return
        for name, to in zip(columns.size, ("width", "height"), strict=False):
            if record[name]:
                setattr(sample, to, _whole(record[name], to))
        box = self._box(record, columns)
        label = record[columns.label] if columns.label else None
        label = label if self.notes is not None else (label or "").strip() or None
        if box is None and label is None:
            return
        score = record[columns.score] if columns.score else None
        attributes = {n: record[n] for n in columns.others if record[n] is not None}
        sample.annotations.append(
            rows.Annotation(
                "label" if box is None else "object",
                None if label is None else self._category(label),
                bbox=box,
                score=None if score is None else _float(score, "score"),
                attributes={n.strip(): v for n, v in attributes.items()} or None,
            )
        )

    def _category(self, name: str) -> int:
        return self.categories[name] if name in self.categories else self.intake.category(name)

    def _box(
        self, record: dict[str, Any], columns: Columns
    ) -> tuple[float, float, float, float] | None:
        texts = [record[n] for n in columns.box]
        if not texts or all(t is None or not t.strip() for t in texts):
            return None
        if len(texts) == 1:
            values = [float(v) for v in _NUMBER.findall(texts[0])]
            if len(values) != 4:
                raise ValueError(f"bbox is {texts[0]!r}, not four numbers")
            corners = self.bbox_format == "xyxy"
        else:
            values = [_float(t or "", n) for t, n in zip(texts, columns.box, strict=True)]
            corners = columns.corners
        a, b, c, d = values
        return box_of((a, b, c, d)) if corners else (a, b, c, d)


def _float(text: str, name: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text.strip()) else math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name.strip()} is {text!r}, no number")
    return value


def _whole(text: str, name: str) -> int:
    value = _float(text, name)
    if value != int(value) or not 0 < value < 2**31:
        raise ValueError(f"{name} is {text!r}")
    return int(value)
