"""NIfTI-1 volumes (``.nii``, ``.nii.gz``): the header, and the values where they are asked for.

Axes are the file's own: the first is x (width), then y (height), z (slices), and what follows, such
as channels. ``affine`` takes x, y, z counted from 0 to millimetres (right, anterior, superior).
See https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.errors import FormatError

__all__ = ["SUFFIXES", "Header", "read_header", "read_volume"]

SUFFIXES = (".nii.gz", ".nii")
MAX_BYTES = 1 << 32
"""A header that claims more is refused before anything is decompressed."""

_SIZE = 348
_TYPES = dict(
    zip(
        (2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280),
        ("u1", "i2", "i4", "f4", "f8", "i1", "u2", "u4", "i8", "u8"),
        strict=True,
    )
)


@dataclass(frozen=True)
class Header:
    """What a header tells.

    Attributes:
        shape: x, y, z and further axes.
        spacing: millimetres (or the file's unit) between voxels along x, y, z.
        affine: three rows of four numbers.
        dtype: of the stored values.
        offset: where they begin.
        slope, inter: a stored value v means slope · v + inter.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, float, float]
    affine: list[list[float]]
    dtype: np.dtype[Any]
    offset: int
    slope: float = 1.0
    inter: float = 0.0


def read_header(path: Path) -> Header:
    """The header alone.

    Raises:
        FormatError: there is none, or it is damaged or of a kind that is not read.
    """
    return _header(_bytes(path, _SIZE), path)


def read_volume(path: Path) -> tuple[npt.NDArray[Any], Header]:
    """Values with the axes of the header's ``shape``; scaled where the header says so.

    Raises:
        FormatError: as ``read_header``, or there are fewer values than it says.
    """
    header = read_header(path)
    count = math.prod(header.shape)
    data = _bytes(path, header.offset + count * header.dtype.itemsize)[header.offset :]
    values = np.frombuffer(data, header.dtype).reshape(header.shape, order="F")
    if (header.slope, header.inter) != (1.0, 0.0):
        return values * header.slope + header.inter, header
    return values, header


def _bytes(path: Path, count: int) -> bytes:
    try:
        opened = gzip.open if path.name.lower().endswith(".gz") else open
        with opened(path, "rb") as file:
            found = file.read(count)
    except FileNotFoundError as error:
        raise FormatError(path, "the file is absent") from error
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(path, f"cannot be decompressed: {error}") from error
    if len(found) < count:
        raise FormatError(path, f"ends after {len(found)} of {count} bytes")
    return bytes(found)


def _header(data: bytes, path: Path) -> Header:
    order = next((o for o in "<>" if struct.unpack(f"{o}i", data[:4])[0] == _SIZE), None)
    if order is None:
        raise FormatError(path, "no NIfTI-1 header (its size is not 348)", "byte 0")

    def numbers(kind: str, at: int, n: int = 1) -> tuple[Any, ...]:
        return struct.unpack_from(f"{order}{n}{kind}", data, at)

    if data[344:347] != b"n+1":
        raise FormatError(path, f"{data[344:348]!r} is no single-file NIfTI-1", "byte 344")
    dim = numbers("h", 40, 8)
    if not 1 <= dim[0] <= 7 or any(d < 1 for d in dim[1 : dim[0] + 1]):
        raise FormatError(path, f"dimensions {[*dim]}", "byte 40")
    shape = dim[1 : dim[0] + 1]
    code = numbers("h", 70)[0]
    if code not in _TYPES:
        raise FormatError(path, f"values of type {code}, which are not read", "byte 70")
    dtype = np.dtype(order + _TYPES[code])
    offset, slope, inter = numbers("f", 108, 3)
    if not (math.isfinite(offset) and _SIZE <= offset <= MAX_BYTES):
        raise FormatError(path, f"values begin at {offset}", "byte 108")
    if math.prod(shape) * dtype.itemsize > MAX_BYTES:
        raise FormatError(path, f"claims {' x '.join(map(str, shape))} values; refused", "byte 40")
    pixdim = numbers("f", 76, 8)
    spacing = tuple(abs(float(p)) for p in (*pixdim[1 : 1 + min(dim[0], 3)], 1.0, 1.0)[:3])
    affine = _affine(numbers, pixdim)
    if not np.isfinite([*spacing, *np.ravel(affine)]).all():
        raise FormatError(path, "a spacing or an affine that is not finite", "byte 76")
    if not (math.isfinite(slope) and math.isfinite(inter)) or slope == 0:
        slope, inter = 1.0, 0.0  # which the standard gives the meaning of "not scaled"
    return Header(
        tuple(shape),
        (spacing[0], spacing[1], spacing[2]),
        affine,
        dtype,
        int(offset),
        float(slope),
        float(inter),
    )


def _affine(numbers: Any, pixdim: tuple[float, ...]) -> list[list[float]]:
    """The matrix of the sform, else of the qform, else the spacing alone."""
    qform, sform = numbers("h", 252, 2)
    if sform > 0:
        return [[float(v) for v in numbers("f", at, 4)] for at in (280, 296, 312)]
    x, y, z = pixdim[1:4]
    if qform <= 0:
        return [[float(x), 0.0, 0.0, 0.0], [0.0, float(y), 0.0, 0.0], [0.0, 0.0, float(z), 0.0]]
    b, c, d, *shift = numbers("f", 256, 6)
    a = math.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    scaled = turn * [x, y, -z if pixdim[0] < 0 else z]
    return [[*map(float, row), float(s)] for row, s in zip(scaled, shift, strict=True)]
