"""What a sample's rows say of anomalies: its defects, and the heat map that was predicted."""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.metrics._maps.drawn import DrawnSample, Row, has_mask
from granum.metrics._usable import rows_left_out
from granum.schema.fields import field_values
from granum.schema.findings import Findings

__all__ = ["FIELD_COLUMNS", "TRUTH_COLUMNS", "HeatMap", "Truth", "heat_map", "resized", "truth_of"]

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

TRUTH_COLUMNS = ("category", "present", "ignore")
FIELD_COLUMNS = ("score", "extra")


@dataclass(frozen=True)
class Truth:
    """A sample as it is.

    Attributes:
        anomalous: whether it has a defect.
        mask: where, shape (height, width); None where nothing is drawn.
        ignored: pixels that are not counted; None for none.
    """

    anomalous: bool
    mask: Mask | None
    ignored: Mask | None

    @property
    def pixels_known(self) -> bool:
        """Whether it is known of every pixel whether it is normal."""
        return self.mask is not None or not self.anomalous


@dataclass(frozen=True)
class HeatMap:
    """A prediction: the score of the image, and those of its pixels where there is a map.

    Attributes:
        scores: shape (height, width), NaN where missing.
        resized: whether it had another size than the image.
    """

    score: float
    scores: Floats | None
    resized: bool


def truth_of(sample: DrawnSample, good: Set[int], found: Findings) -> Truth:
    """The truth of a sample; ``good`` are the categories that mean no defect."""
    unnamed = [r for r in sample.rows if r["kind"] == "label" and r["category"] is None]
    rows_left_out(found, "missing-category", "truth", sample.key, unnamed, "without a category")
    defects = [r for r in sample.rows if r["kind"] == "object" and r["category"] not in good]
    ignored = [r for r in defects if r["ignore"] and has_mask(r)]
    defects = [r for r in defects if not r["ignore"]]
    labelled = any(
        r["kind"] == "label" and r["category"] not in (None, *good) and r["present"] is not False
        for r in sample.rows
    )
    drawn = [r for r in defects if has_mask(r)]
    return Truth(
        anomalous=bool(defects) or labelled,
        mask=_union(sample, drawn),
        ignored=_union(sample, ignored),
    )


def resized(true: Truth, side: int, key: str, found: Findings, *, keep: bool) -> Truth:
    """The truth at ``side`` x ``side`` pixels, each the nearest one; where all drawn defects vanish
    it is a finding, and ``keep`` says whether the sample is anomalous all the same."""
    mask, ignored = (
        None if m is None else _nearest(m, (side, side)) for m in (true.mask, true.ignored)
    )
    gone = mask is not None and true.mask is not None and true.mask.any() and not mask.any()
    if gone:
        what = "anomalous still" if keep else "it counts as normal"
        message = f"its defects have no pixel at {side} x {side}: {what}"
        found.add("empty-mask", "truth", key, message)
    return Truth(true.anomalous and (keep or not gone), mask, ignored)


def _nearest(mask: Mask, size: tuple[int, int]) -> Mask:
    from PIL import Image

    image = Image.fromarray(mask.astype(np.uint8))
    return np.asarray(image.resize(size[::-1], Image.Resampling.NEAREST)) != 0


def _union(sample: DrawnSample, rows: list[dict[str, Any]]) -> Mask | None:
    painted = sample.painted(rows, lambda *_: 1, empty=0) if rows else None
    return None if painted is None else painted == 1


def heat_map(sample: DrawnSample, size: tuple[int, ...] | None, found: Findings) -> HeatMap | None:
    """The first field row of a sample, its map stretched to ``size`` (height, width); None where
    there is none that has a map or a score. What is left out is a finding."""
    fields = [r for r in sample.rows if r["kind"] == "field"]
    told = [r for r in fields if _tells(r)]
    other = "not-compared" if told else "missing-geometry"
    for code, rows, what in (
        (other, [r for r in sample.rows if r["kind"] != "field"], "of a kind other than field"),
        ("missing-geometry", [r for r in fields if not _tells(r)], "without a map or a score"),
        ("duplicate-annotation", told[1:], "after the first field of a sample"),
    ):
        rows_left_out(found, code, "predictions", sample.key, rows, what)
    if not told:
        return None
    row = told[0]
    scores = None
    if row["map"] is not None:
        extra = None if row["extra"] is None else json.loads(row["extra"])
        scores = field_values(sample.values(row), extra)
    score = row["score"]
    if score is None and scores is not None:
        known = scores[np.isfinite(scores)]
        score = float(known.max()) if known.size else None
    if score is None or not np.isfinite(score):
        code = "missing-score" if score is None else "nan-score"
        what = "whose map has no number" if score is None else "with a score that is not finite"
        rows_left_out(found, code, "predictions", sample.key, [row], what)
        return None
    resized = scores is not None and size is not None and scores.shape != size
    if scores is not None and size is not None and resized:
        scores = _stretched(scores, (size[0], size[1]))
    return HeatMap(float(score), scores, resized)


def _tells(row: Row) -> bool:
    return row["map"] is not None or row["score"] is not None


def _stretched(scores: Floats, size: tuple[int, int]) -> Floats:
    from PIL import Image

    image = Image.fromarray(scores.astype(np.float32))
    return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR), np.float64)
