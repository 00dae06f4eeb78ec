"""mAP and mP@k of ROxford: cases by hand, and equal to the official loop to the bit."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
import pytest

from granum.errors import UsageError
from granum.metrics import retrieval
from granum.metrics.base import Context
from granum.metrics.evaluate import evaluate
from granum.metrics.retrieval import Retrieval, mean_average_precision, ranks
from granum.schema.rows import Annotation, Sample
from granum.store.dataset import Dataset
from tests.metrics.made import same
from tests.metrics.retrieved import CATEGORIES, dataset, drawn, official, ok_and_junk, scored


def judged(data: Dataset, **parameters: Any) -> Any:
    return evaluate(data, data.layer("predicted"), "retrieval", parameters=parameters)


# ------------------------------------------------------------------ by hand


def test_trapezoids() -> None:
    # Ranks 0, 2: (1 + 1) / 2 and (1/2 + 2/3) / 2, over 2 relevant images.
    assert retrieval.average_precision_trapezoid([0, 2]) == pytest.approx((1 + 7 / 12) / 2)
    # A third one is not ranked.
    assert retrieval.average_precision_trapezoid([0, 2], 3) == pytest.approx((1 + 7 / 12) / 3)
    # Rank 1: precision is 0 before it (no hit in one image), 1/2 with it.
    assert retrieval.average_precision_trapezoid([1]) == 0.25
    assert retrieval.average_precision_trapezoid([], 4) == 0
    with pytest.raises(UsageError, match="no image is relevant"):
        retrieval.average_precision_trapezoid([])
    with pytest.raises(UsageError, match="2 relevant images are ranked, and there are 1"):
        retrieval.average_precision_trapezoid([0, 1], 1)


def test_precision_looks_no_further_than_the_last_relevant_image() -> None:
    assert retrieval.precision_at([0, 2], 1) == 1
    assert retrieval.precision_at([0, 2], 5) == 2 / 3
    assert retrieval.precision_at([0, 2], 5, capped=False) == 2 / 5
    assert retrieval.precision_at([0, 7], 5) == 1 / 5
    assert retrieval.precision_at([], 5) == 0
    with pytest.raises(UsageError, match="k is 0"):
        retrieval.precision_at([0], 0)


def test_junk_leaves_the_list() -> None:
    # j + j + - with junk at 0 and 2: the relevant ones stand at 0 and 1.
    assert retrieval.ranks_without_junk([1, 3], [0, 2]).tolist() == [0, 1]
    assert retrieval.ranks_without_junk([4, 1], []).tolist() == [1, 4]


def test_easy_medium_hard() -> None:
    truth = [{"easy": [0], "hard": [1], "junk": [2]}]
    # Images by rank: 2 (junk), 1 (hard), 3 (negative), 0 (easy)
    result = judged(dataset(truth, scored(np.array([[2], [1], [3], [0]])), 4))
    assert result["mAP_E"] == 0.25  # 3, 0
    assert result["mAP_M"] == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)  # 1, 3, 0
    assert result["mAP_H"] == 1  # 1, 3
    assert (result["mP@1_E"], result["mP@5_E"], result["mP@10_E"]) == (0, 0.5, 0.5)
    assert (result["mP@1_M"], result["mP@5_M"]) == (1, 2 / 3)


def test_queries_without_relevant_images_are_left_out() -> None:
    truth = [{"easy": [0], "hard": [], "junk": []}, {"easy": [], "hard": [1], "junk": []}]
    result = judged(dataset(truth, scored(np.array([[0, 0], [1, 1]])), 2))
    assert (result["mAP_E"], result["mAP_M"], result["mAP_H"]) == (1, 0.625, 0.25)
    assert result.facts["queries_judged"] == {"E": 1, "M": 2, "H": 1}
    assert result.per_sample["AP_H"].to_pylist() == [None, 0.25]
    none = judged(dataset([{"easy": [0], "hard": [], "junk": []}], scored(np.array([[0]])), 1))
    assert none["mAP_H"] is None and none["mP@1_H"] is None
    assert none.findings.counts["undefined-number"] == 4


def test_numbers_of_other_papers() -> None:
    found = [0, 2, 5]
    assert retrieval.average_precision_sum(found, 4) == pytest.approx((1 + 2 / 3 + 3 / 6) / 4)
    assert retrieval.average_precision_at_r(found, 4) == pytest.approx((1 + 2 / 3) / 4)
    assert retrieval.recall_at(found, 3, 4) == 0.5
    assert (retrieval.hit_at([3, 8], 3), retrieval.hit_at([3, 8], 4)) == (0, 1)
    assert (retrieval.reciprocal_rank([3, 8]), retrieval.reciprocal_rank([])) == (0.25, 0)
    best = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert retrieval.ndcg(found) == pytest.approx((1 + 1 / np.log2(4) + 1 / np.log2(7)) / best)
    assert retrieval.ndcg(found, 9, k=1) == 1


# ------------------------------------------------------------------ references


@pytest.mark.parametrize("seed", range(12))
def test_equal_to_the_official_loop(seed: int) -> None:
    truth, listed = drawn(seed)
    result = judged(dataset(truth, scored(listed), len(listed)), k=[1, 3, 10])
    for protocol in "EMH":
        gnd = ok_and_junk(truth, protocol)
        mean, precisions = official(listed, gnd, (1, 3, 10))
        pure = mean_average_precision(listed, gnd, (1, 3, 10))
        assert pure.mean == mean and pure.mpr is not None
        assert pure.mpr.tolist() == precisions
        assert result[f"mAP_{protocol}"] == mean
        assert [result[f"mP@{k}_{protocol}"] for k in (1, 3, 10)] == precisions


@pytest.mark.parametrize("seed", range(6))
def test_standard_numbers_equal_scikit_learn(seed: int) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    relevant = rng.random(30) < 0.3
    relevant[7] = True
    found = np.flatnonzero(relevant)
    score = -np.arange(30.0)
    assert retrieval.average_precision_sum(found) == pytest.approx(
        sk.average_precision_score(relevant, score), abs=1e-12
    )
    for k in (None, 5, 30):
        assert retrieval.ndcg(found, k=k) == pytest.approx(
            sk.ndcg_score([relevant], [score], k=k), abs=1e-12
        )


def test_mean_average_precision_of_nothing() -> None:
    found = mean_average_precision([[0, 1], [1, 0]], [{"ok": []}, {"ok": []}])
    assert found.mean is None and found.mpr is None and np.isnan(found.aps).all()
    with pytest.raises(UsageError, match="for 1 queries"):
        mean_average_precision([[0, 1], [1, 0]], [{"ok": [0]}])


def test_images_that_are_not_ranked_are_missed() -> None:
    found = mean_average_precision([[5], [0]], [{"ok": [0, 1]}], (1,))
    assert found.mean == 0.25 / 2
    found = mean_average_precision([[5], [4]], [{"ok": [0, 1]}], (1,))
    assert found.mean == 0 and found.prs.tolist() == [[0]]


def test_ranks_by_cosine() -> None:
    database = [[1, 0], [0, 2], [3, 3], [0, 0], [0, 1]]
    listed = ranks([[0, 5], [2, 0]], database)
    assert listed.T.tolist() == [[1, 4, 2, 0, 3], [0, 2, 1, 3, 4]]
    rng = np.random.default_rng(0)
    q, x = rng.normal(size=(7, 16)), rng.normal(size=(50, 16))
    q, x = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (q, x))
    assert np.array_equal(ranks(q * 3, x * 0.1), np.argsort(-(x @ q.T), axis=0))
    with pytest.raises(UsageError, match="shapes"):
        ranks([[0, 1]], [[1, 2, 3]])
    with pytest.raises(UsageError, match="not finite"):
        ranks([[0, np.nan]], [[1, 2]])


# ------------------------------------------------------------------ rows


def test_ranks_that_are_stated_need_no_negatives() -> None:
    truth, listed = drawn(3)
    whole = judged(dataset(truth, scored(listed), len(listed)))
    related = [
        [
            (i, {"attributes": {"rank": listed[:, q].tolist().index(i)}})
            for name in ("junk", "hard", "easy")
            for i in truth[q][name]
        ]
        for q in range(len(truth))
    ]
    short = judged(dataset(truth, related, len(listed)))
    assert short.values == whole.values and short.values["mAP_M"] is not None
    assert short.facts["predictions"] < whole.facts["predictions"]


def test_equal_scores_keep_the_order_of_the_rows() -> None:
    truth = [{"easy": [1], "hard": [], "junk": []}]
    found = [[(i, {"score": 0.5}) for i in (0, 1, 2)]]
    assert judged(dataset(truth, found, 3))["mAP_E"] == 0.25


def test_predictions_may_refer_to_rows_of_the_truth() -> None:
    data = Dataset.from_rows(
        [
            Sample(
                "q",
                role="query",
                annotations=[Annotation("relation", category=0, object=7)],
                layers={"predicted": [Annotation("relation", object=7, score=1.0)]},
            ),
            Sample("i", annotations=[Annotation("label", annotation_id=7)]),
        ],
        CATEGORIES,
    )
    assert judged(data)["mAP_E"] == 1


def test_what_cannot_be_joined_is_told() -> None:
    truth = [{"easy": [0], "hard": [], "junk": [1]}]
    rows = [
        (0, {"score": float("nan")}),
        (1, {}),
        (2, {"score": 0.9}),
        (2, {"score": 0.4}),
        (77, {"score": 0.3}),
        (0, {"score": 0.2}),
    ]
    result = judged(dataset(truth, [rows], 3))
    counts = result.findings.counts
    for code in ("nan-score", "missing-score", "duplicate-annotation", "unknown-sample"):
        assert counts[code] == 1, code
    assert result["mAP_E"] == 0.25  # 2, 0
    assert result.facts["predictions"] == 2


def test_relations_of_other_categories_and_samples_are_not_compared() -> None:
    truth = [{"easy": [0], "hard": [1], "junk": []}]
    data = dataset(truth, [[(0, {"score": 1.0})]], 2)
    only = judged(data, hard=[])
    assert only.findings.counts["not-compared"] == 1 and only["mAP_M"] == 1
    # Its own names: both are relevant now.
    plain = judged(data, easy=["easy", "hard"], hard=[])
    assert plain["mAP_E"] == 0.5 and plain["mAP_H"] is None
    stray = [Annotation("relation", object=2000, score=1.0)]
    samples = [Sample("z", layers={"predicted": stray}), *data_rows(data)]
    result = judged(Dataset.from_rows(samples, CATEGORIES))
    assert "no query" in str(result.findings.items) and result["mAP_M"] == 0.5


def data_rows(data: Dataset) -> list[Sample]:
    """The samples of a dataset of two layers as rows."""
    other = {s.key: s.annotations for s in data.layer("predicted")}
    out = []
    for view in data:
        row = view.row
        row.annotations, row.layers = view.annotations, {"predicted": other[view.key]}
        out.append(row)
    return out


def test_no_predictions_at_all() -> None:
    truth = [{"easy": [0], "hard": [], "junk": []}, {"easy": [1], "hard": [], "junk": []}]
    result = judged(dataset(truth, [[(0, {"score": 1.0})], []], 2))
    assert result["mAP_E"] == 0.5
    assert result.facts["queries_without_predictions"] == 1
    lost = judged(dataset(truth, [[(0, {})], []], 2))
    assert set(lost.values.values()) == {None}
    assert lost.findings.counts["nothing-to-compare"] == 1


@pytest.mark.parametrize(
    "wrong", [{"k": [0]}, {"easy": "easy"}, {"easy": ["a"], "junk": ["a"]}, {"k": [1.5]}]
)
def test_wrong_parameters(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Retrieval(**wrong)


# ------------------------------------------------------------------ parts, weights


def states(data: Dataset, sizes: list[int]) -> tuple[list[Any], Context]:
    """The states of parts of a dataset, as other processes give them."""
    context = Context(data.categories, None, None, len(data))
    cut = list(itertools.pairwise(np.cumsum([0, *sizes]).tolist()))
    (whole,) = data.iter_batches()
    (guess,) = data.layer("predicted").iter_batches()
    out = []
    for a, b in cut:
        both = [
            type(side)(
                side.samples.slice(a, b - a),
                side.annotations.slice(side.offsets()[a], side.offsets()[b] - side.offsets()[a]),
                a,
            )
            for side in (whole, guess)
        ]
        state = Retrieval(standard=True).state(both[0], both[1], context)
        out.append(pickle.loads(pickle.dumps(state)))
    return out, context


@pytest.mark.parametrize("queries_last", [False, True])
def test_parts_in_any_order_give_the_same_bits(queries_last: bool) -> None:
    truth, listed = drawn(5)
    data = dataset(truth, scored(listed), len(listed), queries_last=queries_last)
    whole, context = states(data, [len(data)])
    want = Retrieval(standard=True).result(whole, context)
    for order in ([0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 1, 0]):
        parts, _ = states(data, [4, 20, 3, len(data) - 27])
        got = Retrieval(standard=True).result([parts[i] for i in order], context)
        assert same(got, want)


def test_recount_is_the_evaluation_of_the_subset() -> None:
    truth, listed = drawn(8)
    data = dataset(truth, scored(listed), len(listed))
    result = judged(data, standard=True)
    again = result.recount
    assert again.keys.to_pylist() == [f"q{q:02d}" for q in range(len(truth))]
    assert again.values(np.ones(len(truth), np.int64)) == result.values
    chosen = np.array([1, 0, 0, 1, 1, 0, 1, 0, 0])
    kept = [q for q in range(len(truth)) if chosen[q]]
    part = dataset([truth[q] for q in kept], scored(listed[:, kept]), len(listed))
    assert again.values(chosen) == judged(part, standard=True).values
    twice = again.values(np.array([2, 0, 0, 1, 0, 0, 0, 0, 0]))
    aps = result.per_sample["AP_M"].to_pylist()
    assert twice["mAP_M"] == pytest.approx((2 * aps[0] + aps[3]) / 3)
    assert set(again.values(np.zeros(len(truth), np.int64)).values()) == {None}
