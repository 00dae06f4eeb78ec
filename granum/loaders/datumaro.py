"""Datumaro's own JSON: annotations of several types, one file per subset.

::

    annotations/train.json     {"infos", "categories": {"label": {"labels": [{"name", "parent"}]},
                                "points": {"items": [{"label_id", "labels", "joints"}]}},
                                "items": [{"id", "annotations": […], "media": {"path"}}]}
    images/train/a.jpg

Types read: ``label``, ``bbox`` (x, y, width, height), ``rotated_bbox`` (cx, cy, w, h, r in
degrees), ``polygon``, ``polyline``, ``points`` with visibility 0 to 2, ``mask`` (run lengths as
text or a list), ``ellipse`` (corners), ``caption``. Coordinates are pixels from the top-left
corner. ``label_id`` is a position in the list of labels. ``group`` other than 0 stays among the
unknown keys; ``is_crowd``, ``occluded``, ``truncated``, ``difficult`` and ``score`` of the
attributes fill their columns, the other attributes stay. A ``parent`` of a label that is a label
is an ``is_a`` parent, else its supercategory. Cuboids and hash keys are findings.

Spec: https://openvinotoolkit.github.io/datumaro/latest/docs/data-formats/formats/datumaro.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from granum.errors import FormatError
from granum.loaders._image_tree import is_image
from granum.loaders._json_files import bad_values, entries, load_json, number, numbers, peek
from granum.loaders._paths import is_file, names_in
from granum.loaders._rows import box_of
from granum.loaders.base import Format, Intake, formats
from granum.schema import geometry, rows

__all__ = ["Datumaro"]

FOLDER = "annotations"
FLAGS = {"is_crowd": "crowd", "occluded": "occluded", "truncated": "truncated",
         "difficult": "difficult"}  # fmt: skip


@formats("datumaro")
class Datumaro(Format):
    """Reads its projects' JSON files."""

    name = "datumaro"
    title = "Datumaro (JSON)"
    spec = (
        "https://openvinotoolkit.github.io/datumaro/latest/docs/data-formats/formats/datumaro.html"
    )
    keeps = frozenset(
        {
            *("sample", "object", "label", "caption", "category", "bbox", "angle", "mask"),
            *("polyline", "keypoints", "shape_kind", "text", "score", "crowd", "occluded"),
            *("truncated", "difficult", "z_order", "attributes", "split", "parents"),
            *("supercategory", "skeleton"),
        }
    )
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        for path in _files(root)[:3]:
            if peek(path, "items", "categories") or peek(path, "items", "infos"):
                return f"{path.name}: categories and items"
        return None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read a file, or those of a tree.

        Raises:
            FormatError: there is none, or it is no JSON of the kind.
        """
        files = _files(root)
        if not files:
            raise FormatError(root, f"no {FOLDER}/….json")
        folder = root if root.is_dir() else root.parent
        intake.media_root = intake.images or folder
        for path in files:
            where = path.relative_to(folder).as_posix()
            intake.source(where, self.name)
            record = load_json(path, where)
            items = record.get("items") if isinstance(record, dict) else None
            if not isinstance(items, list):
                raise FormatError(where, "no list of items", "/items")
            labels = _labels(record.get("categories"), where, intake)
            for i, item in enumerate(items):
                if not isinstance(item, dict) or not isinstance(item.get("id"), str):
                    intake.fault("missing-key", where, f"/items/{i}", "an item without an id")
                    continue
                sample = _sample(item, path.stem, folder)
                for place, one in entries(item, "annotations", intake, where, f"/items/{i}"):
                    with bad_values(intake, where, place):
                        found = _annotation(one, labels, sample)
                        if found is None:
                            message = f"the type {one.get('type')!r} is not read"
                            intake.fault("unknown-shape", where, place, message)
                        else:
                            sample.annotations.append(found)
                yield sample


def _files(root: Path) -> list[Path]:
    if is_file(root):
        return [root] if root.suffix.lower() == ".json" else []
    return [root / FOLDER / n for n in names_in(root / FOLDER) if n.lower().endswith(".json")]


def _labels(categories: Any, where: str, intake: Intake) -> list[int]:
    """The rows of the labels, in their order; the points of each are added."""
    told = categories if isinstance(categories, dict) else {}
    label, points = (t if isinstance(t := told.get(n), dict) else {} for n in ("label", "points"))
    out: list[int] = []
    parents: list[str] = []
    for place, entry in entries(label, "labels", intake, where, "/categories/label"):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            intake.fault("missing-key", where, place, "no name")
            name = f"label {len(out)}"
        out.append(intake.category(name))
        parents.append(str(entry.get("parent") or "") if isinstance(entry, dict) else "")
    names = {intake.categories[row].name: row for row in out}
    for row, parent in zip(out, parents, strict=True):
        category = intake.categories[row]
        if parent in names and names[parent] != row:
            category.parents = [{"index": names[parent], "relation": "is_a"}]
        elif parent:
            category.supercategory = parent
    for place, entry in entries(points, "items", intake, where, "/categories/points"):
        at = entry.get("label_id") if isinstance(entry, dict) else None
        if isinstance(at, int) and 0 <= at < len(out):
            category = intake.categories[out[at]]
            named = entries(entry, "labels", intake, where, place)
            category.keypoints = [str(n) for _, n in named] or None
            listed = (j for _, j in entries(entry, "joints", intake, where, place))
            joints = [j for j in listed if isinstance(j, list) and len(j) == 2]
            count = len(category.keypoints or [])
            good = all(isinstance(v, int) and 0 < v <= count for j in joints for v in j)
            category.skeleton = [[a - 1, b - 1] for a, b in joints] if joints and good else None
    return out


def _sample(item: dict[str, Any], split: str, folder: Path) -> rows.Sample:
    """The image of an item: its path as written, or below ``images`` and the subset."""
    medium = next((m for n in ("media", "image") if isinstance(m := item.get(n), dict)), {})
    path = medium.get("path")
    if not isinstance(path, str) or not path:
        path = f"{item['id']}.jpg"
    path = path.replace("\\", "/").lstrip("/")
    places = (path, f"images/{path}", f"images/{split}/{path}")
    place = next((p for p in places if ".." not in p and is_file(folder / p)), path)
    name = item["id"] if is_image(item["id"]) else f"{item['id']}{Path(path).suffix or '.jpg'}"
    sample = rows.Sample(f"{split}/{name}", rows.Media(path=place), split=split)
    sample.source_id = item["id"]
    size = medium.get("size")
    if isinstance(size, list) and len(size) == 2:
        whole = all(isinstance(v, int) and 0 < v < 2**31 for v in size)
        sample.height, sample.width = size if whole else (None, None)
    attributes = item.get("attr")
    sample.attributes = attributes if isinstance(attributes, dict) and attributes else None
    return sample


def _annotation(
    one: dict[str, Any], labels: list[int], sample: rows.Sample
) -> rows.Annotation | None:
    """An annotation; None for types that are not read.

    Raises:
        as ``bad_values`` reports: a value that is absent or none.
    """
    at = one.get("label_id")
    if at is not None and not (isinstance(at, int) and 0 <= at < len(labels)):
        raise ValueError(f"label_id is {at!r}, of {len(labels)} labels")
    attributes = dict(one.get("attributes") or {})
    flags = {
        column: attributes.pop(name)
        for name, column in FLAGS.items()
        if isinstance(attributes.get(name), bool)
    }
    score = attributes.get("score")
    if isinstance(score, int | float) and not isinstance(score, bool):
        attributes.pop("score")
    else:
        score = None
    z_order = one.get("z_order")
    found = rows.Annotation(
        "object",
        None if at is None else labels[at],
        score=None if score is None else float(score),
        z_order=z_order if isinstance(z_order, int) and abs(z_order) < 2**31 else None,
        attributes=attributes or None,
        extra={"group": one["group"]} if one.get("group") else None,
        **flags,
    )
    return found if _draw(found, one, sample) else None


def _draw(found: rows.Annotation, one: dict[str, Any], sample: rows.Sample) -> bool:
    """Fill in what the type says; false for types that are not read.

    Raises:
        as ``_annotation``.
    """
    match one.get("type"):
        case "label":
            found.kind = "label"
        case "caption":
            found.kind, found.text = "caption", str(one["caption"])
        case "bbox":
            x, y, w, h = numbers(one["bbox"], 4)
            found.bbox = (x, y, w, h)
        case "rotated_bbox":
            cx, cy, w, h, turned = (number(one, n) for n in ("cx", "cy", "w", "h", "r"))
            found.bbox = (cx - w / 2, cy - h / 2, w, h)
            found.angle = math.radians(turned)
        case "ellipse":
            x1, y1, x2, y2 = numbers(one["points"], 4)
            found.bbox, found.shape_kind = box_of((x1, y1, x2, y2)), "ellipse"
        case "polygon":
            found.polygons = [[numbers(one["points"])]]
        case "polyline":
            found.polyline = numbers(one["points"])
        case "points":
            flat = numbers(one["points"])
            count = len(flat) // 2
            shown = one.get("visibility") or [2] * count
            if len(shown) != count or not {*shown} <= {0, 1, 2}:
                raise ValueError(f"visibility is {shown!r} of {count} points")
            found.keypoints = [
                v for i in range(count) for v in (flat[2 * i], flat[2 * i + 1], float(shown[i]))
            ]
        case "mask":
            found.rle = _mask(one["rle"], sample)
        case _:
            return False
    return True


def _mask(rle: dict[str, Any], sample: rows.Sample) -> rows.Rle:
    height, width = rle["size"]
    counts = rle["counts"]
    if isinstance(counts, list):
        encoded = geometry.rle_encode_counts(np.asarray(counts, np.int64))
        return rows.Rle((int(height), int(width)), encoded, "list")
    data = counts.encode("ascii")
    geometry.rle_counts(data)
    return rows.Rle((int(height), int(width)), data)
