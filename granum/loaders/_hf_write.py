"""Datasets as tables of records: one row per image, its annotations in columns of lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.loaders._hf_columns import (
    ATTRIBUTE_TYPES,
    conform_array,
    lengths_of,
    lists,
    offsets_of,
    plain,
    plain_type,
)
from granum.loaders._hf_facts import OBJECTS
from granum.loaders._hf_plan import PLAIN, Plan, kind_codes, of_samples
from granum.schema.tables import ANNOTATIONS, SAMPLES, column
from granum.store.parts import Batch

__all__ = ["record_schema", "records"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def records(batch: Batch, plan: Plan, image: str, images: pa.Array) -> pa.Table:
    """The records of a batch.

    Args:
        batch: of the dataset that the plan was made of.
        plan: which columns to make.
        image: name of the column of images.
        images: its values.
    """
    samples, table = batch.samples, of_samples(batch.annotations)
    at = np.asarray(column(table, "sample"), np.int64) - batch.start
    codes, kinds = kind_codes(table)
    out: dict[str, pa.Array] = {image: images}
    if plan.numbered:
        out["image_id"] = pa.array(np.arange(len(images)) + batch.start)
    customary = [c for c in plan.samples if c in ("image_id", "width", "height")]
    for name in (*customary, *plan.plain.values(), *plan.objects, *plan.samples):
        if name in plan.plain.values():
            kind = next(k for k, c in plan.plain.items() if c == name)
            out[name] = _plain_column(plan, kind, table, at, codes, kinds, len(images))
        elif name in plan.objects:
            apart = plan.plain.keys()
            mine = {k for k in kinds if (k == "object") == (name == OBJECTS) and k not in apart}
            mask = np.isin(codes, [i for i, k in enumerate(kinds) if k in mine])
            out[name] = _object_column(plan, name, table, at, mask, len(images))
        elif name not in out:
            array = _sample_column(samples, plan.samples[name], plan)
            out[name] = array.cast(pa.int64()) if name == "image_id" else array
    return pa.table(out)


def record_schema(plan: Plan, image: str, kind: pa.DataType) -> pa.Schema:
    """The schema of ``records``."""
    nothing = Batch(SAMPLES.empty_table(), ANNOTATIONS.empty_table())
    return records(nothing, plan, image, pa.array([], kind)).schema


def _sample_column(samples: pa.Table, name: str, plan: Plan) -> pa.Array:
    if name.startswith("attr."):
        kind = ATTRIBUTE_TYPES[plan.facts.types[f"s.{name.removeprefix('attr.')}"]]
        return _in_type(samples, name, kind)
    return _in_type(samples, name, SAMPLES.field(name).type)


def _in_type(table: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    """A column in the plain form of its type; nulls where the table lacks it."""
    if name not in table.column_names:
        return pa.nulls(table.num_rows, plain_type(kind))
    return conform_array(plain(table[name]), plain_type(kind))


def _plain_column(
    plan: Plan,
    kind: str,
    table: pa.Table,
    at: Ints,
    codes: Ints,
    kinds: Sequence[str],
    n: int,
) -> pa.Array:
    """A column of classes or sentences: one value, or a list of them."""
    mask = codes == (kinds.index(kind) if kind in kinds else -1)
    values = _field(plan, table.filter(pa.array(mask)), PLAIN[kind])
    counts = np.bincount(at[mask], minlength=n)
    if kind in plan.listed:
        return lists(offsets_of(counts), values)
    place = np.cumsum(counts) - 1
    return values.take(pa.array(place, mask=counts == 0))


def _object_column(
    plan: Plan, which: str, table: pa.Table, at: Ints, mask: Mask, n: int
) -> pa.Array:
    """A struct of lists, one value per annotation; or a list of structs."""
    chosen = table if mask.all() else table.filter(pa.array(mask))
    offsets = offsets_of(np.bincount(at[mask], minlength=n))
    fields = {shown: _field(plan, chosen, name) for shown, name in plan.objects[which].items()}
    if plan.position:
        within = np.arange(len(at)) - np.searchsorted(at, at)
        fields["position"] = pa.array(within[mask], pa.int32())
    if plan.structs:
        return lists(offsets, pa.StructArray.from_arrays(list(fields.values()), list(fields)))
    columns = [lists(offsets, values) for values in fields.values()]
    return pa.StructArray.from_arrays(columns, list(fields))


def _field(plan: Plan, table: pa.Table, name: str) -> pa.Array:
    if name.startswith("attr."):
        kind = ATTRIBUTE_TYPES[plan.facts.types[f"a.{name.removeprefix('attr.')}"]]
        return _in_type(table, name, kind)
    values = _in_type(table, name, ANNOTATIONS.field(name).type)
    if name == "category":
        if plan.by_name:
            return pa.array(plan.names, pa.string()).take(values)
        return values.cast(pa.int64())
    if name == "polygons" and not plan.holes:
        rings = values.flatten().flatten()
        lengths = lengths_of(values)
        return lists(offsets_of(np.maximum(lengths, 0)), rings, lengths < 0)
    return values
