"""MultiSports' numbers: every rule by hand, and the authors' script restated on drawn cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from granum.errors import UsageError
from granum.metrics.base import Result
from granum.metrics.evaluate import evaluate
from granum.metrics.multisports import MultiSports, Tubes, frame_ap, tube_iou, video_ap
from granum.schema.rows import Annotation, Category, Group, Sample
from granum.store.dataset import Dataset
from tests.metrics.groups import in_group_parts
from tests.metrics.made import same
from tests.metrics.tube_cases import Found, Script, Truth, box, dataset, drawn

A, B = (0.0, 0.0, 10.0, 10.0), (2.0, 0.0, 12.0, 10.0)
FAR = (50.0, 50.0, 60.0, 60.0)


def still(first: int, last: int, corners: Any = A) -> Any:
    """A tube that does not move."""
    return np.array([[f, *corners] for f in range(first, last + 1)])


def lying(tube: Any) -> Any:
    """A tube of corners as x, y, width, height."""
    return np.array([[row[0], *box(row[1:5])] for row in tube])


def judged(
    truth: Truth,
    tubes: Found | None = None,
    frames: Any = None,
    classes: Any = 1,
    **parameters: Any,
) -> Result:
    given = None if frames is None else np.array(frames, float)
    mine, other = dataset(truth, tubes, given, classes)
    return evaluate(mine, other, "multisports", parameters={"split": None, **parameters})


def codes(result: Result) -> dict[str, int]:
    return dict(result.findings.counts)


# ---------------------------------------------------------------------- overlap of tubes


def test_overlap_is_space_times_time():
    one, other = lying(still(1, 4)), lying(still(3, 6))
    # Frames 3 and 4 are in both: 1 of 5 long, or with both ends 2 of 6.
    assert tube_iou(one, other) == pytest.approx(1 / 5)
    assert tube_iou(one, other, inclusive=True) == pytest.approx(2 / 6)
    # In one of two frames half of each box is shared: (1 + 1/3) / 2.
    moved = still(1, 2)
    moved[1, 1:] = (5, 0, 15, 10)
    assert tube_iou(lying(still(1, 2)), lying(moved)) == pytest.approx(2 / 3)


def test_one_shared_frame_is_nothing_without_both_ends():
    one, other = lying(still(1, 3)), lying(still(3, 5))
    assert tube_iou(one, other) == 0
    assert tube_iou(one, other, inclusive=True) == pytest.approx(1 / 5)
    assert np.isnan(tube_iou(one[:1], one[:1]))
    assert tube_iou(one[:1], one[:1], inclusive=True) == 1
    assert tube_iou(one[:1], other[:1]) == tube_iou(one[:1], other, inclusive=True) == 0


def test_sides_may_count_both_ends():
    small = lying(still(1, 2, (0, 0, 9, 9))), lying(still(1, 2, (5, 0, 14, 9)))
    assert tube_iou(*small) == pytest.approx(36 / 126)
    # 10 wide each, of which 5 are shared: 50 / 150.
    assert tube_iou(*small, inclusive_boxes=True) == pytest.approx(1 / 3)


def test_tubes_with_gaps_share_the_frames_that_both_have():
    whole, gap = still(1, 4), np.delete(still(1, 4), 2, axis=0)
    gap[1, 1:] = (5, 0, 15, 10)
    # Frames 1, 2 and 4: (1 + 1/3 + 1) / 3, and the spans are the same.
    for pair in ((whole, gap), (gap, whole)):
        assert tube_iou(*map(lying, pair)) == pytest.approx(7 / 9)
    never = np.array([still(1, 3)[0], still(1, 3)[2]])
    assert tube_iou(lying(never), lying(still(2, 2))) == 0


def test_tubes_are_arrays_of_frames():
    for wrong in (np.zeros((2, 4)), np.zeros((0, 5)), np.array([[1, 0, 0, 1, 1]] * 2)):
        with pytest.raises(UsageError, match="tube"):
            tube_iou(wrong, wrong)


# ---------------------------------------------------------------------- matching


def test_only_the_best_truth_is_tried():
    # Both detections overlap A most: 1 and 9.5 / 10.5; the second has 8.5 / 11.5 with B.
    near = (0.5, 0.0, 10.5, 10.0)
    truth: Truth = {"v": {0: [still(1, 2), still(1, 2, B)]}}
    found: Found = {0: [("v", 0.9, still(1, 2)), ("v", 0.8, still(1, 2, near))]}
    result = judged(truth, found)
    assert result["video_mAP@0.5"] == result["frame_mAP@0.5"] == 0.5
    tubes = [Tubes.of([0, 0], [0, 0], [lying(t) for t in truth["v"][0]])]
    tubes.append(Tubes.of([0, 0], [0, 0], [lying(t) for _, _, t in found[0]], [0.9, 0.8]))
    assert video_ap(tubes[1], tubes[0], 1, (0.5,), matching="remaining") == 1.0


def test_second_hit_is_wrong():
    # Right, wrong, right of two truths: half at precision 1, half at 2 / 3.
    truth: Truth = {"v": {0: [still(1, 2), still(1, 2, FAR)]}}
    found: Found = {0: [("v", s, still(1, 2, c)) for s, c in ((0.9, A), (0.8, A), (0.7, FAR))]}
    result = judged(truth, found)
    assert result["video_mAP@0.5"] == result["frame_mAP@0.5"] == pytest.approx(5 / 6)


def test_thresholds_are_reached():
    # 1 of 5: at 0.05 to 0.2 a hit, at none above. Both ends: 2 of 6, up to 0.3.
    truth: Truth = {"v": {0: [still(1, 4)]}}
    found: Found = {0: [("v", 0.9, still(3, 6))]}
    result = judged(truth, found)
    assert result["video_mAP@0.2"] == 1 and result["video_mAP@0.5"] == 0
    assert result["video_mAP@0.05:0.45"] == pytest.approx(4 / 9)
    assert result["video_mAP@0.10:0.90"] == pytest.approx(2 / 9)
    assert result["video_mAP@0.50:0.95"] == 0
    corrected = judged(truth, found, mode="corrected")
    assert corrected["video_mAP@0.05:0.45"] == pytest.approx(6 / 9)
    assert (result.facts["mode"], corrected.facts["mode"]) == ("official", "corrected")


def test_tubes_of_one_frame_are_never_found_officially():
    truth: Truth = {"v": {0: [still(2, 2)]}}
    found: Found = {0: [("v", 0.9, still(2, 2))]}
    result = judged(truth, found)
    assert result["video_mAP@0.2"] == 0 and result["frame_mAP@0.5"] == 1
    assert codes(result) == {"one-frame-tube": 2}
    corrected = judged(truth, found, mode="corrected")
    assert corrected["video_mAP@0.50:0.95"] == 1 and not codes(corrected)


def test_classes_are_excluded_by_name_or_by_what_they_say():
    truth: Truth = {"v": {0: [still(1, 2)], 1: [still(1, 2)]}}
    found: Found = {0: [("v", 0.9, still(1, 2))], 1: []}
    named = [Category("aerobic push up", "action"), Category("basketball save", "action")]
    result = judged(truth, found, classes=named)
    assert result["video_mAP@0.5"] == 1 and result.facts["classes_left_out"] == ["basketball save"]
    assert result.per_class["category"].to_pylist() == ["aerobic push up"]
    assert codes(result) == {"not-compared": 2}
    said = [Category("a", "action", attributes={"scored": True}), Category("b", "action")]
    assert judged(truth, found, classes=said)["video_mAP@0.5"] == 0.5
    said[1] = Category("b", "action", attributes={"scored": False})
    assert judged(truth, found, classes=said)["video_mAP@0.5"] == 1
    said[1] = Category("basketball save", "action", attributes={"scored": True})
    assert judged(truth, found, classes=said)["video_mAP@0.5"] == 0.5


def test_detections_on_frames_without_truth_are_wrong():
    truth: Truth = {"v": {0: [still(1, 1)]}, "w": {}}
    frames = [[0, 7, 0, 0.9, *A], [0, 1, 0, 0.8, *A]]
    assert judged(truth, frames=frames)["frame_mAP@0.5"] == 0.5
    frames[0][0] = 1  # and in a video without truth
    assert judged(truth, frames=frames)["frame_mAP@0.5"] == 0.5


def test_classes_without_truth_are_not_in_the_mean():
    truth: Truth = {"v": {0: [still(1, 2)]}}
    found: Found = {0: [("v", 0.9, still(1, 2))], 1: [("v", 0.9, still(1, 2))]}
    result = judged(truth, found, classes=3)
    assert result["video_mAP@0.5"] == 1
    assert result.per_class["video_AP@0.5"].to_pylist() == [1, None, None]
    assert result.per_class["detected_tubes"].to_pylist() == [1, 1, 0]


def test_videos_without_detections_are_missed():
    truth: Truth = {"v": {0: [still(1, 2)]}, "w": {0: [still(1, 2)]}}
    result = judged(truth, {0: [("v", 0.9, still(1, 2))]})
    assert result["video_mAP@0.5"] == result["frame_mAP@0.5"] == 0.5
    assert codes(result) == {"no-predictions": 1}
    table = result.per_sample
    assert table is not None and table.to_pydict() == {
        "key": ["v/000001", "v/000002", "w/000001", "w/000002"],
        "tp": [1, 1, 0, 0],
        "fp": [0, 0, 0, 0],
        "fn": [0, 0, 1, 1],
    }


# ---------------------------------------------------------------------- the script restated


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("mode", ["official", "corrected"])
def test_equals_the_script(seed: int, mode: str):
    truth, tubes, frames = drawn(seed)
    script = Script(ends=mode == "corrected")
    mine, other = dataset(truth, tubes, frames)
    result = evaluate(mine, other, "multisports", parameters={"split": None, "mode": mode})
    wanted = [script.frame_ap(truth, frames, label) for label in range(4)]
    got = result.per_class["frame_AP@0.5"].to_pylist()
    assert [np.nan if v is None else v for v in got] == pytest.approx(
        wanted, abs=1e-12, nan_ok=True
    )
    assert result["frame_mAP@0.5"] == pytest.approx(np.nanmean(wanted), abs=1e-12)
    for name, thresholds in MultiSports.videos.items():
        value = script.video_map(truth, tubes, thresholds)
        assert result[name] == pytest.approx(value, abs=1e-12)


def test_script_restated_gives_the_numbers_by_hand():
    script = Script()
    assert script.tube_iou(still(1, 4), still(3, 6)) == pytest.approx(1 / 5)
    found = [("v", s, c) for s, c in ((0.9, A), (0.8, A), (0.7, FAR))]
    assert script.ap(found, {"v": [A, FAR]}, script.box_iou, 0.5) == pytest.approx(5 / 6)


# ---------------------------------------------------------------------- rows


def rows_of(truth: Truth, annotations: list[list[Annotation]], whole: list[Annotation]) -> Result:
    """Predictions as rows, frame by frame from 1, of one video."""
    mine, _ = dataset(truth, classes=1)
    samples = [
        Sample(f"v/{i:06d}", group=0, order=i, annotations=listed)
        for i, listed in enumerate(annotations, 1)
    ]
    other = Dataset.from_rows(
        samples, [Category("c0", "action")], [Group("v", "video")], group_annotations=whole
    )
    return evaluate(mine, other, "multisports", parameters={"split": None})


def test_score_of_a_tube_is_on_its_row_or_the_mean_of_its_boxes():
    truth: Truth = {"v": {0: [still(1, 2)]}}

    def made(score: float | None, whole: float | None, *, wrong: float) -> Result:
        right = Annotation(category=0, bbox=box(A), track=1, score=score)
        away = Annotation(category=0, bbox=box(FAR), track=2, score=wrong)
        tracks = [Annotation("track", 0, track=1, score=whole, group=0)]
        return rows_of(truth, [[right, away], [right, away]], tracks)

    assert made(0.1, 0.9, wrong=0.5)["video_mAP@0.5"] == 1
    assert made(0.9, 0.1, wrong=0.5)["video_mAP@0.5"] == 0.5
    assert made(0.6, None, wrong=0.5)["video_mAP@0.5"] == 1
    result = made(None, 0.9, wrong=0.5)
    assert result["video_mAP@0.5"] == result["frame_mAP@0.5"] == 1 and not codes(result)


def test_class_of_a_box_may_be_on_the_row_of_its_tube():
    truth: Truth = {"v": {0: [still(1, 2)]}}
    plain = Annotation(bbox=box(A), track=1, score=0.5)
    result = rows_of(truth, [[plain], [plain]], [Annotation("track", 0, track=1, group=0)])
    assert result["video_mAP@0.5"] == 1 and not codes(result)
    assert codes(rows_of(truth, [[plain], [plain]], []))["missing-category"] == 2


def test_what_cannot_be_compared_is_found():
    truth: Truth = {"v": {0: [still(1, 2)]}}
    good = Annotation(category=0, bbox=box(A), track=1, score=0.5)
    lost = [
        Annotation(category=0, bbox=box(A)),
        Annotation(category=0, bbox=box(A), score=np.nan),
        Annotation(category=0, score=0.5),
        Annotation(category=0, bbox=(0, 0, np.inf, 1), score=0.5),
        good,
    ]
    whole = [Annotation("track", 0, track=9, score=1, group=0)]
    result = rows_of(truth, [[good, *lost], [], [], [good]], whole)
    assert codes(result) == {
        "missing-score": 1,
        "nan-score": 1,
        "missing-geometry": 2,
        "nan-box": 1,
        "repeated-track": 1,
        "track-gap": 1,
    }
    assert result.facts["tubes"] == {"truth": 1, "predictions": 1}


def test_boxes_of_no_tube_are_the_detections_of_frames():
    truth: Truth = {"v": {0: [still(1, 2)]}}
    tubes: Found = {0: [("v", 0.9, still(1, 2))]}
    result = judged(truth, tubes, [[0, 1, 0, 0.9, *FAR]])
    assert result["frame_mAP@0.5"] == 0 and result["video_mAP@0.5"] == 1
    assert result.facts["frame_detections"] == "boxes of no tube"
    assert judged(truth, tubes).facts["frame_detections"] == "boxes of tubes"


def test_without_tubes_there_is_no_number_of_them():
    truth: Truth = {"v": {0: [still(1, 2)]}}
    result = judged(truth, frames=[[0, 1, 0, 0.9, *A], [0, 2, 0, 0.9, *A]])
    assert result["frame_mAP@0.5"] == 1
    assert {v for n, v in result.values.items() if n.startswith("video")} == {None}
    assert codes(result)["undefined-number"] == 5
    nothing = judged(truth)
    assert set(nothing.values.values()) == {0.0} and "nothing-to-compare" in codes(nothing)


def test_only_videos_of_the_split_count():
    truth: Truth = {"v": {0: [still(1, 2)]}, "w": {0: [still(1, 2)]}}
    found: Found = {0: [("v", 0.9, still(1, 2)), ("w", 0.8, still(1, 2, FAR))]}

    def split(said: list[str | None], frames: list[str | None], wanted: str | None) -> Result:
        pair = dataset(truth, found, classes=1, videos=said, of_frames=frames)
        return evaluate(*pair, "multisports", parameters={"split": wanted})

    both, first = split([None] * 2, [None] * 2, "val"), split(["val", "train"], [None] * 2, "val")
    assert (both["video_mAP@0.5"], first["video_mAP@0.5"]) == (0.5, 1)
    assert split([None] * 2, ["val", "train"], "val")["video_mAP@0.5"] == 1
    assert split(["val", "train"], ["train", "val"], "train")["video_mAP@0.5"] == 0
    assert split(["val", "train"], [None] * 2, None)["video_mAP@0.5"] == 0.5
    assert codes(first)["not-compared"] == 5 and first.facts["videos"] == 1


def test_unknown_videos_and_classes_are_found():
    truth: Truth = {"v": {0: [still(1, 2)]}}
    found: Found = {0: [("v", 0.9, still(1, 2))], 1: [("v", 0.8, still(1, 2))]}
    mine, _ = dataset(truth, classes=1)
    _, other = dataset({"v": {}, "x": {}}, {**found, 0: [*found[0], ("x", 1, still(1, 2))]})
    result = evaluate(mine, other, "multisports", parameters={"split": None})
    assert result["video_mAP@0.5"] == 1
    assert codes(result) == {"unknown-sample": 3, "unknown-category": 3}


# ---------------------------------------------------------------------- parts, recounts, arrays


def test_parts_in_any_order_give_the_same_bits():
    truth, tubes, frames = drawn(5)
    frames[:, 3], tubes = (
        np.round(frames[:, 3], 1),
        {label: [(v, round(s, 1), t) for v, s, t in listed] for label, listed in tubes.items()},
    )  # with ties
    mine, other = dataset(truth, tubes, frames)
    protocol = MultiSports(split=None)
    whole = in_group_parts(protocol, mine, other, [0, 6], 0)
    for seed, cuts in enumerate(([0, 1, 2, 3, 4, 5, 6], [0, 2, 5, 6], [0, 4, 6])):
        assert same(in_group_parts(protocol, mine, other, cuts, seed), whole)


def test_recount_of_some_videos_is_their_evaluation():
    truth, tubes, frames = drawn(7)
    mine, other = dataset(truth, tubes, frames)
    result = evaluate(mine, other, "multisports", parameters={"split": None})
    recount = result.recount
    assert recount is not None and recount.unit == "group"
    assert recount.keys.to_pylist() == [f"v{i}" for i in range(6) if any(truth[f"v{i}"]) or i < 5]
    assert dict(recount.values(np.ones(len(recount.keys), np.int64))) == dict(result.values)
    chosen = np.array([k in ("v1", "v3", "v4") for k in recount.keys.to_pylist()])
    some = {k: truth[k] for k in ("v1", "v3", "v4")}
    listed = {c: [t for t in ts if t[0] in some] for c, ts in tubes.items()}
    rows = frames[np.isin(frames[:, 0], (1, 3, 4))]
    rows[:, 0] = np.searchsorted((1, 3, 4), rows[:, 0])
    alone = evaluate(*dataset(some, listed, rows), "multisports", parameters={"split": None})
    assert dict(recount.values(chosen.astype(np.int64))) == dict(alone.values)
    assert set(recount.values(np.zeros(len(chosen), np.int64)).values()) == {None}


def test_curves_tell_recall_and_precision():
    truth: Truth = {"v": {0: [still(1, 2), still(1, 2, FAR)]}}
    found: Found = {0: [("v", 0.9, still(1, 2)), ("v", 0.8, still(1, 2))]}
    curve = judged(truth, found).curves["video_precision"]
    assert curve.to_pydict() == {
        "category": ["c0", "c0"],
        "score": [0.9, 0.8],
        "recall": [0.5, 0.5],
        "precision": [1, 0.5],
    }


def test_parameters_are_checked():
    with pytest.raises(UsageError, match="official or corrected"):
        MultiSports(mode="best")  # type: ignore[arg-type]
    none = Tubes.of([], [], [])
    assert np.isnan(video_ap(none, none, 2, (0.5,))).all()
    with pytest.raises(UsageError, match="above 0"):
        video_ap(none, none, 2, (0.0,))
    with pytest.raises(UsageError, match="argmax or remaining"):
        video_ap(none, none, 2, (0.5,), matching="all")  # type: ignore[arg-type]


def test_frames_as_arrays():
    from granum.metrics.multisports import Boxes

    zero = np.zeros(2, np.int64)
    true = Boxes(zero, zero, zero, np.array([box(A), box(FAR)]), np.zeros(2))
    found = Boxes(zero, zero, zero, np.array([box(A), box(A)]), np.array([0.5, 0.6]))
    assert frame_ap(found, true, 2)[0] == 0.5 and np.isnan(frame_ap(found, true, 2)[1])


def test_boxes_without_a_place_are_found():
    truth: Truth = {"v": {0: [still(1, 2)]}}
    mine, _ = dataset(truth, classes=1)
    good = Annotation(category=0, bbox=box(A), track=1, score=0.5)
    samples = [
        Sample(f"v/{i:06d}", group=0, order=order, annotations=[good])
        for i, order in ((1, 1), (2, None))
    ]
    whole = [Annotation(category=0, bbox=box(A), score=0.5, group=0)]
    other = Dataset.from_rows(
        samples, [Category("c0", "action")], [Group("v", "video")], group_annotations=whole
    )
    result = evaluate(mine, other, "multisports", parameters={"split": None})
    # The second frame has no number, so it is no frame of the truth: right, then wrong.
    assert result["frame_mAP@0.5"] == 0.5 and result.facts["predictions"] == 2
    assert codes(result) == {"missing-order": 1, "not-compared": 1, "one-frame-tube": 1}


@pytest.mark.parametrize("gaps", [False, True])
def test_what_is_held_at_a_time_changes_nothing(gaps: bool, monkeypatch: pytest.MonkeyPatch):
    truth, tubes, frames = drawn(9)
    if gaps:
        tubes = {
            label: [
                (v, s, np.delete(t, len(t) // 2, axis=0) if len(t) > 2 else t) for v, s, t in ts
            ]
            for label, ts in tubes.items()
        }
    mine, other = dataset(truth, tubes, frames)

    def result() -> Result:
        return evaluate(mine, other, "multisports", parameters={"split": None})

    whole = result()
    assert ("track-gap" in codes(whole)) is gaps and (whole["video_mAP@0.2"] or 0) > 0
    for size in (1, 7):
        monkeypatch.setattr("granum.metrics._tubes.overlaps._BOXES", size)
        monkeypatch.setattr("granum.metrics._tubes.frame_ap._PAIRS", size)
        assert same(result(), whole)


def test_gaps_are_compared_in_the_frames_of_both():
    truth, tubes, _ = drawn(6)
    script = Script()
    holes = {
        label: [(v, s, np.delete(t, len(t) // 2, axis=0) if len(t) > 2 else t) for v, s, t in ts]
        for label, ts in tubes.items()
    }

    def overlap(a: Any, b: Any) -> float:
        both = sorted(set(a[:, 0]) & set(b[:, 0]))
        if not both:
            return 0.0
        low, high = max(a[0, 0], b[0, 0]), min(a[-1, 0], b[-1, 0])
        joint = max(a[-1, 0], b[-1, 0]) - min(a[0, 0], b[0, 0])
        rows = [{r[0]: r[1:5] for r in t} for t in (a, b)]
        mean = np.mean([script.box_iou(rows[0][f], rows[1][f]) for f in both])
        return float(mean * (high - low) / joint) if joint else 0.0

    result = judged(truth, holes, classes=4)
    for label in range(4):
        known = {name: by_label[label] for name, by_label in truth.items() if label in by_label}
        for least in (0.2, 0.5):
            value = result.per_class[f"video_AP@{least}"].to_pylist()[label]
            wanted = script.ap(holes[label], known, overlap, least)
            assert (np.nan if value is None else value) == pytest.approx(
                wanted, abs=1e-12, nan_ok=True
            )
