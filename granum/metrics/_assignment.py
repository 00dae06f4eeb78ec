"""The optimal assignment, by scipy."""

from __future__ import annotations

from functools import cache
from typing import Any

from granum.errors import MissingExtraError

__all__ = ["hungarian"]


@cache
def hungarian() -> Any:
    """``scipy.optimize.linear_sum_assignment``.

    Raises:
        MissingExtraError: scipy is absent.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise MissingExtraError("an optimal assignment", "eval", "scipy") from error
    return linear_sum_assignment
