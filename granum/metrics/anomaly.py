"""Anomaly detection: scores of images and heat maps of pixels against defects.

Image and pixel AUROC, average precision and best F1 (as scikit-learn counts them: ties count half,
no interpolation), and AUPRO, the area under the per-region overlap up to a false-positive rate of
0.3, divided by 0.3 (P. Bergmann, M. Fauser, D. Sattlegger, C. Steger: Uninformed Students, CVPR
2020; MVTec's evaluation code): regions are the 8-connected defects of all images, the rate is over
all normal pixels of all images, and between two scores the curve is a straight line.

All are exact: scores are sorted once, and no threshold is sampled. A number that the data do not
define (no defect, or nothing normal) is None.

3CAD has another per-region overlap, with false-positive rates of each image on its own; it is not
comparable and has a name of its own, ``pro_3cad`` (``pro="3cad"`` or ``"both"``; see the function).
3CAD's numbers are those of maps and masks at 256 x 256 (``resize=256``), of maps that were smoothed
(Gaussian, sigma 4: the predictor's part), of one category of parts at a time, rounded to three
places before these are averaged; nothing here is smoothed or rounded. VisA's AUPR joins points by
straight lines (``ood.aupr_trapezoid``): it is no average precision.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError, UsageError
from granum.metrics._anomaly.arrays import aupro, auroc, average_precision, f1_max, pro_curve
from granum.metrics._anomaly.pro import pro_3cad
from granum.metrics._anomaly.recount import MOST, PixelCounts, entries
from granum.metrics._anomaly.rows import (
    FIELD_COLUMNS,
    TRUTH_COLUMNS,
    heat_map,
    resized,
    truth_of,
)
from granum.metrics._anomaly.score_counts import Ranking, ScoreCounts, rounded
from granum.metrics._labels.ranked_units import RankedUnits
from granum.metrics._maps.drawn import DrawnSample, add_fault, drawn_samples
from granum.metrics._weighted_means import weighted_mean
from granum.metrics.base import Context, Protocol, Recount, Result, joined_findings, protocols
from granum.schema.defects import GOOD, defective
from granum.schema.findings import Findings
from granum.store.parts import Batch

__all__ = [
    "Anomaly",
    "ScoreCounts",
    "aupro",
    "auroc",
    "average_precision",
    "f1_max",
    "pro_3cad",
    "pro_curve",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_POINTS = 1000
"""Most rows of a curve in a result; corners in between are left out of it."""

_MERGED = 64
"""Maps whose counts are held apart before they are merged."""


@dataclass(frozen=True)
class _Scored:
    """One sample: what it was given, what it is, its own pixel AUROC and 3CAD's overlap."""

    key: str
    score: float
    anomalous: bool
    pixel_auroc: float | None
    pro: float | None


@dataclass
class _State:
    """Of a part.

    Attributes:
        each: counts of pixels by sample; None where they are too many, and ``pixels`` has all.
        resized: how many maps had another size than the image.
    """

    samples: list[_Scored] = field(default_factory=list)
    each: dict[str, ScoreCounts] | None = field(default_factory=dict)
    pixels: list[ScoreCounts] = field(default_factory=list)
    resized: int = 0
    findings: Findings = field(default_factory=lambda: Findings(on_error="skip"))
    entries: int = 0

    def add(self, key: str, counts: ScoreCounts) -> None:
        self.entries += entries(counts)
        if self.each is not None and self.entries <= MOST:
            self.each[key] = counts
            return
        self.pixels += [*(self.each or {}).values(), counts]
        self.each = None
        if len(self.pixels) >= _MERGED:
            self.pixels = [ScoreCounts.merged(self.pixels)]


@protocols("anomaly")
@dataclass(frozen=True)
class Anomaly(Protocol):
    """AUROC, AP and F1 of images and pixels, and AUPRO.

    Truth: a sample is anomalous where it has a row of kind ``object``, or a ``label`` row that is
    not ``present = false``, of a category that means a defect: one of the space ``defect``, where
    there is that space, and not in ``good``. Masks of object rows are the defects; where an
    anomalous sample has none, only its image score counts. Pixels of rows with ``ignore`` are not
    counted.
    Predictions: a row of kind ``field`` per sample (see ``granum.schema.fields``), whose ``score``
    is that of the image (default: the highest of the map). A map of another size than the image is
    stretched to it, linearly; the facts say how many were.

    Memory: 16 bytes per distinct score of a normal pixel, at most 1 MiB per map of 16 bits, less
    where maps share scale and offset. Counts of up to 16,777,216 distinct scores (added up over the
    samples) are kept by sample, so that slices and intervals have numbers of pixels; with more they
    have those of images only (and ``pro_3cad``); fewer ``bits`` mean fewer distinct scores.

    Attributes:
        limit: the false-positive rate up to which the overlap of regions counts.
        good: names of categories that mean no defect, in any case of letters.
        bits: count scores of pixels to this many binary digits (default: as they are).
        pro: ``pooled`` gives AUPRO, ``3cad`` the mean of ``pro_3cad`` over the samples with drawn
            defects, ``both`` both.
        resize: compare all maps and masks at so many pixels square, maps stretched linearly, of
            masks the nearest pixel (3CAD: 256).
        mode: where ``resize`` makes all drawn defects of a sample vanish, ``official`` (3CAD)
            counts it as normal; ``corrected`` as anomalous. Both say so by a finding.
    """

    name: ClassVar[str] = "anomaly"
    reference: ClassVar[str] = "scikit-learn (AUROC, AP), MVTec AD evaluation code (AUPRO)"
    extra: ClassVar[str | None] = "eval"
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object", "label")

    limit: float = 0.3
    good: tuple[str, ...] = GOOD
    bits: int | None = None
    pro: Literal["pooled", "3cad", "both"] = "pooled"
    resize: int | None = None
    mode: Literal["official", "corrected"] = "official"

    def __post_init__(self) -> None:
        if not 0 < self.limit <= 1:
            raise UsageError(f"limit is {self.limit}; it must be above 0 and at most 1")
        if self.bits is not None and not 1 <= self.bits <= 52:
            raise UsageError(f"bits is {self.bits}; it must be in 1..52")
        if self.pro not in ("pooled", "3cad", "both"):
            raise UsageError(f"pro is {self.pro!r}; it must be pooled, 3cad or both")
        if self.resize is not None and self.resize < 1:
            raise UsageError(f"resize is {self.resize}; it must be at least 1")
        if self.mode not in ("official", "corrected"):
            raise UsageError(f"mode is {self.mode!r}; it must be official or corrected")

    def state(self, truth: Batch, predictions: Batch, context: Context) -> _State:
        good = set(np.flatnonzero(~defective(context.categories, self.good)).tolist())
        state = _State()
        pairs = zip(
            drawn_samples(truth, TRUTH_COLUMNS, context.map_root),
            drawn_samples(predictions, FIELD_COLUMNS, context.prediction_map_root),
            strict=True,
        )
        for real, guess in pairs:
            self._add(real, guess, good, state)
        if state.each is None:
            state.pixels = [ScoreCounts.merged(state.pixels)]
        return state

    def _add(self, real: DrawnSample, guess: DrawnSample, good: Set[int], state: _State) -> None:
        """Count one sample; what cannot be compared is a finding."""
        findings = state.findings
        try:
            true = truth_of(real, good, findings)
        except FormatError as error:
            add_fault(findings, "truth", real, error)
            return
        if self.resize is not None:
            true = resized(true, self.resize, real.key, findings, keep=self.mode == "corrected")
        size = real.size if true.mask is None else true.mask.shape
        if self.resize is not None:
            size = self.resize, self.resize
        try:
            found = heat_map(guess, size, findings)
        except FormatError as error:
            add_fault(findings, "predictions", guess, error)
            return
        if found is None:
            return
        own = pro = None
        if found.scores is not None and true.pixels_known:
            scores = found.scores if self.bits is None else rounded(found.scores, self.bits)
            mask = np.zeros(scores.shape, bool) if true.mask is None else true.mask
            ignored = ~np.isfinite(scores)
            if true.ignored is not None:
                ignored |= true.ignored
            counts = ScoreCounts.of(scores, mask, ignored)
            state.add(real.key, counts)
            own = counts.ranking().auroc()
            if self.pro != "pooled" and true.mask is not None:
                pro = pro_3cad(found.scores, mask, ignored)
        if self.pro != "pooled" and true.anomalous and pro is None:
            why = "no pro_3cad: no defect is drawn, or too few thresholds are below the limit"
            findings.add("undefined-number", "pro_3cad", real.key, why)
        state.samples.append(_Scored(real.key, found.score, true.anomalous, own, pro))
        state.resized += int(found.resized)

    def result(self, states: Sequence[Any], context: Context) -> Result:
        samples = sorted((s for state in states for s in state.samples), key=lambda s: s.key)
        findings = joined_findings((s.findings for s in states), by_place=True)
        pixels, again = _pixels(states, samples)
        ranking = pixels.ranking()
        units = RankedUnits([s.score for s in samples], [s.anomalous for s in samples])
        images = units.levels().ranking()
        pros = np.array([np.nan if s.pro is None else s.pro for s in samples])

        def recounted(weights: Ints) -> dict[str, float | None]:
            some = None if again is None else again.ranking(weights)
            return self._values(units.levels(weights).ranking(), some, weighted_mean(pros, weights))

        for what, one in (("image", images), ("pixel", ranking)):
            if not one.defined:
                lacks = "defect" if not len(one.scores) else f"normal {what}"
                findings.add("undefined-number", what, None, f"no {lacks} among the {what}s scored")
        return Result(
            protocol=self.name,
            values=self._values(images, ranking, weighted_mean(pros)),
            per_sample=_sample_table(samples, self.pro != "pooled"),
            curves=_curves(ranking),
            facts={
                # A sample is true without a row: it is normal.
                "truths": context.samples,
                "predictions": len(samples),
                "samples_scored": len(samples),
                "anomalous": sum(s.anomalous for s in samples),
                "regions": pixels.regions,
                "normal_pixels": int(pixels.normal_counts.sum()),
                "defect_pixels": int(pixels.defect_counts.sum()),
                "maps_resized": sum(state.resized for state in states),
                "image_f1_threshold": (images.f1_max() or (None, None))[1],
                "pixel_f1_threshold": (ranking.f1_max() or (None, None))[1],
                "pixels_count_again": again is not None,
            },
            findings=findings,
            recount=Recount(pa.array([s.key for s in samples], pa.string()), recounted),
        )

    def _values(
        self, images: Ranking, pixels: Ranking | None, pro: float | None
    ) -> dict[str, float | None]:
        """Without those of pixels where these are not known."""
        best = images.f1_max()
        out = {
            "image_auroc": images.auroc(),
            "image_ap": images.average_precision(),
            "image_f1_max": best and best[0],
        }
        if pixels is not None:
            best = pixels.f1_max()
            out |= {
                "pixel_auroc": pixels.auroc(),
                "pixel_ap": pixels.average_precision(),
                "pixel_f1_max": best and best[0],
            }
            if self.pro != "3cad":
                out["aupro"] = pixels.aupro(self.limit)
        return out if self.pro == "pooled" else out | {"pro_3cad": pro}


def _pixels(
    states: Sequence[_State], samples: Sequence[_Scored]
) -> tuple[ScoreCounts, PixelCounts | None]:
    """The counts of all pixels; and by sample, unless they are too many."""
    each = [counts for s in states for counts in (s.each or {}).values()]
    pixels = ScoreCounts.merged([*each, *(c for s in states for c in s.pixels)])
    if any(s.each is None for s in states) or sum(s.entries for s in states) > MOST:
        return pixels, None
    known = {key: counts for s in states for key, counts in (s.each or {}).items()}
    nothing = ScoreCounts.merged([])
    return pixels, PixelCounts([known.get(s.key, nothing) for s in samples])


def _sample_table(samples: Sequence[_Scored], pro: bool) -> pa.Table:
    table = pa.table(
        {
            "key": pa.array([s.key for s in samples], pa.string()),
            "score": pa.array([s.score for s in samples], pa.float64()),
            "anomalous": pa.array([s.anomalous for s in samples], pa.bool_()),
            "pixel_auroc": pa.array([s.pixel_auroc for s in samples], pa.float64()),
        }
    )
    own = pa.array([s.pro for s in samples], pa.float64())
    return table.append_column("pro_3cad", own) if pro else table


def _curves(pixels: Ranking) -> dict[str, pa.Table]:
    curve = pixels.pro_curve()
    if curve is None:
        return {}
    at = np.unique(np.linspace(0, len(curve[0]) - 1, _POINTS).astype(np.int64))
    return {"pro": pa.table({"fpr": curve[0][at], "pro": curve[1][at]})}
