"""Change detection: worked numbers, the references, and every way a pair is stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import granum
from granum.errors import UsageError
from granum.metrics.base import Result
from granum.metrics.change import (
    Change,
    binary_scores,
    change_matrix,
    kappa,
    semantic_scores,
)
from granum.metrics.evaluate import evaluate
from granum.schema import rows
from granum.store.dataset import Dataset
from tests.metrics.groups import in_group_parts
from tests.metrics.made import masked, png, same, whole

CATEGORIES = [
    rows.Category("change", space="change"),
    rows.Category("water", source_id="1"),
    rows.Category("tree", source_id="2"),
    rows.Category("road", source_id="3"),
]
Side = Sequence[Sequence[rows.Annotation]]


def pairs(truth: Sequence[Side], guess: Sequence[Side], **more: Any) -> Dataset:
    """Pairs of two dates, each with its annotations and those of the layer ``predicted``."""
    samples, groups = [], []
    for i, (real, said) in enumerate(zip(truth, guess, strict=True)):
        groups.append(rows.Group(f"p{i}", "pair"))
        for date in (0, 1):
            samples.append(
                rows.Sample(
                    f"p{i}/t{date + 1}",
                    group=i,
                    role=("t1", "t2")[date],
                    order=date,
                    annotations=list(real[date]),
                    layers={"predicted": list(said[date])},
                )
            )
    return Dataset.from_rows(samples, more.pop("categories", CATEGORIES), groups, **more)


def scored(truth: Sequence[Side], guess: Sequence[Side], **parameters: Any) -> Result:
    data = pairs(truth, guess)
    return evaluate(data, data.layer("predicted"), "change", parameters=parameters)


def changed(mask: npt.ArrayLike) -> Side:
    return [[], [masked(np.asarray(mask, bool))]]


def dates(before: npt.ArrayLike, after: npt.ArrayLike) -> Side:
    return [[whole(before)], [whole(after)]]


# ------------------------------------------------------------------ on arrays


@pytest.mark.parametrize("seed", range(20))
def test_binary_scores_equal_scikit_learn(seed: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    y, z = rng.random((2, 300)) < rng.random((2, 1))
    counts = [(y & z).sum(), (~y & z).sum(), (y & ~z).sum(), (~y & ~z).sum()]
    got = binary_scores(*map(int, counts))
    assert got.precision == pytest.approx(sklearn.precision_score(y, z), abs=1e-15)
    assert got.recall == pytest.approx(sklearn.recall_score(y, z), abs=1e-15)
    assert got.f1 == pytest.approx(sklearn.f1_score(y, z), abs=1e-15)
    assert got.iou == pytest.approx(sklearn.jaccard_score(y, z), abs=1e-15)
    assert got.oa == pytest.approx(sklearn.accuracy_score(y, z), abs=1e-15)
    assert got.kappa == pytest.approx(sklearn.cohen_kappa_score(y, z), abs=1e-12)


def test_binary_numbers_worked_by_hand() -> None:
    got = binary_scores(tp=3, fp=1, fn=2, tn=4)
    assert (got.precision, got.recall, got.iou, got.oa) == (3 / 4, 3 / 5, 3 / 6, 7 / 10)
    assert got.f1 == 6 / 9
    # By chance: (5 · 4 + 5 · 6) / 100 = 0.5, so (0.7 - 0.5) / (1 - 0.5).
    assert got.kappa == pytest.approx(0.4)
    nothing = binary_scores(0, 0, 0, 9)
    assert (nothing.precision, nothing.recall, nothing.f1, nothing.iou) == (None,) * 4
    assert (nothing.oa, nothing.kappa) == (1, 0)  # all by chance
    assert set(binary_scores(0, 0, 0, 0).summary().values()) == {None}
    assert binary_scores(0, 0, 5, 4).precision is None and binary_scores(0, 0, 5, 4).f1 == 0


def literal(truth: npt.NDArray[Any], guess: npt.NDArray[Any], n: int) -> dict[str, float]:
    """The formulas as the papers write them, a pixel at a time."""
    q = [[0.0] * n for _ in range(n)]
    for real, said in zip(truth.ravel().tolist(), guess.ravel().tolist(), strict=True):
        q[said][real] += 1
    total = sum(map(sum, q))
    row = [sum(r) for r in q]
    column = [sum(q[i][j] for i in range(n)) for j in range(n)]
    unchanged = q[0][0] / (row[0] + column[0] - q[0][0])
    changed = sum(q[i][j] for i in range(1, n) for j in range(1, n)) / (total - q[0][0])
    q[0][0] = 0
    total_n0 = sum(map(sum, q))
    rho = sum(q[i][i] for i in range(n)) / total_n0
    row_n0 = [sum(r) for r in q]
    column_n0 = [sum(q[i][j] for i in range(n)) for j in range(n)]
    eta = sum(row_n0[i] * column_n0[i] for i in range(n)) / total_n0**2
    agreement = (rho - eta) / (1 - eta)
    right = sum(q[i][i] for i in range(1, n))
    precision, recall = right / sum(row[1:]), right / sum(column[1:])
    return {
        "miou": (unchanged + changed) / 2,
        "sek": agreement * math.exp(changed) / math.e,
        "fscd": 2 * precision * recall / (precision + recall),
        "precision": precision,
        "recall": recall,
    }


@pytest.mark.parametrize("seed", range(20))
def test_semantic_scores_equal_the_formulas(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 7))
    truth = rng.integers(0, n, (2, 12, 9))
    guess = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, n, truth.shape))
    got = semantic_scores(change_matrix(truth, guess, n)).summary()
    for name, value in literal(truth, guess, n).items():
        assert got[name] == pytest.approx(value, rel=1e-12), name


def test_semantic_numbers_worked_by_hand() -> None:
    matrix = [[10, 1, 1], [2, 3, 1], [0, 0, 2]]  # rows predicted
    got = semantic_scores(matrix)
    assert got.iou_unchanged == 10 / 14 and got.iou_changed == 6 / 10
    assert got.miou == pytest.approx((10 / 14 + 0.6) / 2)
    # Without the 10: rows 2 6 2, columns 2 4 4, of 10; agreed 5, by chance 4 + 24 + 8 = 36.
    assert got.kappa == pytest.approx((0.5 - 0.36) / (1 - 0.36))
    assert got.sek == pytest.approx(0.21875 * math.exp(-0.4))
    assert (got.precision, got.recall, got.fscd) == (5 / 8, 5 / 8, 10 / 16)
    assert got.oa == 15 / 20
    second, fusu = got.score(0.3), got.score(0.5)
    assert second == pytest.approx(0.3 * got.miou + 0.7 * got.sek)
    assert fusu == pytest.approx((got.miou + got.sek) / 2)
    assert got.class_iou.tolist() == [10 / 14, 3 / 7, 2 / 4]
    among = semantic_scores(matrix, among_changed=True).class_iou
    assert np.isnan(among[0]) and among[1:].tolist() == [3 / 4, 2 / 3]


def test_what_official_code_divides_by_nothing_is_none() -> None:
    still = semantic_scores([[5, 0], [0, 0]])
    assert still.iou_unchanged == 1 and still.kappa == 0
    for name in ("iou_changed", "miou", "sek", "precision", "recall", "fscd"):
        assert getattr(still, name) is None, name
    assert still.score(0.3) is None
    missed = semantic_scores([[5, 2], [0, 0]])
    assert (missed.precision, missed.recall, missed.fscd) == (None, 0, 0)
    assert kappa(np.zeros((3, 3))) == 0 and kappa([[4, 0], [0, 0]]) == 0
    with pytest.raises(UsageError, match="shape"):
        semantic_scores([[1, 2]])
    with pytest.raises(UsageError, match="truth of"):
        change_matrix([1], [1, 2], 3)
    with pytest.raises(UsageError, match="none of 3"):
        change_matrix([1], [3], 3)
    assert change_matrix([-1, 2], [7, 1], 3).tolist() == [[0] * 3, [0, 0, 1], [0] * 3]


# ------------------------------------------------------------------ on stores

REAL = np.array([[1, 1, 0, 0, 1], [1, 1, 0, 0, 0]], bool)
SAID = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], bool)


def test_binary_change_of_a_set_is_that_of_its_pixels() -> None:
    none = np.zeros(REAL.shape, bool)
    result = scored([changed(REAL), changed(none)], [changed(SAID), changed(none)])
    assert dict(result.values) == binary_scores(3, 1, 2, 14).summary()
    assert result.facts["task"] == "binary" and result.facts["truths"] == 2
    assert result.per_class.to_pylist()[0]["category"] == "change"  # type: ignore[union-attr]
    first, second = result.per_sample.to_pylist()  # type: ignore[union-attr]
    assert first["key"] == "p0/t2" and first["iou"] == 0.5 and first["tp_pixels"] == 3
    assert second["iou"] is None and second["oa"] == 1


def test_masks_in_every_form_and_place_mean_the_same() -> None:
    image = rows.LabelMap(bytes=png(REAL * 255), encoding="nonzero")
    index = rows.LabelMap(bytes=png(REAL * 9), space="change")
    for one in (rows.Annotation(category=0, map=image), rows.Annotation(map=index)):
        result = scored([[[], [one]]], [changed(SAID)])
        assert result["iou"] == 0.5
    data = pairs([[[], []]], [changed(SAID)], group_annotations=[whole_group(REAL)])
    assert evaluate(data, data.layer("predicted"), "change")["iou"] == 0.5


def whole_group(mask: npt.ArrayLike) -> rows.Annotation:
    found = masked(mask)
    found.group = 0
    return found


def test_kinds_of_change_are_united_and_reported_each() -> None:
    kinds = [rows.Category(n, space="change") for n in ("built", "demolished")]
    left, right = REAL.copy(), REAL.copy()
    left[:, 2:], right[:, :2] = False, False
    truth = [[], [masked(left, 0), masked(right, 1)]]
    data = pairs([truth], [[[], [masked(left, 0), masked(left, 1)]]], categories=kinds)
    result = evaluate(data, data.layer("predicted"), "change")
    assert result["iou"] == 4 / 5
    built, demolished = result.per_class.to_pylist()  # type: ignore[union-attr]
    assert built["iou"] == 1 and demolished["iou"] == 0


def test_ignored_pixels_do_not_count() -> None:
    void = masked(REAL & ~SAID, 0, ignore=True)
    result = scored([[[], [masked(REAL), void]]], [changed(SAID)])
    assert dict(result.values) == binary_scores(3, 1, 0, 4).summary()


BEFORE, AFTER = np.array([[0, 1, 1, 2, 0]]), np.array([[0, 2, 3, 3, 0]])
SAID_BEFORE, SAID_AFTER = np.array([[0, 1, 2, 2, 3]]), np.array([[0, 2, 3, 0, 2]])


def test_both_dates_are_pooled() -> None:
    result = scored([dates(BEFORE, AFTER)], [dates(SAID_BEFORE, SAID_AFTER)])
    truth = np.stack([BEFORE, AFTER])
    guess = np.stack([SAID_BEFORE, SAID_AFTER])
    expected = literal(truth, guess, 4)
    assert result.facts["task"] == "semantic"
    for name, value in expected.items():
        assert result[name] == pytest.approx(value), name
    assert result["second_score"] == pytest.approx(0.3 * expected["miou"] + 0.7 * expected["sek"])
    table = {r["category"]: r for r in result.per_class.to_pylist()}  # type: ignore[union-attr]
    assert list(table) == ["unchanged", "water", "tree", "road"]
    assert table["tree"]["true_pixels"] == 2 and table["tree"]["predicted_pixels"] == 4
    assert table["water"]["iou"] == 1 / 2
    (own,) = result.per_sample.to_pylist()  # type: ignore[union-attr]
    assert own["sek"] == result["sek"]


def fusu_code(truth: npt.NDArray[Any], guess: npt.NDArray[Any], n: int) -> tuple[float, float]:
    """FUSU's score and the mean IoU of its classes from 1 on, its matrix turned as there."""
    hist = np.bincount(n * truth.ravel() + guess.ravel(), minlength=n * n).reshape(n, n)
    two = np.array([[hist[0, 0], hist[0, 1:].sum()], [hist[1:, 0].sum(), hist[1:, 1:].sum()]])
    iou = np.diag(two) / (two.sum(0) + two.sum(1) - np.diag(two))
    rest = hist.copy()
    rest[0, 0] = 0
    po = np.trace(rest) / rest.sum()
    pe = rest.sum(1) @ rest.sum(0) / rest.sum() ** 2
    sek = (po - pe) / (1 - pe) * math.exp(iou[1] - 1)
    inner = hist[1:, 1:]
    own = np.diag(inner) / (inner.sum(0) + inner.sum(1) - np.diag(inner))
    return 0.5 * iou.mean() + 0.5 * sek, own.mean()


def test_fusu_takes_maps_as_they_are() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 4, (2, 8, 9))
    guess = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(0, 4, truth.shape))
    real, said = dates(*truth), dates(*guess)
    mask = masked(truth[0] != truth[1])
    result = scored([[real[0], [*real[1], mask]]], [said], score="fusu")
    score, classes = fusu_code(truth, guess, 4)
    assert result["fusu_score"] == pytest.approx(score)
    assert result["class_miou"] == pytest.approx(classes)
    assert "second_score" not in result.values
    # As SECOND's, pixels outside the mask are unchanged.
    result = scored([[real[0], [*real[1], mask]]], [said])
    inside = np.where(truth[0] != truth[1], truth, 0)
    assert result["sek"] == pytest.approx(literal(inside, guess, 4)["sek"])


def test_classes_of_fusu_are_those_of_the_truth() -> None:
    truth = np.array([[[1, 1, 2, 2]], [[1, 2, 2, 3]]])
    guess = np.array([[[1, 77, 2, 2]], [[1, 2, 2, 2]]])  # 77 is no class, and wrong
    result = scored([dates(*truth)], [dates(*guess)], score="fusu")
    assert result["class_miou"] == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)


def test_a_prediction_cannot_choose_what_is_not_counted() -> None:
    truth = np.array([[[1, 2, 2, 0]], [[1, 3, 3, 0]]])
    guess = np.array([[[1, 1, 2, 0]], [[1, 3, 1, 0]]])
    result = scored([dates(*truth)], [dates(*guess)], ignore=["water"])
    assert result["oa"] == 4 / 6  # both pixels of water are not counted, those said to be are wrong


def test_values_that_are_no_category() -> None:
    odd = SAID_AFTER.copy()
    odd[0, 1] = 77
    result = scored([dates(BEFORE, AFTER)], [dates(SAID_BEFORE, odd)])
    assert result.findings.counts["unknown-category"] == 1
    good = scored([dates(BEFORE, AFTER)], [dates(SAID_BEFORE, SAID_AFTER)])
    assert result["oa"] == pytest.approx(good["oa"] - 0.1)  # type: ignore[operator]
    result = scored([dates(BEFORE, np.where(AFTER == 2, 77, AFTER))], [dates(BEFORE, AFTER)])
    assert result.findings.counts["unknown-class"] == 1 and result["oa"] == 1
    kept = scored([dates(BEFORE, AFTER)], [dates(BEFORE, AFTER)], ignore=["water"])
    assert {r["category"] for r in kept.per_class.to_pylist()} == {  # type: ignore[union-attr]
        *("unchanged", "tree", "road")
    }


def test_what_is_asked_and_what_is_there() -> None:
    real, said = dates(BEFORE, AFTER), dates(SAID_BEFORE, SAID_AFTER)
    mask = masked(BEFORE != AFTER)
    both = [[real[0], [*real[1], mask]], changed(BEFORE != AFTER)]
    guess = [[said[0], [*said[1], mask]], changed(BEFORE != AFTER)]
    result = scored(both, guess)
    assert result.facts["pairs_scored"] == 1 and result.findings.counts["no-truth"] == 1
    result = scored(both, guess, task="binary")
    assert result.facts["pairs_scored"] == 2 and result["f1"] == 1
    result = scored([changed(REAL)], [changed(SAID)], task="semantic")
    assert result["sek"] is None and result.findings.counts["no-truth"] == 1
    for wrong in ({"task": "x"}, {"score": "x"}):
        with pytest.raises(UsageError):
            Change(**wrong)  # type: ignore[arg-type]


def test_pairs_that_cannot_be_compared_are_findings() -> None:
    good, small = changed(REAL), changed(REAL[:1])
    result = scored([good, good], [changed(SAID), small])
    assert result["iou"] == 0.5 and result.findings.counts["mask-size-mismatch"] == 1
    broken = rows.Annotation(category=0, map=rows.LabelMap(bytes=b"no image", encoding="nonzero"))
    for truth, guess in (([[], [broken]], good), (good, [[], [broken]])):
        result = scored([good, truth], [changed(SAID), guess])
        assert result["iou"] == 0.5 and result.findings.counts["broken-media"] == 1
    lone = Dataset.from_rows(
        [rows.Sample("a", group=0, role="t1", annotations=[masked(REAL)])],
        CATEGORIES,
        [rows.Group("p0", "pair")],
    )
    assert evaluate(lone, lone, "change").findings.counts["incomplete-group"] == 1
    box = rows.Annotation(category=0, bbox=(0, 0, 1, 1))
    result = scored([good], [[[], [masked(SAID), box]]])
    assert result["iou"] == 0.5 and result.findings.counts["missing-geometry"] == 1


def test_no_prediction_is_no_change_and_is_said() -> None:
    result = scored([changed(REAL), changed(REAL)], [changed(SAID), [[], []]])
    assert dict(result.values) == binary_scores(3, 1, 7, 9).summary()
    assert result.findings.counts["no-predictions"] == 1
    result = scored([changed(REAL)], [[[], []]])
    assert result["recall"] == 0 and result["precision"] is None
    assert result.findings.counts["undefined-number"] == 1


def many(seed: int, n: int = 7) -> tuple[list[Side], list[Side]]:
    rng = np.random.default_rng(seed)
    truth, guess = [], []
    for _ in range(n):
        real = rng.integers(0, 4, (2, 4, 5))
        said = np.where(rng.random(real.shape) < 0.5, real, rng.integers(0, 4, real.shape))
        truth.append(dates(*real))
        guess.append(dates(*said))
    return truth, guess


def test_parts_in_any_order_and_choices_of_pairs() -> None:
    binary = [changed(np.random.default_rng(i).random((2, 3, 4))[0] < 0.5) for i in range(7)]
    for truth, guess in (many(0), (binary, binary[1:] + binary[:1])):
        data = pairs(truth, guess)
        said = data.layer("predicted")
        one = in_group_parts(Change(), data, said, [0, 7], 0)
        for seed, cuts in enumerate(([0, 1, 4, 7], [0, 2, 3, 5, 6, 7])):
            assert same(one, in_group_parts(Change(), data, said, cuts, seed))
        assert one.recount is not None and one.recount.unit == "group"
        ones = np.ones(7, np.int64)
        assert dict(one.recount.values(ones)) == dict(one.values)
        chosen = np.array([1, 0, 1, 1, 0, 0, 1])
        some = [i for i in range(7) if chosen[i]]
        part = scored([truth[i] for i in some], [guess[i] for i in some])
        assert dict(one.recount.values(chosen)) == dict(part.values)
        twice = scored([*truth, truth[2]], [*guess, guess[2]])
        ones[2] = 2
        assert dict(one.recount.values(ones)) == dict(twice.values)
        assert one.recount.keys.to_pylist() == [f"p{i}" for i in range(7)]


def test_trees_of_pairs_are_judged_as_they_are(tmp_path: Path) -> None:
    maps = {"gt": (BEFORE, AFTER), "dt": (SAID_BEFORE, SAID_AFTER)}
    for side, both in maps.items():
        for folder, values in zip(("im1", "im2", "label1", "label2"), (both * 2), strict=True):
            path = tmp_path / side / folder / "a.png"
            path.parent.mkdir(parents=True)
            path.write_bytes(png(values))
        (tmp_path / side / "classes.txt").write_text("0 unchanged\n1 water\n2 tree\n3 road\n")
    result = granum.evaluate(tmp_path / "gt", tmp_path / "dt", protocol="change")
    stacked = np.stack([BEFORE, AFTER]), np.stack([SAID_BEFORE, SAID_AFTER])
    assert result["sek"] == pytest.approx(literal(*stacked, 4)["sek"])
    assert result.facts["task"] == "semantic" and result.facts["predictions"] == 2
    joined = result.per_sample.to_pylist()  # type: ignore[union-attr]
    assert [r["key"] for r in joined] == ["im2/a.png"]


def test_a_tree_of_fusu_is_scored_as_its_code_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 18, (2, 40, 50))
    guess = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(0, 18, truth.shape))
    for side, both in (("gt", truth), ("dt", guess)):
        files = {"im1": both[0], "im2": both[1], "im1_label": both[0], "im2_label": both[1]}
        for folder, values in files.items():
            path = tmp_path / side / folder / "6_255.png"
            path.parent.mkdir(parents=True)
            path.write_bytes(png(values))
    sides = [granum.read(tmp_path / side, "fusu") for side in ("gt", "dt")]
    result = evaluate(*sides, "change", parameters={"score": "fusu"})
    score, classes = fusu_code(truth, guess, 18)
    assert result["fusu_score"] == pytest.approx(score)
    assert result["class_miou"] == pytest.approx(classes)
    table = {r["category"]: r for r in result.per_class.to_pylist()}  # type: ignore[union-attr]
    assert len(table) == 18 and table["cropland"]["iou"] > 0 and table["unchanged"]["iou"] is None
