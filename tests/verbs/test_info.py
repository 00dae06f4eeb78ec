"""What ``info`` says of layers, derived columns and views."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

import granum
from granum.cli import main
from granum.schema.rows import Annotation, Category, Sample
from granum.store.additions import add_column, add_layer, save_view
from granum.store.dataset import Dataset
from granum.verbs.look import info, info_text


@pytest.fixture
def store(tmp_path: Path) -> Path:
    samples = [
        Sample(f"{i}", attributes={"place": "x" if i else None, "depth": i / 2},
               annotations=[Annotation(category=0, bbox=(0.0, 0.0, 2.0, i + 1.0))])
        for i in range(4)
    ]  # fmt: skip
    made = Dataset.from_rows(samples, [Category("cat")]).save(tmp_path / "x.granum")
    values = pa.array([None, 0.25, float("nan"), -3.0])
    made = add_column(
        made, "light", lambda b: values, version=2, parameters={"scorer": "lamp", "k": 3}
    )
    made = add_column(made, "flag", lambda b: pa.array([True, None, False, True]))
    made = add_column(made, "hash", lambda b: pa.array([1, 2, 3, 4], pa.uint64()))
    made = add_column(made, "side", lambda b: pa.array([1, 7, 3, 2], pa.int32()), layer="truth")
    rows = pa.table({"sample": [1, 2], "kind": ["object"] * 2, "category": [0, 0]})
    made = add_layer(made, "guess", rows, producer="model@1", parent="truth", mode="replace")
    made = save_view(made, "few", [2, 0], lineage={"method": "random@1", "budget": 2})
    save_view(made, "hand", [1])
    return tmp_path / "x.granum"


def test_columns_with_producer_rows_and_range(store: Path) -> None:
    facts = info(granum.open(store))
    listed = {(c["of"], c["name"]): c for c in facts["columns"]}
    assert listed["samples", "col.light"] == {
        "name": "col.light", "of": "samples", "type": "double", "rows": 3, "unknown": 1,
        "min": -3.0, "max": 0.25, "producer": "lamp@2", "parameters": {"k": 3},
    }  # fmt: skip
    assert listed["samples", "col.flag"]["true"] == 2
    assert "min" not in listed["samples", "col.hash"]
    side = listed["truth", "col.side"]
    assert (side["min"], side["max"], side["rows"], side["producer"]) == (1, 7, 4, "side@1")
    depth = listed["samples", "attr.depth"]
    assert (depth["min"], depth["max"]) == (0.0, 1.5) and "producer" not in depth
    place = listed["samples", "attr.place"]
    assert (place["rows"], place["unknown"], place["type"]) == (3, 1, "string")


def test_views_and_layers(store: Path) -> None:
    facts = info(granum.open(store))
    assert facts["views"] == {
        "few": {"samples": 2, "producer": "random@1",
                "lineage": {"method": "random@1", "budget": 2}},
        "hand": {"samples": 1, "producer": None, "lineage": {}},
    }  # fmt: skip
    guess = facts["layers"]["guess"]
    assert (guess["producer"], guess["parent"], guess["mode"]) == ("model@1", "truth", "replace")
    assert info(granum.open(store).view("few"))["views"] == {}


def test_the_command_shows_them(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(store)]) == 0
    text = capsys.readouterr().out
    assert text.strip() == info_text(info(granum.open(store)))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "col.light 3 of 4 rows, -3 to 0.25, by lamp@2 (k=3)" in lines
    assert "col.flag 3 of 4 rows, 2 true, by flag@1" in lines
    assert "col.hash 4 of 4 rows, uint64, by hash@1" in lines
    assert "attr.depth 4 of 4 rows, 0 to 1.5" in lines
    assert "few 2 samples, by random@1" in lines and "hand 1 samples" in lines
    assert any(
        x.startswith("layer guess: 2 annotations (object 2), by model@1, in place of truth, 20")
        for x in lines
    )
    assert main(["info", str(store), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [v["samples"] for v in facts["views"].values()] == [2, 1] and len(facts["columns"]) == 6
