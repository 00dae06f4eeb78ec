"""Rows of results on the samples and classes of the truth; faults are told by line."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders.results.base import sample_rows
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = ["category_rows", "clean_rows", "named_samples", "objects_table", "told"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def told(
    findings: Findings,
    code: str,
    path: str,
    lines: Ints,
    say: Callable[[int], str],
) -> None:
    """A finding for each faulty line, as many as there is room for; the others are counted.

    Args:
        findings: gets them.
        code: of the finding.
        path: of the file.
        lines: at fault.
        say: the message for one of them, by its position in ``lines``.
    """
    room = max(findings.limit - findings.counts[code], 0)
    for i, line in enumerate(lines[:room].tolist()):
        findings.add(code, path, f"line {line}", say(i))
    findings.counts[code] += max(len(lines) - room, 0)


def clean_rows(
    samples: Ints, numbers: Floats, name: pa.Array, line: Ints, path: str, findings: Findings
) -> Flags:
    """Which rows can be kept: of a known image (a row of the truth, not -1), with a score and
    coordinates that are finite; the others are findings.

    Args:
        samples: shape (n,).
        numbers: shape (n, 1 + k), score and coordinates.
        name: what the file calls the image of each.
        line: of each.
        path: of the file.
        findings: gets the faults.
    """
    known = samples >= 0
    lost = np.flatnonzero(~known)
    told(
        findings,
        "unknown-sample",
        path,
        line[lost],
        lambda i: f"{name[int(lost[i])].as_py()!r} is no sample of the truth",
    )
    score = ~np.isnan(numbers[:, 0])
    told(findings, "nan-score", path, line[known & ~score], lambda i: "the score is NaN")
    finite = np.asarray(np.isfinite(numbers[:, 1:]).all(axis=1))
    message = "a coordinate is NaN or infinite"
    told(findings, "nan-box", path, line[known & score & ~finite], lambda i: message)
    return np.asarray(known & score & finite)


def named_samples(truth: Dataset, name: pa.Array) -> Ints:
    """The row of the truth of each name: a key, else a source id, else a key's last part without
    suffix; -1 where there is none."""
    rows: dict[str, int] = {}
    for by in ("stem", "source_id", "key"):
        rows.update(sample_rows(truth, by))
    known = pa.array(list(rows), pa.string())
    at = np.asarray(pc.index_in(name, value_set=known).fill_null(-1), np.int64)
    return np.append(np.fromiter(rows.values(), np.int64, len(rows)), -1)[at]


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
