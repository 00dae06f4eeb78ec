"""Segmentations, boxes and keypoints of a chunk of records, parsed in bulk to Arrow arrays.

What has not the expected form is given back as the JSON value it was, for ``extra``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders.coco.numbers import (
    NotNumbersError,
    list_array,
    parse_flat,
    parse_nested,
    without_blanks,
)
from granum.schema import geometry, tables

__all__ = ["PARSE", "Parsed"]

Array = npt.NDArray[Any]
EXACT = 2.0**53


@dataclass
class Polygons:
    """Polygons of a chunk, flat: coordinates, and where each ring and each record begins."""

    values: npt.NDArray[np.float64]
    rings: Array
    rows: Array
    valid: Array


@dataclass
class Parsed:
    """What a chunk's texts mean: arrays with one value per record, and values that fit none."""

    arrays: dict[str, pa.Array] = field(default_factory=dict)
    polygons: Polygons | None = None
    extra: dict[int, Any] = field(default_factory=dict)


class _Texts:
    """The texts of a key in a chunk."""

    def __init__(self, joined: bytes, lengths: Array) -> None:
        self.joined, self.lengths = joined, lengths
        self.ends = np.cumsum(lengths)
        self.rows = np.flatnonzero(lengths)
        data = np.frombuffer(joined, np.uint8)
        self.first = data[(self.ends - lengths)[self.rows]]

    def __getitem__(self, row: int) -> bytes:
        end = int(self.ends[row])
        return self.joined[end - int(self.lengths[row]) : end]

    def only(self, rows: Array) -> tuple[bytes, Array]:
        """The joined texts of some records, and where each ends."""
        if len(rows) == len(self.rows):
            return self.joined, self.ends[self.rows]
        # Rows side by side (but for absent ones) are one slice.
        place = np.searchsorted(self.rows, rows)
        breaks = np.flatnonzero(np.diff(place) != 1)
        firsts = rows[np.concatenate([[0], breaks + 1])] if len(rows) else rows
        lasts = rows[np.concatenate([breaks, [len(rows) - 1]])] if len(rows) else rows
        starts = (self.ends[firsts] - self.lengths[firsts]).tolist()
        runs = zip(starts, self.ends[lasts].tolist(), strict=True)
        return b"".join([self.joined[a:b] for a, b in runs]), np.cumsum(self.lengths[rows])


def segmentations(joined: bytes, lengths: Array) -> Parsed:
    """Polygons and RLEs."""
    texts, out = _Texts(joined, lengths), Parsed()
    n = len(lengths)
    flat = texts.rows[texts.first == ord("[")]
    short = flat[lengths[flat] < 8]
    empty = [r for r in short.tolist() if not texts[r].strip(b"[] \t\r\n")]
    flat = np.setdiff1d(flat, empty) if empty else flat
    objects = texts.rows[texts.first == ord("{")]
    others = texts.rows[(texts.first != ord("[")) & (texts.first != ord("{"))]
    for row in [*empty, *others.tolist()]:
        if texts[row] != b"null":
            out.extra[row] = json.loads(texts[row])
    if len(flat):
        _polygons(texts, flat, n, out)
    if len(objects):
        _rles(texts, objects, n, out)
    return out


def _nested(joined: bytes, ends: Array) -> tuple[Array, Array, Array]:
    try:
        return parse_nested(joined, ends)
    except NotNumbersError:
        starts = np.concatenate([[0], ends[:-1]])
        bare = [
            without_blanks(joined[s:e]) for s, e in zip(starts.tolist(), ends.tolist(), strict=True)
        ]
        return parse_nested(b"".join(bare), np.cumsum([len(b) for b in bare]))


def _polygons(texts: _Texts, rows: Array, n: int, out: Parsed) -> None:
    try:
        values, rings, parts = _nested(*texts.only(rows))
    except NotNumbersError:
        good = []
        for row in rows.tolist():
            try:
                _nested(*texts.only(np.array([row])))
                good.append(row)
            except NotNumbersError:  # not lists of numbers: kept as it is, no typed form
                out.extra[row] = json.loads(texts[row])
        if not good:
            return
        rows = np.array(good)
        values, rings, parts = _nested(*texts.only(rows))
    if len(values) and max(values.max(), -values.min()) > EXACT:
        for place in np.flatnonzero(np.abs(values) > EXACT):  # integers that a double cannot hold
            ring = np.searchsorted(rings, place, side="right") - 1
            row = int(rows[np.searchsorted(parts, ring, side="right") - 1])
            out.extra[row] = json.loads(texts[row])
    counts, valid = np.zeros(n, np.int64), np.zeros(n, bool)
    counts[rows], valid[rows] = np.diff(parts), True
    out.polygons = Polygons(values, rings, np.concatenate([[0], np.cumsum(counts)]), valid)


class _Rle(msgspec.Struct):
    size: tuple[int, int]
    counts: str | list[int]


def _rles(texts: _Texts, rows: Array, n: int, out: Parsed) -> None:
    """RLE objects; one that is none, or has further keys, goes to ``extra`` (too)."""
    decode = msgspec.json.Decoder(_Rle).decode
    size: list[list[int] | None] = [None] * n
    counts: list[bytes | None] = [None] * n
    form: list[str | None] = [None] * n
    for row in rows.tolist():
        text = texts[row]
        try:
            rle = decode(text)
            if isinstance(rle.counts, str):
                packed, kind, marks = rle.counts.encode("ascii"), "compressed", 6
            else:
                packed, kind, marks = geometry.rle_encode_counts(rle.counts), "list", 4
            if max(rle.size) >= 2**31 or min(rle.size) < 0:
                raise ValueError("size")
        except (msgspec.ValidationError, ValueError, OverflowError):
            out.extra[row] = json.loads(text)
            continue
        if text.count(b'"') != marks:
            out.extra[row] = json.loads(text)
        size[row], counts[row], form[row] = list(rle.size), packed, kind
    missing = pa.array([s is None for s in size])
    if not pc.all(missing).as_py():
        sizes = pa.array([v for s in size for v in (s or [0, 0])], pa.int32())
        out.arrays["rle"] = pa.StructArray.from_arrays(
            [
                pa.FixedSizeListArray.from_arrays(sizes, 2),
                pa.array(counts, pa.binary()),
                pa.DictionaryArray.from_arrays(_form_codes(form), pa.array(["compressed", "list"])),
            ],
            ["size", "counts", "form"],
            mask=missing,
        )


def _form_codes(form: list[str | None]) -> pa.Array:
    codes = {"compressed": 0, "list": 1}
    return pa.array([None if f is None else codes[f] for f in form], pa.int32())


def boxes(joined: bytes, lengths: Array) -> Parsed:
    """Boxes of four numbers."""
    texts, out = _Texts(joined, lengths), Parsed()
    block, valid = np.zeros((len(lengths), 4)), np.zeros(len(lengths), bool)
    values, offsets = np.empty(0), np.zeros(1, np.int64)
    try:
        values, offsets = parse_flat(joined, texts.ends[texts.rows])
        good = np.diff(offsets) == 4
        if good.all():
            block[texts.rows], valid[texts.rows] = values.reshape(-1, 4), True
    except NotNumbersError:
        good = np.zeros(1, bool)
    if not good.all() or (len(values) and np.abs(values).max() > EXACT):
        for row in texts.rows.tolist():
            value = json.loads(texts[row])
            plain = isinstance(value, list) and all(type(v) in (int, float) for v in value)
            if plain and len(value) == 4 and all(v == float(v) for v in value):
                block[row], valid[row] = value, True
            elif value is not None:
                out.extra[row] = value
                valid[row] = False
    if valid.any():
        flat = pa.array(block.ravel())
        mask = None if valid.all() else pa.array(~valid)
        out.arrays["bbox"] = pa.FixedSizeListArray.from_arrays(flat, 4, mask=mask)
    return out


def keypoints(joined: bytes, lengths: Array) -> Parsed:
    """Keypoints as x, y, visibility triples."""
    texts, out = _Texts(joined, lengths), Parsed()
    kind = tables.ANNOTATIONS.field("keypoints").type
    try:
        values, offsets = parse_flat(joined, texts.ends[texts.rows])
        if (np.diff(offsets) % 3 == 0).all() and (not len(values) or np.abs(values).max() <= EXACT):
            counts, missing = np.zeros(len(lengths), np.int64), np.ones(len(lengths), bool)
            counts[texts.rows], missing[texts.rows] = np.diff(offsets), False
            whole = np.concatenate([[0], np.cumsum(counts)])
            out.arrays["keypoints"] = list_array(whole, pa.array(values), missing)
            return out
    except NotNumbersError:
        pass
    lists: list[list[float] | None] = [None] * len(lengths)
    for row in texts.rows.tolist():
        value = json.loads(texts[row])
        plain = isinstance(value, list) and all(type(v) in (int, float) for v in value)
        if plain and len(value) % 3 == 0:
            lists[row] = [float(v) for v in value]
        elif value is not None:
            out.extra[row] = value
    out.arrays["keypoints"] = pa.array(lists, kind)
    return out


PARSE = {"segmentation": segmentations, "bbox": boxes, "keypoints": keypoints}
"""How the texts of a key become columns."""
