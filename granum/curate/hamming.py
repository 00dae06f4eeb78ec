"""All pairs of 64-bit hashes within a Hamming radius, exactly, by multi-index hashing.

A hash is cut into four keys of 16 bits. If two hashes differ in at most r bits, then by the
pigeonhole principle some key differs in at most its share of r (the shares, each plus one, sum to
r + 1), so only hashes whose keys are that near are compared (Norouzi, Punjani and Fleet, *Fast
exact search in Hamming space with multi-index hashing*, 2014). Equal hashes are one value until
the end, so that ten thousand blank images cost one comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError
from granum.store.executor import Executor

__all__ = ["distance", "pair_blocks", "pairs_within"]

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint8]
Found = tuple[Ints, Ints, Bits]

KEYS, KEY_BITS = 4, 16
FEW = 4096
"""Up to so many values each is compared with each."""

BLOCK = 1 << 20
"""Comparisons at a time."""


def distance(a: Hashes, b: Hashes) -> Bits:
    """In how many bits hashes differ."""
    return np.bitwise_count(a ^ b)


def pairs_within(
    hashes: npt.ArrayLike,
    radius: int,
    *,
    apart: npt.ArrayLike | None = None,
    executor: Executor | None = None,
) -> Ints:
    """All pairs of rows whose hashes differ in at most ``radius`` bits.

    Args:
        hashes: uint64, shape (n,).
        radius: 0 to 64; what a pass costs grows with (r / 4 of 16) per key, so beyond 11 it is
            slow where there are many.
        apart: a label per row, shape (n,): rows that share one (>= 0) are no pair.
        executor: where the keys are worked on.

    Returns:
        Rows i < j and their distance, shape (m, 3), sorted by i and j.

    Raises:
        UsageError: ``radius`` is out of range, or the lengths differ.
    """
    found = list(pair_blocks(hashes, radius, apart=apart, executor=executor))
    pairs = np.concatenate(found) if found else np.empty((0, 3), np.int64)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def pair_blocks(
    hashes: npt.ArrayLike,
    radius: int,
    *,
    apart: npt.ArrayLike | None = None,
    executor: Executor | None = None,
    block: int = BLOCK,
) -> Iterator[Ints]:
    """As ``pairs_within``, in unsorted blocks of at most ``block`` pairs (or one row's)."""
    given = np.asarray(hashes, np.uint64).reshape(-1)
    if not 0 <= radius <= 64:
        raise UsageError(f"the radius must be 0..64 bits, not {radius}")
    labels = np.full(len(given), -1, np.int64) if apart is None else np.asarray(apart, np.int64)
    if labels.shape != given.shape:
        raise UsageError(f"{len(labels)} labels for {len(given)} hashes")
    values, inverse, counts = np.unique(given, return_inverse=True, return_counts=True)
    rows = np.argsort(inverse, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    common = _common(labels[rows], starts[:-1])
    same = np.flatnonzero((counts > 1) & (common < 0))
    near = _value_pairs(values, radius, executor or Executor())
    a = np.concatenate([same, near[0]])
    b = np.concatenate([same, near[1]])
    bits = np.concatenate([np.zeros(len(same), np.uint8), near[2]])
    meant = (common[a] < 0) | (common[a] != common[b])
    for i, j, d in _expanded(a[meant], b[meant], bits[meant], starts, block):
        x, y = rows[i], rows[j]
        kept = (labels[x] < 0) | (labels[x] != labels[y])
        x, y = x[kept], y[kept]
        yield np.stack([np.minimum(x, y), np.maximum(x, y), d[kept]], 1)


def _common(labels: Ints, starts: Ints) -> Ints:
    """The label that all rows of a value share, else -1."""
    if not len(labels):
        return np.empty(0, np.int64)
    low, high = np.minimum.reduceat(labels, starts), np.maximum.reduceat(labels, starts)
    return np.where(low == high, low, -1)


def _expanded(
    a: Ints, b: Ints, bits: Bits, starts: Ints, block: int
) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Places of the rows of each pair of values; a value with itself gives each pair once."""
    wide = starts[a + 1] - starts[a]
    for some in _runs(wide, block):
        # One line per row of the first value: it meets all rows of the second, or those after it.
        line = np.repeat(np.arange(some.start, some.stop), wide[some])
        within = np.arange(len(line)) - np.repeat(np.cumsum(wide[some]) - wide[some], wide[some])
        begins = starts[a[line]] + within
        firsts = np.where(a[line] == b[line], begins + 1, starts[b[line]])
        lengths = starts[b[line] + 1] - firsts
        for cut in _runs(lengths, block):
            n = lengths[cut]
            i = np.repeat(begins[cut], n)
            j = np.arange(len(i)) - np.repeat(np.cumsum(n) - n - firsts[cut], n)
            yield i, j, np.repeat(bits[line[cut]], n).astype(np.int64)


def _runs(sizes: Ints, most: int) -> Iterator[slice]:
    """Runs of entries whose sizes sum to ``most`` at most (or one entry that exceeds it)."""
    ends = np.cumsum(sizes)
    at = 0
    while at < len(sizes):
        done = ends[at - 1] if at else 0
        stop = max(at + 1, int(np.searchsorted(ends, done + most, side="right")))
        yield slice(at, stop)
        at = stop


# ---------------------------------------------------------------------- among values, all distinct


def _value_pairs(values: Hashes, radius: int, executor: Executor) -> Found:
    """Pairs of distinct values (positions) within the radius."""
    if radius == 0 or len(values) < 2:
        return _joined([])
    shares = _shares(radius)
    # Beyond 3 bits a key there are so many near keys that nothing is saved.
    if len(values) <= FEW or max(shares) > 3:
        return _joined(list(_each_with_each(values, radius)))
    job = partial(_of_key, values, radius, shares)
    return _joined(list(executor.map(job, range(KEYS))))


def _shares(radius: int) -> list[int]:
    """How many bits each key may differ in; -1: it need not be looked at."""
    return [(radius + 1 + KEYS - 1 - k) // KEYS - 1 for k in range(KEYS)]


def _joined(found: list[Found]) -> Found:
    nothing = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8)
    a, b, bits = (np.concatenate(c) for c in zip(nothing, *found, strict=True))
    return a, b, bits


def _each_with_each(values: Hashes, radius: int) -> Iterator[Found]:
    rows = max(1, BLOCK // len(values))
    for at in range(0, len(values), rows):
        bits = distance(values[at : at + rows, None], values[None, at:])
        i, j = np.nonzero(bits <= radius)
        later = j > i
        i, j = i[later], j[later]
        yield i + at, j + at, bits[i, j]


def _key(values: Hashes, number: int) -> Hashes:
    return (values >> np.uint64(KEY_BITS * number)) & np.uint64((1 << KEY_BITS) - 1)


def _of_key(values: Hashes, radius: int, shares: list[int], number: int) -> Found:
    """Pairs that this key finds and no earlier one does."""
    if shares[number] < 0:
        return _joined([])
    key = _key(values, number)
    order = np.argsort(key, kind="stable")
    ordered = values[order]
    counts = np.bincount(key.astype(np.int64), minlength=1 << KEY_BITS)
    found = []
    for x, y in _candidates(counts, shares[number]):
        bits = distance(ordered[x], ordered[y])
        near = np.flatnonzero(bits <= radius)
        x, y, bits = x[near], y[near], bits[near]
        new = np.ones(len(x), bool)
        for earlier in range(number):
            between = _key(ordered[x] ^ ordered[y], earlier)
            new &= np.bitwise_count(between) > shares[earlier]
        found.append((order[x[new]], order[y[new]], bits[new]))
    return _joined(found)


def _candidates(counts: Ints, share: int) -> Iterator[tuple[Ints, Ints]]:
    """Places of hashes (sorted by key) whose keys differ in at most ``share`` bits."""
    starts = np.cumsum(counts) - counts
    keys = np.arange(len(counts))
    places = np.arange(int(counts.sum()))
    after = np.repeat(starts + counts, counts) - places - 1
    yield from _lines(places, places + 1, after)
    for bits in range(1, share + 1):
        for chosen in combinations(range(KEY_BITS), bits):
            mask = sum(1 << b for b in chosen)
            here = keys[(keys < keys ^ mask) & (counts > 0) & (counts[keys ^ mask] > 0)]
            there = here ^ mask
            # Fewer and longer steps: each row of the larger bucket meets those of the smaller.
            swap = counts[here] < counts[there]
            large, small = np.where(swap, there, here), np.where(swap, here, there)
            sizes = counts[large]
            offset = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            yield from _lines(
                np.repeat(starts[large], sizes) + offset,
                np.repeat(starts[small], sizes),
                np.repeat(counts[small], sizes),
            )


def _lines(begins: Ints, firsts: Ints, lengths: Ints) -> Iterator[tuple[Ints, Ints]]:
    """``begins[i]`` with each of the ``lengths[i]`` places from ``firsts[i]``, step by step: the
    first of every line, then the second of those that have one …"""
    for at in range(0, len(begins), BLOCK):
        cut = slice(at, at + BLOCK)
        active = np.flatnonzero(lengths[cut] > 0)
        begin, first, length = begins[cut][active], firsts[cut][active], lengths[cut][active]
        step = 0
        while len(begin):
            yield begin, first + step
            step += 1
            more = length > step
            begin, first, length = begin[more], first[more], length[more]
