"""Label volumes: the values of a NIfTI file or of a plain array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from granum.errors import FormatError
from granum.schema.rows import LabelMap, Media
from granum.store.media import media_path
from granum.store.nifti import SUFFIXES, read_volume

__all__ = ["is_volume", "read_label_volume"]


def is_volume(label_map: LabelMap) -> bool:
    """Whether a label map is a file of a volume, by its name."""
    return (label_map.path or "").lower().endswith((*SUFFIXES, ".npy"))


def read_label_volume(label_map: LabelMap, root: str | None) -> npt.NDArray[np.int64]:
    """The values of a label volume, shape (depth, height, width): slices first, as images stacked.

    The axes of a NIfTI file are x, y, z; those of an array (as the cropped BraTS arrays have them)
    are z, y, x. Further axes, of one element, are dropped.

    Raises:
        FormatError: it is absent or damaged, has other axes, or values that are no whole numbers.
    """
    path = media_path(Media(label_map.path), root)
    values = _array(path) if path.suffix.lower() == ".npy" else read_volume(path)[0].T
    while values.ndim > 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 3 or values.dtype.kind not in "iufb":
        raise FormatError(path, f"an array {values.shape} of {values.dtype}, no label volume")
    whole = values.astype(np.int64)
    if values.dtype.kind == "f" and not np.array_equal(whole, values):
        raise FormatError(path, "values that are no whole numbers")
    return whole


def _array(path: Path) -> npt.NDArray[np.generic]:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError) as error:
        raise FormatError(path, f"no array that can be read: {error}") from error
