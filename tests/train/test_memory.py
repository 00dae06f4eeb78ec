"""Memory that is used again, but never while something stands on it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from granum.train import memory
from granum.train.memory import Pool


def waiting(pool: Pool) -> int:
    return sum(map(len, pool.idle.values()))


def test_a_block_comes_back_when_its_array_is_gone() -> None:
    pool = Pool()
    first = pool.take(100_000)
    assert first.shape == (100_000,) and first.dtype == np.uint8 and first.flags.writeable
    place = first.ctypes.data
    assert waiting(pool) == 0
    del first
    assert waiting(pool) == 1 and pool.idle_bytes == 1 << 17
    again = pool.take(120_000)  # of the same capacity
    assert again.ctypes.data == place and waiting(pool) == 0 and pool.idle_bytes == 0
    other = pool.take(120_000)
    assert not np.shares_memory(again, other)


def test_views_keep_their_block() -> None:
    pool = Pool()
    whole = pool.take(60_000)
    view = whole[:300].reshape(10, 10, 3)[:, ::-1]
    view[:] = 7
    del whole
    assert waiting(pool) == 0
    pool.take(60_000)[:] = 9  # lent and given back at once: another block
    assert (view == 7).all() and waiting(pool) == 1
    del view
    assert waiting(pool) == 2


def test_tensors_keep_their_block() -> None:
    torch = pytest.importorskip("torch")
    pool = Pool()
    tensor = torch.from_numpy(pool.take(3000).reshape(10, 100, 3)).permute(2, 0, 1)[None]
    part, array = tensor[0, 1], tensor.numpy()[0, 2]
    del tensor
    assert waiting(pool) == 0
    del part
    assert waiting(pool) == 0
    del array
    assert waiting(pool) == 1


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_IDLE", 3 << 16)
    pool = Pool()
    lent = [pool.take(1 << 16) for _ in range(5)]
    assert len({a.ctypes.data for a in lent}) == 5
    lent.clear()
    assert waiting(pool) == 3 and pool.idle_bytes == 3 << 16


def test_a_copy_has_memory_of_its_own() -> None:
    pool = Pool()
    pool.take(10)
    copied = pickle.loads(pickle.dumps(pool))
    assert waiting(pool) == 1 and waiting(copied) == 0
