"""Objects as images of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from granum.errors import ExistsError
from granum.schema.rows import Annotation, Category, Media, Sample
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
