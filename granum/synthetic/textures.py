"""Surfaces with and without defects, for learning from good ones only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from granum.schema import rows
from granum.synthetic.catalogue import Ids, index
from granum.synthetic.scene import labels
from granum.synthetic.shapes import Canvas, Floats, Piece, Shape, capsule, ellipse, noise, union
from granum.synthetic.stage import outlined
from granum.synthetic.trace import bounds

__all__ = ["textures"]

_DEFECTS = ("scratch", "hole", "stain")
_TESTED = (*_DEFECTS, "good")


def textures(
    out: Path, seed: int, count: int, size: tuple[int, int], ids: Ids[int]
) -> list[rows.Sample]:
    """Render ``count`` square surfaces, as high as ``size``, to ``out/textures``.

    The first half (split train) is good; the rest (split test) has scratches, holes, stains
    or nothing. Scratches are stored as label images of 0 and 255 (the image's scratches
    together), holes as polygons (one row each), stains as RLE.
    """
    side = size[1]
    samples = []
    good = (count + 1) // 2
    for i in range(count):
        rng = np.random.default_rng([seed, 4, i])
        j = i - good
        kind = "good" if j < 0 else _TESTED[j % 4]
        surface = ("fabric", "metal")[(i if j < 0 else j + j // 4) % 2]
        split = "train" if j < 0 else "test"
        key = f"textures/{surface}/{split}/{kind}/{i:03d}.png"
        (out / key).parent.mkdir(parents=True, exist_ok=True)
        make = _fabric if surface == "fabric" else _metal
        canvas = Canvas(make(rng, side))
        found = _damage(canvas, kind, rng, ids, out, f"textures/{surface}/ground_truth", i)
        canvas.image(rng, 0.01).save(out / key)
        samples.append(
            rows.Sample(
                key,
                media=rows.Media(key),
                width=side,
                height=side,
                channels=3,
                split=split,
                attributes={"surface": surface},
                annotations=[
                    *found,
                    *labels({name: name == kind for name in _DEFECTS}, "defect", ids),
                ],
            )
        )
    return samples


def _fabric(rng: np.random.Generator, side: int) -> Floats:
    """A plain weave of two threads, shape (side, side, 3)."""
    cell = 9.0 * side / 240
    y, x = np.mgrid[:side, :side] + 0.5
    bend = 0.8 * noise(rng, side, side, 40 * side / 240, 2)
    u, v = (x + bend) / cell, (y + bend) / cell
    over = (np.floor(u) + np.floor(v)) % 2 == 0
    hill = np.where(over, np.sin(np.pi * (v % 1)), np.sin(np.pi * (u % 1)))
    run = np.where(over, np.sin(np.pi * (u % 1)), np.sin(np.pi * (v % 1)))
    height = 0.45 + 0.4 * hill + 0.15 * run
    thread = np.where(over[..., None], (0.72, 0.66, 0.55), (0.58, 0.55, 0.50))
    fibre = 1 + 0.05 * noise(rng, side, side, 2.5, 1) + 0.04 * noise(rng, side, side, side / 4)
    return np.asarray(thread * (0.45 + 0.65 * height)[..., None] * fibre[..., None])


def _metal(rng: np.random.Generator, side: int) -> Floats:
    """Brushed steel, shape (side, side, 3)."""
    brushed = noise(rng, side, side, 1.0)
    kernel = max(side // 8, 3)
    padded = np.pad(brushed, ((0, 0), (kernel, kernel)), mode="wrap")
    total = np.cumsum(padded, axis=1)
    streaks = total[:, kernel : kernel + side] - total[:, :side]
    streaks = streaks / streaks.std()
    y, x = np.mgrid[:side, :side] / side
    sheen = 0.56 + 0.14 * np.exp(-((y - 0.35 - 0.1 * x) ** 2) / 0.05)
    grey = sheen * (1 + 0.045 * streaks + 0.02 * brushed)
    return np.asarray(grey[..., None] * np.asarray((0.98, 1.0, 1.04)))


def _damage(
    canvas: Canvas,
    kind: str,
    rng: np.random.Generator,
    ids: Ids[int],
    out: Path,
    folder: str,
    number: int,
) -> list[rows.Annotation]:
    side = canvas.size[0]
    if kind == "good":
        return []
    if kind == "scratch":
        for _ in range(int(rng.integers(1, 3))):
            bright = Piece(_scratch(rng, side), (0.93, 0.93, 0.95), shade="flat")
            canvas.paint(bright, 1, opacity=0.85)
        row = rows.Annotation("object", index(kind, "defect"), annotation_id=next(ids))
        mask = canvas.owner > 0
        path = f"{folder}/{kind}/{number:03d}_mask.png"
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask.astype(np.uint8) * 255).save(out / path)
        row.map = rows.LabelMap(path, encoding="nonzero")
        row.bbox, row.area = bounds(mask), float(mask.sum())
        return [row]
    if kind == "stain":
        tint = Piece(_blob(rng, side), (0.26, 0.17, 0.08), shade="flat")
        canvas.paint(tint, 1, opacity=0.55)
    else:
        for owner in range(1, int(rng.integers(2, 5))):
            x, y = (float(v) for v in rng.uniform(0.15, 0.85, 2) * side)
            r = float(rng.uniform(0.02, 0.05)) * side
            rim = Piece(ellipse(x, y, r * 1.0, r * 0.9), (0.30, 0.28, 0.26), shade="flat")
            canvas.paint(rim, owner)
            canvas.paint(
                Piece(
                    ellipse(x + 0.1 * r, y + 0.1 * r, r * 0.75, r * 0.68),
                    (0.05, 0.05, 0.06),
                    shade="flat",
                ),
                owner,
            )
    found = []
    for owner in range(1, int(canvas.owner.max()) + 1):
        mask = np.asarray(canvas.owner == owner)
        if mask.any():
            row = outlined(mask, next(ids), kind == "stain")
            row.category = index(kind, "defect")
            found.append(row)
    return found


def _scratch(rng: np.random.Generator, side: int) -> Shape:
    """A thin, slightly bent line."""
    x, y = (float(v) for v in rng.uniform(0.2, 0.8, 2) * side)
    turn = float(rng.uniform(0, np.pi))
    thick = max(0.003 * side + 0.3, 0.75)
    strokes = []
    for _ in range(4):
        step = float(rng.uniform(0.08, 0.13)) * side
        end = (x + step * float(np.cos(turn)), y + step * float(np.sin(turn)))
        strokes.append(capsule((x, y), end, thick, thick * 0.9))
        (x, y), turn = end, turn + float(rng.normal(0, 0.25))
    return union(*strokes)


def _blob(rng: np.random.Generator, side: int) -> Shape:
    """A patch with a wavy edge."""
    x0, y0 = (float(v) for v in rng.uniform(0.3, 0.7, 2) * side)
    r = float(rng.uniform(0.10, 0.17)) * side
    a, b = (float(v) for v in rng.uniform(0, 2 * np.pi, 2))

    def distance(x: Floats, y: Floats) -> Floats:
        turn = np.arctan2(y - y0, x - x0)
        reach = r * (1 + 0.18 * np.sin(3 * turn + a) + 0.08 * np.sin(8 * turn + b))
        return np.asarray(np.hypot(x - x0, y - y0) - reach)

    return Shape((x0 - 1.3 * r, y0 - 1.3 * r, x0 + 1.3 * r, y0 + 1.3 * r), distance)
