"""Splits that keep what belongs together together, and give each its share of every label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate.duplicates import Duplicates
from granum.curate.sample_values import Labels, coded, labels_of, sample_values
from granum.errors import UsageError
from granum.schema.tables import SAMPLES, with_column
from granum.store.additions import save_view
from granum.store.columns import NewColumn, Roots, add_columns
from granum.store.dataset import Dataset
from granum.store.disk import fingerprint_of
from granum.store.parts import Batch

__all__ = ["GroupSplit", "components", "group_split"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Grouping = str | Duplicates | npt.NDArray[Any]


@dataclass(frozen=True)
class GroupSplit:
    """Samples dealt out to splits.

    Attributes:
        split: the split of each sample (dictionary of text), null where it is in none.
        names: of the splits.
        component: the component of each sample: those of one are in one split.
        labels: ``label``, ``total``, and the share of it in each split, most frequent first.
        facts: by split ``samples``, ``share``, ``wanted``, ``components``, and ``worst``: how far
            the share of a label that occurs at least 20 times is from the wanted one, at most.
        lineage: what made it.
    """

    split: pa.Array
    names: Sequence[str]
    component: Ints
    labels: pa.Table
    facts: Mapping[str, Mapping[str, Any]]
    lineage: Mapping[str, Any]

    def rows(self, name: str) -> Ints:
        """The samples of a split, ascending."""
        code = list(self.names).index(name)
        codes = np.asarray(self.split.indices.fill_null(-1), np.int64)
        return np.flatnonzero(codes == code)

    def apply(self, dataset: Dataset) -> Dataset:
        """The dataset with its ``split`` column set; nothing is written. ``split()`` of it gives a
        dataset per split."""
        self._check(dataset)

        def change(batch: Batch) -> Batch:
            values = self.split.slice(batch.start, batch.samples.num_rows)
            return Batch(
                with_column(batch.samples, "split", values), batch.annotations, batch.start
            )

        return dataset.map_batches(change)

    def save_views(self, dataset: Dataset, prefix: str = "") -> Dataset:
        """Keep each split as a view ``PREFIXNAME`` of the store."""
        self._check(dataset)
        for name in self.names:
            reason, lineage = f"split {name}", {**self.lineage, "split": name}
            dataset = save_view(
                dataset, f"{prefix}{name}", self.rows(name), reason=reason, lineage=lineage
            )
        return dataset

    def save_column(self, dataset: Dataset, name: str = "split") -> Dataset:
        """Keep it as a derived column ``col.NAME`` of the store."""
        self._check(dataset)
        text = self.split.cast(pa.string())
        parameters = {**self.lineage, "result": fingerprint_of(text.to_pylist())}

        def part(batch: Batch, roots: Roots, names: Sequence[str]) -> dict[str, pa.Array]:
            return {name: text.slice(batch.start, batch.samples.num_rows)}

        facts = {"about": "split that each sample is in"}
        return add_columns(dataset, [NewColumn(name, 1, parameters, (), facts)], part)

    def _check(self, dataset: Dataset) -> None:
        if len(dataset) != len(self.split):
            raise UsageError(f"a split of {len(self.split)} samples, not of these {len(dataset)}")

    def to_dict(self) -> dict[str, Any]:
        return {
            "splits": {n: dict(f) for n, f in self.facts.items()},
            "components": len(np.unique(self.component)),
            "unassigned": self.split.null_count,
            "labels": self.labels.to_pylist(),
            "lineage": dict(self.lineage),
        }

    def table(self, examples: int = 10) -> str:
        """For people: the splits, then the shares of the most frequent labels."""
        lines = [f"{'split':<16}{'samples':>9}{'share':>9}{'wanted':>9}{'worst label':>13}"]
        for name, f in self.facts.items():
            worst = "" if f["worst"] is None else f"{f['worst']:.2%}"
            share = "" if f["share"] is None else f"{f['share']:.2%}"
            lines.append(f"{name:<16}{f['samples']:>9}{share:>9}{f['wanted']:>9.2%}{worst:>13}")
        if self.split.null_count:
            lines.append(f"{self.split.null_count} samples are in no split")
        for row in self.labels.slice(0, examples).to_pylist():
            shares = ", ".join(f"{n} {row[n]:.1%}" for n in self.names)
            lines.append(f"{row['label']}: {row['total']} ({shares})")
        return "\n".join(lines)


def group_split(
    dataset: Dataset,
    fractions: Mapping[str, float],
    *,
    groups: Sequence[Grouping] = ("group",),
    stratify: str | None = "category",
    seed: int = 0,
) -> GroupSplit:
    """Deal samples out to splits, whole components at a time.

    Samples that share a group of any kind are one component. Components go, largest first and those
    with rare labels before others, to the split whose χ² distance from its wanted counts of labels
    (and of samples) they lessen most: the greedy way of iterative stratification (Sechidis,
    Tsoumakas and Vlahavas, 2011).

    Args:
        dataset: what to split; a store only if the result is to be kept there.
        fractions: share of each split, above 0; where they sum to less than 1 the rest is in none.
        groups: what must not be torn: columns (``group``, ``attr.patient``, ``source_id``),
            ``duplicates`` of this dataset, or arrays of a label per sample (-1: none).
        stratify: ``category`` (of the annotations in the current layer), a column of samples, or
            None.
        seed: decides between components that are alike; equal seeds give equal splits.

    Raises:
        UsageError: fractions that cannot be, or labels of another length.
        UnknownNameError: no such column.
    """
    shares = _checked(fractions)
    component = components(dataset, groups)
    labels = _no_labels() if stratify is None else labels_of(dataset, stratify)
    owner = _dealt(component, labels, np.array(list(shares.values())), seed)
    owner[owner >= len(fractions)] = -1
    names = list(fractions)
    split = pa.DictionaryArray.from_arrays(
        pa.array(owner, pa.int32(), mask=owner < 0), pa.array(names, pa.string())
    ).cast(SAMPLES.field("split").type)
    store = dataset.meta.store
    lineage = {
        "operation": "group_split",
        "method": "group_split@1",
        "parameters": {
            "fractions": dict(fractions),
            "groups": [_described(g) for g in groups],
            "stratify": stratify,
            "seed": seed,
        },
        "layer": dataset.meta.layer,
        "parent": None if store is None else store.manifest["fingerprint"],
    }
    table = _label_table(labels, owner, names)
    facts = _facts(owner, component, fractions, table)
    return GroupSplit(split, names, component, table, facts, lineage)


def _checked(fractions: Mapping[str, float]) -> dict[str, float]:
    """The fractions, and one for the rest where they leave some."""
    total = sum(fractions.values())
    if not fractions or min(fractions.values()) <= 0 or total > 1 + 1e-9:
        raise UsageError(f"fractions {dict(fractions)} must be above 0 and sum to 1 at most")
    return {**fractions, **({"": 1 - total} if total < 1 - 1e-9 else {})}


def _described(group: Grouping) -> Any:
    if isinstance(group, Duplicates):
        return {"duplicates": dict(group.selection.lineage)}
    return group if isinstance(group, str) else {"labels": fingerprint_of(group.tolist())}


def _no_labels() -> Labels:
    empty = np.empty(0, np.int64)
    return Labels(empty, empty, empty, [])


def components(dataset: Dataset, groups: Sequence[Grouping]) -> Ints:
    """The component of each sample, named by its lowest row: samples that share a group, or are
    linked through others that do."""
    listed = []
    for group in groups:
        if isinstance(group, str):
            codes = coded(sample_values(dataset, group))[0]
        else:
            codes = np.asarray(group.linked if isinstance(group, Duplicates) else group, np.int64)
        if len(codes) != len(dataset):
            raise UsageError(f"{len(codes)} group labels for {len(dataset)} samples")
        there = np.flatnonzero(codes >= 0)
        listed.append((there, np.unique(codes[there], return_inverse=True)[1]))
    root = np.arange(len(dataset))
    while True:
        before = root
        for rows, codes in listed:
            lowest = np.full(len(rows), len(root))
            np.minimum.at(lowest, codes, root[rows])
            # The roots themselves follow, so that whole components move at a time.
            moved = root.copy()
            np.minimum.at(moved, root[rows], lowest[codes])
            moved[rows] = np.minimum(moved[rows], lowest[codes])
            root = moved[moved]
        if np.array_equal(before, root):
            return root


def _dealt(component: Ints, labels: Labels, shares: Floats, seed: int) -> Ints:
    """The number of the split of each sample."""
    _, unit, sizes = np.unique(component, return_inverse=True, return_counts=True)
    width = len(labels.names) + 1  # the last one counts samples
    key = np.concatenate(
        [unit[labels.sample] * width + labels.label, np.arange(len(sizes)) * width]
    )
    key[len(labels.sample) :] += width - 1
    found, at = np.unique(key, return_inverse=True)
    weights = np.concatenate([labels.count, sizes]).astype(np.float64)
    counts: Floats = np.bincount(at, weights, len(found)).astype(np.float64)
    label = found % width
    starts = np.searchsorted(found, np.arange(len(sizes) + 1) * width)
    totals: Floats = np.bincount(label, counts, width).astype(np.float64)
    wanted = shares[:, None] * totals
    weight = np.ones(width)
    weight[-1] = np.sqrt(np.count_nonzero(totals))  # else many rare labels outvote the sizes
    given = np.zeros_like(wanted)
    owner = np.empty(len(sizes), np.int64)
    for one in _order(sizes, starts, label, counts, totals, seed):
        cut = slice(starts[one], starts[one + 1])
        which, count = label[cut], counts[cut]
        short = given[:, which] - wanted[:, which]
        change = (weight[which] * count * (2 * short + count) / wanted[:, which]).sum(1)
        owner[one] = best = int(np.argmin(change))
        given[best, which] += count
    return owner[unit]


def _order(
    sizes: Ints, starts: Ints, label: Ints, counts: Floats, totals: Floats, seed: int
) -> list[int]:
    """Components: the largest first, then those with the rarest labels, then those with many."""
    if not len(sizes):
        return []
    chance = np.random.default_rng(seed).permutation(len(sizes))
    rarest = np.minimum.reduceat(totals[label], starts[:-1])
    mass = np.add.reduceat(counts, starts[:-1])
    return [int(i) for i in np.lexsort([chance, -mass, rarest, -sizes])]


def _label_table(labels: Labels, owner: Ints, names: Sequence[str]) -> pa.Table:
    width = len(labels.names)
    totals = np.bincount(labels.label, labels.count, width)
    order = [i for i in np.argsort(-totals, kind="stable") if totals[i] > 0]
    columns: dict[str, Any] = {
        "label": pa.array([labels.names[i] for i in order], pa.string()),
        "total": totals[order].astype(np.int64),
    }
    split = owner[labels.sample]
    for number, name in enumerate(names):
        here = split == number
        part = np.bincount(labels.label[here], labels.count[here], width)
        columns[name] = part[order] / totals[order]
    return pa.table(columns)


def _facts(
    owner: Ints, component: Ints, fractions: Mapping[str, float], labels: pa.Table
) -> dict[str, dict[str, Any]]:
    out = {}
    frequent = np.asarray(labels["total"]) >= 20
    for number, (name, wanted) in enumerate(fractions.items()):
        here = owner == number
        away = np.abs(np.asarray(labels[name])[frequent] - wanted)
        out[name] = {
            "samples": int(here.sum()),
            "share": float(here.mean()) if len(owner) else None,
            "wanted": wanted,
            "components": len(np.unique(component[here])),
            "worst": float(away.max()) if len(away) else None,
        }
    return out
