"""The typed tables of a dataset, as Arrow schemas: what a sample, an annotation, a category is.

Coordinates are continuous pixels, ``xywh``, origin at the top-left corner of the top-left
pixel, float64 (``samples.unit = pixel``), or fractions of width and height
(``unit = relative``) where the source says so. Angles are radians, positive clockwise on the
screen, about the centre of the unrotated ``bbox``. Absence is null. See docs/schema.md.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

__all__ = [
    "ANNOTATIONS",
    "ANNOTATION_KINDS",
    "CATEGORIES",
    "DEFAULT_LAYER",
    "GROUPS",
    "SAMPLES",
    "SOURCES",
    "TABLES",
    "VERSION",
    "VIEWS",
    "column",
    "conform",
    "decode_dictionaries",
    "empty",
    "strip_null_columns",
    "with_column",
    "without_columns",
]

VERSION = 1
"""Version of the stored schema; a store with a higher one is refused."""

DEFAULT_LAYER = "truth"

ANNOTATION_KINDS = (
    "object",
    "track",
    "label",
    "caption",
    "relation",
    "interval",
    "field",
)

_DICT = pa.dictionary(pa.int32(), pa.string())
_MEDIA = pa.struct([("path", pa.string()), ("bytes", pa.binary())])
_JSON = pa.string()

_RECORD = [
    ("source_id", pa.string()),
    ("origins", pa.list_(pa.int16())),
    ("ordinal", pa.list_(pa.int64())),
]

SAMPLES = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        *_RECORD,
        ("media", _MEDIA),
        ("media_kind", _DICT),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("channels", pa.int16()),
        ("depth", pa.int32()),
        ("unit", _DICT),
        ("orientation", pa.int8()),
        ("group", pa.int64()),
        ("role", _DICT),
        ("order", pa.int64()),
        ("time", pa.timestamp("us")),
        ("split", _DICT),
        ("geo", pa.struct([("crs", pa.string()), ("transform", pa.list_(pa.float64()))])),
        ("attributes", _JSON),
        ("shape", pa.int16()),
        ("extra", _JSON),
    ]
)

GROUPS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        ("source_id", pa.string()),
        ("kind", _DICT),
        ("media", _MEDIA),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("frames", pa.int64()),
        ("fps", pa.float64()),
        ("attributes", _JSON),
        ("extra", _JSON),
    ]
)

ANNOTATIONS = pa.schema(
    [
        pa.field("annotation_id", pa.int64(), nullable=False),
        *_RECORD,
        ("sample", pa.int64()),
        ("group", pa.int64()),
        ("kind", _DICT),
        ("category", pa.int32()),
        ("score", pa.float64()),
        ("present", pa.bool_()),
        ("exhaustive", pa.bool_()),
        ("bbox", pa.list_(pa.float64(), 4)),
        ("angle", pa.float64()),
        ("area", pa.float64()),
        ("shape_kind", _DICT),
        ("polygons", pa.list_(pa.list_(pa.list_(pa.float64())))),
        ("polyline", pa.list_(pa.float64())),
        (
            "rle",
            pa.struct(
                [("size", pa.list_(pa.int32(), 2)), ("counts", pa.binary()), ("form", _DICT)]
            ),
        ),
        (
            "map",
            pa.struct(
                [
                    ("path", pa.string()),
                    ("bytes", pa.binary()),
                    ("encoding", _DICT),
                    ("value", pa.int64()),
                    ("threshold", pa.float64()),
                    ("space", _DICT),
                    ("digest", pa.string()),
                ]
            ),
        ),
        ("keypoints", pa.list_(pa.float64())),
        ("keypoint_scores", pa.list_(pa.float64())),
        ("box3d", pa.list_(pa.float64(), 9)),
        ("text", pa.string()),
        ("interval", pa.struct([("start", pa.float64()), ("end", pa.float64())])),
        *[
            (flag, pa.bool_())
            for flag in (
                "crowd",
                "ignore",
                "group_of",
                "occluded",
                "truncated",
                "depiction",
                "inside",
                "difficult",
                "keyframe",
                "outside",
            )
        ],
        ("visibility", pa.float64()),
        ("z_order", pa.int32()),
        ("track", pa.int64()),
        ("track_source_id", pa.string()),
        ("subject", pa.int64()),
        ("object", pa.int64()),
        ("parent", pa.int64()),
        ("granularity", pa.float32()),
        ("level", pa.int16()),
        ("source", _DICT),
        ("annotator", _DICT),
        ("attributes", _JSON),
        ("shape", pa.int16()),
        ("extra", _JSON),
    ]
)

CATEGORIES = pa.schema(
    [
        ("space", _DICT),
        pa.field("name", pa.string(), nullable=False),
        ("source_id", pa.string()),
        ("supercategory", pa.string()),
        ("parents", pa.list_(pa.struct([("index", pa.int32()), ("relation", pa.string())]))),
        ("isthing", pa.bool_()),
        ("colour", pa.list_(pa.uint8())),
        ("keypoints", pa.list_(pa.string())),
        ("skeleton", pa.list_(pa.list_(pa.int32()))),
        ("synonyms", pa.list_(pa.string())),
        ("attributes", _JSON),
        ("extra", _JSON),
    ]
)

SOURCES = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        ("format", pa.string()),
        ("top", _JSON),
        ("categories", _JSON),
        ("options", _JSON),
    ]
)

VIEWS = pa.schema(
    [
        pa.field("sample", pa.int64(), nullable=False),
        ("gain", pa.float64()),
        ("reason", _DICT),
        ("annotations", pa.list_(pa.int64())),
    ]
)

TABLES = {
    "samples": SAMPLES,
    "groups": GROUPS,
    "annotations": ANNOTATIONS,
    "categories": CATEGORIES,
    "sources": SOURCES,
    "views": VIEWS,
}


def empty(schema: pa.Schema) -> pa.Table:
    """A table of no rows."""
    return schema.empty_table()


def conform(table: pa.Table, schema: pa.Schema, *, full: bool = False) -> pa.Table:
    """``table`` with its columns cast and ordered as ``schema`` has them, ``attr.*`` last.

    A column that is null throughout may be absent; ``full`` adds such columns.

    Raises:
        ValueError: a column that the schema does not have.
    """
    present = set(table.column_names)
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    for field in schema:
        if field.name in present:
            column = table[field.name]
            columns[field.name] = column if column.type == field.type else _cast(column, field.type)
        elif full:
            columns[field.name] = pa.nulls(table.num_rows, field.type)
    for name in table.column_names:
        if name.startswith(("attr.", "col.")):
            columns[name] = table[name]
        elif name not in columns:
            raise ValueError(f"unknown column {name!r}; known: {', '.join(schema.names)}")
    return pa.table(columns)


def column(table: pa.Table, name: str, schema: pa.Schema = None) -> pa.ChunkedArray:
    """A column by name; nulls of its type where the table does not hold it.

    ``schema`` defaults to the annotations' or the samples', whichever has the name.
    """
    if name in table.column_names:
        return table[name]
    if name.startswith(("attr.", "col.")):  # of a type that this table does not know
        return pa.chunked_array([pa.nulls(table.num_rows)])
    if schema is None:
        schema = ANNOTATIONS if name in ANNOTATIONS.names else SAMPLES
    return pa.chunked_array([pa.nulls(table.num_rows, schema.field(name).type)])


def with_column(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """``table`` with ``name`` set, replacing the column where it is there."""
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, values)
    return table.append_column(name, values)


def without_columns(table: pa.Table, names: Iterable[str]) -> pa.Table:
    """``table`` without those of ``names`` that it has."""
    drop = set(names) & set(table.column_names)
    return table.drop_columns(sorted(drop)) if drop else table


def _cast(column: pa.ChunkedArray, to: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type) and not pa.types.is_dictionary(to):
        column = column.cast(column.type.value_type)
    if pa.types.is_dictionary(to) and not pa.types.is_dictionary(column.type):
        return column.cast(to.value_type).dictionary_encode()
    return column.cast(to)


def strip_null_columns(table: pa.Table) -> pa.Table:
    """Without the columns that are null throughout (they are not stored)."""
    keep = [
        name
        for name in table.column_names
        if table[name].null_count < table.num_rows or name in ("key", "annotation_id")
    ]
    return table.select(keep)


def decode_dictionaries(table: pa.Table) -> pa.Table:
    """Top-level dictionary columns as plain strings (for readers without dictionaries)."""
    columns = {
        name: table[name].cast(table[name].type.value_type)
        if pa.types.is_dictionary(table[name].type)
        else table[name]
        for name in table.column_names
    }
    return pa.table(columns)
