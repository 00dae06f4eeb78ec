"""The built-in generators on generated and real images; how one is added; absent packages."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import granum
from granum.annotate.adding import add_hierarchy
from granum.annotate.base import Generator, generators, make
from granum.annotate.storing import tree_of
from granum.annotate.tree import MaskTree
from granum.annotate.validators import RULES, validate
from granum.errors import GranumError, MissingExtraError, UnknownNameError, UsageError
from granum.schema.rows import Media, Sample
from granum.store.dataset import Dataset
from tests.annotate.trees import picture, picture_store
from tests.data import shared

BUILT_IN = ("slico_average", "watershed_volume")
QUICK = [r for r in RULES if r != "boxes"]


@dataclass(frozen=True)
class Halves(Generator):
    """The image, and its left and right halves; ``seed`` says which comes first."""

    name = "halves"
    version = 3
    at: float = 0.5

    def tree(self, image: np.ndarray, *, seed: int = 0) -> MaskTree:
        leaves = np.zeros(image.shape[:2], np.int64)
        leaves[:, int(self.at * image.shape[1]) :] = 1
        return MaskTree.partition(leaves if seed == 0 else 1 - leaves, [2, 2, -1])


def test_names_are_known_without_importing_anything() -> None:
    assert set(BUILT_IN) <= set(generators.names())


@pytest.mark.parametrize("name", BUILT_IN)
def test_equal_images_give_equal_trees_that_tile(name: str) -> None:
    pytest.importorskip("higra")
    pytest.importorskip("skimage")
    image = np.asarray(Image.open(shared("bsds/images/train/100075.jpg")).convert("RGB"))
    tree = make(name).tree(image)
    assert tree == make(name).tree(image.copy(), seed=1)
    assert tree.size == image.shape[:2] and tree.kind == "partition"
    assert validate(tree, QUICK) == []
    assert tree.altitude[~tree.is_leaf].min() > 0
    for k in (2, 20, 200):
        assert len(np.unique(tree.cut_regions(k))) == k
    counts = [len(np.unique(tree.cut(g))) for g in (1.0, 0.9, 0.7, 0.5)]
    assert counts[0] == 1 and counts == sorted(counts)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_nodes_stay_within_their_number(name: str) -> None:
    pytest.importorskip("higra")
    pytest.importorskip("skimage")
    image = picture(0)
    whole, few = make(name).tree(image), make(name, {"max_nodes": 9}).tree(image)
    assert len(few) == 9 < len(whole)
    for k in range(1, 6):
        assert len(np.unique(few.cut_regions(k))) == k
        same = {
            (int(a), int(b))
            for a, b in zip(few.cut_regions(k).ravel(), whole.cut_regions(k).ravel(), strict=True)
        }
        assert len(same) == k


@pytest.mark.parametrize("name", BUILT_IN)
def test_two_colours_are_two_regions(name: str) -> None:
    pytest.importorskip("higra")
    pytest.importorskip("skimage")
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 20:] = (200, 120, 30)
    parameters = {"sigma": 0.0} if name == "watershed_volume" else {"superpixels": 60}
    labels = make(name, parameters).tree(image).cut_regions(2)
    left = labels[:, :20]
    assert len(np.unique(labels)) == 2 and (left == left[0, 0]).all()


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (5, 1), (12, 9)])
def test_images_without_anything_to_see(name: str, shape: tuple[int, int]) -> None:
    pytest.importorskip("higra")
    pytest.importorskip("skimage")
    tree = make(name).tree(np.full((*shape, 3), 7, np.uint8))
    assert tree.size == shape and validate(tree) == []


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("absent", ["higra", "skimage"])
def test_an_absent_package_says_what_to_install(
    name: str, absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [m for m in sys.modules if m.partition(".")[0] == absent] + [absent]:
        monkeypatch.setitem(sys.modules, module, None)
    if absent == "skimage":
        for module in ("skimage.segmentation", "skimage.color", "skimage.filters"):
            monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"granum\[hierarchy\]"):
        make(name).tree(picture(0))


def test_parameters_are_checked() -> None:
    assert make("slico_average", {"superpixels": 9}).parameters()["superpixels"] == 9
    with pytest.raises(UnknownNameError, match="superpixel"):
        make("slico_average", {"superpixel": 9})
    with pytest.raises(UnknownNameError, match="slico"):
        make("slic_average")
    with pytest.raises(UsageError):
        make(Halves(), {"at": 1})
    assert make(Halves()) == Halves()
    assert Halves(at=0.25).producer(7) == 'halves@3 {"at": 0.25, "seed": 7}'


def test_a_generator_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(generators._things, "halves", Halves)
    assert make("halves", {"at": 0.1}) == Halves(0.1)


def test_a_layer_of_trees_in_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, seen = picture_store(tmp_path, monkeypatch), []
    assert len(store.parts) == 2
    made = add_hierarchy(store, Halves(0.25), progress=seen.append)
    assert seen == [1, 1, 1] and made.meta.layer == "regions"
    assert made.meta.layers["regions"]["producer"] == Halves(0.25).producer()
    reopened = granum.open(tmp_path / "x.granum")
    for i in range(3):
        expected = Halves(0.25).tree(np.asarray(store[i].image()))
        assert tree_of(reopened, i, "regions") == expected
    other = add_hierarchy(made, Halves(), layer="other", seed=1)
    assert tree_of(other, 2) == Halves().tree(picture(2), seed=1)
    assert tree_of(other, 2, "regions") == tree_of(made, 2)


def test_a_store_gives_the_trees_of_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("higra")
    pytest.importorskip("skimage")
    store = picture_store(tmp_path, monkeypatch, unit="relative")
    made = add_hierarchy(store, "watershed_volume", parameters={"max_nodes": 41})
    for i in range(3):
        tree = make("watershed_volume", {"max_nodes": 41}).tree(picture(i))
        assert tree_of(made, i) == tree
        # Stored in the sample's unit, read in pixels.
        assert np.allclose(made[i].boxes(), tree.bbox)
        assert max(a.area for a in made[i].annotations if a.area) == 1.0


def test_the_layer_is_refused_before_work_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = add_hierarchy(picture_store(tmp_path, monkeypatch), Halves())
    seen: list[Any] = []
    with pytest.raises(GranumError, match="regions"):
        add_hierarchy(made, Halves(), progress=seen.append)
    assert seen == []


def test_an_image_of_another_size_is_an_error(tmp_path: Path) -> None:
    Image.fromarray(picture(0)).save(tmp_path / "a.png")
    samples = [Sample("a", Media("a.png"), width=61, height=40)]
    store = Dataset.from_rows(samples, media_root=tmp_path).save(tmp_path / "x.granum")
    with pytest.raises(GranumError, match="61 x 40"):
        add_hierarchy(store, Halves())
