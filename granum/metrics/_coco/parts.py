"""What the parts of an evaluation contribute, and how they are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.metrics._coco.columns import Side
from granum.metrics._coco.run import Images, official_order
from granum.metrics._coco.sides import Sides
from granum.metrics.base import Context
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["State", "Whole", "joined", "samples_of"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class State:
    """What a part contributes: its columns. Rows refer to samples counted from ``start``."""

    start: int
    keys: pa.Array
    source_ids: pa.Array
    sizes: Ints
    truth: Side
    predictions: Side
    findings: Findings

    def placed(self, rows: Ints) -> Self:
        """The same part with its samples at other rows, shape (samples,)."""
        truth, predictions = (
            replace(side, sample=rows[side.sample - self.start])
            for side in (self.truth, self.predictions)
        )
        return replace(self, start=0, truth=truth, predictions=predictions)


def samples_of(batch: Batch) -> dict[str, Any]:
    """What ``State`` holds of a batch's samples."""
    sizes = [column(batch.samples, n).fill_null(0) for n in ("width", "height")]
    return {
        "start": batch.start,
        "keys": batch.samples["key"].combine_chunks(),
        "source_ids": column(batch.samples, "source_id").combine_chunks(),
        "sizes": np.column_stack([np.asarray(s, np.int64) for s in sizes]),
    }


S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class Whole(Generic[S]):
    """All parts, whatever their number and order.

    Attributes:
        keys: of all samples, sorted.
        images: their official order (that of the keys, where source ids are no integers), sizes.
        parts: by their first key; rows refer to samples by their place in ``keys``.
    """

    keys: pa.Array
    images: Images
    parts: list[S]

    def sides(self) -> Sides:
        """Truth and predictions of all parts."""
        return Sides(
            Side.joined([p.truth for p in self.parts]), [p.predictions for p in self.parts]
        )


def joined(states: Sequence[S], context: Context) -> Whole[S]:
    """Parts put together: samples go by key, so that no order or size of parts changes anything."""
    states = sorted(states, key=lambda s: s.keys[0].as_py() if len(s.keys) else "")
    keys = pa.concat_arrays([pa.array([], pa.string()), *(s.keys for s in states)])
    order = pc.array_sort_indices(keys)
    place = np.empty(len(keys), np.int64)
    place[np.asarray(order, np.int64)] = np.arange(len(keys))
    ends = np.cumsum([0, *(len(s.keys) for s in states)])
    source_ids = pa.concat_arrays([pa.array([], pa.string()), *(s.source_ids for s in states)])
    sizes = np.concatenate([np.empty((0, 2), np.int64), *(s.sizes for s in states)])[order]
    category_ids = column(context.categories, "source_id", tables.CATEGORIES)
    return Whole(
        keys=keys.take(order),
        images=Images(
            image_ids=official_order(source_ids.take(order)),
            category_ids=official_order(category_ids),
            width=sizes[:, 0],
            height=sizes[:, 1],
        ),
        parts=[s.placed(place[a:b]) for s, a, b in zip(states, ends, ends[1:], strict=False)],
    )
