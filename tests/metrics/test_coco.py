"""COCO protocols: equal to pycocotools, and what they add to it."""

from __future__ import annotations

import io
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("hotcoco")

from granum.errors import MissingExtraError, SizeUnknownError, UsageError
from granum.metrics._coco import matching
from granum.metrics.base import Context
from granum.metrics.coco import CocoBbox
from granum.metrics.evaluate import evaluate, protocol_of
from granum.metrics.pairing import Pairing
from granum.schema import geometry
from granum.schema.rows import Annotation, Category, LabelMap, Rle, Sample
from granum.store.dataset import Dataset
from granum.verbs.convert import read
from tests.metrics.detections import case, official, official_hits, written

COMPARED = ("bbox", "segm", "keypoints")
ONE = pytest.approx(1.0, abs=1e-12)  # official precision has an epsilon in its denominator


def loaded(paths: tuple[Path, Path]) -> tuple[Dataset, Dataset]:
    both = read(paths[0], "coco", results=str(paths[1]))
    return both.layer("truth"), both.layer("results")


@pytest.mark.parametrize("compared", COMPARED)
@pytest.mark.parametrize("seed", range(4))
def test_all_numbers_are_those_of_pycocotools(tmp_path: Path, compared: str, seed: int) -> None:
    paths = written(tmp_path, *case(seed, compared))
    result = evaluate(*loaded(paths), f"coco-{compared}")
    expected = [None if v == -1 else v for v in official(paths, compared).stats.tolist()]
    assert list(result.values.values()) == expected
    assert len(result.values) == (10 if compared == "keypoints" else 12)
    assert result.facts["deviations"] == []


@pytest.mark.parametrize("compared", COMPARED)
def test_precision_of_each_class_and_its_curve(tmp_path: Path, compared: str) -> None:
    paths = written(tmp_path, *case(11, compared))
    run = official(paths, compared)
    result = evaluate(*loaded(paths), f"coco-{compared}")
    precision = run.eval["precision"][:, :, :, 0, -1]
    assert result.per_class is not None
    by_name = {row["category"]: row for row in result.per_class.to_pylist()}
    for k, number in enumerate(run.params.catIds):
        values = precision[:, :, k]
        mine = by_name[f"c{number}"]["AP"]
        assert mine == (None if values.max() < 0 else pytest.approx(values.mean(), abs=1e-12))
    curve = result.curves["precision"].to_pandas()
    k = run.params.catIds.index(2)
    one = curve[(curve.category == "c2") & (curve.iou == 0.5)]
    assert np.array_equal(one.precision, precision[0, :, k])
    assert np.array_equal(one.recall, run.params.recThrs)
    assert by_name["c90"]["AP"] is None
    assert "c90" not in set(curve.category)


@pytest.mark.parametrize("compared", COMPARED)
@pytest.mark.parametrize("seed", range(5))
def test_hits_of_each_sample_are_the_official_matches(
    tmp_path: Path, compared: str, seed: int
) -> None:
    paths = written(tmp_path, *case(seed, compared, images=8))
    result = evaluate(*loaded(paths), f"coco-{compared}")
    expected = official_hits(official(paths, compared))
    assert result.per_sample is not None
    rows = result.per_sample.to_pylist()
    found = {int(r["key"].removesuffix(".jpg")): (r["tp"], r["fp"], r["fn"]) for r in rows}
    assert {k: v for k, v in found.items() if v != (0, 0, 0)} == {
        k: v for k, v in expected.items() if v != (0, 0, 0)
    }


@pytest.mark.parametrize("compared", COMPARED)
def test_the_order_of_samples_and_parts_changes_nothing(tmp_path: Path, compared: str) -> None:
    truth, found = loaded(written(tmp_path, *case(21, compared)))
    expected = evaluate(truth, found, f"coco-{compared}")
    order = np.random.default_rng(0).permutation(len(truth))
    mixed = truth.select(order)
    parts = [*mixed.select(range(5)).parts, *mixed.select(range(5, len(mixed))).parts]
    split = Dataset(parts, truth.categories, meta=truth.meta)
    result = evaluate(split.layer("truth"), found, f"coco-{compared}")
    assert result.values == expected.values
    assert result.per_sample is not None
    assert expected.per_sample is not None
    assert result.per_sample.equals(expected.per_sample)


def test_numbers_per_sample_are_made_when_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, found = loaded(written(tmp_path, *case(23, "bbox")))
    calls = []
    real = matching.hits
    monkeypatch.setattr(matching, "hits", lambda *a, **k: calls.append(1) or real(*a, **k))
    result = evaluate(truth, found, "coco-bbox")
    assert not calls
    again = replace(result, values={})
    assert again.per_sample is result.per_sample is not None
    assert calls == [1]
    copy = pickle.loads(pickle.dumps(evaluate(truth, found, "coco-bbox")))
    assert replace(copy, recount=None) == replace(result, recount=None)
    ones = np.ones(len(truth), np.int64)
    assert copy.recount.values(ones) == dict(result.values)


def test_states_may_come_in_any_order(tmp_path: Path) -> None:
    truth, _ = loaded(written(tmp_path, *case(22, "bbox")))
    parts = [*truth.select(range(5)).parts, *truth.select(range(5, len(truth))).parts]
    truth = Dataset(parts, truth.categories, meta=truth.meta)
    context = Context(truth.categories, None, None, len(truth))
    pairing = Pairing(truth.layer("truth"), truth.layer("results"))
    states = [CocoBbox().state(t, p, context) for t, p, _ in pairing]
    one, two = CocoBbox().result(states, context), CocoBbox().result(states[::-1], context)
    assert one.values == two.values
    assert one.per_sample is not None
    assert one.per_sample.equals(two.per_sample)


# ------------------------------------------------------------------ single cases


def both(
    truth: list[Annotation], found: list[Annotation], **more: object
) -> tuple[Dataset, Dataset]:
    given = {"width": 40, "height": 30, **more}
    one = Sample("a", annotations=truth, layers={"net": found}, **given)  # type: ignore[arg-type]
    dataset = Dataset.from_rows([one, Sample("b")], [Category("cat"), Category("dog")])
    return dataset.layer("truth"), dataset.layer("net")


def boxed(x: float, score: float | None = None, **more: object) -> Annotation:
    given = {"category": 0, "bbox": (x, 0.0, 10.0, 10.0), "score": score, **more}
    return Annotation(**given)  # type: ignore[arg-type]


def test_what_is_undefined_is_none() -> None:
    result = evaluate(*both([boxed(0)], [boxed(0, 0.5)]), "coco-bbox")
    assert (result["AP"], result["APs"], result["APl"]) == (ONE, ONE, None)
    assert result.per_class is not None
    assert result.per_class["AP"].to_pylist() == [ONE, None]
    empty = evaluate(*both([], []), "coco-bbox")
    assert set(empty.values.values()) == {None}
    assert empty.per_sample is not None
    assert empty.per_sample["f1"].to_pylist() == [None, None]


def test_no_samples_at_all() -> None:
    nothing = Dataset.from_rows([], [Category("cat")])
    for name in COMPARED:
        assert set(evaluate(nothing, nothing, f"coco-{name}").values.values()) == {None}


def test_hits_of_one_sample() -> None:
    truth = [boxed(0), boxed(20)]
    found = [boxed(0, 0.9), boxed(1, 0.8), boxed(30, 0.7), boxed(22, 0.1)]
    result = evaluate(*both(truth, found), "coco-bbox")
    assert result.per_sample is not None
    row = result.per_sample.to_pylist()[0]
    assert (row["tp"], row["fp"], row["fn"]) == (2, 2, 0)
    assert row["iou"] == pytest.approx((1 + 8 / 12) / 2)
    assert row["f1"] == pytest.approx(2 / 3)
    strict = evaluate(*both(truth, found), "coco-bbox", parameters={"sample_iou": 0.7})
    least = evaluate(*both(truth, found), "coco-bbox", parameters={"least_score": 0.5})
    for result, expected in ((strict, (1, 3, 1)), (least, (1, 2, 1))):
        assert result.per_sample is not None
        row = result.per_sample.to_pylist()[0]
        assert (row["tp"], row["fp"], row["fn"]) == expected
    assert least["AP"] == evaluate(*both(truth, found), "coco-bbox")["AP"]


def test_other_limits_are_told(tmp_path: Path) -> None:
    truth, found = loaded(written(tmp_path, *case(2, "bbox")))
    result = evaluate(truth, found, "coco-bbox", parameters={"max_detections": (5, 200)})
    assert {"AR5", "AR200"} <= result.values.keys()
    assert (result["AR5"] or 0) < (result["AR200"] or 0)
    assert result.facts["deviations"]


def test_rows_that_cannot_be_compared_are_findings() -> None:
    truth = [boxed(0), Annotation(category=0), Annotation(kind="caption", text="x")]
    found = [boxed(0, 0.5), Annotation(category=0, score=0.4)]
    result = evaluate(*both(truth, found), "coco-bbox")
    assert result["AP"] == ONE
    assert result.findings.counts["missing-geometry"] == 2
    assert {f.path for f in result.findings.items if f.code == "missing-geometry"} == {
        "truth",
        "predictions",
    }
    masks = evaluate(*both([boxed(0)], []), "coco-segm")
    assert masks.findings.counts["missing-geometry"] == 1
    assert masks["AP"] is None


def test_boxes_of_rows_that_have_masks_only() -> None:
    ring = [0.0, 0.0, 10.0, 0.0, 10.0, 10.0, 0.0, 10.0]
    result = evaluate(*both([boxed(0)], [boxed(0, 0.5, bbox=None, polygons=[[ring]])]), "coco-bbox")
    assert result["AP"] == ONE


def test_the_stated_area_decides_the_range() -> None:
    result = evaluate(*both([boxed(0, area=5000.0)], [boxed(0, 0.5)]), "coco-bbox")
    assert (result["APs"], result["APm"]) == (None, ONE)
    unstated = evaluate(*both([boxed(0)], [boxed(0, 0.5)]), "coco-bbox")
    assert (unstated["APs"], unstated["APm"]) == (ONE, None)


RING = [4.0, 4.0, 34.0, 4.0, 34.0, 24.0, 4.0, 24.0]
HOLE = [10.0, 10.0, 20.0, 10.0, 20.0, 20.0, 10.0, 20.0]


@pytest.mark.parametrize("stated", [False, True])
@pytest.mark.parametrize("form", ["rle", "holes", "parts", "relative", "map", "nonzero"])
def test_all_forms_of_a_mask_are_one(form: str, stated: bool, tmp_path: Path) -> None:
    mask = geometry.rasterize([[RING, HOLE]], 30, 40)
    if form == "parts":
        mask |= geometry.rasterize([[HOLE]], 30, 40)
    size, counts = geometry.encode_mask(mask)
    found = Annotation(category=0, score=0.9, rle=Rle(size, counts))
    more: dict[str, object] = {}
    if form == "rle":
        true = Annotation(category=0, rle=Rle(size, counts))
    elif form in ("holes", "parts"):
        parts = [[RING, HOLE]] if form == "holes" else [[RING], [HOLE]]
        true = Annotation(category=0, polygons=parts)
    elif form == "relative":
        scale = np.tile([40.0, 30.0], 4)
        rings = [(np.array(r) / scale).tolist() for r in (RING, HOLE)]
        true, more = Annotation(category=0, polygons=[rings]), {"unit": "relative"}
        found.rle, found.polygons = None, [rings]
    else:
        image = io.BytesIO()
        Image.fromarray(mask.astype(np.uint8) * 7).save(image, "PNG")
        encoding, value = ("index", 7) if form == "map" else ("nonzero", None)
        label_map = LabelMap(bytes=image.getvalue(), encoding=encoding, value=value)
        true = Annotation(category=0, map=label_map)
    if stated:
        true.area = 500 / (40 * 30 if form == "relative" else 1)
    result = evaluate(*both([true], [found], **more), "coco-segm")
    assert result["AP"] == result["APs"] == ONE
    assert result.per_sample is not None
    assert result.per_sample.to_pylist()[0]["iou"] == 1.0


def test_forms_of_masks_may_be_mixed(tmp_path: Path) -> None:
    """Polygons whose area is stated are rasterised by the evaluator, the others before."""
    shifts = range(0, 30, 6)
    rings = [(np.array(RING) * 0.2 + np.tile([x, 0.0], 4)).tolist() for x in shifts]
    masks = [Rle(*geometry.encode_mask(geometry.rasterize([[r]], 30, 40))) for r in rings]
    found = [Annotation(category=0, score=0.9, rle=m) for m in masks]
    true = [Annotation(category=0, polygons=[[r]], area=30.0) for r in rings]
    true[1].area = None
    true[3] = Annotation(category=0, rle=masks[3])
    result = evaluate(*both(true, found), "coco-segm")
    assert result["AP"] == ONE
    assert result.per_sample is not None
    row = result.per_sample.to_pylist()[0]
    assert (row["tp"], row["fp"], row["fn"], row["iou"]) == (5, 0, 0, 1.0)


def test_polygons_need_a_size() -> None:
    true = Annotation(category=0, polygons=[[RING]])
    with pytest.raises(SizeUnknownError):
        evaluate(*both([true], [], width=None), "coco-segm")


def test_keypoints_other_than_of_people_need_their_sigmas() -> None:
    points = [3.0, 3.0, 2.0, 20.0, 20.0, 2.0, 9.0, 20.0, 1.0]
    truth, found = boxed(0, keypoints=points), boxed(0, 0.5, keypoints=points)
    with pytest.raises(UsageError, match="3 keypoints"):
        evaluate(*both([truth], [found]), "coco-keypoints")
    sigmas = {"sigmas": (0.1, 0.1, 0.1)}
    result = evaluate(*both([truth], [found]), "coco-keypoints", parameters=sigmas)
    assert result["AP"] is not None
    assert result["AP"] == pytest.approx(1.0)
    assert any("sigmas" in text for text in result.facts["deviations"])


def test_without_hotcoco_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    with pytest.raises(MissingExtraError, match=r"granum\[eval\]"):
        evaluate(*both([boxed(0)], [boxed(0, 0.5)]), "coco-bbox")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_detections", ()),
        ("max_detections", (100, 1)),
        ("max_detections", (0, 10)),
        ("iou_thresholds", ()),
        ("iou_thresholds", (0.5, 1.5)),
        ("iou_thresholds", (0.0,)),
        ("sample_iou", 0.0),
        ("sample_iou", 1.1),
    ],
)
def test_parameters_out_of_range_are_refused(name: str, value: object) -> None:
    for protocol in ("coco-bbox", "coco-segm", "coco-keypoints", "lvis"):
        if name == "sample_iou" or protocol != "lvis":
            with pytest.raises(UsageError, match=name):
                protocol_of(protocol, {name: value})
