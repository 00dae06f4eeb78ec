"""Images that are in several splits, or in two datasets: what a score on one owes to the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate._clusters import clustered, near_edges
from granum.curate._crossings import crossing_pairs, shared_values
from granum.curate._fingerprints import Criteria, Fingerprints, Near
from granum.curate.duplicates import kinds_of
from granum.curate.sample_values import coded, labels_of, sample_values
from granum.curate.score import score
from granum.curate.selection import Selection
from granum.errors import UnknownNameError, UsageError
from granum.store.dataset import Dataset
from granum.store.executor import Executor

__all__ = ["Leakage", "leakage", "replayed"]

Ints = npt.NDArray[np.int64]

SIDES = ("dataset", "other")
"""The splits of two datasets: all of the one, all of the other."""


@dataclass(frozen=True)
class Leakage:
    """What crosses splits.

    Attributes:
        dataset: the dataset, with the columns that were computed; ``other``: the second one.
        splits: their names, and of how many samples.
        pairs: ``row``, ``key``, ``split``, ``other_row``, ``other_key``, ``other_split``, ``kind``
            (exact-file, exact-pixels, near), ``distance`` (bits), ``similarity``, and ``agree``:
            whether both have the same set of categories (null where one has no annotations); where
            not, one of them may be labelled wrongly. Of many equal images not all pairs are listed,
            but each sample with one of every split that its like is in.
        shared: values of the columns that should not cross: ``column``, ``value``, ``split``,
            ``samples``.
        leaked: rows (of ``dataset``, then of ``other``) in a pair; ``grouped``: rows with a shared
            value.
        split: the number of the split of each row (of ``dataset``, then of ``other``), -1: none.
        parameters: what it was asked with.
    """

    dataset: Dataset
    other: Dataset | None
    splits: dict[str, int]
    pairs: pa.Table
    shared: pa.Table
    split: Ints
    leaked: Ints
    grouped: Ints
    parameters: Mapping[str, Any]

    def shares(self) -> dict[str, dict[str, Any]]:
        """For each split how many samples it has, and how many of them have their like
        (``leaked``) or their value (``grouped``) in another; ``share`` is that of either."""
        out = {}
        for number, (name, samples) in enumerate(self.splits.items()):
            leaked = self.leaked[self.split[self.leaked] == number]
            grouped = self.grouped[self.split[self.grouped] == number]
            either = len(np.union1d(leaked, grouped))
            out[name] = {
                "samples": samples,
                "leaked": len(leaked),
                "grouped": len(grouped),
                "share": either / samples if samples else None,
            }
        return out

    def suspects(self) -> pa.Table:
        """Pairs whose categories disagree."""
        agree = self.pairs["agree"].to_pylist()
        return self.pairs.filter(pa.array([a is False for a in agree], pa.bool_()))

    def fixed(self, protect: Sequence[str] | None = None) -> Selection:
        """The samples of ``dataset`` without those whose like is in a split that matters more.

        Args:
            protect: splits, the most important first; the others follow, smaller ones first (so
                tests stay as they are, and training gives way). Of two datasets the other is
                protected.

        Raises:
            UnknownNameError: ``protect`` names no split.
        """
        first = [SIDES[1]] if self.other is not None else list(protect or [])
        for name in first:
            if name not in self.splits:
                raise UnknownNameError("split", name, self.splits)
        rest = sorted(self.splits.keys() - set(first), key=lambda n: (self.splits[n], n))
        place = {name: i for i, name in enumerate([*first, *rest])}
        dropped: dict[int, str] = {}
        for row in self.pairs.to_pylist():
            ends = [(row["split"], row["row"]), (row["other_split"], row["other_row"])]
            key = row["other_key"]
            if place[ends[0][0]] < place[ends[1][0]]:
                ends, key = ends[::-1], row["key"]
            dropped.setdefault(ends[0][1], f"{row['kind']} duplicate of {key} in {ends[1][0]}")
        self._drop_shared(place, dropped)
        rows = np.setdiff1d(np.arange(len(self.dataset)), np.array(list(dropped), np.int64))
        lineage = {
            "operation": "leakage",
            "method": "leakage@1",
            "parameters": {**self.parameters, "protect": list(protect or [])},
            "other": None if self.other is None else _fingerprint(self.other),
            "layer": self.dataset.meta.layer,
            "parent": _fingerprint(self.dataset),
            "n_in": len(self.dataset),
            "n_out": len(rows),
        }
        reason = ["not in a split that matters more"] * len(rows)
        return Selection(rows, len(self.dataset), reason=reason, dropped=dropped, lineage=lineage)

    def _drop_shared(self, place: dict[str, int], dropped: dict[int, str]) -> None:
        """Rows whose value is also in a split that matters more."""
        names = list(self.splits)
        listed = [(r["column"], r["value"], r["split"]) for r in self.shared.to_pylist()]
        first: dict[tuple[str, str], str] = {}
        for name, value, split in sorted(listed, key=lambda e: place[e[2]]):
            first.setdefault((name, value), split)
        for name in dict.fromkeys(column for column, _, _ in listed):
            values = _values([self.dataset], name).to_pylist()
            for row in self.grouped[self.grouped < len(self.dataset)].tolist():
                owner = first.get((name, values[row]))
                if owner is not None and owner != names[self.split[row]]:
                    dropped.setdefault(row, f"its {name} {values[row]!r} is in {owner}")

    def to_dict(self) -> dict[str, Any]:
        return {
            "splits": self.shares(),
            "pairs": self.pairs.num_rows,
            "kinds": dict(Counter(self.pairs["kind"].to_pylist())),
            "disagree": self.suspects().num_rows,
            "crossing": self.pairs.to_pylist(),
            "shared": self.shared.to_pylist(),
        }

    def table(self, examples: int = 10) -> str:
        """For people: shares, then the first pairs."""
        lines = [f"{'split':<16}{'samples':>9}{'leaked':>9}{'grouped':>9}{'share':>9}"]
        for name, s in self.shares().items():
            share = "" if s["share"] is None else f"{s['share']:.2%}"
            counts = f"{s['samples']:>9}{s['leaked']:>9}{s['grouped']:>9}"
            lines.append(f"{name:<16}{counts}{share:>9}")
        for row in self.pairs.slice(0, examples).to_pylist():
            labels = "  labels differ" if row["agree"] is False else ""
            lines.append(
                f"{row['kind']:<13}{row['split']}: {row['key']} = "
                f"{row['other_split']}: {row['other_key']}{labels}"
            )
        if self.pairs.num_rows > examples:
            lines.append(f"… and {self.pairs.num_rows - examples} more pairs")
        for row in self.shared.slice(0, examples).to_pylist():
            value = f"{row['column']} {row['value']!r}"
            lines.append(f"{value}: {row['samples']} in {row['split']}")
        return "\n".join(lines)


def leakage(
    dataset: Dataset,
    split: str = "split",
    other: Dataset | None = None,
    *,
    by: Sequence[str] = ("group",),
    exact: Sequence[str] = ("file", "pixels"),
    near: Near | None = "phash",
    radius: int = 6,
    similarity: float | None = 0.95,
    flips: bool = False,
    executor: Executor | None = None,
    progress: Callable[[int], None] | None = None,
) -> Leakage:
    """Find images that are in several splits of a dataset, or in two datasets.

    Args:
        dataset: a whole store.
        split: the column of splits (``split``, ``col.split``…); samples where it is null are left
            out.
        other: another whole store: what is in both is asked, whatever the splits.
        by: columns whose values should not cross: ``group`` (frames of one video), ``source_id``,
            ``attr.patient``…
        exact, near, radius, similarity, flips, executor, progress: as ``duplicates`` has them.

    Raises:
        UsageError: there are not two splits.
        UnknownNameError: no such column.
    """
    criteria = Criteria(tuple(exact), near, radius, similarity, flips)
    splits, names = _splits(dataset, split, other)
    datasets = [
        score(d, criteria.scorers(), executor=executor, progress=progress)
        for d in ([dataset] if other is None else [dataset, other])
    ]
    prints = Fingerprints.of(datasets, criteria).only(splits >= 0)
    clusters = clustered(prints, np.full(len(splits), -1)).labels()
    edges = near_edges(prints, clusters, splits, executor)
    found = crossing_pairs(clusters, edges, splits)
    pairs = _pairs(datasets, found, splits, names, prints)
    tables, grouped = [], [np.empty(0, np.int64)]
    for name in by:
        table, rows = _shared(datasets, name, splits, names)
        tables.append(table)
        grouped.append(rows)
    counts = np.bincount(splits[splits >= 0], minlength=len(names)).tolist()
    return Leakage(
        datasets[0],
        datasets[1] if other is not None else None,
        dict(zip(names, counts, strict=True)),
        pairs,
        pa.concat_tables(tables) if tables else _SHARED.empty_table(),
        splits,
        np.unique(found),
        np.unique(np.concatenate(grouped)),
        {"split": split, "by": list(by), **criteria.to_dict()},
    )


_SHARED = pa.schema(
    [("column", pa.string()), ("value", pa.string()), ("split", pa.string()), ("samples", "int64")]
)


def replayed(dataset: Dataset, lineage: Mapping[str, Any]) -> Selection:
    """The selection of a lineage, made again (see ``selection.replay``).

    Raises:
        UsageError: it was made against another dataset.
    """
    if lineage["other"] is not None:
        raise UsageError("leakage against another dataset cannot be replayed: it is not at hand")
    parameters = {k: v for k, v in lineage["parameters"].items() if k != "protect"}
    return leakage(dataset, **parameters).fixed(lineage["parameters"]["protect"])


def _fingerprint(dataset: Dataset) -> str | None:
    store = dataset.meta.store
    return None if store is None else store.manifest["fingerprint"]


def _splits(dataset: Dataset, split: str, other: Dataset | None) -> tuple[Ints, list[str]]:
    if other is not None:
        return np.repeat([0, 1], [len(dataset), len(other)]), list(SIDES)
    codes, names = coded(sample_values(dataset, split))
    if len(names) < 2:
        raise UsageError(
            f"column {split!r} has {len(names)} value(s); leakage is between splits. "
            "Split the dataset first (granum split), or compare it with another one."
        )
    return codes, names


def _values(datasets: Sequence[Dataset], name: str) -> pa.Array:
    return pa.concat_arrays([sample_values(d, name) for d in datasets])


def _shared(
    datasets: Sequence[Dataset], name: str, splits: Ints, names: Sequence[str]
) -> tuple[pa.Table, Ints]:
    codes, values = coded(_values(datasets, name))
    at = np.flatnonzero(shared_values(codes, splits))
    found, counts = np.unique(np.stack([codes[at], splits[at]], 1), axis=0, return_counts=True)
    listed = [
        {"column": name, "value": values[code], "split": names[split], "samples": int(n)}
        for (code, split), n in zip(found.tolist(), counts, strict=True)
    ]
    return pa.Table.from_pylist(listed, schema=_SHARED), at


def _pairs(
    datasets: Sequence[Dataset],
    found: Ints,
    splits: Ints,
    names: Sequence[str],
    prints: Fingerprints,
) -> pa.Table:
    a, b = found[:, 0], found[:, 1]
    kind, bits, similarity = kinds_of(prints, a, b)
    keys = pa.concat_arrays([d.samples(["key"])["key"].combine_chunks() for d in datasets])
    offset = len(datasets[0]) if len(datasets) > 1 else 0
    called = np.array(names, object)
    return pa.table(
        {
            "row": a,
            "key": keys.take(pa.array(a)),
            "split": pa.array(called[splits[a]], pa.string()),
            "other_row": b - offset,
            "other_key": keys.take(pa.array(b)),
            "other_split": pa.array(called[splits[b]], pa.string()),
            "kind": pa.array(kind, pa.string()),
            "distance": bits,
            "similarity": similarity,
            "agree": _agreement(datasets, a, b),
        }
    )


def _agreement(datasets: Sequence[Dataset], a: Ints, b: Ints) -> pa.Array:
    """Whether samples have the same set of category names; null where one has none."""
    wanted = set(np.concatenate([a, b]).tolist())
    names: dict[int, set[str]] = {}
    start = 0
    for dataset in datasets:
        labels = labels_of(dataset)
        for row, label in zip((labels.sample + start).tolist(), labels.label.tolist(), strict=True):
            if row in wanted:
                names.setdefault(row, set()).add(labels.names[label])
        start += len(dataset)
    return pa.array(
        [
            names[i] == names[j] if i in names and j in names else None
            for i, j in zip(a.tolist(), b.tolist(), strict=True)
        ],
        pa.bool_(),
    )
