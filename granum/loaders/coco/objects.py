"""Annotations of COCO files as tables, part by part, sorted by sample.

All that is small is held as columns for the whole file; segmentations, boxes and keypoints stay in
the mapped file and are parsed for one part at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET

from granum.loaders.base import Intake
from granum.loaders.coco.categories import CategoryRows
from granum.loaders.coco.geometries import PARSE, Parsed
from granum.loaders.coco.ids import IdIndex, id_texts, needs_extra, repeated
from granum.loaders.coco.keys import extras, key_codes
from granum.loaders.coco.numbers import list_array
from granum.loaders.coco.records import FLAGS, Array, Columns
from granum.loaders.coco.scan import JsonFile
from granum.schema import geometry, rows, tables

__all__ = ["Annotations", "gather", "prepare", "table_of"]

_PARSED = {"attributes"}


@dataclass
class Annotations:
    """The annotations of one file, ready to be cut into parts.

    Attributes:
        sample: dataset row of each record's image; -1 where the record is left out.
        category: category row, -1 where absent.
        shape: number of the record's set of keys.
        twin: for a record that joins one of an earlier file, that record; -1 elsewhere.
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
    joined: dict[int, list[tuple[Annotations, int]]] = field(default_factory=dict)


def prepare(
    file: JsonFile,
    origin: int,
    columns: Columns,
    images: IdIndex,
    image_rows: Array,
    categories: CategoryRows,
    intake: Intake,
    pointer: str,
    results: bool,
) -> Annotations:
    """Resolve images and categories, number shapes, and report what is wrong.

    Args:
        images: finds a record's image.
        image_rows: dataset row of each image that ``images`` finds.
        pointer: JSON pointer of the list.
        results: the list is of predictions, which have no ids.
    """
    n = columns.n
    index = columns.indices()
    ids = columns.get("id")
    keep = np.ones(n, bool)
    fix = intake.on_error == "fix"
    policy_drops = not fix

    def fault(
        code: str, where: Array, say: Callable[[int], str], key: str = "", drop: bool = True
    ) -> None:
        at = np.flatnonzero(where)
        limit = intake.findings.limit
        for i in at[:limit].tolist():
            place = f"{pointer}/{index[i]}" + (f"/{key}" if key else "")
            intake.fault(code, file.name, place, say(i))
        if len(at) > limit:
            intake.findings.counts[code] += len(at) - limit
        if drop:
            keep[at] = False

    found = images.rows(columns.get("image_id"))
    image_ids = columns.get("image_id")
    fault("missing-image-id", found == -2, lambda i: "the annotation has no image_id")
    fault(
        "orphan-image",
        found == -1,
        lambda i: f"image {_plain(image_ids[i])!r} is not listed",
        "image_id",
    )
    sample = np.where(found >= 0, image_rows[np.maximum(found, 0)] if len(image_rows) else -1, -1)
    keep &= sample >= 0
    again = repeated(ids)
    fault(
        "duplicate-annotation-id",
        again,
        lambda i: f"id {_plain(ids[i])!r} is taken",
        "id",
        policy_drops,
    )
    fresh = again & fix
    if not results:
        absent = _absent(ids)
        fault(
            "missing-annotation-id", absent, lambda i: "the annotation has no id", "", policy_drops
        )
        fresh |= absent
        _string_ids(ids, file, pointer, index, intake)
    extra = extras(columns, file, _PARSED).rows
    category = _categories(columns, categories, fault, keep, file, intake, extra)
    names, codes = key_codes(columns)
    drawn = columns.has("bbox") | columns.has("segmentation") | columns.has("keypoints")
    objects = ~columns.has("caption") & drawn
    if not results:
        for key in ("area", "iscrowd"):
            lacking = objects & ~columns.has(key)
            fault(f"missing-{key}", lacking, lambda i, k=key: f"no {k}", "", False)  # type: ignore[misc]
    _overrides(columns, extra)
    shape = _shapes(names, codes, intake)
    sample = np.where(keep, sample, -1)
    return Annotations(
        file, origin, columns, sample, category, shape, extra, names, codes,
        np.full(n, -1), fresh, drawn,
    )  # fmt: skip


def _mend(a: Annotations, at: Array, out: dict[str, Any], shape: Array, intake: Intake) -> Array:
    """Areas and crowd flags that objects lack; returns the shapes with their keys."""
    n = len(at)
    area = out.get("area", pa.nulls(n, pa.float64()))
    crowd = out.get("crowd", pa.nulls(n, pa.bool_()))
    lacks_area = a.objects[at] & ~a.columns.has("area")[at]
    lacks_crowd = a.objects[at] & ~a.columns.has("iscrowd")[at]
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


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _absent(values: Array) -> Array:
    if values.dtype != object:
        return np.zeros(len(values), bool)
    return np.fromiter((v is UNSET or v is None for v in values.tolist()), bool, len(values))


def _string_ids(ids: Array, file: JsonFile, pointer: str, index: Array, intake: Intake) -> None:
    if ids.dtype != object:
        return
    strings = [i for i, v in enumerate(ids.tolist()) if type(v) is str]
    if strings:
        first = strings[0]
        intake.findings.add(
            "string-id",
            file.name,
            f"{pointer}/{index[first]}/id",
            f"id is {_plain(ids[first])!r}",
            len(strings),
        )


def _categories(
    columns: Columns,
    categories: CategoryRows,
    fault: Callable[..., None],
    keep: Array,
    file: JsonFile,
    intake: Intake,
    extra: dict[int, dict[str, Any]],
) -> Array:
    """Category rows; unknown ids are faults, or become categories under ``fix``."""
    given = columns.get("category_id")
    if given.dtype == np.int64 and all(type(c) is int for c in categories.ids):
        found = IdIndex(np.array(categories.ids, np.int64)).rows(given)
    else:
        known = np.empty(len(categories.ids), object)
        known[:] = categories.ids
        found = IdIndex(known).rows(given)
    unknown = (found == -1) & keep
    if unknown.any() and not categories.ids:
        # Caption files carry a meaningless category_id now and then: kept as written, no class.
        idle = unknown & columns.has("caption")
        for i in np.flatnonzero(idle).tolist():
            extra.setdefault(i, {})["category_id"] = _plain(given[i])
        unknown &= ~idle
    if unknown.any():
        fix = intake.on_error == "fix"
        if "categories" not in file.spans:
            intake.fault(
                "missing-categories", file.name, "", "annotations name categories, none are listed"
            )
            keep[unknown] &= fix
        else:
            fault(
                "orphan-category",
                unknown,
                lambda i: f"category {_plain(given[i])!r} is not listed",
                "category_id",
                not fix,
            )
        if fix:
            for value in dict.fromkeys(given[unknown].tolist()):
                record = {"id": value, "name": str(value)}
                row = intake.add_category(rows.Category(str(value), source_id=str(value)))
                categories.ids.append(value)
                categories.rows.append(row)
                categories.records.append((row, record))
            return _categories(columns, categories, fault, keep, file, intake, extra)
    table = np.array([*categories.rows, -1], np.int64)
    return table[np.maximum(found, -1)]


def _overrides(columns: Columns, extra: dict[int, dict[str, Any]]) -> None:
    """Decoded values that their typed column cannot give back exactly."""
    if columns.get("id").dtype != np.int64:
        for i, v in enumerate(columns.get("id").tolist()):
            if needs_extra(v):
                extra.setdefault(i, {})["id"] = v
    if "track_id" in columns.values and columns.get("track_id").dtype != np.int64:
        for i, v in enumerate(columns.get("track_id").tolist()):
            if not _is_track(v):
                extra.setdefault(i, {})["track_id"] = v
    for key in ("iscrowd", *FLAGS):
        if key not in columns.values:
            continue
        values = columns.get(key)
        if values.dtype == np.int64 and np.isin(values, (0, 1)).all():
            continue
        for i, v in enumerate(values.tolist()):
            if v is not UNSET and v is not None and v not in (0, 1):
                extra.setdefault(i, {})[key] = int(v)
    if "num_keypoints" in columns.values:
        # Kept as written: it cannot be told from the keypoints in files that count otherwise.
        for i, v in enumerate(columns.get("num_keypoints").tolist()):
            if v is not UNSET and v is not None:
                extra.setdefault(i, {})["num_keypoints"] = v


def _is_track(value: Any) -> bool:
    """Whether a track id fits its column (or is absent)."""
    return value is UNSET or value is None or (type(value) is int and abs(value) < 2**63)


def _shapes(names: list[str], codes: Array, intake: Intake) -> Array:
    unique, inverse = np.unique(codes, return_inverse=True)
    numbers = []
    for code in unique.tolist():
        keys = tuple(k for i, k in enumerate(names) if code >> i & 1)
        number = intake.shape((keys,))
        numbers.append(-1 if number is None else number)
    return np.array(numbers, np.int64)[inverse] if len(unique) else np.empty(0, np.int64)


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
    has_text = ~_absent(caption)
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
        if key in c.values:
            out[name] = _flags(c.get(key)[at])
    if "track_id" in c.values:
        tracks = c.get("track_id")[at]
        out["track"] = pa.array(
            [v if v is not UNSET and _is_track(v) else None for v in tracks.tolist()], pa.int64()
        )
    extra = (
        {i: dict(a.extra[j]) for i, j in enumerate(at.tolist()) if j in a.extra} if a.extra else {}
    )
    for key in PARSE:
        out.update(gather(a, key, at, extra))
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


def gather(
    a: Annotations, key: str, at: Array, extra: dict[int, dict[str, Any]]
) -> dict[str, pa.Array]:
    """Bulk-parsed arrays of ``key`` for records ``at``, in that order; names as in the schema."""
    chunks = a.columns.bulk.get(key)
    if chunks is None:
        return {}
    starts = np.cumsum([0, *(len(i) for i in a.columns.index)])
    order = np.argsort(at, kind="stable")
    at_sorted = at[order]
    cuts = np.searchsorted(at_sorted, starts)
    pieces: dict[str, list[pa.Array]] = {}
    done = 0
    for number, future in enumerate(chunks):
        first, last = int(cuts[number]), int(cuts[number + 1])
        if first == last:
            continue
        local = pa.array(at_sorted[first:last] - starts[number])
        parsed = Parsed() if future is None else future.result()
        for row, value in parsed.extra.items():
            found = np.flatnonzero(at_sorted[first:last] == row + starts[number])
            if len(found):
                extra.setdefault(int(order[first + found[0]]), {})[key] = value
        for name, array in parsed.arrays.items():
            if name not in pieces:
                pieces[name] = [pa.nulls(done, array.type)] if done else []
            pieces[name].append(array.take(local))
        done += last - first
        for name, listed in pieces.items():
            if name not in parsed.arrays:
                listed.append(pa.nulls(last - first, listed[0].type))
    back = None if (order[1:] > order[:-1]).all() else pa.array(np.argsort(order))
    out = {}
    for name, listed in pieces.items():
        whole = pa.concat_arrays(listed)
        out[name] = whole if back is None else whole.take(back)
    return out


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
