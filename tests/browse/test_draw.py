"""Drawings put every kind of annotation where it belongs, and nothing elsewhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from granum.browse._draw_colour import palette
from granum.browse._draw_shapes import Frame
from granum.browse.draw import draw
from granum.schema import geometry, rows
from granum.schema.rows import Annotation, Category, Sample
from granum.synthetic import generate

WIDTH, HEIGHT = 600, 400
RED, GREEN = (255, 0, 0), (0, 255, 0)
CATEGORIES = [
    Category("red", colour=list(RED), keypoints=["a", "b", "c"], skeleton=[[0, 1], [1, 2]]),
    Category("green", colour=list(GREEN)),
    Category("plain"),
]
Pixels = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def black() -> Image.Image:
    return Image.new("RGB", (WIDTH, HEIGHT))


def drawn(*annotations: Annotation, **options: Any) -> Pixels:
    options.setdefault("labels", False)
    sample = Sample("s", width=WIDTH, height=HEIGHT, annotations=list(annotations))
    return np.asarray(draw(black(), sample, CATEGORIES, **options), np.int64)


def changed(*annotations: Annotation, **options: Any) -> Mask:
    """Which pixels of the picture (without a strip) differ from the black image."""
    return np.asarray(drawn(*annotations, **options)[:HEIGHT].any(axis=2))


def box_mask(x0: int, y0: int, x1: int, y1: int) -> Mask:
    mask: Mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_nothing_to_draw_gives_a_new_equal_picture() -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    image = Image.fromarray(array)
    out = draw(image, Sample("s"), [])
    assert out is not image and out.mode == "RGB" and (np.asarray(out) == array).all()
    again = draw(array, Sample("s"), [])
    assert (np.asarray(again) == array).all()


def test_inputs_stay_as_they_are() -> None:
    array = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image = Image.fromarray(array)
    row = Annotation(category=0, bbox=(10, 10, 300, 300), attributes={"a": 1})
    sample = Sample("s", width=WIDTH, height=HEIGHT, annotations=[row])
    for picture in (array, image):
        assert np.asarray(draw(picture, sample, CATEGORIES)).any()
        assert not np.asarray(picture).any()
    assert sample.annotations == [row] and row.attributes == {"a": 1}


def test_box_is_a_line_at_its_border() -> None:
    out = drawn(Annotation(category=0, bbox=(100, 50, 200, 120)))
    for x, y in ((100, 50), (299, 50), (100, 169), (299, 169), (200, 50), (100, 100)):
        assert tuple(out[y, x]) == RED
    for x, y in ((99, 49), (300, 170), (200, 48), (105, 55), (200, 110)):
        assert tuple(out[y, x]) == (0, 0, 0)
    assert 2 * (200 + 120) - 4 <= out.any(axis=2).sum() <= 6 * (200 + 120)


def test_part_box_is_dashed_and_thinner() -> None:
    whole = changed(Annotation(category=0, bbox=(100, 50, 200, 120)))
    part = changed(Annotation(category=0, bbox=(100, 50, 200, 120), parent=1))
    assert 0.2 * whole.sum() < part.sum() < 0.8 * whole.sum() and not (part & ~whole).any()
    for edge in (part[50, 100:300], part[169, 100:300], part[50:170, 100], part[50:170, 299]):
        assert 0.3 < edge.mean() < 0.8


def test_turned_box() -> None:
    row = Annotation(category=0, bbox=(200, 150, 200, 100), angle=math.pi / 6)
    out = changed(row)
    for x, y in geometry.box_to_corners((200, 150, 200, 100), math.pi / 6):
        assert out[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4].any()
    assert not out[145:156, 195:206].any() and not out[200, 300]


@pytest.mark.parametrize("form", ["polygons", "rle", "map"])
def test_masks_are_tinted_and_holes_are_not(form: str) -> None:
    mask = box_mask(100, 100, 300, 300) & ~box_mask(150, 150, 250, 250)
    mask |= box_mask(400, 100, 450, 150)
    size, counts = geometry.encode_mask(mask)
    ring: list[float] = [100, 100, 300, 100, 300, 300, 100, 300]
    hole: list[float] = [150, 150, 250, 150, 250, 250, 150, 250]
    part: list[float] = [400, 100, 450, 100, 450, 150, 400, 150]
    row = {
        "polygons": Annotation(category=0, polygons=[[ring, hole], [part]]),
        "rle": Annotation(category=0, rle=rows.Rle(size, counts)),
        "map": Annotation(category=0, map=rows.LabelMap("m.png", value=3)),
    }[form]
    seen: list[rows.LabelMap] = []

    def load(found: rows.LabelMap) -> npt.NDArray[np.bool_]:
        seen.append(found)
        return mask

    out: Pixels = drawn(row, load_map=load, opacity=0.4)
    for x, y in ((120, 120), (275, 200), (425, 125)):
        assert tuple(out[y, x]) == (round(255 * 0.4), 0, 0)
    assert out[102:298, 100, 0].min() > 180
    near = box_mask(97, 97, 303, 303) & ~box_mask(153, 153, 247, 247) | box_mask(397, 97, 453, 153)
    assert not (out.max(axis=2) * ~near).any()
    assert (seen == [row.map]) == (form == "map")


def test_larger_masks_do_not_hide_smaller_ones() -> None:
    small = Annotation(category=1, polygons=[[[50, 50, 90, 50, 90, 90, 50, 90]]])
    large = Annotation(category=0, polygons=[[[0, 0, 500, 0, 500, 300, 0, 300]]])
    for order in ((small, large), (large, small)):
        red, green, _ = drawn(*order, opacity=0.5)[70, 70]
        assert green > red > 0


def test_map_without_a_loader_is_named() -> None:
    row = Annotation(category=0, map=rows.LabelMap("m.png", value=3))
    assert not changed(row).any()
    assert drawn(row, labels=True).shape[0] > HEIGHT


def test_crowd_and_ignored_regions_are_hatched() -> None:
    mask = box_mask(100, 100, 400, 300)
    plain = Annotation(category=0, rle=rows.Rle(*geometry.encode_mask(mask)))
    for flag in ("crowd", "ignore"):
        flags: dict[str, Any] = {flag: True}
        row = Annotation(category=0, rle=plain.rle, **flags)
        inner = drawn(row)[110:290, 110:390, 0]
        strong = (inner > 200).mean()
        assert 0.1 < strong < 0.5 and (inner > 0).all()
        assert not changed(row)[~box_mask(98, 98, 402, 302)].any()
        assert (drawn(plain)[110:290, 110:390, 0] < 200).all()
        boxed = changed(Annotation(category=0, bbox=(100, 100, 300, 200), **flags))
        assert 0.1 < boxed[110:290, 110:390].mean() < 0.5


@pytest.mark.parametrize("kind", ["ellipse", "circle"])
def test_ellipse_fills_its_box_but_not_the_corners(kind: str) -> None:
    out = changed(Annotation(category=0, bbox=(100, 100, 200, 100), shape_kind=kind))
    assert out[150, 200] and out[150, 103] and out[102, 200]
    assert not out[103, 103] and not out[195, 295] and not out[150, 310]


@pytest.mark.parametrize(
    "row",
    [
        Annotation(category=0, bbox=(300, 200, 0, 0), shape_kind="point"),
        Annotation(category=0, polyline=[300, 200], shape_kind="point"),
        Annotation(category=0, keypoints=[300, 200, 2]),
    ],
)
def test_point_is_a_marker(row: Annotation) -> None:
    out = drawn(row)
    assert tuple(out[200, 300]) == RED
    assert 20 < out.any(axis=2).sum() < 300
    assert not (out.max(axis=2) * ~box_mask(285, 185, 315, 215)).any()


def test_polyline() -> None:
    out = drawn(Annotation(category=0, polyline=[50, 50, 250, 50, 250, 250]))
    assert tuple(out[50, 150]) == RED and tuple(out[150, 250]) == RED
    assert not out[150, 150].any() and not out[250, 50].any()


def test_keypoints_and_skeleton() -> None:
    row = Annotation(category=0, keypoints=[100, 100, 2, 300, 100, 1, 300, 300, 0])
    out = drawn(row)
    assert tuple(out[100, 100]) == RED and tuple(out[100, 200]) == RED
    assert not out[200, 300].any() and not out[295:306, 295:306].any()
    alone = drawn(Annotation(category=1, keypoints=[100, 100, 2, 300, 100, 1]))
    assert tuple(alone[100, 100]) == GREEN
    assert not alone[100, 300].any() and alone[92:109, 292:309].any()
    assert not alone[100, 200].any()


def test_relation_is_an_arrow_between_its_ends() -> None:
    ends = [
        Annotation(category=1, bbox=(80, 180, 40, 40), annotation_id=1),
        Annotation(category=1, bbox=(480, 180, 40, 40), annotation_id=2),
    ]
    row = Annotation("relation", 0, subject=1, object=2)
    out = drawn(*ends, row)
    assert tuple(out[200, 300]) == RED and out[200, 499].any()
    back = drawn(*ends, Annotation("relation", 0, subject=2, object=1))
    assert (out[:, 450:] != back[:, 450:]).any()
    lost = Annotation("relation", 0, subject=1, object=99)
    assert (drawn(*ends, lost) == drawn(*ends)).all()
    assert drawn(*ends, lost, labels=True).shape[0] > HEIGHT
    assert drawn(*ends, row, labels=True).shape[0] == HEIGHT


IN_THE_STRIP = {
    "label": Annotation("label", 0, present=True),
    "absent": Annotation("label", 0, present=False),
    "caption": Annotation("caption", text="A long caption " * 20),
    "interval": Annotation("interval", 1, interval=rows.Interval(0.5, 2)),
    "track": Annotation("track", 1, track=4),
    "box3d": Annotation(category=0, box3d=(1, 2, 3, 4, 5, 6, 7, 8, 9)),
    "nothing": Annotation(category=0),
    "no numbers": Annotation(category=0, bbox=(math.nan, 1, 5, math.inf)),
}


@pytest.mark.parametrize("row", IN_THE_STRIP.values(), ids=IN_THE_STRIP)
def test_what_has_no_place_goes_to_the_strip(row: Annotation) -> None:
    out = drawn(row, labels=True)
    assert out.shape[1] == WIDTH and out.shape[0] > HEIGHT + 10
    assert not out[:HEIGHT].any()
    assert np.unique(out[HEIGHT:].reshape(-1, 3), axis=0).shape[0] > 2
    assert drawn(row).shape[0] == HEIGHT


def test_the_strip_tells_one_thing_from_another() -> None:
    strips = [drawn(row, labels=True)[HEIGHT:] for row in IN_THE_STRIP.values()]
    assert len({strip.tobytes() for strip in strips}) == len(strips) - 1
    assert (strips[-1] == strips[-2]).all(), "no place and no usable place read the same"


def test_labels_tell_name_score_track_presence_and_attributes() -> None:
    base: dict[str, Any] = {"category": 1, "bbox": (200, 200, 150, 100)}
    variants: list[dict[str, Any]] = [
        {},
        {"score": 0.87},
        {"score": 0.88},
        {"present": False},
        {"occluded": True},
        {"attributes": {"colour": "blue"}},
        {"text": "EXIT"},
        {"category": 2},
    ]
    pictures = [drawn(Annotation(**{**base, **v}), labels=True).tobytes() for v in variants]
    assert len(set(pictures)) == len(variants)
    assert drawn(Annotation(**base), labels=True).shape == (HEIGHT, WIDTH, 3)


def test_tracks_have_colours_of_their_own() -> None:
    def colour(category: int, track: int | None) -> tuple[int, ...]:
        row = Annotation(category=category, bbox=(100, 100, 50, 50), track=track)
        return tuple(drawn(row)[100, 120])

    assert colour(0, 5) == colour(1, 5) != colour(0, 6)
    assert colour(0, None) == RED and colour(2, None) == palette(2)


def test_field_is_heat() -> None:
    values = np.tile(np.linspace(2, 9, WIDTH), (HEIGHT, 1))
    values[:, :100] = np.nan
    row = Annotation("field", 0, map=rows.LabelMap("depth.png"))
    out = drawn(row, load_map=lambda _: values)
    assert not out[:, :100].any() and out[:, 110:].any(axis=2).all()
    assert out[200, 590].sum() > out[200, 110].sum() + 100
    half = drawn(row, load_map=lambda _: values[::2, ::2])
    assert (half[:, 101:] > 0).any(axis=2).all() and not half[:, :99].any()


def test_whole_map_has_a_colour_per_value() -> None:
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[:, 200:400], values[:, 400:] = 1, 2
    out = drawn(Annotation(map=rows.LabelMap("m.png")), load_map=lambda _: values, opacity=1)
    assert not out[:, :200].any()
    assert tuple(out[9, 300]) == palette(1) and tuple(out[9, 500]) == palette(2)


def everything(across: float, down: float) -> list[Annotation]:
    def flat(values: list[float], step: int = 2) -> list[float]:
        scaled = list(values)
        scaled[0::step] = [v / across for v in values[0::step]]
        scaled[1::step] = [v / down for v in values[1::step]]
        return scaled

    box = flat([128, 64, 256, 128])
    return [
        Annotation(category=0, bbox=(box[0], box[1], box[2], box[3]), angle=0.5, annotation_id=1),
        Annotation(category=1, polygons=[[flat([16, 16, 96, 16, 64, 128])]], annotation_id=2),
        Annotation(category=0, keypoints=flat([32, 160, 2, 64, 224, 1, 96, 192, 2], 3)),
        Annotation(category=2, polyline=flat([256, 192, 384, 224])),
        Annotation("relation", 2, subject=1, object=2),
    ]


@pytest.mark.parametrize("labels", [False, True])
def test_relative_unit_draws_like_pixels(labels: bool) -> None:
    image = Image.new("RGB", (512, 256))
    pixel = Sample("p", width=512, height=256, annotations=everything(1, 1))
    relative = Sample("r", unit="relative", annotations=everything(512, 256))
    one = draw(image, pixel, CATEGORIES, labels=labels)
    assert (np.asarray(one) == np.asarray(draw(image, relative, CATEGORIES, labels=labels))).all()
    # The same coordinates on a copy of half the size: they belong to the sample's raster.
    half = draw(image.resize((256, 128)), pixel, CATEGORIES, labels=labels)
    assert (np.asarray(one) == np.asarray(half)).all()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 1), (512, 512)), ((300, 200), (600, 400)), ((399, 4), (798, 8)), ((400, 3), (400, 3))],
)
def test_small_pictures_are_enlarged(size: tuple[int, int], expected: tuple[int, int]) -> None:
    row = Annotation(category=0, bbox=(0, 0, size[0] / 2, size[1]))
    sample = Sample("s", width=size[0], height=size[1], annotations=[row])
    out = draw(Image.new("RGB", size), sample, CATEGORIES, labels=False)
    assert out.size == expected
    edge = expected[0] // 2
    assert np.asarray(out)[:, edge - 1, 0].all() and not np.asarray(out)[:, edge:].any()


def test_max_size_bounds_the_picture() -> None:
    for size, limit, expected in (
        ((800, 400), 200, (200, 100)),
        ((100, 50), 250, (200, 100)),
        ((100, 50), 1, (1, 1)),
    ):
        assert draw(Image.new("RGB", size), Sample("s"), [], max_size=limit).size == expected


def test_the_strip_of_a_tiny_picture_is_wide_enough_to_read() -> None:
    sample = Sample("s", annotations=[IN_THE_STRIP["caption"], IN_THE_STRIP["label"]])
    out = draw(Image.new("RGB", (10, 10)), sample, CATEGORIES, max_size=10)
    assert out.width == 160 and out.height < 400


def test_enlarged_pixels_are_whole_blocks() -> None:
    array = np.random.default_rng(1).integers(0, 255, (4, 8, 3), np.uint8)
    out = np.asarray(draw(array, Sample("s"), []))
    assert (out == array.repeat(64, axis=0).repeat(64, axis=1)).all()


def test_every_rendered_row_shows(tmp_path: Path) -> None:
    made = generate(tmp_path, scenes=1, frames=2, pairs=1, textures=8, size=(160, 120))

    def load(found: rows.LabelMap) -> npt.NDArray[np.bool_]:
        values = np.asarray(Image.open(tmp_path / str(found.path)))
        return np.asarray(values > 0 if found.value is None else values == found.value)

    seen = set()
    for sample in made.samples:
        image = Image.open(tmp_path / sample.key)
        bare = draw(image, sample, made.categories, annotations=[]).tobytes()
        for row in sample.annotations:
            key = (row.kind, row.rle is None, row.map is None, row.keypoints is None)
            if key not in seen:
                seen.add(key)
                one = draw(image, sample, made.categories, annotations=[row], load_map=load)
                assert one.tobytes() != bare
    assert len(seen) >= 7


def test_field_is_drawn_by_the_numbers_that_its_integers_mean() -> None:
    frame, integers = Frame((3, 1), 1, 1), np.array([[0, 2, 4]])
    row = Annotation("field", extra={"scale": 0.5, "offset": 1.0, "missing": 0})
    np.testing.assert_array_equal(frame.values(row, integers), [[np.nan, 2.0, 3.0]])
    row.extra = {"scale": "wide"}  # something else of that name
    np.testing.assert_array_equal(frame.values(row, integers), integers)
