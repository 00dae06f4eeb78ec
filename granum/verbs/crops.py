"""Objects as images of their own: a dataset of crops, one label each."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from granum.errors import GranumError
from granum.schema import rows, tables
from granum.store.builder import StoreBuilder, batch_of_rows
from granum.store.dataset import Dataset, Meta
from granum.store.view import SampleView

__all__ = ["crops"]


def crops(
    dataset: Dataset,
    out: str | Path,
    *,
    margin: float = 0.1,
    smallest: float = 8.0,
    categories: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Dataset:
    """A store of the objects of the current layer, each cut out as an embedded PNG with its label.

    Sample keys are ``KEY#ANNOTATION_ID``; ``attributes`` name the image (``of``) and the
    annotation. The split of the image stays. So does its group; crops of an image without one are a
    group of their own (kind ``image``), so that no split and no fold tears an image apart.

    Args:
        dataset: images at hand.
        out: the store to write.
        margin: added on each side, as a share of the box.
        smallest: boxes with a shorter side (pixels) are left out.
        categories: names of those wanted (default: all).
        overwrite: replace ``out``.

    Raises:
        ExistsError: ``out`` is there.
        FormatError: an image is absent or does not decode.
    """
    names = dataset.category_names()
    wanted = set(names if categories is None else categories)
    groups = _Groups(dataset)
    builder = StoreBuilder(out, overwrite=overwrite)
    try:
        for view in dataset:
            found = list(_crops(view, margin, smallest, wanted))
            if found:
                number = groups.of(view)
                builder.add(batch_of_rows([replace(crop, group=number) for crop in found]))
        finished: Dataset = builder.finish(
            categories=dataset.categories,
            groups=rows.objects_to_table(groups.made, tables.GROUPS),
            sources=tables.empty(tables.SOURCES),
            meta=Meta(lineage=[{"operation": "crops", "margin": margin, "smallest": smallest}]),
        )
        return finished
    except BaseException:
        builder.abort()
        raise


class _Groups:
    """The groups that crops belong to, numbered as they come."""

    def __init__(self, dataset: Dataset) -> None:
        self.known = dataset.groups
        self.keys = set(self.known["key"].to_pylist())
        self.made: list[rows.Group] = []
        self.numbers: dict[int, int] = {}

    def of(self, view: SampleView) -> int:
        """The number of an image's group. Size, length and media of a video are not its crops'."""
        row = view.row.group
        if row is None:
            key = view.key if view.key not in self.keys else f"{view.key}#image"
            self.made.append(rows.Group(key, "image"))
            return len(self.made) - 1
        if row not in self.numbers:
            self.numbers[row] = len(self.made)
            (one,) = rows.groups_from_table(self.known.slice(row, 1))
            self.made.append(
                rows.Group(one.key, one.kind, one.source_id, attributes=one.attributes)
            )
        return self.numbers[row]


def _crops(
    view: SampleView, margin: float, smallest: float, wanted: set[str]
) -> Iterator[rows.Sample]:
    objects = [
        (a, box)
        for a, box, label in zip(view.annotations, view.boxes("xyxy"), view.labels, strict=True)
        if a.kind == "object" and label in wanted and np.isfinite(box).all() and not a.crowd
    ]
    image = view.image().convert("RGB") if objects else None
    for a, box in objects:
        assert image is not None
        side = (box[2:] - box[:2]) * margin
        low = np.floor(np.maximum(box[:2] - side, 0)).astype(int)
        high = np.ceil(np.minimum(box[2:] + side, image.size)).astype(int)
        if (np.minimum(box[2:], image.size) - np.maximum(box[:2], 0)).min() < smallest:
            continue
        if a.annotation_id is None:
            raise GranumError(f"an annotation of {view.key!r} has no id: save the dataset first")
        piece = image.crop((*low.tolist(), *high.tolist()))
        buffer = io.BytesIO()
        piece.save(buffer, "PNG", compress_level=1)
        yield rows.Sample(
            f"{view.key}#{a.annotation_id}",
            media=rows.Media(bytes=buffer.getvalue()),
            width=piece.width,
            height=piece.height,
            split=view.split,
            attributes={"of": view.key, "annotation": a.annotation_id},
            annotations=[rows.Annotation(kind="label", category=a.category)],
        )
