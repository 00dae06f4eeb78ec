"""Boundary IoU, AP and PQ: cases worked by hand, and the rules of the authors' API written out."""

from __future__ import annotations

import contextlib
import io
import math
import pickle
import sys
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import granum
from granum.errors import MissingExtraError, UsageError
from granum.metrics._maps.boundary_masks import boundaries, dilation_of
from granum.metrics.base import Protocol
from granum.metrics.boundary import BoundaryIou, BoundaryPQ, boundary, boundary_iou
from granum.metrics.evaluate import evaluate
from granum.schema import geometry
from granum.schema.rows import Annotation, Category, Sample
from granum.store.dataset import Dataset
from granum.verbs.convert import read
from tests.metrics.detections import Json, case, official, official_hits, written
from tests.metrics.made import dataset, in_parts, masked, same

Flags = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]

boundary_ap = pytest.mark.skipif(find_spec("hotcoco") is None, reason="hotcoco is not installed")
NAMES = (pytest.param("boundary-iou", marks=boundary_ap), "boundary-pq")
CATEGORIES = [
    Category("cat", isthing=True),
    Category("dog", isthing=True),
    Category("sky", isthing=False),
]
HEIGHT, WIDTH = 30, 40  # a diagonal of 50: boundaries of one pixel


def eroded_boundary(mask: npt.NDArray[Any], dilation: int) -> Flags:
    """As the authors compute it: padded by zeros, eroded by 3 x 3 pixels again and again."""
    inner = np.pad(mask != 0, 1)
    for _ in range(dilation):
        wide = np.pad(inner, 1, constant_values=True)  # what is further outside does not erode
        inner = np.all(
            [
                wide[i : i + inner.shape[0], j : j + inner.shape[1]]
                for i in range(3)
                for j in range(3)
            ],
            axis=0,
        )
    return np.asarray((mask != 0) & ~inner[1:-1, 1:-1])


def literal_boundary(mask: npt.NDArray[Any], ratio: float = 0.02) -> Flags:
    height, width = mask.shape
    return eroded_boundary(mask, max(1, round(ratio * math.hypot(height, width))))


def blobs(seed: int) -> Ids:
    """A picture of four labels with thick and thin parts, cut by its edges."""
    rng = np.random.default_rng(seed)
    picture = np.kron(rng.integers(0, 4, (rng.integers(1, 6), rng.integers(1, 6))), np.ones((7, 7)))
    rows, columns = rng.integers(1, 7, 2)
    picture = picture[rows - 1 :, columns - 1 :].astype(np.int64)
    noise = rng.random(picture.shape) < 0.01
    picture[noise] = rng.integers(0, 4, noise.sum())
    return picture


def square(x: int, y: int, side: int = 6, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> Flags:
    mask = np.zeros(shape, bool)
    mask[y : y + side, x : x + side] = True
    return mask


# ------------------------------------------------------------------ boundaries


@pytest.mark.parametrize("dilation", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("seed", range(12))
def test_a_boundary_is_what_erosions_take_away(seed: int, dilation: int) -> None:
    picture = blobs(seed)
    near = boundaries(picture, dilation)
    for label in range(4):
        expected = eroded_boundary(picture == label, dilation)
        assert np.array_equal(boundary(picture == label, dilation), expected)
        assert np.array_equal(near & (picture == label), expected)


@pytest.mark.parametrize("seed", range(6))
def test_a_boundary_is_that_of_opencv(seed: int) -> None:
    cv2 = pytest.importorskip("cv2")
    mask = (blobs(seed) > 1).astype(np.uint8)
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    for dilation in (1, 3, 4):
        inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=dilation)[1:-1, 1:-1]
        assert np.array_equal(boundary(mask, dilation), (mask - inner).astype(bool))


@pytest.mark.parametrize("seed", range(6))
def test_a_boundary_is_what_is_near_in_kings_moves(seed: int) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    mask = blobs(seed) > 0
    distance = ndimage.distance_transform_cdt(np.pad(mask, 1), "chessboard")[1:-1, 1:-1]
    for dilation in (1, 2, 6):
        assert np.array_equal(boundary(mask, dilation), mask & (distance <= dilation))


def test_a_boundary_of_a_mask_that_is_cut_out_is_the_same() -> None:
    mask = blobs(1) == 1
    rows, columns = np.nonzero(mask)
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert np.array_equal(boundary(mask[box], 2), boundary(mask, 2)[box])


def test_thin_full_and_empty_masks() -> None:
    assert boundary(np.ones((5, 5)), 1).sum() == 16  # the edge of the image is a boundary
    assert boundary(np.ones((5, 5)), 3).all()
    assert not boundary(np.zeros((5, 5)), 1).any()
    assert boundary(np.zeros((0, 5)), 2).shape == (0, 5)


@pytest.mark.parametrize(
    ("shape", "thick"),
    [((480, 640), 16), ((30, 40), 1), ((3, 4), 1), ((75, 100), 2), ((105, 140), 4)],
)
def test_boundaries_are_two_hundredths_of_the_diagonal_thick(
    shape: tuple[int, int], thick: int
) -> None:
    assert dilation_of(shape) == thick  # 2.5 and 3.5 are rounded to even numbers


def test_iou_of_boundaries_by_hand() -> None:
    # Rings of 20 pixels each, moved by one column: rows above and below share 5 pixels each.
    assert boundary_iou(square(5, 5), square(6, 5)) == 10 / 30
    assert boundary_iou(square(5, 5), square(5, 5)) == 1
    assert boundary_iou(square(5, 5), square(20, 5)) == 0
    # Boundaries of 3 pixels are the whole squares: 30 of 42.
    assert boundary_iou(square(5, 5), square(6, 5), dilation_ratio=0.06) == 30 / 42


def test_iou_of_empty_masks() -> None:
    empty = np.zeros((HEIGHT, WIDTH))
    assert boundary_iou(empty, square(5, 5)) == 0
    assert math.isnan(boundary_iou(empty, empty))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: boundary(np.ones(5), 1),
        lambda: boundary(np.ones((5, 5)), 0),
        lambda: boundary_iou(np.ones((5, 5)), np.ones((5, 6))),
        lambda: boundary_iou(np.ones(5), np.ones(5)),
        lambda: BoundaryIou(dilation_ratio=0),
        lambda: BoundaryIou(max_detections=()),
        lambda: BoundaryIou(max_detections=(10, 1)),
        lambda: BoundaryIou(iou_thresholds=(0.0,)),
        lambda: BoundaryIou(iou_thresholds=()),
        lambda: BoundaryIou(sample_iou=0.0),
        lambda: BoundaryPQ(dilation_ratio=math.inf),
    ],
)
def test_what_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError):
        wrong()


# ------------------------------------------------------------------ boundary AP


class Reference(COCOeval):  # type: ignore[misc]
    """pycocotools with the IoU and the ignored truths of the authors' API."""

    def _prepare(self) -> None:
        stated = {a["id"]: a.get("ignore", 0) for a in self.cocoGt.dataset["annotations"]}
        super()._prepare()
        for group in self._gts.values():
            for truth in group:
                truth["ignore"] = stated[truth["id"]] or truth["ignore"]

    def computeIoU(self, image: int, category: int) -> Any:  # noqa: N802
        ious = super().computeIoU(image, category)
        truth, found = self._gts[image, category], self._dts[image, category]
        if not truth or not found:
            return ious
        order = np.argsort([-d["score"] for d in found], kind="mergesort")
        chosen = [found[i] for i in order[: self.params.maxDets[-1]]]
        both = [[edge(a["segmentation"]) for a in side] for side in (chosen, truth)]
        crowd = np.array([t["iscrowd"] for t in truth])
        thin = np.array(coco_mask.iou(*both, crowd.tolist()))
        return np.where(crowd == 1, ious, np.minimum(ious, thin))


def edge(rle: Json) -> Json:
    thin = literal_boundary(geometry.rle_decode(rle["size"], rle["counts"]))
    return dict(coco_mask.encode(np.asfortranarray(thin.astype(np.uint8))))


def near_case(seed: int) -> tuple[Json, list[Json]]:
    """A case in which many predictions are truths, moved by a fraction of a pixel or not at all."""
    truth, results = case(seed, "segm")
    rng = np.random.default_rng(seed)
    drawn = [t for t in truth["annotations"] if not t["iscrowd"]]
    for result in results:
        near = [t for t in drawn if t["image_id"] == result["image_id"]]
        if near and rng.random() < 0.6:
            chosen = near[int(rng.integers(len(near)))]
            moved = np.array(chosen["segmentation"][0]) + rng.normal(0, rng.choice([0, 0.4, 1]), 18)
            rle = coco_mask.frPyObjects([moved.tolist()], 120, 160)[0]
            result["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
            result["category_id"] = chosen["category_id"]
    return truth, results


def reference(paths: tuple[Path, Path]) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(paths[0]))
        run = Reference(truth, truth.loadRes(str(paths[1])), "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run


def loaded(paths: tuple[Path, Path]) -> tuple[Dataset, Dataset]:
    both = read(paths[0], "coco", results=str(paths[1]))
    return both.layer("truth"), both.layer("results")


@boundary_ap
@pytest.mark.parametrize("seed", range(6))
def test_all_numbers_are_those_of_the_reference(tmp_path: Path, seed: int) -> None:
    paths = written(tmp_path, *near_case(seed))
    run = reference(paths)
    result = evaluate(*loaded(paths), "boundary-iou")
    expected = [None if v == -1 else v for v in run.stats.tolist()]
    assert list(result.values.values()) == expected
    assert list(result.values) == [
        *("AP", "AP50", "AP75", "APs", "APm", "APl"),
        *("AR1", "AR10", "AR100", "ARs", "ARm", "ARl"),
    ]
    assert 0.05 < expected[0] < official(paths, "segm").stats[0]  # boundaries are stricter
    assert result.facts["mode"] == "official"


@boundary_ap
def test_precision_of_each_class_and_its_curve(tmp_path: Path) -> None:
    paths = written(tmp_path, *near_case(11))
    run = reference(paths)
    result = evaluate(*loaded(paths), "boundary-iou")
    precision = run.eval["precision"][:, :, :, 0, -1]
    assert result.per_class is not None
    rows = {row["category"]: row for row in result.per_class.to_pylist()}
    curve = result.curves["precision"].to_pandas()
    for k, number in enumerate(run.params.catIds):
        values = precision[:, :, k]
        row = rows[f"c{number}"]
        assert row["AP"] == (None if values.max() < 0 else pytest.approx(values.mean(), abs=1e-12))
        mine = [r for r in run.cocoDt.dataset["annotations"] if r["category_id"] == number]
        assert row["predictions"] == len(mine)
        one = curve[(curve.category == f"c{number}") & (curve.iou == 0.5)]
        if values.max() >= 0:
            assert np.array_equal(one.precision, values[0])
        else:
            assert one.empty
    assert rows["c90"]["AP"] is None


@boundary_ap
@pytest.mark.parametrize("seed", range(3))
def test_hits_of_each_sample_are_those_of_the_reference(tmp_path: Path, seed: int) -> None:
    paths = written(tmp_path, *near_case(seed))
    expected = official_hits(reference(paths))
    result = evaluate(*loaded(paths), "boundary-iou")
    assert result.per_sample is not None
    for row in result.per_sample.to_pylist():
        counts = (row["tp"], row["fp"], row["fn"])
        assert counts == expected.get(int(row["key"].removesuffix(".jpg")), (0, 0, 0))
    assert sum(result.per_sample["tp"].to_pylist()) > 5


@boundary_ap
def test_other_limits_and_thresholds_are_those_of_the_reference(tmp_path: Path) -> None:
    paths = written(tmp_path, *near_case(8))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(paths[0]))
        run = Reference(truth, truth.loadRes(str(paths[1])), "segm")
        run.params.maxDets, run.params.iouThrs = [2, 7], np.array([0.3, 0.75])
        run.evaluate()
        run.accumulate()
    result = evaluate(
        *loaded(paths),
        "boundary-iou",
        parameters={"max_detections": (2, 7), "iou_thresholds": (0.3, 0.75)},
    )
    precision, recall = run.eval["precision"][:, :, :, 0, -1], run.eval["recall"][:, :, 0]
    assert result["AP"] == precision[precision > -1].mean()
    assert result["AP50"] is None
    assert result["AP75"] == precision[1][precision[1] > -1].mean()
    for i, name in enumerate(("AR2", "AR7")):
        assert result[name] == recall[..., i][recall[..., i] > -1].mean()


def both(truth: list[Annotation], found: list[Annotation]) -> tuple[Dataset, Dataset]:
    samples = [
        Sample("a", width=WIDTH, height=HEIGHT, annotations=truth, layers={"net": found}),
        Sample("b", width=WIDTH, height=HEIGHT, layers={"net": []}),
    ]
    data = Dataset.from_rows(samples, CATEGORIES)
    return data.layer("truth"), data.layer("net")


@boundary_ap
def test_the_lower_iou_counts() -> None:
    pair = both([masked(square(5, 5))], [masked(square(6, 5), score=0.5)])
    # The masks' IoU is 30 / 42, that of their boundaries 10 / 30.
    assert evaluate(*pair, "boundary-iou")["AP"] == 0
    low = {"iou_thresholds": (0.3, 0.34), "sample_iou": 0.3}
    loose = evaluate(*pair, "boundary-iou", parameters=low)
    assert loose["AP"] == pytest.approx(1 / 2)
    assert loose.per_sample is not None
    assert loose.per_sample["iou"].to_pylist() == [1 / 3, None]
    # With boundaries as thick as the masks 0.5, 0.55 … 0.7 are reached: 5 of 10.
    thick = evaluate(*pair, "boundary-iou", parameters={"dilation_ratio": 0.06})
    assert thick["AP"] == pytest.approx(0.5)
    # A square within another one of equal boundary pixels: here the masks' IoU is the lower one.
    ring = square(5, 5, 8) & ~square(6, 6, 6)
    pair = both([masked(square(5, 5, 8))], [masked(ring, score=0.5)])
    hollow = evaluate(*pair, "boundary-iou", parameters={"iou_thresholds": (0.4, 0.45)})
    assert boundary_iou(ring, square(5, 5, 8)) == 1
    assert hollow["AP"] == pytest.approx(1 / 2)  # 28 / 64 = 0.4375


@boundary_ap
def test_a_prediction_on_a_crowd_is_neither_right_nor_wrong() -> None:
    crowd = masked(square(0, 0, 30), crowd=True)
    truth = [crowd, masked(square(32, 2))]
    found = [masked(square(10, 10), score=0.9), masked(square(32, 2), score=0.5)]
    result = evaluate(*both(truth, found), "boundary-iou")
    assert result["AP"] == pytest.approx(1)
    assert result.per_sample is not None
    row = result.per_sample.to_pylist()[0]
    assert [row[n] for n in ("tp", "fp", "fn", "f1", "iou")] == [1, 0, 0, 1, 1]


@boundary_ap
def test_a_truth_to_be_ignored_is_one_to_the_authors_but_takes_one_prediction_only() -> None:
    truth = [masked(square(5, 5), ignore=True), masked(square(20, 5))]
    one = masked(square(5, 5), score=0.9)
    found = [one, masked(square(20, 5), score=0.5)]
    assert evaluate(*both(truth, found), "boundary-iou")["AP"] == pytest.approx(1)
    again = evaluate(*both(truth, [one, *found]), "boundary-iou")
    assert again["AP"] == pytest.approx(1 / 2)  # the second one is wrong
    truth[0].ignore = False
    assert evaluate(*both(truth, found), "boundary-iou")["AR1"] == pytest.approx(1 / 2)


@boundary_ap
def test_ranges_are_of_areas_of_whole_masks_and_stated_areas_come_first() -> None:
    large = square(2, 2, 100, (120, 160))
    data = dataset([[masked(large)]], [[masked(large, score=0.5)]], CATEGORIES)
    result = evaluate(data, data.layer("predicted"), "boundary-iou")
    assert (result["APs"], result["APm"], result["APl"]) == (None, None, pytest.approx(1))
    data = dataset([[masked(large, area=50.0)]], [[masked(large, score=0.5)]], CATEGORIES)
    result = evaluate(data, data.layer("predicted"), "boundary-iou")
    assert (result["APs"], result["APm"], result["APl"]) == (pytest.approx(1), None, None)


@boundary_ap
def test_scores_below_the_least_are_not_counted_per_sample() -> None:
    found = [masked(square(5, 5), score=0.9), masked(square(20, 20), score=0.1)]
    pair = both([masked(square(5, 5))], found)
    counts = []
    for least in (0.0, 0.5):
        result = evaluate(*pair, "boundary-iou", parameters={"least_score": least})
        assert result.per_sample is not None
        counts.append(result.per_sample["fp"].to_pylist())
    assert counts == [[1, 0], [0, 0]]


@boundary_ap
def test_predictions_of_another_size_find_nothing_and_are_a_finding() -> None:
    found = [masked(np.ones((10, 10)), score=0.5), masked(square(5, 5), score=0.4)]
    result = evaluate(*both([masked(square(5, 5))], found), "boundary-iou")
    assert result.findings.counts["mask-size-mismatch"] == 1
    assert result["AP50"] == pytest.approx(1 / 2)


@boundary_ap
def test_polygons_and_maps_are_drawn() -> None:
    ring = [5.0, 5.0, 11.0, 5.0, 11.0, 11.0, 5.0, 11.0]
    truth = Annotation(category=0, polygons=[[ring]])
    result = evaluate(*both([truth], [masked(square(5, 5), score=0.5)]), "boundary-iou")
    assert result["AP"] == pytest.approx(1)


def test_without_hotcoco_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    with pytest.raises(MissingExtraError, match=r"granum\[eval\]"):
        evaluate(*both([masked(square(5, 5))], []), "boundary-iou")


# ------------------------------------------------------------------ boundary PQ


def literal_pq(
    truths: list[tuple[Ids, dict[int, dict[str, Any]]]],
    predictions: list[tuple[Ids, dict[int, int]]],
    inside: int,
) -> tuple[float, float, float]:
    """PQ, SQ, RQ of all categories as the authors' API counts them.

    Args:
        truths: pictures of ids, 0 is void, and ``category``, ``crowd``, ``area`` by id.
        predictions: pictures of ids, and categories by id.
        inside: the number that pixels inside of a segment get.
    """
    iou_sum, tp, fp, fn = np.zeros(9), np.zeros(9), np.zeros(9), np.zeros(9)
    for (true, info), (found, categories) in zip(truths, predictions, strict=True):
        thin = []
        for picture, ids in ((true, info), (found, categories)):
            out, pixels = picture.copy(), {}
            for i in ids:
                mask = out == i
                near = literal_boundary(mask)
                out[mask] = inside
                out[near] = i
                pixels[i] = int(near.sum())
            thin.append((out, pixels))
        (true_thin, true_pixels), (found_thin, found_pixels) = thin
        matched: tuple[set[int], set[int]] = (set(), set())
        for g, about in info.items():
            for p, category in categories.items():
                inner = int(((true == g) & (found == p)).sum())
                if not inner or about["crowd"] or about["category"] != category:
                    continue
                void = int(((true == 0) & (found == p)).sum())
                iou = inner / (int((found == p).sum()) + about["area"] - inner - void)
                inner = int(((true_thin == g) & (found_thin == p)).sum())
                void = int(((true_thin == 0) & (found_thin == p)).sum())
                iou = min(iou, inner / (found_pixels[p] + true_pixels[g] - inner - void))
                if iou > 0.5:
                    tp[category] += 1
                    iou_sum[category] += iou
                    matched[0].add(g)
                    matched[1].add(p)
        crowds = {}
        for g, about in info.items():
            if g in matched[0]:
                continue
            if about["crowd"]:
                crowds[about["category"]] = g
            else:
                fn[about["category"]] += 1
        for p, category in categories.items():
            if p in matched[1]:
                continue
            spared = (true == 0) | (true == crowds.get(category, 0))
            if not (spared & (found == p)).sum() / (found == p).sum() > 0.5:
                fp[category] += 1
    there = tp + fp + fn > 0
    all_ = (tp + fp / 2 + fn / 2)[there]
    sq = iou_sum[there] / np.maximum(tp[there], 1)
    return float((iou_sum[there] / all_).mean()), float(sq.mean()), float((tp[there] / all_).mean())


def pictures(seed: int, crowds: bool) -> tuple[list[Any], list[Any]]:
    """Truth and predictions of :func:`literal_pq`: blocks of 12 pixels, some of them another
    segment, moved by a pixel or not at all."""
    rng = np.random.default_rng(seed)
    truths, predictions = [], []
    for _ in range(5):
        blocks = rng.integers(0, 6, (4, 5))
        true = np.kron(blocks, np.ones((12, 12), np.int64))
        other = np.where(rng.random(blocks.shape) < 0.15, rng.integers(0, 6, blocks.shape), blocks)
        found = np.roll(np.kron(other, np.ones((12, 12), np.int64)), int(rng.integers(2)), axis=1)
        info = {
            int(i): {
                "category": int(i) % 3,
                "crowd": bool(crowds and rng.random() < 0.2),
                "area": float((true == i).sum() + rng.integers(0, 9)),
            }
            for i in np.unique(true[true > 0])
        }
        truths.append((true, info))
        predictions.append((found, {int(i): int(i) % 3 for i in np.unique(found[found > 0])}))
    return truths, predictions


def segments(truths: list[Any], predictions: list[Any]) -> Dataset:
    """The same as masks."""
    return dataset(
        [[masked(true == i, **about) for i, about in info.items()] for true, info in truths],
        [
            [masked(found == i, c) for i, c in categories.items()]
            for found, categories in predictions
        ],
        CATEGORIES,
    )


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_boundary_pq_is_that_of_the_authors(seed: int, crowds: bool) -> None:
    drawn = pictures(seed, crowds)
    data = segments(*drawn)
    result = evaluate(data, data.layer("predicted"), "boundary-pq")
    expected = literal_pq(*drawn, inside=201)
    assert [result[n] for n in ("PQ", "SQ", "RQ")] == pytest.approx(expected, abs=1e-12)
    plain = evaluate(data, data.layer("predicted"), "panoptic-quality")
    assert 0.1 < (result["PQ"] or 0) < (plain["PQ"] or 0)


def test_with_boundaries_as_thick_as_the_image_it_is_panoptic_quality() -> None:
    truths, predictions = pictures(7, crowds=True)
    for _, info in truths:
        for about in info.values():
            about["area"] = None
    data = segments(truths, predictions)
    found = data.layer("predicted")
    thick = evaluate(data, found, "boundary-pq", parameters={"dilation_ratio": 2.0})
    assert thick.values == evaluate(data, found, "panoptic-quality").values
    assert thick.values != evaluate(data, found, "boundary-pq").values


def test_boundary_pq_by_hand() -> None:
    truth = [[masked(square(5, 5, 8)), masked(~square(5, 5, 8), 2)]]
    found = [[masked(square(6, 5, 8)), masked(~square(6, 5, 8), 2)]]
    data = dataset(truth, found, CATEGORIES)
    result = evaluate(data, data.layer("predicted"), "boundary-pq")
    # cat: rings of 28 pixels share 7 + 7; the sky's boundary is the image's edge of 136 pixels and
    # the ring of 36 around the square, of which 9 + 9 are shared.
    assert result["PQ_th"] == 0  # 14 / 42 is no match
    assert result["PQ_st"] == pytest.approx((136 + 18) / (136 + 36 + 18))
    assert result.per_sample is not None
    assert result.per_sample.to_pylist()[0]["tp"] == 1
    assert evaluate(data, data.layer("predicted"), "panoptic-quality")["PQ_th"] == 56 / 72
    assert result.facts["mode"] == "corrected"
    assert result.facts["parameters"] == {"dilation_ratio": 0.02}


def test_void_is_in_the_union_of_no_boundary() -> None:
    truth = [[masked(square(0, 0, 12, (24, 24)))]]  # the rest is void
    found = [[masked(np.arange(24) < 18 * np.ones((24, 1)))]]
    data = dataset(truth, found, CATEGORIES)
    result = evaluate(data, data.layer("predicted"), "boundary-pq")
    # Of the prediction's boundary 12 + 11 pixels are on the truth, all in its boundary of 44.
    assert result["PQ"] == 23 / 44


def test_an_id_that_the_authors_use_for_insides_is_a_segment_like_others() -> None:
    """Their insides are numbered 201: a segment of that id is taken for all insides."""
    truths, predictions = pictures(1, crowds=False)
    moved = []
    for side in (truths, predictions):
        moved.append(
            [
                (np.where(p == 5, 201, p), {201 if i == 5 else i: v for i, v in info.items()})
                for p, info in side
            ]
        )
    expected = literal_pq(*moved, inside=-1)
    assert expected == literal_pq(truths, predictions, inside=201)
    assert expected != literal_pq(*moved, inside=201)
    data = segments(*moved)
    result = evaluate(data, data.layer("predicted"), "boundary-pq")
    assert [result[n] for n in ("PQ", "SQ", "RQ")] == pytest.approx(expected, abs=1e-12)


# ------------------------------------------------------------------ both


def protocol_and_data(name: str, samples: int, copies: int = 0) -> tuple[Protocol, Dataset]:
    """Squares, and predictions moved by a pixel or not; the first ``copies`` samples are in the
    dataset twice."""
    rng = np.random.default_rng(3)
    truth: list[list[Annotation]] = []
    found: list[list[Annotation]] = []
    for i in range(samples):
        places = [(x, y) for x in (1, 15, 28) for y in (1, 15) if rng.random() < 0.7]
        truth.append([masked(square(x, y, 11), int(rng.integers(3))) for x, y in places])
        found.append(
            [
                masked(
                    square(x + int(rng.integers(2)), y + int(rng.integers(2)), 11),
                    t.category if rng.random() < 0.8 else 1,
                    score=float(rng.random()),
                )
                for (x, y), t in zip(places, truth[i], strict=True)
            ]
        )
    protocol: Protocol = BoundaryIou(iou_thresholds=(0.3, 0.5)) if "iou" in name else BoundaryPQ()
    truth, found = ([*side, *deepcopy(side[:copies])] for side in (truth, found))
    return protocol, dataset(truth, found, CATEGORIES, (HEIGHT, WIDTH))


@pytest.mark.parametrize("name", NAMES)
def test_merging_in_any_order_gives_the_same_bits(name: str) -> None:
    protocol, data = protocol_and_data(name, 12)
    expected = in_parts(protocol, data, [12], 0)
    for seed, sizes in enumerate(([4, 4, 4], [1, 11], [6, 1, 5])):
        assert same(in_parts(protocol, data, sizes, seed), expected)
    assert next(iter(expected.values.values())) not in (None, 0, 1)


@pytest.mark.parametrize("name", NAMES)
def test_counted_again_samples_give_the_numbers_of_those_samples(name: str) -> None:
    protocol, data = protocol_and_data(name, 10)
    result = evaluate(data, data.layer("predicted"), protocol)
    recount = pickle.loads(pickle.dumps(result)).recount
    assert recount is not None
    assert recount.values(np.ones(10, np.int64)) == result.values
    chosen = [0, 3, 4, 9]
    some = data.select(chosen)
    alone = evaluate(some, some.layer("predicted"), protocol)
    weights = np.array([int(k) in chosen for k in recount.keys.to_pylist()], np.int64)
    assert recount.values(weights) == alone.values != result.values
    assert recount.values(2 * weights) == pytest.approx(alone.values)
    assert set(recount.values(0 * weights).values()) == {None}


@boundary_ap
def test_a_sample_that_counts_twice_is_as_good_as_two() -> None:
    protocol, data = protocol_and_data("boundary-iou", 6)
    recount = evaluate(data, data.layer("predicted"), protocol).recount
    assert recount is not None
    _, twice = protocol_and_data("boundary-iou", 6, copies=2)
    expected = evaluate(twice, twice.layer("predicted"), protocol)
    assert recount.values(np.array([2, 2, 1, 1, 1, 1])) == pytest.approx(expected.values, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_predicted_and_nothing_at_all(name: str) -> None:
    truth = [masked(square(5, 5))]
    result = evaluate(*both(truth, []), name)
    assert next(iter(result.values.values())) == 0
    assert set(evaluate(*both([], []), name).values.values()) == {None}
    nothing = Dataset.from_rows([], CATEGORIES)
    assert set(evaluate(nothing, nothing, name).values.values()) == {None}


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_cannot_be_compared_are_findings(name: str) -> None:
    truth = [masked(square(5, 5)), Annotation(category=0, bbox=(1.0, 1.0, 5.0, 5.0))]
    found = [
        masked(square(5, 5), score=0.5),
        masked(square(20, 5), None, score=0.4),
        Annotation(category=0, bbox=(1.0, 1.0, 5.0, 5.0), score=0.4),
    ]
    if name == "boundary-iou":
        found.append(masked(square(20, 20), score=math.nan))
    result = evaluate(*both(truth, found), name)
    assert result.findings.counts["missing-geometry"] == 2
    assert result.findings.counts["missing-category"] == 1
    if name == "boundary-iou":
        assert result.findings.counts["nan-score"] == 1
    assert next(iter(result.values.values())) == pytest.approx(1)
    assert (result.facts["truths"], result.facts["predictions"]) == (1, 1)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_samples_and_categories_are_findings(name: str) -> None:
    true, _ = both([masked(square(5, 5))], [])
    size = {"width": WIDTH, "height": HEIGHT}
    found = Dataset.from_rows(
        [
            Sample(
                "a",
                annotations=[
                    masked(square(5, 5), 1, score=0.5),
                    masked(square(20, 5), 0, score=0.9),
                ],
                **size,
            ),
            Sample("z", annotations=[masked(square(5, 5), 1, score=0.5)], **size),
        ],
        [Category("bird"), Category("cat")],
    )
    result = evaluate(true, found, name)
    assert result.findings.counts["unknown-category"] == 1
    assert result.findings.counts["unknown-sample"] == 1
    assert next(iter(result.values.values())) == pytest.approx(1)


@boundary_ap
def test_both_are_evaluated_by_name(tmp_path: Path) -> None:
    paths = written(tmp_path, *near_case(2))
    truth, found = loaded(paths)
    expected = evaluate(truth, found, "boundary-iou").values
    assert granum.evaluate(paths[0], paths[1], protocol="boundary-iou").values == expected
    expected = evaluate(truth, found, "boundary-pq", parameters={"dilation_ratio": 0.1}).values
    given = {"dilation_ratio": 0.1}
    assert (
        granum.evaluate(truth, found, protocol="boundary-pq", parameters=given).values == expected
    )
