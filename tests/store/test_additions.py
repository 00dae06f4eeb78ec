"""Layers, derived columns and views are added without rewriting what is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import granum
from granum.errors import ConflictError, GranumError, StoreError, UnknownNameError, UsageError
from granum.schema.rows import Annotation, Category, Sample
from granum.store import builder
from granum.store.additions import add_column, add_layer, open_view, save_view
from granum.store.dataset import Dataset
from granum.store.parts import Batch


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Five samples in parts of two, sample ``i`` with ``i`` boxes."""
    monkeypatch.setattr(builder, "PART_SAMPLES", 2)
    making = builder.StoreBuilder(tmp_path / "x.granum")
    for i in range(5):
        boxes = [Annotation(category=0, bbox=(j, j, i, 2)) for j in range(i)]
        making.add(builder.batch_of_rows([Sample(f"{i}.jpg", annotations=boxes)]))
    categories = Dataset.from_rows([], [Category("a")]).categories
    return making.finish(categories=categories)


def files(store: Dataset) -> dict[str, int]:
    assert store.meta.store is not None
    root = store.meta.store.path
    return {p.name: p.stat().st_mtime_ns for p in root.rglob("*.arrow")}


def predictions() -> pa.Table:
    return pa.table(
        {
            "annotation_id": [7, 8, 9],
            "sample": [3, 0, 4],
            "score": [0.5, 0.0, None],
            "parent": pa.array([None, None, 7], pa.int64()),
            "bbox": pa.array([[0, 0, 1, 1], [1, 1, 2, 2], [0, 0, 3, 3]], pa.list_(pa.float64(), 4)),
        }
    )


def test_a_layer_is_added_and_nothing_rewritten(store: Dataset) -> None:
    before = files(store)
    added = add_layer(store, "run", predictions(), producer="model@1", parent="truth")
    assert {n: t for n, t in files(added).items() if n in before} == before
    assert added.num_annotations == 10
    layer = added.layer("run")
    assert [len(s.annotations) for s in layer] == [1, 0, 0, 1, 1]
    assert layer[0].annotations[0].score == 0.0
    assert added.meta.layers["run"]["producer"] == "model@1"
    # Ids follow those of all layers, and references follow the ids.
    ids = {a.annotation_id for s in added for a in s.annotations}
    mine = {s.key: s.annotations[0] for s in layer if s.annotations}
    assert not ids & {a.annotation_id for a in mine.values()}
    assert mine["4.jpg"].parent == mine["3.jpg"].annotation_id


def test_a_layer_name_is_taken_once(store: Dataset) -> None:
    add_layer(store, "run", predictions())
    with pytest.raises(ConflictError):
        add_layer(store, "run", predictions())


def test_a_layer_may_come_as_tables_in_order(store: Dataset, tmp_path: Path) -> None:
    whole = pa.table(
        {
            "sample": [0, 1, 1, 3, 3, 4, None],
            "parent": pa.array([None, None, 2, None, 4, None, None], pa.int64()),
            "annotation_id": [1, 2, 3, 4, 5, 6, 7],
            "group": pa.array([None] * 6 + [0], pa.int64()),
        }
    )
    twin = store.save(tmp_path / "twin.granum")
    at_once = add_layer(store, "run", whole).layer("run").annotations()
    cuts = [(0, 1), (1, 2), (3, 0), (3, 2), (5, 1), (6, 1)]
    pieces = (whole.slice(a, n) for a, n in cuts)
    apart = add_layer(twin, "run", pieces).layer("run")
    names = ["annotation_id", "sample", "parent", "group"]
    assert apart.annotations(names).equals(at_once.select(names))
    assert [len(s.annotations) for s in apart] == [1, 2, 0, 2, 1]


def test_tables_out_of_order_are_refused(store: Dataset) -> None:
    pieces = [pa.table({"sample": [4]}), pa.table({"sample": [0]})]
    with pytest.raises(UsageError, match="order of the samples"):
        add_layer(store, "run", pieces)
    with pytest.raises(UsageError, match=r"0\.\.4"):
        add_layer(store, "run", [pa.table({"sample": [5]})])


def test_two_writers_that_both_add_are_merged(store: Dataset) -> None:
    first = add_layer(store, "one", predictions())
    second = add_layer(store, "two", predictions())  # opened before the first was there
    assert set(second.meta.layers) == {"truth", "one", "two"}
    assert first.meta.store is not None and second.meta.store is not None
    assert second.meta.store.number == first.meta.store.number + 1


def test_a_selection_cannot_be_added_to(store: Dataset) -> None:
    with pytest.raises(StoreError):
        add_layer(store.select([0]), "run", predictions())


@pytest.mark.parametrize("name", ["../evil", "a/b", ""])
def test_names_stay_inside_the_store(store: Dataset, name: str) -> None:
    with pytest.raises(GranumError):
        add_layer(store, name, predictions())
    with pytest.raises(GranumError):
        save_view(store, name, [0])
    with pytest.raises(GranumError):
        add_column(store, name, widths([]))


def widths(calls: list[int], fail_at: int | None = None):  # type: ignore[no-untyped-def]
    def compute(batch: Batch) -> pa.Array:
        if batch.start == fail_at:
            raise KeyboardInterrupt
        calls.append(batch.start)
        return pa.array(np.arange(batch.start, batch.start + batch.samples.num_rows) * 0.5)

    return compute


def test_a_column_is_computed_once_and_filtered_by(store: Dataset) -> None:
    calls: list[int] = []
    scored = add_column(store, "score", widths(calls), parameters={"k": 1})
    assert calls == [0, 2, 4]
    scored = add_column(scored, "score", widths(calls), parameters={"k": 1})
    assert calls == [0, 2, 4]
    assert [s.key for s in scored.filter("col.score > 1")] == ["3.jpg", "4.jpg"]
    add_column(scored, "score", widths(calls), parameters={"k": 2})
    assert len(calls) == 6


def test_an_interrupted_column_resumes_at_its_part(store: Dataset) -> None:
    calls: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        add_column(store, "score", widths(calls, fail_at=4))
    done = add_column(store, "score", widths(calls))
    assert calls == [0, 2, 4]
    assert done.samples()["col.score"].to_pylist() == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_a_view_keeps_order_reasons_and_annotations(store: Dataset) -> None:
    ids = [a.annotation_id for a in store[4].annotations]
    saved = save_view(store, "best", [4, 1], reason="varied", annotations=[ids[1:3], None])
    view = open_view(saved, "best")
    assert [s.key for s in view] == ["4.jpg", "1.jpg"]
    assert [a.annotation_id for a in view[0].annotations] == ids[1:3]
    assert len(view[1].annotations) == 1
    assert len(saved) == 5
    with pytest.raises(UnknownNameError):
        saved.view("worst")


def test_gc_keeps_what_manifests_name(store: Dataset) -> None:
    assert store.meta.store is not None
    path = store.meta.store.path
    add_layer(store, "run", predictions())
    (path / "layers" / "truth" / "part-00000-dead.arrow").write_bytes(b"left over")
    removed = granum.open(path).meta.store.gc(older_than=0)  # type: ignore[union-attr]
    assert removed == ["layers/truth/part-00000-dead.arrow"]
    assert granum.open(path).layer("run").num_annotations == 3
