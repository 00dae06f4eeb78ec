"""Granularity as one number: closed forms, and what must never happen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from granum.annotate import granularity as g
from granum.errors import UnknownNameError, UsageError
from tests.annotate.trees import DRAWN


def test_an_octave_is_a_tenth() -> None:
    area = [1024, 512, 256, 1, 0.5, 0, 2048]
    assert g.octaves(area, 1024).tolist() == [1, 0.9, 0.8, 0, 0, 0, 1]
    assert g.octaves([64], [256], span=4).tolist() == [0.5]


def test_views_of_a_quarter() -> None:
    assert g.view("area", 25, 100) == 0.25
    assert g.view("root_area", 25, 100) == 0.5
    assert g.view("octaves", 25, 100) == pytest.approx(0.8)
    with pytest.raises(UnknownNameError, match="volume"):
        g.view("volume", 1, 1)
    with pytest.raises(UsageError):
        g.octaves(1, 0)


@DRAWN
@given(st.floats(2**-10, 1), st.sampled_from(g.VIEWS), st.sampled_from(g.VIEWS))
def test_views_convert_into_each_other(ratio: float, one: str, other: str) -> None:
    there = g.convert(g.view(one, ratio, 1.0), one, other)
    assert there == pytest.approx(float(g.view(other, ratio, 1.0)), abs=1e-12)
    assert g.ratios(there, other) == pytest.approx(ratio)


def test_graco_rounds_to_tenths_and_bins_by_the_row_of_its_table() -> None:
    area = [0, 4, 10, 24, 26, 96, 100, 150]
    assert g.graco(area, 100).tolist() == [0.1, 0.1, 0.1, 0.2, 0.3, 1, 1, 1]
    assert g.graco_bins(area, 100).tolist() == [0, 0, 0, 1, 2, 9, 9, 9]


def test_unsam_stretches_each_family() -> None:
    area = [1, 4, 9, 100, 7, 7]
    assert g.unsam(area, [0, 0, 0, 5, 6, 6]).tolist() == pytest.approx([0.1, 0.55, 1, 1, 1, 1])
    assert g.unsam([], []).tolist() == []


def test_owners() -> None:
    parent = np.array([2, 2, -1, 4, -1], np.int32)
    area = np.array([1.0, 2, 4, 3, 8])
    assert g.root_nodes(parent).tolist() == [2, 2, 2, 4, 4]
    assert g.owner_areas(parent, area, (5, 4)).tolist() == [4, 4, 4, 8, 8]
    assert g.owner_areas(parent, area, (5, 4), "image").tolist() == [20] * 5
    assert g.owner_areas(parent, area, (5, 4), np.array([9.0])).tolist() == [9] * 5
    with pytest.raises(UnknownNameError):
        g.owner_areas(parent, area, (5, 4), "nobody")  # type: ignore[arg-type]


def test_bins_are_closed_at_the_top() -> None:
    assert g.octave_bins([0, 0.0999, 0.1, 0.95, 1]).tolist() == [0, 0, 1, 9, 9]
