"""The same 273 boxes of 100 photos in eight forms: all of them are read alike."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

import granum
from granum.loaders.writing import with_sizes
from granum.store.dataset import Dataset
from tests.data import shared

# Pixels that a form may be off: fractions of six digits, whole numbers.
FORMS: dict[str, tuple[str, dict[str, Any], float]] = {
    "coco_format_v1": ("coco", {}, 0.0),
    "coco_format_v2": ("coco", {}, 0.0),
    "pascalvoc_format": ("voc", {}, 0.0),
    "imagenet_format": ("voc", {}, 0.0),
    "cvat_format": ("cvat", {}, 0.0),
    "labelme_format": ("labelme", {}, 0.0),
    "yolo_format": ("yolo", {}, 0.01),
    "openimages_format": ("open_images", {}, 0.01),
}


def boxes(found: Dataset) -> dict[str, list[tuple[str | None, list[float]]]]:
    """By the stem of the image: class and corners of every box, sorted."""
    out = {}
    for sample in found:
        corners = sample.boxes("xyxy").tolist()
        out[PurePosixPath(sample.key).stem] = sorted(
            zip(sample.labels, corners, strict=True), key=lambda b: (str(b[0]), b[1])
        )
    return out


def read(form: str) -> Dataset:
    name, options, _ = FORMS[form]
    root = shared("voc100")
    return with_sizes(granum.read(root / "gts" / form, name, images=root / "images", **options))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_boxes(form: str) -> None:
    wanted, found = boxes(read("coco_format_v1")), boxes(read(form))
    if form == "labelme_format":  # only eight of the photos have one
        wanted = {k: v for k, v in wanted.items() if k in found}
        assert len(wanted) == 8
    assert {k for k, v in found.items() if v} == {k for k, v in wanted.items() if v}
    assert sum(map(len, found.values())) == (16 if form == "labelme_format" else 273)
    for stem, listed in wanted.items():
        for (label, corners), (other, those) in zip(listed, found.get(stem, []), strict=True):
            assert label == other, stem
            assert corners == pytest.approx(those, abs=FORMS[form][2]), (stem, label)
