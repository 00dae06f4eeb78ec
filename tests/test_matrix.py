"""What survives between formats: every pair that can both hold a thing hands it on.

For each thing a small dataset is written to every format. Those that refuse it are out (``HOLD``
lists the least that must not), and those that paint masks into label images, which are compared
elsewhere. Every pair of the others is walked: from the first to the second, and what the second
gives back is compared with the beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from granum.errors import GranumError, LossError
from granum.loaders.base import formats
from granum.loaders.writing import write_dataset
from granum.schema.rows import Annotation, Category, Group, Media, Sample
from granum.schema.tables import with_column
from granum.store.dataset import Dataset
from granum.store.parts import Batch
from granum.testing.keep import read_back
from granum.testing.media import with_media
from granum.testing.same import differences

RING = [2.0, 1.0, 10.0, 1.0, 10.0, 6.0, 2.0, 6.0]
FAR = [12.0, 2.0, 18.0, 2.0, 15.0, 9.0]
HOLE = [4.0, 2.0, 6.0, 2.0, 6.0, 4.0]
SPLIT = "train"


def sample(*annotations: Annotation, key: str = "images/train/a.jpg", **facts: Any) -> Sample:
    named = {"media": Media(path=key), "width": 20, "height": 10, "split": SPLIT, **facts}
    return Sample(key, annotations=list(annotations), **named)


def thing(**values: Any) -> Annotation:
    return Annotation(**{"category": 0, "bbox": (2.0, 1.0, 8.0, 5.0), **values})


def one(*annotations: Annotation, **category: Any) -> Dataset:
    return Dataset.from_rows([sample(*annotations)], [Category("cat", **category), Category("dog")])


def tracks() -> Dataset:
    frames = [
        sample(
            thing(track=0, bbox=(1.0 + i, 2.0, 3.0, 4.0)),
            thing(track=1, bbox=(9.0, 2.0, 3.0, 4.0 + i)),
            key=f"v/img1/{i + 1:06d}.jpg",
            group=0,
            order=i + 1,
        )
        for i in range(2)
    ]
    video = Group("v", "video", frames=2, width=20, height=10)
    return Dataset.from_rows(frames, [Category("pedestrian")], [video])


def relations() -> Dataset:
    holds = Annotation("relation", 1, subject=1, object=2, annotation_id=3)
    listed = [Category("cat", source_id="/m/01yrx"), Category("holds", "predicate")]
    relative = [
        Annotation(category=0, bbox=(0.125, 0.25, 0.5, 0.5), annotation_id=1),
        Annotation(category=0, bbox=(0.25, 0.25, 0.25, 0.5), annotation_id=2),
    ]
    return Dataset.from_rows([sample(*relative, holds, unit="relative")], listed)


POINTS = [3.0, 2.0, 2.0, 5.5, 4.0, 1.0, 0.0, 0.0, 0.0]
JOINTS = {"keypoints": ["nose", "ear", "tail"], "skeleton": [[0, 1], [1, 2]]}

# What it is: how it is made, which columns must come back, and who must hold it at least.
HOLD: dict[str, tuple[Callable[[], Dataset], set[str], set[str]]] = {
    "turned box": (
        lambda: one(thing(angle=0.5), thing(angle=-0.25, category=1)),
        {"bbox", "angle", "category"},
        {"cvat", "dota", "hf", "labelme"},
    ),
    "key points": (
        lambda: one(thing(keypoints=POINTS), **JOINTS),
        {"keypoints", "category"},
        {"coco", "hf", "yolo"},
    ),
    "polygon": (
        lambda: one(thing(bbox=None, polygons=[[RING]])),
        {"polygons", "rle", "map", "category"},
        {"coco", "cvat", "hf", "labelme"},
    ),
    "several parts": (
        lambda: one(thing(bbox=None, polygons=[[RING], [FAR]])),
        {"polygons", "rle", "map", "category"},
        {"coco", "hf", "labelme"},
    ),
    "hole": (
        lambda: one(thing(polygons=[[RING, HOLE]])),
        {"polygons", "rle", "map", "category"},
        {"hf"},
    ),
    "tracks": (tracks, {"bbox", "track"}, {"hf", "mot"}),
    "relation": (relations, {"subject", "object", "category"}, {"hf", "open_images"}),
    "attributes": (
        lambda: one(thing(attributes={"tame": True, "age": 3, "name": "tom"})),
        {"attributes", "category"},
        {"coco", "cvat", "hf", "voc"},
    ),
}


def written(dataset: Dataset, name: str, folder: Path) -> Dataset | None:
    """What a format gives back; None where it refuses."""
    try:
        write_dataset(dataset, folder / "out", name, media="copy")
    except LossError:
        return None
    except GranumError as error:
        raise AssertionError(f"{name}: {error}") from error
    return read_back(name, folder / "out")


@cache
def writers() -> list[str]:
    return [n for n in formats.table if formats[n].writes()]


@pytest.mark.parametrize("what", HOLD)
def test_it_survives_every_pair(tmp_path: Path, what: str) -> None:
    make, columns, least = HOLD[what]
    first: dict[str, Dataset] = {}
    begin = with_media(make(), tmp_path / "media")
    for name in writers():
        found = written(begin, name, tmp_path / name)
        if found is not None and found.annotations(["map"])["map"].null_count:
            first[name] = found
    assert least <= first.keys(), f"{sorted(least - first.keys())} must hold a {what}"
    for a, between in first.items():
        for b in first:
            back = written(between, b, tmp_path / f"{a} {b}")
            assert back is not None, f"{b} holds a {what}, but refuses what {a} gives back of it"
            tolerance = {
                c: formats[a].tolerance.get(c, 0.0) + formats[b].tolerance.get(c, 0.0) + 1e-9
                for c in columns
            }
            assert len(back) == len(begin)
            wrong = differences(*plain(begin, back), columns=columns, tolerance=tolerance,
                                ordered=False)  # fmt: skip
            assert not wrong, f"{what}: {a} -> {b}: {wrong}"


def plain(*listed: Dataset) -> list[Dataset]:
    """The datasets with samples called by their place: formats call images in their own ways."""

    def renamed(batch: Batch) -> Batch:
        keys = [f"{batch.start + i}" for i in range(batch.samples.num_rows)]
        return Batch(
            with_column(batch.samples, "key", pa.array(keys)), batch.annotations, batch.start
        )

    return [d.map_batches(renamed) for d in listed]
