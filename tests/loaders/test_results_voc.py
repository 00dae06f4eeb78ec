"""Results of PASCAL VOC: boxes as written, faults with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from granum.errors import FormatError
from granum.loaders.results.base import results
from granum.loaders.results.voc import VocResults
from granum.schema.findings import Findings
from granum.schema.rows import Category, Sample
from granum.store.dataset import Dataset


def truth(*keys: str) -> Dataset:
    samples = [Sample(k) for k in keys or ("a/2007_000027.jpg", "a/2007_000032.jpg")]
    return Dataset.from_rows(samples, [Category("cat"), Category("dining table")])


def read(path: Path, of: Dataset | None = None) -> tuple[Dataset, Findings]:
    findings = Findings(on_error="skip")
    return VocResults().read(path, of or truth(), findings), findings


def faults(findings: Findings) -> list[tuple[str, str, str | None]]:
    return [(f.code, f.path, f.place) for f in findings.items]


def test_boxes_scores_and_classes(tmp_path: Path) -> None:
    (tmp_path / "comp4_det_test_cat.txt").write_text(
        "2007_000032 0.75 10 20 30 50\n2007_000027 0.5 1.5 2 3 4\n"
    )
    (tmp_path / "comp4_det_test_dining_table.txt").write_text("2007_000032 1e-3 1 1 1 1\n")
    (tmp_path / "notes.txt").write_text("no results\n")
    found, findings = read(tmp_path)
    assert not findings.items
    first, second = found
    assert [(s.key, len(s.annotations)) for s in found] == [
        ("a/2007_000027.jpg", 1),
        ("a/2007_000032.jpg", 2),
    ]
    (one,) = first.annotations
    assert (one.kind, one.category, one.score) == ("object", 0, 0.5)
    assert one.bbox == (1.5, 2.0, 1.5, 2.0)
    assert [(a.category, a.score, a.bbox) for a in second.annotations] == [
        (0, 0.75, (10.0, 20.0, 20.0, 30.0)),
        (1, 0.001, (1.0, 1.0, 0.0, 0.0)),
    ]
    assert found.categories["name"].to_pylist() == ["cat", "dining table"]


def test_places_and_names_of_files(tmp_path: Path) -> None:
    (tmp_path / "results" / "Main").mkdir(parents=True)
    file = tmp_path / "results" / "Main" / "comp3-a1b2_det_val_cat.txt"
    file.write_text("2007_000027 1 1 1 2 2\n")
    for path in (tmp_path / "results", tmp_path / "results" / "Main", file):
        assert VocResults().sniff(path)
        found, _ = read(path)
        assert sum(len(s.annotations) for s in found) == 1
    assert results["voc"] is VocResults
    assert not VocResults().sniff(tmp_path)
    assert not VocResults().sniff(tmp_path / "absent")
    with pytest.raises(FormatError, match="comp4_det"):
        read(tmp_path)


def test_other_blanks_and_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "comp4_det_test_cat.txt").write_bytes(
        b"\xef\xbb\xbf2007_000027  0.5\t1 2 3 4 \r\n\r\n2007_000027 0.25 1 2 3 4"
    )
    (tmp_path / "comp4_det_test_dining_table.txt").write_text("\n")
    found, findings = read(tmp_path)
    assert not findings.items
    assert [a.score for s in found for a in s.annotations] == [0.5, 0.25]


def test_faults_are_told_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "comp4_det_test_cat.txt").write_text(
        "2007_000027 0.9 1 2 3 4\n"
        "2007_000027 0.8 1 2 3\n"
        "2007_000027 high 1 2 3 4\n"
        "2009_000000 0.7 1 2 3 4\n"
        "\n"
        "2007_000027 nan 1 2 3 4\n"
        "2007_000027 0.6 1 inf 3 4\n"
    )
    (tmp_path / "comp4_det_test_dog.txt").write_text("2007_000027 0.5 1 2 3 4\n" * 3)
    found, findings = read(tmp_path)
    assert [a.score for s in found for a in s.annotations] == [0.9]
    name = "comp4_det_test_cat.txt"
    assert faults(findings) == [
        ("bad-value", name, "line 2"),
        ("bad-value", name, "line 3"),
        ("unknown-sample", name, "line 4"),
        ("nan-score", name, "line 6"),
        ("nan-box", name, "line 7"),
        ("unknown-category", "comp4_det_test_dog.txt", None),
    ]
    assert findings.counts["unknown-category"] == 3
    assert "'2009_000000'" in findings.items[2].message


def test_many_faults_are_counted(tmp_path: Path) -> None:
    (tmp_path / "comp4_det_test_cat.txt").write_text("nobody 0.9 1 2 3 4\n" * 1500)
    _, findings = read(tmp_path)
    assert findings.counts["unknown-sample"] == 1500
    assert len(findings.items) == 1000
    assert findings.items[-1].place == "line 1000"


def test_names_of_two_images_are_told_apart_by_key(tmp_path: Path) -> None:
    (tmp_path / "comp4_det_test_cat.txt").write_text("x 0.9 1 2 3 4\na/x.jpg 0.8 1 2 3 4\n")
    found, findings = read(tmp_path, truth("a/x.jpg", "b/x.jpg"))
    assert [len(s.annotations) for s in found] == [1, 0]
    assert faults(findings) == [("unknown-sample", "comp4_det_test_cat.txt", "line 1")]
