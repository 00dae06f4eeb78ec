"""Keys and ids that are taken: finding them, and making others."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import GranumError
from granum.schema.tables import column, with_column
from granum.store.dataset import Dataset
from granum.store.parts import Part

__all__ = ["SourceIds", "kept_part", "left_out", "new_keys", "places", "room"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def places(values: pa.ChunkedArray, there: pa.ChunkedArray) -> Ints:
    """For each value its row in ``there``, or -1."""
    found = pc.index_in(values, value_set=there.combine_chunks())
    return np.asarray(found.fill_null(-1), np.int64)


def new_keys(
    name: str, keys: pa.ChunkedArray, there: pa.ChunkedArray, rows: Ints
) -> dict[int, str]:
    """Keys below a folder of the dataset's name for ``rows`` of ``keys``, none of them taken."""
    taken = pa.concat_arrays([*keys.chunks, *there.chunks])
    listed = keys.take(pa.array(rows)).to_pylist()
    folder, n = name, 2
    while True:
        made = pa.array([f"{folder}/{k}" for k in listed], pa.string())
        if not pc.any(pc.is_in(made, value_set=taken), min_count=0).as_py():
            return dict(zip(rows.tolist(), made.to_pylist(), strict=True))
        folder, n = f"{name}-{n}", n + 1


def room(taken: Ints, mine: Ints, what: str) -> int:
    """What to add to ``mine`` so that all are above those taken.

    Raises:
        GranumError: the numbers end before.
    """
    by = int(taken[-1]) + 1 - min(int(mine[0]), 1)
    if int(mine[-1]) + by >= 2**63:
        raise GranumError(f"the {what} are too high to be renumbered (64 bits)")
    return by


class SourceIds:
    """Source ids of the samples and annotations so far."""

    def __init__(self) -> None:
        self.samples, self.annotations = (pa.array([], pa.string()) for _ in range(2))

    def add(self, dataset: Dataset, keep: Mask, *, drop: bool, clear: bool) -> tuple[int, int]:
        """How many samples and annotations have an id that is known; then know theirs, too.

        Args:
            dataset: what is added.
            keep: the samples that get a row of their own.
            drop: annotations of the other samples are left out (else they are joined to others).
            clear: where ids are known, all will be cleared, so that none is to be remembered.
        """
        samples: list[pa.Array] = []
        annotations: list[pa.Array] = []
        counts = [0, 0]
        for part in dataset.parts:
            mine = keep[part.start : part.start + part.rows]
            ids = column(part.samples(), "source_id").filter(pa.array(mine))
            counts[0] += _known(ids, self.samples, samples)
            for name in dataset.meta.layers:
                table = part.layer(name)
                if drop and not mine.all():
                    table = _of_kept(table, part.start, mine)
                counts[1] += _known(column(table, "source_id"), self.annotations, annotations)
        if not (clear and counts[0]):
            self.samples = _with(self.samples, samples)
        if not (clear and counts[1]):
            self.annotations = _with(self.annotations, annotations)
        return counts[0], counts[1]


def _known(ids: pa.ChunkedArray, known: pa.Array, found: list[pa.Array]) -> int:
    ids = ids.drop_null()
    if not len(ids):
        return 0
    found.append(ids.unique())
    return int(pc.sum(pc.is_in(ids, value_set=known)).as_py()) if len(known) else 0


def _with(known: pa.Array, more: list[pa.Array]) -> pa.Array:
    return pa.concat_arrays([known, *more]).unique()


def left_out(dataset: Dataset, keep: Mask, groups: Ints) -> Counter[str]:
    """Annotations of samples that are not kept and of whole ``groups``, by layer."""
    out: Counter[str] = Counter()
    for part in dataset.parts:
        gone = ~keep[part.start : part.start + part.rows]
        for name in dataset.meta.layers:
            offsets = part.offsets(name)
            whole = column(part.layer(name).slice(offsets[-1]), "group").fill_null(-1)
            out[name] += int(np.diff(offsets)[gone].sum())
            out[name] += int(np.isin(np.asarray(whole, np.int64), groups).sum())
    return +out


def _of_kept(table: pa.Table, start: int, keep: Mask) -> pa.Table:
    """Annotations of kept samples and of whole groups."""
    sample = np.asarray(column(table, "sample").fill_null(-1), np.int64) - start
    mask = sample < 0
    mask[~mask] = keep[sample[~mask]]
    return table.filter(pa.array(mask))


def kept_part(part: Part, keep: Mask) -> Part:
    """The kept samples of a part, their annotations, and those of whole groups."""
    number = np.cumsum(keep) - 1

    def layer(name: str) -> pa.Table:
        table = _of_kept(part.layer(name), part.start, keep)
        if not table.num_rows:
            return table
        old = column(table, "sample")
        new = number[np.asarray(old.fill_null(part.start), np.int64) - part.start] + part.start
        return with_column(
            table, "sample", pa.array(new, pa.int64(), mask=np.asarray(old.is_null()))
        )

    return Part(part.start, int(keep.sum()), lambda: part.samples().filter(pa.array(keep)), layer)
