"""What a format is: one class with ``sniff``, ``read``, ``write``, and what it keeps.

A format is a short file. Its class declares facts; the reader yields batches (or row objects,
where the format is small) and reports faults to the intake; the writer writes what ``project``
left, so that the loss report and the files cannot disagree.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.registry import Registry
from granum.schema import rows, tables
from granum.schema.findings import Findings
from granum.schema.losses import KINDS
from granum.schema.losses import name_of as _name_of
from granum.schema.tables import column, with_column, without_columns
from granum.store.builder import Incoming
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["Format", "Intake", "formats", "options_of"]

formats: Registry[type[Format]] = Registry(
    "format",
    {
        "ade20k": "granum.loaders.ade20k",
        "ava": "granum.loaders.ava",
        "brats": "granum.loaders.brats",
        "celeba": "granum.loaders.celeba",
        "change_pairs": "granum.loaders.change_pairs",
        "cityscapes": "granum.loaders.cityscapes",
        "coco": "granum.loaders.coco",
        "coco_panoptic": "granum.loaders.coco_panoptic",
        "coco_stuff": "granum.loaders.coco_stuff",
        "coconut": "granum.loaders.coconut",
        "createml": "granum.loaders.createml",
        "csv": "granum.loaders.csv",
        "cvat": "granum.loaders.cvat",
        "datumaro": "granum.loaders.datumaro",
        "dota": "granum.loaders.dota",
        "fusu": "granum.loaders.fusu",
        "genvideo": "granum.loaders.genvideo",
        "hf": "granum.loaders.hf",
        "icdar": "granum.loaders.icdar",
        "image_folder": "granum.loaders.image_folder",
        "jsonl_captions": "granum.loaders.jsonl_captions",
        "kitti": "granum.loaders.kitti",
        "kitti_tracking": "granum.loaders.kitti_tracking",
        "label_maps": "granum.loaders.label_maps",
        "labelme": "granum.loaders.labelme",
        "labelme_xml": "granum.loaders.labelme_xml",
        "lfw": "granum.loaders.lfw",
        "lvis": "granum.loaders.lvis",
        "mapillary": "granum.loaders.mapillary",
        "medtrinity": "granum.loaders.medtrinity",
        "mot": "granum.loaders.mot",
        "mots": "granum.loaders.mots",
        "mpii": "granum.loaders.mpii",
        "multi_view": "granum.loaders.multi_view",
        "multisports": "granum.loaders.multisports",
        "mvtec": "granum.loaders.mvtec",
        "nevis": "granum.loaders.nevis",
        "open_images": "granum.loaders.open_images",
        "paired_images": "granum.loaders.paired_images",
        "reid": "granum.loaders.reid",
        "revisitop": "granum.loaders.revisitop",
        "segment_anything": "granum.loaders.segment_anything",
        "tfrecord": "granum.loaders.tfrecord",
        "tiny_images": "granum.loaders.tiny_images",
        "ucf24": "granum.loaders.ucf24",
        "vgg_face2": "granum.loaders.vgg_face2",
        "video_folder": "granum.loaders.video_folder",
        "voc": "granum.loaders.voc",
        "vott": "granum.loaders.vott",
        "webdataset": "granum.loaders.webdataset",
        "widerface": "granum.loaders.widerface",
        "yolo": "granum.loaders.yolo",
        "ytvis": "granum.loaders.ytvis",
    },
    "granum.formats",
)
"""All formats by name. Built-ins are this lazy table; plug-ins use the entry point."""


@dataclass
class Intake:
    """What a reader fills beside the rows: findings, categories, groups, sources, shapes.

    Attributes:
        findings: faults go here, with ``add``; the policy is ``findings.on_error``.
        images: the folder of images that the user named, or None.
        media_root: set by the reader: what ``media.path`` is relative to.
        map_root: set by the reader: what ``map.path`` is relative to, where it differs.
        layer: name of the layer that the reader's annotations go to.
        locate: set by the reader: file and place of an annotation, of which ``origins``,
            ``ordinal``, ``source_id`` and the key of its sample are known.
    """

    findings: Findings = field(default_factory=Findings)
    images: Path | None = None
    media_root: Path | None = None
    map_root: Path | None = None
    layer: str = tables.DEFAULT_LAYER
    locate: Callable[[rows.Annotation, str], tuple[str, str]] | None = None
    categories: list[rows.Category] = field(default_factory=list)
    groups: list[rows.Group] = field(default_factory=list)
    group_annotations: list[rows.Annotation] = field(default_factory=list)
    sources: list[rows.Source] = field(default_factory=list)
    shapes: list[Any] = field(default_factory=list)
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    _category_rows: dict[tuple[str, str], int] = field(default_factory=dict)
    _shape_rows: dict[Any, int] = field(default_factory=dict)

    @property
    def on_error(self) -> str:
        return self.findings.on_error

    def add_category(self, category: rows.Category) -> int:
        """Append a category; returns its row. Names may repeat (then ids tell them apart)."""
        self.categories.append(category)
        row = len(self.categories) - 1
        self._category_rows.setdefault((category.space or "", category.name), row)
        return row

    def category(self, name: str, space: str = "object") -> int:
        """The row of a category by name, added where it is new."""
        row = self._category_rows.get((space, name))
        return self.add_category(rows.Category(name, space)) if row is None else row

    def source(self, path: str, format: str, **facts: Any) -> int:
        """Note an input file; returns its number, for ``origins``."""
        self.sources.append(rows.Source(path, format, **facts))
        return len(self.sources) - 1

    def shape(self, keys: tuple[tuple[str, ...], ...]) -> int | None:
        """The number of a set of keys (one tuple of keys per origin), for ``shape`` columns;
        None where there are too many to number."""
        if keys not in self._shape_rows:
            if len(self.shapes) >= 32_000:
                return None
            self._shape_rows[keys] = len(self.shapes)
            self.shapes.append([list(k) for k in keys])
        return self._shape_rows[keys]

    def fault(self, code: str, path: str | Path, place: str | None, message: str) -> None:
        """Report a fault; under ``fail`` reading goes on, so that none hides another."""
        self.findings.add(code, str(path), place, message)


class Format:
    """Base of all formats. A subclass declares facts and overrides what it can.

    Attributes:
        keeps: kinds and columns that survive writing and reading back (names of
            ``schema.losses.NAMES``).
        tolerance: per column, how far a value may move: pixels, or the column's own unit.
        single: suffixes that make the target one file instead of a folder.
        ordered: whether samples, and the annotations of a sample, come back in order (None: where
            ``record`` is kept).
        turned_rings: turned boxes of rows without polygons come back as polygons, which are no form
            of a mask that the row has.
        media_is_data: the format is made of the images themselves, so writing it needs a media
            mode other than ``none``.
        media_inside: the writer puts the images into its own files (``Out.embed`` asks for them),
            so that they can be copied only.
        media_note: said after writing labels without images, where users expect them beside.
        extra: the pip extra that it needs.
        checked: ``real data``, ``fixture`` or ``spec``: how it was checked.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    spec: ClassVar[str] = ""
    keeps: ClassVar[frozenset[str]] = frozenset()
    tolerance: ClassVar[Mapping[str, float]] = {}
    single: ClassVar[tuple[str, ...]] = ()
    ordered: ClassVar[bool | None] = None
    turned_rings: ClassVar[bool] = False
    media_is_data: ClassVar[bool] = False
    media_inside: ClassVar[bool] = False
    media_note: ClassVar[str | None] = None
    extra: ClassVar[str | None] = None
    checked: ClassVar[str] = "spec"

    def sniff(self, root: Path) -> str | None:
        """Why ``root`` looks like this format, or None. Cheap; never raises."""
        return None

    def read(self, root: Path, intake: Intake) -> Iterator[Incoming | rows.Sample]:
        """Yield batches or samples. Own options are keyword arguments with defaults."""
        raise UsageError(f"granum does not read {self.name}")

    def write(self, dataset: Dataset, out: Out) -> None:
        """Write a dataset that ``project`` went over. Own options are keyword arguments."""
        raise UsageError(f"granum does not write {self.name}")

    def project(self, batch: Batch, dataset: Dataset) -> Batch:
        """The batch as reading back what we write would give it (bookkeeping apart).

        Takes the same options as ``write``. Default: ``keep_columns(batch, self.keeps)``.
        """
        return keep_columns(batch, self.keeps)

    def project_categories(self, categories: pa.Table) -> pa.Table:
        """The categories as reading back would give them; same rows."""
        drop = [
            n
            for n in categories.column_names
            if (named := _name_of("categories", n)) is not None and named not in self.keeps
        ]
        return without_columns(categories, drop)

    def image_names(self, dataset: Dataset) -> Iterator[Sequence[str]]:
        """Per batch, where each sample's image belongs in the output folder."""
        for batch in dataset.iter_batches():
            yield [image_name(k) for k in batch.samples["key"].to_pylist()]

    @classmethod
    def reads(cls) -> bool:
        return cls.read is not Format.read

    @classmethod
    def writes(cls) -> bool:
        return cls.write is not Format.write


def image_name(key: str) -> str:
    """A key as a relative path that stays inside (``..`` and a leading ``/`` go)."""
    parts = [p for p in PurePosixPath(key.replace("\\", "/")).parts if p not in ("/", "..", ".")]
    return "/".join(parts) or "image"


def options_of(method: Any) -> dict[str, inspect.Parameter]:
    """The keyword-only options of a format's ``read`` or ``write``."""
    parameters = inspect.signature(method).parameters
    return {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def keep_columns(batch: Batch, keeps: Iterable[str]) -> Batch:
    """Without the kinds and columns that are not in ``keeps`` (bookkeeping stays), and without
    verified absences where ``present`` is not kept."""
    kept = frozenset(keeps)
    annotations = batch.annotations
    kinds = KINDS & kept
    present = column(annotations, "kind").cast(pa.string())
    wanted = pc.fill_null(pc.is_in(present, value_set=pa.array(sorted(kinds), pa.string())), False)
    if "present" not in kept and "present" in annotations.column_names:
        # Without its flag a verified absence would read as the presence of the class.
        wanted = pc.and_(wanted, pc.fill_null(annotations["present"], True))
    if not pc.all(wanted, min_count=0).as_py():
        annotations = annotations.filter(wanted)
    return Batch(
        _keep(batch.samples, "samples", kept), _keep(annotations, "annotations", kept), batch.start
    )


def _keep(table: pa.Table, which: str, kept: frozenset[str]) -> pa.Table:
    drop = [
        n
        for n in table.column_names
        if (name := _name_of(which, n)) is not None and name not in kept
    ]
    return without_columns(table, drop)


def blank(annotations: pa.Table, name: str, where: Any) -> pa.Table:
    """``annotations`` with column ``name`` null where ``where`` (a boolean array) is true."""
    values = annotations[name]
    at = pa.array(where)
    if pa.types.is_struct(values.type) or pa.types.is_nested(values.type):
        rows_ = pa.array(range(len(values)), pa.int64())
        taken = pc.if_else(at, pa.scalar(None, pa.int64()), rows_)
        return with_column(annotations, name, values.take(taken))
    return with_column(annotations, name, pc.if_else(at, pa.scalar(None, values.type), values))
