"""Tables of records (one row per image) as samples and annotations.

A record has columns about the image (size, id, class, sentences) and columns of objects: a struct
of lists or a list of structs with ``bbox``, ``category`` and whatever else. Names are those that
datasets on the Hub use (``_hf_facts.ALIASES``); a table with our own ``Facts`` reads back exactly.
What has no column of the schema becomes an attribute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._columns import constant, single
from granum.loaders._hf_columns import (
    ATTRIBUTE_TYPES,
    Objects,
    conform_array,
    flatten_objects,
    from_base64,
    is_json_objects,
    is_list,
    is_text,
    json_objects,
    lengths_of,
    merge_json,
    plain,
)
from granum.loaders._hf_facts import ALIASES, CAPTIONS, LABELS, OBJECTS, OTHERS, Facts, class_names
from granum.loaders._hf_fields import Columns, FieldReader, put_attributes, rank
from granum.loaders.base import Intake
from granum.schema import rows, tables
from granum.schema.tables import ANNOTATIONS, SAMPLES

__all__ = ["BoxFormat", "RecordReader"]

BoxFormat = Literal["xywh", "xyxy", "cxcywh", "xywh_rel", "xyxy_rel", "cxcywh_rel"]
"""What ``bbox`` holds: corner and size, two corners, centre and size; in pixels or (``_rel``) in
fractions of the image. No file says which."""

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_GEOMETRY = frozenset({"bbox", "segmentation", "polygons", "rle", "keypoints"})


@dataclass
class RecordReader:
    """Reads the tables of one file.

    Attributes:
        intake: gets categories and faults.
        path: the file, as faults name it.
        source: its number among the sources.
        word: what a record is called: ``row`` or ``line``.
        media: columns that name or hold images (the caller reads them).
        features: of the `datasets` library.
        facts: of our own writer.
        bbox_format: what boxes hold, where ``facts`` do not say.
        category_rows: rows of the categories by the names that our own records use.
    """

    intake: Intake
    path: str
    source: int
    word: str = "row"
    media: frozenset[str] = frozenset()
    features: Mapping[str, Any] = field(default_factory=dict)
    facts: Facts | None = None
    bbox_format: str = "xywh"
    category_rows: dict[str, int] = field(default_factory=dict)
    _declared: set[tuple[str, ...]] = field(default_factory=set)
    _next_id: int = 1 << 40
    _ordinals: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    def read(self, table: pa.Table, ordinals: Ints) -> tuple[Columns, pa.Table]:
        """Columns of the samples (without key and media), and the annotations.

        Args:
            table: some records.
            ordinals: the row or line of each.
        """
        self._ordinals = ordinals
        pieces: list[tuple[int, pa.Table]] = []
        samples: Columns = {}
        attributes: Columns = {}
        for name in table.column_names:
            if name in self.media or (self.facts is not None and name in self.facts.ignored):
                continue
            array = plain(table[name])
            if self.facts is not None and name in self.facts.samples:
                samples[self.facts.samples[name]] = self.own(
                    name, array, self.facts.samples[name], SAMPLES, "s."
                )
            elif pa.types.is_null(array.type):
                continue
            elif name == "attributes" and is_text(array.type) and is_json_objects(array):
                samples[name] = array
            elif (objects := self._objects(name, array)) is not None:
                pieces.append((name == OTHERS, self._object_rows(name, objects)))
            elif self._is_label(name, array.type):
                pieces.append((2, self._labels(name, array)))
            elif name in CAPTIONS and is_text(_value(array.type)):
                pieces.append((3, self._captions(array)))
            elif not (self.facts is None and self._sample_column(name, array, samples, table)):
                attributes[name] = array
        put_attributes(samples, attributes, len(ordinals))
        samples["origins"] = single(np.full(len(ordinals), self.source), pa.int16())
        samples["ordinal"] = single(ordinals, pa.int64())
        in_order = sorted(pieces, key=lambda p: p[0])
        return samples, self._joined([piece for _, piece in in_order])

    def fault(self, code: str, row: int, message: str) -> None:
        """Report a fault of a record."""
        self.intake.fault(code, self.path, f"{self.word} {self._ordinals[row]}", message)

    @property
    def unit(self) -> str:
        return "relative" if self.facts is None and self.bbox_format.endswith("_rel") else "pixel"

    # ------------------------------------------------------------------ samples

    def _sample_column(self, name: str, array: pa.Array, samples: Columns, table: pa.Table) -> bool:
        """Whether a column by its name is one of the samples'."""
        kind = array.type
        if (name in ("width", "height") and pa.types.is_integer(kind)) or (
            name == "split" and is_text(kind)
        ):
            samples[name] = array
        elif name == "image_id" or (name == "id" and "image_id" not in table.column_names):
            if not (is_text(kind) or pa.types.is_integer(kind)):
                return False
            samples["source_id"] = array.cast(pa.string())
        else:
            return False
        return True

    def own(self, name: str, array: pa.Array, to: str, schema: pa.Schema, which: str) -> pa.Array:
        """A column that our own writer named, in the type of the schema."""
        if to.startswith("attr."):
            assert self.facts is not None
            kind = ATTRIBUTE_TYPES[self.facts.types.get(which + to.removeprefix("attr."), "str")]
        else:
            kind = schema.field(to).type
        try:
            if to == "map" and pa.types.is_struct(array.type):
                array = _decoded_map(array)
            return conform_array(array, kind)
        except ValueError as error:
            raise FormatError(self.path, f"column {name!r}: {error}", self.place()) from error

    def place(self) -> str:
        return f"{self.word}s from {self._ordinals[0]}" if len(self._ordinals) else "no rows"

    # ------------------------------------------------------------------ labels, captions

    def _is_label(self, name: str, kind: pa.DataType) -> bool:
        if class_names(self.features, name) is None and name not in LABELS:
            return False
        value = _value(kind)
        return pa.types.is_integer(value) or is_text(value)

    def _labels(self, name: str, array: pa.Array) -> pa.Table:
        at, values = _flat(array)
        space = "object" if name in LABELS else name
        category, known = self.category(values, class_names(self.features, name), space, at)
        keep = np.asarray(category.is_valid()) & known
        columns = {"category": category.filter(pa.array(keep))}
        return self._piece(at[keep], columns, "label")

    def _captions(self, array: pa.Array) -> pa.Table:
        at, values = _flat(array)
        return self._piece(at, {"text": values}, "caption")

    def _piece(self, at: Ints, columns: Columns, kind: str | None) -> pa.Table:
        if kind is not None:
            columns = {"kind": constant(kind, len(at)), **columns}
        return pa.table(
            {
                "sample": pa.array(at, pa.int64()),
                **columns,
                "origins": single(np.full(len(at), self.source), pa.int16()),
                "ordinal": single(self._ordinals[at], pa.int64()),
            }
        )

    def _joined(self, pieces: Sequence[pa.Table]) -> pa.Table:
        """All annotations of the records, in the order of their samples."""
        agreeing = _agreeing(pieces)
        if not agreeing:
            return tables.empty(ANNOTATIONS).drop_columns(["annotation_id"])
        joined = self._numbered(pa.concat_tables(agreeing, promote_options="default"))
        at = np.asarray(joined["sample"], np.int64)
        if "position" in joined.column_names:
            position = np.asarray(joined["position"].fill_null(0), np.int64)
            joined = joined.drop_columns(["position"])
            order = np.lexsort((position, at))
        else:
            order = np.argsort(at, kind="stable")
        return joined if (order == np.arange(len(order))).all() else joined.take(pa.array(order))

    def _numbered(self, table: pa.Table) -> pa.Table:
        """Without rows that lack the id that the others have; ``fix`` numbers them."""
        if "annotation_id" not in table.column_names or not table["annotation_id"].null_count:
            return table
        missing = np.asarray(table["annotation_id"].is_null())
        for row in np.asarray(table["sample"], np.int64)[missing].tolist():
            self.fault("missing-annotation-id", row, "an annotation without an id among others")
        if self.intake.on_error != "fix":
            return table.filter(pa.array(~missing))
        ids = np.asarray(table["annotation_id"].fill_null(0), np.int64).copy()
        ids[missing] = self._next_id + np.arange(missing.sum())
        self._next_id += int(missing.sum())
        return tables.with_column(table, "annotation_id", pa.array(ids))

    # ------------------------------------------------------------------ objects

    def _objects(self, name: str, array: pa.Array) -> Objects | None:
        found = flatten_objects(array)
        if (
            name in (OBJECTS, OTHERS)
            and is_list(array.type)
            and pa.types.is_null(_value(array.type))
        ):
            return Objects(np.zeros(len(array), np.int64), {}, np.zeros(len(array), bool))
        if found is None:
            return None
        meant = {ALIASES.get(n.lower(), n.lower()) for n in found.fields}
        return found if name in (OBJECTS, OTHERS) or meant & _GEOMETRY else None

    def _object_rows(self, name: str, objects: Objects) -> pa.Table:
        for row in np.flatnonzero(objects.ragged).tolist():
            self.fault("bad-value", row, f"the lists of {name!r} have different lengths")
        at = objects.rows()
        made = FieldReader(self, name, at)
        for each in sorted(objects.fields, key=rank):
            made.add(each, objects.fields[each])
        columns = made.columns
        put_attributes(columns, made.attributes, len(at))
        piece = self._piece(at, columns, None if "kind" in columns else "object")
        return piece.filter(pa.array(made.keep)) if not made.keep.all() else piece

    def category(
        self, values: pa.Array, names: Sequence[str] | None, space: str, at: Ints
    ) -> tuple[pa.Array, Mask]:
        """Rows of the categories, and which values are to be kept.

        ``values`` are names, numbers of ``names``, or ids; -1 is none, as in test splits.
        """
        if names is not None and tuple(names) not in self._declared:
            self._declared.add(tuple(names))
            for name in names:
                self._row(name, space)
        keep = np.ones(len(values), bool)
        if is_text(values.type):
            coded = values.dictionary_encode()
            to = np.array([self._row(n, space) for n in coded.dictionary.to_pylist()], np.int64)
            index = np.asarray(coded.indices.fill_null(0), np.int64)
            chosen = to[index] if len(to) else np.full(len(index), -1)
            return pa.array(chosen, pa.int32(), mask=np.asarray(values.is_null())), keep
        numbers = np.asarray(values.cast(pa.int64()).fill_null(-1), np.int64)
        unique, inverse = np.unique(numbers, return_inverse=True)
        to = np.full(len(unique), -1)
        for i, number in enumerate(unique.tolist()):
            if number == -1:
                continue
            if names is not None and 0 <= number < len(names):
                to[i] = self._row(names[number], space)
                continue
            if names is not None:
                wrong = inverse == i
                for row in at[wrong].tolist():
                    self.fault(
                        "unknown-class", row, f"class {number}, of {len(names)} that are named"
                    )
                if self.intake.on_error != "fix":
                    keep &= ~wrong
                    continue
            to[i] = self._row(str(number), space, source_id=str(number))
        chosen = to[inverse] if len(to) else inverse
        return pa.array(chosen, pa.int32(), mask=chosen < 0), keep

    def _row(self, name: str, space: str, source_id: str | None = None) -> int:
        if name in self.category_rows:
            return self.category_rows[name]
        before = len(self.intake.categories)
        row = self.intake.category(name, space)
        if row == before and source_id is not None:
            self.intake.categories[row] = rows.Category(name, space, source_id=source_id)
        return row


def _agreeing(pieces: Sequence[pa.Table]) -> list[pa.Table]:
    """The pieces, with attributes of another type than in the pieces before in the JSON."""
    known: dict[str, pa.DataType] = {}
    agreeing = []
    for piece in pieces:
        odd = {n for n in piece.column_names if known.setdefault(n, piece[n].type) != piece[n].type}
        if odd:
            texts = json_objects({n.removeprefix("attr."): piece[n] for n in odd}, piece.num_rows)
            piece = piece.drop_columns(sorted(odd))
            texts = merge_json(tables.column(piece, "attributes").combine_chunks(), texts)
            piece = tables.with_column(piece, "attributes", texts)
        agreeing.append(piece)
    return agreeing


def _value(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if is_list(kind) else kind


def _flat(array: pa.Array) -> tuple[Ints, pa.Array]:
    """The values that are not null, of scalars or lists, and the row of each."""
    if is_list(array.type):
        at = np.repeat(np.arange(len(array)), np.maximum(lengths_of(array), 0))
        array = array.flatten()
    else:
        at = np.arange(len(array))
    there = np.asarray(array.is_valid())
    return at[there], array.drop_null()


def _decoded_map(array: pa.Array) -> pa.Array:
    """A label map whose bytes may be base64 text."""
    names = [f.name for f in array.type]
    parts = [
        from_base64(a) if n == "bytes" else a for n, a in zip(names, array.flatten(), strict=True)
    ]
    mask = pa.array(~np.asarray(array.is_valid())) if array.null_count else None
    return pa.StructArray.from_arrays(parts, names, mask=mask)


def locations(paths: Sequence[str], words: Sequence[str]) -> Any:
    """For an intake: file and place of an annotation, by its ``origins`` and ``ordinal``."""

    def locate(annotation: rows.Annotation, key: str) -> tuple[str, str]:
        if not annotation.origins or not annotation.ordinal:
            return key, "?"
        at = annotation.origins[0]
        return paths[at], f"{words[at]} {annotation.ordinal[0]}"

    return locate


def declared(facts: Facts | None, intake: Intake) -> dict[str, int]:
    """The categories of our own export, added to the intake: row by name in the records."""
    if facts is None:
        return {}
    added: Iterable[int] = [intake.add_category(c) for c in facts.category_rows()]
    return dict(zip(facts.names, added, strict=True))
