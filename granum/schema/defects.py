"""Which categories mean a defect: one answer for training and for the official number."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.schema.tables import column

__all__ = ["GOOD", "SPACE", "defective"]

GOOD = ("good", "normal", "ok")
"""Names, in any case of letters, that mean the absence of a defect."""

SPACE = "defect"
"""Where a dataset has categories of this space, no other ones are defects."""


def defective(categories: pa.Table, good: Collection[str] = GOOD) -> npt.NDArray[np.bool_]:
    """Whether an object or label row of each category says that its sample has a defect.

    Args:
        categories: of the dataset.
        good: names that do not, in any case of letters.

    Returns:
        Shape (categories + 1,): the last entry is for rows without a category, which do.
    """
    names = {name.lower() for name in good}
    spaces = column(categories, "space").cast(pa.string()).to_pylist()
    listed = zip(categories["name"].to_pylist(), spaces, strict=True)
    apart = SPACE in spaces
    return np.array(
        [
            (space == SPACE or not apart) and (name or "").lower() not in names
            for name, space in listed
        ]
        + [True]
    )
