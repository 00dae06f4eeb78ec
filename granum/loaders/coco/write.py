"""Writing COCO: the same files that were read, or one set of files per split."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders.coco.fragments import (
    ANNOTATION_ORDER,
    IMAGE_ORDER,
    Array,
    Texts,
    annotation_texts,
    assemble,
    ids_as_json,
    image_texts,
)
from granum.loaders.coco.fragments import (
    image_ids as true_ids,
)
from granum.loaders.coco.fresh import Ids, category_record, image_paths
from granum.loaders.coco.spill import Spill
from granum.loaders.coco.targets import Target, coco_sources, is_loose, targets
from granum.schema import rows, tables
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["unstated", "write_coco"]

_AFTER = 1 << 50
_ALWAYS_IMAGE = frozenset({"id"})


def write_coco(dataset: Dataset, out: Out, results: bool) -> None:
    """Write all files."""
    ids = Ids(dataset)
    shapes = [tuple(tuple(k) for k in s) for s in dataset.meta.shapes]
    for target in targets(dataset, out.single, results):
        _Writer(dataset, target, ids, shapes, out).run()


class _Writer:
    """Writes one file: records are made part by part, spilled, and put in the source's order."""

    def __init__(
        self, dataset: Dataset, target: Target, ids: Ids, shapes: Sequence[Any], out: Out
    ) -> None:
        self.dataset, self.target, self.ids, self.shapes, self.out = (
            dataset,
            target,
            ids,
            shapes,
            out,
        )
        self.category_ids = self._category_ids()
        self.used: set[int] = set()
        self.crowd_unstated = self._is_crowd_unstated()
        self.known: set[int | None] = {*coco_sources(dataset)}

    def _is_crowd_unstated(self) -> bool:
        """Whether this file gets ``iscrowd: 0`` for annotations that do not say: its tools expect
        the key. Only where no annotation says, so that the file can tell what it means."""
        if self.target.origin is not None:
            info = self.target.top["values"].get("info")
            return "iscrowd" in unstated(info)
        layer = self.dataset.meta.layer
        crowds = (column(p.layer(layer), "crowd") for p in self.dataset.parts)
        return all(c.null_count == len(c) for c in crowds)

    def _category_ids(self) -> pa.Array:
        """JSON text of each category row's id in this file."""
        own = {row: record["id"] for row, record in self.target.records if row is not None}
        fresh = ids_as_json(pa.array(self.ids.categories, pa.string())).to_pylist()
        return pa.array(
            [
                json.dumps(own[i], ensure_ascii=False) if i in own else f
                for i, f in enumerate(fresh)
            ],
            pa.string(),
        )

    def run(self) -> None:
        with (
            self.out.open(self.target.name) as file,
            tempfile.TemporaryFile(dir=self.out.root) as images,
            tempfile.TemporaryFile(dir=self.out.root) as annotations,
        ):
            image_order, annotation_order = Spill(images), Spill(annotations)
            with ThreadPoolExecutor(2, thread_name_prefix="granum-text") as pool:
                waiting = []
                for batch in self.dataset.iter_batches(16_384):
                    prepared = self._prepare(batch)
                    waiting.append(pool.submit(self._texts, batch, *prepared))
                    if len(waiting) > 2:
                        self._spill(waiting.pop(0).result(), image_order, annotation_order)
                for future in waiting:
                    self._spill(future.result(), image_order, annotation_order)
            if self.target.results:
                annotation_order.write(file)
            else:
                self._document(file, image_order, annotation_order)

    def _spill(self, made: Any, images: Spill, annotations: Spill) -> None:
        images.add(*made[0])
        annotations.add(*made[1])

    def _document(self, file: IO[bytes], images: Spill, annotations: Spill) -> None:
        keys = self.target.top["keys"] or ["info", "images", "annotations", "categories"]
        values = self.target.top["values"]
        missing = [
            k for k, o in (("images", images), ("annotations", annotations)) if o and k not in keys
        ]
        categories = self._categories()
        if "categories" not in keys and categories:
            missing.append("categories")
        file.write(b"{")
        for i, key in enumerate([*keys, *missing]):
            file.write(
                (", " if i else "").encode() + json.dumps(key, ensure_ascii=False).encode() + b": "
            )
            if key == "images":
                images.write(file)
            elif key == "annotations":
                annotations.write(file)
            elif key == "categories":
                file.write(
                    json.dumps(categories, ensure_ascii=False).encode("utf-8", "surrogatepass")
                )
            elif key == "info" and key not in values:
                file.write(json.dumps(self._info(), ensure_ascii=False).encode())
            else:
                file.write(
                    json.dumps(values.get(key), ensure_ascii=False).encode("utf-8", "surrogatepass")
                )
        file.write(b"}")

    def _info(self) -> dict[str, Any]:
        """What the file says of itself; the reader takes the split, and what was not stated."""
        facts: dict[str, Any] = {}
        if self.target.split is not None:
            facts["split"] = self.target.split
        if self.crowd_unstated:
            facts["unstated"] = ["iscrowd"]
        return {"description": "written by granum", **({"granum": facts} if facts else {})}

    def _categories(self) -> list[Any]:
        listed: list[rows.Category] = rows.categories_from_table(self.dataset.categories)
        out, done = [], set()
        for row, record in self.target.records:
            if row is None:
                out.append(record)
            else:
                done.add(row)
                out.append(category_record(listed[row], record["id"], record))
        if self.target.origin is not None:
            rest = sorted(self.used - done)
        else:
            # Categories of one name are told apart by their order, so a part of them is no list.
            distinct = len({(c.space or "object", c.name) for c in listed}) == len(listed)
            few = self.target.kinds == ("caption",) and distinct
            rest = sorted(self.used) if few else list(range(len(listed)))
        ids = self.category_ids.to_pylist()
        return out + [category_record(listed[i], json.loads(ids[i]), None) for i in rest]

    # ------------------------------------------------------------------ records of one batch

    def _prepare(self, batch: Batch) -> tuple[pa.Array, Array, Array, pa.Table, Array]:
        """What must be done in order: choosing rows and giving new ids."""
        ids = self.ids.images(batch.samples, batch.start)
        chosen, positions = self._annotations_here(batch)
        mine, ordinal = self._samples_here(batch, chosen)
        table = batch.annotations.take(pa.array(chosen))
        self.used |= {*column(table, "category").drop_null().unique().to_pylist()}
        if not self.target.results:
            given = self.ids.annotations(column(table, "source_id").combine_chunks())
            table = tables.with_column(table, "source_id", given)
        return ids, mine, ordinal, table, positions

    def _from_here(self, table: pa.Table) -> tuple[Array, Array]:
        """Rows that came from this file, and their positions in it."""
        origins, ordinals = column(table, "origins"), column(table, "ordinal")
        if self.target.origin is None or origins.null_count == len(origins):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        array = origins.combine_chunks()
        lengths = np.asarray(array.value_lengths().fill_null(0), np.int64)
        row = np.repeat(np.arange(len(array)), lengths)
        here = np.asarray(array.flatten()) == self.target.origin
        return row[here], np.asarray(ordinals.combine_chunks().flatten(), np.int64)[here]

    def _annotations_here(self, batch: Batch) -> tuple[Array, Array]:
        table = batch.annotations
        rows_, positions = self._from_here(table)
        loose = is_loose(column(table, "origins"), self.known)
        loose &= np.asarray(column(table, "sample").is_valid())
        if self.target.results:
            loose[:] = True
        elif not self.target.takes_loose:
            if self.target.origin is not None:
                return rows_, positions
            kinds = column(table, "kind").cast(pa.string())
            loose &= np.asarray(pc.is_in(kinds, pa.array(self.target.kinds)))
            sample = np.asarray(column(table, "sample").fill_null(batch.start), np.int64)
            loose &= self._of_split(batch)[sample - batch.start]
        more = np.flatnonzero(loose)
        # Rows from elsewhere follow those of the file, in the dataset's order.
        after = _AFTER + (batch.start << 20) + more
        return np.concatenate([rows_, more]), np.concatenate([positions, after])

    def _of_split(self, batch: Batch) -> Array:
        splits = column(batch.samples, "split").cast(pa.string()).to_pylist()
        return np.array([s == self.target.split for s in splits], bool)

    def _samples_here(self, batch: Batch, annotations: Array) -> tuple[Array, Array]:
        rows_, positions = self._from_here(batch.samples)
        if self.target.origin is not None and not self.target.takes_loose:
            return rows_, positions
        loose = is_loose(column(batch.samples, "origins"), self.known)
        if not self.target.takes_loose:
            loose &= self._of_split(batch)
            # Also images of other files on which this file has annotations.
            sample = column(batch.annotations, "sample").take(pa.array(annotations))
            loose[np.asarray(sample, np.int64) - batch.start] = True
        more = np.flatnonzero(loose)
        return np.concatenate([rows_, more]), np.concatenate(
            [positions, _AFTER + batch.start + more]
        )

    def _texts(
        self,
        batch: Batch,
        ids: pa.Array,
        mine: Array,
        ordinal: Array,
        table: pa.Table,
        positions: Array,
    ) -> Any:
        """Records as texts with their positions; runs beside others."""
        image_ids = true_ids(batch.samples, ids)
        names = image_paths(batch.samples, self.target.prefix)
        samples = batch.samples.take(pa.array(mine))
        texts = image_texts(
            samples, image_ids.take(pa.array(mine)), [names[i] for i in mine.tolist()]
        )
        images = assemble(
            texts, column(samples, "extra"), self._keys(samples), IMAGE_ORDER, _ALWAYS_IMAGE
        )
        sample = np.asarray(column(table, "sample").fill_null(batch.start), np.int64) - batch.start
        category = column(table, "category").combine_chunks()
        made = annotation_texts(
            table, image_ids.take(pa.array(sample)), self.category_ids.take(category)
        )
        keys = self._keys(table)
        if self.target.results:
            made.pop("num_keypoints", None)
        else:
            _complete(made, table, self.crowd_unstated)
        always = frozenset({"image_id"} if self.target.results else {"id", "image_id"})
        annotations = assemble(made, column(table, "extra"), keys, ANNOTATION_ORDER, always)
        return (images, ordinal), (annotations, positions)

    def _keys(self, table: pa.Table) -> list[tuple[str, ...] | None]:
        """The keys that each row's record had in this file, where it came from here."""
        shape = column(table, "shape")
        if shape.null_count == len(shape) or self.target.origin is None:
            return [None] * table.num_rows
        codes, origins = shape.to_pylist(), column(table, "origins").to_pylist()
        out: list[tuple[str, ...] | None] = []
        for code, listed in zip(codes, origins, strict=True):
            if code is None or not listed or self.target.origin not in listed:
                out.append(None)
                continue
            sets = self.shapes[code]
            k = listed.index(self.target.origin)
            out.append(sets[k] if k < len(sets) else None)
        return out


def _complete(texts: Texts, table: pa.Table, crowd_unstated: bool) -> None:
    """``iscrowd: 0`` for objects, where the file says that it was not stated."""
    kinds = column(table, "kind").cast(pa.string())
    if crowd_unstated and table.num_rows:
        objects = pc.fill_null(pc.equal(kinds, "object"), False).combine_chunks()
        zero = pc.if_else(objects, pa.scalar("0"), pa.scalar(None, pa.string()))
        texts["iscrowd"] = pc.coalesce(texts.get("iscrowd", zero), zero)


def unstated(info: Any) -> list[str]:
    """Keys of which a file that granum wrote says that their values were not stated."""
    facts = info.get("granum") if isinstance(info, dict) else None
    listed = facts.get("unstated") if isinstance(facts, dict) else None
    return listed if isinstance(listed, list) else []
