"""Annotations of some samples as the documents that FiftyOne keeps for labels.

Coordinates become fractions of width and height. Equal rows give equal documents but for ``_id``,
so that what comes back can be compared with what was sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.browse._fiftyone_cells import Cells
from granum.browse._fiftyone_forms import Rows, form_of, names_of, primary, rows_by_form
from granum.browse._fiftyone_masks import MaskReader, bounds, packed, window
from granum.browse._fiftyone_plan import JSON, LayerPlan, Value, json_rows
from granum.schema import geometry
from granum.schema.tables import column

__all__ = ["Labels", "make_labels", "values_of"]

Floats = npt.NDArray[np.float64]
Document = dict[str, Any]

_SHAPES = ("Detection", "Polyline", "Keypoint")


@dataclass(slots=True)
class Labels:
    """Labels by form key: the annotation rows they stand for, and their documents.

    ``cut`` are rows whose masks reach out of their boxes, ``unread`` those whose masks could not be
    read.
    """

    rows: dict[str, Rows]
    documents: dict[str, list[Document]]
    cut: list[int] = field(default_factory=list)
    unread: list[int] = field(default_factory=list)


def make_labels(
    table: pa.Table,
    at: npt.NDArray[np.int64],
    sizes: Floats,
    relative: npt.NDArray[np.bool_],
    plan: LayerPlan,
    *,
    categories: pa.Table,
    polygons: str,
    masks: MaskReader,
) -> Labels:
    """The labels of annotations.

    Args:
        table: annotations of one layer.
        at: for each row its sample's position in ``sizes`` (any for rows of no sample).
        sizes: width and height of the samples in pixels, shape (samples, 2); NaN where unknown.
        relative: for each sample whether its coordinates are fractions already.
        plan: of the layer.
        categories: of the dataset.
        polygons: ``masks``, ``polylines`` or ``both``.
        masks: reads them.
    """
    forms = rows_by_form(table, categories, polygons)
    maker = _Maker(table, at, sizes, relative, plan, polygons, masks, names_of(table, categories))
    out = Labels(forms, {})
    firsts = primary(forms)
    for key, rows in forms.items():
        if key == "captions":
            out.documents[key] = [
                {"text": t} for t in table["text"].take(pa.array(rows)).to_pylist()
            ]
            continue
        documents = maker.common(rows, form_of(key).one)
        maker.geometry(key, rows, documents, out)
        left = out.rows[key]
        maker.values(key, left, documents, np.isin(left, rows[firsts[key]]))
        out.documents[key] = documents
    _relate(table, out, maker.names)
    return out


class _Maker:
    """One batch; ``unit`` is what each row's coordinates are divided by, ``size`` its raster."""

    def __init__(
        self,
        table: pa.Table,
        at: npt.NDArray[np.int64],
        sizes: Floats,
        relative: npt.NDArray[np.bool_],
        plan: LayerPlan,
        polygons: str,
        masks: MaskReader,
        names: list[str | None],
    ) -> None:
        self.table, self.plan, self.masks = table, plan, masks
        self.names = names
        self.size = sizes[at] if len(sizes) else np.ones((len(at), 2))
        inside = relative[at] if len(relative) else np.zeros(len(at), bool)
        self.unit = np.where(inside[:, None], 1.0, self.size)
        self.cells = Cells(table, at, self.size, self.unit, polygons == "polylines")
        self.ids = table["annotation_id"].to_pylist()
        self.json: list[dict[str, Any] | None] | None = None
        if any(v.source.startswith(JSON) for values in plan.values.values() for v in values):
            self.json = json_rows(table)

    def common(self, rows: Rows, cls: str) -> list[Document]:
        """What every label has: class, label, confidence, track, our id."""
        from bson import ObjectId

        ids, names = self.ids, self.names
        documents: list[Document] = [
            {"_id": ObjectId(), "_cls": cls, "tags": [], "label": names[i], "granum_id": ids[i]}
            for i in rows.tolist()
        ]
        self._set(documents, "confidence", self._column("score", rows))
        tracks = self._column("track", rows) if cls in _SHAPES else None
        self._set(documents, "index", tracks)
        for document, track in zip(documents, tracks or (), strict=False):
            if track is not None:
                document["instance"] = {"_cls": "Instance", "_id": self._instance(track)}
        return documents

    def _instance(self, track: int) -> Any:
        """The same id for all labels of a track."""
        from bson import ObjectId

        return ObjectId(hashlib.sha256(f"{self.plan.layer}/{track}".encode()).digest()[:12])

    def _column(self, name: str, rows: Rows) -> list[Any] | None:
        if name not in self.table.column_names or not len(rows):
            return None
        taken = self.table[name].take(pa.array(rows))
        return None if taken.null_count == len(taken) else list(taken.to_pylist())

    @staticmethod
    def _set(documents: list[Document], name: str, values: list[Any] | None) -> None:
        for document, value in zip(documents, values or (), strict=False):
            if value is not None:
                document[name] = value

    def values(
        self, key: str, rows: Rows, documents: list[Document], own: npt.NDArray[np.bool_]
    ) -> None:
        """Everything else, on the label that is the row's primary one."""
        chosen = rows[own]
        mine = [d for d, o in zip(documents, own.tolist(), strict=True) if o]
        for value in self.plan.values.get(key, ()):
            if value.type == "instance":  # which every label of the row has
                continue
            self._set(mine, value.field, values_of(self.table, self.json, value, chosen))

    def geometry(self, key: str, rows: Rows, documents: list[Document], out: Labels) -> None:
        """Fills in the coordinates of labels of a form."""
        fill: dict[str, Callable[[Rows, list[Document]], None]] = {
            "polygons": self._polygons,
            "polylines": self._polylines,
            "keypoints": self._keypoints,
        }
        if key == "detections":
            self._detections(rows, documents, out)
        elif key in fill:
            fill[key](rows, documents)

    def _detections(self, rows: Rows, documents: list[Document], out: Labels) -> None:
        taken = self.table.take(pa.array(rows))
        boxes = geometry.aabb(taken) / np.tile(self.unit[rows], 2)
        self._correct_rle_boxes(taken, boxes, rows)
        finite, listed = np.isfinite(boxes).all(axis=1), boxes.tolist()
        for document, box in zip(documents, listed, strict=True):
            document["bounding_box"] = box
        found = [(k, c) for k, row in enumerate(rows.tolist()) if (c := self.cells.of(row))]
        masks = self.masks.read([cell for _, cell in found])
        for (k, _), mask in zip(found, masks, strict=True):
            if mask is None:
                out.unread.append(int(rows[k]))
                continue
            if not finite[k] and (box := bounds(mask)):
                documents[k]["bounding_box"], finite[k] = list(box), True
            if finite[k]:
                crop = mask.crop(*window(documents[k]["bounding_box"], mask.shape))
                documents[k]["mask"] = packed(crop)
                if np.count_nonzero(crop) != mask.pixels():
                    out.cut.append(int(rows[k]))
        if not finite.all():
            out.rows["detections"] = rows[finite]
            documents[:] = [d for d, f in zip(documents, finite, strict=True) if f]

    def _correct_rle_boxes(self, taken: pa.Table, boxes: Floats, rows: Rows) -> None:
        """Boxes that come from an RLE are in its pixels, whatever the unit of the sample."""
        if "rle" not in taken.column_names:
            return
        given = np.asarray(taken["rle"].is_valid())
        for name in ("bbox", "polygons"):
            given &= ~np.asarray(column(taken, name).is_valid())
        for k in np.flatnonzero(given).tolist():
            height, width = taken["rle"][k]["size"].as_py()
            boxes[k] *= np.tile(self.unit[rows[k]] / (width, height), 2)

    def _polygons(self, rows: Rows, documents: list[Document]) -> None:
        cells = self.table["polygons"].take(pa.array(rows)).to_pylist()
        for row, document, parts in zip(rows.tolist(), documents, cells, strict=True):
            rings = [ring for part in parts for ring in part]
            document["points"] = [self._points(ring, row) for ring in rings]
            document["closed"] = document["filled"] = True
            holes = [k for part in parts for k in range(len(part))]
            if any(holes):
                document["holes"] = [i for i, k in enumerate(holes) if k]

    def _polylines(self, rows: Rows, documents: list[Document]) -> None:
        lines = self._column("polyline", rows) or [None] * len(rows)
        boxes = self._column("bbox", rows) or [None] * len(rows)
        angles = self._column("angle", rows) or [None] * len(rows)
        for row, document, line, box, angle in zip(
            rows.tolist(), documents, lines, boxes, angles, strict=True
        ):
            document["closed"] = line is None
            document["filled"] = False
            if line is None:
                line = self._corners(box, angle, row)
            document["points"] = [self._points(line, row)]

    def _corners(self, box: list[float], angle: float, row: int) -> list[float]:
        """Flat corners of a turned box, in the unit of the sample; it turns in pixels."""
        scale = self.size[row] / self.unit[row]
        pixels = (np.reshape(box, (2, 2)) * scale).ravel().tolist()
        flat: list[float] = (geometry.box_to_corners(pixels, angle) / scale).ravel().tolist()
        return flat

    def _points(self, flat: list[float], row: int) -> list[list[float]]:
        pairs = np.asarray(flat[: len(flat) // 2 * 2], np.float64).reshape(-1, 2)
        points: list[list[float]] = (pairs / self.unit[row]).tolist()
        return points

    def _keypoints(self, rows: Rows, documents: list[Document]) -> None:
        """Points of visibility 0 are NaN, as FiftyOne writes what is absent."""
        cells = self.table["keypoints"].take(pa.array(rows)).to_pylist()
        for row, document, cell in zip(rows.tolist(), documents, cells, strict=True):
            points = np.asarray(cell[: len(cell) // 3 * 3], np.float64).reshape(-1, 3)
            seen = points[:, 2] > 0
            xy = np.where(seen[:, None], points[:, :2] / self.unit[row], np.nan)
            document["points"] = xy.tolist()
            document["visible"] = points[:, 2].astype(int).tolist()
        scores = self._column("keypoint_scores", rows)
        for document in documents:
            if "confidence" in document:  # which is a list here, one for each point
                document["score"] = document.pop("confidence")
        self._set(documents, "confidence", scores)


def values_of(
    table: pa.Table, attributes: list[dict[str, Any] | None] | None, value: Value, rows: Rows
) -> list[Any]:
    """The cells of ``rows`` that a field shows."""
    if value.source.startswith(JSON):
        name = value.source.removeprefix(JSON)
        listed = attributes or [None] * table.num_rows
        cells = [(listed[i] or {}).get(name) for i in rows.tolist()]
    else:
        cells = column(table, value.source).take(pa.array(rows)).to_pylist()
    if value.type == "json" and value.source != "extra":
        return [None if c is None else msgspec.json.encode(c).decode() for c in cells]
    convert = _CONVERT.get(value.type)
    return [None if c is None else convert(c) for c in cells] if convert else list(cells)


_CONVERT: dict[str, Callable[[Any], Any]] = {"float": float, "hex": "{:016x}".format, "digits": str}


def _relate(table: pa.Table, out: Labels, names: list[str | None]) -> None:
    """Relations, as texts on the label of their subject: ``left of → 12``."""
    kinds = column(table, "kind").cast(pa.string())
    rows = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(kinds, "relation"), False)))
    if not len(rows):
        return
    labels: dict[int, Document] = {}
    for key, documents in out.documents.items():
        if form_of(key).one in _SHAPES:
            for document in documents:
                labels.setdefault(document["granum_id"], document)
    subjects = column(table, "subject").to_pylist()
    objects = column(table, "object").to_pylist()
    found = []
    for i in rows.tolist():
        if subjects[i] in labels and objects[i] is not None:
            text = f"{names[i] or 'related to'} → {objects[i]}"
            labels[subjects[i]].setdefault("relations", []).append(text)
            found.append(i)
    out.rows["relations"] = np.array(found, np.int64)
