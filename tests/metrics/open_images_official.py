"""The rules of the Open Images challenges written out, an image and a class at a time, in the
order in which the official evaluator goes; on dictionaries and pixel arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.schema import geometry
from granum.schema.rows import Annotation, Category

Mask = npt.NDArray[np.bool_]


@dataclass
class Thing:
    """A truth or a detection; ``box`` is x1, y1, x2, y2."""

    box: tuple[float, float, float, float] | None
    category: int
    score: float = 0.0
    group: bool = False
    mask: Mask | None = None


def thing(row: Annotation, masks: bool, real: bool) -> Thing:
    """Of an annotation; boxes of detections in the challenge of masks are those of the masks."""
    mask = None
    if masks and row.rle is not None:
        mask = geometry.rle_decode(row.rle.size, row.rle.counts)
        mask = mask if mask.any() else None
    box = None
    if row.bbox is not None:
        x, y, w, h = row.bbox
        box = (x, y, x + w, y + h)
    if masks and not real and mask is not None:
        ys, xs = np.nonzero(mask)
        height, width = mask.shape
        box = (xs.min() / width, ys.min() / height)
        box += ((xs.max() + 1) / width, (ys.max() + 1) / height)
    return Thing(box, row.category or 0, row.score or 0.0, bool(row.group_of), mask)


def inner(a: Thing, b: Thing, masks: bool) -> tuple[float, float, float]:
    """Intersection, and both areas."""
    if masks:
        assert a.mask is not None
        assert b.mask is not None
        return float((a.mask & b.mask).sum()), float(a.mask.sum()), float(b.mask.sum())
    assert a.box is not None
    assert b.box is not None
    wide = max(min(a.box[2], b.box[2]) - max(a.box[0], b.box[0]), 0)
    high = max(min(a.box[3], b.box[3]) - max(a.box[1], b.box[1]), 0)
    one, other = ((t.box[2] - t.box[0]) * (t.box[3] - t.box[1]) for t in (a, b) if t.box)
    return wide * high, one, other


def ancestors(categories: list[Category]) -> list[set[int]]:
    out = []
    for start in range(len(categories)):
        found: set[int] = set()
        waiting = [start]
        while waiting:
            for parent in categories[waiting.pop()].parents or []:
                if parent["relation"] == "is_a" and parent["index"] not in found:
                    found.add(parent["index"])
                    waiting.append(parent["index"])
        out.append(found)
    return out


def evaluatable(
    truth: Iterable[Annotation], above: list[set[int]], expand: bool
) -> tuple[list[tuple[Annotation, int]], set[int]]:
    """Objects with each of their classes, and the classes that are evaluated on the image."""
    objects, allowed = [], set()
    for row in truth:
        own = row.category or 0
        higher = above[own] if expand else set()
        if row.kind == "object":
            objects += [(row, c) for c in (own, *higher)]
            allowed |= {own, *higher}
        elif row.present is True:
            allowed |= {own, *higher}
        elif row.present is False:
            below = {c for c in range(len(above)) if own in above[c]} if expand else set()
            allowed |= {own, *below}
    return objects, allowed


def judged(
    found: list[Thing], true: list[Thing], masks: bool, weight: int, least: float
) -> tuple[list[tuple[float, bool]], int]:
    """Scores of detections of one class in one image, each right or wrong; and what there is to
    find."""
    found = sorted(found, key=lambda d: -d.score)
    n = len(found)
    right, to_box, in_group = [False] * n, [False] * n, [False] * n
    group_scores: list[float] = []
    if masks:
        stages = [[t for t in true if t.mask is not None], [t for t in true if t.mask is None]]
    else:
        stages = [[], true]
    for number, truths in enumerate(stages):
        by_mask = masks and number == 0
        single = [t for t in truths if not t.group]
        several = [t for t in truths if t.group]
        taken = [False] * len(single)
        for i, one in enumerate(found):
            if right[i] or in_group[i] or not single:
                continue
            parts = [inner(one, t, by_mask) for t in single]
            overlaps = [a / (b + c - a) if b + c > a else 0.0 for a, b, c in parts]
            best = int(np.argmax(overlaps))
            if overlaps[best] >= least and not taken[best]:
                taken[best] = right[i] = True
                to_box[i] = number == 1
        best_scores = [0.0] * len(several)
        for i, one in enumerate(found):
            if right[i] or in_group[i] or not several:
                continue
            shares = [a / b if b else 0.0 for a, b, _ in (inner(one, t, by_mask) for t in several)]
            best = int(np.argmax(shares))
            if shares[best] >= least:
                in_group[i] = True
                best_scores[best] = max(best_scores[best], one.score)
        if weight and (by_mask or not masks):
            group_scores += [s for s in best_scores if s > 0]
    rows = [
        (one.score, right[i])
        for i, one in enumerate(found)
        if not in_group[i] and not (masks and to_box[i])
    ]
    wanted = [t for t in true if not masks or t.mask is not None]
    return rows + [(s, True) for s in group_scores], sum(1 for t in wanted if weight or not t.group)


def official(
    truth: list[list[Annotation]],
    predicted: list[list[Annotation]],
    categories: list[Category],
    *,
    masks: bool = False,
    weight: int = 1,
    expand: bool = True,
    least: float = 0.5,
) -> tuple[list[float | None], int]:
    """Average precision of each class, and how many detections were dropped."""
    above = ancestors(categories)
    rows: list[list[tuple[float, bool]]] = [[] for _ in categories]
    wanted, dropped = [0] * len(categories), 0
    for true, guesses in zip(truth, predicted, strict=True):
        objects, allowed = evaluatable(true, above, expand)
        dropped += sum((g.category or 0) not in allowed for g in guesses)
        for c in allowed:
            here = [thing(o, masks, True) for o, k in objects if k == c]
            mine = [thing(g, masks, False) for g in guesses if g.category == c]
            scored, n = judged(mine, here, masks, weight, least)
            rows[c] += scored
            wanted[c] += n
    return [_ap(r, n) for r, n in zip(rows, wanted, strict=True)], dropped


def _ap(rows: list[tuple[float, bool]], wanted: int) -> float | None:
    if not wanted:
        return None
    hits = np.cumsum([right for _, right in sorted(rows, key=lambda r: -r[0])])
    recall = np.array([0, *(hits / wanted), 1])
    precision = np.array([0, *(hits / np.arange(1, len(hits) + 1)), 0])
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    total: Any = sum((recall[1:] - recall[:-1]) * precision[1:])
    return float(total)
