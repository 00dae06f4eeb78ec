"""Writing COCO: the same files that were read, or one set of files per split."""

from __future__ import annotations

import json
import mmap
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
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
from granum.schema import rows, tables
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["Target", "image_paths", "targets", "write_coco"]

_AFTER = 1 << 50
_ALWAYS_IMAGE = frozenset({"id"})
_TASKS = {"object": "instances", "caption": "captions", "label": "labels"}


@dataclass
class Target:
    """One JSON file to write.

    Attributes:
        origin: the source it stands for, or None for rows that no COCO file held.
        split: for files made anew, the split of its samples.
        kinds: for files made anew, the kinds of its annotations.
        prefix: folder of the images, which ``file_name`` leaves out.
        takes_loose: rows that no COCO file held go here too.
        results: the file is a list of predictions.
    """

    name: str
    origin: int | None
    top: dict[str, Any] = field(default_factory=lambda: {"keys": [], "values": {}})
    records: list[tuple[int | None, Any]] = field(default_factory=list)
    split: str | None = None
    kinds: tuple[str, ...] = ()
    prefix: str = ""
    takes_loose: bool = False
    results: bool = False


def coco_sources(dataset: Dataset) -> dict[int, rows.Source]:
    """The sources that are COCO files, by number."""
    listed: list[rows.Source] = rows.sources_from_table(dataset.sources)
    return {i: s for i, s in enumerate(listed) if s.format == "coco" and s.top is not None}


def targets(dataset: Dataset, single: str | None, results: bool) -> list[Target]:
    """The files that a dataset is written to.

    Raises:
        UsageError: it comes from several files, and one is asked for.
    """
    if results:
        if single is None:
            raise UsageError("results are one list: name a .json file")
        return [Target(single, None, results=True)]
    known = [
        Target(
            s.path,
            i,
            s.top,
            [tuple(r) for r in s.categories or []],
            prefix=(s.options or {}).get("prefix", ""),
        )
        for i, s in coco_sources(dataset).items()
    ]
    if single is not None:
        if len(known) > 1:
            names = ", ".join(t.name for t in known)
            raise UsageError(
                f"the dataset comes from {len(known)} COCO files ({names}): name a folder"
            )
        if known:
            known[0].name, known[0].takes_loose = single, True
            return known
        return [Target(single, None, kinds=tuple(_TASKS), takes_loose=True)]
    made = []
    for split, kinds in _loose(dataset, {t.origin for t in known}).items():
        for kind, task in _TASKS.items():
            if kind in kinds:
                name = f"annotations/{task}{'' if split is None else '_' + split}.json"
                made.append(Target(name, None, split=split, kinds=(kind,)))
    return _distinct([*known, *made])


def _distinct(listed: list[Target]) -> list[Target]:
    """File names, told apart where they repeat (merged datasets)."""
    seen: dict[str, int] = {}
    for target in listed:
        n = seen[target.name] = seen.get(target.name, 0) + 1
        if n > 1:
            stem, dot, suffix = target.name.rpartition(".")
            target.name = f"{stem}-{n}{dot}{suffix}"
    return listed


def _is_loose(origins: pa.ChunkedArray, known: set[int | None]) -> Array:
    """Rows that came from none of the known files."""
    if origins.null_count == len(origins) or not known:
        return np.ones(len(origins), bool)
    array = origins.combine_chunks()
    lengths = np.asarray(array.value_lengths().fill_null(0), np.int64)
    row = np.repeat(np.arange(len(array)), lengths)
    inside = np.isin(np.asarray(array.flatten()), [k for k in known if k is not None])
    out = np.ones(len(array), bool)
    out[row[inside]] = False
    return out


def _loose(dataset: Dataset, known: set[int | None]) -> dict[str | None, set[str]]:
    """Splits with samples or annotations that no COCO file held, and the kinds there."""
    out: dict[str | None, set[str]] = {}
    for batch in dataset.iter_batches():
        splits = column(batch.samples, "split").cast(pa.string()).to_pylist()
        for i in np.flatnonzero(_is_loose(column(batch.samples, "origins"), known)).tolist():
            out.setdefault(splits[i], {"object"})
        table = batch.annotations
        loose = _is_loose(column(table, "origins"), known)
        if loose.any():
            kinds = column(table, "kind").cast(pa.string()).to_pylist()
            sample = column(table, "sample").to_pylist()
            for i in np.flatnonzero(loose).tolist():
                if sample[i] is not None and kinds[i] in _TASKS:
                    out.setdefault(splits[sample[i] - batch.start], set()).add(kinds[i])
    return out


def write_coco(dataset: Dataset, out: Out, results: bool) -> None:
    """Write all files."""
    ids = _Ids(dataset)
    shapes = [tuple(tuple(k) for k in s) for s in dataset.meta.shapes]
    for target in targets(dataset, out.single, results):
        _Writer(dataset, target, ids, shapes, out).run()


class _Ids:
    """Ids of images, annotations and categories; new ones for rows that have none."""

    def __init__(self, dataset: Dataset) -> None:
        self.next_image = _highest(p.samples() for p in dataset.parts) + 1
        name = dataset.meta.layer
        self.next_annotation = _highest(p.layer(name) for p in dataset.parts) + 1
        self.new_images = dict[int, int]()
        self.given_annotations = 0
        used: set[str] = set()
        self.categories: list[str] = []
        given = column(dataset.categories, "source_id", tables.CATEGORIES).to_pylist()
        numbers = [int(g) for g in given if g is not None and g.isdecimal()]
        following = max(numbers, default=0) + 1
        for value in given:
            if value is None or value in used:
                value, following = str(following), following + 1
            used.add(value)
            self.categories.append(value)

    def images(self, samples: pa.Table, start: int) -> pa.Array:
        """Stored or new ids of samples as texts."""
        given = column(samples, "source_id").combine_chunks()
        if not given.null_count:
            return given
        values = given.to_pylist()
        for i, value in enumerate(values):
            if value is None:
                if start + i not in self.new_images:
                    self.new_images[start + i] = self.next_image
                    self.next_image += 1
                values[i] = str(self.new_images[start + i])
        return pa.array(values, pa.string())

    def annotations(self, given: pa.Array) -> pa.Array:
        if not given.null_count:
            return given
        values = given.to_pylist()
        for i, value in enumerate(values):
            if value is None:
                values[i] = str(self.next_annotation)
                self.next_annotation += 1
        return pa.array(values, pa.string())


def _highest(listed: Iterable[pa.Table]) -> int:
    top = 0
    for table in listed:
        ids = column(table, "source_id")
        if ids.null_count < len(ids):
            whole = ids.filter(pc.match_substring_regex(ids, r"^[0-9]{1,18}$"))
            if len(whole):
                top = max(top, pc.max(whole.cast(pa.int64())).as_py())
    return top


class _Writer:
    """Writes one file: records are made part by part, spilled, and put in the source's order."""

    def __init__(
        self, dataset: Dataset, target: Target, ids: _Ids, shapes: Sequence[Any], out: Out
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
        self.known: set[int | None] = {*coco_sources(dataset)}

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
            image_order, annotation_order = _Order(images), _Order(annotations)
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

    def _spill(self, made: Any, images: _Order, annotations: _Order) -> None:
        images.add(*made[0])
        annotations.add(*made[1])

    def _document(self, file: IO[bytes], images: _Order, annotations: _Order) -> None:
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
                file.write(b'{"description": "written by granum"}')
            else:
                file.write(
                    json.dumps(values.get(key), ensure_ascii=False).encode("utf-8", "surrogatepass")
                )
        file.write(b"}")

    def _categories(self) -> list[Any]:
        listed: list[rows.Category] = rows.categories_from_table(self.dataset.categories)
        out, done = [], set()
        for row, record in self.target.records:
            if row is None:
                out.append(record)
            else:
                done.add(row)
                out.append(_category_record(listed[row], record["id"], record))
        if self.target.origin is not None:
            rest = sorted(self.used - done)
        else:
            rest = [] if self.target.kinds == ("caption",) else list(range(len(listed)))
        ids = self.category_ids.to_pylist()
        return out + [_category_record(listed[i], json.loads(ids[i]), None) for i in rest]

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
        loose = _is_loose(column(table, "origins"), self.known)
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
        loose = _is_loose(column(batch.samples, "origins"), self.known)
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
            _complete(made, table, keys)
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


def _complete(texts: Texts, table: pa.Table, keys: Sequence[Any]) -> None:
    """Records made anew get what COCO tools expect: iscrowd, and an area for every object."""
    fresh = np.array([k is None for k in keys], bool)
    if not fresh.any():
        return
    kinds = column(table, "kind").cast(pa.string())
    objects = np.asarray(pc.fill_null(pc.equal(kinds, "object"), False)) & fresh
    if not objects.any():
        return
    n = table.num_rows
    at = pa.array(objects)
    zero = pc.if_else(at, pa.scalar("0"), pa.scalar(None, pa.string()))
    texts["iscrowd"] = pc.coalesce(texts.get("iscrowd", pa.nulls(n, pa.string())), zero)


def _category_record(category: rows.Category, id_: Any, record: Any) -> dict[str, Any]:
    """A category as a record: as written where nothing changed."""
    now: dict[str, Any] = {
        "id": id_,
        "name": category.name,
        "supercategory": category.supercategory,
        "keypoints": category.keypoints,
        "skeleton": None
        if category.skeleton is None
        else [[v + 1 for v in p] for p in category.skeleton],
        "isthing": None if category.isthing is None else int(category.isthing),
        "color": category.colour,
    }
    if record is None:
        return {k: v for k, v in {**now, **(category.extra or {})}.items() if v is not None}
    out = dict(record)
    for key in ("name", "supercategory"):
        if key in record and isinstance(record[key], str) and now[key] is not None:
            out[key] = now[key]
    return out


def image_paths(samples: pa.Table, prefix: str) -> list[str | None]:
    """``file_name`` of each sample: its key without the folder that the source left out."""
    keys = samples["key"].to_pylist()
    return [k.removeprefix(prefix) for k in keys]


class _Order:
    """Texts spilled to a file as they come, written out by position."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.starts: list[Array] = []
        self.lengths: list[Array] = []
        self.positions: list[Array] = []
        self.size = 0

    def __bool__(self) -> bool:
        return self.size > 0

    def add(self, texts: pa.Array, positions: Array) -> None:
        if not len(texts):
            return
        array = texts.cast(pa.large_binary())
        offsets = np.frombuffer(array.buffers()[1], np.int64)[
            array.offset : array.offset + len(array) + 1
        ]
        data = memoryview(array.buffers()[2])[int(offsets[0]) : int(offsets[-1])]
        self.file.write(data)
        self.starts.append(offsets[:-1] - offsets[0] + self.size)
        self.lengths.append(np.diff(offsets))
        self.positions.append(positions)
        self.size += len(data)

    def write(self, file: IO[bytes]) -> None:
        """The list, in order of positions."""
        file.write(b"[")
        if self.size:
            self.file.flush()
            order = np.argsort(np.concatenate(self.positions), kind="stable")
            starts, lengths = (
                np.concatenate(self.starts)[order],
                np.concatenate(self.lengths)[order],
            )
            with mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                for piece in _pieces(data, starts, lengths):
                    file.write(piece)
        file.write(b"]")


def _pieces(data: Any, starts: Array, lengths: Array, size: int = 8192) -> Iterator[bytes]:
    ends = (starts + lengths).tolist()
    begin = starts.tolist()
    for i in range(0, len(begin), size):
        joined = b", ".join(
            [data[s:e] for s, e in zip(begin[i : i + size], ends[i : i + size], strict=True)]
        )
        yield (b", " if i else b"") + joined
    return
