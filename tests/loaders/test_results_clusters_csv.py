"""Clusters in a CSV, on samples of the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

import granum
from granum.errors import FormatError
from granum.loaders.results.clusters_csv import ClustersCsv
from granum.schema.findings import Findings
from granum.schema.rows import Annotation, Category, Sample
from granum.store.dataset import Dataset

pytest.importorskip("scipy")


def truth() -> Dataset:
    samples = [
        Sample(f"train/{name}.jpg", source_id=str(i), annotations=[Annotation("label", i // 2)])
        for i, name in enumerate("abcd")
    ]
    return Dataset.from_rows(samples, [Category("10"), Category("dog"), Category("cat")])


def test_clusters_are_categories_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text("key,cluster,note\ntrain/a.jpg,10,x\nb,10,\n2,9,\nd,x1,\n")
    found = Findings(on_error="skip")
    assert ClustersCsv().sniff(path)
    data = ClustersCsv().read(path, truth(), found)
    assert not found.counts
    assert data.category_names() == ["9", "10", "x1"]
    assert data.annotations(["sample", "kind", "category"]).to_pylist() == [
        {"sample": i, "kind": "label", "category": c} for i, c in enumerate((1, 1, 0, 2))
    ]
    result = granum.evaluate(truth(), path, protocol="discovery", parameters={"known": ["dog"]})
    assert (result["acc_all"], result["acc_old"], result["acc_new"]) == (0.75, 0.5, 1)
    assert result.per_sample is not None
    assert result.per_sample["cluster"].to_pylist() == ["10", "10", "9", "x1"]


def test_faults_are_told_by_line(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text("key,cluster\na,1\nzz,1\nb,\na,2\n")
    result = granum.evaluate(truth(), path, protocol="discovery")
    told = {(f.code, f.place) for f in result.findings.items if f.path == "run.csv"}
    assert told == {("unknown-sample", "line 3"), ("missing-category", "line 4")}
    assert result.findings.counts["duplicate-annotation"] == 1
    assert result.facts["samples_scored"] == 1


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    for text in ("key,score\na,1\n", "cluster,key\n1,a\n", "", "\x00\xff"):
        path.write_text(text)
        assert not ClustersCsv().sniff(path)
        with pytest.raises(FormatError, match="key,cluster"):
            ClustersCsv().read(path, truth(), Findings(on_error="skip"))
    path.write_text("key,cluster\n")
    assert len(ClustersCsv().read(path, truth(), Findings(on_error="skip")).annotations()) == 0
