"""The rules of LVIS, each worked out by hand."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("hotcoco")

from granum.errors import MissingExtraError, UsageError
from granum.metrics import lvis
from granum.metrics.base import Result
from granum.metrics.evaluate import evaluate
from granum.metrics.lvis import Lvis
from granum.schema.rows import Annotation, Category, Sample
from granum.store.dataset import Dataset

ONE = pytest.approx(1.0, abs=1e-12)  # official precision has an epsilon in its denominator

CATS = [Category(f"c{i}", attributes={"frequency": f}) for i, f in enumerate("rcf")]


def boxed(x: float, score: float | None = None, category: int = 0, **more: Any) -> Annotation:
    given = {"category": category, "bbox": (x, 0.0, 10.0, 10.0), "score": score, **more}
    return Annotation(**given)


def absent(category: int) -> Annotation:
    return Annotation("label", category, present=False)


def partial(category: int) -> Annotation:
    return Annotation("label", category, exhaustive=False)


def of(truth: list[Annotation], found: list[Annotation], **more: Any) -> Result:
    one = Sample("a", width=400, height=30, annotations=truth, layers={"net": found})
    data = Dataset.from_rows([one, Sample("b")], CATS)
    given = {"iou_type": "bbox", **more}
    return evaluate(data.layer("truth"), data.layer("net"), "lvis", parameters=given)


def test_a_class_that_was_not_looked_for_is_left_out() -> None:
    """A wrong prediction before the right one halves precision only where it was looked for."""
    other = [boxed(0, category=1), boxed(100, category=2)]
    elsewhere = [boxed(30, 0.9), boxed(100, 0.5, category=2)]
    result = of(other, elsewhere)
    assert (result["AP"], result["APr"], result["APc"], result["APf"]) == (
        pytest.approx(0.5),
        None,
        0.0,
        ONE,
    )
    assert result.facts["left_out"] == {
        "beyond the limit": 0,
        "of classes that were not verified on their image": 1,
        "without any area": 0,
    }
    assert result.findings.counts["not-compared"] == 1
    assert result.per_sample is not None
    assert result.per_sample["fp"].to_pylist() == [0, 0]
    judged = of([*other, absent(0)], elsewhere)
    assert judged.per_sample is not None
    assert judged.per_sample["fp"].to_pylist() == [1, 0]
    assert "not-compared" not in judged.findings.counts


def two_images(labels: list[Annotation]) -> Result:
    """The class is found in one image, and predicted with a higher score in the other."""
    one = Sample("a", annotations=[boxed(0)], layers={"net": [boxed(0, 0.5)]})
    two = Sample("b", annotations=labels, layers={"net": [boxed(0, 0.9)]})
    data = Dataset.from_rows([one, two], CATS)
    given = {"iou_type": "bbox"}
    return evaluate(data.layer("truth"), data.layer("net"), "lvis", parameters=given)


def test_only_verified_absence_makes_a_prediction_wrong() -> None:
    """Of two predictions the first is wrong: precision 1/2 at every recall."""
    assert two_images([])["AP"] == ONE
    assert two_images([absent(1)])["AP"] == ONE
    assert two_images([absent(0)])["AP"] == pytest.approx(0.5)


def test_where_a_class_is_annotated_in_part_nothing_is_wrong() -> None:
    """Precision of [wrong 0.9, right 0.5] is 1/2, without the wrong one 1. A right one counts."""
    truth, found = [boxed(0)], [boxed(30, 0.9), boxed(0, 0.5)]
    assert of(truth, found)["AP"] == pytest.approx(0.5)
    result = of([*truth, partial(0)], found)
    assert (result["AP"], result["AR@300"]) == (ONE, ONE)
    assert result.per_sample is not None
    assert result.per_sample.slice(0, 1).select(["tp", "fp", "fn"]).to_pylist() == [
        {"tp": 1, "fp": 0, "fn": 0}
    ]
    assert of([*truth, partial(1)], found)["AP"] == pytest.approx(0.5)
    assert of([*truth, partial(0)], [])["AP"] == 0.0


def test_the_limit_is_per_image_over_all_classes() -> None:
    """The best of the other class crowds the right one out."""
    truth = [boxed(0), boxed(100, category=1)]
    found = [boxed(100, 0.9, category=1), boxed(130, 0.8, category=1), boxed(0, 0.7)]
    three, two = (of(truth, found, max_detections=n) for n in (3, 2))
    assert (three["APr"], three["APc"], three["AR@3"]) == (ONE, ONE, ONE)
    assert (two["APr"], two["APc"], two["AR@2"]) == (0.0, ONE, 0.5)
    assert two.facts["left_out"]["beyond the limit"] == 1
    assert of(truth, found, max_detections=2, fixed_ap=True)["APr"] == ONE
    ties = [boxed(100, 0.5, category=1), boxed(0, 0.5)]
    assert of(truth, ties, max_detections=1)["APc"] == ONE
    assert of(truth, ties[::-1], max_detections=1)["APr"] == ONE


def test_the_limit_counts_what_is_left_out_later() -> None:
    """As official code does: predictions of classes that were not looked for take places."""
    found = [boxed(0, 0.9, category=2), boxed(0, 0.5)]
    assert of([boxed(0)], found, max_detections=1)["AP"] == 0.0
    assert of([boxed(0)], found, max_detections=2)["AP"] == ONE


def test_fixed_ap_counts_the_best_of_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lvis, "PER_CLASS", 1)
    truth = [boxed(0), boxed(100, category=1)]
    found = [boxed(30, 0.9), boxed(0, 0.8), boxed(100, 0.1, category=1)]
    result = of(truth, found, fixed_ap=True)
    assert (result["APr"], result["APc"], result["AR"]) == (0.0, ONE, 0.5)


def test_an_area_on_the_bound_is_of_both_ranges() -> None:
    for side, sizes in ((32.0, "sm"), (96.0, "ml")):
        square = {"category": 0, "bbox": (0.0, 0.0, side, side)}
        result = of([Annotation(**square)], [Annotation(score=0.5, **square)])  # type: ignore[arg-type]
        assert {s: result[f"AP{s}"] for s in "sml"} == {
            s: ONE if s in sizes else None for s in "sml"
        }


def test_there_are_no_crowds_but_ignored_truth() -> None:
    """A crowd is found like anything else; what is ignored counts on neither side."""
    crowd = of([boxed(0), boxed(50, crowd=True)], [boxed(0, 0.9), boxed(50, 0.8), boxed(51, 0.7)])
    assert crowd["AP"] == ONE
    assert crowd.per_sample is not None
    assert crowd.per_sample["tp"].to_pylist() == [2, 0]
    assert crowd.per_sample["fp"].to_pylist() == [1, 0]
    inside = of([boxed(0, crowd=True)], [Annotation(category=0, bbox=(0, 0, 4, 10), score=0.9)])
    assert inside["AP"] == 0.0  # IoU 0.4, though all of it lies in the crowd
    ignored = of([boxed(0), boxed(50, ignore=True)], [boxed(50, 0.9), boxed(0, 0.8)])
    assert ignored["AP"] == ONE
    assert ignored.per_class is not None
    assert ignored.per_class["truths"].to_pylist() == [1, 0, 0]


def test_rows_of_no_area_are_left_out() -> None:
    """Neither a wrong prediction, nor a truth to be found, nor a sign that a class is there."""
    flat = {"bbox": (0.0, 0.0, 10.0, 0.0)}
    found = [boxed(0, 0.9, **flat), boxed(0, 0.5)]
    result = of([boxed(0)], found)
    assert result["AP"] == ONE
    assert result.facts["left_out"]["without any area"] == 1
    truth = [boxed(0), boxed(0, category=1, area=0.0)]
    result = of(truth, [boxed(0, 0.5), boxed(0, 0.9, category=1)])
    assert (result["AP"], result["APc"]) == (ONE, None)
    assert result.facts["left_out"]["of classes that were not verified on their image"] == 1


def test_frequencies_are_attributes_of_classes() -> None:
    """Classes without one count in AP only."""
    cats = [Category("a", attributes={"frequency": "c"}), Category("b"), Category("c")]
    cats[2].attributes = {"frequency": 3}
    truth = [boxed(50.0 * i, category=i) for i in range(3)]
    found = [boxed(0.0, 0.9), boxed(100.0, 0.8, category=2)]
    data = Dataset.from_rows([Sample("a", annotations=truth, layers={"net": found})], cats)
    given = {"iou_type": "bbox"}
    result = evaluate(data.layer("truth"), data.layer("net"), "lvis", parameters=given)
    assert result["AP"] == pytest.approx(2 / 3)
    assert (result["APr"], result["APc"], result["APf"]) == (None, ONE, None)
    assert result.findings.counts["undefined-number"] == 6
    assert result.per_class is not None
    assert result.per_class["frequency"].to_pylist() == ["c", None, None]


def test_areas() -> None:
    """Ten by ten is small, unless another area is stated; no number is of ranges without truth."""
    result = of([boxed(0)], [boxed(0, 0.5)])
    assert (result["APs"], result["APm"], result["APl"]) == (ONE, None, None)
    assert (result["ARs@300"], result["ARm@300"]) == (ONE, None)
    large = of([boxed(0, area=5000.0)], [boxed(0, 0.5)])
    assert (large["APs"], large["APm"]) == (None, ONE)


def test_rows_that_cannot_be_compared_are_findings() -> None:
    truth = [boxed(0), Annotation("label", 0, present=True), Annotation("label", present=False)]
    found = [boxed(0, 0.5), boxed(0, float("nan")), boxed(0), Annotation(category=0, score=0.4)]
    result = of([*truth, Annotation("caption", text="x")], found)
    assert result["AP"] == ONE
    counts = dict(result.findings.counts)
    assert counts.pop("no-predictions") == 1
    assert counts.pop("undefined-number") == 6
    assert counts == {
        "not-compared": 2,
        "missing-category": 1,
        "nan-score": 1,
        "missing-score": 1,
        "missing-geometry": 1,
    }
    assert (result.facts["truths"], result.facts["predictions"]) == (1, 1)


def test_without_predictions_or_truth() -> None:
    nothing = of([boxed(0)], [])
    assert (nothing["AP"], nothing["AR@300"], nothing["APf"]) == (0.0, 0.0, None)
    assert set(of([], [boxed(0, 0.5)]).values.values()) == {None}
    data = Dataset.from_rows([], CATS)
    result = evaluate(data, data, "lvis")
    assert set(result.values.values()) == {None}
    assert result.recount is not None
    assert set(result.recount.values(np.zeros(0, np.int64)).values()) == {None}
    assert result.per_sample is not None
    assert result.per_sample.num_rows == 0


def test_only_masks_need_hotcoco(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    assert of([boxed(0)], [boxed(0, 0.5)])["AP"] == ONE
    with pytest.raises(MissingExtraError, match=r"granum\[eval\]"):
        of([boxed(0)], [boxed(0, 0.5)], iou_type="segm")


def test_parameters_are_checked() -> None:
    with pytest.raises(UsageError, match="segm or bbox"):
        Lvis(iou_type="keypoints")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="above 0"):
        Lvis(max_detections=0)
