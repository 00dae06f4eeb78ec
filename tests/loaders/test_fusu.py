"""FUSU, from both trees typed by hand."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import granum
from granum.errors import FindingsError, FormatError
from granum.loaders.fusu import CLASSES
from granum.loaders.reading import sniff
from granum.schema.findings import Findings
from granum.schema.geometry import rle_decode
from granum.store.media import read_values
from granum.testing.suite import ReaderSuite


def picture(path: Path, values: object = 90, size: tuple[int, int] = (4, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(size[::-1], values) if isinstance(values, int) else np.asarray(values)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def readme(root: Path) -> Path:
    """The README's tree: two patches, of which the first has rasters of two years."""
    for patch in ("6_255", "6_256"):
        for date in ("im1", "im2"):
            picture(root / date / f"{patch}.png")
            picture(root / f"{date}_label" / f"{patch}.png", int(date[-1]) * 8)
    for year, month in (("B", 10), ("A", 12), ("B", 2), ("A", 8)):
        picture(root / f"{year}/{month}/6_255_{year}_{month}.png", 5, (2, 2))
    return root


def loader(root: Path) -> Path:
    """The tree of the published loader."""
    base = root / "train"
    for folder in ("im1", "im2"):
        picture(base / folder / "6_255.png")
    picture(base / "label1/6_255.png", [[1, 1], [4, 0]])
    picture(base / "label2/6_255.png", [[1, 3], [4, 8]])
    picture(base / "label_bin/6_255.png", [[0, 1], [0, 1]])
    for name in (
        "S2/6_255_20200301",
        "S2/6_255_20191101",
        "S1/6_255_20200115",
        "S2/6_2551_20190101",
    ):
        picture(base / f"Times/{name}.tif", 5, (2, 2))
    return root


class TestFusu(ReaderSuite):
    name = "fusu"

    def make(self, folder: Path) -> Path:
        return readme(folder / "data")


def test_the_tree_of_the_readme(tmp_path: Path) -> None:
    found = granum.read(readme(tmp_path))
    assert len(found) == 8
    listed = [(s.key, s.row.role, s.row.order) for s in found][:6]
    assert listed == [
        ("im1/6_255.png", "t1", 0),
        ("im2/6_255.png", "t2", 1),
        ("A/8/6_255_A_8.png", "s1s2", 0),
        ("A/12/6_255_A_12.png", "s1s2", 1),
        ("B/2/6_255_B_2.png", "s1s2", 2),
        ("B/10/6_255_B_10.png", "s1s2", 3),
    ]
    assert [s.row.group for s in found] == [0] * 6 + [1] * 2
    assert found.groups["key"].to_pylist() == ["6_255", "6_256"]
    assert found[2].row.attributes == {"year": "A", "month": 8} and found[2].row.time is None
    assert found.samples()["media_kind"].to_pylist()[1:3] == ["image", "raster"]
    assert [len(s.annotations) for s in found] == [1, 1, 0, 0, 0, 0, 1, 1]
    (whole,) = found[1].annotations
    assert (whole.map.path, whole.map.space, whole.category) == (
        "im2_label/6_255.png",
        "object",
        None,
    )
    values = read_values(whole.map, found.meta.media_root)
    names = {c.source_id: c.name for c in found[0].categories}
    assert names[str(values[0, 0])] == "wetland"


def test_years_are_not_guessed(tmp_path: Path) -> None:
    found = granum.read(readme(tmp_path), first_year=2018)
    assert [s.row.time for s in found][2:6] == [
        datetime(2018, 8, 1),
        datetime(2018, 12, 1),
        datetime(2019, 2, 1),
        datetime(2019, 10, 1),
    ]
    assert '"first_year": 2018' in found.sources["options"][0].as_py()


def test_classes_of_the_readme_and_of_the_loader(tmp_path: Path) -> None:
    assert len(CLASSES) == 18 and CLASSES[8:10] == ("orchard", "park")
    root = readme(tmp_path)
    for order, names in (("readme", ["orchard", "park"]), ("loader", ["park", "orchard"])):
        found = granum.read(root, class_order=order)
        assert [c.name for c in found[0].categories][8:10] == names
        assert [c.source_id for c in found[0].categories] == [str(i) for i in range(18)]


def test_the_tree_of_the_loader(tmp_path: Path) -> None:
    root = loader(tmp_path)
    assert list(sniff(root)) == ["fusu"]
    findings = Findings("skip")
    found = granum.read(root, on_error="skip", findings=findings)
    assert [(s.key.removeprefix("train/"), s.row.role, s.row.order) for s in found] == [
        ("im1/6_255.png", "t1", 0),
        ("im2/6_255.png", "t2", 1),
        ("Times/S2/6_255_20191101.tif", "s2", 0),
        ("Times/S1/6_255_20200115.tif", "s1", 0),
        ("Times/S2/6_255_20200301.tif", "s2", 1),
    ]
    assert {s.split for s in found} == {"train"}
    assert found[2].row.time == datetime(2019, 11, 1) and found[2].row.attributes is None
    # A patch whose name only begins alike is another one.
    assert [(f.code, f.path) for f in findings.items] == [
        ("orphan-image", "train/Times/S2/6_2551_20190101.tif")
    ]
    _, change = found[1].annotations
    assert (change.map.path, change.map.encoding) == ("train/label_bin/6_255.png", "nonzero")
    assert found[1].labels[1] == "change"


def test_the_change_is_where_the_maps_differ(tmp_path: Path) -> None:
    root = loader(tmp_path)
    for path in (root / "train/label_bin").iterdir():
        path.unlink()
    (root / "train/label_bin").rmdir()
    (root / "train/Times/S2/6_2551_20190101.tif").unlink()
    assert len(granum.read(root)[1].annotations) == 1
    _, change = granum.read(root, derive_change="differs")[1].annotations
    assert rle_decode(change.rle.size, change.rle.counts).tolist() == [[0, 1], [0, 1]]


def test_the_order_of_the_disk_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = readme(tmp_path)
    expected = [s.key for s in granum.read(root)]
    walk = os.walk

    def backwards(top: Path) -> object:
        for folder, below, files in walk(top):
            below.reverse()
            yield folder, below, files[::-1]

    monkeypatch.setattr(os, "walk", backwards)
    assert [s.key for s in granum.read(root, "fusu")] == expected


def test_rasters_are_opened_when_asked(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    for date in ("im1", "im2"):
        picture(tmp_path / date / "1_1.png", 9, (512, 512))
        picture(tmp_path / f"{date}_label/1_1.png", 0, (512, 512))
    picture(tmp_path / "im2_label/1_1.png", 0, (512, 500))
    shapes = {"A_8": (14, 128, 128), "A_9": (15, 128, 149), "A_10": (14, 128, 128)}
    for name, (bands, height, width) in shapes.items():
        path = tmp_path / f"A/{name[2:]}/1_1_{name}.tif"
        path.parent.mkdir(parents=True)
        about = {"count": bands, "height": height, "width": width, "dtype": "uint16"}
        transform = rasterio.Affine(10.0, 0.0, 500.0, 0.0, -10.0, 900.0)
        with rasterio.open(
            path, "w", driver="GTiff", crs="EPSG:32650", transform=transform, **about
        ) as out:
            if name != "A_10":
                out.write(np.full((height, width), 700, np.uint16), bands)
    (tmp_path / "A/11").mkdir()
    (tmp_path / "A/11/1_1_A_11.tif").write_bytes(b"II*\0 cut")
    found = granum.read(tmp_path)  # headers only: nothing is found
    assert found[2].row.geo == {
        "crs": "EPSG:32650",
        "transform": [10.0, 0.0, 500.0, 0.0, -10.0, 900.0],
    }
    assert found[0].row.geo is None
    assert granum.read(tmp_path, geo="no")[2].row.geo is None
    findings = Findings("skip")
    granum.read(tmp_path, open_media=True, on_error="skip", findings=findings)
    told = {(f.code, f.path.rpartition("/")[2]): f.message for f in findings.items}
    assert told.keys() == {
        ("mask-size-mismatch", "1_1.png"),
        ("size-mismatch", "1_1_A_9.tif"),
        ("empty-raster", "1_1_A_10.tif"),
        ("broken-media", "1_1_A_11.tif"),
    }
    message = told["size-mismatch", "1_1_A_9.tif"]
    assert message == "149 x 128 with 15 bands, not 128 x 128"


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    root = readme(tmp_path)
    (root / "im2/6_256.png").unlink()
    (root / "im1_label/6_255.png").unlink()
    (root / "A/8/6_255_A_8.png").rename(root / "A/8/6_255_A_13.png")
    findings = Findings("skip")
    granum.read(root, first_year=2018, on_error="skip", findings=findings)
    assert {(f.code, f.path) for f in findings.items} == {
        ("incomplete-group", "im1/6_256.png"),
        ("missing-labels", "im1/6_255.png"),
        ("bad-value", "A/8/6_255_A_13.png"),
    }
    with pytest.raises(FindingsError, match=r"A/8/6_255_A_13\.png"):
        granum.read(root, first_year=2018)
    with pytest.raises(FormatError, match="im1"):
        granum.read(root / "A", "fusu")
