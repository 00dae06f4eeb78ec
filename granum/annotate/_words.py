"""English of the describer: articles, plurals, numbers, lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["article", "counted", "joined", "place", "plain", "plural", "size_word"]

_NUMBERS = (
    *("no", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
_IRREGULAR = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "mouse": "mice",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "knife": "knives",
    "leaf": "leaves",
    "loaf": "loaves",
    "shelf": "shelves",
    "sheep": "sheep",
    "fish": "fish",
    "deer": "deer",
    "aircraft": "aircraft",
    "skis": "skis",
    "scissors": "scissors",
}
_SIZES = ((0.2, "tiny"), (0.5, "small"), (0.8, "medium-sized"), (1.1, "large"))
_PLACES = (
    ("at the top left", "at the top", "at the top right"),
    ("on the left", "in the centre", "on the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)


def plain(name: str) -> str:
    """A category's name as words."""
    return " ".join(name.replace("_", " ").split()) or "object"


def article(phrase: str) -> str:
    """The phrase with "a" or "an" before it."""
    return f"{'an' if phrase[:1].lower() in set('aeiou') else 'a'} {phrase}"


def plural(name: str) -> str:
    """Several of a thing; the last word changes."""
    head, _, last = name.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in set("aeiou"):
        last = f"{last[:-1]}ies"
    else:
        last += "s"
    return f"{head} {last}".strip()


def counted(names: Iterable[str]) -> str:
    """ "two dogs, a cat and a tree": the most frequent first, then by name."""
    counts = Counter(names)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return joined(
        [
            article(name) if n == 1 else f"{_NUMBERS[n] if n < len(_NUMBERS) else n} {plural(name)}"
            for name, n in ordered
        ]
    )


def joined(phrases: Sequence[str]) -> str:
    """ "a, b and c"."""
    if len(phrases) < 2:
        return "".join(phrases)
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def size_word(g: float) -> str:
    """A word for a granularity relative to the image, in octaves."""
    return next(word for limit, word in _SIZES if g < limit)


def place(x: float, y: float) -> str:
    """Where a point lies on a grid of 3 by 3; x and y are fractions of width and height."""
    row, column = (min(max(int(v * 3), 0), 2) for v in (y, x))
    return _PLACES[row][column]
