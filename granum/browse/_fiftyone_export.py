"""A dataset into FiftyOne's database: documents are made from columns and inserted in bulk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.browse._fiftyone_account import Account
from granum.browse._fiftyone_forms import form_of
from granum.browse._fiftyone_labels import Labels, make_labels
from granum.browse._fiftyone_masks import MaskReader
from granum.browse._fiftyone_plan import LayerPlan, Plan
from granum.browse._fiftyone_samples import (
    Embedded,
    files_of,
    needs_sizes,
    pixel_sizes,
    sample_documents,
    shown,
)
from granum.browse._fiftyone_schema import (
    declare,
    describe,
    save_flat_view,
    save_group_view,
)
from granum.browse._fiftyone_whole import ROOM, WholeMaps
from granum.schema.losses import LossReport
from granum.schema.tables import column
from granum.schema.units import is_relative
from granum.store.dataset import Dataset

__all__ = ["Chunk", "Sender", "chunks", "digest", "labels_of", "place"]

Document = dict[str, Any]

_NONE = np.empty(0, np.int64)

BATCH = 1000
"""Samples whose documents are in memory at a time,"""

MOST_ROWS = 50_000
"""or fewer, where they have more annotations than this (region trees have hundreds each)."""

MOST_BYTES = 10_000_000
"""Masks that one document may hold; region trees of large photos have several MB."""


@dataclass(slots=True)
class Chunk:
    """Some samples in a row with their annotations by layer; ``start`` is the first one's row."""

    start: int
    samples: pa.Table
    layers: dict[str, pa.Table] = field(default_factory=dict)

    def places(self, layer: str) -> npt.NDArray[np.int64]:
        """For each annotation of a layer, the position of its sample here."""
        return np.asarray(column(self.layers[layer], "sample"), np.int64) - self.start


def chunks(dataset: Dataset, layers: Sequence[str], size: int = BATCH) -> Iterator[Chunk]:
    """The dataset, some samples at a time; without annotations of whole groups."""
    for part in dataset.parts:
        offsets = {layer: np.asarray(part.offsets(layer)) for layer in layers}
        before = np.sum([*offsets.values(), np.zeros(part.rows + 1, np.int64)], axis=0)
        at = 0
        while at < part.rows:
            most = int(np.searchsorted(before, before[at] + MOST_ROWS, side="right")) - 1
            stop = min(at + size, part.rows, max(most, at + 1))
            chunk = Chunk(part.start + at, part.samples().slice(at, stop - at))
            for layer in layers:
                first, last = int(offsets[layer][at]), int(offsets[layer][stop])
                chunk.layers[layer] = part.layer(layer).slice(first, last - first)
            yield chunk
            at = stop


def labels_of(
    dataset: Dataset,
    chunk: Chunk,
    plan: Plan,
    masks: MaskReader,
    files: list[Path],
) -> tuple[list[Labels], npt.NDArray[np.float64]]:
    """Labels of each layer of a chunk, and the sizes of its samples (from the headers of
    ``files`` where they are needed and not stored)."""
    drawn = any(
        column(t, n).null_count < t.num_rows
        for t in chunk.layers.values()
        for n in ("polygons", "angle")
        if n in t.column_names
    )
    needed = needs_sizes(chunk.samples, drawn) & _annotated(chunk)
    sizes = pixel_sizes(chunk.samples, files, needed)
    made = []
    spent = np.zeros(chunk.samples.num_rows, np.int64)
    for layer in plan.layers:
        at = chunk.places(layer.layer)
        labels = make_labels(
            chunk.layers[layer.layer],
            at,
            sizes,
            is_relative(chunk.samples),
            layer,
            categories=dataset.categories,
            polygons=plan.polygons,
            masks=masks,
        )
        _fit(labels, at, spent, masks)
        made.append(labels)
    return made, sizes


def _fit(
    labels: Labels, at: npt.NDArray[np.int64], spent: npt.NDArray[np.int64], masks: MaskReader
) -> None:
    """Takes out the masks that the document of their sample has no room for; ``spent`` counts."""
    rows = labels.rows.get("detections", _NONE).tolist()
    for row, document in zip(rows, labels.documents.get("detections", ()), strict=True):
        size, sample = len(document.get("mask") or b""), at[row]
        if size and spent[sample] + size > MOST_BYTES:
            del document["mask"]
            labels.unread.append(row)
            masks.miss("a document of MongoDB holds 16 MB (fewer --layers, or smaller trees)")
        else:
            spent[sample] += size


def _annotated(chunk: Chunk) -> npt.NDArray[np.bool_]:
    out = np.zeros(chunk.samples.num_rows, bool)
    for layer in chunk.layers:
        out[chunk.places(layer)] = True
    return out


class Sender:
    """One export, from the plan to the last document.

    Args:
        package: FiftyOne.
        dataset: what is exported.
        plan: where to.
        embedded: writes files.
    """

    def __init__(self, package: Any, dataset: Dataset, plan: Plan, embedded: Embedded) -> None:
        self.package, self.dataset, self.plan, self.embedded = package, dataset, plan, embedded
        roots = dataset.meta.map_root or dataset.meta.media_root
        self.masks, self.maps = MaskReader(roots), WholeMaps(roots, embedded)
        self.account = Account()
        self.groups: set[int] = set()
        self.keys: list[str] = []

    def send(self, target: Any) -> LossReport:
        """Fills the empty dataset ``target``; returns the account."""
        declare(self.package, target, self.plan, self.dataset)
        dataset = self._leave_out()
        for chunk in chunks(dataset, [p.layer for p in self.plan.layers]):
            documents = self._documents(chunk)
            for document in documents:
                document["_dataset_id"] = target._doc.id
            target._sample_collection.insert_many(documents)
        self._span(target)
        store = self.dataset.meta.store
        facts = {
            "store": None if store is None else str(store.path),
            "samples": len(self.keys),
            "keys": digest(self.keys),
        }
        kept = describe(self.package, target, self.plan, self.dataset, facts, self.maps.coloured)
        save_group_view(self.package, target, self.dataset)
        save_flat_view(target, self.plan)
        self.account.groups(self.dataset.groups, self.groups)
        self.account.categories(self.dataset.categories, kept)
        self.account.note(self.maps.notes)
        self.account.note(
            f"{count} masks are not shown: {why}" for why, count in self.masks.missed.items()
        )
        target.reload()
        return self.account.report

    def _span(self, target: Any) -> None:
        """Gives the heat maps of a field one range, so that equal numbers have equal colours."""
        for plan in self.plan.layers:
            for key, name in plan.fields.items():
                span = self.maps.ranges.get((plan.layer, key))
                if span is not None:
                    there = {f"{name}.map": {"$exists": True}}
                    target._sample_collection.update_many(there, {"$set": {f"{name}.range": span}})

    def _leave_out(self) -> Dataset:
        """The samples that FiftyOne can show; accounts for the others and for annotations of
        whole groups, which have no place in it."""
        whole = np.concatenate(
            [shown(p.samples()) for p in self.dataset.parts] or [_NONE.astype(bool)]
        )
        for part in self.dataset.parts:
            here = whole[part.start : part.start + part.rows]
            self.account.samples(part.samples(), here, self.plan)
            for plan in self.plan.layers:
                table = part.layer(plan.layer)
                if table.num_rows:
                    sample = np.asarray(column(table, "sample").fill_null(-1), np.int64)
                    gone = (sample < 0) | ~whole[sample]
                    self._lost(table.filter(pa.array(gone)), plan)
        return self.dataset if whole.all() else self.dataset.select(np.flatnonzero(whole))

    def _lost(self, table: pa.Table, plan: LayerPlan) -> None:
        if table.num_rows:
            self.account.annotations(table, Labels({}, {}), plan, self.plan.polygons)

    def _documents(self, chunk: Chunk) -> list[Document]:
        files = files_of(chunk.samples, self.dataset.meta.media_root, self.embedded)
        layers, sizes = labels_of(self.dataset, chunk, self.plan, self.masks, files)
        documents = sample_documents(chunk.samples, files, sizes, self.plan, self.dataset)
        for document in documents:
            document["granum_sent"] = []
        room = np.full(len(documents), ROOM)
        for plan, labels in zip(self.plan.layers, layers, strict=True):
            table = chunk.layers[plan.layer]
            at = chunk.places(plan.layer)
            self.maps.fill(table, at, labels, room, plan.layer)
            place(documents, plan, labels, at)
            _note_sent(documents, table, labels, at)
            self.account.annotations(table, labels, plan, self.plan.polygons)
        self.keys += [d["granum_key"] for d in documents]
        self.groups.update(column(chunk.samples, "group").drop_null().to_pylist())
        return documents


def digest(keys: Sequence[str]) -> str:
    """A short name for a list of keys in its order."""
    return hashlib.sha256("\0".join(keys).encode()).hexdigest()


def place(
    documents: list[Document], plan: LayerPlan, labels: Labels, at: npt.NDArray[np.int64]
) -> None:
    """Puts labels into the documents of their samples."""
    for key, field_name in plan.fields.items():
        form = form_of(key)
        for document in documents:
            document[field_name] = (
                {"_cls": form.many, form.inside: []} if key == "detections" else None
            )
        rows = labels.rows.get(key, _NONE)
        made = labels.documents.get(key, [])
        for sample, label in zip(at[rows].tolist(), made, strict=True):
            document = documents[sample]
            if key == "captions":
                document[field_name] = [*(document[field_name] or []), label["text"]]
            elif key in plan.single:
                document[field_name] = label
            else:
                if document[field_name] is None:
                    document[field_name] = {"_cls": form.many, form.inside: []}
                document[field_name][form.inside].append(label)


def _note_sent(
    documents: list[Document], table: pa.Table, labels: Labels, at: npt.NDArray[np.int64]
) -> None:
    rows = np.unique(np.concatenate([_NONE, *labels.rows.values()]))
    ids = table["annotation_id"].take(pa.array(rows)).to_pylist()
    for sample, number in zip(at[rows].tolist(), ids, strict=True):
        documents[sample]["granum_sent"].append(number)
