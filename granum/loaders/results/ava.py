"""Results of AVA, as ActivityNet's evaluation takes them: a CSV file without header.

::

    video, second, x1, y1, x2, y2, action, score     1j20q,0902,0.002,0.118,0.714,0.977,12,0.84

Corners are fractions of width and height, an action is the ``source_id`` of a category. A file
without scores gives all rows the score 1, as the evaluation does. Detections may be in seconds that
the truth has no sample for.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import FormatError
from granum.loaders._ava_read import STAMP, read_boxes, row_table
from granum.loaders._columns import constant
from granum.loaders._csv import first_record
from granum.loaders.base import Intake
from granum.loaders.results.base import Results, results
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column, with_column
from granum.store.dataset import Dataset

__all__ = ["AvaResults"]

_NUMBER = re.compile(r"[\d.eE+-]+")
_FIELDS = (7, 8)


@results("ava")
class AvaResults(Results):
    """Boxes of actions with scores."""

    name: ClassVar[str] = "ava"
    title: ClassVar[str] = "AVA results (CSV)"
    spec: ClassVar[str] = "https://research.google.com/ava/download.html"
    protocols: ClassVar[tuple[str, ...]] = ("ava",)

    def sniff(self, path: Path) -> bool:
        if path.suffix != ".csv" or not path.is_file():
            return False
        try:
            if not path.stat().st_size:
                return True  # nothing was found
            record = first_record(path)
        except (OSError, ValueError):
            return False
        return (
            len(record) in _FIELDS
            and re.fullmatch(STAMP, record[1]) is not None
            and all(_NUMBER.fullmatch(v) for v in record[2:7])
        )

    def read(self, path: Path, truth: Dataset, findings: Findings) -> Dataset:
        """Boxes on frames of their own in the truth's videos.

        Videos and actions that the truth does not have, scores that are no numbers, and rows that
        cannot be read are findings with their lines.

        Raises:
            FormatError: it cannot be read, or rows have another number of fields.
        """
        try:
            fields = len(first_record(path))
        except OSError as error:
            raise FormatError(path.name, f"cannot be read: {error.strerror}") from error
        if fields not in (0, *_FIELDS):
            raise FormatError(path.name, f"{fields} fields, not 8 (7 without scores)", "line 1")
        intake = Intake(findings)
        ids = column(truth.categories, "source_id", tables.CATEGORIES).to_pylist()
        numbers = {int(i): row for row, i in enumerate(ids) if i is not None and i.isdecimal()}
        found = read_boxes(path, path.name, intake, numbers)
        keys = truth.groups["key"].combine_chunks().cast(pa.string())
        group = np.asarray(pc.index_in(found.video, value_set=keys).fill_null(-1), np.int64)
        lost = np.flatnonzero(group < 0)
        names = found.video.take(pa.array(lost)).dictionary_encode()
        _, first, counts = np.unique(
            np.asarray(names.indices), return_index=True, return_counts=True
        )
        for row, n in zip(lost[first].tolist(), counts.tolist(), strict=True):
            message = f"the truth has no video {found.video[row].as_py()!r}"
            findings.add("unknown-sample", path.name, found.place(row), message, n)
        keep = group >= 0
        if fields == max(_FIELDS):
            absent = keep & np.asarray(found.last.is_null()) & (found.category >= 0)
            for row in np.flatnonzero(absent).tolist():
                findings.add("missing-score", path.name, found.place(row), "no score")
            keep &= ~absent
        found, group = found.take(np.flatnonzero(keep)), group[keep]
        names = pc.binary_join_element_wise(found.video, found.stamp, "/").dictionary_encode()
        sample = np.asarray(names.indices, np.int64)
        first = np.unique(sample, return_index=True)[1]
        seconds = np.asarray(found.stamp.take(pa.array(first)).cast(pa.float64()))
        whole = seconds == np.floor(seconds)
        samples = pa.table(
            {
                "key": names.dictionary,
                "media_kind": constant("frame", len(first)),
                "unit": constant("relative", len(first)),
                "group": pa.array(group[first]),
                "order": pa.array(seconds.astype(np.int64), mask=~whole),
            }
        )
        table = row_table(found, sample, None, False, True, intake)
        score = column(table, "score")
        score = score.fill_null(1.0) if fields == min(_FIELDS) else score
        table = with_column(table, "score", score)
        table = tables.without_columns(table, ["origins", "ordinal"])
        table = table.filter(score.is_valid())
        ids_ = pa.array(np.arange(1, table.num_rows + 1), pa.int64())
        table = with_column(table, "annotation_id", ids_)
        samples = tables.conform(samples, tables.SAMPLES)
        return Dataset.from_arrow(samples, table, truth.categories, truth.groups)
