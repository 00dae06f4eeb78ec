"""AVA's frame-mAP: rules by hand, and ActivityNet's script restated on drawn cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from granum.errors import UsageError
from granum.metrics.ava import Ava, highest_of_frames
from granum.metrics.base import Result
from granum.metrics.evaluate import evaluate
from granum.schema.rows import Annotation, Category, Group, Sample
from granum.store.dataset import Dataset
from tests.metrics.groups import in_group_parts
from tests.metrics.made import same

Row = tuple[Any, ...]
"""Video, second, x1, y1, x2, y2, action; of detections a score."""

A, B, FAR = (0.0, 0.0, 0.5, 0.5), (0.125, 0.0, 0.625, 0.5), (0.75, 0.75, 1.0, 1.0)


def made(rows: list[Row], actions: Any = 2, excluded: Any = (), unit: str = "relative") -> Dataset:
    """Frames of the rows; each row is a person of its own."""
    categories = (
        actions
        if isinstance(actions, list)
        else [Category(f"a{i}", "action") for i in range(actions)]
    )
    names = ["v", "w", "x"]
    samples: dict[Any, Sample] = {}
    for i, (video, second, x1, y1, x2, y2, action, *score) in enumerate(rows):
        at = video, second
        whole = isinstance(second, int)
        if at not in samples:
            samples[at] = Sample(
                f"{video}/{second}",
                unit=unit,
                group=names.index(video),
                order=second if whole else None,
                attributes={"excluded": True} if at in excluded else None,
            )
        one = Annotation(
            category=action,
            bbox=(x1, y1, x2 - x1, y2 - y1),
            track=i,
            score=score[0] if score else None,
        )
        samples[at].annotations.append(one)
    groups = [Group(n, "video") for n in names]
    return Dataset.from_rows([samples[k] for k in sorted(samples, key=str)], categories, groups)


def judged(truth: list[Row], found: list[Row], excluded: Any = (), **more: Any) -> Result:
    actions = more.pop("actions", 2)
    mine, other = made(truth, actions, excluded), made(found, actions)
    return evaluate(mine, other, "ava", parameters={"split": None, **more})


def value(*given: Any, **more: Any) -> float | None:
    return judged(*given, **more)["frame_mAP@0.5"]


def test_only_the_best_truth_is_tried_and_once():
    near = (0.03125, 0.0, 0.53125, 0.5)  # overlaps A by 15 / 17, B by 13 / 19
    truth = [("v", 902, *A, 0), ("v", 902, *B, 0)]
    found = [("v", 902, *A, 0, 0.9), ("v", 902, *near, 0, 0.8)]
    assert value(truth, found) == 0.5
    assert value(truth, [*found, ("v", 902, *B, 0, 0.1)]) == pytest.approx(5 / 6)


def test_persons_are_no_tubes():
    # One person in two seconds: two boxes, of two actions each.
    truth = [("v", s, *A, action) for s in (902, 904) for action in (0, 1)]
    result = judged(truth, [("v", 902, *A, 0, 0.9), ("v", 904, *A, 1, 0.9)])
    assert list(result.values.items()) == [("frame_mAP@0.5", 0.5)]
    assert result.per_class.to_pydict() == {
        "category": ["a0", "a1"],
        "boxes": [2, 2],
        "detections": [1, 1],
        "frame_AP@0.5": [0.5, 0.5],
    }
    assert not result.findings.counts.keys() - {"no-predictions"}


def test_detections_where_there_is_no_truth_are_wrong():
    truth = [("v", 902, *A, 0), ("w", 902, *A, 1)]
    right = ("v", 902, *A, 0, 0.5)
    for away in (("v", 903), ("v", "902.5"), ("x", 902)):
        assert value(truth[:1], [(*away, *A, 0, 0.9), right]) == 0.5
    assert value(truth, [right]) == 0.5  # nothing found of the other action
    assert value(truth[:1], [right, ("v", 902, *A, 1, 0.9)]) == 1  # of which there is no truth


def test_frames_without_a_whole_second_are_told_apart_by_key():
    truth = [("v", "902.25", *A, 0), ("v", "902.5", *FAR, 0)]
    found = [("v", "902.25", *A, 0, 0.9), ("v", "902.5", *A, 0, 0.8)]
    assert value(truth, found) == 0.5
    assert value(truth, [*found, ("v", "902.5", *FAR, 0, 0.7)]) == pytest.approx(5 / 6)


def test_excluded_frames_do_not_count():
    truth = [("v", 902, *A, 0), ("v", 903, *A, 0)]
    found = [("v", 902, *A, 0, 0.8), ("v", 903, *FAR, 0, 0.9)]
    assert value(truth, found) == 0.25
    result = judged(truth, found, excluded={("v", 903)})
    assert result["frame_mAP@0.5"] == 1
    assert result.findings.counts["not-compared"] == 2
    assert result.per_sample is not None and result.per_sample["key"].to_pylist() == ["v/902"]


def test_only_scored_actions_count():
    said = [Category("a", "action", attributes={"scored": s}) for s in (True, False)]
    said[1].name = "b"
    truth = [("v", 902, *A, 0), ("v", 902, *A, 1)]
    result = judged(truth, [("v", 902, *A, 0, 0.9)], actions=said)
    assert result["frame_mAP@0.5"] == 1 and result.facts["classes_left_out"] == ["b"]
    assert result.per_class["category"].to_pylist() == ["a"]
    # Rows of others do not take the place of those of a frame that count.
    crowd = [("v", 902, *FAR, 1, 0.95)] * 3
    assert value(truth, [*crowd, ("v", 902, *A, 0, 0.9)], actions=said, most=1) == 1


def test_fifty_detections_of_a_frame_count():
    truth = [("v", 902, *A, 0), ("v", 902, *A, 1)]
    crowd = [("v", 902, *FAR, 0, 0.9)] * 49
    last = [("v", 902, *A, 0, 0.5), ("v", 902, *A, 1, 0.4)]
    result = judged(truth, [*crowd, *last])
    # Of the first action 1 of 50 is right; that of the second was the 51st.
    assert result.per_class["frame_AP@0.5"].to_pylist() == [pytest.approx(1 / 50), 0]
    assert result.findings.counts["not-compared"] == 1
    assert judged(truth, [*crowd, *last], most=0).per_class["frame_AP@0.5"].to_pylist()[1] == 1
    frame, score = np.array([1, 0, 1, 1, 0]), np.array([0.5, 0.1, 0.5, 0.9, 0.2])
    assert highest_of_frames(frame, score, 2).tolist() == [0, 1, 3, 4]


def test_boxes_without_an_area_do_not_count():
    truth = [("v", 902, *A, 0)]
    flat = ("v", 902, 0.5, 0.0, 0.5, 1.0, 0, 0.9)
    result = judged(truth, [flat, ("v", 902, *A, 0, 0.8)])
    assert result["frame_mAP@0.5"] == 1 and result.findings.counts["zero-size-box"] == 1


def test_fractions_need_no_sizes_and_pixels_give_the_same():
    truth = [("v", 902, *A, 0), ("v", 902, *B, 0)]
    found = [("v", 902, *A, 0, 0.9), ("v", 902, *FAR, 0, 0.95)]

    def scaled(rows: list[Row]) -> Dataset:
        return made([(*r[:2], *(c * 640 for c in r[2:6]), *r[6:]) for r in rows], unit="pixel")

    pixels = evaluate(scaled(truth), scaled(found), "ava", parameters={"split": None})
    assert dict(pixels.values) == dict(judged(truth, found).values) == {"frame_mAP@0.5": 0.25}


# ---------------------------------------------------------------------- the script restated


def script(truth: list[Row], found: list[Row], actions: int, most: int = 50) -> list[float]:
    """AP of each action, NaN without truth: the steps of get_ava_performance.py, slowly."""
    frames = dict.fromkeys((r[0], r[1]) for r in [*truth, *found])
    scores: list[list[tuple[float, bool]]] = [[] for _ in range(actions)]
    for frame in frames:
        best = sorted((r for r in found if (r[0], r[1]) == frame), key=lambda r: -r[7])[:most]
        best = [r for r in best if r[2] < r[4] and r[3] < r[5]]
        for action in range(actions):
            boxes = [t[2:6] for t in truth if (t[0], t[1]) == frame and t[6] == action]
            taken = [False] * len(boxes)
            for row in best:
                if row[6] != action:
                    continue
                near = [_iou(row[2:6], b) for b in boxes]
                at = int(np.argmax(near)) if near else -1
                hit = at >= 0 and near[at] >= 0.5 and not taken[at]
                if hit:
                    taken[at] = True
                scores[action].append((row[7], hit))
    out = []
    for action, listed in enumerate(scores):
        total = sum(t[6] == action for t in truth)
        hits = np.array([h for _, h in sorted(listed, key=lambda s: -s[0])], float)
        right = np.cumsum(hits)
        precision = [0.0, *(right / np.arange(1, len(hits) + 1)), 0.0]
        recall = [0.0, *(right / total if total else right), 1.0]
        for i in range(len(precision) - 2, -1, -1):
            precision[i] = max(precision[i], precision[i + 1])
        area = sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))
        out.append(area if total else np.nan)
    return out


def _iou(a: Any, b: Any) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    return shared / (sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - shared)


def drawn(seed: int) -> tuple[list[Row], list[Row]]:
    rng = np.random.default_rng(seed)

    def corners() -> list[float]:
        at, size = rng.integers(0, 9, 2) / 16, rng.integers(1, 8, 2) / 16
        return [*at, *(at + size)]

    truth: list[Row] = []
    found: list[Row] = []
    for video in "vwx":
        for second in range(902, 908):
            rows = [
                (video, second, *corners(), int(rng.integers(3))) for _ in range(rng.integers(4))
            ]
            truth += rows
            for _ in range(int(rng.integers(14)) * (second != 905)):
                near = rows[int(rng.integers(len(rows)))] if rows and rng.random() < 0.7 else None
                place = corners() if near is None else near[2:6]
                action = near[6] if near and rng.random() < 0.7 else int(rng.integers(4))
                shift = float(rng.integers(-1, 2)) / 32
                found.append((video, second, place[0] + shift, *place[1:], action, rng.random()))
    return truth, found


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("most", [50, 4])
def test_equals_the_script(seed: int, most: int):
    truth, found = drawn(seed)
    result = judged(truth, found, actions=4, most=most)
    wanted = script(truth, found, 4, most)
    got = [np.nan if v is None else v for v in result.per_class["frame_AP@0.5"].to_pylist()]
    assert got == pytest.approx(wanted, abs=1e-12, nan_ok=True)
    assert result["frame_mAP@0.5"] == pytest.approx(np.nanmean(wanted), abs=1e-12)


def test_parts_and_recounts():
    truth, found = drawn(1)
    mine, other = made(truth, 4), made(found, 4)
    protocol = Ava(split=None)
    whole = in_group_parts(protocol, mine, other, [0, 3], 0)
    assert same(in_group_parts(protocol, mine, other, [0, 1, 2, 3], 1), whole)
    recount = whole.recount
    assert recount is not None and recount.keys.to_pylist() == ["v", "w", "x"]
    assert dict(recount.values(np.ones(3, np.int64))) == dict(whole.values)
    some = [[r for r in rows if r[0] != "w"] for rows in (truth, found)]
    alone = judged(*some, actions=4)
    assert dict(recount.values(np.array([1, 0, 1]))) == dict(alone.values)


def test_parameters_are_checked():
    assert Ava().split == "val"
    with pytest.raises(UsageError, match="negative"):
        Ava(most=-1)
