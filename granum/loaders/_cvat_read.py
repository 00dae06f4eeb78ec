"""CVAT XML: reading images and tracks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from granum.loaders._cvat_shapes import TEXT, attribute_value, rle_of
from granum.loaders._notes import Notes
from granum.loaders._paths import is_file, names_in
from granum.loaders._rows import box_of
from granum.loaders._texts import hex_colour
from granum.loaders._xml import Element, iter_xml
from granum.loaders.base import Intake
from granum.schema import rows

__all__ = ["Meta", "read_images", "read_meta", "read_video"]


@dataclass
class Meta:
    """What the head of a file says.

    Attributes:
        video: tracks, not images.
        attributes: the input type of each attribute by label.
        labels: the row of each label's category.
        size: (height, width) of all frames.
        fact: what identifies the clip.
    """

    video: bool = False
    attributes: dict[tuple[str, str], str] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    fact: dict[str, str] = field(default_factory=dict)


def read_meta(path: Path, intake: Intake, notes: Notes | None) -> Meta:
    """The head of a file, and its labels as categories in their order."""
    meta = Meta(labels=dict(notes.category_rows) if notes is not None else {})
    head = next(iter_xml(path, {"meta"}), None)
    first = next(iter_xml(path, {"track", "image"}), None)
    if head is not None:
        listed = list(_all_below(head, "label"))
        for label in listed:
            if label.value("parent"):
                continue
            written = label.find("name")
            name = "" if written is None else written.text
            name = name if name in meta.labels else name.strip()
            if name not in meta.labels:
                meta.labels[name] = intake.category(name)
                category = intake.categories[meta.labels[name]]
                joints = [e.value("name") or "" for e in listed if e.value("parent") == name]
                category.colour = hex_colour(label.value("color"))
                category.keypoints = joints or None
            for attribute in _all_below(label, "attribute"):
                kind = attribute.value("input_type") or TEXT
                meta.attributes[name, attribute.value("name") or ""] = kind
        size = next(_all_below(head, "original_size"), None)
        if size is not None:
            found = [_integer(size.value(n)) for n in ("height", "width")]
            if found[0] and found[1]:
                meta.size = found[0], found[1]
        modes = {e.text.strip() for e in _all_below(head, "mode")}
        meta.video = "interpolation" in modes and (first is None or first.tag == "track")
        for name in ("name", "source"):
            value = next((e.text.strip() for e in _all_below(head, name)), "")
            meta.fact[name] = value
    meta.video = meta.video or (first is not None and first.tag == "track")
    return meta


def _all_below(element: Element, tag: str) -> Iterator[Element]:
    for child in element.children:
        if child.tag == tag:
            yield child
        yield from _all_below(child, tag)


def _integer(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


def read_images(
    path: Path, folder: Path, meta: Meta, intake: Intake, notes: Notes | None
) -> Iterator[rows.Sample]:
    """Samples of the form for images."""
    for image in iter_xml(path, {"image"}):
        name = image.attributes.get("name")
        if not name:
            intake.fault("missing-key", path.name, f"line {image.line}", "an image has no name")
            continue
        size = [_positive(image, n, path, intake) for n in ("height", "width")]
        subset = image.attributes.get("subset")
        place = _place(folder, name, subset)
        sample = None if notes is None else notes.by_path.get(f"images/{name}")
        if sample is None:
            sample = rows.Sample(place, rows.Media(path=place), split=subset)
            sample.source_id = image.attributes.get("id")
        sample.height, sample.width = size
        for element in image.children:
            one = _shape(element, element.attributes.get("label"), sample, path, meta, intake)
            if one is not None:
                sample.annotations.append(one)
        yield sample


def _positive(element: Element, name: str, path: Path, intake: Intake) -> int | None:
    text = element.attributes.get(name)
    value = _integer(text)
    if text is not None and (value is None or not 0 < value < 2**31):
        intake.fault("bad-value", path.name, f"line {element.line}", f"{name} is {text!r}")
        return None
    return value


def _place(folder: Path, name: str, subset: str | None) -> str:
    """Where an image is: below ``images``, in the folder of its subset, or as written."""
    for place in (f"images/{name}", f"images/{subset}/{name}", name):
        if is_file(folder / place):
            return place
    return f"images/{name}"


def read_video(
    path: Path, folder: Path, meta: Meta, intake: Intake, tracks: Iterator[int]
) -> Iterator[rows.Sample]:
    """Samples of the frames that stand in a file with tracks; the rows of a track have one of the
    numbers of ``tracks``."""
    key = Path(meta.fact.get("source") or meta.fact.get("name") or path.stem).stem or path.stem
    group = len(intake.groups)
    height, width = meta.size or (None, None)
    clip = meta.fact.get("source") or None
    intake.groups.append(
        rows.Group(
            key,
            "video",
            media=rows.Media(path=clip) if clip and is_file(folder / clip) else None,
            width=width,
            height=height,
        )
    )
    images = {Path(n).stem: f"images/{n}" for n in names_in(folder / "images", 10**7)}
    frames: dict[int, rows.Sample] = {}
    for track in iter_xml(path, {"track"}):
        label = track.attributes.get("label")
        number = next(tracks)
        for element in track.children:
            frame = _integer(element.attributes.get("frame"))
            if frame is None or not 0 <= frame < 2**63:
                text = element.attributes.get("frame")
                message = f"frame is {text!r}"
                intake.fault("bad-value", path.name, f"line {element.line}", message)
                continue
            stem = f"frame_{frame:06d}"
            sample = frames.get(frame)
            if sample is None:
                image = images.get(stem)
                sample = frames[frame] = rows.Sample(
                    f"{key}/{stem}",
                    None if image is None else rows.Media(path=image),
                    width,
                    height,
                    "frame",
                    group=group,
                    order=frame,
                )
            one = _shape(element, label, sample, path, meta, intake)
            if one is not None:
                one.track, one.track_source_id = number, track.attributes.get("id")
                one.keyframe, one.outside = _flag(element, "keyframe"), _flag(element, "outside")
                sample.annotations.append(one)
    for frame in sorted(frames):
        yield frames[frame]


def _flag(element: Element, name: str) -> bool | None:
    return {"1": True, "0": False}.get(element.attributes.get(name, ""))


# ---------------------------------------------------------------------- shapes


def _shape(
    element: Element,
    label: str | None,
    sample: rows.Sample,
    path: Path,
    meta: Meta,
    intake: Intake,
) -> rows.Annotation | None:
    """The annotation of an element; None where it is none, or faulty."""
    if element.tag == "attribute":
        return None
    named = element.attributes
    category = None
    if label:
        if label not in meta.labels:
            meta.labels[label] = intake.category(label)
        category = meta.labels[label]
    one = rows.Annotation(
        "label" if element.tag == "tag" else "object",
        category,
        occluded=_flag(element, "occluded"),
        z_order=_integer(named.get("z_order")),
        source=named.get("source"),
        attributes=_attributes(element, label or "", meta),
        extra={"group_id": named["group_id"]} if "group_id" in named else None,
    )
    where = f"line {element.line}"
    try:
        drawn = _draw(one, element, sample)
    except (ValueError, KeyError, OverflowError) as error:
        intake.fault("bad-value", path.name, where, f"<{element.tag}>: {error}")
        return None
    if not drawn:
        message = f"<{element.tag}> is not read"
        intake.fault("unknown-shape", path.name, where, message)
        return None
    return one


def _attributes(element: Element, label: str, meta: Meta) -> dict[str, Any] | None:
    found = {
        e.attributes.get("name", ""): attribute_value(
            e.text.strip(), meta.attributes.get((label, e.attributes.get("name", "")), TEXT)
        )
        for e in element.children
        if e.tag == "attribute"
    }
    return found or None


def _draw(one: rows.Annotation, element: Element, sample: rows.Sample) -> bool:
    """Fill in the geometry; false for what has no place in the schema.

    Raises:
        ValueError, KeyError: a value that is none, or is absent.
    """
    named = element.attributes
    match element.tag:
        case "tag":
            return True
        case "box":
            x1, y1, x2, y2 = (_number(named[n]) for n in ("xtl", "ytl", "xbr", "ybr"))
            one.bbox = box_of((x1, y1, x2, y2))
        case "ellipse":
            cx, cy, rx, ry = (_number(named[n]) for n in ("cx", "cy", "rx", "ry"))
            one.bbox, one.shape_kind = (cx - rx, cy - ry, rx * 2, ry * 2), "ellipse"
        case "polygon":
            one.polygons = [[_points(named["points"])]]
        case "polyline":
            one.polyline = _points(named["points"])
        case "points":
            flat = _points(named["points"])
            one.keypoints = [v for i in range(0, len(flat), 2) for v in (*flat[i : i + 2], 2.0)]
            one.shape_kind = "point"
        case "skeleton":
            one.keypoints = _joints(element)
        case "mask":
            if sample.height is None or sample.width is None:
                raise ValueError("a mask in an image without size")
            box = [int(named[n]) for n in ("left", "top", "width", "height")]
            one.rle = rle_of(
                named["rle"], box[0], box[1], box[2], box[3], (sample.height, sample.width)
            )
        case _:
            return False
    if "rotation" in named:
        one.angle = math.radians(_number(named["rotation"]))
    return True


def _joints(element: Element) -> list[float]:
    out: list[float] = []
    for joint in element.children:
        if joint.tag == "points":
            x, y = _points(joint.attributes["points"])
            hidden = joint.attributes.get("occluded") == "1"
            away = joint.attributes.get("outside") == "1"
            out += [x, y, 0.0 if away else 1.0 if hidden else 2.0]
    if not out:
        raise ValueError("a skeleton without joints")
    return out


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no number")
    return value


def _points(text: str) -> list[float]:
    pairs = [p.split(",") for p in text.split(";")]
    if any(len(p) != 2 for p in pairs):
        raise ValueError(f"points are not x,y;x,y…: {text[:40]!r}")
    return [_number(v) for p in pairs for v in p]
