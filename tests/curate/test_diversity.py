"""Vendi scores, Hill numbers and GRADE in closed form, and however the data lie."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from granum.curate.comparison import compare, coverage, jensen_shannon
from granum.curate.grade import grade, spread, wilson_lower
from granum.curate.hill import evenness, hill, hill_of
from granum.curate.reduce import tree_sum
from granum.curate.stats import basic_stats, gini
from granum.curate.vendi import gram, of_spectrum, vendi, vendi_of
from granum.errors import UnknownNameError, UsageError
from granum.store.executor import executor
from tests.curate.spaces import store

ORDERS = (0.0, 0.5, 1.0, 2.0, 5.0, math.inf)


# ---------------------------------------------------------------- Vendi


@pytest.mark.parametrize("shape", [(5, 5), (5, 40), (20, 20)])
def test_orthogonal_vectors_count_fully(shape: tuple[int, int]) -> None:
    for score in vendi_of(np.eye(*shape) * 3, ORDERS).values():
        assert score == pytest.approx(shape[0], rel=1e-9)


@given(st.integers(1, 6), st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_clusters_of_equal_points_count_once(k: int, size: int) -> None:
    rows = np.repeat(np.linalg.qr(np.random.default_rng(k).normal(size=(8, 8)))[0][:k], size, 0)
    for score in vendi_of(rows, ORDERS).values():
        assert score == pytest.approx(k, rel=1e-9)


def primal(rows: np.ndarray, order: float, weights: np.ndarray | None = None) -> float:
    """From the definition: eigenvalues of the weighted kernel matrix."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    p = np.full(len(rows), 1 / len(rows)) if weights is None else weights / weights.sum()
    found = np.linalg.eigvalsh(unit @ unit.T * np.sqrt(np.outer(p, p)))
    found = found[found > 1e-12]
    if order == 1:
        return float(np.exp(-(found * np.log(found)).sum()))
    if math.isinf(order):
        return float(1 / found.max())
    return float((found**order).sum() ** (1 / (1 - order)))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(50, 7), (6, 30)])
def test_dual_is_primal(order: float, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    rows, weights = rng.normal(size=shape) + 0.3, rng.uniform(0.1, 2, shape[0])
    plain = vendi_of(rows, [order])[order]
    weighted = vendi_of(rows, [order], weights)[order]
    assert plain == pytest.approx(primal(rows, order), rel=1e-8)
    assert weighted == pytest.approx(primal(rows, order, weights), rel=1e-8)


def test_order_two_is_rke_and_weights_count_repeats() -> None:
    rows = np.random.default_rng(2).normal(size=(30, 6))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert vendi_of(rows)[2.0] == pytest.approx(1 / ((unit @ unit.T) ** 2).mean(), rel=1e-9)
    again = np.concatenate([rows, rows])
    for q, score in vendi_of(again, ORDERS).items():
        assert score == pytest.approx(vendi_of(rows, [q])[q], rel=1e-9)
    three = np.concatenate([rows, rows[:1], rows[:1]])
    weights = np.r_[3.0, np.ones(29)]
    assert vendi_of(three)[1.0] == pytest.approx(vendi_of(rows, [1.0], weights)[1.0], rel=1e-9)


def test_scores_fall_with_the_order_and_missing_rows_are_counted() -> None:
    rows = np.random.default_rng(3).normal(size=(40, 6)) + 1
    scores = list(vendi_of(rows, ORDERS).values())
    assert None not in scores
    assert (np.diff(np.array(scores, float)) <= 1e-9).all()
    gaps = np.concatenate([rows, np.full((3, 6), np.nan), np.zeros((2, 6))])
    state = gram(gaps)
    assert (state.n, state.absent) == (40, 5)
    assert vendi_of(gaps) == pytest.approx(vendi_of(rows))
    assert vendi_of(np.empty((0, 4))) == {1.0: None, 2.0: None, math.inf: None}


def test_impossible_orders_and_weights_are_refused() -> None:
    assert of_spectrum([0.5, 0.5, 0.0], 0) == 2
    with pytest.raises(UsageError):
        of_spectrum([1.0], -1)
    with pytest.raises(UsageError):
        gram(np.eye(2), [1.0, -1.0])


def numbers(summary: Any) -> dict[str, Any]:
    return dict(summary.values)


def test_parts_move_the_score_by_rounding_only(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    columns = {"v": rng.normal(size=(60, 9)), "w": rng.uniform(0, 1, 60)}
    columns["v"][5] = 0
    found = [
        vendi(
            store(tmp_path / f"s{parts}", 60, columns=columns, parts=parts),
            "v",
            orders=ORDERS,
            weights="w",
            n_ref=20,
        )
        for parts in (1, 4, 7)
    ]
    assert found[0].values["n"] == 59 and found[0].values["absent"] == 1
    for other in found[1:]:
        assert numbers(other) == pytest.approx(numbers(found[0]), rel=1e-9)


def test_workers_change_no_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    columns = {"v": rng.normal(size=(50, 8)), "flavour": np.array(list("abcde") * 10)}
    classes = [[i % 3] for i in range(50)]
    dataset = store(tmp_path / "s", 50, columns=columns, classes=classes, parts=5)
    with executor(2) as ex:
        many = vendi(dataset, "v", by="flavour", n_ref=10, executor=ex)
        counted = basic_stats(dataset, executor=ex)
        graded = grade(dataset, ["flavour", "position"], executor=ex)
        numbers_ = hill(dataset, ["category", "flavour"], executor=ex)
    one = vendi(dataset, "v", by="flavour", n_ref=10)
    assert many.to_dict() == one.to_dict()
    assert counted.to_dict() == basic_stats(dataset).to_dict()
    assert graded.to_dict() == grade(dataset, ["flavour", "position"]).to_dict()
    assert numbers_.to_dict() == hill(dataset, ["category", "flavour"]).to_dict()


def test_groups_are_scored_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(30, 5))
    kinds = np.array(["x", "y", "y"] * 10)
    classes = [[0, 0] if i < 10 else [0, 1] if i < 20 else [] for i in range(30)]
    dataset = store(
        tmp_path / "s", 30, columns={"v": rows, "flavour": kinds}, classes=classes, parts=3
    )
    table = vendi(dataset, "v", by="flavour").tables["groups"].to_pylist()
    assert [(r["flavour"], r["n"]) for r in table] == [("x", 10), ("y", 20)]
    assert table[1]["vendi_1"] == pytest.approx(vendi_of(rows[kinds == "y"])[1.0])
    table = vendi(dataset, "v", by="category").tables["groups"].to_pylist()
    assert [(r["category"], r["n"]) for r in table] == [("class 0", 20), ("class 1", 10)]
    assert table[0]["vendi_2"] == pytest.approx(vendi_of(rows[:20])[2.0])


def test_interval_is_of_subsets_of_equal_size(tmp_path: Path) -> None:
    dataset = store(tmp_path / "s", 40, columns={"v": np.eye(40)}, parts=2)
    found = vendi(dataset, "v", n_ref=12, repeats=4).values
    assert found["vendi_1"] == pytest.approx(40)
    assert found["vendi_1_at_12"] == pytest.approx(12)
    assert found["vendi_1_at_12_sd"] == pytest.approx(0, abs=1e-9)


def test_tree_sum_hangs_on_the_number_of_items_alone() -> None:
    shown = [tree_sum([str(i) for i in range(n)], lambda a, b: f"({a}{b})") for n in range(6)]
    assert shown == [None, "0", "(01)", "((01)2)", "((01)(23))", "(((01)(23))4)"]


# ---------------------------------------------------------------- Hill


def test_hill_numbers_in_closed_form() -> None:
    assert hill_of([5, 5, 5, 5], ORDERS) == pytest.approx(dict.fromkeys(ORDERS, 4.0))
    assert hill_of([7], ORDERS) == pytest.approx(dict.fromkeys(ORDERS, 1.0))
    found = hill_of([2, 1, 1])
    assert found[2.0] == pytest.approx(1 / (0.25 + 0.0625 * 2))
    assert found[math.inf] == pytest.approx(2)
    assert hill_of([]) == dict.fromkeys((0.0, 1.0, 2.0, math.inf))
    assert evenness([3, 3, 3, 0]) == pytest.approx(1)
    assert evenness([]) is None


def test_hill_counts_samples_by_their_own_columns(tmp_path: Path) -> None:
    kinds = np.array(["a", "b", "b", "b"])
    classes = [[0, 0, 0], [1], [], []]
    dataset = store(tmp_path / "s", 4, columns={"flavour": kinds}, classes=classes, parts=2)
    values = hill(dataset, ["flavour", "category"], orders=[0, 2]).values
    assert values["flavour hill_2"] == pytest.approx(1 / (1 / 16 + 9 / 16))
    assert values["category hill_2"] == pytest.approx(1 / (1 / 16 + 9 / 16))


# ---------------------------------------------------------------- GRADE


def test_uniform_is_one_and_single_is_zero() -> None:
    even = spread(dict.fromkeys("abcd", 25), "abcd")
    assert even.norm_entropy == pytest.approx(1) and even.hill1 == pytest.approx(4)
    assert even.mm_norm_entropy == pytest.approx(1)  # never above its largest value
    one = spread({"a": 9}, "abcd")
    assert (one.norm_entropy, one.hill1, one.top_share) == (0, 1, 1)
    assert spread({"a": 9}, "a").norm_entropy == 0


def test_values_never_seen_lower_the_score() -> None:
    assert spread({"a": 5, "b": 5}, "ab").norm_entropy == pytest.approx(1)
    assert spread({"a": 5, "b": 5}, "abcd").norm_entropy == pytest.approx(0.5)


def test_answers_outside_the_support_count_for_the_share_only() -> None:
    found = spread({"a": 8, "b": 2, "z": 10, "None of the above": 99}, ["a", "b", "Neither"])
    assert (found.n, found.n_out_of_support, found.support_size) == (20, 10, 2)
    assert found.top_share == pytest.approx(0.4)
    assert found.entropy_bits == pytest.approx(-(0.8 * math.log2(0.8) + 0.2 * math.log2(0.2)))


def test_nothing_counted_is_null() -> None:
    found = spread({}, "ab")
    assert found.n == 0 and found.norm_entropy is None and found.is_default is None
    outside = spread({"z": 3}, "ab")
    assert (outside.n, outside.n_out_of_support, outside.entropy_bits) == (3, 3, None)


def test_default_needs_enough_answers_to_be_sure() -> None:
    few, many = spread({"a": 8, "b": 2}, "ab"), spread({"a": 80, "b": 20}, "ab")
    assert few.is_default and not few.is_default_sig
    assert many.is_default and many.is_default_sig
    assert not spread({"a": 79, "b": 21}, "ab").is_default
    assert wilson_lower(80, 100) == pytest.approx(0.7112, abs=1e-4)
    assert wilson_lower(0, 0) == 0


def test_miller_madow_corrects_small_samples() -> None:
    found = spread({"a": 3, "b": 2}, "abcd")
    plain = -(0.6 * math.log2(0.6) + 0.4 * math.log2(0.4))
    assert found.norm_entropy == pytest.approx(plain / 2)
    assert found.mm_norm_entropy == pytest.approx((plain + 1 / (10 * math.log(2))) / 2)


def graded(tmp_path: Path, parts: int) -> Any:
    rng = np.random.default_rng(7)
    classes = [[int(c) for c in rng.integers(0, 3, 4)] for _ in range(30)]
    columns = {"flavour": np.array(["p", "p", "q"] * 10), "number": rng.normal(size=30)}
    dataset = store(tmp_path / f"g{parts}", 30, columns=columns, classes=classes, parts=parts)
    return grade(dataset, ["flavour", "number", "position", "coco_size", "objects_bin"])


def test_parts_do_not_matter_to_grade(tmp_path: Path) -> None:
    assert graded(tmp_path, 1).to_dict() == graded(tmp_path, 5).to_dict()


def test_grade_aggregates_its_rows(tmp_path: Path) -> None:
    found = graded(tmp_path, 2)
    rows = found.tables["grade"].to_pylist()
    assert len(rows) == 3 * 5
    mean = math.fsum(r["norm_entropy"] for r in rows) / len(rows)
    assert found.values["grade"] == pytest.approx(mean)
    by = {(r["concept"], r["attribute"]): r for r in rows}
    assert by["class 1", "coco_size"]["top_value"] == "small"
    assert by["class 1", "coco_size"]["support_size"] == 3
    assert by["class 1", "objects_bin"]["top_share"] == 1.0
    assert by["class 1", "number"]["support_size"] == 5
    assert sum(r["n"] for r in rows if r["attribute"] == "flavour") == 120
    assert found.values["default_concepts"] == 1.0


def test_supports_can_be_given(tmp_path: Path) -> None:
    dataset = store(
        tmp_path / "s", 4, columns={"flavour": np.array(list("aabb"))}, classes=[[0]] * 4
    )
    plain = grade(dataset, ["flavour"]).values["grade"]
    wide = grade(dataset, ["flavour"], supports={"flavour": list("abcd")}).values["grade"]
    assert (plain, wide) == (pytest.approx(1), pytest.approx(0.5))
    whole = grade(dataset, ["flavour"], of="samples").tables["grade"].to_pylist()
    assert [(r["concept"], r["n"]) for r in whole] == [("all", 4)]
    with pytest.raises(UnknownNameError, match="flavor"):
        grade(dataset, ["flavor"])
    with pytest.raises(UsageError, match="of annotations"):
        grade(dataset, ["position"], of="samples")


def test_empty_dataset_has_no_grade(tmp_path: Path) -> None:
    found = grade(store(tmp_path / "s", 2), ["position"])
    assert found.values["grade"] is None and found.tables["grade"].num_rows == 0


# ---------------------------------------------------------------- counts, comparison


def test_stats_count(tmp_path: Path) -> None:
    classes = [[0, 0, 1], [0, 1], [2], []]
    found = basic_stats(store(tmp_path / "s", 4, classes=classes, parts=2))
    assert found.values["samples without annotations"] == 1
    assert found.values["objects per image, mean"] == 1.5
    table = {r["category"]: r for r in found.tables["classes"].to_pylist()}
    assert (table["class 0"]["instances"], table["class 0"]["images"]) == (3, 2)
    pairs = found.tables["together"].to_pylist()
    assert pairs == [{"first": "class 0", "second": "class 1", "images": 2, "lift": 2.0}]
    assert found.tables["sizes"].to_pylist() == [{"width": 100, "height": 100, "samples": 4}]
    assert "| class 0 | 3 | 2 | 0.5 | tail |" in found.markdown()
    assert set(found.to_arrow()) == {"values", *found.tables}


@given(st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=12))
@settings(max_examples=30, deadline=None)
def test_pairs_of_classes_are_all_counted(sets: list[set[int]]) -> None:
    from itertools import combinations

    from granum.curate.stats import _pairs

    rows = [(i, c) for i, s in enumerate(sets) for c in sorted(s)]
    found = _pairs(np.array(rows, np.int64).reshape(-1, 2))
    wanted: dict[tuple[int, int], int] = {}
    for s in sets:
        for pair in combinations(sorted(s), 2):
            wanted[pair] = wanted.get(pair, 0) + 1
    assert dict(found) == wanted


def test_gini_in_closed_form() -> None:
    assert gini([4, 4, 4]) == pytest.approx(0)
    assert gini([0, 0, 0, 8]) == pytest.approx(0.75)
    assert gini([1, 3]) == pytest.approx(0.25)
    assert gini([]) is None


def test_jensen_shannon_distance() -> None:
    assert jensen_shannon({"a": 1, "b": 1}, {"a": 7, "b": 7}) == pytest.approx(0, abs=1e-9)
    assert jensen_shannon({"a": 1}, {"b": 1}) == pytest.approx(1)
    scipy = pytest.importorskip("scipy.spatial.distance")
    wanted = scipy.jensenshannon([0.25, 0.75, 0], [0.5, 0.25, 0.25], base=2)
    found = jensen_shannon({"a": 1, "b": 3}, {"a": 2, "b": 1, "c": 1})
    assert found == pytest.approx(wanted)
    assert jensen_shannon({}, {"a": 1}) is None


def test_coverage_of_itself_and_of_what_is_elsewhere() -> None:
    rng = np.random.default_rng(8)
    rows = rng.normal(0, 0.1, (40, 6)) + np.eye(6)[0]
    assert coverage(rows, rows) == 1.0
    assert coverage(rows, -rows) == 0.0
    half = np.concatenate([rows[:20], rows[:20]])
    assert 0.4 < coverage(rows, half) <= 1.0  # type: ignore[operator]
    assert coverage(rows[:3], rows) is None


def test_comparison_of_a_dataset_with_its_half(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    classes = [[0, 1] if i % 2 else [0] for i in range(40)]
    columns = {"v": rng.normal(size=(40, 6)), "flavour": np.array(["a", "b"] * 20)}
    dataset = store(tmp_path / "s", 40, columns=columns, classes=classes, parts=2)
    half = dataset.select(np.arange(0, 40, 2))
    found = compare(dataset, half, space="v", attributes=["flavour"])
    assert (found.values["samples_a"], found.values["samples_b"]) == (40, 20)
    assert found.values["vendi_at"] == 20 and found.values["vendi_1_b_sd"] is None
    assert found.values["b covered by a"] == 1.0
    assert (found.values["classes_only_a"], found.values["classes_only_b"]) == (1, 0)
    table = {r["category"]: r for r in found.tables["classes"].to_pylist()}
    assert (table["class 1"]["a"], table["class 1"]["b"]) == (20, 0)
    # The half knows kind "a" only, but is judged by both values.
    change = {(r["concept"], r["attribute"]): r for r in found.tables["grade"].to_pylist()}
    assert change["class 0", "flavour"]["a"] == pytest.approx(1)
    assert change["class 0", "flavour"]["b"] == 0
    same = compare(dataset, dataset, space="v")
    assert same.values["classes_distance"] == 0
    assert same.values["vendi_1_a"] == same.values["vendi_1_b"]
