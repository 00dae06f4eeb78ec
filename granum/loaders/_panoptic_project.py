"""What reading back our COCO panoptic files gives of a batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import FormatError
from granum.loaders._panoptic_pixels import MAX_ID, Canvas
from granum.loaders._panoptic_plan import Image, Plan
from granum.loaders._panoptic_segments import pixel_id
from granum.loaders._panoptic_tree import Folders
from granum.loaders._panoptic_values import FILLED, FORMS
from granum.loaders.base import blank
from granum.loaders.coco.records import FLAGS, Array
from granum.schema import geometry, tables
from granum.schema.tables import column, with_column, without_columns
from granum.schema.units import convert_units, is_relative
from granum.store.dataset import Dataset
from granum.store.out import safe_relative
from granum.store.parts import Batch

__all__ = ["SOURCES", "kept_extra", "map_root_of", "project"]

SOURCES = {n: f"col.panoptic.{n}" for n in ("map", "rle", "polygons")}
"""Columns in which a projected batch carries the masks that the writer paints. Of several forms
of a row the first is painted, the others are written beside."""

IMAGE_TYPED = ("id", "file_name", "width", "height", "attributes")
_NAMED = {
    *("id", "category_id", "area", "bbox", "iscrowd", "isthing", "score", "attributes"),
    *(*FLAGS, FILLED, FORMS),
}


def map_root_of(dataset: Dataset) -> str | None:
    """The folder that label maps are relative to."""
    return dataset.meta.map_root or dataset.meta.media_root


def project(batch: Batch, dataset: Dataset, plan: Plan) -> Batch:
    """Objects whose masks share no pixel, in pixels, each with an id of its own in one PNG.

    Args:
        batch: with the columns that the format keeps.
        dataset: all of it, as it was.
        plan: of ``dataset``.

    Raises:
        SizeUnknownError: coordinates are relative, or polygons to be painted, and no size known.
    """
    samples = without_columns(batch.samples, ["channels", "depth", "orientation"])
    images = plan.images[batch.start : batch.start + samples.num_rows]
    table = _finite(_drawable(batch.annotations))
    samples, table = _in_pixels(samples, table, batch.start, dataset)
    painter = _Painter(samples, table, batch.start, map_root_of(dataset))
    values = painter.values()
    samples = painter.sized()
    chosen = values > 0
    table = table.filter(pa.array(chosen))
    at = np.asarray(column(table, "sample"), np.int64) - batch.start
    table = _with_maps(table, values[chosen], at, images)
    table = _with_extra(table, plan, dataset)
    return Batch(_images(samples, images), table, batch.start)


def _drawable(table: pa.Table) -> pa.Table:
    """Rows that a segment can be made of: on a sample, with a category and some mask."""
    good = np.asarray(column(table, "sample").is_valid())
    good &= np.asarray(column(table, "category").is_valid())
    masked = np.zeros(table.num_rows, bool)
    for name in SOURCES:
        masked |= np.asarray(column(table, name).is_valid())
    good &= masked
    return table if good.all() else table.filter(pa.array(good))


def _finite(table: pa.Table) -> pa.Table:
    """Numbers that JSON does not have are none."""
    for name in ("score", "area", "bbox"):
        if name in table.column_names:
            values = table[name].combine_chunks()
            if name == "bbox":
                good = np.isfinite(geometry.fixed_list(values)[1]).all(axis=1)
            else:
                good = np.isfinite(np.asarray(values.fill_null(0), np.float64))
            table = table if good.all() else blank(table, name, ~good)
    return table


def _in_pixels(
    samples: pa.Table, table: pa.Table, start: int, dataset: Dataset
) -> tuple[pa.Table, pa.Table]:
    at = np.asarray(column(table, "sample"), np.int64) - start
    relative = is_relative(samples)
    drawn = np.asarray(column(table, "polygons").is_valid())
    drawn &= np.asarray(column(table, "rle").is_null()) & np.asarray(column(table, "map").is_null())
    needed = np.zeros(samples.num_rows, bool)
    needed[at[drawn | relative[at]]] = True
    width, height = column(samples, "width"), column(samples, "height")
    needed &= ~np.asarray(pc.and_(width.is_valid(), height.is_valid()))
    if needed.any():
        from granum.loaders.writing import with_sizes

        rows = np.flatnonzero(needed)
        sized = with_sizes(dataset.select(rows + start)).samples(["width", "height"])
        for name in ("width", "height"):
            listed = column(samples, name).to_pylist()
            for row, value in zip(rows.tolist(), sized[name].to_pylist(), strict=True):
                listed[row] = value
            samples = with_column(samples, name, pa.array(listed, pa.int32()))
    if relative.any():
        size = [np.asarray(column(samples, n).fill_null(1)) for n in ("width", "height")]
        factors = np.where(relative[:, None], np.column_stack(size), 1.0)
        table = convert_units(table, at, factors)
    unit = pa.array(["pixel"] * samples.num_rows, pa.string()).dictionary_encode()
    return with_column(samples, "unit", unit.cast(tables.SAMPLES.field("unit").type)), table


class _Painter:
    """Finds which rows fit on their image's PNG, and under which ids."""

    def __init__(self, samples: pa.Table, table: pa.Table, start: int, root: str | None) -> None:
        self.samples, self.table, self.root = samples, table, root
        self.at = np.asarray(column(table, "sample"), np.int64) - start
        self.n = table.num_rows
        self.folders = None if root is None else Folders(Path(root))
        self.size = {n: column(samples, n).to_pylist() for n in ("height", "width")}

    def sized(self) -> pa.Table:
        """The samples, with sizes that only masks told."""
        samples = self.samples
        for name, values in self.size.items():
            if any(v is not None for v in values):
                samples = with_column(samples, name, pa.array(values, pa.int32()))
        return samples

    def values(self) -> Array:
        """The id of each row in its PNG; 0 where the row cannot be there."""
        path, value = self._rgb24()
        plain = value > 0
        out = np.where(plain, value, 0)
        for first, last in self._difficult(path, value):
            out[first:last] = self._paint(first, last, path, value)
        return out

    def _rgb24(self) -> tuple[Array, Array]:
        """Rows that are an id of a panoptic PNG at hand: number of its path, and the id."""
        maps = column(self.table, "map").combine_chunks()
        if maps.null_count == self.n:
            return np.full(self.n, -1), np.zeros(self.n, np.int64)
        field = {f.name: pc.struct_field(maps, f.name) for f in maps.type}
        good = np.asarray(pc.equal(field["encoding"].cast(pa.string()), "rgb24").fill_null(False))
        good &= np.asarray(field["bytes"].is_null())
        value = np.asarray(field["value"].fill_null(0), np.int64)
        coded = field["path"].dictionary_encode()
        number = np.asarray(coded.indices.fill_null(-1), np.int64)
        there = np.array([self._is_there(p) for p in coded.dictionary.to_pylist()] + [False])
        good &= there[number] & (value > 0) & (value <= MAX_ID)
        return number, np.where(good, value, 0)

    def _is_there(self, path: str) -> bool:
        if self.root is None or self.folders is None:
            return False
        try:
            return self.folders.holds(str(safe_relative(path, self.root)))
        except FormatError:
            return False

    def _difficult(self, path: Array, value: Array) -> list[tuple[int, int]]:
        """Samples that are not simply the ids of one PNG, as ranges of rows."""
        if not self.n:
            return []
        starts = np.flatnonzero(np.concatenate([[True], self.at[1:] != self.at[:-1]]))
        ends = np.append(starts[1:], self.n)
        simple = np.minimum.reduceat(value, starts) > 0
        simple &= np.minimum.reduceat(path, starts) == np.maximum.reduceat(path, starts)
        order = np.lexsort((value, self.at))
        twice = (value[order][1:] == value[order][:-1]) & (
            self.at[order][1:] == self.at[order][:-1]
        )
        owner = np.searchsorted(starts, order[1:][twice], side="right") - 1
        simple[owner] = False
        odd = np.flatnonzero(~simple)
        return list(zip(starts[odd].tolist(), ends[odd].tolist(), strict=True))

    def _paint(self, first: int, last: int, path: Array, value: Array) -> Array:
        """Ids of one sample's rows: those of its first panoptic PNG stay, others get free ones."""
        sample = int(self.at[first])
        size = self.size["height"][sample], self.size["width"][sample]
        canvas = Canvas(size, self.root)
        listed = {n: column(self.table, n).slice(first, last - first).to_pylist() for n in SOURCES}
        own = np.flatnonzero(value[first:last] > 0)
        main = path[first + own[0]] if len(own) else None
        wanted = np.where(path[first:last] == main, value[first:last], 0) if len(own) else None
        taken = set() if wanted is None else set(wanted.tolist())
        free = (n for n in range(1, MAX_ID + 1) if n not in taken)
        spare, used = next(free), set[int]()
        out = np.zeros(last - first, np.int64)
        for i in range(last - first):
            row = {n: v[i] for n, v in listed.items()}
            kept = 0 if wanted is None else int(wanted[i])
            id_ = kept if kept and kept not in used else spare
            if canvas.paint(row, id_):
                out[i] = id_
                used.add(id_)
                spare = next(free) if id_ == spare else spare
        if canvas.ids is not None:
            self.size["height"][sample], self.size["width"][sample] = canvas.ids.shape
        return out


def _with_maps(table: pa.Table, values: Array, at: Array, images: list[Image]) -> pa.Table:
    """Every row as an id of its image's PNG; what it was drawn with goes along for the writer."""
    n = table.num_rows
    painted = np.zeros(n, bool)
    for name, aside in SOURCES.items():
        if name in table.column_names:
            table = with_column(table, aside, table[name])
            here = np.asarray(table[name].is_valid()) & ~painted
            painted |= here
            table = blank(table, name, here)
    kind = tables.ANNOTATIONS.field("map").type
    paths = pa.array([i.png for i in images], pa.string())
    encoding = pa.array(["rgb24"] * n, pa.string()).dictionary_encode()
    known = {"path": paths.take(pa.array(at)), "encoding": encoding, "value": pa.array(values)}
    arrays = [known[f.name].cast(f.type) if f.name in known else pa.nulls(n, f.type) for f in kind]
    table = with_column(table, "map", pa.StructArray.from_arrays(arrays, fields=list(kind)))
    return with_column(table, "source_id", pa.array(values).cast(pa.string()))


# ---------------------------------------------------------------------- unknown keys


def kept_extra(extra: Mapping[str, Any], own: bool, row: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``extra`` is written beside the typed columns, and read back.

    Values under keys that the format types count only where they came from a panoptic file, and
    while the column says nothing else.

    Args:
        extra: unknown keys, and values that a typed column cannot hold.
        own: the row came from a panoptic file.
        row: ``id``, ``isthing`` (of the category) and the typed columns.
    """
    out = {}
    for key, value in extra.items():
        if key not in _NAMED:
            out[key] = value
        elif not own:
            continue
        elif key == "id":
            if pixel_id(value) == row["id"]:
                out[key] = value
        elif key == "isthing":
            if value is None or row["isthing"] is None or value != row["isthing"]:
                out[key] = value
        elif key == "iscrowd" or key in FLAGS:
            now = row.get("crowd" if key == "iscrowd" else key)
            if type(value) is int and value not in (0, 1) and now is True:
                out[key] = value
        elif key in ("area", "bbox", "score", "attributes"):
            if row.get(key) is None or _same(value, row[key]):
                out[key] = value
        elif key in (FILLED, FORMS):
            out[key] = value  # not as we write it
    return out


def _same(value: Any, now: Any) -> bool:
    """Whether a column says the same as a value that it could not hold exactly."""
    if isinstance(value, list) and isinstance(now, list):
        pairs = zip(value, now, strict=False)
        return len(value) == len(now) and all(_same(v, n) for v, n in pairs)
    return type(value) in (int, float) and isinstance(now, float) and float(value) == now


def _with_extra(table: pa.Table, plan: Plan, dataset: Dataset) -> pa.Table:
    texts = column(table, "extra")
    if texts.null_count == len(texts):
        return table
    chosen = np.flatnonzero(np.asarray(texts.is_valid()))
    some = table.take(pa.array(chosen))
    typed = [
        "crowd",
        "bbox",
        "area",
        "score",
        *FLAGS,
        "attributes",
        "category",
        "map",
        "origins",
        "extra",
    ]
    listed = {n: column(some, n).to_pylist() for n in typed}
    things = column(dataset.categories, "isthing", tables.CATEGORIES).to_pylist()
    out = texts.to_pylist()
    for i, at in enumerate(chosen.tolist()):
        row = {n: v[i] for n, v in listed.items()}
        row |= {"id": row["map"]["value"], "isthing": things[row["category"]]}
        own = bool(row["origins"]) and row["origins"][0] in plan.own
        extra = json.loads(row["extra"])
        kept = kept_extra(extra, own, row)
        if kept != extra or not kept:
            out[at] = json.dumps(kept, ensure_ascii=False) if kept else None
    return with_column(table, "extra", pa.array(out, pa.string()))


def _images(samples: pa.Table, images: list[Image]) -> pa.Table:
    """Samples with the ids that they get, and what of their unknown keys is written."""
    ids = pa.array([str(i.id) for i in images], pa.string())
    samples = with_column(samples, "source_id", ids)
    texts = column(samples, "extra")
    if texts.null_count == len(texts):
        return samples
    out = texts.to_pylist()
    for i, image in enumerate(images):
        if out[i] is not None:
            own = image.keys is not None or image.annotation_keys is not None
            typed = set(image.extra) & set(IMAGE_TYPED)
            if not image.extra and not image.notes:
                out[i] = None if out[i] == "{}" else out[i]
            elif typed and not own:
                left = {k: v for k, v in image.extra.items() if k not in IMAGE_TYPED}
                out[i] = json.dumps(left, ensure_ascii=False) if left else None
    return with_column(samples, "extra", pa.array(out, pa.string()))
