"""Accuracy of category discovery: cases by hand, the published loop, scikit-learn and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

pytest.importorskip("scipy")

from granum.errors import UnknownNameError, UsageError
from granum.metrics import discovery
from granum.metrics.base import Result
from granum.metrics.discovery import Discovery, clustering_accuracy, table_of
from granum.metrics.evaluate import evaluate
from granum.schema.rows import Annotation, Category, Sample
from granum.store.dataset import Dataset
from tests.metrics.made import in_parts, same

Ints = npt.NDArray[np.int64]
NAMES = ["cat", "dog", "owl", "bee", "elk"]
CATEGORIES = [Category(n) for n in NAMES] + [Category(f"c{i}", space="cluster") for i in range(9)]


def dataset(
    true: Any, found: Any, splits: Any = None, categories: list[Category] = CATEGORIES
) -> Dataset:
    """Classes and clusters of samples by number; None: no row."""
    rows = []
    for i, (a, b) in enumerate(zip(true, found, strict=True)):
        rows.append(
            Sample(
                f"{i:03d}",
                split=None if splits is None else splits[i],
                annotations=[] if a is None else [Annotation("label", category=int(a))],
                layers={"predicted": [] if b is None else [Annotation("label", int(b) + 5)]},
            )
        )
    return Dataset.from_rows(rows, categories)


def judged(data: Dataset, **parameters: Any) -> Result:
    return evaluate(data, data.layer("predicted"), "discovery", parameters=parameters)


def drawn(seed: int, n: int = 60) -> tuple[Ints, Ints]:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 5, n)
    noise = rng.integers(0, int(rng.integers(3, 9)), n)
    return true, np.where(rng.random(n) < 0.6, (true * 3) % 7, noise)


def published(true: Ints, found: Ints, old: Any, version: str) -> tuple[float, float, float]:
    """As the released code counts: a square table, one assignment or two."""
    from scipy import optimize

    def assigned(y: Ints, p: Ints) -> tuple[Ints, dict[int, int]]:
        size = max(int(y.max()), int(p.max())) + 1
        w = np.zeros((size, size), int)
        for a, b in zip(p.tolist(), y.tolist(), strict=True):
            w[a, b] += 1
        rows, columns = optimize.linear_sum_assignment(w.max() - w)
        return w, dict(zip(columns.tolist(), rows.tolist(), strict=True))

    def right(w: Ints, of: dict[int, int], classes: Any) -> int:
        return sum(int(w[of[c], c]) for c in classes)

    mask = np.isin(true, old)
    if version == "v1":
        parts = []
        for some in (mask, ~mask):
            w, of = assigned(true[some], found[some])
            parts.append(right(w, of, range(len(w))) / some.sum())
        return mask.mean() * parts[0] + (1 - mask.mean()) * parts[1], parts[0], parts[1]
    w, of = assigned(true, found)
    counts = [right(w, of, {*true[m].tolist()}) / m.sum() for m in (mask, ~mask)]
    return right(w, of, range(len(w))) / len(true), counts[0], counts[1]


# ------------------------------------------------------------------ by hand


def test_one_assignment_then_split() -> None:
    # Clusters by classes: c0: 3 cats, 2 dogs; c1: 4 owls, 1 dog; c2: 1 cat.
    true = [0, 0, 0, 1, 1, 2, 2, 2, 2, 1, 0]
    found = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2]
    result = judged(dataset(true, found), known=["cat", "dog"])
    # cat = c0 (3 right), owl = c1 (4), dog = c2 (0): the best of all assignments.
    assert result["acc_all"] == 7 / 11
    assert (result["acc_old"], result["acc_new"]) == (3 / 7, 1)
    assert result["purity"] == (3 + 4 + 1) / 11
    assert result["k_error"] == 0
    assert result.per_class is not None and result.per_sample is not None
    assert result.per_class.to_pylist()[0] == {
        "category": "cat", "old": True, "cluster": "c0", "samples": 4, "correct": 3,
        "accuracy": 0.75,
    }  # fmt: skip
    assert result.per_class["cluster"].to_pylist() == ["c0", "c2", "c1"]
    assert result.per_sample["correct"].to_pylist() == [True] * 3 + [False] * 2 + [True] * 4 + [
        False,
        False,
    ]
    # Each part by itself: dogs and cats are c0 (3 or 2) with c1 or c2 beside it.
    apart = judged(dataset(true, found), known=["cat", "dog"], version="v1")
    assert (apart["acc_old"], apart["acc_new"]) == (4 / 7, 1)
    assert apart["acc_all"] == 8 / 11


def test_more_classes_than_clusters_and_the_other_way() -> None:
    few = judged(dataset([0, 1, 2, 2], [0, 0, 0, 0]))
    assert (few["acc_all"], few["k_error"]) == (0.5, pytest.approx(2 / 3))
    assert few.per_class is not None
    assert few.per_class["cluster"].to_pylist() == [None, None, "c0"]
    many = judged(dataset([0, 0, 0, 1], [0, 1, 0, 2]))
    assert (many["acc_all"], many["k_error"], many["purity"]) == (0.75, 0.5, 1)
    assert many.per_sample is not None
    assert many.per_sample["class_of_cluster"].to_pylist() == ["cat", None, "cat", "dog"]


def test_the_labelled_split_tells_the_old_classes_and_is_not_compared() -> None:
    splits = ["train", "train", "test", "test", "test", None]
    data = dataset([0, 1, 0, 1, 2, 2], [5, 6, 0, 1, 1, 2], splits)
    result = judged(data, labelled="train")
    assert (result["acc_all"], result["acc_old"], result["acc_new"]) == (0.75, 1, 0.5)
    facts = result.facts
    assert (facts["samples_scored"], facts["samples_labelled"], facts["old_classes"]) == (4, 2, 2)


def test_without_old_classes_there_is_accuracy_of_all_only() -> None:
    result = judged(dataset([0, 1], [0, 1]))
    assert list(result.values) == ["acc_all", "nmi", "ari", "purity", "k_error"]
    old = judged(dataset([0, 1], [0, 1]), known=["cat", "dog"])
    assert old["acc_new"] is None and old.findings.counts["undefined-number"] == 1


def test_clusters_that_the_truth_does_not_know() -> None:
    data = dataset([0, 0, 1], [0, 0, 1])
    own = [Category("dog"), Category("cat"), Category("x")]  # names mean nothing here
    other = Dataset.from_rows(
        [Sample(f"{i:03d}", annotations=[Annotation("label", c)]) for i, c in enumerate((0, 0, 2))],
        own,
    )
    result = evaluate(data, other, "discovery")
    assert result["acc_all"] == 1 and "unknown-category" not in result.findings.counts
    assert result.per_sample is not None
    assert result.per_sample["cluster"].to_pylist() == ["dog", "dog", "x"]


# ------------------------------------------------------------------ references


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_equal_to_the_published_loop(seed: int, version: Any) -> None:
    true, found = drawn(seed)
    want = published(true, found, [0, 1, 2], version)
    result = judged(dataset(true, found), known=NAMES[:3], version=version)
    # In these cases no two assignments are equally good, so that old and new are defined.
    got = [result[n] for n in ("acc_all", "acc_old", "acc_new")]
    assert got == pytest.approx(want, abs=1e-15)


@pytest.mark.parametrize("seed", range(8))
def test_equal_to_scikit_learn(seed: int) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    true, found = drawn(seed)
    result = judged(dataset(true, found))
    assert result["nmi"] == pytest.approx(sk.normalized_mutual_info_score(true, found), abs=1e-12)
    assert result["ari"] == pytest.approx(sk.adjusted_rand_score(true, found), abs=1e-12)
    counts = sk.cluster.contingency_matrix(true, found)
    assert result["purity"] == counts.max(axis=0).sum() / counts.sum()


@pytest.mark.parametrize(
    ("true", "found"),
    [
        ([0, 0, 0], [1, 1, 1]),
        ([0, 1, 2], [0, 0, 0]),
        ([0, 1, 2], [2, 0, 1]),
        ([0, 1, 0, 1], [0, 0, 1, 1]),
        ([4], [0]),
    ],
)
def test_edges_equal_scikit_learn(true: list[int], found: list[int]) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    table, _, _ = table_of(found, true)
    for ours, theirs in (
        (discovery.normalized_mutual_information, sk.normalized_mutual_info_score),
        (discovery.adjusted_rand_index, sk.adjusted_rand_score),
    ):
        assert ours(table) == pytest.approx(theirs(true, found), abs=1e-12)


def test_big_counts_do_not_overflow() -> None:
    table = np.array([[3_000_000_000, 1], [0, 3_000_000_000]])
    assert discovery.adjusted_rand_index(table) == pytest.approx(1)


def test_nothing() -> None:
    table, rows, columns = table_of([], [])
    assert table.shape == (0, 0) and not len(rows) and not len(columns)
    assert clustering_accuracy(table, []) == (None, None, None)
    assert discovery.purity(np.zeros((0, 0), int)) is None
    assert discovery.normalized_mutual_information(table) is None
    assert discovery.adjusted_rand_index(table) is None
    with pytest.raises(UsageError, match="differ"):
        table_of([1], [1, 2])
    with pytest.raises(UsageError, match="classes of shape"):
        clustering_accuracy([[1, 2]], [True])


# ------------------------------------------------------------------ rows


def test_what_is_left_out_is_told() -> None:
    data = dataset([0, None, 1, 1], [0, 1, None, 1])
    result = judged(data)
    assert result.findings.counts["no-truth"] == 1
    assert result.findings.counts["no-predictions"] >= 1
    assert (result["acc_all"], result.facts["samples_scored"]) == (1, 2)
    rows = [
        Sample(
            "a",
            annotations=[Annotation("label", 0), Annotation("label", 1)],
            layers={
                "predicted": [
                    Annotation("label", 1),  # no cluster
                    Annotation("label", 6),
                    Annotation("label", 7),
                    Annotation("label", 5, present=False),
                    Annotation("label"),
                ]
            },
        )
    ]
    result = judged(Dataset.from_rows(rows, CATEGORIES))
    counts = result.findings.counts
    assert (counts["duplicate-annotation"], counts["not-compared"]) == (2, 2)
    assert counts["missing-category"] == 1
    assert result.per_sample is not None
    assert result.per_sample["cluster"].to_pylist() == ["c1"]


def test_no_predictions() -> None:
    result = judged(dataset([0, 1], [None, None]))
    assert set(result.values.values()) == {None}
    assert result.findings.counts["nothing-to-compare"] == 1


def test_true_labels_of_several_spaces() -> None:
    more = [*CATEGORIES, Category("night", space="scene")]
    data = dataset([0, 1, 14], [0, 1, 2], categories=more)
    with pytest.raises(UsageError, match="parameter space"):
        judged(data)
    found = judged(data, space="object")
    assert found["acc_all"] == 1 and found.findings.counts["not-compared"] == 1
    assert judged(data, space="scene").facts["samples_scored"] == 1


def test_classes_without_a_space() -> None:
    data = dataset([0, 0, 1], [0, 0, 1])
    names = pa.table({"name": data.categories["name"]})
    both = {n: data.layer(n).annotations() for n in ("truth", "predicted")}
    plain = Dataset.from_arrow(data.samples(["key"]), both, names)
    assert judged(plain, known=["cat"]).values == judged(data, known=["cat"]).values


def test_wrong_parameters() -> None:
    for wrong in ({"version": "v3"}, {"known": "cat"}, {"known": ["cat"], "labelled": "train"}):
        with pytest.raises(UsageError):
            Discovery(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError):
        judged(dataset([0], [0]), known=["cow"])
    with pytest.raises(UsageError, match="the split 'trane'"):
        judged(dataset([0], [0], ["train"]), labelled="trane")


# ------------------------------------------------------------------ parts, weights


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_parts_in_any_order_give_the_same_bits(version: Any) -> None:
    true, found = drawn(3)
    splits = ["train" if i % 7 == 0 else "test" for i in range(len(true))]
    data = dataset(true, found, splits)
    protocol = Discovery(labelled="train", version=version)
    want = in_parts(protocol, data, [60], 0)
    assert want["acc_new"] is not None or want["acc_old"] is not None
    for sizes, seed in (([1] * 60, 1), ([20, 30, 10], 2), ([1, 58, 1], 3)):
        assert same(in_parts(protocol, data, sizes, seed), want)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_recount_is_the_evaluation_of_the_subset(version: Any) -> None:
    true, found = drawn(5)
    data = dataset(true, found)
    result = judged(data, known=NAMES[:2], version=version)
    again = result.recount
    assert again is not None
    assert again.values(np.ones(60, np.int64)) == result.values
    chosen = np.random.default_rng(0).integers(0, 2, 60)
    part = data.select(np.flatnonzero(chosen))
    assert again.values(chosen) == judged(part, known=NAMES[:2], version=version).values
    twice = np.concatenate([np.flatnonzero(chosen)] * 2)
    double = judged(dataset(true[twice], found[twice]), known=NAMES[:2], version=version)
    assert again.values(chosen * 2) == double.values
    assert set(again.values(np.zeros(60, np.int64)).values()) == {None}
