"""A stage: things painted in order onto a canvas, and the exact rows of what is seen of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from granum.schema import geometry, rows
from granum.synthetic.catalogue import Ids, index
from granum.synthetic.shapes import Canvas, Colour, Floats, Piece, coverage
from granum.synthetic.things import Point, Thing
from granum.synthetic.trace import bounds, trace

__all__ = ["Stage", "outlined"]

Mask = npt.NDArray[np.bool_]


class Stage:
    """Things on a background of shape (height, width, 3), values 0..1, later ones in front."""

    def __init__(self, background: Floats, light: Colour = (1.0, 1.0, 1.0)) -> None:
        self.canvas = Canvas(background, light)
        self.things: list[Thing] = []
        self.whole: list[int] = []
        """Pixels of each thing, had nothing hidden it and the image no border."""
        self.inside: list[Mask] = []
        """What of each thing lies inside the image, hidden or not."""
        self.parts: list[tuple[int, str]] = []
        """Owner (position) and name of each part; part ids of the canvas start at 1."""

    def add(self, thing: Thing, keep: float = 0.0, shown: float = 0.0) -> bool:
        """Paint a thing on top, unless too little would remain to be seen.

        Args:
            keep: the share of its pixels inside the image that each earlier thing must keep.
            shown: the share of its own pixels that must lie inside the image.

        Returns:
            Whether it was painted.
        """
        mask, whole = self._reach(thing)
        if mask.sum() < shown * whole:
            return False
        owner = self.canvas.owner
        for i, inside in enumerate(self.inside):
            left = np.count_nonzero((owner == i + 1) & ~mask)
            if left < keep * np.count_nonzero(inside):
                return False
        self.things.append(thing)
        self.whole.append(whole)
        self.inside.append(mask)
        if thing.shadow is not None:
            self.canvas.paint(Piece(thing.shadow, (0.05, 0.06, 0.1), shade="flat"), opacity=0.35)
        number = len(self.things)
        keys: dict[tuple[str, int], int] = {}
        for piece in thing.pieces:
            part = 0
            if piece.part is not None:
                if piece.part not in keys:
                    self.parts.append((number - 1, piece.part[0]))
                    keys[piece.part] = len(self.parts)
                part = keys[piece.part]
            self.canvas.paint(piece, number, part)
        return True

    def _reach(self, thing: Thing) -> tuple[Mask, int]:
        width, height = self.canvas.size
        x, y, window = coverage([piece.shape for piece in thing.pieces])
        out = np.zeros((height, width), bool)
        x0, y0 = max(x, 0), max(y, 0)
        x1, y1 = min(x + window.shape[1], width), min(y + window.shape[0], height)
        if x0 < x1 and y0 < y1:
            out[y0:y1, x0:x1] = window[y0 - y : y1 - y, x0 - x : x1 - x]
        return out, int(window.sum())

    def visible(self, position: int) -> Mask:
        """The seen pixels of the thing at ``position``, shape (height, width)."""
        return np.asarray(self.canvas.owner == position + 1)

    def in_front(self) -> list[tuple[int, int]]:
        """Pairs (front, back) of positions where the front thing hides pixels of the back one."""
        out = []
        for back, inside in enumerate(self.inside):
            over = np.unique(self.canvas.owner[inside])
            out += [(int(o) - 1, back) for o in over if o > back + 1]
        return out

    def annotate(
        self, ids: Ids[int], as_rle: Callable[[int], bool] = lambda position: False
    ) -> tuple[list[rows.Annotation], dict[int, int]]:
        """Object rows of all seen things, each followed by its seen parts.

        Args:
            ids: where annotation ids come from.
            as_rle: which things (by position) keep their mask as RLE; crowds always do.

        Returns:
            The rows, and the annotation id of each seen thing by its position.
        """
        out: list[rows.Annotation] = []
        numbers: dict[int, int] = {}
        for position, thing in enumerate(self.things):
            seen = self.visible(position)
            area = int(seen.sum())
            if not area:
                continue
            rle = thing.crowd or as_rle(position)
            row = outlined(seen, next(ids), rle)
            inside = int(self.inside[position].sum())
            row.category = index(thing.category)
            row.crowd = thing.crowd
            row.level = 0
            row.z_order = position
            row.occluded = area < inside
            row.truncated = inside < self.whole[position]
            row.visibility = area / self.whole[position]
            row.attributes = dict(thing.attributes)
            if thing.joints:
                row.keypoints = [v for joint in thing.joints for v in _joint(joint, seen)]
            assert row.annotation_id is not None
            numbers[position] = row.annotation_id
            out += [row, *self._part_rows(position, row.annotation_id, ids, rle)]
        return out, numbers

    def _part_rows(
        self, position: int, parent: int, ids: Ids[int], rle: bool
    ) -> list[rows.Annotation]:
        out = []
        for part, (owner, name) in enumerate(self.parts, 1):
            if owner != position:
                continue
            seen = np.asarray(self.canvas.part == part)
            if seen.any():
                row = outlined(seen, next(ids), rle)
                row.category, row.parent, row.level = index(name), parent, 1
                out.append(row)
        return out


def outlined(mask: Mask, annotation_id: int, rle: bool) -> rows.Annotation:
    """An object row with box, area and mask of the true pixels; at least one must be true."""
    row = rows.Annotation(annotation_id=annotation_id)
    row.bbox, row.area = bounds(mask), float(mask.sum())
    if rle:
        row.rle = rows.Rle(*geometry.encode_mask(mask))
    else:
        row.polygons = trace(mask)
    return row


def _joint(joint: Point, seen: Mask) -> tuple[float, float, float]:
    x, y = joint
    height, width = seen.shape
    if not (0 <= x < width and 0 <= y < height):
        return 0.0, 0.0, 0.0
    return x, y, 2.0 if seen[int(y), int(x)] else 1.0
