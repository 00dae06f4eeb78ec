"""The categories of the rendered data, named colours, and the words that captions use."""

from __future__ import annotations

from itertools import count

from granum.schema import rows
from granum.synthetic.shapes import Colour

__all__ = ["COLOURS", "JOINTS", "Ids", "categories", "index", "mixed", "number", "plural"]

COLOURS: dict[str, Colour] = {
    "red": (0.80, 0.20, 0.18),
    "blue": (0.18, 0.38, 0.75),
    "yellow": (0.93, 0.76, 0.20),
    "green": (0.20, 0.55, 0.34),
    "white": (0.92, 0.92, 0.90),
    "grey": (0.55, 0.57, 0.60),
    "black": (0.16, 0.16, 0.19),
    "orange": (0.92, 0.50, 0.16),
    "purple": (0.50, 0.28, 0.62),
    "brown": (0.45, 0.30, 0.20),
}

JOINTS = ["head", "neck", "left_hand", "right_hand", "hip", "left_foot", "right_foot"]
_LIMBS = [[0, 1], [1, 2], [1, 3], [1, 4], [4, 5], [4, 6]]

# Name, supercategory, translations.
_WHOLES = [
    ("person", "human", ["Person", "personne", "人"]),
    ("car", "vehicle", ["Auto", "voiture", "自動車"]),
    ("house", "building", ["Haus", "maison", "家"]),
    ("tree", "plant", ["Baum", "arbre", "木"]),
    ("lamp", "furniture", ["Laterne", "réverbère", "街灯"]),
    ("bench", "furniture", ["Bank", "banc", "ベンチ"]),
    ("ball", "toy", ["Ball", "balle", "ボール"]),
    ("ring", "toy", ["Rettungsring", "bouée", "浮き輪"]),
    ("bird", "animal", ["Vogel", "oiseau", "鳥"]),
]

_PARTS = {
    "head": ["person"],
    "wheel": ["car"],
    "window": ["house", "car"],
    "door": ["house"],
}

_OTHERS = {
    "predicate": ["left of", "on", "in front of"],
    "scene": ["day", "dusk", "rain"],
    "action": ["walking"],
    "landcover": ["water", "grass", "crops", "forest", "road", "roof"],
    "change": ["new building", "clearing"],
    "defect": ["scratch", "hole", "stain"],
}

_MAP_COLOURS = {
    "water": [52, 120, 190],
    "grass": [150, 200, 90],
    "crops": [235, 205, 90],
    "forest": [30, 110, 60],
    "road": [130, 130, 138],
    "roof": [200, 80, 60],
    "new building": [230, 40, 90],
    "clearing": [250, 150, 30],
}

Ids = count
"""Annotation ids in the order of asking: ``Ids(1)``."""


def categories() -> list[rows.Category]:
    """All categories, in the order that :func:`index` gives."""
    out = []
    for name, above, words in _WHOLES:
        out.append(rows.Category(name, supercategory=above, isthing=True, synonyms=words))
    out[0].keypoints, out[0].skeleton = list(JOINTS), [list(pair) for pair in _LIMBS]
    whole = {c.name: i for i, c in enumerate(out)}
    for name, owners in _PARTS.items():
        parents = [{"index": whole[o], "relation": "part_of"} for o in owners]
        out.append(rows.Category(name, supercategory="part", isthing=True, parents=parents))
    for space, names in _OTHERS.items():
        # Values of label images are these source ids; 0 is left for "nothing".
        mapped = space in ("landcover", "change")
        for value, name in enumerate(names, 1):
            source_id = str(value) if mapped else None
            isthing = False if mapped else None
            row = rows.Category(name, space=space, source_id=source_id, isthing=isthing)
            row.colour = _MAP_COLOURS.get(name)
            out.append(row)
    return out


_ROWS = {(c.space, c.name): i for i, c in enumerate(categories())}


def index(name: str, space: str = "object") -> int:
    """The row of a category.

    Raises:
        KeyError: there is no such category.
    """
    return _ROWS[space, name]


def mixed(a: Colour, b: Colour, share: float) -> Colour:
    """``a`` with ``share`` (0..1) of ``b``."""
    return (
        a[0] + (b[0] - a[0]) * share,
        a[1] + (b[1] - a[1]) * share,
        a[2] + (b[2] - a[2]) * share,
    )


_NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def number(n: int) -> str:
    """A small count in words."""
    return _NUMBERS[n] if n < len(_NUMBERS) else str(n)


def plural(name: str, n: int) -> str:
    """``name`` for ``n`` of them."""
    if n == 1:
        return name
    return {"person": "people", "bench": "benches"}.get(name, name + "s")
