"""Streams of tasks: worked logs, the averages of DeepMind's code, scikit-learn's mAP, stores."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from granum.errors import UsageError
from granum.metrics.accumulate import Accumulator
from granum.metrics.base import Context, Result
from granum.metrics.evaluate import evaluate
from granum.metrics.stream import Event, Stream, StreamLog, error_auc, pareto_mask
from granum.schema import rows
from granum.schema.tables import with_column
from granum.store.dataset import Dataset
from tests.metrics.made import same

# ------------------------------------------------------------------ on logs


def test_a_log_worked_by_hand() -> None:
    log = StreamLog(
        (
            Event("a", 0, 0, 0.5, 10, 5, 0.9, flops=10.0),
            Event("b", 1, 0, 0.1, 20, 2, 0.5, flops=10.0),
            Event("b", 1, 1, 0.8, 20, 16, 1.0, flops=100.0),
            Event("a", 0, 1, 0.4, 10, 4, 0.8, flops=100.0),
            Event("m", 2, 2, 0.7, 5, kind="multi", flops=1000.0),
            Event("c", 3, 3, 0.6, 30, 18, 0.7, flops=10000.0),
        )
    )
    got = log.summary({"a": 0.6, "c": 0.3, "m": 0.65})
    assert got["average_single_label_accuracy"] == pytest.approx(2.4 / 5)
    assert got["weighted_average_single_label_accuracy"] == 45 / 90
    assert got["average_multi_label_mean_average_precision"] == 0.7
    assert got["average_top5_accuracy"] == pytest.approx(3.9 / 5)
    assert got["learned_accuracy"] == pytest.approx((0.5 + 0.8 + 0.6) / 3)
    assert got["final_accuracy"] == pytest.approx((0.4 + 0.8 + 0.6) / 3)
    assert got["forgetting"] == pytest.approx(0.1)  # only a was predicted again
    assert got["forward_transfer"] == pytest.approx(((0.5 - 0.6) + (0.6 - 0.3)) / 2)
    assert got["multi_label_forward_transfer"] == pytest.approx(0.05)
    assert got["multi_label_forgetting"] is None and got["multi_label_learned_map"] == 0.7
    curve = log.curve()
    assert curve["flops"].tolist() == [10, 100, 10000]
    assert curve["error"] == pytest.approx([0.5, (0.5 + 0.2) / 2, (0.5 + 0.2 + 0.4) / 3])
    # One decade of the first step, two of the second.
    steps = (0.5 + 0.35) / 2 + (0.35 + 1.1 / 3) / 2 * 2
    assert got["error_auc"] == pytest.approx(steps / 3)
    assert set(StreamLog(()).summary().values()) == {None}


def test_error_over_compute() -> None:
    assert error_auc([1, 100], [1.0, 0.0]) == pytest.approx(0.5)
    assert error_auc([100, 1, 10], [0.0, 1.0, 0.2]) == pytest.approx((0.6 + 0.1) / 2)
    assert error_auc([1, 10, 10], [0.5, 0.2, 0.4]) == pytest.approx(0.4)
    assert error_auc([1e12, 1e13], [0.4, 0.4]) == pytest.approx(0.4)
    for flops in ([], [5.0], [5.0, 5.0], [0.0, 5.0], [math.nan, 5.0], [math.inf, 5.0]):
        assert error_auc(flops, [0.5] * len(flops)) is None
    with pytest.raises(UsageError):
        error_auc([1.0], [0.5, 0.5])


@pytest.mark.parametrize("seed", range(10))
def test_pareto_points_are_beaten_by_none(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 6, (2, 15)).astype(float)
    expected = [
        not any(
            x[j] <= x[i] and y[j] <= y[i] and (x[j] < x[i] or y[j] < y[i]) for j in range(len(x))
        )
        for i in range(len(x))
    ]
    assert pareto_mask(x, y).tolist() == expected


def test_points_without_a_number_are_never_kept() -> None:
    nan = math.nan
    assert pareto_mask([1, nan, 1, 2], [0.5, 0.0, 0.5, nan]).tolist() == [True, False, True, False]
    assert pareto_mask([], []).tolist() == []


# ------------------------------------------------------------------ on stores

Label = tuple[int, float]
"""A class and its score."""


def label(category: int, score: float | None = None, **facts: Any) -> rows.Annotation:
    return rows.Annotation("label", category, score=score, attributes=facts or None)


def stream(
    tasks: Mapping[str, Sequence[tuple[Sequence[int], Sequence[rows.Annotation]]]],
    classes: int = 3,
    *,
    places: Mapping[str, Sequence[int]] | None = None,
    splits: Sequence[str] | None = None,
) -> Dataset:
    """Tasks with their samples: true classes (counted within the task) and predicted labels, whose
    categories count within the task too."""
    samples, groups, categories = [], [], []
    for g, (name, members) in enumerate(tasks.items()):
        about = None
        if places is not None:
            about = {"tasks": [{"task": n, "year": 2000 + n, "name": name} for n in places[name]]}
        groups.append(rows.Group(name, "dataset", attributes=about))
        categories += [rows.Category(str(c), space=name) for c in range(classes)]
        for i, (true, said) in enumerate(members):
            guess = [
                label(g * classes + (a.category or 0), a.score, **(a.attributes or {}))
                for a in said
            ]
            samples.append(
                rows.Sample(
                    f"{name}/{i:03d}",
                    group=g,
                    split=splits[i % len(splits)] if splits else "test",
                    annotations=[label(g * classes + c) for c in true],
                    layers={"predicted": guess},
                )
            )
    return Dataset.from_rows(samples, categories, groups)


def judged(data: Dataset, **parameters: Any) -> Result:
    return evaluate(data, data.layer("predicted"), "stream", parameters=parameters)


def best(category: int, **facts: Any) -> list[rows.Annotation]:
    return [label(category, 0.9, **facts), label((category + 1) % 3, 0.3, **facts)]


def test_accuracy_of_two_tasks() -> None:
    tasks = {
        "a": [([0], best(0)), ([1], best(1)), ([2], best(0)), ([0], best(0))],
        "b": [([0], best(1)), ([1], best(1))],
    }
    result = judged(stream(tasks), baselines={"a": 0.5})
    assert result["average_single_label_accuracy"] == (3 / 4 + 1 / 2) / 2
    assert result["weighted_average_single_label_accuracy"] == 4 / 6
    assert result["average_top5_accuracy"] is None  # two classes of a sample were kept
    told = str(result.findings.items)
    assert "top5 of 'a' after task 0: on 1 of 4 samples fewer than 5 classes" in told
    assert result["forward_transfer"] == 0.25 and result["forgetting"] is None
    assert result["average_multi_label_mean_average_precision"] is None
    first, second = result.per_class.to_pylist()  # type: ignore[union-attr]
    assert (first["category"], first["task"], first["kind"]) == ("a", 0, "single")
    assert first["baseline"] == 0.5 and second["learned"] == 0.5 and second["before"] is None
    own = {r["key"]: r for r in result.per_sample.to_pylist()}  # type: ignore[union-attr]
    assert own["a/002"]["learned_correct"] is False and own["b/001"]["final_correct"] is True


def test_the_best_five_of_six() -> None:
    six = [label(c, 1 - c / 10) for c in range(6)]
    result = judged(stream({"a": [([4], six), ([5], six)]}, 6))
    assert result["average_top5_accuracy"] == 0.5


def test_updates_of_a_task_each() -> None:
    tasks = {"a": [([0], best(0)), ([1], best(0))], "b": [([0], best(0)), ([1], best(1))]}
    whole = judged(stream(tasks))
    data = stream(tasks)
    found = Accumulator("stream")
    for row in (1, 0):
        groups = data.groups.slice(row, 1)
        samples = data.samples().filter(pc.equal(data.samples()["group"], row))
        samples = with_column(samples, "group", pa.array([0] * 2, pa.int32()))
        sides = []
        for layer in (data, data.layer("predicted")):
            table = layer.annotations()
            mine = table.filter(pc.equal(pc.divide(table["sample"], 2), row))
            at = pc.subtract(mine["sample"], 2 * row)
            mine = with_column(mine, "sample", at.combine_chunks())
            sides.append(Dataset.from_arrow(samples, mine, data.categories, groups))
        found.update(sides[0], sides[1])
    result = found.compute()
    assert result["learned_accuracy"] == whole["learned_accuracy"] == 0.75
    tables = [sorted(r.per_class["learned"].to_pylist()) for r in (result, whole)]  # type: ignore[index]
    assert tables[0] == tables[1] == [0.5, 1.0]


def test_only_samples_that_count_are_drawn() -> None:
    tasks = {"a": [([0], best(0)), ([1], best(0)), ([1], best(1)), ([2], best(0))]}
    data = stream(tasks, splits=["dev", "test"])
    result = judged(data, split="test")
    assert result.recount is not None
    assert result.recount.keys.to_pylist() == ["a/001", "a/003"]
    with pytest.raises(UsageError, match=r"split 'tests'; there are 'dev', 'test'"):
        judged(data, split="tests")
    for name in ("baselines", "flops"):
        with pytest.raises(UsageError, match=f"{name} of 'c', which is no task"):
            judged(data, split="test", **{name: {"c": 0.5}})


def test_later_events_tell_what_was_forgotten() -> None:
    def said(*classes: int) -> list[rows.Annotation]:
        return [label(c, 1.0, after=k) for k, c in enumerate(classes)]

    tasks = {
        "a": [([0], said(0, 1)), ([1], said(1, 1)), ([2], said(2, 2)), ([0], said(1, 1))],
        "b": [([0], said(2, 0)), ([1], said(1, 1))],
    }
    result = judged(stream(tasks), flops={"a": 1e9, "b": 9e9})
    assert result["learned_accuracy"] == (3 / 4 + 1) / 2
    assert result["final_accuracy"] == (1 / 2 + 1) / 2 and result["forgetting"] == 1 / 4
    assert result["average_single_label_accuracy"] == (3 / 4 + 1 / 2 + 1 / 2 + 1) / 4
    second = result.per_class.to_pylist()[1]  # type: ignore[union-attr]
    assert second["before"] == 0.5 and second["learned"] == 1 and second["flops"] == 1e10
    events = result.curves["events"].to_pylist()
    assert [(e["task"], e["after"], e["flops"]) for e in events] == [
        *(("a", 0, 1e9), ("b", 0, 1e9), ("a", 1, 1e10), ("b", 1, 1e10)),
    ]
    assert result["error_auc"] == pytest.approx((0.25 + 0.125) / 2)
    assert result.curves["error"]["pareto"].to_pylist() == [True, True]
    own = {r["key"]: r for r in result.per_sample.to_pylist()}  # type: ignore[union-attr]
    assert own["a/000"] == {"key": "a/000", "learned_correct": True, "final_correct": False}


def test_places_in_the_stream_and_flops_of_the_rows() -> None:
    tasks = {
        "late": [([0], best(0, flops=300.0)), ([1], best(0, flops=300.0))],
        "early": [([0], best(0, after=0, flops=30) + [label(2, 1.0, after=4, flops=900)])],
    }
    result = judged(stream(tasks, places={"late": [3], "early": [0, 4]}))
    table = result.per_class.to_pylist()  # type: ignore[union-attr]
    assert [(r["category"], r["task"], r["learned"], r["flops"]) for r in table] == [
        *(("early", 0, 1.0, 30.0), ("late", 3, 0.5, 300.0), ("early", 4, 0.0, 900.0)),
    ]
    odd = judged(stream({"a": [([0], best(0, flops=1)), ([0], best(0, flops=2))]}))
    assert odd.findings.counts["conflicting-records"] == 1
    assert odd.per_class["flops"].to_pylist() == [2]  # type: ignore[index]
    # Of one task the FLOPs are not given: no sum is known from there on.
    part = judged(stream(tasks, places={"late": [3], "early": [0, 4]}), flops={"0": 5, "4": 7})
    assert part.per_class["flops"].to_pylist() == [5, None, None]  # type: ignore[index]


@pytest.mark.parametrize("mode", ["official", "corrected"])
def test_map_of_several_labels_equals_scikit_learn(mode: str) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(4)
    scores = np.round(rng.random((12, 4)), 1)
    true = rng.random((12, 4)) < 0.4
    true[:, 3], true[:, 0] = False, True
    members = [
        (np.flatnonzero(t).tolist(), [label(c, float(s)) for c, s in enumerate(own)])
        for t, own in zip(true, scores, strict=True)
    ]
    # A task of one label each beside it, whose accuracy stays apart.
    other = [([0], [label(0, 0.5)])]
    result = judged(stream({"m": members, "s": other}, 4), mode=mode)
    known = [sklearn.average_precision_score(true[:, c], scores[:, c]) for c in range(3)]
    expected = sum(known) / (4 if mode == "official" else 3)
    got = result["average_multi_label_mean_average_precision"]
    assert got == pytest.approx(expected, abs=1e-12)
    if mode == "official":
        with pytest.warns(UserWarning, match="No positive"):
            whole = sklearn.average_precision_score(true, scores)
        assert got == pytest.approx(whole, abs=1e-12)
    assert result["average_single_label_accuracy"] == 1
    assert result["multi_label_learned_map"] == got
    kinds = result.per_class["kind"].to_pylist()  # type: ignore[index]
    assert kinds == ["multi", "single"] and result.facts["mode"] == mode
    own = result.per_sample.to_pylist()  # type: ignore[union-attr]
    assert own[0]["learned_correct"] is None and own[-1]["learned_correct"] is True


def test_whether_a_task_has_several_labels_may_be_told() -> None:
    tasks = {"a": [([0, 1], best(1)), ([1], best(1))], "b": [([0], best(0)), ([1], best(1))]}
    result = judged(stream(tasks), multi_label=["b"])
    assert result["average_single_label_accuracy"] == 0.5  # the first label of a sample counts
    assert result.findings.counts["duplicate-annotation"] == 1
    # Both classes ranked first, and the third class, which no sample has, counts as 0.
    assert result["average_multi_label_mean_average_precision"] == 2 / 3


def test_only_one_split_is_judged() -> None:
    tasks = {"a": [([0], []), ([0], best(0)), ([1], []), ([2], best(0))]}
    data = stream(tasks, splits=["train", "test"])
    result = judged(data)
    assert result["average_single_label_accuracy"] == 0.5 and result.facts["samples_scored"] == 2
    both = stream({"a": [([0], best(0)), ([1], best(0))]}, splits=["dev_test", "test"])
    with pytest.raises(UsageError, match="several splits: 'dev_test', 'test'"):
        judged(both)
    one = judged(both, split="test")
    assert one["average_single_label_accuracy"] == 0
    assert one.findings.counts["not-compared"] == 2


def test_what_is_wrong_is_a_finding() -> None:
    tasks = {
        "a": [
            ([0], [label(0, math.nan), label(0, None), *best(0)]),
            ([1, 1], [*best(1), label(1, 0.1)]),
            ([0], []),
            ([], best(0)),
            ([0], [label(0, 0.9, after="x"), label(1, 0.1, after=-2), label(2, 0.0, after=0.5)]),
        ],
        "b": [([0], [label(-2, 0.9)])],  # a class of the task before
        "c": [([0], [])],
    }
    result = judged(stream(tasks))
    counts = result.findings.counts
    assert counts["nan-score"] == 1 and counts["missing-score"] == 1
    assert counts["duplicate-row"] == 1 and counts["duplicate-annotation"] == 1
    assert counts["bad-value"] == 3
    assert counts["not-compared"] == 2 + 1  # on a sample without a label; of another task
    assert result["average_single_label_accuracy"] == (3 / 4 + 0) / 2
    for wrong in ({"mode": "x"}, {"flops": {"a": -1}}, {"baselines": 3}):
        with pytest.raises(UsageError):
            Stream(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no task"):
        judged(stream(tasks), flops={"zz": 1})


def test_no_prediction_at_all() -> None:
    result = judged(stream({"a": [([0], [])]}))
    assert result["average_single_label_accuracy"] is None
    assert result.findings.counts["nothing-to-compare"] == 2
    assert result.findings.counts["undefined-number"]


def drawn(seed: int) -> dict[str, list[tuple[list[int], list[rows.Annotation]]]]:
    rng = np.random.default_rng(seed)
    out: dict[str, list[tuple[list[int], list[rows.Annotation]]]] = {}
    for g, name in enumerate("abc"):
        out[name] = []
        for _ in range(6):
            several = rng.choice(3, int(rng.integers(1, 3)), replace=False).tolist()
            true = several if name == "b" else several[:1]
            said = [
                label(c, float(np.round(rng.random(), 1)), after=k, flops=10.0 ** (k + 1))
                for k in range(g, 3)
                for c in range(3)
            ]
            out[name].append((true, said))
    return out


def test_parts_in_any_order_and_choices_of_samples() -> None:
    data = stream(drawn(0))
    protocol = Stream(multi_label=("b",), baselines={"a": 0.4})
    context = Context(data.categories, None, None, len(data), groups=data.groups)

    def of(sizes: Sequence[int], seed: int) -> Result:
        order = np.random.default_rng(seed).permutation(len(data))
        states, at = [], 0
        for size in sizes:
            some = data.select(order[at : at + size])
            at += size
            (mine,) = some.iter_batches()
            (theirs,) = some.layer("predicted").iter_batches()
            states.append(pickle.loads(pickle.dumps(protocol.state(mine, theirs, context))))
        return protocol.result(states, context)

    one = of([18], 0)
    for seed, sizes in enumerate(([5, 6, 7], [1, 2, 3, 12]), 1):
        assert same(one, of(sizes, seed))
    assert one.recount is not None
    assert dict(one.recount.values(np.ones(18, np.int64))) == dict(one.values)
    chosen = np.random.default_rng(1).integers(0, 2, 18)
    part = evaluate(
        data.select(np.flatnonzero(chosen)),
        data.select(np.flatnonzero(chosen)).layer("predicted"),
        protocol,
    )
    assert dict(one.recount.values(chosen)) == dict(part.values)
    assert one["forgetting"] is not None and one["error_auc"] is not None
