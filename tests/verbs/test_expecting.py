"""Published counts beside what a dataset holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from granum.cli import main
from granum.errors import UnknownNameError
from granum.schema.expressions import Expression
from granum.schema.rows import Annotation, Category, Group, Sample
from granum.store.dataset import Dataset
from granum.verbs import expecting
from granum.verbs.look import info


def dataset() -> Dataset:
    def box(**values: Any) -> Annotation:
        return Annotation("object", 0, bbox=(0, 0, 1, 1), **values)

    samples = [
        Sample("a/1", split="train", group=0, annotations=[box(track=0), box(track=1)]),
        Sample("a/2", split="train", group=0, annotations=[box(track=0)]),
        Sample("b/1", split="val", group=1, annotations=[box(track=2), Annotation("label", 1)]),
        Sample("c", annotations=[box()]),
    ]
    listed = [Category("person"), Category("run", "action")]
    return Dataset.from_rows(samples, listed, [Group("a", "video"), Group("b", "video")])


COUNTS = [
    ({"of": "samples", "split": "train", "count": 2}, 2),
    ({"of": "samples", "where": "split == 'val'", "count": 1}, 1),
    ({"of": "samples", "split": "test", "count": 9}, None),
    ({"of": "samples", "split": "training", "count": 2}, 2),
    ({"of": "samples", "split": "val2017", "count": 1}, 1),
    ({"of": "annotations", "count": 6}, 6),
    ({"of": "annotations", "split": "val", "where": "kind == 'object'", "count": 1}, 1),
    ({"of": "tracks", "count": 3}, 3),
    ({"of": "tracks", "split": "train", "count": 2}, 2),
    ({"of": "groups", "kind": "video", "count": 2}, 2),
    ({"of": "groups", "kind": "video", "split": "val", "count": 1}, 1),
    ({"of": "groups", "kind": "pair", "count": 0}, 0),
    ({"of": "categories", "space": "action", "count": 1}, 1),
    ({"of": "categories", "count": 2}, 2),
]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [{**c, "status": "published"} for c, _ in COUNTS]
    wrong = [
        {"of": "samples", "count": 5, "status": "unverified"},
        {"of": "samples", "count": 5, "about": 1, "status": "published"},
    ]
    made = {"toy": {"source": "here", "counts": counts}, "bad": {"source": "x", "counts": wrong}}
    monkeypatch.setattr(expecting, "totals", lambda: made)


@pytest.mark.usefixtures("known")
def test_each_count_is_found() -> None:
    for found, (entry, wanted) in zip(expecting.expect(dataset(), "toy"), COUNTS, strict=True):
        assert found["found"] == wanted, entry
        assert found["ok"] is (None if wanted is None else True), entry
    assert info(dataset(), expect="toy")["expected"] == expecting.expect(dataset(), "toy")


@pytest.mark.usefixtures("known")
def test_a_difference_is_told_and_exits_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "x.granum"
    dataset().save(store)
    assert main(["info", str(store), "--expect", "bad"]) == 3
    said = capsys.readouterr().out
    assert "samples: 5; 4 found: differs; the figure itself is unverified" in said
    assert "samples: 5 (give or take 1); 4 found: as published" in said
    assert main(["info", str(store), "--expect", "toy", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["expected"]) == len(COUNTS)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="sportsmot"):
        expecting.expect(dataset(), "sportmot")


def test_the_data_can_be_asked_for() -> None:
    """Every entry has what it needs, and its condition can be parsed."""
    for name, facts in expecting.totals().items():
        assert facts["source"], name
        assert facts["counts"], name
        for entry in facts["counts"]:
            known = {"of", "where", "split", "space", "kind", "count", "about", "status"}
            assert {"of", "count", "status"} <= entry.keys() <= known, name
            assert entry["of"] in ("samples", "annotations", "groups", "categories", "tracks")
            assert entry["status"] in ("published", "computed", "unverified")
            assert isinstance(entry["count"], int)
            if "where" in entry:
                table = Expression(entry["where"]).table
                assert table == (
                    "samples" if entry["of"] in ("samples", "groups") else "annotations"
                )
