"""One evaluation ready to be counted again: by sample, and for any choice of samples.

Nothing is made before it is asked for, and all of it rests on the same matches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UsageError
from granum.metrics._coco import matching
from granum.metrics._coco.columns import Compared
from granum.metrics._coco.overlaps import Overlaps
from granum.metrics._coco.ranking import Curves, Found, Ranking, Truths
from granum.metrics._coco.sides import Sides

__all__ = ["AREAS", "Case", "Rules"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

AREAS = {"": (0.0, 1e10), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}
"""Ranges of areas in pixels by the letter that official numbers have; both ends are within."""


@dataclass(frozen=True)
class Rules:
    """What an evaluation varies.

    Attributes:
        compared: boxes, masks or keypoints.
        thresholds: shape (t,), of the overlap.
        recalls: shape (r,), at which precision is taken.
        areas: names of the ranges, the first of all areas.
        limits: predictions of a sample and class that count for recall.
        limit: those that count at all; None: all.
        sample_iou, least_score: what counts in the counts per sample.
    """

    compared: Compared
    thresholds: Floats
    recalls: Floats
    areas: Sequence[str]
    limits: Sequence[int]
    limit: int | None
    sample_iou: float
    least_score: float


@dataclass(frozen=True, eq=False)
class Case:
    """Both sides and the rules.

    Attributes:
        rules: of the evaluation.
        sides: what is compared.
        overlaps: makes the overlaps of pairs.
        image_rank, category_rank: the official order of samples and of categories, by row.
        ignored: truths that are neither to be found nor wrong to find; None: none.
        crowd: truths that any number of predictions may find; None: none.
        spared: predictions that are not wrong where they find nothing; None: none.
    """

    rules: Rules
    sides: Sides
    overlaps: Callable[[Sides], Overlaps]
    image_rank: Ints
    category_rank: Ints
    ignored: Flags | None = None
    crowd: Flags | None = None
    spared: Flags | None = None

    def __reduce__(self) -> tuple[type[Case], tuple[object, ...]]:
        ranks = self.image_rank, self.category_rank
        given = self.rules, self.sides, self.overlaps, *ranks
        return Case, (*given, self.ignored, self.crowd, self.spared)

    def curves(self, weights: Ints | None = None) -> list[Curves]:
        """Of each range of areas; classes are numbers in the official order of categories.

        Args:
            weights: shape (samples,), how often each counts; None: once.
        """
        if weights is not None:
            weights = np.asarray(weights, np.int64)
            if weights.shape != self.image_rank.shape:
                raise UsageError(
                    f"weights of shape {weights.shape} for {len(self.image_rank)} samples"
                )
        return [ranking.curves(weights) for ranking in self._rankings]

    def per_sample(self, keys: pa.Array) -> pa.Table:
        """Of each sample its average precision by itself, and its counts at one threshold."""
        rules, truth = self.rules, self.sides.truth
        counts = matching.hits(
            self._candidates,
            truth,
            self.sides.predictions,
            self._ignored,
            crowd=self._crowd,
            spared=self._spared,
            samples=len(keys),
            iou=rules.sample_iou,
            least_score=rules.least_score,
        )
        ap = self._sample_ap()
        all_ = 2 * counts.tp + counts.fp + counts.fn
        return pa.table(
            {
                "key": keys,
                "ap": pa.array(ap, mask=np.isnan(ap)),
                "tp": counts.tp,
                "fp": counts.fp,
                "fn": counts.fn,
                "f1": pa.array(2 * counts.tp / np.maximum(all_, 1), mask=all_ == 0),
                "iou": pa.array(counts.iou / np.maximum(counts.tp, 1), mask=counts.tp == 0),
            }
        )

    @cached_property
    def _candidates(self) -> matching.Candidates:
        return matching.candidates(
            self.sides.truth,
            self.sides.predictions,
            self.overlaps(self.sides),
            categories=max(len(self.category_rank), 1),
            limit=self.rules.limit,
            least=min(float(self.rules.thresholds.min()), self.rules.sample_iou),
        )

    @cached_property
    def _ignored(self) -> Flags:
        none = np.zeros(len(self.sides.truth), bool)
        return none if self.ignored is None else self.ignored

    @cached_property
    def _crowd(self) -> Flags:
        none = np.zeros(len(self.sides.truth), bool)
        return none if self.crowd is None else self.crowd

    @cached_property
    def _spared(self) -> Flags:
        none = np.zeros(len(self.sides.predictions), bool)
        return none if self.spared is None else self.spared

    @cached_property
    def _rankings(self) -> list[Ranking]:
        return [self._ranking(*self._judged(name)) for name in self.rules.areas]

    def _ranking(self, truths: Truths, found: Found) -> Ranking:
        rules = self.rules
        return Ranking(truths, found, len(rules.thresholds), rules.recalls, rules.limits)

    def _judged(self, area: str) -> tuple[Truths, Found]:
        """What is to be found in a range of areas, and what became of the predictions."""
        truth, predictions, given = self.sides.truth, self.sides.predictions, self._candidates
        low, high = AREAS[area]
        out = self._ignored | (truth.area < low) | (truth.area > high)
        found = matching.matches(given, self.rules.thresholds, out, self._crowd)
        order, place = self._order
        rows = given.rows[order]
        size = self._found_area[rows]
        real = np.flatnonzero(~out)
        return (
            Truths(self.category_rank[truth.category[real]], truth.sample[real]),
            Found(
                category=self.category_rank[predictions.category[rows]],
                unit=predictions.sample[rows],
                wrong=(size >= low) & (size <= high) & ~self._spared[rows],
                place=place[given.found[found.pair]],
                threshold=found.threshold,
                real=~out[given.true[found.pair]],
                rank=given.rank[order],
            ),
        )

    @cached_property
    def _order(self) -> tuple[Ints, Ints]:
        """Predictions as they are ranked: by class, then score, then image, then row; and the
        place of each."""
        rows, found = self._candidates.rows, self.sides.predictions
        image, category = self.image_rank[found.sample[rows]], found.category[rows]
        order = np.lexsort((rows, image, -found.score[rows], self.category_rank[category]))
        return order, _inverse(order)

    @cached_property
    def _found_area(self) -> Floats:
        """Of the predictions: their boxes' or masks'; of keypoints that of the box around them."""
        if self.rules.compared == "segm":
            return self.sides.pixels[1]
        box = self.sides.predictions.box
        return np.asarray(box[:, 2] * box[:, 3])

    def _sample_ap(self) -> Floats:
        """Average precision of each sample by itself; NaN where it has nothing to be found."""
        truths, found = self._judged(self.rules.areas[0])
        classes, n = max(len(self.category_rank), 1), len(self.image_rank)
        theirs = found.unit * classes + found.category
        order = np.argsort(theirs, kind="stable")
        ranking = self._ranking(
            replace(truths, category=truths.unit * classes + truths.category),
            Found(
                category=theirs[order],
                unit=found.unit[order],
                wrong=found.wrong[order],
                place=_inverse(order)[found.place],
                threshold=found.threshold,
                real=found.real,
                rank=found.rank[order],
            ),
        )
        unit = ranking.categories // classes
        total = np.bincount(unit, ranking.average_precision(), minlength=n)
        count = np.bincount(unit, minlength=n)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _inverse(order: Ints) -> Ints:
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place
