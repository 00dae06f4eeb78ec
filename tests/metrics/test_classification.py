"""Numbers of classification equal scikit-learn and torchmetrics; rules worked out by hand."""

from __future__ import annotations

from itertools import pairwise
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from granum.errors import UsageError
from granum.metrics.base import Result
from granum.metrics.classification import (
    Classification,
    calibration_error,
    mean_average_precision,
    top_k_accuracy,
)
from granum.metrics.evaluate import evaluate
from granum.schema.rows import Annotation, Category
from granum.store.dataset import Dataset
from tests.metrics.made import dataset, in_parts, same

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CLASSES = 4


def categories(n: int = CLASSES, space: str = "species") -> list[Category]:
    return [Category(f"c{i}", space=space) for i in range(n)]


def probabilities(seed: int, n: int = 50, classes: int = CLASSES) -> tuple[Floats, Ints]:
    """Softmax of drawn logits; some classes are never true."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes - seed % 2, n)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), label] += rng.random(n) * 2
    scores = np.exp(logits)
    return scores / scores.sum(axis=1, keepdims=True), label


def said(row: Any) -> list[Annotation]:
    return [Annotation("label", i, score=float(s)) for i, s in enumerate(row) if not np.isnan(s)]


def stored(scores: Floats, label: Ints) -> Dataset:
    truth = [[Annotation("label", int(c))] for c in label]
    return dataset(truth, [said(row) for row in scores], categories(scores.shape[1]))


def scored(data: Dataset, **parameters: Any) -> Result:
    return evaluate(data, data.layer("predicted"), "classification", parameters=parameters)


# ------------------------------------------------------------------ one class


@pytest.mark.parametrize("seed", range(8))
def test_one_class_equals_scikit_learn(seed: int) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    scores, label = probabilities(seed)
    found = scored(stored(scores, label), topk=[1, 2])
    guess = scores.argmax(axis=1)
    expected = {
        "top1_accuracy": sk.accuracy_score(label, guess),
        "top2_accuracy": sk.top_k_accuracy_score(label, scores, k=2, labels=range(CLASSES)),
        "balanced_accuracy": np.mean([np.mean(guess[label == c] == c) for c in np.unique(label)]),
        "macro_f1": sk.f1_score(label, guess, average="macro"),
        "micro_f1": sk.f1_score(label, guess, average="micro"),
        "weighted_f1": sk.f1_score(label, guess, average="weighted"),
        "brier": np.mean(((scores - np.eye(CLASSES)[label]) ** 2).sum(axis=1)),
        "log_loss": sk.log_loss(label, scores, labels=range(CLASSES)),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    assert found.per_class is not None
    per_class = sk.precision_recall_fscore_support(
        label, guess, labels=range(CLASSES), zero_division=0
    )
    for name, values in zip(("precision", "recall", "f1", "support"), per_class, strict=True):
        mine = np.array(found.per_class[name].to_pylist(), float)  # null is NaN
        assert np.nan_to_num(mine) == pytest.approx(values, abs=1e-12)
    matrix = sk.confusion_matrix(label, guess, labels=range(CLASSES))
    cells = {
        (r["truth"], r["predicted"]): r["samples"] for r in found.curves["confusion"].to_pylist()
    }
    assert cells == {
        (f"c{i}", f"c{j}"): matrix[i, j] for i, j in zip(*np.nonzero(matrix), strict=True)
    }


@pytest.mark.parametrize("seed", range(8))
def test_one_class_equals_torchmetrics(seed: int) -> None:
    tm = pytest.importorskip("torchmetrics.functional.classification")
    torch = pytest.importorskip("torch")
    scores, label = probabilities(seed, 80)
    found = scored(stored(scores, label), topk=[1, 3])
    given = torch.tensor(scores), torch.tensor(label), CLASSES
    pairs = {
        "top3_accuracy": tm.multiclass_accuracy(*given, top_k=3, average="micro"),
        "macro_f1": tm.multiclass_f1_score(*given, average="macro"),
        "weighted_f1": tm.multiclass_f1_score(*given, average="weighted"),
        "ece": tm.multiclass_calibration_error(*given, n_bins=15, norm="l1"),
        "mce": tm.multiclass_calibration_error(*given, n_bins=15, norm="max"),
    }
    for name, value in pairs.items():
        assert found[name] == pytest.approx(float(value), abs=1e-6), name


def guo(confidence: Floats, right: Ints, bins: int = 15) -> float:
    """Bin after bin, as the authors' code has it."""
    ece, edges = 0.0, np.linspace(0, 1, bins + 1)
    for lower, upper in pairwise(edges):
        inside = (confidence > lower) & (confidence <= upper)
        if inside.any():
            ece += abs(confidence[inside].mean() - right[inside].mean()) * inside.mean()
    return ece


@pytest.mark.parametrize("seed", range(5))
def test_calibration_equals_the_authors_bins_on_edges_too(seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidence = rng.integers(1, 31, 200) / 30
    right = rng.integers(0, 2, 200)
    found = calibration_error(confidence, right)
    assert found is not None
    assert found[0] == pytest.approx(guo(confidence, right), abs=1e-12)


def test_calibration_by_hand() -> None:
    # Two bins: {0.2, 0.4}: one of two right, mean 0.3; {0.9}: right.
    found = calibration_error([0.2, 0.4, 0.9], [True, False, True], bins=2)
    assert found == (pytest.approx((2 * 0.2 + 0.1) / 3), pytest.approx(0.2))
    assert calibration_error([0.5], [True], bins=2) == (0.5, 0.5)
    assert calibration_error([0.0], [False]) == (0, 0)
    assert calibration_error([], []) is None


def test_one_class_by_hand() -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.2, 0.2, 0.6]])
    found = scored(stored(scores, np.array([0, 2, 1])), topk=[1, 2])
    assert found["top1_accuracy"] == pytest.approx(1 / 3)
    assert found["top2_accuracy"] == pytest.approx(2 / 3)  # of c0 and c1, both 0.2, c0 is second
    assert found["log_loss"] == pytest.approx(-(log(0.7) + log(0.4) + log(0.2)) / 3)
    assert found["brier"] == pytest.approx((0.14 + 0.62 + 1.04) / 3)
    assert found.per_sample is not None
    assert found.per_sample.select(["key", "predicted", "correct", "rank"]).to_pylist() == [
        {"key": "000", "predicted": "c0", "correct": True, "rank": 1},
        {"key": "001", "predicted": "c1", "correct": False, "rank": 2},
        {"key": "002", "predicted": "c2", "correct": False, "rank": 3},
    ]
    table = found.curves["reliability"].to_pylist()
    assert len(table) == 15
    assert [(r["samples"], r["confidence"], r["accuracy"]) for r in table if r["samples"]] == [
        (1, 0.5, 0),
        (1, 0.6, 0),
        (1, 0.7, 1),
    ]
    assert table[0]["confidence"] is None


def test_of_equal_scores_the_first_class_is_higher() -> None:
    assert top_k_accuracy([[0.5, 0.5]], [0]) == 1
    assert top_k_accuracy([[0.5, 0.5]], [1]) == 0
    assert top_k_accuracy([[0.5, 0.5]], [1], 2) == 1
    found = scored(stored(np.array([[0.5, 0.5], [0.1, 0.9]]), np.array([1, 1])))
    assert found["top1_accuracy"] == 0.5 and found.facts["tied_highest"] == 1


def test_only_the_best_classes_were_kept() -> None:
    nan = np.nan
    scores = np.array([[0.6, 0.3, nan, nan], [nan, 0.5, 0.3, nan], [nan] * 4])
    found = scored(stored(scores, np.array([1, 0, 3])), topk=[1, 2])
    assert (found["top1_accuracy"], found["top2_accuracy"]) == (0, pytest.approx(1 / 3))
    assert found["brier"] is None and found["log_loss"] is None
    assert found["ece"] == pytest.approx((0.6 + 0.5) / 2)  # of the samples that have a confidence
    (one,) = [f for f in found.findings.items if f.code == "undefined-number"]
    assert "brier, log_loss" in one.message and "3 of 3 samples" in one.message
    assert found.per_sample is not None
    assert found.per_sample["predicted"].to_pylist() == ["c0", "c1", None]
    assert found.per_sample["rank"].to_pylist() == [2, None, None]
    assert found.per_class is not None
    assert found.per_class["predicted"].to_pylist() == [1, 1, 0, 0]
    assert {"truth": "c3", "predicted": None, "samples": 1} in found.curves["confusion"].to_pylist()


def test_no_accuracy_of_more_classes_than_were_kept() -> None:
    nan = np.nan
    scores = np.array([[0.6, nan, nan, nan], [nan, 0.5, nan, nan], [nan] * 4])
    found = scored(stored(scores, np.array([0, 0, 3])), topk=[1, 2])
    assert (found["top1_accuracy"], found["top2_accuracy"]) == (pytest.approx(1 / 3), None)
    told = [f.message for f in found.findings.items if f.code == "undefined-number"]
    assert told[0].startswith("top2_accuracy: on 1 of 3 samples fewer than 2 classes")
    assert found.recount is not None  # defined where the true classes are among those kept
    assert found.recount.values(np.array([1, 0, 1]))["top2_accuracy"] == 0.5
    known = scored(stored(scores[:1], np.array([0])), topk=[1, 5])
    assert (known["top5_accuracy"], known["brier"]) == (1, None)


def test_classes_without_a_row_have_no_probability_where_the_others_have_all() -> None:
    nan = np.nan
    scores = np.array([[0.75, 0.25, nan, nan], [nan, nan, 1.0, nan]])
    found = scored(stored(scores, np.array([1, 3])), topk=[3])
    assert found["log_loss"] == pytest.approx((-log(0.25) - log(np.finfo(float).eps)) / 2)
    assert found["brier"] == pytest.approx((2 * 0.75**2 + 2) / 2)
    assert found["top3_accuracy"] == 0.5 and not found.findings.counts
    near = scored(stored(scores * 0.999, np.array([1, 3])))
    assert near["brier"] is None and near["top5_accuracy"] is None
    outside = np.array([[0.6, 0.4, -0.5, nan]])
    assert scored(stored(outside, np.array([0])))["brier"] is None


def test_logits_have_no_calibration() -> None:
    found = scored(stored(np.array([[4.0, -1.0], [0.5, 2.0]]), np.array([0, 1])))
    assert found["top1_accuracy"] == 1 and found["ece"] is None and found["brier"] is None
    assert "reliability" not in found.curves
    assert found.findings.counts["undefined-number"] == 4


def test_rounded_probabilities_are_probabilities() -> None:
    found = scored(stored(np.array([[0.333, 0.333, 0.333]]), np.array([0])))
    assert found["log_loss"] == pytest.approx(-log(0.333))
    assert scored(stored(np.array([[0.3, 0.3, 0.3]]), np.array([0])))["log_loss"] is None
    certain = scored(stored(np.array([[1.0, 0.0]]), np.array([1])))
    assert certain["log_loss"] == pytest.approx(-log(np.finfo(float).eps))


# ------------------------------------------------------------------ several classes


def drawn_several(seed: int, n: int = 40) -> tuple[Floats, npt.NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    true = rng.random((n, CLASSES)) < 0.35
    true[:2, 0], true[0, 1] = True, True
    return np.round(np.clip(rng.random((n, CLASSES)) + true * 0.3, 0, 1), 1 + seed % 3), true


def stored_several(scores: Floats, true: npt.NDArray[np.bool_]) -> Dataset:
    truth = [[Annotation("label", int(c)) for c in np.flatnonzero(row)] for row in true]
    return dataset(truth, [said(row) for row in scores], categories())


@pytest.mark.parametrize("seed", range(8))
def test_several_classes_equal_scikit_learn_and_torchmetrics(seed: int) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    tm = pytest.importorskip("torchmetrics.functional.classification")
    torch = pytest.importorskip("torch")
    scores, true = drawn_several(seed)
    has = true.any(axis=1)
    found = scored(stored_several(scores, true))
    y, s = true[has], scores[has]
    guess = s > 0.5
    expected = {
        "mAP": sk.average_precision_score(y, s, average="macro"),
        "macro_f1": sk.f1_score(y, guess, average="macro"),
        "micro_f1": sk.f1_score(y, guess, average="micro"),
        "weighted_f1": sk.f1_score(y, guess, average="weighted"),
        "subset_accuracy": sk.accuracy_score(y, guess),
    }
    assert found.facts["task"] == "multi" and list(found.values) == list(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    assert found.per_class is not None
    assert found.per_class["ap"].to_pylist() == pytest.approx(
        sk.average_precision_score(y, s, average=None), abs=1e-12
    )
    given = torch.tensor(s), torch.tensor(y.astype(int)), CLASSES
    assert found["mAP"] == pytest.approx(
        float(tm.multilabel_average_precision(*given, average="macro")), abs=1e-6
    )
    assert mean_average_precision(s, y) == found["mAP"]
    assert found.findings.counts["no-truth"] == int((~has).sum())


def test_samples_without_a_score_of_a_class_come_last() -> None:
    truth = [[Annotation("label", 0), Annotation("label", 1)], [Annotation("label", 0)]]
    truth += [[Annotation("label", 1)]] * 2
    guess = [[Annotation("label", 0, score=0.9)], [], [Annotation("label", 0, score=0.8)], []]
    found = scored(dataset(truth, guess, categories(2)))
    # c0: 1/2 at precision 1, then the tie of the rest: 1/2 at 2/4. c1: no score at all: 3/4.
    assert found.per_class is not None
    assert found.per_class["ap"].to_pylist() == [0.75, 0.75]
    assert found.per_sample is not None
    assert found.per_sample.to_pylist()[0] == {
        "key": "000",
        "tp": 1,
        "fp": 0,
        "fn": 1,
        "f1": pytest.approx(2 / 3),
        "exact": False,
    }


def test_the_task_may_be_said() -> None:
    truth = [[Annotation("label", 0), Annotation("label", 1)], [Annotation("label", 0)]]
    guess = [said([0.2, 0.8]), said([0.9, 0.1])]
    data = dataset(truth, guess, categories(2))
    assert scored(data).facts["task"] == "multi"
    first = scored(data, task="single")
    assert first["top1_accuracy"] == 0.5 and first.findings.counts["duplicate-annotation"] == 1
    one = dataset([t[:1] for t in truth], guess, categories(2))
    assert scored(one).facts["task"] == "single" and "mAP" in scored(one, task="multi").values


# ------------------------------------------------------------------ what counts


def test_several_spaces_need_a_name() -> None:
    both = [*categories(2), Category("day", space="time"), Category("night", space="time")]
    truth = [[Annotation("label", 0), Annotation("label", 3)]]
    guess = [[*said([0.9, 0.1]), Annotation("label", 2, score=0.7)]]
    data = dataset(truth, guess, both)
    with pytest.raises(UsageError, match="'species', 'time'"):
        scored(data)
    species = scored(data, space="species")
    assert species["top1_accuracy"] == 1 and species.facts["classes"] == 2
    assert scored(data, space="time")["top1_accuracy"] == 0
    assert species.findings.counts["not-compared"] == 2  # a label and a prediction of the time
    with pytest.raises(UsageError, match="'weather'"):
        scored(data, space="weather")


def test_what_is_left_out_is_told() -> None:
    truth = [
        [Annotation("label", 0), Annotation("label", 0), Annotation("label", 1, present=False)],
        [Annotation("object", 1, bbox=(0, 0, 1, 1))],
        [Annotation("label", 1)],
        [Annotation("label")],
    ]
    guess = [
        [Annotation("label", 0, score=0.6), Annotation("label", 0, score=0.1)],
        [Annotation("label", 0, score=0.6)],
        [Annotation("label", 1, score=float("nan")), Annotation("label", 0)],
        [Annotation("caption", text="c0", score=0.5)],
    ]
    found = scored(dataset(truth, guess, categories(2), (4, 4)))
    assert found.facts["samples_scored"] == 2 and found["top1_accuracy"] == 0.5
    counts = found.findings.counts
    assert counts["duplicate-row"] == 1 and counts["duplicate-annotation"] == 1
    assert counts["no-truth"] == 2 and counts["not-compared"] == 4
    assert counts["nan-score"] == 1 and counts["missing-score"] == 1
    assert counts["no-predictions"] == 2


def test_without_labels_there_is_no_number() -> None:
    nothing = scored(dataset([[], []], [said([0.5, 0.5])] * 2, categories(2)))
    assert set(nothing.values.values()) == {None}
    none_said = scored(dataset([[Annotation("label", 0)]], [[]], categories(2)))
    assert none_said["top1_accuracy"] == 0 and none_said["ece"] is None
    assert none_said.findings.counts["nothing-to-compare"] == 1


def test_classes_of_other_datasets_are_joined_by_name() -> None:
    truth = dataset([[Annotation("label", 1)]], [[]], categories(2))
    turned = [Category("c1", space="species"), Category("c0", space="species"), Category("z")]
    other = dataset(
        [[Annotation("label", 0, score=0.9), Annotation("label", 2, score=1.0)]], [[]], turned
    )
    found = evaluate(truth, other, "classification")
    assert found["top1_accuracy"] == 1 and found.findings.counts["unknown-category"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Classification(task="both"),  # type: ignore[arg-type]
        lambda: Classification(topk=(0,)),
        lambda: Classification(topk=5),  # type: ignore[arg-type]
        lambda: Classification(bins=0),
        lambda: top_k_accuracy([[0.1, 0.2]], [2]),
        lambda: top_k_accuracy([0.1], [0]),
        lambda: calibration_error([1.5], [True]),
        lambda: calibration_error([0.5], [True, False]),
        lambda: mean_average_precision([[np.nan]], [[True]]),
    ],
)
def test_what_cannot_be_scored_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError):
        wrong()


@pytest.mark.parametrize("several", [False, True])
def test_parts_in_any_order_give_the_same_bits(several: bool) -> None:
    data = stored_several(*drawn_several(1, 30)) if several else stored(*probabilities(1, 30))
    whole = in_parts(Classification(), data, [30], 0)
    assert same(whole, in_parts(Classification(), data, [7, 1, 22], 1))


@pytest.mark.parametrize("several", [False, True])
def test_counting_again_equals_evaluating_again(several: bool) -> None:
    first, second = drawn_several(2, 40) if several else probabilities(2, 40)
    if several:
        second[:, 0] = True  # no sample without a label, so that units are samples
    make: Any = stored_several if several else stored
    task = {"task": "multi" if several else "single"}
    whole = scored(make(first, second), **task)
    assert whole.recount is not None and len(whole.recount.keys) == 40
    assert dict(whole.recount.values(np.ones(40, np.int64))) == dict(whole.values)
    often = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40))
    part = scored(make(first[often > 0], second[often > 0]), **task)
    assert dict(whole.recount.values(np.minimum(often, 1))) == dict(part.values)
    again = scored(make(np.repeat(first, often, axis=0), np.repeat(second, often, axis=0)), **task)
    assert dict(whole.recount.values(often)) == pytest.approx(dict(again.values), abs=1e-12)
    assert set(whole.recount.values(np.zeros(40, np.int64)).values()) == {None}


def test_too_many_pairs_for_a_table_of_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, true = drawn_several(3)
    found = scored(stored_several(scores, true))
    monkeypatch.setattr("granum.metrics._labels.class_tables._DENSE", 1)
    assert dict(scored(stored_several(scores, true)).values) == dict(found.values)


@pytest.mark.parametrize("size", [1, 7, 40])
def test_blocks_of_any_size_give_the_same_bits(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, label = probabilities(4, 40)
    scores[5], scores[8, 1:] = np.nan, np.nan  # units without a row, with one
    whole = scored(stored(scores, label))
    monkeypatch.setattr("granum.metrics._labels.class_tables._BLOCK", size)
    blocks = scored(stored(scores, label))
    assert same(whole, blocks)
    assert whole.per_sample is not None and whole.per_sample.equals(blocks.per_sample)


def test_rows_without_a_kind_are_not_compared() -> None:
    data = stored(*probabilities(0, 2))
    kinds = pa.array(["label", None]).dictionary_encode()
    guess = pa.table({"sample": [0, 1], "kind": kinds, "category": [0, 1], "score": [0.5, 0.5]})
    both = {"truth": data.annotations(), "predicted": guess}
    found = scored(Dataset.from_arrow(data.samples(["key"]), both, data.categories))
    assert found.facts["predictions"] == 1 and found.findings.counts["not-compared"] == 1
