"""Which boxes the ends of relations and the masks are of: same sample, class, and corners."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Ends", "numbered", "tie_ends", "tie_masks"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_PRIMES = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5]
    + [0x85EBCA77C2B2AE63, 0xD6E8FEB86659FD93],
    np.uint64,
)


def numbered(keys: Floats) -> Ints:
    """A number for each row, shape (n, k), of keys; equal rows have equal numbers.

    Numbers follow the order in which keys are met first.
    """
    bits = np.ascontiguousarray(keys + 0.0).view(np.uint64)  # 0.0 and -0.0 are one
    mixed = np.zeros(len(bits), np.uint64)
    for i in range(bits.shape[1]):
        mixed = (mixed ^ (bits[:, i] * _PRIMES[i])) * _PRIMES[(i + 1) % len(_PRIMES)]
        mixed ^= mixed >> np.uint64(31)
    _, first, found = np.unique(mixed, return_index=True, return_inverse=True)
    if (bits[first][found] != bits).any():  # two keys have one hash
        _, first, found = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[found.ravel()]


def _places(groups: Ints, count: int) -> tuple[Ints, Ints]:
    """For each group its first row, -1 where it has none, and how many rows it has."""
    first = np.full(count, -1)
    first[groups[::-1]] = np.arange(len(groups))[::-1]
    return first, np.bincount(groups, minlength=count)


def ranks(groups: Ints) -> Ints:
    """For each row, how many rows before it are of its group."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    begins = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]
    start = np.maximum.accumulate(np.where(begins, np.arange(len(ordered)), 0))
    out = np.empty(len(groups), np.int64)
    out[order] = np.arange(len(ordered)) - start
    return out


def tie_masks(boxes: Floats, masks: Floats) -> Ints:
    """The box of each mask, -1 where none is left: the first mask of a key goes to the first
    box of that key, and so on.

    Args:
        boxes: keys, shape (n, k).
        masks: keys, shape (m, k).
    """
    groups = numbered(np.vstack([boxes, masks]))
    of_boxes, of_masks = groups[: len(boxes)], groups[len(boxes) :]
    count = int(groups.max(initial=-1)) + 1
    order = np.argsort(of_boxes, kind="stable")
    begin = np.concatenate([[0], np.cumsum(np.bincount(of_boxes, minlength=count))])
    rank = ranks(of_masks)
    there = rank < (begin[1:] - begin[:-1])[of_masks]
    at = np.minimum(begin[:-1][of_masks] + rank, max(len(boxes) - 1, 0))
    found = order[at] if len(boxes) else np.full(len(masks), -1)
    return np.where(there, found, -1)


class Ends:
    """What ends of relations were tied to.

    Attributes:
        rows: for each end the row of its box; those of boxes that had to be made count on from
            the boxes.
        made: the first end that each made box is for.
        unsure: ends with no box, or several.
    """

    def __init__(self, rows: Ints, made: Ints, unsure: Ints) -> None:
        self.rows, self.made, self.unsure = rows, made, unsure


def tie_ends(boxes: Floats, ends: Floats) -> Ends:
    """Tie each end to the one box of its key; where there is none, or several, to a box that is
    made for all ends of that key.

    Args:
        boxes: keys, shape (n, k).
        ends: keys, shape (m, k).
    """
    groups = numbered(np.vstack([boxes, ends]))
    count = int(groups.max(initial=-1)) + 1
    of_ends = groups[len(boxes) :]
    first, many = _places(groups[: len(boxes)], count)
    unsure = np.flatnonzero(many[of_ends] != 1)
    keys, made = np.unique(of_ends[unsure], return_index=True)
    order = np.argsort(made)
    place = np.full(count, -1)
    place[keys[order]] = len(boxes) + np.arange(len(keys))
    rows = np.where(many[of_ends] == 1, first[of_ends], place[of_ends])
    return Ends(rows, unsure[made[order]], unsure)
