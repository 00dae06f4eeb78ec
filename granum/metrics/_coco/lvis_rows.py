"""LVIS: which classes were looked for in an image, and which predictions count."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.metrics._usable import kept, left_out
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["FREQUENCIES", "Listed", "best_of", "frequencies", "listed"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FREQUENCIES = ("r", "c", "f")


@dataclass(frozen=True)
class Listed:
    """Classes of samples: rows of the truth's tables, shape (n,)."""

    sample: Ints
    category: Ints

    def pairs(self, categories: int) -> Ints:
        """A number for each."""
        return self.sample * categories + self.category


def listed(batch: Batch, found: Findings) -> tuple[Listed, Listed, Batch]:
    """The labels of a batch of the truth: classes verified absent, and classes that are not
    annotated exhaustively; and the batch without labels.

    Args:
        batch: of the truth.
        found: gets the labels that say neither.
    """
    table = batch.annotations
    label = np.asarray(
        pc.fill_null(pc.equal(column(table, "kind").cast(pa.string()), "label"), False)
    )
    named = np.asarray(column(table, "category").is_valid())
    left_out(found, "missing-category", batch, label & ~named, "truth", "without a category")
    label_named = label & named
    absent, partial = (label_named & _false(table, n) for n in ("present", "exhaustive"))
    what = "that are labels, of classes neither absent nor annotated in part"
    left_out(found, "not-compared", batch, label_named & ~absent & ~partial, "truth", what)
    return _rows(table, absent), _rows(table, partial), kept(batch, ~label)


def _false(table: pa.Table, name: str) -> Flags:
    return np.asarray(pc.fill_null(pc.invert(column(table, name)), False))


def _rows(table: pa.Table, which: Flags) -> Listed:
    rows = table.filter(pa.array(which))
    sample, category = (np.asarray(column(rows, n), np.int64) for n in ("sample", "category"))
    return Listed(sample, category)


def best_of(groups: Ints, scores: Floats, images: Ints, limit: int) -> Flags:
    """The ``limit`` rows of highest score in each group, of equal scores those of the first image,
    then the first.

    Args:
        groups: shape (n,), such as the image or the class of each row.
        scores: shape (n,).
        images: shape (n,), numbers of the images in their order.
        limit: above 0.
    """
    order = np.lexsort((images, -scores, groups))
    ordered = groups[order]
    first = np.searchsorted(ordered, ordered, side="left")
    keep = np.zeros(len(groups), bool)
    keep[order] = np.arange(len(groups)) - first < limit
    return keep


def frequencies(categories: pa.Table) -> list[str | None]:
    """``frequency`` of each class, from its attributes: r (in fewer than 10 images of the training
    set), c (10 to 99), f (100 and more); None where it has none of these."""
    out: list[str | None] = []
    for text in column(categories, "attributes", tables.CATEGORIES).to_pylist():
        facts = json.loads(text) if text else None
        value = facts.get("frequency") if isinstance(facts, dict) else None
        out.append(value if value in FREQUENCIES else None)
    return out
