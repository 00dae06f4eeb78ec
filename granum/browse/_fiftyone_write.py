"""Puts what was found in FiftyOne into a store: layers of corrected rows, views."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.browse._fiftyone_apply import Applier
from granum.browse._fiftyone_compare import Edits
from granum.browse._fiftyone_plan import LayerPlan
from granum.browse._fiftyone_read import Found, Reader
from granum.errors import ConflictError
from granum.schema import rows, tables
from granum.schema.tables import column
from granum.store.additions import add_layer, save_view
from granum.store.dataset import Dataset

__all__ = ["Changes", "Returned", "write_back"]

PRODUCER = "fiftyone"


@dataclass(frozen=True, slots=True)
class Changes:
    """How the rows of a new layer differ from those of the layer it stands on."""

    parent: str | None
    unchanged: int
    changed: int
    added: int
    deleted: int


@dataclass(slots=True)
class Returned:
    """What came back from FiftyOne.

    Attributes:
        dataset: the store with it, opened anew.
        layers: new layers, and how they differ.
        views: new views, and how many samples each has.
        unknown: names of classes that the dataset does not have, with counts; such a label keeps
            its name in the attribute ``label``.
        notes: what was not taken, with counts.
    """

    dataset: Dataset
    layers: dict[str, Changes] = field(default_factory=dict)
    views: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)


def write_back(reader: Reader, found: Found, layer: str) -> Returned:
    """Writes all that was found, once the names of its layers are known to be free.

    Raises:
        ConflictError: the store has such a layer.
        StoreError: the dataset is no whole store.
    """
    dataset = reader.dataset
    categories = rows.categories_from_table(dataset.categories)
    applier = Applier(categories, reader.ignored)
    made: dict[str, tuple[pa.Table, Changes]] = {}
    first = reader.plan.layers[0].layer if reader.plan.layers else None
    for plan in reader.plan.layers:
        if found.edits[plan.layer]:
            name = layer if plan.layer == first else f"{layer}_{plan.layer}"
            made[name] = _edited(dataset, plan, found, applier)
    for field_name, added in found.fields.items():
        name = field_name if field_name not in dataset.meta.layers else f"{layer}_{field_name}"
        table = _new_rows(added, None, found, applier, 0)
        made[name] = table, Changes(None, 0, 0, table.num_rows, 0)
    taken = sorted(made.keys() & set(dataset.meta.layers))
    if taken:
        raise ConflictError(f"the store has a layer {taken[0]!r} already; give another: layer=NAME")
    out = Returned(dataset, unknown=applier.unknown, notes={**found.notes, **applier.notes})
    for name, (table, changes) in made.items():
        mode = "add" if changes.parent is None else "replace"
        out.dataset = add_layer(
            out.dataset, name, table, producer=PRODUCER, parent=changes.parent, mode=mode
        )
        out.layers[name] = changes
    _views(reader, found, layer, out)
    return out


def _edited(
    dataset: Dataset, plan: LayerPlan, found: Found, applier: Applier
) -> tuple[pa.Table, Changes]:
    """All rows of a layer: unchanged ones as they are, the others with what differs."""
    edits: Edits = found.edits[plan.layer]
    table = dataset.annotations(layer=plan.layer)
    table = table.select([n for n in table.column_names if not n.startswith("col.")])
    ids = table["annotation_id"]
    gone = _among(ids, edits.deleted)
    touched = _among(ids, edits.changed)
    changed: dict[int, rows.Annotation] = {}
    lost = gone.copy()
    for at in np.flatnonzero(touched).tolist():
        row = changed[at] = rows.annotations_from_table(table.slice(at, 1))[0]
        frame = found.frames[int(row.sample or 0)]
        applier.change(row, edits.changed[int(row.annotation_id or 0)], plan, frame)
        lost[at] = row.map is None
    for at, held in _heirs(table, lost).items():
        row = changed.setdefault(at, rows.annotations_from_table(table.slice(at, 1))[0])
        if row.map is not None:
            row.map.path, row.map.bytes = held
    kept = np.setdiff1d(np.flatnonzero(~gone), [*changed])
    top = int(pc.max(ids).as_py() or 0)
    added = _new_rows(edits.added, plan, found, applier, top)
    pieces = [table.take(pa.array(kept))]
    if changed:
        pieces.append(rows.annotations_to_table([*changed.values()]))
    if added.num_rows:
        pieces.append(added)
    joined = pa.concat_tables([_stripped(p) for p in pieces], promote_options="default")
    place = np.concatenate([kept, [*changed], np.full(added.num_rows, table.num_rows)])
    sample = np.asarray(column(joined, "sample").fill_null(len(dataset)), np.int64)
    joined = joined.take(pa.array(np.lexsort((place, sample))))
    same = table.num_rows - int((touched | gone).sum())
    changes = Changes(plan.layer, same, int(touched.sum()), added.num_rows, int(gone.sum()))
    return joined, changes


def _heirs(
    table: pa.Table, lost: npt.NDArray[np.bool_]
) -> dict[int, tuple[str | None, bytes | None]]:
    """Where a row is ``lost`` that holds the label image of others (the root of a region tree), the
    row that is to hold it from now on, with its path and bytes."""
    if "map" not in table.column_names or not lost.any():
        return {}
    maps, samples = table["map"].to_pylist(), table["sample"].to_pylist()
    images: dict[tuple[Any, Any], tuple[str | None, bytes | None]] = {}
    for i in np.flatnonzero(lost).tolist():
        m = maps[i]
        if m is not None and m["digest"] is not None and (m["path"] or m["bytes"]):
            images[samples[i], m["digest"]] = m["path"], m["bytes"]
    out = {}
    for i in np.flatnonzero(~lost).tolist() if images else ():
        if maps[i] is not None:
            held = images.pop((samples[i], maps[i]["digest"]), None)
            if held is not None and not (maps[i]["path"] or maps[i]["bytes"]):
                out[i] = held
    return out


def _stripped(table: pa.Table) -> pa.Table:
    return tables.strip_null_columns(table.cast(_nullable(table.schema)))


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([f.with_nullable(True) for f in schema])


def _among(ids: pa.ChunkedArray, wanted: Mapping[int, Any] | set[int]) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.is_in(ids, value_set=pa.array(sorted(wanted), pa.int64())))


def _new_rows(
    added: list[tuple[int, str, dict[str, Any]]],
    plan: LayerPlan | None,
    found: Found,
    applier: Applier,
    top: int,
) -> pa.Table:
    """Rows of labels that were made in FiftyOne, numbered from ``top`` on."""
    made = []
    for number, (row, key, label) in enumerate(added, top + 1):
        annotation = applier.new(key, label, plan, found.frames[row])
        annotation.sample, annotation.annotation_id = row, number
        made.append(annotation)
    if not made:
        return tables.empty(tables.ANNOTATIONS)
    return rows.annotations_to_table(made)


def _views(reader: Reader, found: Found, layer: str, out: Returned) -> None:
    lineage = {"from": PRODUCER, "dataset": str(reader.root.name)}
    if found.view is not None:
        stages = [str(s) for s in getattr(reader.source, "_stages", ())]
        wanted = getattr(reader.source, "name", None) if stages else None
        _save(
            out,
            wanted or layer,
            found.view.rows,
            found.view.annotations,
            {**lineage, "stages": stages},
        )
    for tag, tagged in found.tags.items():
        _save(out, tag, tagged, None, {**lineage, "tag": tag})
    for tag, of_rows in found.label_tags.items():
        chosen = list(of_rows)
        _save(out, tag, chosen, [of_rows[r] for r in chosen], {**lineage, "label_tag": tag})


def _save(
    out: Returned,
    wanted: str,
    samples: list[int],
    annotations: list[list[int] | None] | list[list[int]] | None,
    lineage: dict[str, Any],
) -> None:
    """A view under a name that is free: the wanted one, or with a number."""
    name = base = re.sub(r"[/\\\0]", "_", wanted).lstrip(".")[:100] or PRODUCER
    store = out.dataset.meta.store
    number = 2
    while store is not None and name in store.manifest["views"]:
        name, number = f"{base}-{number}", number + 1
    out.dataset = save_view(
        out.dataset, name, samples, reason=wanted, annotations=annotations, lineage=lineage
    )
    out.views[name] = len(samples)
