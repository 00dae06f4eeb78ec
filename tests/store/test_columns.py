"""Columns of one pass: cached by identity, resumed by part, equal wherever they are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from granum.errors import MissingExtraError, UsageError
from granum.schema.tables import column
from granum.store.columns import NewColumn, Roots, add_columns, column_facts, column_identity
from granum.store.dataset import Dataset
from granum.store.executor import executor
from granum.store.parts import Batch
from tests.store.make import in_parts, seven


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    return in_parts(monkeypatch, tmp_path / "x.granum", seven())


def widths(batch: Batch, roots: Roots, names: Sequence[str]) -> Mapping[str, pa.Array]:
    """Module-level, so that it travels to other processes."""
    keys = batch.samples["key"].combine_chunks()
    both = {"first": keys, "boxes": pa.array(batch.offsets()[1:] - batch.offsets()[:-1])}
    return {n: both[n] for n in names}


def test_several_columns_in_one_pass(store: Dataset) -> None:
    done = add_columns(store, [NewColumn("first"), NewColumn("boxes")], widths)
    table = done.samples()
    assert table["col.first"].to_pylist() == table["key"].to_pylist()
    assert table["col.boxes"].to_pylist() == [0, 1, 2, 0, 1, 2, 0]


def test_only_what_is_missing_is_asked_for(store: Dataset) -> None:
    asked: list[Sequence[str]] = []

    def watched(batch: Batch, roots: Roots, names: Sequence[str]) -> Mapping[str, pa.Array]:
        asked.append(tuple(names))
        if len(asked) == 3:
            raise RuntimeError("killed")
        return widths(batch, roots, names)

    with pytest.raises(RuntimeError):
        add_columns(store, [NewColumn("first")], watched)
    done = add_columns(store, [NewColumn("first"), NewColumn("boxes")], watched)
    assert asked[3:] == [("boxes",), ("boxes",), ("first", "boxes"), ("first", "boxes")]
    assert done.samples()["col.first"].to_pylist() == store.samples()["key"].to_pylist()
    add_columns(done, [NewColumn("first"), NewColumn("boxes")], watched)
    assert len(asked) == 7


def test_a_column_is_stale_when_its_input_changed(store: Dataset) -> None:
    def values(batch: Batch, roots: Roots, names: Sequence[str]) -> Mapping[str, pa.Array]:
        return {n: pa.array([0] * batch.samples.num_rows) for n in names}

    store = add_columns(store, [NewColumn("a", parameters={"k": 1})], values)
    store = add_columns(store, [NewColumn("b", inputs=["col.a"])], values)
    before = column_identity(store, "b")
    store = add_columns(store, [NewColumn("a", parameters={"k": 2})], values)
    store = add_columns(store, [NewColumn("b", inputs=["col.a"])], values)
    assert column_identity(store, "b") != before


def test_facts_are_kept(store: Dataset) -> None:
    store = add_columns(store, [NewColumn("boxes", facts={"better": "higher"})], widths)
    assert column_facts(store, "boxes") == {"better": "higher"}
    assert column_facts(store, "absent") == {} and column_identity(store, "absent") is None


def test_columns_of_a_layer(store: Dataset) -> None:
    def areas(batch: Batch, roots: Roots, names: Sequence[str]) -> Mapping[str, pa.Array]:
        return {n: column(batch.annotations, "score").combine_chunks() for n in names}

    done = add_columns(store, [NewColumn("again")], areas, layer="truth")
    table = done.annotations()
    assert table["col.again"].to_pylist() == table["score"].to_pylist()


def test_processes_give_what_one_process_gives(store: Dataset, tmp_path: Path) -> None:
    here = add_columns(store, [NewColumn("first"), NewColumn("boxes")], widths)
    twin = store.save(tmp_path / "twin.granum")
    with executor(workers=2) as two:
        there = add_columns(twin, [NewColumn("first"), NewColumn("boxes")], widths, executor=two)
    names = ["col.first", "col.boxes"]
    assert there.samples(names).equals(here.samples(names))


def test_a_cluster_gives_what_one_process_gives(store: Dataset, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    here = add_columns(store, [NewColumn("boxes")], widths)
    twin = store.save(tmp_path / "twin.granum")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        executor(scheduler=cluster.scheduler_address) as remote,
    ):
        there = add_columns(twin, [NewColumn("boxes")], widths, executor=remote)
    assert there.samples(["col.boxes"]).equals(here.samples(["col.boxes"]))


def test_results_come_in_order() -> None:
    with executor(workers=2) as two:
        assert list(two.map(abs, range(-20, 0))) == list(range(20, 0, -1))


def test_wrong_calls() -> None:
    with pytest.raises(UsageError, match="at least 1"), executor(workers=0):
        pass
    with pytest.raises(UsageError, match="exclude"), executor(2, "tcp://nowhere:1"):
        pass


def test_a_cluster_without_distributed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(MissingExtraError, match=r"granum\[cluster\]"),
        executor(scheduler="tcp://nowhere:1"),
    ):
        pass
