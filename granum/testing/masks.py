"""Whether two rows hold the same mask, be it in different forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from granum.errors import GranumError
from granum.schema.geometry import rasterize, rle_decode
from granum.schema.rows import LabelMap
from granum.store.media import read_map, read_values

__all__ = ["FORMS", "remade"]

Mask = npt.NDArray[np.bool_]

FORMS = ("rle", "map", "polygons")
"""In the order in which they count."""


def remade(
    form: str, a: dict[str, Any], b: dict[str, Any], size: tuple[int, int] | None, roots: Any
) -> bool:
    """Whether the mask that ``a`` has as ``form`` is in ``b`` in another form, pixel by pixel; or,
    where ``b`` alone has that form, whether it is made of a form that ``a`` had. Label maps may
    also be other maps of the same pixels, or, where they are whole, of the same values.

    Args:
        form: ``polygons``, ``rle`` or ``map``; one of the rows lacks it, or it is ``map``.
        a: a row, in pixels.
        b: another.
        size: (width, height) of the sample, where it is known.
        roots: where the label maps of ``a`` and of ``b`` lie.
    """
    if form == "map" and a.get(form) is not None and b.get(form) is not None:
        if _is_whole(a[form]) and _is_whole(b[form]):
            return _same_values(a[form], b[form], roots)
        before, after = _pixels(form, a[form], roots[0]), _pixels(form, b[form], roots[1])
        return _equal(before, after)
    if b.get(form) is not None:
        return any(
            remade(f, a, b, size, roots) for f in FORMS if a.get(f) is not None and f != form
        )
    new = [f for f in FORMS if b.get(f) is not None and a.get(f) is None]
    if not new or a.get(form) is None:
        return False
    before = _pixels(form, a[form], roots[0], size)
    return any(_equal(before, _pixels(f, b[f], roots[1], size)) for f in new)


def _is_whole(value: dict[str, Any]) -> bool:
    """Whether a map's values are classes, not one mask."""
    return value["value"] is None and value["encoding"] not in ("nonzero", "greater")


def _same_values(a: dict[str, Any], b: dict[str, Any], roots: Any) -> bool:
    """Whether two whole maps say the same everywhere."""
    if any(a[n] != b[n] for n in ("encoding", "space")):
        return False
    try:
        before, after = (read_values(LabelMap(**v), r) for v, r in zip((a, b), roots, strict=True))
    except GranumError:
        return False
    return np.array_equal(before, after)


def _equal(a: Mask | None, b: Mask | None) -> bool:
    return a is not None and b is not None and np.array_equal(a, b)


def _pixels(
    form: str, value: Any, root: str | None, size: tuple[int, int] | None = None
) -> Mask | None:
    if form == "polygons":  # which alone need the size of their image
        return None if size is None else rasterize(value, size[1], size[0])
    if form == "rle":
        return rle_decode(value["size"], value["counts"])
    if _is_whole(value):
        return None
    try:
        return read_map(LabelMap(**value), root)
    except GranumError:
        return None
