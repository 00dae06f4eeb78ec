"""What a drawing writes about an annotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from granum.browse._draw_colour import RGB
from granum.browse._draw_ink import Box, Point
from granum.browse._draw_shapes import Window
from granum.browse._draw_text import clean
from granum.schema import rows

__all__ = ["Placed", "detail", "field_text", "headline", "unplaced"]

_FLAGS = (
    "ignore",
    "group_of",
    "occluded",
    "truncated",
    "depiction",
    "inside",
    "difficult",
    "outside",
)


@dataclass(slots=True)
class Placed:
    """An annotation and where it lies on the picture."""

    row: rows.Annotation
    colour: RGB
    name: str
    windows: list[Window]
    rings: list[list[list[Point]]]
    corners: list[Point]
    line: list[Point]
    joints: list[tuple[Point, int]]
    field: npt.NDArray[np.float64] | None
    box: Box | None
    at: Box | None
    """Where its label goes, if not at its box."""

    @property
    def centre(self) -> Point | None:
        """Where relations meet it."""
        if self.box is None:
            return None
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


def headline(item: Placed) -> str:
    """Name, track and score of an annotation in one line."""
    row = item.row
    words = ["not " + item.name if row.present is False else item.name]
    if row.crowd:
        words.append("(crowd)")
    if row.track is not None:
        words.append(f"#{row.track}")
    if row.score is not None:
        words.append(f"{row.score:.2f}")
    if row.kind == "object" and row.text:
        words.append(f"“{clean(row.text)}”")
    return " ".join(word for word in words if word)


def detail(row: rows.Annotation) -> str:
    """Flags and up to three attributes, briefly."""
    words = [name.replace("_", " ") for name in _FLAGS if getattr(row, name)]
    for key, value in (row.attributes or {}).items():
        if value is None or value is False or len(words) > 3:
            continue
        if value is True:
            words.append(clean(key))
        elif isinstance(value, str):
            words.append(clean(value))
        else:
            words.append(
                clean(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}")
            )
    return _few(words)


def _few(words: list[str], limit: int = 36) -> str:
    """As many words as fit into ``limit`` characters, joined by commas."""
    out = ""
    for word in words:
        longer = f"{out}, {word}" if out else word
        if len(longer) > limit:
            return f"{out}, …" if out else longer[: limit - 1] + "…"
        out = longer
    return out


def field_text(item: Placed) -> str:
    values = item.field
    assert values is not None
    finite = values[np.isfinite(values)]
    span = f" {finite.min():g} to {finite.max():g}" if finite.size else ""
    return f"{item.row.kind}: {headline(item)}{span}"


def unplaced(item: Placed) -> str:
    """What there is to say of an annotation that has no place in the image."""
    row = item.row
    words = [headline(item)]
    if row.interval is not None:
        words.append(f"{row.interval.start:g} to {row.interval.end:g} s")
    if row.map is not None:
        words.append("label map not shown")
    if row.text and row.kind != "object":
        words.append(f"“{clean(row.text)}”")
    words.append(detail(row))
    return f"{row.kind}: " + ", ".join(word for word in words if word)
