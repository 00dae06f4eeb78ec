"""Stores for the tests, in parts small enough to have several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from granum.schema import rows, tables
from granum.store import builder
from granum.store.builder import StoreBuilder, batch_of_rows
from granum.store.dataset import Dataset, Meta


def sample(key: str, *annotations: rows.Annotation, **values: Any) -> rows.Sample:
    return rows.Sample(key, annotations=list(annotations), **{"width": 20, "height": 10, **values})


def box(category: int | None = 0, **values: Any) -> rows.Annotation:
    return rows.Annotation(category=category, **{"bbox": (1.0, 2.0, 3.0, 4.0), **values})


def seven() -> list[rows.Sample]:
    """Seven samples; the i-th has i % 3 boxes, some with an attribute, in three splits."""
    made = []
    for i in range(7):
        boxes = [
            box((i + j) % 2, score=i + j / 10, attributes={"n": i} if i > 3 else None)
            for j in range(i % 3)
        ]
        split = ("train", "val", None)[i % 3]
        made.append(sample(f"{i}.jpg", *boxes, split=split, source_id=str(i)))
    return made


CATEGORIES = [rows.Category("cat"), rows.Category("dog")]


def in_parts(
    monkeypatch: Any,
    path: Path,
    samples: list[rows.Sample],
    size: int = 2,
    *,
    categories: list[rows.Category] = CATEGORIES,
    groups: list[rows.Group] | None = None,
    whole: list[rows.Annotation] | None = None,
) -> Dataset:
    """A store whose parts have ``size`` samples (frames of one group stay together)."""
    monkeypatch.setattr(builder, "PART_SAMPLES", size)
    build = StoreBuilder(path)
    for one in samples:
        build.add(batch_of_rows([one]))
    if whole:
        build.add(batch_of_rows([], whole))
    return build.finish(
        categories=rows.objects_to_table(categories, tables.CATEGORIES),
        groups=rows.objects_to_table(groups or [], tables.GROUPS),
        meta=Meta(),
    )


def scores(dataset: Dataset) -> list[list[float | None]]:
    """The scores of each sample's annotations."""
    return [[a.score for a in view.annotations] for view in dataset]


def keys(dataset: Dataset) -> list[str]:
    return [str(k) for k in dataset.samples(["key"])["key"].to_pylist()]


def permutation(n: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).permutation(n)
