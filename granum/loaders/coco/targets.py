"""Which JSON files a dataset is written to, and which rows belong to each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from granum.errors import UsageError
from granum.loaders.coco.records import Array
from granum.schema import rows
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = ["Target", "coco_sources", "is_loose", "targets"]

_TASKS = {"object": "instances", "caption": "captions", "label": "labels"}


@dataclass
class Target:
    """One JSON file to write.

    Attributes:
        origin: the source it stands for, or None for rows that no COCO file held.
        split: for files made anew, the split of its samples.
        kinds: for files made anew, the kinds of its annotations.
        prefix: folder of the images, which ``file_name`` leaves out.
        takes_loose: rows that no COCO file held go here too.
        results: the file is a list of predictions.
    """

    name: str
    origin: int | None
    top: dict[str, Any] = field(default_factory=lambda: {"keys": [], "values": {}})
    records: list[tuple[int | None, Any]] = field(default_factory=list)
    split: str | None = None
    kinds: tuple[str, ...] = ()
    prefix: str = ""
    takes_loose: bool = False
    results: bool = False


def coco_sources(dataset: Dataset) -> dict[int, rows.Source]:
    """The sources that are COCO files, by number."""
    listed: list[rows.Source] = rows.sources_from_table(dataset.sources)
    return {i: s for i, s in enumerate(listed) if s.format == "coco" and s.top is not None}


def targets(dataset: Dataset, single: str | None, results: bool) -> list[Target]:
    """The files that a dataset is written to.

    Raises:
        UsageError: it comes from several files, and one is asked for.
    """
    if results:
        if single is None:
            raise UsageError("results are one list: name a .json file")
        return [Target(single, None, results=True)]
    known = [
        Target(
            s.path,
            i,
            s.top,
            [tuple(r) for r in s.categories or []],
            prefix=(s.options or {}).get("prefix", ""),
        )
        for i, s in coco_sources(dataset).items()
    ]
    if single is not None:
        if len(known) > 1:
            names = ", ".join(t.name for t in known)
            raise UsageError(
                f"the dataset comes from {len(known)} COCO files ({names}): name a folder"
            )
        if known:
            known[0].name, known[0].takes_loose = single, True
            return known
        return [Target(single, None, kinds=tuple(_TASKS), takes_loose=True)]
    made = []
    loose = _loose(dataset, {t.origin for t in known})
    if not known and not loose:
        return [Target("annotations/instances.json", None, kinds=("object",))]
    for split, kinds in loose.items():
        for kind, task in _TASKS.items():
            if kind in kinds:
                name = f"annotations/{task}{'' if split is None else '_' + split}.json"
                made.append(Target(name, None, split=split, kinds=(kind,)))
    return _distinct([*known, *made])


def _distinct(listed: list[Target]) -> list[Target]:
    """File names, told apart where they repeat (merged datasets)."""
    seen: dict[str, int] = {}
    for target in listed:
        n = seen[target.name] = seen.get(target.name, 0) + 1
        if n > 1:
            stem, dot, suffix = target.name.rpartition(".")
            target.name = f"{stem}-{n}{dot}{suffix}"
    return listed


def is_loose(origins: pa.ChunkedArray, known: set[int | None]) -> Array:
    """Rows that came from none of the known files."""
    if origins.null_count == len(origins) or not known:
        return np.ones(len(origins), bool)
    array = origins.combine_chunks()
    lengths = np.asarray(array.value_lengths().fill_null(0), np.int64)
    row = np.repeat(np.arange(len(array)), lengths)
    inside = np.isin(np.asarray(array.flatten()), [k for k in known if k is not None])
    out = np.ones(len(array), bool)
    out[row[inside]] = False
    return out


def _loose(dataset: Dataset, known: set[int | None]) -> dict[str | None, set[str]]:
    """Splits with samples or annotations that no COCO file held, and the kinds there."""
    out: dict[str | None, set[str]] = {}
    for batch in dataset.iter_batches():
        splits = column(batch.samples, "split").cast(pa.string()).to_pylist()
        for i in np.flatnonzero(is_loose(column(batch.samples, "origins"), known)).tolist():
            out.setdefault(splits[i], {"object"})
        table = batch.annotations
        loose = is_loose(column(table, "origins"), known)
        if loose.any():
            kinds = column(table, "kind").cast(pa.string()).to_pylist()
            sample = column(table, "sample").to_pylist()
            for i in np.flatnonzero(loose).tolist():
                if sample[i] is not None and kinds[i] in _TASKS:
                    out.setdefault(splits[sample[i] - batch.start], set()).add(kinds[i])
    return out
