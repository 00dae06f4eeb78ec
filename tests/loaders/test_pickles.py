"""Pickles of others run nothing."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from granum.errors import FormatError
from granum.loaders._pickles import load_npy, load_pickle


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_containers_and_arrays_are_read(protocol: int) -> None:
    held = {
        "text": "ü",
        "bytes": b"\xff\x00",
        "numbers": [1, 2.5, True, None, 2**70, (1, 2)],
        "set": {1, 2},
        "ordered": OrderedDict(a=1),
        "boxes": np.arange(8.0).reshape(2, 4),
        "number": np.float32(1.5),
        "objects": np.array([{"a": 1}, [2]], object),
    }
    found = load_pickle(pickle.dumps(held, protocol))
    assert found.pop("boxes").tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert found.pop("objects").tolist() == [{"a": 1}, [2]]
    assert found == {k: v for k, v in held.items() if k in found}
    assert len(found) == 6


@pytest.mark.parametrize("protocol", range(6))
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    made = tmp_path / "made"
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"labels": [Hostile(made)]}, protocol))
    with pytest.raises(FormatError, match=r"x\.pkl.*mkdir"):
        load_pickle(path)
    assert not made.exists()
    # The same bytes do run where they are trusted.
    pickle.loads(path.read_bytes())
    assert made.exists()


@pytest.mark.parametrize(
    "hostile",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy.lib.npyio\nload\n(S'x'\ntR.",
        b"c__builtin__\ngetattr\n(S'x'\nS'y'\ntR.",
        b"c_codecs\nencode\n(Vx\nVzip\ntR.",
        b"Pid\n.",
    ],
)
def test_names_that_are_not_listed_are_refused(hostile: bytes) -> None:
    with pytest.raises(FormatError):
        load_pickle(hostile)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.95])
def test_damaged_pickles_are_told(tmp_path: Path, share: float) -> None:
    whole = pickle.dumps({"boxes": np.ones((9, 4)), "names": ["a"] * 9})
    path = tmp_path / "cut.pkl"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(FormatError, match=r"cut\.pkl"):
        load_pickle(path)


def test_npy_of_numbers_and_of_objects(tmp_path: Path) -> None:
    np.save(tmp_path / "n.npy", np.arange(6).reshape(2, 3))
    assert load_npy(tmp_path / "n.npy").tolist() == [[0, 1, 2], [3, 4, 5]]
    np.save(tmp_path / "o.npy", np.array({"q_1": "a.json"}, object), allow_pickle=True)
    assert load_npy(tmp_path / "o.npy").item() == {"q_1": "a.json"}


def test_a_hostile_npy_runs_nothing(tmp_path: Path) -> None:
    path, made = tmp_path / "h.npy", tmp_path / "made"
    np.save(path, np.array([Hostile(made)], object), allow_pickle=True)
    with pytest.raises(FormatError, match=r"h\.npy"):
        load_npy(path)
    assert not made.exists()
