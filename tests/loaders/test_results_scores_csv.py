"""Scores of images and videos in a CSV, on samples, groups and categories of the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import granum
from granum.errors import FormatError
from granum.loaders.results.scores_csv import ScoresCsv
from granum.schema.findings import Findings
from granum.schema.rows import Annotation, Category, Group, Sample
from granum.store.dataset import Dataset

CATEGORIES = [
    Category("cat", space="mood", source_id="9"),
    Category("cat", space="animal", source_id="1"),
    Category("dog", space="animal", source_id="2"),
]


def truth() -> Dataset:
    samples = [
        Sample("train/a.jpg", source_id="77", annotations=[Annotation("label", 1)]),
        Sample("train/b.jpg", annotations=[Annotation("label", 2)]),
    ]
    return Dataset.from_rows(samples, CATEGORIES, [Group("clips/v1", "video", source_id="v1")])


def read(folder: Path, text: str) -> tuple[list[dict[str, Any]], Findings]:
    path = folder / "scores.csv"
    path.write_text(text)
    found = Findings(on_error="skip")
    assert ScoresCsv().sniff(path)
    data = ScoresCsv().read(path, truth(), found)
    names = ["sample", "group", "kind", "category", "score"]
    return data.annotations(names).to_pylist(), found


def label(sample: int | None, category: int | None, score: float, group: int | None = None) -> Any:
    return {
        "sample": sample,
        "group": group,
        "kind": "label",
        "category": category,
        "score": score,
    }


def test_a_column_per_class(tmp_path: Path) -> None:
    rows, found = read(tmp_path, "key,dog,cat\ntrain/b.jpg,0.25,0.75\ntrain/a.jpg,,1\n")
    assert rows == [label(0, 1, 1), label(1, 2, 0.25), label(1, 1, 0.75)]
    assert not found.counts


def test_a_row_per_class(tmp_path: Path) -> None:
    text = 'key,label,score\na,cat,0.5\n77,dog,0.25\ntrain/b.jpg,"",2\nb,2,-1e-3\n'
    rows, found = read(tmp_path, text)
    assert rows == [label(0, 1, 0.5), label(0, 2, 0.25), label(1, None, 2), label(1, 2, -0.001)]
    assert not found.counts


def test_one_score_per_key_of_samples_and_groups(tmp_path: Path) -> None:
    rows, found = read(tmp_path, "key,score\nclips/v1,0.5\nv1,0.25\na,3\n")
    assert rows == [label(0, None, 3), label(None, None, 0.5, 0), label(None, None, 0.25, 0)]
    assert not found.counts


def test_names_of_several_spaces_are_of_the_one_that_knows_most(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, "key,label,score\na,cat,1\nb,dog,1\n")
    assert [r["category"] for r in rows] == [1, 2]
    alone, _ = read(tmp_path, "key,label,score\na,cat,1\n")
    assert alone[0]["category"] == 0  # the first of two that know one


def test_faults_are_told_by_line(tmp_path: Path) -> None:
    text = "key,label,score\na,cat,x\nzz,cat,1\na,cow,1\na,cat,nan\nb,cat,\nb,cow,2\nb,dog,1\n"
    rows, found = read(tmp_path, text)
    assert rows == [label(1, 2, 1)]
    assert {(f.code, f.path, f.place) for f in found.items} == {
        ("bad-value", "scores.csv", "line 2"),
        ("unknown-sample", "scores.csv", "line 3"),
        ("unknown-category", "scores.csv", "line 4"),
        ("nan-score", "scores.csv", "line 5"),
        ("missing-score", "scores.csv", "line 6"),
    }
    assert found.counts["unknown-category"] == 2


def test_faults_of_columns(tmp_path: Path) -> None:
    rows, found = read(tmp_path, "key,cow,dog\na,0.5,0.5\nb,,nan\nzz,1,1\n")
    assert rows == [label(0, 2, 0.5)]
    assert dict(found.counts) == {"unknown-sample": 1, "unknown-category": 1, "nan-score": 1}


def test_no_row_at_all(tmp_path: Path) -> None:
    assert read(tmp_path, "key,label,score\n")[0] == []


def test_other_files_are_refused(tmp_path: Path) -> None:
    for text in ("image,score\na,1\n", "key\na\n", "", "\x00\xff"):
        path = tmp_path / "other.csv"
        path.write_text(text)
        assert not ScoresCsv().sniff(path)
        with pytest.raises(FormatError, match="called key"):
            ScoresCsv().read(path, truth(), Findings(on_error="skip"))
    assert not ScoresCsv().sniff(tmp_path) and not ScoresCsv().sniff(tmp_path / "none.csv")


def test_eval_finds_the_form(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text("key,cat,dog\na,0.9,0.1\nb,0.6,0.4\nzz,0.5,0.5\n")
    result = granum.evaluate(truth(), path, protocol="classification")
    assert result["top1_accuracy"] == 0.5 and result["ece"] is not None
    assert result.findings.counts["unknown-sample"] == 1
    named = granum.evaluate(truth(), path, protocol="classification", results="scores_csv")
    assert dict(named.values) == dict(result.values)


def test_videos_are_judged_from_a_file(tmp_path: Path) -> None:
    groups = [Group("v1", "video", attributes={"generator": "Sora"}), Group("v2", "video")]
    rows = [Annotation("label", c, group=i) for i, c in enumerate((1, 0))]
    categories = [Category(n, space="authenticity") for n in ("real", "fake")]
    true = Dataset.from_rows([], categories, groups, group_annotations=rows)
    for text in ("key,score\nv1,0.9\nv2,0.6\n", "key,real,fake\nv1,0.1,0.9\nv2,0.4,0.6\n"):
        (tmp_path / "run.csv").write_text(text)
        result = granum.evaluate(true, tmp_path / "run.csv", protocol="video-detection")
        assert result["accuracy"] == 0.5 and result["auc"] == 1
