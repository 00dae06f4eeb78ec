"""Saved views converted; what an import found stays with the store."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

import granum
from granum.cli import main
from granum.errors import UnknownNameError, UsageError
from granum.schema.rows import Annotation, Category, Sample
from granum.store.additions import add_layer, save_view
from granum.store.dataset import Dataset
from granum.verbs.convert import convert


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Four images with a true box each, and one guessed on the last two."""
    samples = [
        Sample(f"{i}.png", width=20, height=10, source_id=str(i + 1),
               annotations=[Annotation(category=i % 2, bbox=(1.0, 1.0, i + 1.0, 2.0), area=2.0)])
        for i in range(4)
    ]  # fmt: skip
    made = Dataset.from_rows(samples, [Category("cat"), Category("dog")])
    made = made.save(tmp_path / "x.granum")
    box = pa.array([[0.0, 0, 1, 1]] * 2, pa.list_(pa.float64(), 2 * 2))
    guessed = {"sample": [2, 3], "kind": ["object"] * 2, "category": [0, 0], "bbox": box}
    made = add_layer(made, "guess", pa.table({**guessed, "score": [0.5, 0.75]}), producer="m@1")
    made = save_view(made, "few", [3, 0])
    save_view(made, "picked", [2, 3], annotations=[None, [5]])
    return tmp_path / "x.granum"


def names(path: Path) -> list[str]:
    return [str(i["file_name"]) for i in json.loads(path.read_text())["images"]]


def test_a_view_to_a_format(store: Path, tmp_path: Path) -> None:
    done = convert(store, tmp_path / "few.json", to="coco", view="few", allow_loss=["all"])
    assert names(tmp_path / "few.json") == ["3.png", "0.png"]
    assert done.read["samples"] == 4 and done.written["samples"] == 2
    both = convert(
        store, tmp_path / "one.json", to="coco", view="few", where="category == 'cat'",
        drop_empty=True, allow_loss=["all"],
    )  # fmt: skip
    assert names(tmp_path / "one.json") == ["0.png"] and both.written["annotations"] == 1


def test_a_view_to_a_store(store: Path, tmp_path: Path) -> None:
    convert(store, tmp_path / "few.granum", view="few")
    made = granum.open(tmp_path / "few.granum")
    assert [s.key for s in made] == ["3.png", "0.png"]
    assert [s.labels for s in made] == [["dog"], ["cat"]]
    assert [len(s.annotations) for s in made.layer("guess")] == [1, 0]


def test_a_view_of_a_layer(store: Path, tmp_path: Path) -> None:
    words = ["convert", str(store), str(tmp_path / "g.json"), "--to", "coco", "--view", "few"]
    assert main([*words, "--layer", "guess", "--allow-loss", "all"]) == 0
    assert names(tmp_path / "g.json") == ["3.png", "0.png"]
    (row,) = json.loads((tmp_path / "g.json").read_text())["annotations"]
    assert row["score"] == 0.75 and row["bbox"] == [0, 0, 1, 1]


def test_what_a_view_chose_of_annotations(store: Path, tmp_path: Path) -> None:
    guess = granum.open(store).layer("guess")
    assert [a.annotation_id for s in guess for a in s.annotations] == [5, 6]
    options = {"to": "coco", "view": "picked", "layer": "guess", "allow_loss": ["all"]}
    convert(store, tmp_path / "p.json", **options)
    listed = json.loads((tmp_path / "p.json").read_text())["annotations"]
    assert [a["score"] for a in listed] == [0.5]  # of the other sample, 6 was not chosen


def test_views_that_are_not_there(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="few"):
        convert(store, tmp_path / "a.json", to="coco", view="many")
    convert(store, tmp_path / "all.json", to="coco", allow_loss=["all"])
    with pytest.raises(UsageError, match="only a store has saved views"):
        convert(tmp_path / "all.json", tmp_path / "b.granum", view="few")
    assert not (tmp_path / "a.json").exists() and not (tmp_path / "b.granum").exists()


FAULTY = {
    "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 10}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "area": 4, "iscrowd": 0},
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 2, 2], "area": 4, "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [15, 5, 9, 2], "area": 18, "iscrowd": 0},
        {"id": 3, "image_id": 1, "category_id": 1, "bbox": [16, 5, 9, 2], "area": 18, "iscrowd": 0},
        {"id": 4, "image_id": 7, "category_id": 1, "bbox": [1, 1, 2, 2], "area": 4, "iscrowd": 0},
    ],
}


def test_what_an_import_found_stays_with_the_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.json").write_text(json.dumps(FAULTY))
    for policy, done in (
        ("skip", {"duplicate-annotation-id": (1, "keeps the first only"),
                  "orphan-image": (1, "leaves the record out"),
                  "box-outside-image": (2, "keeps it as it is")}),
        ("fix", {"duplicate-annotation-id": (1, "gives the later ones new ids"),
                 "orphan-image": (1, "leaves the record out"),
                 "box-outside-image": (2, "clips the box")}),
    ):  # fmt: skip
        convert(tmp_path / "bad.json", tmp_path / f"{policy}.granum", on_error=policy)
        (step,) = granum.open(tmp_path / f"{policy}.granum").meta.lineage
        listed = {f["code"]: (f["n"], f["done"]) for f in step["findings"]}
        assert listed == done and step["findings"][-1]["severity"] == "warning"
        granum.report(tmp_path / f"{policy}.granum", tmp_path / f"{policy}.html")
        said = " ".join((tmp_path / f"{policy}.html").read_text().split())
        for code, (n, action) in done.items():
            assert f"<td>bad.json<td>{code}" in said.replace("</td>", "") and action in said, n
    assert main(["info", str(tmp_path / "fix.granum")]) == 0
    assert "found in bad.json: 2 box-outside-image (clips the box)" in capsys.readouterr().out
    # A selection that is converted on is read from a temporary store: it knows too.
    convert(tmp_path / "bad.json", tmp_path / "c.granum", on_error="fix", where="area > 5")
    assert len(granum.open(tmp_path / "c.granum").meta.lineage[0]["findings"]) == 3


def test_an_import_without_faults_says_so(tmp_path: Path) -> None:
    good = {**FAULTY, "annotations": FAULTY["annotations"][:1]}
    (tmp_path / "good.json").write_text(json.dumps(good))
    assert granum.read(tmp_path / "good.json").meta.lineage[0]["findings"] == []
    convert(tmp_path / "good.json", tmp_path / "x.granum")
    granum.report(tmp_path / "x.granum", tmp_path / "x.html")
    assert "What the import found" not in (tmp_path / "x.html").read_text()
