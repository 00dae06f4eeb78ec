"""Results of MultiSports' form: pickles, read beside the truth and judged."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.errors import FormatError
from granum.loaders.results.multisports import MultiSportsResults
from granum.metrics.multisports import MultiSports
from granum.schema.findings import Findings
from granum.schema.rows import Category, Group, Sample
from granum.store.dataset import Dataset
from tests.metrics.tube_cases import Script, drawn

TUBE = np.array([[4, 0, 0, 10, 20, 0.5], [5, 1, 0, 11, 20, 0.75]])


def truth(splits: dict[str, str | None], ids: tuple[str | None, ...] = ("0", "1")) -> Dataset:
    groups = [
        Group(name, "video", attributes=None if split is None else {"split": split})
        for name, split in splits.items()
    ]
    categories = [Category(f"c{i}", "action", number) for i, number in enumerate(ids)]
    return Dataset.from_rows([Sample("a/000004", group=0, order=4)], categories, groups)


def read(folder: Path, content: Any, true: Dataset) -> tuple[Dataset, list[Any]]:
    path = folder / "found.pkl"
    path.write_bytes(pickle.dumps(content, protocol=4))
    assert MultiSportsResults().sniff(path)
    found = Findings(on_error="skip")
    made = MultiSportsResults().read(path, true, found)
    return made, [(f.code, f.path, f.place) for f in found.items]


def listed(dataset: Dataset, *names: str) -> list[Any]:
    keys = dataset.samples(["key"])["key"].to_pylist()
    table = dataset.annotations(["sample", *names]).to_pylist()
    return [
        (None if r["sample"] is None else keys[r["sample"]], *(r[n] for n in names)) for r in table
    ]


def test_tubes_are_on_the_videos_of_the_truth(tmp_path: Path):
    made, found = read(tmp_path, {1: [("b", 0.25, TUBE)]}, truth({"a": "val", "b": "val"}))
    assert not found
    assert listed(made, "kind", "category", "bbox", "score", "track") == [
        ("b/000004", "object", 1, [0, 0, 10, 20], 0.5, 0),
        ("b/000005", "object", 1, [1, 0, 10, 20], 0.75, 0),
        (None, "track", 1, None, 0.25, 0),
    ]
    assert made.samples(["group"])["group"].to_pylist() == [1, 1]
    assert made.groups["key"].to_pylist() == ["a", "b"]


@pytest.mark.parametrize(
    ("splits", "video"),
    [
        ({"a": "train", "b": "val", "c": "val"}, "c"),
        ({"a": "train", "b": "test", "c": "test"}, "c"),
        ({"a": "test", "b": "val", "c": "val"}, "c"),
        ({"a": None, "b": None, "c": None}, "b"),
    ],
)
def test_frames_number_the_scored_videos(tmp_path: Path, splits: Any, video: str):
    made, found = read(tmp_path, np.array([[1, 7, 0, 0.5, 1, 2, 4, 6]]), truth(splits))
    assert not found
    assert listed(made, "category", "bbox", "score", "track") == [
        (f"{video}/000007", 0, [1, 2, 3, 4], 0.5, None)
    ]


def test_labels_are_the_ids_of_categories(tmp_path: Path):
    rows = np.array([[0, 7, label, 0.5, 1, 2, 4, 6] for label in (0, 1, 2, 9)], np.float64)
    made, found = read(tmp_path, rows, truth({"a": "val"}, ("2", "0")))
    assert [r[1] for r in listed(made, "category")] == [1, 0]
    assert found == [
        ("unknown-class", "found.pkl", "row[3]"),
        ("unknown-category", "found.pkl", None),
    ]
    made, _ = read(tmp_path, rows[:2], truth({"a": "val"}, (None, None)))
    assert [r[1] for r in listed(made, "category")] == [0, 1]


def test_what_cannot_be_read_is_found_with_its_place(tmp_path: Path):
    tubes = {0: [("x", 0.5, TUBE), ("a", np.nan, TUBE), ("a", 0.5, TUBE[:, :5])], 7: []}
    made, found = read(tmp_path, tubes, truth({"a": "val"}))
    assert not listed(made)
    assert found == [
        ("unknown-sample", "found.pkl", "label[0][0]"),
        ("nan-score", "found.pkl", "label[0][1]"),
        ("bad-value", "found.pkl", "label[0][2]"),
        ("unknown-class", "found.pkl", "label[7]"),
    ]
    rows = np.array([[3, 7, 0, 0.5, 1, 2, 4, 6], [0, 7, 0, np.nan, 1, 2, 4, 6]])
    made, found = read(tmp_path, rows, truth({"a": "val"}))
    assert not listed(made)
    assert found == [
        ("unknown-sample", "found.pkl", "row[0]"),
        ("nan-score", "found.pkl", "row[1]"),
    ]


def test_other_files_are_none(tmp_path: Path):
    path = tmp_path / "x.pkl"
    assert not MultiSportsResults().sniff(path)
    path.write_bytes(pickle.dumps({"gttubes": {}}))
    assert not MultiSportsResults().sniff(path)
    path.write_bytes(pickle.dumps([1]))
    with pytest.raises(FormatError, match="neither"):
        MultiSportsResults().read(path, truth({"a": "val"}), Findings())
    with pytest.raises(FormatError, match="cannot be read"):
        MultiSportsResults().read(tmp_path, truth({"a": "val"}), Findings())


def test_pickles_are_judged_as_the_script_does(tmp_path: Path):
    tubes_of, tubes, frames = drawn(4)
    clips = list(tubes_of)
    gt = {
        "labels": [f"c{i}" for i in range(4)],
        "train_videos": [["other"]],
        "test_videos": [clips],
        "nframes": dict.fromkeys([*clips, "other"], 60),
        "resolution": dict.fromkeys([*clips, "other"], (240, 320)),
        "gttubes": {**tubes_of, "other": {0: [TUBE[:, :5]]}},
    }
    paths = [tmp_path / n for n in ("multisports_GT.pkl", "frames.pkl", "tubes.pkl")]
    for path, content in zip(paths, (gt, frames, tubes), strict=True):
        path.write_bytes(pickle.dumps(content, protocol=4))
    script = Script()
    by_frames = granum.evaluate(paths[0], paths[1], protocol="multisports")
    wanted = np.nanmean([script.frame_ap(tubes_of, frames, label) for label in range(4)])
    assert by_frames["frame_mAP@0.5"] == pytest.approx(wanted, abs=1e-12)
    assert by_frames["video_mAP@0.5"] is None and by_frames.facts["videos"] == 6
    by_tubes = granum.evaluate(paths[0], paths[2], protocol="multisports")
    for name, thresholds in MultiSports.videos.items():
        value = script.video_map(tubes_of, tubes, thresholds)
        assert by_tubes[name] == pytest.approx(value, abs=1e-12)
