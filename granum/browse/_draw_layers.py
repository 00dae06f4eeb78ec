"""The annotations of one picture, drawn layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from granum.browse._draw_colour import RGB, heat, palette
from granum.browse._draw_ink import Ink, Point
from granum.browse._draw_shapes import Frame, MapLoader, extent
from granum.browse._draw_strip import Chip, Line
from granum.browse._draw_text import clean
from granum.browse._draw_words import Placed, detail, field_text, headline, unplaced
from granum.schema import rows

__all__ = ["Drawing"]


class Drawing:
    """The annotations of one picture, drawn layer by layer."""

    def __init__(
        self, ink: Ink, frame: Frame, categories: Sequence[rows.Category], opacity: float
    ) -> None:
        self.ink, self.frame, self.opacity = ink, frame, opacity
        self.categories = categories
        self.placed: list[Placed] = []
        self.links: dict[int, Point] = {}
        """Where the middle of each drawn relation is, by its position in ``placed``."""

    def place(self, annotations: Sequence[rows.Annotation], load_map: MapLoader | None) -> None:
        """Find where each annotation lies."""
        for row in annotations:
            rings = self.frame.rings(row)
            loaded = None if row.map is None or load_map is None else np.asarray(load_map(row.map))
            windows = self.frame.windows(row, rings, loaded)
            corners = self.frame.corners(row)
            line = self.frame.points(row.polyline or [])
            flat = row.keypoints or []
            joints = [
                (point, int(flat[3 * i + 2])) for i, point in enumerate(self.frame.points(flat, 3))
            ]
            reach = (
                corners
                or [p for w in windows for p in ((w.box[0], w.box[1]), (w.box[2], w.box[3]))]
                or [p for part in rings for p in part[0]]
                or [p for p, shown in joints if shown > 0]
                or line
            )
            self.placed.append(
                Placed(
                    row,
                    self._colour(row),
                    self._name(row.category),
                    windows,
                    rings,
                    corners,
                    line,
                    joints,
                    self.frame.values(row, loaded),
                    extent(reach) if reach else None,
                    windows[0].heart() if windows and not corners else None,
                )
            )

    def _category(self, index: int | None) -> rows.Category | None:
        known = index is not None and 0 <= index < len(self.categories)
        return self.categories[index] if known and index is not None else None

    def _name(self, index: int | None) -> str:
        category = self._category(index)
        if category is not None:
            return clean(category.name)
        return "" if index is None else f"category {index}"

    def _colour(self, row: rows.Annotation) -> RGB:
        if row.track is not None:
            return palette(row.track)
        category = self._category(row.category)
        if category is not None and category.colour is not None and len(category.colour) >= 3:
            r, g, b = (min(max(int(v), 0), 255) for v in category.colour[:3])
            return r, g, b
        return (150, 150, 150) if row.category is None else palette(row.category)

    def tints(self) -> None:
        """Fields, whole maps and masks: large ones first, so that small ones stay visible."""
        for item in self.placed:
            if item.field is not None:
                self._field(item)
        masked = [(item, w) for item in self.placed for w in item.windows]
        masked.sort(key=lambda pair: (pair[0].row.parent is not None, -pair[1].mask.size))
        for item, window in masked:
            if item.row.crowd or item.row.ignore:
                self.ink.tint(window.x, window.y, window.mask, item.colour, self.opacity * 0.4)
                self.ink.hatch(window.x, window.y, window.mask, item.colour)
            else:
                self.ink.tint(window.x, window.y, window.mask, item.colour, self.opacity)

    def _field(self, item: Placed) -> None:
        values = item.field
        assert values is not None
        shown = np.isfinite(values)
        if item.row.kind == "field":
            colours = heat(values)
        else:
            shown &= values != 0
            found, place = np.unique(values, return_inverse=True)
            table = [palette(int(v)) if np.isfinite(v) else (0, 0, 0) for v in found]
            colours = np.asarray(table, np.uint8)[place.reshape(values.shape)]
        alpha = shown.astype(np.uint8) * round(255 * self.opacity)
        self.ink.image.paste(Image.fromarray(colours), (0, 0), Image.fromarray(alpha))

    def outlines(self) -> None:
        """Everything that is lines: outlines, boxes, lines, points, joints."""
        line = self.ink.line
        for item in self.placed:
            row, colour = item.row, item.colour
            part = row.parent is not None
            for window in (w for w in item.windows if not w.traced):
                self.ink.border(window.x, window.y, window.mask, colour, line * 0.8)
            for rings in item.rings:
                for ring in rings:
                    self.ink.stroke(ring, colour, line * (0.6 if part else 0.9), closed=True)
            if item.corners and row.shape_kind == "point":
                assert item.centre is not None
                self._point(item.centre, colour)
            elif item.corners and row.shape_kind not in ("circle", "ellipse"):
                self._box(item, line * (0.7 if part or item.windows else 1.4), part)
            if row.shape_kind == "point":
                for point in item.line:
                    self._point(point, colour)
            elif len(item.line) > 1:
                self.ink.stroke(item.line, (255, 255, 255), line * 2.8)
                self.ink.stroke(item.line, colour, line * 1.8)
            elif item.line:
                self._point(item.line[0], colour)
        for item in self.placed:
            self._joints(item)

    def _box(self, item: Placed, width: float, part: bool) -> None:
        if item.row.angle:
            self.ink.stroke(item.corners, item.colour, width, closed=True, dashed=part)
            return
        assert item.box is not None
        if (item.row.crowd or item.row.ignore) and not item.windows:
            window = self.frame.filled([[item.corners]])
            if window is not None:
                self.ink.hatch(window.x, window.y, window.mask, item.colour)
        self.ink.rectangle(item.box, item.colour, width, dashed=part)

    def _point(self, point: Point, colour: RGB) -> None:
        self.ink.disc(point, self.ink.line * 3.2, (255, 255, 255))
        self.ink.disc(point, self.ink.line * 2.3, colour)

    def _joints(self, item: Placed) -> None:
        category = self._category(item.row.category)
        line = self.ink.line
        shown = {i for i, (_, seen) in enumerate(item.joints) if seen > 0}
        for pair in (category.skeleton if category else None) or []:
            if len(pair) == 2 and set(pair) <= shown:
                ends = [item.joints[i][0] for i in pair]
                self.ink.stroke(ends, (255, 255, 255), line * 2.2)
                self.ink.stroke(ends, item.colour, line * 1.3)
        for i in sorted(shown):
            point, seen = item.joints[i]
            self.ink.disc(point, line * 3.4, (255, 255, 255), hollow=seen == 1)
            self.ink.disc(point, line * 2.6, item.colour, hollow=seen == 1)

    def relations(self) -> None:
        """Arrows from subject to object."""
        places = {
            p.row.annotation_id: p.centre
            for p in self.placed
            if p.row.annotation_id is not None and p.centre is not None
        }
        for i, item in enumerate(self.placed):
            if item.row.kind != "relation":
                continue
            start, end = places.get(item.row.subject or 0), places.get(item.row.object or 0)
            if start is None or end is None or start == end:
                continue
            self.links[i] = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
            self.ink.arrow(start, end, item.colour, self.ink.line * 1.4, self.ink.line * 0.6)

    def names(self) -> None:
        """Labels of wholes, then of relations, then of parts where there is room."""
        self.ink.obstacles = [p.at or p.box for p in self.placed if p.box and not p.row.parent]
        shown = [p for p in self.placed if p.box is not None and headline(p)]
        for item in shown:
            if item.box is not None and item.row.parent is None:
                self.ink.label(item.at or item.box, headline(item), item.colour, detail(item.row))
        for i, (x, y) in self.links.items():
            item = self.placed[i]
            if headline(item):
                self.ink.label((x, y, x, y), headline(item), item.colour, small=True)
        for item in shown:
            if item.box is not None and item.row.parent is not None:
                self.ink.label(item.box, headline(item), item.colour, small=True, needed=False)

    def said(self) -> tuple[list[Chip], list[Line]]:
        """Chips and lines of the strip: what has no place in the image."""
        chips: list[Chip] = []
        lines: list[Line] = []
        for i, item in enumerate(self.placed):
            row = item.row
            if row.kind == "label" and item.box is None:
                chips.append(Chip(headline(item) or "label", item.colour, row.present is False))
            elif row.kind == "caption" and row.text is not None:
                lines.append(Line(f"“{clean(row.text)}”"))
            elif row.kind == "relation":
                if i not in self.links:
                    ends = f"#{row.subject} {headline(item)} #{row.object}"
                    lines.append(Line(f"relation: {ends}", True))
            elif item.field is not None:
                lines.append(Line(field_text(item), True))
            elif item.box is None and row.box3d is None:
                lines.append(Line(unplaced(item), True))
            if row.box3d is not None:
                numbers = ", ".join(f"{v:g}" for v in row.box3d)
                lines.append(Line(f"{headline(item)}: 3D box {numbers}", True))
        return chips, lines
