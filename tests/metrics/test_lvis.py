"""The LVIS protocol: equal to lvis-api, in any parts and for any choice of images."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("hotcoco")

import granum
from granum import cli
from granum.metrics import lvis
from granum.metrics.base import Context, Result
from granum.metrics.evaluate import evaluate
from granum.metrics.lvis import Lvis
from granum.metrics.pairing import Pairing
from granum.store.dataset import Dataset
from granum.verbs.convert import read
from tests.data import shared
from tests.metrics.detections import written
from tests.metrics.federated import CLASSES, case, official

TYPES = ("bbox", "segm")


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
        assert result.per_sample.equals(expected.per_sample)


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
