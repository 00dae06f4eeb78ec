"""A batch at a time gives what the whole gives."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("hotcoco")

import granum
from granum.errors import UsageError
from granum.metrics.accumulate import Accumulator, boxes_dataset
from granum.store.dataset import Dataset

NAMES = ["cat", "dog"]


def batch(seed: int, keys: list[str]) -> tuple[Dataset, Dataset]:
    rng = np.random.default_rng(seed)
    true, found, label, guess, score = {}, {}, {}, {}, {}
    for key in keys:
        n = int(rng.integers(1, 5))
        low = rng.random((n, 2)) * 50
        true[key] = np.column_stack([low, low + 20 + rng.random((n, 2)) * 30])
        found[key] = true[key] + rng.normal(0, 4, (n, 4))
        label[key] = rng.integers(0, 2, n)
        guess[key] = np.where(rng.random(n) < 0.9, label[key], 1 - label[key])
        score[key] = rng.random(n)
    sizes = dict.fromkeys(keys, (100, 100))
    return (
        boxes_dataset(true, label, NAMES, sizes=sizes),
        boxes_dataset(found, guess, NAMES, scores=score, sizes=sizes),
    )


BATCHES = [batch(s, [f"{s}-{i}" for i in range(4)]) for s in range(3)]


def test_updates_equal_the_whole() -> None:
    found = Accumulator("coco-bbox")
    for truth, predictions in BATCHES:
        found.update(truth, predictions)
    whole = [
        Dataset([p for pair in BATCHES for p in pair[side].parts], BATCHES[0][0].categories)
        for side in (0, 1)
    ]
    expected = granum.evaluate(whole[0], whole[1], protocol="coco-bbox")
    result = found.compute()
    assert result.values == expected.values
    assert 0 < result["AP"] < 1  # type: ignore[operator]
    assert result.facts["samples"] == 12
    assert result.facts["truths"] == expected.facts["truths"]


def test_merging_in_any_order_gives_the_same_numbers() -> None:
    parts = []
    for truth, predictions in BATCHES:
        one = Accumulator("coco-bbox")
        one.update(truth, predictions)
        parts.append(pickle.loads(pickle.dumps(one)))
    results = []
    for order in ([0, 1, 2], [2, 0, 1]):
        joined = Accumulator("coco-bbox")
        for i in order:
            joined.merge(parts[i])
        results.append(joined.compute())
    assert results[0].values == results[1].values
    joined.merge(Accumulator("coco-bbox"))  # that counted nothing
    assert joined.compute().values == results[0].values


def test_what_does_not_fit_is_refused() -> None:
    found = Accumulator("coco-bbox")
    with pytest.raises(UsageError, match="update"):
        found.compute()
    found.update(*BATCHES[0])
    with pytest.raises(UsageError, match="merge"):
        found.merge(Accumulator("coco-bbox", max_detections=(1, 10, 300)))
    other = boxes_dataset({"x": [[0, 0, 1, 1]]}, {"x": [0]}, ["bird"])
    with pytest.raises(UsageError, match="categories"):
        found.update(other, other)


def test_boxes_in_both_forms() -> None:
    box, label = {"a": [[1, 2, 4, 6]], "b": []}, {"a": [1], "b": []}
    corners = boxes_dataset(box, label, NAMES, scores={"a": [0.5], "b": []})
    assert corners.annotations(["bbox"])["bbox"].to_pylist() == [[1.0, 2.0, 3.0, 4.0]]
    assert corners.annotations(["score"])["score"].to_pylist() == [0.5]
    assert corners.samples(["key"])["key"].to_pylist() == ["a", "b"]
    sides = boxes_dataset(box, label, NAMES, form="xywh")
    assert sides.annotations(["bbox"])["bbox"].to_pylist() == [[1.0, 2.0, 4.0, 6.0]]
    for wrong in (
        lambda: boxes_dataset(box, {"a": [2], "b": []}, NAMES),
        lambda: boxes_dataset(box, {"a": [0, 1], "b": []}, NAMES),
        lambda: boxes_dataset(box, label, NAMES, form="cxcywh"),
    ):
        with pytest.raises(UsageError):
            wrong()


def test_the_room_gives_its_public_names() -> None:
    from granum import metrics

    for name in metrics.__all__:
        assert getattr(metrics, name) is not None
    assert metrics.Accumulator is Accumulator
    with pytest.raises(AttributeError, match="nothing"):
        metrics.nothing  # type: ignore[attr-defined]  # noqa: B018
