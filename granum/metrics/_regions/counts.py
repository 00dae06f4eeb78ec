"""How well segmentations of one image agree with people's: counts of shared pixels, and scores.

A segmentation is a label image: integers of shape (height, width), one number per region. All
functions here work on joint histograms, shape (regions of the truth, regions of the cut).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError

__all__ = ["ImageFigures", "image_figures", "joint_histogram", "merged_columns"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_DENSE = 4096
"""Label images with higher numbers are renumbered first: a histogram has a cell per pair."""


@dataclass(frozen=True)
class ImageFigures:
    """What one image contributes, at each of T thresholds.

    Attributes:
        covered: shape (T,): over all regions of all truths, the sum of area times the best overlap
            (IoU) with a region of the cut.
        best: the same sum where each region takes its best threshold.
        area: the summed area of those regions.
        rand: shape (T,): Rand index, mean over the truths.
        information: shape (T,): variation of information in bits, mean over the truths.
        reverse: shape (T,): over the regions of the cut, the sum of area times the best overlap
            with a region of any truth.
        pixels: the summed area of the cut's regions.
    """

    covered: Floats
    best: float
    area: int
    rand: Floats
    information: Floats
    reverse: Floats
    pixels: int


def compact(labels: npt.ArrayLike, what: str) -> tuple[Ints, int]:
    """Labels as flat integers 0..n-1, and n (some numbers may have no pixel).

    Raises:
        UsageError: no label image.
    """
    array = np.asarray(labels)
    if array.ndim != 2 or array.dtype.kind not in "iub" or not array.size:
        raise UsageError(
            f"{what} must be a label image: integers of shape (height, width); "
            f"this is {array.dtype} of shape {array.shape}"
        )
    low, high = int(array.min()), int(array.max())
    if low >= 0 and high < _DENSE:
        return array.ravel().astype(np.int64), high + 1
    known, flat = np.unique(array, return_inverse=True)
    return flat.ravel().astype(np.int64), len(known)


def joint_histogram(truth: npt.ArrayLike, cut: npt.ArrayLike, void: int | None = None) -> Ints:
    """Pixels shared by each region of ``truth`` and each of ``cut``, empty rows left out.

    Args:
        truth: label image, shape (height, width).
        cut: label image of the same shape.
        void: label of the truth that is no region; its pixels are not counted.

    Raises:
        UsageError: no label images, or of different shapes.
    """
    columns, width = compact(cut, "a segmentation")
    return histogram(truth, np.shape(cut), columns, width, void)


def histogram(
    truth: npt.ArrayLike, shape: tuple[int, ...], columns: Ints, width: int, void: int | None
) -> Ints:
    """``joint_histogram`` where the cut is flat integers below ``width`` already."""
    if np.shape(truth) != shape:
        raise UsageError(f"a truth of {np.shape(truth)} pixels and a segmentation of {shape}")
    rows, height = compact(truth, "a truth")
    if void is not None:
        counted = np.asarray(truth).ravel() != void
        if not counted.all():
            rows, columns = rows[counted], columns[counted]
    joint = np.bincount(rows * width + columns, minlength=height * width).reshape(height, width)
    return joint[joint.any(axis=1)]


def merged_columns(joint: Ints, regions: Ints) -> Ints:
    """The joint histogram after column ``i`` went to region ``regions[i]`` (-1: has no pixel)."""
    used = np.flatnonzero(regions >= 0)
    order = used[np.argsort(regions[used], kind="stable")]
    starts = np.flatnonzero(np.diff(regions[order], prepend=-1))
    return np.add.reduceat(joint[:, order], starts, axis=1)


def rand_of(joint: Ints) -> float:
    """Share of pixel pairs on which two segmentations agree (together, or apart, in both)."""
    n = int(joint.sum())
    if n < 2:
        return 1.0
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    apart = (int(rows @ rows) + int(columns @ columns)) / 2 - int((joint * joint).sum())
    return 1 - apart / (n * (n - 1) / 2)


def information_of(joint: Ints) -> float:
    """Variation of information of two segmentations, in bits: 2 H(both) - H(one) - H(other)."""
    parts = [_entropy(counts) for counts in (joint, joint.sum(axis=1), joint.sum(axis=0))]
    return max(2 * parts[0] - parts[1] - parts[2], 0.0)


def _entropy(counts: Ints) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def overlaps(joint: Ints) -> Floats:
    """Intersection over union of each pair of regions."""
    union = joint.sum(axis=1)[:, None] + joint.sum(axis=0)[None, :] - joint
    return np.asarray(joint / np.maximum(union, 1), np.float64)


def image_figures(cuts: Iterable[Sequence[Ints]]) -> ImageFigures:
    """The figures of one image from joint histograms: per threshold, one with each truth."""
    covered, rand, information, reverse = [], [], [], []
    best: list[Floats] = []
    areas: list[Ints] = []
    pixels = 0
    for joints in cuts:
        ious = [overlaps(joint) for joint in joints]
        tops = [iou.max(axis=1) for iou in ious]
        areas = [joint.sum(axis=1) for joint in joints]
        best = [np.maximum(a, b) for a, b in zip(best, tops, strict=True)] if best else tops
        covered.append(sum(float(t @ a) for t, a in zip(tops, areas, strict=True)))
        rand.append(sum(rand_of(joint) for joint in joints) / len(joints))
        information.append(sum(information_of(joint) for joint in joints) / len(joints))
        mine = np.max([iou.max(axis=0) for iou in ious], axis=0)
        widest = np.max([joint.sum(axis=0) for joint in joints], axis=0)
        reverse.append(float(mine @ widest))
        pixels = int(widest.sum())
    return ImageFigures(
        covered=np.array(covered),
        best=sum(float(b @ a) for b, a in zip(best, areas, strict=True)),
        area=int(sum(a.sum() for a in areas)),
        rand=np.array(rand),
        information=np.array(information),
        reverse=np.array(reverse),
        pixels=pixels,
    )
