"""Curves of results as charts: what is drawn over what, and what is not drawn."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest

from granum.metrics.base import Result
from granum.verbs._report_curves import curve_charts


def charts(**tables: dict[str, list[object]]) -> dict[str, str]:
    curves = {name: pa.table(columns) for name, columns in tables.items()}
    return dict(curve_charts(Result("toy", {}, curves=curves).to_dict()["curves"]))


def lines(svg: str) -> list[list[tuple[float, float]]]:
    """The points of each line, in the drawing's units."""
    found = re.findall(r'<polyline[^>]*points="([^"]*)"', svg)
    return [[tuple(map(float, p.split(","))) for p in one.split()] for one in found]  # type: ignore[misc]


def test_precision_is_the_mean_of_the_classes_at_each_recall() -> None:
    table = {
        "category": ["a", "a", "b", "b"],
        "score": [0.9, 0.8, 0.7, 0.6],
        "recall": [0.5, 1.0, 0.5, 0.5],
        "precision": [1.0, 0.5, 1.0, 0.5],
    }
    ((title, svg),) = charts(precision=table).items()
    assert title == "precision over recall, mean of classes"
    ((*points,),) = lines(svg)
    assert len(points) == 101
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    top, low = points[0][1], points[-1][1]
    # Both are 1 up to a recall of a half; then one is a half and the other not reached.
    assert points[50][1] == top
    assert points[51][1] == low
    bottom = float(re.search(r'class="axis"[^>]*y1="([0-9.]+)"', svg)[1])  # type: ignore[index]
    assert (bottom - low) / (bottom - top) == pytest.approx(0.25, abs=0.01)


def test_iou_has_a_line_each() -> None:
    grid = np.linspace(0, 1, 11).tolist()
    table = {
        "iou": [0.5] * 11 + [0.75] * 11,
        "recall": grid * 2,
        "precision": [1.0] * 11 + [-1.0] * 11,  # no truth
    }
    (svg,) = charts(precision=table).values()
    assert "IoU 0.5" in svg
    assert len(lines(svg)) == 1


def test_named_curves_are_over_what_they_are_about() -> None:
    roc = {"fpr": [0.0, 0.5, 1.0], "tpr": [0.2, 0.8, 1.0], "score": [3.0, 2.0, None]}
    bins = {
        "lower": [0.0, 0.5],
        "upper": [0.5, 1.0],
        "samples": [3, 4],
        "confidence": [0.3, 0.8],
        "accuracy": [0.5, 0.75],
    }
    unknown = {"after": [0, 1], "flops": [None, None], "error": [0.5, 0.4], "pareto": [True] * 2}
    clicks = {"click": [1, 2, 3], "iou": [0.5, 0.7, 0.9]}
    assert list(charts(roc=roc, reliability=bins, error=unknown, clicks=clicks)) == [
        "roc: tpr over fpr",
        "reliability: accuracy over confidence",
        "error: error over after",
        "clicks: iou over click",
    ]
    known = {**unknown, "flops": [5.0, 9.0]}
    assert list(charts(error=known)) == ["error: error over flops"]


def test_what_is_no_curve_is_not_drawn() -> None:
    events = {"task": ["a", "b"], "after": [0, 1], "metric": [0.5, 0.6], "flops": [1.0, 2.0]}
    falling = {"x": [0.3, 0.1, 0.2], "y": [1.0, 2.0, 3.0]}
    one = {"x": [0.3], "y": [1.0]}
    empty: dict[str, list[object]] = {"x": [], "y": []}
    assert charts(events=events, other=falling, single=one, none=empty) == {}


def test_confusion_of_few_classes_is_a_matrix_and_of_many_a_list() -> None:
    few = {"truth": ["a", "a", "b"], "predicted": ["a", "b", "b"], "samples": [3, 1, 2]}
    ((title, table),) = charts(confusion=few).items()
    assert title == "confusion: samples of each class (rows) by prediction"
    assert re.findall(r"<td[^>]*>(.*?)</td>", table) == ["a", "3", "1", "b", "0", "2"]
    names = [f"c{i}" for i in range(20)]
    many = {"truth": names, "predicted": [*names[:18], "c0", "c1"], "samples": [*range(20)]}
    ((title, table),) = charts(confusion=many).items()
    assert title == "confusion: the most frequent"
    cells = re.findall(r"<td[^>]*>(.*?)</td>", table)
    assert cells == ["c19", "c1", "19", "c18", "c0", "18"]
