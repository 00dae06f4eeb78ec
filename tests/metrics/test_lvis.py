"""The LVIS protocol: equal to lvis-api, and each of its rules by hand."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("hotcoco")

import granum
from granum import cli
from granum.errors import MissingExtraError, UsageError
from granum.metrics import lvis
from granum.metrics.base import Context, Result
from granum.metrics.evaluate import evaluate
from granum.metrics.lvis import Lvis
from granum.metrics.pairing import Pairing
from granum.schema.rows import Annotation, Category, Sample
from granum.store.dataset import Dataset
from granum.verbs.convert import read
from tests.data import shared
from tests.metrics.detections import written
from tests.metrics.federated import CLASSES, case, official

TYPES = ("bbox", "segm")
ONE = pytest.approx(1.0, abs=1e-12)  # official precision has an epsilon in its denominator


def loaded(paths: tuple[Path, Path]) -> tuple[Dataset, Dataset]:
    both = read(paths[0], "lvis", results=str(paths[1]))
    return both.layer("truth"), both.layer("results")


def numbers(run: Any) -> dict[str, float | None]:
    return {k: None if v == -1 else float(v) for k, v in run.results.items()}


@pytest.mark.parametrize("iou_type", TYPES)
@pytest.mark.parametrize("seed", range(5))
def test_all_numbers_are_those_of_lvis_api(
    tmp_path: Path, iou_type: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = written(tmp_path, *case(seed, iou_type))
    result = evaluate(*loaded(paths), "lvis", parameters={"iou_type": iou_type})
    assert dict(result.values) == numbers(official(paths, iou_type, monkeypatch))
    assert len(result.values) == 13
    assert min(result.facts["left_out"].values()) > 0


@pytest.mark.parametrize("iou_type", TYPES)
def test_precision_of_each_class(
    tmp_path: Path, iou_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = written(tmp_path, *case(11, iou_type))
    run = official(paths, iou_type, monkeypatch)
    result = evaluate(*loaded(paths), "lvis", parameters={"iou_type": iou_type})
    assert result.per_class is not None
    by_name = {row["category"]: row for row in result.per_class.to_pylist()}
    curve = result.curves["precision"].to_pandas()
    for k, number in enumerate(run.params.cat_ids):
        precision, recall = run.eval["precision"][:, :, k, 0], run.eval["recall"][:, k, 0]
        mine = by_name[f"c{number}"]
        assert mine["frequency"] == CLASSES[number]
        if precision.max() < 0:
            assert number == 5
            assert (mine["AP"], mine["AR"], mine["truths"]) == (None, None, 0)
            continue
        assert mine["AP"] == pytest.approx(precision.mean(), abs=1e-12)
        assert mine["AP75"] == pytest.approx(precision[5].mean(), abs=1e-12)
        assert mine["AR"] == pytest.approx(recall.mean(), abs=1e-12)
        one = curve[curve.category == f"c{number}"]
        assert np.array_equal(one.precision, precision[0])
        assert np.array_equal(one.recall, run.params.rec_thrs)
    assert "c5" not in set(curve.category)


@pytest.mark.parametrize("iou_type", TYPES)
def test_hits_of_each_sample_are_the_official_matches(
    tmp_path: Path, iou_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = written(tmp_path, *case(2, iou_type))
    expected: dict[int, list[int]] = {}
    for found in official(paths, iou_type, monkeypatch).eval_imgs:
        if found is None or found["area_rng"] != [0, 1e10]:
            continue
        hit, spared = found["dt_matches"][0] > 0, found["dt_ignore"][0]
        real = found["gt_ignore"] == 0
        missed = found["gt_matches"][0][real] == 0
        n = [int(v.sum()) for v in (hit & ~spared, ~hit & ~spared, missed)]
        old = expected.setdefault(found["image_id"], [0, 0, 0])
        expected[found["image_id"]] = [a + b for a, b in zip(old, n, strict=True)]
    result = evaluate(*loaded(paths), "lvis", parameters={"iou_type": iou_type})
    assert result.per_sample is not None
    rows = result.per_sample.to_pylist()
    mine = {int(Path(r["key"]).stem): [r["tp"], r["fp"], r["fn"]] for r in rows}
    assert mine == {k: expected.get(k, [0, 0, 0]) for k in mine}
    assert set(expected) <= set(mine)


@pytest.mark.parametrize("iou_type", TYPES)
@pytest.mark.parametrize("seed", range(2))
def test_fixed_ap_is_of_the_best_of_each_class(
    tmp_path: Path, iou_type: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, results = case(seed, iou_type)
    rng = np.random.default_rng(seed)
    scores = rng.permutation(len(results)) / len(results)  # ties are by file there, by image here
    results = [{**r, "score": float(s)} for r, s in zip(results, scores, strict=True)]
    paths = written(tmp_path, truth, results)
    monkeypatch.setattr(lvis, "PER_CLASS", 40)
    more = {"iou_type": iou_type, "fixed_ap": True}
    result = evaluate(*loaded(paths), "lvis", parameters=more)
    expected = numbers(official(paths, iou_type, monkeypatch, fixed=40))
    assert list(result.values.values()) == list(expected.values())
    assert list(result.values)[-4:] == ["AR", "ARs", "ARm", "ARl"]
    assert result.facts["left_out"]["beyond the limit"] > 0


@pytest.mark.parametrize("iou_type", TYPES)
def test_made_detections_of_real_truth(
    tmp_path: Path, iou_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shared("lvis_val_100") / "lvis_val_100.json"
    truth = json.loads(source.read_text())
    rng = np.random.default_rng(0)
    sizes = {i["id"]: (i["height"], i["width"]) for i in truth["images"]}
    absent = {i["id"]: i["neg_category_ids"] for i in truth["images"]}
    found = []
    for one in truth["annotations"]:
        for _ in range(3):
            box = [v + float(d) for v, d in zip(one["bbox"], rng.normal(0, 2, 4), strict=True)]
            x, y, w, h = *box[:2], *(max(v, 2.0) for v in box[2:])
            wrong = absent[one["image_id"]] or [1]
            category = one["category_id"] if rng.random() < 0.7 else int(rng.choice(wrong))
            row = {"image_id": one["image_id"], "category_id": category}
            row["score"] = round(float(rng.random()), 3)
            if iou_type == "bbox":
                row["bbox"] = [round(v, 2) for v in (x, y, w, h)]
            else:
                moved = np.array(box[:2]) - one["bbox"][:2]
                rings = [np.reshape(r, (-1, 2)) + moved for r in one["segmentation"]]
                row["segmentation"] = encoded(rings, sizes[one["image_id"]])
            found.append(row)
    results = tmp_path / "results.json"
    results.write_text(json.dumps(found))
    out = tmp_path / "out.json"
    argv = [
        "eval",
        str(source),
        str(results),
        "--protocol",
        "lvis",
        "--set",
        f"iou_type={iou_type}",
    ]
    assert cli.main([*argv, "-o", str(out)]) == 0
    values = json.loads(out.read_text())["values"]
    assert values == numbers(official((source, results), iou_type, monkeypatch))
    assert values["AP50"] > 0.3
    assert None not in values.values()


def encoded(rings: list[np.ndarray[Any, Any]], size: tuple[int, int]) -> dict[str, Any]:
    from pycocotools import mask

    rle = mask.merge(mask.frPyObjects([r.ravel().tolist() for r in rings], *size))
    return {"size": list(size), "counts": rle["counts"].decode()}


# ------------------------------------------------------------------ the same bits


def judged(folder: Path, truth: Any, results: Any, **more: Any) -> Result:
    folder.mkdir(exist_ok=True)
    return evaluate(*loaded(written(folder, truth, results)), "lvis", parameters=more)


@pytest.mark.parametrize("iou_type", TYPES)
@pytest.mark.parametrize("seed", range(2))
def test_recounts_are_evaluations(tmp_path: Path, iou_type: str, seed: int) -> None:
    truth, results = case(seed, iou_type)
    whole = judged(tmp_path / "a", truth, results, iou_type=iou_type)
    assert whole.recount is not None
    assert dict(whole.recount.values(np.ones(14, np.int64))) == dict(whole.values)
    chosen = np.random.default_rng(seed).random(14) < 0.5
    keys = whole.recount.keys.to_pylist()
    ids = {int(Path(k).stem) for k, c in zip(keys, chosen, strict=True) if c}
    part = {
        **truth,
        "images": [i for i in truth["images"] if i["id"] in ids],
        "annotations": [a for a in truth["annotations"] if a["image_id"] in ids],
    }
    found = [r for r in results if r["image_id"] in ids]
    some = judged(tmp_path / "b", part, found, iou_type=iou_type)
    assert dict(whole.recount.values(chosen.astype(np.int64))) == dict(some.values)
    assert whole.per_sample is not None
    for i, ap in enumerate(whole.per_sample["ap"].to_pylist()):
        alone = whole.recount.values(np.eye(14, dtype=np.int64)[i])["AP"]
        assert ap == (None if alone is None else pytest.approx(alone, abs=1e-12))


@pytest.mark.parametrize("iou_type", TYPES)
def test_weights_are_images_repeated(tmp_path: Path, iou_type: str) -> None:
    """No two predictions have the same score, but those of copies."""
    truth, results = case(4, iou_type)
    rng = np.random.default_rng(4)
    scores = rng.permutation(len(results)) / len(results)
    results = [{**r, "score": float(s)} for r, s in zip(results, scores, strict=True)]
    whole = judged(tmp_path / "a", truth, results, iou_type=iou_type)
    assert whole.recount is not None
    weights = rng.multinomial(14, np.full(14, 1 / 14))
    assert weights.max() > 1
    ids = [int(Path(k).stem) for k in whole.recount.keys.to_pylist()]
    times = dict(zip(ids, weights.tolist(), strict=True))

    def copies(rows: list[Any], key: str) -> list[Any]:
        return [{**r, key: 1000 * r[key] + n} for r in rows for n in range(times[r[key]])]

    images = [
        {**i, "coco_url": f"http://x/val2017/{i['id']}.jpg"} for i in copies(truth["images"], "id")
    ]
    annotations = copies(truth["annotations"], "image_id")
    annotations = [{**a, "id": n + 1} for n, a in enumerate(annotations)]
    repeated = {**truth, "images": images, "annotations": annotations}
    real = judged(tmp_path / "b", repeated, copies(results, "image_id"), iou_type=iou_type)
    copy = pickle.loads(pickle.dumps(whole))
    for one in (whole, copy):
        assert dict(one.recount.values(weights)) == dict(real.values)


def test_parts_in_any_order_and_orders_of_samples(tmp_path: Path) -> None:
    truth, found = loaded(written(tmp_path, *case(21, "segm")))
    expected = evaluate(truth, found, "lvis")
    order = np.random.default_rng(0).permutation(len(truth))
    mixed = truth.select(order)
    parts = [*mixed.select(range(5)).parts, *mixed.select(range(5, len(mixed))).parts]
    split = Dataset(parts, truth.categories, meta=truth.meta)
    context = Context(truth.categories, None, None, len(truth))
    protocol = Lvis()
    states = [
        pickle.loads(pickle.dumps(protocol.state(t, p, context)))
        for t, p, _ in Pairing(split.layer("truth"), split.layer("results"))
    ]
    for given in (states, states[::-1]):
        result = protocol.result(given, context)
        assert result.values == expected.values
        assert result.per_class == expected.per_class
        assert result.per_sample is not None
        assert expected.per_sample is not None
        assert result.per_sample.equals(expected.per_sample.take(order).combine_chunks())


# ------------------------------------------------------------------ rules by hand

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


def test_there_are_no_crowds_but_ignored_truth() -> None:
    """A crowd is found like anything else; what is ignored counts on neither side."""
    crowd = of([boxed(0), boxed(50, crowd=True)], [boxed(0, 0.9), boxed(50, 0.8), boxed(51, 0.7)])
    assert crowd["AP"] == ONE
    assert crowd.per_sample is not None
    assert crowd.per_sample["tp"].to_pylist() == [2, 0]
    assert crowd.per_sample["fp"].to_pylist() == [1, 0]
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


def test_unknown_classes_and_images_are_findings(tmp_path: Path) -> None:
    truth, results = case(1, "bbox")
    more = [{**results[0], "category_id": 999}, {**results[0], "image_id": 9999}]
    paths = written(tmp_path, truth, [*results, *more])
    given = {"iou_type": "bbox"}
    result = granum.evaluate(paths[0], paths[1], protocol="lvis", parameters=given)
    assert result.findings.counts["unknown-category"] == 1
    assert result.findings.counts["unknown-sample"] == 1
    clean = evaluate(*loaded(written(tmp_path, truth, results)), "lvis", parameters=given)
    assert dict(result.values) == dict(clean.values)


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
