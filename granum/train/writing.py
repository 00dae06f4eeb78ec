"""What training found, back into the store: losses as columns, predictions as a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import ConflictError, UsageError
from granum.schema.tables import column, with_column
from granum.store import disk
from granum.store.additions import add_layer
from granum.store.columns import NewColumn, Roots, add_columns
from granum.store.dataset import Dataset
from granum.store.parts import Batch

__all__ = ["check_writable", "write_losses", "write_predictions"]

MEANING = {
    "": "loss of the final weights",
    ".last": "loss in the last epoch in which it was trained on",
    ".mean": "mean loss over the epochs in which it was trained on",
    ".epochs": "loss in each epoch (null where it was not seen)",
}


def check_writable(target: Dataset, source: Dataset, name: str, *, resume: bool = False) -> None:
    """Raises:
    UsageError: ``target`` is no whole store, or does not hold the samples of ``source``.
    ConflictError: it has a layer ``name`` already.
    """
    disk.checked_name(name, "layer")
    if target.meta.store is None:
        raise UsageError(
            "losses and predictions are written back to a store, and this dataset is none: save "
            "it first, name the store it came from (write_to), or say write_back=False"
        )
    if name in target.meta.layers and not resume:
        raise ConflictError(f"{target.meta.store.path} has a layer {name!r}: name the run anew")
    _rows_in(target, source)


def _rows_in(target: Dataset, source: Dataset) -> npt.NDArray[np.int64]:
    """The row in ``target`` of each sample of ``source``, by key."""
    if target is source:
        return np.arange(len(source))
    keys = source.samples(["key"])["key"]
    found = pc.index_in(keys, value_set=target.samples(["key"])["key"].combine_chunks())
    if found.null_count:
        first = keys.filter(found.is_null())[0].as_py()
        raise UsageError(
            f"{found.null_count} samples are not in the store to write to (first: {first!r})"
        )
    return np.asarray(found, np.int64)


def write_losses(
    target: Dataset,
    source: Dataset,
    name: str,
    *,
    final: npt.NDArray[np.float64],
    epochs: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    identity: Mapping[str, Any],
) -> Dataset:
    """Add ``loss.NAME``, ``loss.NAME.last``, ``loss.NAME.mean`` and ``loss.NAME.epochs``.

    Args:
        target: the store.
        source: the dataset that was trained on; its samples are in ``target``, by key.
        name: of the run.
        final: loss of each sample of ``source``, shape (samples,); NaN becomes null.
        epochs: loss in each epoch of the samples ``rows``, shape (epochs, len(rows)).
        rows: of ``source``: those that were trained on; the others are null.
        identity: of the run; part of the columns' identity.
    """
    place = _rows_in(target, source)
    seen = ~np.isnan(epochs)
    count = seen.sum(axis=0)
    last = np.full(len(rows), np.nan)
    for values, there in zip(epochs, seen, strict=True):
        last[there] = values[there]
    total = np.where(seen, epochs, 0).sum(axis=0, dtype=np.float64)
    mean = np.divide(total, count, out=np.full(len(rows), np.nan), where=count > 0)
    columns = {
        "": _spread(final, place, len(target)),
        ".last": _spread(last, place[rows], len(target)),
        ".mean": _spread(mean, place[rows], len(target)),
        ".epochs": _lists(epochs[:, count > 0], place[rows[count > 0]], len(target)),
    }
    named = {f"loss.{name}{suffix}": values for suffix, values in columns.items()}
    wanted = [
        NewColumn(
            f"loss.{name}{suffix}",
            parameters=dict(identity),
            facts={"meaning": meaning, "direction": "high is hard"},
        )
        for suffix, meaning in MEANING.items()
    ]

    def compute(batch: Batch, _: Roots, names: Sequence[str]) -> dict[str, pa.Array]:
        return {n: named[n].slice(batch.start, batch.samples.num_rows) for n in names}

    return add_columns(target, wanted, compute)


def _spread(
    values: npt.NDArray[np.float64], place: npt.NDArray[np.int64], samples: int
) -> pa.Array:
    """A value per sample, null where there is none."""
    out = np.full(samples, np.nan)
    out[place] = values
    return pa.array(out, pa.float64(), mask=np.isnan(out))


def _lists(epochs: npt.NDArray[np.float32], place: npt.NDArray[np.int64], samples: int) -> pa.Array:
    """A list of one value per epoch for the samples ``place``; null for the others."""
    order = np.argsort(place)
    flat = np.ascontiguousarray(epochs[:, order].T).reshape(-1)
    lengths = np.zeros(samples, np.int64)
    lengths[place] = len(epochs)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    absent = np.ones(samples, bool)
    absent[place] = False
    return pa.ListArray.from_arrays(
        pa.array(offsets.astype(np.int32)),
        pa.array(flat, pa.float32(), mask=np.isnan(flat)),
        mask=pa.array(absent),
    )


def write_predictions(
    target: Dataset, source: Dataset, name: str, predictions: pa.Table, producer: str
) -> Dataset:
    """Add the layer ``name``.

    Args:
        target: the store.
        source: the dataset that was predicted on.
        name: of the layer.
        predictions: annotations in the units of the samples; ``sample`` is the row in ``source``.
        producer: the run, with a digest of its weights. A layer of this producer that is there
            already is left as it is.

    Raises:
        ConflictError: there is a layer ``name`` of another producer.
    """
    known = target.meta.layers.get(name)
    if known is not None and known.get("producer") == producer:
        return target
    place = _rows_in(target, source)
    sample = np.asarray(column(predictions, "sample"), np.int64)
    table = with_column(predictions, "sample", pa.array(place[sample]))
    return add_layer(target, name, table, producer=producer)
