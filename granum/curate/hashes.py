"""Hashes of images: of the file, of the pixels, and two perceptual ones, equal to imagehash's."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate.base import Column, ImageScorer, scorers
from granum.curate.pictures import Picture

__all__ = ["DHash", "FileHash", "PHash", "PixelHash", "Thumbnail", "dct_hash", "difference_hash"]

Floats = npt.NDArray[np.float64]
SIDE = 32
"""Pixels a side of the thumbnail that pHash looks at."""


@scorers("file_hash")
@dataclass(frozen=True)
class FileHash(ImageScorer):
    """SHA-256 of the bytes of the file, and how many they are."""

    name = "file_hash"
    columns: ClassVar[Mapping[str, Column]] = {
        "file_hash": Column("SHA-256 of the file's bytes, hexadecimal", type=pa.string()),
        "file_size": Column("bytes of the file", range=(0, None), type=pa.int64()),
    }

    def score(self, picture: Picture) -> Mapping[str, Any]:
        data = picture.data
        return {"file_hash": hashlib.sha256(data).hexdigest(), "file_size": len(data)}


@scorers("pixel_hash")
@dataclass(frozen=True)
class PixelHash(ImageScorer):
    """SHA-256 of the decoded pixels with their shape and mode (and palette, where there is one),
    so that a constant image of another shape is another image."""

    name = "pixel_hash"
    columns: ClassVar[Mapping[str, Column]] = {
        "pixel_hash": Column(
            "SHA-256 of decoded pixels, size and mode, hexadecimal", type=pa.string()
        )
    }

    def score(self, picture: Picture) -> Mapping[str, Any]:
        image = picture.image
        head = f"{image.mode} {image.width} {image.height} "
        digest = hashlib.sha256(head.encode())
        if image.mode in ("P", "PA"):
            digest.update(bytes(image.getpalette("RGB") or []))
        digest.update(image.tobytes())
        return {"pixel_hash": digest.hexdigest()}


@scorers("phash")
@dataclass(frozen=True)
class PHash(ImageScorer):
    """Signs of the low frequencies: bits of a 64-bit number, first coefficient highest.

    Grey, 32 x 32 (Lanczos), DCT-II of columns and rows, the 8 x 8 lowest coefficients against
    their median: ``imagehash.phash`` bit for bit.

    Args:
        mirrored: of the image mirrored left to right, in a column of its own.
    """

    mirrored: bool = False
    name = "phash"
    columns: ClassVar[Mapping[str, Column]] = {
        "phash": Column("perceptual hash (DCT), equal to imagehash", type=pa.uint64())
    }

    def given(self) -> Mapping[str, Column]:
        return {"phash_mirrored" if self.mirrored else "phash": self.columns["phash"]}

    def score(self, picture: Picture) -> Mapping[str, Any]:
        if self.mirrored:
            return {"phash_mirrored": dct_hash(picture.thumbnail[:, ::-1])}
        return {"phash": dct_hash(picture.thumbnail)}


@scorers("dhash")
@dataclass(frozen=True)
class DHash(ImageScorer):
    """Whether it gets brighter to the right, at 9 x 8 pixels: ``imagehash.dhash`` bit for bit."""

    name = "dhash"
    columns: ClassVar[Mapping[str, Column]] = {
        "dhash": Column("difference hash, equal to imagehash", type=pa.uint64())
    }

    def score(self, picture: Picture) -> Mapping[str, Any]:
        from PIL.Image import Resampling

        return {"dhash": difference_hash(picture.grey.resize((9, 8), Resampling.LANCZOS))}


@scorers("thumbnail")
@dataclass(frozen=True)
class Thumbnail(ImageScorer):
    """32 x 32 grey values, row by row: what near duplicates are verified with."""

    name = "thumbnail"
    columns: ClassVar[Mapping[str, Column]] = {
        "thumbnail": Column("32 x 32 grey values", type=pa.binary(SIDE * SIDE))
    }

    def score(self, picture: Picture) -> Mapping[str, Any]:
        return {"thumbnail": picture.thumbnail.tobytes()}


def dct_hash(grey: npt.ArrayLike) -> int:
    """The pHash of grey values of shape (32, 32)."""
    columns_first = _dct(np.asarray(grey, np.float64).T).T
    low = _dct(columns_first)[:8, :8]
    return _bits(low > np.median(low))


def difference_hash(grey: Any) -> int:
    """The dHash of grey values of shape (8, 9)."""
    pixels = np.asarray(grey)
    return _bits(pixels[:, 1:] > pixels[:, :-1])


def _bits(bits: npt.NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits.reshape(-1)).tobytes(), "big")


def _dct(values: Floats) -> Floats:
    """Un-normalised DCT-II along the last axis, of length 32.

    It takes the steps of pocketfft, which SciPy and imagehash call, in the same order: in images
    with symmetries many coefficients are zero but for rounding, and rounding decides their bits.
    """
    cosine = _cosines()
    c = values.copy()
    c[..., 0] *= 2
    c[..., -1] *= 2
    odd, even = c[..., 1:-1:2].copy(), c[..., 2:-1:2].copy()
    c[..., 1:-1:2], c[..., 2:-1:2] = odd + even, even - odd
    spectrum = np.zeros((*c.shape[:-1], SIDE // 2 + 1), np.complex128)
    spectrum.real[..., 0], spectrum.real[..., 1:] = c[..., 0], c[..., 1::2]
    spectrum.imag[..., 1:-1] = c[..., 2::2]
    c = np.fft.irfft(spectrum, SIDE, norm="forward")
    k = np.arange(1, SIDE // 2)
    up, down = c[..., k], c[..., SIDE - k]
    total = cosine[k - 1] * down + cosine[SIDE - k - 1] * up
    difference = cosine[k - 1] * up - cosine[SIDE - k - 1] * down
    c[..., k], c[..., SIDE - k] = 0.5 * (total + difference), 0.5 * (total - difference)
    c[..., SIDE // 2] *= cosine[SIDE // 2 - 1]
    return c


@lru_cache(maxsize=1)
def _cosines() -> Floats:
    """cos(2 pi k / 128), k = 1..31, rounded as pocketfft rounds: products of two short tables."""

    def root(k: int) -> tuple[float, float]:
        angle = math.pi / (16 * SIDE)
        if 2 * k < SIDE:
            return math.cos(8 * k * angle), math.sin(8 * k * angle)
        return math.sin((8 * SIDE - 8 * k) * angle), math.cos((8 * SIDE - 8 * k) * angle)

    fine, coarse = [root(k) for k in range(16)], [root(16 * k) for k in range(2)]
    pairs = [(fine[k % 16], coarse[k // 16]) for k in range(1, SIDE)]
    return np.array([a[0] * b[0] - a[1] * b[1] for a, b in pairs])
