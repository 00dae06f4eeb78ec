"""CIFAR and MNIST, with a few pictures made by hand."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.errors import FormatError
from granum.testing.suite import ReaderSuite
from tests.data import shared

PLANES = np.arange(3 * 1024, dtype=np.int64).reshape(1, -1) % 251


def cifar10(folder: Path, **changes: Any) -> Path:
    root = folder / "cifar"
    root.mkdir()
    batch = {
        b"data": PLANES.astype(np.uint8),
        b"labels": [1],
        b"filenames": [b"frog_s_000001.png"],
        **changes,
    }
    (root / "data_batch_1").write_bytes(pickle.dumps(batch, 2))
    (root / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"cat", b"frog"]}, 2))
    return root


def idx(values: np.ndarray) -> bytes:
    head = struct.pack(f">{values.ndim}I", *values.shape)
    return b"\0\0\x08" + bytes([values.ndim]) + head + values.astype(np.uint8).tobytes()


def mnist(folder: Path) -> Path:
    root = folder / "mnist"
    root.mkdir()
    pictures = np.arange(2 * 6).reshape(2, 2, 3)
    packed = gzip.compress(idx(pictures))
    (root / "train-images-idx3-ubyte.gz").write_bytes(packed)
    (root / "train-labels-idx1-ubyte").write_bytes(b"")
    (root / "train-labels-idx1-ubyte").unlink()
    (root / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([7, 3]))))
    return root


class TestTinyImages(ReaderSuite):
    name = "tiny_images"

    def make(self, folder: Path) -> Path:
        return cifar10(folder)


class TestMnist(ReaderSuite):
    name = "tiny_images"

    def make(self, folder: Path) -> Path:
        return mnist(folder)


def test_cifar_10(tmp_path: Path) -> None:
    (sample,) = granum.read(cifar10(tmp_path))
    assert (sample.key, sample.split) == ("data_batch_1/frog_s_000001.png", "train")
    assert sample.labels == ["frog"]
    pixels = np.asarray(sample.image())
    assert pixels.shape == (32, 32, 3)
    # Red is the first plane, rows first.
    assert pixels[0, 1].tolist() == [1, (1024 + 1) % 251, (2048 + 1) % 251]


def test_cifar_100_has_two_labels(tmp_path: Path) -> None:
    root = tmp_path / "c"
    root.mkdir()
    meta = {"fine_label_names": ["apple", "bee"], "coarse_label_names": ["insect", "fruit"]}
    batch = {"data": PLANES.astype(np.uint8), "fine_labels": [1], "coarse_labels": [0]}
    for name, value in (("meta", meta), ("train", batch), ("test", batch)):
        (root / name).write_bytes(pickle.dumps(value))
    found = granum.read(root)
    assert [s.key for s in found] == ["test/00000.png", "train/00000.png"]
    assert found[0].labels == ["bee", "insect"]
    assert found.categories["space"].to_pylist() == ["object"] * 2 + ["coarse"] * 2


def test_mnist(tmp_path: Path) -> None:
    one, two = granum.read(mnist(tmp_path))
    assert (one.key, one.size, one.labels) == ("train/00000.png", (3, 2), ["7"])
    assert np.asarray(two.image()).tolist() == [[6, 7, 8], [9, 10, 11]]


def test_mnist_as_csv(tmp_path: Path) -> None:
    (tmp_path / "mnist_train.csv").write_text("label,1x1,1x2,2x1,2x2\n5,0,255,1,2\n6,0,256,1,2\n")
    with pytest.raises(granum.errors.FindingsError, match=r"mnist_train\.csv line 3"):
        granum.read(tmp_path)
    (sample,) = granum.read(tmp_path, on_error="skip")
    assert sample.labels == ["5"] and np.asarray(sample.image()).tolist() == [[0, 255], [1, 2]]


class Hostile:
    def __reduce__(self) -> Any:
        return os.mkdir, ("made",)


def test_a_hostile_pickle_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormatError, match=r"data_batch_1.*mkdir"):
        granum.read(cifar10(tmp_path, more=Hostile()))
    assert not (tmp_path / "made").exists()


def test_the_fixtures() -> None:
    """The count in the heads of the MNIST fixture is not that of its pictures; CIFAR's holds
    objects instead of bytes."""
    root = shared("format_fixtures")
    found = granum.read(root / "mnist_csv_dataset")
    assert (len(found), found.num_annotations) == (5, 5)
    with pytest.raises(granum.errors.FindingsError, match="the head says 2352"):
        granum.read(root / "mnist_dataset")
    found = granum.read(root / "mnist_dataset", on_error="skip")
    assert (len(found), found.num_annotations) == (5, 5)
    with pytest.raises(FormatError, match=r"test_batch \(data\)"):
        granum.read(root / "cifar10_dataset")
