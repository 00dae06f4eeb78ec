"""Distances between the surfaces of two masks, of images and of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from granum.errors import MissingExtraError, UsageError

__all__ = ["hd95", "surface_distances"]

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def surface_distances(
    mask: npt.ArrayLike, other: npt.ArrayLike, spacing: Sequence[float] | None = None
) -> Floats:
    """The distance of each surface element of ``mask`` to the nearest one of ``other``.

    The surface is what erosion by the direct neighbours (4 in an image, 6 in a volume) takes away;
    beyond the border nothing belongs to a mask. As medpy has it.

    Args:
        mask, other: of equal shape, two or three axes.
        spacing: of the elements along each axis, in the axes' order (default: 1).

    Returns:
        Shape (surface elements of ``mask``,), in the unit of ``spacing``, in no stated order;
        empty where ``mask`` is, all infinite where ``other`` is.

    Raises:
        UsageError: shapes or numbers of axes do not fit, or a spacing is not above 0.
        MissingExtraError: scipy is absent.
    """
    near, far, step = _checked(mask, other, spacing)
    if not near.any() or not far.any():
        return np.full(int(_surface(near).sum()) if near.any() else 0, np.inf)
    at = _box(near | far)
    try:
        from scipy.ndimage import distance_transform_edt
    except ImportError as error:
        raise MissingExtraError("distances of surfaces", "eval", "scipy") from error
    reach = distance_transform_edt(~_surface(far[at]), sampling=step)
    return np.asarray(reach[_surface(near[at])], np.float64)


def hd95(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    spacing: Sequence[float] | None = None,
    *,
    style: Literal["pooled", "max"] = "pooled",
) -> float | None:
    """The 95th percentile of the Hausdorff distance.

    Args:
        truth, predicted, spacing: as of ``surface_distances``.
        style: ``pooled``: of the distances from either surface to the other taken together (medpy);
            ``max``: the larger of both directed percentiles (MONAI). Between two distances the
            percentile is interpolated linearly.

    Returns:
        None where a mask is empty.
    """
    there = surface_distances(truth, predicted, spacing)
    back = surface_distances(predicted, truth, spacing)
    if not len(there) or not len(back):
        return None
    if style == "pooled":
        return float(np.percentile(np.concatenate([there, back]), 95))
    return max(float(np.percentile(one, 95)) for one in (there, back))


def _checked(
    mask: npt.ArrayLike, other: npt.ArrayLike, spacing: Sequence[float] | None
) -> tuple[Mask, Mask, list[float]]:
    near, far = np.asarray(mask) != 0, np.asarray(other) != 0
    if near.shape != far.shape or near.ndim not in (2, 3):
        raise UsageError(f"masks of shapes {near.shape} and {far.shape}")
    step = [1.0] * near.ndim if spacing is None else [float(s) for s in spacing]
    if len(step) != near.ndim or not all(0 < s < np.inf for s in step):
        raise UsageError(f"a spacing of {step} for masks of {near.ndim} axes")
    return near, far, step


def _surface(mask: Mask) -> Mask:
    """Elements with a direct neighbour that does not belong to the mask."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        for shift in (1, -1):
            moved = np.zeros_like(mask)
            to = [slice(None)] * mask.ndim
            of = [slice(None)] * mask.ndim
            to[axis] = slice(1, None) if shift == 1 else slice(None, -1)
            of[axis] = slice(None, -1) if shift == 1 else slice(1, None)
            moved[tuple(to)] = mask[tuple(of)]
            inner &= moved
    return mask & ~inner


def _box(mask: Mask) -> tuple[slice, ...]:
    """The smallest box around a mask that is not empty: outside of it no surface changes."""
    out = []
    for axis in range(mask.ndim):
        rest = tuple(a for a in range(mask.ndim) if a != axis)
        found = np.flatnonzero(mask.any(axis=rest))
        out.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(out)
