"""Values of samples by column name, and their labels: what grouping and stratifying hang on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UnknownNameError
from granum.schema.attributes import PREFIX, attribute_dicts
from granum.schema.tables import SAMPLES, column
from granum.store.dataset import Dataset
from granum.store.parts import Part

__all__ = ["Labels", "coded", "labels_of", "sample_values"]

Ints = npt.NDArray[np.int64]


def sample_values(dataset: Dataset, name: str) -> pa.Array:
    """One value per sample as text, null where absent.

    Args:
        dataset: whose samples.
        name: a column of samples, ``attr.NAME`` in either form, ``col.NAME``, or ``group`` (its
            key).

    Raises:
        UnknownNameError: no part has such a column or attribute.
    """
    if name == "group":
        rows = dataset.samples(["group"])["group"].combine_chunks()
        return dataset.groups["key"].combine_chunks().take(rows)
    known = {n for p in dataset.parts for n in p.samples().column_names}
    if name not in SAMPLES.names and name not in known and not name.startswith(PREFIX):
        raise UnknownNameError("column", name, sorted(known))
    pieces = [_of_part(part, name) for part in dataset.parts]
    found = pa.concat_arrays(pieces) if pieces else pa.array([], pa.string())
    if name.startswith(PREFIX) and name not in known and found.null_count == len(found):
        raise UnknownNameError("attribute", name, sorted(n for n in known if PREFIX in n))
    return found


def _of_part(part: Part, name: str) -> pa.Array:
    table = part.samples()
    found = column(table, name).cast(pa.string())
    if name.startswith(PREFIX) and found.null_count:
        plain = name.removeprefix(PREFIX)
        rows = attribute_dicts(table.select([n for n in table.column_names if n == "attributes"]))
        loose = [None if r is None or r.get(plain) is None else str(r[plain]) for r in rows]
        found = pc.coalesce(found, pa.array(loose or [None] * len(found), pa.string()))
    chunks = found.combine_chunks()
    return chunks if isinstance(chunks, pa.Array) else pa.concat_arrays(chunks.chunks)


def coded(values: pa.Array) -> tuple[Ints, list[str]]:
    """A number per value in order of appearance (-1: null), and the values by number."""
    encoded = values.dictionary_encode()
    codes = np.asarray(encoded.indices.fill_null(-1), np.int64)
    return codes, [str(v) for v in encoded.dictionary.to_pylist()]


@dataclass(frozen=True)
class Labels:
    """Which labels samples have, and how often: one entry per pair that occurs.

    Attributes:
        sample, label, count: the entries, sorted by sample and label.
        names: of the labels.
    """

    sample: Ints
    label: Ints
    count: Ints
    names: list[str]


def labels_of(dataset: Dataset, by: str = "category") -> Labels:
    """The labels of each sample.

    Args:
        dataset: whose samples.
        by: ``category``: of the annotations in the current layer (those verified absent do not
            count); else a column (see ``sample_values``).

    Raises:
        UnknownNameError: no such column.
    """
    if by != "category":
        codes, names = coded(sample_values(dataset, by))
        there = np.flatnonzero(codes >= 0)
        return Labels(there, codes[there], np.ones(len(there), np.int64), names)
    names = dataset.category_names()
    width = max(len(names), 1)
    keys, counts = [], []
    for part in dataset.parts:
        table = part.layer(dataset.meta.layer)
        sample, category = column(table, "sample"), column(table, "category")
        meant = pc.and_(sample.is_valid(), category.is_valid())
        meant = pc.and_(meant, pc.fill_null(column(table, "present"), True))
        rows = np.asarray(sample.filter(meant), np.int64)
        found, n = np.unique(
            rows * width + np.asarray(category.filter(meant), np.int64), return_counts=True
        )
        keys.append(found)
        counts.append(n)
    empty = np.empty(0, np.int64)
    key = np.concatenate([*keys, empty]).astype(np.int64)
    return Labels(key // width, key % width, np.concatenate([*counts, empty]), names)
