"""Numbers per sample, joined back onto the samples as derived columns of the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.metrics.base import Result
from granum.schema.tables import column
from granum.store.columns import NewColumn, Roots, add_columns, column_identity
from granum.store.dataset import Dataset
from granum.store.parts import Batch

__all__ = ["column_names", "join_columns"]


def column_names(result: Result, prefix: str | None = None) -> dict[str, str]:
    """For each number per sample the name of its column: ``eval.coco_bbox.fn`` (hyphens become
    underscores, so that ``--where`` can name it as ``col.eval.coco_bbox.fn``)."""
    if result.per_sample is None:
        return {}
    start = prefix if prefix is not None else f"eval.{result.protocol.replace('-', '_')}"
    return {n: f"{start}.{n}" for n in result.per_sample.column_names if n != "key"}


def join_columns(dataset: Dataset, result: Result, prefix: str | None = None) -> Dataset:
    """Add the numbers per sample as derived columns, joined by key; null where there is none.
    Numbers of a video, pair or volume go to each of its samples, unless they are one sample's.

    Their identity holds the protocol, its parameters, both layers and a digest of the numbers: the
    same evaluation again is a cache hit.

    Args:
        dataset: a whole store that has the samples.
        result: of an evaluation.
        prefix: of the columns' names (default ``eval.PROTOCOL``).

    Returns:
        The store, reopened.

    Raises:
        StoreError: ``dataset`` is a selection, or in memory only.
        UsageError: the result has nothing per sample, the store has no sample (a list of videos),
            or columns of that name tell of another layer.
    """
    names = column_names(result, prefix)
    if result.per_sample is None or not names:
        raise UsageError(f"{result.protocol} gives no numbers per sample")
    if not len(dataset):
        raise UsageError(
            "the dataset has no samples that numbers could be joined to: write them (-o)"
        )
    facts = result.facts
    layers = {"truth": facts.get("truth_layer"), "predictions": facts.get("prediction_layer")}
    if "predictions_from" in facts:
        layers["from"] = facts["predictions_from"]
    told = {"protocol": result.protocol, "layers": layers}
    for name in names.values():
        known = column_identity(dataset, name)
        for what, mine in told.items():
            other = mine if known is None else known["parameters"].get(what, mine)
            if other != mine:
                raise UsageError(
                    f"column {name!r} tells of {other}, not of {mine}: "
                    "name these columns otherwise (prefix=, --prefix)"
                )
    columns = [
        NewColumn(
            joined,
            parameters={
                "protocol": result.protocol,
                "parameters": json.loads(json.dumps(facts.get("parameters", {}), default=str)),
                "layers": layers,
                "digest": _digest(result.per_sample, name),
            },
            facts={"protocol": result.protocol, "number": name},
        )
        for name, joined in names.items()
    ]
    groups = None
    if result.recount is not None and result.recount.unit == "group":
        groups = dataset.groups["key"].combine_chunks()
    return add_columns(dataset, columns, _Joined(result.per_sample, names, groups))


@dataclass(frozen=True)
class _Joined:
    """Looks the samples of a batch up by key, else (``groups``: their keys) by their group's."""

    table: pa.Table
    names: Mapping[str, str]
    groups: pa.Array | None

    def __call__(self, batch: Batch, roots: Roots, wanted: Sequence[str]) -> dict[str, pa.Array]:
        keys = self.table["key"].combine_chunks()
        rows = pc.index_in(batch.samples["key"].combine_chunks(), value_set=keys)
        if self.groups is not None:
            of = self.groups.take(column(batch.samples, "group").combine_chunks())
            rows = pc.coalesce(rows, pc.index_in(of, value_set=keys, skip_nulls=True))
        return {
            joined: self.table[name].combine_chunks().take(rows)
            for name, joined in self.names.items()
            if joined in wanted
        }


def _digest(table: pa.Table, name: str) -> str:
    """Of the keys and one column."""
    sink: Any = pa.BufferOutputStream()
    chosen = table.select(["key", name]).combine_chunks()
    with pa.ipc.new_stream(sink, chosen.schema) as writer:
        writer.write_table(chosen)
    return hashlib.sha256(sink.getvalue()).hexdigest()[:32]
