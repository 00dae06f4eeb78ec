"""Layers of mask trees: generated from images, or found among the masks that are there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.annotate._row_masks import row_masks
from granum.annotate.base import Generator, make
from granum.annotate.forest import Forest, build_forest
from granum.annotate.storing import tree_rows
from granum.annotate.within import tree_within
from granum.errors import ConflictError, GranumError
from granum.schema import tables
from granum.schema.tables import column, with_column, without_columns
from granum.store.additions import add_layer
from granum.store.dataset import Dataset
from granum.store.view import SampleView

__all__ = ["add_forest", "add_hierarchy"]

Progress = Callable[[int], None]
FOREST = "forest@1"

_OTHER_SHAPES = ("polygons", "map", "polyline", "angle", "shape_kind", "keypoints", "box3d")
_OF_THE_SOURCE = ("origins", "ordinal", "shape", "extra", "subject", "object", "keypoint_scores")


def add_hierarchy(
    dataset: Dataset,
    generator: str | Generator,
    *,
    layer: str = "regions",
    within: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """A mask tree of every image, as a new layer of a store.

    Images are decoded and taken apart one at a time; rows wait in memory until their part is
    written (about 0.2 MB an image).

    Args:
        dataset: a whole store.
        generator: a name (see ``generators``), or one with its parameters.
        layer: name of the new layer.
        within: a layer of objects with masks. Their containment forest is kept, with category,
            score and attributes, and trees are made inside the masks that hold no other (see
            ``tree_within``), not of the whole images.
        parameters: of a generator given by name.
        seed: of generators that draw.
        progress: called with 1 for each image.

    Returns:
        The store, reopened, with the new layer chosen.

    Raises:
        ConflictError: the layer is there already.
        MissingExtraError: the generator's packages are not installed.
    """
    made = make(generator, parameters)
    _check_free(dataset, layer)

    def trees() -> Iterator[pa.Table]:
        following = 1
        whole = ((view, None) for view in dataset)
        for view, objects in whole if within is None else _objects(dataset.layer(within)):
            source: list[int | None] = []
            if objects is None:
                tree = made.tree(_pixels(view), seed=seed)
            else:
                forest, rows_of = _forest(objects, view)
                tree = tree_within(_pixels(view), forest.tree, made, seed=seed)
                source += [None] * (len(tree) - len(forest.tree))
                source += rows_of[forest.source].tolist()
            relative = view.row.unit == "relative"
            rows = tree_rows(tree, view.index, following, relative=relative)
            if objects is not None:
                rows = _described(rows, objects.take(pa.array(source, pa.int64())))
            yield rows
            following += len(tree)
            if progress is not None:
                progress(1)

    producer = made.producer(seed)
    return add_layer(dataset, layer, trees(), producer=producer, parent=within).layer(layer)


def add_forest(
    dataset: Dataset,
    *,
    of: str | None = None,
    layer: str = "forest",
    contain: float = 0.85,
    dup_iou: float = 0.9,
    clip: bool = False,
    owner: Literal["root", "image"] = "root",
    progress: Progress | None = None,
) -> tuple[Dataset, dict[str, int]]:
    """The containment forest of each sample's masks, as a new layer of a store.

    Rows keep category, score, flags, attributes and source id of the annotation that they come
    from; masks are stored as RLE.

    Args:
        dataset: a whole store.
        of: the layer whose objects' masks are ordered; the current one, where None.
        layer: name of the new layer.
        contain, dup_iou, clip, owner: see ``build_forest``.
        progress: called with 1 for each sample.

    Returns:
        The store, reopened, with the new layer chosen; and how many objects were left out:
        ``without_mask``, ``duplicates``, ``empty``.

    Raises:
        ConflictError: the layer is there already.
    """
    _check_free(dataset, layer)
    source = dataset if of is None else dataset.layer(of)
    parameters: dict[str, Any] = {"contain": contain, "dup_iou": dup_iou}
    parameters |= {"clip": clip, "owner": owner}
    left: Counter[str] = Counter(without_mask=0, duplicates=0, empty=0)
    pieces, following = [], 1
    for view, table in _objects(source):
        forest, has = _forest(table, view, **parameters)
        left["without_mask"] += table.num_rows - len(has)
        left["duplicates"] += len(forest.duplicate_of)
        left["empty"] += len(forest.empty)
        relative = view.row.unit == "relative"
        rows = tree_rows(forest.tree, view.index, following, relative=relative)
        pieces.append(_described(rows, table.take(pa.array(has[forest.source]))))
        following += len(forest.tree)
        if progress is not None:
            progress(1)
    producer = f"{FOREST} {json.dumps(parameters, sort_keys=True)}"
    added = add_layer(dataset, layer, _joined(pieces), producer=producer, parent=source.meta.layer)
    return added.layer(layer), dict(left)


def _forest(
    table: pa.Table, view: SampleView, **parameters: Any
) -> tuple[Forest, npt.NDArray[np.int64]]:
    """The forest of a sample's masks, and the rows that have one."""
    masks, size = row_masks(table, view)
    has = np.array([i for i, m in enumerate(masks) if m is not None], np.int64)
    scores = np.asarray(column(table, "score").fill_null(np.nan), np.float64)[has]
    return build_forest([m for m in masks if m is not None], size, scores, **parameters), has


def _check_free(dataset: Dataset, layer: str) -> None:
    """Said before the work is done, not after."""
    if layer in dataset.meta.layers and any(p.layer(layer).num_rows for p in dataset.parts):
        raise ConflictError(f"there is a layer {layer!r} already; name another one")


def _pixels(view: SampleView) -> Any:
    with view.image() as image:
        pixels = np.asarray(image.convert("RGB"))
    height, width = pixels.shape[:2]
    if (view.row.width or width, view.row.height or height) != (width, height):
        raise GranumError(
            f"{view.key!r} is stored as {view.row.width} x {view.row.height} pixels, but its image "
            f"has {width} x {height}: masks of the image would not fit its coordinates"
        )
    return pixels


def _objects(dataset: Dataset) -> Any:
    """(sample, its objects) of every sample; objects said to be absent are left out."""
    for part in dataset.parts:
        table, offsets = part.layer(dataset.meta.layer), part.offsets(dataset.meta.layer)
        is_object = pc.equal(column(table, "kind").cast(pa.string()), "object")
        there = pc.fill_null(column(table, "present"), True)
        wanted = np.asarray(pc.and_(is_object, there), bool)
        for local in range(part.rows):
            rows = np.arange(offsets[local], offsets[local + 1])
            rows = rows[wanted[rows]]
            yield SampleView(dataset, part.start + local), table.take(pa.array(rows))


def _described(rows: pa.Table, source: pa.Table) -> pa.Table:
    """Tree rows with what else is known of the annotations they come from."""
    derived = [n for n in source.column_names if n.startswith("col.")]
    source = without_columns(source, [*_OTHER_SHAPES, *_OF_THE_SOURCE, *derived])
    for name in source.column_names:
        if name not in rows.column_names:
            rows = with_column(rows, name, source[name])
    return rows


def _joined(pieces: list[pa.Table]) -> pa.Table:
    if not pieces:
        return tables.empty(tables.ANNOTATIONS)
    return pa.concat_tables(pieces, promote_options="default").unify_dictionaries()
