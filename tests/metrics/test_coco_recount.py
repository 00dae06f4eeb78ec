"""COCO numbers of slices and of weighted samples, and the precision of each sample by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("hotcoco")

from granum.errors import UsageError
from granum.metrics.base import Result
from granum.metrics.evaluate import evaluate
from granum.schema.rows import Annotation, Category, Sample
from granum.store.dataset import Dataset
from granum.verbs.convert import read
from tests.metrics.detections import Json, case, written

COMPARED = ("bbox", "segm", "keypoints")


def judged(folder: Path, truth: Json, results: list[Json], compared: str, **more: Any) -> Result:
    folder.mkdir(exist_ok=True)
    paths = written(folder, truth, results)
    both = read(paths[0], "coco", results=str(paths[1]))
    name = f"coco-{compared}"
    return evaluate(both.layer("truth"), both.layer("results"), name, parameters=more)


def recounted(result: Result, weights: np.ndarray[Any, Any]) -> dict[str, float | None]:
    assert result.recount is not None
    return dict(result.recount.values(weights))


def order(result: Result) -> list[int]:
    """The image id of each sample, in the order of the weights."""
    assert result.recount is not None
    return [int(k.removesuffix(".jpg")) for k in result.recount.keys.to_pylist()]


@pytest.mark.parametrize("compared", COMPARED)
@pytest.mark.parametrize("seed", range(6))
def test_ones_give_the_same_bits(tmp_path: Path, compared: str, seed: int) -> None:
    result = judged(tmp_path, *case(seed, compared), compared)
    assert result.recount is not None
    assert result.recount.keys.to_pylist() == [
        r["key"] for r in (result.per_sample or pytest.fail("none")).to_pylist()
    ]
    assert recounted(result, np.ones(14, np.int64)) == dict(result.values)


@pytest.mark.parametrize("compared", COMPARED)
@pytest.mark.parametrize("seed", range(4))
def test_a_slice_is_the_evaluation_of_its_samples(tmp_path: Path, compared: str, seed: int) -> None:
    truth, results = case(seed, compared)
    whole = judged(tmp_path / "a", truth, results, compared)
    chosen = np.random.default_rng(seed).random(14) < 0.4
    ids = {i for i, c in zip(order(whole), chosen, strict=True) if c}
    part = {
        **truth,
        "images": [i for i in truth["images"] if i["id"] in ids],
        "annotations": [a for a in truth["annotations"] if a["image_id"] in ids],
    }
    some = judged(tmp_path / "b", part, [r for r in results if r["image_id"] in ids], compared)
    assert recounted(whole, chosen.astype(np.int64)) == dict(some.values)


@pytest.mark.parametrize("compared", COMPARED)
@pytest.mark.parametrize("seed", range(4))
def test_weights_are_images_repeated(tmp_path: Path, compared: str, seed: int) -> None:
    """Copies of an image are images of their own; no two predictions have the same score, but those
    of copies."""
    truth, results = case(seed, compared)
    rng = np.random.default_rng(seed)
    scores = rng.permutation(len(results)) / len(results)
    results = [{**r, "score": float(s)} for r, s in zip(results, scores, strict=True)]
    whole = judged(tmp_path / "a", truth, results, compared)
    weights = rng.multinomial(14, np.full(14, 1 / 14))
    assert weights.max() > 1
    times = dict(zip(order(whole), weights.tolist(), strict=True))

    def copies(rows: list[Json], key: str) -> list[Json]:
        return [{**r, key: 1000 * r[key] + n} for r in rows for n in range(times[r[key]])]

    images = [{**i, "file_name": f"{i['id']}.jpg"} for i in copies(truth["images"], "id")]
    annotations = copies(truth["annotations"], "image_id")
    annotations = [{**a, "id": n + 1} for n, a in enumerate(annotations)]
    repeated = {**truth, "images": images, "annotations": annotations}
    real = judged(tmp_path / "b", repeated, copies(results, "image_id"), compared)
    assert recounted(whole, weights) == dict(real.values)


@pytest.mark.parametrize("compared", COMPARED)
def test_precision_of_each_sample_is_that_of_the_sample_alone(
    tmp_path: Path, compared: str
) -> None:
    truth, results = case(3, compared, images=6)
    whole = judged(tmp_path / "a", truth, results, compared)
    assert whole.per_sample is not None
    found = whole.per_sample["ap"].to_pylist()
    expected = [recounted(whole, np.eye(6, dtype=np.int64)[i])["AP"] for i in range(6)]
    assert found == pytest.approx(expected, abs=1e-12)
    assert None in found
    assert len({v for v in found if v is not None}) > 2


def test_other_thresholds_and_limits(tmp_path: Path) -> None:
    more = {"iou_thresholds": (0.3, 0.5, 0.62), "max_detections": (2, 7)}
    result = judged(tmp_path, *case(5, "bbox"), "bbox", **more)
    assert result["AP75"] is None
    assert result["AR2"] != result["AR7"]
    assert recounted(result, np.ones(14, np.int64)) == dict(result.values)


def test_what_no_chosen_sample_has_is_undefined(tmp_path: Path) -> None:
    result = judged(tmp_path, *case(5, "bbox"), "bbox")
    assert set(recounted(result, np.zeros(14, np.int64)).values()) == {None}
    with pytest.raises(UsageError, match=r"\(3,\) for 14 samples"):
        recounted(result, np.ones(3, np.int64))


def boxed(x: float, score: float | None = None) -> Annotation:
    return Annotation(category=0, bbox=(x, 0.0, 10.0, 10.0), score=score)


def test_weights_of_two_samples_by_hand() -> None:
    """One sample is found by the second of two predictions, the other by its only one.

    Each once: by score 0.9 wrong, 0.8 right, 0.7 right: precision 1/2 and 2/3 at recall 1/2 and 1,
    so 2/3 throughout. The first twice: wrong, wrong, right, right, right: 3/5 throughout.
    """
    one = Sample("a", annotations=[boxed(0)], layers={"net": [boxed(30, 0.9), boxed(0, 0.8)]})
    two = Sample("b", annotations=[boxed(0)], layers={"net": [boxed(0, 0.7)]})
    data = Dataset.from_rows([one, two], [Category("cat")])
    result = evaluate(data.layer("truth"), data.layer("net"), "coco-bbox")
    for weights, expected in (([1, 1], 2 / 3), ([2, 1], 3 / 5), ([1, 0], 1 / 2), ([0, 3], 1.0)):
        assert recounted(result, np.array(weights))["AP"] == pytest.approx(expected, abs=1e-12)
    assert recounted(result, np.array([5, 0]))["AR1"] == 0.0
    assert recounted(result, np.array([1, 1]))["AR1"] == 0.5
    assert result.per_sample is not None
    assert result.per_sample["ap"].to_pylist() == pytest.approx([0.5, 1.0])


def test_nothing_at_all() -> None:
    data = Dataset.from_rows([Sample("a", layers={"net": [boxed(0, 0.5)]})], [Category("cat")])
    result = evaluate(data.layer("truth"), data.layer("net"), "coco-bbox")
    assert set(recounted(result, np.ones(1, np.int64)).values()) == {None}
    assert result.per_sample is not None
    assert result.per_sample["ap"].to_pylist() == [None]
