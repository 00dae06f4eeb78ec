"""Adding to a store without rewriting anything: layers, derived columns, views."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import ConflictError, StoreError, UnknownNameError, UsageError
from granum.schema import tables
from granum.schema.tables import column, with_column
from granum.store import disk
from granum.store.dataset import Dataset
from granum.store.opening import open_dataset
from granum.store.parts import Batch, concat

__all__ = ["add_column", "add_layer", "open_view", "reopened", "save_view", "store_of"]


def store_of(dataset: Dataset) -> disk.Store:
    """The store of a whole dataset.

    Raises:
        StoreError: it is a selection, or in memory only.
    """
    if dataset.meta.store is None:
        raise StoreError(
            "only a whole store can be added to: save the dataset, or use the store it came from"
        )
    return dataset.meta.store


def reopened(dataset: Dataset, store: disk.Store) -> Dataset:
    """The dataset of a newer state of its store."""
    return open_dataset(store, media_root=dataset.meta.media_root, map_root=dataset.meta.map_root)


def add_layer(
    dataset: Dataset,
    name: str,
    annotations: pa.Table | Iterable[pa.Table],
    *,
    producer: str | None = None,
    parent: str | None = None,
    mode: str = "add",
) -> Dataset:
    """Add a layer of annotations to a store.

    Args:
        dataset: a whole store.
        name: the layer's name; it must be new.
        annotations: columns of the schema; ``sample`` is the dataset row. Ids are given anew,
            after the highest of all layers; references between the rows follow. Or several such
            tables in the order of the samples (rows of whole groups last), of which only those of
            one part are in memory at a time; references stay within a table.
        producer: who or what made it.
        parent: the layer it stands on.
        mode: ``add`` to the parent's rows, or ``replace`` them.

    Returns:
        The store, reopened.

    Raises:
        ConflictError: the layer exists (made by another writer meanwhile, perhaps).
        StoreError: ``dataset`` is a selection, or in memory only.
        UsageError: a sample that is not there, or tables out of order.
    """
    store = store_of(dataset)
    disk.checked_name(name, "layer")
    if mode not in ("add", "replace"):
        raise UsageError(f"mode is {mode!r}; it must be add or replace")
    if parent is not None and parent not in dataset.meta.layers:
        raise UnknownNameError("layer", parent, dataset.meta.layers)
    given = [annotations] if isinstance(annotations, pa.Table) else annotations
    token = disk.Store.token()
    parts: list[dict[str, Any] | None] = []
    for number, piece in enumerate(_by_part(dataset, _numbered(dataset, given))):
        if not piece.num_rows:
            parts.append(None)
            continue
        file = f"layers/{name}/part-{number:05d}-{token}.arrow"
        piece = tables.strip_null_columns(piece)
        parts.append({"file": file, **disk.write_arrow(store.path / file, piece)})
    entry = {
        "producer": producer,
        "parent": parent,
        "mode": mode,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "parts": parts,
    }

    def change(manifest: dict[str, Any]) -> None:
        if name in manifest["layers"] and any(manifest["layers"][name]["parts"]):
            raise ConflictError(f"{store.path} has a layer {name!r} already")
        manifest["layers"][name] = entry

    return reopened(dataset, store.commit(change))


def _with_ids(table: pa.Table) -> pa.Table:
    if "annotation_id" in table.column_names:
        return table
    return with_column(table, "annotation_id", pa.array(np.arange(1, table.num_rows + 1)))


def _numbered(dataset: Dataset, given: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """New ids after all that exist; references to rows of the same table follow."""
    top = 0
    for part in dataset.parts:
        for layer in dataset.meta.layers:
            ids = part.layer(layer)["annotation_id"]
            top = max(top, pc.max(ids).as_py() or 0)
    for one in given:
        table = tables.conform(_with_ids(one), tables.ANNOTATIONS)
        old = table["annotation_id"].combine_chunks()
        for name in ("subject", "object", "parent"):
            if name in table.column_names:
                found = pc.index_in(table[name].combine_chunks(), value_set=old)
                moved = pc.add(found.cast(pa.int64()), top + 1)
                table = with_column(table, name, pc.coalesce(moved, table[name].combine_chunks()))
        ids = pa.array(np.arange(top + 1, top + 1 + len(old)))
        top += len(old)
        yield with_column(table, "annotation_id", ids)


def _by_part(dataset: Dataset, given: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of each part, sorted by sample."""
    waiting: tuple[pa.Table, npt.NDArray[np.int64]] | None = None
    arriving = (_placed(dataset, table) for table in given)
    for number, part in enumerate(dataset.parts):
        last = number == len(dataset.parts) - 1
        pieces = []
        while waiting := waiting or next(arriving, None):
            table, place = waiting
            if len(place) and place[0] < part.start:
                raise UsageError("tables of a layer must come in the order of the samples")
            end = len(place) if last else int(np.searchsorted(place, part.start + part.rows))
            pieces.append(table.slice(0, end))
            waiting = (table.slice(end), place[end:]) if end < len(place) else None
            if waiting:
                break
        joined = concat(pieces, tables.ANNOTATIONS)
        order = np.argsort(_places(dataset, joined), kind="stable")
        yield joined.unify_dictionaries().take(pa.array(order)) if len(pieces) > 1 else joined


def _places(dataset: Dataset, table: pa.Table) -> npt.NDArray[np.int64]:
    """The sample of each row; rows of whole groups have none: they go to the last part."""
    rows = np.asarray(column(table, "sample").fill_null(-1), np.int64)
    if len(rows) and (rows.max() >= len(dataset) or rows.min() < -1):
        raise UsageError(f"sample rows must be in 0..{len(dataset) - 1}")
    return np.where(rows < 0, len(dataset), rows)


def _placed(dataset: Dataset, table: pa.Table) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    place = _places(dataset, table)
    order = np.argsort(place, kind="stable")
    return table.take(pa.array(order)), place[order]


def add_column(
    dataset: Dataset,
    name: str,
    compute: Callable[[Batch], pa.Array],
    *,
    version: int = 1,
    parameters: Mapping[str, Any] | None = None,
    inputs: Sequence[str] = (),
    layer: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """Add a derived column, computed part by part; computing it again is a cache hit.

    Its identity (name, version, parameters, inputs, fingerprint of the data) is kept with it. A
    computation that was interrupted resumes at the first part that is not there. The column shows
    in the tables as ``col.NAME``.

    Args:
        dataset: a whole store.
        name: of the column.
        compute: gives one value per sample of a batch (or per annotation, with ``layer``).
        version: of the computation: raise it when its results change.
        parameters: of the computation, JSON-serialisable.
        inputs: names of the columns it reads.
        layer: make it a column of this layer's annotations.
        progress: called with the number of rows of each part.

    Raises:
        StoreError: ``dataset`` is no whole store.
        ValueError: ``compute`` gave a wrong number of values.
    """
    from granum.store.columns import NewColumn, add_columns

    new = NewColumn(name, version, parameters or {}, inputs)

    def one(batch: Batch, roots: Any, names: Sequence[str]) -> dict[str, pa.Array]:
        return {name: compute(batch)}

    return add_columns(dataset, [new], one, layer=layer, progress=progress)


def save_view(
    dataset: Dataset,
    name: str,
    samples: npt.ArrayLike,
    *,
    reason: str | Sequence[str | None] | None = None,
    gain: Sequence[float] | None = None,
    annotations: Sequence[Sequence[int] | None] | None = None,
    lineage: Mapping[str, Any] | None = None,
) -> Dataset:
    """Save a selection of samples under a name; the data stay as they are.

    Args:
        dataset: a whole store.
        name: of the view; it must be new.
        samples: dataset rows, in order.
        reason: why each was chosen (one for all, or one each).
        gain: what each added.
        annotations: per sample, the annotation ids that are chosen (None: all).
        lineage: what made the selection.
    """
    store = store_of(dataset)
    disk.checked_name(name, "view")
    rows = np.asarray(samples, np.int64).reshape(-1)
    if rows.size and (rows.min() < 0 or rows.max() >= len(dataset)):
        raise IndexError(f"rows must be in 0..{len(dataset) - 1}")
    reasons = [reason] * len(rows) if reason is None or isinstance(reason, str) else list(reason)
    table = pa.table(
        {
            "sample": pa.array(rows),
            "gain": pa.array(gain if gain is not None else [None] * len(rows), pa.float64()),
            "reason": pa.array(reasons, pa.string()).dictionary_encode(),
            "annotations": pa.array(
                annotations if annotations is not None else [None] * len(rows), pa.list_(pa.int64())
            ),
        }
    )
    file = f"views/{name}-{disk.Store.token()}.arrow"
    entry = {
        "file": file,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "lineage": dict(lineage or {}),
        **disk.write_arrow(store.path / file, tables.conform(table, tables.VIEWS, full=True)),
    }

    def change(manifest: dict[str, Any]) -> None:
        if name in manifest["views"]:
            raise ConflictError(f"{store.path} has a view {name!r} already")
        manifest["views"][name] = entry

    return reopened(dataset, store.commit(change))


def open_view(dataset: Dataset, name: str) -> Dataset:
    """The samples (and annotations) of a saved view, in its order."""
    store = store_of(dataset)
    if name not in store.manifest["views"]:
        raise UnknownNameError("view", name, store.manifest["views"])
    table = store.read(store.manifest["views"][name])
    chosen = dataset.select(np.asarray(table["sample"], np.int64))
    picks = table["annotations"].to_pylist()
    if all(p is None for p in picks):
        return chosen
    allowed = pa.array([i for p in picks if p is not None for i in p], pa.int64())
    free = pa.array([i for i, p in enumerate(picks) if p is None], pa.int64())

    def keep(annotations: pa.Table) -> npt.NDArray[np.bool_]:
        by_id = pc.is_in(annotations["annotation_id"], value_set=allowed)
        by_sample = pc.is_in(column(annotations, "sample"), value_set=free)
        return np.asarray(pc.or_(by_id, by_sample))

    return chosen.filter_annotations(keep)
