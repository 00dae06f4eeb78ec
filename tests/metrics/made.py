"""Small datasets for the tests of protocols, and evaluation in parts of any size and order."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from granum.metrics.base import Context, Protocol, Result
from granum.schema import geometry, rows
from granum.store.dataset import Dataset


def png(labels: npt.ArrayLike) -> bytes:
    """A label image as a PNG of 16 bits."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(labels, np.uint16)).save(file, "PNG")
    return file.getvalue()


def whole(labels: npt.ArrayLike, **values: Any) -> rows.Annotation:
    """A row that is a label map as a whole."""
    return rows.Annotation(map=rows.LabelMap(bytes=png(labels)), **values)


def masked(mask: npt.ArrayLike, category: int | None = 0, **values: Any) -> rows.Annotation:
    """A row with an RLE mask."""
    return rows.Annotation(category=category, rle=rows.Rle(*geometry.encode_mask(mask)), **values)


def dataset(
    truth: Sequence[Sequence[rows.Annotation]],
    predicted: Sequence[Sequence[rows.Annotation]],
    categories: Sequence[rows.Category] = (),
    size: tuple[int, int] | None = None,
) -> Dataset:
    """Samples with a layer ``truth`` and a layer ``predicted``; ``size`` is (height, width)."""
    height, width = size or (None, None)
    return Dataset.from_rows(
        [
            rows.Sample(
                f"{i:03d}",
                width=width,
                height=height,
                annotations=list(true),
                layers={"predicted": list(guess)},
            )
            for i, (true, guess) in enumerate(zip(truth, predicted, strict=True))
        ],
        categories,
    )


def in_parts(protocol: Protocol, data: Dataset, sizes: Sequence[int], seed: int) -> Result:
    """The result from parts of the given sizes, in a shuffled order, as if other processes had
    counted them."""
    order = np.random.default_rng(seed).permutation(len(data))
    context = Context(data.categories, None, None, len(data))
    states, at = [], 0
    for size in sizes:
        some = data.select(order[at : at + size])
        at += size
        (mine,) = some.iter_batches()
        (theirs,) = some.layer("predicted").iter_batches()
        states.append(pickle.loads(pickle.dumps(protocol.state(mine, theirs, context))))
    assert at == len(data)
    return protocol.result(states, context)


def same(one: Result, other: Result) -> bool:
    """Whether two results have the same bits."""
    return (
        dict(one.values) == dict(other.values)
        and one.per_sample == other.per_sample
        and one.per_class == other.per_class
        and dict(one.curves) == dict(other.curves)
        and one.facts == other.facts
        and one.findings.to_dict() == other.findings.to_dict()
    )
