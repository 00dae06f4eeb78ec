"""A layer of what a predictor answers to the simulated annotator, ready to be evaluated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.annotate._row_masks import row_masks
from granum.annotate.adding import _check_free, _objects, _pixels
from granum.annotate.clicks import Predict, interact
from granum.schema import geometry, rows
from granum.schema.tables import column
from granum.store.additions import add_layer
from granum.store.dataset import Dataset

__all__ = ["add_clicks"]

Predictor = Callable[[npt.NDArray[np.uint8]], Predict]
"""Of an image, RGB, shape (height, width, 3): what answers clicks on it."""


def add_clicks(
    dataset: Dataset,
    predictor: Predictor,
    *,
    of: str | None = None,
    layer: str = "clicks",
    max_clicks: int = 20,
    target_iou: float = 0.9,
    producer: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """Click on every object as RITM's annotator does, and keep the mask after each click.

    A row of the new layer is a mask (RLE) with the attributes ``of`` (the object's
    ``annotation_id``), ``click`` (from 1), ``x``, ``y`` (pixels) and ``positive``: what the
    protocol ``interactive`` takes. Objects marked ``ignore`` are pixels that do not count; those
    without a mask, or with an empty one, are passed over.

    Args:
        dataset: a whole store whose objects have masks.
        predictor: called once an image.
        of: the layer of the objects; the current one, where None.
        layer: name of the new layer.
        max_clicks, target_iou: see ``interact``.
        producer: who or what answers.
        progress: called with 1 for each sample.

    Returns:
        The store, reopened, with the new layer chosen.

    Raises:
        ConflictError: the layer is there already.
        MissingExtraError: scipy is not installed.
    """
    _check_free(dataset, layer)
    source = dataset if of is None else dataset.layer(of)

    def answers() -> Iterator[pa.Table]:
        for view, table in _objects(source):
            coded, size = row_masks(table, view)
            masks = [None if c is None else geometry.rle_decode(size, c) for c in coded]
            void = [bool(v) for v in column(table, "ignore").to_pylist()]
            ids = column(table, "annotation_id").to_pylist()
            ignored = [m for m, v in zip(masks, void, strict=True) if v and m is not None]
            ignore = np.logical_or.reduce(ignored) if ignored else None
            wanted = [
                (i, m)
                for i, m, v in zip(ids, masks, void, strict=True)
                if m is not None and not v and m.any()
            ]
            if wanted:
                predict = predictor(_pixels(view))
                found: list[rows.Annotation] = []
                for number, truth in wanted:
                    found += _answers(predict, truth, number, max_clicks, target_iou, ignore)
                yield rows.annotations_to_table(found, [view.index] * len(found))
            if progress is not None:
                progress(1)

    facts = {"max_clicks": max_clicks, "target_iou": target_iou}
    made = f"{producer or 'clicks'} {json.dumps(facts)}"
    return add_layer(dataset, layer, answers(), producer=made, parent=of).layer(layer)


def _answers(
    predict: Predict,
    truth: npt.NDArray[np.bool_],
    number: int,
    max_clicks: int,
    target_iou: float,
    ignore: npt.NDArray[np.bool_] | None,
) -> list[rows.Annotation]:
    out = []
    clicks = interact(predict, truth, max_clicks, target_iou, ignore=ignore)
    for k, (click, mask, _) in enumerate(clicks, 1):
        about: dict[str, Any] = {"of": number, "click": k}
        about |= {"x": click.x, "y": click.y, "positive": click.positive}
        out.append(rows.Annotation(rle=rows.Rle(*geometry.encode_mask(mask)), attributes=about))
    return out
