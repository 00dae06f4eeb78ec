"""Pixel retrieval on PROxford and PRParis: the right image, and the right pixels on it.

G. An, W. Woo and others: Towards Content-based Pixel Retrieval in Revisited Oxford and Paris, ICCV
2023; anguoyuan/Pixel_retrieval-Segmented_instance_retrieval, ``evaluation_code``. mAP@50:95 is the
mean over IoU thresholds of revisitop's mAP (see ``retrieval``), relevant being the easy and hard
(Medium) or the hard images (Hard) segmented with an IoU above the threshold. mIoU is the mean over
queries of the mean IoU of their pairs.

``mode="official"`` gives what the released code gives:

- ``mAP`` goes by the IoU of *boxes* (the first number of a pair's two).
- Two queries of each collection do not count in mAP (Oxford 56 and 63, Paris 57 and 59, from 0),
  yet the sum is divided by all queries but those without a relevant image.
- A hard pair without a polygon has IoU 0; an easy one is left out of mIoU.
- A pair that fails (a truth or prediction without a usable polygon) has the IoU of the pair before
  it in mIoU, hard ones of a query first; with none before, the code stops, and 0 is given here.
- A query without such pairs makes mIoU undefined.
- IoU is counted on whole coordinates (see ``official_overlap``).

``mode="corrected"`` goes by the IoU of masks, takes any form of masks, all queries and the mean
over those that have pairs; pairs without a usable prediction have IoU 0.

In both modes relevant images below the threshold are negatives and do not count in recall
(``denominator="found"``, as published): a method that segments one pair only is judged by that
one. With ``"all"`` recall is over all relevant images, and no query is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.metrics._retrieval.pixel_overlaps import (
    Shape,
    exact_overlap,
    official_overlap,
    shapes_of,
)
from granum.metrics._retrieval.pixel_pairs import (
    PROTOCOLS,
    Mode,
    PairOverlaps,
    mean_overlaps,
    overlaps_of,
    precisions,
)
from granum.metrics._retrieval.ranked import summed
from granum.metrics._retrieval.rows import (
    JUNK,
    KINDS,
    Pairs,
    RelationState,
    joined,
    levels_of,
    names_checked,
    relations_of,
)
from granum.metrics.base import Context, Protocol, Recount, Result, joined_findings, protocols
from granum.schema.findings import Findings
from granum.store.parts import Batch

__all__ = ["PixelRetrieval", "Shape", "exact_overlap", "official_overlap"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

SKIPPED = {"oxford": (56, 63), "paris": (57, 59)}
"""Queries that the released mAP skips."""


@dataclass(frozen=True)
class _State:
    relations: RelationState
    true: dict[int, Shape]
    found: dict[int, Shape]
    towns: frozenset[str]
    findings: Findings


@protocols("pixel-retrieval")
@dataclass(frozen=True)
class PixelRetrieval(Protocol):
    """mAP@50:95 and mIoU of boxes and masks, Medium and Hard.

    Truth: relations as of ``retrieval``; those of easy and hard pairs lead to an ``object`` with
    polygons on the image. Pairs that lead to a label are not labelled: they are left out.
    Predictions: relations as of ``retrieval``, to an object with the predicted polygon, or to a
    label where nothing was segmented. Without ranks and scores there is mIoU only.

    Attributes:
        mode: see the module.
        denominator: ``found`` or ``all``: see the module.
        thresholds: of IoU.
        skipped: positions of queries that mAP skips in official mode. Default: of the collection
            that keys of samples name (oxford or paris), none where they name none or both.
        easy, hard, junk: names of the categories of true relations.
    """

    name: ClassVar[str] = "pixel-retrieval"
    reference: ClassVar[str] = "Pixel_retrieval-Segmented_instance_retrieval (evaluation_code)"
    kinds: ClassVar[tuple[str, ...] | None] = KINDS
    truth_kinds: ClassVar[tuple[str, ...] | None] = KINDS

    mode: Mode = "official"
    denominator: Literal["found", "all"] = "found"
    thresholds: tuple[float, ...] = tuple(t / 100 for t in range(50, 100, 5))
    skipped: tuple[int, ...] | None = None
    easy: tuple[str, ...] = ("easy",)
    hard: tuple[str, ...] = ("hard",)
    junk: tuple[str, ...] = ("junk",)

    def __post_init__(self) -> None:
        names_checked(self.easy, self.hard, self.junk)
        if self.mode not in ("official", "corrected"):
            raise UsageError(f"mode is {self.mode!r}; it must be official or corrected")
        if self.denominator not in ("found", "all"):
            raise UsageError(f"denominator is {self.denominator!r}; it must be found or all")
        if not self.thresholds or not all(0 <= t < 1 for t in self.thresholds):
            raise UsageError(f"thresholds are {self.thresholds}; they must be in [0, 1)")

    def state(self, truth: Batch, predictions: Batch, context: Context) -> _State:
        levels = levels_of(context, self.easy, self.hard, self.junk)
        found = Findings(on_error="skip")
        keys = pc.utf8_lower(truth.samples["key"])
        return _State(
            relations_of(truth, predictions, levels, scored=False),
            shapes_of(truth, context.map_root, "truth", found),
            shapes_of(predictions, context.prediction_map_root, "predictions", found),
            frozenset(t for t in SKIPPED if pc.any(pc.match_substring(keys, t)).as_py()),
            found,
        )

    def result(self, states: Sequence[_State], context: Context) -> Result:
        pairs = joined([s.relations for s in states])
        ordered = sorted(states, key=lambda s: s.relations.place)
        findings = joined_findings([pairs.findings, *(s.findings for s in ordered)])
        true = {k: shape for s in ordered for k, shape in s.true.items()}
        found = {k: shape for s in ordered for k, shape in s.found.items()}
        overlaps = overlaps_of(pairs, true, found, self.mode, findings)
        numbers = mean_overlaps(pairs, overlaps, self.mode)
        whole = self.denominator == "all"
        ap = precisions(pairs, overlaps, self.mode, self.thresholds, all_relevant=whole)
        if not (pairs.rank >= 0).any():
            ap = {p: np.empty((len(pairs.keys), 0)) for p in ap}
        skipped = self._skipped(states, len(pairs.keys))

        def values(weights: Ints) -> dict[str, float | None]:
            drawn = np.repeat(np.arange(len(pairs.keys)), weights)
            maps = {p: self._maps(v[drawn], skipped[drawn]) for p, v in ap.items()}
            means = {name: self._mean(column[drawn]) for name, column in numbers.items()}
            return {**{f"mAP_{p}": _average(v) for p, v in maps.items()}, **means}

        own = values(np.ones(len(pairs.keys), np.int64))
        self._tell(pairs, overlaps, numbers, findings)
        return Result(
            protocol=self.name,
            values=own,
            per_sample=_per_sample(pairs, numbers, ap),
            curves=self._curves(ap, skipped),
            facts={
                "mode": self.mode,
                "truths": len(pairs.query),
                "predictions": len(pairs.found_query),
                "queries": len(pairs.keys),
                "pairs": int((pairs.level != JUNK).sum()),
                "pairs_without_prediction": overlaps.count("empty"),
                "pairs_failing": overlaps.count("failing"),
                "pairs_not_labelled": overlaps.count("unlabelled"),
                "collection": _collection(states),
                "queries_skipped": pairs.keys.filter(pa.array(skipped)).to_pylist(),
                "deviations": ["recall over all relevant images"] if whole else [],
            },
            findings=findings,
            recount=Recount(pairs.keys, values),
        )

    def _skipped(self, states: Sequence[_State], queries: int) -> Flags:
        out = np.zeros(queries, bool)
        if self.mode == "corrected":
            return out
        named = SKIPPED.get(_collection(states) or "", ())
        wanted = named if self.skipped is None else self.skipped
        out[[q for q in wanted if 0 <= q < queries]] = True
        return out

    def _maps(self, ap: Floats, skipped: Flags) -> list[float | None]:
        """mAP at each threshold, of AP of queries, shape (q, t)."""
        out: list[float | None] = []
        for column in ap[~skipped].T:
            known = column[~np.isnan(column)]
            # As released: queries that are skipped are in the divisor.
            n = len(known) + int(skipped.sum())
            # No query with anything above the threshold: released code divides by 0.
            nothing = 0.0 if self.mode == "corrected" and len(column) else None
            out.append(summed(known) / n if n else nothing)
        return out

    def _mean(self, column: Floats) -> float | None:
        known = column[~np.isnan(column)]
        if not len(known) or (self.mode == "official" and len(known) < len(column)):
            return None
        return float(np.mean(known))

    def _curves(self, ap: Mapping[str, Floats], skipped: Flags) -> dict[str, pa.Table]:
        maps = {f"mAP_{p}": self._maps(v, skipped) for p, v in ap.items()}
        if not all(maps.values()):
            return {}
        columns = {name: pa.array(v, pa.float64()) for name, v in maps.items()}
        return {"mAP": pa.table({"iou": pa.array(self.thresholds, pa.float64()), **columns})}

    def _tell(
        self,
        pairs: Pairs,
        overlaps: PairOverlaps,
        numbers: Mapping[str, Floats],
        findings: Findings,
    ) -> None:
        """Findings of what has no IoU, and of numbers that nothing defines."""
        told: tuple[tuple[Literal["failing", "unlabelled"], str, str], ...] = (
            ("failing", "predictions", "pairs without a polygon that can be compared"),
            ("unlabelled", "truth", "pairs that lead to no object: left out"),
        )
        for state, who, what in told:
            if n := overlaps.count(state):
                findings.add("missing-geometry", who, None, f"{n} {what}", n)
        if len(pairs.found_query) and not (pairs.rank >= 0).any():
            message = "mAP: no prediction has a rank or a score"
            findings.add("undefined-number", "predictions", None, message)
        for p in PROTOCOLS:
            lost = np.flatnonzero(np.isnan(numbers[f"mIoU_box_{p}"]))
            if self.mode == "official" and len(lost):
                first = pairs.keys[int(lost[0])].as_py()
                message = f"mIoU of {p}: {len(lost)} queries have no pair (first: {first!r})"
                findings.add("undefined-number", "values", first, message, len(lost))


def _collection(states: Sequence[_State]) -> str | None:
    """The collection that keys of samples name; None where they name none or both."""
    towns = sorted(frozenset[str]().union(*(s.towns for s in states)))
    return towns[0] if len(towns) == 1 else None


def _average(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.average(known)) if known and len(known) == len(values) else None


def _per_sample(pairs: Pairs, numbers: Mapping[str, Floats], ap: Mapping[str, Floats]) -> pa.Table:
    """AP over thresholds (0 where nothing is found) and mean IoU of the pairs of each query."""
    columns = {"key": pairs.keys}
    for p, (wanted, _) in PROTOCOLS.items():
        has = np.bincount(pairs.query, np.isin(pairs.level, wanted), minlength=len(pairs.keys)) > 0
        means = np.nan_to_num(ap[p]).sum(axis=1) / max(ap[p].shape[1], 1)
        columns[f"AP_{p}"] = pa.array(means, mask=~has | (ap[p].shape[1] == 0))
    for name, column in numbers.items():
        columns[name.removeprefix("m")] = pa.array(column, mask=np.isnan(column))
    return pa.table(columns)
