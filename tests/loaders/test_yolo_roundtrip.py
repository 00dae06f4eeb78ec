"""What is written to YOLO and read back is what was projected, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from granum.loaders.base import Intake
from granum.loaders.reading import read_into
from granum.loaders.writing import write_dataset
from granum.loaders.yolo import Yolo
from granum.schema import rows
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.builder import MemoryBuilder
from granum.store.dataset import Dataset

COLUMNS = ("bbox", "polygons", "keypoints", "score", "shape_kind", "category", "sample")
NAMES = [
    "a.jpg",
    "b c/ü.png",
    "images/train/x.jpg",
    "images/val/x.jpg",
    "train/images/y.JPG",
    "train/images/y.png",
    "images/deep/images/z.jpg",
    "nested/1.jpg",
    "other/1.jpg",
    "1.jpg",
    "1.png",
    "no suffix",
    "two.dots.v1",
    ".hidden",
    "._mac.jpg",
    "日本/語.webp",
    "../climbs.jpg",
    "back\\slash.jpg",
    "line\nbreak.jpg",
    "classes.jpg",
    "readme.jpg",
    "Images/upper.jpg",
    "labels/l.jpg",
    "train.jpg",
    "-dash.jpg",
    "#hash.jpg",
    "x.txt",
]


def read(path: Path, on_error: str = "fail", **options: Any) -> Dataset:
    intake = Intake(findings=Findings(on_error))  # type: ignore[arg-type]
    return read_into(MemoryBuilder(), Yolo(), path, intake, options=options)


def projected(dataset: Dataset, **options: Any) -> tuple[Dataset, list[str]]:
    format_ = Yolo()
    out = dataset.map_batches(lambda b: format_.project(b, dataset, **options))
    names = [name for batch in format_.image_names(out) for name in batch]
    return out, names


def check(dataset: Dataset, target: Path, **options: Any) -> Dataset:
    """Write, read back, compare with the projection; returns what was read."""
    write_dataset(dataset, target, "yolo", allow_loss=["all"], options=options)
    wanted, names = projected(dataset, **options)
    back = read(target)
    samples = back.samples(["key", "split", "unit"])
    assert samples["key"].to_pylist() == dataset.samples(["key"])["key"].to_pylist()
    assert [m["path"] for m in back.samples(["media"])["media"].to_pylist()] == names
    assert samples["split"].to_pylist() == wanted.samples(["split"])["split"].to_pylist()
    assert set(samples["unit"].to_pylist()) <= {"relative"}
    one, two = wanted.annotations(), back.annotations()
    for name in COLUMNS:
        assert column(one, name).to_pylist() == column(two, name).to_pylist(), name
    assert back.categories["name"].to_pylist() == dataset.categories["name"].to_pylist()
    return back


def some(rng: np.random.Generator, kinds: set[str], relative: bool) -> rows.Annotation:
    """An object with some of the geometry of ``kinds``, mostly inside of 100 x 80."""
    size = np.array([1.0, 1.0]) if relative else np.array([100.0, 80.0])

    def points(n: int) -> list[float]:
        spread = 1.0 if rng.random() < 0.9 else 1.3
        return list((rng.random((n, 2)) * spread * size).ravel())

    out = rows.Annotation(category=int(rng.integers(0, 4)))
    if "bbox" in kinds:
        x, y, w, h = (*points(1), *points(1))
        out.bbox = (x, y, w * 0.7, h * 0.7)
        if rng.random() < 0.05:
            out.bbox = (x, y, float("nan"), 1.0)
        if rng.random() < 0.05:
            out.bbox = (x, y, -w, h)
    if "angle" in kinds:
        out.angle = float(rng.choice([0.0, 0.3, -2.0]))
    if "polygons" in kinds and rng.random() < 0.9:
        rings = int(rng.integers(1, 3))
        shape = [[points(int(rng.integers(3, 7))) for _ in range(rings)]]
        out.polygons = shape * int(rng.integers(1, 3))
    if "corners" in kinds:
        out.polygons = [[points(4)]]
        out.shape_kind = "rectangle"
    if "keypoints" in kinds and rng.random() < 0.8:
        out.keypoints = []
        for _ in range(int(rng.integers(1, 4))):
            out.keypoints += [*points(1), float(rng.integers(0, 3))]
    if "score" in kinds and rng.random() < 0.8:
        out.score = float(rng.random())
    if rng.random() < 0.1:
        out.crowd = True
    return out


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(
    ("kinds", "options"),
    [
        ({"bbox"}, {}),
        ({"bbox", "score"}, {"conf": True}),
        ({"bbox", "polygons"}, {}),
        ({"polygons", "score"}, {"conf": True}),
        ({"polygons"}, {"task": "detect"}),
        ({"bbox", "keypoints"}, {}),
        ({"bbox", "keypoints", "score"}, {"conf": True, "skip_crowd": True}),
        ({"bbox", "angle"}, {}),
        ({"corners"}, {}),
        ({"bbox", "polygons"}, {"task": "obb"}),
        ({"bbox"}, {"task": "pose"}),
        (set(), {}),
    ],
)
def test_read_gives_what_project_said(
    tmp_path: Path, kinds: set[str], options: dict[str, Any], relative: bool
) -> None:
    rng = np.random.default_rng(len(kinds) * 10 + relative)
    splits = ["train", "val", None, "odd/name", "names", "val2017"]
    samples = []
    for i, key in enumerate(NAMES):
        annotations = [some(rng, kinds, relative) for _ in range(int(rng.integers(0, 5)))]
        if i % 7 == 0:
            annotations.append(rows.Annotation("label", category=0))
            annotations.append(rows.Annotation(bbox=(0, 0, 1, 1)))
        samples.append(
            rows.Sample(
                key,
                width=100,
                height=80,
                unit="relative" if relative else "pixel",
                split=splits[i % len(splits)],
                annotations=annotations,
            )
        )
    categories = [rows.Category(n) for n in ("no", "a: b", "no", "ünï 'q' #")]
    dataset = Dataset.from_rows(samples, categories)
    check(dataset, tmp_path / "y", **options)


def test_every_centre_gives_its_corner_back() -> None:
    from granum.loaders.yolo.shapes import near_sum

    rng = np.random.default_rng(0)
    size = rng.random(200_000)
    centre = rng.random(200_000)
    centre[:50_000] = np.round(centre[:50_000], 6)
    size[:50_000] = np.round(size[:50_000], 6)
    corner = centre - size / 2
    found = near_sum(corner, size / 2)
    assert np.array_equal(found - size / 2, corner)
    assert np.array_equal(found[:50_000], centre[:50_000])  # short numbers come back as written


def test_large_parts_are_cut_at_the_right_rows(tmp_path: Path) -> None:
    n = 20_000
    samples = pa.table(
        {"key": [f"{i}.jpg" for i in range(n)], "width": [10] * n, "height": [10] * n}
    )
    at = np.repeat(np.arange(0, n, 3), 2)
    flat = pa.array(np.tile([1.0, 1.0, 2.0, 2.0], len(at)))
    table = pa.table(
        {
            "sample": at,
            "kind": ["object"] * len(at),
            "category": pa.array(at % 7, pa.int32()),
            "bbox": pa.FixedSizeListArray.from_arrays(flat, 4),
        }
    )
    categories = pa.table({"name": [str(i) for i in range(7)]})
    dataset = Dataset.from_arrow(samples, table, categories)
    back = check(dataset, tmp_path / "y")
    assert back.num_annotations == len(at)
    assert (tmp_path / "y/labels/train/3.txt").read_text() == "3 0.2 0.2 0.2 0.2\n" * 2
    assert (tmp_path / "y/labels/train/4.txt").read_bytes() == b""
