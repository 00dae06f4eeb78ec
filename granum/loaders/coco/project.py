"""What reading back our COCO files gives of a batch."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders._map_masks import maps_as_rle
from granum.loaders.base import blank
from granum.loaders.coco.targets import coco_sources, is_loose
from granum.schema import geometry, rows, tables
from granum.schema.tables import column, with_column, without_columns
from granum.schema.units import POINT_COLUMNS, convert_units, is_relative
from granum.store.dataset import Dataset
from granum.store.parts import Batch

__all__ = ["project", "project_categories"]


def project(batch: Batch, dataset: Dataset, holes: str) -> Batch:
    """COCO is in pixels, has no holes in polygons, no annotations of whole groups. The pixels of a
    value in a label map become an RLE, where the map is at hand.

    Where sizes are unknown, relative coordinates are refused by ``SizeUnknownError``.
    """
    samples, table = batch.samples, batch.annotations
    if "map" in table.column_names:
        table = maps_as_rle(table, samples, batch.start, dataset)
    table = without_columns(table, ["map", "keypoint_scores", "track_source_id"])
    samples = without_columns(samples, ["channels", "depth", "orientation"])
    table = _on_samples(table)
    relative = is_relative(samples)
    if relative.any():
        samples, table = _pixels(samples, table, batch.start, relative, dataset)
    if "polygons" in table.column_names:
        table = _without_holes(table, samples, batch.start, holes)
    table = _kinds(table)
    samples, table = _with_own_ids(samples, table, batch.start, dataset)
    return Batch(_without_empty(samples), _without_empty(table), batch.start)


def project_categories(categories: pa.Table) -> pa.Table:
    """Ids that repeat are given up; empty objects of further keys leave no trace."""
    ids = column(categories, "source_id", tables.CATEGORIES).to_pylist()
    if len({*ids} - {None}) < len([i for i in ids if i is not None]):  # ids are unique there
        own = [i if i not in ids[:at] else None for at, i in enumerate(ids)]
        categories = with_column(categories, "source_id", pa.array(own, pa.string()))
    return _without_empty(categories)


def _without_empty(table: pa.Table) -> pa.Table:
    """``extra`` null where it is an empty object."""
    if "extra" not in table.column_names:
        return table
    extra = table["extra"]
    texts = pc.if_else(pc.equal(extra, "{}"), pa.scalar(None, pa.string()), extra)
    return with_column(table, "extra", texts)


def _with_own_ids(
    samples: pa.Table, table: pa.Table, start: int, dataset: Dataset
) -> tuple[pa.Table, pa.Table]:
    """Ids that another record has are given up: the writer makes new ones."""
    taken_samples, taken_annotations = _taken_ids(dataset)
    if len(taken_samples):
        here = np.isin(np.arange(start, start + samples.num_rows), taken_samples)
        samples = _blanked(samples, here)
    if len(taken_annotations) and table.num_rows:
        table = _blanked(table, np.isin(np.asarray(table["annotation_id"]), taken_annotations))
    return samples, table


def _blanked(table: pa.Table, where: Any) -> pa.Table:
    if not where.any():
        return table
    values = pc.if_else(pa.array(where), pa.scalar(None, pa.string()), table["source_id"])
    return with_column(table, "source_id", values)


@lru_cache(maxsize=1)
def _taken_ids(dataset: Dataset) -> tuple[Any, Any]:
    """Sample rows and annotation ids that no COCO file held, and whose source id another has."""
    known: set[int | None] = {*coco_sources(dataset)}
    out: list[list[int]] = [[], []]
    seen: list[set[str]] = [set(), set()]
    loose_rows: list[list[tuple[int, str]]] = [[], []]
    for batch in dataset.iter_batches():
        for which, table in enumerate((batch.samples, batch.annotations)):
            ids = column(table, "source_id")
            if ids.null_count == len(ids):
                continue
            loose = is_loose(column(table, "origins"), known)
            if not loose.any() and not loose_rows[which] and known:
                continue
            numbers = (
                range(batch.start, batch.start + table.num_rows)
                if which == 0
                else table["annotation_id"].to_pylist()
            )
            for number, text, free in zip(numbers, ids.to_pylist(), loose.tolist(), strict=True):
                if text is not None and free:
                    loose_rows[which].append((number, text))
                elif text is not None:
                    seen[which].add(text)
    for which in (0, 1):
        for number, text in loose_rows[which]:
            if text in seen[which]:
                out[which].append(number)
            seen[which].add(text)
    return np.array(out[0], np.int64), np.array(out[1], np.int64)


def _on_samples(table: pa.Table) -> pa.Table:
    sample = column(table, "sample")
    return table.filter(sample.is_valid()) if sample.null_count else table


def _pixels(
    samples: pa.Table, table: pa.Table, start: int, relative: Any, dataset: Dataset
) -> tuple[pa.Table, pa.Table]:
    from granum.loaders.writing import with_sizes

    width, height = column(samples, "width"), column(samples, "height")
    unknown = relative & ~np.asarray(pc.and_(width.is_valid(), height.is_valid()))
    unknown[np.setdiff1d(np.arange(len(unknown)), np.asarray(table["sample"]) - start)] = False
    if unknown.any():
        if not _is_written(table, dataset, start):  # another layer than the one that is written
            return samples, without_columns(table, POINT_COLUMNS)
        sized = with_sizes(dataset).samples(["width", "height"]).slice(start, samples.num_rows)
        width, height = sized["width"], sized["height"]
        samples = with_column(with_column(samples, "width", width), "height", height)
    factors = np.column_stack([np.asarray(width.fill_null(1)), np.asarray(height.fill_null(1))])
    factors = np.where(relative[:, None], factors, 1.0)
    at = np.asarray(table["sample"], np.int64) - start if table.num_rows else np.empty(0, np.int64)
    unit = pa.array(["pixel"] * samples.num_rows).dictionary_encode()
    unit = unit.cast(tables.SAMPLES.field("unit").type)
    return with_column(samples, "unit", unit), convert_units(table, at, factors)


def _is_written(table: pa.Table, dataset: Dataset, start: int) -> bool:
    """Whether annotations are of the layer that is written."""
    layer = dataset.part_of(start).layer(dataset.meta.layer)
    first = table["annotation_id"].slice(0, 1)
    return bool(pc.any(pc.is_in(first, value_set=layer["annotation_id"].combine_chunks())).as_py())


def _without_holes(table: pa.Table, samples: pa.Table, start: int, holes: str) -> pa.Table:
    """Rows with a part of more or fewer rings than one are no COCO polygons."""
    flat = geometry.flat_polygons(table["polygons"])
    odd = np.zeros(table.num_rows, bool)
    part_rows = np.repeat(np.arange(table.num_rows), np.diff(flat.rows))
    odd[part_rows[np.diff(flat.parts) != 1]] = True
    # An RLE beside polygons cannot stand in one segmentation: the polygons count.
    both = np.asarray(table["polygons"].is_valid()) & np.asarray(column(table, "rle").is_valid())
    if odd.any():
        if holes == "rle":
            table = _as_rle(table, samples, start, np.flatnonzero(odd & ~both))
        table = blank(table, "polygons", odd)
    if (both & ~odd).any():
        table = blank(table, "rle", both & ~odd)
    return table


def _as_rle(table: pa.Table, samples: pa.Table, start: int, at: Any) -> pa.Table:
    listed = column(table, "rle").to_pylist()
    polygons = table["polygons"]
    width, height = column(samples, "width"), column(samples, "height")
    for row in at.tolist():
        sample = table["sample"][row].as_py() - start
        w, h = width[sample].as_py(), height[sample].as_py()
        if w is None or h is None:
            continue
        size, counts = geometry.encode_mask(geometry.rasterize(polygons[row].as_py(), h, w))
        listed[row] = {"size": list(size), "counts": counts, "form": "compressed"}
    return with_column(
        table, "rle", rows.column_array(listed, tables.ANNOTATIONS.field("rle").type)
    )


def _kinds(table: pa.Table) -> pa.Table:
    """What tells kinds apart in a file is their keys: an object has a geometry, a label none."""
    kinds = column(table, "kind").cast(pa.string())
    drawn = np.zeros(table.num_rows, bool)
    for name in ("bbox", "polygons", "rle", "keypoints"):
        drawn |= np.asarray(column(table, name).is_valid())
    extra = column(table, "extra")
    if extra.null_count < len(extra):  # a geometry that is kept as it was written
        kept = pc.match_substring_regex(extra, '"(segmentation|bbox|keypoints)":')
        drawn |= np.asarray(pc.fill_null(kept, False))
    objects = np.asarray(pc.fill_null(pc.equal(kinds, "object"), False))
    labels = np.asarray(pc.fill_null(pc.equal(kinds, "label"), False))
    captions = np.asarray(pc.fill_null(pc.equal(kinds, "caption"), False))
    text = np.asarray(column(table, "text").is_valid())
    fits = (objects & drawn & ~text) | (labels & ~drawn & ~text) | (captions & text)
    return table if fits.all() else table.filter(pa.array(fits))
