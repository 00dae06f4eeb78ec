"""What pycocotools counts, for any number of masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["areas"]

_MOST = 255
"""Masks that ``area`` takes at once: under numpy 2 more overflow (pycocotools 2.0.11)."""


def areas(coded: Sequence[dict[str, Any]]) -> npt.NDArray[np.int64]:
    """Pixels of each mask: dictionaries of ``size`` and compressed ``counts``."""
    from pycocotools import mask as coco_mask

    found = [
        np.asarray(coco_mask.area(list(coded[i : i + _MOST])), np.int64)
        for i in range(0, len(coded), _MOST)
    ]
    return np.concatenate([np.empty(0, np.int64), *found])
