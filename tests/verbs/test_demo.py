"""The demo: the whole road in small, what it says of it, and what it leaves out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import granum
from granum.cli import main
from granum.errors import ExistsError
from granum.verbs import demo as module
from granum.verbs.demo import demo

TINY: dict[str, Any] = {"scenes": 12, "surfaces": 8, "seeds": 1, "steps": 10, "surface_steps": 3}
PLANTED = {"duplicate", "leak", "blurred", "double-box", "box-outside", "wrong-label"}
EXTRAS = ("torch", "scipy", "higra", "skimage")


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a demo with every part says, in ``facts["target"]``."""
    for package in EXTRAS:
        pytest.importorskip(package)
    return demo(tmp_path_factory.mktemp("demo") / "here", seed=3, **TINY)


@pytest.fixture
def out(facts: dict[str, Any]) -> Path:
    return Path(facts["target"])


def said(facts: dict[str, Any], what: str) -> str:
    """The line of the summary about something."""
    (line,) = (line for line in facts["summary"] if line.startswith(what.ljust(10)))
    return str(line)


def test_what_was_planted_is_found(facts: dict[str, Any], out: Path) -> None:
    planted = json.loads((out / "planted.json").read_text())
    assert facts["found"].keys() == PLANTED
    for kind in PLANTED:
        score, there = facts["found"][kind], [p for p in planted if p["kind"] == kind]
        assert len(there) > 0
        assert score["hit"] <= min(score["planted"], score["found"])
        assert score["recall"] == score["hit"] / score["planted"]
        if kind == "wrong-label":  # only of those that are big enough for a crop
            assert 0 < score["planted"] <= len(there)
            assert score["recall"] >= 0.5
        else:
            leaks = sum(p["kind"] == "leak" for p in planted) if kind == "duplicate" else 0
            assert score["planted"] == len(there) + leaks
            assert score["recall"] >= 0.8
            assert score["precision"] >= 0.8


def test_facts_are_complete_and_kept(facts: dict[str, Any], out: Path) -> None:
    kept = json.loads((out / "facts.json").read_text())
    assert kept == {k: v for k, v in facts.items() if k != "summary"}
    assert kept.keys() == {
        "target", "kinds", "before_after", "defects", "found", "picture", "report",
    }  # fmt: skip
    low, high = kept["before_after"]["interval"]
    assert low <= kept["before_after"]["difference"] <= high
    assert kept["before_after"]["holds 0"] == (low <= 0 <= high)
    assert 0 <= kept["defects"]["aupro"] <= 1
    assert 0 <= kept["defects"]["image_auroc"] <= 1
    assert kept["kinds"]["object"] > 100


def test_the_summary_says_what_was_done(facts: dict[str, Any], out: Path) -> None:
    losses = json.loads((out / "coco-loss.json").read_text())["lost"]
    lost = ", ".join(f"{n} {c}" for n, c in losses.items())
    assert said(facts, "to COCO").endswith(f": {lost}")
    scenes = granum.open(out / "coco.granum")
    counted = f"{len(scenes)} images, {scenes.num_annotations} annotations"
    assert counted in said(facts, "imported")
    assert all(f"{kind} " in said(facts, "found") for kind in PLANTED)
    assert "8 varied scenes" in said(facts, "selected")
    assert f"{facts['before_after']['difference']:+.3f}" in said(facts, "trained")
    assert ("holds 0" in said(facts, "trained")) == facts["before_after"]["holds 0"]
    assert f"aupro {facts['defects']['aupro']:.3f}" in said(facts, "defects")
    assert facts["summary"][-1] == f"report    {out / 'report.html'}"


def test_what_it_leaves_behind(facts: dict[str, Any], out: Path) -> None:
    page = Path(facts["report"]).read_text(encoding="utf-8")
    assert all(f">{part}<" in page for part in ("Before and after", "Training", "Diversity"))
    assert "vendi_1" in page and "<script" not in page
    assert Path(facts["picture"]).read_bytes().startswith(b"\x89PNG")
    store = granum.open(out / "demo.granum")
    assert len(store.view("varied")) == 8
    assert store.meta.layers.keys() == {"truth", "regions"}
    objects = granum.open(out / "objects.granum")
    assert len(objects.layer("before-0")) == len(objects)
    assert objects.layer("after-0").num_annotations == len(objects.view("after"))
    assert len(objects.view("after")) < len(objects)
    surfaces = granum.open(out / "surfaces.granum")
    assert surfaces.layer("defects").num_annotations == len(surfaces) == 8
    assert surfaces.samples(["col.loss.defects"])["col.loss.defects"].null_count == 0
    assert (out / "yolo-loss.json").exists()


def test_nothing_is_replaced_unasked(facts: dict[str, Any], out: Path, tmp_path: Path) -> None:
    before = (out / "facts.json").read_bytes()
    assert main(["demo", str(out)]) == 1
    assert (out / "facts.json").read_bytes() == before
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("mine")
    with pytest.raises(ExistsError):  # it is no demo's, asked or not
        demo(mine, overwrite=True, **TINY)
    assert (mine / "letter.txt").read_text() == "mine"


def test_a_seed_says_all_and_absent_parts_are_said(
    facts: dict[str, Any], out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again without training and region trees: the rest is as it was."""
    monkeypatch.setattr(module, "_absent", lambda *packages: list(packages))
    (tmp_path / "made-by-granum-demo").write_text("")
    (tmp_path / "old.txt").write_text("of an earlier demo")
    again = demo(tmp_path, seed=3, overwrite=True, **TINY)
    assert not (tmp_path / "old.txt").exists()
    assert (tmp_path / "planted.json").read_bytes() == (out / "planted.json").read_bytes()
    assert again["found"] == facts["found"]
    assert again["kinds"] == facts["kinds"]
    assert said(again, "selected") == said(facts, "selected")
    assert "pip install granum[train] (torch, scipy)" in said(again, "trained")
    assert "pip install granum[hierarchy] (higra, skimage)" in said(again, "regions")
    assert "before_after" not in again
    assert Path(again["report"]).exists()
    for name in ("demo.granum", "coco.granum", "yolo.granum"):
        assert _fingerprint(tmp_path / name) == _fingerprint(out / name)


def _fingerprint(store: Path) -> str:
    found = granum.open(store).meta.store
    assert found is not None
    return str(found.manifest["fingerprint"])
