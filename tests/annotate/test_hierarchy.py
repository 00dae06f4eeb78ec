"""The verb: a layer of trees and the facts about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from granum.annotate.storing import tree_of, tree_rows
from granum.errors import UnknownNameError
from granum.schema.rows import Annotation, Rle, Sample
from granum.store.additions import add_layer
from granum.store.dataset import Dataset
from granum.verbs.hierarchy import hierarchy, hierarchy_methods
from tests.annotate.trees import nested_squares, picture_store, square_pool


def test_trees_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("higra")
    pytest.importorskip("skimage")
    picture_store(tmp_path, monkeypatch)
    done = hierarchy(tmp_path / "x.granum", "slico_average", parameters={"superpixels": 30})
    assert done.dataset.meta.layer == "regions"
    assert done.facts["trees"] == 3 and done.facts["layer"] == "regions"
    assert done.facts["nodes"] == done.dataset.num_annotations > 60
    assert done.facts["producer"].startswith("slico_average@1 {")
    assert done.facts["seconds"] >= 0
    tree = tree_of(done.dataset, 1)
    assert tree is not None and (tree.cut(1.0) == len(tree) - 1).all()


def test_trees_of_masks(tmp_path: Path) -> None:
    squares = [Annotation(rle=Rle((64, 64), c)) for c in square_pool()]
    samples = [Sample("a", annotations=squares), Sample("b")]
    store = Dataset.from_rows(samples).save(tmp_path / "x.granum")
    done = hierarchy(store, "forest", layer="f", parameters={"owner": "image"})
    assert {k: done.facts[k] for k in ("trees", "nodes", "duplicates")} == {
        "trees": 1,
        "nodes": 5,
        "duplicates": 0,
    }
    assert np.allclose(
        [a.granularity for a in done.dataset[0].annotations], [0.2, 0.4, 0.6, 0.8, 1]
    )
    with pytest.raises(UnknownNameError, match="containment"):
        hierarchy(store, "forest", layer="g", parameters={"containment": 1})


def test_methods_are_listed() -> None:
    assert {"forest", "slico_average", "watershed_volume"} <= set(hierarchy_methods())
    with pytest.raises(UnknownNameError, match="Did you mean 'slico_average'"):
        hierarchy(Dataset.from_rows([]), "slico_averages")


def test_a_forest_of_a_layer_of_regions(tmp_path: Path) -> None:
    """Its inner nodes are the union of their leaves, whose pixels the root's row holds."""
    tree, samples = nested_squares(), [Sample("a", width=64, height=64), Sample("b")]
    store = Dataset.from_rows(samples).save(tmp_path / "x.granum")
    store = add_layer(store, "regions", [tree_rows(tree, 0, 1)], producer="by hand")
    done = hierarchy(store, "forest", of="regions", layer="f", parameters={"dup_iou": 1.1})
    assert (done.facts["without_mask"], done.facts["nodes"]) == (0, 9)
    found = tree_of(done.dataset, 0)
    assert found is not None and found.kind == "pool"
    assert sorted(found.mask(i).tobytes() for i in range(9)) == sorted(
        tree.mask(i).tobytes() for i in range(9)
    )
    # A leaf whose pixels are nowhere takes those above it along.
    rows = tree_rows(tree, 0, 1)
    maps = rows["map"].to_pylist()
    maps[4] = None  # the outermost ring
    rows = rows.set_column(rows.column_names.index("map"), "map", pa.array(maps, rows["map"].type))
    store = add_layer(store, "torn", [rows], producer="by hand")
    done = hierarchy(store, "forest", of="torn", layer="g", parameters={"dup_iou": 1.1})
    assert (done.facts["without_mask"], done.facts["nodes"]) == (2, 7)
