"""The samples that a run learns from, holds out, and is judged by; they must not overlap."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.schema import tables
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.train._trainer_config import Config
from granum.train.augment import Augment
from granum.train.base import Facts, Hook
from granum.train.dataset import subset, to_torch
from granum.train.order import keyed_number

if TYPE_CHECKING:
    from granum.train._torch_dataset import TorchDataset

__all__ = ["Data", "check_apart", "fingerprint_of", "held_out_rows", "units"]

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """One dataset, seen as what a run needs.

    Attributes:
        source: the dataset; all rows are its rows.
        train: what the weights are fitted to, with augmentation.
        held: training samples kept back for thresholds (may be empty).
        val: what the weights are chosen by; None where nothing is.
        whole: every sample, with a target or without.
        facts: what the hook may know.
        judge: parameters of the protocol that validation uses; None where it cannot judge.
    """

    source: Dataset
    train: TorchDataset
    held: TorchDataset
    val: TorchDataset | None
    whole: TorchDataset
    facts: Facts
    judge: Mapping[str, Any] | None

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        hook: Hook,
        config: Config,
        train_rows: Rows,
        val_rows: Rows | None,
        classes: Sequence[str] | None = None,
        label_from: str = "label",
        held_out: float | None = None,
    ) -> Data:
        """Raises:
        UsageError: training and validation overlap, or there is nothing to train on.
        """
        if val_rows is not None:
            check_apart(dataset, train_rows, val_rows)
        whole = to_torch(
            dataset,
            hook.task,
            size=config.size,
            classes=classes,
            label_from=label_from,
            missing="keep",
            on_error=config.on_error,
            decoder=config.decoder,
        )
        known = whole.targets.known()
        usable = train_rows[known[train_rows]]
        share = held_out if held_out is not None else (0.1 if _calibrates(hook) else 0.0)
        back = held_out_rows(dataset, usable, share, config.seed)
        kept = usable[~np.isin(usable, back)]
        if not len(kept):
            raise UsageError(f"none of {len(train_rows)} training samples has a target")
        change = Augment(config.flip, config.jitter) if config.flip or config.jitter else None
        out = train_rows[~known[train_rows]]
        return cls(
            source=dataset,
            train=subset(whole, kept, transform=change, left_out=out),
            held=subset(whole, back),
            val=None if val_rows is None else subset(whole, val_rows[known[val_rows]]),
            whole=whole,
            facts=Facts(whole.classes.names, whole.classes.rows, config.size),
            judge=hook.judge(_spaces(dataset, whole.classes.rows), label_from),
        )

    def identity(self) -> dict[str, Any]:
        """What the run learns from, in fingerprints."""
        parts = {"train": self.train, "held_out": self.held, "val": self.val}
        return {
            "view": fingerprint_of(self.source),
            "layer": self.source.meta.layer,
            "classes": list(self.facts.classes),
            **{n: None if d is None else d.fingerprint for n, d in parts.items()},
        }

    def plain_train(self) -> TorchDataset:
        """The training samples as they are."""
        return replace(self.train, transform=None)

    def of_whole(self, *, known: bool) -> TorchDataset:
        """All samples with a target, or all without."""
        return subset(self.whole, np.flatnonzero(self.whole.targets.known() == known))

    def counts(self) -> dict[str, int]:
        return {
            "samples": len(self.source),
            "train": len(self.train),
            "train_without_target": len(self.train.left_out),
            "held_out": len(self.held),
            "val": 0 if self.val is None else len(self.val),
        }


def _spaces(dataset: Dataset, classes: Sequence[int]) -> set[str]:
    """Label spaces of some categories."""
    listed = column(dataset.categories, "space", tables.CATEGORIES).cast(pa.string()).to_pylist()
    return {listed[row] or "" for row in classes}


def _calibrates(hook: Hook) -> bool:
    return type(hook).calibrate is not Hook.calibrate


def held_out_rows(dataset: Dataset, rows: Rows, share: float, seed: int) -> Rows:
    """About ``share`` of the rows, at least one where ``share`` is above 0 and there are two
    units; samples of one group (the frames of a video) go together, by a hash of their key."""
    if not 0 <= share < 1:
        raise UsageError(f"held_out must be in 0..1, not {share}")
    if not share:
        return rows[:0]
    names, place = np.unique(units(dataset, rows), return_inverse=True)
    if len(names) < 2:
        return rows[:0]
    order = np.argsort([keyed_number(seed, "held out", n) for n in names.tolist()])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rows[rank[place] < max(1, round(share * len(names)))]


def units(dataset: Dataset, rows: Rows) -> npt.NDArray[np.str_]:
    """What may not be torn apart: the group's key, else the sample's."""
    table = dataset.samples(["key", "group"]).take(pa.array(rows))
    group = np.asarray(table["group"].fill_null(-1), np.int64)
    keys = np.asarray(table["key"].to_pylist(), object)
    names = [f"sample:{k}" if g < 0 else f"group:{g}" for k, g in zip(keys, group, strict=True)]
    return np.asarray(names)


def check_apart(dataset: Dataset, train: Rows, val: Rows) -> None:
    """Raises:
    UsageError: a sample, a group or an image file is in training and in validation.
    """
    table = dataset.samples(["key", "group", "media"])
    paths = pc.struct_field(table["media"], "path")
    for name, values in (
        ("sample", table["key"]),
        ("image file", paths),
        ("group", table["group"]),
    ):
        mine = values.take(pa.array(train)).drop_null()
        both = values.take(pa.array(val)).drop_null().filter(
            pc.is_in(values.take(pa.array(val)).drop_null(), value_set=mine)
        )  # fmt: skip
        if len(both):
            shared = both.unique()
            first = shared[0].as_py()
            if name == "group" and dataset.groups.num_rows > first:
                first = dataset.groups["key"][first].as_py()
            raise UsageError(
                f"training and validation share {len(shared)} {name}(s), first {first!r}: the "
                "result would be too good. Split anew, keeping groups together "
                "(Dataset.split does), or take the shared ones out."
            )


def fingerprint_of(dataset: Dataset) -> str:
    """A digest of what a dataset holds, as seen: samples, and annotations of the current layer.

    Cheap for a whole store, which has one; else all columns are read once.
    """
    store, name = dataset.meta.store, dataset.meta.layer
    digest = hashlib.sha256(name.encode())
    if store is not None:
        digest.update(store.manifest["fingerprint"].encode())
        for entry in store.manifest["layers"].get(name, {}).get("parts", []):
            digest.update(str(entry and entry["fingerprint"]).encode())
        return digest.hexdigest()[:32]
    for part in dataset.parts:
        for table in (part.samples(), part.layer(name)):
            own = [n for n in table.column_names if not n.startswith("col.")]
            digest.update(_content(table.select(own)))
    return digest.hexdigest()[:32]


def _content(table: pa.Table) -> pa.Buffer:
    """Equal bytes for equal tables: no slices, no dictionaries."""
    columns = {
        name: table[name].cast(table[name].type.value_type)
        if pa.types.is_dictionary(table[name].type)
        else table[name]
        for name in sorted(table.column_names)
    }
    plain = pa.table(columns)
    whole = plain.take(pa.array(np.arange(plain.num_rows))).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    return sink.getvalue()
