"""The order in which samples are seen: computed, not stored.

An epoch's order is a keyed bijection of 0..n-1 (a Feistel network with cycle walking; Black and
Rogaway, "Ciphers with Arbitrary Finite Domains", 2002) whose key is the dataset's fingerprint, the
seed and the epoch. The sample at any step, rank and slot is therefore arithmetic: a run continues
from three integers (seed, epoch, step), with any number of workers and ranks, at no cost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError

__all__ = ["Order", "Visit", "keyed_number", "permute", "visits"]

Indices = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

ROUNDS = 8
BLOCK = 4096
"""Positions that are computed together while iterating."""

Visit = tuple[int, int, int]
"""Seed, epoch, index: what a sample's random choices may depend on."""


def keyed_number(*key: object) -> int:
    """64 bits that depend on all of ``key``, equal on every machine."""
    text = "\0".join(str(k) for k in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def permute(positions: npt.ArrayLike, n: int, *key: object) -> Indices:
    """The image of ``positions`` (any shape, values in 0..n-1) under a keyed bijection of 0..n-1.

    Raises:
        UsageError: a position is outside 0..n-1.
    """
    asked = np.asarray(positions, np.int64)
    flat = asked.ravel()
    if flat.size and (flat.min() < 0 or flat.max() >= n):
        raise UsageError(f"positions must be in 0..{n - 1}")
    half = max(1, ((n - 1).bit_length() + 1) // 2)
    keys = _round_keys(key)
    out = _feistel(flat.astype(np.uint64), half, keys)
    while True:  # Walk on along the cycle until inside; the domain is below 4 n.
        outside = np.flatnonzero(out >= n)
        if not outside.size:
            return out.astype(np.int64).reshape(asked.shape)
        out[outside] = _feistel(out[outside], half, keys)


@lru_cache(maxsize=64)
def _round_keys(key: tuple[object, ...]) -> Words:
    text = "\0".join(str(k) for k in key).encode()
    return np.frombuffer(hashlib.blake2b(text, digest_size=8 * ROUNDS).digest(), "<u8")


def _feistel(values: Words, half: int, keys: Words) -> Words:
    """One pass over pairs of ``half``-bit words."""
    mask, shift = np.uint64((1 << half) - 1), np.uint64(half)
    left, right = values >> shift, values & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right ^ key) & mask)
    return (left << shift) | right


def _mixed(words: Words) -> Words:
    """Every input bit moves every output bit (the finaliser of SplitMix64)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


@dataclass(frozen=True)
class Order:
    """Batches of a dataset, over epochs.

    Attributes:
        samples: how many there are.
        fingerprint: of the data; other data have another order.
        seed: of the run.
        batch: samples per step, over all ranks together.
        drop_last: leave out an epoch's last batch where it is not full.
        shuffle: false gives 0..n-1 every epoch.
    """

    samples: int
    fingerprint: str
    seed: int
    batch: int
    drop_last: bool = False
    shuffle: bool = True

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise UsageError(f"batch size must be at least 1, not {self.batch}")
        if self.samples < 1:
            raise UsageError("there are no samples to put in order")
        if not self.steps:
            raise UsageError(
                f"{self.samples} samples do not fill one batch of {self.batch}, and the last "
                "batch is dropped: use a smaller batch, or drop_last=False"
            )

    @property
    def steps(self) -> int:
        """Steps per epoch, the same on every rank."""
        if self.drop_last:
            return self.samples // self.batch
        return -(-self.samples // self.batch)

    def indices(self, epoch: int, positions: npt.ArrayLike) -> Indices:
        """The samples at these positions of an epoch."""
        if not self.shuffle:
            return np.asarray(positions, np.int64)
        return permute(positions, self.samples, self.fingerprint, self.seed, epoch)

    def span(self, step: int, rank: int = 0, world: int = 1) -> tuple[int, int, int]:
        """Epoch, and first and last + 1 position in it, of a rank's share of a global step.

        The shares of the ranks, put together in order, are the global batch; in an epoch's last
        batch they may be of different length, or empty.
        """
        epoch, within = divmod(step, self.steps)
        start = within * self.batch
        size = min(self.batch, self.samples - start)
        return epoch, start + size * rank // world, start + size * (rank + 1) // world

    def at(self, step: int, rank: int = 0, world: int = 1) -> Indices:
        """The samples of a rank at a global step (counted over epochs)."""
        epoch, first, last = self.span(step, rank, world)
        return self.indices(epoch, np.arange(first, last))


def visits(
    order: Order, start: int, stop: int, rank: int = 0, world: int = 1
) -> Iterator[list[Visit]]:
    """What a rank loads at the global steps ``start`` to ``stop - 1``.

    Yields:
        One list of (seed, epoch, index) per step.
    """
    known, low, block = -1, 0, np.empty(0, np.int64)
    for step in range(start, stop):
        epoch, first, last = order.span(step, rank, world)
        if epoch != known or first < low or last > low + len(block):
            known, low = epoch, first
            high = min(order.samples, max(last, first + BLOCK))
            block = order.indices(epoch, np.arange(low, high))
        yield [(order.seed, epoch, i) for i in block[first - low : last - low].tolist()]
