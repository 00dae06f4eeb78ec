"""Formats whose files are small enough for row objects: ``RowFormat``, and loops over rows.

A format that inherits ``RowFormat`` says, one annotation at a time, what of it comes back
(``keep``); project and the loss report follow from that.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from granum.loaders._map_masks import maps_as_rle
from granum.loaders._notes import category_names
from granum.loaders._paths import split_folders, unique_paths
from granum.loaders._units import in_unit
from granum.loaders.base import Format, keep_columns
from granum.schema import rows, tables
from granum.schema.attributes import PREFIX, fits
from granum.schema.tables import column, with_column, without_columns
from granum.store.dataset import Dataset
from granum.store.parts import Batch

__all__ = [
    "Box",
    "Context",
    "RowFormat",
    "bare",
    "box_of",
    "cornered",
    "corners_of",
    "group_rows",
    "sample_rows",
]


@dataclass(frozen=True)
class Context:
    """What ``keep`` may ask about the whole.

    Attributes:
        categories: of the dataset; ``names``: for each the name that files use, each one once.
        groups: of the dataset.
        options: of the writer.
        plan: what the format's ``plan`` found out about the dataset.
    """

    categories: Sequence[rows.Category]
    names: Sequence[str]
    groups: Sequence[rows.Group]
    options: Mapping[str, Any]
    plan: Any = None


Box = tuple[float, float, float, float]


def corners_of(box: Box) -> Box:
    """x1, y1, x2, y2 of x, y, width, height."""
    x, y, w, h = box
    return x, y, x + w, y + h


def box_of(corners: Box) -> Box:
    """x, y, width, height of x1, y1, x2, y2."""
    x1, y1, x2, y2 = corners
    return x1, y1, x2 - x1, y2 - y1


def cornered(box: Box) -> Box | None:
    """The box that comes back when this one is written as corners: sums round, so its size may
    move by what a float cannot hold. None where it is not finite."""
    for _ in range(8):
        again = box_of(corners_of(box))
        if again == box:
            return box
        box = again
    return None


def bare(one: rows.Annotation) -> rows.Annotation:
    """Nothing of an annotation but its kind, its category, and which one it is."""
    return rows.Annotation(
        one.kind, one.category, annotation_id=one.annotation_id, sample=one.sample
    )


def sample_rows(dataset: Dataset) -> Iterator[rows.Sample]:
    """Each sample with the annotations of the current layer, as row objects."""
    for batch in dataset.iter_batches():
        offsets = batch.offsets()
        annotations = rows.annotations_from_table(batch.annotations)
        for i, sample in enumerate(rows.samples_from_table(batch.samples)):
            sample.annotations = annotations[offsets[i] : offsets[i + 1]]
            yield sample


def group_rows(dataset: Dataset) -> list[rows.Annotation]:
    """Annotations of whole groups, as row objects."""
    out: list[rows.Annotation] = []
    for batch in dataset.iter_batches():
        whole = batch.annotations.slice(int(batch.offsets()[-1]))
        out += rows.annotations_from_table(whole)
    return out


class RowFormat(Format):
    """Base of formats that are read and written a row object at a time.

    Attributes:
        unit: ``pixel`` or ``relative``: what coordinates are written in; None: as they are.
        folder: where images go in a written tree.
        by_split: each split has a folder, with ``folder`` in it.
        flat: images lie in one folder, without folders below it.
        stems: no two images differ in their suffix only.
        map_masks: masks in label images become run lengths, where the images are at hand.
    """

    unit: ClassVar[str | None] = "pixel"
    folder: ClassVar[str] = "images"
    by_split: ClassVar[bool] = False
    flat: ClassVar[bool] = False
    stems: ClassVar[bool] = False
    map_masks: ClassVar[bool] = False

    def __init__(self) -> None:
        self._context: tuple[Dataset, Context] | None = None

    def plan(self, dataset: Dataset, **options: Any) -> Any:
        """What ``keep`` has to know of the whole dataset; asked for once."""
        return None

    def keep(
        self, annotation: rows.Annotation, sample: rows.Sample | None, context: Context
    ) -> rows.Annotation | None:
        """What comes back of an annotation, already without what ``keeps`` does not name; None
        where nothing does. ``sample`` is None for annotations of a whole group. The object may be
        changed and returned; its ``annotation_id`` and ``sample`` stay."""
        return annotation

    def keep_sample(self, sample: rows.Sample, context: Context) -> rows.Sample:
        """What comes back of a sample; key and number of samples stay."""
        return sample

    def rank(self, annotation: rows.Annotation) -> Any:
        """Where an annotation comes in its sample when read back; equal ranks keep their order."""
        return 0

    def elsewhere(self, context: Context) -> Collection[int]:
        """Ids of rows of any batch that come back, which references may name; batches are looked
        at one by one, and other references across them do not come back."""
        return ()

    def once(self, annotation: rows.Annotation) -> Any:
        """What stands in a file once for each sample: of annotations of one sample with an equal
        key that is not None, the first comes back."""
        return None

    def project(self, batch: Batch, dataset: Dataset, **options: Any) -> Batch:
        """See ``Format.project``; made of ``keep``, ``keep_sample`` and ``rank``.

        References to rows that do not come back are dropped, and relations with such an end.
        """
        if self.unit is not None:
            batch = in_unit(batch, dataset, self.unit)
        if self.map_masks and "map" in batch.annotations.column_names:
            table = maps_as_rle(batch.annotations, batch.samples, batch.start, dataset)
            batch = Batch(batch.samples, without_columns(table, ["map"]), batch.start)
        batch = keep_columns(batch, self.keeps)
        context = self.context(dataset, options)
        samples = rows.samples_from_table(batch.samples)
        kept: list[rows.Annotation] = []
        seen: set[Any] = set()
        for one in rows.annotations_from_table(batch.annotations):
            of = None if one.sample is None else samples[one.sample - batch.start]
            left = self.keep(one, of, context)
            key = None if left is None else self.once(left)
            if left is None or (key is not None and (left.sample, key) in seen):
                continue
            seen.add((left.sample, key))
            kept.append(left)
        last = batch.start + len(samples)
        kept.sort(key=lambda a: (last if a.sample is None else a.sample, self.rank(a)))
        kept = _with_ends(kept, self.elsewhere(context))
        table = rows.annotations_to_table(kept, [a.sample for a in kept])
        if not kept:
            table = tables.empty(tables.ANNOTATIONS)
        changed = rows.samples_to_table([self.keep_sample(s, context) for s in samples])
        return Batch(_typed(changed, batch.samples), _typed(table, batch.annotations), batch.start)

    def context(self, dataset: Dataset, options: Mapping[str, Any]) -> Context:
        """What ``keep`` may ask, made once for a dataset and the same options."""
        known = self._context
        if known is None or known[0] is not dataset or known[1].options != options:
            categories = rows.categories_from_table(dataset.categories)
            names, groups = category_names(categories), rows.groups_from_table(dataset.groups)
            plan = self.plan(dataset, **options)
            known = self._context = (dataset, Context(categories, names, groups, options, plan))
        return known[1]

    def project_categories(self, categories: pa.Table) -> pa.Table:
        """All of them: the notes hold what the files do not."""
        return categories

    def paths(self, dataset: Dataset) -> list[str]:
        """Where the image of each sample belongs in the written tree: its key below ``folder``,
        unless it says that already."""
        table = dataset.samples(["key", "split"])
        keys, splits = table["key"].to_pylist(), column(table, "split").to_pylist()
        folders = split_folders(splits) if self.by_split else dict.fromkeys(splits, "")
        below = [f"{folders[s]}/{self.folder}".strip("/") for s in splits]
        return unique_paths(keys, below, flat=self.flat, stems=self.stems)

    def image_names(self, dataset: Dataset) -> Iterator[Sequence[str]]:
        yield self.paths(dataset)


def _with_ends(kept: list[rows.Annotation], elsewhere: Collection[int]) -> list[rows.Annotation]:
    """Without references to rows that are neither there nor elsewhere."""
    before = len(kept) + 1
    there: set[int | None] = set()
    while len(kept) < before:  # a relation may be an end of another
        before = len(kept)
        there = {None, *elsewhere, *(a.annotation_id for a in kept)}
        kept = [a for a in kept if a.kind != "relation" or {a.subject, a.object} <= there]
    for one in kept:
        if one.parent not in there:
            one.parent = None
    return kept


def _typed(table: pa.Table, before: pa.Table) -> pa.Table:
    """``table`` with attributes in typed columns where ``before`` had them there."""
    names = [n for n in before.column_names if n.startswith(PREFIX)]
    if names and "attributes" in table.column_names:
        texts = table["attributes"].to_pylist()
        objects = [None if t is None else json.loads(t) for t in texts]
        for name in names:
            plain, kind = name.removeprefix(PREFIX), before[name].type
            values = [
                o.pop(plain) if o is not None and plain in o and fits(o[plain], kind) else None
                for o in objects
            ]
            table = with_column(table, name, rows.column_array(values, kind))
        # An object that was emptied here is absent; one that was empty before stays.
        left = [
            None if o is None or (not o and t != "{}") else json.dumps(o, ensure_ascii=False)
            for o, t in zip(objects, texts, strict=True)
        ]
        table = with_column(table, "attributes", pa.array(left, pa.string()))
    return tables.strip_null_columns(table)
