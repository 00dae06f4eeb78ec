"""Every format runs the generic suite; ``LEAST`` says what each must keep.

A format that refuses everything would pass "refuse or keep": it has to keep what stands here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from granum.loaders.base import formats
from granum.schema.losses import KINDS, NAMES, expand
from granum.testing.suite import FormatSuite, Keeps

MASKS = ("polygons", "rle")
CLASSES = ("category", "supercategory")
POINTS = "annotations.keypoints"
TRACK = "annotations.track"
FULL = {"holes": False, "always": ["crowd"]}

LEAST: dict[str, tuple[Keeps, ...]] = {
    "ava": (
        Keeps(("bbox", *CLASSES, "annotations.track", "split", "group", "samples.attributes")),
        Keeps(("bbox", "category", "score", "split"), options={"scores": True}),
    ),
    "change_pairs": (
        Keeps(("group", "split", "time", "geo", "attributes"), limits={"max_annotations": 0}),
    ),
    "coco": (
        Keeps(("bbox", *CLASSES, "crowd", "score", "annotations.attributes", *MASKS), limits=FULL),
        Keeps(("bbox", "category", POINTS, "skeleton"), limits={"always": ["keypoints"]}),
        Keeps(("text",), ("caption",)),
    ),
    "coco_panoptic": (
        Keeps(
            ("bbox", *CLASSES, "map", "crowd", "isthing", "colour"),
            limits={"always": ["map", "crowd"], "min_samples": 1},
        ),
    ),
    "csv": (
        Keeps(("bbox", "category", "score", "split")),
        Keeps(("category", "split"), ("label",)),
    ),
    "cvat": (
        Keeps(("bbox", "category", "occluded", "z_order", "annotations.attributes", "split")),
        Keeps(
            ("category", "polygons"), limits={"parts": 1, "holes": False, "always": ["polygons"]}
        ),
        Keeps(("category", POINTS, "skeleton"), limits={"always": ["keypoints"]}),
        Keeps(("category",), ("label",)),
    ),
    "dota": (
        Keeps(("bbox", "category", "difficult", "split")),
        Keeps(("bbox", "category", "angle"), limits={"always": ["angle"]}),
    ),
    "hf": (
        Keeps(
            (
                *("bbox", *CLASSES, *MASKS, "keypoints", "skeleton", "score", "crowd", "text"),
                *("attributes", "parent", "track", "split", "occluded", "truncated", "z_order"),
                *("angle", "polyline", "granularity", "level", "source", "annotator", "present"),
            ),
            ("object", "label", "caption"),
        ),
    ),
    "image_folder": (
        Keeps(("category", "split"), ("label",), limits={"max_annotations": 1}),
        Keeps(("category", "text", "split"), ("label", "caption")),
        Keeps(("bbox", "category", "split")),
    ),
    "jsonl_captions": (
        Keeps(("text", "split", "samples.attributes"), ("caption",)),
        Keeps(("bbox", "category", "score", "split")),
        Keeps(("category",), ("label",)),
    ),
    "kitti": (
        Keeps(("bbox", "category", "score", "truncated", "occluded", "split")),
        Keeps(("bbox", "ignore"), limits={"always": ["ignore"]}),
    ),
    "kitti_tracking": (
        Keeps(("bbox", "category", TRACK, "score", "truncated", "occluded", "split", "group")),
    ),
    "labelme": (
        Keeps(("bbox", "category", "split")),
        Keeps(("category", "polygons"), limits={"holes": False, "always": ["polygons"]}),
        Keeps(("bbox", "category", "angle"), limits={"always": ["angle"]}),
        Keeps(("category",), ("label",), limits={"max_annotations": 1}),
    ),
    "lvis": (
        Keeps(("bbox", *CLASSES, "score", "annotations.attributes", *MASKS), limits=FULL),
        Keeps(("category",), ("label",)),
    ),
    "mot": (
        Keeps(
            ("bbox", "category", TRACK, "ignore", "visibility", "group", "split"),
            limits={"always": ["ignore"]},
        ),
        Keeps(("bbox", TRACK), options={"layout": "mot15"}),
        Keeps(("bbox", "score"), options={"layout": "det"}),
        Keeps(("bbox", "score", TRACK, "group"), options={"layout": "results"}),
    ),
    "multi_view": (
        Keeps(("category", "group", "split", "time", "geo", "samples.attributes"), ("label",)),
    ),
    "multisports": (
        Keeps(("bbox", *CLASSES, "annotations.track", "split", "group", "samples.attributes")),
    ),
    "mvtec": (
        Keeps(
            ("category", "split", "samples.attributes"), ("label",), limits={"max_annotations": 1}
        ),
        Keeps(("category", "map", "split"), limits={"always": ["map"]}),
        Keeps(("category", *MASKS), limits={"always": MASKS}),
    ),
    "open_images": (
        Keeps(
            (
                *("bbox", "category", "split", "source", "score", "parents", "occluded"),
                *("truncated", "group_of", "depiction", "inside"),
            )
        ),
        Keeps(("bbox", "category", "annotations.attributes", "samples.attributes")),
        Keeps(("bbox", "category", "map"), limits={"always": ["map"]}),
        Keeps(("bbox", "category", *MASKS), limits={"always": ["polygons"]}),
        Keeps(("category", "present", "split", "source"), ("label",)),
        Keeps(("category", "score", "source"), ("label",)),
        Keeps(("text",), ("caption",)),
    ),
    "paired_images": (
        Keeps(("bbox", "category", "score", "group", "split", "annotations.attributes")),
        Keeps(("category", "split", "score"), ("label",), options={"manifest": "csv"}),
    ),
    "voc": (
        Keeps(("bbox", "category", "difficult", "truncated", "occluded", "split")),
        Keeps(("bbox", "category", "annotations.attributes", "parent")),
    ),
    "webdataset": (
        Keeps(("bbox", "category", "score", "crowd", "split", "annotations.attributes")),
        Keeps(("category", "polygons"), limits={"holes": False, "always": ["polygons"]}),
        Keeps(("category",), ("label",)),
        Keeps(("text",), ("caption",)),
    ),
    "yolo": (
        Keeps(("bbox", "category", "split")),
        Keeps(
            ("polygons", "category", "split"),
            options={"task": "seg"},
            limits={"parts": 1, "holes": False, "always": ["polygons"]},
        ),
        Keeps(
            ("bbox", "category", POINTS, "skeleton", "split"),
            options={"task": "pose"},
            limits={"always": ["keypoints"]},
        ),
    ),
    "ytvis": (
        Keeps(
            ("bbox", "category", "crowd", *MASKS, TRACK, "group", "split"),
            limits={"holes": False, "always": ["crowd"]},
        ),
        Keeps(("bbox", "category", TRACK), options={"results": True}),
    ),
}


def suite(name: str) -> type[FormatSuite]:
    """The suite of one format, as pytest collects it."""
    title = "Test" + "".join(word.title() for word in name.split("_"))
    return type(title, (FormatSuite,), {"name": name, "least": LEAST.get(name, ())})


for _name in LEAST:
    _suite = suite(_name)
    globals()[_suite.__name__] = _suite
del _name, _suite


def test_every_format_must_keep_something() -> None:
    assert list(LEAST) == [n for n in formats.table if formats[n].writes()]
    assert list(formats.table) == sorted(formats.table)


@pytest.mark.parametrize("name", [n for n in formats.table if n not in LEAST])
def test_every_reader_runs_its_suite(name: str) -> None:
    """A format that is only read has its suite beside its own tests."""
    text = (Path(__file__).parent / "loaders" / f"test_{name}.py").read_text(encoding="utf-8")
    assert "(ReaderSuite)" in text and f'name = "{name}"' in text


@pytest.mark.parametrize("name", LEAST)
def test_the_least_is_declared(name: str) -> None:
    """What must be kept is among what the format says that it keeps."""
    for needed in LEAST[name]:
        columns = {c.rpartition(".")[2] for c in needed.columns}
        assert set(needed.kinds) <= formats[name].keeps & KINDS
        assert expand(columns) <= formats[name].keeps | ({"mask", "keypoints"} & NAMES)
