"""Of a report: training runs: loss, validation, options; the samples of the highest loss."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from granum.browse import page
from granum.browse.charts import curve, number
from granum.errors import FormatError
from granum.verbs._report_asked import CHART, Asked
from granum.verbs._report_evaluation import result_blocks
from granum.verbs._report_scores import Score, scalar_columns

__all__ = ["Recorded", "recorded", "training"]

_MOST_POINTS = 400
_OPTIONS = ("epochs", "steps", "batch_size", "lr", "size", "seed", "schedule", "warmup", "amp")


@dataclass(frozen=True)
class Recorded:
    """What a run left: ``record`` (``run.json``; empty of one that did not end), ``log`` lines."""

    name: str
    record: Mapping[str, Any]
    log: list[dict[str, Any]]


def recorded(run: Any) -> Recorded:
    """The record and the log of a run: of its folder, or of what ``granum.train`` gave.

    Raises:
        FormatError: the folder holds no run, or a damaged one.
    """
    folder = Path(run) if isinstance(run, str | Path) else Path(run.out)
    record, log = folder / "run.json", folder / "log.jsonl"
    if not record.exists() and not log.exists():
        raise FormatError(folder, "no training run: neither run.json nor log.jsonl is there")
    try:
        found = json.loads(record.read_text("utf-8")) if record.exists() else {}
        lines = log.read_text("utf-8").splitlines() if log.exists() else []
        return Recorded(str(found.get("name") or folder.name), found, [*map(json.loads, lines)])
    except (OSError, ValueError) as error:
        raise FormatError(folder, f"a damaged run: {error}") from error


def training(asked: Asked) -> list[str]:
    """Each run; then the samples that are hardest for each."""
    blocks = [b for run in asked.runs for b in _run(run)]
    for score in scalar_columns(asked.dataset):
        if score.name.startswith("loss.") and not score.name.endswith((".last", ".mean")):
            blocks += _hardest(asked, score)
    return blocks


def _run(run: Recorded) -> list[str]:
    record = run.record
    blocks = [page.heading(f"Run {run.name}"), page.figures(_numbers(run))]
    charts = list(_curves(run))
    options = {k: v for k, v in (record.get("config") or {}).items() if k in _OPTIONS}
    parameters = (record.get("hook") or {}).get("parameters") or {}
    rows = [[k, _shown(v)] for k, v in {**options, **parameters}.items() if v is not None]
    if rows:
        charts.append(("Options", page.table(rows, ["option", "value"])))
    if charts:
        blocks.append(page.beside(charts))
    if record.get("evaluation"):
        blocks += result_blocks(record["evaluation"])
    return blocks


def _shown(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else json.dumps(value, default=str)


def _numbers(run: Recorded) -> Iterator[tuple[str, Any]]:
    record = run.record
    if record.get("hook"):
        yield "hook", record["hook"].get("name")
    steps = [line for line in run.log if "step" in line]
    yield "steps", record.get("steps", len(steps))
    if steps:
        yield "last loss", steps[-1]["loss"]
    best = record.get("best") or {}
    if best:
        yield "best at step", best.get("step")
        for name, value in list((best.get("values") or {"loss": best.get("loss")}).items())[:1]:
            yield f"validation {name}", value
    if record.get("seconds") is not None:
        yield "seconds", round(float(record["seconds"]), 1)
    for name, value in ((record.get("data") or {}).get("counts") or {}).items():
        if isinstance(value, int):
            yield name, value


def _curves(run: Recorded) -> Iterator[tuple[str, str]]:
    steps = [line for line in run.log if "step" in line and "loss" in line]
    if steps:
        xs = np.array([line["step"] for line in steps], np.float64)
        ys = np.array([line["loss"] for line in steps], np.float64)
        yield "Loss by step", curve({"loss": _thinned(xs, ys)}, x="step", width=CHART)
    scores = [line["validation"] for line in run.log if "validation" in line]
    xs_ = [float(s["step"]) for s in scores]
    if len(scores) > 1:
        losses = [float(s.get("loss", np.nan)) for s in scores]
        yield "Loss on validation", curve({"loss": (xs_, losses)}, x="step", width=CHART)
        first = next(iter(scores[0].get("values") or {}), None)
        if first is not None:
            values = [(s.get("values") or {}).get(first) for s in scores]
            ys_ = [np.nan if v is None else float(v) for v in values]
            yield f"{first} on validation", curve({first: (xs_, ys_)}, x="step", width=CHART)


def _thinned(xs: Any, ys: Any) -> tuple[list[float], list[float]]:
    """Means of stretches of steps, at most so many."""
    pieces = np.array_split(np.arange(len(xs)), min(len(xs), _MOST_POINTS))
    return [float(xs[p].mean()) for p in pieces], [float(ys[p].mean()) for p in pieces]


def _hardest(asked: Asked, score: Score) -> list[str]:
    known = np.flatnonzero(np.isfinite(score.values))
    order = known[np.argsort(-score.values[known], kind="stable")]
    split, splits = asked.splits
    shots = []
    for i in order[: asked.few].tolist():
        name = f"({splits[split[i]]})" if split[i] >= 0 else ""
        words = f"{number(float(score.values[i]))} {name}\n{asked.keys[i].as_py()}"
        shots.append(asked.album.shot(i, words, size=480))
    blocks = [page.heading(f"Highest {score.name}"), page.beside([("", score.chart())])]
    return blocks + asked.album.gallery(shots)
