"""The error split of tubes: each kind by hand, and the script's loop restated on drawn cases."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from granum.errors import UsageError
from granum.metrics._tubes.errors import KINDS, error_kinds
from granum.metrics.evaluate import evaluate
from granum.metrics.multisports import MultiSports, Tubes
from granum.schema.rows import Category
from tests.metrics.groups import in_group_parts
from tests.metrics.made import same
from tests.metrics.tube_cases import Found, Script, Truth, box, dataset, drawn

A, MOVED, FAR = (0, 0, 10, 10), (5, 0, 15, 10), (50, 50, 60, 60)


def still(first: int, last: int, corners: Any = A) -> Any:
    return np.array([[f, *corners] for f in range(first, last + 1)])


def test_each_kind_by_hand():
    # One truth of class 0, frames 1 to 10. MOVED shares a third; frames 6 to 15 share 4 of 14.
    cases = {
        "right": (0, still(1, 10)),
        "repeated": (0, still(1, 10)),
        "extra": (0, still(1, 10, FAR)),
        "location": (0, still(1, 10, MOVED)),
        "class": (1, still(1, 10)),
        "time": (0, still(6, 15)),
        "class_time": (1, still(6, 15)),
        "class_location": (1, still(1, 10, MOVED)),
        "time_location": (0, still(6, 15, MOVED)),
        "class_time_location": (1, still(6, 15, MOVED)),
    }
    assert tuple(cases) == KINDS

    def tubes(listed: list[tuple[int, Any]]) -> Tubes:
        flat = [np.array([[r[0], *box(r[1:])] for r in t]) for _, t in listed]
        score = np.linspace(1, 0, len(listed))
        return Tubes.of([0] * len(listed), [label for label, _ in listed], flat, score)

    true = tubes([(0, still(1, 10))])
    kinds = error_kinds(tubes(list(cases.values())), true)
    assert [KINDS[k] for k in kinds.tolist()] == list(cases)
    # The roots at 0.1 are 0.32: a third is enough, 4 of 14 (5 of 15 with both ends) are not.
    low = error_kinds(tubes([cases["class_time_location"]]), true, 0.1)
    assert KINDS[low[0]] == "class_time"
    assert KINDS[error_kinds(tubes([cases["time_location"]]), true, 0.09)[0]] == "right"
    with_ends = error_kinds(tubes([cases["class_time"]]), true, 0.11, inclusive=True)
    assert KINDS[with_ends[0]] == "class"
    none = Tubes.of([], [], [])
    assert error_kinds(none, true).tolist() == []
    assert KINDS[error_kinds(true, none)[0]] == "extra"


def test_shares_by_hand():
    # Repeated, right, extra, missed: recall is a half from the second on, where one of two is an
    # error. The shares from there on are at most: right 1/2, repeated 1/2, extra 1/3.
    truth: Truth = {"v": {0: [still(1, 9), still(1, 9, FAR)]}}
    found: Found = {
        0: [("v", s, still(1, 9, c)) for s, c in ((0.5, A), (0.4, A), (0.3, (80, 0, 90, 9)))]
    }
    mine, other = dataset(truth, found, classes=2)
    result = evaluate(mine, other, "multisports", parameters={"split": None, "errors": 0.5})
    table = result.curves["errors"].to_pylist()
    assert table[0]["category"] == "c0" and len(table) == 1
    assert table[0]["right"] == result["video_mAP@0.5"] == 0.5
    assert table[0]["repeated"] == pytest.approx(0.5 * 1 / 2)
    assert table[0]["extra"] == pytest.approx(0.5 * 1 / 3)
    assert table[0]["missed"] == 0.5 and table[0]["class"] == 0


def test_truth_of_classes_that_are_not_scored_explains_errors():
    truth: Truth = {"v": {0: [still(1, 9, FAR)], 1: [still(1, 9)]}}
    found: Found = {0: [("v", 0.5, still(1, 9)), ("v", 0.4, still(1, 9, FAR))]}
    named = [Category("a", "action"), Category("basketball save", "action")]
    mine, other = dataset(truth, found, classes=named)
    result = evaluate(mine, other, "multisports", parameters={"split": None, "errors": 0.5})
    (row,) = result.curves["errors"].to_pylist()
    assert (row["right"], row["class"], row["extra"]) == (0.5, 0.5, 0)


def split_by_script(truth: Truth, tubes: Found, label: int, least: float) -> dict[str, float]:
    """videoAP_error, slowly, for one class."""
    script, root = Script(), math.sqrt(least)

    def space_and_time(a: Any, b: Any) -> tuple[float, float]:
        low, high = max(a[0, 0], b[0, 0]), min(a[-1, 0], b[-1, 0])
        time = (high - low) / (max(a[-1, 0], b[-1, 0]) - min(a[0, 0], b[0, 0]))
        return script.tube_iou(a, b) / time, time

    total = sum(len(by_label.get(label, [])) for by_label in truth.values())
    counts, taken, points = dict.fromkeys(KINDS, 0), set(), []
    for name, _, tube in sorted(tubes[label], key=lambda t: -t[1]):
        known = [(c, i, t) for c, ts in truth[name].items() for i, t in enumerate(ts)]
        # Of two tubes of one frame the script's value is no number, and it then fails.
        near = [np.nan_to_num(script.tube_iou(t, tube)) for _, _, t in known]
        own = [(v, i) for v, (c, i, _) in zip(near, known, strict=True) if c == label]
        best = max(own, key=lambda o: o[0], default=(0.0, -1))
        if best[0] >= least:
            kind = "repeated" if (name, best[1]) in taken else "right"
            taken.add((name, best[1]))
        elif not near or max(near) == 0:
            kind = "extra"
        elif max(near) >= least:
            kind = "class"
        else:
            other, _, t = known[int(np.argmax(near))]
            space, time = space_and_time(t, tube)
            wrong = "location" if time >= root else "time" if space >= root else "time_location"
            kind = wrong if other == label else f"class_{wrong}"
        counts[kind] += 1
        points.append([counts[k] / (len(points) + 1) for k in KINDS] + [counts["right"] / total])
    out = {}
    for i, name in enumerate(KINDS):
        recall = [0.0, *(p[-1] for p in points), 1.0]
        share = [0.0, *(p[i] for p in points), 0.0]
        for k in range(len(share) - 2, -1, -1):
            share[k] = max(share[k], share[k + 1])
        out[name] = sum((recall[k] - recall[k - 1]) * share[k] for k in range(1, len(recall)))
    return {**out, "missed": 1 - (points[-1][-1] if points else 0)}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("least", [0.5, 0.2])
def test_equals_the_script(seed: int, least: float):
    truth, tubes, _ = drawn(seed)
    mine, other = dataset(truth, tubes)
    result = evaluate(mine, other, "multisports", parameters={"split": None, "errors": least})
    rows = result.curves["errors"].to_pylist()
    present = [c for c in range(4) if any(by_label.get(c) for by_label in truth.values())]
    assert [row.pop("category") for row in rows] == [f"c{c}" for c in present]
    for row, label in zip(rows, present, strict=True):
        assert row == pytest.approx(split_by_script(truth, tubes, label, least), abs=1e-12)


def test_parts_in_any_order_give_the_same_bits():
    truth, tubes, frames = drawn(2)
    mine, other = dataset(truth, tubes, frames)
    protocol = MultiSports(split=None, errors=0.5)
    whole = in_group_parts(protocol, mine, other, [0, 6], 0)
    assert "errors" in whole.curves
    assert same(in_group_parts(protocol, mine, other, [0, 2, 3, 6], 1), whole)


def test_thresholds_are_checked():
    for wrong in (0, 1.5):
        with pytest.raises(UsageError, match="errors"):
            MultiSports(errors=wrong)
