"""Labels of FiftyOne back into annotation rows: whole new ones, or only what was changed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.browse._fiftyone_compare import differing
from granum.browse._fiftyone_masks import unpacked, window
from granum.browse._fiftyone_plan import JSON, LayerPlan, Value
from granum.schema import geometry
from granum.schema.rows import Annotation, Category, Rle

__all__ = ["Applier", "Frame"]

Document = dict[str, Any]

_KEYS = {
    "Detection": "detections",
    "Polyline": "polylines",
    "Keypoint": "keypoints",
    "Classification": "labels",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """The raster of a sample: ``size`` gives (width, height) in pixels when asked; ``relative``
    says that its coordinates stay fractions."""

    size: Callable[[], tuple[int, int]]
    relative: bool

    def unit(self) -> npt.NDArray[np.float64]:
        return np.ones(2) if self.relative else np.asarray(self.size(), np.float64)


class Applier:
    """Puts values of labels into annotations.

    Args:
        categories: of the dataset.
        ignored: names of fields that evaluations wrote.

    Attributes:
        unknown: names of classes that the dataset does not have, with counts; such a name is kept
            in the annotation's attribute ``label``.
        notes: what could not be taken.
    """

    def __init__(self, categories: list[Category], ignored: frozenset[str]) -> None:
        self.categories, self.ignored = categories, ignored
        self.unknown: dict[str, int] = {}
        self.notes: dict[str, int] = {}

    def change(
        self,
        row: Annotation,
        changes: dict[str, tuple[Document, Document | None]],
        plan: LayerPlan,
        frame: Frame,
    ) -> None:
        """Puts what differs into ``row``; everything else stays as it is."""
        for key, (ours, now) in changes.items():
            if now is None:
                _remove(row, key)
            else:
                names = differing(ours, now, self.ignored)
                self._values(row, key, names, now, plan.values.get(key, ()))
                self._geometry(row, key, names, now, frame)

    def new(self, key: str, now: Document, plan: LayerPlan | None, frame: Frame) -> Annotation:
        """An annotation of a label that was made in FiftyOne."""
        form, _, space = key.partition(":")
        kinds = {"labels": "label", "absent": "label", "captions": "caption"}
        row = Annotation(kinds.get(form, "object"))
        row.present = False if form == "absent" else None
        if form == "polylines" and now.get("closed"):
            key = "polygons"
        names = {n for n, v in now.items() if v is not None} - {"_id", "_cls", "tags", "instance"}
        names -= {"granum_id", "relations"} | self.ignored
        if not now.get("attributes"):
            names.discard("attributes")
        self._values(row, key, names, now, plan.values.get(key, ()) if plan else (), space)
        self._geometry(row, key, names, now, frame)
        if now.get("tags"):
            row.attributes = {**(row.attributes or {}), "tags": list(now["tags"])}
        return row

    @staticmethod
    def key_of(cls: str) -> str | None:
        """The form of a label of a field that is not ours."""
        return _KEYS.get(cls)

    def _values(
        self,
        row: Annotation,
        key: str,
        names: set[str],
        now: Document,
        values: Any,
        space: str | None = None,
    ) -> None:
        known = {v.field: v for v in values}
        for name in sorted(names):
            value = now.get(name)
            if name == "label":
                self._category(row, value, space)
            elif name == "confidence" and key == "keypoints":
                row.keypoint_scores = value
            elif name in ("confidence", "score"):
                row.score = value
            elif name in ("index", "track"):
                row.track = value
            elif name == "text" and key == "captions":
                row.text = value
            elif name in known:
                self._known(row, known[name], value)
            elif name in ("relations", "mask_path"):
                self._note(f"changed {name}")
            elif name not in _GEOMETRY:
                self._attribute(row, name, value)

    def _category(self, row: Annotation, name: str | None, space: str | None) -> None:
        if space is None and row.category is not None:
            space = self.categories[row.category].space
        found = [i for i, c in enumerate(self.categories) if c.name == name]
        same = [i for i in found if (self.categories[i].space or "object") == (space or "object")]
        row.category = next(iter([*same, *found]), None)
        if row.category is None and name is not None:
            self.unknown[name] = self.unknown.get(name, 0) + 1
            row.attributes = {**(row.attributes or {}), "label": name}

    def _known(self, row: Annotation, value: Value, now: Any) -> None:
        """A value that has a column, or was an attribute when it was sent."""
        if value.source.startswith("col."):
            self._note(f"changed {value.field}, a derived column")
        elif value.source.startswith((JSON, "attr.")):
            name = value.source.removeprefix(JSON).removeprefix("attr.")
            self._attribute(row, name, _stored(now, value.type))
        else:
            setattr(row, value.source, _decoded(now) if value.source == "extra" else now)

    def _attribute(self, row: Annotation, name: str, value: Any) -> None:
        attributes = dict(row.attributes or {})
        if value is None:
            attributes.pop(name, None)
        else:
            try:
                json.dumps(value)
            except TypeError:
                self._note(f"values of {name} that JSON cannot hold")
                return
            attributes[name] = value
        row.attributes = attributes or None

    def _note(self, text: str) -> None:
        self.notes[text] = self.notes.get(text, 0) + 1

    def _geometry(
        self, row: Annotation, key: str, names: set[str], now: Document, frame: Frame
    ) -> None:
        if names & {"bounding_box", "mask"}:
            _box(row, names, now, frame)
        if names & {"points", "visible", "closed", "holes"}:
            fill = {"keypoints": _keypoints, "polygons": _polygons}.get(key, _polyline)
            fill(row, now, frame)


_GEOMETRY = frozenset(
    {"bounding_box", "mask", "points", "visible", "closed", "filled", "holes", "logits"}
)


def _stored(value: Any, kind: str) -> Any:
    """An attribute as it was before it was sent."""
    if kind == "json":
        return _decoded(value)
    return int(value) if kind == "digits" and str(value).isdecimal() else value


def _decoded(value: Any) -> Any:
    return None if value is None else json.loads(value)


def _remove(row: Annotation, key: str) -> None:
    """A secondary label that was deleted takes its geometry along."""
    if key == "polygons":
        row.polygons = None
    elif key == "polylines":
        row.polyline = None
    elif key == "keypoints":
        row.keypoints = row.keypoint_scores = None


def _box(row: Annotation, names: set[str], now: Document, frame: Frame) -> None:
    """A box that moved takes its mask along, as FiftyOne shows it."""
    box = now.get("bounding_box")
    if "bounding_box" in names and box is not None:
        x, y, w, h = (np.reshape(box, (2, 2)) * frame.unit()).ravel().tolist()
        row.bbox, row.angle = (x, y, w, h), None
    row.area = None
    mask = now.get("mask")
    if "mask" in names or mask is not None:
        row.polygons = row.map = row.rle = None
    if mask is not None and box is not None:
        row.rle = Rle(*geometry.encode_mask(_pasted(unpacked(mask) != 0, box, frame.size())))


def _pasted(mask: npt.NDArray[np.bool_], box: Any, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The mask of a box on the whole raster, by nearest pixels where it was stretched."""
    out = np.zeros((size[1], size[0]), bool)
    rows, columns = window(box, out.shape)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    down = (np.arange(height) + 0.5) * mask.shape[0] / height
    across = (np.arange(width) + 0.5) * mask.shape[1] / width
    out[rows, columns] = mask[down.astype(int)[:, None], across.astype(int)]
    return out


def _flat(points: Any, frame: Frame) -> list[float]:
    flat: list[float] = (
        (np.asarray(points, np.float64).reshape(-1, 2) * frame.unit()).ravel().tolist()
    )
    return flat


def _polygons(row: Annotation, now: Document, frame: Frame) -> None:
    """Rings back into parts: a hole belongs to the outline before it."""
    holes = set(now.get("holes") or ())
    parts: list[list[list[float]]] = []
    for i, ring in enumerate(now.get("points") or ()):
        flat = _flat(ring, frame)
        if i in holes and parts:
            parts[-1].append(flat)
        else:
            parts.append([flat])
    row.polygons, row.area = parts or None, None
    row.rle = row.map = None


def _polyline(row: Annotation, now: Document, frame: Frame) -> None:
    lines = now.get("points") or [[]]
    if not now.get("closed"):
        row.polyline = [v for line in lines for v in _flat(line, frame)]
        return
    pixels = np.asarray(lines[0], np.float64).reshape(-1, 2) * frame.size()
    turned = geometry.corners_to_box(pixels) if len(pixels) == 4 else None
    row.area = None
    if turned is None:
        row.bbox = row.angle = None
        row.polygons = [[_flat(line, frame)] for line in lines]
    else:
        scale = np.tile(frame.unit() / frame.size(), 2)
        x, y, w, h = (np.asarray(turned[0]) * scale).tolist()
        row.bbox, row.angle = (x, y, w, h), turned[1]


def _keypoints(row: Annotation, now: Document, frame: Frame) -> None:
    """Absent points are NaN; a point that was absent and is not any more is visible."""
    points = np.asarray(now.get("points") or [], np.float64).reshape(-1, 2)
    visible = list(now.get("visible") or [])
    unit = frame.unit()
    out: list[float] = []
    for i, (x, y) in enumerate(points.tolist()):
        stated = visible[i] if len(visible) == len(points) else 2
        if math.isnan(x) or math.isnan(y):
            out += [0.0, 0.0, 0.0]
        else:
            out += [x * float(unit[0]), y * float(unit[1]), float(stated or 2)]
    row.keypoints = out
