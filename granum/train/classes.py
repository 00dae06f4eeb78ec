"""Which rows of a layer a task learns from, and which classes they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UnknownNameError, UsageError
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = [
    "IGNORED",
    "MASKS",
    "TASKS",
    "Classes",
    "checked_task",
    "classes_of",
    "stated",
    "wanted_rows",
]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

IGNORED = 255
"""Value of mask pixels that nothing is said about."""

TASKS = ("classification", "detection", "semantic", "anomaly", "image")

MASKS = ("rle", "map", "polygons")


@dataclass(frozen=True)
class Classes:
    """The classes of a model: their names, and their rows in the dataset's categories."""

    names: tuple[str, ...]
    rows: tuple[int, ...]

    def index(self, categories: pa.ChunkedArray) -> Ints:
        """The class of each category row; -1 where it is none, or null."""
        highest = max([*self.rows, -1])
        lookup = np.full(highest + 2, -1)
        lookup[list(self.rows)] = np.arange(len(self.rows))
        values = np.asarray(categories.fill_null(highest + 1), np.int64)
        return lookup[np.minimum(values, highest + 1)]


def stated(table: pa.Table, kind: str) -> Mask:
    """Rows of a kind that are not said to be absent."""
    here = pc.fill_null(pc.equal(column(table, "kind").cast(pa.string()), kind), False)
    return np.asarray(pc.and_(here, pc.fill_null(column(table, "present"), True)))


def drawn(table: pa.Table, names: Sequence[str]) -> Mask:
    """Rows in which one of the columns is filled."""
    out = np.zeros(table.num_rows, bool)
    for name in names:
        if name in table.column_names:
            out |= np.asarray(table[name].is_valid())
    return out


def wanted_rows(table: pa.Table, task: str, label_from: str) -> Mask:
    """The rows that a task learns from."""
    if task == "classification":
        return stated(table, label_from)
    if task == "detection":
        return stated(table, "object") & drawn(table, ["bbox", *MASKS, "keypoints"])
    if task == "semantic":
        return stated(table, "object") & drawn(table, MASKS)
    return np.zeros(table.num_rows, bool)


def checked_task(task: str, label_from: str) -> None:
    """Raises:
    UsageError: an unknown task or kind of label.
    """
    if task not in TASKS:
        raise UsageError(f"task is {task!r}; it must be one of {', '.join(TASKS)}")
    if label_from not in ("label", "object"):
        raise UsageError(f"label_from is {label_from!r}; it must be label or object")


def classes_of(
    dataset: Dataset,
    task: str,
    given: Sequence[str] | None = None,
    *,
    label_from: str = "label",
) -> Classes:
    """The classes that a task finds in a dataset's current layer, in the order of its categories;
    or those ``given``, in that order.

    Raises:
        UsageError: there are none, or an unknown task or kind of label.
        UnknownNameError: a given name is no category.
    """
    checked_task(task, label_from)
    if task in ("anomaly", "image"):
        return Classes((), ())
    used, spaces = _used_categories(dataset, task, label_from)
    names = dataset.category_names()
    space = column(dataset.categories, "space").cast(pa.string()).to_pylist()
    source = dataset.categories["source_id"].to_pylist() if spaces else []
    used |= {i for i, s in enumerate(space) if s in spaces and source[i] is not None}
    if given is not None:
        rows = [_row_of(name, names, used) for name in given]
    else:
        rows = sorted(used)
    if not rows:
        kind = {"classification": f"{label_from} rows", "detection": "boxes"}.get(task, "masks")
        raise UsageError(
            f"{task} needs {kind} with a category, and layer {dataset.meta.layer!r} has none"
        )
    if task == "semantic" and len(rows) > IGNORED:
        raise UsageError(f"{len(rows)} classes do not fit masks in which {IGNORED} is ignored")
    return Classes(tuple(names[r] for r in rows), tuple(rows))


def _used_categories(dataset: Dataset, task: str, label_from: str) -> tuple[set[int], set[str]]:
    """Category rows that the task's annotations name, and spaces of whole label maps."""
    used: set[int] = set()
    spaces: set[str] = set()
    for part in dataset.parts:
        table = part.layer(dataset.meta.layer)
        chosen = table.filter(pa.array(wanted_rows(table, task, label_from)))
        used |= set(column(chosen, "category").drop_null().unique().to_pylist())
        if task == "semantic" and "map" in chosen.column_names:
            maps = chosen["map"].combine_chunks()
            whole = pc.and_(maps.is_valid(), pc.is_null(pc.struct_field(maps, "value")))
            named = pc.struct_field(maps, "space").cast(pa.string()).filter(whole)
            spaces |= set(named.drop_null().unique().to_pylist())
    return used, spaces


def _row_of(name: str, names: Sequence[str], used: set[int]) -> int:
    rows = [i for i, n in enumerate(names) if n == name]
    if not rows:
        raise UnknownNameError("category", name, names)
    return next((i for i in rows if i in used), rows[0])
