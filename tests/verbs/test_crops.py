"""Objects as images of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from granum.curate.splitting import group_split
from granum.errors import ExistsError
from granum.schema.rows import Annotation, Category, Group, Media, Sample
from granum.store.dataset import Dataset
from granum.verbs.crops import crops


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    pixels = np.arange(40 * 60 * 3, dtype=np.uint32).reshape(40, 60, 3) % 251
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "a.png")
    boxes = [
        Annotation(category=0, bbox=(10.0, 5.0, 20.0, 10.0)),
        Annotation(category=1, bbox=(50.0, 30.0, 20.0, 20.0)),  # reaches outside
        Annotation(category=0, bbox=(0.0, 0.0, 4.0, 30.0)),  # too thin
        Annotation(category=0, bbox=(1.0, 1.0, 20.0, 20.0), crowd=True),
        Annotation(kind="label", category=1),
    ]
    sample = Sample("a.png", media=Media("a.png"), split="val", annotations=boxes)
    made = Dataset.from_rows([sample], [Category("cat"), Category("dog")], media_root=tmp_path)
    return made.save(tmp_path / "x.granum")


def test_pixels_label_and_origin(data: Dataset, tmp_path: Path) -> None:
    found = crops(data, tmp_path / "c.granum", margin=0.0)
    assert [s.key for s in found] == ["a.png#1", "a.png#2"]
    whole = np.asarray(data[0].image())
    assert np.array_equal(np.asarray(found[0].image()), whole[5:15, 10:30])
    assert np.array_equal(np.asarray(found[1].image()), whole[30:40, 50:60])
    assert [s.labels for s in found] == [["cat"], ["dog"]]
    assert found[1].row.attributes == {"of": "a.png", "annotation": 2}
    assert {s.split for s in found} == {"val"}


def test_margin_and_choice(data: Dataset, tmp_path: Path) -> None:
    found = crops(data, tmp_path / "c.granum", margin=0.1, categories=["cat"])
    assert [s.key for s in found] == ["a.png#1"]
    assert found[0].image().size == (24, 12)
    with pytest.raises(ExistsError):
        crops(data, tmp_path / "c.granum")


def test_crops_of_one_image_or_group_stay_together(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    boxes = [Annotation(category=i % 2, bbox=(0.0, 0.0, 10.0 + i, 10.0)) for i in range(4)]
    samples = [
        Sample(f"{i}", media=Media("a.png"), group={6: 1, 7: 1}.get(i), annotations=boxes)
        for i in range(8)
    ]
    groups = [Group("unused"), Group("0", "video", frames=9, attributes={"where": "x"})]
    made = Dataset.from_rows(
        samples, [Category("cat"), Category("dog")], groups, media_root=tmp_path
    ).save(tmp_path / "x.granum")
    found = crops(made, tmp_path / "c.granum")
    listed = found.groups.select(["key", "kind", "attributes"]).to_pylist()
    kept = {"key": "0", "kind": "video", "attributes": '{"where": "x"}'}
    assert [g["key"] for g in listed] == ["0#image", "1", "2", "3", "4", "5", "0"]
    assert listed[-1] == kept and {g["kind"] for g in listed[:-1]} == {"image"}
    group = np.asarray(found.samples(["group"])["group"])
    assert group.tolist() == np.repeat([0, 1, 2, 3, 4, 5, 6, 6], 4).tolist()
    dealt = group_split(found, {"train": 0.5, "val": 0.5}).split.to_pylist()
    assert all(len({s for s, g in zip(dealt, group, strict=True) if g == k}) == 1 for k in range(7))
    assert set(dealt) == {"train", "val"}


def test_folds_do_not_tear_an_image_apart(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from granum.train.folds import fold_of

    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    boxes = [Annotation(category=i % 2, bbox=(0.0, 0.0, 10.0 + i, 10.0)) for i in range(5)]
    samples = [Sample(f"{i}", media=Media("a.png"), annotations=boxes) for i in range(6)]
    names = [Category("cat"), Category("dog")]
    made = Dataset.from_rows(samples, names, media_root=tmp_path).save(tmp_path / "x.granum")
    found = crops(made, tmp_path / "c.granum")
    labels = np.arange(len(found)) % 5 % 2
    fold = fold_of(found, np.arange(len(found)), labels, 3, 0).reshape(6, 5)
    assert (fold == fold[:, :1]).all() and np.bincount(fold[:, 0]).tolist() == [2, 2, 2]
