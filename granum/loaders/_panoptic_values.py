"""Columns of segments that are no plain copy of a JSON key."""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import UNSET

from granum.loaders.base import Intake
from granum.loaders.coco.keys import key_codes, raw_texts
from granum.loaders.coco.records import Array, Columns
from granum.loaders.coco.scan import JsonFile
from granum.schema import rows, tables

__all__ = [
    "FILLED",
    "FORMS",
    "BoxForm",
    "attribute_texts",
    "boxes",
    "complete",
    "fills",
    "forms",
    "in_form",
    "maps",
    "numbers",
    "other_box",
    "shapes",
    "things",
]

FILLED = "granum_filled"
"""A key of segments that granum made: the keys that it filled in for other tools (``bbox``,
``iscrowd``), while the dataset says nothing of them."""

FORMS = "granum_mask"
"""A key of segments that granum made: further forms (``polygons``, ``rle``) of the mask that is in
the PNG."""

BoxForm = Literal["xywh", "xyxy", "short"]

Extra = dict[int, dict[str, Any]]
"""Of some rows, values that no column holds."""

_EXACT = 2.0**53


class _Rle(msgspec.Struct):
    size: tuple[int, int]
    counts: str
    form: str


class _Forms(msgspec.Struct):
    polygons: list[list[list[float]]] | None = None
    rle: _Rle | None = None


def numbers(c: Columns, key: str, extra: Extra) -> list[float | None]:
    """Numbers, None where absent; integers that no double holds go to ``extra`` too."""
    out: list[float | None] = []
    for i, v in enumerate(c.get(key).tolist()):
        out.append(None if v is UNSET or v is None else float(v))
        if type(v) is int and abs(v) > _EXACT:
            extra.setdefault(i, {})[key] = v
    return out


def fills(extra: Extra) -> dict[int, list[Any]]:
    """Which keys the writer filled in, taken out of ``extra``."""
    given = {i: e[FILLED] for i, e in extra.items() if FILLED in e}
    found = {i: v for i, v in given.items() if isinstance(v, list)}
    for i in found:
        del extra[i][FILLED]
    return found


def complete(category: rows.Category) -> None:
    """Facts of a category record that stand under keys of our own (see the writer)."""
    extra = dict(category.extra or {})
    synonyms, attributes = extra.get("synonyms"), extra.get("attributes")
    if isinstance(synonyms, list) and all(isinstance(s, str) for s in synonyms):
        category.synonyms = extra.pop("synonyms")
    if isinstance(attributes, dict):
        category.attributes = extra.pop("attributes")
    if extra.pop("granum_filled", None) == ["isthing"]:
        category.isthing = None
    category.extra = extra or None


def boxes(c: Columns, file: JsonFile, extra: Extra) -> list[Any]:
    """Boxes of four numbers; what is none, or not exactly a double, goes to ``extra``."""
    if "bbox" not in c.where:
        return [None] * c.n
    texts = raw_texts(c, file, "bbox")
    out: list[Any]
    try:
        joined = ",".join([t or "null" for t in texts])
        out = msgspec.json.decode(f"[{joined}]", type=list[list[float] | None])
    except msgspec.DecodeError:
        out = [_box(t) for t in texts]
    for i, box in enumerate(out):
        exact = box is not None and len(box) == 4 and max(map(abs, box)) <= _EXACT
        if not exact and texts[i] not in (None, "null"):
            extra.setdefault(i, {})["bbox"] = json.loads(texts[i] or "null")
        if box is not None and len(box) != 4:
            out[i] = None
    return out


def _box(text: str | None) -> list[float] | None:
    """A list of numbers, or None where the text is something else."""
    value = json.loads(text) if text else None
    if isinstance(value, list) and all(type(v) in (int, float) for v in value):
        return [float(v) for v in value]
    return None


def in_form(boxes: list[Any], form: BoxForm) -> list[Any]:
    """Boxes as xywh, of what the source calls so."""
    if form == "xyxy":
        return [None if b is None else [b[0], b[1], b[2] - b[0], b[3] - b[1]] for b in boxes]
    if form == "short":
        return [None if b is None else [b[0], b[1], b[2] + 1, b[3] + 1] for b in boxes]
    return boxes


def other_box(stated: list[float], drawn: list[int]) -> str | None:
    """What is wrong with a box that is not that of the mask, both xywh; None where nothing is."""
    x, y, w, h = drawn
    if all(abs(a - b) <= 0.5 for a, b in zip(stated, drawn, strict=True)):
        return None
    if stated == [x, y, x + w, y + h]:
        return f"box {stated} is the mask's corners x1, y1, x2, y2, not x, y, width, height"
    if stated == [x, y, w - 1, h - 1]:
        return f"box {stated} lacks one pixel of the mask's width and height, {w} x {h}"
    return f"box {stated}, but the mask's is {drawn}"


def things(c: Columns, category: Array, stated: list[bool | None], extra: Extra) -> None:
    """Keep ``isthing`` of segments where it does not follow from their category's."""
    if "isthing" not in c.values:
        return
    for i, v in enumerate(c.get("isthing").tolist()):
        known = stated[category[i]] if category[i] >= 0 else None
        if v is not UNSET and (v is None or known is None or v != known):
            extra.setdefault(i, {})["isthing"] = v


def forms(n: int, extra: Extra) -> dict[str, pa.Array]:
    """Further forms of masks, taken out of ``extra`` where they are what the writer makes."""
    given = {i: e[FORMS] for i, e in extra.items() if FORMS in e}
    polygons: list[Any] = [None] * n
    rle: list[Any] = [None] * n
    for i, value in given.items():
        try:
            found = msgspec.convert(value, _Forms)
            counts = None if found.rle is None else found.rle.counts.encode("latin-1")
            size = (0, 0) if found.rle is None else found.rle.size
            if min(size) < 0 or max(size) >= 2**31:
                continue
        except (msgspec.ValidationError, UnicodeEncodeError):
            continue
        del extra[i][FORMS]
        polygons[i] = found.polygons
        if found.rle is not None:
            rle[i] = {**msgspec.to_builtins(found.rle), "counts": counts}
    return {
        name: pa.array(listed, tables.ANNOTATIONS.field(name).type)
        for name, listed in (("polygons", polygons), ("rle", rle))
        if given
    }


def maps(pixel: Array, owner: Array, pngs: list[str]) -> pa.Array:
    """Label maps: the pixels of id ``pixel`` in PNG ``pngs[owner]``; null where the id is 0."""
    kind = tables.ANNOTATIONS.field("map").type
    n = len(pixel)
    children = {
        "path": pa.array(pngs, pa.string()).take(pa.array(owner)),
        "encoding": pa.array(["rgb24"] * n, pa.string()).dictionary_encode(),
        "value": pa.array(pixel, pa.int64()),
    }
    arrays = [
        children[f.name].cast(f.type) if f.name in children else pa.nulls(n, f.type) for f in kind
    ]
    return pa.StructArray.from_arrays(arrays, fields=list(kind), mask=pa.array(pixel == 0))


def attribute_texts(c: Columns, file: JsonFile, extra: Extra) -> pa.Array:
    """JSON objects; ``attributes`` that are something else go to ``extra``."""
    if "attributes" not in c.where:
        return pa.nulls(c.n, pa.string())
    texts = raw_texts(c, file, "attributes")
    for i, text in enumerate(texts):
        if text is not None and not text.startswith("{"):
            if text != "null":
                extra.setdefault(i, {})["attributes"] = json.loads(text)
            texts[i] = None
    return pa.array(texts, pa.string())


def shapes(c: Columns, intake: Intake) -> pa.Array:
    """The number of each record's set of keys."""
    names, codes = key_codes(c)
    unique, inverse = np.unique(codes, return_inverse=True)
    found = [
        intake.shape((tuple(k for i, k in enumerate(names) if code >> i & 1),))
        for code in unique.tolist()
    ]
    return pa.array([found[i] for i in inverse.tolist()], pa.int16())
