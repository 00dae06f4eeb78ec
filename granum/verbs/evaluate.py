"""Evaluate predictions against truth by an official protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from granum.errors import SizeUnknownError, UsageError
from granum.loaders.writing import with_sizes
from granum.metrics.base import Protocol, Result
from granum.metrics.evaluate import evaluate as run
from granum.metrics.evaluate import protocol_of
from granum.metrics.joining import join_columns
from granum.schema import tables
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.executor import executor
from granum.verbs._inputs import Given, opened
from granum.verbs.convert import read

__all__ = ["evaluate"]


def evaluate(
    source: Given,
    predictions: Given | None = None,
    *,
    protocol: str | Protocol,
    layer: str | None = None,
    truth_layer: str = tables.DEFAULT_LAYER,
    parameters: Mapping[str, Any] | None = None,
    images: str | Path | None = None,
    join: bool = False,
    prefix: str | None = None,
    workers: int = 1,
    scheduler: str | None = None,
) -> Result:
    """The official numbers of predictions.

    Args:
        source: dataset or path that holds the truth.
        predictions: dataset or path that holds the predictions: a store, a source of any format,
            or a COCO file of results (joined by image and category id). None: they are a layer of
            ``source``.
        protocol: name of a protocol (``coco-bbox``, ``panoptic-quality``…), or one itself.
        layer: the layer of predictions; needed where several could be meant.
        truth_layer: the layer of ``source`` that is true.
        parameters: of the protocol.
        images: the folder of the images, where sizes must be read and the source does not tell.
        join: add the numbers per sample to the store of ``source`` as derived columns
            ``eval.PROTOCOL.NUMBER``; none where nothing could be compared, which is a finding.
        prefix: of those columns instead of ``eval.PROTOCOL``.
        workers: processes that count parts.
        scheduler: a Dask cluster that does.

    Returns:
        The result: values, per class, per sample, curves, facts, findings.

    Raises:
        UnknownNameError: no such protocol or layer.
        UsageError: it is unclear which layer is meant, or no sample is in both datasets.
        StoreError: ``join`` and ``source`` is no store.
        MissingExtraError: a package that the protocol needs is absent.
    """
    chosen = protocol_of(protocol, parameters)
    given = _opened(source, images)
    truth = given.layer(truth_layer)
    other = given if predictions is None else _opened(predictions, images)
    name = layer or _only_layer(other, without=truth_layer if predictions is None else None)
    found = other.layer(name)
    if predictions is None and name == truth_layer:
        raise UsageError(f"layer {name!r} cannot be judged by itself: name another (--layer)")
    truth, found = _sized(truth), _sized(found)
    by = "source_id" if predictions is not None and _of_results(found) else "key"
    with executor(workers, scheduler) as pool:
        result = run(truth, found, chosen, by=by, executor=pool)  # type: ignore[arg-type]
    if join and (
        result.per_sample is not None or "nothing-to-compare" not in result.findings.counts
    ):
        join_columns(given, result, prefix)
    return result


def _opened(given: Given, images: str | Path | None) -> Dataset:
    if isinstance(given, Dataset) or images is None:
        return opened(given)
    return read(given, images=images)


def _only_layer(dataset: Dataset, without: str | None) -> str:
    """The one layer that holds annotations.

    Raises:
        UsageError: none does, or several do.
    """
    filled = [
        name
        for name in dataset.meta.layers
        if name != without and any(p.layer(name).num_rows for p in dataset.parts)
    ]
    if len(filled) == 1:
        return filled[0]
    listed = ", ".join(filled or dataset.meta.layers)
    what = "several layers could be predictions" if filled else "no layer holds predictions"
    raise UsageError(f"{what}: name one with layer= (--layer). Layers: {listed}.")


def _sized(dataset: Dataset) -> Dataset:
    """With sizes from the images' headers, where some are unknown and all can be read."""
    if not any(
        column(p.samples(), name).null_count for p in dataset.parts for name in ("width", "height")
    ):
        return dataset
    try:
        return with_sizes(dataset)
    except SizeUnknownError:
        return dataset  # protocols that need no size are content


def _of_results(dataset: Dataset) -> bool:
    """Whether it was read from a list of results, which names images by id only."""
    options = column(dataset.sources, "options", tables.SOURCES).to_pylist()
    return bool(options) and all(o is not None and json.loads(o).get("results") for o in options)
