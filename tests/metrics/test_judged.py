"""Average precision of judged detections: by hand, by a literal restatement, and by weights."""

from __future__ import annotations

import numpy as np
import pytest

from granum.errors import UsageError
from granum.metrics._detection.argmax import argmax_hits, best_overlaps, box_iou, pairs_of_groups
from granum.metrics._detection.judged import (
    Judged,
    Style,
    area_under,
    average_precision,
    precision_recall,
    sample_ap,
)

STYLES: tuple[Style, ...] = ("area", "coco101", "voc07")


def literal(scores: list[float], hits: list[bool], truths: int, style: str) -> float:
    """Average precision, a detection at a time."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    right = wrong = 0
    points = []
    for i in order:
        right, wrong = right + hits[i], wrong + (not hits[i])
        points.append((right / truths, right / (right + wrong)))

    def best(recall: float) -> float:
        return max((p for r, p in points if r >= recall), default=0.0)

    if style == "voc07":
        return sum(best(r) for r in np.arange(0.0, 1.1, 0.1)) / 11
    if style == "coco101":
        return float(np.mean([best(r) for r in np.linspace(0, 1, 101)]))
    total, before = 0.0, 0.0
    for recall in sorted({r for r, _ in points}):
        total += (recall - before) * best(recall)
        before = recall
    return total


def drawn(seed: int, units: int = 6, categories: int = 3, n: int = 60) -> Judged:
    rng = np.random.default_rng(seed)
    order = np.sort(rng.integers(0, units, n))
    return Judged(
        unit=order,
        category=rng.integers(0, categories, n),
        score=rng.integers(0, 12, n) / 12,
        hit=rng.random((n, 2)) < 0.4,
        counted=rng.random((n, 2)) < 0.9,
        truth_unit=rng.integers(0, units, 40),
        truth_category=rng.integers(0, categories, 40),
    )


def test_worked_areas() -> None:
    # Right, wrong, right of four truths: precision 1, 1/2, 2/3 at recall 1/4, 1/4, 1/2.
    right, wrong = np.array([1, 1, 2]), np.array([0, 1, 1])
    assert area_under(right, wrong, 4, "area") == pytest.approx(0.25 + 0.25 * 2 / 3)
    # Recalls 0, .1, .2 reach 1; .3, .4, .5 reach 2/3.
    assert area_under(right, wrong, 4, "voc07") == pytest.approx((3 + 3 * 2 / 3) / 11)
    # 0 to .25 are 26 of 101 recalls; .26 to .50 are 25.
    assert area_under(right, wrong, 4, "coco101") == pytest.approx((26 + 25 * 2 / 3) / 101)
    with pytest.raises(UsageError, match="style"):
        area_under(right, wrong, 4, "other")  # type: ignore[arg-type]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_literal_sum(style: Style, seed: int) -> None:
    judged = drawn(seed)
    value = average_precision(judged, 4, style=style)
    assert np.isnan(value[3]).all()  # no truth
    for category in range(3):
        truths = int((judged.truth_category == category).sum())
        for t in range(2):
            rows = np.flatnonzero((judged.category == category) & judged.counted[:, t])
            expected = literal(
                judged.score[rows].tolist(), judged.hit[rows, t].tolist(), truths, style
            )
            assert value[category, t] == pytest.approx(expected, abs=1e-12)


def test_a_class_without_detections_scores_nothing() -> None:
    none = np.empty(0, np.int64)
    flags = np.empty((0, 1), bool)
    judged = Judged(none, none, np.empty(0), flags, flags, np.array([0]), np.array([1]))
    value = average_precision(judged, 2)
    assert np.isnan(value[0, 0])
    assert value[1, 0] == 0.0


@pytest.mark.parametrize("style", STYLES)
def test_weights_repeat_and_leave_out_samples(style: Style) -> None:
    judged = drawn(7)
    weights = np.array([2, 0, 1, 3, 0, 1])
    rows = np.concatenate(
        [np.repeat(np.flatnonzero(judged.unit == u), w) for u, w in enumerate(weights)]
    )
    truths = np.concatenate(
        [np.repeat(np.flatnonzero(judged.truth_unit == u), w) for u, w in enumerate(weights)]
    )
    # Equal scores of one sample's copies: a weight counts a detection and its copies at once.
    judged = Judged(
        judged.unit,
        judged.category,
        judged.score + np.arange(len(judged.score)) * 1e-6,
        *(judged.hit, judged.counted, judged.truth_unit, judged.truth_category),
    )
    repeated = Judged(
        judged.unit[rows],
        judged.category[rows],
        judged.score[rows],
        judged.hit[rows],
        judged.counted[rows],
        judged.truth_unit[truths],
        judged.truth_category[truths],
    )
    ones = np.ones(6, np.int64)
    plain = average_precision(judged, 3, style=style)
    assert np.array_equal(average_precision(judged, 3, ones, style), plain)
    assert np.array_equal(repeated.truths(3), judged.truths(3, weights))
    if style != "area":  # within copies the curve of steps has more corners
        return
    weighed = average_precision(judged, 3, np.minimum(weights, 1), style)
    only = np.isin(judged.unit, np.flatnonzero(weights))
    kept = np.isin(judged.truth_unit, np.flatnonzero(weights))
    chosen = Judged(
        judged.unit[only],
        judged.category[only],
        judged.score[only],
        judged.hit[only],
        judged.counted[only],
        judged.truth_unit[kept],
        judged.truth_category[kept],
    )
    assert np.array_equal(weighed, average_precision(chosen, 3, style=style), equal_nan=True)


def test_average_precision_of_each_sample() -> None:
    judged = drawn(3)
    value = sample_ap(judged, 8, 3)
    assert np.isnan(value[6:]).all()  # no truth there
    for unit in range(6):
        own = []
        for category in range(3):
            rows = np.flatnonzero((judged.unit == unit) & (judged.category == category))
            truths = int(((judged.truth_unit == unit) & (judged.truth_category == category)).sum())
            if not truths:
                continue
            for t in range(2):
                kept = rows[judged.counted[rows, t]]
                own.append(
                    literal(
                        judged.score[kept].tolist(), judged.hit[kept, t].tolist(), truths, "area"
                    )
                )
        assert value[unit] == pytest.approx(np.mean(own), abs=1e-12)


def test_curve_of_each_class() -> None:
    judged = Judged(
        unit=np.array([0, 0, 1]),
        category=np.array([1, 1, 1]),
        score=np.array([0.2, 0.9, 0.5]),
        hit=np.array([[True], [True], [False]]),
        counted=np.ones((3, 1), bool),
        truth_unit=np.array([0, 0, 1, 1]),
        truth_category=np.array([1, 1, 1, 1]),
    )
    assert precision_recall(judged, ["a", "b"]).to_pydict() == {
        "category": ["b", "b", "b"],
        "score": [0.9, 0.5, 0.2],
        "recall": [0.25, 0.25, 0.5],
        "precision": [1.0, 0.5, pytest.approx(2 / 3)],
    }
    assert precision_recall(judged, ["a", "b"], points=2).num_rows == 2


def test_joined_pieces_are_the_whole() -> None:
    judged = drawn(5)
    first, second = judged.unit < 3, judged.unit >= 3
    pieces = [
        Judged(
            judged.unit[rows],
            judged.category[rows],
            judged.score[rows],
            judged.hit[rows],
            judged.counted[rows],
            judged.truth_unit[truths],
            judged.truth_category[truths],
        )
        for rows, truths in (
            (first, judged.truth_unit < 3),
            (second, judged.truth_unit >= 3),
        )
    ]
    whole = Judged.joined(pieces, 2)
    assert np.array_equal(average_precision(whole, 3), average_precision(judged, 3))
    assert Judged.joined([], 2).hit.shape == (0, 2)


# -------------------------------------------------------------------- argmax


def test_pairs_are_within_a_group() -> None:
    left, right = pairs_of_groups(np.array([5, 1, 5]), np.array([5, 2, 5]))
    assert left.tolist() == [0, 0, 2, 2]
    assert right.tolist() == [0, 2, 0, 2]


def test_a_detection_tries_its_best_truth_only() -> None:
    # Both detections lie best on truth 0; the second one also overlaps truth 1 enough.
    overlaps = {(0, 0): 0.9, (0, 1): 0.1, (1, 0): 0.8, (1, 1): 0.7, (2, 0): 0.4, (2, 1): 0.4}

    def overlap(found: np.ndarray, true: np.ndarray) -> np.ndarray:
        return np.array(
            [overlaps[pair] for pair in zip(found.tolist(), true.tolist(), strict=True)]
        )

    best, value = best_overlaps(np.zeros(3, int), np.zeros(2, int), overlap)
    assert best.tolist() == [0, 0, 0]  # the first of equals
    assert value.tolist() == [0.9, 0.8, 0.4]
    scores = np.array([0.5, 0.6, 0.9])
    hit, counted = argmax_hits(best, value, scores, (0.5, 0.85), np.zeros(2, bool))
    assert hit.tolist() == [[False, True], [True, False], [False, False]]
    assert counted.all()
    hit, counted = argmax_hits(best, value, scores, (0.5,), np.array([True, False]))
    assert not hit.any()
    assert counted[:, 0].tolist() == [False, False, True]


def test_of_equal_scores_the_first_row_chooses_first() -> None:
    best, value = np.zeros(2, int), np.array([0.6, 0.9])
    hit, _ = argmax_hits(best, value, np.array([0.5, 0.5]), (0.5,), np.zeros(1, bool))
    assert hit[:, 0].tolist() == [True, False]


def test_detections_without_a_truth_of_their_group() -> None:
    best, value = best_overlaps(
        np.array([1, 2]), np.array([2]), lambda found, true: np.full(len(found), 0.7)
    )
    assert best.tolist() == [-1, 0]
    assert value.tolist() == [-1.0, 0.7]
    empty = np.empty(0, np.int64)
    assert best_overlaps(np.array([1]), empty, lambda f, t: np.empty(0))[0].tolist() == [-1]


def test_boxes() -> None:
    a = np.array([[0.0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 0, 0]])
    b = np.array([[1.0, 0, 2, 2], [1, 0, 1, 1], [0, 0, 0, 0]])
    assert box_iou(a, b).tolist() == [pytest.approx(1 / 3), 0.0, 0.0]
    # Sides of three pixels: 2 x 3 of 9 + 9 - 6.
    assert box_iou(a, b, inclusive=True)[0] == pytest.approx(6 / 12)


@pytest.mark.parametrize("style", [*STYLES, "trapezoid"])
def test_of_each_sample_as_of_it_alone(style: Style) -> None:
    """Samples of few and of many detections, at two thresholds."""
    judged = drawn(5, units=9, n=40)
    long = drawn(6, units=1, categories=2, n=300)
    pieces = [
        judged,
        Judged(**{**vars(long), "unit": long.unit + 9, "truth_unit": long.truth_unit + 9}),
    ]
    whole = Judged.joined(pieces, 2)
    value = sample_ap(whole, 11, 3, style)
    assert np.isnan(value[10])
    with_truth = [u for u in range(10) if (whole.truth_unit == u).any()]
    assert len(with_truth) > 6
    for unit in with_truth:
        weights = (np.arange(11) == unit).astype(np.int64)
        each = average_precision(whole, 3, weights, style).mean(axis=1)
        assert value[unit] == pytest.approx(each[~np.isnan(each)].mean(), abs=1e-14)
