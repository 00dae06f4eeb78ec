"""Fields (heat maps, depth) as 16-bit PNGs: floats in a file that every viewer opens.

An annotation of kind ``field`` holds the PNG in ``map.bytes`` (or under ``map.path``; encoding
``index``, no ``value``), and in ``extra`` how its integers become numbers again:
``{"scale": s, "offset": o}``: number = o + s * integer. Where numbers are missing (NaN), ``extra``
also says which integer stands for them: ``{"missing": 0}``.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError

__all__ = ["field_from_map", "field_to_map", "field_values"]

Floats = npt.NDArray[np.float64]

_TOP = 65_535


def field_to_map(
    field: npt.ArrayLike, *, low: float | None = None, high: float | None = None
) -> tuple[bytes, dict[str, Any]]:
    """A field as the bytes of a 16-bit PNG and the ``extra`` that gives its numbers back.

    Numbers come back within half a step, (high - low) / 131,070. Give ``low`` and ``high`` where
    maps are compared with each other (scores of one run): equal integers are then equal numbers,
    and numbers beyond them are clipped.

    Args:
        field: shape (height, width); NaN is a missing number.
        low: the number that the lowest integer means (default: the lowest of this field).
        high: the number that the highest integer means (default: the highest of this field).

    Raises:
        UsageError: the field has not two axes or no pixel, or holds infinity; ``low`` > ``high``.
    """
    from PIL import Image

    values = np.asarray(field, np.float64)
    if values.ndim != 2 or not values.size:
        raise UsageError(f"a field has shape (height, width); this one has {values.shape}")
    if np.isinf(values).any():
        raise UsageError("a field must hold finite numbers (or NaN where one is missing)")
    missing = np.isnan(values)
    known = values[~missing] if missing.any() else values
    bottom = low if low is not None else float(known.min(initial=0.0 if missing.all() else np.inf))
    top = high if high is not None else float(known.max(initial=bottom))
    if top < bottom:
        raise UsageError(f"low ({bottom}) is above high ({top})")
    first = 1 if missing.any() else 0
    scale = (top - bottom) / (_TOP - first) or 1.0
    steps = np.rint((np.clip(values, bottom, top) - bottom) / scale) + first
    integers = np.where(missing, 0, steps).astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(integers).save(file, "PNG", compress_level=1)
    extra: dict[str, Any] = {"scale": scale, "offset": bottom - first * scale}
    return file.getvalue(), {**extra, "missing": 0} if first else extra


def field_from_map(data: bytes, extra: Mapping[str, Any] | None) -> Floats:
    """The field, shape (height, width), of a PNG that ``field_to_map`` made; NaN where missing."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return field_values(np.asarray(image), extra)


def field_values(integers: npt.NDArray[Any], extra: Mapping[str, Any] | None) -> Floats:
    """The numbers that the integers of a map mean; without ``extra`` they mean themselves."""
    known = extra or {}
    values = float(known.get("offset", 0)) + float(known.get("scale", 1)) * integers
    if known.get("missing") is not None:
        values[integers == known["missing"]] = np.nan
    return np.asarray(values, np.float64)
