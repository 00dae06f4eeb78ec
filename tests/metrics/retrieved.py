"""Retrieval cases: queries and images as a dataset, drawn at random, and the official loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.schema.rows import Annotation, Category, Sample
from granum.store.dataset import Dataset

CATEGORIES = [Category(name, space="relevance") for name in ("easy", "hard", "junk")]
LEVELS = ("easy", "hard", "junk")
Truth = list[dict[str, list[int]]]


def drawn(seed: int, queries: int = 9, images: int = 40) -> tuple[Truth, npt.NDArray[np.int64]]:
    """Easy, hard and junk images of queries (some have none of one), and ranks, shape (n, q)."""
    rng = np.random.default_rng(seed)
    truth = []
    for _ in range(queries):
        chosen = rng.permutation(images)
        sizes = rng.integers(0, 7, 3) * (rng.random(3) < 0.8)
        ends = np.cumsum(sizes)
        parts = np.split(chosen[: ends[-1]], ends[:-1])
        truth.append({name: p.tolist() for name, p in zip(LEVELS, parts, strict=True)})
    return truth, np.stack([rng.permutation(images) for _ in range(queries)], axis=1)


def dataset(
    truth: Truth,
    found: Sequence[Sequence[tuple[int, dict[str, Any]]]],
    images: int,
    *,
    queries_last: bool = False,
) -> Dataset:
    """Layers ``truth`` and ``predicted``; ``found`` are (image, fields of the relation) by query.

    Image i has the label with the id 1000 + i in the truth, 2000 + i in the predictions.
    """
    samples = [
        Sample(
            f"i{i:03d}",
            role="database",
            annotations=[Annotation("label", annotation_id=1000 + i)],
            layers={"predicted": [Annotation("label", annotation_id=2000 + i)]},
        )
        for i in range(images)
    ]
    queries = []
    for q, levels in enumerate(truth):
        true = [
            Annotation("relation", category=c, object=1000 + i)
            for c, level in enumerate(LEVELS)
            for i in levels[level]
        ]
        guessed = [Annotation("relation", object=2000 + i, **more) for i, more in found[q]]
        queries.append(
            Sample(f"q{q:02d}", role="query", annotations=true, layers={"predicted": guessed})
        )
    both = samples + queries if queries_last else queries + samples
    return Dataset.from_rows(both, CATEGORIES)


def scored(ranks: npt.NDArray[np.int64]) -> list[list[tuple[int, dict[str, Any]]]]:
    """All images of every query with scores that fall by rank."""
    return [
        [(i, {"score": 1.0 - r / 1000}) for r, i in enumerate(column)]
        for column in ranks.T.tolist()
    ]


def ok_and_junk(truth: Truth, protocol: str) -> list[dict[str, list[int]]]:
    """What is relevant and what leaves the list, as the official example builds it."""
    out = []
    for entry in truth:
        easy, hard, junk = (entry[name] for name in LEVELS)
        out.append(
            {
                "E": {"ok": easy, "junk": junk + hard},
                "M": {"ok": easy + hard, "junk": junk},
                "H": {"ok": hard, "junk": junk + easy},
            }[protocol]
        )
    return out


def official(
    ranks: npt.NDArray[np.int64], gnd: Sequence[dict[str, list[int]]], kappas: Sequence[int]
) -> tuple[float, list[float]]:
    """mAP and mP@k image by image: walk the list, let junk go, and add a trapezoid at each
    relevant image."""
    total, precisions, judged = 0.0, [0.0] * len(kappas), 0
    for q, truth in enumerate(gnd):
        if not truth["ok"]:
            continue
        judged += 1
        place, hits, area = 0, [], 0.0
        step = 1.0 / len(truth["ok"])
        for image in ranks[:, q].tolist():
            if image in truth["junk"]:
                continue
            if image in truth["ok"]:
                before = 1.0 if place == 0 else len(hits) / place
                after = (len(hits) + 1) / (place + 1)
                area += (before + after) * step / 2.0
                hits.append(place + 1)
            place += 1
        total += area
        for j, k in enumerate(kappas):
            last = min(max(hits), k)
            precisions[j] += sum(h <= last for h in hits) / last
    return total / judged, [p / judged for p in precisions]
