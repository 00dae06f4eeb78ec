"""A dataset as tables of other libraries."""

from __future__ import annotations

import datasets as hf
import numpy as np
import pyarrow as pa
import pytest

from granum.errors import UnknownNameError
from granum.schema import tables
from granum.store import disk
from granum.store.dataset import Dataset
from granum.testing import small_datasets
from tests.store.make import in_parts, keys, seven


@pytest.fixture
def stored(tmp_path, monkeypatch):
    return in_parts(monkeypatch, tmp_path / "s.granum", seven())


def test_to_arrow(stored):
    found = stored.to_arrow()
    assert list(found) == ["samples", "annotations", "categories", "groups", "sources"]
    assert found["samples"].column_names == tables.SAMPLES.names
    assert found["annotations"].column_names == [*tables.ANNOTATIONS.names, "attr.n"]
    assert found["annotations"].num_rows == 6
    assert found["categories"]["name"].to_pylist() == ["cat", "dog"]


def test_nested(stored):
    table = stored.to_arrow(nested=True)
    assert table["key"].to_pylist() == keys(stored)
    listed = table["annotations"].to_pylist()
    assert [[a["score"] for a in found] for found in listed] == [
        [],
        [1.0],
        [2.0, 2.1],
        [],
        [4.0],
        [5.0, 5.1],
        [],
    ]
    # an attribute that only some parts have is there for all
    assert listed[1][0]["attr.n"] is None
    assert listed[5][0]["attr.n"] == 5
    assert listed[1][0]["bbox"] == [1.0, 2.0, 3.0, 4.0]
    assert listed[1][0]["kind"] == "object"
    assert "sample" not in listed[1][0]


def test_nesting_copies_no_numbers(tmp_path):
    stored = small_datasets()["two parts"].save(tmp_path / "s.granum")
    column = stored.to_arrow(nested=True)["annotations"].chunk(0)
    boxes = column.values.field("bbox").flatten()
    kept = stored.parts[0].layer("truth")["bbox"].chunk(0).flatten()
    assert boxes.buffers()[1].address == kept.buffers()[1].address


def test_nested_of_nothing():
    assert Dataset.from_rows([]).to_arrow(nested=True).num_rows == 0
    assert Dataset([]).to_arrow(nested=True).num_rows == 0


def test_to_hf(stored):
    found = stored.to_hf()
    assert isinstance(found, hf.Dataset)
    assert len(found) == 7
    assert found["key"][:] == keys(stored)
    assert [a["score"] for a in found[5]["annotations"]] == [5.0, 5.1]
    assert found.filter(lambda r: r["split"] == "train")["key"][:] == ["0.jpg", "3.jpg", "6.jpg"]


def test_to_hf_takes_anything():
    for name, dataset in small_datasets().items():
        found = dataset.to_hf()
        assert len(found) == len(dataset), name
        for row, view in zip(found, dataset, strict=True):
            assert row["key"] == view.key
            ids = [a["annotation_id"] for a in row["annotations"]]
            assert ids == [a.annotation_id for a in view.annotations], name


def test_to_pandas(stored):
    frame = stored.to_pandas()
    assert len(frame) == 6
    assert frame["category_name"].tolist() == ["dog", "cat", "dog", "cat", "dog", "cat"]
    assert frame["score"].tolist() == [1.0, 2.0, 2.1, 4.0, 5.0, 5.1]
    assert frame["attr.n"].tolist()[3:] == [4, 5, 5]
    assert stored.to_pandas("samples")["key"].tolist() == keys(stored)
    assert stored.to_pandas("categories")["name"].tolist() == ["cat", "dog"]
    with pytest.raises(UnknownNameError, match="table 'boxes'"):
        stored.to_pandas("boxes")


def test_categories_may_be_absent():
    frame = small_datasets()["no category"].to_pandas()
    assert frame["category_name"].isna().tolist() == [True]


def test_to_polars(stored):
    pytest.importorskip("polars")
    frame = stored.to_polars()
    assert frame["category_name"].to_list() == ["dog", "cat", "dog", "cat", "dog", "cat"]
    assert frame["bbox"].to_list()[0] == [1.0, 2.0, 3.0, 4.0]
    assert stored.to_polars("samples")["split"].to_list() == [v.split for v in stored]


def test_parts_are_arrow_datasets(stored, tmp_path):
    """``datasets`` reads the part files without us."""
    store = disk.Store.open(tmp_path / "s.granum")
    files = [str(store.path / p["file"]) for p in store.manifest["parts"]]
    found = hf.load_dataset("arrow", data_files=files, split="train", cache_dir=tmp_path / "cache")
    assert found["key"][:] == keys(stored)


def test_memory_is_mapped(stored):
    """Reading a stored column allocates nothing for its numbers."""
    before = pa.total_allocated_bytes()
    table = stored.parts[1].layer("truth")
    scores = np.asarray(table["score"].chunk(0))
    assert scores.tolist() == [2.0, 2.1]
    assert not scores.flags.owndata
    assert pa.total_allocated_bytes() - before < 64 * 1024
