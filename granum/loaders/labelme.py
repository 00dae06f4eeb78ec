"""LabelMe (wkentaro): one JSON file beside each image. (The older LabelMe of MIT wrote XML.)

::

    images/a.jpg
    images/a.json     {"version", "flags", "shapes": […], "imagePath": "a.jpg", "imageData": null,
                       "imageHeight", "imageWidth"}

A shape has ``label, points [[x, y], …], group_id, shape_type, flags, description, mask``:

* ``rectangle``: two corners in any order; ``oriented_rectangle``: four, in order;
* ``polygon``; those of one label and one ``group_id`` are parts of one object;
* ``circle``: the centre and a point of its edge, kept as the box around it;
* ``line`` and ``linestrip``; ``point`` and ``points``, as key points that are visible;
* ``mask``: two corners, both included, and a PNG of what is between them.

``flags`` of a shape are attributes that are true or false; those of the file are classes of the
whole image, which come after the shapes. ``imagePath`` is relative to the JSON file and may have
backslashes; where that image is not there, ``imageData`` is taken. Coordinates are pixels from the
top-left corner.

Spec: https://github.com/wkentaro/labelme (labelme/label_file.py)
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.errors import FormatError
from granum.loaders._corners import corners_of_turned, finite, short_corners, stable_turned
from granum.loaders._image_tree import is_image
from granum.loaders._labelme_read import Shapes, image_of, load
from granum.loaders._notes import read_notes, take_tables, write_notes
from granum.loaders._paths import first_file, is_file, split_suffix
from granum.loaders._rows import Context, RowFormat, bare, cornered, corners_of, sample_rows
from granum.loaders.base import Intake, formats
from granum.schema import geometry, rows
from granum.store.dataset import Dataset
from granum.store.media import encode_png
from granum.store.out import Out

__all__ = ["Labelme"]


@formats("labelme")
class Labelme(RowFormat):
    """Reads and writes LabelMe's JSON files."""

    name = "labelme"
    title = "LabelMe (JSON beside images)"
    spec = "https://github.com/wkentaro/labelme"
    keeps = frozenset(
        {
            *("sample", "object", "label", "category", "bbox", "angle", "mask", "keypoints"),
            *("polyline", "shape_kind", "text", "attributes", "present", "split"),
            *("space", "supercategory", "parents", "isthing", "colour", "skeleton", "synonyms"),
        }
    )
    tolerance = {"bbox": 1e-6, "angle": 1e-9}  # noqa: RUF012  (corners)
    media_note = "labels only: LabelMe wants the images beside them (--media copy|link|hardlink)"
    ordered = False
    by_split = True
    stems = True
    map_masks = True
    checked = "real data"

    def sniff(self, root: Path) -> str | None:
        path = root if is_file(root) else first_file(root, (".json",))
        if path is None or path.suffix.lower() != ".json":
            return None
        try:
            if path.stat().st_size > 1 << 27:
                return None
            content = path.read_bytes()
        except (OSError, ValueError):
            return None
        if b'"shapes"' in content and b'"imagePath"' in content and b'"assets"' not in content:
            return f"{path.name}: shapes and imagePath"
        return None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read a file, or all below a folder.

        Raises:
            FormatError: there is no such file.
        """
        folder = root if root.is_dir() else root.parent
        files = sorted(root.rglob("*.json")) if root.is_dir() else [root]
        notes = read_notes(root, self.name) if root.is_dir() else None
        intake.source(".", self.name)
        intake.media_root = intake.images or folder
        shapes = Shapes(intake, notes)
        if notes is not None:
            take_tables(notes, intake)
            for place, sample in notes.by_path.items():
                path = folder / f"{split_suffix(place)[0]}.json"
                record = load(path, folder, intake)
                if record is not None:
                    shapes.fill(sample, record, path.relative_to(folder).as_posix())
                yield sample
            return
        found = False
        for path in files:
            record = load(path, folder, intake)
            if record is None:
                continue
            found = True
            sample = image_of(record, path, folder)
            shapes.fill(sample, record, path.relative_to(folder).as_posix())
            yield sample
        if not found and not intake.findings.errors:
            raise FormatError(root, "no JSON file of LabelMe")

    # ------------------------------------------------------------------ writing

    def plan(self, dataset: Dataset, **options: Any) -> bool:
        """Whether classes of images say that they are present; they do or do not together."""
        return any(
            one.kind == "label" and one.present is not None
            for sample in sample_rows(dataset)
            for one in sample.annotations
        )

    def keep(
        self, annotation: rows.Annotation, sample: rows.Sample | None, context: Context
    ) -> rows.Annotation | None:
        """Objects with a class, drawn as one shape; classes of images, each once."""
        if sample is None or annotation.category is None:
            return None
        left = bare(annotation)
        if annotation.kind == "label":
            left.present = annotation.present
            return left if (annotation.present is not None) == context.plan else None
        left.text = annotation.text or None
        flags = {n: v for n, v in (annotation.attributes or {}).items() if isinstance(v, bool)}
        left.attributes = flags or None
        left.extra = _group_of(annotation)
        return left if _shape(left, annotation, sample) else None

    def keep_sample(self, sample: rows.Sample, context: Context) -> rows.Sample:
        sample.attributes = sample.extra = None
        return sample

    def once(self, annotation: rows.Annotation) -> Any:
        return annotation.category if annotation.kind == "label" else None

    def rank(self, annotation: rows.Annotation) -> Any:
        return annotation.kind == "label"

    def write(self, dataset: Dataset, out: Out) -> None:
        """Write a JSON file for each image, and our notes."""
        paths = self.paths(dataset)
        write_notes(out, self.name, dataset, paths, {"split"}, more={"stated": self.plan(dataset)})
        context = self.context(dataset, {})
        for sample, path in zip(sample_rows(dataset), paths, strict=True):
            record = {
                "version": "5.5.0",
                "flags": {
                    context.names[one.category]: one.present is not False
                    for one in sample.annotations
                    if one.kind == "label" and one.category is not None
                },
                "shapes": list(_shapes(sample, context)),
                "imagePath": path.rpartition("/")[2],
                "imageData": None,
                "imageHeight": sample.height,
                "imageWidth": sample.width,
            }
            text = json.dumps(record, ensure_ascii=False, indent=2)
            out.text(f"{split_suffix(path)[0]}.json", text + "\n")

    def paths(self, dataset: Dataset) -> list[str]:
        return [p if is_image(p) else f"{p}.png" for p in super().paths(dataset)]


def _group_of(one: rows.Annotation) -> dict[str, Any] | None:
    group = (one.extra or {}).get("group_id")
    whole = isinstance(group, int) and not isinstance(group, bool)
    return {"group_id": group} if whole else None


def _shape(left: rows.Annotation, one: rows.Annotation, sample: rows.Sample) -> bool:
    """Give ``left`` the geometry that comes back; false where there is none."""
    if one.keypoints:
        left.keypoints = finite(one.keypoints)
        single = len(one.keypoints) == 3 and one.shape_kind == "point"
        left.shape_kind = "point" if single else None
        return left.keypoints is not None and set(one.keypoints[2::3]) == {2.0}
    if one.rle is not None and tuple(one.rle.size) == (sample.height, sample.width):
        try:
            mask = geometry.rle_decode(one.rle.size, one.rle.counts)
        except ValueError:
            return False
        left.rle = rows.Rle(*geometry.encode_mask(mask))
        return bool(mask.any()) and left.rle.counts == one.rle.counts
    if one.polygons and all(len(part) == 1 for part in one.polygons):
        left.polygons = one.polygons
        if len(one.polygons) > 1:
            left.extra = None  # parts are told by a number of their own
        return all(len(r) >= 6 and len(r) % 2 == 0 and finite(r) for p in one.polygons for r in p)
    if one.polyline:
        left.polyline = finite(one.polyline)
        left.shape_kind = "line" if one.shape_kind == "line" and len(one.polyline) == 4 else None
        return left.polyline is not None and len(left.polyline) % 2 == 0
    if one.bbox is None:
        return False
    if one.shape_kind == "circle" and one.angle is None:
        left.bbox, left.shape_kind = _circle(one.bbox), "circle"
    elif one.angle is None:
        left.bbox = cornered(one.bbox)
        return left.bbox is not None and min(left.bbox[2:]) >= 0
    elif (found := stable_turned(one.bbox, one.angle)) is not None:
        left.bbox, left.angle = found
    return left.bbox is not None


def _circle(box: tuple[float, float, float, float]) -> tuple[float, float, float, float] | None:
    """The box that comes back from centre and edge; None where it is no circle's."""
    x, y, w, h = box
    if w != h or w <= 0 or finite(box) is None:
        return None
    for _ in range(8):
        cx, cy, r = x + w / 2, y + w / 2, w / 2
        r = cx + r - cx
        again = (cx - r, cy - r, 2 * r, 2 * r)
        if again == (x, y, w, w):
            return again
        x, y, w, _ = again
    return None


def _shapes(sample: rows.Sample, context: Context) -> Iterator[dict[str, Any]]:
    """The records of a sample's objects."""
    groups = {g for a in sample.annotations if (g := (a.extra or {}).get("group_id")) is not None}
    free = iter(n for n in range(len(groups) + len(sample.annotations)) if n not in groups)
    for one in sample.annotations:
        if one.kind != "object" or one.category is None:
            continue
        record: dict[str, Any] = {
            "label": context.names[one.category],
            "points": [],
            "group_id": (one.extra or {}).get("group_id"),
            "description": one.text or "",
            "shape_type": "polygon",
            "flags": one.attributes or {},
            "mask": None,
        }
        if one.polygons:
            if len(one.polygons) > 1:
                record["group_id"] = next(free)
            for part in one.polygons:
                yield {**record, "points": _pairs(part[0])}
            continue
        record.update(_drawn(one))
        yield record


def _drawn(one: rows.Annotation) -> dict[str, Any]:
    """Points, type and mask of a shape that is no polygon."""
    if one.keypoints:
        flat = [v for i in range(0, len(one.keypoints), 3) for v in one.keypoints[i : i + 2]]
        kind = "point" if one.shape_kind == "point" else "points"
        return {"points": _pairs(flat), "shape_type": kind}
    if one.rle is not None:
        mask = geometry.rle_decode(one.rle.size, one.rle.counts)
        ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x1, y1, x2, y2 = (int(v) for v in (xs[0], ys[0], xs[-1], ys[-1]))
        part = mask[y1 : y2 + 1, x1 : x2 + 1]
        return {"points": [[x1, y1], [x2, y2]], "shape_type": "mask", "mask": _text(part)}
    if one.polyline:
        kind = "line" if one.shape_kind == "line" else "linestrip"
        return {"points": _pairs(one.polyline), "shape_type": kind}
    assert one.bbox is not None
    if one.shape_kind == "circle":
        x, y, w, _ = one.bbox
        centre = [x + w / 2, y + w / 2]
        return {"points": [centre, [centre[0] + w / 2, centre[1]]], "shape_type": "circle"}
    if one.angle is None:
        return {"points": _pairs(list(corners_of(one.bbox))), "shape_type": "rectangle"}
    corners = corners_of_turned(one.bbox, one.angle)
    assert corners is not None
    return {"points": _pairs(short_corners(corners)), "shape_type": "oriented_rectangle"}


def _text(mask: npt.NDArray[np.bool_]) -> str:
    return base64.b64encode(encode_png(mask)).decode()


def _pairs(flat: list[float]) -> list[list[float]]:
    return [flat[i : i + 2] for i in range(0, len(flat), 2)]
