"""Columns as the JSON texts of COCO records, assembled in bulk.

For every key an Arrow array of texts is made; records of one set of keys are joined in C++. What
``extra`` holds under a typed key wins while it reads as the column does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders.coco.ids import id_value
from granum.loaders.coco.numbers import format_nested
from granum.loaders.coco.records import FLAGS
from granum.schema import geometry
from granum.schema.attributes import attribute_dicts
from granum.schema.tables import column

__all__ = ["Array", "annotation_texts", "assemble", "ids_as_json", "image_ids", "image_texts"]

Array = npt.NDArray[Any]
Texts = dict[str, pa.Array]

IMAGE_ORDER = ("id", "width", "height", "file_name", "attributes")
ANNOTATION_ORDER = (
    "id",
    "image_id",
    "category_id",
    "segmentation",
    "area",
    "bbox",
    "iscrowd",
    "keypoints",
    "num_keypoints",
    "caption",
    "score",
    "attributes",
    "track_id",
    *FLAGS,
)


def json_strings(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """JSON string literals; null stays null."""
    listed = values.to_pylist()
    return pa.array(
        [None if v is None else json.dumps(v, ensure_ascii=False) for v in listed], pa.string()
    )


def ids_as_json(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Stored ids as JSON: integers bare, others as strings."""
    array = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    whole = pc.match_substring_regex(array, r"^(0|-?[1-9][0-9]*)$")
    if pc.all(whole, min_count=0).as_py():
        return array
    return pa.array(
        [
            None if t is None else json.dumps(id_value(t), ensure_ascii=False)
            for t in array.to_pylist()
        ],
        pa.string(),
    )


def _doubles(values: pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks().cast(pa.string())


def _flags(values: pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks().cast(pa.int8()).cast(pa.string())


def _rle_texts(values: pa.ChunkedArray) -> pa.Array:
    out: list[str | None] = []
    for rle in values.to_pylist():
        if rle is None:
            out.append(None)
            continue
        counts: Any = rle["counts"].decode("ascii")
        if rle["form"] == "list":
            counts = geometry.rle_counts(rle["counts"]).tolist()
        out.append(json.dumps({"counts": counts, "size": rle["size"]}))
    return pa.array(out, pa.string())


def _segmentations(table: pa.Table) -> pa.Array | None:
    polygons, rle = column(table, "polygons"), column(table, "rle")
    texts = None
    if polygons.null_count < len(polygons):
        # Parts of one ring each: COCO's list of polygons is the list of first rings.
        array = polygons.combine_chunks()
        parts = array.flatten()
        rings = pc.list_element(parts, 0) if len(parts) else parts.flatten()
        lengths = np.asarray(array.value_lengths().fill_null(0), np.int64)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        mask = pa.array(~np.asarray(array.is_valid())) if array.null_count else None
        texts = format_nested(pa.ListArray.from_arrays(offsets, rings, mask=mask))
    if rle.null_count < len(rle):
        packed = _rle_texts(rle)
        texts = packed if texts is None else pc.coalesce(texts, packed)
    return texts


def annotation_texts(table: pa.Table, image_ids: pa.Array, category_ids: pa.Array) -> Texts:
    """Texts per key of annotation rows; null where the column is.

    Args:
        table: annotations.
        image_ids: JSON text of each row's image id.
        category_ids: JSON text of each row's category id, or null.
    """
    out: Texts = {"image_id": image_ids, "category_id": category_ids}
    names = set(table.column_names)
    if "source_id" in names:
        out["id"] = ids_as_json(table["source_id"])
    segmentation = _segmentations(table)
    if segmentation is not None:
        out["segmentation"] = segmentation
    for name in ("bbox", "keypoints"):
        if name in names:
            out[name] = format_nested(table[name])
    for name in ("area", "score"):
        if name in names:
            out[name] = _doubles(table[name])
    for key, name in (("iscrowd", "crowd"), *((f, f) for f in FLAGS)):
        if name in names:
            out[key] = _flags(table[name])
    if "text" in names:
        out["caption"] = json_strings(table["text"])
    if "track" in names:
        out["track_id"] = table["track"].combine_chunks().cast(pa.string())
    if "keypoints" in names:
        out["num_keypoints"] = _visible(table["keypoints"])
    attributes = attributes_as_json(table)
    if attributes is not None:
        out["attributes"] = attributes
    return {k: v.combine_chunks() if isinstance(v, pa.ChunkedArray) else v for k, v in out.items()}


def image_ids(samples: pa.Table, ids: pa.Array) -> pa.Array:
    """JSON of image ids; one that ``extra`` keeps as it was written wins."""
    texts = ids_as_json(ids)
    return _with_overrides({"id": texts}, column(samples, "extra"), ("id",))["id"]


def image_texts(samples: pa.Table, ids: pa.Array, names: Sequence[str | None]) -> Texts:
    """Texts per key of image rows."""
    out: Texts = {"id": ids, "file_name": json_strings(pa.array(names, pa.string()))}
    for name in ("width", "height"):
        if name in samples.column_names:
            out[name] = samples[name].combine_chunks().cast(pa.string())
    attributes = attributes_as_json(samples)
    if attributes is not None:
        out["attributes"] = attributes
    return out


def attributes_as_json(table: pa.Table) -> pa.Array | None:
    """Attributes of both forms as JSON objects."""
    if not any(n == "attributes" or n.startswith("attr.") for n in table.column_names):
        return None
    if not any(n.startswith("attr.") for n in table.column_names):
        return table["attributes"].combine_chunks()
    dicts = attribute_dicts(table)
    return pa.array(
        [None if d is None else json.dumps(d, ensure_ascii=False) for d in dicts], pa.string()
    )


def _visible(keypoints: pa.ChunkedArray) -> pa.Array:
    """``num_keypoints``: how many have a visibility above 0."""
    array = keypoints.combine_chunks()
    lengths = np.asarray(array.value_lengths().fill_null(0), np.int64)
    values = np.asarray(array.flatten(), np.float64)
    shown = np.zeros(len(values) + 1, np.int64)
    shown[1:] = np.cumsum((np.arange(len(values)) % 3 == 2) & (values > 0))
    ends = np.cumsum(lengths)
    counts = shown[ends] - shown[ends - lengths]
    return pa.array(counts, mask=~np.asarray(array.is_valid())).cast(pa.string())


def assemble(
    texts: Texts,
    extra: pa.ChunkedArray,
    keys: Sequence[tuple[str, ...] | None],
    order: Sequence[str],
    always: frozenset[str],
) -> pa.Array:
    """Records as JSON texts.

    Args:
        texts: per key, its text in each row.
        extra: JSON of further keys, or of values that win over their column.
        keys: per row, the keys that its record had (a null is then written as null); None where
            that is not known: the filled ones are written, and those of ``always``.
        order: order of keys.
        always: keys that a record without known keys has in any case.
    """
    n = len(keys)
    texts = _with_overrides(dict(texts), extra, order)
    tails = _tails(extra, set(order), keys, n)
    groups: dict[Any, list[int]] = {}
    for i, k in enumerate(keys):
        groups.setdefault(k, []).append(i)
    pieces: list[pa.Array] = []
    places: list[Array] = []
    for known, members in groups.items():
        at = pa.array(members, pa.int64())
        whole = len(members) == n
        chosen = {k: t if whole else t.take(at) for k, t in texts.items()}
        tail = tails if whole else tails.take(at)
        if known is None:
            pieces += _unknown_shape(chosen, tail, order, always, len(members), places, members)
            continue
        present = [k for k in order if k in known or k in always]
        pieces.append(_join(chosen, present, tail, len(members)))
        places.append(np.array(members))
    if len(pieces) == 1 and len(places) == 1:
        return pieces[0]
    back = np.argsort(np.concatenate(places)) if places else np.empty(0, np.int64)
    return pa.concat_arrays(pieces).take(pa.array(back)) if pieces else pa.array([], pa.string())


def _unknown_shape(
    texts: Texts,
    tail: pa.Array,
    order: Sequence[str],
    always: frozenset[str],
    n: int,
    places: list[Array],
    members: list[int],
) -> list[pa.Array]:
    """Records whose keys are those that are filled: grouped by which are."""
    code = np.zeros(n, np.int64)
    for bit, key in enumerate(order):
        if key in always:
            code |= 1 << bit
        elif key in texts:
            code |= np.where(np.asarray(texts[key].is_valid()), 1 << bit, 0)
    pieces = []
    for value in np.unique(code).tolist():
        at = np.flatnonzero(code == value)
        take = pa.array(at)
        present = [k for bit, k in enumerate(order) if value >> bit & 1]
        pieces.append(
            _join({k: t.take(take) for k, t in texts.items()}, present, tail.take(take), len(at))
        )
        places.append(np.array(members)[at])
    return pieces


def _join(texts: Texts, present: Sequence[str], tail: pa.Array, n: int) -> pa.Array:
    parts: list[Any] = []
    for i, key in enumerate(present):
        values = texts.get(key)
        if values is None:
            values = pa.nulls(n, pa.string())
        parts += [("{" if not i else ", ") + json.dumps(key) + ": ", values.fill_null("null")]
    if not present:
        # Only unknown keys: their text begins with a comma.
        stripped = pc.utf8_slice_codeunits(tail, 2)
        return pc.binary_join_element_wise("{", stripped, "}", "")
    return pc.binary_join_element_wise(*parts, tail, "}", "")


def _tails(
    extra: pa.ChunkedArray, typed: set[str], keys: Sequence[tuple[str, ...] | None], n: int
) -> pa.Array:
    """``, "key": value…`` of the unknown keys of each row."""
    if extra.null_count == len(extra):
        return pa.array([""] * n, pa.string())
    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    out = []
    for text, known in zip(extra.to_pylist(), keys, strict=True):
        if text is None:
            out.append("")
            continue
        fields = decode(text)
        out.append(
            "".join(
                f", {json.dumps(k, ensure_ascii=False)}: {bytes(v).decode()}"
                for k, v in fields.items()
                if k not in typed and (known is None or k in known)
            )
        )
    return pa.array(out, pa.string())


def _with_overrides(texts: Texts, extra: pa.ChunkedArray, typed: Sequence[str]) -> Texts:
    """Values of ``extra`` under typed keys replace the column's text while they agree."""
    if extra.null_count == len(extra):
        return texts
    known = set(typed)
    wins: dict[str, dict[int, str]] = {}
    for i, text in enumerate(extra.to_pylist()):
        if text is None:
            continue
        for key in [k for k in known if f'"{k}"' in text]:
            value = json.loads(text).get(key, _MISSING)
            if value is not _MISSING and _agrees(key, value, texts.get(key), i):
                wins.setdefault(key, {})[i] = json.dumps(value, ensure_ascii=False)
    n = len(extra)
    for key, rows in wins.items():
        listed = texts[key].to_pylist() if key in texts else [None] * n
        for i, text in rows.items():
            listed[i] = text
        texts[key] = pa.array(listed, pa.string())
    return texts


_MISSING = object()


def _agrees(key: str, value: Any, texts: pa.Array | None, row: int) -> bool:
    """Whether a kept value still means what the typed column says."""
    now = None if texts is None else texts[row].as_py()
    if now is None:
        return True  # the column never could hold it
    if key == "id":
        return str(value) == str(json.loads(now))
    if key in ("iscrowd", *FLAGS):
        return bool(value) == bool(json.loads(now))
    if key in ("num_keypoints", "file_name", "attributes"):
        return True
    if key in ("width", "height"):
        return bool(value == json.loads(now))
    if key == "segmentation":
        return isinstance(value, dict) == now.startswith("{")
    return False
