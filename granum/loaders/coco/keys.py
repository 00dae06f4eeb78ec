"""Which keys the records of a list have, and the values of keys that no column holds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET

from granum.loaders.coco.records import Array, Columns
from granum.loaders.coco.scan import JsonFile

__all__ = ["Extras", "extras", "key_codes", "key_sets", "raw_texts", "unknown_texts"]


@dataclass
class Extras:
    """Unknown keys of records: row to {key: value}; ``keys_seen`` are all of them."""

    rows: dict[int, dict[str, Any]]
    keys_seen: dict[str, Array]


def extras(columns: Columns, file: JsonFile, known_raw: Iterable[str]) -> Extras:
    """Values of raw keys that the format does not know."""
    found: dict[int, dict[str, Any]] = {}
    present = {}
    decode = msgspec.json.decode
    for key in columns.where:
        if key in known_raw:
            continue
        texts = raw_texts(columns, file, key)
        present[key] = np.array([t is not None for t in texts], bool)
        cache: dict[str, Any] = {}
        for i, text in enumerate(texts):
            if text is not None:
                if text not in cache:
                    if len(cache) > 4096:
                        cache.clear()
                    cache[text] = decode(text)
                found.setdefault(i, {})[key] = cache[text]
    return Extras(found, present)


def raw_texts(columns: Columns, file: JsonFile, key: str) -> list[str | None]:
    """The JSON texts of a raw key; None where a record lacks it."""
    starts, lengths = columns.spans(key)
    own = columns.own.get(key, {})
    data = file.data
    return [
        own[i].decode() if i in own else bytes(data[s : s + n]).decode() if n else None
        for i, (s, n) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True))
    ]


def unknown_texts(columns: Columns, file: JsonFile, known_raw: Iterable[str]) -> list[str | None]:
    """For each record a JSON object of the raw keys that the format does not know."""
    keys = [k for k in columns.where if k not in known_raw]
    if not keys:
        return [None] * columns.n
    heads = [json.dumps(k, ensure_ascii=False) + ": " for k in keys]
    each = [raw_texts(columns, file, k) for k in keys]
    out: list[str | None] = []
    for values in zip(*each, strict=True):
        parts = [h + v for h, v in zip(heads, values, strict=True) if v is not None]
        out.append("{" + ", ".join(parts) + "}" if parts else None)
    return out


def key_sets(columns: Columns) -> list[tuple[str, ...]]:
    """For each record the set of keys that it has, as a sorted tuple."""
    names, codes = key_codes(columns)
    sets = {}
    for code in np.unique(codes).tolist():
        sets[code] = tuple(k for i, k in enumerate(names) if code >> i & 1)
    return [sets[c] for c in codes.tolist()]


def key_codes(columns: Columns) -> tuple[list[str], Array]:
    """Sorted keys, and for each record a number whose bits say which of them it has."""
    names = sorted(columns.keys())
    kind = np.int64 if len(names) < 63 else object
    codes = np.zeros(columns.n, kind)
    for i, name in enumerate(names):
        if name not in columns.values:
            has = columns.has(name)
        else:
            values = columns.get(name)
            has = np.ones(columns.n, bool)
            if values.dtype == object:
                has = np.fromiter((v is not UNSET for v in values.tolist()), bool, columns.n)
        codes = codes + np.where(has, 1 << i, 0).astype(kind)
    return names, codes
