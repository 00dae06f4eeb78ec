"""Anomaly detection: scores of images and heat maps of pixels against defects.

Image and pixel AUROC, average precision and best F1 (as scikit-learn counts them: ties count half,
no interpolation), and AUPRO, the area under the per-region overlap up to a false-positive rate of
0.3, divided by 0.3 (P. Bergmann, M. Fauser, D. Sattlegger, C. Steger: Uninformed Students, CVPR
2020; MVTec's evaluation code): regions are the 8-connected defects of all images, the rate is over
all normal pixels of all images, and between two scores the curve is a straight line.

All are exact: scores are sorted once, and no threshold is sampled. A number that the data do not
define (no defect, or nothing normal) is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError, UsageError
from granum.metrics._anomaly_rows import FIELD_COLUMNS, TRUTH_COLUMNS, heat_map, truth_of
from granum.metrics._drawn import DrawnSample, add_fault, drawn_samples
from granum.metrics._score_counts import Ranking, ScoreCounts, defect_sizes, rank, rounded
from granum.metrics.base import Context, Protocol, Result, joined_findings, protocols
from granum.schema.defects import GOOD, defective
from granum.schema.findings import Findings
from granum.store.parts import Batch

__all__ = ["Anomaly", "ScoreCounts", "aupro", "auroc", "average_precision", "f1_max", "pro_curve"]

Floats = npt.NDArray[np.float64]

_POINTS = 1000
"""Most rows of a curve in a result; corners in between are left out of it."""

_MERGED = 64
"""Maps whose counts are held apart before they are merged."""


@dataclass(frozen=True)
class _Scored:
    """One sample: what it was given, what it is, and its own pixel AUROC."""

    key: str
    score: float
    anomalous: bool
    pixel_auroc: float | None


@dataclass(frozen=True)
class _State:
    samples: list[_Scored]
    pixels: ScoreCounts
    resized: int
    findings: Findings


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
    where maps share scale and offset.

    Attributes:
        limit: the false-positive rate up to which the overlap of regions counts.
        good: names of categories that mean no defect, in any case of letters.
        bits: count scores of pixels to this many binary digits (default: as they are).
    """

    name: ClassVar[str] = "anomaly"
    reference: ClassVar[str] = "scikit-learn (AUROC, AP), MVTec AD evaluation code (AUPRO)"
    extra: ClassVar[str | None] = "eval"
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object", "label")

    limit: float = 0.3
    good: tuple[str, ...] = GOOD
    bits: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.limit <= 1:
            raise UsageError(f"limit is {self.limit}; it must be above 0 and at most 1")
        if self.bits is not None and not 1 <= self.bits <= 52:
            raise UsageError(f"bits is {self.bits}; it must be in 1..52")

    def state(self, truth: Batch, predictions: Batch, context: Context) -> _State:
        good = set(np.flatnonzero(~defective(context.categories, self.good)).tolist())
        found = Findings(on_error="skip")
        samples: list[_Scored] = []
        counts, resized = [], 0
        pairs = zip(
            drawn_samples(truth, TRUTH_COLUMNS, context.map_root),
            drawn_samples(predictions, FIELD_COLUMNS, context.prediction_map_root),
            strict=True,
        )
        for real, guess in pairs:
            scored = self._scored(real, guess, good, found)
            if scored is not None:
                samples.append(scored[0])
                counts += scored[1]
                resized += scored[2]
            if len(counts) >= _MERGED:
                counts = [ScoreCounts.merged(counts)]
        return _State(samples, ScoreCounts.merged(counts), resized, found)

    def _scored(
        self,
        real: DrawnSample,
        guess: DrawnSample,
        good: Set[int],
        findings: Findings,
    ) -> tuple[_Scored, list[ScoreCounts], int] | None:
        """The sample, the counts of its pixels (if any are known), and whether it was resized."""
        try:
            true = truth_of(real, good, findings)
        except FormatError as error:
            add_fault(findings, "truth", real, error)
            return None
        size = real.size if true.mask is None else true.mask.shape
        try:
            found = heat_map(guess, size, findings)
        except FormatError as error:
            add_fault(findings, "predictions", guess, error)
            return None
        if found is None:
            return None
        counts = []
        if found.scores is not None and true.pixels_known:
            scores = found.scores if self.bits is None else rounded(found.scores, self.bits)
            mask = np.zeros(scores.shape, bool) if true.mask is None else true.mask
            ignored = ~np.isfinite(scores)
            if true.ignored is not None:
                ignored |= true.ignored
            counts.append(ScoreCounts.of(scores, mask, ignored))
        own = counts[0].ranking().auroc() if counts else None
        sample = _Scored(real.key, found.score, true.anomalous, own)
        return sample, counts, int(found.resized)

    def result(self, states: Sequence[Any], context: Context) -> Result:
        samples = sorted((s for state in states for s in state.samples), key=lambda s: s.key)
        pixels = ScoreCounts.merged([state.pixels for state in states])
        images = _image_ranking(samples)
        ranking = pixels.ranking()
        findings = joined_findings((s.findings for s in states), by_place=True)
        for what, one in (("image", images), ("pixel", ranking)):
            if not one.defined:
                lacks = "defect" if not len(one.scores) else f"normal {what}"
                findings.add("undefined-number", what, None, f"no {lacks} among the {what}s scored")
        return Result(
            protocol=self.name,
            values=self._values(images, ranking),
            per_sample=_sample_table(samples),
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
            },
            findings=findings,
        )

    def _values(self, images: Ranking, pixels: Ranking) -> dict[str, float | None]:
        best = images.f1_max(), pixels.f1_max()
        return {
            "image_auroc": images.auroc(),
            "image_ap": images.average_precision(),
            "image_f1_max": best[0] and best[0][0],
            "pixel_auroc": pixels.auroc(),
            "pixel_ap": pixels.average_precision(),
            "pixel_f1_max": best[1] and best[1][0],
            "aupro": pixels.aupro(self.limit),
        }


def _image_ranking(samples: Sequence[_Scored]) -> Ranking:
    scores = np.array([s.score for s in samples], np.float64)
    return _ranked(scores, np.array([s.anomalous for s in samples], bool))


def _sample_table(samples: Sequence[_Scored]) -> pa.Table:
    return pa.table(
        {
            "key": pa.array([s.key for s in samples], pa.string()),
            "score": pa.array([s.score for s in samples], pa.float64()),
            "anomalous": pa.array([s.anomalous for s in samples], pa.bool_()),
            "pixel_auroc": pa.array([s.pixel_auroc for s in samples], pa.float64()),
        }
    )


def _curves(pixels: Ranking) -> dict[str, pa.Table]:
    curve = pixels.pro_curve()
    if curve is None:
        return {}
    at = np.unique(np.linspace(0, len(curve[0]) - 1, _POINTS).astype(np.int64))
    return {"pro": pa.table({"fpr": curve[0][at], "pro": curve[1][at]})}


# ------------------------------------------------------------------ on arrays


def auroc(scores: npt.ArrayLike, positive: npt.ArrayLike) -> float | None:
    """Area under the ROC curve: the chance that a positive scores higher than a negative.

    Args:
        scores: numbers of any shape (of images, or of all pixels).
        positive: of equal shape; true where anomalous.

    Returns:
        As scikit-learn's ``roc_auc_score``; None where there is one class only.

    Raises:
        UsageError: shapes differ, or a score is not finite.
    """
    return _ranked(scores, positive).auroc()


def average_precision(scores: npt.ArrayLike, positive: npt.ArrayLike) -> float | None:
    """Average precision, as scikit-learn's ``average_precision_score``; arguments as ``auroc``."""
    return _ranked(scores, positive).average_precision()


def f1_max(scores: npt.ArrayLike, positive: npt.ArrayLike) -> tuple[float, float] | None:
    """The highest F1 of all thresholds and that threshold (``score >= threshold`` is anomalous; of
    several the highest); None where there is one class only. Arguments as ``auroc``."""
    return _ranked(scores, positive).f1_max()


def aupro(
    maps: Iterable[npt.ArrayLike], masks: Iterable[npt.ArrayLike], *, limit: float = 0.3
) -> float | None:
    """Area under the per-region overlap up to a false-positive rate, divided by that rate.

    Args:
        maps: scores of each image, shape (height, width); float32 takes half the memory.
        masks: defects of each image, of the same shape; good images have empty ones.
        limit: the false-positive rate.

    Returns:
        In [0, 1]; None where there is no defect, or no normal pixel.

    Raises:
        UsageError: shapes or numbers of maps and masks differ, or a score is not finite.
        MissingExtraError: scipy is absent.
    """
    if not 0 < limit <= 1:
        raise UsageError(f"limit is {limit}; it must be above 0 and at most 1")
    return _pixel_ranking(maps, masks).aupro(limit)


def pro_curve(
    maps: Iterable[npt.ArrayLike], masks: Iterable[npt.ArrayLike]
) -> tuple[Floats, Floats] | None:
    """The corners of the curve under which ``aupro`` is the area: false-positive rates, rising,
    and the mean overlap of regions at each; None where undefined. Arguments as ``aupro``."""
    return _pixel_ranking(maps, masks).pro_curve()


def _ranked(scores: npt.ArrayLike, positive: npt.ArrayLike) -> Ranking:
    values, wanted = _finite(scores).ravel(), np.asarray(positive, bool).ravel()
    if np.shape(scores) != np.shape(positive):
        raise UsageError(f"scores of shape {np.shape(scores)}, labels of {np.shape(positive)}")
    return rank(values[wanted], values[~wanted])


def _pixel_ranking(maps: Iterable[npt.ArrayLike], masks: Iterable[npt.ArrayLike]) -> Ranking:
    inside, outside, sizes, regions = [], [], [], 0
    for scores, defects in zip_longest(maps, masks):
        if scores is None or defects is None:
            raise UsageError("there are not as many maps as masks")
        values, mask = _finite(scores), np.asarray(defects) != 0
        if values.shape != mask.shape:
            raise UsageError(f"a map of {values.shape} pixels, a mask of {mask.shape}")
        own, found = defect_sizes(mask)
        inside.append(values[mask])
        outside.append(values[~mask])
        sizes.append(own[mask])
        regions += found
    if not inside:
        raise UsageError("there is no map")
    return rank(np.concatenate(inside), np.concatenate(outside), np.concatenate(sizes), regions)


def _finite(scores: npt.ArrayLike) -> npt.NDArray[Any]:
    values = np.asarray(scores)
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise UsageError("a score is not a finite number")
    return values
