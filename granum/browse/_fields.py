"""The numbers of heat maps and depth, for drawing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.schema.fields import field_values

__all__ = ["field_numbers"]


def field_numbers(
    integers: npt.NDArray[Any], extra: Mapping[str, Any] | None
) -> npt.NDArray[np.float64]:
    """What the integers of a field mean (see ``schema.fields``), NaN where missing; themselves
    where ``extra`` holds other things under those names."""
    try:
        return field_values(integers, extra)
    except (TypeError, ValueError, OverflowError):
        return np.asarray(integers, np.float64)
