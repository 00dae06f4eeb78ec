"""Clicking as people do: a simulated annotator, and a tree that answers with masks.

The annotator is the one of interactive segmentation (RITM, Sofiiuk et al., 2022; the same in
SimpleClick and GraCo): the next click goes to the middle of the larger error, missed or wrongly
covered. NoC, the number of clicks until a mask is good enough, is counted with it. Coordinates are
continuous pixels; a click on a pixel is its centre.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.annotate.tree import MaskTree
from granum.errors import MissingExtraError, UsageError

__all__ = [
    "Click",
    "TreePredictor",
    "clicks_needed",
    "deepest",
    "distances",
    "interact",
    "iou",
    "next_click",
    "oracle",
    "simulate",
]

Mask = npt.NDArray[np.bool_]

TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class Click:
    """A point in pixels; ``positive``: what is wanted lies there."""

    x: float
    y: float
    positive: bool


Predict = Callable[[Sequence[Click]], Mask]
"""A mask, shape (height, width), of the clicks so far."""


def distances(mask: Mask, *, beyond: bool = False) -> npt.NDArray[np.float64]:
    """The Euclidean distance of each pixel of ``mask`` to the nearest pixel that is not, in
    pixels. ``beyond``: whether what is outside the image counts as part of the mask.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    try:
        from scipy.ndimage import distance_transform_edt
    except ImportError as error:
        raise MissingExtraError("placing clicks", "hierarchy", "scipy") from error
    found: Any = distance_transform_edt(np.pad(mask, 1, constant_values=beyond))
    return np.asarray(found[1:-1, 1:-1], np.float64)


def deepest(mask: Mask, taken: Mask | None = None) -> tuple[float, float, float]:
    """The pixel furthest inside a mask: its centre x, y, and how deep it lies (0: none).

    Args:
        mask: shape (height, width).
        taken: pixels that are not to be chosen.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return 0.5, 0.5, 0.0
    at = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    depth = distances(mask[at])
    if taken is not None:
        depth[taken[at]] = 0
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    x, y = float(columns[0] + column) + 0.5, float(rows[0] + row) + 0.5
    return x, y, float(depth[row, column])


def iou(a: Mask, b: Mask, ignore: Mask | None = None) -> float:
    """Intersection over union, pixels of ``ignore`` left out; 1 where both are empty."""
    if ignore is not None:
        a, b = a & ~ignore, b & ~ignore
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def next_click(
    truth: Mask, predicted: Mask, clicks: Sequence[Click] = (), ignore: Mask | None = None
) -> Click:
    """Where the annotator clicks next.

    The deepest pixel of what is missed or of what is wrongly covered, whichever is deeper (equal:
    a negative click); of equally deep ones the first in reading order. Pixels clicked before are
    not clicked again.

    Args:
        truth, predicted: masks, shape (height, width).
        clicks: those so far.
        ignore: pixels that count as neither.

    Raises:
        UsageError: there is no error left to click on.
    """
    counts = np.ones(truth.shape, bool) if ignore is None else ~ignore
    taken = np.zeros(truth.shape, bool)
    for click in clicks:
        taken[int(click.y), int(click.x)] = True
    missed = deepest(truth & ~predicted & counts, taken)
    wrong = deepest(predicted & ~truth & counts, taken)
    if not max(missed[2], wrong[2]):
        raise UsageError("the masks agree on all pixels that are not clicked yet")
    positive = missed[2] > wrong[2]
    x, y, _ = missed if positive else wrong
    return Click(x, y, positive)


def interact(
    predict: Predict,
    truth: Mask,
    max_clicks: int = 20,
    target_iou: float = 0.9,
    *,
    ignore: Mask | None = None,
) -> Iterator[tuple[Click, Mask, float]]:
    """The clicks of the annotator, each with the mask after it and the IoU of that mask, until the
    target is met or the clicks are used up.

    Args:
        predict: gives a mask for clicks.
        truth: the mask that is wanted, shape (height, width), not empty.
        max_clicks: at most so many clicks.
        target_iou: stop at this IoU; above 1: click on as long as there is an error.
        ignore: pixels that count as neither.
    """
    predicted = np.zeros(truth.shape, bool)
    clicks: list[Click] = []
    for _ in range(max_clicks):
        try:
            clicks.append(next_click(truth, predicted, clicks, ignore))
        except UsageError:
            return
        predicted = predict(clicks)
        value = iou(predicted, truth, ignore)
        yield clicks[-1], predicted, value
        if value >= target_iou:
            return


def simulate(
    predict: Predict,
    truth: Mask,
    max_clicks: int = 20,
    target_iou: float = 0.9,
    *,
    ignore: Mask | None = None,
) -> list[float]:
    """IoU after each click; arguments as of ``interact``."""
    found = interact(predict, truth, max_clicks, target_iou, ignore=ignore)
    return [value for _, _, value in found]


def clicks_needed(ious: Sequence[float], target: float, max_clicks: int = 20) -> int:
    """NoC: the first click after which the IoU is ``target`` or more, else ``max_clicks``."""
    return next((i for i, value in enumerate(ious, 1) if value >= target), max_clicks)


class TreePredictor:
    """Answers clicks with nodes of a tree.

    Each positive click contributes the coarsest node around it that is no coarser than ``g`` and
    holds no negative click; where all nodes there are coarser, the leaf.

    Args:
        tree: of the image.
        g: granularity asked for; 1 sets no bound.
    """

    def __init__(self, tree: MaskTree, g: float = 1.0) -> None:
        self.tree, self.g = tree, np.float32(g)

    def __call__(self, clicks: Sequence[Click]) -> Mask:
        barred = {int(i) for c in clicks if not c.positive for i in self.tree.holding(c.x, c.y)}
        out = np.zeros(self.tree.size, bool)
        chosen = {self._node(c, barred) for c in clicks if c.positive}
        for node in chosen:
            if node is not None:
                out |= self.tree.mask(node)
        return out

    def _node(self, click: Click, barred: set[int]) -> int | None:
        path = [i for i in self.tree.path(click.x, click.y).tolist() if i not in barred]
        if not path:
            return None
        fine = [i for i in path if self.tree.granularity[i] <= self.g]
        return fine[-1] if fine else path[0]


def oracle(
    tree: MaskTree,
    truth: Mask,
    max_clicks: int = 20,
    target_iou: float = 0.9,
    *,
    levels: Sequence[float] = TENTHS,
    ignore: Mask | None = None,
) -> tuple[float, list[float]]:
    """The granularity that needs the fewest clicks, and its IoU after each: what GraCo reports.
    It looks at the truth, so report a fixed granularity beside it.

    Args:
        tree, truth, max_clicks, target_iou, ignore: as in ``simulate``.
        levels: granularities to try (of equal ones: the best IoU at the first click, then the
            first of the list).
    """
    best: tuple[tuple[int, float], float, list[float]] | None = None
    for g in levels:
        found = simulate(TreePredictor(tree, g), truth, max_clicks, target_iou, ignore=ignore)
        met = bool(found) and found[-1] >= target_iou
        rank = (len(found) if met else max_clicks + 1, -found[0] if found else 0.0)
        if best is None or rank < best[0]:
            best = rank, g, found
    if best is None:
        raise UsageError("no granularity to try")
    return best[1], best[2]
