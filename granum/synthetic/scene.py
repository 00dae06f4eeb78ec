"""Street scenes: objects with masks, parts, joints; labels, captions and relations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from granum.schema import rows
from granum.synthetic import things
from granum.synthetic.catalogue import Ids, index, number, plural
from granum.synthetic.shapes import Colour, Floats, noise
from granum.synthetic.stage import Stage
from granum.synthetic.things import Thing

__all__ = ["DAY", "DUSK", "backdrop", "scenes", "unit"]

DAY: Colour = (1.0, 1.0, 1.0)
DUSK: Colour = (0.60, 0.52, 0.66)

_HORIZON = 0.46
_ROAD = (0.65, 0.82)
_SPLITS = ("train", "train", "train", "train", "val", "test")


def unit(y: float, height: int) -> float:
    """Pixels per unit of length for a thing whose foot is at ``y``: near things are larger."""
    return height / 240 * (0.72 + 1.45 * (y / height - 0.5))


def backdrop(rng: np.random.Generator, width: int, height: int, dusk: bool) -> Floats:
    """Sky, hills, grass and a road across, shape (height, width, 3), values 0..1."""
    y = (np.arange(height) + 0.5)[:, None] / height
    x = (np.arange(width) + 0.5)[None, :] / width
    scale = height / 240

    def tone(colour: Colour) -> Floats:
        return np.asarray(colour) * (np.asarray(DUSK) if dusk else np.ones(3))

    top, low = ((0.30, 0.55, 0.88), (0.80, 0.90, 0.97))
    if dusk:
        top, low = ((0.20, 0.20, 0.42), (0.96, 0.60, 0.42))
    rise = np.clip(y / _HORIZON, 0, 1)[..., None] ** (1.2 if dusk else 0.9)
    rgb = np.asarray(top) * (1 - rise) + np.asarray(low) * rise
    rgb = np.broadcast_to(rgb, (height, width, 3)).copy()
    sun_x, sun_y = float(rng.uniform(0.15, 0.85)), _HORIZON - (0.06 if dusk else 0.32)
    far = ((x - sun_x) * width / height) ** 2 + (y - sun_y) ** 2
    halo = np.exp(-far / 0.05)[..., None] * (0.5 if dusk else 0.35)
    rgb += halo * np.asarray((1.0, 0.85, 0.6) if dusk else (1.0, 1.0, 0.92)) * (1 - rgb)
    cloud = noise(rng, 3 * height, width, 60 * scale, 4)[::3]
    cover = (np.clip((cloud - 0.35) * 0.9, 0, 0.8) * np.clip(1.2 - y / _HORIZON, 0, 1))[..., None]
    rgb += cover * (np.asarray((0.92, 0.62, 0.58) if dusk else (1.0, 1.0, 1.0)) - rgb)
    for depth, colour in enumerate(((0.50, 0.63, 0.70), (0.36, 0.52, 0.44))):
        ridge = noise(rng, 4, width, 50 * scale, 3)[1]
        line = _HORIZON - (0.055 - 0.03 * depth) - 0.018 * ridge
        rgb[y > line] = tone(colour)
    ground = y > _HORIZON
    rough = noise(rng, height, width, 9 * scale, 4) + 0.8 * noise(rng, height, width, 70 * scale)
    near = np.clip((y - _HORIZON) / (1 - _HORIZON), 0, 1)
    grass = tone((0.42, 0.58, 0.27)) * (1.0 - 0.22 * near + 0.06 * rough)[..., None]
    rgb[np.broadcast_to(ground, rgb.shape[:2])] = grass[np.broadcast_to(ground, rgb.shape[:2])]
    fine = 0.035 * noise(rng, height, width, 2 * scale)
    for start, stop, colour in (
        (_ROAD[0] - 0.035, _ROAD[1] + 0.02, (0.70, 0.68, 0.64)),
        (_ROAD[0], _ROAD[1], (0.36, 0.37, 0.40)),
    ):
        band = np.broadcast_to((y > start) & (y < stop), rgb.shape[:2])
        rgb[band] = (tone(colour) * (1 + fine)[..., None])[band]
    middle = (np.abs(y - 0.735) < 0.006) & ((x * width / height * 5.5) % 1 < 0.55)
    rgb[middle] = tone((0.90, 0.89, 0.82))
    return rgb


def scenes(
    out: Path, seed: int, count: int, size: tuple[int, int], ids: Ids[int]
) -> list[rows.Sample]:
    """Render ``count`` scenes of ``size`` (width, height) to ``out/scenes`` and return them."""
    samples = []
    for i in range(count):
        rng = np.random.default_rng([seed, 1, i])
        dusk = i % 3 == 2
        stage, resting = _arrange(rng, size, dusk)
        key = f"scenes/{i:06d}.jpg"
        (out / "scenes").mkdir(parents=True, exist_ok=True)
        stage.canvas.image(rng).save(out / key, quality=90, subsampling=0)
        objects, numbers = stage.annotate(ids, as_rle=lambda position: position % 5 == 4)
        samples.append(
            rows.Sample(
                key,
                media=rows.Media(key),
                width=size[0],
                height=size[1],
                channels=3,
                split=_SPLITS[i % len(_SPLITS)],
                attributes={"light": "dusk" if dusk else "day", "objects": len(numbers)},
                annotations=[
                    *objects,
                    *_relations(stage, numbers, resting, ids),
                    *_captions(objects, size[0], dusk, ids),
                    *labels({"day": not dusk, "dusk": dusk, "rain": False}, "scene", ids),
                ],
            )
        )
    return samples


def labels(present: dict[str, bool], space: str, ids: Ids[int]) -> list[rows.Annotation]:
    """Label rows: which categories of ``space`` are there, and which are verified absent."""
    return [
        rows.Annotation("label", index(name, space), present=yes, annotation_id=next(ids))
        for name, yes in present.items()
    ]


def _arrange(
    rng: np.random.Generator, size: tuple[int, int], dusk: bool
) -> tuple[Stage, list[tuple[int, int]]]:
    """A stage of things back to front, and the pairs (thing, what it rests on) of positions."""
    width, height = size
    stage = Stage(backdrop(rng, width, height, dusk), DUSK if dusk else DAY)
    resting: list[tuple[int, int]] = []
    plan: list[tuple[float, str]] = []

    def some(kind: str, low: int, high: int, spans: tuple[tuple[float, float], ...]) -> None:
        for _ in range(int(rng.integers(low, high + 1))):
            start, stop = spans[int(rng.integers(len(spans)))]
            plan.append((float(rng.uniform(start, stop)), kind))

    some("house", 1, 2, ((0.54, 0.58),))
    some("tree", 1, 3, ((0.53, 0.61),))
    some("car", 1, 2, ((0.70, 0.715), (0.785, 0.80)))
    some("lamp", 1, 2, ((0.63, 0.64), (0.83, 0.84)))
    some("person", 1, 3, ((0.625, 0.64), (0.86, 0.95)))
    some("bench", 0, 1, ((0.87, 0.92),))
    some("ball", 0, 2, ((0.90, 0.97),))
    some("ring", 0, 1, ((0.88, 0.96),))
    if rng.random() < 0.45:
        sky = 0.16 * height
        stage.add(
            things.flock(
                float(rng.uniform(0.25, 0.75)) * width,
                sky,
                height / 240,
                rng,
                int(rng.integers(10, 17)),
            )
        )
    for share, kind in sorted(plan):
        y = share * height
        u = unit(y, height)
        for _ in range(6):
            x = float(rng.uniform(0.0, 1.0)) * width
            thing = _make(kind, x, y, u, rng, dusk)
            if stage.add(thing, keep=0.35, shown=0.4):
                _rest(stage, thing, u, rng, resting)
                break
    for thing in stage.things:
        for x, y in thing.lights:
            stage.canvas.shine(x, y, 11 * height / 240, (1.0, 0.8, 0.45), 0.75)
    return stage, resting


def _make(kind: str, x: float, y: float, u: float, rng: np.random.Generator, dusk: bool) -> Thing:
    lit = dusk and bool(rng.random() < 0.8)
    if kind == "car":
        return things.car(x, y, u, rng, lit, left=bool(rng.random() < 0.5))
    if kind == "house":
        return things.house(x, y, u, rng, lit)
    if kind == "lamp":
        return things.lamp(x, y, u, rng, lit)
    makers: dict[str, Callable[[float, float, float, np.random.Generator], Thing]] = {
        "tree": things.tree,
        "person": things.person,
        "bench": things.bench,
        "ball": things.ball,
        "ring": things.ring,
    }
    return makers[kind](x, y, u, rng)


def _rest(
    stage: Stage, thing: Thing, u: float, rng: np.random.Generator, out: list[tuple[int, int]]
) -> None:
    """Now and then, put a bird or a ball on the thing that was just added."""
    if thing.seat is None or rng.random() < 0.5:
        return
    make = things.ball if thing.category == "bench" and rng.random() < 0.5 else things.bird
    guest = make(*thing.seat, u * (0.8 if make is things.ball else 1.0), rng)
    guest.shadow = None
    position = len(stage.things) - 1
    if stage.add(guest, keep=0.35, shown=0.9):
        out.append((position + 1, position))


def _relations(
    stage: Stage, numbers: dict[int, int], resting: list[tuple[int, int]], ids: Ids[int]
) -> list[rows.Annotation]:
    front = [
        p for p in stage.in_front() if p not in resting and p[0] in numbers and p[1] in numbers
    ]
    boxes = {i: np.flatnonzero(stage.visible(i).any(axis=0)) for i in numbers}
    solid = [i for i in numbers if not stage.things[i].crowd and stage.things[i].seat is None]
    beside = [
        (a, b)
        for a in solid
        for b in solid
        if boxes[a][-1] < boxes[b][0]
        and abs(
            stage.things[a].pieces[0].shape.extent[3] - stage.things[b].pieces[0].shape.extent[3]
        )
        < 0.12 * stage.canvas.size[1]
    ]
    chosen = [("on", p) for p in resting] + [("in front of", p) for p in front[:3]]
    chosen += [("left of", p) for p in beside[:2]]
    return [
        rows.Annotation(
            "relation",
            index(name, "predicate"),
            subject=numbers[a],
            object=numbers[b],
            annotation_id=next(ids),
        )
        for name, (a, b) in chosen
        if a in numbers and b in numbers
    ]


def _captions(
    objects: list[rows.Annotation], width: int, dusk: bool, ids: Ids[int]
) -> list[rows.Annotation]:
    names = {
        index(n): n
        for n in ("house", "tree", "car", "lamp", "person", "bench", "ball", "ring", "bird")
    }
    counts = Counter(names[o.category] for o in objects if o.category in names and not o.crowd)
    listed = [f"{number(counts[n])} {plural(n, counts[n])}" for n in names.values() if counts[n]]
    if any(o.crowd for o in objects):
        listed.append("a flock of birds")
    joined = " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)
    texts = [f"A street {'at dusk' if dusk else 'by day'} with {joined or 'nothing on it'}."]
    wholes = [o for o in objects if o.level == 0 and not o.crowd and o.area]
    if wholes:
        largest = max(wholes, key=lambda o: o.area or 0.0)
        assert largest.bbox is not None and largest.category is not None
        middle = (largest.bbox[0] + largest.bbox[2] / 2) / width
        place = (
            "on the left"
            if middle < 1 / 3
            else "on the right"
            if middle > 2 / 3
            else ("in the middle")
        )
        texts.append(f"The largest thing in view is a {names[largest.category]} {place}.")
    return [rows.Annotation("caption", text=t, annotation_id=next(ids)) for t in texts]
