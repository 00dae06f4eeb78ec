"""Predictions beside the truth by whole groups: videos, pairs, volumes.

A prediction may be on a frame that the truth has no row for, and a group may have no sample at
all, so the two sides keep their own samples; what they have in common is the group.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import SizeUnknownError, UsageError
from granum.metrics._usable import left_out, of_kinds
from granum.metrics.pairing import Pairing
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column, with_column
from granum.schema.units import convert_units, is_relative
from granum.store.dataset import Dataset
from granum.store.parts import Batch, concat, select_parts

__all__ = ["GroupPairing"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_ROWS = 16_384
"""Samples and rows of groups that are compared at a time, where a group has no more."""


class GroupPairing(Pairing):
    """Truth and predictions, some whole groups at a time; arguments as of :class:`Pairing`.

    Raises:
        UsageError: they have no group in common.
    """

    def _join(self) -> None:
        to = _group_rows(self.truth.groups, self.predictions.groups)
        there = self.predictions.groups.num_rows
        if self.truth.groups.num_rows and there and to.max() < 0:
            raise UsageError(
                "truth and predictions have no group in common: "
                f"{self.truth.groups['key'][0].as_py()!r} is one of the truth, "
                f"{self.predictions.groups['key'][0].as_py()!r} one of the predictions"
            )
        n = self.truth.groups.num_rows
        truth = _Grouped(self.truth, np.arange(n), n)
        self.there = np.ones(n, bool)
        if self.truth.meta.selected:  # its table of groups still has those that were not chosen
            self.there = (np.diff(truth.starts) > 0) | (np.diff(truth.row_starts) > 0)
            to = np.where(np.append(self.there, False)[to], to, -1)
        self.sides = (truth, _Grouped(self.predictions, to, n))

    @cached_property
    def cuts(self) -> list[int]:
        """Where each part begins, of the truth's groups; and the end."""
        sizes = sum(np.diff(side.starts) + np.diff(side.row_starts) for side in self.sides)
        total = np.concatenate([[0], np.cumsum(sizes)])
        cuts, n = [0], len(total) - 1
        while cuts[-1] < n:
            end = int(np.searchsorted(total, total[cuts[-1]] + _ROWS, side="right")) - 1
            cuts.append(min(max(end, cuts[-1] + 1), n))
        return cuts

    def __len__(self) -> int:
        return len(self.cuts) - 1

    def part(self, number: int) -> tuple[Batch, Batch, Findings]:
        """Truth, predictions and findings of some groups, each side with its own samples.

        Raises:
            SizeUnknownError: one side has fractions of an image whose size is unknown, the other
                has pixels.
        """
        found = Findings(on_error="skip")
        first, last = self.cuts[number], self.cuts[number + 1]
        truth, predictions = (side.batch(first, last) for side in self.sides)
        truth = of_kinds(truth, self.kinds[0], "truth", found, groups=True)
        predictions = of_kinds(predictions, self.kinds[1], "predictions", found, groups=True)
        predictions = self._scored(self._categorised(predictions, found), found)
        truth, predictions = self._in_one_unit(truth, predictions)
        of = column(predictions.annotations, "group")
        empty = int(self.there[first:last].sum()) - len(of.unique())
        if empty:
            what = f"{empty} groups have no prediction"
            found.add("no-predictions", "predictions", None, what, empty)
        return truth, predictions, found

    def unknown_samples(self) -> Findings:
        """Rows of the truth in no group; predictions in none, or in one the truth does not have."""
        found = Findings(on_error="skip")
        self._ungrouped(found)
        n, keys = self.sides[1].unknown()
        if n:
            message = f"{n} predictions in groups that the truth does not have, or in none"
            first = f" (first: {keys[0]!r})" if keys else ""
            found.add("unknown-sample", "predictions", None, message + first, n)
        return found

    def _ungrouped(self, found: Findings) -> None:
        """Rows of the truth that are in no group."""
        side = self.sides[0]
        for part in side.dataset.parts:
            batch = part.batch(side.dataset.meta.layer)
            at = np.asarray(column(batch.annotations, "sample").fill_null(-1), np.int64)
            lost = (at >= 0) & (side.of[np.maximum(at, 0)] < 0) if len(side.of) else at >= 0
            left_out(found, "not-compared", batch, lost, "truth", "in no group")

    def _in_one_unit(self, truth: Batch, predictions: Batch) -> tuple[Batch, Batch]:
        """Both in pixels; fractions on both sides of a group stay, where that does no harm."""
        batches = (truth, predictions)
        groups = [np.asarray(column(b.samples, "group"), np.int64) for b in batches]
        relative = [is_relative(b.samples) for b in batches]
        n = self.truth.groups.num_rows
        pixels = np.zeros(n, bool)
        for of, flags in zip(groups, relative, strict=True):
            pixels[of[~flags]] = True
        if not self.scale_free:
            pixels[:] = True
        wanted = [flags & pixels[of] for of, flags in zip(groups, relative, strict=True)]
        if not any(w.any() for w in wanted):
            return truth, predictions
        sizes = _sizes(self.truth.groups)
        for of, batch in zip(groups, batches, strict=True):
            own = _sizes(batch.samples)
            known = ~np.isnan(own).any(axis=1) & np.isnan(sizes[of]).any(axis=1)
            sizes[of[known][::-1]] = own[known][::-1]
        out = []
        for of, batch, chosen in zip(groups, batches, wanted, strict=True):
            own = _sizes(batch.samples)
            own = np.where(np.isnan(own), sizes[of], own)
            factors = np.where(chosen[:, None], own, 1.0)
            at = np.asarray(column(batch.annotations, "sample").fill_null(-1), np.int64)
            used = np.unique(at[at >= 0])
            unknown = used[np.isnan(factors[used]).any(axis=1)]
            if len(unknown):
                raise SizeUnknownError(batch.samples["key"].take(pa.array(unknown)).to_pylist())
            unit = np.where(is_relative(batch.samples) & ~chosen, "relative", "pixel")
            samples = with_column(batch.samples, "unit", pa.array(unit).dictionary_encode())
            out.append(Batch(samples, convert_units(batch.annotations, at, factors)))
        return out[0], out[1]


class _Grouped:
    """A dataset's samples and rows of whole groups, by group.

    Args:
        dataset: seen with the layer that counts.
        to: for each of its groups the truth's row, -1 where the truth has none.
        n: how many groups the truth has.
    """

    def __init__(self, dataset: Dataset, to: Ints, n: int) -> None:
        self.dataset, self.to = dataset, to
        self.of = self._mapped(dataset.samples(["group"])["group"])
        self.order = np.argsort(self.of, kind="stable")
        self.starts = np.searchsorted(self.of[self.order], np.arange(n + 1))
        layer = dataset.meta.layer
        part_of, rows, groups = [], [], []
        for i, part in enumerate(dataset.parts):
            first = int(part.offsets(layer)[-1])
            whole = part.layer(layer).slice(first)
            part_of.append(np.full(whole.num_rows, i))
            rows.append(np.arange(first, first + whole.num_rows))
            groups.append(self._mapped(column(whole, "group")))
        empty = np.empty(0, np.int64)
        of = np.concatenate([empty, *groups])
        order = np.argsort(of, kind="stable")
        self.row_of = of[order]
        self.row_part = np.concatenate([empty, *part_of])[order]
        self.rows = np.concatenate([empty, *rows])[order]
        self.row_starts = np.searchsorted(self.row_of, np.arange(n + 1))

    def _mapped(self, groups: pa.ChunkedArray) -> Ints:
        own = np.asarray(groups.fill_null(-1), np.int64)
        if not len(self.to):
            return np.full(len(own), -1)
        return np.where(own < 0, -1, self.to[own])

    def batch(self, first: int, last: int) -> Batch:
        """All samples and rows of the truth's groups ``first`` … ``last - 1``."""
        chosen = self.order[self.starts[first] : self.starts[last]]
        name = self.dataset.meta.layer
        samples, layers = [], []
        for piece in select_parts(self.dataset.parts, chosen):
            samples.append(piece.samples())
            layers.append(piece.layer(name).slice(0, int(piece.offsets(name)[-1])))
        table = concat(samples, tables.SAMPLES)
        table = with_column(table, "group", pa.array(self.of[chosen], pa.int64()))
        of = [self.of[chosen[np.asarray(column(layer, "sample"), np.int64)]] for layer in layers]
        span = slice(self.row_starts[first], self.row_starts[last])
        for i in np.unique(self.row_part[span]).tolist():
            here = np.flatnonzero(self.row_part[span] == i)
            layers.append(self.dataset.parts[i].layer(name).take(self.rows[span][here]))
            of.append(self.row_of[span][here])
        rows = concat(layers, tables.ANNOTATIONS)
        groups = np.concatenate([np.empty(0, np.int64), *of])
        return Batch(table, with_column(rows, "group", pa.array(groups, pa.int64())))

    def unknown(self) -> tuple[int, list[str]]:
        """How many rows are of groups that the truth does not have, and the first such groups."""
        total = int((self.row_of < 0).sum())
        first: list[str] = []
        for part in self.dataset.parts:
            counts = np.diff(part.offsets(self.dataset.meta.layer))
            lost = np.flatnonzero((self.of[part.start : part.start + part.rows] < 0) & (counts > 0))
            total += int(counts[lost].sum())
            if len(lost) and not first:
                first = [str(part.samples()["key"][int(lost[0])].as_py())]
        return total, first


def _group_rows(truth: pa.Table, predictions: pa.Table) -> Ints:
    """For each group of the predictions the truth's row: of that key, else of that source id, else
    of the source id that its key is (results are not in the folders of the truth). Source ids that
    groups share are none."""
    if truth.equals(predictions):
        return np.arange(truth.num_rows)
    rows = np.full(predictions.num_rows, -1)
    for mine, theirs in (("source_id", "key"), ("source_id", "source_id"), ("key", "key")):
        wanted, known = _unshared(predictions, theirs), _unshared(truth, mine)
        found = pc.index_in(wanted, value_set=known, skip_nulls=True)
        at = np.asarray(found.fill_null(-1), np.int64)
        rows = np.where(at >= 0, at, rows)
    return np.asarray(rows, np.int64)


def _unshared(groups: pa.Table, name: str) -> pa.Array:
    """A column of names, null where several groups have the same."""
    names = column(groups, name, tables.GROUPS).combine_chunks().cast(pa.string())
    code = np.asarray(names.dictionary_encode().indices.fill_null(-1), np.int64)
    shared = np.bincount(code + 1)[code + 1] > 1 if len(code) else np.zeros(0, bool)
    return pc.if_else(pa.array(shared), pa.scalar(None, pa.string()), names)


def _sizes(table: pa.Table) -> Floats:
    """Widths and heights of rows, shape (rows, 2); NaN where unknown."""
    sides = [
        np.asarray(column(table, n, tables.SAMPLES).cast(pa.float64()).fill_null(np.nan))
        for n in ("width", "height")
    ]
    return np.column_stack(sides).astype(np.float64)
