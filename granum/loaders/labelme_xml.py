"""LabelMe of MIT: one XML file per image, with polygons, boxes, masks and parts.

::

    Annotations/subset1/img1.xml
    Images/subset1/img1.png
    Masks/subset1/img1_mask_1.png
    img1.xml  img1.png                      (or side by side)

Each ``object`` is a polygon, a box (``<type>bounding_box``) or a mask (``<segm>``: any pixel but
black, and a box that is taken as it is written, width = xmax - xmin). A polygon of one point is
a point, one of two a line. ``ispartof`` and ``hasparts`` give the ``parent``, ``occluded`` its
column, ``username`` the ``annotator``. ``attributes`` is free text that people typed and stays one
attribute; ``date`` and ``verified`` are attributes too. Deleted objects are left out and counted
in the attribute ``deleted`` of the sample; a part of one has no parent. Scribbles are not read.
Coordinates are pixels from the top-left corner. The newer LabelMe (JSON) is ``labelme``.

Spec: https://github.com/CSAILVision/LabelMeAnnotationTool
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from granum.errors import FormatError
from granum.loaders._image_tree import Tree
from granum.loaders._paths import folders_in, is_file, names_in, split_suffix
from granum.loaders._xml import Element, read_xml
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows

__all__ = ["LabelMeXml"]

LABELS, IMAGES, MASKS = "Annotations", "Images", "Masks"
MARKS = (b"<sourceAnnotation", b"<deleted>")
SUFFIXES = (".jpg", ".png", ".jpeg", ".JPG")


@formats("labelme_xml")
class LabelMeXml(Format):
    """Reads collections of the web tool."""

    name = "labelme_xml"
    title = "LabelMe of MIT (XML)"
    spec = "https://github.com/CSAILVision/LabelMeAnnotationTool"
    keeps = frozenset(
        {
            *("sample", "object", "category", "bbox", "mask", "polyline", "keypoints"),
            *("shape_kind", "occluded", "parent", "annotator", "attributes"),
        }
    )
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        for place in (f"{LABELS}/", ""):
            for folder in ("", *folders_in(root / place, 100)[:3]):
                names = [n for n in names_in(root / place / folder) if n.lower().endswith(".xml")]
                if names and _marked(root / place / folder / names[0]):
                    return f"{names[0]} is an annotation of LabelMe"
        return None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read all XML files of a tree.

        Raises:
            FormatError: there is none.
        """
        labels = LABELS if (root / LABELS).is_dir() else ""
        found = [n for n in Tree.of(root / labels).others if n.lower().endswith(".xml")]
        if not found:
            raise FormatError(root, "no XML file")
        intake.media_root, intake.map_root = intake.images or root, root
        intake.source(labels or ".", self.name)
        ids = count()
        for name in found:
            where = f"{labels}/{name}" if labels else name
            try:
                document = read_xml(root / where)
            except FormatError as error:
                intake.fault("malformed-xml", where, None, str(error))
                continue
            if document.tag != "annotation":
                intake.fault("file-not-read", where, None, f"the root is {document.tag!r}")
                continue
            yield _Reading(root, where, name, intake, ids).sample(document)


def _marked(path: Path) -> bool:
    """Whether the beginning of a file is that of such an annotation."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except (OSError, ValueError):
        return False
    return b"<annotation>" in head and any(m in head for m in MARKS)


class _Reading:
    """One file: ``where`` below the root, ``name`` below the folder of annotations."""

    def __init__(
        self, root: Path, where: str, name: str, intake: Intake, ids: Iterator[int]
    ) -> None:
        self.root, self.where, self.intake, self.ids = root, where, intake, ids
        self.folder, self.stem = name.rpartition("/")[0], split_suffix(name)[0]

    def sample(self, document: Element) -> rows.Sample:
        key = self.image(document.value("filename") or "")
        out = rows.Sample(key, rows.Media(path=key))
        size = document.find("imagesize")
        for tag, column in (("nrows", "height"), ("ncols", "width")):
            text = size.value(tag) if size is not None else None
            if text and text.isdecimal() and 0 < int(text[:10]) < 2**31:
                setattr(out, column, int(text[:10]))
        found: dict[str, rows.Annotation] = {}
        gone: set[str] = set()
        owners: dict[str, tuple[str, int]] = {}
        for n, element in enumerate(document.all("object")):
            identity = element.value("id") or str(n)
            parts = element.find("parts")
            if element.value("deleted") == "1":
                gone.add(identity)
                continue
            try:
                one = self.object(element)
            except ValueError as error:
                code = "short-polygon" if "points" in str(error) else "bad-value"
                self.fault(code, element, str(error))
                continue
            if identity in found:
                self.fault("duplicate-annotation-id", element, f"the id {identity} again")
                continue
            one.source_id = identity
            found[identity] = one
            for part in _listed(parts, "hasparts"):
                owners.setdefault(part, (identity, element.line))
            for owner in _listed(parts, "ispartof")[:1]:
                owners[identity] = owner, element.line
        for part, (owner, line) in owners.items():
            if gone & {part, owner}:
                continue
            if part not in found or owner not in found or part == owner:
                message = f"object {part} is part of {owner}, of which one is not there"
                self.intake.fault("bad-value", self.where, f"line {line}", message)
            else:
                found[part].parent = found[owner].annotation_id
        out.annotations += found.values()
        out.attributes = {"deleted": len(gone)} if gone else None
        return out

    def fault(self, code: str, element: Element, message: str) -> None:
        self.intake.fault(code, self.where, f"line {element.line}", message)

    def image(self, name: str) -> str:
        """Where the image is: beside, or below the folder of images."""
        before = f"{self.folder}/" if self.folder else ""
        named = name if name and "/" not in name and "\\" not in name else ""
        names = [before + named] if named else [self.stem + s for s in SUFFIXES]
        places = [p + n for n in names for p in (f"{IMAGES}/", "")]
        base = self.intake.images or self.root
        first = places[0] if self.where.startswith(f"{LABELS}/") else names[0]
        return next((p for p in places if is_file(base / p)), first)

    def object(self, element: Element) -> rows.Annotation:
        """An object that is not deleted.

        Raises:
            ValueError: a value that is absent or none.
        """
        name = element.value("name")
        drawn = element.find("polygon") or element.find("segm")
        if drawn is None:
            raise ValueError("an object with neither polygon nor mask")
        facts = {k: v for k in ("attributes", "date") if (v := element.value(k))}
        one = rows.Annotation(
            "object",
            self.intake.category(name) if name else None,
            occluded={"yes": True, "no": False}.get(element.value("occluded") or ""),
            annotator=drawn.value("username") or None,
            attributes={**facts, **({"verified": True} if element.value("verified") == "1" else {})}
            or None,
            annotation_id=next(self.ids),
        )
        if drawn.tag == "segm":
            self.mask(one, drawn)
        else:
            _draw(one, drawn, element.value("type") == "bounding_box")
        return one

    def mask(self, one: rows.Annotation, drawn: Element) -> None:
        name = drawn.value("mask")
        if not name or "/" in name or "\\" in name:
            raise ValueError(f"the mask is {name!r}")
        before = f"{self.folder}/" if self.folder else ""
        places = (f"{MASKS}/{before}{name}", f"{before}{MASKS}/{name}", before + name)
        path = next((p for p in places if is_file(self.root / p)), None)
        if path is None:
            self.fault("missing-mask", drawn, f"no file {places[0]}")
        else:
            one.map = rows.LabelMap(path, encoding="nonzero")
        box = drawn.find("box")
        if box is not None:
            x1, y1, x2, y2 = (_number(box, t) for t in ("xmin", "ymin", "xmax", "ymax"))
            one.bbox = x1, y1, x2 - x1, y2 - y1


def _listed(parts: Element | None, tag: str) -> list[str]:
    text = parts.value(tag) if parts is not None else None
    return [p.strip() for p in (text or "").split(",") if p.strip()]


def _number(element: Element, tag: str) -> float:
    text = element.value(tag)
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{tag} is {text!r}, no number")
    return value


def _draw(one: rows.Annotation, drawn: Element, is_box: bool) -> None:
    """The points of a polygon as what they are."""
    points = [(_number(p, "x"), _number(p, "y")) for p in drawn.all("pt")]
    flat = [v for p in points for v in p]
    xs, ys = flat[::2], flat[1::2]
    if not points:
        raise ValueError("a polygon without points")
    if is_box:
        one.bbox = min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
    elif len(points) == 1:
        one.keypoints, one.shape_kind = [*flat, 2.0], "point"
    elif len(points) == 2:
        one.polyline, one.shape_kind = flat, "line"
    else:
        one.polygons = [[flat]]
