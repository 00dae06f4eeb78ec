"""Truth and predictions of all parts, and what is joined only when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from granum.metrics._coco.columns import Side
from granum.metrics._coco.masks import Rle, drawn_masks, mask_areas

__all__ = ["Sides"]


@dataclass(frozen=True)
class Sides:
    """Both sides of an evaluation.

    Attributes:
        truth: all of it.
        found: the parts of the predictions, in order.
    """

    truth: Side
    found: Sequence[Side]

    @cached_property
    def predictions(self) -> Side:
        """All parts joined."""
        return Side.joined(self.found)

    @cached_property
    def masks(self) -> tuple[list[Rle], list[Rle]]:
        """Of truth and of predictions."""
        outlines = self.truth.outline, self.predictions.outline
        true, found = ([] if o is None else drawn_masks(o) for o in outlines)
        return true, found

    @cached_property
    def pixels(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """How many pixels each mask has."""
        return mask_areas(self.masks[0]), mask_areas(self.masks[1])
