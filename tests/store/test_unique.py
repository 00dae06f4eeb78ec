"""Keys and ids come once each."""

from __future__ import annotations

import numpy as np
import pytest

import granum.store.unique as unique
from granum.store.unique import Ids, Keys


def test_a_key_comes_once() -> None:
    keys = Keys()
    assert keys.add([f"{i}.jpg" for i in range(0, 1000, 2)])
    assert keys.add([f"{i}.jpg" for i in range(1, 1000, 2)])
    assert not keys.add(["new", "500.jpg"])
    assert keys.add(["new"])  # none was taken
    assert not keys.add(["a", "b", "a"])
    assert keys.add([])


def test_one_equal_hash_of_two_is_no_equal_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys whose first hashes agree are told apart by the second."""
    monkeypatch.setattr(
        unique, "hash", lambda text: ord(text[1]) if text[0] == "\0" else 7, raising=False
    )
    keys = Keys()
    assert keys.add(["b", "d"])
    assert keys.add(["c", "a"])
    assert not keys.add(["d"])
    assert not keys.add(["e", "e"])


@pytest.mark.parametrize(
    ("batches", "once"),
    [
        ([[1, 2, 3], [4, 5]], True),
        ([[1, 2, 3], [10, 11], [12]], True),
        ([[1, 2, 3], [3, 4]], False),
        ([[1, 2, 3], [9, 7], [8]], True),
        ([[1, 2, 3], [9, 7], [7]], False),
        ([[5, 6], [1], [5]], False),
        ([[5, 6], [1], [4, 7]], True),
        ([[5, 6], [10, 11], [9, 11]], False),
        ([[3, 3]], False),
        ([[], [1]], True),
        ([], True),
    ],
)
def test_an_id_comes_once(batches: list[list[int]], once: bool) -> None:
    ids = Ids()
    for batch in batches:
        ids.add(np.array(batch, np.int64))
    assert ids.unique() == once
    assert ids.next == max((i for b in batches for i in b), default=0) + 1


def test_ids_that_count_on_take_no_room() -> None:
    ids = Ids()
    for start in range(1, 10_001, 100):
        ids.add(np.arange(start, start + 100))
    assert ids._bounds == [(1, 10_001)]
    assert not ids._others
