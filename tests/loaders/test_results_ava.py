"""Results of AVA: a CSV file, read beside the truth and judged."""

from __future__ import annotations

from pathlib import Path

import pytest

import granum
from granum.errors import FormatError
from granum.loaders.results.ava import AvaResults
from granum.schema.findings import Findings
from granum.schema.rows import Category, Group, Sample
from granum.store.dataset import Dataset


def truth() -> Dataset:
    samples = [Sample("v/0902", group=0, order=902, unit="relative")]
    categories = [Category("stand", "action", "12"), Category("sit", "action", "11")]
    return Dataset.from_rows(samples, categories, [Group("v", "video"), Group("w", "video")])


def read(folder: Path, *lines: str) -> tuple[Dataset, list[tuple[str, str, str | None]]]:
    path = folder / "found.csv"
    path.write_text("".join(f"{line}\n" for line in lines))
    found = Findings(on_error="skip")
    made = AvaResults().read(path, truth(), found)
    return made, [(f.code, f.path, f.place) for f in found.items]


def test_rows_are_boxes_in_videos_of_the_truth(tmp_path: Path):
    made, found = read(
        tmp_path,
        "w,902.5,0,0,0.5,0.25,11,0.5",
        "v,0902,0.125,0.25,0.5,1,12,0.75",
        "v,0902,0.125,0.25,0.5,1,11,1",
    )
    assert not found
    rows = made.annotations(["sample", "kind", "category", "bbox", "score", "track"]).to_pylist()
    assert [tuple(r.values()) for r in rows] == [
        (0, "object", 1, [0, 0, 0.5, 0.25], 0.5, None),
        (1, "object", 0, [0.125, 0.25, 0.375, 0.75], 0.75, None),
        (1, "object", 1, [0.125, 0.25, 0.375, 0.75], 1.0, None),
    ]
    table = made.samples(["key", "group", "order", "unit"]).to_pylist()
    assert [tuple(r.values()) for r in table] == [
        ("w/902.5", 1, None, "relative"),
        ("v/0902", 0, 902, "relative"),
    ]


def test_without_scores_all_are_one(tmp_path: Path):
    made, found = read(tmp_path, "v,902,0,0,1,1,12", "v,902,0,0,1,1,11")
    assert made.annotations(["score"])["score"].to_pylist() == [1, 1] and not found


def test_what_cannot_be_read_is_found_with_its_line(tmp_path: Path):
    made, found = read(
        tmp_path,
        "v,902,0,0,1,1,12,0.5",
        "x,902,0,0,1,1,12,0.5",
        "v,902,0,0,1,1,80,0.5",
        "v,902,0,0,1,1,12,high",
        "v,902,0,0,1,1,12,",
        "v,902,0,0,,1,12,0.5",
        "x,903,0,0,1,1,12,0.5",
    )
    assert made.annotations(["score"])["score"].to_pylist() == [0.5]
    assert sorted(found) == [
        ("bad-value", "found.csv", "line 6"),
        ("missing-score", "found.csv", "line 5"),
        ("nan-score", "found.csv", "line 4"),
        ("unknown-class", "found.csv", "line 3"),
        ("unknown-sample", "found.csv", "line 2"),
    ]
    with pytest.raises(FormatError, match="3 fields"):
        read(tmp_path, "v,902,1")
    with pytest.raises(FormatError, match="cannot be read"):
        AvaResults().read(tmp_path, Dataset.from_rows([], []), Findings())
    made, found = read(tmp_path)
    assert len(made) == 0 and not found


def test_only_such_files_are_it(tmp_path: Path):
    path = tmp_path / "found.csv"
    assert not AvaResults().sniff(path)
    for line, is_it in (
        ("v,902,0,0,1,1,12,0.5", True),
        ("v,902,0,0,1,1,12", True),
        ("v,902,0,0,1,1", False),
        ("ImageID,LabelName,Score,XMin,XMax,YMin,YMax,Mask", False),
    ):
        path.write_text(line + "\n")
        assert AvaResults().sniff(path) is is_it
    path.write_text("")
    assert AvaResults().sniff(path)
    path.rename(tmp_path / "found.txt")
    assert not AvaResults().sniff(tmp_path / "found.txt")


def test_files_are_judged(tmp_path: Path):
    folder = tmp_path / "annotations"
    folder.mkdir()
    actions = "".join(f'label {{ name: "a{i}" label_id: {i} }}\n' for i in (1, 2))
    (folder / "ava_action_list_v2.2.pbtxt").write_text(actions)
    short = folder / "ava_action_list_v2.2_for_activitynet_2019.pbtxt"
    short.write_text('label { name: "a1" label_id: 1 }\n')
    (folder / "ava_train_v2.2.csv").write_text("t,0902,0,0,0.5,0.5,1,0\n")
    (folder / "ava_val_v2.2.csv").write_text(
        "v,0902,0,0,0.5,0.5,1,0\nv,0902,0,0,0.5,0.5,2,0\nv,0903,0,0,0.5,0.5,1,0\n"
    )
    (folder / "ava_val_excluded_timestamps_v2.2.csv").write_text("v,0903\n")
    found = tmp_path / "found.csv"
    # Right; on an excluded second; on one without truth; of an action that is not scored.
    found.write_text(
        "v,0902,0,0,0.5,0.5,1,0.5\nv,0903,0,0,1,1,1,0.9\n"
        "v,0999,0,0,1,1,1,0.9\nv,0902,0,0,1,1,2,0.9\n"
    )
    result = granum.evaluate(tmp_path, found, protocol="ava")
    assert result["frame_mAP@0.5"] == 0.5
    assert result.facts["videos"] == 1 and result.facts["classes_left_out"] == ["a2"]
    assert result.facts["truths"] == 1 and result.facts["predictions"] == 2
