"""The things of a street scene, built from pieces.

A maker takes where the thing stands, (x, y) in pixels at the middle of its foot, the length
``u`` of a unit in pixels (a person is about 40 units tall), and a generator for its looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from granum.synthetic.catalogue import COLOURS, mixed
from granum.synthetic.shapes import (
    Colour,
    Piece,
    Shape,
    box,
    capsule,
    cut,
    ellipse,
    intersect,
    polygon,
    union,
)

__all__ = [
    "Point",
    "Thing",
    "ball",
    "bench",
    "bird",
    "car",
    "flock",
    "house",
    "lamp",
    "person",
    "ring",
    "tree",
]

Point = tuple[float, float]
_DARK: Colour = (0.13, 0.13, 0.15)
_GLASS: Colour = (0.62, 0.76, 0.84)
_LIT: Colour = (1.0, 0.86, 0.45)


@dataclass(slots=True)
class Thing:
    """One object: its pieces in the order of painting, its joints and what is true of it."""

    category: str
    pieces: list[Piece]
    attributes: dict[str, Any] = field(default_factory=dict)
    joints: list[Point] = field(default_factory=list)
    shadow: Shape | None = None
    crowd: bool = False
    seat: Point | None = None
    """Where something may rest on it."""
    lights: list[Point] = field(default_factory=list)


def _pick(rng: np.random.Generator, *names: str) -> str:
    return str(rng.choice(names))


def _build(rng: np.random.Generator) -> tuple[str, float]:
    """A size word and the factor on the unit that makes it true."""
    name = _pick(rng, "small", "medium", "medium", "large")
    return name, {"small": 0.84, "medium": 1.0, "large": 1.16}[name]


def _size(value: float, small: float, large: float) -> str:
    return "small" if value < small else "large" if value > large else "medium"


def car(
    x: float, y: float, u: float, rng: np.random.Generator, lit: bool = False, left: bool = False
) -> Thing:
    """A car seen from the side, facing right unless ``left``."""
    name = _pick(rng, "red", "blue", "yellow", "white", "grey", "green")
    size, factor = _build(rng)
    u *= factor
    body, f = COLOURS[name], -u if left else u

    def at(dx: float, dy: float) -> Point:
        return x + dx * f, y + dy * u

    def block(x0: float, y0: float, x1: float, y1: float, radius: float) -> Shape:
        (a, b), (c, d) = at(x0, y0), at(x1, y1)
        return box(min(a, c), b, max(a, c), d, radius * u)

    cabin = polygon([at(-24, -18), at(-15, -33), at(10, -33), at(24, -18)])
    pieces = [
        Piece(cabin, body),
        Piece(block(-40, -21, 40, -6, 5), body),
        Piece(block(-38, -11, 38, -8.5, 1), mixed(body, _DARK, 0.45)),
        Piece(block(36, -18.5, 39.5, -14.5, 1.5), _LIT, shade="glow" if lit else "down"),
        Piece(block(-39.5, -18.5, -37, -14, 1), (0.6, 0.08, 0.08)),
    ]
    panes = [
        [at(-18.5, -20), at(-12.5, -30.5), at(-3, -30.5), at(-3, -20)],
        [at(-0.5, -20), at(-0.5, -30.5), at(8.5, -30.5), at(18, -20)],
    ]
    for i, pane in enumerate(panes):
        pieces.append(Piece(polygon(pane), _GLASS, ("window", i)))
        shine = intersect(polygon(pane), capsule(pane[0], pane[2], 1.3 * u))
        pieces.append(Piece(shine, mixed(_GLASS, (1, 1, 1), 0.5), ("window", i), "flat"))
    for i, dx in enumerate((-22.5, 23.0)):
        cx, cy = at(dx, -7)
        pieces += [
            Piece(ellipse(cx, cy, 8.6 * u, 8.6 * u), mixed(body, _DARK, 0.75), shade="flat"),
            Piece(ellipse(cx, cy, 7 * u, 7 * u), _DARK, ("wheel", i), "flat"),
            Piece(ellipse(cx, cy, 3.6 * u, 3.6 * u), (0.72, 0.73, 0.75), ("wheel", i), "ball"),
        ]
    return Thing(
        "car",
        pieces,
        {"colour": name, "size": size, "lit": lit, "facing": "left" if left else "right"},
        shadow=ellipse(x, y, 43 * u, 4.5 * u),
        lights=[at(39, -16.5)] if lit else [],
    )


def house(x: float, y: float, u: float, rng: np.random.Generator, lit: bool = False) -> Thing:
    """A house with a roof, a door and two or four windows."""
    name = _pick(rng, "white", "yellow", "brown", "grey", "orange")
    wall = mixed(COLOURS[name], (0.95, 0.92, 0.85), 0.45)
    half, storeys = float(rng.uniform(30, 40)), int(rng.integers(1, 3))
    tall = 16 + 23 * storeys
    roof = mixed(COLOURS[_pick(rng, "red", "brown", "grey")], _DARK, 0.25)
    ridge = -tall - float(rng.uniform(20, 28))
    stack = half * 0.55 * float(rng.choice([-1, 1]))

    def block(x0: float, y0: float, x1: float, y1: float, radius: float = 0.0) -> Shape:
        return box(x + x0 * u, y + y0 * u, x + x1 * u, y + y1 * u, radius * u)

    eaves = [(-half - 6, -tall + 1.0), (0.0, ridge), (half + 6, -tall + 1.0)]
    pieces = [
        Piece(block(stack - 4, ridge, stack + 4, -tall), mixed(roof, _DARK, 0.35)),
        Piece(block(-half, -tall, half, 0), wall),
        Piece(block(-half, -5, half, 0), mixed(wall, _DARK, 0.3)),
        Piece(polygon([(x + a * u, y + b * u) for a, b in eaves]), roof),
        Piece(block(-half, -tall + 1, half, -tall + 3.5), mixed(wall, _DARK, 0.35), shade="flat"),
        Piece(block(-7, -25, 7, 0, 1), mixed(wall, _DARK, 0.6), ("door", 0)),
        Piece(
            block(-5.5, -23.5, 5.5, 0, 1), COLOURS[_pick(rng, "green", "blue", "red")], ("door", 0)
        ),
        Piece(ellipse(x + 3.4 * u, y - 11 * u, 1.1 * u, 1.1 * u), _LIT, ("door", 0)),
    ]
    pane = _LIT if lit else mixed(_GLASS, (0.25, 0.35, 0.45), 0.45)
    for i in range(2 * storeys):
        cx, cy = half * 0.58 * (1 if i % 2 else -1), -21 - 24 * (i // 2)
        key = ("window", i)
        pieces += [
            Piece(block(cx - 7, cy - 8, cx + 7, cy + 8), (0.96, 0.95, 0.92), key),
            Piece(
                block(cx - 5.6, cy - 6.6, cx + 5.6, cy + 6.6), pane, key, "glow" if lit else "down"
            ),
            Piece(block(cx - 0.7, cy - 7, cx + 0.7, cy + 7), (0.96, 0.95, 0.92), key),
        ]
    return Thing(
        "house",
        pieces,
        {
            "colour": name,
            "size": "large" if storeys == 2 else "small",
            "lit": lit,
            "storeys": storeys,
        },
        shadow=ellipse(x, y, (half + 8) * u, 4 * u),
        seat=(x, y + ridge * u),
    )


def tree(x: float, y: float, u: float, rng: np.random.Generator) -> Thing:
    """A broadleaf tree or a conifer."""
    conifer = bool(rng.random() < 0.4)
    green = mixed((0.16, 0.40, 0.20), (0.48, 0.58, 0.18), float(rng.random()) * (not conifer))
    tall = float(rng.uniform(70, 95))
    bark: Colour = (0.36, 0.25, 0.17)
    pieces = [Piece(capsule((x, y), (x, y - tall * 0.5 * u), 4.2 * u, 2.6 * u), bark)]
    if conifer:
        for i, base in enumerate((0.22, 0.45, 0.66)):
            wide, top = (24 - 6 * i) * u, y - tall * (base + 0.36) * u
            foot = y - tall * base * u
            corners = [(x - wide, foot), (x, top), (x + wide, foot)]
            pieces.append(Piece(polygon(corners), mixed(green, (0.5, 0.7, 0.5), 0.12 * i)))
    else:
        for i in range(7):
            turn = 2.4 * i + float(rng.uniform(0, 0.8))
            off = 13.0 if i < 6 else 0.0
            cx, cy = x + off * 1.15 * np.cos(turn) * u, y - (tall - 22 - off * np.sin(turn)) * u
            r = float(rng.uniform(13, 18)) * u
            leaf = mixed(green, (0.75, 0.8, 0.35), 0.18 * float(rng.random()))
            pieces.append(Piece(ellipse(float(cx), float(cy), r, r * 0.9), leaf, shade="ball"))
    return Thing(
        "tree",
        pieces,
        {
            "leaf": "needle" if conifer else "broad",
            "size": _size(tall, 77, 88),
            "height": round(tall / 12, 1),
        },
        shadow=ellipse(x, y, 20 * u, 3.4 * u),
    )


def person(
    x: float, y: float, u: float, rng: np.random.Generator, stride: float | None = None
) -> Thing:
    """A person facing the viewer; ``stride`` in -1..1 swings the legs and arms."""
    name = _pick(rng, "red", "blue", "yellow", "green", "orange", "purple", "white")
    shirt, trousers = COLOURS[name], COLOURS[_pick(rng, "black", "brown", "grey", "blue")]
    skin = mixed((0.95, 0.78, 0.66), (0.42, 0.27, 0.19), float(rng.random()))
    hair = mixed(_DARK, (0.6, 0.42, 0.22), float(rng.random()))
    raised = bool(rng.random() < 0.3)
    size, factor = _build(rng)
    u *= factor
    swing = float(rng.uniform(-0.6, 0.6)) if stride is None else stride

    def at(dx: float, dy: float) -> Point:
        return x + dx * u, y + dy * u

    head, neck, hip = at(0, -36), at(0, -29.5), at(0, -17)
    left = at(9.5, -40) if raised else at(7.5 - 2 * swing, -16 + abs(swing))
    right = at(-7.5 - 2 * swing, -16 + abs(swing))
    feet = at(3.2 + 4 * swing, -1.5), at(-3.2 - 4 * swing, -1.5)
    sleeve = mixed(shirt, _DARK, 0.15)
    pieces = [
        Piece(capsule((neck[0] + 4 * u, neck[1] + 2 * u), left, 1.9 * u), sleeve),
        Piece(capsule((neck[0] - 4 * u, neck[1] + 2 * u), right, 1.9 * u), sleeve),
        Piece(ellipse(*left, 1.9 * u, 1.9 * u), skin),
        Piece(ellipse(*right, 1.9 * u, 1.9 * u), skin),
        *[
            Piece(capsule((x + s * 2.2 * u, hip[1]), foot, 2.6 * u, 2 * u), trousers)
            for s, foot in zip((1, -1), feet, strict=True)
        ],
        *[Piece(ellipse(foot[0], foot[1], 2.9 * u, 1.7 * u), _DARK) for foot in feet],
        Piece(union(capsule(neck, hip, 4.6 * u, 4.9 * u)), shirt),
        Piece(capsule(head, neck, 1.7 * u), mixed(skin, _DARK, 0.15)),
        Piece(ellipse(*head, 4.1 * u, 5 * u), skin, ("head", 0)),
        Piece(
            cut(ellipse(*head, 4.1 * u, 5 * u), ellipse(x, head[1] + 2.6 * u, 4.6 * u, 5 * u)),
            hair,
            ("head", 0),
            "flat",
        ),
    ]
    return Thing(
        "person",
        pieces,
        {"colour": name, "size": size, "waving": raised, "tone": round(float(skin[0]), 2)},
        joints=[head, neck, left, right, hip, feet[0], feet[1]],
        shadow=ellipse(x, y, 9 * u, 2.2 * u),
    )


def lamp(x: float, y: float, u: float, rng: np.random.Generator, lit: bool = False) -> Thing:
    """A street lamp."""
    steel = mixed(COLOURS["grey"], _DARK, 0.55)
    tall = float(rng.uniform(62, 80))
    top = y - tall * u
    glow = Piece(
        ellipse(x, top - 5 * u, 3.4 * u, 4.4 * u),
        _LIT if lit else (0.85, 0.87, 0.85),
        shade="glow" if lit else "ball",
    )
    cap = polygon([(x - 5.5 * u, top - 9 * u), (x, top - 14 * u), (x + 5.5 * u, top - 9 * u)])
    pieces = [
        Piece(capsule((x, y), (x, top), 1.9 * u, 1.3 * u), steel),
        Piece(box(x - 3.6 * u, y - 6 * u, x + 3.6 * u, y, 1 * u), steel),
        Piece(box(x - 3.4 * u, top - 1.5 * u, x + 3.4 * u, top + 1 * u), steel),
        glow,
        Piece(cap, steel),
    ]
    return Thing(
        "lamp",
        pieces,
        {"lit": lit, "size": _size(tall, 68, 74), "height": round(tall / 20, 1)},
        shadow=ellipse(x, y, 6 * u, 1.6 * u),
        seat=(x, top - 14 * u),
        lights=[(x, top - 5 * u)] if lit else [],
    )


def bench(x: float, y: float, u: float, rng: np.random.Generator) -> Thing:
    """A bench with slats: one can see through it."""
    size, factor = _build(rng)
    u *= factor
    wood = mixed((0.62, 0.42, 0.24), (0.45, 0.28, 0.16), float(rng.random()))
    pieces = []
    for dx in (-19, 19):
        foot = box(x + (dx - 1.4) * u, y - 21 * u, x + (dx + 1.4) * u, y, 0.5 * u)
        pieces.append(Piece(foot, _DARK, shade="flat"))
    for dy in (-21, -16.5, -10):
        slat = box(x - 23 * u, y + dy * u, x + 23 * u, y + (dy + 2.9) * u, 0.8 * u)
        pieces.append(Piece(slat, wood))
    return Thing(
        "bench",
        pieces,
        {"colour": "brown", "size": size},
        shadow=ellipse(x, y, 24 * u, 2.6 * u),
        seat=(x + float(rng.uniform(-12, 12)) * u, y - 10 * u),
    )


def ball(x: float, y: float, u: float, rng: np.random.Generator) -> Thing:
    """A ball with a band around it."""
    name = _pick(rng, "red", "blue", "orange", "purple", "yellow")
    units = float(rng.uniform(6, 9))
    r = units * u
    whole = ellipse(x, y - r, r, r)
    band = cut(ellipse(x, y - r, r * 0.5, r), ellipse(x, y - r, r * 0.14, r))
    pieces = [
        Piece(whole, COLOURS[name], shade="ball"),
        Piece(intersect(whole, band), (0.97, 0.96, 0.93), shade="ball"),
    ]
    attributes = {"colour": name, "size": _size(units, 7, 8), "radius": round(r, 2)}
    return Thing("ball", pieces, attributes, shadow=ellipse(x, y, r * 1.1, r * 0.3))


def ring(x: float, y: float, u: float, rng: np.random.Generator) -> Thing:
    """A swimming ring on its edge: the ground shows through its hole."""
    name = _pick(rng, "red", "orange", "blue")
    units = float(rng.uniform(12, 16))
    r = units * u
    hole = r * 0.52
    torus = cut(ellipse(x, y - r, r, r), ellipse(x, y - r, hole, hole))
    first = float(rng.uniform(0, np.pi / 2))
    pieces = [Piece(torus, COLOURS[name], shade="ball")]
    for i in range(4):
        turn = first + i * np.pi / 2
        tip = (x + 1.1 * r * float(np.cos(turn)), y - r + 1.1 * r * float(np.sin(turn)))
        stripe = capsule((x, y - r), tip, 0.0, r * 0.3)
        pieces.append(Piece(intersect(torus, stripe), (0.96, 0.95, 0.92), shade="ball"))
    attributes = {"colour": name, "size": _size(units, 13, 15), "radius": round(r, 2)}
    return Thing("ring", pieces, attributes, shadow=ellipse(x, y, r, r * 0.2))


def bird(x: float, y: float, u: float, rng: np.random.Generator) -> Thing:
    """A perched bird."""
    name = _pick(rng, "black", "brown", "blue")
    f = u * float(rng.choice([-1, 1]))
    feather = mixed(COLOURS[name], (0.5, 0.5, 0.5), 0.15)
    breast = mixed(feather, (1.0, 0.9, 0.8), 0.5)
    pieces = [
        Piece(capsule((x - 3 * f, y - 4 * u), (x - 10 * f, y - 1 * u), 1.8 * u, 0.9 * u), feather),
        Piece(ellipse(x, y - 4.4 * u, 5.4 * u, 4.2 * u), feather, shade="ball"),
        Piece(ellipse(x + 2 * f, y - 3.6 * u, 2.6 * u, 2.8 * u), breast),
        Piece(ellipse(x + 4.4 * f, y - 8.6 * u, 3 * u, 3 * u), feather, shade="ball"),
        Piece(
            polygon(
                [(x + 6.6 * f, y - 9.6 * u), (x + 10.5 * f, y - 8 * u), (x + 6.6 * f, y - 7.2 * u)]
            ),
            COLOURS["orange"],
        ),
    ]
    return Thing("bird", pieces, {"colour": name, "size": "small"})


def flock(x: float, y: float, u: float, rng: np.random.Generator, count: int) -> Thing:
    """Many birds in flight, too many to box one by one."""
    pieces = []
    for _ in range(count):
        cx, cy = x + float(rng.normal(0, 26)) * u, y + float(rng.normal(0, 8)) * u
        wing, lift = float(rng.uniform(3.4, 5.2)) * u, float(rng.uniform(-2.6, 1.2)) * u
        for side in (-1, 1):
            tip = (cx + side * wing, cy + lift)
            pieces.append(Piece(capsule((cx, cy), tip, 0.95 * u, 0.5 * u), _DARK, shade="flat"))
    return Thing("bird", pieces, {"count": count}, crowd=True)
