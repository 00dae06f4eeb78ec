"""CIFAR-10, CIFAR-100 and MNIST: small pictures packed in a few files.

::

    data_batch_1 … data_batch_5  test_batch  batches.meta      CIFAR-10 (pickles)
    train  test  meta                                          CIFAR-100 (pickles)
    train-images-idx3-ubyte.gz  train-labels-idx1-ubyte.gz     MNIST and its relatives
    t10k-images-idx3-ubyte.gz   t10k-labels-idx1-ubyte.gz      (with or without .gz)
    mnist_train.csv  mnist_test.csv                            label, then 784 values a line

Pictures are embedded as PNG. CIFAR's pickles are read without running anything; rows of ``data``
are 3 planes of 32 x 32, red first, and names of files are kept as keys. CIFAR-100 has two labels,
of the spaces ``object`` (fine) and ``coarse``. The pictures of IDX files have the size that the
header says; values of a CSV line are as many as a square has.

Spec: https://www.cs.toronto.edu/~kriz/cifar.html, http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.errors import FormatError
from granum.loaders._paths import is_file, names_in
from granum.loaders._pickles import load_pickle
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows
from granum.store.media import encode_png

__all__ = ["TinyImages"]

Values = npt.NDArray[np.uint8]

CSV = ("mnist_train.csv", "mnist_test.csv")
MOST = 1 << 31
"""Bytes that a packed file may grow to."""


@formats("tiny_images")
class TinyImages(Format):
    """Reads the three makes."""

    name = "tiny_images"
    title = "CIFAR-10, CIFAR-100, MNIST"
    spec = "https://www.cs.toronto.edu/~kriz/cifar.html"
    keeps = frozenset({"sample", "label", "category", "split", "space"})
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        names = {*names_in(root, 100)}
        if "batches.meta" in names or (
            {"meta", "train", "test"} <= names and is_file(root / "meta")
        ):
            return "pickles of CIFAR"
        idx = sorted(n for n in names if "-images-idx3-ubyte" in n or "-images.idx3-ubyte" in n)
        if idx:
            return idx[0]
        found = [n for n in CSV if n in names]
        return found[0] if found else None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read all files of a folder.

        Raises:
            FormatError: there is none, or it is damaged.
        """
        names = names_in(root)
        if "batches.meta" in names or "meta" in names:
            yield from _cifar(root, names, intake)
        elif any("idx3-ubyte" in n for n in names):
            yield from _idx(root, names, intake)
        elif any(n in CSV for n in names):
            yield from _csv(root, names, intake)
        else:
            raise FormatError(root, "no file of CIFAR or MNIST")


def _sample(key: str, values: Values, split: str) -> rows.Sample:
    height, width = values.shape[:2]
    return rows.Sample(key, rows.Media(bytes=encode_png(values)), width, height, split=split)


# ---------------------------------------------------------------------- CIFAR


def _cifar(root: Path, names: list[str], intake: Intake) -> Iterator[rows.Sample]:
    hundred = "batches.meta" not in names
    meta = _dictionary(root / ("meta" if hundred else "batches.meta"))
    spaces = {"label_names": ("labels", "object")}
    if hundred:
        spaces = {"fine_label_names": ("fine_labels", "object"),
                  "coarse_label_names": ("coarse_labels", "coarse")}  # fmt: skip
    columns: dict[str, tuple[str, int]] = {}
    for listed, (column, space) in spaces.items():
        classes = meta.get(listed)
        if not isinstance(classes, list):
            raise FormatError("meta", f"no list {listed}")
        for i, name in enumerate(classes):
            intake.add_category(rows.Category(_text(name), space, source_id=str(i)))
        columns[column] = (space, len(classes))
    batches = [n for n in names if n in ("train", "test", "test_batch") or "data_batch" in n]
    for name in batches:
        if is_file(root / name):
            intake.source(name, TinyImages.name)
            split = "test" if "test" in name else "train"
            yield from _batch(_dictionary(root / name), name, split, columns, intake)


def _dictionary(path: Path) -> dict[str, Any]:
    """A pickled dictionary; keys may be bytes.

    Raises:
        FormatError: it is absent, damaged, or holds something else.
    """
    try:
        held = load_pickle(path, path.name)
    except OSError as error:
        raise FormatError(path.name, f"cannot be read: {error}") from error
    if not isinstance(held, dict):
        raise FormatError(path.name, "no dictionary")
    return {_text(k): v for k, v in held.items()}


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _batch(
    held: dict[str, Any],
    name: str,
    split: str,
    columns: dict[str, tuple[str, int]],
    intake: Intake,
) -> Iterator[rows.Sample]:
    data = np.asarray(held.get("data"))
    if data.dtype == object and data.ndim == 2:  # numbers one by one
        try:
            wide = data.astype(np.int64)
        except (TypeError, ValueError, OverflowError):
            wide = np.full(data.shape, -1)
        data = wide.astype(np.uint8) if ((wide >= 0) & (wide < 256)).all() else data
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] % 3 != 0:
        raise FormatError(name, "data is no table of bytes", "data")
    side = math.isqrt(data.shape[1] // 3)
    if side * side * 3 != data.shape[1]:
        raise FormatError(name, "rows of data are no square pictures", "data")
    told = held.get("filenames")
    files = told if isinstance(told, list) and len(told) == len(data) else None
    for i, row in enumerate(data):
        file = f"{i:05d}.png" if files is None else files[i]
        pixels = row.reshape(3, side, side).transpose(1, 2, 0)
        sample = _sample(f"{name}/{_text(file)}", np.ascontiguousarray(pixels), split)
        before = 0
        for column, (_, count) in columns.items():
            listed = held.get(column)
            value = listed[i] if isinstance(listed, list) and i < len(listed) else None
            if isinstance(value, int | np.integer) and 0 <= value < count:
                sample.annotations.append(rows.Annotation("label", before + int(value)))
            else:
                message = f"the label is {value!r}, of {count} classes"
                intake.fault("unknown-class", name, f"{column}[{i}]", message)
            before += count
        yield sample


# ---------------------------------------------------------------------- MNIST


def _unpacked(path: Path) -> bytes:
    """The bytes of a file that may be packed.

    Raises:
        FormatError: it cannot be read, or grows beyond what such a file has.
    """
    try:
        if path.suffix != ".gz":
            return path.read_bytes()
        with gzip.open(path) as file:
            data = file.read(MOST)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(path.name, f"cannot be unpacked: {error}") from error
    if len(data) == MOST:
        raise FormatError(path.name, "grows beyond two gibibytes; refused")
    return data


def _idx_values(path: Path, dimensions: int, intake: Intake) -> Values:
    """The values of an IDX file of bytes; a count in its head that is not theirs is a fault.

    Raises:
        FormatError: it is none, or ends within a picture.
    """
    data = _unpacked(path)
    if len(data) < 4 + 4 * dimensions or data[:3] != b"\0\0\x08" or data[3] != dimensions:
        raise FormatError(path.name, f"no IDX file of bytes in {dimensions} dimensions")
    shape = struct.unpack_from(f">{dimensions}I", data, 4)
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions)
    each = math.prod(shape[1:])
    if not each or values.size % each or not values.size:
        raise FormatError(path.name, f"{values.size} values instead of those of {shape}")
    if values.size != math.prod(shape):
        message = f"the head says {shape[0]}, there are {values.size // each}"
        intake.fault("bad-value", path.name, "byte 4", message)
    return values.reshape(-1, *shape[1:])


def _idx(root: Path, names: list[str], intake: Intake) -> Iterator[rows.Sample]:
    for name in [n for n in names if "idx3-ubyte" in n]:
        split = "test" if name.startswith(("t10k", "test")) else "train"
        pictures = _idx_values(root / name, 3, intake)
        of = name.replace("images", "labels").replace("idx3", "idx1")
        intake.source(name, TinyImages.name)
        labels = _idx_values(root / of, 1, intake) if of in names else None
        if labels is None or len(labels) != len(pictures):
            count = "no" if labels is None else len(labels)
            intake.fault("missing-labels", of, None, f"{count} labels of {len(pictures)} pictures")
            labels = None
        for i, pixels in enumerate(pictures):
            sample = _sample(f"{split}/{i:05d}.png", pixels, split)
            if labels is not None:
                row = intake.category(str(int(labels[i])))
                sample.annotations.append(rows.Annotation("label", row))
            yield sample


def _csv(root: Path, names: list[str], intake: Intake) -> Iterator[rows.Sample]:
    for name in [n for n in CSV if n in names]:
        split = "test" if "test" in name else "train"
        intake.source(name, TinyImages.name)
        with (root / name).open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                words = line.strip().split(",")
                if not line.strip() or (number == 1 and not words[0].isdecimal()):
                    continue
                side = math.isqrt(len(words) - 1)
                good = side > 0 and side * side == len(words) - 1
                good = good and all(w.strip().isdecimal() and len(w) < 5 for w in words)
                values = np.array(words[1:], np.int64) if good else np.full(1, 256)
                if values.max() > 255:
                    message = "no label and the values of a square picture"
                    intake.fault("bad-value", name, f"line {number}", message)
                    continue
                pixels = values.astype(np.uint8).reshape(side, side)
                sample = _sample(f"{split}/{number:05d}.png", pixels, split)
                row = intake.category(str(int(words[0])))
                sample.annotations.append(rows.Annotation("label", row))
                yield sample
