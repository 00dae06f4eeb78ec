"""Fields of objects as annotation columns: by our own facts, else by name and type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._hf_columns import (
    ATTRIBUTE_TYPES,
    conform_array,
    flags,
    is_json_objects,
    is_list,
    is_number,
    is_text,
    json_objects,
    lengths_of,
    lists,
    merge_json,
    plain,
)
from granum.loaders._hf_facts import ALIASES, class_names
from granum.schema import tables
from granum.schema.tables import ANNOTATIONS

if TYPE_CHECKING:
    from granum.loaders._hf_read import RecordReader

__all__ = ["Columns", "FieldReader", "put_attributes", "rank"]

Ints = npt.NDArray[np.int64]
Columns = dict[str, pa.Array]

_NOT_BY_NAME = frozenset(
    {
        *("annotation_id", "origins", "ordinal", "sample", "group", "shape", "extra"),
        *("subject", "object", "parent", "kind", "attributes"),
    }
)
"""Columns that only our own files can mean: numbers that refer to something."""

_CATEGORY_FIELDS = ("category", "categories", "label", "labels", "category_id", "class_id", "class")


def rank(name: str) -> tuple[int, int]:
    """Fields in the order in which they take a column: its own name before other names."""
    lower = name.lower()
    if lower in _CATEGORY_FIELDS:
        return 0, _CATEGORY_FIELDS.index(lower)
    if lower == "id":  # where a field is called source_id, that is meant
        return 3, 0
    return (1, 0) if lower not in ALIASES else (2, 0)


class FieldReader:
    """The fields of objects as annotation columns.

    Attributes:
        columns: those of the schema, and ``attr.*``.
        attributes: the others, by name.
        keep: objects that are not left out.
    """

    def __init__(self, reader: RecordReader, column: str, at: Ints) -> None:
        self.reader, self.column, self.at = reader, column, at
        self.columns: Columns = {}
        self.attributes: Columns = {}
        self.keep = np.ones(len(at), bool)

    def add(self, name: str, array: pa.Array) -> None:
        """Take a field to the column that it is."""
        array = plain(array)
        facts = self.reader.facts
        own = facts.objects.get(name) if facts is not None else None
        to = own or ALIASES.get(name.lower(), name.lower())
        if pa.types.is_null(array.type) and to not in ("bbox", "category"):
            return
        if to in self.columns:
            self.attributes[name] = array
        elif to == "bbox" and is_list(array.type):
            self._boxes(array)
        elif to == "category":
            self._categories(name, array)
        elif to == "annotation_id" or (own is not None and own.startswith("attr.")):
            self._own(name, array, to)
        elif name == "position" and facts is not None:
            self.columns[name] = conform_array(array, pa.int64())
        elif name == "segmentation" and self._segmentation(array):
            pass
        elif own is not None:
            self.columns[own] = self.reader.own(name, array, own, ANNOTATIONS, "a.")
        elif not self._by_name(to, array):
            self.attributes[name] = array

    def _own(self, name: str, array: pa.Array, to: str) -> None:
        facts = self.reader.facts
        assert facts is not None
        if to == "annotation_id" and not facts.ids:
            return
        self.columns[to] = self.reader.own(name, array, to, ANNOTATIONS, "a.")

    def _by_name(self, to: str, array: pa.Array) -> bool:
        """Whether a field of somebody else's table is a column, by name and type."""
        kind = array.type
        try:
            if to == "id" and (is_text(kind) or pa.types.is_integer(kind)):
                if "source_id" in self.columns:
                    return False
                self.columns["source_id"] = array.cast(pa.string())
            elif to == "crowd":
                self.columns[to] = flags(array)
            elif to == "keypoints" and is_list(kind) and is_list(kind.value_type):
                self.columns[to] = _flat_points(array)
            elif to == "kind" and is_text(kind):
                if not set(array.unique().to_pylist()) <= set(tables.ANNOTATION_KINDS):
                    return False
                self.columns[to] = conform_array(array, ANNOTATIONS.field("kind").type)
            elif to == "attributes" and is_text(kind) and is_json_objects(array):
                self.columns[to] = array
            elif to == "attributes" and pa.types.is_struct(kind):
                parts = dict(zip([f.name for f in kind], array.flatten(), strict=True))
                self.columns[to] = json_objects(parts, len(array))
            elif to in ANNOTATIONS.names and to not in _NOT_BY_NAME:
                self.columns[to] = conform_array(array, ANNOTATIONS.field(to).type)
            else:
                return False
        except ValueError:
            return False
        return True

    def _boxes(self, array: pa.Array) -> None:
        """Boxes of four numbers; another number of them is a fault."""
        reader = self.reader
        if not (is_number(array.type.value_type) or pa.types.is_null(array.type.value_type)):
            raise FormatError(
                reader.path,
                f"boxes in {self.column!r} are {array.type}, no numbers",
                reader.place(),
            )
        lengths = lengths_of(array)
        wrong = (lengths >= 0) & (lengths != 4)
        for k in np.flatnonzero(wrong).tolist():
            reader.fault("bad-value", int(self.at[k]), f"a box of {lengths[k]} numbers")
        if reader.intake.on_error != "fix":
            self.keep &= ~wrong
        numbers = np.asarray(array.flatten().cast(pa.float64()).fill_null(np.nan), np.float64)
        boxes = np.zeros((len(array), 4))
        taken = np.repeat(lengths, np.maximum(lengths, 0)) == 4
        boxes[lengths == 4] = numbers[taken].reshape(-1, 4)
        form = "xywh" if reader.facts is not None else reader.bbox_format.removesuffix("_rel")
        if form == "xyxy":
            boxes[:, 2:] -= boxes[:, :2]
        elif form == "cxcywh":
            boxes[:, :2] -= boxes[:, 2:] / 2
        self.columns["bbox"] = pa.FixedSizeListArray.from_arrays(
            pa.array(boxes.ravel()), 4, mask=pa.array(lengths != 4)
        )

    def _categories(self, name: str, array: pa.Array) -> None:
        if pa.types.is_null(array.type):
            return
        if not (is_text(array.type) or pa.types.is_integer(array.type)):
            self.attributes[name] = array
            return
        names = class_names(self.reader.features, self.column, name)
        category, known = self.reader.category(array, names, "object", self.at)
        self.columns["category"] = category
        self.keep &= known

    def _segmentation(self, array: pa.Array) -> bool:
        """Polygons, one ring or several a part, or run lengths; whether it was one of them."""
        kind = array.type
        try:
            if pa.types.is_struct(kind) and {"size", "counts"} <= {f.name for f in kind}:
                self.columns["rle"] = conform_array(array, ANNOTATIONS.field("rle").type)
            elif is_list(kind) and is_list(kind.value_type):
                inner = kind.value_type.value_type
                to = ANNOTATIONS.field("polygons").type
                if not is_list(inner):
                    array = _as_parts(array)
                self.columns["polygons"] = conform_array(array, to)
            else:
                return False
        except ValueError:
            return False
        return True


def _as_parts(array: pa.Array) -> pa.Array:
    """Lists of rings as lists of parts of one ring each."""
    rings = array.flatten()
    parts = lists(np.arange(len(rings) + 1), rings)
    lengths = lengths_of(array)
    offsets = np.concatenate([[0], np.cumsum(np.maximum(lengths, 0))])
    return lists(offsets, parts, lengths < 0)


def _flat_points(array: pa.Array) -> pa.Array:
    """Lists of [x, y, visibility] as flat lists.

    Raises:
        ValueError: a point has not three numbers.
    """
    points = conform_array(array.flatten(), pa.list_(pa.float64(), 3))
    lengths = lengths_of(array)
    offsets = np.concatenate([[0], np.cumsum(np.maximum(lengths, 0))]) * 3
    return lists(offsets, points.flatten(), lengths < 0)


def put_attributes(columns: Columns, attributes: Mapping[str, pa.Array], n: int) -> None:
    """Further columns as typed attributes; what is no scalar goes to the JSON."""
    rest: Columns = {}
    for name, array in attributes.items():
        kind = array.type
        to = next(
            (
                ATTRIBUTE_TYPES[t]
                for t, fits in (
                    ("bool", pa.types.is_boolean(kind)),
                    ("int", pa.types.is_integer(kind)),
                    ("float", pa.types.is_floating(kind)),
                    ("str", is_text(kind)),
                )
                if fits
            ),
            None,
        )
        if to is None or f"attr.{name}" in columns:
            rest[name] = array
            continue
        try:
            columns[f"attr.{name}"] = conform_array(array, to)
        except ValueError:
            rest[name] = array
    if rest:
        texts = json_objects(rest, n)
        if "attributes" in columns:
            texts = merge_json(columns["attributes"], texts)
        columns["attributes"] = texts
