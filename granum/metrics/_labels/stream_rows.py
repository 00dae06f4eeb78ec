"""Labels of a stream of tasks: the task of each sample, and when each prediction was made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.metrics._labels.rows import Labels, labels_of
from granum.metrics._usable import kept, left_out
from granum.metrics.base import joined_findings
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["Said", "StreamRows", "stream_rows", "tasks_of"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Said:
    """Predicted labels, in the order of the table; shape (n,) each.

    Attributes:
        unit: row of the sample; category; score: as of ``Labels``.
        after: the task learned last before; -1 where a row does not say.
        flops: of all training before; NaN where a row does not say.
    """

    unit: Ints
    category: Ints
    score: Floats
    after: Ints
    flops: Floats

    def of(self, keep: npt.NDArray[np.bool_] | Ints) -> Said:
        return Said(*(getattr(self, f.name)[keep] for f in fields(self)))


@dataclass(frozen=True)
class StreamRows:
    """Of a part, or of all: samples by key, and the labels of both sides.

    Attributes:
        keys: of the samples.
        group: the key of each one's dataset; null where it has none.
        split: of the samples.
    """

    keys: pa.Array
    group: pa.Array
    split: pa.Array
    truth: Labels
    said: Said
    findings: Findings

    @classmethod
    def joined(cls, states: Sequence[StreamRows]) -> StreamRows:
        """All parts as one whose keys rise; labels are sorted by sample."""
        keys = pa.chunked_array([s.keys for s in states], pa.string()).combine_chunks()
        order = np.asarray(pc.sort_indices(keys), np.int64)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        starts = np.cumsum([0, *(len(s.keys) for s in states)]).tolist()

        def moved(
            side: Callable[[StreamRows], Labels | Said], name: str
        ) -> npt.NDArray[np.generic]:
            pieces = [np.asarray(getattr(side(s), name)) for s in states]
            if name == "unit":
                pieces = [p + start for p, start in zip(pieces, starts, strict=False)]
                return place[np.concatenate([np.empty(0, np.int64), *pieces])]
            return np.concatenate(pieces) if pieces else np.empty(0)

        truth = Labels(*(moved(lambda s: s.truth, f.name) for f in fields(Labels)))  # type: ignore[arg-type]
        said = Said(*(moved(lambda s: s.said, f.name) for f in fields(Said)))  # type: ignore[arg-type]
        group = pa.chunked_array([s.group for s in states], pa.string()).combine_chunks()
        split = pa.chunked_array([s.split for s in states], pa.string()).combine_chunks()
        found = joined_findings((s.findings for s in states), by_place=True)
        return cls(
            keys.take(pa.array(order)),
            group.take(pa.array(order)),
            split.take(pa.array(order)),
            truth.of(np.argsort(truth.unit, kind="stable")),
            said.of(np.argsort(said.unit, kind="stable")),
            found,
        )


def stream_rows(truth: Batch, predictions: Batch, groups: pa.Table) -> StreamRows:
    """The labels of a part; ``groups``: what the samples' groups are rows of."""
    found = Findings(on_error="skip")
    known = labels_of(truth, "truth", found, lambda r: (r.category >= 0, "without a category"))
    absent = np.asarray(column(predictions.annotations, "present").fill_null(True)) == 0
    left_out(found, "not-compared", predictions, absent, "predictions", "of something absent")
    predictions = kept(predictions, ~absent)
    after, flops = (_numbers(predictions, name, found) for name in ("after", "flops"))
    labels = labels_of(predictions, "predictions", found)
    said = Said(
        labels.unit,
        labels.category,
        labels.score,
        np.where(np.isnan(after), -1, after).astype(np.int64),
        flops,
    )
    samples = truth.samples
    of = column(samples, "group", tables.SAMPLES).combine_chunks()
    group = column(groups, "key", tables.GROUPS).cast(pa.string()).combine_chunks().take(of)
    split = column(samples, "split", tables.SAMPLES).cast(pa.string()).combine_chunks()
    keys = samples["key"].combine_chunks()
    return StreamRows(keys, group, split, known, said, found)


def _numbers(batch: Batch, name: str, found: Findings) -> Floats:
    """An attribute of each row that is a number from 0 on; NaN where it has none, or, with a
    finding, another value."""
    table = batch.annotations
    out = np.full(table.num_rows, np.nan)
    odd = np.zeros(table.num_rows, bool)
    typed = f"attr.{name}"
    if typed in table.column_names:
        values = table[typed].combine_chunks()
        if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
            out = np.asarray(values.cast(pa.float64()).fill_null(np.nan), np.float64).copy()
        else:
            odd = np.asarray(values.is_valid())
    texts = column(table, "attributes").to_pylist()
    for row, text in enumerate(texts):
        if text is None or name not in text:
            continue
        value = msgspec.json.decode(text).get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            out[row] = value
        elif value is not None:
            odd[row] = True
    below = out < 0
    fraction = out % 1 != 0 if name == "after" else np.zeros(len(out), bool)
    odd |= below | (fraction & ~np.isnan(out))
    left_out(found, "bad-value", batch, odd, "predictions", f"whose attribute {name} is no number")
    out[odd] = np.nan
    return out


def tasks_of(groups: pa.Table) -> tuple[list[str], dict[int, list[int]]]:
    """The name of each dataset, and its places in the stream: as its attribute ``tasks`` says
    (``[{"task": 3}, …]``, as NEVIS is read); datasets without follow in their order."""
    names = column(groups, "key", tables.GROUPS).to_pylist()
    about = column(groups, "attributes", tables.GROUPS).to_pylist()
    places: dict[int, list[int]] = {}
    for row, text in enumerate(about):
        listed = (msgspec.json.decode(text) if text else {}).get("tasks")
        found = [t.get("task") for t in listed or () if isinstance(t, dict)]
        numbers = sorted({t for t in found if isinstance(t, int) and t >= 0})
        if numbers:
            places[row] = numbers
    following = max((n[-1] for n in places.values()), default=-1) + 1
    for row in range(len(names)):
        if row not in places:
            places[row] = [following]
            following += 1
    return names, places
