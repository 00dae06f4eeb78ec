"""SA-1B, typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import granum
from granum.errors import FindingsError
from granum.testing.suite import ReaderSuite
from tests.data import shared


def record(**changes: Any) -> dict[str, Any]:
    mask = {
        "id": 7,
        "segmentation": {"size": [2, 3], "counts": "122"},  # zeros 1, ones 2, zeros 2+1
        "bbox": [0, 0, 1, 1],
        "area": 2,
        "predicted_iou": 0.9,
        "stability_score": 0.95,
        "crop_box": [0, 0, 3, 2],
        "point_coords": [[1, 0]],
    }
    mask["segmentation"] = {"size": [2, 3], "counts": "123"}
    image = {"image_id": 5, "width": 3, "height": 2, "file_name": "sa_5.jpg"}
    return {"image": image, "annotations": [{**mask, **changes}]}


def tree(folder: Path, value: dict[str, Any]) -> Path:
    root = folder / "sa"
    root.mkdir()
    (root / "sa_5.json").write_text(json.dumps(value))
    return root


class TestSegmentAnything(ReaderSuite):
    name = "segment_anything"

    def make(self, folder: Path) -> Path:
        return tree(folder, record())


def test_masks_without_classes(tmp_path: Path) -> None:
    (sample,) = granum.read(tree(tmp_path, record()))
    assert (sample.key, sample.size, sample.row.source_id) == ("sa_5.jpg", (3, 2), "5")
    (one,) = sample.annotations
    # Column by column: one pixel outside, two inside, three outside.
    assert sample.mask(0).tolist() == [[False, True, False], [True, False, False]]
    assert (one.category, one.score, one.area, one.source_id) == (None, 0.9, 2, "7")
    assert one.attributes == {
        "stability_score": 0.95, "crop_box": [0, 0, 3, 2], "point_coords": [[1, 0]]
    }  # fmt: skip


@pytest.mark.parametrize(
    "bad", [{"bbox": [1, 2, 3]}, {"segmentation": [[1, 2]]}, {"predicted_iou": "high"}]
)
def test_faults_name_file_and_place(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(FindingsError, match=r"sa_5\.json /annotations/0"):
        granum.read(tree(tmp_path, record(**bad)))


def test_the_fixture() -> None:
    """One of its two masks has width and height the wrong way round."""
    root = shared("format_fixtures/segment_anything_dataset")
    with pytest.raises(FindingsError, match="rle-size-mismatch"):
        granum.read(root)
    found = granum.read(root, on_error="skip")
    assert (len(found), found.num_annotations) == (2, 1)
