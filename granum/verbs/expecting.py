"""Whether a dataset holds what its authors published: counts kept as data (``totals.json``)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from granum.errors import UnknownNameError
from granum.schema.expressions import Expression
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = ["expect", "expected_text", "totals"]


@cache
def totals() -> Mapping[str, Any]:
    """Published counts by dataset. Each is ``source`` (where they stand), and a list of ``counts``:

    * ``of``: ``samples``, ``annotations``, ``groups``, ``categories`` or ``tracks``;
    * ``where``: a condition, as in ``--where``, on the samples or annotations;
    * ``split``: of this split only;
    * ``space``: of the categories; ``kind``: of the groups;
    * ``count``; ``about``: how far a rounded figure may be off;
    * ``status``: ``published``, ``computed`` (from the authors' files) or ``unverified``.
    """
    text = files("granum").joinpath("verbs/totals.json").read_bytes()
    return msgspec.json.decode(text)  # type: ignore[no-any-return]


def expect(dataset: Dataset, name: str) -> list[dict[str, Any]]:
    """Each published count of ``name`` beside what the dataset holds.

    Returns:
        One dict per count: the entry of ``totals`` with ``found``, and ``ok``: true, false, or None
        where the dataset has no such split.

    Raises:
        UnknownNameError: no counts are known under that name.
    """
    known = totals()
    if name not in known:
        raise UnknownNameError("published dataset", name, known)
    splits = column(dataset.samples(["split"]), "split").cast(pa.string()).unique().to_pylist()
    held = {_plain(s) for s in splits if s is not None}
    out = []
    for entry in known[name]["counts"]:
        split = entry.get("split")
        absent = split is not None and _plain(split) not in held
        found = None if absent else _count(dataset, entry)
        off = None if found is None else abs(found - entry["count"])
        out.append({**entry, "found": found, "ok": off if off is None else off <= _slack(entry)})
    return out


def _plain(split: str) -> str:
    """The split that a name means: ``train2017`` and ``training`` are ``train``."""
    name = split.lower().rstrip("0123456789_-")
    return {"training": "train", "validation": "val", "valid": "val", "testing": "test"}.get(
        name, name
    )


def _slack(entry: Mapping[str, Any]) -> int:
    return int(entry.get("about", 0))


def _count(dataset: Dataset, entry: Mapping[str, Any]) -> int:
    """How many rows of a dataset a count is about."""
    of = entry["of"]
    if of == "categories":
        spaces = column(dataset.categories, "space").cast(pa.string()).to_pylist()
        space = entry.get("space")
        return sum(space is None or (s or "object") == space for s in spaces)
    if of == "groups":
        kinds = column(dataset.groups, "kind").cast(pa.string()).to_pylist()
        kind = entry.get("kind")
        if entry.get("split") is None:
            return sum(kind is None or k == kind for k in kinds)
    condition = Expression(entry["where"]) if "where" in entry else None
    total = 0
    seen: set[int] = set()
    for batch in dataset.iter_batches():
        samples = batch.samples
        chosen = np.ones(samples.num_rows, bool)
        if (split := entry.get("split")) is not None:
            values = column(samples, "split").cast(pa.string()).to_pylist()
            chosen = np.array([v is not None and _plain(v) == _plain(split) for v in values], bool)
        if of in ("samples", "groups"):
            if condition is not None:
                chosen &= condition.mask(samples, dataset.categories)
            if of == "samples":
                total += int(chosen.sum())
            else:
                groups = np.asarray(column(samples, "group").fill_null(-1), np.int64)[chosen]
                seen |= {*groups.tolist()} - {-1}
            continue
        table = batch.annotations
        at = np.asarray(column(table, "sample").fill_null(-1), np.int64)
        rows = np.append(chosen, split is None)[np.where(at < 0, -1, at - batch.start)]
        if condition is not None:
            rows = rows & condition.mask(table, dataset.categories)
        if of == "annotations":
            total += int(rows.sum())
        else:
            tracks = np.asarray(column(table, "track").fill_null(-1), np.int64)[rows]
            seen |= {*np.unique(tracks).tolist()} - {-1}
    if of == "groups":
        return sum(kind is None or kinds[g] == kind for g in seen)
    return len(seen) if of == "tracks" else total


def expected_text(name: str, counts: list[dict[str, Any]]) -> str:
    """``expect`` for people."""
    lines = [f"expected of {name} ({totals()[name]['source']}):"]
    for c in counts:
        where = " ".join(
            str(part)
            for part in (c.get("split"), c.get("kind"), c.get("space"), c["of"], c.get("where"))
            if part is not None
        )
        about = f" (give or take {c['about']:,})" if "about" in c else ""
        told = {None: "no such split here", True: "as published", False: "differs"}[c["ok"]]
        found = "" if c["found"] is None else f"{c['found']:,} found: "
        status = "" if c["status"] != "unverified" else "; the figure itself is unverified"
        lines.append(f"  {where}: {c['count']:,}{about}; {found}{told}{status}")
    return "\n".join(lines)
