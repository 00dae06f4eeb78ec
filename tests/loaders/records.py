"""TFRecord files and Examples, made from their specifications, for tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

Feature = Sequence[bytes] | Sequence[str] | Sequence[int] | Sequence[float]


def crc32c(data: bytes) -> int:
    """The sum as RFC 3720 has it, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    return head + masked(head) + data + masked(data)


def varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def feature(values: Feature) -> bytes:
    if all(isinstance(v, int) for v in values) and values:
        return field(3, field(1, b"".join(varint(int(v)) for v in values)))
    if all(isinstance(v, float) for v in values) and values:
        return field(2, field(1, struct.pack(f"<{len(values)}f", *values)))
    listed = [v.encode() if isinstance(v, str) else v for v in values]
    return field(1, b"".join(field(1, v) for v in listed if isinstance(v, bytes)))


def example(features: Mapping[str, Feature]) -> bytes:
    entries = (field(1, k.encode()) + field(2, feature(v)) for k, v in features.items())
    return field(1, b"".join(field(1, e) for e in entries))
