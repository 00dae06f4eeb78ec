"""ROxford's ground truth, made by hand."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.errors import FindingsError, FormatError
from granum.testing.suite import ReaderSuite

TRUTH: dict[str, Any] = {
    "imlist": ["a", "b", "c", "d"],
    "qimlist": ["q0", "a"],
    "gnd": [
        {"bbx": [10.0, 20.0, 30.0, 60.0], "easy": [0, 2], "hard": [], "junk": np.array([3])},
        {"bbx": [0, 0, 5, 5], "easy": [], "hard": [1], "junk": []},
    ],
}


def tree(folder: Path, truth: Any = TRUTH) -> Path:
    root = folder / "roxford5k"
    root.mkdir()
    (root / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(truth, 2))
    return root


class TestRevisitOp(ReaderSuite):
    name = "revisitop"

    def make(self, folder: Path) -> Path:
        return tree(folder)


def pairs(found: Any) -> set[tuple[str, str, str]]:
    """(query, relevance, image) of every relation."""
    at = {a.annotation_id: s.key for s in found for a in s.annotations}
    names = found.category_names()
    return {
        (at[a.subject], names[a.category], at[a.object])
        for s in found
        for a in s.annotations
        if a.kind == "relation"
    }


def test_queries_images_and_relations(tmp_path: Path) -> None:
    found = granum.read(tree(tmp_path))
    assert [(s.key, s.row.role) for s in found] == [
        ("query/q0", "query"), ("query/a", "query"), ("jpg/a.jpg", "database"),
        ("jpg/b.jpg", "database"), ("jpg/c.jpg", "database"), ("jpg/d.jpg", "database"),
    ]  # fmt: skip
    assert found["query/q0"].annotations[0].bbox == (10, 20, 20, 40)
    # A query may be an image of the collection too.
    assert found["query/a"].row.media == found["jpg/a.jpg"].row.media
    assert pairs(found) == {
        ("query/q0", "easy", "jpg/a.jpg"),
        ("query/q0", "easy", "jpg/c.jpg"),
        ("query/q0", "junk", "jpg/d.jpg"),
        ("query/a", "hard", "jpg/b.jpg"),
    }
    assert found["jpg/c.jpg"].labels == ["q0"]


def test_pixel_labels_are_the_other_end(tmp_path: Path) -> None:
    root = tree(tmp_path)
    points = [[[0, 0], [4, 0], [4, 3]], [[9, 9], [12, 9], [12, 12]]]
    record = {"shapes": [{"points": p} for p in points]}
    (root / "labels").mkdir()
    (root / "labels" / "0_2.json").write_text(json.dumps(record))
    table = np.array({"0_2": "labels/0_2.json", "1_1": "../outside.json"}, object)
    np.save(root / "oxford_pair2labelpath.npy", table, allow_pickle=True)
    with pytest.raises(FindingsError, match="leaves its folder"):
        granum.read(root)
    found = granum.read(root, on_error="skip")
    (end,) = found["jpg/c.jpg"].annotations
    assert end.polygons == [[[0, 0, 4, 0, 4, 3]], [[9, 9, 12, 9, 12, 12]]]
    assert ("query/q0", "easy", "jpg/c.jpg") in pairs(found)


def test_distractors(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "revisitop1m").mkdir()
    (tmp_path / "revisitop1m" / "revisitop1m.txt").write_text("x/1.jpg\nx/2.jpg\n")
    found = granum.read(tmp_path)
    assert [s.key for s in found][-1] == "revisitop1m/jpg/x/2.jpg"
    assert found[0].key == "roxford5k/query/q0" and found[-1].row.role == "distractor"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"imlist": "abc"}, "imlist is no list"),
        ({"imlist": ["a", "a"]}, "twice"),
        ({"gnd": []}, "not one entry"),
    ],
)
def test_a_pickle_that_is_none_of_theirs(tmp_path: Path, change: Any, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        granum.read(tree(tmp_path, {**TRUTH, **change}))


def test_positions_beyond_the_list_are_told(tmp_path: Path) -> None:
    bad = {**TRUTH, "gnd": [{**TRUTH["gnd"][0], "hard": [9]}, TRUTH["gnd"][1]]}
    with pytest.raises(FindingsError, match=r"gnd_roxford5k\.pkl gnd\[0\]\.hard"):
        granum.read(tree(tmp_path, bad))


class Hostile:
    def __reduce__(self) -> Any:
        return os.mkdir, ("made",)


def test_a_hostile_pickle_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormatError, match="mkdir"):
        granum.read(tree(tmp_path, {**TRUTH, "more": Hostile()}))
    assert not (tmp_path / "made").exists()
