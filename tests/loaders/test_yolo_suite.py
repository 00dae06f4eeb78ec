"""The suite of every format; and its promise for each task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

import granum
from granum.errors import LossError
from granum.schema.geometry import encode_mask
from granum.schema.rows import Annotation, Category, Rle, Sample
from granum.store.dataset import Dataset
from granum.testing import FormatSuite, refuse_or_keep, small_datasets
from granum.testing.strategies import datasets
from granum.testing.suite import Keeps

CLASSES = ("category", "supercategory", "isthing", "colour", "synonyms", "parents", "skeleton")

TASKS: list[dict[str, Any]] = [
    {"task": "detect", "conf": True},
    {"task": "seg", "conf": True},
    {"task": "pose", "conf": True},
    {"task": "obb", "skip_crowd": True},
]


class TestYolo(FormatSuite):
    name = "yolo"
    least = (
        Keeps(["bbox", "split", "space", *CLASSES]),
        Keeps(["bbox", "category"], options={"task": "seg"}),
        Keeps(["bbox", "category"], options={"task": "obb"}),
        Keeps(["bbox", *CLASSES, "annotations.keypoints"], options={"task": "pose"}),
        Keeps(["bbox", "category", "score"], options={"task": "detect", "conf": True}),
    )


@pytest.mark.parametrize("options", TASKS, ids=lambda o: str(o["task"]))
def test_each_task_refuses_or_keeps(tmp_path: Path, options: dict[str, Any]) -> None:
    for what, dataset in small_datasets().items():
        if what.endswith(("True", "False")):
            continue  # flags are lost alike in all tasks
        try:
            refuse_or_keep("yolo", dataset, tmp_path, **options)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from error


@pytest.mark.parametrize("options", TASKS, ids=lambda o: str(o["task"]))
def test_each_task_refuses_or_keeps_anything(tmp_path: Path, options: dict[str, Any]) -> None:
    kinds = ("object", "label")

    @settings(
        derandomize=True,
        max_examples=20,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(datasets(kinds=kinds))
    def test(dataset: Dataset) -> None:
        refuse_or_keep("yolo", dataset, tmp_path, **options)

    test()


def test_a_mask_beside_a_turned_box_is_lost_not_changed(tmp_path: Path) -> None:
    mask = np.zeros((10, 20), bool)
    mask[2:8, 3:9] = True
    row = Annotation(category=0, bbox=(2.0, 1.0, 9.0, 5.0), angle=0.5, rle=Rle(*encode_mask(mask)))
    sample = Sample("a.jpg", width=20, height=10, annotations=[row])
    dataset = Dataset.from_rows([sample], [Category("c")])
    refuse_or_keep("yolo", dataset, tmp_path, task="obb")
    with pytest.raises(LossError) as error:
        granum.write(dataset, tmp_path / "y", "yolo", task="obb", allow_loss=["bbox", "angle"])
    assert error.value.refused == ["mask"]
