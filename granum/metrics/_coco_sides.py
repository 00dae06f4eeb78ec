"""Truth and predictions of all parts, with what only the masks tell."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from granum.metrics._coco_columns import Side
from granum.metrics._coco_masks import Rle, mask_areas, mask_dicts

__all__ = ["Sides"]


@dataclass(frozen=True)
class Sides:
    """Both sides of an evaluation.

    Attributes:
        masks: of truth and of predictions; empty where no masks are compared.
        pixels: how many pixels each of them has.
    """

    truth: Side
    predictions: Side
    masks: tuple[list[Rle], list[Rle]] = ((), ())  # type: ignore[assignment]
    pixels: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None

    @staticmethod
    def of(truth: list[Side], predictions: list[Side], *, drawn: bool) -> Sides:
        """All parts joined, in order; ``drawn``: masks are compared."""
        true, found = Side.joined(truth), Side.joined(predictions)
        if not drawn:
            return Sides(true, found)
        masks = mask_dicts(true.mask), mask_dicts(found.mask)
        pixels = mask_areas(masks[0]), mask_areas(masks[1])
        true = replace(true, area=np.where(np.isnan(true.area), pixels[0], true.area))
        return Sides(true, replace(found, area=pixels[1]), masks, pixels)
