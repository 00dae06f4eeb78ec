"""The suite of every format; and its promise for each task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

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
