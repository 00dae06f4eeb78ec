"""What holds for any dataset that the schema allows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings

from granum.store import builder, parts
from granum.store.dataset import Dataset
from granum.store.opening import open_dataset
from granum.testing import assert_same, datasets

drawn = settings(
    derandomize=True,
    max_examples=40,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # shrinking datasets takes minutes
    suppress_health_check=list(HealthCheck),
)


def exact(dataset: Dataset) -> dict[str, list[dict[str, Any]]]:
    """Every value of every table; a column that is null throughout may be absent."""
    named = {
        "samples": dataset.samples(),
        "categories": dataset.categories,
        "groups": dataset.groups,
        "sources": dataset.sources,
        **{f"layer {n}": dataset.annotations(layer=n) for n in dataset.meta.layers},
    }
    return {
        name: [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()]
        for name, table in named.items()
    }


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    FOLDER.append(tmp_path_factory.mktemp("any"))


FOLDER: list[Path] = []


def saved(dataset: Dataset) -> Dataset:
    path = Path(tempfile.mkdtemp(dir=FOLDER[-1])) / "any.granum"
    dataset.save(path)
    return open_dataset(path)


def in_small_parts(dataset: Dataset) -> Dataset:
    """A store of one sample per part (those of one group stay together)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "PART_SAMPLES", 1)
        patch.setattr(parts, "SELECT_ROWS", 1)
        return saved(dataset.select(np.arange(len(dataset))))


def groups_are_filled(dataset: Dataset) -> bool:
    """Whether every group with annotations of its own has samples: others cannot be selected."""
    filled = set(dataset.samples(["group"])["group"].to_pylist())
    return all(
        row["group"] in filled
        for layer in dataset.meta.layers
        for row in dataset.annotations(["sample", "group"], layer).to_pylist()
        if row["sample"] is None
    )


@drawn
@given(datasets())
def test_a_store_gives_back_every_value(dataset: Dataset) -> None:
    before = exact(dataset)
    back = saved(dataset)
    assert exact(back) == before
    assert list(back.meta.layers) == list(dataset.meta.layers)
    assert exact(dataset) == before


@drawn
@given(datasets())
def test_parts_do_not_show(dataset: Dataset) -> None:
    assume(groups_are_filled(dataset))
    many = in_small_parts(dataset)
    assert_same(dataset, many)
    total = many.num_annotations
    for size in (1, 2, 3):
        batches = list(many.iter_batches(size))
        found = [k for b in batches for k in b.samples["key"].to_pylist()]
        assert found == [v.key for v in dataset]
        assert sum(b.annotations.num_rows for b in batches) == total
        for batch in batches:
            offsets = batch.offsets()
            assert len(offsets) == batch.samples.num_rows + 1
            rows = [len(dataset[k].annotations) for k in batch.samples["key"].to_pylist()]
            assert np.diff(offsets).tolist() == rows
    nested = many.to_arrow(nested=True)
    assert nested.num_rows == len(dataset)
    listed = [] if not len(dataset) else nested["annotations"].to_pylist()
    assert [len(x) for x in listed] == [len(v.annotations) for v in dataset]


@drawn
@given(datasets(min_samples=2))
def test_permuting_samples_permutes_nothing_else(dataset: Dataset) -> None:
    assume(groups_are_filled(dataset))
    many = in_small_parts(dataset)
    order = np.random.default_rng(len(dataset)).permutation(len(dataset))
    permuted = many.select(order)
    assert [v.key for v in permuted] == [dataset[int(i)].key for i in order]
    assert_same(dataset, permuted, ordered=False)
    assert_same(dataset, permuted.select(np.argsort(order)))
    assert_same(permuted, saved(permuted))


@drawn
@given(datasets(min_samples=2))
def test_selecting_twice_is_selecting_once(dataset: Dataset) -> None:
    assume(groups_are_filled(dataset))
    many = in_small_parts(dataset)
    order = np.random.default_rng(3).permutation(len(dataset))
    some = np.arange(len(dataset))[::2]
    assert_same(many.select(order[some]), many.select(order).select(some))
    assert len(many.select([])) == 0
    assert many.select([]).num_annotations == 0
