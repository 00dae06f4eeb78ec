"""Samples that show the same image: found, verified, grouped, and one of each group kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate._clusters import clustered, linked, near_edges
from granum.curate._fingerprints import Criteria, Fingerprints, Near
from granum.curate.score import score
from granum.curate.selection import Selection
from granum.curate.size import sizes
from granum.errors import UnknownNameError
from granum.schema.tables import column
from granum.store.columns import column_facts, column_identity
from granum.store.dataset import Dataset
from granum.store.disk import fingerprint_of
from granum.store.executor import Executor

__all__ = ["KEEP", "Duplicates", "duplicates", "kinds_of", "replayed"]

Ints = npt.NDArray[np.int64]

KEEP = ("annotations", "resolution", "file_size")
"""What decides which of a group is kept: the first that has annotations, then the largest."""

KINDS = ("exact-file", "exact-pixels", "near")


@dataclass(frozen=True)
class Duplicates:
    """Groups of samples that show the same image.

    Attributes:
        dataset: the dataset, with the columns that were computed.
        groups: ``row``, ``key``, ``group`` (0, 1, … by its lowest row), ``kept``, ``of`` (the row
            that is kept in its stead), ``kind`` (exact-file, exact-pixels, near), ``distance``
            (bits) and ``similarity`` to the kept one; null for the kept ones, and where unknown.
        selection: all samples but the duplicates, with the reason of each drop.
        linked: for each sample the lowest one it is linked to by pairs that were verified, also
            where groups were left apart: what must not be torn by a split.
        chains: how often two groups were near at one place but too far apart at another, and so
            were left apart.
        unreadable: samples whose image could not be compared.
    """

    dataset: Dataset
    groups: pa.Table
    selection: Selection
    linked: Ints
    chains: int
    unreadable: int

    def __len__(self) -> int:
        """How many samples could be dropped."""
        return len(self.selection.dropped)

    def counts(self) -> dict[str, int]:
        """Duplicates by kind."""
        kinds = self.groups["kind"].to_pylist()
        return {kind: kinds.count(kind) for kind in KINDS}

    def to_dict(self) -> dict[str, Any]:
        return {
            "samples": len(self.dataset),
            "groups": len(self.groups["group"].unique()),
            "duplicates": len(self),
            "kept": len(self.selection),
            "kinds": self.counts(),
            "chains": self.chains,
            "unreadable": self.unreadable,
            "rows": self.groups.to_pylist(),
            "lineage": dict(self.selection.lineage),
        }

    def table(self, examples: int = 10) -> str:
        """For people: counts, then the first groups."""
        kinds = ", ".join(f"{n} {kind}" for kind, n in self.counts().items())
        groups = len(self.groups["group"].unique())
        lines = [
            f"{len(self)} duplicates of {len(self.dataset)} samples in {groups} groups: {kinds}"
        ]
        if self.chains:
            lines.append(f"{self.chains} joins refused: near at one place, too far at another")
        if self.unreadable:
            lines.append(f"{self.unreadable} images could not be compared")
        for row in self.groups.to_pylist():
            if row["group"] >= examples:
                lines.append(f"… and {groups - examples} more groups")
                break
            lines.append(_line(row))
        return "\n".join(lines)


def _line(row: Mapping[str, Any]) -> str:
    if row["kept"]:
        return f"{row['group']:>5} {'kept':<12} {row['key']}"
    facts = [
        "" if row["distance"] is None else f"{row['distance']} bits",
        "" if row["similarity"] is None else f"similarity {row['similarity']:.3f}",
    ]
    return f"{row['group']:>5} {row['kind']:<12} {row['key']}  {', '.join(filter(None, facts))}"


def duplicates(
    dataset: Dataset,
    *,
    exact: Sequence[str] = ("file", "pixels"),
    near: Near | None = "phash",
    radius: int = 6,
    similarity: float | None = 0.95,
    flips: bool = False,
    within_groups: bool = False,
    keep: Sequence[str] = KEEP,
    executor: Executor | None = None,
    progress: Callable[[int], None] | None = None,
) -> Duplicates:
    """Find exact and near duplicates; the store gets the columns they are found by.

    Candidates are all pairs of hashes within ``radius``; those whose 32 x 32 grey thumbnails do not
    correlate are no duplicates. Verified pairs are joined, nearest first, unless two hashes in a
    group would then differ in more than twice the radius.

    Args:
        dataset: a whole store.
        exact: ``file`` (equal bytes), ``pixels`` (equal decoded pixels, shape and mode).
        near: ``phash``, ``dhash``, ``both`` (both must be near), or None.
        radius: bits that hashes may differ in.
        similarity: correlation that thumbnails must reach; None: not verified.
        flips: images mirrored left to right are duplicates, too.
        within_groups: frames of one video (samples of one group) can be duplicates of each other.
        keep: what decides which one is kept, the first that tells them apart: ``annotations`` (has
            some), ``resolution``, ``file_size``, or a numeric column (higher first, unless its
            scorer says that lower is better); at last the lowest row.
        executor: where images are read.
        progress: called with the number of samples done.

    Raises:
        StoreError: ``dataset`` is no whole store.
        UsageError: an unknown criterion.
        UnknownNameError: ``keep`` names no column.
    """
    criteria = Criteria(tuple(exact), near, radius, similarity, flips)
    _check(dataset, keep)
    dataset = score(dataset, criteria.scorers(), executor=executor, progress=progress)
    prints = Fingerprints.of([dataset], criteria)
    apart = np.full(len(dataset), -1, np.int64)
    if not within_groups:
        apart = np.asarray(dataset.samples(["group"])["group"].fill_null(-1), np.int64)
    clusters = clustered(prints, apart)
    units = clusters.labels()
    edges = near_edges(prints, units, apart, executor)
    for i, j, _ in edges.tolist():
        clusters.join(i, j)
    groups = _by_preference(dataset, list(clusters.members.values()), keep)
    table = _table(dataset, groups, prints)
    parameters = {**criteria.to_dict(), "within_groups": within_groups, "keep": list(keep)}
    blank = prints.exact_classes() < 0 if near is None else ~prints.hashed
    selection = _selection(dataset, table, parameters, criteria.columns())
    together = linked(units, edges)
    return Duplicates(dataset, table, selection, together, clusters.chains, int(blank.sum()))


def _check(dataset: Dataset, keep: Sequence[str]) -> None:
    known = dataset.parts[0].samples().column_names if dataset.parts else []
    derived = [n for n in known if n.startswith("col.")]
    for name in keep:
        if name not in KEEP and f"col.{name.removeprefix('col.')}" not in derived:
            raise UnknownNameError("column", name, [*KEEP, *derived])


def _by_preference(
    dataset: Dataset, groups: list[list[int]], keep: Sequence[str]
) -> list[list[int]]:
    """Groups by their lowest rows, the row to keep first in each."""
    rows = np.sort(np.array([r for g in groups for r in g], np.int64))
    some = dataset.select(rows)
    keys = [rows.astype(np.float64)]
    keys += [-_preference(dataset, some, name) for name in reversed(keep)]
    rank = dict(zip(rows[np.lexsort(keys)].tolist(), range(len(rows)), strict=True))
    return sorted((sorted(g, key=rank.__getitem__) for g in groups), key=min)


def _preference(dataset: Dataset, some: Dataset, name: str) -> npt.NDArray[np.float64]:
    """For each sample of ``some`` of the dataset, how much it is preferred."""
    if name == "annotations":
        counts = [np.diff(p.offsets(some.meta.layer)) for p in some.parts]
        return (np.concatenate([*counts, np.empty(0)]) > 0).astype(np.float64)
    if name == "resolution":
        return np.nan_to_num(sizes(some).prod(1), nan=-1.0)
    plain = name.removeprefix("col.")
    values = column(some.samples([f"col.{plain}"]), f"col.{plain}")
    sign = -1.0 if column_facts(dataset, plain).get("better") == "lower" else 1.0
    numbers = np.asarray(values.cast(pa.float64()).to_numpy(), np.float64)
    return np.nan_to_num(sign * numbers, nan=-np.inf)


def _table(dataset: Dataset, groups: list[list[int]], prints: Fingerprints) -> pa.Table:
    rows = np.array([r for g in groups for r in g], np.int64)
    sizes_ = np.array([len(g) for g in groups], np.int64)
    of = np.repeat(np.array([g[0] for g in groups], np.int64), sizes_)
    kept = rows == of
    kind, bits, similarity = kinds_of(prints, rows, of)
    gone = pa.array(kept)
    return pa.table(
        {
            "row": rows,
            "key": dataset.samples(["key"])["key"].take(pa.array(rows)),
            "group": np.repeat(np.arange(len(groups)), sizes_),
            "kept": kept,
            "of": pa.array(of, mask=kept),
            "kind": pa.array([None if k else n for k, n in zip(kept, kind, strict=True)], _TEXT),
            "distance": _null_where(gone, bits),
            "similarity": _null_where(gone, similarity),
        }
    )


_TEXT = pa.string()


def _null_where(mask: pa.Array, values: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.if_else(mask, pa.scalar(None, values.type), values)


def kinds_of(prints: Fingerprints, a: Ints, b: Ints) -> tuple[list[str], pa.Array, pa.Array]:
    """How pairs of rows are alike: kind, distance in bits, similarity (null where unknown)."""
    file = (prints.file[a] == prints.file[b]) & (prints.file[a] >= 0)
    pixels = (prints.pixels[a] == prints.pixels[b]) & (prints.pixels[a] >= 0)
    kind = np.where(file, 0, np.where(pixels, 1, 2))
    known = prints.hashed[a] & prints.hashed[b]
    bits = pa.array(prints.bits(a, b), pa.int16(), mask=~known)
    similarity = pa.nulls(len(a), pa.float32())
    if prints.thumbnails:
        similarity = pa.array(prints.similarity(a, b), mask=~known)
    return [KINDS[k] for k in kind], bits, similarity


def _selection(
    dataset: Dataset, table: pa.Table, parameters: dict[str, Any], columns: Sequence[str]
) -> Selection:
    dropped: dict[int, str] = {}
    keys = dataset.samples(["key"])["key"]
    for row, of in zip(table["row"].to_pylist(), table["of"].to_pylist(), strict=True):
        if of is not None:
            dropped[row] = f"duplicate of {keys[of].as_py()}"
    rows = np.setdiff1d(np.arange(len(dataset)), np.array(list(dropped), np.int64))
    inputs = {n: fingerprint_of(column_identity(dataset, n)) for n in columns}
    store = dataset.meta.store
    lineage = {
        "operation": "duplicates",
        "method": "duplicates@1",
        "parameters": parameters,
        "inputs": inputs,
        "layer": dataset.meta.layer,
        "parent": None if store is None else store.manifest["fingerprint"],
        "n_in": len(dataset),
        "n_out": len(rows),
    }
    kept = set(table["row"].filter(table["kept"]).to_pylist())
    reason = ["kept of its duplicates" if int(r) in kept else "no duplicate" for r in rows]
    return Selection(rows, len(dataset), reason=reason, dropped=dropped, lineage=lineage)


def replayed(dataset: Dataset, lineage: Mapping[str, Any]) -> Selection:
    """The selection of a lineage, made again (see ``selection.replay``)."""
    return duplicates(dataset, **lineage["parameters"]).selection
