"""Derived columns: computed part by part, kept beside the tables, never computed twice.

A column's identity (name, version, parameters, inputs with the identities of those that are
derived themselves, fingerprint of the data) is kept with it; equal identity is a cache hit. Each
part is its own file, named by the identity, so an interrupted computation resumes at the first part
that is not there. Columns show in the tables as ``col.NAME``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from granum.errors import UsageError
from granum.store import disk
from granum.store.dataset import Dataset
from granum.store.executor import Executor
from granum.store.opening import open_dataset
from granum.store.parts import Batch

__all__ = ["NewColumn", "Roots", "add_columns", "column_facts", "column_identity", "identity_of"]


@dataclass(frozen=True)
class Roots:
    """Where the media and the label maps of a dataset are."""

    media: str | None = None
    maps: str | None = None


@dataclass(frozen=True)
class NewColumn:
    """A column to compute.

    Attributes:
        name: of the column.
        version: of the computation: raise it when its results change.
        parameters: of the computation, JSON-serialisable.
        inputs: names of the columns it reads; those that are derived (``col.NAME``, or NAME) count
            with their own identity.
        facts: anything else worth keeping: direction, range, meaning.
    """

    name: str
    version: int = 1
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


Compute = Callable[[Batch, Roots, Sequence[str]], Mapping[str, pa.Array]]
"""Values of the named columns for one batch; picklable where processes share the work."""


def add_columns(
    dataset: Dataset,
    columns: Sequence[NewColumn],
    compute: Compute,
    *,
    layer: str | None = None,
    executor: Executor | None = None,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """Compute the columns that are not there yet, in one pass over the parts.

    Args:
        dataset: a whole store.
        columns: what to compute.
        compute: gives the columns it is asked for, one value per row each; it is asked only for
            those that a part lacks.
        layer: make them columns of this layer's annotations (default: of the samples).
        executor: where the parts are worked on (default: here).
        progress: called with the number of rows of each part.

    Returns:
        The store, reopened.

    Raises:
        StoreError: ``dataset`` is no whole store.
        ValueError: ``compute`` gave a wrong number of values.
    """
    from granum.store.additions import reopened, store_of

    store = store_of(dataset)
    of = "samples" if layer is None else f"layer:{layer}"
    if layer is not None:
        dataset = dataset.layer(layer)
    known = store.manifest["columns"].get(of, {})
    wanted = []
    for column in columns:
        disk.checked_name(column.name, "column")
        identity = identity_of(dataset, column, layer)
        if known.get(column.name, {}).get("identity") != identity:
            wanted.append(_Wanted(column, identity, of.replace(":", "-")))
    if not wanted:
        return reopened(dataset, store)
    if len({w.column.name for w in wanted}) < len(wanted):
        raise UsageError("a column is asked for twice")
    entries: dict[str, list[dict[str, Any]]] = {w.column.name: [] for w in wanted}
    missing = []
    for number in range(len(dataset.parts)):
        names = [w.column.name for w in wanted if not (store.path / w.file(number)).exists()]
        missing.append((number, names))
    done = _computed(dataset, store, compute, missing, executor or Executor())
    for number, part in enumerate(dataset.parts):
        rows = part.rows if layer is None else part.layer(layer).num_rows
        values = next(done) if missing[number][1] else {}
        for one in wanted:
            entry = _entry(store.path / one.file(number), one, values, rows)
            entries[one.column.name].append({"file": one.file(number), **entry})
        if progress is not None:
            progress(rows)

    def change(manifest: dict[str, Any]) -> None:
        for one in wanted:
            name = one.column.name
            manifest["columns"].setdefault(of, {})[name] = {
                "identity": one.identity,
                "facts": dict(one.column.facts),
                "parts": entries[name],
            }

    return reopened(dataset, store.commit(change))


@dataclass(frozen=True)
class _Wanted:
    column: NewColumn
    identity: dict[str, Any]
    folder: str

    def file(self, number: int) -> str:
        digest = disk.fingerprint_of(self.identity)[:12]
        return f"columns/{self.folder}/{self.column.name}/part-{number:05d}-{digest}.arrow"


def identity_of(dataset: Dataset, column: NewColumn, layer: str | None = None) -> dict[str, Any]:
    """The identity that a column would have if it were computed now.

    Raises:
        StoreError: ``dataset`` is no whole store.
    """
    from granum.store.additions import store_of

    store = store_of(dataset)
    known = store.manifest["columns"].get("samples" if layer is None else f"layer:{layer}", {})
    inputs: list[Any] = []
    for name in column.inputs:
        derived = known.get(name.removeprefix("col."))
        inputs.append([name, disk.fingerprint_of(derived["identity"])] if derived else name)
    return {
        "name": f"{column.name}@{column.version}",
        "parameters": dict(column.parameters),
        "inputs": inputs,
        "fingerprint": store.manifest["fingerprint"],
    }


def _entry(
    path: Path, wanted: _Wanted, values: Mapping[str, pa.Array], rows: int
) -> dict[str, Any]:
    name = wanted.column.name
    if name not in values:  # an earlier run got so far
        return {"rows": rows, "fingerprint": disk.fingerprint_of(path.name)}
    if len(values[name]) != rows:
        raise ValueError(f"column {name!r}: {len(values[name])} values for {rows} rows")
    draft = path.with_name(f"{path.name}.{disk.Store.token()}")
    written = disk.write_arrow(draft, pa.table({name: values[name]}))
    draft.replace(path)
    return written


def _computed(
    dataset: Dataset,
    store: disk.Store,
    compute: Compute,
    missing: Sequence[tuple[int, list[str]]],
    executor: Executor,
) -> Any:
    """The values of the parts that lack some, in order."""
    todo = [m for m in missing if m[1]]
    roots = Roots(dataset.meta.media_root, dataset.meta.map_root or dataset.meta.media_root)
    if executor.remote:
        job = partial(_remote, str(store.path.resolve()), dataset.meta.layer, roots, compute)
        return executor.map(job, todo)

    def here(item: tuple[int, list[str]]) -> Mapping[str, pa.Array]:
        number, names = item
        return compute(dataset.parts[number].batch(dataset.meta.layer), roots, names)

    return executor.map(here, todo)


def _remote(
    path: str, layer: str, roots: Roots, compute: Compute, item: tuple[int, list[str]]
) -> dict[str, pa.Array]:
    number, names = item
    dataset = open_dataset(path, media_root=roots.media, map_root=roots.maps)
    return dict(compute(dataset.parts[number].batch(layer), roots, names))


def column_identity(dataset: Dataset, name: str, layer: str | None = None) -> dict[str, Any] | None:
    """The identity of a derived column; None where there is no such column."""
    found = _stored(dataset, name, layer)
    return None if found is None else dict(found["identity"])


def column_facts(dataset: Dataset, name: str, layer: str | None = None) -> dict[str, Any]:
    """Direction, range and meaning of a derived column, where they are known."""
    return dict((_stored(dataset, name, layer) or {}).get("facts") or {})


def _stored(dataset: Dataset, name: str, layer: str | None) -> dict[str, Any] | None:
    store = dataset.meta.store
    if store is None:
        return None
    of = "samples" if layer is None else f"layer:{layer}"
    return store.manifest["columns"].get(of, {}).get(name.removeprefix("col."))  # type: ignore[no-any-return]
