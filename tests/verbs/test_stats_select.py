"""``stats`` and ``select``: from a path to a result, and what may not be asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import granum
from granum.curate.selection import replay
from granum.errors import ConflictError, StoreError, UnknownNameError, UsageError
from granum.store.dataset import Dataset
from granum.verbs.selecting import select
from granum.verbs.stats import stats
from tests.curate.planted import picture
from tests.curate.spaces import store

N = 12


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A store of image files, of which two are broken."""
    from granum.schema.rows import Annotation, Category, Media, Sample

    root = tmp_path / "images"
    root.mkdir()
    samples = []
    for i in range(N):
        name = f"{i:02d}.png"
        picture(i).save(root / name)
        box = Annotation(category=i % 3, bbox=(5.0 * i, 10, 30, 20 + i))
        split = "train" if i < 8 else "val"
        media = Media(path=name)
        samples.append(Sample(name, media, 128, 96, split=split, annotations=[box]))
    categories = [Category(n) for n in ("cat", "dog", "owl")]
    Dataset.from_rows(samples, categories, media_root=root).save(tmp_path / "p.granum")
    return tmp_path / "p.granum"


def test_stats_of_a_store_that_is_scored_on_the_way(photos: Path) -> None:
    found = stats(photos, space="descriptors", by="category", n_ref=5, workers=2)
    assert found["stats"].values["samples"] == N
    assert found["vendi"].tables["groups"].num_rows == 3
    assert 1 < found["vendi"].values["vendi_1_at_5"] <= 5
    assert set(found.summaries) == {"stats", "grade", "vendi"}
    again = stats(photos, space="descriptors", by="category", n_ref=5)
    assert again.to_dict() == found.to_dict()
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
    assert "vendi.groups" in found.to_arrow() and "### classes" in found.markdown()


def test_comparison_of_a_store_with_a_view(photos: Path) -> None:
    picked = select(photos, "k_center", 6, save_as="core")
    dataset = picked.dataset
    found = stats(dataset, compare=dataset.view("core"), space="descriptors")["comparison"]
    assert (found.values["samples_a"], found.values["samples_b"]) == (N, 6)
    assert found.values["vendi_1_b"] >= found.values["vendi_1_a"]


def test_select_saves_a_view_that_replays(photos: Path) -> None:
    found = select(photos, "k_center", 4, where="split == 'train'", save_as="core", seed=2)
    assert found.to_dict()["selected"] == 4 and found.to_dict()["view"] == "core"
    dataset = granum.open(photos)
    view = dataset.view("core")
    assert view.samples(["key"])["key"].to_pylist() == [s.key for s in found.apply()]
    assert set(view.samples(["split"])["split"].to_pylist()) == {"train"}
    assert dataset.meta.store is not None
    lineage = dataset.meta.store.manifest["views"]["core"]["lineage"]
    np.testing.assert_array_equal(replay(dataset, lineage).rows, found.selection.rows)
    with pytest.raises(ConflictError):
        select(photos, "k_center", 4, save_as="core")


def test_included_samples_are_built_upon(photos: Path) -> None:
    first = select(photos, "k_center", 3, save_as="first")
    second = select(photos, "k_center", 3, include="first")
    keys = [s.key for s in first.apply()]
    third = select(photos, "k_center", 3, include=keys)
    whole = select(photos, "k_center", 6)
    np.testing.assert_array_equal(second.selection.rows, whole.selection.rows[3:])
    np.testing.assert_array_equal(third.selection.rows, whole.selection.rows[3:])
    with pytest.raises(UnknownNameError, match="sample"):
        select(photos, "random", 3, include=["no.png"])


def test_selected_samples_are_written(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "few.granum"
    found = select(photos, "balance", 6, out=out)
    few = granum.open(out)
    assert few.counts() == {"cat": 2, "dog": 2, "owl": 2}
    assert found.to_dict()["out"] == str(out)
    assert found.to_dict()["reasons"] == {f"category {c}": 2 for c in ("cat", "dog", "owl")}


def test_files_of_any_format_are_selected_from(tmp_path: Path) -> None:
    classes = [[i % 2] for i in range(6)]
    granum.write(store(tmp_path / "s.granum", 6, classes=classes), tmp_path / "coco", "coco")
    found = select(tmp_path / "coco", "balance", 4)
    assert found.to_dict()["selected"] == 4
    with pytest.raises(StoreError, match="store"):
        select(tmp_path / "coco", "balance", 4, save_as="x")


def test_vectors_need_a_store(tmp_path: Path) -> None:
    granum.write(store(tmp_path / "s.granum", 3, classes=[[0]] * 3), tmp_path / "coco", "coco")
    with pytest.raises(StoreError, match="descriptors"):
        stats(tmp_path / "coco", space="descriptors")
    assert stats(tmp_path / "coco")["stats"].values["annotations"] == 3


def test_what_cannot_be_meant_is_refused(photos: Path) -> None:
    with pytest.raises(UsageError, match="no parameter 'space'"):
        select(photos, "random", 3, space="descriptors")
    with pytest.raises(UsageError, match="annotations"):
        select(photos, "random", 3, where="area > 3")
    with pytest.raises(UnknownNameError, match="space"):
        select(photos, "k_center", 3, space="nothing")
    with pytest.raises(UnknownNameError, match="k_center"):
        select(photos, "k_centre", 3)
    assert select(photos, "balance", 3, by="split").to_dict()["reasons"].keys() == {
        "split train",
        "split val",
    }
