"""Every hook through the trainer, on generated data: official numbers, predictions written back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from granum.metrics.evaluate import evaluate  # noqa: E402
from granum.schema.fields import field_from_map  # noqa: E402
from granum.schema.rows import Annotation, Category  # noqa: E402
from granum.store.dataset import Dataset  # noqa: E402
from granum.synthetic import generate  # noqa: E402
from granum.train.base import hooks  # noqa: E402
from granum.train.progress import Epoch  # noqa: E402
from granum.train.trainer import Run, train  # noqa: E402
from tests.train.tiny import labelled  # noqa: E402


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Scenes, and surfaces with and without defects."""
    root = tmp_path_factory.mktemp("generated")
    made = generate(root, seed=1, scenes=12, frames=0, pairs=0, textures=16, size=(96, 64))
    out = {}
    for kind in ("scenes", "textures"):
        chosen = [s for s in made.samples if s.key.startswith(kind)]
        dataset = Dataset.from_rows(chosen, made.categories, media_root=root)
        dataset.save(root / f"{kind}.granum")
        out[kind] = root / f"{kind}.granum"
    return out


def _trained(store: Path, out: Path, hook: Any, **options: Any) -> Run:
    import granum

    settings: dict[str, Any] = {"steps": 6, "batch_size": 4, "size": 64, "threads": 1}
    epochs: list[Epoch] = []
    settings["on_epoch"] = epochs.append
    run = train(granum.open(store), hook, out=out / hook.name, **{**settings, **options})
    assert [e.number for e in epochs] == list(range(1, run.record["epochs"] + 1))
    assert run.loss is not None and run.loss == epochs[-1].loss and math.isfinite(run.loss)
    return run


def _rows(run: Run) -> list[Any]:
    return [run.dataset.layer(run.name)[i].annotations for i in range(len(run.dataset))]


def test_detector(stores: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("hotcoco")
    run = _trained(stores["scenes"], tmp_path, hooks["detector"](width=32, limit=20))
    assert set(run.metrics) >= {"AP", "AP50"}
    for sample, rows in zip(run.dataset, _rows(run), strict=True):
        assert 0 < len(rows) <= 20
        for row in rows:
            x, y, w, h = row.bbox
            assert 0 <= x <= x + w <= sample.row.width + 1e-6
            assert 0 <= y <= y + h <= sample.row.height + 1e-6


def test_segmenter(stores: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    run = _trained(stores["scenes"], tmp_path, hooks["segmenter"](width=8))
    value = next(iter(run.metrics.values()))
    assert value is not None
    assert 0 <= value <= 1
    for sample, rows in zip(run.dataset, _rows(run), strict=True):
        assert sum(r.area for r in rows) == sample.row.width * sample.row.height


def test_efficient_ad(stores: dict[str, Path], tmp_path: Path) -> None:
    hook = hooks["efficient_ad"](width=0.0625, distil_steps=3)
    run = _trained(stores["textures"], tmp_path, hook, val_split="test", held_out=0.25)
    assert run.record["hook"]["prepared"]["teacher"] == "descriptors@1"
    assert run.record["hook"]["prepared"]["good"] == 6
    assert 0 <= run.metrics["aupro"] <= 1
    found = evaluate(run.dataset, run.dataset.layer(run.name), "anomaly")
    assert list(found.values) == list(run.metrics) and None not in found.values.values()
    assert found.facts["samples_scored"] == len(run.dataset) and not found.findings.counts
    for sample, (row,) in zip(run.dataset, _rows(run), strict=True):
        assert row.kind == "field"
        assert math.isfinite(row.score)
        field = field_from_map(row.map.bytes, row.extra)
        assert field.shape == (sample.row.height, sample.row.width)


@pytest.mark.parametrize("name", ["classifier", "rotation"])
def test_of_whole_images(name: str, stores: dict[str, Path], tmp_path: Path) -> None:
    run = _trained(stores["scenes"], tmp_path, hooks[name](width=4))
    rows = _rows(run)
    assert all(len(r) == 1 for r in rows)
    assert {r.kind for (r,) in rows} == {"label"}
    layer = run.dataset.layer(run.name)
    strange = evaluate(run.dataset, layer, "ood", parameters=OOD)
    assert strange.facts["samples_scored"] == len(run.dataset) and strange["auroc"] is not None
    if name == "rotation":
        assert {r.attributes["rotation"] for (r,) in rows} <= {0, 90, 180, 270}
    else:
        names = run.dataset.category_names()
        assert {names[r.category] for (r,) in rows} <= {"day", "dusk"}
        assert not set(strange.findings.counts) - {"not-compared"}


OOD = {"positive": "ood", "score": "confidence", "ood": ["dusk"]}


def test_labels_that_are_written_are_judged_as_validation_was(
    stores: dict[str, Path], tmp_path: Path
) -> None:
    hook = hooks["classifier"](width=4, best=9)
    run = _trained(stores["scenes"], tmp_path, hook, name="all_classes")
    data = run.dataset
    found = evaluate(data, data.layer(run.name), "classification")
    for name in ("top1_accuracy", "ece", "brier", "log_loss"):
        assert found[name] is not None, name
    val = [i for i, s in enumerate(data) if s.row.split == "val"]
    part = data.select(val)
    again = evaluate(part, part.layer(run.name), "classification")
    assert run.metrics == dict(again.values)
    loss = np.array(data.samples([f"col.loss.{run.name}"])[f"col.loss.{run.name}"], float)
    assert run.metrics["log_loss"] == pytest.approx(loss[val].mean(), abs=1e-6)


@pytest.mark.parametrize("why", ["objects", "spaces"])
def test_labels_that_the_protocol_cannot_judge(why: str, tmp_path: Path) -> None:
    data = labelled(8, val=4)
    objects = why == "objects"
    made = []
    for i, view in enumerate(data):
        row = view.row
        kind, category = ("object", i % 2) if objects else ("label", i % 2)
        row.annotations = [Annotation(kind, category)]
        made.append(row)
    spaces = ("a", "a" if objects else "b")
    both = [Category(n, space=s) for n, s in zip("xy", spaces, strict=True)]
    options = {"label_from": "object"} if objects else {}
    data = Dataset.from_rows(made, both)
    hook = hooks["classifier"](width=4)
    run = train(
        data, hook, out=tmp_path / "run", steps=2, batch_size=4, size=8, write_back=False, **options
    )
    assert run.metrics == {} and run.record["best"]["rank"] == [-run.record["best"]["loss"]]


def test_labels_of_other_spaces_do_not_disturb(tmp_path: Path) -> None:
    made = []
    for i, view in enumerate(labelled(8, val=4)):
        row = view.row
        row.annotations = [Annotation("label", 2 + i % 2), Annotation("label", i % 2)]
        made.append(row)
    spaces = {"x": "a", "y": "a", "day": "b", "night": "b"}
    data = Dataset.from_rows(made, [Category(n, space=s) for n, s in spaces.items()])
    run = train(
        data, hooks["classifier"](width=4), out=tmp_path / "run", steps=2, batch_size=4, size=8,
        write_back=False, classes=["x", "y"],
    )  # fmt: skip
    assert run.record["evaluation"]["facts"]["space"] == "a"
    assert run.record["evaluation"]["facts"]["samples_scored"] == 4
    assert run.metrics["top1_accuracy"] == run.record["best"]["rank"][0]
