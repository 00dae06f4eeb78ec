"""The public calls: score, dedup, split, leakage of a store or its path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import granum
from granum.errors import ExistsError, StoreError, UnknownNameError, UsageError
from granum.schema import rows
from granum.store.dataset import Dataset
from granum.store.opening import open_dataset
from granum.verbs.dedup import dedup
from granum.verbs.scoring import describe_scorers, score
from granum.verbs.splitting import leakage, split
from tests.curate.planted import drawn, planted, store
from tests.data import shared


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of ten pictures and five twins, a box in each picture."""
    images = tmp_path / "images"
    sources = drawn(images, 10)
    twins = planted(images, sources, ["copy", "q30"])
    box = rows.Annotation(category=0, bbox=(1.0, 2.0, 3.0, 4.0))
    samples = [rows.Sample(s.name, annotations=[box], split="train") for s in sources]
    samples += [rows.Sample(t, split="val") for t in twins]
    store(monkeypatch, tmp_path / "s.granum", images, samples, part=4, categories=["thing"])
    return tmp_path / "s.granum"


def test_scoring_a_path_keeps_columns_and_tells_what_they_say(path: Path) -> None:
    seen: list[int] = []
    found = score(path, ["brightness", "size", "phash"], progress=seen.append)
    assert sum(seen) == 15
    stored = open_dataset(path).samples()
    facts = found.to_dict()["columns"]
    dark = stored["col.dark"].to_pylist()
    assert facts["dark"]["rows"] == 15
    assert facts["dark"]["min"] == pytest.approx(min(dark))
    assert facts["dark"]["issues"] == sum(d < 0.32 for d in dark)
    assert facts["width"]["max"] == 128
    assert "min" not in facts["phash"]  # a hash is no quantity
    assert facts["phash"]["unknown"] == 0
    lines = found.table().splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["brightness", "dark", "light"]
    json.dumps(found.to_dict())


def test_scoring_counts_what_is_unknown_and_what_is_an_issue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    drawn(images, 1)
    whole = store(monkeypatch, tmp_path / "s.granum", images, ["0000.jpg", "absent.jpg"])
    facts = score(whole, ["grey", "odd_size"]).columns
    assert facts["grey"]["unknown"] == 1
    assert facts["grey_as_rgb"]["mean"] == 0.0
    assert facts["odd_size"]["issues"] == 0


def test_scoring_with_processes_gives_the_same(path: Path, tmp_path: Path) -> None:
    other = open_dataset(path).save(tmp_path / "again.granum")
    one = score(path, ["sharpness", "brightness"]).columns
    assert score(other, ["sharpness", "brightness"], workers=2).columns == one


def test_every_scorer_is_described() -> None:
    described = {d["name"]: d for d in describe_scorers()}
    assert described["brightness"]["columns"]["dark"]["issue_below"] == 0.32
    assert all(d["about"] for d in described.values())
    json.dumps(described)


def test_dedup_keeps_a_view_and_a_store(path: Path, tmp_path: Path) -> None:
    found = dedup(path, view="unique", out=tmp_path / "unique.granum")
    assert len(found.found) == 5
    kept = [f"{i:04d}.jpg" for i in range(10)]  # those with boxes
    assert found.dataset.view("unique").samples()["key"].to_pylist() == kept
    small = open_dataset(tmp_path / "unique.granum")
    assert small.samples()["key"].to_pylist() == kept
    assert small.num_annotations == 10
    assert small[3].image().size == (128, 96)  # its images are still found
    assert len(open_dataset(path)) == 15
    assert found.table().splitlines()[-1].startswith("10 samples kept in the store")
    assert json.loads(json.dumps(found.to_dict()))["duplicates"] == 5


def test_what_exists_is_refused_before_anything_is_read(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dedup(path, near=None, view="mine")
    (tmp_path / "there.granum").mkdir()
    monkeypatch.setattr("granum.curate.duplicates.score", None)  # would fail if it were called
    with pytest.raises(ExistsError, match="view 'mine'"):
        dedup(path, view="mine")
    with pytest.raises(ExistsError, match="there"):
        dedup(path, out=tmp_path / "there.granum")
    with pytest.raises(ExistsError, match="mine"):
        split(path, {"mine": 0.5, "b": 0.5}, duplicates=True)
    with pytest.raises(ExistsError, match="mine"):
        leakage(path, view="mine")


def test_only_stores_can_be_added_to(path: Path, tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text("{}")
    with pytest.raises(StoreError, match="granum convert"):
        dedup(tmp_path / "boxes.json")
    with pytest.raises(StoreError):
        score(tmp_path / "nowhere.granum", ["size"])
    with pytest.raises(StoreError):
        dedup(open_dataset(path).select([0, 1]))
    with pytest.raises(StoreError):
        score(Dataset.from_rows([rows.Sample("a")]), ["size"])
    with pytest.raises(UnknownNameError):
        score(path, ["beauty"])
    with pytest.raises(UnknownNameError):
        dedup(path, layer="nobody")
    with pytest.raises(UsageError, match="into"):
        split(path, {"a": 1.0}, into="files")  # type: ignore[arg-type]


def test_split_keeps_duplicates_together(path: Path) -> None:
    done = split(path, {"train": 0.6, "test": 0.4}, duplicates=True, seed=3)
    parts = {n: set(done.dataset.view(n).samples()["key"].to_pylist()) for n in done.views}
    assert len(parts["train"] | parts["test"]) == 15
    for name in parts["train"]:
        assert (name[5:].rpartition("-")[2] if "twin" in name else name) in parts["train"]
    assert done.to_dict()["components"] == 10
    column = split(path, {"a": 0.5, "b": 0.5}, into="column", name="fold")
    assert set(open_dataset(path).samples()["col.fold"].to_pylist()) == {"a", "b"}
    assert column.table().splitlines()[-1] == "column: col.fold"
    count = len(list(path.glob("manifest-*")))
    split(path, {"a": 0.5, "b": 0.5}, into=None)
    assert len(list(path.glob("manifest-*"))) == count


def test_leakage_of_a_path_and_its_fix(path: Path) -> None:
    found = leakage(path, view="fixed", protect=["train"])
    assert found.pairs.num_rows == 5
    fixed = open_dataset(path).view("fixed").samples()
    assert set(fixed["split"].cast("string").to_pylist()) == {"train"}
    assert "leaked" in found.table()
    json.dumps(found.to_dict())
    itself = leakage(path, other=path).pairs
    assert set(itself["row"].to_pylist()) == set(itself["other_row"].to_pylist()) == set(range(15))


def test_images_that_moved_are_found_again(path: Path, tmp_path: Path) -> None:
    (tmp_path / "images").rename(tmp_path / "moved")
    assert dedup(path).found.unreadable == 15
    again = open_dataset(path).save(tmp_path / "again.granum")
    assert again.meta.store is not None
    assert len(dedup(tmp_path / "again.granum", images=tmp_path / "moved").found) == 5


def test_real_photographs_walk_the_whole_road(tmp_path: Path) -> None:
    granum.convert(
        shared("coco128") / "object_detection",
        tmp_path / "c.granum",
        on_error="fix",
        images=shared("coco128") / "images",
    )
    scored = score(tmp_path / "c.granum", ["brightness", "information", "grey"])
    assert scored.columns["dark"]["unknown"] == 0
    done = split(tmp_path / "c.granum", {"train": 0.8, "val": 0.2}, duplicates=True, into="column")
    assert done.result.facts["val"]["samples"] == pytest.approx(20, abs=2)
    assert leakage(tmp_path / "c.granum", "col.split").pairs.num_rows == 0
