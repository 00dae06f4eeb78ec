"""What is read of a tree in the layout of MVTec AD can be learned from and judged."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

import granum
from granum.cli import main
from granum.schema.fields import field_to_map
from granum.schema.rows import Annotation, LabelMap, annotations_to_table
from granum.store.additions import add_layer
from tests.data import shared
from tests.loaders.anomaly_trees import mvtec_ad


def say(*words: str | Path | int) -> Any:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*map(str, words), "--json"]) == 0, out.getvalue()
    return json.loads(out.getvalue())


def test_the_truth_as_prediction_is_perfect(tmp_path: Path) -> None:
    """Heat maps that are the masks: all numbers of ``anomaly`` are 1."""
    pytest.importorskip("scipy")
    store = tmp_path / "bottles.granum"
    say("convert", mvtec_ad(tmp_path / "in"), store)
    dataset = granum.open(store)
    found = []
    for sample in dataset:
        (mask,) = [sample.mask(k) for k, a in enumerate(sample.annotations) if a.map] or [None]
        heat = [[0.0] * 3] * 2 if mask is None else mask.astype(float)
        data, extra = field_to_map(heat, low=0, high=1)
        score = 0.0 if mask is None else 1.0
        found.append(Annotation("field", score=score, extra=extra, map=LabelMap(bytes=data)))
    for i, one in enumerate(found):
        one.annotation_id = 1000 + i
    add_layer(dataset, "heat", annotations_to_table(found, range(len(found))))
    said = say("eval", store, "--protocol", "anomaly", "--layer", "heat")
    assert (said["facts"]["samples_scored"], said["facts"]["anomalous"]) == (8, 4)
    assert said["facts"]["defect_pixels"] == 2 + 2 + 2 + 2
    assert set(said["values"].values()) == {1.0}


def test_efficient_ad_learns_from_a_tree(tmp_path: Path) -> None:
    """Real tiles, laid out as a product: good ones to learn from, cracks and good ones to judge."""
    pytest.importorskip("torch")
    pytest.importorskip("scipy")
    source, root = shared("magnetic_tile"), tmp_path / "in/tile"
    for kind, name in (("Free", "good"), ("Crack", "crack")):
        for i, photo in enumerate(sorted((source / f"MT_{kind}/Imgs").glob("*.jpg"))):
            split = "train" if kind == "Free" and i < 7 else "test"
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / photo.name).symlink_to(photo)
            if kind == "Crack":
                truth = root / "ground_truth" / name
                truth.mkdir(parents=True, exist_ok=True)
                (truth / f"{photo.stem}_mask.png").symlink_to(photo.with_suffix(".png"))
    store = tmp_path / "tile.granum"
    say("convert", tmp_path / "in", store, "--threshold", 127)
    said = say(
        "train", store, "--hook", "efficient_ad", "-o", tmp_path / "run", "--val-split", "test",
        "--steps", 4, "--batch-size", 3, "--size", 64, "--device", "cpu",
        "--set", "width=0.0625", "--set", "distil_steps=4", "--name", "tile",
    )  # fmt: skip
    assert said["evaluation"]["protocol"] == "anomaly"
    counts = said["data"]["counts"]
    assert counts["train"] + counts["held_out"] == 7
    again = say("eval", store, "--protocol", "anomaly", "--layer", "tile")
    assert (again["facts"]["samples_scored"], again["facts"]["anomalous"]) == (20, 10)
    assert all(0 <= v <= 1 for v in again["values"].values())
