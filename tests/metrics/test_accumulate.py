"""A batch at a time gives what the whole gives."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("hotcoco")

import granum
from granum.errors import UsageError
from granum.metrics.accumulate import Accumulator, boxes_dataset
from granum.schema.rows import Annotation, Category, Sample
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


def drawn(seed: int, keys: list[str], score: float | None) -> Dataset:
    """A square per image, as box and polygon; those of odd images are elsewhere in predictions."""
    samples = []
    for key in keys:
        rng = np.random.default_rng([seed, *key.encode()])
        x, y, side = (float(v) for v in rng.integers((0, 0, 30), (20, 20, 40)))
        if score is not None and rng.random() < 0.5:
            x += 60.0
        ring = [x, y, x + side, y, x + side, y + side, x, y + side]
        square = Annotation(bbox=(x, y, side, side), polygons=[[ring]], category=0, score=score)
        samples.append(Sample(key, width=128, height=128, annotations=[square]))
    return Dataset.from_rows(samples, [Category("cat")])


@pytest.mark.parametrize("protocol", ["coco-bbox", "coco-segm", "lvis", "boundary-iou"])
def test_equal_scores_go_by_key_however_the_images_are_cut(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("granum.metrics.lvis.PER_CLASS", 7)
    more = {"fixed_ap": True} if protocol == "lvis" else {}
    keys = [f"k{i:02}" for i in np.random.default_rng(0).permutation(16)]
    ordered = Accumulator(protocol, **more)
    ordered.update(drawn(1, sorted(keys), None), drawn(1, sorted(keys), 0.5))
    expected = ordered.compute()
    assert expected.recount is not None and 0 < expected["AP"] < 1  # type: ignore[operator]
    for ends in ([16], [5, 16], [1, 2, 9, 16], [11, 16]):
        found = Accumulator(protocol, **more)
        start = 0
        for end in ends:
            some = keys[start:end]
            found.update(drawn(1, some, None), drawn(1, some, 0.5))
            start = end
        result = found.compute()
        assert result.values == expected.values
        assert result.curves["precision"].equals(expected.curves["precision"])
        assert result.per_sample is not None
        assert result.per_sample.equals(expected.per_sample)
        assert result.recount is not None
        assert result.recount.keys.equals(expected.recount.keys)
        draw = np.random.default_rng(2).integers(0, 3, 16)
        assert result.recount.values(draw) == expected.recount.values(draw)


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
