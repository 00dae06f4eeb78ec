"""Before and after, seen from above: land cover of both dates and what changed between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from granum.schema import rows
from granum.synthetic.catalogue import Ids, categories, index, mixed
from granum.synthetic.shapes import (
    Canvas,
    Colour,
    Floats,
    Piece,
    Shape,
    capsule,
    coverage,
    noise,
    polygon,
)

__all__ = ["pairs"]

Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
_Roof = tuple[Shape, Shape, Colour]
WATER, GRASS, CROPS, FOREST, ROAD, ROOF = range(1, 7)
NEW_BUILDING, CLEARING = 1, 2

_NAMES = {
    space: {int(c.source_id): c.name for c in categories() if c.space == space and c.source_id}
    for space in ("landcover", "change")
}


@dataclass(slots=True)
class _Land:
    """What does not depend on the date: cover, roads, and the noise of the ground."""

    cover: Labels
    roads: list[Shape]
    rough: Floats
    crowns: Floats
    stripes: Floats


def pairs(
    out: Path, seed: int, count: int, size: tuple[int, int], ids: Ids[int], group: int
) -> tuple[list[rows.Group], list[rows.Sample], list[rows.Annotation]]:
    """Render ``count`` pairs of ``size`` (width, height) to ``out/pairs``.

    ``group`` is the row that the first pair will have. Returns the pairs, their images (roles
    t1 and t2, each with its land cover), and the change rows of the pairs. The change map is
    above 0 exactly where the two land covers differ.
    """
    groups, samples, changes = [], [], []
    for i in range(count):
        rng = np.random.default_rng([seed, 3, i])
        folder = f"pairs/{i:04d}"
        (out / folder).mkdir(parents=True, exist_ok=True)
        land = _land(rng, *size)
        free = _open_ground(land)
        old = _roofs(rng, free, int(rng.integers(6, 10)))
        new = _roofs(rng, free, int(rng.integers(2, 5)))
        before = _paint(land, land.cover, old, rng, 0.0)
        after = _paint(land, _cleared(land.cover, rng), old + new, rng, 1.0)
        covers = before.owner.astype(np.uint8), after.owner.astype(np.uint8)
        change = np.zeros_like(covers[0])
        change[covers[0] != covers[1]] = CLEARING
        change[(covers[0] != covers[1]) & (covers[1] == ROOF)] = NEW_BUILDING
        for role, canvas, cover in zip(("t1", "t2"), (before, after), covers, strict=True):
            key = f"{folder}/{role}.png"
            canvas.image(rng, 0.015).save(out / key)
            objects = _regions(out, f"{folder}/{role}_cover.png", cover, "landcover", ids)
            samples.append(
                rows.Sample(
                    key,
                    media=rows.Media(key),
                    width=size[0],
                    height=size[1],
                    channels=3,
                    split="test" if i % 4 == 3 else "train",
                    group=group + i,
                    role=role,
                    order=int(role == "t2"),
                    annotations=objects,
                )
            )
        groups.append(rows.Group(folder, kind="pair", width=size[0], height=size[1]))
        for row in _regions(out, f"{folder}/change.png", change, "change", ids):
            row.group = group + i
            changes.append(row)
    return groups, samples, changes


def _regions(
    out: Path, path: str, values: Labels, space: str, ids: Ids[int]
) -> list[rows.Annotation]:
    """Store a label image and return one row per class in it."""
    Image.fromarray(values).save(out / path)
    found = []
    for value, name in _NAMES[space].items():
        mask = values == value
        if mask.any():
            row = rows.Annotation("object", index(name, space), annotation_id=next(ids))
            row.map = rows.LabelMap(path, value=value, space=space)
            row.area = float(mask.sum())
            found.append(row)
    return found


def _land(rng: np.random.Generator, width: int, height: int) -> _Land:
    scale = height / 240
    cover = np.full((height, width), GRASS, np.uint8)
    y, x = np.mgrid[:height, :width] + 0.5
    stripes = np.zeros((height, width))
    for _ in range(4):
        turn = float(rng.uniform(0, np.pi))
        cx, cy = float(rng.uniform(0, width)), float(rng.uniform(0, height))
        along = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
        across = -(x - cx) * np.sin(turn) + (y - cy) * np.cos(turn)
        wide, deep = float(rng.uniform(40, 70)) * scale, float(rng.uniform(25, 45)) * scale
        field = (np.abs(along) < wide) & (np.abs(across) < deep)
        cover[field] = CROPS
        stripes[field] = np.sin(across / scale * 1.3)[field] + float(rng.uniform(-2, 2))
    cover[noise(rng, height, width, 55 * scale, 4) > 0.55] = FOREST
    cover[np.abs(noise(rng, height, width, 120 * scale, 3)) < 0.09] = WATER
    tilt = float(rng.uniform(-0.2, 0.2))
    lane = float(rng.uniform(0.35, 0.65))
    roads = [
        capsule((-20, (lane - tilt) * height), (width + 20, (lane + tilt) * height), 5 * scale),
        capsule(
            (float(rng.uniform(0.2, 0.8)) * width, -20),
            (float(rng.uniform(0.2, 0.8)) * width, height + 20),
            3.5 * scale,
        ),
    ]
    return _Land(
        cover,
        roads,
        noise(rng, height, width, 12 * scale, 4),
        noise(rng, height, width, 5 * scale, 2),
        stripes,
    )


def _cleared(cover: Labels, rng: np.random.Generator) -> Labels:
    """The cover with a round clearing cut into the forest, where there is any."""
    out = cover.copy()
    trees = np.argwhere(cover == FOREST)
    if len(trees):
        cy, cx = trees[int(rng.integers(len(trees)))]
        y, x = np.mgrid[: cover.shape[0], : cover.shape[1]]
        turn = np.arctan2(y - cy, x - cx)
        reach = 0.16 * min(cover.shape) * (1 + 0.25 * np.sin(3 * turn + 1) + 0.1 * np.sin(7 * turn))
        out[(np.hypot(x - cx, y - cy) < reach) & (cover == FOREST)] = GRASS
    return out


def _open_ground(land: _Land) -> Mask:
    """Where one may build: grass and crops, off the roads."""
    free = np.isin(land.cover, (GRASS, CROPS))
    y, x = np.mgrid[: free.shape[0], : free.shape[1]] + 0.5
    for road in land.roads:
        free &= road.distance(x, y) > 1
    return np.asarray(free)


def _roofs(rng: np.random.Generator, free: Mask, count: int) -> list[_Roof]:
    """Up to ``count`` roofs within ``free``, whose ground they then take."""
    out: list[_Roof] = []
    for _ in range(40 * count):
        roof = _roof(rng, (free.shape[1], free.shape[0]))
        x, y, mask = coverage([roof[0]])
        ground = free[max(y, 0) : y + mask.shape[0], max(x, 0) : x + mask.shape[1]]
        if ground.shape == mask.shape and ground[mask].all():
            ground[...] = False
            out.append(roof)
            if len(out) == count:
                break
    return out


def _roof(rng: np.random.Generator, size: tuple[int, int]) -> _Roof:
    """A roof, its sunny half, and its colour."""
    scale = size[1] / 240
    cx, cy = float(rng.uniform(0.05, 0.95)) * size[0], float(rng.uniform(0.05, 0.95)) * size[1]
    wide, deep = float(rng.uniform(9, 16)) * scale, float(rng.uniform(7, 11)) * scale
    turn = float(rng.uniform(-0.5, 0.5))
    c, s = float(np.cos(turn)), float(np.sin(turn))

    def block(top: float, bottom: float) -> Shape:
        corners = [(-wide, top), (wide, top), (wide, bottom), (-wide, bottom)]
        return polygon([(cx + a * c - b * s, cy + a * s + b * c) for a, b in corners])

    tones: list[Colour] = [(0.66, 0.33, 0.24), (0.55, 0.40, 0.34), (0.62, 0.62, 0.65)]
    return block(-deep, deep), block(-deep, 0), tones[int(rng.integers(len(tones)))]


def _paint(
    land: _Land,
    cover: Labels,
    roofs: list[_Roof],
    rng: np.random.Generator,
    season: float,
) -> Canvas:
    """The picture of one date; the canvas' owners are the land cover. ``season`` 1 is drier."""
    tone = {
        WATER: (0.16, 0.32, 0.46),
        GRASS: mixed((0.44, 0.58, 0.30), (0.60, 0.58, 0.34), season),
        CROPS: mixed((0.66, 0.62, 0.34), (0.74, 0.62, 0.38), season),
        FOREST: mixed((0.13, 0.33, 0.17), (0.24, 0.34, 0.14), season),
    }
    rgb = np.zeros((*cover.shape, 3))
    for value, colour in tone.items():
        rgb[cover == value] = colour
    grain = 0.05 * land.rough + 0.02 * rng.standard_normal(cover.shape)
    grain = grain + np.where(cover == FOREST, 0.20 * land.crowns, 0)
    grain = grain + np.where(cover == CROPS, 0.09 * land.stripes, 0)
    rgb *= (1 + np.where(cover == WATER, 0.25 * grain, grain))[..., None]
    light = 1.0 - 0.1 * season
    canvas = Canvas(rgb * light, (light, light, light * (1 - 0.06 * season)))
    canvas.owner[:] = cover
    for road in land.roads:
        canvas.paint(Piece(road, (0.64, 0.62, 0.60), shade="flat"), ROAD)
    for whole, sunny, colour in roofs:
        canvas.paint(Piece(_shifted(whole, 3.0), (0.05, 0.06, 0.08), shade="flat"), opacity=0.45)
        canvas.paint(Piece(whole, mixed(colour, (0, 0, 0), 0.22), shade="flat"), ROOF)
        canvas.paint(Piece(sunny, colour, shade="flat"), ROOF)
    return canvas


def _shifted(shape: Shape, by: float) -> Shape:
    """The shape, moved right and down."""
    x0, y0, x1, y1 = shape.extent
    return Shape((x0 + by, y0 + by, x1 + by, y1 + by), lambda x, y: shape.distance(x - by, y - by))
