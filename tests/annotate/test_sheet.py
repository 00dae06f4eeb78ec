"""The sheet shows the image and each cut, with the boundaries of its regions."""

from __future__ import annotations

import numpy as np
import pytest

from granum.annotate.forest import build_forest
from granum.annotate.sheet import CAPTION, GAP, LINE, boundaries, granularity_sheet
from granum.errors import UsageError
from tests.annotate.trees import nested_squares, square, square_pool


def test_boundaries_lie_before_a_change() -> None:
    found = boundaries(np.array([[0, 0, 1], [0, 0, 1], [2, 2, 2]]))
    assert found.tolist() == [[False, True, False], [True, True, True], [False] * 3]


def panel(sheet: np.ndarray, column: int, row: int = 0) -> np.ndarray:
    x, y = column * (64 + GAP), row * (64 + CAPTION + GAP) + CAPTION
    return sheet[y : y + 64, x : x + 64]


def test_panels_show_the_cuts() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[square(32)] = (10, 200, 30)
    sheet = np.asarray(granularity_sheet(image, nested_squares(), (1.0, 0.8), columns=2))
    assert sheet.shape == (2 * (64 + CAPTION) + GAP, 2 * 64 + GAP, 3)
    assert np.array_equal(panel(sheet, 0), image)
    whole = panel(sheet, 1)
    assert (whole == np.array([2, 50, 7])).all()  # the mean, and no boundary
    parts = panel(sheet, 0, 1)
    drawn = (parts == LINE).all(axis=-1)
    assert np.array_equal(drawn, boundaries(nested_squares().cut(0.8)))
    assert (parts[0, 0] == [10, 200, 30]).all() and (parts[50, 50] == 0).all()


def test_what_no_mask_holds_is_grey() -> None:
    tree = build_forest(square_pool()[1:2], (64, 64)).tree
    sheet = np.asarray(granularity_sheet(np.zeros((64, 64, 3)), tree, (1.0,)))
    assert (panel(sheet, 1)[50, 50] == 128).all()
    with pytest.raises(UsageError):
        granularity_sheet(np.zeros((64, 63, 3)), tree)
