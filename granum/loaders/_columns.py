"""Arrow columns that many readers need."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["constant", "single"]


def constant(text: str, n: int) -> pa.Array:
    """One text in all of ``n`` rows, as a dictionary."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([text]))


def single(values: npt.NDArray[np.int64], kind: pa.DataType) -> pa.Array:
    """Lists of one number each (``origins``, ``ordinal``)."""
    offsets = pa.array(np.arange(len(values) + 1), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(values).cast(kind))
