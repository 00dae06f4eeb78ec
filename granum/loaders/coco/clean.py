"""One record at a time: what is wrong with it, and the record without that."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw

from granum.loaders.base import Intake
from granum.loaders.coco.scan import NAN, JsonFile

__all__ = ["clean"]


def clean(
    raw: bytes, kinds: Mapping[str, Any], file: JsonFile, place: str, intake: Intake
) -> bytes | None:
    """One record as JSON that decodes, or None where it is left out."""
    fix = intake.on_error == "fix"
    try:
        pairs = json.loads(raw, object_pairs_hook=lambda p: p)
    except (ValueError, RecursionError) as error:
        intake.fault("bad-value", file.name, place, f"the record cannot be decoded: {error}")
        return None
    if (
        not (isinstance(pairs, list) and all(isinstance(p, tuple) for p in pairs))
        and raw[:1] != b"{"
    ):
        intake.fault("bad-value", file.name, place, "not an object")
        return None
    keep = True
    names = [k for k, _ in pairs]
    repeated = sorted({k for k in names if names.count(k) > 1})
    if repeated:
        intake.fault(
            "duplicate-json-key", file.name, place, f"key {', '.join(repeated)} is given twice"
        )
        keep = fix
    values: dict[str, Any] = json.loads(raw)
    for name, value in list(values.items()):
        said = _fault_of(name, value, kinds.get(name, Raw))
        if said is None:
            continue
        code, message = said
        intake.fault(code, file.name, f"{place}/{name}", message)
        keep = keep and fix
        del values[name]
        if code == "nan-box":
            values["bbox"] = _box_of(values.get("segmentation"))
    if not keep:
        return None
    return json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _box_of(segmentation: Any) -> list[float] | None:
    """The box of a list of polygons, as ``fix`` takes it."""
    try:
        points = np.concatenate([np.asarray(p, np.float64).reshape(-1, 2) for p in segmentation])
        low, high = points.min(axis=0), points.max(axis=0)
    except (TypeError, ValueError):
        return None
    return [*low.tolist(), *(high - low).tolist()]


def _fault_of(name: str, value: Any, kind: Any) -> tuple[str, str] | None:
    """The fault of one value, if any."""
    nan = next(_nans(value), None)
    if nan is not None:
        if name == "bbox":
            return "nan-box", "the box holds NaN or Infinity"
        return "nan-token", f"{name} holds NaN or Infinity"
    if kind is Raw:
        return None
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, OverflowError):
        return "bad-value", f"{name} is {json.dumps(value, ensure_ascii=False)[:60]}"
    return None


def _nans(value: Any) -> Iterator[bool]:
    if value == NAN or (isinstance(value, float) and not math.isfinite(value)):  # 1e999
        yield True
    elif isinstance(value, list):
        for v in value:
            yield from _nans(v)
    elif isinstance(value, dict):
        for v in value.values():
            yield from _nans(v)
