"""Records of a COCO list (images, annotations) as columns, without losing a key.

A chunk is decoded into structs whose fields are the known keys and every key met so far; values
that are parsed in bulk later stay raw text. That nothing was overlooked (an unknown key, a key
given twice) is proved by counting quotation marks: those of the keys and values that were decoded
must be all that the chunk holds. A chunk that is not regular is gone over record by record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import UNSET, Raw

from granum.errors import FormatError
from granum.loaders.base import Intake
from granum.loaders.coco.clean import clean
from granum.loaders.coco.scan import NAN, JsonFile

__all__ = ["ANNOTATION_KEYS", "IMAGE_KEYS", "Columns", "read_records"]

Id = int | str | float | None | msgspec.UnsetType
_Flag = int | bool | None | msgspec.UnsetType
_Number = float | None | msgspec.UnsetType
_Whole = int | float | None | msgspec.UnsetType
_Text = str | None | msgspec.UnsetType

FLAGS = (
    "ignore",
    "group_of",
    "occluded",
    "truncated",
    "depiction",
    "inside",
    "difficult",
    "keyframe",
    "outside",
)

ANNOTATION_KEYS: dict[str, Any] = {
    "id": Id,
    "image_id": Id,
    "category_id": Id,
    "segmentation": Raw,
    "bbox": Raw,
    "keypoints": Raw,
    "area": _Number,
    "iscrowd": _Flag,
    "num_keypoints": _Whole,
    "caption": _Text,
    "score": _Number,
    "attributes": Raw,
    "track_id": _Whole,
    **dict.fromkeys(FLAGS, _Flag),
}

IMAGE_KEYS: dict[str, Any] = {
    "id": Id,
    "file_name": _Text,
    "width": _Whole,
    "height": _Whole,
    "attributes": Raw,
}

_NONE = Raw(b"")
_NAN_MARK = msgspec.json.encode(NAN)


Array = npt.NDArray[Any]


@dataclass
class Columns:
    """Records of one file as columns, in file order.

    Attributes:
        values: per decoded key, arrays chunk by chunk: int64, float64, or objects (UNSET where a
            record lacks the key).
        where: per raw key, (offsets in the file, lengths); length 0 where a record lacks it.
        own: per raw key, texts of single records that are not in the file (mended ones).
        bulk: per key that is parsed in bulk, its parsed chunks.
        lengths: per such key, the lengths of its texts.
        index: position of each record in its list (dropped records leave gaps).
    """

    n: int = 0
    values: dict[str, list[Array]] = field(default_factory=dict)
    where: dict[str, tuple[list[Array], list[Array]]] = field(default_factory=dict)
    own: dict[str, dict[int, bytes]] = field(default_factory=dict)
    bulk: dict[str, list[Any]] = field(default_factory=dict)
    lengths: dict[str, list[Array]] = field(default_factory=dict)
    index: list[Array] = field(default_factory=list)

    def get(self, key: str) -> Array:
        """A decoded key's values: int64 or float64, or objects where they vary."""
        if key not in self.values:
            return _unset(self.n)
        arrays = self.values[key]
        if len({a.dtype for a in arrays}) > 1:
            arrays = [a.astype(object) for a in arrays]
        return np.concatenate(arrays)

    def spans(self, key: str) -> tuple[Array, Array]:
        """Offsets and lengths of a raw key's values."""
        if key not in self.where:
            return np.zeros(self.n, np.int64), np.zeros(self.n, np.int64)
        starts, lengths = self.where[key]
        return np.concatenate(starts), np.concatenate(lengths)

    def indices(self) -> Array:
        return np.concatenate([*self.index, np.empty(0, np.int64)])

    def has(self, key: str) -> Array:
        """Which records have the key with a value that is not null."""
        if key in self.lengths:
            return np.concatenate(self.lengths[key]) > 0
        if key in self.where:
            return self.spans(key)[1] > 0
        values = self.get(key)
        if values.dtype != object:
            return np.ones(self.n, bool)
        return np.fromiter(
            (v is not UNSET and v is not None for v in values.tolist()), bool, self.n
        )

    def keys(self) -> set[str]:
        return {*self.values, *self.where, *self.lengths}

    def add(self, chunk: _Chunk, at: int, parse: Mapping[str, Parse]) -> None:
        """Append a chunk whose text begins at byte ``at`` of the file (after its bracket)."""
        before, size, number = self.n, len(chunk.index), len(self.index)
        self.n += size
        none = np.zeros(size, np.int64)
        for key, values in chunk.values.items():
            if not isinstance(values, Raws):
                if key not in self.values:
                    self.values[key] = [_unset(before)] if before else []
                self.values[key].append(_array(values))
            elif key in parse:
                if key not in self.lengths:
                    self.lengths[key] = [np.zeros(len(i), np.int64) for i in self.index]
                self.lengths[key].append(values.lengths)
                self.bulk.setdefault(key, [None] * number).append(
                    parse[key](values.joined, values.lengths)
                )
            else:
                if key not in self.where:
                    self.where[key] = ([np.zeros(before, np.int64)], [np.zeros(before, np.int64)])
                self.where[key][0].append(self._place(key, values, chunk.text, at, before))
                self.where[key][1].append(values.lengths)
        for key, arrays in self.values.items():
            if key not in chunk.values:
                arrays.append(_unset(size))
        for key, pair in self.where.items():
            if key not in chunk.values:
                pair[0].append(none)
                pair[1].append(none)
        for key in self.bulk:
            if key not in chunk.values:
                self.bulk[key].append(None)
                self.lengths[key].append(none)
        self.index.append(chunk.index)

    def _place(self, key: str, raws: Raws, text: bytes | None, at: int, before: int) -> Array:
        """Offsets in the file of raw values; mended ones are kept themselves."""
        if text is None:
            own = self.own.setdefault(key, {})
            own.update({before + i: bytes(r) for i, r in enumerate(raws.raws) if len(r)})
            return np.zeros(len(raws.raws), np.int64)
        starts = np.array([pa.py_buffer(r).address for r in raws.raws])
        return starts + (at - 1 - pa.py_buffer(text).address)


class Raws:
    """Raw values of one key in a chunk, their lengths (0: absent) and their joined text."""

    def __init__(self, raws: list[Any]) -> None:
        self.raws = raws
        self.lengths = np.fromiter(map(len, raws), np.int64, len(raws))
        self.joined = b"".join(raws)

    def quotes(self) -> int:
        """Quotation marks in the values. Lists are taken to hold numbers: one that holds strings
        makes the count of its chunk too low, so that its records are looked at one by one."""
        lists = np.frombuffer(self.joined, np.uint8)[
            (np.cumsum(self.lengths) - self.lengths)[self.lengths > 0]
        ] == ord("[")
        if lists.all():
            return 0
        if not lists.any():
            return self.joined.count(b'"')
        filled = np.flatnonzero(self.lengths)
        return sum(bytes(self.raws[i]).count(b'"') for i in filled[~lists].tolist())


Parse = Callable[[bytes, Array], Any]
"""Parses the joined texts of a key, given the length of each."""


def _unset(n: int) -> Array:
    out = np.empty(n, object)
    out[:] = UNSET
    return out


def _array(values: list[Any]) -> Array:
    kinds = set(map(type, values))
    if kinds == {int}:
        try:
            return np.array(values, np.int64)
        except OverflowError:
            pass
    if kinds == {float}:
        return np.array(values, np.float64)
    out = np.empty(len(values), object)
    out[:] = values
    return out


@dataclass
class _Chunk:
    """Decoded records, by key; ``text`` is what their raw values point into (None: bytes of
    their own)."""

    values: dict[str, list[Any] | Raws]
    text: bytes | None
    index: Array


class _Struct:
    """The struct type for the keys met so far; grows when a chunk has others."""

    def __init__(self, known: Mapping[str, Any], where: Path) -> None:
        self.known, self.where = known, where
        self.kinds: dict[str, Any] = {}
        self._build()

    def _build(self) -> None:
        names = {k: f"f{i}" for i, k in enumerate(self.kinds)}
        fields = [(names[k], t, _NONE if t is Raw else UNSET) for k, t in self.kinds.items()]
        rename = {v: k for k, v in names.items()}
        record = msgspec.defstruct("Record", fields, rename=rename, gc=False)
        self._many = msgspec.json.Decoder(list[record])  # type: ignore[valid-type]
        self._names = names

    def learn(self, text: bytes) -> bool:
        """Add keys of the records in ``text``; whether there were new ones."""
        keys = {k for r in msgspec.json.decode(text, type=list[dict[str, Raw]]) for k in r}
        new = sorted(keys - self.kinds.keys())
        odd = [k for k in new if '"' in k or "\\" in k]
        if odd:
            raise FormatError(self.where, f"the key {odd[0]!r} holds a quotation mark or backslash")
        if new:
            self.kinds.update({k: self.known.get(k, Raw) for k in new})
            self._build()
        return bool(new)

    def decode(self, text: bytes) -> dict[str, list[Any] | Raws]:
        """Values by key."""
        records = self._many.decode(text)
        out: dict[str, list[Any] | Raws] = {}
        for key, name in self._names.items():
            values = list(map(attrgetter(name), records))
            out[key] = Raws(values) if self.kinds[key] is Raw else values
        return out

    def quotes(self, values: Mapping[str, list[Any] | Raws]) -> int:
        """Quotation marks that regular records with these values hold."""
        total = 0
        for key, column in values.items():
            marks = 2
            if isinstance(column, Raws):
                total += marks * int(np.count_nonzero(column.lengths)) + column.quotes()
            else:
                total += marks * (len(column) - column.count(UNSET))
                if self.kinds[key] is _Text or (
                    self.kinds[key] is Id and str in set(map(type, column))
                ):
                    total += sum(2 + v.count('"') for v in column if type(v) is str)
        return total


@dataclass
class _Reading:
    """What the chunks of one list share."""

    file: JsonFile
    key: str
    intake: Intake
    parse: Mapping[str, Parse]


def read_records(
    file: JsonFile,
    key: str,
    known: Mapping[str, Any],
    intake: Intake,
    parse: Mapping[str, Parse] | None = None,
) -> Columns:
    """The records of list ``key`` of ``file`` as columns; faults go to the intake.

    ``parse`` gives functions for keys whose texts are parsed chunk by chunk.
    """
    out = Columns()
    if key not in file.spans:
        return out
    if file.data[file.spans[key][0] : file.spans[key][0] + 1] != b"[":
        intake.fault("bad-value", file.name, f"/{key}", "not a list of records")
        return out
    reading = _Reading(file, key, intake, parse or {})
    try:
        return _read_all(reading, known, file.chunks(key))
    except _IrregularError:
        return _read_all(reading, known, file.records(key))


class _IrregularError(Exception):
    """A chunk was cut inside a record."""


def _read_all(
    reading: _Reading, known: Mapping[str, Any], chunks: Iterator[tuple[int, bytes]]
) -> Columns:
    out, struct, begin = Columns(), _Struct(known, reading.file.path), 0
    for at, text in chunks:
        try:
            begin += _read_chunk(out, struct, reading, at, text, begin)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError as error:
            raise _IrregularError from error
    return out


def _read_chunk(
    out: Columns, struct: _Struct, reading: _Reading, at: int, text: bytes, begin: int
) -> int:
    """Append one chunk; returns how many records it holds."""
    if reading.file.has_nan and _NAN_MARK in text:
        return _one_by_one(out, struct, reading, text, begin)
    try:
        if not struct.kinds:
            struct.learn(text)
        for _ in range(2):
            values = struct.decode(text)
            if struct.quotes(values) == text.count(b'"'):
                first = next(iter(values.values()), [])
                n = len(first.raws if isinstance(first, Raws) else first)
                chunk = _Chunk(values, text, np.arange(begin, begin + n))
                out.add(chunk, at, reading.parse)
                return n
            if not struct.learn(text):
                break
    except (msgspec.ValidationError, UnicodeDecodeError):
        pass  # some record is not as it should be: find out which
    return _one_by_one(out, struct, reading, text, begin)


def _one_by_one(out: Columns, struct: _Struct, reading: _Reading, text: bytes, begin: int) -> int:
    """Records of a chunk that is not regular: each mended, kept or left out."""
    raws = msgspec.json.decode(text, type=list[Raw])
    cleaned: list[bytes] = []
    index: list[int] = []
    for i, raw in enumerate(raws):
        place = f"/{reading.key}/{begin + i}" if reading.key else f"/{begin + i}"
        fit = clean(bytes(raw), struct.known, reading.file, place, reading.intake)
        if fit is not None:
            cleaned.append(fit)
            index.append(begin + i)
    joined = b"[%b]" % b",".join(cleaned)
    struct.learn(joined)
    chunk = _Chunk(struct.decode(joined), None, np.array(index, np.int64))
    out.add(chunk, 0, reading.parse)
    return len(raws)
