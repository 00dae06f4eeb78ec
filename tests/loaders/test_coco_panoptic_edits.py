"""Panoptic datasets that were changed since they were read: what is copied, what is made anew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

import granum
from granum.schema.rows import Annotation, Category, Sample
from granum.schema.tables import with_column
from granum.store.dataset import Dataset
from granum.testing import assert_same
from tests.loaders.panoptic_trees import document, files, ids_of, save

FORMAT = "coco_panoptic"


def source(root: Path, n: int = 4) -> Dataset:
    save(root / "annotations/panoptic_val.json", document(n, 3))
    return granum.read(root, FORMAT)


def test_untouched_pngs_are_copied(tmp_path: Path) -> None:
    """Even one that our encoder would write otherwise."""
    dataset = source(tmp_path / "in")
    path = tmp_path / "in/annotations/panoptic_val/0.png"
    path.write_bytes(path.read_bytes() + b"trailing")
    granum.write(dataset, tmp_path / "out", FORMAT)
    assert files(tmp_path / "out") == {
        **files(tmp_path / "in"),
        "annotations/panoptic_val.json": files(tmp_path / "out")["annotations/panoptic_val.json"],
    }


def test_dropped_segments_leave_the_pngs(tmp_path: Path) -> None:
    """Pixels without a record would be an error for other readers."""
    dataset = source(tmp_path / "in")
    kept = dataset.filter_annotations(
        lambda t: np.asarray(
            [
                s != "2" or n == 3
                for s, n in zip(t["source_id"].to_pylist(), t["sample"].to_pylist(), strict=True)
            ]
        )
    )
    granum.write(kept, tmp_path / "out", FORMAT)
    folder = tmp_path / "out/annotations/panoptic_val"
    found = [np.unique(ids_of(folder / f"{i}.png")).tolist() for i in range(4)]
    assert found == [[0, 1, 3], [0, 1, 3], [0, 1, 3], [0, 1, 2, 3]]
    before, after = files(tmp_path / "in"), files(tmp_path / "out")
    assert before["annotations/panoptic_val/3.png"] == after["annotations/panoptic_val/3.png"]


def test_all_segments_dropped_leave_void(tmp_path: Path) -> None:
    dataset = source(tmp_path / "in", 1).filter_annotations(lambda t: np.zeros(t.num_rows, bool))
    granum.write(dataset, tmp_path / "out", FORMAT)
    made = json.loads((tmp_path / "out/annotations/panoptic_val.json").read_text())
    assert made["annotations"][0]["segments_info"] == []
    assert not ids_of(tmp_path / "out/annotations/panoptic_val/0.png").any()


def test_a_selection_keeps_its_order(tmp_path: Path) -> None:
    chosen = source(tmp_path / "in").select([2, 0])
    granum.write(chosen, tmp_path / "out", FORMAT)
    back = granum.read(tmp_path / "out", FORMAT)
    assert [s.key for s in back] == ["2.jpg", "0.jpg"]
    assert_same(chosen, back, ignore=["media"])


def test_new_splits_make_new_files(tmp_path: Path) -> None:
    parts = source(tmp_path / "in").split({"train": 0.5, "val": 0.5}, seed=1)
    for name, part in parts.items():
        granum.write(part, tmp_path / name, FORMAT)
        back = granum.read(tmp_path / name, FORMAT)
        assert [(s.split, s.key) for s in back] == [(name, s.key) for s in part]
        assert [s.mask(2).sum() for s in back] == [4, 4]


def test_added_annotations_get_free_ids(tmp_path: Path) -> None:
    dataset = source(tmp_path / "in", 1)
    listed = [
        *dataset[0].annotations,
        Annotation(category=0, polygons=[[[4, 0, 6, 0, 6, 4, 4, 4]]]),
    ]
    sample = dataset[0].row
    sample.annotations = listed
    categories = dataset[0].categories
    changed = Dataset.from_rows([sample], categories, media_root=dataset.meta.map_root)
    granum.write(changed, tmp_path / "out", FORMAT)
    back = granum.read(tmp_path / "out", FORMAT)
    assert [a.source_id for a in back[0].annotations] == ["1", "2", "3", "4"]
    assert [back[0].mask(k).sum() for k in range(4)] == [4, 4, 4, 8]


def test_changed_categories_are_written(tmp_path: Path) -> None:
    """A new name, and a fact that the record did not have; what was not changed stays."""
    made = document(1, categories=[{"id": 1, "name": "person", "x": 1}, {"id": 2, "name": "b"}])
    save(tmp_path / "in/annotations/panoptic_val.json", made)
    dataset = granum.read(tmp_path / "in", FORMAT)
    names = with_column(dataset.categories, "name", pa.array(["human", "b"]))
    facts = with_column(names, "isthing", pa.array([None, False]))
    granum.write(dataset.with_categories(facts, np.arange(2)), tmp_path / "out", FORMAT)
    back = json.loads((tmp_path / "out/annotations/panoptic_val.json").read_text())
    assert back["categories"] == [
        {"id": 1, "name": "human", "x": 1},
        {"id": 2, "name": "b", "isthing": 0},
    ]


def test_a_flag_that_was_filled_in_may_be_stated(tmp_path: Path) -> None:
    polygons = [[[0.0, 0.0, 2.0, 0.0, 2.0, 2.0, 0.0, 2.0]]]
    sample = Sample("a.jpg", width=4, height=4)
    sample.annotations = [Annotation(category=0, polygons=polygons)]
    granum.write(Dataset.from_rows([sample], [Category("rug")]), tmp_path / "in", FORMAT)
    dataset = granum.read(tmp_path / "in")
    assert dataset[0].categories[0].isthing is None
    facts = with_column(dataset.categories, "isthing", pa.array([True]))
    granum.write(dataset.with_categories(facts, np.arange(1)), tmp_path / "out", FORMAT)
    assert granum.read(tmp_path / "out")[0].categories[0].isthing is True


def test_through_a_store(tmp_path: Path) -> None:
    dataset = source(tmp_path / "in")
    dataset.save(tmp_path / "x.granum")
    granum.write(granum.open(tmp_path / "x.granum"), tmp_path / "out", FORMAT)
    before, after = files(tmp_path / "in"), files(tmp_path / "out")
    name = "annotations/panoptic_val.json"
    assert json.loads(after.pop(name)) == json.loads(before.pop(name))
    assert after == before
