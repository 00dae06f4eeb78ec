"""Nearest neighbours: exact, deterministic, the same by every way."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from granum.curate import _knn
from granum.curate.neighbours import Knn, graph, knn
from granum.curate.score import score
from granum.errors import MissingExtraError, UsageError
from granum.store.columns import column_identity
from tests.curate.spaces import store, with_values


def brute(rows: Any, k: int, metric: str, queries: Any = None) -> np.ndarray:
    """By all differences, ties to the lower row."""
    x = np.asarray(rows, np.float32).astype(np.float64)
    q = x if queries is None else np.asarray(queries, np.float32).astype(np.float64)
    if metric == "cosine":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        q = q / np.linalg.norm(q, axis=1, keepdims=True)
    d = ((q[:, None] - x[None]) ** 2).sum(axis=2).round(9)
    if queries is None:
        np.fill_diagonal(d, np.inf)
    return np.argsort(d, axis=1, kind="stable")[:, :k]


def with_ties(rng: np.random.Generator) -> np.ndarray:
    """Points in general position, many equal ones, and a lattice whose distances repeat."""
    rows = rng.normal(size=(400, 8)).astype(np.float32)
    rows[100:160] = rows[5]
    rows[300:] = rng.integers(1, 3, (100, 8))
    return rows


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("backend", ["numpy", "faiss"])
def test_equals_brute_force_ties_included(metric: Any, backend: Any) -> None:
    if backend == "faiss":
        pytest.importorskip("faiss")
    rows = with_ties(np.random.default_rng(0))
    if metric == "cosine":
        rows = rows[:300]  # multiples of one direction tie only up to rounding
    found = knn(rows, 6, metric=metric, backend=backend)
    np.testing.assert_array_equal(found.indices, brute(rows, 6, metric))
    assert (np.diff(found.distances, axis=1) >= 0).all()


def test_distances_are_exact() -> None:
    rows = np.array([[3, 4], [6, 8], [0, 1]], np.float32)
    found = knn(rows, 2, metric="cosine")
    np.testing.assert_allclose(found.distances[0], [0, 0.2], atol=1e-7)
    assert found.indices[0].tolist() == [1, 2]
    assert knn(rows, 1, metric="l2").distances[0].tolist() == [np.float32(18**0.5)]


def test_queries_find_equal_rows_too() -> None:
    rows = np.eye(4, dtype=np.float32)
    found = knn(rows, 1, queries=rows)
    assert found.indices[:, 0].tolist() == [0, 1, 2, 3]
    assert not found.distances.any()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = with_ties(np.random.default_rng(1))
    whole = knn(rows, 5, metric="l2")
    monkeypatch.setattr(_knn, "_QUERIES", 37)
    monkeypatch.setattr(_knn, "_ROWS", 23)
    parts = knn(rows, 5, metric="l2")
    np.testing.assert_array_equal(whole.indices, parts.indices)
    np.testing.assert_array_equal(whole.distances, parts.distances)


@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_permutation_moves_neighbours_along(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 5)).astype(np.float32)
    order = rng.permutation(n)
    found, moved = knn(rows, k), knn(rows[order], k)
    np.testing.assert_array_equal(order[moved.indices], found.indices[order])


def test_faiss_equals_numpy_on_more_rows() -> None:
    pytest.importorskip("faiss")
    rows = np.random.default_rng(2).normal(size=(3000, 24)).astype(np.float32)
    rows[1000:1100] = 1.0
    a, b = knn(rows, 7, backend="numpy"), knn(rows, 7, backend="faiss")
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_array_equal(a.distances, b.distances)


def test_copies_find_each_other_whatever_their_rounding() -> None:
    rows = np.random.default_rng(6).normal(0, 30, (300, 33)).astype(np.float32)
    found = knn(np.concatenate([rows, rows]), 1, metric="l2", backend="numpy")
    assert found.indices[:, 0].tolist() == [*range(300, 600), *range(300)]
    assert not found.distances.any()


def test_faiss_is_exact_where_its_own_rounding_is_not() -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(7)
    rows = np.repeat(rng.normal(size=(10, 256)), 100, axis=0) + rng.normal(0, 1e-5, (1000, 256))
    a, b = knn(rows, 5, backend="numpy"), knn(rows, 5, backend="faiss")
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_array_equal(a.distances, b.distances)


def test_fewer_rows_than_asked_for() -> None:
    assert knn(np.eye(3), 10).indices.shape == (3, 2)
    assert knn(np.eye(1), 10).indices.shape == (1, 0)


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 3)), np.full((2, 3), np.nan), np.ones(3), np.empty((0, 0, 1))]
)
def test_bad_vectors_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(UsageError):
        knn(bad, 1)


def test_faiss_absent_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"granum\[knn\]"):
        knn(np.eye(3), 1, backend="faiss")


def test_graph_is_stored_and_read_back(tmp_path: Path) -> None:
    rows = np.random.default_rng(3).normal(size=(30, 4)).astype(np.float32)
    rows[7] = 0  # no vector
    dataset = score(store(tmp_path / "s", 30, columns={"v": rows}, parts=3), [Knn("v", 5)])
    found = graph(dataset, "v", 3)
    rest = np.delete(np.arange(30), 7)
    np.testing.assert_array_equal(found.indices[rest], rest[knn(rows[rest], 3).indices])
    assert (found.indices[7] == -1).all() and np.isinf(found.distances[7]).all()
    table = dataset.samples(["col.knn.v", "col.knn_distance.v"])
    assert table["col.knn.v"][7].as_py() is None
    assert table["col.knn.v"][0].as_py()[:3] == found.indices[0].tolist()


def test_stored_graph_of_other_vectors_is_not_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    old, new = (rng.normal(size=(20, 4)).astype(np.float32) for _ in range(2))
    dataset = score(store(tmp_path / "s", 20, columns={"v": old}), [Knn("v", 5)])
    dataset = with_values(dataset, "v", new, version=2)
    np.testing.assert_array_equal(graph(dataset, "v", 3).indices, knn(new, 3).indices)
    before = column_identity(dataset, "knn.v")
    dataset = score(dataset, [Knn("v", 5)])
    assert column_identity(dataset, "knn.v") != before
    first = dataset.samples(["col.knn.v"])["col.knn.v"][0].as_py()
    assert first == knn(new, 5).indices[0].tolist()


def test_two_spaces_stand_beside_each_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    spaces = {n: rng.normal(size=(20, 4)).astype(np.float32) for n in ("v", "w")}
    wanted = [f"{what}:space={space},k=3" for what in ("knn", "outlier") for space in spaces]
    at_once = score(store(tmp_path / "a", 20, columns=spaces), wanted)
    one_by_one = store(tmp_path / "b", 20, columns=spaces)
    for one in wanted:
        one_by_one = score(one_by_one, [one])
    for dataset in (at_once, one_by_one):
        for name, rows in spaces.items():
            near = knn(rows, 3)
            table = dataset.samples([f"col.knn.{name}", f"col.inlier.{name}"])
            assert table[0].to_pylist() == near.indices.tolist()
            mean = near.distances.mean(axis=1)
            np.testing.assert_allclose(table[1], np.exp(-mean / np.median(mean)), rtol=1e-5)
            identity = column_identity(dataset, f"inlier.{name}")
            assert identity is not None and identity["parameters"]["space"] == name
            np.testing.assert_array_equal(graph(dataset, name, 2).indices, near.indices[:, :2])
    again = score(at_once, ["knn:space=col.v,k=3"])  # the name of the column is the space's, too
    assert "col.knn.col.v" not in again.samples().column_names


def test_planted_outliers_score_lowest(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(0, 0.05, (60, 6)) + np.eye(6)[0]
    rows[[11, 42]] = [[0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, -1]]
    dataset = store(tmp_path / "s", 60, columns={"v": rows})
    scored = np.asarray(score(dataset, ["outlier:space=v,k=5"]).samples()["col.inlier.v"])
    assert set(np.argsort(scored)[:2].tolist()) == {11, 42}
    assert ((scored >= 0) & (scored <= 1)).all()


def test_outlier_formula(tmp_path: Path) -> None:
    rows = np.array([[0.0, 1], [0.1, 1], [0.3, 1], [0.0, -1]])
    dataset = store(tmp_path / "s", 4, columns={"v": rows})
    scored = np.asarray(score(dataset, ["outlier:space=v,k=2,metric=l2"]).samples()["col.inlier.v"])
    distance = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    mean = np.sort(distance, axis=1)[:, 1:3].mean(axis=1)
    np.testing.assert_allclose(scored, np.exp(-mean / np.median(mean)), rtol=1e-5)
