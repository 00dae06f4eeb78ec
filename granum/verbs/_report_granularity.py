"""Of a report: layers of mask trees: some images cut at several granularities."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from granum.annotate.sheet import granularity_sheet
from granum.annotate.storing import tree_of
from granum.annotate.tree import MaskTree
from granum.browse import page
from granum.browse.charts import histogram, number
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.verbs._report_album import Shot
from granum.verbs._report_asked import CHART, Asked

__all__ = ["granularity", "tree_layers"]

CUTS = (0.95, 0.8, 0.7, 0.6, 0.5)
_IMAGES = 2


def tree_layers(dataset: Dataset) -> list[str]:
    """The layers that have rows with a parent and a granularity."""
    return [
        name
        for name in dataset.meta.layers
        if any(
            {"parent", "granularity"} <= set(table.column_names)
            and table["parent"].null_count < table.num_rows
            for table in (p.layer(name) for p in dataset.parts)
        )
    ]


def granularity(asked: Asked) -> list[str]:
    """For each layer of trees: how coarse its masks are, and cuts of some images."""
    blocks: list[str] = []
    for layer in tree_layers(asked.dataset):
        values = _values(asked.dataset, layer, "granularity")
        with_rows = _with_rows(asked.dataset, layer)
        nodes = int(sum(p.layer(layer).num_rows for p in asked.dataset.parts))
        levels = _values(asked.dataset, layer, "level")
        numbers = [("trees", len(with_rows)), ("masks", nodes)]
        numbers += [("deepest level", int(levels.max()))] if levels.size else []
        blocks += [
            page.heading(f"Layer {layer}"),
            page.figures(numbers),
            page.beside([("Granularity of the masks (octaves)", histogram(values, width=CHART))]),
        ]
        drawn = with_rows[asked.rng(layer).permutation(len(with_rows))]
        for index in drawn[: min(_IMAGES, asked.pictures)].tolist():
            blocks += asked.album.gallery(list(_cuts(asked, index, layer)), "small", most=400)
    return blocks


def _values(dataset: Dataset, layer: str, name: str) -> npt.NDArray[np.float64]:
    pieces = [
        np.asarray(column(p.layer(layer), name).cast(pa.float64()).drop_null(), np.float64)
        for p in dataset.parts
    ]
    return np.concatenate([*pieces, np.empty(0)])


def _with_rows(dataset: Dataset, layer: str) -> npt.NDArray[np.int64]:
    found = [p.start + np.flatnonzero(np.diff(p.offsets(layer))) for p in dataset.parts]
    return np.concatenate([*found, np.empty(0, np.int64)]).astype(np.int64)


def _cuts(asked: Asked, index: int, layer: str) -> Iterator[Shot]:
    """The image, then the image cut: an own picture each, so that captions can be read anywhere."""
    yield asked.album.plain(index, f"{layer}\n{asked.keys[index].as_py()}")
    tree = tree_of(asked.dataset, index, layer)
    image = None if tree is None else asked.album.image(asked.dataset[index])
    if tree is None or image is None or image.size != tree.size[::-1]:
        return
    pixels = np.asarray(image.convert("RGB"))
    for g in CUTS:
        yield _cut(pixels, tree, g)


def _cut(pixels: npt.NDArray[np.uint8], tree: MaskTree, g: float) -> Shot:
    labels = tree.cut(g)
    count = len(np.unique(labels[labels >= 0]))
    words = f"g = {number(g)}: {count} region{'s' * (count != 1)}"
    height = tree.size[0]

    def take() -> Image.Image:
        both = granularity_sheet(pixels, tree, (g,), columns=1)  # the image, and the cut below it
        return both.crop((0, both.height - height, both.width, both.height))

    return take, words
