"""Pixel retrieval: the released loop written out again, and each of its quirks with numbers."""

from __future__ import annotations

import contextlib
import pickle
from typing import Any

import numpy as np
import pytest

from granum.errors import UsageError
from granum.metrics.base import Context, Result
from granum.metrics.evaluate import evaluate
from granum.metrics.pixel_retrieval import (
    PixelRetrieval,
    Shape,
    exact_overlap,
    official_overlap,
)
from granum.schema import geometry
from granum.schema.fill_poly import fill_poly
from granum.schema.rows import Annotation, Category, Rle, Sample
from granum.store.dataset import Dataset
from granum.store.parts import Batch
from tests.metrics.made import same
from tests.metrics.retrieved import LEVELS, Truth, ok_and_junk

CATEGORIES = [Category(name, space="relevance") for name in LEVELS]
Pair = tuple[int, int]
Points = list[list[float]]


def square(x: float, y: float, side: float) -> Points:
    """Corners (x, y)."""
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]


def flat(points: Points) -> list[float]:
    return [v for point in points for v in point]


def dataset(
    truth: Truth,
    labels: dict[Pair, list[Points] | None],
    found: dict[Pair, Any],
    ranks: Any = None,
    *,
    prefix: str = "",
    images: int = 6,
) -> Dataset:
    """Labels and predictions are points (x, y) by (query, image): None is an object without
    polygons, a missing pair a label. Ranks: shape (n, q)."""
    numbers = iter(range(1, 10**6))
    on_image: list[tuple[list[Annotation], list[Annotation]]] = [([], []) for _ in range(images)]
    queries = []

    def end(side: int, image: int, drawn: list[Points] | None, *, is_object: bool) -> int:
        row = Annotation("object" if is_object else "label", annotation_id=next(numbers))
        if drawn is not None:
            row.polygons = [[flat(points)] for points in drawn]
        on_image[image][side].append(row)
        return int(row.annotation_id or 0)

    for q, levels in enumerate(truth):
        true, guess = [], []
        for category, level in enumerate(LEVELS):
            for i in levels[level]:
                at = end(0, i, labels.get((q, i)), is_object=(q, i) in labels)
                own = next(numbers)
                true.append(Annotation("relation", category, object=at, annotation_id=own))
        listed = range(images) if ranks is None else np.asarray(ranks)[:, q].tolist()
        for rank, i in enumerate(listed):
            if ranks is None and (q, i) not in found:
                continue
            drawn = found.get((q, i))
            at = end(1, i, None if drawn is None else [drawn], is_object=(q, i) in found)
            score = None if ranks is None else -float(rank)
            own = next(numbers)
            guess.append(Annotation("relation", object=at, score=score, annotation_id=own))
        name = f"{prefix}query/q{q:02d}"
        queries.append(Sample(name, role="query", annotations=true, layers={"predicted": guess}))
    samples = [
        Sample(f"{prefix}jpg/i{i:02d}.jpg", role="database", annotations=a, layers={"predicted": b})
        for i, (a, b) in enumerate(on_image)
    ]
    return Dataset.from_rows(queries + samples, CATEGORIES)


def judged(data: Dataset, **parameters: Any) -> Result:
    return evaluate(data, data.layer("predicted"), "pixel-retrieval", parameters=parameters)


# ------------------------------------------------------------------ the released loop


def released_overlap(found: Points, true: list[Points]) -> tuple[float, float]:
    """On rasters, as the released code draws them; it fails as that one does."""
    mine = np.array(found).astype(int)
    theirs = np.array([p for points in true for p in points]).astype(int)
    side = max(mine[:, 0].max(), mine[:, 1].max(), theirs[:, 0].max(), theirs[:, 1].max())
    masks = []
    for points in (mine, theirs):
        raster = np.zeros((side, side))
        (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
        raster[y0 : y1 + 1, x0 : x1 + 1] = 1
        masks.append(raster > 0)
    box = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
    drawn = fill_poly([mine], side, side)
    real = fill_poly([np.array(p).astype(int) for p in true], side, side)
    return float(box), float((drawn & real).sum() / (drawn | real).sum())


def released(
    truth: Truth,
    labels: dict[Pair, Any],
    found: dict[Pair, Any],
    ranks: Any,
    ignored: tuple[int, ...],
) -> dict[str, float]:
    """mIoU and mAP, with all their quirks."""
    kept: dict[Pair, tuple[float, float]] = {}
    sums: dict[str, list[float]] = {f"mIoU_{w}_{p}": [] for p in "MH" for w in ("box", "mask")}
    iou = (0.0, 0.0)
    for q, levels in enumerate(truth):
        medium, hard = [], []
        for level in ("hard", "easy"):
            for i in levels[level]:
                if (q, i) not in found:
                    iou = (0.0, 0.0)
                    if level == "easy":
                        continue
                    kept[q, i] = iou
                else:
                    with contextlib.suppress(TypeError):  # else that of the pair before
                        iou = kept[q, i] = released_overlap(found[q, i], labels[q, i])
                medium.append(iou)
                if level == "hard":
                    hard.append(iou)
        for p, of in (("M", medium), ("H", hard)):
            for k, what in enumerate(("box", "mask")):
                sums[f"mIoU_{what}_{p}"].append(np.mean([v[k] for v in of]))
    out = {name: float(np.mean(values)) for name, values in sums.items()}
    for p in "MH":
        maps = []
        for t in range(50, 100, 5):
            total, empty = 0.0, 0
            for q, gnd in enumerate(ok_and_junk(truth, p)):
                if q in ignored:
                    continue
                ok = [i for i in gnd["ok"] if (q, i) in kept and kept[q, i][0] > t / 100]
                if not ok:
                    empty += 1
                    continue
                place, hits, area, step = 0, 0, 0.0, 1.0 / len(ok)
                for image in np.asarray(ranks)[:, q].tolist():
                    if image in gnd["junk"]:
                        continue
                    if image in ok:
                        before = 1.0 if place == 0 else hits / place
                        area += (before + (hits + 1) / (place + 1)) * step / 2.0
                        hits += 1
                    place += 1
                total += area
            maps.append(total / (len(truth) - empty))
        out[f"mAP_{p}"] = float(np.average(maps))
    return out


def drawn(seed: int) -> tuple[Truth, dict[Pair, Any], dict[Pair, Any], Any]:
    """Pairs with labels and predictions; some predictions are missing, some fail."""
    rng = np.random.default_rng(seed)
    truth: Truth = []
    labels: dict[Pair, Any] = {}
    found: dict[Pair, Any] = {}
    for q in range(7):
        chosen = rng.permutation(20)
        sizes = [int(rng.integers(0, 4)), int(rng.integers(1, 5)), int(rng.integers(0, 4))]
        parts = np.split(chosen[: sum(sizes)], np.cumsum(sizes)[:-1])
        truth.append({name: p.tolist() for name, p in zip(LEVELS, parts, strict=True)})
        for i in (*truth[-1]["hard"], *truth[-1]["easy"]):
            corners = [square(*rng.uniform(0, 30, 2), rng.uniform(5, 30)) for _ in range(2)]
            labels[q, i] = corners[: rng.integers(1, 3)]
            fate = rng.random() if labels.keys() - {(q, i)} else 1.0
            if fate < 0.2:
                continue
            noise = rng.uniform(0, 6, (4, 2)) * rng.integers(0, 2)
            found[q, i] = (np.array(corners[0]) + noise).tolist()
            if fate < 0.3:
                labels[q, i] = None
    return truth, labels, found, np.stack([rng.permutation(20) for _ in range(7)], axis=1)


@pytest.mark.parametrize("seed", range(10))
def test_equal_to_the_released_loop(seed: int) -> None:
    truth, labels, found, ranks = drawn(seed)
    data = dataset(truth, labels, found, ranks, images=20)
    result = judged(data, skipped=[2, 5])
    want = released(truth, labels, found, ranks, (2, 5))
    assert {**result.values} == want
    failing = sum(labels[pair] is None for pair in found)
    assert result.facts["pairs_failing"] == failing and (failing or seed == 7)
    assert result.facts["pairs_without_prediction"] == len(labels) - len(found) > 0


# ------------------------------------------------------------------ IoU by hand


def test_boxes_hold_their_last_pixel_but_for_the_border_of_the_raster() -> None:
    # Side 9: columns 2..5 and 4..8 (9 is beyond it), rows 2..5 and 4..8 alike: 16, 25, common 4.
    box, mask = official_overlap(flat(square(2, 2, 3)), [flat(square(4, 4, 5))]) or (0, 0)
    assert box == mask == 4 / (16 + 25 - 4)
    # Far from the border: both have all of their 4 x 4 and 6 x 6 pixels.
    far = flat([[4, 4], [9, 4], [9, 9], [4, 9]])
    box, _ = official_overlap(flat(square(2, 2, 3)), [far, [20, 20, 20, 20]]) or (0, 0)
    assert box == 4 / (16 + 16 * 16 - 4)  # the true box: 4..19, all its polygons


def test_coordinates_are_cut_not_rounded() -> None:
    exact = official_overlap(flat(square(1, 1, 4)), [flat(square(1, 1, 4))])
    cut = official_overlap(flat(square(1.9, 1.9, 4)), [flat(square(1, 1, 4))])
    assert exact == cut == (1, 1)


def test_negative_coordinates_are_slices_from_the_end() -> None:
    # Rows and columns -2..3 of a raster of 9: a slice from 7 to 4 holds nothing.
    box, mask = official_overlap(flat(square(-2, -2, 5)), [flat(square(0, 0, 9))]) or (0, 0)
    assert box == 0 and 0 < mask < 1


@pytest.mark.parametrize(
    ("found", "true"),
    [
        ([], [[0, 0, 9, 9]]),
        ([0, 0, 9, 9], []),
        ([0, 0, float("nan"), 9], [[0, 0, 9, 9]]),
        ([-5, -5, -1, -1], [[-3, -3, 0, 0]]),
        ([0, 0, 99_999, 9], [[0, 0, 9, 9]]),
    ],
)
def test_what_the_released_code_fails_on(found: Any, true: Any) -> None:
    assert official_overlap(found, true) is None


def test_exact_overlap() -> None:
    mine, theirs = Shape([[flat(square(0, 0, 4))]]), Shape([[flat(square(2, 0, 4))]])
    assert exact_overlap(mine, theirs) == (8 / 24, 8 / 24)
    mask = geometry.rasterize([[flat(square(2, 0, 4))]], 10, 12)
    assert exact_overlap(mine, Shape(rle=geometry.encode_mask(mask))) == (8 / 24, 8 / 24)
    assert exact_overlap(mine, Shape()) is None
    nothing = Shape(rle=geometry.encode_mask(np.zeros((4, 4))))
    assert exact_overlap(nothing, nothing) is None
    with pytest.raises(UsageError, match="masks of"):
        exact_overlap(nothing, Shape(rle=geometry.encode_mask(mask)))


# ------------------------------------------------------------------ quirks, one by one

SAME, FAR = square(1, 1, 8), square(20, 20, 8)
ONE: Truth = [{"easy": [], "hard": [0, 1], "junk": []}]


def test_the_released_map_goes_by_boxes() -> None:
    # A diagonal line has the box of the square, and few of its pixels.
    line = [[1, 1], [9, 9]]
    data = dataset(ONE, {(0, 0): [SAME], (0, 1): [SAME]}, {(0, 0): line}, [[0], [1]], images=2)
    official, mended = judged(data), judged(data, mode="corrected")
    assert official["mAP_H"] == 1 and mended["mAP_H"] == 0
    assert official["mIoU_box_H"] == 0.5 and official["mIoU_mask_H"] == 8 / 64 / 2
    assert (official.facts["mode"], mended.facts["mode"]) == ("official", "corrected")


def test_relevant_images_below_the_threshold_are_negatives_and_not_in_recall() -> None:
    labels = {(0, 0): [SAME], (0, 1): [SAME]}
    found = {(0, 0): SAME, (0, 1): FAR}
    data = dataset(ONE, labels, found, [[1], [0]], images=2)
    assert judged(data)["mAP_H"] == 0.25  # a negative first, then the only one that counts
    mended = judged(data, mode="corrected")
    assert mended["mAP_H"] == 0.25 and mended.facts["deviations"] == []
    whole = judged(data, mode="corrected", denominator="all")
    assert whole["mAP_H"] == 0.125 and whole.facts["deviations"]


def test_queries_skipped_are_in_the_divisor() -> None:
    truth = ONE * 3
    labels = {(q, i): [SAME] for q in range(3) for i in (0, 1)}
    found = {(q, 0): SAME for q in (0, 1)}  # the third query finds nothing: it leaves the divisor
    data = dataset(truth, labels, found, [[0] * 3, [1] * 3], images=2)
    assert judged(data)["mAP_M"] == 1
    result = judged(data, skipped=[1])
    assert result["mAP_M"] == 0.5
    assert result.facts["queries_skipped"] == ["query/q01"]
    assert result["mIoU_box_M"] == judged(data)["mIoU_box_M"]  # mIoU skips none
    assert judged(data, skipped=[1], mode="corrected")["mAP_M"] == 1
    # With no query left: released code divides by 0 where nothing else is skipped.
    assert judged(data, skipped=[0, 1])["mAP_M"] == 0


@pytest.mark.parametrize(
    ("prefix", "skipped", "collection"),
    [("roxford5k/", [56, 63], "oxford"), ("rparis6k/", [57, 59], "paris"), ("", [], None)],
)
def test_which_queries_are_skipped(prefix: str, skipped: list[int], collection: str | None) -> None:
    truth: Truth = [{"easy": [], "hard": [0], "junk": []}] * 70
    labels = {(q, 0): [SAME] for q in range(70)}
    data = dataset(truth, labels, {(q, 0): SAME for q in range(70)}, [[0] * 70], prefix=prefix)
    result = judged(data)
    assert result.facts["queries_skipped"] == [f"{prefix}query/q{q}" for q in skipped]
    assert result.facts["collection"] == collection
    assert result["mAP_H"] == pytest.approx((70 - len(skipped)) / 70, abs=1e-12)
    assert judged(data, mode="corrected")["mAP_H"] == 1
    assert judged(data, skipped=[])["mAP_H"] == 1


def test_empty_predictions_are_0_where_hard_and_left_out_where_easy() -> None:
    truth: Truth = [{"easy": [0, 1], "hard": [2, 3], "junk": []}]
    labels = {(0, i): [SAME] for i in range(4)}
    found = {(0, 0): SAME, (0, 2): SAME}
    data = dataset(truth, labels, found, [[0], [1], [2], [3]], images=4)
    official, mended = judged(data), judged(data, mode="corrected")
    assert official["mIoU_box_M"] == pytest.approx(2 / 3)  # hard 1, 0; easy 1
    assert mended["mIoU_box_M"] == 0.5
    assert official["mIoU_box_H"] == mended["mIoU_box_H"] == 0.5
    assert official.facts["pairs_without_prediction"] == 2


def test_a_failing_pair_has_the_iou_of_the_one_before() -> None:
    truth: Truth = [
        {"easy": [0], "hard": [1, 2], "junk": []},
        {"easy": [], "hard": [0], "junk": []},
    ]
    labels: dict[Pair, Any] = {(0, 0): [SAME], (0, 1): [SAME], (0, 2): None, (1, 0): None}
    found = {(0, 0): FAR, (0, 1): SAME, (0, 2): SAME, (1, 0): SAME}
    data = dataset(truth, labels, found, [[0, 0], [1, 1], [2, 2]], images=3)
    official, mended = judged(data), judged(data, mode="corrected")
    # Hard 1, then 1 again; easy 0. The second query: 0 again, of the first query's easy pair.
    assert official["mIoU_box_H"] == (1 + 0) / 2
    assert official["mIoU_box_M"] == pytest.approx((2 / 3 + 0) / 2)
    assert mended["mIoU_box_H"] == (0.5 + 0) / 2
    assert official.facts["pairs_failing"] == 2
    assert official.findings.counts["missing-geometry"] == 2
    assert official["mAP_M"] == 0.25  # image 1 stands at rank 1; failing pairs are not relevant


def test_a_query_without_pairs_makes_the_released_miou_undefined() -> None:
    truth: Truth = [
        {"easy": [], "hard": [0], "junk": []},
        {"easy": [0], "hard": [], "junk": []},
    ]
    labels = {(0, 0): [SAME], (1, 0): [SAME]}
    data = dataset(truth, labels, {(0, 0): SAME, (1, 0): SAME}, [[0, 0]], images=1)
    official = judged(data)
    assert official["mIoU_box_M"] == 1 and official["mIoU_box_H"] is None
    assert "query/q01" in str(official.findings.items)
    assert official.findings.counts["undefined-number"] == 1
    assert judged(data, mode="corrected")["mIoU_box_H"] == 1


# ------------------------------------------------------------------ rows


def test_pairs_without_labels_are_left_out() -> None:
    data = dataset(ONE, {(0, 0): [SAME]}, {(0, 0): SAME, (0, 1): SAME}, [[1], [0]], images=2)
    official, mended = judged(data), judged(data, mode="corrected")
    assert official["mIoU_box_H"] == mended["mIoU_box_H"] == 1
    assert (official["mAP_H"], mended["mAP_H"]) == (0.25, 1)  # a negative; out of the list
    assert official.findings.counts["missing-geometry"] == 1
    assert official.facts["pairs_not_labelled"] == 1


def test_without_ranks_there_is_no_map() -> None:
    data = dataset(ONE, {(0, 0): [SAME], (0, 1): [SAME]}, {(0, 0): SAME}, images=2)
    result = judged(data)
    assert (result["mIoU_box_H"], result["mAP_H"], result["mAP_M"]) == (0.5, None, None)
    assert result.findings.counts["undefined-number"] == 1 and not result.curves
    assert result.per_sample is not None
    assert result.per_sample["AP_H"].to_pylist() == [None]


def test_masks_of_other_forms_are_compared_where_corrected() -> None:
    data = dataset(ONE, {(0, 0): [SAME], (0, 1): [SAME]}, {(0, 0): SAME}, [[0], [1]], images=2)
    rows = []
    predicted = {s.key: s.annotations for s in data.layer("predicted")}
    for view in data:
        row, own = view.row, predicted[view.key]
        for annotation in own:
            if annotation.polygons:
                mask = geometry.rasterize(annotation.polygons, 40, 40)
                annotation.polygons, annotation.rle = None, Rle(*geometry.encode_mask(mask))
        row.annotations, row.layers = view.annotations, {"predicted": own}
        rows.append(row)
    masked = Dataset.from_rows(rows, CATEGORIES)
    assert judged(masked, mode="corrected")["mIoU_mask_H"] == 0.5
    official = judged(masked)
    assert official.facts["pairs_failing"] == 1 and official["mIoU_mask_H"] == 0


def test_nothing_found_is_0_where_corrected_and_undefined_as_released() -> None:
    data = dataset(ONE, {(0, 0): [SAME], (0, 1): [SAME]}, {(0, 0): FAR}, [[0], [1]], images=2)
    assert judged(data)["mAP_H"] is None
    assert judged(data, mode="corrected")["mAP_H"] == 0
    assert judged(data, denominator="all")["mAP_H"] == 0


@pytest.mark.parametrize("wrong", [{"mode": "x"}, {"denominator": "x"}, {"thresholds": [1.0]}])
def test_wrong_parameters(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        PixelRetrieval(**wrong)


# ------------------------------------------------------------------ parts, weights


@pytest.mark.parametrize("mode", ["official", "corrected"])
def test_parts_in_any_order_give_the_same_bits(mode: Any) -> None:
    truth, labels, found, ranks = drawn(4)
    data = dataset(truth, labels, found, ranks, images=20)
    protocol = PixelRetrieval(mode=mode, skipped=(1,))
    want = evaluate(data, data.layer("predicted"), protocol)
    states = []
    context = Context(data.categories, None, None, len(data))
    (mine,), (theirs,) = data.iter_batches(), data.layer("predicted").iter_batches()
    for a, b in ((0, 3), (3, 12), (12, len(data))):
        pair = [
            Batch(
                side.samples.slice(a, b - a),
                side.annotations.slice(side.offsets()[a], side.offsets()[b] - side.offsets()[a]),
                a,
            )
            for side in (mine, theirs)
        ]
        states.append(pickle.loads(pickle.dumps(protocol.state(pair[0], pair[1], context))))
    one = protocol.result([protocol.state(mine, theirs, context)], context)
    assert one.values == want.values
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        assert same(protocol.result([states[i] for i in order], context), one)


@pytest.mark.parametrize("mode", ["official", "corrected"])
def test_recount_is_the_evaluation_of_the_subset(mode: Any) -> None:
    truth, labels, found, ranks = drawn(6)
    labels = {pair: label or [SAME] for pair, label in labels.items()}  # no pair of another query
    result = judged(dataset(truth, labels, found, ranks, images=20), mode=mode)
    again = result.recount
    assert again is not None
    assert again.values(np.ones(7, np.int64)) == result.values
    kept = [0, 3, 4, 6]
    chosen = np.isin(np.arange(7), kept).astype(np.int64)

    def moved(pairs: dict[Pair, Any]) -> dict[Pair, Any]:
        return {(kept.index(q), i): v for (q, i), v in pairs.items() if q in kept}

    part = dataset([truth[q] for q in kept], moved(labels), moved(found), ranks[:, kept], images=20)
    assert again.values(chosen) == judged(part, mode=mode).values
    assert set(again.values(np.zeros(7, np.int64)).values()) == {None}
