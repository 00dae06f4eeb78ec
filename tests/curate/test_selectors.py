"""Selectors: what they promise, whatever the data."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from granum.curate.balance import water_fill
from granum.curate.k_center import KCenter, _farthest_first
from granum.curate.selection import replay, select
from granum.curate.spaces import unit_rows
from granum.errors import StoreError, UsageError
from granum.store.dataset import Dataset
from tests.curate.spaces import store, with_values

N = 40


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    rng = np.random.default_rng(0)
    columns = {
        "v": rng.normal(size=(N, 5)).astype(np.float32),
        "number": np.round(rng.normal(size=N), 1),
        "kind": np.array(["a", "b", "b", "c", "c", "c", "c", "c"] * 5),
    }
    classes = [[int(c) for c in rng.integers(0, 4, rng.integers(0, 4))] for _ in range(N)]
    classes[3] = [4]
    path = tmp_path_factory.mktemp("pool") / "s"
    return store(path, N, columns=columns, classes=classes, parts=3)


METHODS = [
    "k_center:space=v",
    "k_center:space=v,metric=l2,drop=0.1",
    "balance:by=kind",
    "balance:by=kind,order=number",
    "balance",
    "top_k:column=number",
    "top_k:column=number,lowest=true",
    "threshold:column=number,at_least=-0.5",
    "random",
]


@pytest.mark.parametrize("method", METHODS)
def test_prefixes_are_selections(dataset: Dataset, method: str) -> None:
    whole = select(dataset, method, 20, seed=3)
    for budget in (0, 1, 7, 20):
        part = select(dataset, method, budget, seed=3)
        np.testing.assert_array_equal(part.rows, whole.rows[:budget])
        assert len(set(part.rows.tolist())) == budget


@pytest.mark.parametrize("method", METHODS)
def test_replay_gives_the_same_bits(dataset: Dataset, method: str) -> None:
    first = select(dataset, method, 9, seed=5, include=[0, 7], among=range(30))
    again = replay(dataset, first.lineage)
    np.testing.assert_array_equal(again.rows, first.rows)
    assert again.reason == first.reason and again.lineage == first.lineage
    if first.gain is not None:
        assert again.gain is not None and again.gain.tobytes() == first.gain.tobytes()
    assert not {0, 7} & set(first.rows.tolist()) and first.rows.max() < 30


@pytest.mark.parametrize(
    ("method", "name"),
    [("k_center:space=v", "v"), ("balance:by=kind", "kind"), ("top_k:column=number", "number")],
)
def test_changed_column_is_not_replayed(tmp_path: Path, method: str, name: str) -> None:
    rng = np.random.default_rng(1)
    columns = {
        "v": rng.normal(size=(8, 3)),
        "kind": np.array(list("aabbccdd")),
        "number": np.arange(8.0),
    }
    dataset = store(tmp_path / "s", 8, columns=columns)
    lineage = select(dataset, method, 3).lineage
    changed = with_values(dataset, name, columns[name], version=2)
    with pytest.raises(StoreError, match=name):
        replay(changed, lineage)


@pytest.mark.parametrize("method", METHODS)
def test_no_budget_takes_what_the_method_says(dataset: Dataset, method: str) -> None:
    found = select(dataset, method)
    rest = found.inverted()
    assert len(found) + len(rest) == N
    assert len(found) > 20


# ---------------------------------------------------------------- k-center


@given(st.integers(0, 10_000), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_radius_is_at_most_twice_the_best(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(-4, 5, (9, 2)).astype(np.float32)
    order, radius = _farthest_first(rows, rows[:0], k, int(rng.integers(9)))
    distance = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    reached = distance[:, order].min(axis=1).max()
    best = min(distance[:, list(c)].min(axis=1).max() for c in combinations(range(9), k))
    assert radius[-1] == pytest.approx(reached, abs=1e-3)
    assert reached <= 2 * best + 1e-6


def test_gain_is_the_cover_radius_and_never_rises(dataset: Dataset) -> None:
    found = select(dataset, "k_center:space=v", 15)
    assert found.gain is not None and (np.diff(found.gain) <= 0).all()
    rows = unit_rows(np.array(dataset.samples(["col.v"])["col.v"].to_pylist()))
    for count in (1, 6, 15):
        apart = rows[:, None] - rows[found.rows[:count]][None]
        radius = np.linalg.norm(apart, axis=2).min(axis=1).max()
        assert found.gain[count - 1] == pytest.approx(radius, abs=1e-3)


def test_included_rows_are_covered_already(tmp_path: Path) -> None:
    rows = np.array([[1, 0], [0.99, 0.1], [0, 1], [0.1, 0.99], [-1, 0]], float)
    dataset = store(tmp_path / "s", 5, columns={"v": rows})
    found = select(dataset, "k_center:space=v", 2, include=[0])
    assert found.rows.tolist() == [4, 2]


def test_outliers_are_dropped_and_recorded(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = np.eye(4)[0] + rng.normal(0, 0.05, (50, 4))
    rows[17] = [-1, 0, 0, 0]
    dataset = store(tmp_path / "s", 50, columns={"v": rows})
    assert 17 in select(dataset, "k_center:space=v", 5).rows
    found = select(dataset, KCenter("v", drop=0.02), 49)
    assert 17 not in found.rows and found.dropped == {17: "outlier"}
    assert found.inverted().reason == ["outlier"]
    saved = found.save(dataset, "core")
    assert saved.meta.store is not None
    lineage = saved.meta.store.manifest["views"]["core"]["lineage"]
    assert lineage["dropped"] == {"00017.jpg": "outlier"}
    np.testing.assert_array_equal(replay(saved, lineage).rows, found.rows)


def test_a_row_is_never_picked_twice(tmp_path: Path) -> None:
    dataset = store(tmp_path / "s", 6, columns={"v": np.ones((6, 3))})
    assert sorted(select(dataset, "k_center:space=v", 6).rows.tolist()) == list(range(6))


# ---------------------------------------------------------------- balance


@given(st.lists(st.integers(0, 12), max_size=8), st.integers(0, 60), st.integers(0, 99))
@settings(max_examples=200, deadline=None)
def test_water_filling_takes_the_largest_level(sizes: list[int], budget: int, seed: int) -> None:
    quotas = water_fill(sizes, budget, np.random.default_rng(seed))
    m = np.array(sizes, int)
    assert quotas.sum() == min(budget, m.sum())
    assert ((quotas >= 0) & (quotas <= m)).all()
    levels = [x for x in range(14) if np.minimum(m, x).sum() <= budget]
    level = max(levels)
    assert (quotas >= np.minimum(m, level)).all() and (quotas <= np.minimum(m, level + 1)).all()


def test_water_filling_remainder_is_seeded() -> None:
    got = {tuple(water_fill([5] * 6, 9, np.random.default_rng(s)).tolist()) for s in range(20)}
    assert len(got) > 3
    assert water_fill([5] * 6, 9).tolist() == [2, 2, 2, 1, 1, 1]
    with pytest.raises(UsageError):
        water_fill([1], -1)


@pytest.mark.parametrize("budget", [0, 1, 5, 12, 17, 26, 40, 99])
@pytest.mark.parametrize("include", [(), (1, 2, 9)])
def test_balance_is_water_filling(dataset: Dataset, budget: int, include: Any) -> None:
    kinds = np.array(dataset.samples(["col.kind"])["col.kind"].to_pylist())
    found = select(dataset, "balance:by=kind", budget, include=include)
    taken = np.concatenate([found.rows, np.array(include, int)])
    counts = np.array([(kinds[taken] == k).sum() for k in "abc"])
    sizes = np.array([(kinds == k).sum() for k in "abc"])
    assert len(found) == min(budget, N - len(include))
    if not include:
        level = max(x for x in range(41) if np.minimum(sizes, x).sum() <= budget)
        assert (counts >= np.minimum(sizes, level)).all()
        assert (counts <= np.minimum(sizes, level + 1)).all()
    else:  # "b" begins with three, all of "b" that is included
        assert counts[1] >= 3 and (counts <= sizes).all()
        if len(found) >= 12:
            open_ = counts < sizes
            assert not open_.any() or counts.max() - counts[open_].min() <= 1


def test_balance_by_category_takes_the_rarest_of_a_sample(dataset: Dataset) -> None:
    found = select(dataset, "balance", 6)
    assert "category class 4" in found.reason and "category none" in found.reason
    assert 3 in found.rows
    assert len(set(found.reason)) == 6


def test_balance_order_says_who_comes_first(dataset: Dataset) -> None:
    found = select(dataset, "balance:by=kind,order=number", 3)
    values = np.asarray(dataset.samples(["col.number"])["col.number"])
    kinds = np.array(dataset.samples(["col.kind"])["col.kind"].to_pylist())
    for row in found.rows:
        assert values[row] == values[kinds == kinds[row]].max()


def test_balance_by_numbers_is_refused(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="no groups"):
        select(dataset, "balance:by=number", 3)


# ---------------------------------------------------------------- simple


def test_top_k_orders_and_threshold_filters(dataset: Dataset) -> None:
    values = np.asarray(dataset.samples(["col.number"])["col.number"])
    top = select(dataset, "top_k:column=number", 5)
    assert top.gain is not None
    assert top.gain.tolist() == sorted(values.tolist(), reverse=True)[:5]
    low = select(dataset, "top_k:column=number,lowest=true", 5)
    assert values[low.rows].tolist() == sorted(values.tolist())[:5]
    kept = select(dataset, "threshold:column=number,at_least=0,at_most=1")
    np.testing.assert_array_equal(kept.rows, np.flatnonzero((values >= 0) & (values <= 1)))
    with pytest.raises(UsageError, match="at_least"):
        select(dataset, "threshold:column=number")
    with pytest.raises(UsageError, match="not numbers"):
        select(dataset, "top_k:column=kind")


def test_nulls_are_never_picked(tmp_path: Path) -> None:
    import pyarrow as pa

    from granum.store.additions import add_column

    dataset = add_column(store(tmp_path / "s", 4), "x", lambda b: pa.array([None, 2.0, None, 1.0]))
    assert select(dataset, "top_k:column=x", 4).rows.tolist() == [1, 3]
    assert select(dataset, "threshold:column=x,at_most=5").rows.tolist() == [1, 3]
