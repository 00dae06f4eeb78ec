"""Annotations of a file before they are cut into parts: ids, images and categories resolved."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec import UNSET

from granum.loaders.base import Intake
from granum.loaders.coco.categories import CategoryRows
from granum.loaders.coco.ids import IdIndex, needs_extra, repeated
from granum.loaders.coco.keys import extras, key_codes
from granum.loaders.coco.objects import Annotations, absent, is_track
from granum.loaders.coco.records import FLAGS, Array, Columns
from granum.loaders.coco.scan import JsonFile
from granum.loaders.coco.write import unstated
from granum.schema import rows

__all__ = ["prepare"]

_PARSED = {"attributes"}


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
    unstated_keys: frozenset[str] = frozenset(),
) -> Annotations:
    """Resolve images and categories, number shapes, and report what is wrong.

    Args:
        images: finds a record's image.
        image_rows: dataset row of each image that ``images`` finds.
        pointer: JSON pointer of the list.
        results: the list is of predictions, which have no ids.
        unstated_keys: keys that records of this kind of file need not have.
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
        lacking_id = absent(ids)
        fault(
            "missing-annotation-id",
            lacking_id,
            lambda i: "no id",
            "",
            policy_drops,
        )
        fresh |= lacking_id
        _string_ids(ids, file, pointer, index, intake)
    extra = extras(columns, file, _PARSED).rows
    category = _categories(columns, categories, fault, keep, file, intake, extra)
    names, codes = key_codes(columns)
    drawn = columns.has("bbox") | columns.has("segmentation") | columns.has("keypoints")
    objects = ~columns.has("caption") & drawn
    if not results:
        for key in sorted({"area", "iscrowd"} - unstated_keys):
            lacking = objects & ~columns.has(key)
            fault(f"missing-{key}", lacking, lambda i, k=key: f"no {k}", "", False)  # type: ignore[misc]
    _overrides(columns, extra)
    shape = _shapes(names, codes, intake)
    sample = np.where(keep, sample, -1)
    return Annotations(
        file, origin, columns, sample, category, shape, extra, names, codes,
        np.full(n, -1), fresh, drawn, _unstated(file) | (unstated_keys - {*names}),
    )  # fmt: skip


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


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
            if not is_track(v):
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


def _unstated(file: JsonFile) -> frozenset[str]:
    raw = file.raw("info")
    return frozenset(unstated(json.loads(raw))) if raw and b'"granum"' in raw else frozenset()


def _shapes(names: list[str], codes: Array, intake: Intake) -> Array:
    unique, inverse = np.unique(codes, return_inverse=True)
    numbers = []
    for code in unique.tolist():
        keys = tuple(k for i, k in enumerate(names) if code >> i & 1)
        number = intake.shape((keys,))
        numbers.append(-1 if number is None else number)
    return np.array(numbers, np.int64)[inverse] if len(unique) else np.empty(0, np.int64)
