"""The structure of a big JSON file: where its top-level values lie, and records in chunks.

One pass finds the spans of the top-level values; arrays of records are then cut at record
borders into chunks that are decoded alone, so that memory holds one chunk at a time.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pyarrow as pa

from granum.errors import FormatError
from granum.schema.findings import Findings

__all__ = ["NAN", "JsonFile", "Span"]

Span = tuple[int, int]
Buffer = mmap.mmap | bytes

CHUNK = 8 << 20
NAN = "\x00NaN"
"""What stands for a NaN or Infinity token once ``_without_nan`` went over a file."""

_BORDER = re.compile(rb"\}\s*,\s*\{")
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)', re.DOTALL)
_AT = re.compile(r"\(byte (\d+)\)")


@dataclass
class JsonFile:
    """A mapped JSON file and the spans of its top-level values.

    Attributes:
        data: the file (or a copy in which NaN tokens are marked).
        spans: key to (start, end); for a file that is one list, its key is ``""``.
        has_nan: it held NaN or Infinity tokens.
    """

    path: Path
    name: str
    data: Buffer
    spans: dict[str, Span] = field(default_factory=dict)
    has_nan: bool = False

    @classmethod
    def open(cls, path: Path, name: str, findings: Findings) -> JsonFile:
        """Map a file and find its top-level values.

        Raises:
            FormatError: it is no JSON, or ends too early; says at which byte.
        """
        return cls.of(path, name, _mapped(path), findings)

    @classmethod
    def of(cls, path: Path, name: str, data: Buffer, findings: Findings) -> JsonFile:
        """As ``open``, of bytes that are at hand."""
        file = cls(path, name, data)
        try:
            file._find_spans(findings)
        except msgspec.DecodeError as error:
            at = _offset(error, data)
            if re.match(rb"-?(NaN|Infinity)|[NI]", data[at : at + 9] or b" "):
                file.data, file.has_nan = _without_nan(data), True
                try:
                    file._find_spans(findings)
                    return file
                except msgspec.DecodeError as second:
                    error = second
                except UnicodeDecodeError as second:
                    raise _bad_key(path, second) from second
            raise _bad_json(path, error, data) from error
        except UnicodeDecodeError as error:
            raise _bad_key(path, error) from error
        return file

    def _find_spans(self, findings: Findings) -> None:
        head = re.match(rb"(?:\xef\xbb\xbf)?\s*", self.data)
        start = head.end() if head else 0
        if self.data[start : start + 1] == b"[":
            msgspec.json.decode(memoryview(self.data)[start:], type=list[msgspec.Raw])
            self.spans = {"": (start, len(self.data))}
            return
        view = memoryview(self.data)[start:]
        found = msgspec.json.decode(view, type=dict[str, msgspec.Raw])
        base = pa.py_buffer(view).address - start
        for key, raw in found.items():
            begin = pa.py_buffer(raw).address - base
            self.spans[key] = (begin, begin + len(raw))
        self._check_repeated(start, findings)

    def _check_repeated(self, start: int, findings: Findings) -> None:
        """Between two values there is only a comma and a key; more means a repeated key."""
        at = start + 1
        for key, (begin, end) in sorted(self.spans.items(), key=lambda s: s[1]):
            between = bytes(self.data[at : min(begin, at + 4096)])
            written = msgspec.json.encode(key)
            plain = re.fullmatch(rb"[\s,]*(\"(?:[^\"\\]|\\.)*\")\s*:\s*", between)
            if begin - at > 4096 or not plain or msgspec.json.decode(plain[1]) != key:
                findings.add(
                    "duplicate-json-key",
                    self.name,
                    f"/{key}",
                    f"a key before {written.decode()} is repeated at the top",
                )
            at = end

    def raw(self, key: str) -> bytes | None:
        """The text of a top-level value."""
        if key not in self.spans:
            return None
        start, end = self.spans[key]
        return bytes(self.data[start:end])

    def chunks(self, key: str) -> Iterator[tuple[int, bytes]]:
        """A list of records in pieces: (offset of the piece in the file, ``[…]``).

        The offset is that of the byte after the piece's own opening bracket.
        """
        start, end = self.spans[key]
        while end > start and self.data[end - 1 : end] != b"]":
            end -= 1
        view = memoryview(self.data)
        at = start + 1
        while at < end:
            border = _BORDER.search(self.data, at + CHUNK, end) if at + CHUNK < end else None
            stop = end - 1 if border is None else border.start() + 1
            yield at, b"".join((b"[", view[at:stop], b"]"))
            at = end if border is None else border.end() - 1

    def records(self, key: str) -> Iterator[tuple[int, bytes]]:
        """As ``chunks``, but cut by a parser: for lists whose records hold lists of objects."""
        start, end = self.spans[key]
        view = memoryview(self.data)[start:end]
        base = pa.py_buffer(view).address - start
        raws = msgspec.json.decode(view, type=list[msgspec.Raw])
        view = memoryview(self.data)
        first, size = 0, 0
        for i, raw in enumerate(raws):
            size += len(raw)
            if size >= CHUNK or i == len(raws) - 1:
                begin = pa.py_buffer(raws[first]).address - base
                stop = pa.py_buffer(raw).address - base + len(raw)
                yield begin, b"".join((b"[", view[begin:stop], b"]"))
                first, size = i + 1, 0


def _mapped(path: Path) -> Buffer:
    with path.open("rb") as file:
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file cannot be mapped
            return b""


def _offset(error: msgspec.DecodeError, data: Buffer) -> int:
    found = _AT.search(str(error))
    if not found:
        return len(data)
    head = re.match(rb"(?:\xef\xbb\xbf)?\s*", data)
    return int(found[1]) + (head.end() if head else 0)


def _bad_key(path: Path, error: UnicodeDecodeError) -> FormatError:
    return FormatError(path, f"no JSON: a key is no UTF-8 ({error.reason})")


def _bad_json(path: Path, error: msgspec.DecodeError, data: Buffer) -> FormatError:
    at = _offset(error, data)
    if "truncated" in str(error):
        return FormatError(path, "the JSON ends before it is complete", f"byte {len(data)}")
    near = bytes(data[at : at + 12])
    return FormatError(path, f"not JSON: unexpected {near!r}", f"byte {at}")


def _without_nan(data: Buffer) -> bytes:
    """A copy with NaN and Infinity tokens (outside strings) as marked strings."""
    mark = msgspec.json.encode(NAN)
    return _TOKEN.sub(lambda m: m[0] if m[0][:1] == b'"' else mark, data)
