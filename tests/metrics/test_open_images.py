"""Open Images: each rule by hand, random cases against the rules written out, and hotcoco."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import pytest

from granum.errors import SizeUnknownError, UsageError
from granum.metrics.base import Result
from granum.metrics.evaluate import evaluate
from granum.metrics.open_images import OpenImages
from granum.schema import geometry
from granum.schema.rows import Annotation, Category, Rle, Sample
from granum.store.dataset import Dataset
from tests.metrics.boxes import check_parts, check_recount, pairs
from tests.metrics.boxes import run as run_on
from tests.metrics.open_images_official import official

ANIMAL, CAT, KITTEN, DOG, CAR, TAIL = range(6)


def below(index: int, relation: str = "is_a") -> list[dict[str, Any]]:
    return [{"index": index, "relation": relation}]


CATEGORIES = [
    Category("Animal", source_id="/m/0jbk"),
    Category("Cat", source_id="/m/01yrx", parents=below(ANIMAL)),
    Category("Kitten", source_id="/m/0kit", parents=below(CAT)),
    Category("Dog", source_id="/m/0bt9lr", parents=below(ANIMAL)),
    Category("Car", source_id="/m/0k4j"),
    Category("Tail", source_id="/m/0tail", parents=below(CAT, "part_of")),
]


def box(category: int, x: float, y: float, w: float, h: float, **more: Any) -> Annotation:
    return Annotation(category=category, bbox=(x, y, w, h), **more)


def label(category: int, present: bool | None, **more: Any) -> Annotation:
    return Annotation("label", category, present=present, **more)


def run(
    truth: list[list[Annotation]], predicted: list[list[Annotation]], **parameters: Any
) -> Result:
    data = pairs(truth, predicted, CATEGORIES, unit="relative")
    return run_on(data, "open-images", **parameters)


def of_class(result: Result, category: int) -> float | None:
    assert result.per_class is not None
    return result.per_class["AP"][category].as_py()  # type: ignore[no-any-return]


# ------------------------------------------------------------------ rules by hand


def test_a_detection_tries_only_the_truth_that_it_overlaps_most() -> None:
    # Both overlap both cars by half and more, both most of all the first.
    truth = [[box(CAR, 0, 0, 0.4, 0.4), box(CAR, 0.05, 0, 0.4, 0.4)]]
    predicted = [[box(CAR, 0, 0, 0.4, 0.4, score=0.9), box(CAR, 0, 0, 0.38, 0.4, score=0.8)]]
    assert run(truth, predicted)["mAP"] == 0.5


def test_a_second_hit_is_wrong() -> None:
    truth = [[box(CAR, 0, 0, 0.2, 0.2), box(CAR, 0.5, 0, 0.2, 0.2)]]
    predicted = [
        [
            box(CAR, 0, 0, 0.2, 0.2, score=0.9),
            box(CAR, 0, 0, 0.2, 0.19, score=0.8),
            box(CAR, 0.5, 0, 0.2, 0.2, score=0.7),
        ]
    ]
    result = run(truth, predicted)
    assert result["mAP"] == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    assert result.per_sample is not None
    assert result.per_sample.select(["tp", "fp", "fn"]).to_pylist() == [{"tp": 2, "fp": 1, "fn": 0}]


def test_exactly_half_is_enough() -> None:
    truth = [[box(CAR, 0, 0, 0.5, 0.5)]]
    assert run(truth, [[box(CAR, 0, 0, 0.25, 0.5, score=0.9)]])["mAP"] == 1.0
    assert run(truth, [[box(CAR, 0, 0, 0.24, 0.5, score=0.9)]])["mAP"] == 0.0


def test_groups() -> None:
    """One car, and one group of cars that three detections lie in by half of them and more."""
    truth = [[box(CAR, 0, 0, 0.2, 0.2), box(CAR, 0.5, 0.5, 0.5, 0.5, group_of=True)]]
    predicted = [
        [
            box(CAR, 0.5, 0.5, 0.1, 0.1, score=0.5),
            box(CAR, 0.45, 0.6, 0.1, 0.1, score=0.8),  # half of it in the group: the best
            box(CAR, 0.8, 0.8, 0.1, 0.1, score=0.6),
            box(CAR, 0.39, 0.6, 0.2, 0.1, score=0.7),  # less than half: wrong
            box(CAR, 0, 0, 0.2, 0.2, score=0.4),  # the car
        ]
    ]
    # To be found: 2. Right at 0.8, wrong at 0.7, right at 0.4; 0.6 and 0.5 do not count.
    weighted = run(truth, predicted)
    assert weighted["mAP"] == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    assert weighted.per_sample is not None
    counts = weighted.per_sample.select(["tp", "fp", "fn"])
    assert counts.to_pylist() == [{"tp": 2, "fp": 1, "fn": 0}]
    # To be found: 1. Wrong at 0.7, right at 0.4.
    assert run(truth, predicted, group_of_weight=0)["mAP"] == 0.5


def test_a_group_that_nothing_lies_in_is_missed_under_weight_1_only() -> None:
    truth = [[box(CAR, 0, 0, 0.2, 0.2), box(CAR, 0.5, 0.5, 0.5, 0.5, group_of=True)]]
    predicted = [[box(CAR, 0, 0, 0.2, 0.2, score=0.9)]]
    assert run(truth, predicted)["mAP"] == 0.5
    assert run(truth, predicted, group_of_weight=0)["mAP"] == 1.0
    alone = [[truth[0][1]]]
    assert run(alone, [[]])["mAP"] == 0.0
    assert run(alone, [[]], group_of_weight=0)["mAP"] is None


def test_a_second_hit_that_lies_in_a_group_is_spared() -> None:
    truth = [
        [
            box(CAR, 0.6, 0.6, 0.2, 0.2),
            box(CAR, 0.5, 0.5, 0.5, 0.5, group_of=True),
            box(CAR, 0, 0, 0.2, 0.2),
        ]
    ]
    predicted = [
        [
            box(CAR, 0.6, 0.6, 0.2, 0.2, score=0.9),
            box(CAR, 0.6, 0.6, 0.2, 0.19, score=0.8),  # the same car again, in the group
            box(CAR, 0, 0, 0.2, 0.2, score=0.7),
        ]
    ]
    assert run(truth, predicted, group_of_weight=0)["mAP"] == 1.0
    result = run(truth, predicted)
    assert result["mAP"] == 1.0  # and finds the group
    assert result.per_sample is not None
    assert result.per_sample["tp"].to_pylist() == [3]


def test_of_two_groups_the_one_that_holds_most_and_a_score_of_0_finds_none() -> None:
    truth = [
        [
            box(CAR, 0, 0, 0.5, 1, group_of=True),
            box(CAR, 0.5, 0, 0.5, 1, group_of=True),
        ]
    ]
    most_left = box(CAR, 0.35, 0, 0.2, 0.2, score=0.9)
    also_left = box(CAR, 0.1, 0, 0.2, 0.2, score=0.8)
    assert run(truth, [[most_left, also_left]])["mAP"] == 0.5
    right = box(CAR, 0.6, 0, 0.2, 0.2, score=0.0)
    assert run(truth, [[most_left, right]])["mAP"] == 0.5
    right.score = 0.1
    assert run(truth, [[most_left, right]])["mAP"] == 1.0


def test_truth_counts_for_the_classes_above() -> None:
    truth = [[box(KITTEN, 0, 0, 0.2, 0.2)]]
    result = run(truth, [[box(ANIMAL, 0, 0, 0.2, 0.2, score=0.9)]])
    # Kitten, Cat and Animal are to be found; detections are not expanded.
    assert [of_class(result, c) for c in range(6)] == [1.0, 0.0, 0.0, None, None, None]
    assert result["mAP"] == pytest.approx(1 / 3)
    assert (result.facts["truths"], result.facts["expanded_truths"]) == (1, 3)
    alone = run(truth, [[box(KITTEN, 0, 0, 0.2, 0.2, score=0.9)]], expand=False)
    assert alone["mAP"] == 1.0
    assert [of_class(alone, c) for c in range(3)] == [None, None, 1.0]


def test_detections_of_classes_that_nothing_verifies_are_dropped() -> None:
    truth = [[box(CAR, 0, 0, 0.2, 0.2)], []]
    predicted = [
        [box(CAR, 0, 0, 0.2, 0.2, score=0.5), box(DOG, 0, 0, 0.2, 0.2, score=0.9)],
        [box(CAR, 0, 0, 0.2, 0.2, score=0.9)],
    ]
    result = run(truth, predicted)
    assert result["mAP"] == 1.0
    assert (result.facts["unverified_predictions"], result.facts["predictions"]) == (2, 1)
    assert result.findings.counts["not-compared"] == 2
    said = [f.message for f in result.findings.items if f.code == "not-compared"]
    assert "nothing verifies" in said[0]


@pytest.mark.parametrize("present", [True, False])
def test_on_images_where_the_class_is_verified_they_are_wrong(present: bool) -> None:
    truth = [[box(CAR, 0, 0, 0.2, 0.2)], [label(CAR, present)]]
    predicted = [
        [box(CAR, 0, 0, 0.2, 0.2, score=0.5)],
        [box(CAR, 0, 0, 0.2, 0.2, score=0.9)],
    ]
    assert run(truth, predicted)["mAP"] == 0.5


def test_positive_labels_go_up_and_negative_ones_down() -> None:
    found = [box(c, 0, 0, 0.1, 0.1, score=0.5) for c in (ANIMAL, CAT, KITTEN, DOG, TAIL)]
    # A cat is present: so is an animal; nothing is said of kittens and dogs, nor of its parts.
    up = run([[label(CAT, True), box(CAR, 0, 0, 1, 1)]], [found])
    assert up.facts["unverified_predictions"] == 3
    # No cat: so no kitten.
    down = run([[label(CAT, False), box(CAR, 0, 0, 1, 1)]], [found])
    assert down.facts["unverified_predictions"] == 3
    both = run([[label(CAT, False), label(DOG, True), box(CAR, 0, 0, 1, 1)]], [found])
    assert both.facts["unverified_predictions"] == 1  # of the tail
    plain = run([[label(CAT, False), box(CAR, 0, 0, 1, 1)]], [found], expand=False)
    assert plain.facts["unverified_predictions"] == 4
    assert [up.per_sample["fp"][0].as_py(), down.per_sample["fp"][0].as_py()] == [2, 2]  # type: ignore[index]


def test_labels_of_machines_verify_nothing() -> None:
    truth = [[label(DOG, None, score=0.9), box(CAR, 0, 0, 0.2, 0.2)]]
    result = run(truth, [[box(DOG, 0, 0, 0.2, 0.2, score=0.5)]])
    assert result.facts["unverified_predictions"] == 1
    messages = [f.message for f in result.findings.items]
    assert any("nobody verified" in m for m in messages)


def test_a_class_of_several_parents_and_a_ring() -> None:
    categories = [
        Category("a", parents=below(3)),
        Category("b", parents=below(3)),
        Category("c", parents=[*below(0), *below(1)]),
        Category("top", parents=below(0)),  # a ring: a, top
    ]
    data = pairs([[box(2, 0, 0, 1, 1)]], [[]], categories, unit="relative")
    result = run_on(data, "open-images")
    assert result.facts["expanded_truths"] == 4
    assert result.per_class is not None
    assert result.per_class["truths"].to_pylist() == [1, 1, 1, 1]


def test_chosen_classes() -> None:
    truth = [[box(KITTEN, 0, 0, 0.2, 0.2), box(CAR, 0.5, 0, 0.2, 0.2)]]
    predicted = [
        [
            box(CAT, 0, 0, 0.2, 0.2, score=0.9),
            box(CAR, 0.5, 0, 0.2, 0.2, score=0.8),
            box(KITTEN, 0, 0, 0.2, 0.2, score=0.7),
        ]
    ]
    result = run(truth, predicted, classes=("/m/01yrx", "Animal"))
    assert result["mAP"] == 0.5
    assert [of_class(result, c) for c in range(6)] == [0.0, 1.0, None, None, None, None]
    assert result.findings.counts["not-compared"] == 2
    assert result.facts["truths"] == 1
    assert run(truth, predicted, classes="Car")["mAP"] == 1.0
    with pytest.raises(UsageError, match="'Horse'"):
        run(truth, predicted, classes=("Horse",))


def test_equal_scores_go_by_key_then_row() -> None:
    truth = [[box(CAR, 0, 0, 0.2, 0.2)]]
    right, wrong = (
        box(CAR, 0, 0, 0.2, 0.2, score=0.5),
        box(CAR, 0.5, 0.5, 0.2, 0.2, score=0.5),
    )
    assert run(truth, [[right, wrong]])["mAP"] == 1.0
    assert run(truth, [[wrong, right]])["mAP"] == 0.5


def test_what_is_left_out_is_told() -> None:
    truth = [
        [
            box(CAR, 0, 0, 0.2, 0.2),
            box(CAR, 0.3, 0.3, 0.2, 0.2, source="relationship"),
            box(CAR, 0.6, 0.3, 0.2, 0.2, source="segmentation"),
            Annotation(category=CAR, keypoints=[0.1, 0.1, 2]),
            Annotation(category=CAR),
            Annotation(bbox=(0, 0, 1, 1)),
            Annotation("label", present=True),
            Annotation("caption", text="a car"),
        ]
    ]
    predicted = [
        [
            box(CAR, 0, 0, 0.2, 0.2, score=0.5),
            box(CAR, 0, 0, 0.0, 0.2, score=0.9),
            box(CAR, 0, 0, 0.2, 0.2, score=float("nan")),
            box(CAR, 0, 0, 0.2, 0.2),
        ]
    ]
    result = run(truth, predicted)
    assert result["mAP"] == 1.0
    assert dict(result.findings.counts) == {
        "not-compared": 4,
        "missing-geometry": 2,
        "missing-category": 2,
        "nan-score": 1,
        "missing-score": 1,
    }
    assert (result.facts["truths"], result.facts["predictions"]) == (1, 1)


def test_nothing_predicted_and_nothing_true() -> None:
    assert run([[box(CAR, 0, 0, 0.2, 0.2)]], [[]])["mAP"] == 0.0
    empty = run([[label(CAR, False)]], [[box(CAR, 0, 0, 0.2, 0.2, score=0.5)]])
    assert empty["mAP"] is None
    assert {"undefined-number", "nothing-to-compare"} <= set(empty.findings.counts)


def test_unknown_samples_and_categories_are_told() -> None:
    truth = Dataset.from_rows([Sample("a", annotations=[box(0, 0, 0, 1, 1)])], [Category("Car")])
    found = [box(0, 0, 0, 1, 1, score=0.5), box(1, 0, 0, 1, 1, score=0.9)]
    other = Dataset.from_rows(
        [Sample("a", annotations=found), Sample("b", annotations=found[:1])],
        [Category("Car"), Category("Bus")],
    )
    result = evaluate(truth, other, "open-images")
    assert result["mAP"] == 1.0
    assert result.findings.counts["unknown-sample"] == 1
    assert result.findings.counts["unknown-category"] == 1


def test_fractions_and_pixels_give_the_same() -> None:
    samples = []
    for unit, scale in (("relative", 1.0), ("pixel", 64.0)):
        row = box(CAR, 0.25 * scale, 0.25 * scale, 0.5 * scale, 0.5 * scale)
        guess = box(CAR, 0.25 * scale, 0.25 * scale, 0.25 * scale, 0.5 * scale, score=0.5)
        for true, found in ((row, guess),):
            samples.append(Sample(unit, unit=unit, annotations=[true], layers={"p": [found]}))
    data = Dataset.from_rows(samples, CATEGORIES)
    assert evaluate(data, data.layer("p"), "open-images")["mAP"] == 1.0
    half = Dataset.from_rows([samples[0]], CATEGORIES)
    pixels = Sample("relative", width=64, height=64, annotations=samples[1].layers["p"])
    other = Dataset.from_rows([pixels], CATEGORIES)
    assert evaluate(half, other, "open-images")["mAP"] == 1.0
    pixels.width = None
    with pytest.raises(SizeUnknownError):
        evaluate(half, Dataset.from_rows([pixels], CATEGORIES), "open-images")


def test_parameters_are_checked() -> None:
    for given in ({"compared": "point"}, {"iou": 0}, {"group_of_weight": 2}):
        with pytest.raises(UsageError, match=next(iter(given))):
            OpenImages(**given)  # type: ignore[arg-type]


# ------------------------------------------------------------------ masks

SIZE = 32  # so that fractions are exact


def mask(category: int, x: int, y: int, w: int, h: int, **more: Any) -> Annotation:
    """A rectangle of pixels."""
    pixels = np.zeros((SIZE, SIZE), bool)
    pixels[y : y + h, x : x + w] = True
    return Annotation(category=category, rle=Rle(*geometry.encode_mask(pixels)), **more)


def test_masks_by_hand() -> None:
    truth = [
        [
            mask(CAR, 0, 0, 8, 8, bbox=(0, 0, 0.25, 0.25)),
            box(CAR, 0.5, 0.5, 0.25, 0.25),  # without a mask: pixels 16 to 23
            box(CAR, 0, 0.5, 0.375, 0.5, group_of=True),  # without one: 0 to 11, 16 to 31
        ]
    ]
    predicted = [
        [
            mask(CAR, 16, 16, 8, 8, score=0.9),  # hits the box: spared
            mask(CAR, 16, 16, 8, 7, score=0.8),  # again: wrong
            mask(CAR, 2, 18, 5, 5, score=0.7),  # in the group: spared
            mask(CAR, 0, 0, 8, 6, score=0.6),  # right
        ]
    ]
    for weight in (0, 1):
        result = run(truth, predicted, compared="mask", group_of_weight=weight)
        assert result["mAP"] == 0.5
        assert result.per_sample is not None
        counts = result.per_sample.select(["tp", "fp", "fn"])
        assert counts.to_pylist() == [{"tp": 1, "fp": 1, "fn": 0}]


def test_masks_not_boxes_are_compared() -> None:
    pixels = np.zeros((SIZE, SIZE), bool)
    pixels[np.arange(SIZE), np.arange(SIZE)] = True  # a diagonal
    thin = Annotation(category=CAR, rle=Rle(*geometry.encode_mask(pixels)), score=0.9)
    truth = [[mask(CAR, 0, 0, SIZE, SIZE, bbox=(0, 0, 1, 1))]]
    assert run(truth, [[thin]], compared="mask")["mAP"] == 0.0
    thin.bbox = (0, 0, 1, 1)
    assert run(truth, [[thin]])["mAP"] == 1.0


def test_polygons_and_masks_of_other_sizes() -> None:
    ring = [0.0, 0.0, 0.25, 0.0, 0.25, 0.25, 0.0, 0.25]
    truth = [[Annotation(category=CAR, polygons=[[ring]])]]
    guess = [[mask(CAR, 0, 0, 8, 8, score=0.5)]]
    sized = pairs(truth, guess, CATEGORIES, unit="relative", width=SIZE, height=SIZE)
    assert run_on(sized, "open-images", compared="mask")["mAP"] == 1.0
    with pytest.raises(SizeUnknownError):
        run(truth, guess, compared="mask")
    # Masks need not be as large as the image, but one as the other.
    other = pairs([[mask(CAR, 0, 0, 7, 7)]], guess, CATEGORIES, width=400, height=400)
    same = run_on(other, "open-images", compared="mask")
    assert same["mAP"] == 1.0
    assert "mask-size-mismatch" not in same.findings.counts
    small = np.ones((10, 10), bool)
    truth = [[Annotation(category=CAR, rle=Rle(*geometry.encode_mask(small)))]]
    result = run(truth, guess, compared="mask")
    assert result["mAP"] == 0.0
    assert result.findings.counts["mask-size-mismatch"] == 1


def test_what_has_no_mask_is_told() -> None:
    truth = [[mask(CAR, 0, 0, 10, 10), Annotation(category=CAR)]]
    empty = mask(CAR, 0, 0, 0, 0, score=0.9)
    bare = box(CAR, 0, 0, 0.25, 0.25, score=0.9)
    result = run(truth, [[mask(CAR, 0, 0, 10, 10, score=0.5), empty, bare]], compared="mask")
    assert result["mAP"] == 1.0
    assert result.findings.counts["missing-geometry"] == 3


def test_boxes_are_not_taken_from_pixels_of_masks() -> None:
    """A mask may be of another size than its image, so that its pixels tell no box."""
    result = run([[box(CAR, 0, 0, 0.25, 0.25)]], [[mask(CAR, 0, 0, 8, 8, score=0.9)]])
    assert result["mAP"] is None
    assert result.findings.counts["missing-geometry"] == 1


# ------------------------------------------------------------------ random cases


def random_case(
    seed: int, masks: bool, labels: bool = True
) -> tuple[list[list[Annotation]], list[list[Annotation]]]:
    """Truth and predictions of 10 images; no two scores of an image and a class are equal."""
    rng = np.random.default_rng(seed)
    truth, predicted = [], []
    for _ in range(10):
        true: list[Annotation] = []
        for _ in range(int(rng.integers(0, 8))):
            w, h = rng.integers(6, 16, 2).tolist()
            x, y = (int(rng.integers(0, SIZE - s)) for s in (w, h))
            c, group = int(rng.choice([CAT, KITTEN, DOG, CAR])), bool(rng.random() < 0.25)
            row = mask(c, x, y, w, h, group_of=group)
            row.bbox = (x / SIZE, y / SIZE, w / SIZE, h / SIZE)
            if not masks or rng.random() < 0.4:
                row.rle = None
            true.append(row)
        guesses: list[Annotation] = []
        for score in rng.permutation(16)[: int(rng.integers(0, 17))].tolist():
            near = true[int(rng.integers(len(true)))] if true and rng.random() < 0.8 else None
            x, y, w, h = (
                (np.array(near.bbox) * SIZE).round().astype(int) + rng.integers(-2, 3, 4)
                if near is not None
                else rng.integers(3, 16, 4)
            ).tolist()
            x, y = max(x, 0), max(y, 0)
            w, h = max(min(w, SIZE - x), 1), max(min(h, SIZE - y), 1)
            c = near.category if near is not None and rng.random() < 0.6 else None
            c = int(rng.integers(0, 5)) if c is None else c
            row = mask(c, x, y, w, h, score=score / 16)
            row.bbox = (x / SIZE, y / SIZE, w / SIZE, h / SIZE)
            guesses.append(row)
        if labels:
            for c in range(5):
                if rng.random() < 0.3:
                    true.append(label(c, bool(rng.random() < 0.5)))
        truth.append(true)
        predicted.append(guesses)
    return truth, predicted


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("compared", ["box", "mask"])
def test_equal_to_the_rules_written_out(seed: int, compared: str) -> None:
    truth, predicted = random_case(seed, compared == "mask")
    # Scores that no two detections share, so that no tie rule matters.
    flat = [g for guesses in predicted for g in guesses]
    for number, guess in enumerate(flat):
        assert guess.score is not None
        guess.score += number / 1e5 if guess.score else 0.0
    for weight in (0, 1):
        for expand in (True, False):
            parameters = {"compared": compared, "group_of_weight": weight, "expand": expand}
            wanted, dropped = official(
                truth,
                predicted,
                CATEGORIES,
                masks=compared == "mask",
                weight=weight,
                expand=expand,
            )
            result = run(truth, predicted, **parameters)
            assert result.per_class is not None
            assert result.per_class["AP"].to_pylist() == [
                None if w is None else pytest.approx(w, abs=1e-14) for w in wanted
            ]
            known = [w for w in wanted if w is not None]
            assert result["mAP"] == pytest.approx(sum(known) / len(known), abs=1e-14)
            assert result.facts["unverified_predictions"] == dropped


@pytest.mark.parametrize("compared", ["box", "mask"])
def test_parts_and_recounts(compared: Any) -> None:
    truth, predicted = random_case(3, compared == "mask")
    data = pairs(truth, predicted, CATEGORIES, unit="relative")
    check_parts(OpenImages(compared=compared), data)
    check_recount(OpenImages(compared=compared), data, [0, 2, 3, 7])
    check_recount(OpenImages(compared=compared, group_of_weight=0), data, [1, 4, 5, 9])


def test_equal_to_hotcoco_where_rules_agree() -> None:
    """Every class verified everywhere, objects of a class apart from each other (so that no
    detection has a second truth to go on to), groups with weight 1, no equal scores."""
    hotcoco = pytest.importorskip("hotcoco")
    rng = np.random.default_rng(7)
    truth: list[list[Annotation]] = []
    predicted: list[list[Annotation]] = []
    records: dict[str, list[dict[str, Any]]] = {"annotations": [], "results": []}
    for image in range(20):
        true = [label(c, False) for c in range(5)]
        guesses = []
        for place in range(9):  # a grid of nine places of 30 x 30
            x, y = 30 * (place % 3), 30 * (place // 3)
            if rng.random() < 0.3:
                continue
            c, group = int(rng.choice([CAT, KITTEN, DOG, CAR])), bool(rng.random() < 0.3)
            true.append(box(c, x + 5, y + 5, 20, 20, group_of=group))
            for _ in range(int(rng.integers(0, 4))):
                dx, dy, w, h = (rng.integers([0, 0, 6, 6], [12, 12, 22, 22])).tolist()
                c = c if rng.random() < 0.7 else int(rng.integers(0, 5))
                guesses.append(box(c, x + dx, y + dy, w, h, score=float(rng.random())))
        truth.append(true)
        predicted.append(guesses)
        for name, rows in (("annotations", true), ("results", guesses)):
            for row in rows:
                if row.bbox is not None:
                    one = {"image_id": image + 1, "category_id": (row.category or 0) + 1}
                    one |= {"bbox": list(row.bbox), "score": row.score, "iscrowd": 0}
                    one |= {"is_group_of": int(bool(row.group_of)), "area": 1.0}
                    records[name].append({**one, "id": len(records[name]) + 1})
    for row in records["annotations"]:
        del row["score"]
        row["area"] = row["bbox"][2] * row["bbox"][3]
    content = {
        "images": [{"id": i + 1, "width": 90, "height": 90} for i in range(20)],
        "categories": [{"id": i + 1, "name": c.name} for i, c in enumerate(CATEGORIES[:5])],
        "annotations": records["annotations"],
    }
    parents = hotcoco.Hierarchy.from_parent_map({2: 1, 3: 2, 4: 1})
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        real = hotcoco.COCO(content)
        found = real.load_res(records["results"])
        theirs = hotcoco.COCOeval(real, found, "bbox", oid_style=True, hierarchy=parents)
        theirs.run()
    wanted = theirs.results(per_class=True)
    data = pairs(truth, predicted, CATEGORIES, width=90, height=90)
    result = run_on(data, "open-images")
    assert result["mAP"] == pytest.approx(wanted["metrics"]["AP"], abs=1e-12)
    assert result.per_class is not None
    got = dict(
        zip(
            result.per_class["category"].to_pylist(),
            result.per_class["AP"].to_pylist(),
            strict=True,
        )
    )
    assert got == {
        **{n: pytest.approx(v, abs=1e-12) for n, v in wanted["per_class"].items()},
        "Tail": None,
    }
