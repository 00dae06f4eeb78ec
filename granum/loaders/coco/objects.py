"""Annotations of COCO files as tables, part by part, sorted by sample.

All that is small is held as columns for the whole file; segmentations, boxes and keypoints stay in
the mapped file and are parsed for one part at a time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET

from granum.loaders.base import Intake
from granum.loaders.coco.gather import gather
from granum.loaders.coco.geometries import PARSE
from granum.loaders.coco.ids import id_texts
from granum.loaders.coco.numbers import list_array
from granum.loaders.coco.records import FLAGS, Array, Columns
from granum.loaders.coco.scan import JsonFile
from granum.schema import geometry, tables

__all__ = ["Annotations", "absent", "is_track", "table_of"]


@dataclass
class Annotations:
    """The annotations of one file, ready to be cut into parts.

    Attributes:
        sample: dataset row of each record's image; -1 where the record is left out.
        category: category row, -1 where absent.
        shape: number of the record's set of keys.
        twin: for a record that joins one of an earlier file, that record; -1 elsewhere.
        unstated: keys whose values mean nothing, or that none needs (the file says so).
        joined: records of later files that joined these: own row -> (file, record).
    """

    file: JsonFile
    origin: int
    columns: Columns
    sample: Array
    category: Array
    shape: Array
    extra: dict[int, dict[str, Any]]
    names: list[str]
    codes: Array
    twin: Array
    fresh: Array
    objects: Array
    unstated: frozenset[str]
    joined: dict[int, list[tuple[Annotations, int]]] = field(default_factory=dict)


def _mend(a: Annotations, at: Array, out: dict[str, Any], shape: Array, intake: Intake) -> Array:
    """Areas and crowd flags that objects lack; returns the shapes with their keys."""
    n = len(at)
    area = out.get("area", pa.nulls(n, pa.float64()))
    crowd = out.get("crowd", pa.nulls(n, pa.bool_()))
    lacks_area = a.objects[at] & ~a.columns.has("area")[at]
    lacks_crowd = a.objects[at] & ~a.columns.has("iscrowd")[at] & ("iscrowd" not in a.unstated)
    if not lacks_area.any() and not lacks_crowd.any():
        return shape
    found = geometry.areas(
        pa.table({k: v for k, v in out.items() if k in ("polygons", "rle", "bbox")})
    )
    out["area"] = pc.if_else(pa.array(lacks_area), pa.array(found, from_pandas=True), area)
    out["crowd"] = pc.if_else(pa.array(lacks_crowd), pa.scalar(False), crowd)
    shape = shape.copy()
    for i in np.flatnonzero(lacks_area | lacks_crowd).tolist():
        keys = {k for b, k in enumerate(a.names) if int(a.codes[at[i]]) >> b & 1}
        keys |= {k for k, lacks in (("area", lacks_area[i]), ("iscrowd", lacks_crowd[i])) if lacks}
        number = intake.shape((tuple(sorted(keys)),))
        shape[i] = -1 if number is None else number
    return shape


def absent(values: Array) -> Array:
    if values.dtype != object:
        return np.zeros(len(values), bool)
    return np.fromiter((v is UNSET or v is None for v in values.tolist()), bool, len(values))


def is_track(value: Any) -> bool:
    """Whether a track id fits its column (or is absent)."""
    return value is UNSET or value is None or (type(value) is int and abs(value) < 2**63)


def table_of(a: Annotations, at: Array, start: int, intake: Intake) -> pa.Table:
    """Records ``at`` of a file as a table; ``start`` is the sample row that counts as 0."""
    c = a.columns
    n = len(at)
    out: dict[str, Any] = {}
    ids = c.get("id")[at]
    texts = id_texts(ids)
    if a.fresh[at].any():
        keep = pa.array(~a.fresh[at])
        texts = pa.array(
            [t if k else None for t, k in zip(texts.to_pylist(), keep.to_pylist(), strict=True)],
            pa.string(),
        )
    out["source_id"] = texts
    ones = np.arange(n + 1)
    out["origins"] = list_array(ones, pa.array(np.full(n, a.origin), pa.int16()))
    out["ordinal"] = list_array(ones, pa.array(c.indices()[at], pa.int64()))
    out["sample"] = pa.array(a.sample[at] - start, pa.int64())
    caption = c.get("caption")[at]
    has_text = ~absent(caption)
    has_object = a.objects[at]
    kind = np.where(has_text, 0, np.where(has_object, 1, 2))
    # A record of nothing but ids is a label on its image.
    out["kind"] = pa.DictionaryArray.from_arrays(
        pa.array(kind, pa.int32()), pa.array(["caption", "object", "label"])
    )
    category = a.category[at]
    out["category"] = pa.array(category, pa.int32(), mask=category < 0)
    if has_text.any():
        out["text"] = pa.array([None if v is UNSET else v for v in caption.tolist()], pa.string())
    for key in ("area", "score"):
        if key in c.values:
            out[key] = _doubles(c.get(key)[at])
    for key, name in (("iscrowd", "crowd"), *((f, f) for f in FLAGS)):
        if key in c.values and key not in a.unstated:
            out[name] = _flags(c.get(key)[at])
    if "track_id" in c.values:
        tracks = c.get("track_id")[at]
        out["track"] = pa.array(
            [v if v is not UNSET and is_track(v) else None for v in tracks.tolist()], pa.int64()
        )
    extra = (
        {i: dict(a.extra[j]) for i, j in enumerate(at.tolist()) if j in a.extra} if a.extra else {}
    )
    for key in PARSE:
        out.update(gather(a.columns, key, at, extra))
    _count_keypoints(out, extra)
    _attributes(a, at, out, extra)
    shape = a.shape[at]
    if intake.on_error == "fix":
        shape = _mend(a, at, out, shape, intake)
    out["shape"] = pa.array(shape, pa.int16(), mask=shape < 0)
    if extra:
        out["extra"] = pa.array(
            [json.dumps(extra[i], ensure_ascii=False) if extra.get(i) else None for i in range(n)],
            pa.string(),
        )
    return tables.conform(pa.table(out), tables.ANNOTATIONS)


def _doubles(values: Array) -> pa.Array:
    if values.dtype == np.float64:
        return pa.array(values)
    return pa.array(
        [None if v is UNSET or v is None else float(v) for v in values.tolist()], pa.float64()
    )


def _flags(values: Array) -> pa.Array:
    if values.dtype == np.int64:
        return pa.array(values != 0)
    return pa.array(
        [None if v is UNSET or v is None else bool(v) for v in values.tolist()], pa.bool_()
    )


def _count_keypoints(out: dict[str, Any], extra: dict[int, dict[str, Any]]) -> None:
    """``num_keypoints`` is kept only where it is not the number of visible keypoints."""
    for row, values in list(extra.items()):
        if "num_keypoints" not in values:
            continue
        points = out["keypoints"][row].as_py() if "keypoints" in out else None
        if points is not None and values["num_keypoints"] == sum(v > 0 for v in points[2::3]):
            del values["num_keypoints"]
        if not values:
            del extra[row]


def _attributes(
    a: Annotations, at: Array, out: dict[str, Any], extra: dict[int, dict[str, Any]]
) -> None:
    starts, lengths = a.columns.spans("attributes")
    if not lengths[at].any():
        return
    own = a.columns.own.get("attributes", {})
    values: list[str | None] = [None] * len(at)
    for row, (j, start, size) in enumerate(
        zip(at.tolist(), starts[at].tolist(), lengths[at].tolist(), strict=True)
    ):
        text = own.get(j) or bytes(a.file.data[start : start + size])
        if text[:1] == b"{":
            values[row] = text.decode()
        elif text and text != b"null":
            extra.setdefault(row, {})["attributes"] = json.loads(text)
    out["attributes"] = pa.array(values, pa.string())
