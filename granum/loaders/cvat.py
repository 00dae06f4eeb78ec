"""CVAT XML 1.1: what the annotation tool exports for images and for videos.

::

    annotations.xml
    images/a.jpg      images/Train/b.jpg (projects: a folder per subset)
    images/frame_000010.png (videos)

For images: ``<image id name width height subset>`` with ``<box xtl ytl xbr ybr rotation>``,
``<polygon points="x,y;…">``, ``<polyline>``, ``<points>``, ``<ellipse cx cy rx ry rotation>``,
``<mask rle left top width height>``, ``<skeleton>`` with a ``<points label outside occluded>`` for
each joint, and ``<tag>`` for the whole image; each with ``label``, ``occluded``, ``z_order``,
``source``, ``group_id``, and ``<attribute name>`` inside. For videos: ``<track id label>`` with
shapes that have ``frame``, ``outside`` (1: not visible from here on), ``keyframe``; only the frames
that stand in the file are read, nothing is interpolated. Cuboids are findings.

Attributes are true or false, numbers or texts, as ``<labels>`` of ``<meta>`` says. Coordinates are
pixels from the top-left corner; ``rotation`` is in degrees, clockwise. The ``rle`` of a mask counts
pixels by rows within its box, zeros first.

Written is the form for images; tracks have no place in it. Joints are written as skeletons, with
visibility 0 as ``outside`` and 1 as ``occluded``.

Spec: https://docs.cvat.ai/docs/manual/advanced/xml_format/
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from granum.errors import FormatError
from granum.loaders._cvat_read import read_images, read_meta, read_video
from granum.loaders._cvat_shapes import (
    TEXT,
    attribute_kind,
    attributes_text,
    escaped,
    mask_element,
    points_text,
    spelled,
    xml_text,
)
from granum.loaders._notes import read_notes, take_tables, write_notes
from granum.loaders._paths import is_file, names_in
from granum.loaders._rows import Context, RowFormat, cornered, corners_of, sample_rows
from granum.loaders._xml import root_tag
from granum.loaders.base import Intake, formats
from granum.schema import rows
from granum.store.dataset import Dataset
from granum.store.out import Out

__all__ = ["Cvat"]

FILE = "annotations.xml"


@formats("cvat")
class Cvat(RowFormat):
    """Reads both forms; writes the one for images."""

    name = "cvat"
    title = "CVAT XML 1.1"
    spec = "https://docs.cvat.ai/docs/manual/advanced/xml_format/"
    keeps = frozenset(
        {
            *("sample", "object", "label", "category", "bbox", "angle", "mask", "keypoints"),
            *("polyline", "shape_kind", "occluded", "z_order", "source", "attributes", "split"),
            *("space", "supercategory", "parents", "isthing", "colour", "skeleton", "synonyms"),
        }
    )
    tolerance = {"bbox": 1e-6, "angle": 1e-9}  # noqa: RUF012  (corners; degrees)
    media_note = "labels only: put the images beside them with --media copy|link|hardlink"
    ordered = True
    map_masks = True
    checked = "real data"

    def sniff(self, root: Path) -> str | None:
        """An XML file, or a folder with one, that begins as CVAT's do."""
        files = [root] if is_file(root) else [root / n for n in names_in(root) if _xml(n)][:5]
        for path in files:
            if _xml(path.name) and root_tag(path) == "annotations":
                return f"{path.name}: <annotations>"
        return None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read a file, or every XML file of a folder (each a task).

        Raises:
            FormatError: no such file, or not well-formed.
        """
        folder = root if root.is_dir() else root.parent
        files = [root] if root.is_file() else [root / n for n in names_in(root) if _xml(n)]
        files = [p for p in files if root_tag(p) == "annotations" or p.name == FILE]
        if not files:
            raise FormatError(root, "no XML file of CVAT")
        intake.media_root = intake.images or folder
        notes = read_notes(root, self.name) if root.is_dir() else None
        if notes is not None:
            take_tables(notes, intake)
        tracks = count()
        for path in files:
            intake.source(path.name, self.name)
            meta = read_meta(path, intake, notes)
            if meta.video:
                yield from read_video(path, folder, meta, intake, tracks)
            else:
                yield from read_images(path, folder, meta, intake, notes)

    # ------------------------------------------------------------------ writing

    def plan(self, dataset: Dataset, **options: Any) -> dict[tuple[int | None, str], str]:
        """The input type of each attribute of each label."""
        found: dict[tuple[int | None, str], set[str]] = {}
        for sample in sample_rows(dataset):
            for one in sample.annotations:
                for name, value in (one.attributes or {}).items():
                    if (kind := attribute_kind(value)) is not None:
                        found.setdefault((one.category, name), set()).add(kind)
        return {
            k: (next(iter(v)) if len(v) == 1 and k[0] is not None else TEXT)
            for k, v in found.items()
        }

    def keep(
        self, annotation: rows.Annotation, sample: rows.Sample | None, context: Context
    ) -> rows.Annotation | None:
        """Tags, and objects drawn as one shape."""
        if sample is None or (annotation.category is None and annotation.kind == "label"):
            return None
        left = rows.Annotation(
            annotation.kind,
            annotation.category,
            occluded=annotation.occluded if annotation.kind == "object" else None,
            z_order=annotation.z_order if annotation.kind == "object" else None,
            source=annotation.source if xml_text(annotation.source) else None,
            attributes=_kept_attributes(annotation, context.plan),
            extra=_kept_extra(annotation),
            annotation_id=annotation.annotation_id,
            sample=annotation.sample,
        )
        if annotation.kind == "object" and not _shape(left, annotation, sample, context):
            return None
        return left

    def keep_sample(self, sample: rows.Sample, context: Context) -> rows.Sample:
        sample.attributes = sample.extra = None
        return sample

    def write(self, dataset: Dataset, out: Out) -> None:
        """Write ``annotations.xml`` for images, and our notes."""
        paths = self.paths(dataset)
        write_notes(out, self.name, dataset, paths, {"split"})
        categories = rows.categories_from_table(dataset.categories)
        context = self.context(dataset, {})
        with out.open(FILE) as file:
            head = [
                '<?xml version="1.0" encoding="utf-8"?>',
                "<annotations>",
                "  <version>1.1</version>",
                "  <meta>",
                "    <task>",
                f"      <size>{len(dataset)}</size>",
                "      <mode>annotation</mode>",
                "      <labels>",
            ]
            file.write("\n".join(head).encode() + b"\n")
            for row, (category, name) in enumerate(zip(categories, context.names, strict=True)):
                file.write(_label(row, name, category, context.plan).encode())
            file.write(b"      </labels>\n    </task>\n  </meta>\n")
            for number, (sample, path) in enumerate(zip(sample_rows(dataset), paths, strict=True)):
                file.write(_image(number, path, sample, context).encode())
            file.write(b"</annotations>\n")


def _xml(name: str) -> bool:
    return name.lower().endswith(".xml")


def _kept_attributes(
    one: rows.Annotation, kinds: dict[tuple[int | None, str], str]
) -> dict[str, Any] | None:
    left = {
        n: v
        for n, v in (one.attributes or {}).items()
        if (kind := attribute_kind(v)) is not None
        and kind == kinds.get((one.category, n))
        and n == n.strip() != ""
    }
    return left or None


def _kept_extra(one: rows.Annotation) -> dict[str, Any] | None:
    group = (one.extra or {}).get("group_id")
    return {"group_id": group} if isinstance(group, str) and xml_text(group) else None


def _shape(
    left: rows.Annotation, one: rows.Annotation, sample: rows.Sample, context: Context
) -> bool:
    """Give ``left`` the geometry that comes back; false where there is none.

    Of several, the richest is written: joints, then masks, then lines, then the box.
    """
    if one.keypoints:
        return _points(left, one, context)
    if one.rle is not None and mask_element(one.rle) is not None:
        left.rle = rows.Rle(one.rle.size, one.rle.counts)
        return tuple(one.rle.size) == (sample.height, sample.width)
    if one.polygons and len(one.polygons) == len(one.polygons[0]) == 1:
        left.polygons = one.polygons
        return _drawable(one.polygons[0][0])
    if one.polyline:
        left.polyline = one.polyline
        return _drawable(one.polyline)
    if one.bbox is None:
        return False
    ellipse = one.shape_kind == "ellipse"
    left.shape_kind = "ellipse" if ellipse else None
    left.bbox = _centred(one.bbox) if ellipse else cornered(one.bbox)
    if one.angle is not None and math.isfinite(one.angle):
        left.angle = math.radians(round(math.degrees(one.angle), 9))
    return left.bbox is not None


def _points(left: rows.Annotation, one: rows.Annotation, context: Context) -> bool:
    points = one.keypoints or []
    plain = one.shape_kind == "point"
    shown = points[2::3]
    good = len(points) % 3 == 0 and all(map(math.isfinite, points))
    left.keypoints, left.shape_kind = points, "point" if plain else None
    return good and (set(shown) <= {2.0} if plain else set(shown) <= {0.0, 1.0, 2.0})


def _drawable(values: list[float]) -> bool:
    return len(values) >= 2 and len(values) % 2 == 0 and all(map(math.isfinite, values))


def _centred(box: tuple[float, float, float, float]) -> tuple[float, float, float, float] | None:
    """The box that comes back from centre and radii."""
    for _ in range(8):
        x, y, w, h = box
        cx, cy, rx, ry = x + w / 2, y + h / 2, w / 2, h / 2
        again = (cx - rx, cy - ry, rx * 2, ry * 2)
        if again == box:
            return box
        box = again
    return None


# ---------------------------------------------------------------------- text


def _label(
    row: int, name: str, category: rows.Category, kinds: dict[tuple[int | None, str], str]
) -> str:
    lines = ["        <label>", f"          <name>{escaped(name)}</name>"]
    if category.colour is not None and len(category.colour) == 3:
        lines.append(f"          <color>#{bytes(category.colour).hex()}</color>")
    lines.append("          <attributes>")
    for (of, attribute), kind in kinds.items():
        if of == row:
            told = f"<name>{escaped(attribute)}</name><input_type>{kind}</input_type>"
            lines.append(f"            <attribute>{told}</attribute>")
    lines += ["          </attributes>", "        </label>", ""]
    return "\n".join(lines)


def _image(number: int, path: str, sample: rows.Sample, context: Context) -> str:
    named: dict[str, Any] = {"id": number, "name": path.removeprefix("images/")}
    if sample.split is not None and xml_text(sample.split):
        named["subset"] = sample.split
    named |= {n: v for n in ("width", "height") if (v := getattr(sample, n)) is not None}
    lines = [f"  <image{attributes_text(named)}>"]
    for one in sample.annotations:
        label = "" if one.category is None else context.names[one.category]
        lines += _element(one, label, context)
    return "\n".join([*lines, "  </image>", ""])


def _element(one: rows.Annotation, label: str, context: Context) -> Iterator[str]:
    named: dict[str, Any] = {"label": label}
    if one.source is not None:
        named["source"] = one.source
    if one.occluded is not None:
        named["occluded"] = int(one.occluded)
    inside = [
        f'      <attribute name="{escaped(n)}">{escaped(spelled(v))}</attribute>'
        for n, v in (one.attributes or {}).items()
    ]
    tag = "tag"
    if one.keypoints and one.shape_kind != "point":
        tag = "skeleton"
        inside = [*_joints(one, context), *inside]
    elif one.keypoints:
        tag, named["points"] = "points", points_text(one.keypoints, 3)
    elif one.rle is not None:
        tag = "mask"
        named |= mask_element(one.rle) or {}
    elif one.polygons:
        tag, named["points"] = "polygon", points_text(one.polygons[0][0], 2)
    elif one.polyline:
        tag, named["points"] = "polyline", points_text(one.polyline, 2)
    elif one.bbox is not None and one.shape_kind == "ellipse":
        x, y, w, h = one.bbox
        tag = "ellipse"
        named |= {"cx": x + w / 2, "cy": y + h / 2, "rx": w / 2, "ry": h / 2}
    elif one.bbox is not None:
        tag = "box"
        named |= dict(zip(("xtl", "ytl", "xbr", "ybr"), corners_of(one.bbox), strict=True))
    if one.angle is not None:
        named["rotation"] = round(math.degrees(one.angle), 9)
    if one.z_order is not None:
        named["z_order"] = one.z_order
    if one.extra is not None:
        named |= one.extra
    yield f"    <{tag}{attributes_text(named)}>"
    yield from inside
    yield f"    </{tag}>"


def _joints(one: rows.Annotation, context: Context) -> Iterator[str]:
    known = [] if one.category is None else context.categories[one.category].keypoints or []
    points = one.keypoints or []
    for i in range(len(points) // 3):
        x, y, shown = points[3 * i : 3 * i + 3]
        named = {
            "label": known[i] if i < len(known) else str(i + 1),
            "outside": int(shown == 0),
            "occluded": int(shown == 1),
            "points": points_text([x, y], 2),
        }
        yield f"      <points{attributes_text(named)}></points>"
