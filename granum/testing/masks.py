"""Whether two rows hold the same mask, be it in different forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from granum.errors import GranumError
from granum.schema.geometry import rasterize, rle_decode
from granum.schema.rows import LabelMap
from granum.store.media import read_map

__all__ = ["FORMS", "remade"]

FORMS = ("rle", "map", "polygons")
"""In the order in which they count."""


def remade(
    form: str, a: dict[str, Any], b: dict[str, Any], size: tuple[int, int] | None, roots: Any
) -> bool:
    """Whether the mask that ``a`` has as ``form`` is in ``b`` in another form, pixel by pixel; or,
    where ``b`` alone has that form, whether it is made of a form that ``a`` had.

    Args:
        form: ``polygons``, ``rle`` or ``map``; one of the rows lacks it.
        a: a row, in pixels.
        b: another.
        size: (width, height) of the sample.
        roots: where the label maps of ``a`` and of ``b`` lie.
    """
    if b.get(form) is not None:
        return any(
            remade(f, a, b, size, roots) for f in FORMS if a.get(f) is not None and f != form
        )
    new = [f for f in FORMS if b.get(f) is not None and a.get(f) is None]
    if size is None or not new or a.get(form) is None:
        return False
    before = _pixels(form, a[form], size, roots[0])
    after = [_pixels(f, b[f], size, roots[1]) for f in new]
    return before is not None and any(x is not None and np.array_equal(before, x) for x in after)


def _pixels(
    form: str, value: Any, size: tuple[int, int], root: str | None
) -> npt.NDArray[np.bool_] | None:
    width, height = size
    if form == "polygons":
        return rasterize(value, height, width)
    if form == "rle":
        return rle_decode(value["size"], value["counts"])
    try:
        return read_map(LabelMap(**value), root)
    except GranumError:
        return None
