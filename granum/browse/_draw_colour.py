"""Colours of a drawing: a stable palette, readable text, and a heat scale."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = ["RGB", "heat", "palette", "readable"]

RGB = tuple[int, int, int]

_GOLDEN_ANGLE = 137.50776405
# Lightness changes with the hue, so that neighbours in number differ in both.
_LIGHTNESS = (0.70, 0.58, 0.80)
_HEAT = np.array(
    [(0.07, 0.04, 0.25), (0.40, 0.10, 0.50), (0.80, 0.25, 0.40), (0.98, 0.60, 0.20),
     (0.99, 0.97, 0.65)]
)  # fmt: skip


@lru_cache(maxsize=4096)
def palette(number: int) -> RGB:
    """The colour of a number: hues a golden angle apart in OKLCH, stable for ever."""
    hue = np.deg2rad((25.0 + _GOLDEN_ANGLE * number) % 360)
    light = _LIGHTNESS[number % len(_LIGHTNESS)]
    for chroma in np.arange(0.19, 0.0, -0.01):
        rgb = _from_oklab(light, chroma * np.cos(hue), chroma * np.sin(hue))
        if rgb.min() >= 0 and rgb.max() <= 1:
            break
    r, g, b = (int(v) for v in np.round(np.clip(rgb, 0, 1) * 255))
    return r, g, b


def _from_oklab(light: float, a: float, b: float) -> npt.NDArray[np.float64]:
    """sRGB (may leave 0..1) of an OKLab colour."""
    roots = np.array(
        [
            light + 0.3963377774 * a + 0.2158037573 * b,
            light - 0.1055613458 * a - 0.0638541728 * b,
            light - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    linear = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    ) @ (roots**3)
    curve = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.asarray(np.where(linear <= 0.0031308, 12.92 * linear, curve))


def readable(background: RGB) -> RGB:
    """Black or white, whichever stands out more (WCAG relative luminance)."""
    share = np.asarray(background) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def heat(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Colours, shape (height, width, 3), from the least (dark) to the greatest finite value."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    share = np.clip((np.nan_to_num(values) - low) / ((high - low) or 1.0), 0, 1)
    steps = np.linspace(0, 1, len(_HEAT))
    channels = [np.interp(share, steps, _HEAT[:, c]) for c in range(3)]
    return np.asarray(np.round(np.stack(channels, axis=-1) * 255), np.uint8)
