"""Trees to test with: nested squares, whose answers are known, and random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings

from granum.annotate.tree import MaskTree
from granum.schema.geometry import encode_mask
from granum.schema.rows import Media, Sample
from granum.store import builder
from granum.store.dataset import Dataset, Meta

DRAWN = settings(
    derandomize=True,
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

SIDES = (64, 32, 16, 8, 4)
"""Sides of nested squares: each has a quarter of the area, two octaves less."""


def square(side: int, size: int = 64, at: tuple[int, int] = (0, 0)) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[at[1] : at[1] + side, at[0] : at[0] + side] = True
    return mask


def nested_squares() -> MaskTree:
    """Squares of 4, 8, 16, 32 and 64 pixels in the top-left corner of each other.

    Leaves: the smallest square (0), and the ring that each next one adds (1..4); inner nodes 5..8
    are the squares of 8, 16, 32 and 64 pixels.
    """
    leaves = np.full((64, 64), 4)
    for ring, side in ((3, 32), (2, 16), (1, 8), (0, 4)):
        leaves[:side, :side] = ring
    return MaskTree.partition(leaves, [5, 5, 6, 7, 8, 6, 7, 8, -1], altitude=[0] * 5 + [1, 2, 3, 4])


def square_pool(order: list[int] | None = None) -> list[bytes]:
    """The five squares as RLE, the largest first (or in another order)."""
    counts = [encode_mask(square(s))[1] for s in SIDES]
    return counts if order is None else [counts[i] for i in order]


def random_partition(seed: int, *, void: bool = False) -> MaskTree:
    """A random label image under a random tree with nodes of one to four children."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 24, 2)
    leaves = rng.integers(0, min(1 + rng.integers(20), height * width), (height, width))
    leaves = np.unique(leaves, return_inverse=True)[1].reshape(height, width)
    parent, tops = [-1] * (int(leaves.max()) + 1), list(range(int(leaves.max()) + 1))
    while len(tops) > 1 or rng.random() < 0.2:
        several = 1 if len(tops) == 1 else int(rng.integers(1, min(4, len(tops)) + 1))
        chosen = rng.choice(tops, several, replace=False).tolist()
        for node in chosen:
            parent[node] = len(parent)
        tops = [t for t in tops if t not in chosen] + [len(parent)]
        parent.append(-1)
    if void:
        hole = rng.random(leaves.shape) < 0.3
        hole.ravel()[np.unique(leaves, return_index=True)[1]] = False
        leaves[hole] = -1
    n = len(parent)
    scores = np.where(rng.random(n) < 0.5, rng.random(n), np.nan)
    altitude = np.maximum.accumulate(rng.random(n)) if rng.random() < 0.7 else None
    return MaskTree.partition(leaves, parent, altitude=altitude, score=scores)


def random_masks(seed: int, most: int = 12) -> tuple[list[np.ndarray], np.ndarray]:
    """Random boxes, some inside others, and scores."""
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(int(rng.integers(1, most))):
        x, y = rng.integers(0, 20, 2)
        w, h = rng.integers(1, 16, 2)
        mask = np.zeros((24, 30), bool)
        mask[y : y + h, x : x + w] = True
        masks.append(mask)
    return masks, rng.integers(0, 3, len(masks)) / 2


def picture(seed: int, height: int = 40, width: int = 60) -> np.ndarray:
    """Blobs of colour on a ground, with noise."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), rng.integers(40, 200, 3), np.float64)
    rows, columns = np.mgrid[:height, :width]
    for _ in range(4):
        y, x, radius = rng.integers(0, height), rng.integers(0, width), rng.integers(5, 15)
        image[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = rng.integers(0, 255, 3)
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def picture_store(path: Path, monkeypatch: Any, n: int = 3, **values: Any) -> Dataset:
    """A store of pictures, in parts of two."""
    from PIL import Image

    (path / "images").mkdir(parents=True)
    monkeypatch.setattr(builder, "PART_SAMPLES", 2)
    making = builder.StoreBuilder(path / "x.granum")
    for i in range(n):
        Image.fromarray(picture(i)).save(path / "images" / f"{i}.png")
        sample = Sample(f"{i}.png", Media(f"{i}.png"), 60, 40, **values)
        making.add(builder.batch_of_rows([sample]))
    return making.finish(meta=Meta(media_root=str((path / "images").resolve())))
