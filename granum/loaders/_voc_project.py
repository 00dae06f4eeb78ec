"""PASCAL VOC: a batch as reading back what is written gives it, whole columns at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders._units import in_pixels
from granum.loaders._voc_names import file_name, stem
from granum.loaders._voc_tree import CLASS, OBJECT
from granum.loaders.base import blank, keep_columns
from granum.schema import geometry
from granum.schema.tables import column, with_column
from granum.store.dataset import Dataset
from granum.store.parts import Batch

__all__ = ["map_file", "project"]

DEEP = 50
"""Parts within parts that are written."""

LABEL = ("category", *("present", "difficult", "truncated", "occluded"), "bbox")
SHAPES = ("polygons", "polyline", "rle", "keypoints")
_ROW = frozenset({"annotation_id", "sample", "kind", "group", "origins", "ordinal", "source_id"})

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def project(batch: Batch, dataset: Dataset, keeps: frozenset[str]) -> Batch:
    """See ``Format.project``.

    Raises:
        SizeUnknownError: relative coordinates of images whose size is nowhere told.
    """
    batch = in_pixels(batch, dataset)
    table = batch.annotations
    kinds = column(table, "kind").cast(pa.string())
    here = pc.and_(
        pc.is_in(kinds, pa.array(["object", "label"])), column(table, "sample").is_valid()
    )
    if not pc.all(here, min_count=0).as_py():
        table = table.filter(here)
    if table.num_rows:
        table = _boxes(table)
        table, whole = _maps(table, batch, dataset)
        table = _arranged(table, whole)
    kept = keep_columns(Batch(batch.samples, table, batch.start), keeps | {"mask"})
    dropped = [n for n in ("polygons", "rle") if n in kept.annotations.column_names]
    return Batch(kept.samples, kept.annotations.drop_columns(dropped), batch.start)


def _samples(table: pa.Table, start: int) -> Ints:
    return np.asarray(column(table, "sample").fill_null(start - 1), np.int64)


def _is(table: pa.Table, kind: str) -> Bools:
    kinds = column(table, "kind").cast(pa.string())
    return np.asarray(pc.fill_null(pc.equal(kinds, kind), False))


def _boxes(table: pa.Table) -> pa.Table:
    """Objects without a box get that of their other geometry, turned ones the one around them;
    a box that is none (NaN, a negative side) goes."""
    valid, boxes = geometry.fixed_list(column(table, "bbox"))
    change = np.zeros(len(valid), bool)
    limits = [-np.inf, -np.inf, 0.0, 0.0]
    if any(n in table.column_names for n in SHAPES):
        change |= ~valid & _is(table, "object")
    if "angle" in table.column_names:
        change |= valid & (np.asarray(table["angle"].fill_null(0), np.float64) != 0)
    good = valid & np.all(np.isfinite(boxes) & (boxes >= limits), axis=1)
    if not change.any() and (good == valid).all():
        return table
    boxes = np.where(good[:, None], boxes, np.nan)
    if change.any():
        boxes[change] = geometry.aabb(table.filter(pa.array(change)))
    none = ~np.all(np.isfinite(boxes) & (boxes >= limits), axis=1)
    flat = pa.array(np.where(none[:, None], 0.0, boxes).ravel())
    values = pa.FixedSizeListArray.from_arrays(flat, 4, mask=pa.array(none))
    return with_column(table, "bbox", values)


# ------------------------------------------------------------------ masks


def map_file(value: dict[str, Any], name: str) -> bool:
    """Whether a map is one of the files that a tree of this format has for an image.

    Args:
        value: of the column ``map``.
        name: the image's path.
    """
    if value["bytes"] is not None or value["encoding"] not in ("index", "rgb24"):
        return False
    if any(value[n] is not None for n in ("threshold", "digest")):
        return False
    ways = {f"{stem(name)}.png", f"{name}.png"}
    folder, _, file = str(value["path"]).partition("/")
    if folder == CLASS:
        return value["value"] is None and value["space"] == "object" and file in ways
    return folder == OBJECT and value["space"] is None and file in ways


def _maps(table: pa.Table, batch: Batch, dataset: Dataset) -> tuple[pa.Table, Bools]:
    """Keep the maps that came from such a tree and are at hand; and which rows are nothing but
    the map of a whole image."""
    none = np.zeros(table.num_rows, bool)
    if "map" not in table.column_names or table["map"].null_count == table.num_rows:
        return table, none
    root = dataset.meta.map_root or dataset.meta.media_root
    at = np.flatnonzero(np.asarray(table["map"].is_valid()))
    values = table["map"].take(pa.array(at)).to_pylist()
    names = batch.samples["key"].to_pylist()
    samples, objects = _samples(table, batch.start) - batch.start, _is(table, "object")
    whole, lost = none.copy(), none.copy()
    seen: dict[str, bool] = {}
    encodings: dict[str, str] = {}
    taken: set[tuple[int, str]] = set()
    for i, value in zip(at.tolist(), values, strict=True):
        path = str(value["path"])
        good = objects[i] and map_file(value, file_name(names[samples[i]]))
        if good and path not in seen:
            seen[path] = root is not None and Path(root, path).is_file()
        good = good and seen[path]
        good = good and encodings.setdefault(path, value["encoding"]) == value["encoding"]
        if good and value["value"] is None:
            good = (samples[i], path) not in taken
            taken.add((samples[i], path))
            whole[i] = good
        lost[i] = not good
    return (blank(table, "map", lost) if lost.any() else table), whole


# ------------------------------------------------------------------ order and references


def _arranged(table: pa.Table, whole: Bools) -> pa.Table:
    """Rows in the order of reading: objects each with its parts, maps, labels by class; and
    references to what is not there, or cannot be a part, removed."""
    labels = _is(table, "label")
    for name in table.column_names:
        if name in _ROW:
            continue
        other = np.zeros(len(labels), bool)
        if name != "map":
            other |= whole
        if name == "map" or not (name in LABEL or name.startswith("attr") or name == "extra"):
            other |= labels
        if (other & np.asarray(table[name].is_valid())).any():
            table = blank(table, name, other)
    rank = np.where(labels, 2, np.where(whole, 1, 0))
    samples = np.asarray(table["sample"], np.int64)
    place = np.arange(len(rank))
    if "parent" in table.column_names and table["parent"].null_count < len(rank):
        table, place = _nested(table, samples, rank == 0)
    within = np.asarray(column(table, "category").fill_null(2**31 - 1), np.int64)
    within = np.where(labels, within, 0)
    if whole.any():
        paths = np.asarray([str((m or {}).get("path")) for m in table["map"].to_pylist()], object)
        within = np.where(whole, [p.startswith(OBJECT) for p in paths], within)
    order = np.lexsort((place, within, rank, samples))
    return table if (order == np.arange(len(order))).all() else table.take(pa.array(order))


def _nested(table: pa.Table, samples: Ints, objects: Bools) -> tuple[pa.Table, Ints]:
    """The table with only those parents that parts are written in, and the place of each row
    when every object is followed by its parts."""
    ids = np.asarray(table["annotation_id"], np.int64).tolist()
    row_of = {i: row for row, i in enumerate(ids)}
    parent = [-1 if p is None else row_of.get(p, -1) for p in table["parent"].to_pylist()]
    for row, up in enumerate(parent):
        if up >= 0 and not (objects[row] and objects[up] and samples[row] == samples[up]):
            parent[row] = -1
    below: dict[int, list[int]] = {}
    for row, up in enumerate(parent):
        if up >= 0:
            below.setdefault(up, []).append(row)
    place, n = np.full(len(parent), -1), 0
    lost = []

    def visit(top: int) -> None:
        nonlocal n
        waiting = [(top, 0)]
        while waiting:
            row, depth = waiting.pop()
            if depth >= DEEP:
                lost.append(row)
                continue
            place[row] = n
            n += 1
            waiting += [(r, depth + 1) for r in reversed(below.get(row, []))]

    for row, up in enumerate(parent):
        if up < 0:
            visit(row)
    # What is left hangs too deep, or in a circle: it stands alone, its parts with it.
    while lost or (place < 0).any():
        row = lost.pop(0) if lost else int(np.flatnonzero(place < 0)[0])
        if place[row] < 0:
            if parent[row] >= 0:
                below[parent[row]].remove(row)
            parent[row] = -1
            visit(row)
    values = [None if up < 0 else ids[up] for up in parent]
    return with_column(table, "parent", pa.array(values, pa.int64())), place
