"""Tags of GeoTIFFs and world files."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from granum.errors import MissingExtraError
from granum.loaders import _geo
from granum.loaders._geo import GeoTags
from granum.loaders.base import Intake


def test_world_files_give_the_centre_of_the_first_pixel(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.tfw", "b.pgw", "c.jpgw", "d.wld"):
        (tmp_path / "in" / name).write_text("2\n0\n0\n-4\n101\n498\n")
    tags = GeoTags(tmp_path, "auto", Intake())
    # The centre of the first pixel is (101, 498): its corner is half of 2, of -4, before that.
    expected = {"crs": None, "transform": [2.0, 0.0, 100.0, 0.0, -4.0, 500.0]}
    for name in ("a.tif", "b.png", "c.jpg", "d.bmp"):
        assert tags(f"in/{name}") == expected
    assert tags("in/e.tif") is None and tags("f.png") is None
    assert GeoTags(tmp_path, "no", Intake())("in/a.tif") is None


def test_a_bad_world_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.pgw").write_text("1 2 x")
    intake = Intake()
    assert GeoTags(tmp_path, "auto", intake)("a.png") is None
    assert [(f.code, f.path) for f in intake.findings.items] == [("bad-value", "a.pgw")]


def test_tags_of_a_geotiff(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    transform = rasterio.Affine(10.0, 0.0, 399960.0, 0.0, -10.0, 5000040.0)
    about = {"width": 4, "height": 3, "count": 1, "dtype": "uint8", "driver": "GTiff"}
    with rasterio.open(tmp_path / "a.tif", "w", crs="EPSG:32633", transform=transform, **about):
        pass
    Image.new("L", (4, 3)).save(tmp_path / "plain.tif")
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    tags = GeoTags(tmp_path, "yes", Intake())
    assert tags("a.tif") == {
        "crs": "EPSG:32633",
        "transform": [10.0, 0.0, 399960.0, 0.0, -10.0, 5000040.0],
    }
    assert tags("plain.tif") is None and tags("broken.tif") is None


def test_asking_without_the_extra_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_geo, "find_rasterio", lambda: None)
    with pytest.raises(MissingExtraError, match=r"granum\[geo\]"):
        GeoTags(tmp_path, "yes", Intake())
    assert GeoTags(tmp_path, "auto", Intake())("a.tif") is None
