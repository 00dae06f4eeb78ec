"""Size, light, sharpness: against their formulas, written out again here, and on planted faults."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageStat

from granum.curate.base import scorers
from granum.curate.light import Brightness, Contrast, Grey, Information
from granum.curate.pictures import Picture
from granum.curate.score import score
from granum.curate.sharpness import Sharpness, blockiness, edge_width, laplacian_variance
from granum.schema import rows
from granum.store.dataset import Dataset
from tests.curate.planted import blurred, drawn, picture, store
from tests.curate.test_hashes import encoded
from tests.data import shared


def of(image: Image.Image, kind: str = "PNG", **options: object) -> Picture:
    return Picture(encoded(image, kind, **options))


def perceived(image: Image.Image) -> Any:
    r, g, b = np.moveaxis(np.asarray(image.convert("RGB"), float), -1, 0)
    return np.sqrt(0.241 * r**2 + 0.691 * g**2 + 0.068 * b**2) / 255


def test_brightness_is_cleanvisions_formula() -> None:
    for seed in range(5):
        image = picture(seed, (200, 150))  # small enough to be looked at whole
        b, found = perceived(image), Brightness().score(of(image))
        assert found["dark"] == pytest.approx(np.percentile(b, 99), abs=1e-6)
        assert found["light"] == pytest.approx(1 - np.percentile(b, 5), abs=1e-6)
        assert found["brightness"] == pytest.approx(b.mean(), abs=1e-6)


def test_brightness_of_one_grey() -> None:
    found = Brightness().score(of(Image.new("L", (9, 7), 51)))
    assert found == pytest.approx({"brightness": 0.2, "dark": 0.2, "light": 0.8}, abs=1e-6)


def test_sampled_brightness_is_within_a_hundredth_on_photographs() -> None:
    for file in sorted(shared("coco128").rglob("*.jpg"))[:30]:
        b, found = perceived(Image.open(file)), Brightness().score(Picture(file))
        assert found["dark"] == pytest.approx(np.percentile(b, 99), abs=0.01)
        assert found["light"] == pytest.approx(1 - np.percentile(b, 5), abs=0.01)
        assert found["brightness"] == pytest.approx(b.mean(), abs=0.01)


def test_dark_light_and_empty_images_are_issues() -> None:
    def issues(image: Image.Image) -> set[str]:
        one, out = of(image), set()
        for made in (Brightness(), Information()):
            for name, value in made.score(one).items():
                limit = made.columns[name].issue_below
                if limit is not None and value < limit:
                    out.add(name)
        return out

    image = picture(4)
    assert issues(image) == set()
    assert issues(image.point(lambda v: v * 0.25)) == {"dark"}
    assert issues(image.point(lambda v: 245 + v * 0.04)) == {"light"}
    assert issues(Image.new("RGB", (40, 40), (120, 130, 140))) == {"information"}


def test_contrast_and_information_of_known_images() -> None:
    halves = Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 8, 1).repeat(8, 0))
    assert Contrast().score(of(halves))["contrast"] == pytest.approx(0.5)
    assert Information().score(of(halves))["information"] == pytest.approx(0.1)  # one bit
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert Information().score(of(ramp))["information"] == pytest.approx(0.8)


def test_grey_stored_in_colour_is_told() -> None:
    image = picture(5)
    grey = image.convert("L")
    jpeg = of(grey.convert("RGB"), "JPEG", quality=80)
    assert Grey().score(jpeg) == {"grey": 1.0, "grey_as_rgb": True}
    assert Grey().score(of(grey)) == {"grey": 1.0, "grey_as_rgb": False}
    found = Grey().score(of(image))
    channels = np.asarray(image, int)
    share = (channels.max(-1) - channels.min(-1) <= 2).mean()
    assert found == {"grey": pytest.approx(share), "grey_as_rgb": False}
    tinted = np.asarray(grey.convert("RGB")).copy()
    tinted[:10, :10, 0] ^= 32  # 100 of 12 288 pixels
    assert Grey().score(of(Image.fromarray(tinted)))["grey_as_rgb"] is False


def test_the_laplacian_of_known_values() -> None:
    point = np.zeros((5, 5), np.float32)
    point[2, 2] = 1
    inner = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    assert laplacian_variance(point) == pytest.approx(inner.var())
    ramp = np.tile(np.arange(9, dtype=np.float32), (9, 1))
    assert laplacian_variance(ramp) == 0
    assert laplacian_variance(ramp[:2]) is None


def test_blurry_is_cleanvisions_formula() -> None:
    for seed, size in ((1, (300, 200)), (2, (40, 60))):
        image = picture(seed, size)
        grey = image.convert("L")
        if max(size) > 64:
            grey = grey.resize((64, int(200 // (300 / 64))))
        edges = math.sqrt(ImageStat.Stat(grey.filter(ImageFilter.FIND_EDGES)).var[0])
        second = 1 - math.exp(-0.01 * np.std(grey.histogram()))
        wanted = min(1, 1 - math.exp(-0.01 * edges) + (second if second > 0.18 else 0))
        assert Sharpness().score(of(image))["blurry"] == pytest.approx(wanted)


def test_edge_width_is_cretes_formula() -> None:
    grey = np.asarray(picture(7, (50, 40)).convert("L"), np.float32)
    losses = []
    for pixels in (grey.astype(float), grey.T.astype(float)):
        lost = total = 0.0
        for line in pixels:
            blur = np.convolve(line, np.ones(9) / 9, "valid")
            before, after = abs(np.diff(line))[4:-4], abs(np.diff(blur))
            total += before.sum()
            lost += np.maximum(0, before - after).sum()
        losses.append((total - lost) / total)
    assert edge_width(grey) == pytest.approx(max(losses), rel=1e-4)
    assert edge_width(np.full((30, 30), 9, np.float32)) is None
    assert edge_width(grey[:9]) is None


def test_edge_width_orders_images_as_scikit_image_does() -> None:
    measure = pytest.importorskip("skimage.measure")
    grey = picture(8, (160, 120)).convert("L")
    versions = [grey.filter(ImageFilter.GaussianBlur(r)) for r in (0, 1, 2, 3, 5)]
    ours = [edge_width(np.asarray(v, np.float32)) for v in versions]
    theirs = [measure.blur_effect(np.asarray(v)) for v in versions]
    assert ours == sorted(ours)  # type: ignore[type-var]
    assert theirs == sorted(theirs)


def test_planted_blur_is_found_and_compression_is_not_taken_for_it(tmp_path: Path) -> None:
    """Precision and recall of ``sharp`` below its threshold, at 2 to 5 pixels of blur."""
    limit = Sharpness.columns["sharp"].issue_below
    assert limit is not None
    flagged: dict[str, list[bool]] = {"sharp": [], "blurred": [], "pressed": []}
    for file in sorted(shared("coco128").rglob("*.jpg"))[:20]:
        for radius in (2, 3, 5):
            blurred(file, tmp_path / "b.jpg", radius)
            found = Sharpness().score(Picture(tmp_path / "b.jpg"))
            flagged["blurred"].append(found["sharp"] < limit)
        flagged["sharp"].append(Sharpness().score(Picture(file))["sharp"] < limit)
        pressed = Sharpness().score(of(Image.open(file), "JPEG", quality=5))
        flagged["pressed"].append(pressed["sharp"] < limit)
        assert pressed["blockiness"] > 1.5
    hits, misses = sum(flagged["blurred"]), sum(flagged["sharp"] + flagged["pressed"])
    assert hits / len(flagged["blurred"]) >= 0.93  # recall
    assert hits / (hits + misses) >= 0.99  # precision


def test_blockiness_tells_compression() -> None:
    grey = picture(9, (160, 120)).convert("L")
    ratios = []
    for quality in (95, 50, 20, 5):
        ratios.append(blockiness(np.asarray(of(grey, "JPEG", quality=quality).grey)) or 0.0)
    assert ratios == sorted(ratios)
    assert ratios[0] < 1.2
    assert ratios[-1] > 1.5
    blocks = np.kron(np.arange(16).reshape(4, 4) % 3, np.ones((8, 8))).astype(np.uint8)
    assert blockiness(blocks) is None  # nothing differs inside the blocks
    assert blockiness(blocks[:8]) is None


def test_sizes_come_from_the_table_or_the_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(tmp_path / "images", 2)
    samples = [
        rows.Sample("0000.jpg"),
        rows.Sample("0001.jpg", orientation=6),
        rows.Sample("stated.jpg", width=600, height=200),
        rows.Sample("absent.jpg"),
    ]
    made = store(monkeypatch, tmp_path / "s.granum", tmp_path / "images", samples, part=3)
    table = score(made, ["size"]).samples()
    assert table["col.width"].to_pylist() == [128, 96, 600, None]
    assert table["col.height"].to_pylist() == [96, 128, 200, None]
    assert table["col.squareness"].to_pylist() == pytest.approx([0.75, 0.75, 1 / 3, None])
    assert table["col.aspect"].to_pylist() == pytest.approx([4 / 3, 0.75, 3, None])
    assert table["col.megapixels"].to_pylist()[2] == pytest.approx(0.12)


def odd(tmp_path: Path, sides: Sequence[int | None]) -> list[Any]:
    samples = [rows.Sample(f"{i}.jpg", width=s, height=s) for i, s in enumerate(sides)]
    made = Dataset.from_rows(samples).save(tmp_path / f"{len(sides)}-{sides[0]}.granum")
    return list(score(made, ["odd_size"]).samples()["col.odd_size"].to_pylist())


def test_odd_sizes_lie_outside_the_fence(tmp_path: Path) -> None:
    sides = [100, 110, 120, 130, 140, 1000]
    q1, q3 = np.percentile(sides, [25, 75])
    low, high = q1 - 3 * (q3 - q1), q3 + 3 * (q3 - q1)
    wanted = [1 - abs(s - (low + high) / 2) / (high - low) for s in sides]
    found = odd(tmp_path, [*sides, None])
    assert found == pytest.approx([*wanted, None])
    assert [f is not None and f < 0.5 for f in found] == [False] * 5 + [True, False]
    assert odd(tmp_path, [50] * 8 + [60, None]) == [1.0] * 8 + [0.0, None]
    assert odd(tmp_path, [None, None]) == [None, None]


def test_unreadable_images_have_null_and_stop_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(tmp_path / "images", 3)
    (tmp_path / "images" / "0001.jpg").write_bytes(b"\xff\xd8 broken")
    names = ["0000.jpg", "0001.jpg", "absent.jpg", "0002.jpg"]
    made = store(monkeypatch, tmp_path / "s.granum", tmp_path / "images", names, part=2)
    mine = ["brightness", "contrast", "information", "grey", "sharpness", "*hash", "thumbnail"]
    table = score(made, mine).samples()
    columns = [c for n in mine if n != "*hash" for c in scorers[n].columns]
    for name in [*columns, "phash", "dhash", "pixel_hash"]:
        null = [v is None for v in table[f"col.{name}"].to_pylist()]
        assert null == [False, True, True, False], name
    # Bytes that are no image have a hash all the same.
    assert [v is None for v in table["col.file_hash"].to_pylist()] == [False, False, True, False]
