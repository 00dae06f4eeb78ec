"""Scores of out-of-distribution detection equal scikit-learn's, in either convention of FPR95."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from granum.errors import UnknownNameError, UsageError
from granum.metrics.base import Result
from granum.metrics.evaluate import evaluate
from granum.metrics.ood import OutOfDistribution, aupr_trapezoid, fpr_at_tpr
from granum.schema.rows import Annotation, Category
from granum.store.dataset import Dataset
from tests.metrics.made import dataset, in_parts, same

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

CATEGORIES = [Category("id", space="distribution"), Category("ood", space="distribution")]


def drawn(seed: int, n: int = 60) -> tuple[Floats, Flags]:
    """Scores with many ties."""
    rng = np.random.default_rng(seed)
    ood = rng.random(n) < 0.4
    ood[:2] = True, False
    levels = [3, 10, 1000][seed % 3]
    return np.round((rng.normal(size=n) + ood) * levels) / levels, ood


def openood(scores: Floats, ood: Flags) -> dict[str, float]:
    """As OpenOOD 1.5 counts them, on scikit-learn."""
    sk = pytest.importorskip("sklearn.metrics")
    fpr, tpr, _ = sk.roc_curve(ood, scores)
    out = sk.precision_recall_curve(ood, scores)
    inside = sk.precision_recall_curve(~ood, -scores)
    return {
        "auroc": sk.auc(fpr, tpr),
        "fpr95": fpr[np.argmax(tpr >= 0.95)],
        "aupr_out_trapezoid": sk.auc(out[1], out[0]),
        "aupr_in_trapezoid": sk.auc(inside[1], inside[0]),
        "aupr_out": sk.average_precision_score(ood, scores),
        "aupr_in": sk.average_precision_score(~ood, -scores),
    }


def nearest(scores: Floats, positive: Flags) -> float:
    """The rate at the recall nearest to 0.95, stepping down from full recall, sample by sample."""
    points = []
    for threshold in sorted(set(scores.tolist())):  # from the lowest: the highest recall first
        taken = scores >= threshold
        recall = (taken & positive).sum() / positive.sum()
        points.append((recall, (taken & ~positive).sum() / (~positive).sum()))
    full = [p for p in points if p[0] == 1]
    points = full[-1:] + [p for p in points if p[0] < 1]
    best = min(range(len(points)), key=lambda i: abs(points[i][0] - 0.95))
    return float(points[best][1])


def scored(data: Dataset, **parameters: Any) -> Result:
    given = {"positive": "ood", **parameters}
    return evaluate(data, data.layer("predicted"), "ood", parameters=given)


def stored(scores: Floats, ood: Flags) -> Dataset:
    truth = [[Annotation("label", int(o))] for o in ood]
    return dataset(truth, [[Annotation("label", 1, score=float(s))] for s in scores], CATEGORIES)


@pytest.mark.parametrize("seed", range(30))
def test_the_numbers_equal_openood_on_scikit_learn(seed: int) -> None:
    scores, ood = drawn(seed)
    found = scored(stored(scores, ood))
    for name, value in openood(scores, ood).items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    assert found["tnr95"] == 1 - found["fpr95"]
    assert aupr_trapezoid(scores, ood) == found["aupr_out_trapezoid"]


@pytest.mark.parametrize("seed", range(30))
def test_id_positive_equals_the_nearest_recall_of_outlier_exposure(seed: int) -> None:
    scores, ood = drawn(seed)
    found = scored(stored(scores, ood), positive="id")
    assert found["fpr95"] == pytest.approx(nearest(-scores, ~ood), abs=1e-12)


def test_the_conventions_differ_on_the_same_scores() -> None:
    # 20 of either kind. OOD above ID but for one OOD below all ID but five.
    scores = np.concatenate([np.arange(20.0), np.arange(30.0, 49.0), [4.5]])
    ood = np.arange(40) >= 20
    # OOD positive: 19 of 20 are found without an error.
    assert fpr_at_tpr(scores, ood, positive="ood") == 0
    # ID positive: 19 of 20 kept takes in the one at 4.5; nothing else.
    assert fpr_at_tpr(scores, ood, positive="id") == 1 / 20
    found = scored(stored(scores, ood), positive="id")
    assert found["tnr95"] == 19 / 20
    assert found.facts["fpr95_threshold"] == 18.0
    assert found.facts["fpr95_convention"].startswith("ID positive")


def test_modes_differ_where_ties_make_a_diagonal() -> None:
    """Twenty thresholds that each have one of both: roc_curve keeps the ends only."""
    scores = np.repeat(np.arange(20.0), 2)
    ood = np.tile([True, False], 20)
    assert fpr_at_tpr(scores, ood, positive="ood") == 1
    assert fpr_at_tpr(scores, ood, positive="ood", mode="corrected") == 19 / 20


def test_modes_differ_where_ood_lies_behind_the_nearest_recall() -> None:
    """19 of 20 ID are kept, then two OOD, then the last ID, then OOD."""
    scores = np.array([*range(19), 20, 21, 22, 23], float)
    ood = np.array([False] * 19 + [True, True, False, True])
    assert fpr_at_tpr(scores, ood, positive="id") == 2 / 3
    assert fpr_at_tpr(scores, ood, positive="id", mode="corrected") == 0


def test_of_two_rates_that_are_equally_near() -> None:
    """Of 50 ID samples 47 and 48 are, in floating point too; of ten 9 are nearer than all."""
    inside, far = np.arange(50.0), [46.5, 47.5, 60.0, 61.0]
    scores, ood = np.array([*inside, *far]), np.arange(54) >= 50
    assert fpr_at_tpr(scores, ood, positive="id", mode="corrected") == 1 / 4  # 48 are kept
    assert fpr_at_tpr(scores, ood, positive="id") == nearest(-scores, ~ood) == 2 / 4
    scores, ood = np.array([*range(9), 20.0, 10.0, 30.0]), np.arange(12) >= 10
    assert fpr_at_tpr(scores, ood, positive="id", mode="corrected") == 0
    assert fpr_at_tpr(scores, ood, positive="id") == nearest(-scores, ~ood) == 1 / 2


def test_positive_has_no_default() -> None:
    with pytest.raises(UsageError, match=r"positive is not given.*OpenOOD.*MixOE"):
        OutOfDistribution()
    with pytest.raises(UsageError, match="'both'"):
        OutOfDistribution(positive="both")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="mode"):
        OutOfDistribution(positive="id", mode="x")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'energy'; it must be ood or confidence"):
        OutOfDistribution(positive="id", score="energy")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="list of names"):
        OutOfDistribution(positive="id", ood="far")  # type: ignore[arg-type]


def test_one_class_only_is_undefined() -> None:
    found = scored(stored(np.arange(3.0), np.ones(3, bool)))
    assert set(found.values.values()) == {None}
    assert found.findings.counts["undefined-number"] == 1
    assert fpr_at_tpr([], [], positive="ood") is None
    with pytest.raises(UsageError):
        fpr_at_tpr([np.nan], [True], positive="ood")
    with pytest.raises(UsageError):
        fpr_at_tpr([1.0], [True, False], positive="ood")


def test_classes_of_a_dataset_that_are_out_of_distribution() -> None:
    categories = [Category(n, space="species") for n in ("finch", "owl", "truck", "desk")]
    truth = [
        [Annotation("label", 0)],
        [Annotation("label", 1)],
        [Annotation("label", 2)],
        [Annotation("label", 3)],
        [Annotation("label", 2, present=False)],
        [Annotation("object", 2, bbox=(0, 0, 1, 1))],
    ]
    guess = [[Annotation("label", score=s)] for s in (0.1, 0.4, 0.3, 0.9, 1.0, 1.0)]
    found = scored(dataset(truth, guess, categories, (4, 4)), ood=["truck", "desk"])
    assert found["auroc"] == 3 / 4
    assert found.per_class is not None
    assert found.per_class.select(["category", "samples", "auroc"]).to_pylist() == [
        {"category": "truck", "samples": 1, "auroc": 0.5},
        {"category": "desk", "samples": 1, "auroc": 1.0},
    ]
    assert found.findings.counts["no-truth"] == 2  # verified absent says nothing; nor does a box
    with pytest.raises(UnknownNameError, match=r"truk.*Parameter ood"):
        scored(dataset(truth, guess, categories, (4, 4)), ood=["truk"])


def test_confidence_of_a_classifier() -> None:
    """The labels that training writes: the likeliest class and its probability."""
    categories = [Category(n, space="species") for n in ("finch", "owl", "truck")]
    truth = [[Annotation("label", c)] for c in (0, 1, 2, 2)]
    guess = [[Annotation("label", c, score=s)] for c, s in ((0, 0.9), (1, 0.6), (0, 0.7), (1, 0.4))]
    guess[1].insert(0, Annotation("label", 0, score=0.1))
    data = dataset(truth, guess, categories)
    found = scored(data, ood=["truck"], score="confidence")
    assert found["auroc"] == 3 / 4  # of 0.9 and 0.6 against 0.7 and 0.4 only 0.6 < 0.7 is wrong
    assert found.per_sample is not None
    assert found.per_sample["score"].to_pylist() == [-0.9, -0.6, -0.7, -0.4]
    assert not found.findings.counts
    strange = scored(data, ood=["truck"])
    assert set(strange.values.values()) == {None}
    assert "score=confidence" in str(strange.findings.items)
    guess[3] = []
    fewer = scored(dataset(truth, guess, categories), ood=["truck"], score="confidence")
    assert fewer.facts["samples_scored"] == 3 and fewer["auroc"] == 1 / 2


def test_labels_of_other_spaces_and_rows_of_id_are_not_compared() -> None:
    categories = [*CATEGORIES, Category("ood", space="species")]
    truth = [[Annotation("label", 1), Annotation("label", 2)], [Annotation("label", 0)]]
    guess = [
        [Annotation("label", 0, score=9.0), Annotation("label", 1, score=0.6)],
        [Annotation("label", 1, score=0.5), Annotation("label", 1, score=0.8)],
    ]
    found = scored(dataset(truth, guess, categories))
    assert found.per_sample is not None
    assert found.per_sample.to_pylist() == [
        {"key": "000", "score": 0.6, "ood": True},
        {"key": "001", "score": 0.5, "ood": False},
    ]
    counts = found.findings.counts
    assert counts["not-compared"] == 2 and counts["duplicate-annotation"] == 1


def test_scores_that_are_missing_or_nan_leave_the_sample_out() -> None:
    truth = [[Annotation("label", i % 2)] for i in range(4)]
    guess = [
        [Annotation("label", 1, score=0.1)],
        [Annotation("label", 1, score=0.2)],
        [Annotation("label", 1, score=float("nan"))],
        [Annotation("label", 1)],
    ]
    found = scored(dataset(truth, guess, CATEGORIES))
    assert found.facts["samples_scored"] == 2 and found["auroc"] == 1
    assert found.findings.counts["nan-score"] == found.findings.counts["missing-score"] == 1


def test_without_predictions_there_is_no_number() -> None:
    found = scored(dataset([[Annotation("label", 0)]] * 2, [[], []], CATEGORIES))
    assert set(found.values.values()) == {None}
    assert found.findings.counts["nothing-to-compare"] == 1


@pytest.mark.parametrize("seed", range(3))
def test_parts_in_any_order_give_the_same_bits(seed: int) -> None:
    data = stored(*drawn(seed, 30))
    protocol = OutOfDistribution(positive="id")
    whole = in_parts(protocol, data, [30], seed)
    assert same(whole, in_parts(protocol, data, [7, 1, 22], seed + 1))


@pytest.mark.parametrize("positive", ["ood", "id"])
def test_counting_again_equals_evaluating_again(positive: str) -> None:
    scores, ood = drawn(1, 50)
    whole = scored(stored(scores, ood), positive=positive)
    assert whole.recount is not None and whole.recount.keys.to_pylist()[:2] == ["000", "001"]
    assert dict(whole.recount.values(np.ones(50, np.int64))) == dict(whole.values)
    rng = np.random.default_rng(0)
    some = rng.random(50) < 0.5
    part = scored(stored(scores[some], ood[some]), positive=positive)
    assert dict(whole.recount.values(some.astype(np.int64))) == dict(part.values)
    often = rng.multinomial(50, np.full(50, 1 / 50))
    again = scored(stored(np.repeat(scores, often), np.repeat(ood, often)), positive=positive)
    assert dict(whole.recount.values(often)) == dict(again.values)
    assert set(whole.recount.values(np.zeros(50, np.int64)).values()) == {None}


def test_the_curve_ends_where_all_are_found() -> None:
    curve = scored(stored(*drawn(2))).curves["roc"].to_pylist()
    assert curve[-1]["fpr"] == curve[-1]["tpr"] == 1
