"""Mean IoU and its kin equal the references, from every form of label map."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from granum.errors import UnknownNameError, UsageError
from granum.metrics.base import Result
from granum.metrics.evaluate import evaluate
from granum.metrics.semantic import Semantic, class_scores, confusion_matrix
from granum.schema import rows
from granum.store.dataset import Dataset
from tests.data import shared
from tests.metrics.made import dataset, in_parts, masked, png, same, whole

Labels = npt.NDArray[np.int64]

CATEGORIES = [
    rows.Category("sky", source_id="7"),
    rows.Category("road", source_id="3"),
    rows.Category("car", source_id="300"),
]
TRUTH = np.array([[7, 7, 3, 3], [7, 7, 3, 300]])
GUESS = np.array([[7, 3, 3, 3], [7, 7, 300, 300]])


def scored(truth: list[Any], guess: list[Any], **parameters: Any) -> Result:
    data = dataset([truth], [guess], CATEGORIES)
    return evaluate(data, data.layer("predicted"), "semantic", parameters=parameters)


def by_class(result: Result, name: str) -> dict[str, Any]:
    assert result.per_class is not None
    return dict(
        zip(
            result.per_class["category"].to_pylist(),
            result.per_class[name].to_pylist(),
            strict=True,
        )
    )


# ------------------------------------------------------------------ on arrays


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_confusion_and_scores_equal_scikit_learn(seed: int, classes: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    truth, guess = rng.integers(0, classes, (2, 5, 8))
    matrix = confusion_matrix(truth, guess, classes)
    y, z = truth.ravel(), guess.ravel()
    assert (
        matrix[:, :-1] == sklearn.confusion_matrix(y, z, labels=range(classes))
    ).all() and not matrix[:, -1].any()
    scores = class_scores(matrix)
    present = np.unique(np.concatenate([y, z]))
    iou = sklearn.jaccard_score(y, z, labels=present, average=None, zero_division=0)
    assert scores.iou[present] == pytest.approx(iou)
    assert np.isnan(np.delete(scores.iou, present)).all()
    assert scores.miou == pytest.approx(iou.mean())
    assert scores.pixel_accuracy == pytest.approx(sklearn.accuracy_score(y, z))
    true = np.unique(y)
    recall = sklearn.recall_score(y, z, labels=true, average="macro", zero_division=0)
    assert scores.mean_accuracy == pytest.approx(recall)
    weighted = sklearn.jaccard_score(y, z, average="weighted", zero_division=0)
    assert scores.frequency_weighted_iou == pytest.approx(weighted)


def test_mean_iou_equals_torchmetrics() -> None:
    torchmetrics = pytest.importorskip("torchmetrics.classification")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    truth, guess = rng.integers(0, 4, (2, 6, 9, 9))
    truth[rng.random(truth.shape) < 0.2] = 255
    jaccard = torchmetrics.MulticlassJaccardIndex(4, average="none", ignore_index=255)
    theirs = jaccard(torch.tensor(guess), torch.tensor(truth)).numpy()
    ours = class_scores(confusion_matrix(truth, guess, 4, ignore=255))
    assert ours.iou == pytest.approx(theirs, rel=1e-6)
    assert ours.miou == pytest.approx(theirs.mean(), rel=1e-6)


def test_ignored_pixels_do_not_count_and_pixels_without_a_class_are_wrong() -> None:
    truth, guess = np.array([0, 0, 1, 9, -1]), np.array([0, 1, 255, 1, 0])
    matrix = confusion_matrix(truth, guess, 2)
    assert matrix.tolist() == [[1, 1, 0], [0, 0, 1]]
    scores = class_scores(matrix)
    assert scores.pixel_accuracy == pytest.approx(1 / 3)
    assert scores.iou.tolist() == [0.5, 0.0]
    assert confusion_matrix(truth, guess, 2, ignore=0).tolist() == [[0, 0, 0], [0, 0, 1]]


def test_more_classes_than_the_type_of_the_map_counts() -> None:
    matrix = confusion_matrix(np.array([1, 2], np.uint8), np.array([1, 255], np.uint8), 300)
    assert matrix.shape == (300, 301) and matrix[1, 1] == matrix[2, 255] == 1


def test_a_class_that_occurs_nowhere_has_no_number() -> None:
    scores = class_scores([[3, 1, 0], [0, 0, 0], [0, 0, 0]])
    assert scores.iou.tolist()[:2] == [0.75, 0.0] and np.isnan(scores.iou[2])
    assert scores.miou == 0.375
    assert scores.mean_accuracy == 0.75
    assert scores.precision[0] == 1 and scores.precision[1] == 0


def test_nothing_gives_no_number() -> None:
    assert set(class_scores(np.zeros((3, 4))).summary().values()) == {None}


def test_shapes_are_checked() -> None:
    with pytest.raises(UsageError):
        confusion_matrix(np.zeros((2, 3), int), np.zeros((3, 2), int), 2)
    with pytest.raises(UsageError):
        class_scores(np.zeros((2, 5)))


# ------------------------------------------------------------------ the protocol


def test_whole_maps_by_hand() -> None:
    found = scored([whole(TRUTH)], [whole(GUESS)])
    assert by_class(found, "iou") == {"sky": 3 / 4, "road": 2 / 4, "car": 1 / 2}
    assert by_class(found, "accuracy") == {"sky": 3 / 4, "road": 2 / 3, "car": 1}
    assert found["miou"] == pytest.approx((3 / 4 + 2 / 4 + 1 / 2) / 3)
    assert found["pixel_accuracy"] == 6 / 8
    assert found["frequency_weighted_iou"] == pytest.approx((4 * 0.75 + 3 * 0.5 + 0.5) / 8)
    assert found.curves["confusion"].to_pylist() == [
        {"truth": "sky", "predicted": "sky", "pixels": 3},
        {"truth": "sky", "predicted": "road", "pixels": 1},
        {"truth": "road", "predicted": "road", "pixels": 2},
        {"truth": "road", "predicted": "car", "pixels": 1},
        {"truth": "car", "predicted": "car", "pixels": 1},
    ]


def polygon(x: float, y: float, w: float, h: float) -> list[list[list[float]]]:
    return [[[x, y, x + w, y, x + w, y + h, x, y + h]]]


def segments(labels: Labels) -> list[rows.Annotation]:
    return [
        rows.Annotation(
            category=i,
            map=rows.LabelMap(bytes=png(labels), value=int(c.source_id or 0), digest="m"),
        )
        for i, c in enumerate(CATEGORIES)
    ]


FORMS = {
    "whole map": [whole(TRUTH)],
    "masks": [masked(np.equal(TRUTH, v), i) for i, v in enumerate((7, 3, 300))],
    "segments of one map": segments(TRUTH),
    "polygons": [
        rows.Annotation(category=1, polygons=polygon(0, 0, 4, 2)),
        rows.Annotation(category=0, polygons=polygon(0, 0, 2, 2)),
        rows.Annotation(category=2, polygons=polygon(3, 1, 1, 1)),
    ],
    "z order": [
        rows.Annotation(category=0, polygons=polygon(0, 0, 2, 2), z_order=2),
        rows.Annotation(category=1, polygons=polygon(0, 0, 4, 2), z_order=1),
        rows.Annotation(category=2, polygons=polygon(3, 1, 1, 1), z_order=3),
    ],
    "a mask over a map": [
        whole(np.where(TRUTH == 300, 3, TRUTH)),
        masked(np.equal(TRUTH, 300), 2),
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_means_the_same_classes(form: str) -> None:
    data = dataset([FORMS[form]], [[whole(GUESS)]], CATEGORIES, size=(2, 4))
    found = evaluate(data, data.layer("predicted"), "semantic")
    expected = scored([whole(TRUTH)], [whole(GUESS)])
    assert dict(found.values) == dict(expected.values)
    assert found.per_class == expected.per_class


def test_source_ids_of_a_maps_own_space_count() -> None:
    categories = [
        rows.Category("thing", space="object", source_id="1"),
        rows.Category("stuff", space="stuff", source_id="1"),
    ]
    row = whole(np.ones((2, 2)))
    assert row.map is not None
    row.map.space = "stuff"
    data = dataset([[row]], [[masked(np.ones((2, 2)), 1)]], categories)
    assert evaluate(data, data.layer("predicted"), "semantic")["miou"] == 1


def test_predictions_of_another_dataset_are_joined_by_name() -> None:
    other = [
        rows.Category("car", source_id="1"),
        rows.Category("tree", source_id="2"),
        rows.Category("sky", source_id="3"),
        rows.Category("road", source_id="4"),
    ]
    codes = {7: 3, 3: 4, 300: 1}
    coded = np.vectorize(codes.get)(GUESS)
    coded[0, 0] = 2  # a tree, which the truth does not know
    truth = Dataset.from_rows([rows.Sample("a", annotations=[whole(TRUTH)])], CATEGORIES)
    guess = Dataset.from_rows([rows.Sample("a", annotations=[whole(coded)])], other)
    found = evaluate(truth, guess, "semantic")
    assert by_class(found, "iou") == {"sky": 2 / 4, "road": 2 / 4, "car": 1 / 2}
    same_ = Dataset.from_rows([rows.Sample("a", annotations=[whole(GUESS)])], CATEGORIES)
    renumbered = [rows.Category(c.name, source_id=str(10 * i)) for i, c in enumerate(CATEGORIES)]
    tens = np.vectorize({7: 0, 3: 10, 300: 20}.get)(GUESS)
    again = Dataset.from_rows([rows.Sample("a", annotations=[whole(tens)])], renumbered)
    assert dict(evaluate(truth, again, "semantic").values) == dict(
        evaluate(truth, same_, "semantic").values
    )


def test_ignored_categories_unlabelled_pixels_and_ignored_masks_do_not_count() -> None:
    truth = TRUTH.copy()
    truth[0, 1] = 255
    found = scored([whole(truth)], [whole(GUESS)], ignore=("road",))
    assert found.facts["pixels"] == 4 and found["pixel_accuracy"] == 1
    assert scored([whole(truth)], [whole(GUESS)], ignore=("3",)).values == found.values
    hidden = masked(np.equal(TRUTH, 3), None, ignore=True)
    assert scored([whole(truth), hidden], [whole(GUESS)]).values == found.values
    with pytest.raises(UnknownNameError):
        scored([whole(truth)], [whole(GUESS)], ignore=("rod",))


def test_pixels_without_a_prediction_are_wrong() -> None:
    found = scored([whole(TRUTH)], [masked(np.equal(TRUTH, 7), 0)])
    assert found["pixel_accuracy"] == 0.5 and by_class(found, "precision")["sky"] == 1
    assert by_class(found, "accuracy") == {"sky": 1, "road": 0, "car": 0}
    none = scored([whole(TRUTH)], [])
    assert none["miou"] == 0
    assert none.findings.counts == {"no-predictions": 1, "nothing-to-compare": 1}


def test_per_sample_numbers_are_of_the_classes_in_the_sample() -> None:
    data = dataset(
        [[whole(TRUTH)], [whole(np.full((2, 2), 3))], []],
        [[whole(GUESS)], [whole([[3, 3], [3, 7]])], [whole(GUESS)]],
        CATEGORIES,
    )
    found = evaluate(data, data.layer("predicted"), "semantic")
    assert found.per_sample is not None
    assert found.per_sample.to_pylist() == [
        {"key": "000", "pixel_accuracy": 0.75, "miou": pytest.approx(7 / 12)},
        {"key": "001", "pixel_accuracy": 0.75, "miou": pytest.approx(0.375)},
    ]
    assert found.findings.counts == {"no-truth": 1}


def test_a_sample_with_unlabelled_predictions_only_has_zero_of_its_own_classes() -> None:
    found = scored([whole(TRUTH)], [masked(np.zeros((2, 4)), 0)])
    assert found.per_sample is not None
    assert found.per_sample.to_pylist() == [{"key": "000", "pixel_accuracy": 0.0, "miou": 0.0}]


def test_what_cannot_be_compared_is_a_finding_and_no_number() -> None:
    found = scored([whole(TRUTH)], [whole(GUESS[:1])])
    assert found["miou"] is None
    assert found.findings.counts == {
        "mask-size-mismatch": 1,
        "nothing-to-compare": 1,
        "undefined-number": 1,
    }


def test_classes_that_only_the_predictions_hold() -> None:
    truth, guess = np.array([[7, 7, 7, 7]]), np.array([[7, 7, 7, 3]])
    for only_true, mean in ((False, 3 / 8), (True, 3 / 4)):
        found = scored([whole(truth)], [whole(guess)], only_true=only_true)
        assert (found["miou"], found["mean_accuracy"]) == (mean, 3 / 4)
        assert by_class(found, "iou")["road"] == (None if only_true else 0.0)
        assert found.per_sample is not None
        assert found.per_sample["miou"].to_pylist() == [mean]
        assert found.recount is not None
        assert found.recount.values(np.ones(1, np.int64)) == found.values


def test_maps_without_categories_are_told() -> None:
    data = dataset([[whole(TRUTH)]], [[whole(GUESS)]], [])
    result = evaluate(data, data.layer("predicted"), "semantic")
    assert result["miou"] is None
    told = [f.message for f in result.findings.items if f.code == "undefined-number"]
    assert told == ["no pixel of the truth has a class: its dataset has no categories"]


def test_parts_in_any_order_give_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    ids = np.array([7, 3, 300, 9])
    truth = [[whole(ids[rng.integers(0, 4, (6, 7))])] for _ in range(9)]
    guess = [[whole(ids[rng.integers(0, 4, (6, 7))])] for _ in range(9)]
    data = dataset(truth, guess, CATEGORIES)
    results = [
        in_parts(Semantic(ignore=("car",)), data, sizes, seed)
        for seed, sizes in enumerate([(9,), (3, 3, 3), (1,) * 9, (7, 2)])
    ]
    assert all(same(results[0], other) for other in results[1:])
    assert results[0].per_sample is not None and results[0].per_sample.num_rows == 9


def test_counting_again_equals_evaluating_again() -> None:
    rng = np.random.default_rng(1)
    ids = np.array([7, 3, 300, 9, 0])
    pairs = [(ids[rng.integers(0, 5, (6, 7))], ids[rng.integers(0, 5, (6, 7))]) for _ in range(9)]

    def made(often: Any) -> Result:
        chosen = [pairs[i] for i in np.repeat(np.arange(9), often)]
        truth, guess = ([[whole(pair[k])] for pair in chosen] for k in (0, 1))
        data = dataset(truth, guess, CATEGORIES)
        return evaluate(data, data.layer("predicted"), "semantic")

    found = made(np.ones(9, np.int64))
    assert found.recount is not None and found.recount.keys.to_pylist()[1] == "001"
    assert dict(found.recount.values(np.ones(9, np.int64))) == dict(found.values)
    for often in (np.array([1, 0, 1, 1, 0, 0, 1, 0, 1]), np.array([3, 0, 1, 1, 0, 0, 2, 0, 2])):
        assert dict(found.recount.values(often)) == dict(made(often).values)
    assert set(found.recount.values(np.zeros(9, np.int64)).values()) == {None}


def test_real_label_maps_shifted_by_nine_pixels() -> None:
    from PIL import Image

    paths = sorted((shared("coco128") / "semantic_segmentation" / "masks").rglob("*.png"))[:4]
    maps = [np.asarray(Image.open(p)) for p in paths]
    values = sorted({int(v) for m in maps for v in np.unique(m)} - {0})
    categories = [rows.Category(f"c{v}", source_id=str(v)) for v in values]
    shifted = [np.roll(m, 9, axis=1) for m in maps]
    data = dataset([[whole(m)] for m in maps], [[whole(m)] for m in shifted], categories)
    found = evaluate(data, data.layer("predicted"), "semantic")
    known = np.concatenate([m[m > 0] for m in maps])
    guess = np.concatenate([other[m > 0] for m, other in zip(maps, shifted, strict=True)])
    assert found["pixel_accuracy"] == pytest.approx((known == guess).mean())
    assert found.facts["pixels"] == len(known) > 0
    assert by_class(found, "accuracy")[categories[0].name] == pytest.approx(
        (guess[known == values[0]] == values[0]).mean()
    )
