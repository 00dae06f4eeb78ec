"""Training: choice by validation, official numbers, overlap refused, losses and layers written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.cli import main
from granum.errors import ConflictError, GranumError, UnknownNameError, UsageError
from granum.schema import rows
from granum.store.additions import save_view
from granum.store.dataset import Dataset
from granum.train.base import Facts
from granum.train.progress import Epoch
from granum.verbs.training import train as train_verb
from tests.train.runs import PLAN
from tests.train.tiny import CLASSES, Linear, labelled, picture, png, stored

torch = pytest.importorskip("torch")

from granum.train.trainer import train  # noqa: E402

FAST = {**PLAN, "epochs": 2, "write_back": True, "log_samples": False, "save_every": None}


def test_it_learns_and_writes_back(tmp_path: Path) -> None:
    ds = stored(tmp_path / "s.granum", labelled(24, unlabelled=3))
    plan = {**FAST, "epochs": 8, "jitter": 0.0, "schedule": "constant", "clip": None}
    run = train(ds, Linear(dropout=0.0), out=tmp_path / "run", **plan)
    assert run.name == "run" and run.metrics == {}
    history = run.record["history"]
    assert len(history) == 8 and history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert run.record["best"]["loss"] == min(h["loss"] for h in history)

    table = granum.open(tmp_path / "s.granum").samples(
        [
            "key",
            "split",
            *(f"col.loss.run{suffix}" for suffix in ("", ".last", ".mean", ".epochs")),
        ]
    )
    splits = table["split"].to_pylist()
    final, last, mean, epochs = (table[i].to_pylist() for i in (2, 3, 4, 5))
    log = [json.loads(x) for x in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    for i, split in enumerate(splits):
        assert (final[i] is None) == (split == "other")
        trained = split == "train"
        assert (last[i] is not None) == (mean[i] is not None) == (epochs[i] is not None) == trained
        if trained:
            assert last[i] == pytest.approx(epochs[i][-1]) and len(epochs[i]) == 8
            assert mean[i] == pytest.approx(np.mean(epochs[i]))
    # The mean of the losses of an epoch is the mean of its steps' losses.
    first = [x["loss"] for x in log if x.get("epoch") == 0]
    assert np.mean([e[0] for e in epochs if e]) == pytest.approx(np.mean(first), rel=1e-5)
    val = [f for f, s in zip(final, splits, strict=True) if s == "val"]
    assert np.mean(val) == pytest.approx(run.record["best"]["loss"], rel=1e-5)

    layer = granum.open(tmp_path / "s.granum").layer("run")
    assert layer.num_annotations == len(ds)  # one prediction per sample, unlabelled ones too
    assert layer.meta.layers["run"]["producer"] == f"run@{run.record['weights'][:12]}"
    guessed = [v.annotations[0].category for v in layer]
    assert np.mean([g == i % 2 for i, g in enumerate(guessed)]) > 0.8
    assert run.dataset.layer("run").num_annotations == len(ds)


def test_each_epoch_is_told(tmp_path: Path) -> None:
    epochs: list[Epoch] = []
    plan = {**FAST, "epochs": None, "steps": 8, "evaluate_every": 2, "write_back": False}
    plan |= {"schedule": "cosine", "warmup": 0}
    run = train(labelled(24), Linear(), out=tmp_path / "run", on_epoch=epochs.append, **plan)
    log = [json.loads(x) for x in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    steps = [x for x in log if "loss" in x]
    assert [(e.number, e.epochs, e.step, e.steps) for e in epochs] == [(1, 2, 6, 8), (2, 2, 8, 8)]
    for e in epochs:
        mine = [x for x in steps if x["epoch"] == e.number - 1]
        assert e.loss == pytest.approx(np.mean([x["loss"] for x in mine]), rel=1e-5)
        assert e.lr == mine[-1]["lr"]
    assert epochs[0].validation is None and "validation" not in epochs[0].text()
    assert epochs[1].validation == run.record["history"][-1]
    assert run.loss == epochs[1].loss and run.record["last"] == {
        "loss": run.loss,
        "lr": epochs[1].lr,
    }
    again: list[Epoch] = []
    more = train(labelled(24), Linear(), out=tmp_path / "run", on_epoch=again.append, resume=True,
                 **plan)  # fmt: skip
    assert again == [] and more.loss == run.loss  # nothing is left to do


def test_an_epoch_in_one_line() -> None:
    epoch = Epoch(2, 3, 20, 30, 0.25, 1e-3, None)
    assert epoch.text() == "epoch 2/3  step 20/30  loss 0.25  lr 0.001"
    judged = replace(epoch, loss=None, validation={"loss": 0.5})
    assert judged.text().endswith("loss undefined  lr 0.001  validation loss 0.5")
    scored = replace(epoch, validation={"loss": 0.5, "values": {"AP": None, "AP50": 0.1}})
    assert scored.text().endswith("validation AP undefined")


@pytest.mark.parametrize(
    ("hook", "number"), [("classifier", "top1_accuracy"), ("rotation", "loss")]
)
def test_the_command_prints_losses(
    hook: str, number: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(tmp_path / "s.granum")
    words = ["train", str(tmp_path / "s.granum"), "--hook", hook, "--epochs", "2", "--size", "8"]
    words += ["--no-write-back", "--set", "width=4", "--device", "cpu"]
    assert main([*words, "-o", str(tmp_path / "a")]) == 0
    out, err = capsys.readouterr()
    line = rf"^epoch (\d)/2  step \d/4  loss [\d.]+  lr 0.001  validation {number} [\d.]+$"
    assert re.findall(line, err, re.M) == ["1", "2"]
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    assert re.search(rf"^  loss \(training\) +{record['last']['loss']:.4f}$", out, re.M)
    assert main([*words, "-o", str(tmp_path / "b"), "--json", "--no-progress"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["last"] == record["last"] and err == ""


def test_the_record_says_what_was_done(tmp_path: Path) -> None:
    ds = stored(tmp_path / "s.granum", labelled(24, unlabelled=3))
    train(ds, Linear(), out=tmp_path / "run", **{**FAST, "write_back": False})
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["hook"] == {
        "name": "linear", "version": 1, "prepared": {},
        "parameters": {"dropout": 0.3, "probabilities": False},
    }  # fmt: skip
    assert record["data"]["classes"] == list(CLASSES)
    assert record["data"]["counts"] == {
        "samples": 33, "train": 24, "train_without_target": 0, "held_out": 0, "val": 6,
    }  # fmt: skip
    assert record["data"]["splits"] == {"train": "train", "val": "val"}
    fingerprints = [record["data"][k] for k in ("view", "train", "val")]
    assert len(set(fingerprints)) == 3 and all(len(f) == 32 for f in fingerprints)
    assert record["code"]["granum"] == granum.__version__ and len(record["code"]["train"]) == 32
    assert record["environment"]["threads"] == 1 and record["environment"]["world"] == 1
    assert record["steps"] == 12 and record["config"]["lr"] == 1e-2
    assert "loss.run" not in granum.open(tmp_path / "s.granum").meta.store.manifest["columns"]
    again = train(ds, Linear(), out=tmp_path / "again", **{**FAST, "write_back": False})
    assert again.record["weights"] == record["weights"]
    other = train(ds, Linear(), out=tmp_path / "x", **{**FAST, "write_back": False, "seed": 8})
    assert other.record["weights"] != record["weights"]


def test_training_and_validation_may_not_overlap(tmp_path: Path) -> None:
    def sample(i: int, split: str, **values: Any) -> rows.Sample:
        media = values.pop("media", rows.Media(bytes=picture(i, i % 2)))
        label = [rows.Annotation("label", i % 2)]
        return rows.Sample(f"{i}.png", media, 8, 8, split=split, annotations=label, **values)

    options = {**FAST, "write_back": False}
    categories = [rows.Category(c) for c in CLASSES]
    clip = [rows.Group("clip", "video"), rows.Group("other", "video")]
    grouped = Dataset.from_rows(
        [sample(0, "train", group=1), sample(1, "train", group=0), sample(2, "val", group=0)],
        categories,
        clip,
    )
    with pytest.raises(UsageError, match=r"share 1 group\(s\), first 'clip'"):
        train(grouped, Linear(), out=tmp_path / "a", **options)
    (tmp_path / "same.png").write_bytes(picture(0, 0))
    shared = rows.Media("same.png")
    twice = Dataset.from_rows(
        [sample(0, "train", media=shared), sample(1, "train"), sample(2, "val", media=shared)],
        categories,
        media_root=tmp_path,
    )
    with pytest.raises(UsageError, match=r"share 1 image file\(s\), first 'same.png'"):
        train(twice, Linear(), out=tmp_path / "b", **options)
    with pytest.raises(UsageError, match="both the split 'train'"):
        train(labelled(), Linear(), out=tmp_path / "c", **{**options, "val_split": "train"})
    with pytest.raises(UsageError, match="share 6 sample"):
        train(labelled(), Linear(), out=tmp_path / "d", **{**options, "train_split": None})
    with pytest.raises(UnknownNameError, match="train, val"):
        train(labelled(), Linear(), out=tmp_path / "e", **{**options, "val_split": "test"})
    assert not any((tmp_path / n).exists() for n in "abcde")


def test_without_validation_the_last_weights_are_kept(tmp_path: Path) -> None:
    options = {**FAST, "write_back": False, "val_split": None, "train_split": None}
    run = train(labelled(), Linear(), out=tmp_path / "run", **options)
    assert run.record["best"] is None and run.record["history"] == []
    last = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["model"]
    kept = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    assert all(torch.equal(last[k], kept[k]) for k in last)
    assert run.record["data"]["counts"]["train"] == 30


@dataclass(frozen=True)
class Fading(Linear):
    """Good after the first epoch, worse with every further one."""

    name = "fading"
    dropout: float = 0.0

    def losses(self, model: Any, batch: Mapping[str, Any]) -> Any:
        losses = super().losses(model, batch)
        return losses if not model.training else -losses


def test_the_best_weights_are_kept_not_the_last(tmp_path: Path) -> None:
    run = train(labelled(), Fading(), out=tmp_path / "r", **{**FAST, "write_back": False})
    history = [h["loss"] for h in run.record["history"]]
    assert history == sorted(history) and run.record["best"]["step"] == 6
    last = torch.load(tmp_path / "r" / "checkpoint.pt", weights_only=True)["model"]
    kept = torch.load(tmp_path / "r" / "model.pt", weights_only=True)
    assert not any(torch.equal(last[k], kept[k]) for k in last if k.endswith("weight"))


@dataclass(frozen=True)
class Boxes(Linear):
    """Learns nothing; predicts a box that is right for every image."""

    name = "boxes"
    task = "detection"
    protocol = "coco-bbox"
    dropout: float = 0.0

    def losses(self, model: Any, batch: Mapping[str, Any]) -> Any:
        return model(batch["image"]).pow(2).mean(1)

    def predict(self, model: Any, batch: Mapping[str, Any], facts: Facts) -> list[Any]:
        out = []
        for size, scale in zip(batch["size"], batch["scale"], strict=True):
            assert tuple(scale.tolist()) == (facts.size[0] / 10, facts.size[1] / 20)
            height, width = size.tolist()
            box = (width * 0.25, height * 0.25, width * 0.5, height * 0.5)
            out.append([rows.Annotation(category=facts.categories[0], bbox=box, score=0.9)])
        return out


@pytest.mark.parametrize("unit", ["pixel", "relative"])
def test_the_official_number_is_on_validation_in_stored_pixels(tmp_path: Path, unit: str) -> None:
    pytest.importorskip("hotcoco")
    samples = []
    for i, split in enumerate(("train", "train", "val", "val")):
        factor = 1.0 if unit == "relative" else 20.0
        other = 1.0 if unit == "relative" else 10.0
        box = (factor / 4, other / 4, factor / 2, other / 2)
        samples.append(
            rows.Sample(
                f"{i}", rows.Media(bytes=png(np.full((10, 20, 3), 9 * i))), unit=unit,
                width=None if unit == "relative" else 20, height=None if unit == "relative" else 10,
                split=split, annotations=[rows.Annotation(category=0, bbox=box)],
            )
        )  # fmt: skip
    ds = Dataset.from_rows(samples, [rows.Category("cat")]).save(tmp_path / "s.granum")
    run = train(ds, Boxes(), out=tmp_path / "run", **{**FAST, "size": (8, 6), "flip": 0.0})
    name = next(iter(run.metrics))
    assert run.metrics[name] == pytest.approx(1.0)
    assert run.record["best"]["rank"][0] == pytest.approx(1.0)
    assert run.record["evaluation"]["facts"]["samples"] == 2
    written = run.dataset.layer("run")
    assert np.allclose(written[3].boxes(), [[5, 2.5, 10, 5]])
    stored_box = written.annotations(["bbox"])["bbox"][0].as_py()
    assert stored_box == pytest.approx([0.25, 0.25, 0.5, 0.5] if unit == "relative" else
                                       [5, 2.5, 10, 5])  # fmt: skip


def test_a_view_is_written_to_its_store(tmp_path: Path) -> None:
    ds = stored(tmp_path / "s.granum", labelled())
    chosen = [25, 24, 5, 3, 4, 1, 8, 9]
    ds = save_view(ds, "few", chosen)
    run = train_verb(ds, Linear(), out=tmp_path / "run", view="few", **FAST)
    table = run.dataset.samples(["col.loss.run", "col.loss.run.last"])
    final, last = (np.flatnonzero(c.is_valid()).tolist() for c in table.columns)
    assert final == sorted(chosen) and last == sorted(i for i in chosen if i < 24)
    predicted = run.dataset.annotations(["sample"], layer="run")["sample"].to_pylist()
    assert predicted == sorted(chosen)
    # Losses belong to their samples: those of a run on the view alone, by key.
    alone = train(
        granum.open(tmp_path / "s.granum").view("few"), Linear(), out=tmp_path / "alone",
        **{**FAST, "write_to": granum.open(tmp_path / "s.granum")},
    )  # fmt: skip
    again = alone.dataset.samples(["col.loss.alone"])[0]
    assert again.to_pylist() == table["col.loss.run"].to_pylist()


def test_writing_back_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="save it first"):
        train(labelled(), Linear(), out=tmp_path / "run", **FAST)
    ds = stored(tmp_path / "s.granum", labelled())
    with pytest.raises(ConflictError, match="layer 'truth'"):
        train(ds, Linear(), out=tmp_path / "run", name="truth", **FAST)
    other = labelled(30).select(range(3, 34))
    with pytest.raises(UsageError, match="not in the store"):
        train(other, Linear(), out=tmp_path / "run", **{**FAST, "write_to": ds})
    assert not (tmp_path / "run").exists()


def test_a_run_killed_while_writing_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = stored(tmp_path / "s.granum", labelled())
    from granum.train import writing

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(writing, "write_losses", killed)
        train(ds, Linear(), out=tmp_path / "run", **FAST)
    assert "run" in granum.open(tmp_path / "s.granum").meta.layers
    run = train(granum.open(tmp_path / "s.granum"), Linear(), out=tmp_path / "run", resume=True,
                **FAST)  # fmt: skip
    assert run.dataset.samples(["col.loss.run"])["col.loss.run"].null_count == 0


@dataclass(frozen=True)
class Wrong(Linear):
    """A hook whose losses are of the wrong kind."""

    name = "wrong"
    kind: str = "mean"

    def losses(self, model: Any, batch: Mapping[str, Any]) -> Any:
        losses = super().losses(model, batch)
        return losses.mean() if self.kind == "mean" else losses / 0


def test_losses_must_be_per_sample_and_finite(tmp_path: Path) -> None:
    options = {**FAST, "write_back": False}
    with pytest.raises(UsageError, match=r"one loss per sample, \(4,\)"):
        train(labelled(), Wrong(), out=tmp_path / "a", **options)
    with pytest.raises(GranumError, match="loss is inf at step 0"):
        train(labelled(), Wrong(kind="inf"), out=tmp_path / "b", **options)
    assert not (tmp_path / "b" / "checkpoint.pt").exists()


@dataclass(frozen=True)
class Calibrated(Linear):
    """Records which samples it prepared and calibrated on."""

    name = "calibrated"

    def model(self, facts: Facts) -> Any:
        model = super().model(facts)
        model.register_buffer("held", torch.zeros(64))
        return model

    def prepare(self, model: Any, batches: Any, facts: Facts) -> dict[str, Any]:
        once = sorted(i for b in batches for i in b["index"].tolist())
        assert once == sorted(i for b in batches for i in b["index"].tolist())
        return {"prepared_on": once}

    def calibrate(self, model: Any, batches: Any, facts: Facts) -> None:
        assert not model.training
        model.held.zero_()
        for batch in batches:
            assert batch["image"].dtype == torch.float32 and batch["image"].max() <= 1
            model.held[batch["index"]] = 1


def test_thresholds_come_from_held_out_training_data(tmp_path: Path) -> None:
    ds = labelled(40, val=6)
    options = {**FAST, "write_back": False, "log_samples": True}
    run = train(ds, Calibrated(), out=tmp_path / "run", **options)
    model = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    held = torch.nonzero(model["held"]).flatten().tolist()
    assert len(held) == 4 and max(held) < 40
    log = [json.loads(x) for x in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    trained = {i for line in log if "samples" in line for i in line["samples"]}
    assert trained == set(range(40)) - set(held)
    assert run.record["hook"]["prepared"]["prepared_on"] == sorted(trained)
    assert run.record["data"]["counts"]["held_out"] == 4
    rest = train(ds, Calibrated(), out=tmp_path / "all", **{**options, "held_out": 0.0})
    assert rest.record["data"]["counts"]["train"] == 40


def test_damaged_images_are_counted_and_weigh_nothing(tmp_path: Path) -> None:
    ds = labelled()
    samples = [v.row for v in ds]
    samples[2].media, samples[26].media = rows.Media(bytes=b"gone"), rows.Media(bytes=b"gone")
    damaged = Dataset.from_rows(samples, [rows.Category(c) for c in CLASSES])
    damaged = damaged.save(tmp_path / "s.granum")
    with pytest.raises(GranumError, match=r"002\.png|026\.png"):
        train(damaged, Linear(), out=tmp_path / "a", **FAST)
    run = train(damaged, Linear(), out=tmp_path / "b", **FAST, on_error="skip")
    assert run.record["faulty"] == [2, 26] and run.record["steps"] == 12
    losses = run.dataset.samples(["col.loss.b"])["col.loss.b"]
    assert np.flatnonzero(losses.is_null()).tolist() == [2, 26]


def test_rates_follow_the_schedule(tmp_path: Path) -> None:
    options = {**FAST, "write_back": False, "warmup": 4, "steps": 12, "epochs": None}
    train(labelled(), Linear(), out=tmp_path / "run", **options)
    log = [json.loads(x) for x in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    rates = [x["lr"] / 1e-2 for x in log if "lr" in x]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    cosine = [0.5 * (1 + np.cos(np.pi * k / 8)) for k in range(8)]
    assert rates[4:] == pytest.approx(cosine)


def test_options_that_cannot_be_meant(tmp_path: Path) -> None:
    options = {**FAST, "write_back": False}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"epochs": None}, "epochs, or steps"),
        ({"steps": 3}, "epochs, or steps"),
        ({"schedule": "linear"}, "constant or cosine"),
        ({"batch_size": 0}, "at least 1"),
        ({"flip": 2.0}, "flip and jitter"),
        ({"held_out": 1.0}, "held_out"),
    ]
    for wrong, message in cases:
        with pytest.raises(UsageError, match=message):
            train(labelled(), Linear(), out=tmp_path / "run", **{**options, **wrong})
    with pytest.raises(UsageError, match="no option 'epoch'"):
        train_verb(labelled(), "classifier", out=tmp_path / "run", epoch=3)
    with pytest.raises(UsageError, match="no parameter 'depth'"):
        train_verb(labelled(), "classifier", out=tmp_path / "run", hook_options={"depth": 3})
    with pytest.raises(UnknownNameError, match="classifier"):
        train_verb(labelled(), "clasifier", out=tmp_path / "run")


def test_torch_is_left_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    before = torch.get_num_threads()
    train(labelled(), Linear(), out=tmp_path / "run", **{**FAST, "write_back": False})
    assert torch.equal(torch.rand(2), expected) and torch.get_num_threads() == before


@dataclass(frozen=True)
class Picky(Linear):
    """Learns from light images only; a batch without one has no gradient."""

    name = "picky"
    dropout: float = 0.0

    def losses(self, model: Any, batch: Mapping[str, Any]) -> Any:
        losses = torch.zeros(len(batch["label"]))
        light = batch["label"] == 1
        if light.any():
            losses = losses.masked_scatter(light, super().losses(model, batch)[light])
        return losses


def test_a_batch_may_have_nothing_to_learn_from(tmp_path: Path) -> None:
    options = {**FAST, "write_back": False, "batch_size": 1}
    run = train(labelled(), Picky(), out=tmp_path / "run", **options)
    assert run.record["steps"] == 48


def test_without_torch_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from granum.errors import MissingExtraError
    from granum.train.dataset import to_torch
    from granum.train.folds import out_of_fold

    for name in [n for n in sys.modules if n == "torch" or n.startswith("torch.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "granum.train._torch_dataset")
    message = r"training needs torch: pip install granum\[train\]"
    with pytest.raises(MissingExtraError, match=message):
        to_torch(labelled(), "image")
    with pytest.raises(MissingExtraError, match=message):
        train(labelled(), Linear(), out=tmp_path / "run", **FAST)
    with pytest.raises(MissingExtraError, match=message):
        out_of_fold(labelled(), Linear(), steps=1)
