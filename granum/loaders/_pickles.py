"""Pickles of other people: numpy arrays and plain containers, and nothing that runs code.

A pickle names the callables that its reader is to call. Only those are found here that make
arrays, data types, numbers and plain containers; any other name is refused before it is imported.
See https://docs.python.org/3/library/pickle.html#restricting-globals
"""

from __future__ import annotations

import collections
import io
import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from granum.errors import FormatError

__all__ = ["load_npy", "load_pickle"]


def _latin1(text: str, encoding: str) -> bytes:
    """What ``_codecs.encode`` is for in pickles: bytes written by protocols 0 to 2."""
    if encoding not in ("latin1", "latin-1", "iso-8859-1"):
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def _allowed() -> dict[tuple[str, str], Any]:
    from numpy._core import multiarray, numeric

    from_buffer: Any = getattr(numeric, "_frombuffer")  # noqa: B009

    found: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("collections", "defaultdict"): collections.defaultdict,
        ("_codecs", "encode"): _latin1,
    }
    for old in ("numpy.core", "numpy._core"):
        found[old + ".multiarray", "_reconstruct"] = multiarray._reconstruct
        found[old + ".multiarray", "scalar"] = multiarray.scalar
        found[old + ".numeric", "_frombuffer"] = from_buffer
    for module in ("builtins", "__builtin__"):
        for kind in (set, frozenset, bytearray, complex, list, dict, tuple, int, float, str, bool):
            found[module, kind.__name__] = kind
        found[module, "bytes"] = bytes
        found[module, "long"] = int
        found[module, "unicode"] = str
    return found


class _Inert:
    """Stands in for an object of a class that is not imported; it has its fields."""


class _Restricted(pickle.Unpickler):
    def __init__(self, file: Any, inert: Collection[tuple[str, str]]) -> None:
        super().__init__(file, encoding="latin1")
        self._allowed, self._inert = _allowed(), inert

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._inert:
            return _Inert
        found = self._allowed.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}; only arrays and plain containers are read"
            )
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside of itself")


def load_pickle(
    source: Path | bytes,
    name: str | Path | None = None,
    *,
    inert: Collection[tuple[str, str]] = (),
) -> Any:
    """The object of a pickle that holds numpy arrays, numbers, texts and plain containers.

    Strings of Python 2 are read as Latin-1.

    Args:
        source: the file, or its bytes.
        name: what to call it in errors.
        inert: module and name of classes of which the fields are taken, as attributes of an object
            that does nothing; they are not imported.

    Raises:
        FormatError: it cannot be read, is damaged, or names anything else (nothing of it has run
            then).
    """
    where = name or (source if isinstance(source, Path) else "pickle")
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
    except OSError as error:
        raise FormatError(where, f"cannot be read: {error.strerror}") from error
    try:
        return _Restricted(io.BytesIO(data), inert).load()
    except pickle.UnpicklingError as error:
        raise FormatError(where, f"a pickle that is not read: {error}") from error
    except RecursionError as error:
        raise FormatError(where, "a pickle nested too deeply") from error
    except Exception as error:  # damaged bytes make the machine fail in any way
        raise FormatError(where, f"a damaged pickle: {type(error).__name__}: {error}") from error


def load_npy(path: Path) -> Any:
    """The array of a ``.npy`` file; one of objects is read as ``load_pickle`` does.

    Raises:
        FormatError: it is damaged, or holds more than arrays and plain containers.
    """
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(file)
            if not dtype.hasobject:
                file.seek(0)
                return np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, EOFError, OSError, SyntaxError, MemoryError) as error:
            raise FormatError(path, f"no array that can be read: {error}") from error
        held = load_pickle(file.read(), path)
    if not isinstance(held, np.ndarray):
        raise FormatError(path, "an array of objects that holds none")
    try:
        return held.reshape(shape, order="F" if fortran else "C")
    except (ValueError, TypeError) as error:
        raise FormatError(path, f"an array of another shape than it says: {error}") from error
