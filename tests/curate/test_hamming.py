"""Pairs of hashes within a radius, against comparing each with each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from granum.curate import hamming
from granum.curate.hamming import pair_blocks, pairs_within
from granum.errors import UsageError
from granum.store.executor import executor

Hashes = np.ndarray


def brute(hashes: Hashes, radius: int, apart: Hashes | None = None) -> Hashes:
    bits = np.bitwise_count(hashes[:, None] ^ hashes[None])
    near = np.triu(bits <= radius, 1)
    if apart is not None:
        near &= (apart[:, None] != apart[None]) | (apart[:, None] < 0)
    i, j = np.nonzero(near)
    return np.stack([i, j, bits[i, j].astype(np.int64)], 1)


def near_hashes(seed: int, count: int = 600) -> Hashes:
    """Random hashes, copies with up to 9 flipped bits, exact copies, and a crowded key."""
    rng = np.random.default_rng(seed)
    fresh = rng.integers(0, 2**64, count, dtype=np.uint64)
    twins = fresh[rng.integers(0, count, count)]
    for _ in range(9):
        flip = rng.random(count) < 0.5
        twins = twins ^ (np.uint64(1) << rng.integers(0, 64, count).astype(np.uint64)) * flip
    crowded = (fresh & np.uint64(0xFFFF_FFFF_FFFF_0000)) | np.uint64(7)
    return rng.permutation(np.concatenate([fresh, twins, crowded[: count // 4], fresh[:40]]))


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 15, 16, 40, 64])
def test_equals_brute_force(radius: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "FEW", 10)
    hashes = near_hashes(radius, 100 if radius > 7 else 600)
    assert np.array_equal(pairs_within(hashes, radius), brute(hashes, radius))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 63)), max_size=30),
    st.integers(0, 9),
    st.sampled_from([2, 5000]),
)
def test_any_hashes(values: list[int], flips: list[tuple[int, int]], radius: int, few: int) -> None:
    for at, bit in flips:
        if values:
            values.append(values[at % len(values)] ^ (1 << bit))
    hashes = np.array(values, np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "FEW", few)
        found = pairs_within(hashes, radius)
    assert np.array_equal(found, brute(hashes, radius))


def test_rows_that_share_a_label_are_apart() -> None:
    hashes = near_hashes(3)
    apart = np.random.default_rng(0).integers(-1, 4, len(hashes))
    for radius in (0, 3, 6):
        found = pairs_within(hashes, radius, apart=apart)
        assert np.array_equal(found, brute(hashes, radius, apart))
        assert 0 < len(found) < len(brute(hashes, radius))


def test_many_equal_hashes_come_in_blocks() -> None:
    hashes = np.array([5] * 300 + [7] * 200 + [9], np.uint64)
    blocks = list(pair_blocks(hashes, 1, block=1000))
    assert max(map(len, blocks)) <= 1000
    found = np.concatenate(blocks)
    assert len(np.unique(found[:, :2], axis=0)) == len(found) == len(brute(hashes, 1))


def test_equal_hashes_of_one_label_cost_no_pair() -> None:
    hashes = np.zeros(200_000, np.uint64)  # 2 · 10^10 pairs, were they listed
    assert not len(pairs_within(hashes, 3, apart=np.zeros(200_000)))


def test_processes_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = near_hashes(5, 5000)
    with executor(2) as two:
        assert np.array_equal(pairs_within(hashes, 6, executor=two), pairs_within(hashes, 6))


def test_against_faiss() -> None:
    faiss = pytest.importorskip("faiss")
    hashes = near_hashes(9, 2000)
    index = faiss.IndexBinaryFlat(64)
    codes = hashes.view(np.uint8).reshape(-1, 8)
    index.add(codes)
    limits, distances, labels = index.range_search(codes, 7)  # faiss: below, not up to
    line = np.repeat(np.arange(len(hashes)), np.diff(limits.astype(np.int64)))
    later = labels > line
    theirs = np.stack([line[later], labels[later], distances[later].astype(np.int64)], 1)
    order = np.lexsort((theirs[:, 1], theirs[:, 0]))
    assert np.array_equal(pairs_within(hashes, 6), theirs[order])


def test_a_radius_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match="64 bits"):
        pairs_within(np.zeros(3, np.uint64), 65)
    with pytest.raises(UsageError, match="labels"):
        pairs_within(np.zeros(3, np.uint64), 3, apart=[1])


def test_nothing_has_no_pairs() -> None:
    assert pairs_within(np.empty(0, np.uint64), 5).shape == (0, 3)
    assert pairs_within(np.array([3], np.uint64), 64).shape == (0, 3)
