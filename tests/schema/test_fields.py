"""Fields come back from their PNGs within half a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from granum.errors import UsageError
from granum.schema.fields import field_from_map, field_to_map, field_values
from granum.schema.rows import LabelMap
from granum.store.media import read_values

Floats = npt.NDArray[np.float64]

RAMP = np.linspace(-3.5, 12.25, 48).reshape(6, 8)


def back(field: npt.ArrayLike, **options: Any) -> Floats:
    return field_from_map(*field_to_map(field, **options))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.floats(1e-6, 1e6), st.floats(-1e6, 1e6), st.booleans())
def test_numbers_come_back_within_half_a_step(
    seed: int, width: float, middle: float, holes: bool
) -> None:
    rng = np.random.default_rng(seed)
    field = rng.standard_normal((5, 9)) * width + middle
    if holes:
        field[rng.random(field.shape) < 0.3] = np.nan
    found = back(field)
    known = ~np.isnan(field)
    assert (np.isnan(found) == ~known).all()
    if known.any():
        step = np.ptp(field[known]) / 65_534
        assert np.abs(found - field)[known].max() <= 0.51 * step + 1e-9 * abs(middle)


def test_the_file_is_a_png_of_16_bits_that_the_store_reads() -> None:
    data, extra = field_to_map(RAMP)
    integers = read_values(LabelMap(bytes=data), None)
    assert integers.min() == 0 and integers.max() == 65_535
    assert (field_values(integers, extra) == field_from_map(data, extra)).all()
    assert set(extra) == {"scale", "offset"}


def test_maps_of_one_range_have_equal_steps() -> None:
    (one, a), (two, b) = (field_to_map(f, low=-5, high=15) for f in (RAMP, RAMP[::-1, ::-1] / 2))
    assert a == b and one != two
    assert back(RAMP, low=0, high=1).min() == 0 and back(RAMP, low=0, high=1).max() == 1
    assert np.abs(back(RAMP, low=-5, high=0) - np.minimum(RAMP, 0)).max() < 1e-4


@pytest.mark.parametrize("value", [0.0, -7.25, 1e9])
def test_a_field_of_one_number(value: float) -> None:
    assert (back(np.full((2, 3), value)) == value).all()


def test_nothing_known() -> None:
    data, extra = field_to_map(np.full((2, 2), np.nan))
    assert extra["missing"] == 0 and np.isnan(field_from_map(data, extra)).all()


def test_without_extra_integers_mean_themselves() -> None:
    assert (field_values(np.array([[0, 7]]), None) == [[0, 7]]).all()


@pytest.mark.parametrize(
    ("field", "options"),
    [
        (np.zeros(4), {}),
        (np.zeros((0, 4)), {}),
        (np.array([[np.inf, 0]]), {}),
        (RAMP, {"low": 2, "high": 1}),
    ],
)
def test_what_is_no_field_is_refused(field: Floats, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        field_to_map(field, **options)
