"""Which samples a split names: by the samples themselves, or by a derived column."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

pytest.importorskip("torch")

from granum.errors import UnknownNameError
from granum.schema.rows import Sample
from granum.store.additions import add_column
from granum.store.dataset import Dataset
from granum.train.dataset import rows_of_split
from granum.verbs.splitting import split


def test_a_split_is_of_the_samples_or_of_a_column(tmp_path: Path) -> None:
    samples = [Sample(str(i), split="train" if i < 2 else None) for i in range(4)]
    store = Dataset.from_rows(samples).save(tmp_path / "x.granum")
    store = add_column(store, "mine", lambda batch: pa.array(["val", "train", "val", None]))
    assert rows_of_split(store, "train").tolist() == [0, 1]
    assert rows_of_split(store, "col.mine=val").tolist() == [0, 2]
    with pytest.raises(UnknownNameError, match="train, val"):
        rows_of_split(store, "col.mine=test")
    with pytest.raises(UnknownNameError):
        rows_of_split(store, "col.absent=val")


def test_a_view_of_that_name_is_the_split(tmp_path: Path) -> None:
    """What ``granum split`` saved counts, whatever the samples say."""
    samples = [Sample(str(i), split="train") for i in range(10)]
    store = Dataset.from_rows(samples).save(tmp_path / "x.granum")
    made = split(store, {"train": 0.8, "val": 0.2}, stratify=None).dataset
    parts = [rows_of_split(made, name).tolist() for name in ("train", "val")]
    assert sorted(parts[0] + parts[1]) == list(range(10)) and len(parts[1]) == 2
    with pytest.raises(UnknownNameError, match="train, val"):
        rows_of_split(made, "test")
