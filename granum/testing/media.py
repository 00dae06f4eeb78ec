"""Tiny images for datasets that only say where theirs are."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.schema import tables
from granum.schema.tables import with_column
from granum.store.dataset import Dataset, Meta
from granum.store.parts import Batch, Part

__all__ = ["png", "with_maps", "with_media"]

UNKNOWN = (5, 4)
"""Width and height of an image whose size is not stated."""


@lru_cache(maxsize=256)
def png(width: int, height: int, value: int = 0) -> bytes:
    """A grey PNG of one value."""
    return _encoded(np.full((height, width), value % 256, np.uint8))


def _encoded(pixels: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def with_media(dataset: Dataset, folder: Path) -> Dataset:
    """``dataset`` with a small image for every sample, written to ``folder``.

    Sizes are those that the samples state, or 5 x 4. Every image has its own path; embedded
    images stay.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def change(batch: Batch) -> Batch:
        listed = batch.samples.select(
            [n for n in ("key", "media", "width", "height") if n in batch.samples.column_names]
        ).to_pylist()
        media: list[dict[str, Any]] = []
        for i, row in enumerate(listed, batch.start):
            known = row.get("media")
            if known is not None and known["bytes"] is not None:
                media.append(known)
                continue
            name = f"{i:05d}.png"
            size = row.get("width") or UNKNOWN[0], row.get("height") or UNKNOWN[1]
            (folder / name).write_bytes(png(*size, 1 + i))
            media.append({"path": name, "bytes": None})
        values = pa.array(media, tables.SAMPLES.field("media").type)
        return Batch(with_column(batch.samples, "media", values), batch.annotations, batch.start)

    changed = [p.mapped(change) for p in dataset.parts]
    for part in changed:
        part.samples()
    return _moved(dataset, changed, media_root=folder)


def with_maps(dataset: Dataset, folder: Path) -> Dataset:
    """``dataset`` with its label maps written to ``folder``: each value has a stripe of its own."""
    wanted: dict[str, list[tuple[str, int, str]]] = {}
    for layer in dataset.meta.layers:
        for row in dataset.annotations(["sample", "map"], layer).to_pylist():
            value = row["map"]
            if value is not None and value["path"] is not None and row["sample"] is not None:
                one = (value["encoding"], value["value"] or 1, row["sample"])
                wanted.setdefault(value["path"], []).append(one)
    if not wanted:
        return dataset
    stated = dataset.samples(["width", "height"]).to_pylist()
    for path, listed in wanted.items():
        row = stated[listed[0][2]]
        size = row["width"] or UNKNOWN[0], row["height"] or UNKNOWN[1]
        # What a map is called may be anything; where its file lies may not.
        target = folder / path
        if not target.resolve().is_relative_to(folder.resolve()):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_striped(size, [(e, v) for e, v, _ in listed]))
    return _moved(dataset, dataset.parts, map_root=folder)


def _striped(size: tuple[int, int], listed: list[tuple[str, int]]) -> bytes:
    """A map with as many pixels of each value, row by row."""
    width, height = size
    values = sorted({v for _, v in listed})
    place = np.arange(height * width) * len(values) // (height * width)
    grid = np.asarray(values, np.int64)[place].reshape(height, width)
    if listed[0][0] == "rgb24":
        pixels = np.stack([grid & 255, grid >> 8 & 255, grid >> 16 & 255], axis=-1)
    elif listed[0][0] == "ade":
        pixels = np.stack([grid // 256 * 10, grid % 256, grid * 0], axis=-1)
    else:
        pixels = grid
    return _encoded(pixels.astype(np.uint8))


def _moved(dataset: Dataset, parts: Iterable[Part], **roots: Any) -> Dataset:
    changes: dict[str, Any] = {k: str(v) for k, v in roots.items()}
    meta: Meta = replace(dataset.meta, **changes)
    return Dataset(parts, dataset.categories, dataset.groups, dataset.sources, meta)
