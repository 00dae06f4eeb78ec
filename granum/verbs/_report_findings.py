"""Of a report: annotations that break rules, counted and shown."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.browse import page
from granum.browse.charts import number
from granum.curate.rules import check, rules
from granum.verbs._report_album import Shot
from granum.verbs._report_asked import Asked

__all__ = ["findings"]

MOST_CHECKED = 300_000
"""Annotations that are checked: the first samples that have so many."""

_EACH = 3


def findings(asked: Asked) -> list[str]:
    """Rules that are broken, how often, and a few annotations that break each."""
    end = int(np.searchsorted(np.cumsum(asked.counts), MOST_CHECKED, side="right"))
    dataset, notes = asked.dataset, []
    if end < len(dataset):
        dataset = dataset.select(np.arange(max(end, 1)))
        notes.append(page.text(f"The first {len(dataset):,} samples were checked.", soft=True))
    if not asked.counts.any():
        return []
    found = check(dataset)
    if not found.num_rows:
        return [page.text(f"No annotation breaks one of the {len(rules.names())} rules."), *notes]
    counts = pc.value_counts(found["rule"]).to_pylist()
    table = [
        [
            c["values"],
            c["counts"],
            len(found.filter(pc.equal(found["rule"], c["values"]))["key"].unique()),
            rules[c["values"]].severity,
            rules[c["values"]].about,
        ]
        for c in sorted(counts, key=lambda c: -c["counts"])
    ]
    columns = ["rule", "annotations", "samples", "severity", "what breaks it"]
    shots = [s for name, *_ in table for s in _shots(asked, found, str(name))]
    return [page.table(table, columns), *notes, *asked.album.gallery(shots, "medium", most=360)]


def _shots(asked: Asked, found: pa.Table, rule: str) -> Iterator[Shot]:
    """Annotations that break a rule, of as many samples as there are, drawn by the seed."""
    mine = found.filter(pc.equal(found["rule"], rule))
    mine = mine.filter(mine["key"].is_valid())
    order = asked.rng(rule).permutation(mine.num_rows)[: 50 * _EACH]
    rows = {r["key"]: r for r in mine.take(pa.array(order)).to_pylist()}
    for row in list(rows.values())[: min(_EACH, asked.pictures)]:
        value = "" if row["value"] is None else f" {number(row['value'])}"
        ids = [i for i in (row["annotation_id"], row["other"]) if i is not None]
        yield asked.album.close(row["key"], ids, f"{rule}{value}")
