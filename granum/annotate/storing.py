"""Mask trees as annotation rows, and back.

A node is a row of kind ``object`` with ``bbox``, ``area``, ``parent``, ``granularity``, ``level``,
``score`` and, where the tree has it, ``attr.altitude``; rows of a sample are in the order of the
nodes. A partition keeps the label image of its leaves once, as PNG, in the root's ``map`` (value
null: the whole map; 0 is no leaf, ``i + 1`` leaf i); a leaf's ``map`` has its value and the same
digest, and no bytes; a node between has no map and means the union of its children. A pool has
``rle`` in every row.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.annotate._row_masks import row_masks
from granum.annotate.tree import MaskTree
from granum.errors import GranumError, UsageError
from granum.schema import tables
from granum.schema.rows import LabelMap
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.media import read_values
from granum.store.view import SampleView

__all__ = ["stored_tree", "tree_of", "tree_rows", "trees"]

ALTITUDE = "attr.altitude"
MOST_LEVELS = 2**15 - 1
_ENCODINGS = ("index", "rgb24")

Parents = npt.NDArray[np.int32]


def tree_rows(tree: MaskTree, sample: int, first_id: int, *, relative: bool = False) -> pa.Table:
    """The rows of a tree.

    Args:
        tree: to store.
        sample: the dataset row of its image.
        first_id: ``annotation_id`` of node 0; the others follow.
        relative: write ``bbox`` and ``area`` as fractions of the image.

    Raises:
        UsageError: the tree is deeper than ``level`` can say.
    """
    n, known = len(tree), tree.parent >= 0
    if n and tree.level.max() > MOST_LEVELS:
        raise UsageError(f"the tree has {tree.level.max()} levels; prune it (max_nodes)")
    height, width = tree.size
    unit = np.array([width, height] * 2 if relative else [1] * 4, np.float64)
    columns: dict[str, Any] = {
        "annotation_id": pa.array(np.arange(first_id, first_id + n)),
        "sample": pa.array(np.full(n, sample, np.int64)),
        "kind": _repeated("object", n),
        "score": _known(tree.score),
        "bbox": pa.FixedSizeListArray.from_arrays(pa.array((tree.bbox / unit).ravel()), 4),
        "area": pa.array(tree.area / unit[2] / unit[3]),
        **_masks(tree),
        "parent": pa.array(tree.parent.astype(np.int64) + first_id, mask=~known),
        "granularity": pa.array(tree.granularity),
        "level": pa.array(tree.level.astype(np.int16)),
    }
    if not np.isnan(tree.altitude).all():
        columns[ALTITUDE] = _known(tree.altitude)
    return pa.table(columns)


def tree_of(dataset: Dataset, sample: int, layer: str | None = None) -> MaskTree | None:
    """The tree of a sample, equal to the one that was stored; None where it has no rows.

    Rows of any layer will do whose objects have masks and name their parents.

    Args:
        dataset: any.
        sample: its row.
        layer: of the trees; the current one, where None.

    Raises:
        UnknownNameError: no such layer.
        GranumError: the rows are no tree: a parent is missing, or above itself; a mask is absent.
    """
    found = stored_tree(dataset, sample, layer)
    return None if found is None else found[0]


def stored_tree(
    dataset: Dataset, sample: int, layer: str | None = None
) -> tuple[MaskTree, npt.NDArray[np.int64]] | None:
    """As ``tree_of``, with the annotation id of each node."""
    view = (dataset if layer is None else dataset.layer(layer))[sample]
    part, name = view.dataset.part_of(view.index), view.dataset.meta.layer
    at = view.index - part.start
    first, last = part.offsets(name)[at : at + 2].tolist()
    table = part.layer(name).slice(first, last - first)
    table = table.filter(pc.equal(column(table, "kind").cast(pa.string()), "object"))
    if not table.num_rows:
        return None
    try:
        return _tree(table, view)
    except UsageError as error:
        raise GranumError(f"{view.key!r}, layer {name!r}: no mask tree: {error}") from error


def trees(dataset: Dataset, layer: str | None = None) -> Iterator[tuple[int, MaskTree]]:
    """(dataset row, tree) of every sample that has one, in order; one in memory at a time."""
    for i in range(len(dataset)):
        tree = tree_of(dataset, i, layer)
        if tree is not None:
            yield i, tree


def _tree(table: pa.Table, view: SampleView) -> tuple[MaskTree, npt.NDArray[np.int64]]:
    parent = _positions(table)
    maps = column(table, "map")
    order = _children_first(parent, leaves_first=maps.null_count < len(maps))
    if order is not None:
        table = table.take(pa.array(order))
        parent = _positions(table)
    values = {
        name: np.asarray(column(table, name).cast(pa.float64()).fill_null(np.nan), np.float64)
        for name in ("score", "granularity")
    }
    values["altitude"] = np.full(len(parent), np.nan)
    if ALTITUDE in table.column_names:
        values["altitude"] = np.asarray(table[ALTITUDE].fill_null(np.nan), np.float64)
    given = values.pop("granularity")
    meta = view.dataset.meta
    leaves = _leaf_map(table, meta.map_root or meta.media_root)
    if leaves is not None:
        tree = MaskTree.partition(leaves, parent, **values)
    else:
        counts, size = row_masks(table, view)
        if any(c is None for c in counts):
            raise UsageError(f"row {counts.index(None)} has no mask")
        tree = MaskTree.pool(size, [c for c in counts if c is not None], parent, **values)
    granularity = np.where(np.isnan(given), tree.granularity, given).astype(np.float32)
    return replace(tree, granularity=granularity), np.asarray(table["annotation_id"], np.int64)


def _positions(table: pa.Table) -> Parents:
    """The position of each row's parent; -1 where it has none."""
    parent = column(table, "parent").combine_chunks()
    found = pc.index_in(parent, value_set=table["annotation_id"].combine_chunks())
    lost = pc.and_(parent.is_valid(), found.is_null())
    if pc.any(lost).as_py():
        raise UsageError(f"parent {pc.filter(parent, lost)[0].as_py()} is not there")
    return np.asarray(found.fill_null(-1), np.int32)


def _children_first(parent: Parents, *, leaves_first: bool) -> npt.NDArray[np.int64] | None:
    """An order in which parents come after their children, and all leaves before, if so asked;
    None where it is so."""
    n = np.arange(len(parent))
    late = np.bincount(parent[parent >= 0], minlength=len(n)) > 0
    late &= leaves_first
    if ((parent < 0) | (parent > n)).all() and (late[:-1] <= late[1:]).all():
        return None
    depth, here = np.zeros(len(n), np.int64), parent
    for _ in n:
        if (here < 0).all():
            return np.lexsort((n, -depth, late))
        depth += here >= 0
        here = np.append(parent, -1)[here]
    raise UsageError("a row is above itself")


def _masks(tree: MaskTree) -> dict[str, pa.Array]:
    if tree.leaves is not None:
        return {"map": _maps(tree)}
    kind = tables.ANNOTATIONS.field("rle").type
    n = len(tree)
    size = pa.FixedSizeListArray.from_arrays(pa.array(np.tile(tree.size, n), pa.int32()), 2)
    children = [size, pa.array(tree.rle, pa.binary()), _repeated("compressed", n)]
    return {"rle": pa.StructArray.from_arrays(children, fields=list(kind))}


def _maps(tree: MaskTree) -> pa.Array:
    """The ``map`` column: bytes at the root, a value and the digest at the leaves."""
    assert tree.leaves is not None
    n, leaf = len(tree), tree.is_leaf
    png, encoding = _png(tree.leaves + 1, int(leaf.sum()))
    shown = leaf.copy()
    shown[-1] = True
    children = {
        "path": pa.nulls(n, pa.string()),
        "bytes": pa.array([None] * (n - 1) + [png], pa.binary()),
        "encoding": _repeated(encoding, n),
        "value": pa.array(np.arange(1, n + 1), mask=~leaf),
        "threshold": pa.nulls(n, pa.float64()),
        "space": pa.nulls(n, tables.ANNOTATIONS.field("map").type.field("space").type),
        "digest": pa.array([hashlib.sha256(png).hexdigest()[:32]] * n, pa.string()),
    }
    kind = tables.ANNOTATIONS.field("map").type
    values = [children[field.name] for field in kind]
    return pa.StructArray.from_arrays(values, fields=list(kind), mask=pa.array(~shown))


def _png(values: npt.NDArray[np.int32], highest: int) -> tuple[bytes, str]:
    """A label image as PNG, and how it is coded."""
    from PIL import Image

    sink = io.BytesIO()
    if highest < 2**16:
        Image.fromarray(values.astype(np.uint16)).save(sink, "PNG")
        return sink.getvalue(), "index"
    bytes_ = np.stack([values & 255, values >> 8 & 255, values >> 16], axis=-1)
    Image.fromarray(bytes_.astype(np.uint8)).save(sink, "PNG")
    return sink.getvalue(), "rgb24"


def _leaf_map(table: pa.Table, root: str | None) -> npt.NDArray[np.int64] | None:
    """The label image that the rows share, by leaf position; None where they have none."""
    maps = column(table, "map").to_pylist()
    whole = [m for m in maps if m is not None and (m["bytes"] is not None or m["path"] is not None)]
    if len(whole) != 1 or whole[0]["digest"] is None:
        return None
    digest = whole[0]["digest"]
    values = read_values(LabelMap(**whole[0]), root)
    position = np.full(max(int(values.max()), 0) + 1, -1, np.int64)
    for i, entry in enumerate(maps):
        if entry is None or entry["value"] is None:
            continue
        if entry["digest"] != digest:
            raise UsageError("its leaves are of two label images")
        if entry["value"] < len(position):
            position[entry["value"]] = i
    unclaimed = np.unique(values[(position[values] < 0) & (values != 0)])
    if len(unclaimed):
        raise UsageError(f"no row has value {unclaimed[0]} of its label image")
    return position[values]


def _repeated(word: str, n: int) -> pa.Array:
    """A dictionary column of one word; the dictionary holds all words that may come, so that
    pieces have one."""
    words = _ENCODINGS if word in _ENCODINGS else (word,)
    codes = pa.array(np.full(n, words.index(word), np.int32))
    return pa.DictionaryArray.from_arrays(codes, pa.array(words))


def _known(values: npt.NDArray[np.float64]) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))
