"""``granum browse``: out to FiftyOne, and back with what was tagged there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import granum
from granum.cli import main
from granum.schema.rows import Annotation, Category, LabelMap, Media, Sample
from granum.store.dataset import Dataset


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for i in range(3):
        Image.new("RGB", (20, 10)).save(tmp_path / f"{i}.png")
    samples = [
        Sample(f"{i}.png", Media(f"{i}.png"), 20, 10, annotations=[Annotation(bbox=(1, 1, 5, 5))])
        for i in range(3)
    ]
    path = tmp_path / "s.granum"
    Dataset.from_rows(samples, [Category("a")], media_root=tmp_path).save(path)
    return path


def test_tags_come_back_as_a_view(fo: Any, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["browse", str(store), "--name", "out", "--no-launch", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "out"
    shown = fo.load_dataset("out")
    assert shown.persistent and len(shown) == 3
    sample = shown.match({"granum_key": "1.png"}).first()
    sample.tags.append("odd")
    sample.save()
    assert main(["browse", str(store), "--name", "out", "--take-back", "edits", "--json"]) == 0
    back = json.loads(capsys.readouterr().out)
    assert list(back["views"].values()) == [1]
    [view] = back["views"]
    assert [s.key for s in granum.open(store).view(view)] == ["1.png"]


def test_an_unknown_dataset_is_named(
    fo: Any, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["browse", str(store), "--name", "nope", "--take-back", "edits"]) == 1
    assert "unknown FiftyOne dataset 'nope'" in capsys.readouterr().err


def test_what_is_not_shown_is_said(
    fo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    row = Annotation(bbox=(1, 1, 5, 5), map=LabelMap("gone.png", value=1))
    sample = Sample("a.png", Media("a.png"), 20, 10, annotations=[row])
    Dataset.from_rows([sample], media_root=tmp_path).save(tmp_path / "s.granum")
    assert main(["browse", str(tmp_path / "s.granum"), "--name", "gone", "--no-launch"]) == 0
    told = capsys.readouterr().out
    assert "note: 1 masks are not shown" in told and "gone.png" in told
