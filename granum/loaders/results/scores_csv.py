"""Scores of whole images or videos as a CSV with a header, in one of three forms.

::

    key,cat,dog,owl            a column per class, one row per key; an empty field is no score
    a.jpg,0.7,0.2,0.1
    key,label,score            a row per key and class; an empty label is none
    a.jpg,cat,0.7
    key,score                  one score per key, of no class (quality, how strange, how fake)
    a.jpg,0.7

The first column is called ``key`` and names a sample of the truth (its key, else its source id,
else the last part of its key without suffix), else a group (its key, else its source id). Classes
are categories of the truth by name, else by source id; of label spaces that have the same names,
the one that knows most of the file's classes counts. Rows become labels with a score.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import FormatError
from granum.loaders._csv import CsvFile, first_record
from granum.loaders._paths import is_file
from granum.loaders.base import Intake
from granum.loaders.results._named import SampleNames, told
from granum.loaders.results.base import Results, on_truth, results
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = ["ScoresCsv"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Line = Callable[[int], int]

_LONG, _PLAIN = ["key", "label", "score"], ["key", "score"]


@results("scores_csv")
class ScoresCsv(Results):
    """A CSV of scores; see the module."""

    name: ClassVar[str] = "scores_csv"
    title: ClassVar[str] = "scores of images or videos (key,label,score)"
    spec: ClassVar[str] = "the docstring of granum.loaders.results.scores_csv"
    protocols: ClassVar[tuple[str, ...]] = ("classification", "ood", "iqa", "video-detection")

    def sniff(self, path: Path) -> bool:
        try:
            header = first_record(path) if is_file(path) else []
        except (OSError, ValueError):
            return False
        return len(header) > 1 and header[0] == "key"

    def read(self, path: Path, truth: Dataset, findings: Findings) -> Dataset:
        """Read the scores.

        Rows of keys that the truth does not have are findings with their line (``unknown-sample``),
        as are fields that are no number (``bad-value``), NaN (``nan-score``), rows without a score
        (``missing-score``) and classes that the truth does not have (``unknown-category``); they
        are left out.

        Raises:
            FormatError: the file cannot be read, or the first column is not ``key``.
        """
        if not self.sniff(path):
            raise FormatError(path, "no CSV whose first column is called key", "line 1")
        file = CsvFile(path, path.name)
        wide = file.header not in (_LONG, _PLAIN)
        scores = file.header[1:] if wide else ["score"]
        texts = [n for n in ("key", "label") if n in file.header and (n == "key" or not wide)]
        types = {n: pa.string() for n in texts} | {n: pa.float64() for n in scores}
        rows = _Rows(truth, path.name, findings)
        for block in file.blocks(types, Intake(findings=findings)):
            if wide:
                rows.add_columns(block.table, scores, block.line)
            else:
                rows.add_rows(block.table, block.line)
        return on_truth(truth, rows.table())


class _Rows:
    """Scores as they are read; classes are looked up when all are known."""

    def __init__(self, truth: Dataset, path: str, findings: Findings) -> None:
        self.truth, self.path, self.findings = truth, path, findings
        self.names = SampleNames(truth)
        groups = truth.groups
        self.groups: dict[str, int] = {}
        for name in ("source_id", "key"):
            listed = column(groups, name, tables.GROUPS).to_pylist()
            self.groups.update({n: i for i, n in enumerate(listed) if n is not None})
        self.samples: list[Ints] = []
        self.of: list[Ints] = []
        self.scores: list[Floats] = []
        self.first: dict[str, int] = {}
        self.labels: list[pa.Array] = []

    def add_rows(self, table: pa.Table, line: Line) -> None:
        """A score per row."""
        score = np.asarray(column(table, "score").fill_null(np.nan), np.float64)
        empty = np.asarray(column(table, "score").is_null())
        absent = pa.nulls(table.num_rows, pa.string())
        label = table["label"].combine_chunks() if "label" in table.column_names else absent
        blank = pc.equal(label, "")
        label = pc.if_else(blank.fill_null(False), pa.scalar(None, pa.string()), label)
        self._told("missing-score", np.flatnonzero(empty), line, lambda row: "no score")
        for i in np.unique(_codes(label)[~empty], return_index=True)[1].tolist():
            at = int(np.flatnonzero(~empty)[i])
            self.first.setdefault(label[at].as_py(), line(at))
        self._add(table["key"].combine_chunks(), label, score, line, ~empty)

    def add_columns(self, table: pa.Table, names: list[str], line: Line) -> None:
        """A score per class."""
        matrix = np.column_stack([np.asarray(table[n].fill_null(0.0), np.float64) for n in names])
        given = np.column_stack([np.asarray(table[n].is_valid()) for n in names])
        n, k = matrix.shape
        rows = np.repeat(np.arange(n), k)
        codes = pa.array(np.tile(np.arange(k, dtype=np.int32), n))
        label = pa.DictionaryArray.from_arrays(codes, pa.array(names, pa.string()))
        keys = table["key"].combine_chunks()
        self.first = dict.fromkeys(names, 1)
        self._add(keys, label, matrix.ravel(), line, given.ravel(), rows)

    def _add(
        self,
        key: pa.Array,
        label: pa.Array,
        score: Floats,
        line: Line,
        keep: npt.NDArray[np.bool_],
        rows: Ints | None = None,
    ) -> None:
        """``rows``: the key and line of each score (default: one of each)."""
        sample = self.names.rows(key)
        named = [self.groups.get(k, -1) for k in key.to_pylist()] if self.groups else -1
        group = np.where(sample < 0, named, -1)
        lost = np.flatnonzero((sample < 0) & (group < 0))
        what = "is no sample or group of the truth"
        self._told("unknown-sample", lost, line, lambda row: f"{key[row].as_py()!r} {what}")
        at = np.arange(len(key)) if rows is None else rows
        known = ((sample >= 0) | (group >= 0))[at] & keep
        nan = known & np.isnan(score)
        self._told("nan-score", at[nan], line, lambda row: "the score is NaN")
        used = known & ~nan
        self.samples.append(sample[at[used]])
        self.of.append(group[at[used]])
        self.scores.append(score[used])
        self.labels.append(label.cast(pa.string()).filter(pa.array(used)))

    def _told(self, code: str, rows: Ints, line: Line, say: Callable[[int], str]) -> None:
        told(self.findings, code, self.path, rows, line, say)

    def table(self) -> pa.Table:
        """All rows as labels."""
        none = np.empty(0, np.int64)
        label = pa.chunked_array(self.labels, pa.string()).combine_chunks().dictionary_encode()
        code = np.asarray(label.indices.fill_null(len(label.dictionary)), np.int64)
        names = label.dictionary.to_pylist()
        category = np.append(_categories(names, self.truth), _ABSENT)[code]
        lost = np.bincount(code[category == _UNKNOWN], minlength=len(names)).tolist()
        for name, n in zip(names, lost, strict=False):
            if n:
                message = f"{n} scores of {name!r}, which the truth does not have"
                place = f"line {self.first[name]}"
                self.findings.add("unknown-category", self.path, place, message, n)
        keep = category != _UNKNOWN
        sample, group = (np.concatenate([none, *p])[keep] for p in (self.samples, self.of))
        kind = pa.array(np.zeros(int(keep.sum()), np.int32))
        return pa.table(
            {
                "sample": pa.array(sample, pa.int64(), mask=sample < 0),
                "group": pa.array(group, pa.int64(), mask=group < 0),
                "kind": pa.DictionaryArray.from_arrays(kind, ["label"]),
                "category": pa.array(category[keep], pa.int32(), mask=category[keep] < 0),
                "score": pa.array(np.concatenate([np.empty(0), *self.scores])[keep]),
            }
        )


_ABSENT, _UNKNOWN = -1, -2


def _codes(texts: pa.Array) -> Ints:
    """A number for each text."""
    return np.asarray(texts.dictionary_encode().indices.fill_null(-1), np.int64)


def _categories(names: list[str], truth: Dataset) -> Ints:
    """The category of each name; of the space that knows most of them, where several know it."""
    spaces = column(truth.categories, "space", tables.CATEGORIES).cast(pa.string()).to_pylist()
    out = np.full(len(names), _UNKNOWN, np.int64)
    for by in ("name", "source_id"):
        listed = column(truth.categories, by, tables.CATEGORIES).to_pylist()
        rows: dict[str | None, dict[str, int]] = {}
        for i, (space, name) in enumerate(zip(spaces, listed, strict=True)):
            if name is not None:
                rows.setdefault(space, {}).setdefault(name, i)
        ranked = sorted(rows.values(), key=lambda known: -sum(n in known for n in names))
        for known in ranked:
            own = [known.get(name, _UNKNOWN) for name in names]
            out = np.where(out == _UNKNOWN, np.array(own, np.int64), out)
    return out
