"""Evaluation a batch at a time, as training loops and other programs feed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.metrics.base import Context, Protocol, Result
from granum.metrics.evaluate import Piece, counted, finished, protocol_of
from granum.schema import rows, tables
from granum.store.dataset import Dataset

__all__ = ["Accumulator", "boxes_dataset"]


class Accumulator:
    """A protocol's states: ``update`` with some samples, ``merge`` what others counted, and
    ``compute`` the numbers.

    Every sample (or group) is given once, truth and predictions together. States are small
    (counts, boxes), picklable, and may be merged in any order.

    Args:
        protocol: its name, or itself.
        **parameters: of the protocol.

    Example::

        found = Accumulator("coco-bbox")
        for truth, predictions in batches:  # datasets, see ``boxes_dataset``
            found.update(truth, predictions)
        found.compute()["AP"]
    """

    def __init__(self, protocol: str | Protocol, **parameters: Any) -> None:
        self.protocol = protocol_of(protocol, parameters)
        self._pieces: list[Piece] = []
        self._context: Context | None = None

    def update(self, truth: Dataset, predictions: Dataset) -> None:
        """Count samples that were not counted before.

        Raises:
            UsageError: the categories are not those of earlier updates.
        """
        self._agree(truth.categories)
        context, pieces = counted(self.protocol, truth, predictions)
        self._context = self._joined(context)
        self._pieces += pieces

    def merge(self, other: Accumulator) -> None:
        """Take over what another one counted, of other samples.

        Raises:
            UsageError: protocols, parameters or categories differ.
        """
        if other.protocol != self.protocol:
            raise UsageError(f"cannot merge {other.protocol} into {self.protocol}")
        if other._context is None:
            return
        self._agree(other._context.categories)
        self._context = self._joined(other._context)
        self._pieces += other._pieces

    def compute(self) -> Result:
        """The numbers of all samples so far.

        Raises:
            UsageError: nothing was counted.
        """
        if self._context is None:
            raise UsageError("nothing was counted: call update first")
        return finished(self.protocol, self._pieces, self._context)

    def _joined(self, context: Context) -> Context:
        """What holds for all samples so far and these."""
        if self._context is None:
            return context
        return replace(
            context,
            samples=self._context.samples + context.samples,
            groups=_all_groups(self._context.groups, context.groups),
        )

    def _agree(self, categories: pa.Table) -> None:
        if self._context is not None and not self._context.categories.equals(categories):
            raise UsageError("all updates need the same categories, in the same order")


def _all_groups(one: pa.Table | None, other: pa.Table | None) -> pa.Table | None:
    """The groups of both, each key once."""
    if one is None or other is None or one.equals(other):
        return other if one is None else one
    new = pc.invert(pc.is_in(other["key"], value_set=one["key"]))
    return pa.concat_tables([one, other.filter(new)], promote_options="permissive")


def boxes_dataset(
    boxes: Mapping[str, npt.ArrayLike],
    labels: Mapping[str, npt.ArrayLike],
    categories: Sequence[str],
    *,
    scores: Mapping[str, npt.ArrayLike] | None = None,
    form: str = "xyxy",
    sizes: Mapping[str, tuple[int, int]] | None = None,
) -> Dataset:
    """Boxes of some images as a dataset in memory, for ``update`` and ``evaluate``.

    Args:
        boxes: of each image by its key, shape (n, 4), absolute pixels.
        labels: shape (n,), positions in ``categories``.
        categories: names of the classes.
        scores: shape (n,), of predictions.
        form: ``xyxy`` or ``xywh``.
        sizes: width and height of images, where they are known.

    Raises:
        UsageError: numbers of boxes, labels and scores of an image differ, a label is no class.
    """
    if form not in ("xyxy", "xywh"):
        raise UsageError(f"form is {form!r}; it must be xyxy or xywh")
    corner, label, score, at = [np.empty((0, 4))], [np.empty(0, np.int64)], [np.empty(0)], []
    for i, key in enumerate(boxes):
        own = np.asarray(boxes[key], np.float64).reshape(-1, 4)
        of = np.asarray(labels[key], np.int64).reshape(-1)
        given = None if scores is None else np.asarray(scores[key], np.float64).reshape(-1)
        if len(of) != len(own) or (given is not None and len(given) != len(own)):
            raise UsageError(f"{key}: boxes, labels and scores are not as many")
        if len(of) and not 0 <= of.min() <= of.max() < len(categories):
            raise UsageError(f"{key}: a label is not in 0..{len(categories) - 1}")
        corner.append(own)
        label.append(of)
        score.append(np.empty(0) if given is None else given)
        at.append(np.full(len(own), i))
    box = np.concatenate(corner)
    if form == "xyxy":
        box = np.column_stack([box[:, :2], box[:, 2:] - box[:, :2]])
    n = len(box)
    flat = pa.array(box.ravel(), pa.float64())
    annotations = {
        "annotation_id": pa.array(np.arange(1, n + 1), pa.int64()),
        "sample": pa.array(np.concatenate([np.empty(0, np.int64), *at]), pa.int64()),
        "kind": pa.array(["object"] * n, pa.string()).dictionary_encode(),
        "category": pa.array(np.concatenate(label), pa.int32()),
        "bbox": pa.FixedSizeListArray.from_arrays(flat, 4),
    }
    if scores is not None:
        annotations["score"] = pa.array(np.concatenate(score), pa.float64())
    known = dict(sizes or {})
    samples = [
        rows.Sample(
            key, width=known.get(key, (None, None))[0], height=known.get(key, (None, None))[1]
        )
        for key in boxes
    ]
    named = [rows.Category(name) for name in categories]
    return Dataset.from_arrow(
        rows.samples_to_table(samples),
        pa.table(annotations),
        rows.objects_to_table(named, tables.CATEGORIES),
    )
