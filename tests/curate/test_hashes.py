"""Hashes: equal to imagehash's bit for bit; of files and of pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from granum.curate.hashes import DHash, FileHash, PHash, PixelHash, Thumbnail, dct_hash
from granum.curate.pictures import Picture
from granum.errors import FormatError
from tests.curate.planted import picture
from tests.data import shared


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def awkward() -> list[Image.Image]:
    """Images in which rounding decides: flat ones, mirrored ones, stripes; and modes and shapes."""
    rng = np.random.default_rng(0)
    made = [np.full((32, 32), v, np.uint8) for v in range(0, 256, 15)]
    for _ in range(40):
        half = rng.integers(0, 256, (32, 16), np.uint8)
        made += [np.hstack([half, half[:, ::-1]]), np.hstack([half, half[:, ::-1]]).T]
        quarter = np.hstack([half[:16], half[:16, ::-1]])
        made.append(np.vstack([quarter, quarter[::-1]]))
        made.append(np.repeat(rng.integers(0, 256, (1, 32), np.uint8), 32, 0))
    y, x = np.mgrid[:64, :64]
    made += [((x // s + y // s) % 2 * 255).astype(np.uint8) for s in (1, 2, 4, 8, 16)]
    made += [((x * 4) % 256).astype(np.uint8), ((x + y) * 2 % 256).astype(np.uint8)]
    images = [Image.fromarray(m) for m in made]
    colour = picture(1)
    images += [colour.convert(m) for m in ("RGB", "L", "1", "P", "CMYK", "RGBA", "LA", "YCbCr")]
    images += [colour.resize(s) for s in ((1, 1), (3, 200), (500, 7), (33, 31))]
    return images


def test_perceptual_hashes_equal_imagehash() -> None:
    imagehash = pytest.importorskip("imagehash")
    pytest.importorskip("scipy")
    for number, image in enumerate([*awkward(), *(picture(i) for i in range(40))]):
        one = Picture(b"")
        one.image = image
        assert PHash().score(one)["phash"] == int(str(imagehash.phash(image)), 16), number
        assert DHash().score(one)["dhash"] == int(str(imagehash.dhash(image)), 16), number


def test_photographs_hash_as_with_imagehash() -> None:
    imagehash = pytest.importorskip("imagehash")
    pytest.importorskip("scipy")
    files = sorted(shared("coco128").rglob("*.jpg"))
    assert len(files) == 100
    for file in files:
        image = Image.open(file)
        assert PHash().score(Picture(file))["phash"] == int(str(imagehash.phash(image)), 16)
        assert DHash().score(Picture(file))["dhash"] == int(str(imagehash.dhash(image)), 16)


def test_the_mirrored_hash_is_that_of_the_mirrored_image() -> None:
    for seed in range(10):
        image = picture(seed, (64, 64))
        mirrored = Picture(encoded(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
        there = PHash(mirrored=True).score(Picture(encoded(image)))["phash_mirrored"]
        assert (there ^ PHash().score(mirrored)["phash"]).bit_count() <= 2
        assert there == dct_hash(Picture(encoded(image)).thumbnail[:, ::-1])


def test_a_file_hash_is_of_the_bytes(tmp_path: Path) -> None:
    from hashlib import sha256

    data = encoded(picture(0))
    (tmp_path / "a.png").write_bytes(data)
    given = FileHash().score(Picture(tmp_path / "a.png"))
    assert given == {"file_hash": sha256(data).hexdigest(), "file_size": len(data)}
    assert FileHash().score(Picture(b"no image"))["file_size"] == 8
    with pytest.raises(FormatError):
        FileHash().score(Picture(tmp_path / "absent.png"))


def test_a_pixel_hash_is_of_pixels_shape_and_mode() -> None:
    def of(image: Image.Image, kind: str = "PNG", **options: object) -> str:
        return str(PixelHash().score(Picture(encoded(image, kind, **options)))["pixel_hash"])

    flat = Image.new("L", (8, 4), 7)
    assert of(flat) == of(flat, "BMP") == of(flat, compress_level=0)
    others = [
        Image.new("L", (4, 8), 7),
        Image.new("L", (8, 4), 8),
        Image.new("RGB", (8, 4), (7, 7, 7)),
    ]
    assert len({of(flat), *map(of, others)}) == 4


def test_a_palette_is_part_of_the_pixels() -> None:
    red, blue = Image.new("P", (4, 4), 0), Image.new("P", (4, 4), 0)
    red.putpalette([255, 0, 0])
    blue.putpalette([0, 0, 255])
    hashes = [PixelHash().score(Picture(encoded(i)))["pixel_hash"] for i in (red, blue)]
    assert hashes[0] != hashes[1]


def test_a_thumbnail_is_what_phash_looks_at() -> None:
    image = picture(3)
    found = np.frombuffer(Thumbnail().score(Picture(encoded(image)))["thumbnail"], np.uint8)
    small = image.convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    assert np.array_equal(found.reshape(32, 32), np.asarray(small))
