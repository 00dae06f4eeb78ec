"""Categories that went, came, changed, or go by another name."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from granum.verbs import _categories as names
from granum.verbs._changes import Tracks
from granum.verbs._settling import Sides, numbers_of

__all__ = ["compare_categories"]

ENOUGH = 0.9
"""Share of a category's annotations that must be another's for it to be renamed."""

AGAINST = 0.5
"""With a smaller share than this, an equal source id says nothing."""


def compare_categories(sides: Sides, out: dict[str, Any]) -> None:
    """Fill ``out`` and give renamed categories one joint number in ``sides``."""
    a, b = sides.cats_a, sides.cats_b
    taken = {m for m in sides.matches if m is not None}
    left_a = [i for i in range(len(a)) if i not in taken]
    left_b = [j for j, m in enumerate(sides.matches) if m is None]
    pairs = [(m, j) for j, m in enumerate(sides.matches) if m is not None]
    out["moved"] = [m for m, _ in pairs] != sorted(m for m, _ in pairs)
    renamed = _renamed(sides, left_a, left_b) if left_a and left_b else []
    for i, j, why in renamed:
        out["renamed"].append({"from": a[i].name, "to": b[j].name, "why": why})
        if sides.numbers_b[j] < len(a):
            sides.numbers_a[i] = sides.numbers_b[j]  # several of a became one of b
        else:
            sides.numbers_b[j] = i
            pairs.append((i, j))
    gone, found = {i for i, _, _ in renamed}, {j for _, j, _ in renamed}
    out["removed"] = [a[i].name for i in left_a if i not in gone]
    out["added"] = [b[j].name for j in left_b if j not in found]
    for i, j in sorted(pairs):
        facts = names.other_facts(a[i], b[j], a, b)
        facts = {name: both for name, both in facts.items() if name not in sides.ignore}
        if facts:
            listed = {name: {"a": x, "b": y} for name, (x, y) in facts.items()}
            out["changed"].append({"name": a[i].name, "facts": listed})
        elif i in taken:
            out["same"] += 1


def _renamed(sides: Sides, left_a: list[int], left_b: list[int]) -> list[tuple[int, int, str]]:
    total, shared = _shared(sides, left_a)
    by_id: dict[tuple[str | None, str | None], list[int]] = {}
    for j in left_b:
        by_id.setdefault((names.title(sides.cats_b[j])[0], sides.cats_b[j].source_id), []).append(j)
    out = []
    for i in left_a:
        one = sides.cats_a[i]
        became = {j: n for (x, j), n in shared.items() if x == i and j in left_b}
        j, n = max(became.items(), key=lambda e: e[1], default=(-1, 0))
        if total[i] and n >= ENOUGH * total[i]:
            out.append((i, j, f"{n} of its {total[i]} annotations"))
        elif one.source_id is not None:
            same = by_id.get((names.title(one)[0], one.source_id), [])
            if len(same) == 1 and became.get(same[0], 0) >= AGAINST * total[i]:
                out.append((i, same[0], f"source id {one.source_id}"))
    return out


def _shared(sides: Sides, left: list[int]) -> tuple[Counter[int], Counter[tuple[int, int]]]:
    """How many annotations the categories ``left`` of a have, and which of b they became."""
    total: Counter[int] = Counter()
    shared: Counter[tuple[int, int]] = Counter()
    for block in sides.blocks():
        settled = sides.settle(block)
        one, two = numbers_of(settled.a), numbers_of(settled.b)
        kinds, counts = np.unique(one[np.isin(one, left)], return_counts=True)
        total.update(dict(zip(kinds.tolist(), counts.tolist(), strict=True)))
        both = np.column_stack([one[settled.pairs.a], two[settled.pairs.b]])
        both = both[np.isin(both[:, 0], left)]
        kinds, counts = np.unique(both, axis=0, return_counts=True)
        for (x, y), n in zip(kinds.tolist(), counts.tolist(), strict=True):
            shared[x, y - len(sides.cats_a)] += n
    sides.tracks = Tracks()
    return total, shared
