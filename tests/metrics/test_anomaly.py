"""Anomaly scores equal scikit-learn, and AUPRO a slow count of all thresholds."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from granum.errors import MissingExtraError, UsageError
from granum.metrics.anomaly import (
    Anomaly,
    aupro,
    auroc,
    average_precision,
    f1_max,
    pro_3cad,
    pro_curve,
)
from granum.metrics.base import Result
from granum.metrics.evaluate import evaluate
from granum.schema import rows
from granum.schema.fields import field_to_map
from granum.store.dataset import Dataset
from tests.data import shared
from tests.metrics.made import dataset, in_parts, masked, same

pytest.importorskip("scipy")  # it counts the regions

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CATEGORIES = [rows.Category("hole", space="defect"), rows.Category("good", space="defect")]


def slow_aupro(maps: list[Floats], masks: list[Mask], limit: float) -> float:
    """Every distinct score is a threshold; regions by flooding; the area piece by piece."""
    regions = [(i, r) for i, mask in enumerate(masks) for r in flooded(mask)]
    normal = np.concatenate([m[~mask] for m, mask in zip(maps, masks, strict=True)])
    points = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate([m.ravel() for m in maps]))[::-1]:
        overlap = np.mean([(maps[i][r] >= threshold).mean() for i, r in regions])
        points.append((float((normal >= threshold).mean()), float(overlap)))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            y = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            area += (end - x0) * (y0 + y) / 2
    return area / limit


def flooded(mask: Mask) -> list[Mask]:
    """8-connected regions, one after the other."""
    left, out = mask.copy(), []
    while left.any():
        region = np.zeros_like(mask)
        region[tuple(np.argwhere(left)[0])] = True
        while True:
            padded = np.pad(region, 1)
            h, w = mask.shape
            grown = mask & np.any(
                [padded[y : y + h, x : x + w] for y in range(3) for x in range(3)], axis=0
            )
            if (grown == region).all():
                break
            region = grown
        out.append(region)
        left &= ~region
    return out


@st.composite
def scored_maps(draw: Any) -> tuple[list[Floats], list[Mask]]:
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    shape = draw(st.integers(2, 7)), draw(st.integers(2, 7))
    levels = draw(st.sampled_from([2, 5, 1000]))
    n = draw(st.integers(1, 4))
    maps = [np.round(rng.standard_normal(shape) * levels) / 10 for _ in range(n)]
    masks = [rng.random(shape) < draw(st.sampled_from([0, 0.1, 0.4])) for _ in range(n)]
    masks[0][0, 0], masks[0][-1, -1] = True, False
    return maps, masks


# ------------------------------------------------------------------ on arrays


@settings(max_examples=80, deadline=None, derandomize=True)
@given(scored_maps())
def test_auroc_ap_and_f1_equal_scikit_learn(made: tuple[list[Floats], list[Mask]]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, positive = np.stack(made[0]), np.stack(made[1])
    y, s = positive.ravel(), scores.ravel()
    assert auroc(scores, positive) == pytest.approx(sklearn.roc_auc_score(y, s), abs=1e-12)
    assert average_precision(scores, positive) == pytest.approx(
        sklearn.average_precision_score(y, s), abs=1e-12
    )
    f1s = {t: sklearn.f1_score(y, s >= t) for t in np.unique(s)}
    found = f1_max(scores, positive)
    assert found is not None
    assert found[0] == pytest.approx(max(f1s.values()))
    assert found[1] == max(t for t, f1 in f1s.items() if f1 > found[0] - 1e-12)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(scored_maps(), st.sampled_from([0.05, 0.3, 1.0]))
def test_aupro_equals_a_slow_count(made: tuple[list[Floats], list[Mask]], limit: float) -> None:
    maps, masks = made
    assert aupro(maps, masks, limit=limit) == pytest.approx(slow_aupro(maps, masks, limit))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(scored_maps(), st.integers(0, 99))
def test_order_of_images_and_rising_changes_of_scores_do_not_matter(
    made: tuple[list[Floats], list[Mask]], seed: int
) -> None:
    maps, masks = made
    order = np.random.default_rng(seed).permutation(len(maps))
    changed = [np.exp(maps[i] / 50) for i in order]
    assert aupro(changed, [masks[i] for i in order]) == aupro(maps, masks)
    assert auroc(np.stack(changed), np.stack([masks[i] for i in order])) == auroc(
        np.stack(maps), np.stack(masks)
    )


def test_auroc_and_ap_equal_torchmetrics_on_many_pixels() -> None:
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    scores, positive = rng.random((40, 50)), rng.random((40, 50)) < 0.1
    given_ = torch.tensor(scores), torch.tensor(positive.astype(int))
    assert auroc(scores, positive) == pytest.approx(float(torchmetrics.binary_auroc(*given_)))
    assert average_precision(scores, positive) == pytest.approx(
        float(torchmetrics.binary_average_precision(*given_)), rel=1e-6
    )


def test_perfect_inverted_and_constant_maps() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:4, 2:4] = mask[4, 4] = mask[8, 8] = True
    assert aupro([mask * 1.0], [mask]) == 1
    assert aupro([~mask * 1.0], [mask]) == 0
    assert aupro([np.zeros((10, 10))], [mask]) == pytest.approx(0.15)
    assert auroc(np.zeros((10, 10)), mask) == 0.5


def test_each_region_weighs_the_same_however_small() -> None:
    mask = np.zeros((10, 10), bool)
    mask[0, 0] = mask[5:, :5] = True
    found = mask.copy()
    found[0, 0] = False
    assert aupro([found * 1.0], [mask]) == pytest.approx(0.5 + 0.5 * 0.15)


def test_false_positives_are_pooled_over_all_images() -> None:
    mask = np.zeros((4, 5), bool)
    mask[0, 0] = True
    bad, good = mask * 2.0, np.zeros((4, 5))
    good[:2] = 3.0  # 10 of 39 normal pixels lie above the defect
    curve = pro_curve([bad, good], [mask, ~mask & False])
    assert curve is not None
    fpr, pro = curve
    assert fpr.tolist()[:4] == pytest.approx([0, 10 / 39, 10 / 39, 1])
    assert pro.tolist()[:4] == [0, 0, 1, 1]
    assert aupro([bad, good], [mask, ~mask & False]) == pytest.approx((0.3 - 10 / 39) / 0.3)


def test_one_class_only_is_undefined() -> None:
    for positive in (np.zeros(4, bool), np.ones(4, bool)):
        assert auroc(np.arange(4), positive) is None
        assert average_precision(np.arange(4), positive) is None
        assert f1_max(np.arange(4), positive) is None
        assert aupro([np.zeros((2, 2))], [positive.reshape(2, 2)]) is None
        assert pro_curve([np.zeros((2, 2))], [positive.reshape(2, 2)]) is None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: auroc([0.0, np.nan], [0, 1]),
        lambda: auroc([0.0, 1.0], [0, 1, 1]),
        lambda: aupro([np.zeros((2, 2))], []),
        lambda: aupro([], []),
        lambda: aupro([np.zeros((2, 2))], [np.zeros((2, 3))]),
        lambda: aupro([np.full((2, 2), np.inf)], [np.eye(2)]),
        lambda: aupro([np.zeros((2, 2))], [np.eye(2)], limit=0),
        lambda: Anomaly(limit=1.5),
        lambda: Anomaly(bits=0),
        lambda: Anomaly(pro="mean"),  # type: ignore[arg-type]
        lambda: Anomaly(resize=0),
        lambda: Anomaly(mode="3cad"),  # type: ignore[arg-type]
        lambda: pro_3cad(np.zeros((2, 2)), np.zeros((2, 3))),
        lambda: pro_3cad(np.full((2, 2), np.nan), np.eye(2)),
    ],
)
def test_what_cannot_be_scored_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError):
        wrong()


def test_without_scipy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    with pytest.raises(MissingExtraError, match=r"granum\[eval\]"):
        aupro([np.eye(3)], [np.eye(3)])
    assert auroc([0, 1], [0, 1]) == 1


# ------------------------------------------------------------------ 3CAD's own overlap


def slow_3cad(scores: Floats, mask: Mask) -> float:
    """The official loop, step by step: a threshold after the other, all of them drawn."""
    low, high, regions = scores.min(), scores.max(), flooded(mask)
    points = []
    for threshold in np.arange(low, high, (high - low) / 200):
        found = scores > threshold
        overlap = np.mean([found[region].sum() / region.sum() for region in regions])
        points.append((np.logical_and(~mask, found).sum() / (~mask).sum(), overlap))
    points = [p for p in points if p[0] < 0.3]
    widest = max(p[0] for p in points)
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise([(fpr / widest, pro) for fpr, pro in points]):
        area += (x0 - x1) * (y0 + y1) / 2
    return area


@pytest.mark.parametrize("seed", range(12))
def test_the_overlap_of_3cad_equals_the_official_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((14, 17)) < 0.1
    scores = rng.standard_normal(mask.shape) + mask * (seed % 3)
    assert pro_3cad(scores, mask) == pytest.approx(slow_3cad(scores, mask), abs=1e-12)


def test_the_overlap_of_3cad_by_hand() -> None:
    # Ten normal pixels 0, 10 … 90 and a defect of 65 and 200. The thresholds are the whole numbers
    # 0 … 199. Rates below 0.3: 0.2 from 70 on (the defect is half found), 0.1 from 80 on, 0 from
    # 90 on; rescaled by their own highest they are 1, 1/2, 0, all at an overlap of a half.
    scores = np.array([[*range(0, 100, 10), 65, 200.0]])
    mask = np.array([[False] * 10 + [True, True]])
    assert pro_3cad(scores, mask) == pytest.approx(0.5)
    scores[0, 10] = 75.0  # at the rate 0.2 (thresholds 70 … 74) all of the defect is found
    # Overlap 1 then 0.5 at 1, 0.5 at 1/2 and at 0: no width is gained where it is 1.
    assert pro_3cad(scores, mask) == pytest.approx(0.5)
    scores[0, 10] = 79.0  # not above the last threshold of that rate
    assert pro_3cad(scores, mask) == pytest.approx(0.5)
    scores[0, 10] = 95.0  # 1 at all three rates; at 0 it is 1 up to 94, then a half
    assert pro_3cad(scores, mask) == pytest.approx(1.0)
    # AUPRO begins at the rate 0 with nothing found and ends at 0.3.
    assert aupro([scores], [mask]) == pytest.approx(1.0)
    scores[0, 10] = 75.0
    assert aupro([scores], [mask]) == pytest.approx((0.1 * 1 + 0.2 * 0.5) / 0.3)


def test_where_the_official_overlap_fails_there_is_none() -> None:
    mask = np.eye(4, dtype=bool)
    assert pro_3cad(np.ones((4, 4)), mask) is None  # one score
    assert pro_3cad(np.arange(16.0).reshape(4, 4), ~mask & mask) is None  # no defect
    assert pro_3cad(np.arange(16.0).reshape(4, 4), mask | ~mask) is None  # nothing normal
    assert pro_3cad(mask * 1.0, mask) is None  # no false positive at any threshold
    hidden = np.zeros((4, 4), bool)
    hidden[0] = True
    scores = np.arange(16.0).reshape(4, 4)
    assert pro_3cad(scores, mask, hidden) == pro_3cad(scores[1:], mask[1:])


def test_3cad_averages_defective_images_and_leaves_good_ones_out() -> None:
    maps, masks = made(seed=3, n=6)
    data = stored(maps, masks, low=0, high=65_535)
    own = [pro_3cad(m, k) for m, k in zip(maps, masks, strict=True) if k.any()]
    plain, both, only = scored(data), scored(data, pro="both"), scored(data, pro="3cad")
    assert both["pro_3cad"] == pytest.approx(np.mean([v for v in own if v is not None]))
    assert both["aupro"] == plain["aupro"] != both["pro_3cad"]
    assert "pro_3cad" not in plain.values and "aupro" not in only.values
    assert only["pro_3cad"] == both["pro_3cad"]
    assert both.per_sample is not None and plain.per_sample is not None
    assert both.per_sample["pro_3cad"].to_pylist() == [
        pro_3cad(m, k) if k.any() else None for m, k in zip(maps, masks, strict=True)
    ]
    assert "pro_3cad" not in plain.per_sample.column_names


def test_defects_without_an_overlap_are_told() -> None:
    data = dataset(
        [[label(0)], [masked(np.eye(3))]], [[heat(np.eye(3))]] * 2, CATEGORIES, size=(3, 3)
    )
    found = scored(data, pro="3cad")
    assert found["pro_3cad"] is None
    told = [f.place for f in found.findings.items if f.path == "pro_3cad"]
    assert told == ["000", "001"]


def test_maps_and_masks_at_another_size() -> None:
    """Of four by four pixels the nearest of two by two are those at odd rows and columns."""
    mask = np.zeros((4, 4), bool)
    mask[1, 1] = mask[0, 2] = True
    scores = np.kron(np.array([[4.0, 1.0], [2.0, 3.0]]), np.ones((2, 2)))
    data = stored([scores], [mask], low=0, high=65_535)
    found = scored(data, resize=2)
    assert (found.facts["normal_pixels"], found.facts["defect_pixels"]) == (3, 1)
    assert found["pixel_auroc"] == 1 and found.facts["maps_resized"] == 1
    assert scored(data).facts["defect_pixels"] == 2


def test_defects_that_vanish_in_resizing() -> None:
    mask = np.zeros((8, 8), bool)
    mask[0, 0] = True
    data = stored([mask * 1.0, mask * 0.5], [mask, ~mask & mask])
    official, corrected = (scored(data, resize=2, mode=m) for m in ("official", "corrected"))
    assert official.facts["anomalous"] == 0 and official["image_auroc"] is None
    assert corrected.facts["anomalous"] == 1 and corrected["image_auroc"] == 1
    for result, what in ((official, "counts as normal"), (corrected, "anomalous still")):
        (one,) = [f for f in result.findings.items if f.code == "empty-mask"]
        assert one.place == "000" and what in one.message


# ------------------------------------------------------------------ the protocol


def heat(scores: npt.ArrayLike, score: float | None = None, **options: Any) -> rows.Annotation:
    data, extra = field_to_map(scores, **options)
    return rows.Annotation("field", map=rows.LabelMap(bytes=data), extra=extra, score=score)


def stored(maps: list[Floats], masks: list[Mask], **options: Any) -> Any:
    truth = [[masked(m)] if m.any() else [] for m in masks]
    guess = [[heat(m, **options)] for m in maps]
    return dataset(truth, guess, CATEGORIES, size=masks[0].shape)


def scored(data: Any, **parameters: Any) -> Result:
    return evaluate(data, data.layer("predicted"), "anomaly", parameters=parameters)


def made(seed: int = 0, n: int = 6) -> tuple[list[Floats], list[Mask]]:
    """Maps of whole numbers 0..50, which 16 bits keep; every third image is good."""
    rng = np.random.default_rng(seed)
    masks = [(rng.random((9, 11)) < 0.1) & bool(i % 3) for i in range(n)]
    maps = [rng.integers(0, 40, m.shape) + 10.0 * m for m in masks]
    return maps, masks


def test_stored_maps_score_as_arrays_do() -> None:
    maps, masks = made()
    found = scored(stored(maps, masks, low=0, high=65_535))
    pixels = np.stack(maps), np.stack(masks)
    best = f1_max(*pixels)
    images = [float(m.max()) for m in maps], [bool(m.any()) for m in masks]
    image_best = f1_max(*images)
    assert best is not None and image_best is not None
    assert dict(found.values) == {
        "image_auroc": auroc(*images),
        "image_ap": average_precision(*images),
        "image_f1_max": image_best[0],
        "pixel_auroc": auroc(*pixels),
        "pixel_ap": average_precision(*pixels),
        "pixel_f1_max": best[0],
        "aupro": pytest.approx(aupro(maps, masks), rel=1e-12),
    }
    assert found.facts["pixel_f1_threshold"] == best[1]
    assert found.facts["defect_pixels"] == sum(int(m.sum()) for m in masks)
    assert found.facts["regions"] == sum(len(flooded(m)) for m in masks)


def test_per_sample_numbers() -> None:
    maps, masks = made()
    found = scored(stored(maps, masks, low=0, high=65_535)).per_sample
    assert found is not None
    for row, scores, mask in zip(found.to_pylist(), maps, masks, strict=True):
        assert row["score"] == scores.max() and row["anomalous"] == mask.any()
        assert row["pixel_auroc"] == auroc(scores, mask)


def test_the_score_of_the_row_counts_before_the_maps_highest() -> None:
    mask = np.eye(3, dtype=bool)
    data = dataset(
        [[masked(mask)], []],
        [[heat(mask * 1.0, score=-1)], [heat(mask * 9.0, score=-2)]],
        CATEGORIES,
    )
    assert scored(data)["image_auroc"] == 1
    only = dataset(
        [[masked(mask)], []],
        [[rows.Annotation("field", score=s)] for s in (0.2, 0.9)],
        CATEGORIES,
    )
    found = scored(only)
    assert found["image_auroc"] == 0 and found["aupro"] is None


def label(category: int, present: bool | None = None) -> rows.Annotation:
    return rows.Annotation("label", category=category, present=present)


@pytest.mark.parametrize(
    ("truth", "anomalous"),
    [
        ([], False),
        ([label(1)], False),
        ([label(0)], True),
        ([label(0, True)], True),
        ([label(0, False)], False),
        ([rows.Annotation(category=0, bbox=(0, 0, 1, 1))], True),
        ([masked(np.eye(3), 1)], False),
        ([masked(np.eye(3), 0, ignore=True)], False),
    ],
)
def test_what_makes_a_sample_anomalous(truth: list[Any], anomalous: bool) -> None:
    data = dataset([truth], [[heat(np.eye(3))]], CATEGORIES)
    table = scored(data).per_sample
    assert table is not None and table["anomalous"].to_pylist() == [anomalous]


@pytest.mark.parametrize("spaces", [("defect", "object"), ("object", "object"), (None, None)])
def test_training_and_the_number_agree_on_what_is_a_defect(spaces: tuple[str, str]) -> None:
    pytest.importorskip("torch")
    from granum.train.dataset import to_torch

    names = ["hole", "good", "Normal", "ok", "lid"]
    categories = [rows.Category(n, space=spaces[n == "lid"]) for n in names]
    truth: list[list[rows.Annotation]] = [[]]
    truth += [[label(i)] for i in range(5)] + [[masked(np.eye(3), i)] for i in range(5)]
    truth += [[masked(np.eye(3), None)]]
    data = dataset(truth, [[heat(np.eye(3))]] * len(truth), categories)
    table = scored(data).per_sample
    assert table is not None
    lid = spaces[1] == spaces[0]  # else a thing beside the space of defects
    each = [True, False, False, False, lid]
    assert table["anomalous"].to_pylist() == [False, *each, *each, True]
    assert to_torch(data, "anomaly").targets.anomalous.tolist() == table["anomalous"].to_pylist()


def test_pixels_of_defects_that_are_not_drawn_do_not_count() -> None:
    data = dataset(
        [[label(0)], [], [masked(np.eye(3))]], [[heat(np.eye(3))] for _ in range(3)], CATEGORIES
    )
    found = scored(data)
    assert (found.facts["normal_pixels"], found.facts["defect_pixels"]) == (9 + 6, 3)
    assert found.facts["anomalous"] == 2 and found["image_auroc"] == 0.5


def test_ignored_and_missing_pixels_do_not_count() -> None:
    hidden = np.zeros((3, 3), bool)
    hidden[:, 2] = True
    scores = np.arange(9.0).reshape(3, 3)
    scores[2, 0] = np.nan
    data = dataset([[masked(np.eye(3)), masked(hidden, ignore=True)]], [[heat(scores)]], CATEGORIES)
    found = scored(data)
    assert (found.facts["normal_pixels"], found.facts["defect_pixels"]) == (3, 2)
    assert found["pixel_auroc"] == pytest.approx(2 / 6)  # 0 and 4 among 1, 3 and 7


def test_several_masks_of_one_image_are_united() -> None:
    mask = np.zeros((6, 6), bool)
    mask[0, :2] = mask[1, 2] = mask[5, 5] = True
    pieces = [mask & (np.arange(6) < 2), mask & (np.arange(6) >= 2)]
    data = dataset([[masked(p) for p in pieces]], [[heat(mask * 1.0)]], CATEGORIES)
    assert scored(data).facts["regions"] == 2


def test_a_map_of_another_size_is_stretched() -> None:
    mask = np.zeros((8, 12), bool)
    mask[:, 6:] = True
    data = dataset([[masked(mask)], []], [[heat([[0.0, 1.0]])]] * 2, CATEGORIES, size=(8, 12))
    found = scored(data)
    # Columns become 0 0 0 1/12 3/12 5/12 7/12 9/12 11/12 1 1 1: the six defective ones win 6 x 6
    # times in their own image, and 6.5 + 7.5 + 8.5 + 3 x 10.5 times against the good one's twelve.
    assert found.facts["maps_resized"] == 2
    assert found["pixel_auroc"] == pytest.approx((36 + 54) / (6 * 18))
    assert scored(dataset([[masked(mask)]], [[heat(mask * 1.0)]])).facts["maps_resized"] == 0


def test_undefined_numbers_are_none_with_a_finding() -> None:
    good = scored(dataset([[], []], [[heat(np.eye(3))]] * 2, CATEGORIES))
    assert set(good.values.values()) == {None}
    assert good.findings.counts == {"undefined-number": 2}
    assert "no defect" in good.findings.items[0].message
    bad = scored(dataset([[masked(np.eye(3))]], [[heat(np.eye(3))]], CATEGORIES))
    assert bad["image_auroc"] is None and bad["aupro"] == 1


def test_rows_that_are_no_heat_map_are_findings() -> None:
    rows_ = [[rows.Annotation(bbox=(0, 0, 1, 1))], [heat(np.eye(3)), heat(np.eye(3))], []]
    found = scored(dataset([[], [], []], rows_, CATEGORIES))
    counts = dict(found.findings.counts)
    counts.pop("undefined-number")
    assert counts == {"missing-geometry": 1, "duplicate-annotation": 1, "no-predictions": 1}
    assert found.facts["samples_scored"] == 1


@pytest.mark.parametrize("bits", [None, 4])
def test_parts_in_any_order_give_the_same_bits(bits: int | None) -> None:
    rng = np.random.default_rng(2)
    masks = [rng.random((9, 11)) < 0.08 * (i % 3) for i in range(9)]
    maps = [rng.standard_normal(m.shape) + m for m in masks]
    data = stored(maps, masks)
    results = [
        in_parts(Anomaly(bits=bits), data, sizes, seed)
        for seed, sizes in enumerate([(9,), (3, 3, 3), (1,) * 9, (7, 2)])
    ]
    assert all(same(results[0], other) for other in results[1:])
    assert results[0].findings.counts == {}


def test_fewer_digits_merge_scores_and_hardly_change_numbers() -> None:
    maps, masks = made(n=12)
    data = stored([m + np.random.default_rng(1).random(m.shape) for m in maps], masks)
    exact, coarse = scored(data), scored(data, bits=8)
    for name in ("pixel_auroc", "pixel_ap", "aupro"):
        assert coarse[name] == pytest.approx(exact[name], abs=0.01) and coarse[name] != exact[name]
    assert coarse["image_auroc"] == exact["image_auroc"]


def test_magnetic_tiles_with_a_trivial_predictor() -> None:
    """Darkness alone finds blowholes and cracks better than chance; masks are grey ramps."""
    from PIL import Image

    root = shared("magnetic_tile")
    maps, masks, truth, guess = [], [], [], []
    for name in ("MT_Blowhole", "MT_Free"):
        for path in sorted((root / name / "Imgs").glob("*.jpg"))[:6]:
            grey = np.asarray(Image.open(path).convert("L"), np.float64)
            ramp = np.asarray(Image.open(path.with_suffix(".png")).convert("L"))
            mask = ramp > 127
            maps.append(grey.mean() - grey)
            masks.append(mask)
            relative = f"{name}/Imgs/{path.stem}.png"
            entry = rows.LabelMap(relative, encoding="greater", threshold=127)
            truth.append([rows.Annotation(category=0, map=entry)] if mask.any() else [])
            guess.append([heat(maps[-1], low=-256, high=256)])
    expected = aupro(maps, masks)
    assert expected is not None and expected > 0.3
    assert expected == pytest.approx(slow_by_sweep(maps, masks), abs=0.01)
    data = Dataset.from_rows(
        [
            rows.Sample(str(i), annotations=t, layers={"predicted": g})
            for i, (t, g) in enumerate(zip(truth, guess, strict=True))
        ],
        CATEGORIES,
        media_root=root,
    )
    found = scored(data)
    assert found["aupro"] == pytest.approx(expected, abs=1e-3)
    assert found.facts["anomalous"] == 6 and found["pixel_auroc"] is not None


def slow_by_sweep(maps: list[Floats], masks: list[Mask]) -> float:
    """401 thresholds."""
    regions = [(i, r) for i, mask in enumerate(masks) for r in flooded(mask)]
    normal = np.concatenate([m[~mask] for m, mask in zip(maps, masks, strict=True)])
    inside = [maps[i][r] for i, r in regions]
    points = []
    for threshold in np.linspace(normal.max() + 1, normal.min(), 401):
        overlap = float(np.mean([(v >= threshold).mean() for v in inside]))
        points.append((float((normal >= threshold).mean()), overlap))
    fpr, pro = np.array(points).T
    grid = np.linspace(0, 0.3, 3001)
    return float(np.interp(grid, fpr, pro).mean())


# ------------------------------------------------------------------ counting again


@pytest.mark.parametrize("parameters", [{}, {"pro": "both", "bits": 3}])
def test_counting_again_equals_evaluating_again(parameters: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    masks = [(rng.random((9, 11)) < 0.1) & bool(i % 3) for i in range(8)]
    maps = [np.round(rng.standard_normal(m.shape) * 9 + m) for m in masks]

    def made_of(often: Any) -> Result:
        chosen = np.repeat(np.arange(8), often)
        data = stored([maps[i] for i in chosen], [masks[i] for i in chosen], low=-50, high=50)
        return scored(data, **parameters)

    found = made_of(np.ones(8, np.int64))
    assert found.recount is not None and found.facts["pixels_count_again"]
    assert found.recount.keys.to_pylist() == [f"{i:03d}" for i in range(8)]
    assert dict(found.recount.values(np.ones(8, np.int64))) == dict(found.values)
    for often in ([1, 1, 0, 0, 1, 1, 0, 1], [1, 0, 0, 1, 0, 0, 0, 0]):
        assert dict(found.recount.values(np.array(often))) == dict(made_of(often).values)
    twice = np.array([2, 0, 3, 1, 0, 0, 1, 1])
    assert dict(found.recount.values(twice)) == pytest.approx(dict(made_of(twice).values))
    assert set(found.recount.values(np.zeros(8, np.int64)).values()) == {None}


def test_too_many_scores_to_count_pixels_again(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, masks = made(n=6)
    data = stored(maps, masks, low=0, high=65_535)
    exact = scored(data)
    for most in (60, 200):  # fewer than a part has; fewer than all have
        monkeypatch.setattr("granum.metrics.anomaly.MOST", most)
        for sizes in ([6], [2, 1, 3]):
            found = in_parts(Anomaly(), data, sizes, 0)
            assert dict(found.values) == dict(exact.values)
            assert not found.facts["pixels_count_again"]
            assert found.recount is not None
            again = dict(found.recount.values(np.ones(6, np.int64)))
            assert again == {n: v for n, v in exact.values.items() if n.startswith("image_")}
