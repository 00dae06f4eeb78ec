"""Trees survive a store on disk; forests are found among annotations that are there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import granum
from granum.annotate.adding import add_forest
from granum.annotate.base import Generator
from granum.annotate.forest import build_forest
from granum.annotate.storing import tree_of, tree_rows, trees
from granum.annotate.tree import MaskTree
from granum.errors import ConflictError, GranumError, StoreError
from granum.schema.geometry import encode_mask
from granum.schema.rows import Annotation, Category, Rle, Sample
from granum.store.additions import add_layer
from granum.store.dataset import Dataset
from granum.store.media import read_map
from tests.annotate.trees import (
    DRAWN,
    nested_squares,
    random_masks,
    random_partition,
    square,
    square_pool,
)

SEEDS = st.integers(0, 2**32 - 1)


def stored(path: Path, made: list[MaskTree | None], **values: object) -> Dataset:
    """A store with one sample per tree (None: no rows), read back from disk."""
    samples = [
        Sample(
            f"{i}.png", width=30, height=24, annotations=[Annotation(bbox=(0, 0, 1, 1))], **values
        )  # type: ignore[arg-type]
        for i in range(len(made))
    ]
    dataset = Dataset.from_rows(samples).save(path / "x.granum", overwrite=True)
    pieces, following = [], 1
    for i, tree in enumerate(made):
        if tree is not None:
            pieces.append(tree_rows(tree, i, following, relative=values.get("unit") == "relative"))
            following += len(tree)
    table = pa.concat_tables(pieces, promote_options="default")
    add_layer(dataset, "trees", table, producer="test@1")
    return granum.open(path / "x.granum")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trees")


@DRAWN
@given(SEEDS, st.sampled_from(["pixel", "relative"]))
def test_trees_come_back_as_they_were_stored(folder: Path, seed: int, unit: str) -> None:
    masks, scores = random_masks(seed)
    forest = build_forest([encode_mask(m)[1] for m in masks], (24, 30), scores).tree
    made = [random_partition(seed), None, random_partition(seed + 1, void=True), forest]
    dataset = stored(folder, made, unit=unit)
    assert [tree_of(dataset, i, "trees") for i in range(4)] == made
    assert [i for i, _ in trees(dataset, "trees")] == [0, 2, 3]
    # And again, after the whole dataset was written anew and rows changed place.
    chosen = dataset.select([3, 0, 2]).save(folder / "y.granum", overwrite=True)
    assert [tree_of(chosen, i, "trees") for i in range(3)] == [made[3], made[0], made[2]]


def test_a_partition_keeps_its_leaf_map_once(tmp_path: Path) -> None:
    tree = nested_squares()
    rows = stored(tmp_path, [tree]).annotations(layer="trees").to_pylist()
    maps = [row["map"] for row in rows]
    assert [m is not None and m["bytes"] is not None for m in maps] == [False] * 8 + [True]
    assert [None if m is None else m["value"] for m in maps] == [
        1,
        2,
        3,
        4,
        5,
        None,
        None,
        None,
        None,
    ]
    assert [m is None for m in maps] == [False] * 5 + [True] * 3 + [False]
    assert len({m["digest"] for m in maps if m}) == 1 and maps[8]["encoding"] == "index"
    assert {row["kind"] for row in rows} == {"object"}
    ids = [row["annotation_id"] for row in rows]
    assert [row["parent"] and ids.index(row["parent"]) for row in rows] == [*tree.parent[:8], None]
    assert [row["area"] for row in rows] == tree.area.tolist()
    assert rows[5]["bbox"] == [0, 0, 8, 8] and rows[5]["level"] == 3
    assert rows[5]["granularity"] == pytest.approx(0.4)
    assert rows[5]["attr.altitude"] == 1
    assert all("rle" not in row and row.get("score") is None for row in rows)
    # Ids do not meet those of other layers.
    assert min(ids) > 1


def test_a_stored_leaf_map_is_a_plain_label_image(tmp_path: Path) -> None:
    dataset = stored(tmp_path, [nested_squares()]).layer("trees")
    root = dataset[0].annotations[8].map
    assert root is not None
    for value, leaf in ((1, square(4)), (2, square(8) & ~square(4))):
        root.value = value
        assert np.array_equal(read_map(root, None), leaf)


def test_many_leaves_are_coded_in_colours(tmp_path: Path) -> None:
    leaves = np.arange(66_000).reshape(220, 300)
    tree = MaskTree.partition(leaves, [66_000] * 66_000 + [-1])
    rows = tree_rows(tree, 0, 1)
    assert rows["map"][66_000].as_py()["encoding"] == "rgb24"
    assert tree_of(Dataset.from_arrow(sample_table(), {"truth": rows}), 0) == tree


def sample_table(n: int = 1) -> pa.Table:
    return pa.table({"key": [f"{i}" for i in range(n)], "width": [64] * n, "height": [64] * n})


def test_one_region_is_root_and_leaf() -> None:
    for leaves in (np.zeros((3, 4)), np.array([[0, -1], [0, 0]])):
        tree = MaskTree.partition(leaves, [-1])
        rows = tree_rows(tree, 0, 5)
        assert tree_of(Dataset.from_arrow(sample_table(), {"truth": rows}), 0) == tree


def shuffled(rows: pa.Table, seed: int = 0) -> pa.Table:
    return rows.take(np.random.default_rng(seed).permutation(rows.num_rows))


def test_rows_in_any_order_are_the_same_masks() -> None:
    tree = nested_squares()
    dataset = Dataset.from_arrow(sample_table(), {"truth": shuffled(tree_rows(tree, 0, 1))})
    found = tree_of(dataset, 0)
    assert found is not None
    assert {found.mask(i).tobytes() for i in range(9)} == {tree.mask(i).tobytes() for i in range(9)}
    for g in (0.3, 0.5, 0.7, 0.9):
        assert len(np.unique(found.cut(g))) == len(np.unique(tree.cut(g)))


def test_rows_that_are_no_tree_say_why() -> None:
    rows = tree_rows(nested_squares(), 0, 1)

    def told(table: pa.Table, message: str) -> None:
        with pytest.raises(GranumError, match=message):
            tree_of(Dataset.from_arrow(sample_table(), {"truth": table}), 0)

    def with_parents(parents: list[int | None]) -> pa.Table:
        at = rows.column_names.index("parent")
        return rows.set_column(at, "parent", pa.array(parents, pa.int64()))

    told(rows.slice(0, 8), "parent 9 is not there")
    told(with_parents([6, 6, 7, 8, 9, 7, 8, 6, None]), "above itself")
    told(rows.drop_columns(["map"]), "no mask")
    told(rows.slice(1), "no row has value 1")
    assert tree_of(Dataset.from_arrow(sample_table(), {"truth": rows.slice(0, 0)}), 0) is None


def test_too_deep_a_tree_is_refused() -> None:
    n = 2**15
    up = [*range(1, n + 1), -1]
    tree = MaskTree.partition([[0]], up)
    with pytest.raises(GranumError, match="max_nodes"):
        tree_rows(tree, 0, 1)


# ------------------------------------------------------------------ from annotations


def scene(path: Path, unit: str = "pixel") -> Dataset:
    """A person (polygon) with a hand (RLE) in it, a box, an absent object, and a copy."""
    s = 1 / 64 if unit == "relative" else 1
    size, counts = encode_mask(square(8))
    ring = [0, 0, 40 * s, 0, 40 * s, 40 * s, 0, 40 * s]
    person = Annotation(category=0, polygons=[[ring]], source_id="p", attributes={"tall": True})
    hand = Annotation(category=1, rle=Rle(size, counts), crowd=False, score=0.7)
    boxed = Annotation(category=1, bbox=(0, 0, s, s))
    absent = Annotation(category=1, present=False)
    samples = [
        Sample("a", width=64, height=64, unit=unit, annotations=[hand, boxed, person, absent]),
        Sample("b", width=64, height=64, unit=unit),
        Sample("c", width=64, height=64, unit=unit, annotations=[person, person]),
    ]
    made = Dataset.from_rows(samples, [Category("person"), Category("hand")])
    return made.save(path / "scene.granum")


@pytest.mark.parametrize("unit", ["pixel", "relative"])
def test_masks_of_a_layer_become_a_forest(tmp_path: Path, unit: str) -> None:
    dataset, left = add_forest(scene(tmp_path, unit), layer="parts")
    assert left == {"without_mask": 1, "duplicates": 1, "empty": 0}
    assert dataset.meta.layer == "parts"
    info = dataset.meta.layers["parts"]
    assert info["parent"] == "truth"
    name, _, parameters = info["producer"].partition(" ")
    assert name == "forest@1" and json.loads(parameters)["contain"] == 0.85
    hand, person = dataset[0].annotations
    assert (hand.category, hand.score, hand.crowd, hand.level) == (1, 0.7, False, 1)
    assert (person.category, person.source_id, person.level) == (0, "p", 0)
    assert person.attributes == {"tall": True}
    assert hand.parent == person.annotation_id and person.parent is None
    assert person.granularity == 1 and hand.granularity == pytest.approx(
        1 + np.log2(64 / 1600) / 10
    )
    assert dataset[1].annotations == [] and len(dataset[2].annotations) == 1
    assert dataset[0].boxes().tolist()[1] == [0, 0, 40, 40]
    tree = tree_of(dataset, 0)
    assert tree is not None and tree.area.tolist() == [64, 1600]
    assert np.array_equal(tree.mask(0), square(8))
    # The rows that it came from are what they were.
    assert dataset.layer("truth").num_annotations == 6


def test_a_layer_is_made_once_and_only_in_a_store(tmp_path: Path) -> None:
    dataset, _ = add_forest(scene(tmp_path))
    with pytest.raises(ConflictError, match="forest"):
        add_forest(dataset.layer("truth"))
    with pytest.raises(StoreError):
        add_forest(dataset.select([0]).layer("truth"), layer="other")


def test_masks_of_two_sizes_are_an_error(tmp_path: Path) -> None:
    rles = [Annotation(rle=Rle(*encode_mask(np.ones(s)))) for s in ((4, 4), (5, 4))]
    store = Dataset.from_rows([Sample("a", annotations=rles)]).save(tmp_path / "x.granum")
    with pytest.raises(GranumError, match="differ in size"):
        add_forest(store)


def test_parents_that_people_named_are_a_tree() -> None:
    """Any layer will do whose rows have masks and parents, parents first too."""
    whole, part = (Rle((64, 64), square_pool()[i]) for i in (0, 2))
    rows = [
        Annotation(annotation_id=7, rle=whole),
        Annotation(annotation_id=8, rle=part, parent=7),
    ]
    tree = tree_of(Dataset.from_rows([Sample("a", width=64, height=64, annotations=rows)]), 0)
    assert tree is not None
    assert tree.area.tolist() == [256, 4096] and tree.parent.tolist() == [1, -1]
    assert tree.granularity == pytest.approx([0.6, 1])


class _Unused(Generator):  # the base says what a generator must have
    pass


def test_a_generator_must_make_trees() -> None:
    with pytest.raises(TypeError, match="abstract"):
        _Unused()  # type: ignore[abstract]
