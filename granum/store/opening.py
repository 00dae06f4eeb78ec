"""Opening stores as datasets, and saving datasets as stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from granum.schema import tables
from granum.schema.tables import column, with_column
from granum.store import disk
from granum.store.builder import Incoming, StoreBuilder
from granum.store.dataset import Dataset, Meta
from granum.store.parts import Part

__all__ = ["open_dataset", "save"]


def open_dataset(
    store: disk.Store | str | Path,
    *,
    media_root: str | Path | None = None,
    map_root: str | Path | None = None,
) -> Dataset:
    """The dataset of a store.

    Args:
        store: an open store, or its path.
        media_root: where the images are now, if they moved.
        map_root: where label maps are now, if they moved.
    """
    if not isinstance(store, disk.Store):
        store = disk.Store.open(store)
    manifest = store.manifest
    parts, start = [], 0
    for number, entry in enumerate(manifest["parts"]):
        parts.append(_stored_part(store, number, start, entry))
        start += entry["rows"]

    def root(given: str | Path | None, name: str) -> str | None:
        if given is not None:
            return str(given)
        stored = manifest.get(name)
        return None if stored is None else str((store.path / stored).resolve())

    meta = Meta(
        layers={
            name: {k: v for k, v in info.items() if k != "parts"}
            for name, info in manifest["layers"].items()
        },
        shapes=manifest["shapes"],
        media_root=root(media_root, "media_root"),
        map_root=root(map_root, "map_root"),
        lineage=manifest["lineage"],
        store=store,
    )
    named = {name: store.read(entry) for name, entry in manifest["tables"].items()}
    return Dataset(parts, named["categories"], named["groups"], named["sources"], meta)


def _stored_part(store: disk.Store, number: int, start: int, entry: dict[str, Any]) -> Part:
    columns = store.manifest["columns"]

    def with_derived(table: pa.Table, of: str) -> pa.Table:
        for name, info in columns.get(of, {}).items():
            values = store.read(info["parts"][number]).column(0)
            table = with_column(table, f"col.{name}", values)
        return table

    def samples() -> pa.Table:
        return with_derived(store.read(entry), "samples")

    def layer(name: str) -> pa.Table:
        listed = store.manifest["layers"][name]["parts"] if name in store.manifest["layers"] else []
        if number >= len(listed) or listed[number] is None:
            return tables.empty(tables.ANNOTATIONS)
        return with_derived(store.read(listed[number]), f"layer:{name}")

    return Part(start, entry["rows"], samples, layer)


def save(dataset: Dataset, path: str | Path, *, overwrite: bool = False) -> Dataset:
    """Write a dataset as a store, with all its layers."""
    builder = StoreBuilder(path, overwrite=overwrite)
    try:
        for part in dataset.parts:
            layers = {}
            for name in dataset.meta.layers:
                table = part.layer(name)
                if table.num_rows:
                    sample = pc.subtract(column(table, "sample"), part.start)
                    layers[name] = with_column(_stored_only(table), "sample", sample)
            builder.add(Incoming(_stored_only(part.samples()), layers))
        for name, info in dataset.meta.layers.items():
            builder.layers.setdefault(name, {}).update(info)
        return builder.finish(
            categories=dataset.categories,
            groups=dataset.groups,
            sources=dataset.sources,
            meta=dataset.meta,
        )
    except BaseException:
        builder.abort()
        raise


def _stored_only(table: pa.Table) -> pa.Table:
    return table.select([n for n in table.column_names if not n.startswith("col.")])
