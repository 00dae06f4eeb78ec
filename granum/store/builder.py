"""From batches of a reader to a dataset: in memory, or a finished store on disk."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import ExistsError, GranumError
from granum.schema import rows, tables
from granum.schema.attributes import promote
from granum.schema.tables import column, with_column
from granum.store import disk
from granum.store.dataset import Dataset, Meta
from granum.store.parts import Part, concat
from granum.store.unique import Ids, Keys

__all__ = [
    "Incoming",
    "MemoryBuilder",
    "StoreBuilder",
    "batch_of_rows",
]

PART_SAMPLES = 16_384
PART_ANNOTATIONS = 65_536
PART_BYTES = 1 << 29
"""Of samples, images embedded in them included."""


@dataclass(slots=True)
class Incoming:
    """What a reader yields: samples in a row, and their annotations by layer.

    ``sample`` of the annotations counts from the first sample of this batch. Without an
    ``annotation_id`` column the rows are numbered; a reader numbers all of its rows or none.
    """

    samples: pa.Table
    layers: dict[str, pa.Table] = field(default_factory=dict)


def batch_of_rows(
    samples: Sequence[rows.Sample], group_annotations: Sequence[rows.Annotation] = ()
) -> Incoming:
    """Row objects as a batch."""
    layers: dict[str, tuple[list[rows.Annotation], list[int | None]]] = {}
    for i, sample in enumerate(samples):
        for name, listed in {tables.DEFAULT_LAYER: sample.annotations, **sample.layers}.items():
            annotations, at = layers.setdefault(name, ([], []))
            annotations += listed
            at += [i] * len(listed)
    if group_annotations:
        annotations, at = layers.setdefault(tables.DEFAULT_LAYER, ([], []))
        annotations += group_annotations
        at += [None] * len(group_annotations)
    return Incoming(
        rows.samples_to_table(samples),
        {name: rows.annotations_to_table(a, at) for name, (a, at) in layers.items()},
    )


class _Builder:
    """Numbers samples and annotations, keeps keys unique, promotes attributes."""

    def __init__(self) -> None:
        self.rows = 0
        self.layers: dict[str, dict[str, Any]] = {tables.DEFAULT_LAYER: {}}
        self._next_id = 1
        self._ids = Ids()
        self._keys = Keys()
        self._types: dict[str, dict[str, str]] = {"samples": {}, "annotations": {}}

    def add(self, incoming: Incoming) -> None:
        """Take a batch."""
        samples = tables.conform(incoming.samples, tables.SAMPLES)
        samples = promote(self._unique_keys(samples), self._types["samples"])
        layers = {}
        for name, table in incoming.layers.items():
            self.layers.setdefault(disk.checked_name(name, "layer"), {})
            layers[name] = self._annotations(table, samples.num_rows)
        self.rows += samples.num_rows
        self._put(samples, layers)

    def _put(self, samples: pa.Table, layers: dict[str, pa.Table]) -> None:
        raise NotImplementedError

    def _unique_keys(self, samples: pa.Table) -> pa.Table:
        keys = samples["key"].to_pylist()
        if self._keys.add(keys):
            return samples
        repeated = _first_repeated(keys)
        raise GranumError(
            f"two samples have one key (first: {repeated!r}); a reader must tell them apart"
        )

    def _annotations(self, table: pa.Table, samples: int) -> pa.Table:
        n = table.num_rows
        given = "annotation_id" in table.column_names and table["annotation_id"].null_count == 0
        if given:
            ids = np.asarray(table["annotation_id"], np.int64)
            self._ids.add(ids)
            self._next_id = max(self._next_id, self._ids.next)
        sample = column(table, "sample")
        at = np.asarray(sample.fill_null(samples), np.int64)
        highest = pc.max(sample).as_py()
        if n and (at.min() < 0 or (highest is not None and highest >= samples)):
            raise ValueError(f"annotations name sample rows outside 0..{samples - 1}")
        if n and np.any(at[1:] < at[:-1]):
            order = np.argsort(at, kind="stable")
            table, sample = table.take(order), sample.take(order)
        if not given:
            ids = np.arange(self._next_id, self._next_id + n)
            self._next_id += n
            table = with_column(table, "annotation_id", pa.array(ids))
        if self.rows:
            sample = pc.add(sample.cast(pa.int64()), self.rows)
        table = tables.conform(with_column(table, "sample", sample), tables.ANNOTATIONS)
        return promote(table, self._types["annotations"])

    def _check_ids(self) -> None:
        if not self._ids.unique():
            raise GranumError("two annotations have one annotation_id")


def _first_repeated(keys: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    return keys[0] if keys else None


class MemoryBuilder(_Builder):
    """Collects batches as parts in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[Part] = []

    def _put(self, samples: pa.Table, layers: dict[str, pa.Table]) -> None:
        start = self.rows - samples.num_rows
        self._parts.append(Part(start, samples.num_rows, lambda: samples, _getter(layers)))

    def finish(
        self,
        *,
        categories: pa.Table | None = None,
        groups: pa.Table | None = None,
        sources: pa.Table | None = None,
        meta: Meta | None = None,
    ) -> Dataset:
        self._check_ids()
        meta = replace(meta or Meta(), layers=dict(self.layers))
        return Dataset(self._parts, categories, groups, sources, meta)


def _getter(layers: dict[str, pa.Table]) -> Any:
    empty = tables.empty(tables.ANNOTATIONS)
    return lambda name: layers.get(name, empty)


class StoreBuilder(_Builder):
    """Writes parts as they come and the manifest last.

    Args:
        path: folder of the store to make.
        overwrite: replace the store there (its files stay until ``gc``).
        sync: make it durable; a temporary store needs not be.

    Raises:
        ExistsError: ``path`` exists and is not to be overwritten, or is no store.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False, sync: bool = True) -> None:
        super().__init__()
        self.path, self.sync = Path(path), sync
        self._base: disk.Store | None = None
        if disk.is_store(self.path):
            if not overwrite:
                raise ExistsError(f"{self.path} exists; --overwrite replaces it")
            self._base = disk.Store.open(self.path)
        elif self.path.exists() and not disk.is_unfinished(self.path):
            raise ExistsError(f"{self.path} exists and is no granum store")
        self._token = disk.Store.token()
        self._pending: list[tuple[pa.Table, dict[str, pa.Table]]] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="granum-write")
        self._written: list[Future[dict[str, Any]]] = []

    def _put(self, samples: pa.Table, layers: dict[str, pa.Table]) -> None:
        if self._full(samples):
            self._flush()
        self._pending.append((samples, layers))

    def _full(self, following: pa.Table) -> bool:
        n = sum(s.num_rows for s, _ in self._pending)
        m = sum(t.num_rows for _, ls in self._pending for t in ls.values())
        held = sum(s.nbytes for s, _ in self._pending)
        size = max(n / PART_SAMPLES, m / PART_ANNOTATIONS, held / PART_BYTES)
        if not n or size < 1:
            return False
        last = column(self._pending[-1][0], "group")[-1].as_py()
        first = column(following, "group")[0].as_py() if following.num_rows else None
        return size > (3 if held > PART_BYTES else 8) or last is None or last != first

    def _flush(self) -> None:
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        number = len(self._written)
        if number > 1:
            self._written[number - 2].result()  # bounds what waits in memory
        self._written.append(self._pool.submit(self._write, number, pending))

    def _write(
        self, number: int, pending: list[tuple[pa.Table, dict[str, pa.Table]]]
    ) -> dict[str, Any]:
        names = dict.fromkeys(name for _, layers in pending for name in layers)
        out: dict[str, Any] = {
            "samples": self._file(
                "samples", number, concat([s for s, _ in pending], tables.SAMPLES)
            )
        }
        for name in names:
            pieces = [layers[name] for _, layers in pending if name in layers]
            table = _groups_last(concat(pieces, tables.ANNOTATIONS))
            if table.num_rows:
                out.setdefault("layers", {})[name] = self._file(f"layers/{name}", number, table)
        return out

    def _file(self, folder: str, number: int, table: pa.Table) -> dict[str, Any]:
        name = f"{folder}/part-{number:05d}-{self._token}.arrow"
        table = tables.strip_null_columns(table)
        return {"file": name, **disk.write_arrow(self.path / name, table, sync=self.sync)}

    def _table(self, name: str, table: pa.Table) -> dict[str, Any]:
        file = f"tables/{name}-{self._token}.arrow"
        return {"file": file, **disk.write_arrow(self.path / file, table, sync=self.sync)}

    def abort(self) -> None:
        """Give up: remove what was written."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for file in self.path.rglob(f"*-{self._token}.arrow"):
            file.unlink()
        for folder in (*(self.path / f for f in disk.FOLDERS), self.path):
            for below in sorted(folder.rglob("*"), reverse=True) if folder.is_dir() else []:
                if below.is_dir() and not any(below.iterdir()):
                    below.rmdir()
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def finish(
        self,
        *,
        categories: pa.Table | None = None,
        groups: pa.Table | None = None,
        sources: pa.Table | None = None,
        meta: Meta | None = None,
    ) -> Dataset:
        """Write the tables and the manifest; returns the store opened."""
        self._check_ids()
        self._flush()
        written = [f.result() for f in self._written]
        self._pool.shutdown()
        meta = meta or Meta()
        manifest: dict[str, Any] = {
            "granum_schema": tables.VERSION,
            "content": self._token,
            "rows": self.rows,
            "parts": [w["samples"] for w in written],
            "layers": {
                name: {
                    "producer": None,
                    "parent": None,
                    "mode": "add",
                    "created": None,
                    **info,
                    **meta.layers.get(name, {}),
                    "parts": [w.get("layers", {}).get(name) for w in written],
                }
                for name, info in self.layers.items()
            },
            "tables": {
                "categories": self._table("categories", _or_empty(categories, tables.CATEGORIES)),
                "groups": self._table("groups", _or_empty(groups, tables.GROUPS)),
                "sources": self._table("sources", _or_empty(sources, tables.SOURCES)),
            },
            "columns": {},
            "views": {},
            "attributes": self._types,
            "shapes": list(meta.shapes),
            "media_root": meta.media_root,
            "map_root": meta.map_root,
            "lineage": list(meta.lineage),
        }
        manifest["fingerprint"] = disk.fingerprint_of(
            [_prints(manifest["parts"]), _prints(manifest["layers"]), _prints(manifest["tables"])]
        )
        if self.sync:
            for folder in (*self.path.rglob("*/"), self.path):
                if folder.is_dir():
                    disk.sync_folder(folder)
        if self._base is not None:

            def replaced(old: dict[str, Any]) -> None:
                old.clear()
                old.update(manifest)

            store = self._base.commit(replaced, adds=False)
        elif disk.publish(self.path, manifest, 1):
            store = disk.Store(self.path, manifest, 1)
        else:
            raise ExistsError(f"{self.path} was made by another writer meanwhile")
        from granum.store.opening import open_dataset

        return open_dataset(store)


def _groups_last(table: pa.Table) -> pa.Table:
    """Rows without a sample after all others: batches of one part bring theirs in between."""
    sample = column(table, "sample")
    if not sample.null_count:
        return table
    missing = np.asarray(sample.is_null())
    return table.take(pa.array(np.argsort(missing, kind="stable")))


def _or_empty(table: pa.Table | None, schema: pa.Schema) -> pa.Table:
    return tables.empty(schema) if table is None else tables.conform(table, schema, full=True)


def _prints(value: Any) -> Any:
    """The fingerprints in a manifest's entry, with their names."""
    if isinstance(value, dict):
        if "fingerprint" in value:
            return value["fingerprint"]
        return {k: _prints(v) for k, v in value.items() if isinstance(v, dict | list)}
    return [_prints(v) for v in value] if isinstance(value, list) else None
