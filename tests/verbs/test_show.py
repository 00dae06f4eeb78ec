"""``show`` draws a sample as the report does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from granum.annotate.adding import add_forest
from granum.annotate.storing import tree_rows
from granum.annotate.tree import MaskTree
from granum.cli import main
from granum.schema.fields import field_to_map
from granum.schema.rows import Annotation, Category, LabelMap, Media, Sample
from granum.store.additions import add_layer
from granum.store.dataset import Dataset
from granum.verbs._report_album import Album
from granum.verbs.look import show

WIDTH, HEIGHT = 400, 200
"""Large enough not to be enlarged."""


@pytest.fixture
def store(tmp_path: Path) -> Dataset:
    """A grey picture with a heat map that rises to the right, and another with a label image."""
    for name in "ab":
        Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 90)).save(tmp_path / f"{name}.png")
    heat, extra = field_to_map(np.tile(np.linspace(0, 1, WIDTH), (HEIGHT, 1)))
    thirds = np.repeat([0, 1, 2, 3], WIDTH // 4)[None].repeat(HEIGHT, 0).astype(np.uint8)
    Image.fromarray(thirds).save(tmp_path / "map.png")
    field = Annotation("field", 0, map=LabelMap(bytes=heat), extra=extra)
    whole = Annotation(map=LabelMap("map.png"))
    samples = [
        Sample(f"{name}.png", Media(f"{name}.png"), WIDTH, HEIGHT, annotations=[row])
        for name, row in (("a", field), ("b", whole))
    ]
    made = Dataset.from_rows(samples, [Category("heat", space="field")], media_root=tmp_path)
    return made.save(tmp_path / "s.granum")


def test_a_heat_map_is_drawn_by_its_numbers(store: Dataset) -> None:
    picture = np.asarray(show(store, "a.png"))[:HEIGHT]
    row = picture[HEIGHT // 2].astype(int)
    assert len(np.unique(row, axis=0)) > 50  # and not one colour
    assert row[-5, 0] - row[-5, 2] > row[5, 0] - row[5, 2]  # from cold to hot


def test_a_label_image_has_a_colour_for_each_value(store: Dataset) -> None:
    row = np.asarray(show(store, "b.png"))[HEIGHT // 2]
    colours = [tuple(row[WIDTH // 8 + i * WIDTH // 4].tolist()) for i in range(4)]
    assert colours[0] == (90, 90, 90) and len(set(colours)) == 4  # 0 is clear


def test_the_report_draws_the_same(store: Dataset) -> None:
    for view in store:
        theirs = Album(store).drawn(view)
        assert theirs is not None
        np.testing.assert_array_equal(np.asarray(show(store, view.key)), np.asarray(theirs))


@pytest.fixture
def halves(store: Dataset) -> Dataset:
    """With a tree of the left and the right half of the first picture."""
    leaves = np.zeros((HEIGHT, WIDTH), int)
    leaves[:, WIDTH // 2 :] = 1
    rows = tree_rows(MaskTree.partition(leaves, [2, 2, -1]), 0, 3)
    return add_layer(store, "regions", [rows], producer="by hand")


def test_a_tree_is_a_sheet_of_cuts(halves: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "cuts.png"
    source = str(tmp_path / "s.granum")
    assert main(["show", source, "a.png", "--layer", "regions", "-o", str(out)]) == 0
    assert Image.open(out).width > WIDTH
    pool = add_forest(halves, of="regions", layer="pool")[0]
    np.testing.assert_array_equal(np.asarray(show(pool, 0)), np.asarray(Image.open(out)))


def test_what_is_no_tree_any_more_is_drawn(halves: Dataset) -> None:
    rows = halves.annotations(layer="regions").slice(1)  # the root still means two halves
    torn = add_layer(halves, "torn", [rows], producer="by hand").layer("torn")
    row = np.asarray(show(torn, 0))[HEIGHT // 2].astype(int)
    assert len(row) == WIDTH and (row[10] != row[-10]).any()


def test_masks_with_categories_are_drawn_as_objects(halves: Dataset) -> None:
    pool = add_forest(halves, of="regions", layer="pool")[0]
    rows = pool.annotations(layer="pool").append_column("category", pa.array([0, 0, None]))
    named = add_layer(pool, "named", [rows], producer="by hand").layer("named")
    assert show(named, 0).width == WIDTH
