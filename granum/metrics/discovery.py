"""Category discovery: clusters of unlabelled samples against their true classes.

Accuracy of generalised category discovery (S. Vaze, K. Han, A. Vedaldi, A. Zisserman: Generalized
Category Discovery, CVPR 2022; ``project_utils/cluster_and_log_utils.py``): clusters are assigned
to classes one to one so that most samples are right, and the share of right ones is told for all
samples, for those of old (labelled) classes and for those of new ones. By ``v2``, the default and
what papers report, one assignment is made over all samples; by ``v1`` one for old and one for new
samples, which gives higher numbers. Of equally good assignments scipy's
``linear_sum_assignment`` decides, on the table of clusters by classes in the order of their
categories; it may move accuracy between old and new, never that of all.

NMI (over the mean of both entropies) and ARI are scikit-learn's; purity counts the most frequent
class of each cluster; ``k_error`` is the difference of the numbers of clusters and classes over
that of classes. Samples without a true label or without a cluster are left out of all numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.metrics._labels.partitions import (
    Version,
    adjusted_rand_index,
    assignment,
    clustering_accuracy,
    normalized_mutual_information,
    purity,
    table_of,
)
from granum.metrics._labels.rows import (
    Labels,
    LabelState,
    categories_named,
    firsts,
    joined,
    labels_of,
    of_units,
    only_space,
    spaces_of,
)
from granum.metrics.base import Context, Protocol, Recount, Result, protocols
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = [
    "Discovery",
    "adjusted_rand_index",
    "assignment",
    "clustering_accuracy",
    "normalized_mutual_information",
    "purity",
    "table_of",
]

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _State:
    """Of a part: labels of both sides, and which samples are of the labelled split."""

    labels: LabelState
    labelled: Flags


@dataclass(frozen=True)
class _Units:
    """Samples that are compared, by rising key: cluster, class; which classes are old, and how many
    samples have a class."""

    keys: pa.Array
    cluster: Ints
    true: Ints
    old: Flags
    truths: int


@protocols("discovery")
@dataclass(frozen=True)
class Discovery(Protocol):
    """Clustering accuracy on all, old and new classes; NMI, ARI, purity.

    Truth: a ``label`` row per sample (not ``present = false``), of one label space.
    Predictions: a ``label`` row per sample whose category is the cluster. Where the predictions
    have categories of the space ``clusters``, only those are clusters. The truth need not know
    them; categories of equal names mean nothing.

    Attributes:
        known: names of the old classes. Without it and ``labelled``, accuracy is of all only.
        labelled: the split whose samples are labelled: its classes are the old ones, and its
            samples are not compared.
        space: of the true labels; default: the only one.
        clusters: the space of clusters.
        version: of the accuracy, ``v2`` or ``v1``.
    """

    name: ClassVar[str] = "discovery"
    reference: ClassVar[str] = "generalized-category-discovery (v1, v2); scikit-learn (NMI, ARI)"
    extra: ClassVar[str | None] = "eval"
    needs: ClassVar[tuple[str, ...]] = ("category", "own")
    kinds: ClassVar[tuple[str, ...] | None] = ("label",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("label",)
    scale_free: ClassVar[bool] = True
    sizeless: ClassVar[bool] = True

    known: tuple[str, ...] = ()
    labelled: str | None = None
    space: str | None = None
    clusters: str = "cluster"
    version: Version = "v2"

    def __post_init__(self) -> None:
        if self.version not in ("v1", "v2"):
            raise UsageError(f"version is {self.version!r}; it must be v1 or v2")
        if isinstance(self.known, str):
            raise UsageError(f"known is {self.known!r}; it must be a list of names of categories")
        if self.known and self.labelled is not None:
            raise UsageError("old classes are told by known or by labelled, not by both")

    def state(self, truth: Batch, predictions: Batch, context: Context) -> _State:
        found = Findings(on_error="skip")
        mine = labels_of(truth, "truth", found, lambda r: (r.category >= 0, "without a category"))
        own = np.array([s == self.clusters for s in spaces_of(_categories(context))], bool)

        def wanted(rows: Labels) -> tuple[Flags, str]:
            return own[rows.category], f"of a space other than {self.clusters}"

        theirs = labels_of(predictions, "predictions", found, wanted if own.any() else None)
        split = column(truth.samples, "split", tables.SAMPLES).cast(pa.string())
        labelled = np.zeros(len(split), bool)
        if self.labelled is not None:
            labelled = np.asarray(pc.equal(split, self.labelled).fill_null(False), bool)
        keys = truth.samples["key"].combine_chunks()
        return _State(LabelState(keys, mine, theirs, found), labelled)

    def result(self, states: Sequence[_State], context: Context) -> Result:
        whole, labelled = joined([s.labels for s in states]), _labelled(states)
        if self.labelled is not None and not labelled.any():
            raise UsageError(f"no sample of the truth is of the split {self.labelled!r} (labelled)")
        units = self._units(whole, labelled, context)
        split = bool(self.known) or self.labelled is not None
        told = ("acc_all", "acc_old", "acc_new") if split else ("acc_all",)

        def values(weights: Ints) -> dict[str, float | None]:
            table, _, classes = table_of(units.cluster, units.true, weights)
            accuracy = clustering_accuracy(table, units.old[classes], self.version)
            clusters, true = table.shape
            return {
                **dict(zip(told, accuracy, strict=False)),
                "nmi": normalized_mutual_information(table),
                "ari": adjusted_rand_index(table),
                "purity": purity(table),
                "k_error": abs(clusters - true) / true if true else None,
            }

        per_class, matched = self._classes(units, context)
        names = context.categories["name"].combine_chunks()
        clusters = _categories(context)["name"].combine_chunks()
        return Result(
            protocol=self.name,
            values=values(np.ones(len(units.keys), np.int64)),
            per_class=per_class,
            per_sample=pa.table(
                {
                    "key": units.keys,
                    "cluster": clusters.take(pa.array(units.cluster)),
                    "class_of_cluster": names.take(pa.array(matched, mask=matched < 0)),
                    "correct": pa.array(matched == units.true),
                    "old": pa.array(units.old[units.true]),
                }
            ),
            facts={
                "truths": units.truths,
                "predictions": len(units.cluster),
                "samples_scored": len(units.keys),
                "samples_labelled": int(labelled.sum()),
                "clusters": len(np.unique(units.cluster)),
                "classes": len(np.unique(units.true)),
                "old_classes": int(units.old.sum()),
                "version": self.version,
            },
            findings=whole.findings,
            recount=Recount(units.keys, values),
        )

    def _units(self, whole: LabelState, labelled: Flags, context: Context) -> _Units:
        """The samples that have a class and a cluster, without those that are labelled."""
        found, keys = whole.findings, whole.keys
        space = self.space
        if space is None:
            space = only_space(
                context.categories, np.unique(whole.truth.category).tolist(), self.name
            )
        of_space = np.array([s == space for s in spaces_of(context.categories)], bool)
        inside = of_space[whole.truth.category]
        other = whole.truth.unit[~inside]
        of_units(found, "not-compared", "truth", keys, other, "rows of other label spaces")
        mine, theirs = whole.truth.of(inside), whole.predictions
        sides = []
        for who, labels in (("truth", mine), ("predictions", theirs)):
            first = firsts(labels.unit)
            more = labels.unit[~first]
            of_units(found, "duplicate-annotation", who, keys, more, "labels after the first one")
            side = np.full(len(keys), -1, np.int64)
            side[labels.unit[first]] = labels.category[first]
            sides.append(side)
        true, cluster = sides
        old = np.zeros(context.categories.num_rows, bool)
        old[categories_named(context.categories, self.known, space, "known")] = True
        old[true[labelled & (true >= 0)]] = True
        bare = np.flatnonzero(~labelled & (true < 0))
        of_units(found, "no-truth", "truth", keys, bare, "samples without a label")
        alone = np.flatnonzero(~labelled & (true >= 0) & (cluster < 0))
        of_units(found, "no-predictions", "predictions", keys, alone, "samples without a cluster")
        keep = ~labelled & (true >= 0) & (cluster >= 0)
        truths = int((~labelled & (true >= 0)).sum())
        return _Units(keys.filter(pa.array(keep)), cluster[keep], true[keep], old, truths)

    def _classes(self, units: _Units, context: Context) -> tuple[pa.Table, Ints]:
        """A row per class, and the class of each sample's cluster (-1: none); by one assignment
        over all samples in either version."""
        table, clusters, classes = table_of(units.cluster, units.true)
        own = assignment(table)
        matched = np.full(len(clusters), -1, np.int64)
        matched[own[own >= 0]] = classes[own >= 0]
        right = np.where(own >= 0, table[own, np.arange(len(classes))] if len(clusters) else 0, 0)
        total = table.sum(axis=0)
        of = pa.array(clusters[own] if len(clusters) else own, mask=own < 0)
        columns = {
            "category": context.categories["name"].combine_chunks().take(pa.array(classes)),
            "old": pa.array(units.old[classes]),
            "cluster": _categories(context)["name"].combine_chunks().take(of),
            "samples": pa.array(total),
            "correct": pa.array(right, pa.int64()),
            "accuracy": pa.array(right / np.maximum(total, 1), pa.float64()),
        }
        place = np.searchsorted(clusters, units.cluster)
        return pa.table(columns), matched[place]


def _categories(context: Context) -> pa.Table:
    """Those of the predictions."""
    own = context.prediction_categories
    return context.categories if own is None else own


def _labelled(states: Sequence[_State]) -> Flags:
    """Of all samples, by rising key."""
    keys = pa.chunked_array([s.labels.keys for s in states], pa.string()).combine_chunks()
    flags = np.concatenate([np.empty(0, bool), *(s.labelled for s in states)])
    return np.asarray(flags[np.asarray(pc.sort_indices(keys), np.int64)], bool)
