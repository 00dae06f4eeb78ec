"""The keyed order: a bijection, arithmetic, the same for any split into ranks and steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from granum.errors import UsageError
from granum.train.order import Order, keyed_number, permute, visits


@pytest.mark.parametrize("n", [*range(1, 70), 127, 128, 129, 1000, 4096, 4097, 65537, 100_003])
def test_it_is_a_bijection(n: int) -> None:
    for key in range(3):
        assert np.array_equal(np.sort(permute(np.arange(n), n, "f", key)), np.arange(n))


@given(st.integers(1, 10**12), st.integers(0, 2**32), st.data())
@settings(max_examples=60, deadline=None)
def test_single_positions_agree_with_many(n: int, seed: int, data: st.DataObject) -> None:
    asked = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=9, unique=True))
    together = permute(asked, n, seed)
    assert together.tolist() == [int(permute(i, n, seed)) for i in asked]
    assert len(set(together.tolist())) == len(asked)
    assert together.min() >= 0 and together.max() < n


def test_the_key_matters() -> None:
    n = 1000
    base = permute(np.arange(n), n, "data", 0, 0)
    for other in [("data", 0, 1), ("data", 1, 0), ("other", 0, 0)]:
        same = (permute(np.arange(n), n, *other) == base).sum()
        assert same < 15  # about 1 is expected
    # Keys are joined with a separator: ("1", "23") is not ("12", "3").
    assert keyed_number("1", "23") != keyed_number("12", "3")


def test_it_is_as_uniform_as_chance() -> None:
    """Where a sample lands over many epochs: chi-square of 64 bins near its 63 degrees."""
    n, epochs = 640, 400
    landed = np.stack([permute(np.arange(n), n, "f", 3, e) for e in range(epochs)])
    bins = landed // 10
    for position in (0, 1, 320, 639):
        counts = np.bincount(bins[:, position], minlength=64)
        expected = epochs / 64
        chi = ((counts - expected) ** 2 / expected).sum()
        assert 25 < chi < 115  # the 1e-5 tails of chi-square with 63 degrees of freedom
    # Neighbours do not stay neighbours: the mean distance of two numbers drawn is n / 3.
    distance = np.abs(np.diff(landed, axis=1)).mean()
    assert abs(distance - n / 3) < n / 60


def test_all_orders_of_four_occur() -> None:
    seen = {tuple(permute(np.arange(4), 4, key).tolist()) for key in range(400)}
    assert len(seen) == 24


@given(
    st.integers(1, 200), st.integers(1, 17), st.integers(1, 5), st.booleans(), st.integers(0, 99)
)
@settings(max_examples=40, deadline=None)
def test_ranks_share_the_global_batch(
    n: int, batch: int, world: int, drop_last: bool, seed: int
) -> None:
    if drop_last and n < batch:
        with pytest.raises(UsageError, match="do not fill one batch"):
            Order(n, "f", seed, batch, drop_last)
        return
    order = Order(n, "f", seed, batch, drop_last)
    seen: list[int] = []
    for step in range(2 * order.steps):
        alone = order.at(step)
        shares = [order.at(step, rank, world) for rank in range(world)]
        assert np.array_equal(np.concatenate(shares), alone)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        seen += alone.tolist()
    once = n // batch * batch if drop_last else n
    first, second = seen[:once], seen[once:]
    assert len(set(first)) == len(set(second)) == once == len(second)
    # The sequence does not depend on the batch size either.
    ones = Order(n, "f", seed, 1)
    assert first == [int(ones.at(i)[0]) for i in range(once)]


def test_visits_start_anywhere() -> None:
    order = Order(10_000, "f", 5, 7)
    whole = list(visits(order, 0, 2 * order.steps))
    assert [len(v) for v in whole[: order.steps]] == [7] * 1428 + [4]
    for start in (1, 585, 586, 1428, 1429, 2000):
        assert list(visits(order, start, 2 * order.steps)) == whole[start:]
    second = [list(visits(order, 0, order.steps, rank, 2)) for rank in (0, 1)]
    assert [a + b for a, b in zip(*second, strict=True)] == whole[: order.steps]
    assert whole[3] == [(5, 0, i) for i in order.at(3).tolist()]
    assert whole[1429][0][:2] == (5, 1)


def test_unshuffled_is_in_order() -> None:
    order = Order(5, "f", 0, 2, shuffle=False)
    assert [order.at(s).tolist() for s in range(4)] == [[0, 1], [2, 3], [4], [0, 1]]


def test_what_cannot_be_meant() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        Order(5, "f", 0, 0)
    with pytest.raises(UsageError, match="no samples"):
        Order(0, "f", 0, 1)
    with pytest.raises(UsageError, match=r"0\.\.4"):
        permute([5], 5, "f")
