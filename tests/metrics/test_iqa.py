"""Correlations of quality scores equal scipy's, and a slow count of pairs."""

from __future__ import annotations

from itertools import combinations
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from granum.errors import MissingExtraError, UnknownNameError, UsageError
from granum.metrics.base import Result
from granum.metrics.evaluate import evaluate
from granum.metrics.iqa import ImageQuality, kendall, logistic4, pearson, rmse, spearman
from granum.schema.rows import Annotation, Category
from granum.store.dataset import Dataset
from tests.metrics.made import dataset, in_parts, same

stats = pytest.importorskip("scipy.stats")

Floats = npt.NDArray[np.float64]

CATEGORIES = [Category("quality", space="quality"), Category("beauty", space="quality")]


def drawn(seed: int, n: int = 40) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    true = np.round(rng.uniform(1, 5, n), seed % 3)
    return true, np.round(true * 10 + rng.normal(0, 8, n), seed % 2)


def stored(true: Floats, guess: Floats) -> Dataset:
    return dataset(
        [[Annotation("label", 0, score=float(t))] for t in true],
        [[Annotation("label", 0, score=float(g))] for g in guess],
        CATEGORIES,
    )


def scored(data: Dataset, **parameters: Any) -> Result:
    return evaluate(data, data.layer("predicted"), "iqa", parameters=parameters)


@pytest.mark.parametrize("seed", range(12))
def test_correlations_equal_scipy(seed: int) -> None:
    true, guess = drawn(seed)
    found = scored(stored(true, guess))
    assert found["plcc"] == pytest.approx(stats.pearsonr(true, guess)[0], abs=1e-12)
    assert found["srcc"] == pytest.approx(stats.spearmanr(true, guess)[0], abs=1e-12)
    assert found["krcc"] == pytest.approx(stats.kendalltau(true, guess)[0], abs=1e-12)
    assert found["rmse"] == pytest.approx(sqrt(np.mean((true - guess) ** 2)), abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_kendall_counts_pairs(seed: int) -> None:
    true, guess = drawn(seed, 15)
    pairs = [
        (np.sign(true[i] - true[j]), np.sign(guess[i] - guess[j]))
        for i, j in combinations(range(15), 2)
    ]
    agreed = sum(a * b for a, b in pairs)
    untied = sum(a != 0 for a, _ in pairs) * sum(b != 0 for _, b in pairs)
    assert kendall(true, guess) == pytest.approx(agreed / sqrt(untied))


def test_by_hand() -> None:
    # Ranks 1 2 3 4 against 1 3 2 4: 1 - 6 * 2 / (4 * 15); five of six pairs agree.
    true, guess = [1.0, 2.0, 3.0, 4.0], [10.0, 30.0, 20.0, 40.0]
    assert spearman(true, guess) == pytest.approx(0.8)
    assert kendall(true, guess) == pytest.approx(4 / 6)
    assert pearson(true, guess) == pytest.approx(0.8)
    assert rmse([0.0, 0.0], [3.0, 4.0]) == pytest.approx(sqrt(12.5))
    assert pearson([1.0, 2.0], [-1.0, -2.0]) == pytest.approx(-1)


def test_the_curve_is_found_again() -> None:
    x = np.linspace(-3, 3, 30)
    true = 1 + 4 / (1 + np.exp(-(x - 0.5) / 0.7))
    found = scored(stored(true, x), fit=True)
    assert found["plcc_logistic4"] == pytest.approx(1) and found["plcc"] < 0.98
    assert found["rmse_logistic4"] == pytest.approx(0, abs=1e-6)
    assert list(found.values) == [
        *("plcc", "srcc", "krcc", "rmse"),
        *("plcc_logistic4", "rmse_logistic4"),
    ]
    falling = logistic4(true[::-1], x)
    assert falling is not None and falling == pytest.approx(true[::-1], abs=1e-5)


def test_too_few_samples_for_the_curve() -> None:
    found = scored(stored(np.array([1.0, 2.0]), np.array([1.0, 3.0])), fit=True)
    assert found["plcc"] == pytest.approx(1) and found["plcc_logistic4"] is None
    (one,) = [f for f in found.findings.items if f.code == "undefined-number"]
    assert "plcc_logistic4" in one.message and "does not fit" in one.message


@pytest.mark.parametrize(
    ("true", "guess", "why"),
    [
        ([1.0, 2.0], [3.0, 3.0], "all predictions are 3"),
        ([2.0, 2.0], [3.0, 4.0], "all truth are 2"),
        ([2.0], [3.0], "1 samples have both"),
    ],
)
def test_constants_have_no_correlation(true: list[float], guess: list[float], why: str) -> None:
    found = scored(stored(np.array(true), np.array(guess)))
    assert [found[n] for n in ("plcc", "srcc", "krcc")] == [None] * 3
    assert found["rmse"] is not None
    (one,) = [f for f in found.findings.items if f.code == "undefined-number"]
    assert why in one.message


def test_what_is_left_out_is_told() -> None:
    nan = float("nan")
    truth = [
        [Annotation("label", 0, score=1.0), Annotation("label", 0, score=5.0)],
        [Annotation("label", 0, score=2.0)],
        [Annotation("label", 0, score=float("inf"))],
        [Annotation("label", 0)],
        [Annotation("label", 0, score=3.0)],
        [],
        [Annotation("label", 0, score=4.0)],
    ]
    guess = [
        [Annotation("label", 1, score=9.0), Annotation("label", score=1.0)],
        [Annotation("label", 0, score=2.5)],
        [Annotation("label", 0, score=1.0)],
        [Annotation("label", 0, score=1.0)],
        [Annotation("label", 0, score=nan)],
        [Annotation("label", 0, score=1.0)],
        [Annotation("label", 0, score=-float("inf"))],
    ]
    found = scored(dataset(truth, guess, CATEGORIES))
    assert found.per_sample is not None
    assert found.per_sample.to_pylist() == [
        {"key": "000", "truth": 1.0, "predicted": 1.0, "error": 0.0},
        {"key": "001", "truth": 2.0, "predicted": 2.5, "error": 0.5},
    ]
    counts = found.findings.counts
    assert counts["duplicate-annotation"] == 1 and counts["missing-score"] == 1
    assert counts["nan-score"] == 3 and counts["not-compared"] == 1 and counts["no-truth"] == 3


def test_several_categories_need_a_name() -> None:
    truth = [[Annotation("label", c, score=float(c)) for c in (0, 1)]] * 2
    data = dataset(truth, truth, CATEGORIES)
    with pytest.raises(UsageError, match="'quality', 'beauty'"):
        scored(data)
    assert scored(data, category="beauty").facts["category"] == "beauty"
    with pytest.raises(UnknownNameError):
        scored(data, category="sharpness")


def test_bad_arrays_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError):
        pearson([1.0], [1.0, 2.0])
    with pytest.raises(UsageError):
        rmse([np.nan], [1.0])
    monkeypatch.setitem(__import__("sys").modules, "scipy.stats", None)
    monkeypatch.setitem(__import__("sys").modules, "scipy.optimize", None)
    for function in (kendall, logistic4):
        with pytest.raises(MissingExtraError, match=r"granum\[eval\]"):
            function([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])


def test_without_predictions_there_is_no_number() -> None:
    found = scored(dataset([[Annotation("label", 0, score=1.0)]] * 2, [[], []], CATEGORIES))
    assert set(found.values.values()) == {None}


def test_parts_in_any_order_give_the_same_bits() -> None:
    data = stored(*drawn(1, 30))
    whole = in_parts(ImageQuality(fit=True), data, [30], 0)
    assert same(whole, in_parts(ImageQuality(fit=True), data, [7, 1, 22], 1))


def test_counting_again_equals_evaluating_again() -> None:
    true, guess = drawn(2)
    whole = scored(stored(true, guess))
    assert whole.recount is not None
    assert dict(whole.recount.values(np.ones(40, np.int64))) == dict(whole.values)
    often = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40))
    for weights in (np.minimum(often, 1), often):
        part = scored(stored(np.repeat(true, weights), np.repeat(guess, weights)))
        assert dict(whole.recount.values(weights)) == dict(part.values)
    assert set(whole.recount.values(np.zeros(40, np.int64)).values()) == {None}
