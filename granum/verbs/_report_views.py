"""Of a report: saved views: how many samples, by what method, the first ones, and their gain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from granum.browse import page
from granum.browse.charts import curve, number
from granum.store.disk import Store
from granum.verbs._report_asked import CHART, Asked

__all__ = ["views"]

_CURVES = 8
_PICKS = ("select", "prefix", "and", "or", "sub", "not")
"""Operations of ``granum.curate.selection``; other views only leave something out."""


def views(asked: Asked) -> list[str]:
    """A table of the views; then, of each that a method made, its curve and its first pictures."""
    store = asked.dataset.meta.store
    if store is None or not store.manifest["views"]:
        return []
    listed = {name: (entry, store.read(entry)) for name, entry in store.manifest["views"].items()}
    table = [_row(name, entry, found) for name, (entry, found) in listed.items()]
    columns = ["view", "samples", "method", "budget", "seed", "of", "left out"]
    blocks = [page.table(table, columns)]
    charts = [_curve(name, found) for name, (_, found) in listed.items() if _gains(found)]
    if charts:
        blocks.append(page.beside(charts[:_CURVES]))
    chosen = [n for n, (entry, _) in listed.items() if _lineage(entry).get("operation") in _PICKS]
    for name in chosen[:_CURVES]:
        blocks += _pictures(asked, store, name)
    return blocks


def _lineage(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    return entry.get("lineage") or {}


def _row(name: str, entry: Mapping[str, Any], found: pa.Table) -> list[Any]:
    lineage = _lineage(entry)
    return [
        name,
        found.num_rows,
        lineage.get("method") or lineage.get("operation"),
        lineage.get("budget"),
        lineage.get("seed"),
        lineage.get("n_in"),
        len(lineage.get("dropped") or {}) or None,
    ]


def _gains(found: pa.Table) -> bool:
    return found.num_rows > 1 and found["gain"].null_count < found.num_rows


def _curve(name: str, found: pa.Table) -> tuple[str, str]:
    gain = np.asarray(found["gain"].fill_null(np.nan), np.float64)
    place = np.flatnonzero(np.isfinite(gain))
    place = place[np.unique(np.linspace(0, len(place) - 1, 400).astype(np.int64))]
    drawn = curve({"gain": ((place + 1).tolist(), gain[place].tolist())}, x="pick", width=CHART)
    return f"{name}: what each pick added", drawn


def _pictures(asked: Asked, store: Store, name: str) -> list[str]:
    """The first samples that were picked, and why."""
    found = store.read(store.manifest["views"][name]).slice(0, asked.few)
    shots = []
    for row in found.to_pylist():
        gain = "" if row["gain"] is None else f" ({number(row['gain'])})"
        why = row["reason"] or "picked"
        shots.append(
            asked.album.plain(row["sample"], f"{why}{gain}\n{asked.keys[row['sample']].as_py()}")
        )
    gallery = asked.album.gallery(shots, "small", most=300)
    return [page.heading(f"{name}: the first picks"), *gallery] if gallery else []
