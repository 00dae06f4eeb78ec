"""The numbers of ACT and MOC: what differs from MultiSports' by hand, and their script restated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from granum.errors import UsageError
from granum.metrics._detection.judged import area_under
from granum.metrics.base import Result
from granum.metrics.evaluate import evaluate
from granum.metrics.multisports import Boxes, Tubes, frame_ap
from granum.metrics.ucf24 import Ucf24, suppressed
from tests.metrics.groups import in_group_parts
from tests.metrics.made import same
from tests.metrics.tube_cases import Found, Script, Truth, box, dataset, drawn

A, B, FAR = (0.0, 0.0, 10.0, 10.0), (2.0, 0.0, 12.0, 10.0), (50.0, 50.0, 60.0, 60.0)
NEAR = (0.5, 0.0, 10.5, 10.0)


def still(first: int, last: int, corners: Any = A) -> Any:
    return np.array([[f, *corners] for f in range(first, last + 1)])


def judged(truth: Truth, tubes: Found, classes: int = 1, **parameters: Any) -> Result:
    mine, other = dataset(truth, tubes, classes=classes)
    return evaluate(mine, other, "ucf24", parameters={"split": None, **parameters})


def test_the_next_best_truth_is_tried():
    # NEAR overlaps A most, which the first has, and then B by more than half.
    truth: Truth = {"v": {0: [still(1, 2), still(1, 2, B)]}}
    found: Found = {0: [("v", 0.9, still(1, 2)), ("v", 0.8, still(1, 2, NEAR))]}
    result = judged(truth, found, suppress=None)
    assert result["video_mAP@0.5"] == result["frame_mAP@0.5"] == 1
    # A third one finds nothing that is left; the area up to recall 1 is the same.
    found[0].append(("v", 0.7, still(1, 2)))
    assert judged(truth, found, suppress=None)["video_mAP@0.5"] == 1
    zero = np.zeros(3, np.int64)
    boxes = np.array([box(A), box(NEAR), box(A)])
    true = Boxes(zero[:2], zero[:2], zero[:2], np.array([box(A), box(B)]), np.zeros(2))
    guess = Boxes(zero, zero, zero, boxes, np.array([0.7, 0.8, 0.9]))
    assert frame_ap(guess, true, 1, matching="remaining") == 1
    assert frame_ap(guess, true, 1, matching="argmax") == 0.5


def test_higher_scores_choose_first():
    # By score: B's own box takes B, NEAR takes A, and A's own finds none: right, right, wrong.
    truth: Truth = {"v": {0: [still(1, 2), still(1, 2, B)]}}
    found: Found = {
        0: [("v", 0.7, still(1, 2)), ("v", 0.8, still(1, 2, NEAR)), ("v", 0.9, still(1, 2, B))]
    }
    table = judged(truth, found, suppress=None).curves["video_precision"]
    assert table["precision"].to_pylist() == pytest.approx([1, 1, 2 / 3])


def test_lengths_and_sides_count_both_ends():
    truth: Truth = {"v": {0: [still(2, 2)]}}
    result = judged(truth, {0: [("v", 0.9, still(2, 2))]})
    assert result["video_mAP@0.50:0.95"] == 1 and not result.findings.counts
    # Boxes 10 wide, half shared (50 / 150); 2 of 3 frames: 2 / 9, above 0.2. Without the ends it
    # were 36 / 126 by 1 / 2.
    wide, moved = (0, 0, 9, 9), (5, 0, 14, 9)
    truth = {"v": {0: [still(1, 2, wide)]}}
    result = judged(truth, {0: [("v", 0.9, still(1, 3, moved))]})
    assert result["video_mAP@0.2"] == 1 and result["video_mAP@0.5"] == 0


def test_precision_is_joined_by_straight_lines():
    # Wrong, then right: from (0, 1) over (0, 0) to (1, 1/2).
    truth: Truth = {"v": {0: [still(1, 2)]}}
    found: Found = {0: [("v", 0.9, still(1, 2, FAR)), ("v", 0.8, still(1, 2))]}
    assert judged(truth, found)["video_mAP@0.5"] == 0.25
    corrected = judged(truth, found, mode="corrected")
    assert corrected["video_mAP@0.5"] == 0.5 and corrected.facts["mode"] == "corrected"
    assert area_under(np.array([1, 1]), np.array([0, 1]), 2, "trapezoid") == 0.5
    none = np.empty(0, np.int64)
    assert area_under(none, none, 2, "trapezoid") == 0


def test_lower_tubes_that_overlap_go_first():
    # Of three alike the highest stays; without that the others count as wrong, before FAR is right.
    truth: Truth = {"v": {0: [still(1, 2), still(1, 2, FAR)]}}
    found: Found = {
        0: [("v", s, still(1, 2, c)) for s, c in ((0.7, A), (0.9, A), (0.8, NEAR), (0.1, FAR))]
    }
    assert judged(truth, found)["video_mAP@0.5"] == 1
    # Points (0, 1), (.5, 1), (.5, 1/2), (.5, 1/3), (1, 1/2).
    wanted = 0.5 + 0.5 * (1 / 3 + 1 / 2) / 2
    assert judged(truth, found, suppress=None)["video_mAP@0.5"] == pytest.approx(wanted)
    assert judged(truth, found, suppress=1.0)["video_mAP@0.5"] == pytest.approx(wanted)


def test_who_is_taken_away_takes_none_away():
    # The second goes because of the first, so the third, which only the second overlaps, stays.
    shapes = [still(1, 10), still(4, 13), still(7, 16)]
    flat = [np.array([[r[0], *box(r[1:])] for r in t]) for t in shapes]
    tubes = Tubes.of([0] * 3, [0] * 3, flat, [0.9, 0.8, 0.7])
    # Neighbours share 7 of 13 frames, the outer ones 4 of 16.
    assert suppressed(tubes, 0.5, inclusive=True).tolist() == [0, 2]
    assert suppressed(tubes, 0.2, inclusive=True).tolist() == [0]
    apart = Tubes.of([0, 1, 0], [0, 0, 1], flat, [0.9, 0.8, 0.7])
    assert suppressed(apart, 0.0, inclusive=True).tolist() == [0, 1, 2]
    ties = Tubes.of([0, 0], [0, 0], flat[:2], [0.5, 0.5])
    assert suppressed(ties, 0.5, inclusive=True).tolist() == [0]


@pytest.mark.parametrize("seed", range(12))
def test_equals_the_script(seed: int):
    truth, tubes, frames = drawn(seed)
    script = Script(act=True)
    mine, other = dataset(truth, tubes, frames)
    result = evaluate(mine, other, "ucf24", parameters={"split": None})
    wanted = [script.frame_ap(truth, frames, label) for label in range(4)]
    assert result["frame_mAP@0.5"] == pytest.approx(np.nanmean(wanted), abs=1e-12)
    left = script.suppressed(tubes)
    for name, thresholds in Ucf24.videos.items():
        value = script.video_map(truth, left, thresholds)
        assert result[name] == pytest.approx(value, abs=1e-12)
    plain = evaluate(mine, other, "ucf24", parameters={"split": None, "suppress": None})
    value = script.video_map(truth, tubes, (0.2,))
    assert plain["video_mAP@0.2"] == pytest.approx(value, abs=1e-12)


def test_parts_in_any_order_give_the_same_bits():
    truth, tubes, frames = drawn(3)
    mine, other = dataset(truth, tubes, np.round(frames, 1))
    protocol = Ucf24(split=None)
    whole = in_group_parts(protocol, mine, other, [0, 6], 0)
    assert same(in_group_parts(protocol, mine, other, [0, 1, 3, 6], 1), whole)
    assert whole.recount is not None
    ones = np.ones(len(whole.recount.keys), np.int64)
    assert dict(whole.recount.values(ones)) == dict(whole.values)


def test_parameters_are_checked():
    assert Ucf24().split == "test"
    for wrong in ({"mode": "best"}, {"suppress": -0.1}, {"suppress": 1.1}):
        with pytest.raises(UsageError):
            Ucf24(**wrong)  # type: ignore[arg-type]
