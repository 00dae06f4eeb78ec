"""LVIS: COCO's files, with classes verified absent or not annotated exhaustively.

::

    lvis_v1_train.json, lvis_v1_val.json      train2017/…  val2017/…

A JSON as COCO's, without ``iscrowd``; images have two lists of category ids, which are rows of kind
``label`` here: ``neg_category_ids`` (``present`` false: looked for, and not there) and
``not_exhaustive_category_ids`` (``exhaustive`` false: there, but not every one is annotated).
Categories have ``synonyms``, and ``frequency`` (r, c, f: rare, common, frequent), ``synset``,
``def``, ``image_count``, ``instance_count`` as attributes.

- v0.5 names images in ``file_name``; v1 does not: the end of ``coco_url``
  (``train2017/000000391895.jpg``, also for images of its val set) is where they are.
- Everything else is COCO's (see there): reading and writing back gives equal JSON. The lists are
  written from the label rows. A list with something in it that is no category's id stays in
  ``extra`` until the rows change.

Spec: https://www.lvisdataset.org/dataset and lvis-dataset/lvis-api.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders.base import Intake, formats, keep_columns
from granum.loaders.coco import Coco, has_negatives, look
from granum.loaders.coco.fresh import Ids
from granum.loaders.coco.project import project
from granum.loaders.coco.read import ends, read_coco
from granum.loaders.coco.targets import coco_sources
from granum.loaders.coco.write import write_coco
from granum.schema import rows, tables
from granum.schema.tables import column, with_column, without_columns
from granum.store.builder import Incoming
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch, concat

__all__ = ["Lvis"]

NEGATIVE, PARTIAL = "neg_category_ids", "not_exhaustive_category_ids"
_FLAG = {NEGATIVE: "present", PARTIAL: "exhaustive"}
_FACTS = ("frequency", "synset", "def", "image_count", "instance_count")
_PLACE = re.compile(r"([\w.-]+/[\w.-]+\.\w+)/?$")
_SPLIT = re.compile(r"lvis_.*?(train|val|test).*", re.IGNORECASE)

Mask = npt.NDArray[np.bool_]


@formats("lvis")
class Lvis(Coco):
    """See the module."""

    name = "lvis"
    title = "LVIS"
    spec = "https://www.lvisdataset.org/dataset"
    keeps = Coco.keeps | {"present", "exhaustive"}

    def sniff(self, root: Path) -> str | None:
        try:
            return look(root, _judge)
        except OSError:
            return None

    def read(self, root: Path, intake: Intake, *, results: str | None = None) -> Iterator[Incoming]:
        """Read a file or tree.

        Args:
            root: the file or folder.
            intake: findings and tables.
            results: result files (comma-separated) to add as prediction layers.
        """
        listed = [Path(r) for r in results.split(",")] if results else []
        keys: set[str] = set()
        for number, incoming in enumerate(read_coco(root, intake, listed, frozenset({"iscrowd"}))):
            if not number:
                _read_facts(intake.categories)
            yield _read_lists(_placed(incoming, intake, keys), intake)
        _read_facts(intake.categories)

    def write(
        self,
        dataset: Dataset,
        out: Out,
        *,
        results: bool = False,
        holes: Literal["refuse", "rle"] = "refuse",
    ) -> None:
        """Write one file or a tree; options as COCO's."""
        categories: list[rows.Category] = rows.categories_from_table(dataset.categories)
        _write_facts(categories)
        ids = _ids(dataset)
        shapes = [{k for keys in s for k in keys} for s in dataset.meta.shapes]
        changed = dataset.map_batches(lambda batch: _write_lists(batch, ids, shapes))
        table = rows.objects_to_table(categories, tables.CATEGORIES)
        prepared = Dataset(changed.parts, table, dataset.groups, dataset.sources, dataset.meta)
        write_coco(prepared, out, results)

    def project(
        self,
        batch: Batch,
        dataset: Dataset,
        *,
        results: bool = False,
        holes: Literal["refuse", "rle"] = "refuse",
    ) -> Batch:
        batch = keep_columns(batch, self.keeps)
        table, listed = batch.annotations, _listed(batch.annotations)
        labels = table.filter(pa.array(listed[NEGATIVE] | listed[PARTIAL]))
        others = _others(table, listed)
        batch = project(Batch(batch.samples, others, batch.start), dataset, holes)
        names = ("annotation_id", "sample", "kind", "category", "present", "exhaustive")
        labels = labels.select([n for n in names if n in labels.column_names])
        samples = batch.samples
        if "extra" in samples.column_names:
            ids, origins = _ids(dataset), column(samples, "origins").to_pylist()
            wanted = _lists(labels, batch.start, origins, ids)
            texts = samples["extra"].to_pylist()
            kept = [_kept(t, wanted, i, ids(origins[i])) for i, t in enumerate(texts)]
            samples = with_column(samples, "extra", pa.array(kept, pa.string()))
        together = concat([batch.annotations, labels], tables.ANNOTATIONS)
        order = np.argsort(np.asarray(together["sample"]), kind="stable")
        return Batch(samples, together.take(pa.array(order)), batch.start)

    def project_categories(self, categories: pa.Table) -> pa.Table:
        listed: list[rows.Category] = rows.categories_from_table(
            super().project_categories(categories)
        )
        _read_facts(listed)
        return rows.objects_to_table(listed, tables.CATEGORIES)


def _judge(path: Path) -> str | None:
    if path.suffix.lower() != ".json" or not has_negatives(b"".join(ends(path))):
        return None
    return "images with neg_category_ids, or categories with synset and frequency"


# ---------------------------------------------------------------------- categories


def _read_facts(categories: Sequence[rows.Category]) -> None:
    """LVIS's keys of categories are attributes."""
    for one in categories:
        extra, attributes = one.extra or {}, dict(one.attributes or {})
        for key in _FACTS:
            if key in extra and key not in attributes:
                attributes[key] = extra.pop(key)
        one.extra = extra or None
        one.attributes = attributes or one.attributes


def _write_facts(categories: Sequence[rows.Category]) -> None:
    for one in categories:
        extra, attributes = dict(one.extra or {}), one.attributes or {}
        found = {k: attributes.pop(k) for k in _FACTS if k in attributes and k not in extra}
        if found:
            one.extra = {**found, **extra}
            one.attributes = attributes or None


class _Ids:
    """The ids that categories have in the file that a sample came from."""

    def __init__(self, dataset: Dataset) -> None:
        self.plain = Ids(dataset).categories
        self.of: dict[int, list[str]] = {}
        for number, source in coco_sources(dataset).items():
            own = list(self.plain)
            for row, record in source.categories or []:
                if row is not None:
                    own[row] = str(record["id"])
            self.of[number] = own

    def __call__(self, origins: list[int] | None) -> list[str]:
        return self.of.get(origins[0], self.plain) if origins else self.plain


_ids = lru_cache(maxsize=2)(_Ids)


# ---------------------------------------------------------------------- lists of images


def _placed(incoming: Incoming, intake: Intake, keys: set[str]) -> Incoming:
    """Keys from ``coco_url`` where images have no name, and splits from names of files."""
    samples = incoming.samples
    media, listed = column(samples, "media"), samples["key"].to_pylist()
    split = column(samples, "split").to_pylist()
    extra, origins = column(samples, "extra").to_pylist(), samples["origins"].to_pylist()
    paths = [None if m is None else m["path"] for m in media.to_pylist()]
    for i, key in enumerate(listed):
        source = intake.sources[origins[i][0]] if origins[i] else None
        if source is not None and split[i] is None and len(intake.sources) > 1:
            found = _SPLIT.fullmatch(Path(source.path).stem)
            split[i] = found[1].lower() if found else None
        if paths[i] is None and extra[i] is not None and "coco_url" in extra[i]:
            url = json.loads(extra[i]).get("coco_url")
            place = _PLACE.search(url) if isinstance(url, str) else None
            if place is not None:
                prefix = (source.options or {}).get("prefix", "") if source is not None else ""
                key = f"{prefix}{place[1]}"
                if key not in keys:
                    listed[i] = paths[i] = key
        keys.add(listed[i])
    values = [None if p is None else {"path": p, "bytes": None} for p in paths]
    samples = with_column(samples, "key", pa.array(listed, pa.string()))
    samples = with_column(
        samples, "media", rows.column_array(values, tables.SAMPLES.field("media").type)
    )
    samples = with_column(
        samples, "split", rows.column_array(split, tables.SAMPLES.field("split").type)
    )
    return Incoming(samples, incoming.layers)


def _read_lists(incoming: Incoming, intake: Intake) -> Incoming:
    """The two lists as label rows; what they cannot say stays in ``extra``."""
    samples = incoming.samples
    texts = column(samples, "extra").to_pylist()
    origins = samples["origins"].to_pylist()
    rows_of = {
        number: {
            str(record["id"]): row for row, record in source.categories or [] if row is not None
        }
        for number, source in enumerate(intake.sources)
    }
    labels: list[rows.Annotation] = []
    sample: list[int] = []
    for i, text in enumerate(texts):
        if text is None or not any(f'"{k}"' in text for k in _FLAG):
            continue
        extra = json.loads(text)
        for key, flag in _FLAG.items():
            if key not in extra:
                continue
            at = {k: v for o in reversed(origins[i] or []) for k, v in rows_of[o].items()}
            numbers = _numbers(extra[key], at)
            for number in numbers:
                label = rows.Annotation("label", at[number])
                setattr(label, flag, False)
                labels.append(label)
                sample.append(i)
            if not isinstance(extra[key], list) or len(numbers) < len(extra[key]):
                _fault(extra[key], key, samples, i, intake)
            else:
                del extra[key]
        texts[i] = json.dumps(extra, ensure_ascii=False) if extra else None
    samples = with_column(samples, "extra", pa.array(texts, pa.string()))
    if not labels:
        return Incoming(samples, incoming.layers)
    made = rows.annotations_to_table(labels, sample)
    before = incoming.layers.get(tables.DEFAULT_LAYER)
    pieces = [made] if before is None else [before, made]
    layers = {**incoming.layers, tables.DEFAULT_LAYER: _concat(pieces)}
    return Incoming(samples, layers)


def _concat(pieces: list[pa.Table]) -> pa.Table:
    names = ["annotation_id"]
    return concat([without_columns(p, names) for p in pieces], tables.ANNOTATIONS)


def _numbers(value: Any, known: Collection[str]) -> list[str]:
    """The ids of a list that are those of categories."""
    listed = value if isinstance(value, list) else []
    texts = [str(v) for v in listed if type(v) in (int, str)]
    return [t for t in texts if t in known]


def _fault(value: Any, key: str, samples: pa.Table, row: int, intake: Intake) -> None:
    origins = samples["origins"][row].as_py()
    source = intake.sources[origins[0]].path if origins else "?"
    place = f"/images/{samples['ordinal'][row].as_py()[0]}/{key}"
    if isinstance(value, list):
        intake.fault("orphan-category", source, place, f"not all are listed: {value!r:.80}")
    else:
        intake.fault("bad-value", source, place, f"no list: {value!r:.80}")


def _listed(table: pa.Table) -> dict[str, Mask]:
    """Which rows are entries of each list."""
    kinds = column(table, "kind").cast(pa.string())
    fits = np.asarray(pc.fill_null(pc.equal(kinds, "label"), False))
    for name in ("sample", "category"):
        fits = fits & np.asarray(column(table, name).is_valid())
    out = {}
    for key, flag in _FLAG.items():
        (other,) = {*_FLAG.values()} - {flag}
        said = np.asarray(pc.fill_null(pc.invert(column(table, flag)), False))
        out[key] = fits & said & np.asarray(column(table, other).is_null())
    return out


def _others(table: pa.Table, listed: Mapping[str, Mask]) -> pa.Table:
    """Rows of no list; their flags have no place, and what is absent would be present."""
    absent = np.asarray(pc.fill_null(pc.invert(column(table, "present")), False))
    left = ~(listed[NEGATIVE] | listed[PARTIAL] | absent)
    table = table if left.all() else table.filter(pa.array(left))
    return without_columns(table, ["present", "exhaustive"])


def _lists(
    labels: pa.Table, start: int, origins: Sequence[list[int] | None], ids: _Ids
) -> dict[str, list[list[str]]]:
    """Each list of each sample, as ids."""
    out: dict[str, list[list[str]]] = {k: [[] for _ in origins] for k in _FLAG}
    where = _listed(labels)
    sample, category = column(labels, "sample").to_pylist(), column(labels, "category").to_pylist()
    for key, mask in where.items():
        for row in np.flatnonzero(mask).tolist():
            at = sample[row] - start
            out[key][at].append(ids(origins[at])[category[row]])
    return out


def _kept(
    text: str | None, wanted: Mapping[str, list[list[str]]], row: int, known: Collection[str]
) -> str | None:
    """``extra`` without lists that are rows, or that say otherwise than the rows."""
    if text is None or not any(f'"{k}"' in text for k in _FLAG):
        return text
    extra = json.loads(text)
    for key in _FLAG:
        if key in extra:
            numbers = _numbers(extra[key], known)
            whole = isinstance(extra[key], list) and len(numbers) == len(extra[key])
            if whole or numbers != wanted[key][row]:
                del extra[key]
    return json.dumps(extra, ensure_ascii=False) if extra else None


def _write_lists(batch: Batch, ids: _Ids, shapes: Sequence[set[str]]) -> Batch:
    """Label rows as the lists of ``extra``, from which the writer takes them."""
    table, samples, n = batch.annotations, batch.samples, batch.samples.num_rows
    listed = _listed(table)
    labels = table.filter(pa.array(listed[NEGATIVE] | listed[PARTIAL]))
    wanted = _lists(labels, batch.start, column(samples, "origins").to_pylist(), ids)
    texts = column(samples, "extra").to_pylist()
    shape = column(samples, "shape").to_pylist()
    for i in range(n):
        extra = {} if texts[i] is None else json.loads(texts[i])
        keys = None if shape[i] is None else shapes[shape[i]]
        for key in _FLAG:
            if key not in extra and (keys is None or key in keys or wanted[key][i]):
                extra[key] = [_number(t) for t in wanted[key][i]]
                if keys is not None and key not in keys:
                    shape[i] = None  # the record gets a key that it did not have
        texts[i] = json.dumps(extra, ensure_ascii=False) if extra else None
    samples = with_column(samples, "extra", pa.array(texts, pa.string()))
    samples = with_column(samples, "shape", pa.array(shape, pa.int16()))
    return Batch(samples, _others(table, listed), batch.start)


def _number(text: str) -> int | str:
    return int(text) if re.fullmatch(r"0|-?[1-9]\d*", text) else text
