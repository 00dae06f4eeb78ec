"""PASCAL VOC: rows as annotation files, by joining strings; see ``_voc_parse`` for the elements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from granum.loaders._voc_parse import RESERVED, SAMPLE_RESERVED
from granum.loaders._voc_values import attributes_xml, box_texts, extra_xml, leaf

__all__ = ["object_xml", "sample_xml"]


def sample_xml(
    filename: str,
    key: str | None,
    size: tuple[int | None, int | None, int | None],
    attributes: dict[str, Any] | None,
    extra: dict[str, Any] | None,
    objects: str,
    whole_mask: bool = False,
) -> str:
    """An annotation file.

    Args:
        filename: the image's path in ``JPEGImages``.
        key: the sample's key, where the names do not tell it.
        size: width, height, channels.
        attributes: of the sample.
        extra: its unknown keys.
        objects: ``object_xml`` of its rows.
        whole_mask: the mask of objects belongs to none of them alone.
    """
    own, elements = ("", "") if extra is None else extra_xml(extra, SAMPLE_RESERVED, "  ")
    out = [f"<annotation{own}>\n", leaf("filename", filename, "  ")]
    if key is not None:
        out.append(leaf("granum_key", key, "  "))
    if any(s is not None for s in size):
        named = zip(("width", "height", "depth"), size, strict=True)
        inside = "".join(f"    <{n}>{s}</{n}>\n" for n, s in named if s is not None)
        out.append(f"  <size>\n{inside}  </size>\n")
    if whole_mask:
        out.append("  <whole_mask></whole_mask>\n")
    out.append(elements)
    if attributes is not None:
        out.append(attributes_xml(attributes, "  "))
    out += [objects, "</annotation>\n"]
    return "".join(out)


def object_xml(
    tag: str,
    name: tuple[str | None, int | None],
    flags: Mapping[str, bool | None],
    box: list[float] | None,
    mask: int | None,
    attributes: dict[str, Any] | None,
    extra: dict[str, Any] | None,
    one: bool,
    pad: str,
    parts: str = "",
) -> str:
    """An object, label or part.

    Args:
        tag: its element.
        name: its class, and the row of the class where the name does not tell it.
        flags: by name.
        box: xywh in pixels.
        mask: its value in the mask of objects.
        attributes: with ``pose`` and ``actions``, which have elements of their own.
        extra: unknown keys.
        one: write corners as pixels counted from 1.
        pad: indentation.
        parts: ``object_xml`` of its parts.
    """
    inner = pad + "  "
    own, elements = ("", "") if extra is None else extra_xml(extra, RESERVED, inner)
    if name[0] is None:
        out = [f"{pad}<{tag}{own}>\n{inner}<name></name>\n"]
    elif name[0] == "":
        out = [f'{pad}<{tag}{own}>\n{inner}<name encoding="json">""</name>\n']
    else:
        out = [f"{pad}<{tag}{own}>\n", leaf("name", name[0], inner)]
    if name[1] is not None:
        out.append(f"{inner}<class_row>{name[1]}</class_row>\n")
    free = None if attributes is None else dict(attributes)
    if free is not None and "pose" in free:
        out.append(leaf("pose", free.pop("pose"), inner))
    for flag in ("truncated", "occluded", "difficult", "present"):
        if flags.get(flag) is not None:
            out.append(f"{inner}<{flag}>{int(bool(flags[flag]))}</{flag}>\n")
    if box is not None:
        out.append(_box_xml(box, one, inner))
    if mask is not None:
        out.append(f"{inner}<mask_index>{mask}</mask_index>\n")
    out.append(parts)
    if free is not None and _are_actions(free.get("actions")):
        actions = free.pop("actions").items()
        inside = "".join(f"{inner}  <{n}>{int(v)}</{n}>\n" for n, v in actions)
        out.append(f"{inner}<actions>\n{inside}{inner}</actions>\n")
    if free or (free is not None and not attributes):
        out.append(attributes_xml(free, inner))
    out += [elements, f"{pad}</{tag}>\n"]
    return "".join(out)


def _box_xml(box: list[float], one: bool, pad: str) -> str:
    xmin, xmax = box_texts(box[0], box[2], one)
    ymin, ymax = box_texts(box[1], box[3], one)
    return (
        f"{pad}<bndbox>\n{pad}  <xmin>{xmin}</xmin>\n{pad}  <ymin>{ymin}</ymin>\n"
        f"{pad}  <xmax>{xmax}</xmax>\n{pad}  <ymax>{ymax}</ymax>\n{pad}</bndbox>\n"
    )


def _are_actions(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(v, bool) and n.isascii() and n.isidentifier() for n, v in value.items())
        and not any(n.lower().startswith("xml") for n in value)
    )
