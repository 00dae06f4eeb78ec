"""Results of trackers: texts by sequence, on samples of the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from granum.errors import FormatError
from granum.loaders.results.mot import MotResults
from granum.schema.findings import Findings
from granum.schema.rows import Category, Group, Sample
from granum.store.dataset import Dataset

ROW = "1,7,10.5,20,30,40,0.9,-1,-1,-1"


def truth(*keys: str, categories: list[Category] | None = None) -> Dataset:
    """Sequences with samples for the frames 1 and 3."""
    samples = [
        Sample(f"{key}/{frame}.jpg", width=100, height=80, group=g, order=frame)
        for g, key in enumerate(keys)
        for frame in (1, 3)
    ]
    groups = [Group(key, "video", source_id=key.rpartition("/")[2]) for key in keys]
    return Dataset.from_rows(samples, categories or [], groups)


def results(folder: Path, **texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text + "\n")
    return folder


def read(path: Path, true: Dataset) -> tuple[Dataset, Findings]:
    found = Findings(on_error="skip")
    return MotResults().read(path, true, found), found


def boxes(dataset: Dataset) -> list[tuple[str, int | None, list[float]]]:
    """Key of the sample, track and box of each row."""
    keys = dataset.samples(["key"])["key"].to_pylist()
    table = dataset.annotations(["sample", "track", "bbox"])
    return [(keys[r["sample"]], r["track"], r["bbox"]) for r in table.to_pylist()]


def test_rows_are_on_the_samples_of_the_truth(tmp_path: Path) -> None:
    folder = results(tmp_path / "r", b=f"{ROW}\n3,7,1,2,3,4,-1,-1,-1,-1", a="3 0 5 6 7 8 0.25")
    predictions, found = read(folder, truth("train/b", "train/a"))
    assert not found.counts
    assert boxes(predictions) == [
        ("train/b/1.jpg", 1, [10.5, 20, 30, 40]),
        ("train/b/3.jpg", 1, [1, 2, 3, 4]),
        ("train/a/3.jpg", 0, [5, 6, 7, 8]),
    ]
    table = predictions.annotations(["score", "track_source_id", "category"])
    assert table["score"].to_pylist() == [0.9, None, 0.25]
    assert table["track_source_id"].to_pylist() == ["7", "7", "0"]
    assert table["category"].null_count == 3
    assert predictions.groups["key"].to_pylist() == ["train/b", "train/a"]


def test_frames_that_the_truth_does_not_have_get_samples(tmp_path: Path) -> None:
    folder = results(tmp_path / "r", a="2,1,0,0,1,1,1\n2,2,0,0,1,1,1\n9,1,0,0,1,1,1", b=ROW)
    predictions, found = read(folder, truth("a", "b"))
    assert not found.counts
    samples = predictions.samples(["key", "group", "order"]).slice(4).to_pylist()
    assert samples == [
        {"key": "a#2", "group": 0, "order": 2},
        {"key": "a#9", "group": 0, "order": 9},
    ]
    assert [key for key, _, _ in boxes(predictions)] == ["b/1.jpg", "a#2", "a#2", "a#9"]


def test_tracks_of_sequences_are_different_and_none_is_none(tmp_path: Path) -> None:
    folder = results(tmp_path / "r", a=f"{ROW}\n1,-1,0,0,1,1,1,-1,-1,-1", b=ROW)
    predictions, _ = read(folder, truth("a", "b"))
    assert [track for _, track, _ in boxes(predictions)] == [1, None, 2]


def test_classes_are_of_the_truth_or_findings(tmp_path: Path) -> None:
    lines = [f"1,{i},0,0,1,1,1,{c},-1" for i, c in enumerate((2, 1, -1, 5))]
    true = truth("a", categories=[Category("pedestrian"), Category("tram", source_id="2")])
    predictions, found = read(results(tmp_path / "r", a="\n".join(lines)), true)
    assert predictions.annotations(["category"])["category"].to_pylist() == [1, 0, None, None]
    assert [(f.code, f.path, f.place) for f in found.items] == [
        ("unknown-class", "a.txt", "line 4")
    ]


def test_what_cannot_be_read_is_a_finding_with_its_line(tmp_path: Path) -> None:
    lines = f"{ROW}\n1,8,x,0,1,1,1,-1,-1,-1\n1,9,0,0,1,1,nan,-1,-1,-1\n1.5,9,0,0,1,1,1,-1,-1,-1"
    predictions, found = read(results(tmp_path / "r", a=lines), truth("a"))
    assert {(f.code, f.path, f.place) for f in found.items} == {
        ("bad-value", "a.txt", "line 2"),
        ("nan-score", "a.txt", "line 3"),
        ("bad-value", "a.txt", "line 4"),
    }
    assert predictions.annotations(["score"])["score"].to_pylist() == [0.9, None]


def test_texts_of_other_sequences_are_findings(tmp_path: Path) -> None:
    folder = results(tmp_path / "r", a=ROW, z=f"{ROW}\n{ROW}", readme="not numbers")
    predictions, found = read(folder, truth("a"))
    assert len(boxes(predictions)) == 1
    assert found.counts == {"unknown-sample": 2}
    assert found.items[0].path == "z.txt"


def test_a_name_of_two_sequences_is_none_but_its_key_is(tmp_path: Path) -> None:
    true = truth("train/a", "val/a", "a")
    predictions, found = read(results(tmp_path / "r", a=ROW), true)
    assert boxes(predictions)[0][0] == "a/1.jpg"
    _, found = read(tmp_path / "r", truth("train/a", "val/a"))
    assert found.counts == {"unknown-sample": 1}


def test_a_tree_of_trackeval_and_a_single_text_are_read(tmp_path: Path) -> None:
    results(tmp_path / "data", a=ROW)
    assert len(boxes(read(tmp_path, truth("a"))[0])) == 1
    assert len(boxes(read(tmp_path / "data/a.txt", truth("a"))[0])) == 1
    with pytest.raises(FormatError, match="no texts"):
        read(results(tmp_path / "empty"), truth("a"))


def test_an_empty_text_is_no_prediction(tmp_path: Path) -> None:
    predictions, found = read(results(tmp_path / "r", a=""), truth("a"))
    assert (boxes(predictions), found.counts) == ([], {})


def test_sniffing(tmp_path: Path) -> None:
    form = MotResults()
    assert form.sniff(results(tmp_path / "r", a=ROW))
    assert form.sniff(tmp_path / "r" / "a.txt")
    assert form.sniff(results(tmp_path / "short", a="", b="1 7 10 20 30 40 0.9"))
    assert form.sniff(results(tmp_path / "nothing", a="", b=""))
    assert not form.sniff(results(tmp_path / "other", a="P0001 0.98 1 2 3 4 5 6 7 8"))
    assert not form.sniff(tmp_path / "absent")
    assert not form.sniff(results(tmp_path / "none"))
