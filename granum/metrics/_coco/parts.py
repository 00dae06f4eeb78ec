"""What the parts of an evaluation contribute, and how they are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.metrics._coco.columns import Side
from granum.metrics._coco.run import Images, official_order
from granum.metrics.base import Context
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column

__all__ = ["State", "images_of", "keys_of", "placed"]


@dataclass(frozen=True)
class State:
    """What a part contributes: its columns."""

    start: int
    keys: pa.Array
    source_ids: pa.Array
    sizes: npt.NDArray[np.int64]
    truth: Side
    predictions: Side
    findings: Findings

    def moved(self, start: int) -> Self:
        """The same part with its first sample at another row."""
        shift = start - self.start
        return replace(
            self,
            start=start,
            truth=replace(self.truth, sample=self.truth.sample + shift),
            predictions=replace(self.predictions, sample=self.predictions.sample + shift),
        )


S = TypeVar("S", bound=State)


def placed(states: Sequence[S]) -> list[S]:
    """States in order, with samples counted through; those of several accumulators may all begin
    at the same row."""
    ordered: list[S] = []
    start = 0
    for state in sorted(states, key=lambda s: (s.start, s.keys[0].as_py() if len(s.keys) else "")):
        ordered.append(state if state.start == start else state.moved(start))
        start += len(state.keys)
    return ordered


def keys_of(states: Sequence[State]) -> pa.ChunkedArray:
    """The keys of all samples."""
    return pa.chunked_array([s.keys for s in states], pa.string())


def images_of(states: Sequence[State], context: Context) -> Images:
    """The official order of all samples and categories, and sizes."""
    source_ids = pa.chunked_array([s.source_ids for s in states], pa.string())
    sizes = np.concatenate([np.empty((0, 2), np.int64), *(s.sizes for s in states)])
    category_ids = column(context.categories, "source_id", tables.CATEGORIES)
    return Images(
        image_ids=official_order(source_ids),
        category_ids=official_order(category_ids),
        width=sizes[:, 0],
        height=sizes[:, 1],
    )
