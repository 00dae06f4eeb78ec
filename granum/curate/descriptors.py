"""What an image looks like, in 256 numbers and without weights: colour, layout, edges, texture.

Four blocks, of a thumbnail of 96 x 96 pixels (proportions are not kept, as a box is what it is):
a histogram of hue, saturation and value; mean colours of a 3 x 3 grid and their spread, in CIE
Lab; histograms of edge direction in 4 x 4 cells, weighted by strength (Dalal and Triggs, 2005);
rotation-invariant uniform local binary patterns in 2 x 2 cells, and at twice the radius of the
whole (Ojala, Pietikäinen and Mäenpää, 2002). Histograms enter by their square roots, so that
Euclidean distance compares them as Hellinger's does. What photographs have in common (the usual
histogram) is taken off, so that the cosine of unlike images is near 0; the whole has length 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from granum.curate.base import Space, scorers
from granum.curate.pictures import Picture

__all__ = ["Descriptors", "describe"]

Floats = npt.NDArray[np.float32]

SIDE = 96
DIMENSION = 256

_HUES, _SATURATIONS, _VALUES = 8, 3, 2
_CELLS, _DIRECTIONS = 4, 8
_PATTERNS = 10

# Each block about as strong as the others, over photographs.
_WEIGHTS = {"colour": 1.0, "layout": 1.5, "edges": 1.5, "texture": 4.0}

# Usual values, rounded means over 98 photographs of COCO.
_USUAL_COLOURS = np.full((_HUES, _SATURATIONS, _VALUES), 0.05, np.float32)
_USUAL_COLOURS[0] = [[0.29, 0.42], [0.23, 0.24], [0.19, 0.14]]
_USUAL_COLOURS[1:, 0] = 0  # greys are in the first hue
_USUAL_SPREAD = np.array([0.35, 0.13, 0.19], np.float32)
_USUAL_EDGE = np.float32(0.08)
_USUAL_PATTERNS = np.array([18, 14, 13.5, 18, 18, 11, 8, 8.5, 5.5, 16.5], np.float32) / 100


@scorers("descriptors")
@dataclass(frozen=True)
class Descriptors(Space):
    """Colour, layout, edges and texture: 256 numbers of length 1, without weights."""

    name = "descriptors"

    @property
    def dimension(self) -> int:
        return DIMENSION

    def embed(self, pictures: Sequence[Picture]) -> Floats:
        return describe(np.stack([_thumbnail(p.image) for p in pictures]))


def _thumbnail(image: Image.Image) -> npt.NDArray[np.uint8]:
    plain = image if image.mode in ("RGB", "L") else image.convert("RGB")
    # Halving first (reducing_gap) is several times faster and moves no value by more than noise.
    small = plain.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small.convert("RGB"))


def describe(thumbnails: npt.NDArray[np.uint8]) -> Floats:
    """Descriptors of RGB thumbnails.

    Args:
        thumbnails: shape (n, side, side, 3), sRGB; the side is a multiple of 12.

    Returns:
        Shape (n, 256), rows of length 1.
    """
    rgb: Floats = np.asarray(thumbnails, np.float32) / np.float32(255)
    grey: Floats = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    blocks = {
        "colour": np.sqrt(_colours(rgb)) - _USUAL_COLOURS.ravel(),
        "layout": _layout(rgb),
        "edges": _edges(grey) - _USUAL_EDGE,
        "texture": np.sqrt(_textures(grey)) - np.tile(_USUAL_PATTERNS, 5),
    }
    joined = np.concatenate([_WEIGHTS[n] * b for n, b in blocks.items()], axis=1)
    length = np.linalg.norm(joined, axis=1, keepdims=True)
    return np.asarray(joined / np.maximum(length, 1e-12), np.float32)


def _histograms(codes: npt.NDArray[np.int64], bins: int, weights: Floats | None = None) -> Floats:
    """Counts of codes, shape (n, …) to (n, bins), as shares of each row."""
    n = len(codes)
    flat = (codes.reshape(n, -1) + bins * np.arange(n)[:, None]).ravel()
    counts = np.bincount(flat, None if weights is None else weights.ravel(), bins * n)
    rows = counts.reshape(n, bins)
    return np.asarray(rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-12), np.float32)


def _colours(rgb: Floats) -> Floats:
    high, low = rgb.max(axis=-1), rgb.min(axis=-1)
    chroma = high - low
    safe = np.maximum(chroma, 1e-6)
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    hue = np.where(
        high == red,
        (green - blue) / safe % 6,
        np.where(high == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    saturation = chroma / np.maximum(high, 1e-6)
    h = (hue / 6 * _HUES).astype(np.int64) % _HUES
    s = np.digitize(saturation, [0.15, 0.5])
    h[s == 0] = 0  # greys have no hue
    v = (high >= 0.5).astype(np.int64)
    return _histograms((h * _SATURATIONS + s) * _VALUES + v, _HUES * _SATURATIONS * _VALUES)


def _layout(rgb: Floats) -> Floats:
    """Mean Lab of a 3 x 3 grid, and the spread of each channel: 30 numbers, about 0."""
    n, side = rgb.shape[:2]
    lab = _lab(rgb)
    cells = lab.reshape(n, 3, side // 3, 3, side // 3, 3).mean(axis=(2, 4)).reshape(n, 27)
    spread = lab.std(axis=(1, 2)) - _USUAL_SPREAD
    return np.concatenate([cells / 3, spread], axis=1)


def _lab(rgb: Floats) -> Floats:
    """CIE Lab (D65) over 60 and with L about 50, so that each channel is about -1 to 1."""
    table = np.linspace(0, 1, 256, dtype=np.float32)
    curve = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)
    linear = curve.astype(np.float32)[np.rint(rgb * 255).astype(np.uint8)]
    to_xyz = np.array(
        [[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8728]], np.float32
    )  # rows over the white point
    xyz = linear @ to_xyz.T
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    lab = np.stack([116 * y - 66, 500 * (x - y), 200 * (y - z)], axis=-1)
    return np.asarray(lab / 60, np.float32)


def _edges(grey: Floats) -> Floats:
    """Edge directions (0 to 180 degrees) in 4 x 4 cells, clipped at 0.2 and of length 1; fainter
    where the whole image is flat."""
    n, side = grey.shape[:2]
    dx, dy = np.zeros_like(grey), np.zeros_like(grey)
    dx[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    dy[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    strength = np.hypot(dx, dy)
    turn = np.arctan2(dy, dx) / np.pi * _DIRECTIONS % _DIRECTIONS
    low = np.floor(turn)
    share = turn - low  # between two neighbouring directions
    low = low.astype(np.int64) % _DIRECTIONS
    cell = np.arange(side) * _CELLS // side
    place = (cell[:, None] * _CELLS + cell) * _DIRECTIONS
    bins = _CELLS * _CELLS * _DIRECTIONS
    start = place + bins * np.arange(n)[:, None, None]
    sums = np.bincount((start + low).ravel(), (strength * (1 - share)).ravel(), bins * n)
    sums += np.bincount(
        (start + (low + 1) % _DIRECTIONS).ravel(), (strength * share).ravel(), bins * n
    )
    rows = np.sqrt(sums.reshape(n, bins) / (side // _CELLS) ** 2)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 0.05
    rows = np.minimum(rows, 0.2)
    return np.asarray(rows, np.float32)


def _textures(grey: Floats) -> Floats:
    side = grey.shape[1]
    near = _patterns(grey, 1)
    half = side // 2
    quarters = [near[:, :half, :half], near[:, :half, half:]]
    quarters += [near[:, half:, :half], near[:, half:, half:]]
    parts = [_histograms(q, _PATTERNS) / 5 for q in quarters]
    parts.append(_histograms(_patterns(grey, 2), _PATTERNS) / 5)
    return np.concatenate(parts, axis=1)


def _patterns(grey: Floats, radius: int) -> npt.NDArray[np.int64]:
    """How many of eight neighbours are brighter (0 to 8) where they lie in one run, else 9."""
    padded = np.pad(grey, ((0, 0), (radius, radius), (radius, radius)), mode="edge")
    side = grey.shape[1]
    r = radius
    ring = [(0, r), (r, r), (r, 0), (r, -r), (0, -r), (-r, -r), (-r, 0), (-r, r)]
    # A grey level of margin: noise in flat areas is no pattern.
    edge = grey + np.float32(1.5 / 255)
    bits = np.stack(
        [padded[:, r + y : r + y + side, r + x : r + x + side] > edge for y, x in ring]
    ).astype(np.int8)
    count = bits.sum(axis=0, dtype=np.int64)
    changes = np.abs(bits - np.roll(bits, 1, axis=0)).sum(axis=0)
    return np.where(changes <= 2, count, _PATTERNS - 1)
