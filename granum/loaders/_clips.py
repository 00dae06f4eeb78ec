"""Samples as numbered frames of videos that are known by name, and whether files tell it all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import GranumError
from granum.loaders._notes import Notes
from granum.loaders.base import Format, Intake
from granum.loaders.reading import read_into
from granum.schema import rows, tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.builder import MemoryBuilder
from granum.store.dataset import Dataset
from granum.store.parts import Batch, Part

__all__ = ["Clips", "clips_of", "group_facts", "held", "noted_clips", "told_by_files"]

Ints = npt.NDArray[np.int64]

_HIGHEST = 10**9


@dataclass(frozen=True)
class Clips:
    """Which video each sample is a frame of, and its number there; no two samples have both.

    Attributes:
        names: of the videos: the keys of the groups, and one for the samples that have no group.
        video: for each sample its video.
        number: for each sample its frame: ``order``, where those of a video are all given,
            different and not below ``first``; else samples are counted as they come.
    """

    names: list[str]
    video: Ints
    number: Ints

    def rows_of(self, video: Ints, number: Ints) -> Ints:
        """The samples of given places; -1 where there is none."""
        if not len(self.video):
            return np.full(len(video), -1, np.int64)
        sorter = np.lexsort((self.number, self.video))
        known = self.video[sorter] * (_HIGHEST + 1) + self.number[sorter]
        wanted = video * (_HIGHEST + 1) + np.clip(number, -1, _HIGHEST)
        at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        there = (known[at] == wanted) & (number >= 0) & (number <= _HIGHEST)
        return np.where(there, sorter[at], -1)


def clips_of(dataset: Dataset, first: int) -> Clips:
    """The videos of a dataset; frames count from ``first``."""
    table = dataset.samples(["group", "order"])
    group = np.asarray(column(table, "group").fill_null(-1), np.int64)
    order = np.asarray(column(table, "order").fill_null(first - 1), np.int64)
    return _clips(dataset.groups["key"].to_pylist(), group, order, first)


def noted_clips(notes: Notes, first: int) -> Clips:
    """As ``clips_of``, of the dataset that was noted."""
    group = [-1 if s.group is None else s.group for s in notes.samples]
    order = [first - 1 if s.order is None else s.order for s in notes.samples]
    keys = [g.key for g in notes.groups]
    return _clips(keys, np.array(group, np.int64), np.array(order, np.int64), first)


def _clips(keys: Iterable[str], group: Ints, order: Ints, first: int) -> Clips:
    names = list(keys)
    loose = "frames"
    while loose in names:
        loose += "_"
    video = np.where(group < 0, len(names), group)
    number = order.copy()
    sorter = np.lexsort((order, video))
    ordered = video[sorter]
    begins = np.flatnonzero(np.diff(ordered, prepend=-1)).tolist()
    for begin, end in zip(begins, [*begins[1:], len(video)][: len(begins)], strict=True):
        given = order[sorter[begin:end]]
        fits = ordered[begin] < len(names) and given[0] >= first and given[-1] < _HIGHEST
        if not fits or (given[1:] == given[:-1]).any():
            members = np.sort(sorter[begin:end])
            number[members] = np.arange(first, first + len(members))
    return Clips([*names, loose], video, number)


def held(dataset: Dataset) -> Dataset:
    """``dataset`` with its parts computed once and kept: writers go over them several times."""

    def part(batch: Batch) -> Part:
        return Part(
            batch.start,
            batch.samples.num_rows,
            lambda: batch.samples,
            lambda _: batch.annotations,
        )

    parts = [part(b) for b in dataset.iter_batches()]
    return Dataset(parts, dataset.categories, dataset.groups, dataset.sources, dataset.meta)


_ELSEWHERE = ("origins", "ordinal", "shape")


def told_by_files(format_: Format, root: Path, dataset: Dataset) -> bool:
    """Whether what was written below ``root`` gives samples, groups and categories back as they
    are, without notes. It is read to find out."""
    if column(dataset.samples(["media"]), "media").null_count < len(dataset):
        return False  # which file is whose
    intake = Intake(Findings())
    try:
        back = read_into(MemoryBuilder(), format_, root, intake, options={}, check=False)
    except GranumError:
        return False
    return all(
        _same(a, b, tables.TABLES[name])
        for name, a, b in (
            ("categories", dataset.categories, back.categories),
            ("groups", dataset.groups, back.groups),
            ("samples", dataset.samples(), back.samples()),
        )
    )


def _same(a: pa.Table, b: pa.Table, schema: pa.Schema) -> bool:
    if a.num_rows != b.num_rows:
        return False
    left, right = (
        tables.without_columns(
            tables.decode_dictionaries(tables.conform(t, schema, full=True)),
            [*_ELSEWHERE, *(n for n in t.column_names if n.startswith("col."))],
        )
        for t in (a, b)
    )
    return bool(left.equals(right))


def group_facts(groups: Sequence[rows.Group], name: str, missing: int) -> Ints:
    """A number of each group."""
    values: list[Any] = [getattr(g, name) for g in groups]
    return np.array([missing if v is None else v for v in values], np.int64)
