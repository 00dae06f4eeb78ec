"""Rows of results on the samples and classes of the truth; faults are told by line."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders.results.base import named_samples
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = ["SampleNames", "category_rows", "clean_rows", "objects_table", "told"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def told(
    findings: Findings,
    code: str,
    path: str,
    rows: Ints,
    line: Callable[[int], int],
    say: Callable[[int], str],
) -> None:
    """A finding for each faulty row, as many as there is room for; the others are counted.

    Args:
        findings: gets them.
        code: of the finding.
        path: of the file.
        rows: at fault.
        line: of a row.
        say: the message for a row.
    """
    room = max(findings.limit - findings.counts[code], 0)
    for row in rows[:room].tolist():
        findings.add(code, path, f"line {line(row)}", say(row))
    if len(rows) > room:
        findings.counts[code] += len(rows) - room


def clean_rows(
    sample: Ints,
    numbers: Floats,
    name: pa.Array,
    line: Callable[[int], int],
    path: str,
    findings: Findings,
) -> Flags:
    """Which rows can be kept: of a known image (a row of the truth, not -1), with a score and
    coordinates that are finite; the others are findings.

    Args:
        sample: shape (n,).
        numbers: shape (n, 1 + k), score and coordinates.
        name: what the file calls the image of each.
        line: of a row.
        path: of the file.
        findings: gets the faults.
    """
    known = sample >= 0
    score = ~np.isnan(numbers[:, 0])
    finite = np.asarray(np.isfinite(numbers[:, 1:]).all(axis=1))

    def unknown(row: int) -> str:
        return f"{name[row].as_py()!r} is no sample of the truth"

    faults: list[tuple[str, Flags, Callable[[int], str]]] = [
        ("unknown-sample", ~known, unknown),
        ("nan-score", known & ~score, lambda row: "the score is NaN"),
        ("nan-box", known & score & ~finite, lambda row: "a number is NaN or infinite"),
    ]
    for code, lost, say in faults:
        told(findings, code, path, np.flatnonzero(lost), line, say)
    return np.asarray(known & score & finite)


class SampleNames:
    """Rows of the truth by what a file calls its images: a key, else a source id, else a key's
    last part without suffix."""

    def __init__(self, truth: Dataset) -> None:
        rows: dict[str, int] = {}
        for by in ("stem", "source_id", "key"):
            rows.update(named_samples(truth, by))
        self._known = pa.array(list(rows), pa.string())
        self._rows = np.append(np.fromiter(rows.values(), np.int64, len(rows)), -1)

    def rows(self, name: pa.Array) -> Ints:
        """The row of each; -1 where there is none."""
        at = pc.index_in(name, value_set=self._known).fill_null(-1)
        return self._rows[np.asarray(at, np.int64)]


def category_rows(truth: Dataset) -> dict[str, int]:
    """The row of each class of objects by source id, and by name, which comes first; where a name
    has blanks, with ``_`` for them, too."""
    space = column(truth.categories, "space", tables.CATEGORIES).cast(pa.string()).to_pylist()
    names = truth.categories["name"].to_pylist()
    ids = column(truth.categories, "source_id", tables.CATEGORIES).to_pylist()
    rows: dict[str, int] = {}
    order = sorted(range(len(names)), key=lambda i: (space[i] not in (None, "object"), i))
    for listed in (names, ["_".join(n.split()) for n in names], ids):
        for i in order:
            if listed[i] is not None:
                rows.setdefault(listed[i], i)
    return rows


def objects_table(
    sample: Ints, category: Ints, score: Floats, geometry: Mapping[str, pa.Array]
) -> pa.Table:
    """Rows of kind ``object``.

    Args:
        sample: shape (n,), rows of the truth.
        category: shape (n,), rows of the truth's categories.
        score: shape (n,).
        geometry: further columns by name.
    """
    kind = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(sample), np.int32)), ["object"])
    return pa.table(
        {
            "sample": pa.array(sample, pa.int64()),
            "kind": kind,
            "category": pa.array(category, pa.int32()),
            "score": pa.array(score, pa.float64()),
            **geometry,
        }
    )
