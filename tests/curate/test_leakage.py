"""Planted leaks across splits and across datasets are found; what to drop; labels that differ."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from granum.curate._crossings import crossing_pairs, shared_values
from granum.curate.leakage import Leakage, leakage
from granum.curate.selection import replay
from granum.errors import UnknownNameError, UsageError
from granum.schema import rows
from granum.store.dataset import Dataset
from granum.store.executor import executor
from tests.curate.planted import TWINS, drawn, planted, precision_recall, store

KINDS = [k for k in TWINS if k != "flip"]


def names(found: Leakage) -> set[tuple[str, str]]:
    return {
        (min(p), max(p))
        for p in zip(
            found.pairs["key"].to_pylist(), found.pairs["other_key"].to_pylist(), strict=True
        )
    }


def leaky(
    tmp_path: Path, monkeypatch: Any, count: int = 20, **options: Any
) -> tuple[Dataset, dict[str, str]]:
    """Sources are in train; every other twin is in val with an image of its own, the rest in train
    as well; another copy is in no split."""
    images = tmp_path / "images"
    sources = drawn(images, count)
    drawn(images, 1, start=500)
    twins = planted(images, sources, KINDS)
    (images / "unassigned.jpg").write_bytes(sources[0].read_bytes())
    samples = [rows.Sample(s.name, split="train") for s in sources]
    for number, twin in enumerate(twins):
        samples.append(rows.Sample(twin, split=("val", "train")[number % 2]))
    samples += [rows.Sample("unassigned.jpg"), rows.Sample("0500.jpg", split="val")]
    leaks = {t: s for i, (t, s) in enumerate(twins.items()) if i % 2 == 0}
    return store(monkeypatch, tmp_path / "s.granum", images, samples, part=8, **options), leaks


def test_planted_leaks_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, leaks = leaky(tmp_path, monkeypatch)
    found = leakage(whole)
    truth = {(min(p), max(p)) for p in leaks.items()}
    assert precision_recall(names(found), truth) == (1, 1)
    assert found.shares() == {
        "train": {"samples": 25, "leaked": 5, "grouped": 0, "share": 0.2},
        "val": {"samples": 6, "leaked": 5, "grouped": 0, "share": 5 / 6},
    }
    assert "unassigned.jpg" not in str(found.to_dict())
    assert found.suspects().num_rows == 0


def test_nothing_leaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = tmp_path / "images"
    sides = zip(drawn(images, 4), ("train", "val") * 2, strict=True)
    samples = [rows.Sample(path.name, split=side) for path, side in sides]
    found = leakage(store(monkeypatch, tmp_path / "s.granum", images, samples)).to_dict()
    assert (found["pairs"], found["disagree"], found["crossing"]) == (0, 0, [])


def test_the_fix_drops_from_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, leaks = leaky(tmp_path, monkeypatch)
    found = leakage(whole)
    keys = whole.samples()["key"].to_pylist()
    fixed = found.fixed()
    assert {keys[r] for r in fixed.dropped} == set(leaks.values())
    twin = next(t for t, s in leaks.items() if s == "0000.jpg")
    assert fixed.dropped[0].endswith(f"duplicate of {twin} in val")
    other = found.fixed(protect=["train"])
    assert {keys[r] for r in other.dropped} == set(leaks)
    for one in (fixed, other):
        saved = one.save(found.dataset, f"fixed{len(other) + one.rows[0]}")
        again = replay(saved, one.lineage)
        assert again.rows.tolist() == one.rows.tolist()
        assert again.dropped == one.dropped
        kept = one.apply(saved).save(tmp_path / f"kept{one.rows[0]}.granum")
        assert leakage(kept).pairs.num_rows == 0
    with pytest.raises(UnknownNameError, match="tarin"):
        found.fixed(protect=["tarin"])


def test_two_datasets_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = drawn(tmp_path / "a", 12)
    (tmp_path / "b").mkdir()
    twins = planted(tmp_path / "b", sources, KINDS)
    drawn(tmp_path / "b", 5, start=100)
    first = store(monkeypatch, tmp_path / "a.granum", tmp_path / "a", [s.name for s in sources])
    others = sorted(p.name for p in (tmp_path / "b").iterdir())
    second = store(monkeypatch, tmp_path / "b.granum", tmp_path / "b", others, part=4)
    found = leakage(first, other=second)
    truth = {(min(p), max(p)) for p in twins.items()}
    assert precision_recall(names(found), truth) == (1, 1)
    assert found.splits == {"dataset": 12, "other": 11}
    for row in found.pairs.to_pylist():
        assert others[row["other_row"]] == row["other_key"]
    fixed = found.fixed()
    assert {sources[r].name for r in fixed.dropped} == set(twins.values())
    with pytest.raises(UsageError, match="replayed"):
        replay(found.dataset, fixed.lineage)


def test_groups_that_cross_splits_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = tmp_path / "images"
    drawn(images, 6)
    samples = [
        rows.Sample(
            f"000{i}.jpg",
            split=("train", "train", "test", "test", "train", None)[i],
            group=(0, 0, 0, 1, None, 1)[i],
            attributes={"patient": ("p", "q", "r", "q", "s", "p")[i]},
        )
        for i in range(6)
    ]
    whole = store(monkeypatch, tmp_path / "s.granum", images, samples, groups=["film", "clip"])
    found = leakage(whole, by=["group", "attr.patient"], near=None)
    assert found.shared.to_pylist() == [
        {"column": "group", "value": "film", "split": "train", "samples": 2},
        {"column": "group", "value": "film", "split": "test", "samples": 1},
        {"column": "attr.patient", "value": "q", "split": "train", "samples": 1},
        {"column": "attr.patient", "value": "q", "split": "test", "samples": 1},
    ]
    assert found.grouped.tolist() == [0, 1, 2, 3]
    assert found.shares()["train"] == {
        "samples": 3, "leaked": 0, "grouped": 2, "share": pytest.approx(2 / 3)
    }  # fmt: skip
    why = "its group 'film' is in test"
    assert found.fixed().dropped == {0: why, 1: why}
    with pytest.raises(UnknownNameError, match="hospital"):
        leakage(whole, by=["hospital"], near=None)


def test_labels_of_crossing_pairs_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    sources = drawn(images, 4)
    for source in sources:
        shutil.copy(source, images / f"copy-{source.name}")

    def boxes(*categories: int) -> list[rows.Annotation]:
        return [rows.Annotation(category=c, bbox=(1.0, 1.0, 4.0, 4.0)) for c in categories]

    labels = [(boxes(0, 1), boxes(1, 0, 0)), (boxes(0), boxes(1)), (boxes(0), [])]
    labels.append((boxes(1), [*boxes(1), rows.Annotation(kind="label", category=0, present=False)]))
    samples = []
    for source, (ours, theirs) in zip(sources, labels, strict=True):
        samples.append(rows.Sample(source.name, split="train", annotations=ours))
        samples.append(rows.Sample(f"copy-{source.name}", split="val", annotations=theirs))
    whole = store(monkeypatch, tmp_path / "s.granum", images, samples, categories=["cat", "dog"])
    found = leakage(whole, near=None)
    assert found.pairs["agree"].to_pylist() == [True, False, None, True]
    assert found.suspects()["key"].to_pylist() == ["0001.jpg"]
    assert "labels differ" in found.table()
    assert found.to_dict()["disagree"] == 1


def test_processes_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = leaky(tmp_path, monkeypatch, 8)
    one = leakage(whole).to_dict()
    shutil.copytree(tmp_path / "images", tmp_path / "more" / "images")
    again, _ = leaky(tmp_path / "more", monkeypatch, 8)
    with executor(2) as two:
        assert leakage(again, executor=two).to_dict() == one


def test_one_split_alone_cannot_leak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(tmp_path / "images", 1)
    samples = [rows.Sample("0000.jpg", split="train")]
    whole = store(monkeypatch, tmp_path / "s.granum", tmp_path / "images", samples)
    with pytest.raises(UsageError, match="has 1 value"):
        leakage(whole)
    with pytest.raises(UnknownNameError, match="fold"):
        leakage(whole, split="fold")


def test_each_sample_with_a_like_elsewhere_is_in_a_pair() -> None:
    """Against all pairs: the rows are the same, and the pairs among them."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        clusters = rng.integers(0, 6, 30)
        clusters = np.array([np.flatnonzero(clusters == c)[0] for c in clusters])
        splits = rng.integers(-1, 3, 30)
        names = np.unique(clusters)
        edges = np.array(
            [(*sorted(rng.choice(names, 2, replace=False)), 1) for _ in range(rng.integers(0, 3))],
            np.int64,
        ).reshape(-1, 3)
        same = clusters[:, None] == clusters[None]
        for i, j, _bits in edges:
            same |= np.logical_and.outer(clusters == i, clusters == j)
            same |= np.logical_and.outer(clusters == j, clusters == i)
        cross = same & (splits[:, None] != splits[None])
        cross &= (splits[:, None] >= 0) & (splits[None] >= 0)
        everything = {(int(i), int(j)) for i, j in np.argwhere(np.triu(cross))}
        found = {(int(i), int(j)) for i, j in crossing_pairs(clusters, edges, splits)}
        assert found <= everything
        seen = {(a, splits[b]) for p in found for a, b in (p, p[::-1])}
        assert seen == {(a, splits[b]) for p in everything for a, b in (p, p[::-1])}


def test_a_value_is_shared_by_splits_only() -> None:
    codes = np.array([0, 0, 1, 1, 2, -1, -1, 3])
    splits = np.array([0, 1, 0, 0, -1, 0, 1, 1])
    assert np.flatnonzero(shared_values(codes, splits)).tolist() == [0, 1]
