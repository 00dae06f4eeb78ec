"""LabelMe: reading shapes."""

from __future__ import annotations

import base64
import binascii
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from granum.errors import FormatError, GranumError
from granum.loaders._corners import finite, turned_of
from granum.loaders._image_tree import is_image
from granum.loaders._json_files import bad_values, entries, take_size
from granum.loaders._notes import Notes
from granum.loaders._paths import is_file
from granum.loaders._rows import box_of
from granum.loaders.base import Intake
from granum.schema import geometry, rows
from granum.store.media import open_image
from granum.store.out import safe_relative

__all__ = ["Shapes", "image_of", "load"]


def load(path: Path, folder: Path, intake: Intake) -> dict[str, Any] | None:
    """The record of a file; None, with a finding, where it is none of LabelMe's."""
    where = path.relative_to(folder).as_posix()
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        intake.fault("missing-labels", where, None, "the image has no JSON file")
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(where, f"no JSON that can be read: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("shapes"), list):
        intake.fault("file-not-read", where, None, "a JSON file without shapes")
        return None
    return record


def image_of(record: dict[str, Any], path: Path, folder: Path) -> rows.Sample:
    """The sample of a file: the image that it names, or the one inside it."""
    name = record.get("imagePath")
    place = None
    if isinstance(name, str) and name:
        beside = path.parent / name.replace("\\", "/")
        try:
            place = beside.resolve().relative_to(folder.resolve()).as_posix()
            safe_relative(place, path)
        except (ValueError, OSError, GranumError):
            place = None
    if place is None or not is_image(place):
        place = path.relative_to(folder).with_suffix(".png").as_posix()
    media = rows.Media(path=place)
    data = record.get("imageData")
    if isinstance(data, str) and data and not is_file(folder / place):
        with suppress(binascii.Error, ValueError):  # what is no image is told when it is opened
            media = rows.Media(bytes=base64.b64decode(data, validate=True))
    return rows.Sample(place, media)


class Shapes:
    """Turns records into annotations."""

    def __init__(self, intake: Intake, notes: Notes | None) -> None:
        self.intake = intake
        self.rows = {} if notes is None else notes.category_rows
        self.stated = notes is None or bool(notes.more.get("stated"))

    def category(self, name: str) -> int:
        return self.rows[name] if name in self.rows else self.intake.category(name)

    def fill(self, sample: rows.Sample, record: dict[str, Any], where: str) -> None:
        """Add size, shapes and flags of a record to a sample."""
        take_size(sample, record, self.intake, where, keys=("imageWidth", "imageHeight"))
        parts: dict[tuple[int, Any], rows.Annotation] = {}
        for place, shape in entries(record, "shapes", self.intake, where):
            one = None
            with bad_values(self.intake, where, place, "a shape that is none: "):
                one = self._shape(shape, sample)
                if one is None:
                    kind = shape.get("shape_type")
                    self.intake.fault("unknown-shape", where, place, f"{kind!r} is not read")
            if one is None:
                continue
            group = (one.category or 0, str((one.extra or {}).get("group_id")))
            if one.polygons and one.extra is not None:
                if group in parts:
                    parts[group].polygons = [*(parts[group].polygons or []), *one.polygons]
                    parts[group].extra = None
                    continue
                parts[group] = one
            sample.annotations.append(one)
        self._flags(sample, record.get("flags"), where)

    def _flags(self, sample: rows.Sample, flags: Any, where: str) -> None:
        for name, value in (flags if isinstance(flags, dict) else {}).items():
            if not isinstance(value, bool):
                self.intake.fault("bad-value", where, f"/flags/{name}", f"the flag is {value!r}")
                continue
            present = value if self.stated else None
            sample.annotations.append(
                rows.Annotation("label", self.category(name), present=present)
            )

    def _shape(self, shape: dict[str, Any], sample: rows.Sample) -> rows.Annotation | None:
        """An annotation; None for a type that is not read.

        Raises:
            KeyError, TypeError, ValueError: a value that is absent or none.
        """
        label = shape["label"]
        if not isinstance(label, str):
            raise ValueError(f"the label is {label!r}")
        flags = shape.get("flags") or {}
        group, text = shape.get("group_id"), shape.get("description") or None
        if text is not None and not isinstance(text, str):
            raise ValueError(f"the description is {text!r}")
        one = rows.Annotation(
            "object",
            attributes={n: v for n, v in flags.items() if isinstance(v, bool)} or None,
            text=text,
            extra=None if group is None else {"group_id": group},
        )
        points = [[float(x), float(y)] for x, y in shape["points"]]
        flat = [v for p in points for v in p]
        if finite(flat) is None:
            raise ValueError("a coordinate is no number")
        if not _draw(one, str(shape.get("shape_type") or "polygon"), flat, shape, sample):
            return None
        one.category = self.category(label)
        return one


def _draw(
    one: rows.Annotation,
    kind: str,
    flat: list[float],
    shape: dict[str, Any],
    sample: rows.Sample,
) -> bool:
    """Fill in the geometry; false for types that are not read.

    Raises:
        ValueError: too few points, or a mask that is none.
    """
    wanted = {"rectangle": 4, "circle": 4, "mask": 4, "line": 4, "oriented_rectangle": 8}
    if kind in wanted and len(flat) != wanted[kind]:
        raise ValueError(f"a {kind} of {len(flat) // 2} points")
    match kind:
        case "rectangle":
            x1, y1, x2, y2 = flat
            one.bbox = box_of((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)))
        case "oriented_rectangle":
            found = turned_of(flat)
            if found is None:
                one.polygons = [[flat]]
            else:
                one.bbox, one.angle = found
        case "polygon":
            one.polygons = [[flat]]
        case "circle":
            cx, cy, x, y = flat
            r = math.hypot(x - cx, y - cy)
            one.bbox, one.shape_kind = (cx - r, cy - r, 2 * r, 2 * r), "circle"
        case "line" | "linestrip":
            one.polyline = flat
            one.shape_kind = "line" if kind == "line" else None
        case "point" | "points":
            one.keypoints = [v for i in range(0, len(flat), 2) for v in (*flat[i : i + 2], 2.0)]
            one.shape_kind = "point" if kind == "point" else None
        case "mask":
            one.rle = _mask(flat, shape.get("mask"), sample)
        case _:
            return False
    return True


def _mask(flat: list[float], data: Any, sample: rows.Sample) -> rows.Rle:
    """The mask of an image from the PNG of a part of it.

    Raises:
        ValueError: it is none, or reaches beyond the image.
    """
    if sample.height is None or sample.width is None or not isinstance(data, str):
        raise ValueError("a mask without a picture, or in an image without size")
    with open_image(base64.b64decode(data, validate=True)) as image:
        part = np.asarray(image)
    part = (part if part.ndim == 2 else part[..., 0]) != 0
    x, y = round(min(flat[0], flat[2])), round(min(flat[1], flat[3]))
    if x < 0 or y < 0 or y + part.shape[0] > sample.height or x + part.shape[1] > sample.width:
        raise ValueError("a mask that reaches beyond its image")
    whole = np.zeros((sample.height, sample.width), bool)
    whole[y : y + part.shape[0], x : x + part.shape[1]] = part
    return rows.Rle(*geometry.encode_mask(whole))
