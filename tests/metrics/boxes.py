"""Random detections for the tests of protocols, and checks that all of them must pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from granum.metrics.base import Protocol, Recount, Result
from granum.metrics.evaluate import evaluate
from granum.schema.rows import Annotation, Category, Sample
from granum.store.dataset import Dataset
from tests.metrics.made import in_parts, same

CLASSES = [Category("cat"), Category("dog"), Category("bird"), Category("unused")]


def pairs(
    truth: Sequence[Sequence[Annotation]],
    predicted: Sequence[Sequence[Annotation]],
    categories: Sequence[Category] = CLASSES,
    **facts: object,
) -> Dataset:
    """Samples with a layer ``truth`` and a layer ``predicted``."""
    samples = [
        Sample(f"{i:03d}", annotations=list(t), layers={"predicted": list(p)}, **facts)  # type: ignore[arg-type]
        for i, (t, p) in enumerate(zip(truth, predicted, strict=True))
    ]
    return Dataset.from_rows(samples, categories)


def run(data: Dataset, protocol: str | Protocol, **parameters: object) -> Result:
    return evaluate(data, data.layer("predicted"), protocol, parameters=parameters)


def random_boxes(
    seed: int, change: Callable[[np.random.Generator, Annotation, bool], None]
) -> tuple[list[list[Annotation]], list[list[Annotation]]]:
    """Truth and predictions of 12 images, whole corners, many equal scores; ``change`` gets each
    row, and whether it is true."""
    rng = np.random.default_rng(seed)
    truth, predicted = [], []
    for _ in range(12):
        true, guesses = [], []
        for _ in range(int(rng.integers(0, 7))):
            x, y = rng.integers(0, 60, 2).tolist()
            w, h = rng.integers(8, 30, 2).tolist()
            true.append(Annotation(category=int(rng.integers(0, 3)), bbox=(x, y, w, h)))
        for _ in range(int(rng.integers(0, 14))):
            if true and rng.random() < 0.8:
                near = true[int(rng.integers(len(true)))]
                assert near.bbox is not None
                x, y, w, h = (int(v + d) for v, d in zip(near.bbox, rng.integers(-4, 5, 4)))  # noqa: B905
                category = near.category
            else:
                x, y, w, h = (int(v) for v in rng.integers(5, 40, 4))
                category = int(rng.integers(0, 3))
            score = float(rng.integers(1, 10)) / 10
            guesses.append(Annotation(category=category, bbox=(x, y, w, h), score=score))
        truth.append(true)
        predicted.append(guesses)
    for rows, real in ((truth, True), (predicted, False)):
        for row in [r for rs in rows for r in rs]:
            change(rng, row, real)
    return truth, predicted


def check_parts(protocol: Protocol, data: Dataset) -> None:
    """Parts of any size in any order give the same bits; a finding is told once a part, so only
    their number is the same."""
    n = len(data)
    whole = in_parts(protocol, data, [n], 0)
    for seed, sizes in enumerate(([1] * n, [n - 3, 3], [2, n - 4, 2])):
        parts = in_parts(protocol, data, sizes, seed)
        assert parts.findings.counts == whole.findings.counts
        assert same(whole, parts.with_account(parts.facts, whole.findings))


def check_recount(protocol: Protocol, data: Dataset, subset: Sequence[int]) -> None:
    """Ones give the published numbers to the bit; zeros and ones the numbers of that subset; twos
    those of a set in which all samples are there twice."""
    whole = run(data, protocol)
    recount = whole.recount
    assert isinstance(recount, Recount)
    keys = recount.keys.to_pylist()
    assert sorted(keys) == sorted(data.samples(["key"])["key"].to_pylist())
    assert dict(recount.values(np.ones(len(keys), np.int64))) == dict(whole.values)
    chosen = data.select(np.asarray(subset))
    names = set(chosen.samples(["key"])["key"].to_pylist())
    weights = np.array([k in names for k in keys], np.int64)
    part = run(chosen, protocol)
    assert dict(recount.values(weights)) == dict(part.values)
    assert dict(part.values) != dict(whole.values)
