"""The demo's comparison of models before and after: closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from granum.verbs._demo_train import compared

CLASSES = np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64)


def right(*models: str) -> np.ndarray:
    return np.array([[c == "1" for c in model] for model in models])


def test_equal_models_do_not_differ() -> None:
    models = right("11010011", "01101110", "10010101")
    found = compared(models, models, CLASSES)
    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)
    assert found.holds_zero
    assert found.before == found.after


def test_all_right_against_all_wrong() -> None:
    wrong, all_right = np.zeros((2, 8), bool), np.ones((2, 8), bool)
    found = compared(wrong, all_right, CLASSES)
    assert (found.before, found.after, found.difference) == (0.0, 1.0, 1.0)
    assert (found.low, found.high) == (1.0, 1.0)
    assert not found.holds_zero
    back = compared(all_right, wrong, CLASSES)
    assert (back.difference, back.low, back.high) == (-1.0, -1.0, -1.0)


def test_classes_weigh_the_same_however_many_crops_they_have() -> None:
    found = compared(right("11111100"), right("00000011"), CLASSES)
    assert (found.before, found.after, found.difference) == (0.5, 0.5, 0.0)
    one = compared(right("00000000"), right("00000010"), CLASSES)
    assert one.after == pytest.approx(0.25)  # half of one class of two


def test_models_weigh_the_same() -> None:
    found = compared(right("11111111", "00000000"), right("11111111", "11111111"), CLASSES)
    assert (found.before, found.after, found.difference) == (0.5, 1.0, 0.5)
    # both, or twice either, are drawn: 0.25, 0.5 and 0.25 of the times
    assert (found.low, found.high) == (0.0, 1.0)


def test_what_is_common_to_both_cancels() -> None:
    """Each model gains one crop of each class, whichever models and crops are drawn."""
    before, after = right("00000000", "00000000"), right("11111100", "11111100")
    found = compared(before, after, CLASSES)
    assert (found.low, found.difference, found.high) == (0.5, 0.5, 0.5)


def test_the_interval_narrows_with_more_crops() -> None:
    rng = np.random.default_rng(0)

    def width(crops: int) -> float:
        before = rng.random((3, crops)) < 0.5
        after = rng.random((3, crops)) < 0.7
        found = compared(before, after, np.arange(crops) % 4)
        assert found.low <= found.difference <= found.high
        assert found.crops == crops
        return found.high - found.low

    assert width(4000) < width(40) / 3


def test_a_seed_says_all() -> None:
    rng = np.random.default_rng(1)
    before, after = rng.random((2, 3, 40)) < 0.6
    classes = np.arange(40) % 3
    first = compared(before, after, classes, seed=5, times=50)
    assert first == compared(before, after, classes, seed=5, times=50)
    assert first.to_dict()["interval"] == [first.low, first.high]
    assert (first.low, first.high) != tuple(
        compared(before, after, classes, seed=6, times=50).to_dict()["interval"]
    )
