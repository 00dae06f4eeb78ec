"""Results of DOTA's task 1: corners as written, faults with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from granum.errors import FormatError
from granum.loaders.results.base import results
from granum.loaders.results.dota import DotaResults
from granum.schema.findings import Findings
from granum.schema.rows import Category, Sample
from granum.store.dataset import Dataset

TRUTH = Dataset.from_rows(
    [Sample("images/P0001.png"), Sample("images/P0002.png")],
    [Category("plane"), Category("small vehicle")],
)


def read(path: Path) -> tuple[Dataset, Findings]:
    findings = Findings(on_error="skip")
    return DotaResults().read(path, TRUTH, findings), findings


def test_corners_scores_and_classes(tmp_path: Path) -> None:
    (tmp_path / "Task1_plane.txt").write_text(
        "P0002 0.98 10.0 10.0 50.5 12.0 49.0 40.0 9.0 38.0\n"
        "P0001 0.5 0 0 10 0 10 10 0 10\n"
        "P0002 0.25 1 2 3 4 5 6 7 8\n"
    )
    (tmp_path / "Task1_small_vehicle.txt").write_text("P0001 0.1 0 0 1 0 1 1 0 1\n")
    found, findings = read(tmp_path)
    assert not findings.items
    first, second = found
    assert [(a.category, a.score, a.polygons, a.bbox) for a in first.annotations] == [
        (0, 0.5, [[[0.0, 0, 10, 0, 10, 10, 0, 10]]], None),
        (1, 0.1, [[[0.0, 0, 1, 0, 1, 1, 0, 1]]], None),
    ]
    assert [(a.score, a.polygons) for a in second.annotations] == [
        (0.98, [[[10.0, 10, 50.5, 12, 49, 40, 9, 38]]]),
        (0.25, [[[1.0, 2, 3, 4, 5, 6, 7, 8]]]),
    ]


def test_sniffing(tmp_path: Path) -> None:
    file = tmp_path / "Task1_plane.txt"
    file.write_text("")
    (tmp_path / "other").mkdir()
    assert DotaResults().sniff(tmp_path)
    assert DotaResults().sniff(file)
    assert not DotaResults().sniff(tmp_path / "other")
    assert not DotaResults().sniff(tmp_path / "absent.txt")
    assert results["dota"] is DotaResults
    found, findings = read(file)
    assert (sum(len(s.annotations) for s in found), len(findings.items)) == (0, 0)
    with pytest.raises(FormatError, match="Task1_"):
        read(tmp_path / "other")
    with pytest.raises(FormatError, match="cannot be read"):
        read(tmp_path / "Task1_absent.txt")


def test_faults_are_told_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "Task1_plane.txt").write_text(
        "P0001 0.5 0 0 10 0 10 10 0 10\n"
        "P0001 0.5 0 0 10 0 10 10 0\n"
        "P0009 0.5 0 0 10 0 10 10 0 10\n"
        "P0001 NaN 0 0 10 0 10 10 0 10\n"
        "P0001 0.5 0 0 nan 0 10 10 0 10\n"
    )
    (tmp_path / "Task1_ship.txt").write_text("P0001 0.5 0 0 10 0 10 10 0 10\n")
    found, findings = read(tmp_path)
    assert sum(len(s.annotations) for s in found) == 1
    assert [(f.code, f.path, f.place) for f in findings.items] == [
        ("bad-value", "Task1_plane.txt", "line 2"),
        ("unknown-sample", "Task1_plane.txt", "line 3"),
        ("nan-score", "Task1_plane.txt", "line 4"),
        ("nan-box", "Task1_plane.txt", "line 5"),
        ("unknown-category", "Task1_ship.txt", None),
    ]


def test_a_class_of_which_nothing_was_found_need_not_be_known(tmp_path: Path) -> None:
    (tmp_path / "Task1_helicopter.txt").write_text("")
    (tmp_path / "Task1_plane.txt").write_text("P0001 0.5 0 0 10 0 10 10 0 10\n")
    found, findings = read(tmp_path)
    assert (sum(len(s.annotations) for s in found), findings.items) == (1, [])
