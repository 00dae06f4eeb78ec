"""Of a report: what the dataset holds, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sized
from typing import Any

from granum.browse import page
from granum.schema.findings import CODES
from granum.verbs._report_asked import Asked
from granum.verbs.look import info

__all__ = ["before_after", "summary"]

_STEPS = 12


def summary(asked: Asked) -> list[str]:
    """Counts, layers and kinds, splits, where the images are, what was done to get here."""
    facts = info(asked.dataset)
    layers: dict[str, Any] = facts["layers"]
    every = sum(layer["annotations"] for layer in layers.values())
    numbers = [("samples", facts["samples"]), ("annotations", every)]
    numbers += [("groups", facts["groups"])] if facts["groups"] else []
    numbers += [("categories", facts["categories"]["total"]), *_several("layers", layers)]
    numbers += _more(asked)
    blocks = [page.figures(numbers)]
    if every:
        blocks += [page.heading("Annotations by layer"), _layers(layers)]
    if set(facts["splits"]) - {"(none)"}:
        shown = ", ".join(f"{name} {n:,}" for name, n in facts["splits"].items())
        blocks.append(page.text(f"Splits: {shown}."))
    blocks += _origins(asked, facts)
    return blocks


def _several(name: str, things: Sized) -> list[tuple[str, int]]:
    return [(name, len(things))] if len(things) > 1 else []


def _more(asked: Asked) -> list[tuple[str, Any]]:
    store = asked.dataset.meta.store
    if store is None:
        return []
    columns = sum(len(c) for c in store.manifest["columns"].values())
    listed = [("derived columns", columns), ("views", len(store.manifest["views"]))]
    return [(name, n) for name, n in listed if n]


def _layers(layers: Mapping[str, Mapping[str, Any]]) -> str:
    """A row per layer, a column per kind."""
    kinds = list(dict.fromkeys(k for layer in layers.values() for k in layer["kinds"]))
    rows = [
        [name, layer["annotations"], *(layer["kinds"].get(k) for k in kinds), _made(layer)]
        for name, layer in layers.items()
    ]
    columns = ["layer", "all", *kinds, "made by"]
    if not any(row[-1] for row in rows):
        rows, columns = [row[:-1] for row in rows], columns[:-1]
    return page.table(rows, columns)


def _made(layer: Mapping[str, Any]) -> str:
    made = str(layer.get("producer") or "")
    return f"{made}, on {layer['parent']}" if layer.get("parent") else made


def _origins(asked: Asked, facts: Mapping[str, Any]) -> list[str]:
    blocks = []
    if facts["sources"]:
        listed = [f"{s['path']} ({s['format']})" for s in facts["sources"]]
        more = f" and {len(listed) - 6} more" if len(listed) > 6 else ""
        blocks.append(page.text(f"Read from {', '.join(listed[:6])}{more}."))
    if facts["media_root"]:
        blocks.append(page.text(f"Images: {facts['media_root']}"))
    if asked.album.closed is not None and len(asked.dataset):
        blocks.append(page.text(f"No picture is shown: {asked.album.closed}."))
    if facts["lineage"]:
        rows = [[i, *_step(step)] for i, step in enumerate(facts["lineage"][-_STEPS:], 1)]
        blocks += [page.heading("What was done"), page.table(rows, ["", "step", "details"])]
        found = [row for step in facts["lineage"] for row in _found(step)]
        if found:
            columns = ["from", "finding", "severity", "count", "what was done", "what it means"]
            blocks += [page.heading("What the import found"), page.table(found, columns)]
        lost = [row for step in facts["lineage"] for row in _lost(step)]
        if lost:
            blocks += [page.heading("What was lost"), page.table(lost, ["what", "count"])]
    return blocks


_LOST = ("lost", "losses")

_APART = ("verb", "operation", "findings", *_LOST)
"""Of a step, what is not among its details."""


def _step(step: Mapping[str, Any]) -> tuple[str, str]:
    name = str(step.get("verb") or step.get("operation") or "step")
    rest = {k: v for k, v in step.items() if k not in _APART and v not in (None, {}, [], "")}
    details = ", ".join(f"{k} {_short(v)}" for k, v in rest.items())
    return name, details


def _short(value: Any, most: int = 90) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= most else text[: most - 1] + "…"


def _found(step: Mapping[str, Any]) -> list[list[Any]]:
    """What a reading found and did about it, a row per code."""
    return [
        [
            step.get("source"),
            f["code"],
            f["severity"],
            f["n"],
            f["done"],
            CODES[f["code"]].meaning if f["code"] in CODES else "",
        ]
        for f in step.get("findings") or []
    ]


def _lost(step: Mapping[str, Any]) -> list[list[Any]]:
    """Counts by name, where a step recorded that it lost something."""
    found: Any = next((step[n] for n in _LOST if step.get(n)), None)
    return [[k, v] for k, v in found.items()] if isinstance(found, Mapping) else []


def before_after(asked: Asked) -> list[str]:
    """A dictionary of numbers as a table: names to numbers, or to dictionaries of numbers."""
    given = asked.before_after
    if not given:
        return []
    deep = {k: v for k, v in given.items() if isinstance(v, Mapping)}
    flat = [[k, _cell(v)] for k, v in given.items() if k not in deep]
    blocks = []
    if deep:
        names = list(dict.fromkeys(n for v in deep.values() for n in v))
        rows = [[k, *(_cell(v.get(n)) for n in names)] for k, v in deep.items()]
        blocks.append(page.table(rows, ["", *names]))
    if flat:
        blocks.append(page.table(flat, ["", "value"]))
    return blocks


def _cell(value: Any) -> Any:
    """Numbers as they are; a list of them (an interval, seeds) on one line."""
    if isinstance(value, list | tuple):
        return " … ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in value)
    return value
