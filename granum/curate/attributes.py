"""Attributes of annotations as values to count: columns, columns of their samples, and those that
are derived from geometry. Adding a derived one is a function and a line in the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate.extents import Extents, of_samples
from granum.curate.spaces import Of
from granum.errors import UnknownNameError, UsageError
from granum.schema.tables import ANNOTATIONS, SAMPLES, column
from granum.store.columns import column_facts
from granum.store.dataset import Dataset
from granum.store.parts import Batch

__all__ = ["DERIVED", "Attribute", "Coded", "coded", "settled", "value_counts"]

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BINS = 5
"""How many equal ranges a column of numbers is cut into."""


@dataclass(frozen=True)
class Coded:
    """Values as positions in a list of labels; -1 where there is none.

    Attributes:
        codes: one per annotation (or sample).
        labels: what the codes mean.
        closed: whether the labels are all that there could be, not just those seen.
    """

    codes: Codes
    labels: tuple[str, ...]
    closed: bool = False


def _binned(values: Floats, edges: Sequence[float], labels: tuple[str, ...]) -> Coded:
    codes = np.digitize(np.nan_to_num(values), edges)
    return Coded(np.where(np.isnan(values), -1, codes), labels, closed=True)


def _size(batch: Batch) -> Coded:
    extents = Extents(batch)
    area = np.sqrt(np.prod(extents.in_fractions(extents.boxes)[:, 2:], axis=1))
    labels = ("below 1/16", "1/16 to 1/8", "1/8 to 1/4", "1/4 to 1/2", "above 1/2")
    return _binned(area, [1 / 16, 1 / 8, 1 / 4, 1 / 2], labels)


def _coco_size(batch: Batch) -> Coded:
    extents = Extents(batch)
    stated = np.asarray(column(batch.annotations, "area").cast(pa.float64()).fill_null(np.nan))
    # A stated area counts as it is, but one of fractions has no pixels.
    area = np.where(np.isnan(stated) | extents.relative, extents.areas, stated)
    return _binned(area, [32**2, 96**2], ("small", "medium", "large"))


def _aspect(batch: Batch) -> Coded:
    extents = Extents(batch)
    box = extents.in_pixels(extents.boxes)
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = np.log2(box[:, 2] / box[:, 3])
    turn[~np.isfinite(turn)] = np.nan
    labels = ("tall (below 1:2)", "upright", "square", "lying", "wide (above 2:1)")
    return _binned(turn, [-1, -1 / 3, 1 / 3, 1], labels)


_CELLS = tuple(f"{y} {x}" for y in ("top", "middle", "bottom") for x in ("left", "centre", "right"))


def _position(batch: Batch) -> Coded:
    extents = Extents(batch)
    box = extents.in_fractions(extents.boxes)
    x, y = box[:, 0] + box[:, 2] / 2, box[:, 1] + box[:, 3] / 2
    cell = np.clip(np.floor(3 * np.nan_to_num(y)), 0, 2) * 3
    cell += np.clip(np.floor(3 * np.nan_to_num(x)), 0, 2)
    return Coded(np.where(np.isnan(x + y), -1, cell).astype(np.int64), _CELLS, closed=True)


def _crowding(batch: Batch) -> Coded:
    rows = np.asarray(column(batch.annotations, "sample").fill_null(-1), np.int64)
    objects = np.asarray(
        pa.compute.equal(column(batch.annotations, "kind").cast(pa.string()), "object").fill_null(
            False
        )
    )
    local = np.where(rows >= 0, rows - batch.start, 0)
    counts = np.bincount(local[objects & (rows >= 0)], minlength=max(batch.samples.num_rows, 1))
    many = np.where(rows >= 0, counts[local], np.nan)
    return _binned(many, [2, 4, 8, 16], ("1", "2 to 3", "4 to 7", "8 to 15", "16 or more"))


DERIVED: dict[str, Callable[[Batch], Coded]] = {
    "aspect_bin": _aspect,
    "coco_size": _coco_size,
    "objects_bin": _crowding,
    "position": _position,
    "size_bin": _size,
}
"""Attributes that need no column of their own: proportions of the box, COCO's three sizes, objects
in the image, cell of a 3 x 3 grid that holds the box's centre, side of a square of the box's area
over that of the image."""


@dataclass(frozen=True)
class Attribute:
    """An attribute that is known how to code.

    Attributes:
        name: as the user gave it.
        source: ``derived``, ``category``, ``annotations`` or ``samples``.
        column: name in its table.
        edges: of the bins of numbers (None: values are counted as they are).
    """

    name: str
    source: str
    column: str
    edges: tuple[float, ...] | None = None


def settled(
    dataset: Dataset, names: Sequence[str], edges: Mapping[str, Sequence[float]] | None = None
) -> list[Attribute]:
    """Where each attribute is found, and, of numbers, how they are cut: at ``edges``, else the
    range that the column declares in equal parts, else at the quantiles of the whole dataset.

    Raises:
        UnknownNameError: no such column or derived attribute.
        UsageError: a column of lists or bytes.
    """
    found = [_settled(dataset, name) for name in names]
    given = {name: tuple(cuts) for name, cuts in (edges or {}).items()}
    return [replace(a, edges=given[a.name]) if a.name in given else a for a in found]


def _settled(dataset: Dataset, name: str) -> Attribute:
    if name in DERIVED or name == "category":
        return Attribute(name, "category" if name == "category" else "derived", name)
    annotations = {n for p in dataset.parts for n in p.layer(dataset.meta.layer).column_names}
    samples = {n for p in dataset.parts for n in p.samples().column_names}
    ways = [("annotations", annotations | set(ANNOTATIONS.names)), ("samples", samples)]
    for candidate in (name, f"attr.{name}", f"col.{name}"):
        for source, there in ways:
            if candidate in there:
                return Attribute(name, source, candidate, _edges(dataset, source, candidate))
    if name in SAMPLES.names:
        return Attribute(name, "samples", name)
    known = {n.removeprefix("attr.").removeprefix("col.") for n in annotations | samples}
    raise UnknownNameError("attribute", name, {*known, *DERIVED, "category"})


def _edges(dataset: Dataset, source: str, name: str) -> tuple[float, ...] | None:
    kinds = {
        table.schema.field(name).type
        for part in dataset.parts
        for table in [part.samples() if source == "samples" else part.layer(dataset.meta.layer)]
        if name in table.column_names
    }
    for kind in kinds:
        if pa.types.is_nested(kind) or pa.types.is_binary(kind):
            raise UsageError(f"column {name!r} ({kind}) has no values to count")
    if not any(pa.types.is_floating(k) for k in kinds):
        return None
    layer = None if source == "samples" else dataset.meta.layer
    low, high = column_facts(dataset, name, layer).get("range") or (None, None)
    if low is not None and high is not None:
        return tuple(np.linspace(low, high, BINS + 1)[1:-1].tolist())
    read = dataset.samples if source == "samples" else dataset.annotations
    values = np.asarray(read([name])[name].drop_null().cast(pa.float64()))
    values = values[np.isfinite(values)]
    if not len(values):
        return ()
    return tuple(np.unique(np.quantile(values, np.arange(1, BINS) / BINS)).tolist())


def coded(dataset: Dataset, batch: Batch, attribute: Attribute, of: Of = "annotations") -> Coded:
    """The values of an attribute, for each annotation (or sample) of a batch.

    Raises:
        UsageError: it is an attribute of annotations, and samples are asked for.
    """
    if of == "samples" and attribute.source != "samples":
        raise UsageError(f"{attribute.name!r} is of annotations, not of samples")
    if attribute.source == "derived":
        return DERIVED[attribute.name](batch)
    if attribute.source == "category":
        rows = column(batch.annotations, "category").fill_null(-1)
        return Coded(np.asarray(rows, np.int64), tuple(dataset.category_names()))
    if of == "samples":
        values = column(batch.samples, attribute.column).combine_chunks()
    elif attribute.source == "samples":
        values = of_samples(batch, attribute.column)
    else:
        values = column(batch.annotations, attribute.column).combine_chunks()
    if attribute.edges is not None and not pa.types.is_null(values.type):
        numbers = np.asarray(values.cast(pa.float64()).fill_null(np.nan))
        return _binned(numbers, attribute.edges, _ranges(attribute.edges))
    if not pa.types.is_dictionary(values.type):
        values = values.cast(pa.string()).dictionary_encode()
    labels = tuple(str(v) for v in values.dictionary.to_pylist())
    return Coded(np.asarray(values.indices.fill_null(-1), np.int64), labels)


def _ranges(edges: Sequence[float]) -> tuple[str, ...]:
    shown = [f"{e:.4g}" for e in edges]
    if not shown:
        return ("any",)
    middle = [f"{a} to {b}" for a, b in pairwise(shown)]
    return (f"below {shown[0]}", *middle, f"from {shown[-1]}")


def value_counts(
    attributes: Sequence[Attribute], dataset: Dataset, number: int
) -> Mapping[str, Counter[str]]:
    """How often each value of each attribute occurs in a part: among its annotations, or, of
    sample columns, among its samples."""
    batch = dataset.parts[number].batch(dataset.meta.layer)
    out: dict[str, Counter[str]] = {}
    for attribute in attributes:
        of: Of = "samples" if attribute.source == "samples" else "annotations"
        found = coded(dataset, batch, attribute, of)
        counts = np.bincount(found.codes[found.codes >= 0], minlength=len(found.labels))
        out[attribute.name] = Counter()
        for value, n in zip(found.labels, counts.tolist(), strict=True):
            if n:
                out[attribute.name][value] += n
    return out
