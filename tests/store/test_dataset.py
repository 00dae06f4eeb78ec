"""Datasets of several parts: looking, choosing, splitting."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from granum.errors import GranumError, UnknownNameError, UsageError
from granum.schema import rows
from granum.schema.tables import SAMPLES, column
from granum.store.dataset import Dataset
from granum.store.opening import open_dataset
from granum.testing import assert_same
from tests.store.make import CATEGORIES, box, in_parts, keys, permutation, sample, scores, seven


@pytest.fixture
def stored(tmp_path, monkeypatch):
    return in_parts(monkeypatch, tmp_path / "s.granum", seven())


def test_parts_are_small(stored):
    assert [p.rows for p in stored.parts] == [2, 2, 2, 1]
    assert [p.start for p in stored.parts] == [0, 2, 4, 6]


def test_tables_are_whole(stored):
    assert keys(stored) == [f"{i}.jpg" for i in range(7)]
    assert len(stored) == 7
    assert stored.num_annotations == 6
    table = stored.annotations(["sample", "score", "attr.n"])
    assert table["sample"].to_pylist() == [1, 2, 2, 4, 5, 5]
    assert table["score"].to_pylist() == [1.0, 2.0, 2.1, 4.0, 5.0, 5.1]
    # the attribute is only in the later parts
    assert table["attr.n"].to_pylist() == [None, None, None, 4, 5, 5]
    assert stored.counts() == {"cat": 3, "dog": 3}
    assert stored.counts("caption") == {"cat": 0, "dog": 0}


def test_samples_are_found(stored):
    assert stored[3].key == "3.jpg"
    assert stored[-1].key == "6.jpg"
    assert stored["5.jpg"].index == 5
    assert [a.score for a in stored["5.jpg"].annotations] == [5.0, 5.1]
    assert stored[5].annotations[0].attributes == {"n": 5}
    assert stored[5].labels == ["dog", "cat"]
    assert [v.key for v in stored] == keys(stored)
    with pytest.raises(IndexError, match="7 samples"):
        stored[7]
    with pytest.raises(UnknownNameError, match=r"unknown sample '7\.jpg'"):
        stored["7.jpg"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_batches(stored, size):
    batches = list(stored.iter_batches(size))
    assert [k for b in batches for k in b.samples["key"].to_pylist()] == keys(stored)
    assert all(b.samples.num_rows <= size for b in batches)
    assert [b.start for b in batches] == list(
        np.cumsum([0, *(b.samples.num_rows for b in batches)])[:-1]
    )
    counts = [int(n) for b in batches for n in np.diff(b.offsets())]
    assert counts == [0, 1, 2, 0, 1, 2, 0]
    for batch in batches:
        rows_ = column(batch.annotations, "sample").to_pylist()
        assert all(batch.start <= r < batch.start + batch.samples.num_rows for r in rows_)


def test_select_keeps_the_order_asked_for(stored):
    chosen = stored.select([5, 0, 2])
    assert keys(chosen) == ["5.jpg", "0.jpg", "2.jpg"]
    assert scores(chosen) == [[5.0, 5.1], [], [2.0, 2.1]]
    assert chosen.annotations(["sample"])["sample"].to_pylist() == [0, 0, 2, 2]
    assert keys(chosen.select([2, 0])) == ["2.jpg", "5.jpg"]


def test_select_across_parts_of_a_selection(stored, monkeypatch):
    from granum.store import parts

    monkeypatch.setattr(parts, "SELECT_ROWS", 2)
    order = permutation(7)
    chosen = stored.select(order)
    assert len(chosen.parts) == 4
    assert keys(chosen) == [f"{i}.jpg" for i in order]
    assert scores(chosen) == [scores(stored)[i] for i in order]
    assert_same(chosen.select(np.argsort(order)), stored)


def test_select_refuses_what_is_not_there(stored):
    with pytest.raises(IndexError, match=r"0\.\.6"):
        stored.select([7])
    with pytest.raises(IndexError):
        stored.select([-1])
    with pytest.raises(UsageError, match="only once"):
        stored.select([1, 1])


def test_filter_samples(stored):
    assert keys(stored.filter("split == 'train'")) == ["0.jpg", "3.jpg", "6.jpg"]
    assert keys(stored.filter("split is None")) == ["2.jpg", "5.jpg"]
    assert keys(stored.filter("width > 20")) == []


def test_filter_annotations(stored):
    few = stored.filter("score >= 2.1 and category == 'cat'")
    assert keys(few) == keys(stored)
    assert scores(few) == [[], [], [], [], [4.0], [5.1], []]
    assert keys(few.filter(drop_empty=True)) == ["4.jpg", "5.jpg"]
    assert stored.filter("attr.n == 5").num_annotations == 2
    assert stored.num_annotations == 6


def test_filter_refuses_mixtures(stored):
    with pytest.raises(UsageError, match="mixes columns"):
        stored.filter("split == 'train' and score > 1")
    with pytest.raises(UsageError, match="no column 'nonsense'"):
        stored.filter("nonsense > 1")


def test_split_by_column(stored):
    found = stored.split()
    assert {n: keys(d) for n, d in found.items()} == {
        "train": ["0.jpg", "3.jpg", "6.jpg"],
        "val": ["1.jpg", "4.jpg"],
        "": ["2.jpg", "5.jpg"],
    }
    assert scores(found[""]) == [[2.0, 2.1], [5.0, 5.1]]


def test_split_at_random(stored):
    one = stored.split({"train": 0.6, "val": 0.4}, seed=3)
    two = stored.split({"train": 0.6, "val": 0.4}, seed=3)
    assert [keys(d) for d in one.values()] == [keys(d) for d in two.values()]
    assert sorted(keys(one["train"]) + keys(one["val"])) == keys(stored)
    assert [len(d) for d in one.values()] == [4, 3]
    for name, dataset in one.items():
        assert dataset.samples(["split"])["split"].to_pylist() == [name] * len(dataset)
    others = {tuple(keys(stored.split({"a": 0.5}, seed=s)["a"])) for s in range(5)}
    assert len(others) > 1
    with pytest.raises(UsageError, match="sum to 1"):
        stored.split({"a": 0.8, "b": 0.3})
    with pytest.raises(UsageError):
        stored.split({"a": -0.1})


def videos():
    frames = [
        sample(f"{v}/{i}.jpg", box(annotation_id=10 * v + i + 1), group=v, order=i)
        for v in range(3)
        for i in range(3)
    ]
    groups = [rows.Group(f"v{v}", "video", frames=3) for v in range(3)]
    whole = [
        rows.Annotation("label", category=v % 2, group=v, annotation_id=100 + v) for v in range(3)
    ]
    return frames, groups, whole


def test_groups_stay_in_one_part(tmp_path, monkeypatch):
    frames, groups, whole = videos()
    stored = in_parts(monkeypatch, tmp_path / "v.granum", frames, 2, groups=groups, whole=whole)
    assert [p.rows for p in stored.parts][:3] == [3, 3, 3]
    assert stored.num_annotations == 12
    for dataset in stored.split({"a": 0.4, "b": 0.6}, seed=1).values():
        found = dataset.samples(["group"])["group"].to_pylist()
        assert all(found.count(g) == 3 for g in set(found))


def test_rows_of_whole_groups_follow_their_group():
    frames, groups, whole = videos()
    dataset = Dataset.from_rows(frames, CATEGORIES, groups, group_annotations=whole)
    chosen = dataset.select([4, 3, 8])
    ids = chosen.annotations(["annotation_id", "sample", "group"]).to_pylist()
    assert [(r["annotation_id"], r["sample"]) for r in ids] == [
        (12, 0),
        (11, 1),
        (23, 2),
        (101, None),
        (102, None),
    ]
    assert chosen[0].annotations[0].annotation_id == 12
    assert len(chosen[2].annotations) == 1


def test_rows_of_whole_groups_come_once(monkeypatch):
    from granum.store import parts

    monkeypatch.setattr(parts, "SELECT_ROWS", 2)
    frames, groups, whole = videos()
    dataset = Dataset.from_rows(frames, CATEGORIES, groups, group_annotations=whole)
    chosen = dataset.select(permutation(9))
    assert len(chosen.parts) == 5
    assert chosen.num_annotations == 12
    found = chosen.annotations(["annotation_id"])["annotation_id"].to_pylist()
    assert sorted(found) == sorted(
        [*(10 * v + i + 1 for v in range(3) for i in range(3)), 100, 101, 102]
    )


def test_layers():
    one = sample("a.jpg", box(score=None))
    one.layers = {"model": [box(1, score=0.0), box(1, score=0.5)]}
    dataset = Dataset.from_rows([one, sample("b.jpg")], CATEGORIES)
    assert list(dataset.meta.layers) == ["truth", "model"]
    assert dataset.num_annotations == 1
    model = dataset.layer("model")
    assert model.counts() == {"cat": 0, "dog": 2}
    assert scores(model) == [[0.0, 0.5], []]
    assert scores(model.filter("score > 0")) == [[0.5], []]
    # the other layer is untouched by a filter of this one
    assert model.filter("score > 0").layer("truth").num_annotations == 1
    assert dataset.select([0]).layer("model").num_annotations == 2
    with pytest.raises(UnknownNameError, match=r"unknown layer 'modell'.*'model'"):
        dataset.layer("modell")


@pytest.mark.parametrize("name", ["../../evil", "a/b", "a\\b", "", ".", "..", "\0", "x" * 201])
def test_names_of_layers_become_paths(name):
    one = sample("a.jpg")
    one.layers = {name: [box()]}
    with pytest.raises(UsageError, match="cannot be the name of a layer"):
        Dataset.from_rows([one], CATEGORIES)


def test_layers_are_kept_by_a_store(tmp_path, monkeypatch):
    samples = seven()
    samples[5].layers = {"model": [box(1, score=0.25)]}
    stored = in_parts(monkeypatch, tmp_path / "l.granum", samples)
    again = open_dataset(tmp_path / "l.granum")
    for dataset in (stored, again):
        assert scores(dataset.layer("model"))[5] == [0.25]
        assert dataset.layer("model").num_annotations == 1
        assert dataset.num_annotations == 6


def test_categories(stored):
    dogs = stored.select_categories(["dog"])
    assert dogs.category_names() == ["dog"]
    assert dogs.num_annotations == 3
    assert all(v.labels in ([], ["dog"]) for v in dogs)
    turned = stored.select_categories(["dog", "cat"])
    assert turned[5].labels == stored[5].labels == ["dog", "cat"]
    assert turned.annotations(["category"])["category"].to_pylist() == [
        1 - c for c in stored.annotations(["category"])["category"].to_pylist()
    ]
    with pytest.raises(UnknownNameError, match="category 'cow'"):
        stored.select_categories(["cow"])


def test_annotations_without_category_stay():
    dataset = Dataset.from_rows([sample("a.jpg", box(None), box(1), box(0))], CATEGORIES)
    assert dataset.select_categories(["dog"])[0].labels == [None, "dog"]


def test_parents_follow_the_categories():
    tree = [
        rows.Category("animal"),
        rows.Category("cat", parents=[{"index": 0, "relation": "is_a"}]),
        rows.Category("paw", parents=[{"index": 1, "relation": "part_of"}]),
    ]
    dataset = Dataset.from_rows([sample("a.jpg", box(2))], tree)
    few = dataset.select_categories(["paw", "cat"])
    assert few.categories["parents"].to_pylist() == [
        [{"index": 1, "relation": "part_of"}],
        [],
    ]


def test_from_arrow_sorts_and_numbers():
    samples = pa.table({"key": ["a", "b"]})
    annotations = pa.table({"sample": [1, 0, 1], "score": [0.1, 0.2, 0.3], "kind": ["object"] * 3})
    dataset = Dataset.from_arrow(samples, annotations)
    assert scores(dataset) == [[0.2], [0.1, 0.3]]
    assert dataset.annotations(["annotation_id"])["annotation_id"].to_pylist() == [1, 2, 3]
    with pytest.raises(ValueError, match="unknown column 'boxes'"):
        Dataset.from_arrow(samples, pa.table({"sample": [0], "boxes": [1]}))
    for row in (2, -1, 7):
        with pytest.raises(ValueError, match=r"outside 0\.\.1"):
            Dataset.from_arrow(samples, pa.table({"sample": [row]}))
    with pytest.raises(ValueError, match="outside"):
        Dataset.from_arrow(samples.slice(0, 0), pa.table({"sample": [0]}))


def test_keys_and_ids_are_unique():
    with pytest.raises(GranumError, match="'a'"):
        Dataset.from_rows([sample("b"), sample("a"), sample("a")])
    twice = [box(annotation_id=7), box(annotation_id=7)]
    with pytest.raises(GranumError, match="annotation_id"):
        Dataset.from_rows([sample("a", *twice)], CATEGORIES)


def test_given_ids_are_kept_and_others_follow():
    mixed = [box(annotation_id=7), box(), box(annotation_id=3)]
    dataset = Dataset.from_rows([sample("a", *mixed)], CATEGORIES)
    assert dataset.annotations(["annotation_id"])["annotation_id"].to_pylist() == [7, 8, 3]


def test_views_have_boxes_in_pixels():
    inside = box(bbox=(0.1, 0.2, 0.5, 0.5))
    dataset = Dataset.from_rows([sample("a.jpg", inside, unit="relative")], CATEGORIES)
    assert dataset[0].boxes().tolist() == [[2.0, 2.0, 10.0, 5.0]]
    assert dataset[0].boxes("xyxy").tolist() == [[2.0, 2.0, 12.0, 7.0]]
    assert dataset[0].boxes("cxcywh").tolist() == [[7.0, 4.5, 10.0, 5.0]]


def test_selecting_nothing_keeps_the_schema(stored):
    nothing = stored.select([])
    assert len(nothing) == 0
    assert nothing.samples().column_names == SAMPLES.names
    assert nothing.category_names() == ["cat", "dog"]
    assert list(nothing.iter_batches()) == []


def test_rows_that_share_a_map_and_inner_nodes_have_masks(tmp_path: Path) -> None:
    from PIL import Image

    leaves = np.array([[0, 0, 1], [2, 2, 1]], np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(leaves).save(buffer, "PNG")
    rows_ = [
        rows.Annotation(annotation_id=1, parent=4, map=rows.LabelMap(digest="d", value=0)),
        rows.Annotation(annotation_id=2, parent=4, map=rows.LabelMap(digest="d", value=1)),
        rows.Annotation(annotation_id=3, parent=5, map=rows.LabelMap(digest="d", value=2)),
        rows.Annotation(annotation_id=4, parent=5),
        rows.Annotation(annotation_id=5, map=rows.LabelMap(bytes=buffer.getvalue(), digest="d")),
        rows.Annotation(annotation_id=6, map=rows.LabelMap(digest="other", value=1)),
        rows.Annotation(annotation_id=7),
    ]
    [view] = Dataset.from_rows([rows.Sample("a", width=3, height=2, annotations=rows_)])
    assert np.array_equal(view.mask(1), leaves == 1)
    assert np.array_equal(view.mask(3), leaves != 2)
    assert view.mask(4).all()
    with pytest.raises(GranumError, match="no annotation has the map"):
        view.mask(5)
    with pytest.raises(GranumError, match="has no mask"):
        view.mask(6)
