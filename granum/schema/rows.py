"""Python objects for one sample, annotation, category: for the edge only.

Readers and writers of small formats, the synthetic room and ``ds[i]`` use them; nothing loops
over them in a big dataset. Field names and units are those of :mod:`granum.schema.tables`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import pyarrow as pa

from granum.schema import tables

__all__ = [
    "Annotation",
    "Category",
    "Group",
    "Interval",
    "LabelMap",
    "Media",
    "Rle",
    "Sample",
    "Source",
    "annotations_from_table",
    "annotations_to_table",
    "categories_from_table",
    "column_array",
    "groups_from_table",
    "objects_to_table",
    "samples_from_table",
    "samples_to_table",
    "sources_from_table",
]


@dataclass(slots=True)
class Media:
    """Where the bytes of an image are: a path under the media root, or the bytes themselves."""

    path: str | None = None
    bytes: bytes | None = None


@dataclass(slots=True)
class Rle:
    """A COCO run-length mask. ``size`` is (height, width); ``counts`` the compressed string
    as bytes, column-major, starting with zeros; ``form`` how the source wrote it:
    ``compressed`` or ``list``."""

    size: tuple[int, int]
    counts: bytes
    form: str = "compressed"


@dataclass(slots=True)
class LabelMap:
    """The pixels equal to ``value`` in a label image.

    ``encoding``: ``index`` (single channel), ``rgb24`` (R + 256 G + 65536 B), ``ade``
    (R // 10 * 256 + G), ``nonzero``, ``greater`` (than ``threshold``). ``value`` None is the
    whole map, whose values are source ids of ``space``. ``digest`` identifies the content.
    """

    path: str | None = None
    bytes: bytes | None = None
    encoding: str = "index"
    value: int | None = None
    threshold: float | None = None
    space: str | None = None
    digest: str | None = None


@dataclass(slots=True)
class Interval:
    """A stretch of time, in seconds."""

    start: float
    end: float


@dataclass(slots=True)
class Annotation:
    """One annotation. Which of the geometry fields are filled says how it is drawn.

    ``category`` is a row of the dataset's categories. ``bbox`` is x, y, w, h in the unit of the
    sample; ``polygons`` are parts, then rings (first outside, further ones holes), then flat
    x, y. ``keypoints`` are x, y, visibility (0 absent, 1 hidden, 2 visible). ``annotation_id``
    None is numbered when stored; give it where other annotations refer to this one.
    """

    kind: str = "object"
    category: int | None = None
    bbox: tuple[float, float, float, float] | None = None
    polygons: list[list[list[float]]] | None = None
    rle: Rle | None = None
    map: LabelMap | None = None
    keypoints: list[float] | None = None
    keypoint_scores: list[float] | None = None
    polyline: list[float] | None = None
    box3d: tuple[float, ...] | None = None
    angle: float | None = None
    area: float | None = None
    shape_kind: str | None = None
    text: str | None = None
    interval: Interval | None = None
    score: float | None = None
    present: bool | None = None
    exhaustive: bool | None = None
    crowd: bool | None = None
    ignore: bool | None = None
    group_of: bool | None = None
    occluded: bool | None = None
    truncated: bool | None = None
    depiction: bool | None = None
    inside: bool | None = None
    difficult: bool | None = None
    keyframe: bool | None = None
    outside: bool | None = None
    visibility: float | None = None
    z_order: int | None = None
    track: int | None = None
    track_source_id: str | None = None
    subject: int | None = None
    object: int | None = None
    parent: int | None = None
    granularity: float | None = None
    level: int | None = None
    source: str | None = None
    annotator: str | None = None
    attributes: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None
    shape: int | None = None
    annotation_id: int | None = None
    source_id: str | None = None
    origins: list[int] | None = None
    ordinal: list[int] | None = None
    sample: int | None = None
    group: int | None = None


@dataclass(slots=True)
class Sample:
    """One image, frame, raster or slice, with its annotations by layer.

    ``annotations`` are those of the truth layer; further layers go to ``layers``.
    """

    key: str
    media: Media | None = None
    width: int | None = None
    height: int | None = None
    media_kind: str | None = "image"
    unit: str | None = "pixel"
    split: str | None = None
    annotations: list[Annotation] = field(default_factory=list)
    layers: dict[str, list[Annotation]] = field(default_factory=dict)
    channels: int | None = None
    depth: int | None = None
    orientation: int | None = None
    group: int | None = None
    role: str | None = None
    order: int | None = None
    time: datetime | None = None
    geo: dict[str, Any] | None = None
    attributes: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None
    shape: int | None = None
    source_id: str | None = None
    origins: list[int] | None = None
    ordinal: list[int] | None = None


@dataclass(slots=True)
class Group:
    """A video, pair, series, bag or scene that samples belong to (``Sample.group`` is its row)."""

    key: str
    kind: str | None = None
    source_id: str | None = None
    media: Media | None = None
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    fps: float | None = None
    attributes: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None


@dataclass(slots=True)
class Category:
    """A class of a label space. ``parents`` are (row of the parent, ``is_a`` or ``part_of``);
    ``skeleton`` pairs are 0-based positions in ``keypoints``."""

    name: str
    space: str | None = "object"
    source_id: str | None = None
    supercategory: str | None = None
    parents: list[dict[str, Any]] | None = None
    isthing: bool | None = None
    colour: list[int] | None = None
    keypoints: list[str] | None = None
    skeleton: list[list[int]] | None = None
    synonyms: list[str] | None = None
    attributes: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None


@dataclass(slots=True)
class Source:
    """One input file: its top-level keys and category records, as written (JSON)."""

    path: str
    format: str | None = None
    top: Any = None
    categories: Any = None
    options: Any = None


_JSON_FIELDS = {"attributes", "extra", "top", "categories", "options"}
_NESTED: dict[str, type] = {"media": Media, "rle": Rle, "map": LabelMap, "interval": Interval}


def _plain(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _JSON_FIELDS:
        return json.dumps(value, ensure_ascii=False)
    if name in _NESTED and not isinstance(value, dict):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    return value


def objects_to_table(objects: Sequence[Any], schema: pa.Schema) -> pa.Table:
    """Row objects whose attributes are the columns of ``schema``, as a table.

    A failing value raises ``ValueError`` that names the column.
    """
    columns = {}
    for column in schema:
        values = [_plain(column.name, getattr(o, column.name)) for o in objects]
        try:
            columns[column.name] = column_array(values, column.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise ValueError(f"column {column.name!r}: {error}") from error
    return pa.table(columns, schema=schema)


def column_array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Python values as an array of a schema type, dictionaries and structs included."""
    if not any(v is not None for v in values):
        return pa.nulls(len(values), kind)
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    if pa.types.is_struct(kind):
        children = [
            column_array([None if v is None else v.get(f.name) for v in values], f.type)
            for f in kind
        ]
        mask = pa.array([v is None for v in values])
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=mask)
    return pa.array(values, kind)


def annotations_to_table(
    annotations: Sequence[Annotation], samples: Sequence[int | None] | None = None
) -> pa.Table:
    """A table of ``ANNOTATIONS``; ``samples`` gives the sample row of each annotation.

    Annotations without an id are numbered after the highest given one; where none is given
    the column is left out.
    """
    seen: Sequence[Any] = annotations
    if samples is not None:
        seen = [_Numbered(a, s) for a, s in zip(annotations, samples, strict=True)]
    nullable = pa.schema([f.with_nullable(True) for f in tables.ANNOTATIONS])
    table = objects_to_table(seen, nullable)
    ids = [a.annotation_id for a in annotations]
    given = [i for i in ids if i is not None]
    if not given:
        return table.drop_columns(["annotation_id"])
    following = iter(range(max(given) + 1, max(given) + 1 + len(ids)))
    numbered = [next(following) if i is None else i for i in ids]
    return tables.with_column(table, "annotation_id", pa.array(numbered, pa.int64()))


class _Numbered:
    """An annotation seen with another sample row (the caller's object stays as it is)."""

    __slots__ = ("annotation", "sample")

    def __init__(self, annotation: Annotation, sample: int | None) -> None:
        self.annotation, self.sample = annotation, sample

    def __getattr__(self, name: str) -> Any:
        return getattr(self.annotation, name)


def samples_to_table(samples: Sequence[Sample]) -> pa.Table:
    """A table of ``SAMPLES`` (annotations apart)."""
    return objects_to_table(samples, tables.SAMPLES)


def _from_table(table: pa.Table, kind: type, attributes: bool = False) -> list[Any]:
    names = {f.name for f in fields(kind)}
    promoted = [n for n in table.column_names if n.startswith("attr.")]
    out = []
    for row in table.to_pylist():
        values = {}
        for name, value in row.items():
            if value is None or name not in names:
                continue
            if name in _JSON_FIELDS:
                value = json.loads(value)
            elif name in _NESTED:
                value = _NESTED[name](**value)
                if isinstance(value, Rle):
                    value.size = (value.size[0], value.size[1])
            elif name in ("bbox", "box3d"):
                value = tuple(value)
            values[name] = value
        for name in promoted:
            if row[name] is not None:
                values.setdefault("attributes", {})[name.removeprefix("attr.")] = row[name]
        defaults = {n: None for n in ("kind", "space", "media_kind", "unit") if n in names}
        out.append(kind(**{**defaults, **values}))
    return out


def annotations_from_table(table: pa.Table) -> list[Annotation]:
    """Rows of an annotation table; ``attr.*`` columns are put back into ``attributes``."""
    return _from_table(table, Annotation)


def samples_from_table(table: pa.Table) -> list[Sample]:
    """Rows of a sample table, without annotations."""
    return _from_table(table, Sample)


def categories_from_table(table: pa.Table) -> list[Category]:
    return _from_table(table, Category)


def groups_from_table(table: pa.Table) -> list[Group]:
    return _from_table(table, Group)


def sources_from_table(table: pa.Table) -> list[Source]:
    return _from_table(table, Source)
