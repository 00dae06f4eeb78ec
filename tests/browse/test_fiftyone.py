"""Datasets into FiftyOne: every kind is there, readable, in its place; the account is right."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from granum.browse._fiftyone_cells import Cell
from granum.browse._fiftyone_masks import MaskReader, packed, unpacked, window
from granum.browse.fiftyone import to_fiftyone
from granum.errors import (
    ExistsError,
    MissingExtraError,
    SizeUnknownError,
    UnknownNameError,
    UsageError,
)
from granum.schema import geometry, rows
from granum.schema.rows import Annotation, Category, LabelMap, Media, Rle, Sample
from granum.store.additions import add_column
from granum.store.dataset import Dataset
from granum.verbs.browse import browse
from tests.data import shared

WIDTH, HEIGHT = 40, 20

CATEGORIES = [
    Category("cat", supercategory="animal", keypoints=["nose", "tail"], skeleton=[[0, 1]]),
    Category("dog"),
    Category("day", space="scene"),
    Category("night", space="scene"),
    Category("beside", space="predicate"),
    Category("grass", space="ground", source_id="1"),
    Category("water", space="ground", source_id="2"),
    Category("depth", space="field"),
]
CAT, DOG, DAY, NIGHT, BESIDE, GRASS, WATER, DEPTH = range(8)


def disc() -> np.ndarray[Any, Any]:
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return np.asarray((x - 20) ** 2 + (y - 10) ** 2 < 36)


def square(at: int) -> Rle:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[at : at + 4, at : at + 4] = True
    return Rle(*geometry.encode_mask(mask))


def image(folder: Path, name: str, pixels: Any = None) -> str:
    value = np.zeros((HEIGHT, WIDTH), np.uint8) if pixels is None else pixels
    Image.fromarray(value).save(folder / name)
    return name


def one(folder: Path, *annotations: Annotation, **values: Any) -> Dataset:
    """A dataset of one image of 40 x 20 pixels with these annotations."""
    sample = Sample(
        "a.png",
        Media(image(folder, "a.png")),
        annotations=list(annotations),
        **{"width": WIDTH, "height": HEIGHT, **values},
    )
    return Dataset.from_rows([sample], CATEGORIES, media_root=folder)


def labels(dataset: Any, field: str) -> list[Any]:
    value = dataset.first()[field]
    return list(value[value._LABEL_LIST_FIELD])


def test_boxes_are_fractions_and_carry_everything_else(fo: Any, tmp_path: Path) -> None:
    box = Annotation(
        category=DOG,
        bbox=(4.0, 5.0, 10.0, 8.0),
        score=0.25,
        crowd=True,
        ignore=False,
        occluded=True,
        track=7,
        visibility=0.5,
        z_order=3,
        area=80.0,
        source="human",
        annotation_id=11,
        attributes={"colour": "red", "legs": 4, "odd": [1, {"a": None}], "label": "x"},
    )
    dataset = one(tmp_path, box, split="val", attributes={"rain": True})
    out = to_fiftyone(dataset, "boxes")
    sample = out.dataset.first()
    (label,) = labels(out.dataset, "truth")
    assert label.bounding_box == [0.1, 0.25, 0.25, 0.4]
    assert (label.label, label.confidence, label.index) == ("dog", 0.25, 7)
    assert (label.iscrowd, label.ignore, label.occluded) == (True, False, True)
    assert (label.visibility, label.z_order, label.area, label.source) == (0.5, 3, 80.0, "human")
    assert (label.colour, label.legs, label.odd) == ("red", 4, '[1,{"a":null}]')
    assert label.attr_label == "x"  # "label" is FiftyOne's own
    assert label.granum_id == 11 and label.instance is not None
    assert not label.has_field("difficult")
    assert (sample.granum_key, sample.tags, sample.rain) == ("a.png", ["val"], True)
    assert (sample.metadata.width, sample.metadata.height) == (WIDTH, HEIGHT)
    assert Path(sample.filepath) == tmp_path / "a.png"
    assert out.report.lost_names() == {}
    assert out.dataset.default_classes == ["cat", "dog"]


@pytest.mark.parametrize("form", ["rle", "polygons", "map_value", "map_nonzero"])
def test_masks_are_the_pixels_of_the_box(fo: Any, tmp_path: Path, form: str) -> None:
    mask = disc()
    box = (14.0, 4.0, 12.0, 12.0)
    row = Annotation(category=CAT, bbox=box, annotation_id=1)
    if form == "rle":
        row.rle = Rle(*geometry.encode_mask(mask))
    elif form == "polygons":
        row.polygons = [[[14.2, 5.0, 25.7, 4.4, 20.0, 15.6], [18.0, 7.0, 22.0, 7.0, 20.0, 10.0]]]
        mask = geometry.rasterize(row.polygons, HEIGHT, WIDTH)
    else:
        value = 3 if form == "map_value" else None
        image(tmp_path, "m.png", mask.astype(np.uint8) * 3)
        row.map = LabelMap("m.png", encoding="index" if value else "nonzero", value=value)
    out = to_fiftyone(one(tmp_path, row), polygons="masks")
    (label,) = labels(out.dataset, "truth")
    np.testing.assert_array_equal(label.mask, mask[4:16, 14:26])
    changed = {r.column: r.changed for r in out.report.rows if r.changed}
    assert changed == ({"polygons": 1} if form == "polygons" else {})


def test_a_mask_without_a_box_gets_its_bounds(fo: Any, tmp_path: Path) -> None:
    image(tmp_path, "m.png", disc().astype(np.uint8))
    row = Annotation(category=CAT, map=LabelMap("m.png", value=1), annotation_id=1)
    empty = Annotation(category=CAT, map=LabelMap("m.png", value=9), annotation_id=2)
    out = to_fiftyone(one(tmp_path, row, empty))
    (label,) = labels(out.dataset, "truth")
    assert label.bounding_box == [14 / 40, 4 / 20, 12 / 40, 12 / 20]
    assert label.mask.sum() == disc().sum()
    lost = next(r for r in out.report.rows if r.column == "*" and r.kind == "object")
    assert (lost.total, lost.lost, lost.examples) == (2, 1, ["2"])


def test_mask_pixels_outside_their_box_are_accounted_for(fo: Any, tmp_path: Path) -> None:
    rle = Rle(*geometry.encode_mask(disc()))
    row = Annotation(category=CAT, bbox=(14.0, 4.0, 6.0, 12.0), rle=rle, annotation_id=1)
    out = to_fiftyone(one(tmp_path, row))
    (label,) = labels(out.dataset, "truth")
    np.testing.assert_array_equal(label.mask, disc()[4:16, 14:20])
    (line,) = [r for r in out.report.rows if r.column == "rle"]
    assert (line.kept, line.changed, line.lost) == (0, 1, 0)


def test_polygons_are_filled_outlines_with_holes_noted(fo: Any, tmp_path: Path) -> None:
    parts = [
        [[0.0, 0.0, 10.0, 0.0, 10.0, 10.0], [5.0, 1.0, 8.0, 1.0, 8.0, 4.0]],
        [[20.0, 0.0, 30.0, 0.0, 30.0, 10.0]],
    ]
    row = Annotation(category=CAT, polygons=parts, annotation_id=5)
    out = to_fiftyone(one(tmp_path, row))
    (line,) = labels(out.dataset, "truth_polygons")
    assert line.filled and line.closed and line.granum_id == 5
    assert line.points[1] == [[0.125, 0.05], [0.2, 0.05], [0.2, 0.2]]
    assert len(line.points) == 3 and line.holes == [1]
    (box,) = labels(out.dataset, "truth")
    assert box.bounding_box == [0.0, 0.0, 0.75, 0.5]
    assert [r.column for r in out.report.rows if r.lost or r.changed] == []
    only = to_fiftyone(one(tmp_path, row), polygons="polylines").dataset
    assert labels(only, "truth")[0].mask is None


def test_lines_turned_boxes_and_keypoints(fo: Any, tmp_path: Path) -> None:
    line = Annotation(category=CAT, polyline=[0.0, 0.0, 40.0, 20.0], annotation_id=1)
    turned = Annotation(category=DOG, bbox=(10.0, 5.0, 8.0, 4.0), angle=np.pi / 2, annotation_id=2)
    points = [10.0, 10.0, 2.0, 0.0, 0.0, 0.0]
    joints = Annotation(
        category=CAT, keypoints=points, keypoint_scores=[0.5, 0.1], score=0.9, annotation_id=3
    )
    out = to_fiftyone(one(tmp_path, line, turned, joints))
    lines = labels(out.dataset, "truth_polylines")
    assert (lines[0].closed, lines[0].points) == (False, [[[0.0, 0.0], [1.0, 1.0]]])
    corners = np.array(lines[1].points[0]) * (WIDTH, HEIGHT)
    np.testing.assert_allclose(corners, geometry.box_to_corners((10, 5, 8, 4), np.pi / 2))
    (box,) = labels(out.dataset, "truth")  # around the turned one
    np.testing.assert_allclose(np.multiply(box.bounding_box, [40, 20, 40, 20]), [12, 3, 4, 8])
    (person,) = labels(out.dataset, "truth_keypoints")
    assert person.points[0] == [0.25, 0.5] and np.isnan(person.points[1]).all()
    assert (person.visible, person.confidence, person.score) == ([2, 0], [0.5, 0.1], 0.9)
    skeleton = out.dataset.skeletons["truth_keypoints"]
    assert (skeleton.labels, skeleton.edges) == (["nose", "tail"], [[0, 1]])


def test_labels_captions_and_relations(fo: Any, tmp_path: Path) -> None:
    found = [
        Annotation("label", DAY, present=True, annotation_id=1),
        Annotation("label", NIGHT, present=False, annotation_id=2),
        Annotation("label", CAT, score=0.5, annotation_id=3),
        Annotation("label", DOG, annotation_id=4),
        Annotation("caption", text="a cat", annotation_id=5),
        Annotation("caption", text="a dog", annotation_id=6),
        Annotation(category=CAT, bbox=(0, 0, 4, 4), annotation_id=7),
        Annotation(category=DOG, bbox=(8, 0, 4, 4), annotation_id=8),
        Annotation("relation", BESIDE, subject=7, object=8, annotation_id=9),
        Annotation("relation", BESIDE, subject=99, object=8, annotation_id=10),
    ]
    out = to_fiftyone(one(tmp_path, *found))
    sample = out.dataset.first()
    assert sample.truth_label_scene.label == "day" and sample.truth_label_scene.present
    assert [a.label for a in sample.truth_absent_scene.classifications] == ["night"]
    both = sample.truth_labels.classifications
    assert [(c.label, c.confidence) for c in both] == [("cat", 0.5), ("dog", None)]
    assert sample.truth_captions == ["a cat", "a dog"]
    assert labels(out.dataset, "truth")[0].relations == ["beside → 8"]
    assert sample.granum_sent == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    (line,) = [r for r in out.report.rows if (r.kind, r.column) == ("relation", "*")]
    assert (line.kept, line.lost, line.examples) == (1, 1, ["10"])


def test_label_images_and_heat_maps(fo: Any, tmp_path: Path) -> None:
    ground = np.where(disc(), 2, 1).astype(np.uint8)
    image(tmp_path, "ground.png", ground)
    image(tmp_path, "depth.png", ground * 100)
    palette = Image.fromarray(ground).convert("P")
    palette.putpalette([9, 8, 7] * 256)
    palette.save(tmp_path / "palette.png")
    rows_ = [
        Annotation(map=LabelMap("ground.png", space="ground"), annotation_id=1),
        Annotation("field", DEPTH, map=LabelMap("depth.png"), annotation_id=2),
        Annotation(map=LabelMap("palette.png", space="scene"), annotation_id=3),
    ]
    out = to_fiftyone(one(tmp_path, *rows_), "maps", embed_root=tmp_path / "made")
    sample = out.dataset.first()
    assert Path(sample.truth_map_ground.mask_path) == tmp_path / "ground.png"
    assert out.dataset.mask_targets == {"truth_map_ground": {1: "grass", 2: "water"}}
    assert Path(sample.truth_heat_depth.map_path) == tmp_path / "depth.png"
    drawn = np.asarray(Image.open(sample.truth_map_scene.mask_path))
    np.testing.assert_array_equal(drawn, ground)
    assert Path(sample.truth_map_scene.mask_path).parent == tmp_path / "made"
    inside = to_fiftyone(one(tmp_path, *rows_)).dataset.first()  # in the document
    np.testing.assert_array_equal(inside.truth_map_scene.mask, ground)


def test_what_has_no_place_is_in_the_report(fo: Any, tmp_path: Path) -> None:
    solid = Annotation(category=CAT, box3d=(0.0,) * 9, annotation_id=1)
    video = Sample("v.mp4", Media("v.mp4"), media_kind="video")
    tube = Annotation("track", CAT, track=1, group=0, annotation_id=2)
    first = Sample("a.png", Media(image(tmp_path, "a.png")), WIDTH, HEIGHT, annotations=[solid])
    first.geo, first.group, first.order = {"crs": "EPSG:4326", "transform": [1.0] * 6}, 0, 1
    dataset = Dataset.from_rows(
        [video, first],
        CATEGORIES,
        [rows.Group("clip", "video", fps=25.0)],
        group_annotations=[tube],
        media_root=tmp_path,
    )
    out = to_fiftyone(dataset)
    assert len(out.dataset) == 1 and out.dataset.first().group == "clip"
    assert len(out.dataset.load_saved_view("groups")) == 1
    lost = {(r.table, r.kind, r.column): r.lost for r in out.report.rows if r.lost}
    assert lost["samples", None, "*"] == 1
    assert lost["samples", None, "geo"] == 1
    assert lost["annotations", "object", "*"] == 1
    assert lost["annotations", "track", "*"] == 1
    assert lost["groups", None, "fps"] == 1
    assert all(r.kept + r.changed + r.lost == r.total for r in out.report.rows)


def test_relative_coordinates_need_no_size(fo: Any, tmp_path: Path) -> None:
    row = Annotation(category=CAT, bbox=(0.1, 0.2, 0.3, 0.4), annotation_id=1)
    dataset = one(tmp_path, row, unit="relative", width=None, height=None)
    (tmp_path / "a.png").unlink()
    (label,) = labels(to_fiftyone(dataset).dataset, "truth")
    assert label.bounding_box == [0.1, 0.2, 0.3, 0.4]


def test_sizes_come_from_the_images_where_they_are_not_stored(fo: Any, tmp_path: Path) -> None:
    row = Annotation(category=CAT, bbox=(4.0, 5.0, 10.0, 8.0), annotation_id=1)
    dataset = one(tmp_path, row, width=None, height=None)
    (label,) = labels(to_fiftyone(dataset).dataset, "truth")
    assert label.bounding_box == [0.1, 0.25, 0.25, 0.4]
    (tmp_path / "a.png").unlink()
    before = fo.list_datasets()
    with pytest.raises(SizeUnknownError, match=r"a\.png"):
        to_fiftyone(dataset)
    assert fo.list_datasets() == before  # nothing half done is left


def test_embedded_images_go_to_the_folder_that_is_named(fo: Any, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(disc()).save(file, "png")
    sample = Sample("../x/é.png", Media(bytes=file.getvalue()), WIDTH, HEIGHT)
    dataset = Dataset.from_rows([sample], CATEGORIES)
    with pytest.raises(UsageError, match="embed_root"):
        to_fiftyone(dataset)
    made = to_fiftyone(dataset, embed_root=tmp_path / "images").dataset
    path = Path(made.first().filepath)
    assert path.parent == tmp_path / "images" and path.read_bytes() == file.getvalue()


def test_layers_columns_and_names(fo: Any, tmp_path: Path) -> None:
    sample = Sample("a.png", Media(image(tmp_path, "a.png")), WIDTH, HEIGHT)
    sample.annotations = [Annotation(category=CAT, bbox=(0, 0, 4, 4))]
    sample.layers = {"my run-2": [Annotation(category=DOG, bbox=(4, 4, 4, 4), score=0.5)]}
    store = Dataset.from_rows([sample], CATEGORIES, media_root=tmp_path).save(tmp_path / "s.granum")
    store = add_column(store, "sharpness", lambda b: np.array([0.5]))
    vector = np.arange(6.0).reshape(1, 6)
    store = add_column(
        store, "space", lambda b: pa.FixedSizeListArray.from_arrays(vector.ravel(), 6)
    )
    out = to_fiftyone(store)
    assert out.dataset.name == "s"
    assert [d.label for d in labels(out.dataset, "my_run_2")] == ["dog"]
    assert out.dataset.first().sharpness == 0.5 and "space" not in out.dataset.get_field_schema()
    assert [r.column for r in out.report.rows if r.lost] == ["col.space"]
    only = to_fiftyone(store, layers=["my run-2"], columns=["space"]).dataset
    assert only.name == "s-2" and "truth" not in only.get_field_schema()
    np.testing.assert_array_equal(only.first().space, vector[0])
    with pytest.raises(UnknownNameError):
        to_fiftyone(store, layers=["none"])
    with pytest.raises(UnknownNameError):
        to_fiftyone(store, columns=["none"])
    with pytest.raises(ExistsError):
        to_fiftyone(store, "s")
    replaced = to_fiftyone(store, "s", overwrite=True, persistent=True).dataset
    assert replaced.name == "s" and replaced.persistent and len(replaced) == 1


def test_fiftyone_reads_and_writes_what_was_inserted(fo: Any, tmp_path: Path) -> None:
    """A sample read and saved by FiftyOne is the same; its schema has every field."""
    from granum.synthetic import generate

    made = generate(tmp_path / "g", scenes=2, frames=2, pairs=1, textures=4, size=(96, 64))
    dataset = Dataset.from_rows(
        made.samples,
        made.categories,
        made.groups,
        group_annotations=made.group_annotations,
        media_root=made.root,
    )
    out = to_fiftyone(dataset).dataset
    flat = out.get_field_schema(flat=True)
    before = [s.to_mongo_dict() for s in out]
    out.add_dynamic_sample_fields()
    assert set(out.get_field_schema(flat=True)) == set(flat)  # nothing was undeclared
    copied = fo.Dataset()
    copied.add_samples([s.copy() for s in out])
    after = [s.to_mongo_dict() for s in copied]
    plain = {"_id", "_dataset_id", "_rand", "created_at", "last_modified_at"}
    for a, b in zip(before, after, strict=True):
        assert _same_but_for_empty(a, b, plain)
    in_layer = sum(1 for a in dataset.annotations().to_pylist() if a["kind"] == "object")
    whole = sum(1 for a in made.group_annotations if a.kind == "object")
    assert out.count("truth.detections") == in_layer - whole


def _same_but_for_empty(a: Any, b: Any, skip: set[str]) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        names = {n for n in a.keys() | b.keys() if a.get(n) or b.get(n)} - skip
        return all(_same_but_for_empty(a.get(n), b.get(n), skip) for n in names)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return all(_same_but_for_empty(x, y, skip) for x, y in zip(a, b, strict=True))
    if isinstance(a, bytes) and isinstance(b, bytes):
        return np.array_equal(unpacked(a), unpacked(b))
    return bool(a == b) or (a != a and b != b)


def test_evaluation_runs_and_finds_the_shifted_box(fo: Any, tmp_path: Path) -> None:
    sample = Sample("a.png", Media(image(tmp_path, "a.png")), WIDTH, HEIGHT)
    mask = Rle(*geometry.encode_mask(disc()))
    sample.annotations = [
        Annotation(category=CAT, bbox=(14, 4, 12, 12), rle=mask),
        Annotation(category=DOG, bbox=(0, 0, 4, 4), rle=square(0), crowd=False),
    ]
    sample.layers = {
        "run": [
            Annotation(category=CAT, bbox=(14, 4, 12, 12), rle=mask, score=0.9),
            Annotation(category=DOG, bbox=(3, 3, 4, 4), rle=square(3), score=0.8),
        ]
    }
    out = to_fiftyone(Dataset.from_rows([sample], CATEGORIES, media_root=tmp_path)).dataset
    for masks in (False, True):
        found = out.evaluate_detections("run", "truth", use_masks=masks, progress=False)
        assert found.metrics()["precision"] == 0.5
    assert set(out.distinct("truth.detections.label")) == {"cat", "dog"}


def test_coco128_has_its_boxes_where_granum_has_them(fo: Any) -> None:
    import granum

    dataset = granum.read(shared("coco128") / "object_detection", images=shared("coco128/images"))
    out = to_fiftyone(dataset).dataset
    assert len(out) == len(dataset) == 98  # two photos have no label file
    assert out.count("truth.detections") == dataset.num_annotations
    boxes = np.concatenate(out.values("truth.detections.bounding_box"))
    expected = np.array(dataset.annotations(["bbox"])["bbox"].to_pylist())
    np.testing.assert_array_equal(boxes, expected)  # relative there and here
    assert out.count_values("truth.detections.label") == {
        k: v for k, v in dataset.counts().items() if v
    }
    assert all(Path(p).exists() for p in out.values("filepath"))


def test_a_crop_of_runs_is_a_crop_of_the_mask() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        height, width = rng.integers(1, 30, 2)
        mask = rng.random((height, width)) < rng.random()
        box = (*rng.random(2), *rng.random(2))
        size, counts = geometry.encode_mask(mask)
        cell = {"size": list(size), "counts": counts, "form": "compressed"}
        (runs,) = MaskReader(None).read([Cell("rle", cell, (1, 1))])
        rows_, columns = window(box, mask.shape)
        np.testing.assert_array_equal(runs.crop(rows_, columns), mask[rows_, columns])
        assert runs.pixels() == mask.sum()


def test_drawn_polygons_are_those_of_geometry() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        height, width = rng.integers(5, 60, 2)
        parts = [
            [(rng.random(2 * rng.integers(2, 7)) * 1.4 * max(width, height) - 8).round(1).tolist()]
            for _ in range(rng.integers(0, 4))
        ]
        (runs,) = MaskReader(None).read([Cell("polygons", parts, (int(width), int(height)))])
        whole = runs.crop(slice(0, height), slice(0, width))
        np.testing.assert_array_equal(whole, geometry.rasterize(parts, height, width))


def test_packed_masks_are_those_of_fiftyone(fo: Any) -> None:
    mask = disc()[2:15, 3:30]
    read = fo.core.utils.deserialize_numpy_array(packed(mask))
    assert read.dtype == bool
    np.testing.assert_array_equal(read, mask)
    np.testing.assert_array_equal(unpacked(fo.core.utils.serialize_numpy_array(mask)), mask)


def test_nobody_is_told(fo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIFTYONE_DO_NOT_TRACK", "0")
    monkeypatch.setattr(fo.config, "do_not_track", False)
    to_fiftyone(one(tmp_path))
    assert fo.config.do_not_track is True
    assert os.environ["FIFTYONE_DO_NOT_TRACK"] == "1"  # for the App's server


def test_without_the_package_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(MissingExtraError, match=r"granum\[fiftyone\]"):
        browse(one(tmp_path))


def test_browse_takes_a_path_and_may_only_make_the_dataset(fo: Any, tmp_path: Path) -> None:
    one(tmp_path, Annotation(category=CAT, bbox=(0, 0, 4, 4))).save(tmp_path / "b.granum")
    made = browse(tmp_path / "b.granum", launch=False, polygons="masks")
    assert (made.session, made.url) == (None, None)
    assert made.dataset.name == "b" and made.dataset.count("truth.detections") == 1
    with pytest.raises(UsageError, match="polygons"):
        browse(tmp_path / "b.granum", launch=False, polygons="none")
