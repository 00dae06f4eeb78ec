"""Region scores equal the tables of the BSDS benchmark, and closed forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from granum.annotate.storing import tree_rows
from granum.annotate.tree import MaskTree
from granum.errors import UsageError
from granum.metrics.evaluate import evaluate
from granum.metrics.regions import (
    Regions,
    RegionScores,
    covering,
    rand_index,
    ucm_cuts,
    variation_of_information,
)
from granum.schema import rows
from tests.data import shared
from tests.metrics.made import dataset, in_parts, masked, png, same, whole

Labels = npt.NDArray[np.int64]

LEFT = np.repeat([[1, 1, 2, 2]], 4, axis=0)
TOP = LEFT.T.copy()
QUARTERS = LEFT + 2 * (TOP - 1)
ONE = np.ones((4, 4), np.int64)


def slow_covering(cut: Labels, truths: list[Labels]) -> float:
    total, area = 0.0, 0
    for truth in truths:
        for r in np.unique(truth):
            region = truth == r
            ious = [
                (region & (cut == s)).sum() / (region | (cut == s)).sum() for s in np.unique(cut)
            ]
            total += region.sum() * max(ious)
            area += region.sum()
    return total / area


def slow_rand(cut: Labels, truth: Labels) -> float:
    a, b = cut.ravel(), truth.ravel()
    i, j = np.triu_indices(len(a), 1)
    return float(((a[i] == a[j]) == (b[i] == b[j])).mean())


@st.composite
def pictures(draw: Any) -> tuple[Labels, list[Labels]]:
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    shape = draw(st.integers(1, 7)), draw(st.integers(2, 7))
    made = [rng.integers(0, draw(st.integers(1, 5)), shape) for _ in range(3)]
    return made[0], made[1:]


def test_a_cut_that_is_the_truth_is_perfect() -> None:
    assert covering(LEFT, [LEFT]) == 1
    assert rand_index(LEFT, [LEFT]) == 1
    assert variation_of_information(LEFT, [LEFT]) == 0


def test_halves_against_other_halves() -> None:
    assert covering(LEFT, [TOP]) == pytest.approx(4 / 12)
    assert variation_of_information(LEFT, [TOP]) == pytest.approx(2)
    assert rand_index(LEFT, [TOP]) == pytest.approx(slow_rand(LEFT, TOP))


def test_one_region_and_four() -> None:
    assert covering(ONE, [QUARTERS]) == pytest.approx(1 / 4)
    assert variation_of_information(ONE, [QUARTERS]) == pytest.approx(2)
    assert covering(QUARTERS, [ONE, QUARTERS]) == pytest.approx((1 / 4 + 1) / 2)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(pictures())
def test_scores_are_those_counted_pixel_by_pixel(picture: tuple[Labels, list[Labels]]) -> None:
    skimage = pytest.importorskip("skimage.metrics")
    cut, truths = picture
    assert covering(cut, truths) == pytest.approx(slow_covering(cut, truths))
    assert rand_index(cut, truths) == pytest.approx(np.mean([slow_rand(cut, t) for t in truths]))
    information = [sum(skimage.variation_of_information(t, cut)) for t in truths]
    assert variation_of_information(cut, truths) == pytest.approx(np.mean(information), abs=1e-12)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(pictures(), st.integers(0, 99))
def test_names_of_regions_and_order_of_truths_do_not_matter(
    picture: tuple[Labels, list[Labels]], seed: int
) -> None:
    cut, truths = picture
    names = np.random.default_rng(seed).permutation(70_000)[:5] - 30_000
    assert covering(names[cut], [names[t] for t in truths[::-1]]) == pytest.approx(
        covering(cut, truths)
    )
    assert rand_index(names[cut], truths) == pytest.approx(rand_index(cut, truths))
    assert variation_of_information(cut, [names[t] for t in truths]) == pytest.approx(
        variation_of_information(cut, truths), abs=1e-12
    )


def test_void_pixels_of_the_truth_are_not_counted() -> None:
    truth = LEFT.copy()
    truth[:2] = 0
    cut = LEFT.copy()
    cut[:2] = 7
    assert covering(cut, [truth], void=0) == 1
    assert variation_of_information(cut, [truth], void=0) == 0
    assert covering(cut, [truth]) == 1
    cut[:2] = LEFT[:2]
    assert covering(cut, [truth], void=0) == 1
    assert covering(cut, [truth]) == pytest.approx((8 * 4 / 12 + 8 * 4 / 8) / 16)


@pytest.mark.parametrize(
    ("cut", "truth"), [(LEFT, LEFT[:2]), (LEFT * 1.0, LEFT), (LEFT, LEFT[None])]
)
def test_what_is_no_pair_of_label_images_is_refused(cut: Labels, truth: Labels) -> None:
    with pytest.raises(UsageError):
        covering(cut, [truth])


# ------------------------------------------------------------------ many images


def bench(name: str) -> Path:
    return shared("bsds") / "bench" / "data" / name


def people(key: str) -> list[Labels]:
    loadmat = pytest.importorskip("scipy.io").loadmat
    cells = loadmat(bench("groundTruth") / f"{key}.mat")["groundTruth"][0]
    return [cell["Segmentation"][0, 0] for cell in cells]


KEYS = ("2018", "3063", "5096", "6046", "8068")
FIFTHS = tuple(k / 6 for k in range(1, 6))


def numbered(key: str) -> str:
    """Keys that sort as the authors' files are listed."""
    return key.zfill(6)


def of_ucms() -> RegionScores:
    loadmat = pytest.importorskip("scipy.io").loadmat
    scores = RegionScores(FIFTHS)
    for key in KEYS:
        ucm2 = loadmat(bench("ucm2") / f"{key}.mat")["ucm2"]
        scores.add_hierarchy(numbered(key), *ucm_cuts(ucm2, FIFTHS), people(key))
    return scores


def of_segmentations() -> RegionScores:
    loadmat = pytest.importorskip("scipy.io").loadmat
    scores = RegionScores(range(1, 6))
    for key in KEYS:
        segs = loadmat(bench("segs") / f"{key}.mat")["segs"][0]
        scores.add(numbered(key), list(segs), people(key))
    return scores


def table(test: str, name: str) -> list[list[str]]:
    lines = (bench(test) / name).read_text().splitlines()
    return [line.split() for line in lines]


def written(*numbers: float) -> list[str]:
    """As the authors' code writes numbers."""
    return [f"{n:g}" for n in numbers]


TABLES = (("test_1", of_ucms), ("test_4", of_segmentations), ("test_5", of_segmentations))


def test_all_tables_of_regions_are_compared() -> None:
    """test_2 and test_3 hold tables of contours only."""
    held = {p.parent.name for p in bench(".").glob("test_*/eval_*") if "bdry" not in p.name}
    assert held == {name for name, _ in TABLES}


@pytest.mark.parametrize(("test", "make"), TABLES)
def test_bsds_tables_to_the_last_digit(test: str, make: Any) -> None:
    scores = make()
    summary = scores.summary(6)
    cover = ("covering_ods_threshold", "covering_ods", "covering_ois", "covering_best")
    others = [f"{n}_{k}" for n in ("pri", "vi") for k in ("ods_threshold", "ods", "ois")]
    assert [written(*(summary[n] for n in cover))] == table(test, "eval_cover.txt")
    assert [written(*(summary[n] for n in others))] == table(test, "eval_RI_VOI.txt")
    curve = scores.curve(6).to_pylist()
    assert [written(r["threshold"], r["covering"]) for r in curve] == table(
        test, "eval_cover_th.txt"
    )
    assert [written(r["threshold"], r["pri"], r["vi"]) for r in curve] == table(
        test, "eval_RI_VOI_thr.txt"
    )
    images = scores.images(6).to_pylist()
    assert [
        written(i, r["threshold"], r["covering"], r["reverse"]) for i, r in enumerate(images, 1)
    ] == table(test, "eval_cover_img.txt")


def test_without_rounding_scores_differ_in_the_last_digit_only() -> None:
    scores = of_segmentations()
    exact, rounded = scores.summary(), scores.summary(6)
    assert exact != rounded
    for name, value in exact.items():
        assert value == pytest.approx(rounded[name], rel=2e-6)


def random_hierarchy(seed: int, thresholds: int = 4) -> tuple[Labels, Labels]:
    rng = np.random.default_rng(seed)
    leaves = rng.integers(0, 9, (8, 8))
    regions = [np.arange(9)]
    for _ in range(thresholds - 1):
        joined = regions[-1].copy()
        joined[joined == rng.choice(joined)] = rng.choice(joined)
        regions.append(joined)
    return leaves, np.array(regions)


def random_truths(seed: int) -> list[Labels]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, k, (8, 8)) for k in (2, 4)]


@pytest.mark.parametrize("seed", range(5))
def test_a_hierarchy_scores_as_its_cuts_do(seed: int) -> None:
    leaves, regions = random_hierarchy(seed)
    one, other = RegionScores((1, 2, 3, 4)), RegionScores((1, 2, 3, 4))
    one.add_hierarchy("a", leaves, regions, random_truths(seed), void=0)
    other.add("a", [r[leaves] for r in regions], random_truths(seed), void=0)
    assert one.summary() == pytest.approx(other.summary())
    assert one.images().equals(other.images())


def test_ods_ois_and_best_by_hand() -> None:
    scores = RegionScores((0.1, 0.2))
    scores.add("a", [QUARTERS, ONE], [LEFT])
    scores.add("b", [QUARTERS, ONE], [ONE])
    scores.add("c", [LEFT, TOP], [np.where(TOP == 1, 1, 1 + LEFT)])
    third = [(8 * 4 / 12 + 2 * 4 * 4 / 8) / 16, (8 + 2 * 4 * 4 / 8) / 16]
    at = [np.mean([1 / 2, 1 / 4, third[0]]), np.mean([1 / 2, 1, third[1]])]
    found = scores.summary()
    assert found["covering_ods"] == pytest.approx(max(at))
    assert found["covering_ods_threshold"] == 0.2
    assert found["covering_ois"] == pytest.approx(np.mean([1 / 2, 1, third[1]]))
    assert found["covering_best"] == pytest.approx(np.mean([1 / 2, 1, third[1]]))


def test_best_takes_each_region_at_its_own_threshold() -> None:
    mixed = np.where(TOP == 1, 1, 1 + LEFT)  # the upper half, and two quarters
    scores = RegionScores((0.1, 0.2))
    scores.add("a", [TOP, QUARTERS], [mixed])
    found = scores.summary()
    assert found["covering_best"] == pytest.approx(1)
    assert found["covering_ois"] == pytest.approx(0.75)


def test_merging_in_any_order_gives_the_same_bits() -> None:
    whole_, pieces = RegionScores(range(4)), []
    for i in range(9):
        leaves, regions = random_hierarchy(i)
        whole_.add_hierarchy(str(i), leaves, regions, random_truths(i))
        piece = RegionScores(range(4))
        piece.add_hierarchy(str(i), leaves, regions, random_truths(i))
        pieces.append(piece)
    merged = RegionScores(range(4))
    for i in np.random.default_rng(1).permutation(9):
        merged.merge(pieces[i])
    assert merged.summary(6) == whole_.summary(6) and merged.images().equals(whole_.images())
    with pytest.raises(UsageError, match="twice"):
        merged.merge(pieces[0])
    with pytest.raises(UsageError, match="thresholds"):
        merged.merge(RegionScores((0.5,)))


def test_no_image_gives_no_number() -> None:
    assert set(RegionScores().summary().values()) == {None}
    assert RegionScores().curve().num_rows == 0 and RegionScores().images().num_rows == 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda s: s.add("a", [LEFT], [LEFT]),
        lambda s: s.add("b", [LEFT, LEFT], [LEFT]),
        lambda s: s.add("b", [LEFT], []),
        lambda s: s.add_hierarchy("b", LEFT, [[0, 1]], [LEFT]),
    ],
)
def test_an_image_counts_once_with_as_many_cuts_as_thresholds(wrong: Any) -> None:
    scores = RegionScores()
    scores.add("a", [LEFT], [LEFT])
    with pytest.raises(UsageError):
        wrong(scores)
    assert len(scores) == 1


# ------------------------------------------------------------------ the protocol


def tree(granularity: tuple[float | None, ...] = (0.2, 0.2, 0.2, 0.2, 0.5, 0.9)) -> list[Any]:
    """Four quarters, the left half above two of them, and everything: rows as annotate stores."""
    image = png(QUARTERS)
    leaves = [
        rows.Annotation(
            map=rows.LabelMap(value=v, digest="d"), annotation_id=v, parent=5 if v in (1, 3) else 6
        )
        for v in (1, 2, 3, 4)
    ]
    half = rows.Annotation(annotation_id=5, parent=6)
    root = rows.Annotation(annotation_id=6, map=rows.LabelMap(bytes=image, digest="d"))
    made = [*leaves, half, root]
    for row, value in zip(made, granularity, strict=True):
        row.granularity = value
    return made


def test_a_stored_tree_is_cut_at_each_threshold() -> None:
    halves = np.where(LEFT == 1, 1, 1 + QUARTERS)
    data = dataset([[whole(halves)]], [tree()])
    found = evaluate(data, data.layer("predicted"), "regions")
    assert found["covering_ods"] == 1 and found["covering_ods_threshold"] == 0.5
    curve = found.curves["thresholds"].to_pylist()
    assert [r["covering"] for r in curve if r["threshold"] in (0.49, 0.5, 0.89, 0.9)] == [
        pytest.approx(0.75, abs=1e-6),
        1,
        1,
        pytest.approx((8 / 2 + 2 * 4 / 4) / 16),
    ]


def test_the_order_of_a_trees_rows_does_not_matter() -> None:
    truth = [[whole(TOP), whole(QUARTERS, annotator="b")]]
    one = dataset(truth, [tree()])
    other = dataset(truth, [tree()[::-1]])
    results = [evaluate(d, d.layer("predicted"), "regions") for d in (one, other)]
    assert dict(results[0].values) == dict(results[1].values)
    assert results[0].curves["thresholds"] == results[1].curves["thresholds"]


def test_trees_as_annotate_stores_them_are_read() -> None:
    halved = MaskTree.partition(QUARTERS - 1, [4, 5, 4, 5, 6, 6, -1])
    stored = rows.annotations_from_table(tree_rows(halved, 0, 1))
    data = dataset([[whole(QUARTERS)]], [stored])
    found = evaluate(data, data.layer("predicted"), "regions")
    curve = {r["threshold"]: r["covering"] for r in found.curves["thresholds"].to_pylist()}
    assert halved.granularity.tolist() == pytest.approx([0.8] * 4 + [0.9] * 2 + [1])
    assert [curve[t] for t in (0.01, 0.89, 0.91, 0.99)] == [1, 1, 0.5, 0.5]


def test_a_tree_without_granularity_is_its_leaves() -> None:
    data = dataset([[whole(QUARTERS)]], [tree((None,) * 6)])
    found = evaluate(data, data.layer("predicted"), "regions", parameters={"thresholds": 3})
    assert found.curves["thresholds"]["covering"].to_pylist() == [1, 1, 1]


def test_rows_that_are_their_own_ancestors_do_not_hang() -> None:
    one = masked(LEFT == 1, annotation_id=1, parent=2, granularity=0.1)
    two = masked(LEFT == 2, annotation_id=2, parent=1, granularity=0.1)
    data = dataset([[whole(LEFT)]], [[one, two]])
    found = evaluate(data, data.layer("predicted"), "regions", parameters={"mode": "corrected"})
    assert 0 < (found["covering_ods"] or 0) <= 1


def test_annotators_are_told_apart_and_masks_are_regions() -> None:
    first = [masked(np.equal(LEFT, k), annotator="a") for k in (1, 2)]
    second = [whole(QUARTERS, annotator="b")]
    guess = [masked(LEFT == 1), masked(LEFT == 2)]
    data = dataset([first + second], [guess], [rows.Category("thing")])
    found = evaluate(data, data.layer("predicted"), "regions", parameters={"thresholds": 1})
    assert found["covering_ods"] == pytest.approx(covering(LEFT, [LEFT, QUARTERS]), rel=1e-5)
    assert found["pri_ois"] == pytest.approx(rand_index(LEFT, [LEFT, QUARTERS]), rel=1e-5)
    assert found["vi_ods"] == pytest.approx(0.5)


def test_pixels_of_no_region_of_the_stored_truth_are_not_counted() -> None:
    hidden = LEFT.copy()
    hidden[:2] = 0  # by value 0, and where no mask is
    for truth in ([whole(hidden)], [masked(hidden == 1), masked(hidden == 2)]):
        data = dataset([truth], [[whole(LEFT)]], [rows.Category("thing")])
        found = evaluate(data, data.layer("predicted"), "regions", parameters={"thresholds": 1})
        assert (found["covering_ods"], found["pri_ods"], found["vi_ods"]) == (1, 1, 0)


def test_samples_that_cannot_be_compared_are_findings() -> None:
    truth = [[whole(LEFT)], [], [whole(LEFT)], [whole(LEFT)]]
    guess = [[whole(LEFT)], [whole(LEFT)], [rows.Annotation(bbox=(0, 0, 1, 1))], [whole(LEFT[:2])]]
    data = dataset(truth, guess)
    found = evaluate(data, data.layer("predicted"), "regions")
    assert found.findings.counts == {
        "no-truth": 1,
        "missing-geometry": 1,
        "mask-size-mismatch": 1,
    }
    assert found.facts["samples_scored"] == 1 and found["covering_ois"] == 1


def test_parts_in_any_order_give_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    truth = [
        [whole(rng.integers(0, 5, (6, 7)), annotator=n) for n in "ab"[: 1 + i % 2]]
        for i in range(9)
    ]
    data = dataset(truth, [[whole(rng.integers(0, 7, (6, 7)))] for _ in range(9)])
    protocol = Regions(thresholds=3)
    results = [
        in_parts(protocol, data, sizes, seed)
        for seed, sizes in enumerate([(9,), (3, 3, 3), (1,) * 9, (7, 2)])
    ]
    assert all(same(results[0], other) for other in results[1:])
    assert results[0].per_sample is not None
    assert results[0].per_sample["key"].to_pylist() == [f"{i:03d}" for i in range(9)]


@pytest.mark.parametrize("mode", ["official", "corrected"])
def test_counting_again_equals_evaluating_again(mode: str) -> None:
    rng = np.random.default_rng(1)
    pairs = [(rng.integers(1, 5, (6, 7)), rng.integers(0, 7, (6, 7))) for _ in range(9)]

    def made(often: Any) -> Any:
        chosen = [pairs[i] for i in np.repeat(np.arange(9), often)]
        data = dataset([[whole(t)] for t, _ in chosen], [[whole(g)] for _, g in chosen])
        parameters = {"thresholds": 3, "mode": mode}
        return evaluate(data, data.layer("predicted"), "regions", parameters=parameters)

    found = made(np.ones(9, np.int64))
    assert found.recount.keys.to_pylist() == [f"{i:03d}" for i in range(9)]
    assert dict(found.recount.values(np.ones(9, np.int64))) == dict(found.values)
    some = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1])
    assert dict(found.recount.values(some)) == dict(made(some).values)
    often = np.array([3, 0, 1, 1, 0, 0, 2, 0, 2])
    assert dict(found.recount.values(often)) == pytest.approx(dict(made(often).values), abs=1e-12)
    assert set(found.recount.values(np.zeros(9, np.int64)).values()) == {None}


@pytest.mark.parametrize("wrong", [{"thresholds": 0}, {"mode": "bsds"}])
def test_parameters_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Regions(**wrong)
