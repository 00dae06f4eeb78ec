"""Training pairs: closed forms on nested squares, and no leak between splits."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("scipy")

from granum.annotate.forest import build_forest
from granum.annotate.pairs import PAIRS, training_pairs
from granum.annotate.storing import tree_rows
from granum.annotate.tree import MaskTree
from granum.errors import UsageError
from granum.schema.geometry import rle_decode
from granum.schema.rows import Group, Sample
from granum.store.dataset import Dataset
from tests.annotate.trees import nested_squares, random_partition, square, square_pool


def dataset_of(*made: MaskTree, **values: list[object]) -> Dataset:
    samples = [
        Sample(f"{i}.png", **{k: v[i] for k, v in values.items()})  # type: ignore[arg-type]
        for i in range(len(made))
    ]
    plain = Dataset.from_rows(samples, groups=[Group("g0"), Group("g1")])
    pieces, following = [], 100
    for i, tree in enumerate(made):
        pieces.append(tree_rows(tree, i, following))
        following += len(tree)
    rows = pa.concat_tables(pieces, promote_options="default")
    return Dataset.from_arrow(plain.samples(), {"truth": rows}, groups=plain.groups)


def test_a_row_per_node_with_every_view() -> None:
    rows = training_pairs(dataset_of(build_forest(square_pool(), (64, 64)).tree), min_area=0)
    assert rows.schema.names == PAIRS.names
    assert rows["annotation_id"].to_pylist() == [100, 101, 102, 103, 104]
    assert rows["owner"].to_pylist() == [104] * 5
    assert rows["is_part"].to_pylist() == [True] * 4 + [False]
    assert rows["granularity"].to_pylist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert rows["area_ratio"].to_pylist() == [1 / 256, 1 / 64, 1 / 16, 1 / 4, 1]
    assert rows["root_area"].to_pylist() == [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]
    assert rows["graco"].to_pylist() == [0.1, 0.1, 0.1, 0.2, 1]
    assert rows["graco_bin"].to_pylist() == [0, 0, 0, 1, 9]
    assert rows["unsam"].to_pylist() == pytest.approx([0.1, 0.16, 0.28, 0.52, 1])
    assert rows["bbox"].to_pylist()[1] == [0, 0, 8, 8]
    assert rows["rle"].null_count == 5 and rows["split"].null_count == 5


def test_clicks_of_nested_squares() -> None:
    rows = training_pairs(dataset_of(build_forest(square_pool(), (64, 64)).tree), min_area=0)
    assert rows["positive"].to_pylist()[1:3] == [{"x": 3.5, "y": 3.5}, {"x": 7.5, "y": 7.5}]
    tree = nested_squares()
    found = training_pairs(dataset_of(tree), min_area=0).to_pylist()
    for row in found:
        mask = tree.mask(row["node"])
        assert mask[int(row["positive"]["y"]), int(row["positive"]["x"])]
        sources = [n["from"] for n in row["negatives"]]
        assert len(sources) == len(set(sources))
        for click in row["negatives"]:
            x, y = int(click["x"]), int(click["y"])
            assert not mask[y, x]
            if click["from"] == "parent":
                assert tree.mask(int(tree.parent[row["node"]]))[y, x]
    square_of_8 = found[5]["negatives"]
    # The sibling is what the parent has beside it; the ring of ceil(0.1 * 8) = 1 pixel is apart.
    assert [n["from"] for n in square_of_8] == ["sibling", "border"]
    assert max(square_of_8[1]["x"], square_of_8[1]["y"]) == 8.5
    assert found[8]["negatives"] == []


def test_the_image_may_be_the_owner() -> None:
    tree = build_forest(square_pool([1, 2]), (64, 64)).tree
    rows = training_pairs(dataset_of(tree), owner="image")
    assert rows["owner"].null_count == 2
    assert rows["owner_area"].to_pylist() == [4096, 4096]
    assert rows["granularity"].to_pylist() == pytest.approx([0.6, 0.8])


def test_masks_come_along_when_asked_for() -> None:
    for tree in (nested_squares(), build_forest(square_pool(), (64, 64)).tree):
        rows = training_pairs(dataset_of(tree), masks=True, min_area=100)
        assert min(rows["area"].to_pylist()) >= 100
        for node, rle in zip(rows["node"].to_pylist(), rows["rle"].to_pylist(), strict=True):
            assert np.array_equal(rle_decode(rle["size"], rle["counts"]), tree.mask(node))


def test_weights_even_out_the_bins() -> None:
    rows = training_pairs(dataset_of(*map(random_partition, range(6))), min_area=1)
    bins, weight = np.asarray(rows["bin"]), np.asarray(rows["weight"])
    assert weight.mean() == pytest.approx(1)
    sums = np.bincount(bins, weight)
    assert np.allclose(sums[sums > 0], sums[sums > 0][0])
    facts = json.loads(rows.schema.metadata[b"pairs"])
    assert facts["counts"] == np.bincount(bins, minlength=10).tolist()
    assert facts["bins"] == 10 and facts["owner"] == "root"
    empty = training_pairs(dataset_of(nested_squares()), min_area=1e6)
    assert empty.num_rows == 0 and empty.schema.names == PAIRS.names


def test_an_image_is_in_one_split_and_so_is_a_group() -> None:
    trees = [build_forest([square_pool()[1]], (64, 64)).tree] * 60
    groups = [0] * 10 + [1] * 10 + [None] * 40
    dataset = dataset_of(*trees, group=groups, split=["given"] * 60)
    fractions = {"train": 0.5, "val": 0.3}
    rows = training_pairs(dataset, fractions=fractions)
    split = rows["split"].to_pylist()
    assert len(set(split[:10])) == 1 and len(set(split[10:20])) == 1
    assert set(split) == {"train", "val", None}
    assert split.count("train") > split.count("val") > 0
    assert training_pairs(dataset, fractions=fractions)["split"].to_pylist() == split
    assert training_pairs(dataset, fractions=fractions, seed=1)["split"].to_pylist() != split
    order = np.random.default_rng(0).permutation(60)
    turned = training_pairs(dataset.select(order), fractions=fractions)
    assert dict(zip(turned["key"].to_pylist(), turned["split"].to_pylist(), strict=True)) == dict(
        zip(rows["key"].to_pylist(), split, strict=True)
    )
    assert set(training_pairs(dataset)["split"].to_pylist()) == {"given"}
    with pytest.raises(UsageError, match="fractions"):
        training_pairs(dataset, fractions={"train": 0.9, "val": 0.2})


def test_the_border_is_as_wide_as_a_tenth_of_the_side() -> None:
    tree = build_forest([square_pool()[1]], (64, 64)).tree  # a side of 32: 4 pixels
    (click,) = training_pairs(dataset_of(tree))["negatives"].to_pylist()[0]
    assert click["from"] == "border"
    assert not square(32)[int(click["y"]), int(click["x"])]
    assert square(36)[int(click["y"]), int(click["x"])]
