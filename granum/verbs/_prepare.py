"""Before datasets are put together: one root for their files, prefixes, no derived columns."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.schema import tables
from granum.schema.tables import with_column, without_columns
from granum.store.dataset import Dataset
from granum.store.parts import Part
from granum.verbs._survey import Survey

__all__ = ["Roots", "common_roots", "prefixed", "rerooted", "retold"]

Change = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True)
class Roots:
    """One media root and one map root for several datasets.

    Attributes:
        media, map: the roots, or None.
        media_below, map_below: for each dataset where its own root is below the common one
            (None: it is the common one, or stays unknown).
        notes: what could not be had.
    """

    media: str | None
    map: str | None
    media_below: Sequence[str | None]
    map_below: Sequence[str | None]
    notes: Sequence[str]


def common_roots(
    datasets: Sequence[Dataset], surveys: Sequence[Survey], names: Sequence[str]
) -> Roots:
    """The roots of the merged dataset: the common one, else the common parent folder.

    Where one dataset refers to files and does not know its root while others do, no root is
    kept, so that no path is looked up below another's folder.

    Raises:
        UsageError: the roots have no common parent (different drives).
    """
    notes: list[str] = []
    media = [d.meta.media_root for d in datasets]
    maps = [d.meta.map_root or d.meta.media_root for d in datasets]
    media_root, media_below = _common(
        media, [s.media_paths for s in surveys], names, "media", notes
    )
    map_root, map_below = _common(maps, [s.map_paths for s in surveys], names, "label maps", notes)
    return Roots(
        media_root, None if map_root == media_root else map_root, media_below, map_below, notes
    )


def _common(
    roots: Sequence[str | None],
    used: Sequence[bool],
    names: Sequence[str],
    what: str,
    notes: list[str],
) -> tuple[str | None, list[str | None]]:
    nothing: list[str | None] = [None] * len(roots)
    wanted = [i for i, u in enumerate(used) if u]
    if not wanted:
        return next((r for r in roots if r is not None), None), nothing
    if any(roots[i] is None for i in wanted):
        lacking = [names[i] for i in wanted if roots[i] is None]
        known = sorted({str(roots[i]) for i in wanted} - {"None"})
        if known:
            notes.append(
                f"{', '.join(lacking)}: the folder of its {what} is unknown, so none is kept "
                f"(known of others: {', '.join(known)}); merge with that folder named to keep all"
            )
        return None, nothing
    full = {i: os.path.abspath(str(roots[i])) for i in wanted}  # noqa: PTH100 (no links resolved)
    try:
        common = os.path.commonpath(full.values())
    except ValueError as error:
        raise UsageError(f"the {what} lie on different drives; copy them to one folder") from error
    below = nothing.copy()
    for i, root in full.items():
        relative = Path(root).relative_to(common).as_posix()
        below[i] = None if relative == "." else relative
    return common, below


def retold(dataset: Dataset, samples: Change, annotations: Change) -> Dataset:
    """The dataset with its sample and annotation tables changed when loaded."""

    def changed(part: Part) -> Part:
        return Part(
            part.start,
            part.rows,
            lambda: samples(part.samples()),
            lambda name: annotations(part.layer(name)),
        )

    parts = [changed(p) for p in dataset.parts]
    return Dataset(parts, dataset.categories, dataset.groups, dataset.sources, dataset.meta)


def rerooted(dataset: Dataset, media_below: str | None, map_below: str | None) -> Dataset:
    """Without derived columns, with paths that start at a folder further up."""

    def plain(table: pa.Table) -> pa.Table:
        return without_columns(table, [n for n in table.column_names if n.startswith("col.")])

    def samples(table: pa.Table) -> pa.Table:
        return _below(plain(table), "media", media_below)

    def annotations(table: pa.Table) -> pa.Table:
        return _below(plain(table), "map", map_below)

    out = retold(dataset, samples, annotations)
    groups = _below(dataset.groups, "media", media_below)
    return Dataset(out.parts, out.categories, groups, out.sources, out.meta)


def _below(table: pa.Table, name: str, folder: str | None) -> pa.Table:
    """Paths of a struct column with ``folder`` before them."""
    if folder is None or name not in table.column_names:
        return table
    array = table[name].combine_chunks()
    fields = list(array.type)
    children = [pc.struct_field(array, i) for i in range(len(fields))]
    at = [f.name for f in fields].index("path")
    children[at] = pc.binary_join_element_wise(folder, children[at], "/")
    mask = pa.array(~np.asarray(array.is_valid()))
    return with_column(table, name, pa.StructArray.from_arrays(children, fields=fields, mask=mask))


def prefixed(dataset: Dataset, prefix: str | None) -> Dataset:
    """With ``prefix/`` before the keys of samples and groups."""
    if not prefix:
        return dataset
    folder = prefix.removesuffix("/")

    def keyed(table: pa.Table) -> pa.Table:
        keys = pc.binary_join_element_wise(folder, table["key"].cast(pa.string()), "/")
        return with_column(table, "key", keys)

    out = retold(dataset, keyed, lambda t: t)
    return Dataset(out.parts, out.categories, keyed(out.groups), out.sources, out.meta)


def forgetful(dataset: Dataset) -> Dataset:
    """Without what says from which file, and from where in it, each record came."""

    def change(table: pa.Table) -> pa.Table:
        return without_columns(table, ("origins", "ordinal", "shape"))

    out = retold(dataset, change, change)
    meta = replace(out.meta, shapes=())
    return Dataset(out.parts, out.categories, out.groups, tables.empty(tables.SOURCES), meta)
