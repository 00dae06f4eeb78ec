"""Decoders agree with each other, turn as the store says, and name what is damaged."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from granum.errors import FormatError, UnknownNameError
from granum.train.decode import decoder, oriented, read_bytes
from tests.data import shared


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    parts = [x / width, y / height, (x + y) / (width + height)]
    return (np.stack(parts, -1) * 255).astype(np.uint8)


def encoded(pixels: np.ndarray, form: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **options)
    return out.getvalue()


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_decoders_agree_on_made_jpegs(subsampling: int, progressive: bool) -> None:
    pytest.importorskip("simplejpeg")
    data = encoded(smooth(37, 53), quality=90, subsampling=subsampling, progressive=progressive)
    ours, size = decoder("simplejpeg")(data, None)
    theirs, other = decoder("pil")(data, None)
    assert size == other == (37, 53)
    assert ours.shape == theirs.shape == (37, 53, 3)
    assert np.abs(ours.astype(int) - theirs).mean() <= 2


def test_decoders_agree_on_photos() -> None:
    pytest.importorskip("simplejpeg")
    files = sorted(shared("coco128/images").rglob("*.jpg"))[:8]
    assert len(files) == 8
    for file in files:
        data = read_bytes(file)
        ours, _ = decoder("simplejpeg")(data, None)
        theirs, _ = decoder("pil")(data, None)
        assert np.abs(ours.astype(int) - theirs).mean() <= 2
        half, size = decoder("simplejpeg")(data, (ours.shape[0] // 2, ours.shape[1] // 2))
        assert size == ours.shape[:2]
        assert abs(half.shape[0] - size[0] / 2) <= 1 and abs(half.shape[1] - size[1] / 2) <= 1
        drafted, _ = decoder("pil")(data, (ours.shape[0] // 2, ours.shape[1] // 2))
        assert np.abs(half.astype(int) - drafted).mean() <= 2


@pytest.mark.parametrize("name", ["pil", "simplejpeg"])
def test_a_smaller_image_is_never_too_small(name: str) -> None:
    if name == "simplejpeg":
        pytest.importorskip("simplejpeg")
    data = encoded(smooth(240, 320))
    for least, factor in [((240, 320), 1), ((121, 100), 1), ((120, 160), 2), ((60, 80), 4)]:
        pixels, size = decoder(name)(data, least)
        assert size == (240, 320)
        assert pixels.shape[0] >= least[0] and pixels.shape[1] >= least[1]
        assert pixels.shape[:2] == (240 // factor, 320 // factor)


@pytest.mark.parametrize("name", ["pil", "simplejpeg"])
def test_all_modes_become_rgb(name: str) -> None:
    if name == "simplejpeg":
        pytest.importorskip("simplejpeg")
    decode = decoder(name)
    grey = smooth(20, 30)[..., 0]
    for data in (encoded(grey), encoded(grey, "PNG")):
        pixels, _ = decode(data, None)
        assert pixels.shape == (20, 30, 3) and pixels.dtype == np.uint8
        assert (pixels == pixels[..., :1]).all()
    out = io.BytesIO()
    Image.new("CMYK", (9, 8), (0, 255, 255, 0)).save(out, "JPEG")
    assert decode(out.getvalue(), None)[0].shape == (8, 9, 3)
    deep = (grey.astype(np.uint16) << 8) + 7
    assert np.array_equal(decode(encoded(deep, "PNG"), None)[0][..., 1], grey)
    palette = Image.fromarray(smooth(20, 30)).quantize(8)
    out = io.BytesIO()
    palette.save(out, "PNG")
    assert np.array_equal(decode(out.getvalue(), None)[0], np.asarray(palette.convert("RGB")))


def test_exif_is_ignored_and_the_store_obeyed() -> None:
    pixels = smooth(16, 24)
    for value in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = value
        data = encoded(pixels, exif=exif, quality=95)
        raw, size = decoder()(data, None)
        assert size == (16, 24)  # as stored, whatever EXIF says
        turned = oriented(raw, value)
        tagged = Image.fromarray(raw)
        tagged.getexif()[0x0112] = value
        assert np.array_equal(turned, np.asarray(ImageOps.exif_transpose(tagged)))
    assert oriented(raw, None) is raw


@pytest.mark.parametrize("name", ["pil", "simplejpeg"])
def test_damage_is_told(name: str, tmp_path: Path) -> None:
    if name == "simplejpeg":
        pytest.importorskip("simplejpeg")
    whole = encoded(smooth(64, 64))
    for data in (whole[: len(whole) // 2], b"", b"no image", whole[:3] + bytes(50)):
        with pytest.raises(FormatError):
            decoder(name)(data, None)
    with pytest.raises(FormatError, match=r"a\.jpg.*cannot be read"):
        read_bytes(tmp_path / "a.jpg")
    with pytest.raises(UnknownNameError, match="simplejpeg"):
        decoder("simplejpg")
