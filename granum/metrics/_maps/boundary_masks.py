"""The pixels of masks and label images that are near an edge, and how well two boundaries agree.

B. Cheng, R. Girshick, P. Dollár, A. C. Berg, A. Kirillov: "Boundary IoU: Improving Object-Centric
Image Segmentation Evaluation", CVPR 2021. The authors erode a mask d times by 3 x 3 pixels, outside
of the image being background: what goes is what lies within d king's moves of another label.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError

__all__ = ["boundaries", "boundary", "boundary_iou", "dilation_of"]

Flags = npt.NDArray[np.bool_]


def dilation_of(shape: tuple[int, ...], ratio: float = 0.02) -> int:
    """How thick the boundary is: a share of the image's diagonal in whole pixels (a half is
    rounded to the even number), at least 1."""
    height, width = shape
    return max(1, round(ratio * math.sqrt(height**2 + width**2)))


def boundary(mask: npt.ArrayLike, dilation: int) -> Flags:
    """The pixels of a mask that ``dilation`` erosions by 3 x 3 pixels take away.

    Args:
        mask: shape (height, width), zero outside of the object. It may be cut out of its image:
            beyond its edges is background.
        dilation: in pixels, 1 or more.

    Returns:
        Shape (height, width); the whole mask where it is thin, nothing where it is empty.

    Raises:
        UsageError: the mask has not two dimensions, or ``dilation`` is below 1.
    """
    flags = np.asarray(mask) != 0
    _check(flags, dilation)
    return flags & _spread(~flags, dilation, outside=True)


def boundaries(labels: npt.NDArray[np.generic], dilation: int) -> Flags:
    """The boundary of each label of a picture at once: where another label, or the outside, is
    within ``dilation`` king's moves.

    Args:
        labels: shape (height, width).
        dilation: in pixels, 1 or more.

    Raises:
        UsageError: as of :func:`boundary`.
    """
    _check(labels, dilation)
    return _spread(_edges(labels), dilation - 1, outside=False)


def boundary_iou(a: npt.ArrayLike, b: npt.ArrayLike, dilation_ratio: float = 0.02) -> float:
    """IoU of the boundaries of two masks of one image.

    Args:
        a, b: shape (height, width), of the whole image.
        dilation_ratio: thickness of the boundary, as a share of the image's diagonal.

    Returns:
        From 0 to 1; NaN where both masks are empty.

    Raises:
        UsageError: the shapes differ, or are not of two dimensions.
    """
    one, other = np.asarray(a), np.asarray(b)
    if one.shape != other.shape or one.ndim != 2:
        raise UsageError(f"masks of one image have one shape, not {one.shape} and {other.shape}")
    dilation = dilation_of(one.shape, dilation_ratio)
    one, other = boundary(one, dilation), boundary(other, dilation)
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else math.nan


def _check(picture: npt.NDArray[np.generic], dilation: int) -> None:
    if picture.ndim != 2:
        raise UsageError(f"a mask has two dimensions, this one has {picture.ndim}")
    if dilation < 1:
        raise UsageError(f"dilation is {dilation}; it must be 1 or more")


def _edges(labels: npt.NDArray[np.generic]) -> Flags:
    """Pixels one of whose eight neighbours is another label, or outside."""
    height, width = labels.shape
    out = np.zeros((height, width), bool)
    for side in (slice(1), slice(-1, None)):
        out[side] = out[:, side] = True
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = np.s_[: height - down, max(-right, 0) : width - max(right, 0)]
        there = np.s_[down:, max(right, 0) : width - max(-right, 0)]
        differ = labels[here] != labels[there]
        out[here] |= differ
        out[there] |= differ
    return out


def _spread(flags: Flags, radius: int, *, outside: bool) -> Flags:
    """Whether any flag is set within ``radius`` rows and columns; ``outside`` are those beyond."""
    height, width = flags.shape
    run = np.full((height + 2 * radius, width + 2 * radius), outside)
    run[radius : radius + height, radius : radius + width] = flags
    for step in _steps(2 * radius + 1):
        run = run[: len(run) - step] | run[step:]
    for step in _steps(2 * radius + 1):
        run = run[:, : run.shape[1] - step] | run[:, step:]
    return run


def _steps(length: int) -> Iterator[int]:
    """By how much to shift a picture over itself until each pixel has seen ``length`` of them."""
    seen = 1
    while seen < length:
        step = min(seen, length - seen)
        yield step
        seen += step
