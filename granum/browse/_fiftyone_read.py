"""Reads what was done in FiftyOne: edits of our labels, new label fields, tags, order of a view."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.browse._fiftyone_apply import Applier, Frame
from granum.browse._fiftyone_compare import Edits, compare, labels_in
from granum.browse._fiftyone_export import BATCH, chunks, digest, labels_of
from granum.browse._fiftyone_forms import form_of
from granum.browse._fiftyone_masks import MaskReader
from granum.browse._fiftyone_plan import Plan
from granum.browse._fiftyone_schema import INFO
from granum.errors import UsageError
from granum.schema.tables import column
from granum.schema.units import is_relative
from granum.store.dataset import Dataset
from granum.store.media import image_size

__all__ = ["Found", "Reader", "View"]

Document = dict[str, Any]
Added = list[tuple[int, str, Document]]


@dataclass(slots=True)
class View:
    """Samples in an order (dataset rows), and for each the annotations that are left of it (None:
    none was filtered out)."""

    rows: list[int]
    annotations: list[list[int] | None] | None


@dataclass(slots=True)
class Found:
    """All that was done.

    Attributes:
        edits: by layer.
        fields: labels of fields that are not ours, by field.
        frames: rasters of the samples that have edits.
        tags: rows by tag, those that were not sent so.
        label_tags: by tag, annotation ids by row.
        view: what the view shows, where it is not what was sent.
        notes: what is not taken, with counts.
    """

    edits: dict[str, Edits] = field(default_factory=dict)
    fields: dict[str, Added] = field(default_factory=dict)
    frames: dict[int, Frame] = field(default_factory=dict)
    tags: dict[str, list[int]] = field(default_factory=dict)
    label_tags: dict[str, dict[int, list[int]]] = field(default_factory=dict)
    view: View | None = None
    notes: dict[str, int] = field(default_factory=dict)

    def note(self, text: str, count: int = 1) -> None:
        if count:
            self.notes[text] = self.notes.get(text, 0) + count


class Reader:
    """Reads a FiftyOne dataset that :func:`to_fiftyone` made.

    Args:
        package: FiftyOne.
        source: the dataset, or a view of it.
        dataset: what was sent.

    Raises:
        UsageError: ``source`` was not made by ``to_fiftyone``, is a view of patches, clips or
            frames, or its layers are not those of ``dataset``.
    """

    def __init__(self, package: Any, source: Any, dataset: Dataset) -> None:
        self.package, self.source, self.dataset = package, source, dataset
        if getattr(source, "_is_generated", False):
            raise UsageError(
                "a view of patches, clips or frames has other samples; give the view it was made of"
            )
        self.root = source._dataset
        self.facts = self.root.info.get(INFO)
        if self.facts is None:
            raise UsageError(
                f"{self.root.name!r} was not made by to_fiftyone: it has no record of it"
            )
        self.plan = msgspec.json.decode(self.facts["plan"], type=Plan)
        gone = {p.layer for p in self.plan.layers} - set(dataset.meta.layers)
        if gone:
            raise UsageError(f"the dataset has no layer {', '.join(sorted(gone))}, which was sent")
        self.keys = {k: i for i, k in enumerate(dataset.samples(["key"])["key"].to_pylist())}
        self.row_of: dict[str, int] = {}
        runs = [*self.root.list_evaluations()]
        self.ignored = frozenset(f"{r}{end}" for r in runs for end in ("", "_id", "_iou"))

    def read(self) -> Found:
        """Everything, in one pass over the samples."""
        found = Found(edits={p.layer: Edits() for p in self.plan.layers})
        masks = MaskReader(self.dataset.meta.map_root or self.dataset.meta.media_root)
        others = self._other_fields(found)
        for documents, rows in self._blocks(found, others):
            self._compare(documents, rows, masks, found)
            self._tags(documents, rows, found)
            for name in others:
                self._others(name, documents, rows, found)
        self._drop_sent_tags(found)
        found.view = self._view()
        return found

    def _other_fields(self, found: Found) -> list[str]:
        """Label fields that are not ours; other new fields of samples are noted."""
        ours = {f for p in self.plan.layers for f in p.fields.values()}
        ours |= {v.field for v in self.plan.samples} | {"granum_key", "granum_sent", "group"}
        ours |= set(self.package.Sample("x").field_names)
        out = []
        for name, kind in self.root.get_field_schema().items():
            document = getattr(kind, "document_type", None)
            if name in ours:
                continue
            if document is not None and issubclass(document, self.package.Label):
                out.append(name)
            else:
                found.note(f"new field {name} of samples")
        return out

    def _blocks(
        self, found: Found, others: list[str]
    ) -> Iterator[tuple[list[Document], list[int]]]:
        """Samples that are ours, some at a time, with their dataset rows."""
        wanted = ["granum_key", "granum_sent", "tags", "filepath", *others]
        wanted += [f for p in self.plan.layers for f in p.fields.values()]
        documents: list[Document] = []
        rows: list[int] = []
        seen: set[int] = set()
        for document in self.root._sample_collection.find({}, dict.fromkeys(wanted, 1)):
            row = self.keys.get(document.get("granum_key"))
            if row is None:
                found.note("samples that the dataset does not have")
                continue
            if row in seen:
                found.note("second samples of one key")
                continue
            seen.add(row)
            self.row_of[str(document["_id"])] = row
            documents.append(document)
            rows.append(row)
            if len(rows) == BATCH:
                yield documents, rows
                documents, rows = [], []
        if rows:
            yield documents, rows

    def _compare(
        self, documents: list[Document], rows: list[int], masks: MaskReader, found: Found
    ) -> None:
        chosen = self.dataset.select(rows)
        for chunk in chunks(chosen, [p.layer for p in self.plan.layers]):
            span = slice(chunk.start, chunk.start + chunk.samples.num_rows)
            here, theirs = rows[span], documents[span]
            sent = pa.array([i for d in theirs for i in d.get("granum_sent") or ()], pa.int64())
            for layer, table in chunk.layers.items():
                known = pc.is_in(table["annotation_id"], value_set=sent)
                chunk.layers[layer] = table.filter(known)
            files = [Path(d["filepath"]) for d in theirs]
            layers, sizes = labels_of(self.dataset, chunk, self.plan, masks, files)
            for plan, labels in zip(self.plan.layers, layers, strict=True):
                ids = chunk.layers[plan.layer]["annotation_id"].to_pylist()
                at, edits = chunk.places(plan.layer), found.edits[plan.layer]
                compare(theirs, here, plan, labels, at, ids, self.ignored, edits)
            relative = is_relative(chunk.samples).tolist()
            for row, size, file, inside in zip(here, sizes.tolist(), files, relative, strict=True):
                found.frames[row] = _frame(size, file, inside)

    def _tags(self, documents: list[Document], rows: list[int], found: Found) -> None:
        for document, row in zip(documents, rows, strict=True):
            for tag in document.get("tags") or ():
                found.tags.setdefault(tag, []).append(row)
            for plan in self.plan.layers:
                for key, name in plan.fields.items():
                    for label in labels_in(document, name, key, key in plan.single):
                        number = label.get("granum_id")
                        if number is None:
                            continue
                        for tag in label.get("tags") or ():
                            of_row = found.label_tags.setdefault(tag, {}).setdefault(row, [])
                            if number not in of_row:
                                of_row.append(number)

    def _others(self, name: str, documents: list[Document], rows: list[int], found: Found) -> None:
        """Labels of a field that is not ours."""
        for document, row in zip(documents, rows, strict=True):
            value = document.get(name)
            if value is None:
                continue
            inside = next(
                (k for k, v in value.items() if isinstance(v, list) and k != "tags"), None
            )
            listed = isinstance(inside, str) and value["_cls"].lower() == inside
            for label in value[inside] if listed else [value]:
                key = Applier.key_of(label["_cls"])
                if key is None:
                    found.note(f"labels of {name} ({label['_cls']})")
                else:
                    found.fields.setdefault(name, []).append((row, key, label))

    def _drop_sent_tags(self, found: Found) -> None:
        """Splits were sent as tags: those that still hold the same samples say nothing new."""
        splits = column(self.dataset.samples(["split"]), "split").cast(pa.string())
        for split in splits.drop_null().unique().to_pylist():
            mine = set(np.flatnonzero(np.asarray(pc.fill_null(pc.equal(splits, split), False))))
            mine &= set(self.row_of.values())
            if set(found.tags.get(split, ())) == mine:
                found.tags.pop(split, None)

    def _view(self) -> View | None:
        """What the source shows; None where it is all that was sent, in its order."""
        source = self.source
        if getattr(source, "_is_dynamic_groups", False):
            source = source.flatten()
        ids = [i for i in source.values("id") if i in self.row_of]
        rows = list(dict.fromkeys(self.row_of[i] for i in ids))
        picks = None if source is self.root else self._picks(source, ids)
        key_of = {row: key for key, row in self.keys.items()}
        if picks is None and digest([key_of[r] for r in rows]) == self.facts["keys"]:
            return None
        return View(rows, picks)

    def _picks(self, source: Any, ids: list[str]) -> list[list[int] | None] | None:
        """For each sample the ids left where labels are filtered; None where no label is."""
        shown = source.get_field_schema()
        hidden: list[set[int]] = [set() for _ in ids]
        whole = self.root.select(ids, ordered=True)
        for plan in self.plan.layers:
            for key, name in plan.fields.items():
                if key == "captions" or name not in shown:
                    continue
                inside = "" if key in plan.single else f".{form_of(key).inside}"
                path = f"{name}{inside}.granum_id"
                before, after = whole.values(path), source.values(path)
                for gone, b, a in zip(hidden, before, after, strict=True):
                    gone |= _ids(b) - _ids(a)
        if not any(hidden):
            return None
        sent = whole.values("granum_sent")
        return [
            [i for i in of_sample or () if i not in gone] if gone else None
            for of_sample, gone in zip(sent, hidden, strict=True)
        ]


def _ids(value: Any) -> set[int]:
    if value is None:
        return set()
    return {value} if isinstance(value, int) else {i for i in value if i is not None}


def _frame(size: list[float], file: Path, relative: bool) -> Frame:
    def pixels() -> tuple[int, int]:
        return (int(size[0]), int(size[1])) if size[0] == size[0] else image_size(file)

    return Frame(pixels, relative)
