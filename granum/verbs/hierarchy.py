"""Mask trees for a store: from images by a generator, or from the masks that it holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from granum.annotate.adding import add_forest, add_hierarchy
from granum.annotate.base import Generator, generators
from granum.errors import UnknownNameError, UsageError
from granum.store.dataset import Dataset
from granum.verbs._inputs import opened

__all__ = ["Hierarchy", "hierarchy", "hierarchy_methods"]

FOREST = "forest"
_FOREST_PARAMETERS = ("contain", "dup_iou", "clip", "owner")


@dataclass(frozen=True)
class Hierarchy:
    """Attributes:
    dataset: the store with the new layer, chosen.
    facts: ``layer``, ``producer``, ``trees``, ``nodes``, ``seconds``; of a forest also what was
        left out (``without_mask``, ``duplicates``, ``empty``). JSON-serialisable.
    """

    dataset: Dataset
    facts: Mapping[str, Any]


def hierarchy_methods() -> list[str]:
    """Names of all generators, and ``forest``."""
    return sorted([*generators, FOREST])


def hierarchy(
    source: Dataset | str | Path,
    method: str | Generator = "slico_average",
    *,
    of: str | None = None,
    within: str | None = None,
    layer: str = "regions",
    seed: int = 0,
    parameters: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Hierarchy:
    """Add a layer of mask trees to a store.

    Args:
        source: a store, or its path.
        method: a generator, which makes trees of the images (``slico_average``: good partitions;
            ``watershed_volume``: good single masks; plug-ins), or ``forest``, which orders the
            masks of a layer by containment.
        of: for ``forest``, the layer of the masks; the current one, where None.
        within: for a generator, a layer of objects: trees are made inside their masks and hang
            below them, not of whole images.
        layer: name of the new layer.
        seed: of generators that draw.
        parameters: of the method: the generator's fields, or ``contain``, ``dup_iou``, ``clip``
            and ``owner`` of a forest.
        progress: called with 1 for each sample.

    Raises:
        UnknownNameError: no such method, parameter or layer.
        UsageError: ``of`` of a generator, ``within`` of a forest.
        ConflictError: the layer is there already.
        StoreError: ``source`` is no whole store.
        MissingExtraError: the method's packages are not installed.
    """
    if isinstance(method, str) and method not in hierarchy_methods():
        raise UnknownNameError("method", method, hierarchy_methods())
    if (within if method == FOREST else of) is not None:
        raise UsageError("of= is for the method forest, within= for generators")
    dataset = opened(source)
    began = time.perf_counter()
    left: Mapping[str, int] = {}
    if method == FOREST:
        for name in parameters or {}:
            if name not in _FOREST_PARAMETERS:
                raise UnknownNameError("parameter of forest", name, _FOREST_PARAMETERS)
        out, left = add_forest(dataset, of=of, layer=layer, progress=progress, **(parameters or {}))
    else:
        out = add_hierarchy(
            dataset,
            method,
            layer=layer,
            within=within,
            parameters=parameters,
            seed=seed,
            progress=progress,
        )
    with_rows = [pc.count_distinct(p.layer(layer)["sample"]).as_py() for p in _filled(out, layer)]
    facts = {
        "layer": layer,
        "producer": out.meta.layers[layer]["producer"],
        "trees": sum(with_rows),
        "nodes": out.num_annotations,
        "seconds": round(time.perf_counter() - began, 3),
        **left,
    }
    return Hierarchy(out, facts)


def _filled(dataset: Dataset, layer: str) -> list[Any]:
    return [p for p in dataset.parts if p.layer(layer).num_rows]
