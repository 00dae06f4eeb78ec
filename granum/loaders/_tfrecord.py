"""TFRecord files and the ``tf.train.Example`` messages in them, without TensorFlow.

A record is its length (8 bytes, little-endian), a masked CRC-32C of these, the data, and a masked
CRC-32C of it. An Example is a map of names to lists of bytes, floats (32 bits) or integers.

Spec: https://www.tensorflow.org/tutorials/load_data/tfrecord,
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.loaders.base import Intake

__all__ = ["Values", "crc32c", "first_example", "masked", "numbers", "parse_example", "records"]

Values = list[bytes] | npt.NDArray[Any]
"""The values of a feature: bytes, float32 or int64."""

MAX_BYTES = 1 << 31
"""A record that claims more is damaged."""

_U32 = npt.NDArray[np.uint32]


# ---------------------------------------------------------------------- checksums


def _table() -> _U32:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(0x82F63B78), table >> 1)
    return table


_TABLE = _table()
_LISTED: list[int] = _TABLE.tolist()
_LANE = 256


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of ``data``."""
    n = len(data)
    if n < 4 * _LANE:
        crc = 0xFFFFFFFF
        for byte in data:
            crc = _LISTED[(crc ^ byte) & 255] ^ crc >> 8
        return crc ^ 0xFFFFFFFF
    # Lanes of equal length are summed up side by side, then joined pairwise: the sum of a text is
    # that of its head, moved past as many zeros as its tail is long, xor that of its tail. Zeros
    # in front change nothing where the sum begins at 0; it begins with ones, which is to invert the
    # first four bytes.
    lanes = 1 << (-(-n // _LANE) - 1).bit_length()
    padded = np.zeros(lanes * _LANE, np.uint8)
    padded[-n:] = np.frombuffer(data, np.uint8)
    padded[-n : 4 - n] ^= 255
    state = np.zeros(lanes, np.uint32)
    for column in np.ascontiguousarray(padded.reshape(lanes, _LANE).T):
        state = _TABLE[(state ^ column) & 255] ^ state >> 8
    level = 0
    while len(state) > 1:
        state = _moved(state[0::2], _zeros(level)) ^ state[1::2]
        level += 1
    return int(state[0]) ^ 0xFFFFFFFF


def _moved(state: _U32, tables: _U32) -> _U32:
    out = tables[0][state & 255]
    for i in (1, 2, 3):
        out = out ^ tables[i][state >> np.uint32(8 * i) & 255]
    return out


@lru_cache(maxsize=32)
def _zeros(level: int) -> _U32:
    """What ``_LANE << level`` zeros make of a sum: for each of its four bytes, a table."""
    if level:
        half = _zeros(level - 1)
        return _moved(half, half)
    values = np.arange(256, dtype=np.uint32)
    out = np.stack([values << np.uint32(8 * i) for i in range(4)])
    for _ in range(_LANE):
        out = _TABLE[out & 255] ^ out >> 8
    return out


def masked(crc: int) -> int:
    """A sum as it stands in the file."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


# ---------------------------------------------------------------------- records


def records(path: Path, where: str, intake: Intake) -> Iterator[tuple[int, bytes]]:
    """The byte at which each record begins, and its data.

    A record whose sum is wrong is a fault and left out; a length that is wrong ends the reading.
    """
    offset = 0
    try:
        with _stream(path) as file:
            while head := file.read(12):
                fault = _fault(head)
                length = 0 if fault else struct.unpack_from("<Q", head)[0]
                data = b"" if fault else file.read(length)
                end = b"" if fault else file.read(4)
                if not fault and len(end) < 4:
                    fault = "it is cut off"
                if fault:
                    intake.fault("broken-archive", where, f"byte {offset}", f"a record: {fault}")
                    return
                if struct.unpack("<I", end)[0] == masked(crc32c(data)):
                    yield offset, data
                else:
                    message = "a record: the checksum is not that of its data"
                    intake.fault("broken-archive", where, f"byte {offset}", message)
                offset += 16 + length
    except (OSError, pa.ArrowInvalid, EOFError) as error:
        intake.fault("broken-archive", where, f"byte {offset}", f"cannot be read: {error}")


def _fault(head: bytes) -> str | None:
    """What is wrong with a length and its sum."""
    if len(head) < 12:
        return "it is cut off"
    length, crc = struct.unpack("<QI", head)
    if crc != masked(crc32c(head[:8])):
        return "the checksum is not that of its length"
    return f"it claims {length} bytes; refused" if length > MAX_BYTES else None


def _stream(path: Path) -> IO[bytes]:
    if path.name.lower().endswith(".gz"):
        raw: Any = pa.input_stream(str(path), compression="gzip")
        return io.BufferedReader(raw, 1 << 16)
    return path.open("rb")


def first_example(path: Path) -> Mapping[str, Values]:
    """The first Example of a file; nothing where there is none. Never raises."""
    try:
        with _stream(path) as file:
            head = file.read(12)
            if _fault(head):
                return {}
            length = struct.unpack_from("<Q", head)[0]
            return parse_example(file.read(length)) if length < 1 << 27 else {}
    except (OSError, ValueError, EOFError):
        return {}


# ---------------------------------------------------------------------- messages


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number that does not end")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7


def _fields(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and value of each field of a message: an integer, or the bytes.

    Raises:
        ValueError: it is none.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield tag >> 3, kind, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of the wire type {kind}")
        if at + size > len(data):
            raise ValueError("a field that is longer than its message")
        yield tag >> 3, kind, data[at : at + size]
        at += size


def parse_example(data: bytes) -> dict[str, Values]:
    """The features of an Example by name.

    Raises:
        ValueError: it is none.
    """
    out: dict[str, Values] = {}
    for number, kind, features in _fields(memoryview(data)):
        if (number, kind) != (1, 2):
            continue
        for inner, kind_, entry in _fields(features):
            if (inner, kind_) != (1, 2):
                continue
            name, feature = "", memoryview(b"")
            for which, how, value in _fields(entry):
                if how == 2 and which == 1:
                    name = bytes(value).decode()
                elif how == 2 and which == 2:
                    feature = value
            out[name] = _feature(feature)
    return out


def _feature(data: memoryview) -> Values:
    """The values of a feature; an empty list where it has none."""
    for number, kind, message in _fields(data):
        if kind != 2 or number not in (1, 2, 3):
            continue
        listed = [(how, value) for which, how, value in _fields(message) if which == 1]
        if number == 1:
            if any(how != 2 for how, _ in listed):
                raise ValueError("a list of bytes that holds something else")
            return [bytes(value) for _, value in listed]
        if number == 2:
            if any(how not in (2, 5) or len(value) % 4 for how, value in listed):
                raise ValueError("a list of floats that holds something else")
            return np.frombuffer(b"".join(value for _, value in listed), "<f4")
        return _integers(listed)
    return []


def _integers(listed: list[tuple[int, Any]]) -> npt.NDArray[np.int64]:
    found: list[int] = []
    for how, value in listed:
        if how == 0:
            found.append(value)
        elif how == 2:
            at = 0
            while at < len(value):
                one, at = _varint(value, at)
                found.append(one)
        else:
            raise ValueError("a list of integers that holds something else")
    return np.array(found, np.uint64).astype(np.int64)


def numbers(features: Mapping[str, Values], name: str) -> list[Any]:
    """The numbers of a feature, none where it is absent.

    Raises:
        ValueError: it holds bytes.
    """
    found = features.get(name, [])
    if isinstance(found, list):
        if found:
            raise ValueError(f"{name} holds bytes, no numbers")
        return []
    out: list[Any] = found.tolist()
    return out
