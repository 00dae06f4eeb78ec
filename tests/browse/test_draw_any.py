"""Drawings and sheets take any text, picture and number, and say what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from granum.browse._draw_colour import palette, readable
from granum.browse._draw_ink import Ink
from granum.browse._draw_text import clean, font, shorten
from granum.browse.draw import draw, sheet
from granum.schema import rows
from granum.schema.rows import Annotation, Category, Sample

WIDTH, HEIGHT = 600, 400
RED = (255, 0, 0)
Pixels = npt.NDArray[np.int64]


def black() -> Image.Image:
    return Image.new("RGB", (WIDTH, HEIGHT))


NAMES = ["", "é", "日本語 🚗", "a\nb\tc", "\ud800", "x" * 10_000, "\u202eabc", "i" * 700]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_any_text(name: str) -> None:
    sample = Sample("s", width=WIDTH, height=HEIGHT)
    sample.annotations = [
        Annotation(category=0, bbox=(550, 380, 90, 90), attributes={name: name}, text=name),
        Annotation("label", 0),
        Annotation("caption", text=name),
    ]
    out = draw(black(), sample, [Category(name)])
    assert out.width == WIDTH and HEIGHT < out.height < HEIGHT + 400
    assert out.crop((0, 0, WIDTH, HEIGHT)).getbbox() is not None


def test_text_that_the_font_lacks_loses_its_accents() -> None:
    assert clean(" Straße\n café\t ") == "Strasse cafe"
    assert clean("日本") == "日本"
    kind = font(20)
    cut = shorten("a long line of text", kind, 80)
    assert cut.endswith("…") and kind.getlength(cut) <= 80 and len(cut) > 4
    assert (shorten("short", kind, 200), shorten("short", kind, 1)) == ("short", "")


def test_labels_stay_inside_and_apart() -> None:
    ink = Ink(black())
    boxes = [(-50.0, -50.0, 10.0, 10.0), (590.0, 390.0, 700.0, 500.0), (0.0, 0.0, 600.0, 400.0),
             (200.0, 200.0, 260.0, 240.0), (210.0, 205.0, 270.0, 245.0),
             (2000.0, 2000.0, 2001.0, 2001.0)]  # fmt: skip
    for box in boxes:
        assert ink.label(box, "a rather long label", RED, "with, details")
    for i, (x0, y0, x1, y1) in enumerate(ink.taken):
        assert 0 <= x0 < x1 <= WIDTH and 0 <= y0 < y1 <= HEIGHT
        for a0, b0, a1, b1 in ink.taken[:i]:
            assert x0 >= a1 or a0 >= x1 or y0 >= b1 or b0 >= y1
    pixels = np.asarray(ink.image).any(axis=2)
    spots = np.zeros_like(pixels)
    for x0, y0, x1, y1 in ink.taken:
        spots[int(y0) : int(y1), int(x0) : int(x1)] = True
    assert pixels.any() and not (pixels & ~spots).any()


def test_dashes_leave_gaps() -> None:
    counts = []
    for dashed in (False, True):
        ink = Ink(black())
        ink.stroke([(50, 50), (450, 250), (500, 20)], RED, 2, closed=True, dashed=dashed)
        counts.append(np.asarray(ink.image).any(axis=2).sum())
    assert 0.4 * counts[0] < counts[1] < 0.65 * counts[0]


def test_a_full_picture_still_gets_its_labels() -> None:
    ink = Ink(black())
    for _ in range(40):
        assert ink.label((100, 100, 120, 120), "name", RED)
    assert not ink.label((100, 100, 120, 120), "name", RED, needed=False)
    assert not ink.label((100, 100, 120, 120), "name" * 10, RED, needed=False)
    assert not Ink(Image.new("RGB", (30, 20))).label((0, 0, 5, 5), "name", RED)


def test_text_stands_out_from_its_box() -> None:
    assert readable((0, 0, 0)) == (255, 255, 255) and readable((255, 255, 0)) == (0, 0, 0)
    colours = [palette(i) for i in range(40)]
    assert len(set(colours)) == 40 and all(0 <= v <= 255 for c in colours for v in c)
    gaps = [np.abs(np.subtract(a, b)).sum() for a, b in pairwise(colours)]
    assert min(gaps) > 60


@pytest.mark.parametrize(
    "row",
    [
        Annotation(bbox=(1e12, -1e12, 1e300, 1e300)),
        Annotation(polygons=[[[-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]]]),
        Annotation(polyline=[-1e9, 0, 1e9, 400], category=77),
        Annotation(bbox=(0, 0, 1e9, 1e9), angle=1.0, parent=3),
        Annotation(polygons=[[[1, 1, 5, 5]], [], [[]]]),
        Annotation(polygons=[]),
        Annotation(keypoints=[1, 2]),
        Annotation(bbox=(5, 5, 0, 0), crowd=True),
        Annotation(bbox=(50, 50, -20, -20)),
        Annotation(rle=rows.Rle((0, 0), b"")),
        Annotation("relation", subject=None, object=None),
        Annotation("caption"),
        Annotation(category=-5, bbox=(1, 1, 5, 5)),
    ],
)
def test_odd_rows_are_drawn_or_passed_over(row: Annotation) -> None:
    sample = Sample("s", width=WIDTH, height=HEIGHT, annotations=[row])
    out = draw(black(), sample, [Category("red")])
    assert out.width == WIDTH and HEIGHT <= out.height < HEIGHT + 100


ARRAYS: dict[str, tuple[npt.NDArray[Any], Callable[[Pixels], bool]]] = {
    "grey": (np.full((600, 600), 7, np.uint8), lambda out: bool((out == 7).all())),
    "one channel": (np.full((600, 600, 1), 7, np.uint8), lambda out: bool((out == 7).all())),
    "bool": (np.eye(600, dtype=bool), lambda out: set(np.unique(out)) == {0, 255}),
    "16 bit": (
        np.arange(360_000, dtype=np.uint32).reshape(600, 600),
        lambda out: (out[0, 0, 0], out[-1, -1, 0]) == (0, 255),
    ),
    "share": (np.full((600, 600, 3), 0.5), lambda out: bool((out == 128).all())),
    "nan": (np.full((600, 600), np.nan), lambda out: bool((out == 0).all())),
    "bands": (np.full((600, 600, 7), 9, np.uint8), lambda out: bool((out == 9).all())),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name: str) -> None:
    array, check = ARRAYS[name]
    out = np.asarray(draw(array, Sample("s"), []), np.int64)
    assert out.shape == (600, 600, 3) and check(out)


def test_image_modes() -> None:
    clear = Image.new("RGBA", (600, 600), (255, 0, 0, 0))
    assert draw(clear, Sample("s"), []).getpixel((5, 5)) == (255, 255, 255)
    for mode in ("1", "L", "P", "CMYK", "I", "F", "I;16", "LA"):
        assert draw(Image.new(mode, (600, 600)), Sample("s"), []).mode == "RGB"


def test_orientation_turns_the_stored_pixels() -> None:
    stored = Image.new("RGB", (600, 400))
    stored.paste(RED, (0, 0, 600, 10))
    stored.getexif()[0x0112] = 6
    out = draw(stored, Sample("s", orientation=6), [])
    assert out.size == (400, 600) and out.getpixel((399, 300)) == RED
    assert draw(stored, Sample("s"), []).size == (600, 400)


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.zeros(5), {}, "no picture"),
        (np.zeros((0, 5)), {}, "no picture"),
        (np.zeros((2, 2, 3, 1)), {}, "no picture"),
        (Image.new("RGB", (0, 5)), {}, "empty"),
        (Image.new("RGB", (5, 5)), {"opacity": 1.5}, "opacity"),
        (Image.new("RGB", (5, 5)), {"max_size": 0}, "max_size"),
    ],
)
def test_bad_arguments(image: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(image, Sample("s"), [], **options)


def test_sheet_lays_out_rows_and_columns() -> None:
    pictures = [Image.new("RGB", (40, 30), c) for c in ("red", "lime", "blue", "red", "lime")]
    out = np.asarray(sheet(pictures, 3))
    gap = (out.shape[1] - 120) // 4
    assert out.shape == (60 + 3 * gap, 120 + 4 * gap, 3)
    for i, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 0))):
        row, column = divmod(i, 3)
        assert tuple(out[gap + row * (30 + gap), gap + column * (40 + gap)]) == colour
    assert (out[-gap - 30 :, -gap - 40 :] == 255).all()
    titled = sheet(pictures, 3, ["a title far too long for its column"] * 5)
    assert titled.width == out.shape[1] and titled.height > out.shape[0]
    assert sheet(pictures[:1]).size == (40 + 2 * gap, 30 + 2 * gap)


@pytest.mark.parametrize(
    ("count", "columns", "titles"), [(0, None, None), (1, 0, None), (2, None, ["one"])]
)
def test_sheet_refuses(count: int, columns: int | None, titles: list[str] | None) -> None:
    with pytest.raises(ValueError, match=r"sheet|columns|titles"):
        sheet([Image.new("RGB", (5, 5))] * count, columns, titles)
