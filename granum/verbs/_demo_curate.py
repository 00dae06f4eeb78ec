"""The demo's curation: faults found against those planted, diversity, a selection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from granum.curate.duplicates import Duplicates
from granum.curate.leakage import Leakage
from granum.curate.rules import check
from granum.curate.score import score
from granum.store.columns import column_facts
from granum.store.dataset import Dataset
from granum.synthetic.faults import Planted, Score, found
from granum.verbs.dedup import dedup
from granum.verbs.selecting import select
from granum.verbs.splitting import leakage
from granum.verbs.stats import Statistics, stats

__all__ = ["Curated", "curate", "suspects"]

SPACE = "descriptors"
QUALITY = ("size", "brightness", "contrast", "sharpness", "information", "grey", SPACE)


@dataclass(frozen=True)
class Curated:
    """What curation found.

    Attributes:
        dataset: the store with its columns and the view ``varied``.
        scores: by kind of fault, found against planted.
        duplicates, leaks, statistics: as their verbs give them.
        picked: Vendi score of the selection, and of a random one of equal size.
    """

    dataset: Dataset
    scores: Mapping[str, Score]
    duplicates: Duplicates
    leaks: Leakage
    statistics: Statistics
    picked: tuple[float, float]


def curate(dataset: Dataset, planted: Sequence[Planted], budget: int) -> Curated:
    """Score a store, find what was planted, measure its diversity, select ``budget`` samples."""
    dataset = score(dataset, QUALITY)
    doubles = dedup(dataset)
    leaks = leakage(doubles.dataset)
    scores = {
        "duplicate": found(_pairs(planted, "duplicate", "leak"), _grouped(doubles.found)),
        "leak": found(_pairs(planted, "leak"), _crossing(leaks)),
        "blurred": found(_keys(planted, "blurred"), _below(leaks.dataset, "sharp")),
    }
    broken = check(leaks.dataset)
    for kind, rule in (("double-box", "duplicate_box"), ("box-outside", "box_outside")):
        scores[kind] = found(_ids(planted, kind), _breaking(broken, rule))
    statistics = stats(leaks.dataset, space=SPACE)
    varied = select(leaks.dataset, "k_center", budget, space=SPACE, save_as="varied")
    chance = select(leaks.dataset, "random", budget).apply()
    picked = _vendi(varied.dataset.view("varied")), _vendi(chance)
    return Curated(varied.dataset, scores, doubles.found, leaks, statistics, picked)


def suspects(crops: Dataset) -> tuple[Dataset, set[int]]:
    """A store of crops with its label columns, and the annotations of their images whose class is
    suspect."""
    crops = score(crops, ["crop_descriptors", "label_suspect"])
    issue = crops.annotations(["col.label_issue"])["col.label_issue"]
    rows = np.flatnonzero(np.asarray(pc.fill_null(issue, False)))
    of = [(s.row.attributes or {})["annotation"] for s in crops]
    return crops, {of[int(r)] for r in rows}


def _keys(planted: Iterable[Planted], *kinds: str) -> set[str]:
    return {p.key for p in planted if p.kind in kinds}


def _ids(planted: Iterable[Planted], *kinds: str) -> set[int | None]:
    return {p.annotation for p in planted if p.kind in kinds}


def _pairs(planted: Iterable[Planted], *kinds: str) -> set[frozenset[str]]:
    return {frozenset((p.key, p.of or "")) for p in planted if p.kind in kinds}


def _grouped(given: Duplicates) -> set[frozenset[str]]:
    """Pairs of each dropped sample and the one that was kept for it."""
    keys = given.dataset.samples(["key"])["key"].to_pylist()
    rows = given.groups.to_pylist()
    return {frozenset((keys[r["row"]], keys[r["of"]])) for r in rows if r["of"] is not None}


def _crossing(given: Leakage) -> set[frozenset[str]]:
    return {frozenset((p["key"], p["other_key"])) for p in given.pairs.to_pylist()}


def _below(dataset: Dataset, name: str) -> set[str]:
    """Samples whose score is an issue."""
    limit = column_facts(dataset, name)["issue_below"]
    table = dataset.samples(["key", f"col.{name}"])
    return set(table.filter(pc.less(table[f"col.{name}"], limit))["key"].to_pylist())


def _breaking(broken: Any, rule: str) -> set[int]:
    return set(broken.filter(pc.equal(broken["rule"], rule))["annotation_id"].to_pylist())


def _vendi(dataset: Dataset) -> float:
    from granum.curate.vendi import vendi

    return float(vendi(dataset, SPACE, orders=(1.0,)).values["vendi_1"] or 0.0)
